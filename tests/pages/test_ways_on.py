"""No page without a way on: each leads back to where it belongs, and on to something; and says by which law it asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.urls import Resolver404, resolve, reverse

from core.pages.law import DUTIES, OF_REPORTS, law_of
from governance.reports.base import REPORTS
from governance.requirements import load_requirements
from tests.pages import addresses

SignIn = Callable[[str], Client]
LINK = re.compile(r'<a\b[^>]*?href="([^"#][^"]*)"')
CRUMBS = re.compile(r'<nav class="breadcrumb".*?</nav>', re.S)
PLACES = {"systems", "audits", "monitors", "cohorts", "reviews", "reports", "home", "notifications", "workers"}
"""Rooms of the main navigation, or beside it: nothing lies above them."""


def inside(text: str, name: str) -> str:
    """The content of the element of this name, or nothing."""
    found = re.search(rf"<{name}\b.*?</{name}>", text, re.S)
    return found.group(0) if found else ""


def crumbs_of(text: str) -> list[str]:
    found = CRUMBS.search(text)
    return LINK.findall(found.group(0)) if found else []


def leads(href: str) -> bool:
    """Whether an address is one of the house."""
    try:
        resolve(urlsplit(href).path)
    except Resolver404:
        return False
    return True


@pytest.mark.parametrize("username", ["clara", "elena", "mina"])
def test_every_page_leads_back_and_on(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client, ends = sign_in(username), []
    for url in ["/", "/reports/", *addresses.pages(house)]:
        answer = client.get(url)
        assert answer.status_code == 200, url
        text, here = answer.content.decode(), urlsplit(url).path
        back = [href for href in crumbs_of(text) if urlsplit(href).path != here]
        top = resolve(here).url_name in PLACES
        ends += [] if back or top else [f"{url} leads nowhere back"]
        content = CRUMBS.sub("", inside(text, "main"))
        on = [href for href in LINK.findall(content) if href.startswith("/") and urlsplit(href).path != here]
        acts = "<form" in content
        ends += [] if on or acts else [f"{url} leads nowhere on"]
        ends += [f"{url} leads to {href}, which is nothing" for href in {*back, *on} if not leads(href)]
    assert not ends, "\n".join(ends)


def test_a_duty_leads_to_the_article_and_to_the_requirement(house: SimpleNamespace, sign_in: SignIn) -> None:
    slug, pk = house.system.slug, house.twin.pk
    text = sign_in("clara").get(reverse("report-new", args=[slug, pk, "fria"])).content.decode()
    assert "CELEX:32024R1689#art_27" in text and "Article 27 of the AI Act" in text
    assert reverse("requirement", args=[slug, pk, "AIA-Art27-1-a"]) in text
    here = sign_in("clara").get(reverse("incidents")).content.decode()
    assert "CELEX:32016R0679#art_33" in here and "CELEX:32017R0745#art_87" in here
    assert 'rel="noopener noreferrer external"' in here and 'target="_blank"' not in here.split("<main")[1]


def test_the_german_page_leads_to_the_german_text(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    client.post(reverse("language"), {"language": "de", "back": "/"})
    assert "legal-content/DE/TXT/?uri=CELEX:32024R1689#art_9" in client.get(reverse("risks")).content.decode()


def test_every_duty_names_a_requirement_of_the_catalogue_and_a_kind_of_report() -> None:
    known = load_requirements()
    for key, duty in DUTIES.items():
        if duty.requirement:
            asked = known.requirement(duty.requirement)
            numbers = {str(article.number) for article in duty.articles}
            assert any(f"Art. {number}" in asked.article for number in numbers), (key, asked.article)
    assert set(OF_REPORTS) <= set(REPORTS.keys())
    assert law_of("model_card")["duty"] is None, "a kind that serves no duty shows none"
