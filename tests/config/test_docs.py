"""The pages of docs/ build as a site without a broken link, and the site asks no other host for anything."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from config.embedded.stack import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOADS = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href",),
    "image": ("href",),
    "link": ("href",),
}
"""Attributes through which a page loads something, by tag. ``link`` loads only with some relations."""
LOADING_RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
FOREIGN = re.compile(r"(?:^|[\s,])(?:https?:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


class _Loads(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "link" and not LOADING_RELATIONS & set(said.get("rel", "").lower().split()):
            return
        values = [said[name] for name in LOADS.get(tag, ()) if name in said]
        self.foreign += [value for value in values if FOREIGN.search(value)]
        self.foreign += IN_STYLE.findall(said.get("style", ""))


def foreign_loads(text: str) -> list[str]:
    """What a page of HTML loads from another host, its own styles included."""
    parser = _Loads()
    parser.feed(text)
    return parser.foreign + IN_STYLE.findall(text if "<style" in text else "")


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()
    assert len(pages) > 80


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    found = {path.name: loads for path in site.rglob("*.html") if (loads := foreign_loads(path.read_text()))}
    styles = {path.name: loads for path in site.rglob("*.css") if (loads := IN_STYLE.findall(path.read_text()))}
    assert found == styles == {}


@pytest.mark.parametrize(
    "planted",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img srcset="a.png 1x, https://cdn.example/b.png 2x">',
        "<style>@import 'https://cdn.example/x.css';</style>",
        '<p style="background: url(https://cdn.example/x.png)">',
    ],
)
def test_what_comes_from_elsewhere_is_seen(planted: str) -> None:
    assert foreign_loads(planted)


def test_a_link_that_one_follows_loads_nothing() -> None:
    assert foreign_loads('<a href="https://www.example.org/">there</a><link rel="canonical" href="https://x">') == []


def test_a_broken_link_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", dirs_exist_ok=True)
    page = tmp_path / "docs" / "index.md"
    page.write_text(page.read_text() + "\n[nowhere](there-is-no-such-page.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "there-is-no-such-page.md" in done.stderr


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """The test speaks for itself."""

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")
def test_a_browser_asks_one_host_alone_and_the_search_finds(served: str) -> None:
    """Scripts may ask for what no attribute names, so a browser is watched while it reads and searches."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "reference/metrics.html", "tutorials/auditor.html"):
            page.goto(f"{served}/{name}", wait_until="networkidle")
        page.locator("[data-md-component=search-query]").click()
        page.keyboard.type("incident clocks")
        page.locator(".md-search-result__item").first.wait_for(timeout=30_000)
        browser.close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
