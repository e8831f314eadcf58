"""FHIR bulk export: studies of the window are ordered, waited for without holding a worker, and read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from core.digests import sha256_file
from evaluation.monitoring.findings import Finding, Kind, Severity
from evaluation.monitoring.sources.base import (
    SOURCES,
    Arrived,
    Job,
    OnItsWayError,
    check_keys,
    check_variable,
    lookback_of,
    variable,
    wrong,
)
from evaluation.monitoring.sources.bulk import FORMAT, BulkClient, GoneError, Manifest, Output, instant
from evaluation.monitoring.sources.resources import (
    Gathered,
    Wanted,
    columns,
    resources,
    rows,
    take,
    take_patient,
)
from evaluation.monitoring.sources.rows import write_rows
from models_registry.cohorts import Mapping

ANCHORS = ("ImagingStudy", "DiagnosticReport")
ORDER = ("ImagingStudy", "DiagnosticReport", "Observation")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,59}")
GROUP = re.compile(r"[A-Za-z0-9.-]{1,64}")
CODE = re.compile(r"\S+\|\S+")
HISTORY = 48


class Fhir:
    """Settings: ``url_env`` and ``token_env`` name variables; ``group``: of patients, everybody without one;
    ``study``: ImagingStudy or DiagnosticReport; ``labels``: label -> codes; ``series``: name -> codes and unit;
    ``history_hours`` of observations; ``lookback_hours``."""

    repeats = True

    def check(self, given: dict[str, Any]) -> dict[str, Any]:
        kinds: dict[str, type | tuple[type, ...]] = {
            "url_env": str, "token_env": str, "group": str, "study": str, "labels": dict, "series": dict,
            "history_hours": int, "lookback_hours": int,
        }  # fmt: skip
        check_keys(given, kinds, ("url_env",))
        check_variable(given, "url_env")
        check_variable(given, "token_env")
        study, history = given.get("study", ANCHORS[0]), given.get("history_hours", HISTORY)
        if study not in ANCHORS:
            raise wrong("study", "It is not known", f"Use one of: {', '.join(ANCHORS)}.")
        if given.get("group") and not GROUP.fullmatch(given["group"]):
            raise wrong("group", "It is no identifier of a FHIR resource", "Give the id of the Group.")
        if not 0 <= history <= 24 * 366:
            raise wrong("history_hours", "It is not between 0 and 8,784", "Give a number of hours.")
        return {
            "url_env": given["url_env"],
            "token_env": given.get("token_env", ""),
            "group": given.get("group", ""),
            "study": study,
            "labels": {_name(key, "labels"): _codes(those, "labels") for key, those in given.get("labels", {}).items()},
            "series": {_name(key, "series"): _one_series(item) for key, item in given.get("series", {}).items()},
            "history_hours": history,
            "lookback_hours": lookback_of(given),
        }  # fmt: skip

    def gives(self, settings: dict[str, Any]) -> tuple[str, ...] | None:
        return columns(wanted(settings, "UTC"))

    def pull(self, job: Job) -> Iterator[Arrived]:
        token = variable(job.settings, "token_env") if job.settings["token_env"] else ""
        client = BulkClient(base=variable(job.settings, "url_env"), token=token)
        progress = job.progress if job.progress.get("studies") else _order(client, job)
        try:
            made = {name: client.look(progress[name]) for name in ("studies", "patients")}
        except GoneError:
            raise OnItsWayError("The export was lost and is ordered again.", seconds=5) from None
        waits = [found for found in made.values() if isinstance(found, int)]
        if waits:
            raise OnItsWayError("The FHIR server is making the export.", seconds=max(waits), progress=progress)
        yield from _read(client, {name: m for name, m in made.items() if isinstance(m, Manifest)}, job)
        for status in progress.values():
            client.forget(status)


def wanted(settings: dict[str, Any], zone: str) -> Wanted:
    """The settings as the reader of resources takes them."""
    return Wanted(
        anchor=settings["study"],
        labels={name: tuple(codes) for name, codes in settings["labels"].items()},
        series={name: (tuple(item["codes"]), item["unit"]) for name, item in settings["series"].items()},
        history=settings["history_hours"],
        zone=zone,
    )


def _name(name: Any, setting: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise wrong(setting, "A name has up to 60 letters, digits, spaces, - and _", "Name it as the reference does.")
    return name


def _codes(given: Any, setting: str) -> list[str]:
    if not isinstance(given, list) or not given or not all(isinstance(c, str) and CODE.fullmatch(c) for c in given):
        raise wrong(setting, "Codes are a list of SYSTEM|CODE", "Write them such as http://snomed.info/sct|60046008.")
    return list(given)


def _one_series(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or set(item) - {"codes", "unit"} or not isinstance(item.get("unit", ""), str):
        raise wrong("series", "A series has 'codes' and 'unit'", "Write {codes: [SYSTEM|CODE], unit: mg/L}.")
    return {"codes": _codes(item.get("codes"), "series"), "unit": item.get("unit", "")}


def _order(client: BulkClient, job: Job) -> dict[str, Any]:
    """Two exports: what changed since some time before the window; and the patients, who may not have changed."""
    settings = job.settings
    path = f"Group/{settings['group']}/$export" if settings["group"] else "Patient/$export"
    kinds = [kind for kind in ORDER if kind != "Observation" or settings["series"]]
    if settings["study"] == "DiagnosticReport":
        kinds.remove("ImagingStudy")
    back = max(settings["lookback_hours"], settings["history_hours"])
    since = instant(job.opens_at - timedelta(hours=back))
    studies = client.start(path, {"_outputFormat": FORMAT, "_type": ",".join(kinds), "_since": since})
    return {"studies": studies, "patients": client.start(path, {"_outputFormat": FORMAT, "_type": "Patient"})}


def _read(client: BulkClient, made: dict[str, Manifest], job: Job) -> Iterator[Arrived]:
    asked, found = wanted(job.settings, job.zone), Gathered()
    for kind in ORDER:
        for body in _resources(client, made["studies"], kind, job, found):
            take(body, asked, found)
    for body in _resources(client, made["patients"], "Patient", job, found):
        take_patient(body, found)
    target = job.scratch / "studies.parquet"
    kept = {*job.columns, "patient_id", "study_id", "study_time"}
    if not write_rows(({k: v for k, v in row.items() if k in kept} for row in rows(asked, found)), target):
        return
    digest = sha256_file(target)
    if digest not in job.known:
        since = job.opens_at - timedelta(hours=job.settings["lookback_hours"])
        errors = sum(len(manifest.errors) for manifest in made.values())
        yield Arrived(
            name=f"FHIR export since {since:%Y-%m-%d %H:%M} UTC",
            digest=digest,
            path=target,
            mapping=Mapping(),
            findings=tuple(_findings(found, errors)),
        )


def _resources(
    client: BulkClient, manifest: Manifest, kind: str, job: Job, found: Gathered
) -> Iterator[dict[str, Any]]:
    for number, output in enumerate(manifest.outputs):
        if output.kind == kind:
            yield from _file(client, output, manifest, job.scratch / f"{kind}-{number}.ndjson", job, found)


def _file(
    client: BulkClient, output: Output, manifest: Manifest, target: Path, job: Job, found: Gathered
) -> Iterator[dict[str, Any]]:
    job.alive()
    client.fetch(output, target, guarded=manifest.guarded, alive=job.alive)
    try:
        yield from resources(target, found)
    finally:
        target.unlink()


def _findings(found: Gathered, errors: int) -> Iterator[Finding]:
    said = "See the server's log of the export."
    if errors:
        yield _odd(Kind.SOURCE, "export-errors", "The FHIR server reports errors of its export.", said, errors)
    if found.unreadable:
        yield _odd(Kind.SOURCE, "no-resource", "Lines of the export are no resources.", said, found.unreadable)
    if found.untimed:
        yield _odd(
            Kind.TIMES, "no-time", "Studies have no patient or no time and stay out.",
            "Without a time, a study belongs to no window.", found.untimed,
        )  # fmt: skip
    for name, count in sorted(found.other_unit.items()):
        yield _odd(
            Kind.UNIT, "other-unit", f"Observations of '{name}' are in another unit and stay out.",
            "See what changed in the laboratory, and correct the unit in the source.", count, column=f"series.{name}",
        )  # fmt: skip


def _odd(kind: str, code: str, message: str, remedy: str, count: int, column: str | None = None) -> Finding:
    return Finding(
        kind=kind,
        severity=Severity.WARNING,
        code=code,
        message=message,
        remedy=remedy,
        count=count,
        column=column,
    )


SOURCES.register("fhir")(Fhir())
