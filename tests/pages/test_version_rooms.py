"""The rooms of a version: each an address of its own, with what belongs into it, by few questions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import ledger
from models_registry.models import Deployment, ModelVersion
from models_registry.pages.rooms import ROOMS
from tests.pages import scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
MOST_QUERIES = 12
KEYS = [room.key for room in ROOMS]


def address(version: ModelVersion, key: str = "") -> str:
    base = reverse("version", args=[version.system.slug, version.pk])
    return f"{base}~{key}/" if key else base


def room(client: Client, version: ModelVersion, key: str = "") -> str:
    answer = client.get(address(version, key))
    assert answer.status_code == 200, key
    text: str = answer.content.decode()
    return text


@pytest.mark.parametrize("key", KEYS)
def test_every_room_has_an_address_and_links_to_all_others(house: SimpleNamespace, sign_in: SignIn, key: str) -> None:
    for version in (house.version, house.twin, house.candidate):
        text = room(sign_in("mina"), version, key)
        page = Page(text)
        assert (page.faults, page.tags["h1"], page.unnamed()) == ([], 1, [])
        assert [name for name, times in page.ids.items() if times > 1] == []
        nav = text[text.index('class="tabs"') : text.index("</nav>", text.index('class="tabs"'))]
        assert nav.count("<a ") == len(ROOMS) and nav.count('aria-current="page"') == 1
        assert f'href="{address(version, key)}" aria-current="page"' in nav
    assert sign_in("rita").get(address(house.twin, key)).status_code == 403


def test_a_room_that_is_none_is_not_found(house: SimpleNamespace, sign_in: SignIn) -> None:
    base = address(house.twin)
    for wrong in (f"{base}~nothing/", f"{base}~/", "/systems/chest-model/versions/9999/~audits/",
                  f"/systems/text-mined-labels/versions/{house.twin.pk}/~ledger/"):  # fmt: skip
        assert sign_in("mina").get(wrong).status_code == 404, wrong


def test_overview_begins_with_the_finding_that_fails(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = room(sign_in("mina"), house.version)
    part = text[text.index('id="attention"') : text.index('id="approval"')]
    assert "ffusion is missed more often" in part and f'href="/audits/{house.fail.pk}/"' in part
    assert "Nothing: no finding" in room(sign_in("mina"), house.twin)


def test_overview_tells_the_most_urgent_first(house: SimpleNamespace, sign_in: SignIn) -> None:
    scene.run(house.version, house.real, house.protocol, status="running")
    text = room(sign_in("mina"), house.version)
    part = text[text.index('id="attention"') : text.index('id="approval"')]
    assert part.index("status--fail") < part.index("status--working")
    Deployment.objects.create(
        version=house.version, site="North Hospital", contact_name="A", contact_email="a@b.example",
        started_at=house.fail.requested_at, started_by=scene.person("clara"),
    )  # fmt: skip
    assert "nobody watches" in room(sign_in("mina"), house.version)


def test_a_version_without_an_audit_says_so(house: SimpleNamespace, sign_in: SignIn) -> None:
    fresh = scene.version("4.0")
    assert "No audit is done" in room(sign_in("mina"), fresh)
    for key in ("fairness", "drift", "hallucination", "synthetic"):
        assert "not audited yet" in room(sign_in("mina"), fresh, key)


def test_the_room_of_fairness_shows_verdicts_picture_and_table(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = room(sign_in("mina"), house.version, "fairness")
    assert f"/audits/{house.fail.pk}/charts/2.svg" in text and "tpr-gap-sex-age" in text
    assert "Verdicts that decide" in text and "about 140 more studies" in text
    for key in ("drift", "hallucination", "synthetic"):
        assert "tpr-gap-sex-age" not in room(sign_in("mina"), house.version, key)


def test_a_suite_room_shows_the_newest_audit_of_each_cohort(house: SimpleNamespace, sign_in: SignIn) -> None:
    newer = scene.run(house.version, house.cohort, house.protocol, outcome="pass")
    elsewhere = scene.run(house.version, house.real, house.protocol, outcome="insufficient")
    text = room(sign_in("mina"), house.version, "fairness")
    assert f'id="suite-{newer.pk}"' in text and f'id="suite-{elsewhere.pk}"' in text
    assert f'id="suite-{house.fail.pk}"' not in text


def test_what_was_on_the_page_is_in_its_room(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert f'href="/audits/{house.fail.pk}/"' in room(client, house.version, "audits")
    assert reverse("requirement-counts", args=["chest-model", house.twin.pk]) in room(
        client, house.twin, "requirements"
    )
    reviews = room(client, house.twin, "reviews")
    assert (
        reverse("review", args=[house.decided.pk]) in reviews and reverse("report", args=[house.report.pk]) in reviews
    )
    content = room(client, house.twin, "content")
    assert house.twin.digest in content and "Every file with its digest" in content
    assert 'id="declared"' in room(client, house.twin)


def test_the_ledger_of_a_version_is_of_it_and_nothing_else(house: SimpleNamespace, sign_in: SignIn) -> None:
    with transaction.atomic():
        for kind, key in (("ModelVersion", house.twin.pk), ("AuditRun", getattr(house, "pass").pk),
                          ("Review", house.decided.pk), ("Report", house.report.pk),
                          ("Review", house.review.pk), ("ModelVersion", house.version.pk),
                          ("Cohort", house.twin.pk)):  # fmt: skip
            ledger.record(actor="clara", act=f"{kind.lower()}.tried", subject=(kind, key))
    client = sign_in("mina")
    found = client.get(address(house.twin, "ledger")).context["listing"]
    assert {(row.subject_kind, row.subject_id) for row in found.rows if row.act.endswith(".tried")} == {
        ("ModelVersion", str(house.twin.pk)), ("AuditRun", str(getattr(house, "pass").pk)),
        ("Review", str(house.decided.pk)), ("Report", str(house.report.pk)),
    }  # fmt: skip
    narrowed = client.get(address(house.twin, "ledger"), {"on": "Review", "sort": "entry"}).context["listing"]
    assert {row.subject_kind for row in narrowed.rows} == {"Review"}


@pytest.mark.parametrize("key", KEYS)
def test_a_room_asks_no_more_when_there_is_more(house: SimpleNamespace, sign_in: SignIn, key: str) -> None:
    client = sign_in("amir")

    def count() -> int:
        with CaptureQueriesContext(connection) as found:
            room(client, house.twin, key)
        return len(found)

    before = count()
    for number in range(8):
        run = scene.run(house.twin, house.cohort, house.protocol, shards=3, outcome="fail")
        scene.report(run)
        scene.version(f"5.{number}")
    with transaction.atomic():
        for _ in range(60):
            ledger.record(actor="amir", act="run.requested", subject=("AuditRun", run.pk))
    cache.clear()  # what was worked out before is not to hide that it grew
    assert count() == before
    assert count() <= MOST_QUERIES
