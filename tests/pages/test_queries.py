"""Pages ask the database a fixed number of questions, however much there is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.pages import scene

SignIn = Callable[[str], Client]
BOUND = 25
HOME_BOUND = 36
"""The home page asks every room what waits for the person."""


def _more(house: SimpleNamespace) -> None:
    """Several times as much of everything."""
    for number in range(6):
        of = scene.version(f"9.{number}", of=scene.system(f"Further {number}"), status="in_review")
        here = scene.version(f"8.{number}", status="in_review")
        for version in (of, here):
            run = scene.run(version, house.cohort, house.protocol, shards=20)
            review = scene.review(run, votes=(("tom", "reject"),))
            scene.report(run)
            scene.bundle(review)
        scene.run(house.candidate, house.real, house.protocol, status="failed")
        scene.cohort(f"Further cohort {number}")
        scene.cohort_import()
        scene.protocol(f"further-{number}", approved=False)
    scene.entries(30)


def _count(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    return len(asked)


@pytest.mark.usefixtures("worked_out_anew")
@pytest.mark.parametrize("username", ["clara", "amir", "elena", "mina"])
def test_lists_do_not_ask_more_when_there_is_more(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client = sign_in(username)
    urls = ["/", "/systems/", "/systems/chest-model/", "/cohorts/", "/audits/", "/audits/protocols/", "/governance/",
            "/monitors/", "/monitors/alerts/", "/monitors/webhooks/",
            "/governance/ledger/", "/reports/", reverse("review", args=[house.review.pk]),
            reverse("version", args=["chest-model", house.candidate.pk])]  # fmt: skip
    before = {url: _count(client, url) for url in urls}
    _more(house)
    after = {url: _count(client, url) for url in urls}
    assert after == before
    assert after.pop("/") <= HOME_BOUND
    assert max(after.values()) <= BOUND


@pytest.mark.usefixtures("worked_out_anew")
def test_a_run_with_many_shards_and_measurements_asks_no_more(
    house: SimpleNamespace, sign_in: SignIn, django_assert_max_num_queries: Any
) -> None:
    client = sign_in("amir")
    large = scene.run(house.candidate, house.cohort, house.protocol, shards=150)
    urls = [f"/audits/{house.fail.pk}/", f"/audits/{large.pk}/", f"/audits/{house.running.pk}/progress/"]
    for url in urls:
        with django_assert_max_num_queries(18):
            client.get(url)
    same_state = scene.run(house.candidate, house.cohort, house.protocol, shards=2)
    assert _count(client, urls[1]) == _count(client, f"/audits/{same_state.pk}/")
