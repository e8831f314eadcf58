"""Markdown that people wrote, as HTML that can do nothing: no script, no picture of another host, no style, no form."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from django.utils.safestring import SafeString, mark_safe

TAGS = {
    "a", "blockquote", "br", "code", "dd", "del", "dl", "dt", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES: dict[str, set[str]] = {"*": set(), "a": {"href"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
TOP = 3
"""The highest heading: the page has the first, its sections have the second."""
LONGEST = 100_000
HEADING = re.compile(r"<(/?)h([1-6])>")


def to_html(text: str) -> SafeString:
    """CommonMark with tables as HTML.

    HTML in it is text. Links lead to web and mail addresses, tell no referrer, and are not followed by search engines;
    pictures are links. What is longer than :data:`LONGEST` characters is cut there. The result was cleaned by nh3,
    whatever the Markdown library gave.
    """
    import nh3

    made = HEADING.sub(_lower, _reader().render(text[:LONGEST]))
    clean = nh3.clean(
        made, tags=TAGS, attributes=ATTRIBUTES, url_schemes=SCHEMES, link_rel="nofollow noopener noreferrer"
    )
    return mark_safe(clean)


def _lower(found: re.Match[str]) -> str:
    return f"<{found[1]}h{min(6, int(found[2]) + TOP - 1)}>"


@cache
def _reader() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
