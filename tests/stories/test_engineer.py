"""The engineer: a version checked and registered, an audit watched, cancelled and resumed, followed after a refresh."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import CHROMIUM
from tests.stories.conftest import Settle, Town
from tests.stories.scenes import PARTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.stack,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
LABEL = "2.0"
WORKER = 60_000
"""Milliseconds that a worker may take."""


def she_registers_a_version_after_its_check(town: Town) -> str:
    elena = town.desk("elena")
    elena.go("/systems/chest-model/")
    elena.follow("Register a version")
    elena.fill("Label", LABEL)
    elena.page.get_by_label("Adapter").select_option("recorded")
    elena.page.get_by_label("In a folder on the server").check()
    elena.page.get_by_label("Folder on the server", exact=True).fill(str(town.home / "sources" / "log"))
    elena.press("Check the model")
    elena.page.locator(".title-line .status").get_by_text("Ready to register").wait_for(timeout=WORKER)
    elena.look()
    elena.unfold("Register this version")
    elena.press("Confirm and register")
    elena.page.wait_for_url(re.compile(r"/versions/\d+/$"), timeout=WORKER)
    expect(elena.page.get_by_role("button", name="Request an audit")).to_be_disabled()
    return str(elena.page.url)


def somebody_else_audits_it(town: Town, version: str) -> str:
    amir = town.desk("amir")
    amir.go(version)
    amir.follow("Request an audit")
    amir.choose("Cohort", "Held out")
    amir.choose("Protocol", "sex-gap")
    amir.press("Request the audit")
    amir.page.wait_for_url(re.compile(r"/audits/\d+/$"))
    return str(amir.page.url)


def done_of(desk: Town, username: str) -> float:
    progress = desk.desk(username).page.get_by_role("progressbar", name="Studies done")
    return float(progress.get_attribute("value") or 0)


def he_sees_it_move_and_cancels(town: Town) -> None:
    amir = town.desk("amir")
    page = amir.page
    while done_of(town, "amir") == 0:
        page.wait_for_timeout(100)
        page.reload()
    page.locator("summary", has_text="Cancel").click()
    amir.press("Cancel the audit")
    amir.reads("The audit was cancelled.")


def it_goes_on_where_it_stopped_and_after_a_refresh(town: Town, audit: str) -> None:
    """Both see the same: who reloads, and who comes to it anew; what was done is not done again."""
    amir, elena = town.desk("amir"), town.desk("elena")
    stopped = done_of(town, "amir")
    amir.press("Resume")
    amir.reads("The audit goes on where it stopped.")
    seen = done_of(town, "amir")
    assert seen >= stopped > 0
    asked: list[str] = []
    elena.page.on("response", lambda answer: asked.append(answer.url) if "/progress/?n=" in answer.url else None)
    elena.page.goto(audit)
    amir.page.reload()
    assert done_of(town, "amir") >= seen, "a refresh goes on from what is done"
    for desk in (amir, elena):
        desk.page.locator(".verdict-banner").wait_for(timeout=WORKER)
        desk.look()
    assert asked, "the page asked by itself how far it was"
    amir.reads("missed more often")
    assert "Fail" in amir.page.locator(".verdict-banner__word").inner_text()


def every_part_was_computed_once(town: Town) -> None:
    parts = town.python("""
        from evaluation.models import AuditRun
        run = AuditRun.objects.get()
        answer = [run.status, run.shards.count(), run.shards.filter(status="done").count()]
    """)
    status, made, done = parts
    assert status == "done" and made == done > PARTS // 2, parts


def test_the_engineer_registers_and_follows_the_audit(settle: Settle) -> None:
    town = settle("workshop", workers=True)
    version = she_registers_a_version_after_its_check(town)
    audit = somebody_else_audits_it(town, version)
    he_sees_it_move_and_cancels(town)
    it_goes_on_where_it_stopped_and_after_a_refresh(town, audit)
    every_part_was_computed_once(town)
    town.nobody_complained()
