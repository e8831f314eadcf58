"""Dates inside sentences are written as the language of the report writes them."""

from __future__ import annotations

import pytest
from django.utils import translation

from governance.reports.wording import dated


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "It changed on 2026-11-21.", "It changed on 21 Nov 2026."),
        ("de", "Geändert am 2026-11-21.", "Geändert am 21.11.2026."),
        ("en", "due 2026-11-21T14:05:00+01:00, told", "due 21 Nov 2026 13:05 UTC, told"),
        ("en", "Regulation (EU) 2026/1744 and 2026-1-2 stay", "Regulation (EU) 2026/1744 and 2026-1-2 stay"),
        ("en", "two: 2026-01-02 and 2027-12-31", "two: 2 Jan 2026 and 31 Dec 2027"),
    ],
)
def test_dates_in_a_sentence(language: str, text: str, expected: str) -> None:
    with translation.override(language):
        assert dated(text) == expected


def test_what_only_looks_like_a_date_stays() -> None:
    assert dated("the code 2026-99-99") == "the code 2026-99-99"
