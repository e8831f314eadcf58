"""A cohort's summary, arranged for reading: who is in it, what is known of them, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A label: studies with a reference, and the share of those that is positive (None without any)."""

    name: str
    n: int
    positive: int
    missing: int
    prevalence: float | None


@dataclass(frozen=True, kw_only=True)
class ValueRow:
    """One value of an attribute. ``shown`` is the count as text: small counts are ``<11``; ``share`` is then None."""

    value: str
    shown: str
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute: counts per value, or the range of a number."""

    name: str
    kind: str
    missing: int
    values: tuple[ValueRow, ...]
    low: float | None
    median: float | None
    high: float | None
    distinct: str


@dataclass(frozen=True, kw_only=True)
class Datasheet:
    labels: tuple[LabelRow, ...]
    attributes: tuple[Attribute, ...]
    modalities: tuple[tuple[str, float], ...]
    splits: tuple[tuple[str, int], ...]
    warnings: tuple[dict[str, Any], ...]
    studies_per_patient: dict[str, Any]


def datasheet_of(summary: dict[str, Any], *, n_studies: int) -> Datasheet:
    """Arrange the ``summary`` of a cohort version or of an inspection. What it lacks stays empty."""
    return Datasheet(
        labels=tuple(_label(name, body) for name, body in summary.get("labels", {}).items()),
        attributes=tuple(_attribute(name, body, n_studies) for name, body in summary.get("attributes", {}).items()),
        modalities=tuple(summary.get("modalities", {}).items()),
        splits=tuple(summary.get("splits", {}).items()),
        warnings=tuple(summary.get("warnings", ())),
        studies_per_patient=summary.get("studies_per_patient", {}),
    )


def _label(name: str, body: dict[str, Any]) -> LabelRow:
    n, positive = body.get("n", 0), body.get("positive", 0)
    prevalence = positive / n if n else None
    return LabelRow(name=name, n=n, positive=positive, missing=body.get("missing", 0), prevalence=prevalence)


def _attribute(name: str, body: dict[str, Any], n_studies: int) -> Attribute:
    return Attribute(
        name=name,
        kind=body.get("type", ""),
        missing=body.get("missing", 0),
        values=tuple(_value(value, count, n_studies) for value, count in body.get("values", {}).items()),
        low=body.get("min"),
        median=body.get("median"),
        high=body.get("max"),
        distinct=str(body.get("distinct", "")),
    )


def _value(value: str, count: int | str, n_studies: int) -> ValueRow:
    known = isinstance(count, int)
    share = count / n_studies if isinstance(count, int) and n_studies else None
    return ValueRow(value=value, shown=f"{count:,}" if known else str(count), share=share)
