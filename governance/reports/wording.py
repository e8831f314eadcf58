"""Numbers, dates and verdicts in the words that every report uses, in the language that is active."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.utils.translation import get_language, gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from evaluation.engine.protocol import JOIN
from evaluation.engine.registry import MetricKind, known_metrics

VERDICTS = {"pass": _("Pass"), "fail": _("Fail"), "insufficient": _("Insufficient evidence")}
STATES = {
    "complete": _("Complete"),
    "partial": _("Partial"),
    "missing": _("Missing"),
    "nonconform": _("Nonconform"),
    "stale": _("Stale"),
    "not_applicable": _("Not applicable"),
    "unknown": _("Undetermined"),
}
DECISIONS = {
    "approve": pgettext_lazy("vote", "Approve"),
    "reject": pgettext_lazy("vote", "Reject"),
    "open": pgettext_lazy("review", "Open"),
    "approved": pgettext_lazy("review", "Approved"),
    "conditional": pgettext_lazy("review", "Approved with conditions"),
    "rejected": pgettext_lazy("review", "Rejected"),
    "withdrawn": pgettext_lazy("review", "Closed without a decision"),
}
ABSENT = _("not stated")
ISO = re.compile(r"\b(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[+-]\d{2}:\d{2}|Z)?)?\b")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a language writes numbers and dates."""

    decimal: str
    thousands: str
    leading_zero: bool
    dotted_dates: bool


ENGLISH = Style(decimal=".", thousands=",", leading_zero=False, dotted_dates=False)
STYLES: Mapping[str, Style] = {"de": Style(decimal=",", thousands=".", leading_zero=True, dotted_dates=True)}


def style() -> Style:
    """The style of the active language."""
    return STYLES.get((get_language() or "en").split("-")[0], ENGLISH)


def moment(value: str | datetime | None) -> str:
    """A point in time as ``22 Nov 2026 14:05 UTC``, in German ``22.11.2026 14:05 UTC``; ``not stated`` for none."""
    when = _parsed(value)
    return f"{_written(when)} {when:%H:%M} UTC" if when else str(ABSENT)


def day(value: str | date | None) -> str:
    """A date as ``22 Nov 2026``, in German ``22.11.2026``."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return _written(value)
    when = _parsed(value)
    return _written(when) if when else str(ABSENT)


def dated(text: str) -> str:
    """A sentence with its dates and points in time as the language writes them; judgements hold them in ISO 8601."""
    return ISO.sub(_in_words, text)


def _in_words(found: re.Match[str]) -> str:
    try:
        return moment(found[0]) if found[2] else day(found[0])
    except ValueError:  # It only looks like a date.
        return found[0]


def _written(when: date) -> str:
    if style().dotted_dates:
        return f"{when.day:02}.{when.month:02}.{when.year}"
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


def _parsed(value: str | datetime | None) -> datetime | None:
    if value is None or value == "":
        return None
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def in_order(*moments: str) -> bool:
    """Whether points in time follow one another; equal ones do."""
    parsed = [datetime.fromisoformat(text) for text in moments]
    return parsed == sorted(parsed)


def decimal(value: float, form: str) -> str:
    """A number by a format specification such as ``,.1f``, with the marks of the active language."""
    return marked(f"{value:{form}}")


def marked(text: str) -> str:
    """A number as Python writes it, ``1,204.5``, with the marks of the active language."""
    marks = style()
    return text.translate({ord(","): marks.thousands, ord("."): marks.decimal})


def number(value: float | None) -> str:
    """A measured value with three decimals and a true minus: ``.583``, ``−.052``, ``1.000``; in German ``0,583``."""
    if value is None:
        return "—"
    text = f"{abs(value):.3f}"
    negative = value < 0 and text.strip(".0") != ""
    if not style().leading_zero and text.startswith("0."):
        text = text[1:]
    text = text.replace(".", style().decimal)
    return f"−{text}" if negative else text


def interval(low: float | None, high: float | None) -> str:
    """``.541 to .624``; a dash where there is no interval."""
    if low is None or high is None:
        return "—"
    return gettext("%(low)s to %(high)s") % {"low": number(low), "high": number(high)}


def share(value: float) -> str:
    """A share as ``91.1%``, in German ``91,1 %``."""
    return f"{decimal(value * 100, '.1f')}{' ' if style().dotted_dates else ''}%"


def count(value: int | None) -> str:
    """A count with thousands separators; ``withheld`` where it is too small to be shown or unknown."""
    return gettext("withheld") if value is None else decimal(value, ",")


def levels(measurements: Sequence[dict[str, Any]]) -> str:
    """The heading of a column of intervals: ``95 % interval``, where all of them have one level."""
    found = {item["level"] for item in measurements if item["low"] is not None}
    if len(found) != 1:
        return gettext("Interval")
    return gettext("%(level)s %% interval") % {"level": decimal(found.pop() * 100, ".4g")}


def join_words(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return gettext("%(first)s and %(last)s") % {"first": ", ".join(words[:-1]), "last": words[-1]}


def sized(n: int | None, patients: int | None) -> str:
    """How much a number rests on: ``1,204 studies of 611 patients``."""
    if n is None:
        return gettext("sample size withheld")
    studies = ngettext("%(n)s study", "%(n)s studies", n) % {"n": count(n)}
    if patients is None:
        return studies
    people = ngettext("%(n)s patient", "%(n)s patients", patients) % {"n": count(patients)}
    return gettext("%(studies)s of %(patients)s") % {"studies": studies, "patients": people}


def spoken(name: str) -> str:
    """An identifier as words: ``age_band`` becomes ``age band``, in German ``Altersgruppe`` (see ``terms``).

    The attributes of an intersection are said one by one: ``sex & age_band``.
    """
    texts = (part.replace("_", " ").replace("-", " ").strip() for part in name.split(JOIN))
    return JOIN.join(gettext(text) if text else "" for text in texts)


def inside(text: str) -> str:
    """A word as it stands inside a sentence: English writes its first letter small, German leaves nouns as they are."""
    return text if style().dotted_dates else text[:1].lower() + text[1:]


def yes_no(value: bool) -> str:
    """``yes`` or ``no``."""
    return gettext("yes") if value else gettext("no")


def limit(verdict: dict[str, Any]) -> str:
    """What a criterion demands: ``at least .80``, ``within ±.10`` for a difference, ``.80 to 1.20`` for a slope."""
    margin, info = number(verdict["margin"]), known_metrics().get(verdict["metric"])
    if info is not None and info.kind is MetricKind.DEVIATION and info.ideal:
        low, high = info.accepted(verdict["direction"], verdict["margin"])
        return interval(low, high)
    if info is not None and info.kind is MetricKind.DEVIATION:
        return gettext("within ±%(margin)s") % {"margin": margin}
    if verdict["direction"] == "at_least":
        return gettext("at least %(margin)s") % {"margin": margin}
    within = verdict["metric"].endswith("_difference")
    return (gettext("within ±%(margin)s") if within else gettext("at most %(margin)s")) % {"margin": margin}


def measured(item: dict[str, Any]) -> str:
    """The value of a measurement: a count as one, anything else with three decimals."""
    if item["value"] is not None and item["method"] == "count":
        return count(int(item["value"]))
    return number(item["value"])


def shown(value: Any) -> str:
    """Any JSON value as text for a reader: dates and numbers in the language's form, lists joined, rows one a line."""
    if value is None or value == "" or value == [] or value == {}:
        return str(ABSENT)
    if isinstance(value, bool):
        return yes_no(value)
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return decimal(value, ",.4g")
    if isinstance(value, dict):
        return "; ".join(f"{spoken(str(key))}: {shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        rows = any(isinstance(item, dict | list) for item in value)
        return ("\n" if rows else ", ").join(shown(item) for item in value)
    return _maybe_date(str(value))


def _maybe_date(text: str) -> str:
    try:
        when = datetime.fromisoformat(text) if text[:4].isdigit() and text[4:5] == "-" else None
    except ValueError:
        return text
    if when is None:
        return text
    return day(when.date()) if len(text) == len("2026-11-22") else moment(when)
