"""The committee decides: evidence before it, votes, approval, and use; who had a part in it has no vote."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM
from tests.stories.conftest import Settle, Town

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
VERSION = "Chest model 2.0"
REASON = "I read the evidence, and every criterion passes."


def the_chair_opens_the_review(town: Town) -> str:
    clara = town.desk("clara")
    clara.follow(f"Open a review of {VERSION}")
    clara.unfold("Open a review")
    clara.press("Put it before the committee")
    clara.unfold("Issue: Committee one-pager")
    clara.reads("It cannot be changed or taken back.")
    clara.press("Issue it now")
    clara.reads("The report is being written.")
    clara.leads(clara.page.locator("#next-steps a[href*='/governance/reviews/']").first)
    return str(clara.page.url)


def who_made_it_is_refused_on_the_page_and_by_the_service(town: Town, review: str) -> None:
    """Elena sits on the committee by a second role; the button is no door, and neither is the address."""
    elena = town.desk("elena")
    elena.go(review)
    elena.refused("Cast my vote", "You submitted this version, so you cannot vote on it.")
    token = elena.page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
    forged = elena.page.request.post(
        review,
        form={"csrfmiddlewaretoken": token, "choice": "approve", "rationale": REASON, "password": "anything"},
        headers={"Referer": review},
    )
    assert forged.status == 403
    expect(elena.page.locator(".votes li")).to_have_count(0)


def a_member_votes_by_keyboard_alone(town: Town, review: str) -> None:
    """From the list to the signed vote with no mouse: Tab, Space, Enter and letters."""
    mina = town.desk("mina")
    mina.go("/governance/")
    page = mina.page
    page.locator("main").get_by_role("link", name=VERSION).first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(review)
    page.get_by_role("link", name="Go to your vote").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Approve", exact=True).focus()
    page.keyboard.press("Space")
    _tab_to(page, "rationale")
    page.keyboard.type(REASON)
    _tab_to(page, "password")
    page.keyboard.type("a-long-password-for-tests")
    page.keyboard.press("Enter")
    mina.reads("Your vote is cast: approve.")
    mina.look()


def _tab_to(page: Any, name: str) -> None:
    """Press Tab until the field of this name has the focus; it must come within a few steps."""
    for _ in range(8):
        page.keyboard.press("Tab")
        if str(page.evaluate("document.activeElement.name || ''")).endswith(name):
            return
    raise AssertionError(f"Tab does not lead to {name}")


def the_second_vote_decides(town: Town, review: str) -> None:
    tom = town.desk("tom")
    tom.go(review)
    tom.page.get_by_label("Approve", exact=True).check()
    tom.fill("Your reason", REASON)
    tom.sign()
    tom.press("Cast my vote")
    expect(tom.page.locator(".page-head").get_by_text("Approved", exact=True)).to_be_visible()


def it_stands_among_the_decided_and_is_found_there(town: Town) -> None:
    clara = town.desk("clara")
    clara.go("/governance/?q=2.0&state=approved&sort=-closed")
    clara.page.locator("#closed").locator("xpath=..").get_by_role("link", name=VERSION).wait_for()
    clara.go("/governance/?q=nothing-like-this")
    clara.reads("No decided review matches")
    clara.follow("Show all of them")
    clara.page.locator("#closed").locator("xpath=..").get_by_role("link", name=VERSION).wait_for()


def the_chair_deploys_what_was_approved_and_signs(town: Town) -> None:
    clara = town.desk("clara")
    clara.go("/governance/deployments/")
    clara.follow("Deploy a version")
    clara.choose("Version", VERSION)
    clara.press("Show what its gates say")
    clara.reads("Its approval stands.")
    clara.fill("Site", "North Hospital")
    clara.fill("Contact at the site", "Ines Vogel")
    clara.fill("E-mail of the contact", "ines@example.org")
    clara.sign()
    clara.press("Sign and deploy")
    clara.reads(f"{VERSION} runs at North Hospital from now on.")


def test_the_committee_decides(settle: Settle) -> None:
    town = settle("committee")
    review = the_chair_opens_the_review(town)
    who_made_it_is_refused_on_the_page_and_by_the_service(town, review)
    a_member_votes_by_keyboard_alone(town, review)
    the_second_vote_decides(town, review)
    it_stands_among_the_decided_and_is_found_there(town)
    the_chair_deploys_what_was_approved_and_signs(town)
    town.nobody_complained()
