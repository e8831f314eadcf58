"""What the rules ask for, as data: requirements, their dates, their conditions, and where each is documented.

The facts are in ``requirements.yaml``, in our own words; this module reads them once and refuses a file that
contradicts itself. Texts in another language are laid over them. Nothing here decides whether a requirement applies
or is met. Django-free.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.digests import sha256_bytes
from core.errors import AuscultError
from governance.catalogue import (
    Catalogue,
    Deadline,
    ReportOutline,
    RequiredField,
    Requirement,
    RiskMatrix,
    Section,
    TimelineEntry,
    read_period,
)
from governance.catalogue_checks import find_problems

__all__ = [
    "Catalogue",
    "Deadline",
    "ReportOutline",
    "RequiredField",
    "Requirement",
    "RiskMatrix",
    "Section",
    "TimelineEntry",
    "find_problems",
    "load_requirements",
    "parse_requirements",
]

SOURCE = Path(__file__).with_name("requirements.yaml")
ENGLISH = "en"


def load_requirements(language: str = ENGLISH) -> Catalogue:
    """The catalogue that comes with the platform, read and checked once per process.

    Args:
        language: ``de`` or ``de-de`` lays the texts of ``requirements.de.yaml`` over the English ones. A text that is
            not there, or a language without a file, stays English.
    """
    return _load(language[:2].lower())


@lru_cache(maxsize=8)
def _load(language: str) -> Catalogue:
    overlay = SOURCE.with_suffix(f".{language}.yaml")
    given = overlay.read_text(encoding="utf-8") if language != ENGLISH and overlay.is_file() else ""
    text = SOURCE.read_text(encoding="utf-8")
    return parse_requirements(text, source=SOURCE.name, language=language, texts=given)


def parse_requirements(text: str, *, source: str, language: str = ENGLISH, texts: str = "") -> Catalogue:
    """Read a catalogue.

    Args:
        texts: YAML of texts in the language: the parts ``items``, ``reports``, ``triggers``, ``timeline``,
            ``deadlines``, ``risk_matrix``, ``facts``, ``fields`` and ``questions``, each by key.

    Raises:
        AuscultError: not YAML, or any contradiction in it; the message lists the first ten.
    """
    body = _read(text, source)
    problems = find_problems(body)
    if problems:
        more = f" And {len(problems) - 10} more." if len(problems) > 10 else ""
        raise AuscultError(
            "The catalogue of requirements contradicts itself: " + " ".join(problems[:10]) + more,
            remedy="Correct the entries that are named.",
            file=source,
        )
    for row in body["deadlines"]:
        row["period"] = read_period(row["limit"])  # from the English text, before another is laid over it
    translated = _read(texts, f"texts in {language}") or {}
    _lay_over(body, translated)
    return _build(body, translated, digest=sha256_bytes(text.encode()), language=language)


def _read(text: str, source: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise AuscultError(f"This is not valid YAML: {error}", remedy="Correct the file.", file=source) from error


TRANSLATED = {
    "items": ("items", "id", ("article", "title", "summary", "completeness_rule", "note")),
    "triggers": ("triggers", "key", ("question",)),
    "timeline": ("timeline", "ref", ("what", "basis")),
    "deadlines": ("deadlines", "id", ("trigger", "limit", "clock_start", "mdr_device", "source")),
    "reports": ("reports", "key", ("title",)),
}
"""Part of the texts -> part of the catalogue, its key, and what is translated in it. Nothing else is ever replaced."""


def _lay_over(body: dict[str, Any], texts: Mapping[str, Any]) -> None:
    for part, (target, key, names) in TRANSLATED.items():
        given = texts.get(part, {})
        for row in body[target]:
            row.update({name: given[row[key]][name] for name in names if given.get(row[key], {}).get(name)})
    for row in body["reports"]:
        titles = texts.get("reports", {}).get(row["key"], {}).get("sections", {})
        for section in row["sections"]:
            section["title"] = titles.get(str(section["id"]), section["title"])
    body["catalogue"] |= texts.get("facts", {})


def _build(body: dict[str, Any], texts: Mapping[str, Any], *, digest: str, language: str) -> Catalogue:
    timeline = {row["ref"]: _timeline_entry(row) for row in body["timeline"]}
    return Catalogue(
        version=body["catalogue"]["version"],
        as_of=dt.date.fromisoformat(body["catalogue"]["as_of"]),
        digest=digest,
        language=language,
        facts=body["catalogue"],
        timeline=timeline,
        triggers={row["key"]: row["question"] for row in body["triggers"]},
        outlines={row["key"]: _outline(row) for row in body["reports"]},
        requirements=tuple(_requirement(row, timeline) for row in body["items"]),
        deadlines={row["id"]: _deadline(row) for row in body["deadlines"]},
        risk_matrix=_risk_matrix(body["dpia_risk_matrix"], texts.get("risk_matrix", {})),
        field_names=texts.get("fields", {}),
        question_texts=texts.get("questions", {}),
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


def _deadline(row: dict[str, Any]) -> Deadline:
    names = ("id", "regime", "trigger", "limit", "clock_start", "mdr_device", "source")
    return Deadline(**{name: str(row[name]) for name in names}, period=row["period"])


def _risk_matrix(row: dict[str, Any], texts: Mapping[str, Any]) -> RiskMatrix:
    return RiskMatrix(
        basis=texts.get("basis", row["basis"]),
        severity=row["severity"] | texts.get("severity", {}),
        likelihood=row["likelihood"] | texts.get("likelihood", {}),
        bands={product: band["name"] for band in row["bands"] for product in band["products"]},
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
