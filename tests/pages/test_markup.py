"""What every page must be: no inline code, one heading, named controls, escaped data, a strict policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django.test import Client

from tests.pages import addresses

SignIn = Callable[[str], Client]
OFFICIAL = "https://eur-lex.europa.eu/"
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """Reads a page and notes what it should not have."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.labelled: set[str] = set()
        self.controls: list[dict[str, str | None]] = []
        self.stack: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        if tag not in VOID:
            self.stack.append(tag)
        if "id" in found:
            self.ids[found["id"] or ""] += 1
        if tag == "label":
            self.labelled.add(found.get("for") or "")
        if tag in {"input", "select", "textarea"} and found.get("type") not in {"hidden", "submit"}:
            self.controls.append(found)
        self._check(tag, found)

    def _check(self, tag: str, found: dict[str, str | None]) -> None:
        if "style" in found or tag == "style":
            self.faults.append(f"inline style on <{tag}>")
        if tag == "script" and not found.get("src"):
            self.faults.append("inline script")
        self.faults += [f"{name} on <{tag}>" for name in found if name.startswith(("on", "hx-on"))]
        for name in ("href", "src", "action", "srcset", "hx-get"):
            target = found.get(name) or ""
            if tag == "a" and target.startswith(OFFICIAL) and "noopener" in (found.get("rel") or ""):
                continue  # the official text of a regulation: followed, never loaded
            if target.startswith(("http:", "https:", "//", "javascript:", "data:")):
                self.faults.append(f"{name}={target}")
        if tag == "img" and not found.get("alt"):
            self.faults.append("an image without words")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def unnamed(self) -> list[dict[str, str | None]]:
        return [item for item in self.controls if not item.get("aria-label") and item.get("id") not in self.labelled]


@pytest.mark.parametrize("username", ["clara", "mina", "elena", "amir"])
def test_pages_are_well_formed_and_hold_no_inline_code(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client = sign_in(username)
    for url in ["/", "/reports/", *addresses.pages(house)]:
        page = Page(client.get(url).content.decode())
        assert page.faults == [], url
        assert page.stack == [], url
        assert page.tags["h1"] == 1, url
        assert [name for name, times in page.ids.items() if times > 1] == [], url
        assert page.unnamed() == [], url


def test_pages_outside_the_frame_hold_no_inline_code(house: SimpleNamespace, sign_in: SignIn) -> None:
    signed_out, regulator = Client(), sign_in("rita")
    pages = [
        signed_out.get("/sign-in/"),
        regulator.get("/audits/"),
        regulator.get("/nowhere/"),
        regulator.get("/reports/"),
        *[regulator.get(url) for url in addresses.granted(house) if not url.endswith(".zip")],
    ]
    pages.append(signed_out.post("/sign-in/", {"username": "x"}))
    for response in pages:
        page = Page(response.content.decode())
        assert (page.faults, page.stack, page.tags["h1"], page.unnamed()) == ([], [], 1, [])


def test_the_page_for_failures_needs_neither_person_nor_database() -> None:
    from django.test import RequestFactory

    from core.pages.errors import broken

    response = broken(RequestFactory().get("/"))
    page = Page(response.content.decode())
    assert response.status_code == 500
    assert (page.faults, page.tags["h1"], page.tags["script"]) == ([], 1, 0)


def test_every_answer_carries_the_strict_policy(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("clara")
    for url in ["/", *addresses.pages(house), "/nowhere/"]:
        policy = client.get(url).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, url
        assert "unsafe" not in policy, url


def test_a_chart_may_do_even_less(house: SimpleNamespace, sign_in: SignIn) -> None:
    response = sign_in("clara").get(f"/audits/{house.fail.pk}/charts/0.svg")
    policy = response.headers["Content-Security-Policy"]
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy
    assert b"<script" not in response.content


def test_data_from_files_is_escaped(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("elena").get(f"/cohorts/~import/{house.blocked.pk}/").content.decode()
    assert "&lt;b&gt;p2&lt;/b&gt;" in text
    assert "<b>p2</b>" not in text


def test_htmx_may_not_evaluate_or_style(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("clara").get("/").content.decode()
    assert '"includeIndicatorStyles": false' in text
    assert '"allowEval": false' in text


def test_a_verdict_comes_in_words_before_its_numbers(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = sign_in("mina").get(f"/audits/{house.fail.pk}/").content.decode()
    order = [
        "Fails</h2>",
        "Effusion is missed more often in women over 80",
        "−.270",
        "<picture>",
        "How it was made",
    ]
    assert [text.index(item) for item in order] == sorted(text.index(item) for item in order)
