"""What was typed is not lost when the session ends, and is not kept longer than it should be."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pages.scene import PASSWORD
from tests.pages.test_browser import CHROMIUM, address, browser, open_as

__all__ = ["address", "browser"]
FORM = "/governance/risks/new/"
WORDS = "Effusions of the elderly may be missed at night."
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]


def area(page: Any) -> Any:
    return page.locator("main form textarea").first


def kept(page: Any) -> int:
    found: int = page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('draft:')).length")
    return found


def sign_in_again(page: Any, username: str) -> None:
    page.fill("#id_username", username)
    page.fill("#id_password", PASSWORD)
    page.keyboard.press("Enter")


def test_a_session_that_ends_loses_nothing(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "clara")
    page.goto(address + FORM)
    area(page).fill(WORDS)
    page.context.clear_cookies(name="sessionid")
    page.locator("main form .button--primary").first.click()
    page.wait_for_url("**/sign-in/**")
    sign_in_again(page, "clara")
    page.wait_for_url(f"**{FORM}")
    expect(area(page)).to_have_value(WORDS)
    expect(page.get_by_text("What you had typed was put back")).to_be_visible()
    page.get_by_role("button", name="Discard it").click()
    expect(area(page)).to_have_value("")
    assert kept(page) == 0 and complaints == []
    page.context.close()


def test_a_form_that_expired_can_be_gone_back_to(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "clara")
    page.goto(address + FORM)
    area(page).fill(WORDS)
    page.context.clear_cookies(name="csrftoken")
    page.locator("main form .button--primary").first.click()
    expect(page.locator("body[data-unsent]")).to_have_count(1)
    page.goto(address + FORM)
    expect(area(page)).to_have_value(WORDS)
    page.context.close()


def test_what_was_refused_is_the_servers_and_what_was_sent_is_forgotten(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "clara")
    page.goto(f"{address}/governance/reviews/1/")
    comment = page.locator("#id_comment-text")
    comment.fill(WORDS)
    comment.locator("xpath=ancestor::form").locator("button").last.click()
    expect(page.get_by_text(WORDS)).to_be_visible()
    assert kept(page) == 0
    expect(page.locator("#id_comment-text")).to_have_value("")
    page.goto(address + FORM)
    area(page).fill(WORDS)
    page.locator("main form .button--primary").first.click()
    expect(page.locator(".error-summary")).to_be_visible()
    expect(area(page)).to_have_value(WORDS)
    expect(page.locator(".draft")).to_have_count(0)
    page.context.close()


def test_nobody_else_sees_it_and_signing_out_forgets_it(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "clara")
    page.goto(address + FORM)
    area(page).fill(WORDS)
    page.context.clear_cookies()
    page.goto(f"{address}/sign-in/")
    sign_in_again(page, "lea")
    page.wait_for_url(f"{address}/")
    page.goto(address + FORM)
    expect(area(page)).to_have_value("")
    assert kept(page) == 0
    area(page).fill(WORDS)
    assert kept(page) == 1
    page.locator(".sidebar").get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/**")
    assert kept(page) == 0
    page.context.close()
