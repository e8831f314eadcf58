"""Audits: ask for one, follow it, stop it, go on with it, and read what it found."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Anything, Number, Pk, Strict, Word
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from core.errors import NotFoundError
from evaluation import selectors
from evaluation.api.rows import protocol_of, run_of, runs_seen
from evaluation.models import AuditRun, Measurement, Outcome, RunStatus, Verdict
from evaluation.services import runs
from models_registry.api.rows import cohort_version_of, version_of
from models_registry.services.versions import model_store

router = HouseRouter("Audits")
REFUSES = ("not-found", "conflict")


class AuditIn(Strict):
    """Which version is audited on which version of a cohort by which protocol: their numbers."""

    version: Number
    cohort: Annotated[Number, Field(description="Number of a version of a cohort.")]
    protocol: Number
    control: Annotated[
        Number | None, Field(description="For a generator of patients: a version of a cohort that it never saw.")
    ] = None
    settings: Annotated[Anything, Field(description="Inference settings, such as batch_size.")] = {}


class AuditOut(Schema):
    """An audit. ``status`` is queued, running, judging, done, failed or cancelled; ``outcome`` is empty until it is
    done, then pass, fail or insufficient."""

    id: int
    version: int
    system: str
    label: str
    cohort: int
    cohort_name: str
    protocol: int
    protocol_name: str
    attempt: int
    status: str
    outcome: str
    error: str
    studies: int
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    evidence_digest: str
    result_digest: str


class ProgressOut(Schema):
    """How far an audit is. ``rate`` is in studies per second, ``eta_seconds`` the time left; null where unknown."""

    share: float
    studies_done: int
    studies_total: int
    shards_done: int
    shards_total: int
    from_cache: int
    rate: float | None
    eta_seconds: float | None
    elapsed_seconds: float | None


class AuditDetailOut(AuditOut):
    """The same, with its progress."""

    progress: ProgressOut


class VerdictOut(Schema):
    """The judgement of one criterion. ``detail`` is the verdict as it stands in the evidence."""

    position: int
    criterion: str
    label: str
    attribute: str
    outcome: str
    primary: bool
    statement: str
    detail: dict[str, Any]


class MeasurementOut(Schema):
    """One number with its interval. ``value`` is null where it is undefined, and ``reason`` says why."""

    position: int
    suite: str
    metric: str
    label: str
    attribute: str
    group: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    patients: int | None
    reason: str
    detail: dict[str, Any]


class AuditFilter(Schema):
    """Which audits."""

    status: RunStatus | None = None
    outcome: Outcome | None = None
    system: Word = ""
    version: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    protocol: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    windows: Annotated[bool, Field(description="Those of monitors' windows too.")] = False


class MeasurementsFilter(Schema):
    """Which measurements. What is empty does not narrow."""

    suite: Word = ""
    metric: Word = ""
    label: Annotated[str, Field(max_length=120, pattern=r"^[^\x00]*$")] = ""
    attribute: Annotated[str, Field(max_length=120, pattern=r"^[^\x00]*$")] = ""
    group: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = ""


def audit_out(row: AuditRun) -> dict[str, Any]:
    names = (
        "attempt", "status", "outcome", "error", "requested_at", "started_at", "finished_at", "evidence_digest",
        "result_digest",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "version": row.version_id,
        "system": row.version.system.slug,
        "label": row.version.label,
        "cohort": row.cohort_id,
        "cohort_name": row.cohort.cohort.name,
        "protocol": row.protocol_id,
        "protocol_name": row.protocol.name,
        "studies": row.n_studies,
        "requested_by": row.requested_by.username,
    }


def _detail(row: AuditRun) -> dict[str, Any]:
    found = selectors.progress_of(row)
    return audit_out(row) | {"progress": {name: getattr(found, name) for name in ProgressOut.model_fields}}


@router.operation(
    "POST", "/audits", scope=Scope.AUDIT, gives=AuditDetailOut, status=201, name="audits", refuses=REFUSES,
    example={"version": 12, "cohort": 3, "protocol": 5},
)  # fmt: skip
def request_audit(request: TokenRequest, body: AuditIn) -> Any:
    """Ask for an audit. For auditors who neither submitted the version nor approved the protocol."""
    settings = dict(body.settings)
    if body.control is not None:
        settings["control"] = cohort_version_of(request, body.control).digest
    run = runs.request_audit(
        version=version_of(request, body.version),
        cohort=cohort_version_of(request, body.cohort),
        protocol=protocol_of(request, body.protocol),
        settings=settings or None,
        by=request.auth,
    )
    request.answer_headers["Location"] = f"/api/v1/audits/{run.pk}"
    return _detail(run_of(request, run.pk))


@router.operation("GET", "/audits", scope=Scope.READ, gives=Page[AuditOut], name="audits")
def list_audits(request: TokenRequest, paging: Query[Paging], wanted: Query[AuditFilter]) -> Any:
    """Audits, newest first; without those of monitors' windows unless they are asked for."""
    rows = runs_seen(request) if wanted.windows else runs_seen(request).filter(selectors.of_no_window())
    given = {
        "status": wanted.status,
        "outcome": wanted.outcome,
        "version__system__slug": wanted.system,
        "version": wanted.version,
        "protocol": wanted.protocol,
    }
    rows = rows.filter(**{name: value for name, value in given.items() if value})
    return page_of(request, rows, paging, order="-requested_at", tell=audit_out)


@router.operation("GET", "/audits/{pk}", scope=Scope.READ, gives=AuditDetailOut, name="audit", refuses=("not-found",))
def get_audit(request: TokenRequest, pk: Pk) -> Any:
    """One audit, with how far it is."""
    return _detail(run_of(request, pk))


@router.operation("POST", "/audits/{pk}/cancel", scope=Scope.AUDIT, gives=AuditDetailOut, refuses=REFUSES)
def cancel_audit(request: TokenRequest, pk: Pk) -> Any:
    """Stop an audit between two batches. What is done is kept, and it can be resumed."""
    return _detail(runs.cancel_run(run=run_of(request, pk), by=request.auth))


@router.operation("POST", "/audits/{pk}/resume", scope=Scope.AUDIT, gives=AuditDetailOut, refuses=REFUSES)
def resume_audit(request: TokenRequest, pk: Pk) -> Any:
    """Go on with an audit that was cancelled or failed: only what is not done is run again."""
    return _detail(runs.resume_run(run=run_of(request, pk), by=request.auth))


@router.operation(
    "GET", "/audits/{pk}/verdicts", scope=Scope.READ, gives=Page[VerdictOut], name="verdicts", refuses=("not-found",)
)
def list_verdicts(request: TokenRequest, pk: Pk, paging: Query[Paging]) -> Any:
    """Verdicts of an audit, in the order of the protocol."""
    rows = Verdict.objects.filter(run=run_of(request, pk))
    return page_of(request, rows, paging, order="position", tell=_told(VerdictOut))


@router.operation(
    "GET", "/audits/{pk}/measurements", scope=Scope.READ, gives=Page[MeasurementOut], name="measurements",
    refuses=("not-found",),
)  # fmt: skip
def list_measurements(request: TokenRequest, pk: Pk, paging: Query[Paging], wanted: Query[MeasurementsFilter]) -> Any:
    """Measurements of an audit, in the order in which the suites gave them."""
    rows = Measurement.objects.filter(run=run_of(request, pk))
    rows = rows.filter(**{name: value for name, value in wanted.model_dump().items() if value})
    return page_of(request, rows, paging, order="position", tell=_told(MeasurementOut))


def _told(schema: type[Schema]) -> Any:
    return lambda row: {name: getattr(row, name) for name in schema.model_fields}


@router.operation(
    "GET", "/audits/{pk}/evidence.json", scope=Scope.READ, name="evidence", refuses=("not-found",),
    content={"application/json": {"schema": {"type": "object"}}},
)  # fmt: skip
def get_evidence(request: TokenRequest, pk: Pk) -> Any:
    """The evidence of an audit, byte for byte. Its SHA-256 is the ``evidence_digest`` of the audit."""
    run = run_of(request, pk)
    if not run.evidence_digest:
        raise NotFoundError("This audit has no evidence yet.", remedy="Wait until it is done.")
    return HttpResponse(model_store().get_bytes(run.evidence_digest), content_type="application/json")
