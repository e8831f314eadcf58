"""What was odd about the data of a window, in words that repeat no value of a patient."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import category

from evaluation.models import Alert
from models_registry.cohorts.arrival import Arrival, Tally
from models_registry.cohorts.problems import ERROR
from models_registry.cohorts.schema import Problem

Kind, Severity = Alert.Kind, Alert.Severity
LONGEST_NAME = 60
PLAIN: dict[str, tuple[str, str]] = {
    "label-value": (
        "A label column holds something else than 1, 0 or empty.",
        "Say what its values mean under 'values' in the monitor's mapping.",
    ),
    "prediction-value": ("A column of predictions holds something else than 1, 0 or empty.", "Leave it out."),
    "score-range": ("A column of scores holds something outside of 0 to 1.", "Leave it out."),
    "score-nan": ("A column of scores holds something that is no finite number.", "Leave it out."),
    "implausible-age": ("The column holds ages below 0 or above 120.", "Check the source; the values are kept."),
    "missing-image-file": ("An image file that is named is not there.", "Deliver it beside the file that names it."),
    "image-outside-folder": (
        "An image path leads out of the image folder.",
        "Use paths relative to the image folder, without '..', and no links that leave it.",
    ),
    "unreadable-image": ("An image cannot be decoded.", "Export it again as PNG, JPEG or DICOM."),
    "wrong-type": ("The column holds values of the wrong kind.", ""),
    "unreadable-rows": ("The file cannot be read beyond this row.", "Export it again; a copy may have broken off."),
    "unknown-prefix": ("The name of a column looks like a misspelt prefix.", "Name it in the monitor's mapping."),
}
"""Problems of files whose own words quote what stood in a cell: told without it. An empty remedy: the file's own."""
SEE = "See the delivery at the monitor's page."
QUOTING = {
    "missing-column": ("A column that is needed is missing.", "Add it to the export, or map one of its columns to it."),
    "unmatched-mapping": ("The mapping names a column that did not come.", SEE),
    "duplicate-column": ("Two columns mean the same.", "Keep one; the monitor's mapping can ignore the other."),
    "column-added": (
        "A column came that is not in the reference: it stays out.",
        f"Leave it out of the export, or make a monitor with a reference that has it. {SEE}",
    ),
}
"""Findings whose own words quote names of columns that the sender chose."""
TOLD = 20
"""Findings of one kind that are kept one by one; an export with hundreds of odd columns says it in the last."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was odd.

    Attributes:
        kind, severity: Of the alert it leads to.
        code: Stable identifier, such as ``column-removed``; with the column it tells one matter from another.
        remedy: What a person can do about it.
        row, count: The first row it was found in, from 1, and in how many.
        told: Whether an earlier window raised its alert: a delivery may hold studies of several windows.
        decisive: Whether it is so for most studies of the window, and not of a delivery alone.
    """

    kind: str
    severity: str
    code: str
    message: str
    remedy: str = ""
    column: str | None = None
    row: int | None = None
    count: int = 1
    told: bool = False
    decisive: bool = True

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": str(self.kind), "severity": str(self.severity), "code": self.code, "message": self.message,
            "remedy": self.remedy, "column": self.column, "row": self.row, "count": self.count,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Finding:
        """Read what :meth:`to_dict` wrote."""
        return cls(**body)

    @property
    def key(self) -> str:
        """The matter within a monitor: the same again counts up one alert."""
        return f"{self.kind}:{self.code}" + (f":{self.column}" if self.column else "")

    @property
    def counted(self) -> str:
        """What ``count`` counts, in a word; "" where there is no more than one, or the message itself tells it."""
        if self.count < 2:
            return ""
        return "rows" if self.row else COUNTED.get(self.code, "times")

    @property
    def of_patients(self) -> bool:
        """Whether ``count`` is a number of studies or rows, of which small ones are not told."""
        return self.row is not None or COUNTED.get(self.code) == STUDIES


STUDIES = "studies"
COUNTED = {
    "columns-removed": "", "columns-added": "", "delivery-refused": "deliveries", "late-studies": STUDIES,
    "study-again": STUDIES, "study-of-earlier-window": STUDIES, "before-first-window": STUDIES,
}  # fmt: skip
"""Code of a finding without a row -> what it counts."""


def without_names(finding: Finding, known: Collection[str]) -> Finding:
    """The finding for readers outside: a column that the reference does not have was named by the sender, and such a
    name may say anything. The delivery itself keeps it."""
    foreign = finding.column is not None and finding.column not in known
    about = ("Something about a column that is not in the reference.", SEE)
    words = QUOTING.get(finding.code, about if foreign else None)
    if words is None:
        return finding
    message, remedy = words
    return replace(finding, message=message, remedy=remedy, column=None if foreign else finding.column)


def of_problem(problem: Problem) -> Finding:
    """A problem of a file, without what stood in it."""
    message, remedy = PLAIN.get(problem.code, (problem.message, problem.remedy))
    return Finding(
        kind=Kind.SCHEMA,
        severity=Severity.WARNING if problem.severity == ERROR else Severity.INFO,
        code=problem.code,
        message=printable(message),
        remedy=printable(remedy or problem.remedy),
        column=named(problem.column) if problem.column else None,
        row=problem.row,
        count=problem.count,
    )


def of_arrival(arrival: Arrival, zone: str, *, least: int) -> list[Finding]:
    """Everything odd about a file that was read.

    Args:
        least: Smallest number that a message may tell; see :func:`told_number`.
    """
    found = [_unit(of_problem(problem), arrival.n_rows) for problem in (*arrival.errors, *arrival.warnings)]
    if arrival.errors:
        return found
    if not arrival.n_rows:
        found.append(_warning(Kind.EMPTY, "no-rows", "There is a header but no study.", "See what the sender exports."))
        return found
    return [*found, *_columns(arrival, least), *_times(arrival, zone, least), *_twice(arrival)]


def _unit(finding: Finding, n_rows: int) -> Finding:
    """Ages most of which nobody can have: they come in another unit."""
    if finding.code != "implausible-age" or 2 * finding.count <= n_rows:
        return finding
    message = "Most values are no ages in years: the unit, or the sign, may have changed."
    return replace(finding, kind=Kind.UNIT, severity=Severity.WARNING, message=message)


def told_number(count: int, least: int) -> str:
    """A number of studies or rows for messages, which leave the house: small ones are not told."""
    return f"fewer than {least}" if 0 < count < least else f"{count:,}"


def printable(text: str) -> str:
    """Text without characters that nobody sees, and that a database may refuse, such as NUL."""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(letter)[0] == "C" else letter for letter in text)


def named(column: str) -> str:
    """A column's name, cut where it is too long to be one."""
    column = printable(column)
    return column if len(column) <= LONGEST_NAME else f"{column[: LONGEST_NAME - 1]}…"


def _columns(arrival: Arrival, least: int) -> Iterable[Finding]:
    for name in arrival.removed[:TOLD]:
        yield Finding(
            kind=Kind.SCHEMA, severity=Severity.WARNING, code="column-removed", column=named(name),
            message=f"The reference has the column '{named(name)}'; it did not come.",
            remedy="See what changed in the export, or map another column to it.",
        )  # fmt: skip
    for name, place in list(arrival.added.items())[:TOLD]:
        yield Finding(
            kind=Kind.SCHEMA, severity=Severity.WARNING, code="column-added", column=named(name),
            message=f"The reference has no column '{named(name)}' (column {place} of what came): it stays out.",
            remedy="Leave it out of the export, or make a monitor with a reference that has it.",
        )  # fmt: skip
    for told, code in ((arrival.removed, "columns-removed"), (tuple(arrival.added), "columns-added")):
        if len(told) > TOLD:
            verb = "did not come" if code == "columns-removed" else "are not in the reference and stay out"
            yield Finding(
                kind=Kind.SCHEMA, severity=Severity.WARNING, code=code, count=len(told) - TOLD,
                message=f"{len(told) - TOLD} further columns {verb}.", remedy="See what changed in the export.",
            )  # fmt: skip
    for name, cells in arrival.odd.other_kind.items():
        if cells.count:
            yield _retyped(name, cells, arrival.odd.present[name], least)


def _retyped(name: str, cells: Tally, present: int, least: int) -> Finding:
    most = 2 * cells.count > present
    return Finding(
        kind=Kind.SCHEMA,
        severity=Severity.WARNING,
        code="column-retyped" if most else "cells-retyped",
        column=named(name),
        row=cells.row,
        count=cells.count,
        message=f"'{named(name)}' has another kind of values than in the reference, in "
        f"{told_number(cells.count, least)} of {told_number(present, least)} studies that have one.",
        remedy="See what changed in the export; say under 'values' in the mapping what the odd values mean.",
    )


def _times(arrival: Arrival, zone: str, least: int) -> Iterable[Finding]:
    odd = arrival.odd
    naive, agreed, foreign = (told_number(tally.count, least) for tally in (odd.naive, odd.agreed, odd.foreign))
    if odd.future.count:
        yield _of_tally(
            odd.future, Kind.TIMES, Severity.WARNING, "future-time", "Studies lie in the future and stay out.",
            "Look for day and month exchanged, and for a clock that is wrong.",
        )  # fmt: skip
    if odd.timeless.count:
        yield _of_tally(
            odd.timeless, Kind.TIMES, Severity.WARNING, "no-time", "Studies have no time and stay out.",
            "Give every study its time: without it, it belongs to no window.",
        )  # fmt: skip
    kinds = sum(1 for tally in (odd.naive, odd.foreign, odd.agreed) if tally.count)
    if kinds > 1:
        fewest = min((t for t in (odd.naive, odd.foreign, odd.agreed) if t.count), key=lambda tally: tally.count)
        yield _of_tally(
            fewest, Kind.TIMES, Severity.WARNING, "zones-mixed",
            f"Times come in several ways: {naive} without a zone (read as {zone}), {agreed} with its offset, "
            f"{foreign} with another.",
            "Write all times with their offset, such as 2026-11-22T14:05:00+01:00.",
        )  # fmt: skip
    elif odd.naive.count:
        yield _of_tally(
            odd.naive, Kind.TIMES, Severity.INFO, "zone-assumed", f"Times have no zone: they are read as {zone}.",
            "Write them with their offset, such as 2026-11-22T14:05:00+01:00.",
        )  # fmt: skip
    if odd.unclear.count:
        yield _of_tally(
            odd.unclear, Kind.TIMES, Severity.INFO, "clock-change",
            "Times without a zone lie in the hour in which clocks change: the earlier one is taken.",
            "Write times with their offset.",
        )  # fmt: skip
    if odd.unordered.count:
        yield _of_tally(
            odd.unordered, Kind.TIMES, Severity.INFO, "times-unordered",
            "Studies do not come in the order of time. They are sorted.", "Nothing, if the export is in another order.",
        )  # fmt: skip


def _twice(arrival: Arrival) -> Iterable[Finding]:
    if arrival.odd.twice.count:
        yield _of_tally(
            arrival.odd.twice, Kind.DUPLICATES, Severity.WARNING, "study-twice",
            "Rows are of studies that stood in an earlier row: the first row counts.", "Keep one row for each study.",
        )  # fmt: skip


def _of_tally(tally: Tally, kind: str, severity: str, code: str, message: str, remedy: str) -> Finding:
    return Finding(
        kind=kind, severity=severity, code=code, message=message, remedy=remedy, row=tally.row, count=tally.count
    )


def _warning(kind: str, code: str, message: str, remedy: str) -> Finding:
    return Finding(kind=kind, severity=Severity.WARNING, code=code, message=message, remedy=remedy)


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Findings of several deliveries: the same matter once, counted together, with the row of the first."""
    made: dict[str, Finding] = {}
    for finding in findings:
        if (known := made.get(finding.key)) is None:
            made[finding.key] = finding
        else:
            decisive = known.decisive or finding.decisive
            count, told = known.count + finding.count, known.told and finding.told
            made[finding.key] = replace(known, count=count, told=told, decisive=decisive)
    return list(made.values())
