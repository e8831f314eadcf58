"""What Chromium sees: how much moves while a page loads, and what a first visit transfers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.web_addresses import Asked

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 1440)
WHO = "clara"
MAIN = (
    "home", "systems", "system", "version", "version-room-fairness", "version-room-requirements", "requirements",
    "audits", "audit", "compare", "monitors", "monitor", "monitor-window", "alerts", "cohorts", "cohort-version",
    "synthetic", "reviews", "review", "risks", "risk", "deployments", "deployment", "incidents", "incident", "ledger",
    "reports", "notifications",
)  # fmt: skip
WATCH = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""
SETTLE_MS = 700
"""For how long it is watched after everything has loaded."""


def look(address: str, cookies: Mapping[str, str], asked: Sequence[Asked]) -> dict[str, Any]:
    """Layout shift of each main page at each width, the sum over its life; bytes of a first visit, heads included."""
    from playwright.sync_api import sync_playwright

    chosen = [next((item for item in asked if item.name == name), None) for name in MAIN]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            shifts = {
                f"{item.title} at {width}": _shift(browser, address, item.address, width, cookies[WHO])
                for item in chosen
                if item
                for width in WIDTHS
            }
            visit = _first_visit(browser, address, cookies[WHO])
            sign_in = _first_visit(browser, f"{address}/sign-in/", "")
        finally:
            browser.close()
    return {"shifts": shifts, "first_visit": visit, "first_visit_to_sign_in": sign_in}


def _context(browser: Any, address: str, session: str, width: int) -> Any:
    context = browser.new_context(viewport={"width": width, "height": 900})
    if session:
        context.add_cookies([{"name": "sessionid", "value": session, "url": address}])
    return context


def _shift(browser: Any, address: str, path: str, width: int, session: str) -> float:
    context = _context(browser, address, session, width)
    try:
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto(address + path, wait_until="networkidle")
        page.wait_for_timeout(SETTLE_MS)
        return round(float(page.evaluate("window.shifted")), 4)
    finally:
        context.close()


def _first_visit(browser: Any, address: str, session: str) -> dict[str, Any]:
    """Everything that one page needs, with an empty cache, as it was sent."""
    context = _context(browser, address, session, WIDTHS[1])
    try:
        page = context.new_page()
        page.goto(address, wait_until="networkidle")
        found = page.evaluate(
            """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
            .map((entry) => [new URL(entry.name).pathname, entry.transferSize])"""
        )
        return {"bytes": sum(size for _, size in found), "files": dict(found)}
    finally:
        context.close()
