"""No page breaks a rule of accessibility that a machine can check (axe-core, WCAG 2.2 A and AA), in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.pages.scene import PASSWORD
from tests.pages.test_browser import CHROMIUM, FILL, PAGES, browser, served

__all__ = ["browser"]
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
"""Of the other theme only what a theme changes."""
PLACES = {
    "clara": [
        *PAGES, "/governance/policies/", "/governance/policies/new/", "/governance/risks/", "/governance/risks/new/",
        "/governance/deployments/", "/governance/deployments/new/", "/governance/incidents/", "/governance/oversight/",
        "/governance/incidents/new/?system=chest-model", "/governance/oversight/chest-model/", "/synthetic/",
        "/systems/chest-model/questions/", "/systems/chest-model/questions/scope/", "/audits/1/closer/",
        "/systems/chest-model/versions/2/requirements/", "/systems/chest-model/versions/2/requirements/AIA-Art6-3/",
        "/governance/ledger/0/", "/governance/ledger/heads/", "/reports/1/", "/reports/bundles/1/", "/nowhere/",
    ],
    "ada": ["/administration/people/", "/administration/people/2/", "/administration/tokens/"],
    "rita": ["/portal/", "/portal/grants/1/bundles/1/"],
}  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("house"), FILL) as found:
        yield found


def broken(page: Any, rules: dict[str, Any] = RULES) -> list[str]:
    """Each rule that the page breaks, with where."""
    found = Axe().run(page, options=rules).response["violations"]
    return [f"{item['id']}: {[node['target'] for node in item['nodes']][:3]}" for item in found]


@pytest.mark.parametrize("username", list(PLACES))
def test_every_page_keeps_the_rules_in_both_themes(browser: Any, address: str, username: str) -> None:
    page = browser.new_context(color_scheme="light", reduced_motion="reduce").new_page()
    sign_in(page, address, username)
    found: dict[str, list[str]] = {}
    for place in PLACES[username]:
        page.emulate_media(color_scheme="light")
        page.goto(address + place)
        for rule in broken(page):
            found.setdefault(rule, []).append(place)
        page.emulate_media(color_scheme="dark")
        for rule in broken(page, COLOURS):
            found.setdefault(f"dark: {rule}", []).append(place)
    page.context.close()
    assert not found, "\n".join(f"{rule}: {places}" for rule, places in found.items())


def sign_in(page: Any, address: str, username: str) -> None:
    page.goto(f"{address}/sign-in/")
    page.fill("#id_username", username)
    page.fill("#id_password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".sidebar")


def test_the_way_in_keeps_the_rules_and_a_planted_defect_is_found(browser: Any, address: str) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{address}/sign-in/")
    assert broken(page) == []
    page.evaluate("document.querySelector('label').remove(); document.querySelector('h1').style.color = '#ddd'")
    assert {rule.partition(":")[0] for rule in broken(page)} >= {"label", "color-contrast"}
    page.context.close()
