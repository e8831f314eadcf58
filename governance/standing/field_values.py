"""What may go into a field of a statement: the check at the door, before anything is written.

The JSON form of each type is that of ``governance.rules.values``, by which rules read it later. Here it is made tidy,
and refused where it is too large, not finite, or cannot be printed. A script in a text is text like any other: it is
kept as it is and escaped wherever it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from core.errors import AuscultError
from core.plain_text import CONTROLS, tidied
from governance.requirements import RequiredField
from governance.rules.checking import YEARS
from governance.rules.values import date_of, moment_of, problem_of

LONGEST_TEXT = 20_000
LONGEST_LINE = 500
MOST_ROWS = 500
LARGEST = 2**53
"""Beyond it, a reader of JSON may round."""
COLUMN = re.compile(r"[a-z][a-z0-9_]{0,60}")
LINES = frozenset({"string", "person", "ref", "url", "date", "datetime", "duration"})
EXAMPLES = {
    "string": "one line, at most 500 characters",
    "text": "any text, at most 20 kB",
    "person": "a name, with the role where it matters",
    "ref": "the name of a document or record, with its version",
    "bool": "yes or no",
    "int": "a whole number",
    "number": "a finite number",
    "date": "2026-11-22",
    "datetime": "2026-11-22T09:30:00+01:00, with its offset from UTC",
    "duration": "6 months, 10 years, 90 days, 2 weeks",
    "list": "at least one entry, each one line",
    "table": "at least one row",
    "file": "its name and the SHA-256 of its bytes",
    "signature": "the name of who signed, and the day",
    "url": "https://example.org/page",
}


def check_field(field: RequiredField, value: object, *, columns: Sequence[str] = ()) -> Any:
    """The value in its tidy JSON form.

    Args:
        columns: Of a table (see ``governance.rules.table_columns``); other columns are refused. Empty means any.

    Raises:
        AuscultError: the value is not of the field's type; ``column`` names the field, the remedy an example.
    """
    kind = field.type.partition("{")[0]
    tidy = _tidy(field.name, kind, value)
    if kind == "table":
        tidy = _tidy_table(field.name, tidy, columns)
    if tidy in ("", None, [], {}):
        _refuse(field.name, "is empty", kind)
    if problem := problem_of(field.type, tidy, columns=columns):
        _refuse(field.name, problem, kind)
    day = {"date": date_of, "datetime": moment_of}[kind](tidy) if kind in ("date", "datetime") else None
    if day is not None and day.year not in YEARS:
        _refuse(field.name, f"is not between the years {YEARS.start} and {YEARS.stop - 1}", kind)
    return tidy


def check_text(value: object, *, name: str, longest: int = LONGEST_TEXT) -> str:
    """A text without control characters and of at most so many bytes of UTF-8, with plain line ends. May be empty."""
    if not isinstance(value, str):
        _refuse(name, "must be a text", "text")
    text = tidied(value)
    if CONTROLS.search(text):
        _refuse(name, "holds a character that cannot be printed", "text")
    if len(text.encode()) > longest:
        _refuse(name, f"is longer than {longest:,} bytes", "text")
    return text


def _refuse(name: str, problem: str, kind: str) -> NoReturn:
    remedy = f"Give {EXAMPLES[kind]}." if kind in EXAMPLES else "Choose one of the options."
    raise AuscultError(f"The field '{name}' {problem}.", remedy=remedy, column=name)


def _tidy(name: str, kind: str, value: object) -> Any:
    """The value with every text in it checked; what its type demands is asked afterwards."""
    if kind in ("int", "number"):
        return _finite(name, kind, value)
    if kind == "enum" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind in LINES:
        return _line(name, kind, value)
    if kind == "list":
        _check_length(name, kind, value)
        return [_line(name, "string", entry) for entry in value] if isinstance(value, list) else value
    if kind == "file" and isinstance(value, list):
        _check_length(name, kind, value)
        return [_parts(name, kind, entry) for entry in value]
    if kind in ("file", "signature"):
        return _parts(name, kind, value)
    return check_text(value, name=name) if isinstance(value, str) else value


def _line(name: str, kind: str, value: object) -> str:
    text = check_text(value, name=name, longest=4 * LONGEST_LINE)
    if "\n" in text or len(text) > LONGEST_LINE:
        _refuse(name, f"must be one line of at most {LONGEST_LINE} characters", kind)
    return text


def _finite(name: str, kind: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(name, "must be a number", kind)
    if not abs(value) <= LARGEST:  # true of NaN, too
        _refuse(name, "is no number that can be kept exactly", kind)
    return value


def _check_length(name: str, kind: str, value: object) -> None:
    if isinstance(value, list) and len(value) > MOST_ROWS:
        _refuse(name, f"has more than {MOST_ROWS} entries: refer to a document for the rest", kind)


def _parts(name: str, kind: str, value: object) -> dict[str, str]:
    """An object of short texts: a file or a signature."""
    known = {"file": ("name", "digest"), "signature": ("name", "role", "signed_on", "digest")}[kind]
    if not isinstance(value, Mapping) or set(value) - set(known):
        _refuse(name, f"must be made of {', '.join(known)}", kind)
    return {key: _line(name, kind, value[key]) for key in known if value.get(key) not in (None, "")}


def _tidy_table(name: str, value: object, columns: Sequence[str]) -> Any:
    """Rows with their empty cells left out; rows that are empty altogether are left out too."""
    if not isinstance(value, list):
        return value
    _check_length(name, "table", value)
    known = {column.removesuffix("?") for column in columns}
    rows = [_tidy_row(name, row, known) for row in value]
    return [row for row in rows if row]


def _tidy_row(name: str, row: object, known: set[str]) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        _refuse(name, "must be a table: rows with named columns", "table")
    tidy: dict[str, Any] = {}
    for key, cell in row.items():
        if not isinstance(key, str) or not COLUMN.fullmatch(key) or (known and key not in known):
            _refuse(name, f"has the column '{str(key)[:60]}', which is not one of its own", "table")
        text = _tidy_cell(name, cell)
        if text not in (None, ""):
            tidy[key] = text
    return tidy


def _tidy_cell(name: str, cell: object) -> Any:
    if isinstance(cell, bool) or cell is None:
        return cell
    return _finite(name, "number", cell) if isinstance(cell, int | float) else check_text(cell, name=name)
