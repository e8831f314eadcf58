"""The main job as people do it: in a browser, each signed in as themselves, against real workers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from config.embedded.stack import ROOT
from tests.pages.test_browser import check_fits
from tests.stack.conftest import Installation

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    # Before ``installation``: without a browser nobody waits minutes for an installation that no test will use.
    pytest.mark.usefixtures("chromium"),
]

NIH = "NIH text-mined chest X-ray labels 2017"
REFERENCE = "reference-multimodal-chest-model"
CANDIDATE = "1.2-candidate"
HELD_OUT = "Simulated held-out patients"
REASON = "Airspace opacity is missed far more often in PA films than the protocol allows."
COMMANDS = ("chromium", "chromium-browser", "google-chrome")
ESTIMATE = re.compile(r"−?\.\d{3} \(−?\.\d{3}(–| to )−?\.\d{3}\)")
WORKER = 120_000
"""Milliseconds that a worker may take for one document."""
AUDIT = 300_000
"""Milliseconds that an audit of some thousand studies may take on two cores."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """A Chromium: the first on the PATH, else the one that Playwright installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    for command in COMMANDS:
        if found := shutil.which(command):
            return found
    with playwright.sync_playwright() as driver:
        own = str(driver.chromium.executable_path)
    if not Path(own).is_file():
        pytest.skip(f"no Chromium: neither {', '.join(COMMANDS)} is on the PATH, nor is Playwright's own at {own}")
    return own


@pytest.fixture(scope="module")
def browser(chromium: str, installation: Installation) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


class Desk:
    """One person at one browser window, and everything that went wrong in it."""

    def __init__(self, browser: Any, installation: Installation, username: str, **options: Any) -> None:
        viewport = {"width": options.pop("width", 1440), "height": 900}
        self.address = installation.address
        self.page = browser.new_context(viewport=viewport, accept_downloads=True, **options).new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url}: {error}"))
        self.page.on("response", self._answered)
        self.password = installation.password
        self._sign_in(username, installation.password)

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.url}: {response.status}")

    def _sign_in(self, username: str, password: str) -> None:
        self.page.goto(f"{self.address}/sign-in/")
        self.page.fill("#id_username", username)
        self.page.fill("#id_password", password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/sign-in/" not in url)

    def go(self, path: str) -> Any:
        return self.page.goto(self.address + path)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def link(self, name: str) -> Any:
        return self.page.get_by_role("link", name=name, exact=True)

    def reads(self, text: str) -> Any:
        """The place in the page's content where these words are; waits until they are there."""
        found = self.page.get_by_role("main").get_by_text(text).first
        found.wait_for()
        return found

    def close(self) -> None:
        self.page.context.close()


@pytest.fixture
def sit_down(browser: Any, installation: Installation) -> Iterator[Any]:
    desks: list[Desk] = []

    def as_person(username: str, **options: Any) -> Desk:
        desks.append(Desk(browser, installation, username, **options))
        return desks[-1]

    yield as_person
    for desk in desks:
        desk.close()


def verify(path: Path) -> subprocess.CompletedProcess[str]:
    """The verifier, alone: no package of this repository can be imported by it."""
    command = [sys.executable, "-I", str(ROOT / "governance/bundle/verify.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def review_of(installation: Installation, version: str) -> int:
    return installation.python(f"""
        from governance.models import Review
        answer = Review.objects.filter(version__label={version!r}).latest("opened_at").pk
    """)


def test_whoever_had_a_part_gets_no_ballot_and_reads_why(installation: Installation, sit_down: Any) -> None:
    """The submitter, the auditor and the approver of the protocol; and the service refuses what the page hides."""
    path = f"/governance/reviews/{review_of(installation, '2017')}/"
    grounds = {
        "elena": "submitted this version",
        "amir": "requested the audit",
        "clara": "approved the protocol",
    }
    for username, part in grounds.items():
        desk = sit_down(username)
        desk.go(path)
        assert desk.button("Cast my vote").is_disabled()
        assert desk.page.locator("input[name=choice], textarea[name=rationale]").count() == 0
        assert desk.page.locator("#ballot .action__reason").inner_text().strip()
        desk.reads(part)
        token = desk.page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
        forged = desk.page.request.post(
            desk.address + path,
            form={"csrfmiddlewaretoken": token, "choice": "reject", "rationale": REASON},
            headers={"Referer": desk.address + path},
        )
        assert forged.status == 403, username
    desk.reads("You approved the protocol of this audit, so you cannot vote on what it found.")
    desk.reads("No vote is cast yet.")


def read_why_it_fails(page: Any) -> None:
    """Verdict in words, then number, interval and n, then the picture, then the table: in this order down the page."""
    banner, chart = page.locator(".verdict-banner"), page.locator(".chart img").first
    assert banner.get_by_role("heading").inner_text().strip() == "Fails"
    expect(banner.locator(".verdict-banner__statement")).to_contain_text("missed more often", use_inner_text=True)
    numbers = banner.locator(".numbers").inner_text()
    assert ESTIMATE.search(numbers), numbers
    assert re.search(r"\d[\d,]* studies\s+of \d[\d,]* patients", numbers), numbers
    chart.scroll_into_view_if_needed()
    assert chart.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    places = [banner, banner.locator(".numbers"), chart, page.get_by_role("group", name="Verdicts that decide")]
    tops = [place.bounding_box()["y"] for place in places]
    assert tops == sorted(tops)


def vote_to_reject(desk: Desk) -> None:
    desk.link(f"Vote on {NIH}").click()
    read_why_it_fails(desk.page)
    desk.link("Go to your vote").click()
    assert desk.page.get_by_label("Approve", exact=True).is_disabled(), "evidence that fails could be approved"
    desk.page.get_by_label("Reject", exact=True).check()
    desk.page.get_by_label("Your reason").fill(REASON)
    desk.page.get_by_label("Your password").fill(desk.password)
    desk.button("Cast my vote").click()
    desk.reads("Your vote is cast: reject.")


def test_the_committee_rejects_and_the_bundle_verifies(
    installation: Installation, sit_down: Any, tmp_path: Path
) -> None:
    mina, tom, clara = (sit_down(name) for name in ("mina", "tom", "clara"))
    vote_to_reject(mina)
    assert mina.page.locator(".title-line .status").first.inner_text() == "Open"
    assert mina.button("Cast my vote").is_disabled()
    mina.link("Read the whole audit").click()
    read_why_it_fails(mina.page)
    mina.link("Home").first.click()
    mina.page.wait_for_url("http://*/")
    assert mina.link(f"Vote on {NIH}").count() == 0

    vote_to_reject(tom)
    assert tom.page.locator(".title-line .status").first.inner_text() == "Rejected"

    room = f"/governance/reviews/{review_of(installation, '2017')}/"
    clara.go(room)
    clara.link("Read the whole audit").click()
    for title in ("Technical documentation (Annex IV)", "Committee one-pager"):
        clara.page.locator("summary", has_text=f"Issue: {title}").click()
        clara.button("Issue it now").locator("visible=true").click()
        clara.reads("The report is being written.")
    reports = clara.page.get_by_role("group", name="Reports")
    reports.get_by_text("Issued", exact=True).nth(1).wait_for(timeout=WORKER)
    clara.go(room)
    clara.button("Build a signed bundle").click()
    clara.reads("The bundle is being built and signed.")
    bundle = clara.page.get_by_role("group", name="Bundles").get_by_role("link", name="Download").first
    bundle.wait_for(timeout=WORKER)
    with clara.page.expect_download() as download:
        bundle.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    found = verify(path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert mina.complaints == tom.complaints == clara.complaints == []


def candidate_folder(installation: Installation) -> str:
    """The twin's weights with one more note, so that it is another version and nothing comes from the cache."""
    return installation.python(f"""
        import shutil
        from django.conf import settings
        from models_registry.models import ModelVersion
        from models_registry.services.versions import model_store
        twin = ModelVersion.objects.get(label="1.1", system__slug={REFERENCE!r})
        folder = settings.AUSCULT_HOME / "sources" / {CANDIDATE!r}
        shutil.copytree(model_store().folder_path(twin.digest), folder, copy_function=shutil.copyfile)
        (folder / "NOTES.md").write_text("Candidate {CANDIDATE}.")
        answer = str(folder)
    """)


def test_an_audit_is_requested_watched_cancelled_and_resumed(installation: Installation, sit_down: Any) -> None:
    elena, amir = sit_down("elena"), sit_down("amir")
    elena.go(f"/systems/{REFERENCE}/")
    elena.link("Register a version").click()
    elena.page.get_by_label("Label").fill(CANDIDATE)
    elena.page.get_by_label("Adapter").select_option("fusion")
    elena.page.get_by_label("In a folder on the server").check()
    elena.page.get_by_label("Folder on the server", exact=True).fill(candidate_folder(installation))
    elena.button("Check the model").click()
    elena.page.locator(".title-line .status").get_by_text("Ready to register").wait_for(timeout=WORKER)
    elena.page.locator("summary", has_text="Register this version").click()
    elena.button("Confirm and register").click()
    elena.page.wait_for_url(re.compile(r"/versions/\d+/$"), timeout=WORKER)
    elena.reads("Submitted")
    assert elena.button("Request an audit").is_disabled(), "the submitter could audit their own version"

    amir.page.goto(elena.page.url)
    amir.link("Request an audit").click()
    amir.page.get_by_label("Cohort", exact=True).select_option(label=cohort_option(amir.page))
    amir.page.get_by_label("Protocol").select_option(index=protocol_place(amir.page, "reference-model-v1"))
    amir.button("Request the audit").click()
    amir.page.wait_for_url(re.compile(r"/audits/\d+/$"))
    progress = amir.page.get_by_role("progressbar", name="Studies done")
    while progress.get_attribute("value") == "0":
        # Not left to the page's own questions here: a fast machine would be done before the second of them.
        amir.page.wait_for_timeout(100)
        amir.page.reload()
    amir.page.locator("summary", has_text="Cancel").click()
    amir.button("Cancel the audit").click()
    amir.reads("The audit was cancelled.")
    assert amir.page.locator(".title-line .status").first.inner_text() == "Cancelled"
    assert float(progress.get_attribute("value")) < float(progress.get_attribute("max"))

    with amir.page.expect_response(lambda answer: "/progress/?n=1" in answer.url, timeout=AUDIT):
        amir.button("Resume").click()
        amir.reads("The audit goes on where it stopped.")
    amir.page.locator(".verdict-banner").wait_for(timeout=AUDIT)
    assert amir.page.locator(".verdict-banner__word").inner_text().strip() == "Passes"
    assert ESTIMATE.search(amir.page.locator(".verdict-banner .numbers").inner_text())
    assert elena.complaints == amir.complaints == []


def cohort_option(page: Any) -> str:
    """The option of the held-out cohort, whatever is written behind its name."""
    options = page.get_by_label("Cohort", exact=True).locator("option")
    options.filter(has_text=HELD_OUT).first.wait_for(state="attached")
    return next(text for text in options.all_inner_texts() if text.startswith(HELD_OUT))


def protocol_place(page: Any, name: str) -> int:
    options = page.get_by_label("Protocol").locator("option")
    options.filter(has_text=name).first.wait_for(state="attached")
    return next(place for place, text in enumerate(options.all_inner_texts()) if name in text)


def addresses(installation: Installation) -> list[str]:
    """Every page that this installation has for people of the house."""
    return installation.python("""
        from django.urls import reverse
        from evaluation.models import AuditRun, Protocol
        from governance.models import Review
        from models_registry.models import AISystem, CohortVersion, ModelVersion
        from models_registry.pages.rooms import ROOMS
        answer = [reverse(name) for name in ("home", "systems", "system-new", "audits", "audit-new", "protocols",
            "grants", "grant-new", "protocol-new", "cohorts", "import-new", "reviews", "ledger", "reports", "workers")]
        answer += [reverse("system", args=[row.slug]) for row in AISystem.objects.all()]
        rooms = [f"version-room-{room.key}" for room in ROOMS if room.key]
        for name in ("version", "lineage", *rooms):
            answer += [reverse(name, args=[row.system.slug, row.pk]) for row in ModelVersion.objects.all()]
        answer += [reverse("audit", args=[row.pk]) for row in AuditRun.objects.all()]
        answer += [reverse("protocol", args=[row.pk]) for row in Protocol.objects.all()]
        answer += [reverse("review", args=[row.pk]) for row in Review.objects.all()]
        answer += [reverse("cohort-version", args=[row.cohort.slug, row.pk]) for row in CohortVersion.objects.all()]
    """)


def test_no_page_scrolls_sideways_or_complains(installation: Installation, sit_down: Any) -> None:
    """A violation of the content security policy is an error of the console, so it would be a complaint."""
    desk = sit_down("clara", width=360)
    for path in addresses(installation):
        desk.go(path)
        check_fits(desk.page)
        assert desk.page.get_by_role("heading", level=1).count() == 1, path
    assert desk.complaints == []
