"""The pages about rules in a browser: narrow and wide, light and dark, without a script, with a locked-in frame."""

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
FILL = (
    "import django; django.setup(); from tests.pages.scene import house, system, version; "
    "from tests.pages.regulation_scene import regulate; regulate(house()); version('0.1', of=system('Empty system'))"
)
HERE = "/systems/chest-model/versions/2/"
QUESTIONS = "/systems/chest-model/questions/"
PAGES = (
    "/", QUESTIONS, f"{QUESTIONS}scope/", f"{QUESTIONS}uses/", f"{QUESTIONS}assessment/", "/systems/chest-model/", HERE,
    f"{HERE}~requirements/", f"{HERE}~reviews/",
    f"{HERE}requirements/", f"{HERE}requirements/?state=missing&q=risk", f"{HERE}requirements/?q=nothing-at-all",
    f"{HERE}requirements/AIA-Art3-1/", f"{HERE}requirements/AIA-Art19/", f"{HERE}requirements/CNIL-access/",
    f"{HERE}requirements/CNIL-access/write/", f"{HERE}requirements/AIA-Art6-3/write/",
    f"{HERE}requirements/AIA-AnnexIV-1-f/write/", f"{HERE}requirements/GDPR-35-7-c/write/",
    f"{HERE}reports/dpia/", f"{HERE}reports/committee_one_pager/", "/systems/empty-system/questions/",
    "/reports/", "/reports/1/", "/reports/2/", "/reports/bundles/1/", "/audits/2/",
)  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("house"), FILL) as found:
        yield found


def test_no_page_scrolls_sideways_or_breaks_the_policy(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "clara", width=360)
    for url in PAGES:
        page.goto(address + url)
        check_fits(page)
    assert complaints == []


def test_the_preview_is_there_and_may_do_nothing(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "clara")
    page.goto(f"{address}{HERE}reports/dpia/?run=")
    frame = page.frame_locator(".preview-frame")
    frame.get_by_role("heading", name="Chest model").first.wait_for(timeout=15000)
    page.get_by_label("Language", exact=True).select_option("de")
    page.get_by_role("button", name="Show the preview").click()
    frame.locator("html[lang=de]").wait_for(timeout=15000)
    assert complaints == []
    inside = next(item for item in page.frames if item != page.main_frame)
    assert inside.url.endswith("preview/?language=de&run=")
    # Nothing that stands in a report can reach the page around it, or the session.
    assert inside.evaluate("() => { try { return document.cookie } catch (error) { return error.name } }") == (
        "SecurityError"
    )


def test_the_counts_come_by_themselves(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "mina")
    page.goto(f"{address}{HERE}~requirements/")
    page.locator(".counts a").first.wait_for(timeout=15000)
    page.locator(".counts a", has_text="Stale").click()
    page.wait_for_url("**/requirements/?state=stale&binding=1#list")
    assert page.locator("table.requirements tbody tr").count() == 1
    assert complaints == []


def test_an_answer_brings_up_a_question_without_a_script(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "dora", width=360, java_script_enabled=False)
    page.goto(f"{address}/systems/empty-system/questions/product/")
    page.locator("#q-device_law").get_by_label("A medical device (MDR)").check()
    page.get_by_role("button", name="Save this chapter").click()
    expect(page.locator(".notice--pass")).to_contain_text("more question", use_inner_text=True)
    page.locator("#q-mdr_class").get_by_label("IIa", exact=True).check()
    page.locator("#q-mdr_class summary", has_text="Reason").click()
    page.get_by_label("Reason for the answer to: MDR class").fill("Rule 11.")
    page.get_by_role("button", name="Save this chapter").click()
    expect(page.locator("#q-mdr_class .question__effects")).to_contain_text("IIa", use_inner_text=True)


def test_rows_are_added_and_a_statement_is_written_and_accepted_without_a_script(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "elena", java_script_enabled=False)
    page.goto(f"{address}{HERE}requirements/CNIL-loss/write/")
    page.get_by_label("Impact, row 1").fill("a report is late")
    page.get_by_role("button", name="More rows").click()
    expect(page.get_by_label("Impact, row 1")).to_have_value("a report is late")
    page.get_by_label("Impact, row 8").fill("an image is lost")
    page.get_by_label("Impact, row 8").locator("xpath=../following-sibling::td//textarea").fill("patients")
    page.get_by_label("Threats").fill("failure of a disk")
    page.get_by_label("Threats").press("Tab")
    page.get_by_role("button", name="Keep as a draft").last.click()
    page.wait_for_url("**/requirements/CNIL-loss/")
    expect(page.locator("body")).to_contain_text("an image is lost")
    second, _ = open_as(browser, address, "amir", java_script_enabled=False)
    second.goto(f"{address}{HERE}requirements/CNIL-loss/")
    second.get_by_label("Remark").fill("Compared with the backup plan.")
    second.get_by_role("button", name="Accept", exact=True).click()
    expect(second.locator("body")).to_contain_text("The statement is accepted.")


def test_return_in_a_field_keeps_the_draft_and_adds_no_rows(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "elena")
    page.goto(f"{address}{HERE}requirements/AIA-Art6-3/write/")
    page.get_by_label("Name", exact=True).fill("Vera Muster")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.locator(".error-summary")).to_be_focused()
    page.locator(".error-summary").get_by_role("link").first.click()
    assert page.evaluate("location.hash") == "#id_v-signed_by"
    expect(page.get_by_label("Name", exact=True)).to_have_value("Vera Muster")
