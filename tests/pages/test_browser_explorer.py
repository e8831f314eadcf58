"""The explorer in a browser: two clicks from a verdict to marked texts, filters, the refusal, and nothing that acts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pages.explorer_scene import SCRIPT
from tests.pages.test_browser import CHROMIUM, browser, open_as, served

__all__ = ["browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
FILL = (
    "import django; django.setup(); from celery.app.task import Task; "
    "Task.apply_async = lambda *given, **options: None; from tests.pages.explorer_scene import fill; fill()"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A finished hallucination audit behind a real web server."""
    with served(tmp_path_factory.mktemp("explored"), FILL) as found:
        yield found


def sideways(page: Any) -> int:
    beyond: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return beyond


def open_first(page: Any) -> None:
    page.get_by_role("group", name="List of studies").get_by_role("link").first.click()


def test_two_clicks_from_a_failing_metric_to_a_marked_study(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "lea")
    page.goto(f"{address}/audits/1/")
    assert page.locator(".verdict-banner__word").inner_text() == "Fails"
    page.locator(".verdict-banner").get_by_role("link", name="See the studies").click()
    open_first(page)
    mark = page.locator("#generated-title").locator("xpath=ancestor::section").locator(".said--wrong").first
    note = mark.locator(".said__note")
    assert mark.is_visible() and not note.is_visible()
    mark.focus()
    assert note.is_visible() and "expert" in note.inner_text()
    page.locator("h1").hover()
    mark.blur()
    mark.hover()
    expect(note).to_be_visible()
    mark.click()
    assert "#generated-" in page.url and page.locator(".said-list li:target").count() == 1
    # The image is there, and the ledger knows that the study was opened.
    image = page.locator(".study-image img")
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.goto(f"{address}/governance/ledger/?act=study.opened")
    assert page.get_by_text("study.opened").count() >= 1 and page.locator("main").get_by_text("s000").count() == 0
    assert complaints == []


def test_a_mark_is_told_by_shape_number_line_and_word(browser: Any, address: str) -> None:
    """What is left when colour is taken away."""
    page, _ = open_as(browser, address, "lea")
    page.goto(f"{address}/audits/1/explorer/?error=wrong_side")
    open_first(page)
    styles: dict[str, str] = {}
    for look in ("wrong", "right"):
        mark = page.locator(f".report .said--{look}").first
        assert mark.locator("svg").count() == 1 and mark.locator("sup").inner_text().isdecimal()
        styles[look] = mark.evaluate("mark => getComputedStyle(mark).borderBottomStyle")
        named = page.locator(f"#{mark.get_attribute('aria-describedby')}")
        assert named.inner_text().strip()
    assert styles["wrong"] != styles["right"]


def test_filters_narrow_and_stay(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "lea")
    page.goto(f"{address}/audits/1/explorer/")
    count = page.locator("main [role=status]")
    expect(count).to_contain_text("80 studies of 80", use_inner_text=True)
    page.get_by_label("Error").select_option("unsupported")
    page.get_by_label("Finding or value").select_option("pneumothorax")
    page.get_by_label("Group").select_option("sex=F")
    page.get_by_role("button", name="Show").click()
    expect(count).to_contain_text("20 studies of 80", use_inner_text=True)
    expect(page.get_by_label("Finding or value")).to_have_value("pneumothorax")
    open_first(page)
    expect(page.locator(".lead")).to_contain_text("1 of 20 chosen studies", use_inner_text=True)
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".lead")).to_contain_text("2 of 20 chosen studies", use_inner_text=True)
    page.get_by_role("link", name="Studies", exact=True).click()
    page.get_by_label("Group").select_option("sex=M")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
    assert complaints == []


def test_a_script_in_a_report_is_text(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "lea")
    spoken: list[str] = []
    page.on("dialog", lambda dialog: (spoken.append(dialog.message), dialog.dismiss()))
    page.goto(f"{address}/audits/1/explorer/?finding=edema")
    open_first(page)
    expect(page.locator(".report__text").first).to_contain_text(SCRIPT, use_inner_text=True)
    assert spoken == [] and complaints == []


def test_without_the_role_the_page_says_who_grants_it(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "mina")
    page.goto(f"{address}/audits/1/")
    page.locator(".verdict-banner").get_by_role("link", name="See the studies").click()
    page.get_by_text("This page is not open to you").first.wait_for()
    said = page.locator("body").inner_text()
    assert "This page is not open to you" in said and "An administrator may grant it to you (Ada Byrne)" in said
    assert "p000" not in said and "effusion" not in said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_pages_fit_every_width_and_theme(browser: Any, address: str, width: int, scheme: str) -> None:
    page, complaints = open_as(browser, address, "lea", width=width, color_scheme=scheme)
    for url in ("/audits/1/explorer/", "/audits/1/explorer/?error=omitted", "/audits/1/explorer/0/0/"):
        page.goto(address + url)
        assert sideways(page) <= 0, url
    for mark in page.locator(".said").all():
        mark.focus()
        assert sideways(page) <= 0
    assert complaints == []


def test_everything_works_without_a_script(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "lea", java_script_enabled=False)
    page.goto(f"{address}/audits/1/explorer/?error=omitted")
    open_first(page)
    page.locator(".said--left-out").first.click()
    assert "#reference-" in page.url
