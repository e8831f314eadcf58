"""What the rules ask for, as data: requirements, their dates, their conditions, and where each is documented.

The facts are in ``requirements.yaml``, in our own words; this module reads them once and refuses a file that
contradicts itself. Nothing here decides whether a requirement applies or is met. Django-free.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import AuscultError

SOURCE = Path(__file__).with_name("requirements.yaml")
ALLOWED_EMPTY = {"also_feeds"}
OPTIONAL = {"note"}


@dataclass(frozen=True, kw_only=True)
class TimelineEntry:
    """A date from which something applies. ``alternative`` is the other reading, where there are two."""

    ref: str
    date: dt.date
    alternative: dt.date | None
    confidence: str
    what: str
    basis: str


@dataclass(frozen=True, kw_only=True)
class RequiredField:
    """A fact that a requirement needs before it can be complete, such as ``limitations`` of type ``text``."""

    name: str
    type: str


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One duty of one rule.

    Attributes:
        triggers: Keys of conditions that must all be true for it to apply.
        status: ``binding``, ``guidance``, ``pending`` or ``informative``. Only binding ones decide readiness.
        evidence: Kinds of evidence that can show it.
        completeness_rule: One testable sentence.
        verified: How the fact was checked: ``primary_text``, ``secondary``, ``model_knowledge``.
    """

    id: str
    regulation: str
    article: str
    title: str
    summary: str
    duty_bearer: tuple[str, ...]
    triggers: tuple[str, ...]
    status: str
    evidence: tuple[str, ...]
    automatable: str
    required_fields: tuple[RequiredField, ...]
    report: str
    section: str
    also_feeds: tuple[str, ...]
    completeness_rule: str
    source: str
    verified: str
    applies_from: TimelineEntry
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One chapter of a report."""

    id: str
    title: str


@dataclass(frozen=True, kw_only=True)
class ReportOutline:
    """The chapters that a regulatory report has, in order."""

    key: str
    title: str
    primary_duty_bearer: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All requirements with what they refer to.

    Attributes:
        version, as_of: Of the facts themselves; printed on every report that uses them.
        facts: The head of the file: legal base, newest check, legend of verification, disclaimer.
    """

    version: str
    as_of: dt.date
    facts: Mapping[str, Any]
    timeline: Mapping[str, TimelineEntry]
    triggers: Mapping[str, str]
    outlines: Mapping[str, ReportOutline]
    requirements: tuple[Requirement, ...]

    def outline(self, report: str) -> ReportOutline:
        """The chapters of a report. Raises AuscultError for a report the catalogue does not know."""
        if report not in self.outlines:
            known = ", ".join(sorted(self.outlines))
            raise AuscultError(f"The catalogue has no report called '{report}'.", remedy=f"Use one of: {known}.")
        return self.outlines[report]

    def for_section(self, report: str, section: str) -> tuple[Requirement, ...]:
        """Requirements documented in one chapter of a report, in the order of the file."""
        return tuple(item for item in self.requirements if item.report == report and item.section == section)

    def for_report(self, report: str) -> tuple[Requirement, ...]:
        """Requirements whose home is this report, chapter by chapter."""
        outline = self.outline(report)
        return tuple(item for section in outline.sections for item in self.for_section(report, section.id))

    def feeding(self, report: str) -> tuple[Requirement, ...]:
        """Requirements at home in another report whose facts this one repeats."""
        return tuple(item for item in self.requirements if report in item.also_feeds)


@lru_cache(maxsize=1)
def load_requirements() -> Catalogue:
    """The catalogue that comes with the platform, read and checked once per process."""
    return parse_requirements(SOURCE.read_text(encoding="utf-8"), source=SOURCE.name)


def parse_requirements(text: str, *, source: str) -> Catalogue:
    """Read a catalogue.

    Raises:
        AuscultError: not YAML, or any contradiction in it; the message lists the first ten.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        body = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise AuscultError(f"This is not valid YAML: {error}", remedy="Correct the file.", file=source) from error
    problems = find_problems(body)
    if problems:
        more = f" And {len(problems) - 10} more." if len(problems) > 10 else ""
        raise AuscultError(
            "The catalogue of requirements contradicts itself: " + " ".join(problems[:10]) + more,
            remedy="Correct the entries that are named.",
            file=source,
        )
    return _build(body)


def _build(body: dict[str, Any]) -> Catalogue:
    timeline = {row["ref"]: _timeline_entry(row) for row in body["timeline"]}
    return Catalogue(
        version=body["catalogue"]["version"],
        as_of=dt.date.fromisoformat(body["catalogue"]["as_of"]),
        facts=body["catalogue"],
        timeline=timeline,
        triggers={row["key"]: row["question"] for row in body["triggers"]},
        outlines={row["key"]: _outline(row) for row in body["reports"]},
        requirements=tuple(_requirement(row, timeline) for row in body["items"]),
    )


def _timeline_entry(row: dict[str, Any]) -> TimelineEntry:
    alternative = dt.date.fromisoformat(row["alt_date"]) if "alt_date" in row else None
    return TimelineEntry(
        ref=row["ref"],
        date=dt.date.fromisoformat(row["date"]),
        alternative=alternative,
        confidence=row["confidence"],
        what=row["what"],
        basis=row["basis"],
    )


def _outline(row: dict[str, Any]) -> ReportOutline:
    return ReportOutline(
        key=row["key"],
        title=row["title"],
        primary_duty_bearer=row["primary_duty_bearer"],
        sections=tuple(Section(id=str(item["id"]), title=item["title"]) for item in row["sections"]),
    )


def _requirement(row: dict[str, Any], timeline: Mapping[str, TimelineEntry]) -> Requirement:
    return Requirement(
        id=row["id"],
        regulation=row["regulation"],
        article=row["article"],
        title=row["title"],
        summary=row["summary"],
        duty_bearer=tuple(row["duty_bearer"]),
        triggers=tuple(row["applicability"]),
        status=row["status"],
        evidence=tuple(row["evidence"]),
        automatable=row["automatable"],
        required_fields=tuple(RequiredField(name=f["name"], type=f["type"]) for f in row["required_fields"]),
        report=row["report"],
        section=str(row["section"]),
        also_feeds=tuple(row["also_feeds"]),
        completeness_rule=row["completeness_rule"],
        source=row["source"],
        verified=row["verified"],
        applies_from=timeline[row["applies_from"]["ref"]],
        note=row.get("note", ""),
    )


KEYS = {item.name for item in fields(Requirement)} - {"triggers"} - OPTIONAL | {"applicability"}
PARTS = {"catalogue", "enums", "timeline", "triggers", "reports", "items"}


def find_problems(body: Any) -> list[str]:
    """Every contradiction in a catalogue as it was read, each in one sentence; empty when it is sound.

    Checked: parts and keys are there and not empty; identifiers are unique; closed lists are kept;
    every reference (timeline, trigger, report, section) leads somewhere; a date and its confidence repeat the
    timeline; field types are known; no chapter is without a requirement; the rule is a sentence.
    """
    if not isinstance(body, dict) or PARTS - body.keys():
        absent = PARTS - (body.keys() if isinstance(body, dict) else set())
        return [f"It lacks {', '.join(sorted(absent))}."]
    problems = _repeated("timeline reference", (row["ref"] for row in body["timeline"]))
    problems += _repeated("trigger", (row["key"] for row in body["triggers"]))
    problems += _repeated("requirement", (row.get("id", "?") for row in body["items"]))
    problems += [text for row in body["timeline"] for text in _timeline_problems(row, body["enums"])]
    sections = {row["key"]: {str(item["id"]) for item in row["sections"]} for row in body["reports"]}
    for row in body["items"]:
        problems += _item_problems(row, body, sections)
    homes = {(row.get("report"), str(row.get("section"))) for row in body["items"]}
    for report, ids in sections.items():
        problems += [
            f"{report}: chapter {one} has no requirement." for one in sorted(ids) if (report, one) not in homes
        ]
    return problems


def _repeated(kind: str, names: Iterable[str]) -> list[str]:
    return [f"The {kind} {name} is there {count} times." for name, count in Counter(names).items() if count > 1]


def _timeline_problems(row: dict[str, Any], enums: dict[str, list[str]]) -> list[str]:
    problems = []
    for key in ("date", "alt_date"):
        if key in row and not _is_date(row[key]):
            problems.append(f"{row['ref']}: {key} is not a date as YYYY-MM-DD.")
    if row["confidence"] not in enums["confidence"]:
        problems.append(f"{row['ref']}: the confidence '{row['confidence']}' is not known.")
    return problems


def _is_date(value: object) -> bool:
    try:
        dt.date.fromisoformat(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _item_problems(row: dict[str, Any], body: dict[str, Any], sections: dict[str, set[str]]) -> list[str]:
    name = row.get("id", "?")
    if wrong := (KEYS - row.keys()) | (row.keys() - KEYS - OPTIONAL):
        return [f"{name}: keys missing or unknown: {', '.join(sorted(wrong))}."]
    problems = [f"{name}: {key} is empty." for key in sorted(KEYS - ALLOWED_EMPTY) if not row[key]]
    enums = body["enums"]
    for key in ("regulation", "status", "automatable", "verified", "duty_bearer", "evidence"):
        values = row[key] if isinstance(row[key], list) else [row[key]]
        problems += [f"{name}: {key} '{value}' is not known." for value in values if value not in enums[key]]
    known = {trigger["key"] for trigger in body["triggers"]}
    problems += [f"{name}: there is no trigger '{key}'." for key in row["applicability"] if key not in known]
    if str(row["section"]) not in sections.get(row["report"], set()):
        problems.append(f"{name}: there is no chapter {row['section']} in {row['report']}.")
    for report in row["also_feeds"]:
        if report not in sections or report == row["report"]:
            problems.append(f"{name}: also_feeds names {report}, which is unknown or its own home.")
    problems += _date_problems(row, body["timeline"])
    problems += _field_problems(row, enums["field_types"])
    rule = str(row["completeness_rule"])
    if not rule.endswith(".") or len(rule.split()) < 5:
        problems.append(f"{name}: the completeness rule is not a sentence.")
    return problems


def _date_problems(row: dict[str, Any], timeline: list[dict[str, Any]]) -> list[str]:
    applies = row["applies_from"]
    entry = next((one for one in timeline if one["ref"] == applies.get("ref")), None)
    if entry is None:
        return [f"{row['id']}: the timeline has no entry '{applies.get('ref')}'."]
    if (applies.get("date"), applies.get("confidence")) != (entry["date"], entry["confidence"]):
        return [f"{row['id']}: its date or confidence differs from the timeline's {entry['ref']}."]
    return []


def _field_problems(row: dict[str, Any], types: list[str]) -> list[str]:
    problems = _repeated(f"field of {row['id']} called", (item["name"] for item in row["required_fields"]))
    for item in row["required_fields"]:
        match = re.fullmatch(r"([a-z]+)(\{[^{}|]+(\|[^{}|]+)+\})?", item["type"])
        if not match or match[1] not in types or (match[1] == "enum") != bool(match[2]):
            problems.append(f"{row['id']}: the field {item['name']} has the unknown type '{item['type']}'.")
    return problems
