"""CSV for people: no cell is a formula, numbers stay numbers, and all of it is written in one place."""

from __future__ import annotations

import csv
import io
import re
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest

from core.cells import FORMULA_STARTS, cell, csv_lines

ROOT = Path(__file__).resolve().parents[2]
READ_BACK = "evaluation/engine/questions.py"
"""A file for programs: it is filled in and read back by the very same rows, so none of its cells may be changed."""
ROOMS = ("core", "models_registry", "evaluation", "synthetic", "governance", "config")


class Word(StrEnum):
    SUM = "=SUM(A1)"


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_text_that_begins_like_a_formula_is_text(start: str) -> None:
    assert cell(f"{start}1+1") == f"'{start}1+1"


def test_numbers_stay_numbers_and_what_is_missing_is_empty() -> None:
    found = [cell(value) for value in (-0.25, -3, np.float64(-1.5), np.int64(-2), None, float("nan"), np.nan, True, "")]
    assert found == ["-0.25", "-3", "-1.5", "-2", "", "", "", "True", ""]
    assert cell(Word.SUM) == "'=SUM(A1)" and cell(np.str_("@x")) == "'@x"
    assert cell("a=b") == "a=b" and cell("2024-01-01") == "2024-01-01"


def test_lines_are_read_back_as_they_were() -> None:
    rows = [("a", 'b "quoted", c', "line\nbreak"), (1, None, "=1+1")]
    text = "".join(csv_lines(rows))
    assert text.endswith("\r\n")
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a", 'b "quoted", c', "line\nbreak"],
        ["1", "", "'=1+1"],
    ]


def test_nothing_else_writes_csv() -> None:
    writers = re.compile(r"csv\.(writer|DictWriter)|\.to_csv\(|write_csv\(")
    found = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if writers.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["core/cells.py", READ_BACK], "write CSV for people by core.cells.csv_lines"
