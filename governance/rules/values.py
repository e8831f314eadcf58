"""Values of required fields: what each type looks like in JSON, and how rules read them.

| type | value |
|---|---|
| string, text, person, ref | a text |
| bool, int, number | as in JSON |
| date, datetime | ISO 8601; a datetime with its offset |
| duration | a number and ``days``, ``weeks``, ``months`` or ``years``, such as ``6 months`` |
| enum{a|b} | one of its words |
| list | texts |
| table | rows, each a mapping of its columns to texts (see ``governance.rules.declare_table``) |
| file | ``{"name", "digest"}`` with the SHA-256 of the file, or a list of such |
| signature | ``{"name", "signed_on"}``: who signed, and the day |
| url | with ``http`` or ``https`` |
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

DAYS = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s+(day|week|month|year)s?\s*")
DIGEST = re.compile(r"[0-9a-f]{64}")
EMPTY: tuple[Any, ...] = (None, "", [], {})


def is_empty(value: Any) -> bool:
    """Whether a field has no value. ``False`` and ``0`` are values; a text of blanks is none."""
    return value.strip() == "" if isinstance(value, str) else value in EMPTY


def problem_of(kind: str, value: Any, *, columns: Sequence[str] = ()) -> str:
    """Why a value is none of this type, in words that follow the field's name; empty where it is."""
    base, _sep, rest = kind.partition("{")
    if base == "enum":
        options = rest.rstrip("}").split("|")
        return "" if value in options else _("must be one of %(options)s") % {"options": ", ".join(options)}
    if base == "table":
        return _table_problem(value, columns)
    check, words = _CHECKS[base]
    return "" if check(value) else str(words())


def _table_problem(value: Any, columns: Sequence[str]) -> str:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        return _("must be a table: rows with named columns")
    needed = [name for name in columns if not name.endswith("?")]
    for number, row in enumerate(value, start=1):
        if empty := [name for name in needed if is_empty(row.get(name))]:
            return _("has no %(columns)s in row %(row)s") % {"columns": ", ".join(empty), "row": number}
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _is_file(value: Any) -> bool:
    files = value if isinstance(value, list) else [value]
    return all(
        isinstance(item, dict) and _is_text(item.get("name")) and DIGEST.fullmatch(str(item.get("digest")))
        for item in files
    )


def _is_signature(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("name")) and date_of(value.get("signed_on")) is not None


def _is_moment(value: Any) -> bool:
    return moment_of(value) is not None


_CHECKS: Mapping[str, tuple[Callable[[Any], bool], Callable[[], str]]] = {
    "string": (_is_text, lambda: _("must be a text")),
    "text": (_is_text, lambda: _("must be a text")),
    "person": (_is_text, lambda: _("must name a person")),
    "ref": (_is_text, lambda: _("must name a document or record")),
    "url": (
        lambda value: isinstance(value, str) and re.fullmatch(r"https?://\S+", value) is not None,
        lambda: _("must be a web address with http or https"),
    ),
    "bool": (lambda value: isinstance(value, bool), lambda: _("must be yes or no")),
    "int": (
        lambda value: isinstance(value, int) and not isinstance(value, bool),
        lambda: _("must be a whole number"),
    ),
    "number": (
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        lambda: _("must be a number"),
    ),
    "date": (lambda value: date_of(value) is not None, lambda: _("must be a date as YYYY-MM-DD")),
    "datetime": (_is_moment, lambda: _("must be a date and time with its time zone")),
    "duration": (
        lambda value: months_of(value) is not None,
        lambda: _("must be a number of days, weeks, months or years"),
    ),
    "list": (_is_list, lambda: _("must be a list of texts")),
    "file": (_is_file, lambda: _("must be a file with its name and SHA-256")),
    "signature": (_is_signature, lambda: _("must be a signature with a name and a day")),
}


def date_of(value: Any) -> dt.date | None:
    """A date from ``YYYY-MM-DD``, or the day of a point in time; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        return dt.date.fromisoformat(value[:10]) if len(value) > 10 and value[10] in "T " else _date(value)
    except ValueError:
        return None


def _date(value: str) -> dt.date:
    return dt.date.fromisoformat(value)


def moment_of(value: Any) -> dt.datetime | None:
    """A point in time with a time zone; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        found = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def days_of(value: Any) -> float | None:
    """The length of a duration in days; None where it is none. A month is a twelfth of a year."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * DAYS[match[2]] if match else None


def months_of(value: Any) -> float | None:
    """The length of a duration in months; None where it is none."""
    days = days_of(value)
    return None if days is None else days / DAYS["month"]


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    """The rows of a table; none where it has no value."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def texts_of(value: Any) -> list[str]:
    """The texts of a list; none where it has no value."""
    return [str(item) for item in value] if isinstance(value, list) else []


def same_text(one: Any, other: Any) -> bool:
    """Whether two values say the same: letters compared without case, blanks without their number."""
    return plain(one) == plain(other)


def plain(value: Any) -> str:
    """A value as it is compared: one blank between words, no case."""
    return " ".join(str(value).split()).casefold()
