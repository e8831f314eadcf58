"""The data protection officer: a part of the impact assessment accepted, a synthetic cohort released and taken back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM
from tests.stories.conftest import Settle, Town

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
ASSESSED = "/systems/chest-model/versions/2/requirements/CNIL-loss/"
REASON = "It was made without any real patient, and the purpose is teaching."


def the_engineer_states_what_a_loss_would_do(town: Town) -> None:
    elena = town.desk("elena")
    elena.go(ASSESSED)
    elena.follow("Write a statement")
    elena.fill("Impact, row 1", "a report is late")
    elena.fill("Threats", "failure of a disk")
    elena.page.get_by_label("Threats").press("Tab")
    elena.leads(elena.page.get_by_role("button", name="Keep as a draft").last)
    elena.page.wait_for_url(f"{town.address}{ASSESSED}")
    elena.refused("Accept or return", "A draft waits for a second person")


def the_officer_accepts_it_under_her_name(town: Town) -> None:
    dora = town.desk("dora")
    dora.go(ASSESSED)
    dora.reads("failure of a disk")
    dora.fill("Remark", "Compared with the backup plan.")
    dora.press("Accept")
    dora.reads("The statement is accepted.")
    dora.reads("Accepted by Dora Novak")


def the_assessment_is_previewed_and_says_what_it_lacks(town: Town) -> None:
    dora = town.desk("dora")
    dora.go("/systems/chest-model/versions/2/reports/dpia/")
    frame = dora.page.frame_locator(".preview-frame")
    frame.get_by_role("heading", name="Chest model").first.wait_for()
    expect(frame.locator("body")).to_contain_text("failure of a disk", use_inner_text=True)
    expect(dora.page.get_by_role("main")).to_contain_text("Why it is not ready", use_inner_text=True)


def nobody_releases_without_her(town: Town) -> str:
    """The member's vote is not enough while the officer's is missing; who asked has none."""
    elena = town.desk("elena")
    elena.go("/governance/releases/")
    elena.leads(elena.page.locator("tbody th a").first)
    release = str(elena.page.url)
    elena.reads("The vote of a data protection officer is missing.")
    expect(elena.page.get_by_role("button", name="Cast my vote")).to_be_disabled()
    return release


def the_officer_releases_it_with_her_signature(town: Town, release: str) -> None:
    dora = town.desk("dora")
    dora.go(release)
    dora.page.get_by_role("link", name="Go to your vote").click()  # a place on the same page
    dora.page.get_by_label("Release", exact=True).check()
    dora.fill("Your reason", REASON)
    dora.press("Cast my vote")  # without the password: nothing is signed
    expect(dora.page.locator(".page-head").get_by_text("Awaiting decision", exact=True)).to_be_visible()
    expect(dora.field("Your reason")).to_have_value(REASON)
    dora.sign()
    dora.press("Cast my vote")
    expect(dora.page.locator(".page-head").get_by_text("Released", exact=True)).to_be_visible()
    dora.reads(REASON)


def it_is_found_among_the_releases(town: Town) -> None:
    dora = town.desk("dora")
    dora.go("/governance/releases/?q=teaching&state=approved")
    expect(dora.page.locator("tbody tr")).to_have_count(1)
    dora.go("/governance/releases/?state=rejected")
    dora.reads("No release matches")


def what_was_released_can_be_revoked_with_a_reason(town: Town, release: str) -> None:
    dora = town.desk("dora")
    dora.go(release)
    dora.unfold("Revoke the release")
    dora.fill("Why the release ends", "The faculty has closed the course for which it was asked.")
    dora.press("Revoke now")
    dora.reads("This release is revoked")


def test_the_officer_accepts_and_releases(settle: Settle) -> None:
    town = settle("privacy")
    the_engineer_states_what_a_loss_would_do(town)
    the_officer_accepts_it_under_her_name(town)
    the_assessment_is_previewed_and_says_what_it_lacks(town)
    release = nobody_releases_without_her(town)
    the_officer_releases_it_with_her_signature(town, release)
    it_is_found_among_the_releases(town)
    what_was_released_can_be_revoked_with_a_reason(town, release)
    town.nobody_complained()
