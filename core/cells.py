"""CSV as the product writes it for people, in one place, so that no spreadsheet takes a cell for a formula.

A text that begins as a formula would (``=``, ``+``, ``-``, ``@``, a tab or a carriage return) gets an apostrophe before
it; a number stays a number, negative ones too. Source: OWASP, CSV injection.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the begin of a formula."""


def cell(value: Any) -> str:
    """A value as CSV has it: what is missing, or not a number, is empty, and text is no formula."""
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()  # a scalar of numpy
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else str(value)
    return str(value)


class _Echo:
    """A file that hands back what is written to it, so that rows stream."""

    def write(self, value: str) -> str:
        return value


def csv_lines(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Rows as lines of CSV in the order in which they come, each ended by CR LF as RFC 4180 says."""
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow([cell(value) for value in row])
