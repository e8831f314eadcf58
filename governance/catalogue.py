"""What the catalogue of requirements consists of. Read by ``governance.requirements``. Django-free."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import AuscultError


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
class Period:
    """A length of time in whole days or hours: days end with the day, hours to the second."""

    length: int
    unit: str


def read_period(limit: str) -> Period | None:
    """``15 days`` or ``72 hours``; None for limits of another kind (``1 month``, ``at least 6 months``)."""
    match = re.fullmatch(r"(\d+) (day|hour)s", limit)
    return Period(length=int(match[1]), unit=match[2]) if match else None


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A period that a rule sets.

    Attributes:
        limit: In words: ``15 days``.
        clock_start: What the period runs from.
        mdr_device: Whether it holds for a medical device, in words.
        period: The limit, where it is a number of days or hours.
    """

    id: str
    regime: str
    trigger: str
    limit: str
    clock_start: str
    mdr_device: str
    source: str
    period: Period | None


@dataclass(frozen=True, kw_only=True)
class RiskMatrix:
    """Severity times likelihood, each from 1 to 4, and the bands of their product.

    The scales are those of CNIL; the bands are a proposal of the platform, as ``basis`` says.
    """

    basis: str
    severity: Mapping[int, str]
    likelihood: Mapping[int, str]
    bands: Mapping[int, str]

    def band(self, severity: int | None, likelihood: int | None) -> str:
        """``low``, ``medium``, ``high`` or ``very_high``. A missing rating counts as 4.

        Raises:
            AuscultError: a rating outside 1 to 4.
        """
        worst = max(self.severity)
        ratings = [worst if rating is None else rating for rating in (severity, likelihood)]
        if any(rating not in self.severity for rating in ratings):
            raise AuscultError(
                f"{ratings} are no ratings of a risk.", remedy="Rate severity and likelihood from 1 to 4."
            )
        return self.bands[ratings[0] * ratings[1]]


UPPER = "ai cer cra di dpia dpo flop fria gdpr i id ifu ii iii iv mdr nb oj pmcf pmm pms psur sme srn udi ui url xi xii"
ACRONYMS = {word: word.upper() for word in UPPER.split()} | {"kwh": "kWh", "rms": "RMS", "ropa": "RoPA"}


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All requirements with what they refer to.

    Attributes:
        version, as_of: Of the facts themselves; printed on every report that uses them.
        digest: SHA-256 of the file in English, whatever the language: it names the facts.
        facts: The head of the file: legal base, newest check, legend of verification, disclaimer.
        field_names: Labels of required fields in the catalogue's language, where they differ from the field's name.
        question_texts: Texts of the questionnaire in the catalogue's language, by question; empty in English.
    """

    version: str
    as_of: dt.date
    digest: str
    language: str
    facts: Mapping[str, Any]
    timeline: Mapping[str, TimelineEntry]
    triggers: Mapping[str, str]
    outlines: Mapping[str, ReportOutline]
    requirements: tuple[Requirement, ...]
    deadlines: Mapping[str, Deadline]
    risk_matrix: RiskMatrix
    field_names: Mapping[str, str]
    question_texts: Mapping[str, Any]

    def requirement(self, id: str) -> Requirement:
        """One requirement. Raises AuscultError for an identifier the catalogue does not know."""
        found = next((item for item in self.requirements if item.id == id), None)
        if found is None:
            raise AuscultError(f"The catalogue has no requirement '{id}'.", remedy="Use an identifier that it lists.")
        return found

    def field_label(self, name: str) -> str:
        """A required field in words: ``qualification_reasoning`` is ``Qualification reasoning``."""
        if name in self.field_names:
            return self.field_names[name]
        text = " ".join(ACRONYMS.get(word, word) for word in name.split("_"))
        return text if name.split("_")[0] in ACRONYMS else text[:1].upper() + text[1:]

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
