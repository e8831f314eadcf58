"""Cohorts and their versions: lists, and one of them. Counts only, no patients."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Digest, Line, Pk, SlugInPath
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from core.pages.readers import check_may_read
from models_registry.api.rows import cohort_of, cohort_version_of, cohort_versions_seen, cohorts_seen
from models_registry.models import Cohort, CohortVersion

router = HouseRouter("Cohorts")


class CohortOut(Schema):
    """A cohort; the figures are those of its newest version. ``simulated``: no real patient is in it."""

    slug: str
    name: str
    description: str
    simulated: bool
    source: str
    licence: str
    role: str
    site: str
    versions: int
    studies: int | None
    patients: int | None
    created_at: datetime


class CohortVersionOut(Schema):
    """A version of a cohort, fixed by its digest. One in quarantine is used for nothing but its own audit."""

    id: int
    cohort: str
    digest: str
    studies: int
    patients: int
    simulated: bool
    quarantined: bool
    parent: int | None
    registered_by: str
    registered_at: datetime


class CohortVersionDetailOut(CohortVersionOut):
    """The same, with the summary: labels, attributes and modalities with counts, small counts not told."""

    summary: dict[str, Any]


class CohortFilter(Schema):
    """Which cohorts."""

    q: Annotated[Line, Field(description="Part of the name.")] = ""
    simulated: bool | None = None


class CohortVersionFilter(Schema):
    """Which versions."""

    digest: Annotated[Digest, Field(description="The whole digest.")] = ""
    quarantined: bool | None = None


def cohort_out(row: Cohort) -> dict[str, Any]:
    told: Any = row  # with what the selector counted
    names = ("slug", "name", "description", "simulated", "source", "licence", "role", "site", "created_at")
    return {name: getattr(row, name) for name in names} | {
        "versions": told.n_versions,
        "studies": told.n_studies,
        "patients": told.n_patients,
    }


def version_out(row: CohortVersion) -> dict[str, Any]:
    return {
        "id": row.pk,
        "cohort": row.cohort.slug,
        "digest": row.digest,
        "studies": row.n_studies,
        "patients": row.n_patients,
        "simulated": row.cohort.simulated,
        "quarantined": row.quarantined,
        "parent": row.parent_id,
        "registered_by": row.registered_by.username,
        "registered_at": row.registered_at,
    }


@router.operation("GET", "/cohorts", scope=Scope.READ, may=check_may_read, gives=Page[CohortOut], name="cohorts")
def list_cohorts(request: TokenRequest, paging: Query[Paging], wanted: Query[CohortFilter]) -> Any:
    """Cohorts, by name."""
    rows = cohorts_seen(request)
    if wanted.q:
        rows = rows.filter(name__icontains=wanted.q)
    if wanted.simulated is not None:
        rows = rows.filter(simulated=wanted.simulated)
    return page_of(request, rows, paging, order="name", tell=cohort_out)


@router.operation(
    "GET",
    "/cohorts/{slug}",
    scope=Scope.READ,
    may=check_may_read,
    gives=CohortOut,
    name="cohort",
    refuses=("not-found",),
)
def get_cohort(request: TokenRequest, slug: SlugInPath) -> Any:
    """One cohort."""
    return cohort_out(cohort_of(request, slug))


@router.operation(
    "GET", "/cohorts/{slug}/versions", scope=Scope.READ, may=check_may_read,
    gives=Page[CohortVersionOut], name="cohort-versions",
    refuses=("not-found",),
)  # fmt: skip
def list_cohort_versions(
    request: TokenRequest, slug: SlugInPath, paging: Query[Paging], wanted: Query[CohortVersionFilter]
) -> Any:
    """Versions of a cohort, newest first. Audits name one by its number."""
    rows = cohort_versions_seen(request).filter(cohort=cohort_of(request, slug)).defer("summary")
    if wanted.digest:
        rows = rows.filter(digest=wanted.digest)
    if wanted.quarantined is not None:
        rows = rows.filter(quarantined=wanted.quarantined)
    return page_of(request, rows, paging, order="-registered_at", tell=version_out)


@router.operation(
    "GET", "/cohort-versions/{pk}", scope=Scope.READ, may=check_may_read,
    gives=CohortVersionDetailOut, name="cohort-version",
    refuses=("not-found",),
)  # fmt: skip
def get_cohort_version(request: TokenRequest, pk: Pk) -> Any:
    """One version of a cohort, with its summary."""
    row = cohort_version_of(request, pk)
    return version_out(row) | {"summary": row.summary}
