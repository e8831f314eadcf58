"""What only a browser can tell: nothing scrolls sideways, the policy holds, pages live and work without a mouse."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from models_registry.pages.rooms import ROOMS
from tests.migrated import fill as migrated
from tests.pages.scene import PASSWORD

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (360, 1440)
PATIENCE = 30_000
"""Milliseconds: an answer may be slow where other tests run beside it."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FILL = (
    "import django; django.setup(); from tests.pages.scene import house; from tests.pages.closer_scene import enrich; "
    "from tests.pages.lineage_scene import furnish, intakes, workers; found = house(); enrich(found['fail']); "
    "furnish(found['cohort'], found['protocol']); intakes(found['system']); workers(); "
    "from tests.pages.monitors_scene import life; life()"
)
PAGES = (
    "/", "/systems/", "/systems/chest-model/", "/systems/chest-model/versions/1/", "/systems/~new/", "/cohorts/",
    "/cohorts/simulated-chest-cohort/", "/cohorts/~import/", "/cohorts/~import/1/", "/audits/", "/audits/new/",
    "/audits/1/", "/audits/3/", "/audits/4/", "/audits/5/", "/audits/protocols/", "/audits/protocols/1/",
    "/audits/protocols/new/",
    *(f"/systems/chest-model/versions/2/~{room.key}/" for room in ROOMS if room.key),
    "/systems/?sort=-alerts&q=model", "/audits/1/?undefined=yes&sort=-n", "/compare/",
    "/compare/?left=run:1&right=run:2",
    "/systems/chest-model/versions/new/", "/systems/chest-findings/versions/6/", "/systems/chest-backbone/",
    "/systems/chest-findings/versions/6/lineage/", "/systems/chest-backbone/versions/9/lineage/", "/workers/",
    "/systems/chest-model/intakes/1/", "/systems/chest-model/intakes/2/", "/systems/chest-model/intakes/3/",
    "/governance/", "/governance/reviews/1/", "/governance/reviews/2/", "/governance/ledger/", "/reports/",
    "/governance/grants/", "/governance/grants/new/", "/governance/grants/1/",
    "/governance/conditions/", "/governance/releases/", "/governance/releases/new/",
    "/notifications/", "/notifications/preferences/",
    "/monitors/", "/monitors/new/", "/monitors/1/", "/monitors/1/windows/6/", "/monitors/1/windows/4/",
    "/monitors/1/stream/?of=age&by=sex=*", "/monitors/alerts/", "/monitors/alerts/1/", "/monitors/webhooks/",
    "/monitors/webhooks/1/",
)  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A furnished house behind a real web server, in a home folder of its own."""
    with served(tmp_path_factory.mktemp("house"), FILL) as found:
        yield found


@contextmanager
def served(home: Path, fill: str) -> Iterator[str]:
    """The address of a web server whose house was filled by this code."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "AUSCULT_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "AUSCULT_REDIS_URL": "memory://",
    }
    with closing(sqlite3.connect(home / "auscult.sqlite3")) as database:
        migrated(database)
    subprocess.run([sys.executable, "-c", fill], cwd=ROOT, env=environment, check=True, capture_output=True)
    serve = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", "4"]
    server = subprocess.Popen(serve, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the web server did not start")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def open_as(browser: Any, address: str, username: str, *, width: int = 1440, **options: Any) -> tuple[Any, list[str]]:
    """A page signed in by the form, and everything the console complains of from then on."""
    page = browser.new_context(viewport={"width": width, "height": 800}, **options).new_page()
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text) if told.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}/sign-in/")
    page.fill("#id_username", username)
    page.fill("#id_password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/")
    return page, complaints


def check_fits(page: Any) -> None:
    """The page that is open scrolls sideways neither on a phone nor on a desk, in neither theme."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert beyond <= 0, f"{page.url} at {width}, {scheme}"


def test_no_page_scrolls_sideways_or_breaks_the_policy(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "elena", width=360)
    for url in PAGES:
        page.goto(address + url)
        check_fits(page)
    assert complaints == []


def test_the_folded_navigation_opens_without_a_script(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "elena", width=360, java_script_enabled=False)
    audits = page.locator(".topbar").get_by_role("link", name="Audits")
    expect(audits).not_to_be_visible()
    page.get_by_text("Menu", exact=True).click()
    audits.click()
    page.wait_for_url(f"{address}/audits/")


def test_progress_asks_again_by_itself(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "amir")
    page.goto(f"{address}/audits/4/")
    with page.expect_response(lambda answer: "/audits/4/progress/?n=1" in answer.url, timeout=8000) as first:
        pass
    assert first.value.status == 200
    assert page.locator("progress").count() == 1
    assert complaints == []


def test_the_numbers_behind_a_chart_come_on_demand(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "mina")
    page.goto(f"{address}/audits/1/")
    page.get_by_text("Show as table").first.click()
    page.get_by_role("group", name="Numbers behind the chart").first.wait_for(timeout=15000)
    assert complaints == []


def test_the_closer_look_changes_with_the_choice_and_draws(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "mina")
    page.goto(f"{address}/audits/1/")
    page.get_by_label("Groups by").select_option("age_band")
    page.locator("#closer").get_by_role("button", name="Show").click()
    page.get_by_role("heading", name="Calibration by group: age band").wait_for(timeout=15000)
    for image in page.locator("#closer img").all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.locator("#closer").get_by_text("Show as table").first.click()
    page.get_by_role("group", name="Numbers behind the chart").first.wait_for(timeout=15000)
    assert complaints == []


def test_pictures_of_a_monitor_are_drawn_and_another_librarys_report_is_shut_in(browser: Any, address: str) -> None:
    page, complaints = open_as(browser, address, "mina")
    page.goto(f"{address}/monitors/1/")
    images = page.locator("main img").all()
    assert len(images) == 2
    for image in images:
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.get_by_text("Show as table").first.click()
    page.get_by_role("group", name="Numbers behind the chart").first.wait_for(timeout=15000)
    page.goto(f"{address}/monitors/1/windows/6/")
    page.get_by_text("Show its report").click()
    frame = page.frame_locator("iframe")
    frame.get_by_text("ran").wait_for(timeout=15000)
    origin = page.frames[1].evaluate("self.origin")
    assert origin == "null", "its own script runs, in an origin that is nobody's"
    assert page.frames[1].evaluate("fetch('/').then(() => 'let through', () => 'refused')") == "refused"
    assert [told for told in complaints if "Content Security Policy" not in told] == []


def test_the_first_tab_skips_to_the_content(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "mina")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_keys_open_the_shortcuts_and_lead_to_rooms(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "mina")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(f"{address}/audits/")


def test_an_error_summary_takes_the_focus_and_leads_to_the_field(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "elena")
    page.goto(f"{address}/systems/~new/")
    page.get_by_role("button", name="Register the system").click()
    expect(page.locator(".error-summary")).to_be_focused()
    page.locator(".error-summary").get_by_role("link").first.click()
    expect(page.locator("#id_name")).to_be_focused()


def test_the_chosen_theme_is_there_on_the_first_paint(browser: Any, address: str) -> None:
    page, _ = open_as(browser, address, "mina", color_scheme="light")
    page.locator(".sidebar").get_by_role("button", name="Dark").click()
    page.locator("html[data-theme=dark]").wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
