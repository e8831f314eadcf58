"""The rooms of governance in a browser, with one of everything in them: narrow, wide, and without a script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM, browser, check_fits, open_as, served

__all__ = ["browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
FILL = "import django; django.setup(); from tests.pages.governance_scene import furnish; furnish()"
SYSTEM = "/systems/chest-model/"
VERSION = f"{SYSTEM}versions/2/"
PAGES = (
    "/", "/governance/", "/governance/reviews/1/", "/governance/reviews/2/", "/governance/conditions/",
    "/governance/policies/", "/governance/policies/1/", "/governance/policies/new/",
    f"{VERSION}policies/reference-systems-v1/",
    "/governance/risks/", "/governance/risks/1/", "/governance/risks/new/",
    "/governance/incidents/", "/governance/incidents/1/", "/governance/incidents/1/amend/",
    "/governance/incidents/new/", "/governance/incidents/new/?system=chest-model",
    "/governance/deployments/", "/governance/deployments/1/", "/governance/deployments/2/",
    "/governance/deployments/new/",
    "/governance/deployments/new/?version=2", f"{VERSION}use/",
    "/governance/deployments/1/overrides/", "/governance/deployments/1/overrides/new/",
    "/governance/oversight/", "/governance/oversight/chest-model/", "/governance/oversight/measures/1/",
    "/governance/releases/", "/governance/releases/1/", "/governance/releases/new/",
    "/governance/ledger/", "/governance/ledger/3/", "/governance/ledger/heads/",
    "/notifications/", "/notifications/preferences/", SYSTEM, VERSION, "/cohorts/simulated-chest-cohort/",
)  # fmt: skip
DEAD = """() => [...document.querySelectorAll('a[href^="#"]')].map(link => link.getAttribute('href').slice(1))
    .filter(name => name && !document.getElementById(name))"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("governance"), FILL) as found:
        yield found


@pytest.mark.parametrize("who", ["clara", "elena"])
def test_every_room_fits_and_every_link_on_a_page_leads_somewhere(browser: Any, address: str, who: str) -> None:
    page, complaints = open_as(browser, address, who, width=360)
    for url in PAGES:
        answer = page.goto(address + url)
        assert answer.status == 200, url
        for folded in page.locator("main details").all():
            folded.evaluate("details => { details.open = true }")
        check_fits(page)
        assert page.evaluate(DEAD) == [], url
    assert complaints == []


def test_on_a_phone_the_rooms_are_folded_and_open_without_a_script(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "mina", width=360, java_script_enabled=False)
    page.goto(f"{address}/governance/risks/")
    ledger = page.locator("main").get_by_role("link", name="Ledger", exact=True)
    assert ledger.count() == 0
    page.get_by_text("Rooms of governance", exact=True).click()
    assert page.locator("main").get_by_role("link", name="Risks", exact=True).get_attribute("aria-current") == "page"
    ledger.click()
    page.wait_for_url(f"{address}/governance/ledger/")


def test_a_form_sent_empty_names_every_field_and_records_nothing(browser: Any, address: str) -> None:
    """A choice that was made beforehand would be recorded as what the clinician said."""
    page, _ = open_as(browser, address, "lea")
    page.goto(f"{address}/governance/deployments/1/overrides/new/")
    page.get_by_role("button", name="Record it").click()
    summary = page.locator(".error-summary")
    for label in ("What the clinician did", "Why"):
        summary.get_by_role("link", name=label).wait_for()
    page.goto(f"{address}/governance/deployments/1/")
    expect(page.locator("main")).to_contain_text("26 of 400", use_inner_text=True)
