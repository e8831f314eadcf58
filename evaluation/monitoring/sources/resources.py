"""Studies from FHIR resources (R4, R4B, R5): a reader of the few elements that a cohort needs, tolerant of the rest.

One row for each imaging study (or diagnostic report): patient, time, sex, age, what was measured and what was reported.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from evaluation.monitoring.sources.rows import json_object

SEX = {"male": "M", "female": "F", "other": "O"}
FINAL = frozenset({"final", "amended", "corrected", "appended"})
UNDONE = frozenset({"cancelled", "entered-in-error"})
RACE = "us-core-race"
FIXED = ("patient_id", "study_id", "study_time", "sex", "age", "race", "modality")
TEXTS = ("text.report", "text.impression")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is made of codes, each ``system|code``.

    Attributes:
        anchor: ``ImagingStudy`` or ``DiagnosticReport``: what one row stands for.
        labels: Label -> codes of conclusions; 1 where a final report has one, 0 where it has none, empty without one.
        series: Series -> (codes of observations, unit; "" for any).
        history: Hours before a study from which observations count.
    """

    anchor: str
    labels: dict[str, tuple[str, ...]]
    series: dict[str, tuple[tuple[str, ...], str]]
    history: int
    zone: str


@dataclass(kw_only=True)
class Gathered:
    """Studies on their way to rows. Counts what could not be used; never an identifier.

    Attributes:
        unreadable: Lines that are no resource. untimed: Studies without a patient or a time.
        other_unit: Series -> observations in another unit than asked for, which stay out.
    """

    studies: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    points: dict[str, dict[str, list[tuple[datetime, float]]]] = field(default_factory=dict)
    patients: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreadable: int = 0
    untimed: int = 0
    other_unit: dict[str, int] = field(default_factory=dict)


def resources(path: Path, found: Gathered) -> Iterator[dict[str, Any]]:
    """The resources of a file; lines that are none are counted."""
    with path.open("rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            body = json_object(line)
            if body is not None and isinstance(body.get("id"), str):
                yield body
            else:
                found.unreadable += 1


def take(body: dict[str, Any], wanted: Wanted, found: Gathered) -> None:
    """Keep what is needed of one resource. ImagingStudies come before reports, and both before observations."""
    kind = body.get("resourceType")
    if kind == "DiagnosticReport":
        if str(body.get("status")) in FINAL:
            for study in _references(body.get("imagingStudy") or body.get("study")):
                if study in found.studies:
                    found.reports.setdefault(study, []).append(body)
            if wanted.anchor == kind:
                found.reports.setdefault(body["id"], []).append(body)
                _study(body, "effectiveDateTime", wanted, found)
    elif kind == "ImagingStudy" and wanted.anchor == kind:
        if str(body.get("status")) not in UNDONE:
            _study(body, "started", wanted, found)
    elif kind == "Observation":
        _observation(body, wanted, found)


def take_patient(body: dict[str, Any], found: Gathered) -> None:
    """Keep sex, date of birth and race of a patient who has a study."""
    if not found.patients:
        found.patients = {study["patient_id"]: {} for study in found.studies.values()}
    if body.get("resourceType") == "Patient" and body["id"] in found.patients:
        found.patients[body["id"]] = {
            "sex": SEX.get(str(body.get("gender"))), "born": body.get("birthDate"), "race": _race(body),
        }  # fmt: skip


def rows(wanted: Wanted, found: Gathered) -> Iterator[dict[str, Any]]:
    """One row a study, in the order of time."""
    for key, study in sorted(found.studies.items(), key=lambda item: (item[1]["moment"], item[0])):
        person = found.patients.get(study["patient_id"]) or {}
        moment: datetime = study["moment"]
        yield {
            "patient_id": study["patient_id"],
            "study_id": key,
            "study_time": moment.isoformat(),
            "sex": person.get("sex"),
            "age": _age(person.get("born"), moment),
            "race": person.get("race"),
            "modality": study["modality"],
            **_reported(found.reports.get(key, []), wanted),
            **{f"series.{name}": _series(name, study, wanted, found) for name in wanted.series},
        }


def columns(wanted: Wanted) -> tuple[str, ...]:
    """Every column that :func:`rows` makes."""
    return (*FIXED, *TEXTS, *(f"label.{name}" for name in wanted.labels), *(f"series.{name}" for name in wanted.series))


def _study(body: dict[str, Any], time_of: str, wanted: Wanted, found: Gathered) -> None:
    period = body.get("effectivePeriod")
    given = body.get(time_of) or (period.get("start") if isinstance(period, dict) else None) or body.get("issued")
    moment = _moment(given, wanted.zone)
    patient = _reference(body.get("subject"))
    if moment is None or patient is None:
        found.untimed += 1
        return
    found.studies[body["id"]] = {"patient_id": patient, "moment": moment, "modality": _modality(body)}
    found.points.setdefault(patient, {})


def _observation(body: dict[str, Any], wanted: Wanted, found: Gathered) -> None:
    patient = _reference(body.get("subject"))
    quantity = body.get("valueQuantity")
    if patient not in found.points or not isinstance(quantity, dict) or str(body.get("status")) not in FINAL:
        return
    value, codes = _number(quantity.get("value")), set(_codes([body.get("code")]))
    moment = _moment(body.get("effectiveDateTime") or body.get("effectiveInstant"), wanted.zone)
    if moment is None or value is None:
        return
    for name, (those, unit) in wanted.series.items():
        if codes & set(those):
            if unit and unit not in (quantity.get("code"), quantity.get("unit")):
                found.other_unit[name] = found.other_unit.get(name, 0) + 1
            else:
                found.points[patient].setdefault(name, []).append((moment, value))


def _series(name: str, study: dict[str, Any], wanted: Wanted, found: Gathered) -> list[list[float]] | None:
    """(hours before the study as a negative number, value) of its patient's observations."""
    made = []
    for moment, value in sorted(found.points[study["patient_id"]].get(name, [])):
        hours = (moment - study["moment"]).total_seconds() / 3600
        if -wanted.history <= hours <= 0:
            made.append([round(hours, 4), value])
    return made or None


def _reported(reports: list[dict[str, Any]], wanted: Wanted) -> dict[str, Any]:
    """Labels and texts of the reports of a study, in the order in which they were issued."""
    ordered = sorted(reports, key=lambda item: str(item.get("issued") or item.get("effectiveDateTime") or ""))
    codes = {code for item in ordered for code in _codes(item.get("conclusionCode"))}
    made: dict[str, Any] = {
        f"label.{name}": int(bool(codes & set(those))) if ordered else None for name, those in wanted.labels.items()
    }
    made["text.impression"] = next((t for item in reversed(ordered) if (t := item.get("conclusion"))), None)
    made["text.report"] = next((t for item in reversed(ordered) if (t := _form(item))), None)
    return made


def _form(report: dict[str, Any]) -> str | None:
    """The plain text that comes with a report."""
    for form in _dicts(report.get("presentedForm")):
        if str(form.get("contentType", "")).startswith("text/plain") and form.get("data"):
            try:
                return base64.b64decode(form["data"], validate=True).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
                return None
    return None


def _codes(concepts: Any) -> Iterable[str]:
    for concept in _dicts(concepts):
        for coding in _dicts(concept.get("coding")):
            yield f"{coding.get('system', '')}|{coding.get('code', '')}"


def _modality(body: dict[str, Any]) -> str | None:
    """The first modality: a coding in R4, a concept in R5; of the series where the study has none."""
    series = [item.get("modality") for item in _dicts(body.get("series"))]
    for item in [*_dicts(body.get("modality")), *_dicts(series)]:
        coding = _dicts(item.get("coding", [item]))
        return str(coding[0].get("code")) if coding and coding[0].get("code") else None
    return None


def _race(body: dict[str, Any]) -> str | None:
    for extension in _dicts(body.get("extension")):
        if str(extension.get("url", "")).endswith(RACE):
            for part in _dicts(extension.get("extension")):
                if part.get("url") == "text":
                    return str(part.get("valueString")) if part.get("valueString") else None
    return None


def _dicts(items: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list. A server's fault costs the element, not the export."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond what a float holds
        return None


def _reference(item: Any) -> str | None:
    """``Patient/17`` or ``https://host/Patient/17/_history/2`` -> ``17``."""
    given = item.get("reference") if isinstance(item, dict) else None
    if not isinstance(given, str) or not given:
        return None
    return given.split("/_history/")[0].rsplit("/", 1)[-1]


def _references(items: Any) -> list[str]:
    return [found for item in items or [] if (found := _reference(item))] if isinstance(items, list) else []


def _moment(given: Any, zone: str) -> datetime | None:
    """A FHIR dateTime in UTC. One with a day but without a zone is local; a year or a month alone is no moment."""
    if not isinstance(given, str) or len(given) < 10:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _age(born: Any, moment: datetime) -> float | None:
    """Whole years at the study; None for a date of birth of a year alone."""
    if not isinstance(born, str) or len(born) != 10:
        return None
    try:
        day = date.fromisoformat(born)
    except ValueError:
        return None
    return float(moment.year - day.year - ((moment.month, moment.day) < (day.month, day.day)))
