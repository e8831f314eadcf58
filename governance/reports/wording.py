"""Numbers, dates and verdicts in the words that every report uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from evaluation.engine.registry import MetricKind, known_metrics

VERDICTS = {"pass": "Pass", "fail": "Fail", "insufficient": "Insufficient evidence"}
STATES = {
    "complete": "Complete",
    "partial": "Partial",
    "missing": "Missing",
    "nonconform": "Nonconform",
    "not_judged": "Not judged",
}
DECISIONS = {
    "approve": "Approve",
    "reject": "Reject",
    "open": "Open",
    "approved": "Approved",
    "rejected": "Rejected",
}
ABSENT = "not stated"


def moment(value: str | datetime | None) -> str:
    """A point in time as ``22 Nov 2026 14:05 UTC``; ``not stated`` where there is none."""
    when = _parsed(value)
    return f"{when.day} {when:%b %Y %H:%M} UTC" if when else ABSENT


def day(value: str | datetime | None) -> str:
    """A date as ``22 Nov 2026``."""
    when = _parsed(value)
    return f"{when.day} {when:%b %Y}" if when else ABSENT


def _parsed(value: str | datetime | None) -> datetime | None:
    if value is None or value == "":
        return None
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return when.astimezone(UTC)


def in_order(*moments: str) -> bool:
    """Whether points in time follow one another; equal ones do."""
    parsed = [datetime.fromisoformat(text) for text in moments]
    return parsed == sorted(parsed)


def number(value: float | None) -> str:
    """A measured value with three decimals and a true minus: ``.583``, ``−.052``, ``1.000``, ``12.400``."""
    if value is None:
        return "—"
    text = f"{abs(value):.3f}"
    text = text[1:] if text.startswith("0.") else text
    negative = value < 0 and text.strip(".0") != ""
    return f"−{text}" if negative else text


def interval(low: float | None, high: float | None) -> str:
    """``.541 to .624``; a dash where there is no interval."""
    return "—" if low is None or high is None else f"{number(low)} to {number(high)}"


def count(value: int | None) -> str:
    """A count with thousands separators; ``withheld`` where it is too small to be shown or unknown."""
    return "withheld" if value is None else f"{value:,}"


def levels(measurements: Sequence[dict[str, Any]]) -> str:
    """The heading of a column of intervals: ``95 % interval``, where all of them have one level."""
    found = {item["level"] for item in measurements if item["low"] is not None}
    return f"{found.pop() * 100:.4g} % interval" if len(found) == 1 else "Interval"


def join_words(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(number_of: int, singular: str, many: str = "") -> str:
    """``1 criterion``, ``3 criteria``."""
    return f"{number_of:,} {singular if number_of == 1 else many or singular + 's'}"


def sized(n: int | None, patients: int | None) -> str:
    """How much a number rests on: ``1,204 studies of 611 patients``."""
    if n is None:
        return "sample size withheld"
    studies = plural(n, "study", "studies")
    return studies if patients is None else f"{studies} of {plural(patients, 'patient')}"


def spoken(name: str) -> str:
    """An identifier as words: ``age_band`` becomes ``age band``."""
    return name.replace("_", " ").replace("-", " ").strip()


def limit(verdict: dict[str, Any]) -> str:
    """What a criterion demands: ``at least .80``, ``within ±.10`` for a difference, ``.80 to 1.20`` for a slope."""
    margin, info = number(verdict["margin"]), known_metrics().get(verdict["metric"])
    if info is not None and info.kind is MetricKind.DEVIATION and info.ideal:
        low, high = info.accepted(verdict["direction"], verdict["margin"])
        return f"{number(low)} to {number(high)}"
    if info is not None and info.kind is MetricKind.DEVIATION:
        return f"within ±{margin}"
    if verdict["direction"] == "at_least":
        return f"at least {margin}"
    return f"within ±{margin}" if verdict["metric"].endswith("_difference") else f"at most {margin}"


def measured(item: dict[str, Any]) -> str:
    """The value of a measurement: a count as one, anything else with three decimals."""
    if item["value"] is not None and item["method"] == "count":
        return count(int(item["value"]))
    return number(item["value"])
