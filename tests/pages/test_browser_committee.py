"""The committee in a browser: own submission barred, recusal, a wrong password, quorum, a condition that runs out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from tests.pages.scene import PASSWORD
from tests.pages.test_browser import CHROMIUM, ROOT, browser, open_as, served

__all__ = ["browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]
SCRIPT = "<script>document.title = 'taken'</script> I read the evidence, and it passes."
CONDITION = "Repeat the audit on patients of the ward."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("committee")


@pytest.fixture(scope="module")
def told(home: Path) -> Callable[[str], str]:
    """Runs a function of the scene in the installation, and gives what it returns."""

    def tell(name: str) -> str:
        code = f"import django; django.setup(); from tests.pages import committee_scene as s; print(s.{name}())"
        environment = os.environ | {"AUSCULT_HOME": str(home), "DJANGO_SETTINGS_MODULE": "config.settings"}
        environment["AUSCULT_REDIS_URL"] = "memory://"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip().splitlines()[-1]

    return tell


@pytest.fixture(scope="module")
def story(browser: Any, home: Path) -> Iterator[SimpleNamespace]:
    """The address, and a desk for each person who signed in: their page and what its console complained of."""
    fill = "import django; django.setup(); from tests.pages.committee_scene import furnish; furnish()"
    with served(home, fill) as address:
        desks: dict[str, Any] = {}

        def desk(username: str) -> Any:
            if username not in desks:
                desks[username] = open_as(browser, address, username)
            return desks[username][0]

        yield SimpleNamespace(address=address, desk=desk, desks=desks, review="")


def vote(page: Any, *, choice: str, reason: str, password: str) -> None:
    page.get_by_label(choice, exact=True).check()
    page.get_by_label("Your reason").fill(reason)
    if page.get_by_label("Your password").count():
        page.get_by_label("Your password").fill(password)
    page.get_by_role("button", name="Cast my vote").click()


def the_chair_puts_the_evidence_before_the_committee(story: SimpleNamespace) -> None:
    page = story.desk("clara")
    page.get_by_role("link", name="Open a review of Chest model 2.0").click()
    page.get_by_text("Open a review", exact=True).click()
    page.get_by_role("button", name="Put it before the committee").click()
    page.get_by_role("link", name="Review", exact=False).locator("visible=true").first.wait_for()
    page.locator("#next-steps a[href*='/governance/reviews/']").first.click()
    expect(page.get_by_role("heading", name="Review of Chest model 2.0")).to_be_visible()
    story.review = page.url


def who_submitted_it_cannot_vote_by_a_second_role(story: SimpleNamespace) -> None:
    page = story.desk("elena")
    page.goto(story.review)
    expect(page.get_by_role("button", name="Cast my vote")).to_be_disabled()
    expect(page.get_by_text("You submitted this version, so you cannot vote on it.").first).to_be_visible()


def a_member_with_a_conflict_takes_no_part(story: SimpleNamespace) -> None:
    page = story.desk("lea")
    page.goto(story.review)
    expect(page.get_by_role("button", name="Cast my vote")).to_be_enabled()
    page.locator("summary", has_text="Take no part").click()
    page.get_by_label("Your conflict of interest").fill("My department paid for the training data.")
    page.locator("details.confirm[open] button").first.click()
    expect(page.get_by_role("button", name="Cast my vote")).to_be_disabled()
    expect(page.get_by_text("My department paid for the training data.")).to_be_visible()


def a_condition_has_an_owner_and_a_day_that_lies_ahead(story: SimpleNamespace) -> None:
    page = story.desk("mina")
    page.goto(story.review)
    ahead = (timezone.now() + timedelta(days=30)).date().isoformat()

    def propose(owner: str, day: str) -> None:
        if not page.locator("#conditions details.confirm[open]").count():
            page.get_by_text("Propose a condition", exact=True).click()
        page.get_by_label("What must be done").fill(CONDITION)
        page.get_by_label("Who sees to it").select_option(label=owner)
        page.get_by_label("By the end of").fill(day)
        page.get_by_role("button", name="Propose it").click()

    propose("Choose one", ahead)
    expect(page.get_by_text("A condition needs an owner.").first).to_be_visible()
    chosen = page.get_by_label("Who sees to it").locator("option", has_text="elena").inner_text()
    propose(chosen, "2020-01-01")
    expect(page.get_by_label("What must be done")).to_have_value(CONDITION)  # refused, and what was typed is kept
    propose(chosen, ahead)
    expect(page.locator("#conditions .conditions li")).to_have_count(1)


def a_vote_is_signed_with_ones_own_password(story: SimpleNamespace) -> None:
    page = story.desk("mina")
    page.goto(story.review)
    vote(page, choice="Approve", reason="Every criterion passes.", password="not my password")
    expect(page.get_by_text("This is not your password, so nothing was signed.").first).to_be_visible()
    expect(page.get_by_label("Your password")).to_have_value("")
    vote(page, choice="Approve", reason="Every criterion passes.", password=PASSWORD)
    expect(page.get_by_text("Your vote is cast: approve.")).to_be_visible()
    expect(page.get_by_role("button", name="Cast my vote")).to_be_disabled()
    expect(page.get_by_role("button", name="Propose a condition")).to_be_disabled()  # frozen by the first approval


def the_second_vote_decides_and_a_script_in_it_is_text(story: SimpleNamespace) -> None:
    page = story.desk("tom")
    page.goto(story.review)
    vote(page, choice="Approve", reason=SCRIPT, password=PASSWORD)
    expect(page.locator(".page-head").get_by_text("Approved with conditions")).to_be_visible()
    expect(page.get_by_text(SCRIPT)).to_be_visible()
    assert "taken" not in page.title()


def a_condition_that_runs_out_ends_the_approval(story: SimpleNamespace, told: Callable[[str], str]) -> None:
    assert told("status") == "conditional"
    told("let_time_pass")
    assert told("status") == "suspended"
    page = story.desk("clara")
    page.goto(story.review)
    expect(page.locator("#conditions").get_by_text("Lapsed")).to_be_visible()
    page.goto(f"{story.address}/notifications/")
    expect(page.get_by_text("Chest model 2.0").first).to_be_visible()


def no_page_of_the_story_complained(story: SimpleNamespace) -> None:
    # A refused form is answered with 403, 409 or 422, which the browser notes.
    complaints = {name: [line for line in told if "status of 4" not in line] for name, (_, told) in story.desks.items()}
    assert not any(complaints.values()), complaints


def test_the_committees_story(story: SimpleNamespace, told: Callable[[str], str]) -> None:
    """One story, in its order; a step that fails is named by the traceback."""
    the_chair_puts_the_evidence_before_the_committee(story)
    who_submitted_it_cannot_vote_by_a_second_role(story)
    a_member_with_a_conflict_takes_no_part(story)
    a_condition_has_an_owner_and_a_day_that_lies_ahead(story)
    a_vote_is_signed_with_ones_own_password(story)
    the_second_vote_decides_and_a_script_in_it_is_text(story)
    a_condition_that_runs_out_ends_the_approval(story, told)
    no_page_of_the_story_complained(story)
