"""Stories: what a role comes to do, from signing in to done, in a browser against an installation of its own.

``AUSCULT_WRITE_SHOTS=DIR`` writes a picture of every page that a story visits, on a phone and on a desk.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import expect

from config.embedded.stack import Stack
from tests.migrated import fill as migrated
from tests.pages.scene import PASSWORD
from tests.pages.test_browser import PATIENCE, ROOT, browser, served
from tests.stack.conftest import free_port

__all__ = ["browser"]
SHOTS = os.environ.get("AUSCULT_WRITE_SHOTS", "")
WIDTHS = (360, 1440)
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass(kw_only=True)
class Desk:
    """One person at a browser window of their own.

    Attributes:
        complaints: What its console said, without the refusals that a story asks for.
    """

    page: Any
    address: str
    username: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Any:
        """Open a page; it must be there, have one heading, a way back, and not scroll sideways."""
        answer = self.page.goto(path if path.startswith("http") else self.address + path)
        assert answer is not None and answer.status == 200, path
        self.look()
        return answer

    def look(self) -> None:
        """Look at the page where one is, as narrow as a phone and as wide as a desk."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            assert self.page.evaluate(SIDEWAYS) <= 0, f"{self.page.url} scrolls sideways at {width}"
            self.shoot(width)
        assert self.page.get_by_role("heading", level=1).count() == 1, self.page.url

    def shoot(self, width: int) -> None:
        if SHOTS:
            place = re.sub(r"\W+", "-", self.page.url.removeprefix(self.address)).strip("-") or "home"
            self.page.screenshot(path=Path(SHOTS) / f"{self.username}-{place[:80]}-{width}.png", full_page=True)

    def leads(self, found: Any) -> None:
        """Click what leads to a page; wait until that page stands, and look at it."""
        with self.page.expect_event("load", timeout=PATIENCE):
            found.click()
        self.look()

    def press(self, name: str) -> None:
        """Press a button and look at what it led to."""
        self.leads(self.page.get_by_role("button", name=name, exact=True).locator("visible=true").first)

    def follow(self, name: str) -> None:
        """Follow a link and look at where it led."""
        self.leads(self.page.get_by_role("main").get_by_role("link", name=name).locator("visible=true").first)

    def unfold(self, words: str) -> None:
        self.page.locator("summary", has_text=words).locator("visible=true").first.click()

    def fill(self, label: str, text: str) -> None:
        self.field(label).fill(text)

    def field(self, label: str) -> Any:
        """The first field that is seen with this label; one that may stay empty says so in its label."""
        words = re.compile(rf"^\s*{re.escape(label)}\s*(\(?optional\)?)?\s*$")
        return self.page.get_by_label(words).locator("visible=true").first

    def choose(self, label: str, words: str) -> None:
        """The option that begins so."""
        found = self.field(label)
        found.wait_for()
        options = [text.strip() for text in found.locator("option").all_text_contents()]
        fitting = [place for place, text in enumerate(options) if text.startswith(words)]
        assert fitting, f"{label}: {words!r} is none of {options}"
        found.select_option(index=fitting[0])

    def sign(self) -> None:
        """Give one's password where the page asks for it; it does not ask twice within minutes."""
        asked = self.page.get_by_label("Your password").locator("visible=true")
        if asked.count():
            asked.first.fill(PASSWORD)

    def reads(self, words: str) -> Any:
        found = self.page.get_by_role("main").get_by_text(words).locator("visible=true").first
        expect(found).to_be_visible()
        return found

    def refused(self, name: str, reason: str) -> None:
        """A button that is there, disabled, with its reason beside it."""
        expect(self.page.get_by_role("button", name=name, exact=True).first).to_be_disabled()
        self.reads(reason)


@dataclass(kw_only=True)
class Town:
    """An installation that serves, and the people who sat down in it."""

    home: Path
    address: str
    browser: Any
    desks: dict[str, Desk] = field(default_factory=dict)

    def desk(self, username: str) -> Desk:
        """The window of a person, who signs in by the form the first time."""
        if username not in self.desks:
            page = self.browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True).new_page()
            made = self.desks[username] = Desk(page=page, address=self.address, username=username)
            page.on("console", lambda told: _heard(made, told))
            page.on("pageerror", lambda error: made.complaints.append(str(error)))
            page.goto(f"{self.address}/sign-in/")
            page.fill("[name=username]", username)
            page.fill("[name=password]", PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_url(lambda url: "/sign-in/" not in url)
            made.look()
        return self.desks[username]

    def python(self, code: str) -> Any:
        """Run code in the installation; what it assigns to ``answer`` comes back."""
        script = (
            f"import django, json\ndjango.setup()\nanswer = None\n{textwrap.dedent(code)}\nprint(json.dumps(answer))"
        )
        told = {"AUSCULT_HOME": str(self.home), "DJANGO_SETTINGS_MODULE": "config.settings"}
        environment = os.environ | {"AUSCULT_REDIS_URL": "memory://"} | told
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def nobody_complained(self) -> None:
        assert {name: desk.complaints for name, desk in self.desks.items() if desk.complaints} == {}


def _heard(desk: Desk, told: Any) -> None:
    # A refused form is answered with 403, 409, 410 or 422, which the browser notes.
    if told.type in {"error", "warning"} and "status of 4" not in told.text:
        desk.complaints.append(f"{desk.page.url}: {told.text}")


class Settle(Protocol):
    def __call__(self, name: str, *, workers: bool = False) -> Town: ...


@contextmanager
def worked(home: Path, fill: str) -> Iterator[str]:
    """Like ``served``, with a broker, the workers and the scheduler, each in a process of its own."""
    environment = os.environ | {"AUSCULT_HOME": str(home), "DJANGO_SETTINGS_MODULE": "config.settings"}
    with closing(sqlite3.connect(home / "auscult.sqlite3")) as database:
        migrated(database)
    offline = environment | {"AUSCULT_REDIS_URL": "memory://"}
    subprocess.run([sys.executable, "-c", fill], cwd=ROOT, env=offline, check=True, capture_output=True)
    with Stack(home=home, port=free_port(), tell=lambda _: None) as stack:
        yield stack.address.rstrip("/")


@pytest.fixture(scope="module")
def settle(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settle]:
    """``settle("committee")`` serves an installation that this function of ``tests.stories.scenes`` filled; with
    ``workers=True`` with a broker and real workers."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_ones:

        def make(name: str, *, workers: bool = False) -> Town:
            home = tmp_path_factory.mktemp(name)
            fill = f"import django; django.setup(); from tests.stories import scenes; scenes.{name}()"
            address = open_ones.enter_context(worked(home, fill) if workers else served(home, fill))
            return Town(home=home, address=address, browser=browser)

        yield make
