"""Nothing stands beyond the margin of a printed page, where a reader could not see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from governance.reports.base import REPORTS
from tests.reports.conftest import make_evidence
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import INSTRUCTIONS, make_statements

TOLERATED = 4
"""Pixels: nobody sees a millimetre in a margin of eighteen (a column of digests takes a third of one)."""


def beyond(html: str) -> list[str]:
    """What stands to the right of the text of its page: its page and its first words."""
    import weasyprint

    found = []
    for number, page in enumerate(weasyprint.HTML(string=html).render().pages, start=1):
        frame = page._page_box
        right = frame.content_box_x() + frame.width
        found += [f"page {number}: {text}" for end, text in _ends(frame) if end > right + TOLERATED]
    return found


def _ends(box: Any) -> Iterator[tuple[float, str]]:
    """Where each text and each table of a page ends; what stands in the page's margins is not of its text."""
    for child in getattr(box, "children", ()):
        if type(child).__name__ == "MarginBox":
            continue
        if type(child).__name__ in {"TextBox", "TableBox"}:
            yield child.position_x + child.width, getattr(child, "text", "a table")[:40]
        yield from _ends(child)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", ["annex_iv", "model_card", "instructions_for_use_art13", "committee_one_pager"])
def test_nothing_is_cut_at_the_edge_of_a_page(kind: str, language: str) -> None:
    evidence = make_evidence("fail")
    context = context_of(evidence, language=language, statements=make_statements(INSTRUCTIONS))
    report = REPORTS.get(kind)
    document = report.draft(evidence, context) if hasattr(report, "draft") else report.build(evidence, context)
    assert beyond(document.html) == []


def test_a_table_too_wide_for_its_page_is_noticed() -> None:
    cell = "x" * 200
    assert beyond(f"<table><tr><td>{cell}</td></tr></table>")
