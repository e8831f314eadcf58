"""One system under a grant: all of its versions with their bundles, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse

from core.models import LedgerEntry
from governance.selectors.portal import SHOWN
from tests.pages import scene

SignIn = Callable[[str], Client]


@pytest.fixture
def many(house: SimpleNamespace) -> SimpleNamespace:
    """The granted system with more versions than the overview shows; one of them is a draft."""
    for number in range(SHOWN + 3):
        scene.version(f"7.{number}", of=house.system)
    scene.version("8.0-secret-draft", of=house.system, status="draft")
    house.address = reverse("portal-system", args=[house.grant.pk, house.system.slug])
    return house


def text_of(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status
    return response.content.decode()


def test_the_overview_shows_the_newest_and_leads_to_all(many: SimpleNamespace, sign_in: SignIn) -> None:
    text = text_of(sign_in("rita"), "/portal/")
    assert text.count("Requirement status<span") == SHOWN
    total = many.system.versions.exclude(status="draft").count()
    assert f"All of {many.system.name}: {total} versions, 1 bundle" in text and many.address in text
    assert f"7.{SHOWN + 2}<" in text and "7.0<" not in text


def test_the_page_of_a_system_has_all_with_their_bundles(many: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("rita")
    text = text_of(client, many.address)
    total = many.system.versions.exclude(status="draft").count()
    assert text.count("Requirement status<span") == total > SHOWN
    assert many.bundle.file_name in text and "secret-draft" not in text
    assert reverse("portal-bundle", args=[many.grant.pk, many.bundle.pk]) in text
    entry = LedgerEntry.objects.filter(act="grant.viewed").latest("index")
    facts = {"grant": many.grant.pk, "page": "system", "system": many.system.slug}
    assert (entry.actor, json.loads(entry.body)["payload"]) == ("rita", facts)
    found = text_of(client, f"{many.address}?q=7.1")
    assert found.count("Requirement status<span") == 1
    assert "No version matches" in text_of(client, f"{many.address}?q=nothing-of-this")
    oldest = text_of(client, f"{many.address}?sort=registered")
    assert oldest.index(">7.0<") < oldest.index(">7.1<")


def test_what_is_not_under_the_grant_is_as_if_it_were_not_there(many: SimpleNamespace, sign_in: SignIn) -> None:
    other, client = scene.system("Other system"), sign_in("rita")
    for slug in (other.slug, "never-registered"):
        before = LedgerEntry.objects.filter(act="grant.refused").count()
        text = text_of(client, reverse("portal-system", args=[many.grant.pk, slug]), 404)
        assert "Other system" not in text
        assert LedgerEntry.objects.filter(act="grant.refused").count() == before + 1
    text_of(client, reverse("portal-system", args=[9999, many.system.slug]), 404)
    text_of(sign_in("clara"), many.address, 403)


def test_one_query_for_all_bundles_of_a_page(many: SimpleNamespace, django_assert_max_num_queries: Callable) -> None:
    from governance.selectors.portal import registered_versions, with_bundles

    with django_assert_max_num_queries(2):
        rows = with_bundles(registered_versions(many.system))
    assert {bundle.pk for _version, bundles in rows for bundle in bundles} == {many.bundle.pk}
