"""Synthetic patients: order a generator, order patients from one, and follow both."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Anything, Line, Number, Pk, Slug, Strict, Word
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from models_registry.api.rows import cohort_version_of, system_of, version_of
from models_registry.models import JobStatus
from synthetic.api.rows import order_of, orders_seen, training_of, trainings_seen
from synthetic.models import Generation, GeneratorTraining
from synthetic.services import generators

router = HouseRouter("Synthetic patients")
REFUSES = ("not-found", "conflict")
MOST_WISHES = 50


class GeneratorIn(Strict):
    """A generator that is to learn from a version of a cohort, and what it is registered as."""

    system: Slug
    label: Annotated[Word, Field(min_length=1)]
    cohort: Annotated[Number, Field(description="Number of a version of a cohort.")]
    settings: Annotated[Anything, Field(description="As in docs/synthetic.md; the seed is needed.")]


class JobOut(Schema):
    """What a worker does: ``status`` is queued, running, done, failed or cancelled."""

    id: int
    status: str
    progress: float
    message: str
    error: str
    settings: dict[str, Any]
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None


class GeneratorOut(JobOut):
    """The training of a generator; ``version`` is its number once it is registered."""

    system: str
    label: str
    cohort: int
    version: int | None


class PatientsIn(Strict):
    """Patients that a generator is to make; they lie in quarantine until they are audited and released."""

    version: Annotated[Number, Field(description="Number of a version of a generator.")]
    cohort_name: Annotated[Line, Field(min_length=1)]
    wish: Annotated[Anything, Field(description="patients, attributes, least, most, findings; see docs/synthetic.md.")]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, strict=True)] = 0
    also: Annotated[list[Anything], Field(max_length=MOST_WISHES)] = []


class PatientsOut(JobOut):
    """An order of patients; ``cohort_version`` is the number of what was made."""

    generator: int
    cohort_name: str
    cohort_version: int | None


class JobFilter(Schema):
    """Which orders."""

    status: JobStatus | None = None


def _job(row: GeneratorTraining | Generation) -> dict[str, Any]:
    names = ("status", "progress", "message", "error", "settings", "requested_at", "finished_at")
    return {name: getattr(row, name) for name in names} | {"id": row.pk, "requested_by": row.requested_by.username}


def generator_out(row: GeneratorTraining) -> dict[str, Any]:
    return _job(row) | {
        "system": row.system.slug,
        "label": row.version_label,
        "cohort": row.cohort_id,
        "version": row.result_id,
    }


def patients_out(row: Generation) -> dict[str, Any]:
    return _job(row) | {"generator": row.version_id, "cohort_name": row.cohort_name, "cohort_version": row.result_id}


@router.operation("GET", "/synthetic/generators", scope=Scope.READ, gives=Page[GeneratorOut], name="generators")
def list_generators(request: TokenRequest, paging: Query[Paging], wanted: Query[JobFilter]) -> Any:
    """Trainings of generators, newest first."""
    rows = trainings_seen(request)
    rows = rows.filter(status=wanted.status) if wanted.status else rows
    return page_of(request, rows, paging, order="-requested_at", tell=generator_out)


@router.operation(
    "POST", "/synthetic/generators", scope=Scope.SYNTHETIC, gives=GeneratorOut, status=201, name="generators",
    refuses=REFUSES, example={"system": "ward-patients", "label": "1.0", "cohort": 3, "settings": {"seed": 1}},
)  # fmt: skip
def order_generator(request: TokenRequest, body: GeneratorIn) -> Any:
    """Order a generator of linked patients. For ML engineers."""
    job = generators.request_generator(
        system=system_of(request, body.system),
        version_label=body.label,
        cohort=cohort_version_of(request, body.cohort),
        settings=body.settings,
        by=request.auth,
    )
    request.answer_headers["Location"] = f"/api/v1/synthetic/generators/{job.pk}"
    return generator_out(training_of(request, job.pk))


@router.operation(
    "GET", "/synthetic/generators/{pk}", scope=Scope.READ, gives=GeneratorOut, name="generator", refuses=("not-found",)
)
def get_generator(request: TokenRequest, pk: Pk) -> Any:
    """How far the training of a generator is."""
    return generator_out(training_of(request, pk))


@router.operation(
    "POST", "/synthetic/generators/{pk}/cancel", scope=Scope.SYNTHETIC, gives=GeneratorOut, refuses=REFUSES
)
def cancel_generator(request: TokenRequest, pk: Pk) -> Any:
    """Stop a training at its next step. It can be resumed."""
    return generator_out(generators.cancel_generator(job=training_of(request, pk), by=request.auth))


@router.operation(
    "POST", "/synthetic/generators/{pk}/resume", scope=Scope.SYNTHETIC, gives=GeneratorOut, refuses=REFUSES
)
def resume_generator(request: TokenRequest, pk: Pk) -> Any:
    """Go on with a training that was cancelled or failed. What it had finished is not learnt again."""
    return generator_out(generators.resume_generator(job=training_of(request, pk), by=request.auth))


@router.operation("GET", "/synthetic/patients", scope=Scope.READ, gives=Page[PatientsOut], name="patients-orders")
def list_patients(request: TokenRequest, paging: Query[Paging], wanted: Query[JobFilter]) -> Any:
    """Orders of patients, newest first."""
    rows = orders_seen(request)
    rows = rows.filter(status=wanted.status) if wanted.status else rows
    return page_of(request, rows, paging, order="-requested_at", tell=patients_out)


@router.operation(
    "POST", "/synthetic/patients", scope=Scope.SYNTHETIC, gives=PatientsOut, status=201, name="patients-orders",
    refuses=REFUSES,
    example={"version": 9, "cohort_name": "Ward, synthetic", "wish": {"patients": 500, "attributes": {"sex": "F"}}},
)  # fmt: skip
def order_patients(request: TokenRequest, body: PatientsIn) -> Any:
    """Order patients from a generator that was trained here. For ML engineers."""
    job = generators.request_patients(
        version=version_of(request, body.version),
        cohort_name=body.cohort_name,
        wish=body.wish,
        seed=body.seed,
        also=body.also,
        by=request.auth,
    )
    request.answer_headers["Location"] = f"/api/v1/synthetic/patients/{job.pk}"
    return patients_out(order_of(request, job.pk))


@router.operation(
    "GET",
    "/synthetic/patients/{pk}",
    scope=Scope.READ,
    gives=PatientsOut,
    name="patients-order",
    refuses=("not-found",),
)
def get_patients(request: TokenRequest, pk: Pk) -> Any:
    """How far an order of patients is."""
    return patients_out(order_of(request, pk))


@router.operation("POST", "/synthetic/patients/{pk}/cancel", scope=Scope.SYNTHETIC, gives=PatientsOut, refuses=REFUSES)
def cancel_patients(request: TokenRequest, pk: Pk) -> Any:
    """Stop the making of patients. Nothing of them is kept."""
    return patients_out(generators.cancel_patients(job=order_of(request, pk), by=request.auth))
