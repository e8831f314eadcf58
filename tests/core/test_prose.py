"""Markdown of others becomes HTML that can do nothing; what it says stays."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from core.prose import ATTRIBUTES, SCHEMES, TAGS, to_html
from core.templatetags.figures import prose


class Tags(HTMLParser):
    """Every tag with its attributes, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


ATTACKS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)><circle/></svg>",
    "<svg><style>@import 'https://evil.example/x.css'</style></svg>", "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))", "[a](data:text/html;base64,PHNjcmlwdD4=)", "[a](vbscript:x)", "<javascript:alert(1)>",
    "![x](https://evil.example/pixel.png)", "![x](javascript:alert(1))", "<iframe src=https://evil.example></iframe>",
    "<a href='https://evil.example' onclick='x()'>a</a>", "<style>*{display:none}</style>",
    "<form action=https://evil.example><input name=password></form>", "<math><mi//xlink:href='data:x,<script>'>",
    "[a](https://ok.example 'title\" onmouseover=\"alert(1)')", "`<script>`", "    <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "<!-- --><script>x</script>", "[a]: javascript:alert(1)\n\n[a]",
    "<details open ontoggle=alert(1)>", "<base href=https://evil.example>", "<meta http-equiv=refresh content=0>",
]  # fmt: skip


TOGETHER = ["\n\n".join(ATTACKS), "> " + "\n> ".join(ATTACKS), "| a |\n|---|\n| <b onclick=x> |"]


@pytest.mark.parametrize("text", [*ATTACKS, *TOGETHER])
def test_nothing_of_it_can_act(text: str) -> None:
    for tag, attributes in Tags(to_html(text)).found:
        assert tag in TAGS, tag
        assert set(attributes) <= {*ATTRIBUTES.get(tag, ()), "rel"}, (tag, attributes)
        if tag == "a":
            assert "noopener" in str(attributes["rel"])
            assert str(attributes.get("href", "https:")).partition(":")[0].lower() in SCHEMES


def test_a_card_reads_as_its_author_meant_it() -> None:
    made = to_html(
        "# Chest model\n\nFor **adults**, see [the paper](https://doi.org/10.1/x).\n\n- one\n- two\n\n"
        "| Finding | AUROC |\n|---|---|\n| Effusion | .91 |\n\n```\nx < y && <b>\n```\n"
    )
    assert "<h3>Chest model</h3>" in made and "<strong>adults</strong>" in made and "<li>two</li>" in made
    assert "<td>Effusion</td>" in made and "x &lt; y &amp;&amp; &lt;b&gt;" in made
    assert 'href="https://doi.org/10.1/x"' in made


def test_headings_stay_below_those_of_the_page() -> None:
    made = Tags(to_html("\n\n".join(f"{'#' * level} Level {level}" for level in range(1, 7)))).found
    assert [tag for tag, _ in made] == ["h3", "h4", "h5", "h6", "h6", "h6"]


ODD = ["a" * 500_000, "[" * 50_000, "> " * 20_000, "*a " * 30_000, "`" * 60_000, "|" * 60_000, "- " * 40_000]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", ODD)
def test_what_is_long_or_nested_is_read_while_a_page_waits(text: str) -> None:
    assert len(to_html(text)) <= 20 * len(text)


def test_nothing_is_nothing() -> None:
    assert prose(None) == prose("") == ""
