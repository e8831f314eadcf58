"""A cohort's way in: send a file or name its place, look at what was found, put columns right, confirm or discard.

No row of the file is ever told: only what is wrong with it, which columns it has, and counts.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path as Place
from typing import Annotated, Any

from django.conf import settings
from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Anything, Line, Long, Pk, Strict, Words
from core.api.paging import Page, Paging, page_of
from core.api.requests import Streamed, TokenRequest
from core.api.routing import HouseRouter, Scope
from core.errors import AuscultError
from core.pages.readers import check_may_read
from models_registry.access import check_may_import_cohort
from models_registry.api.rows import import_of, imports_seen
from models_registry.models import CohortImport
from models_registry.places import place_for_upload
from models_registry.services.cohorts import confirm_import, discard_import, remove_upload, revise_import, start_import

router = HouseRouter("Bringing cohorts in")
REFUSES = ("not-found", "conflict")
MOST_BYTES = 8 << 30
FORMS = {"text/csv": ".csv", "application/vnd.apache.parquet": ".parquet"}


def _most() -> int:
    return int(getattr(settings, "AUSCULT_IMPORT_BYTES", MOST_BYTES))


class FactsIn(Schema):
    """What is said of a cohort: where its patients come from, and under which terms."""

    name: Annotated[Line, Field(min_length=1)]
    description: Words = ""
    source: Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")] = ""
    licence: Line = ""
    simulated: Annotated[bool, Field(description="No real patient is in it.")] = False


class ImportIn(Strict, FactsIn):
    """A CSV or Parquet file that lies where the server may read."""

    path: Annotated[Long, Field(min_length=1, description="The whole path, beginning with /.")]
    mapping: Annotated[Anything, Field(description="As in docs/cohorts.md: columns, values, ignore.")] = {}


class MappingIn(Strict):
    """What columns and values are, as in docs/cohorts.md."""

    mapping: Anything


class FindingOut(Schema):
    """What is wrong with the file, or odd: ``severity`` is error or warning."""

    severity: str
    code: str
    message: str
    remedy: str
    column: str | None
    row: int | None
    count: int


class ColumnOut(Schema):
    """A column as the file calls it, and what it is taken for."""

    original: str
    name: str
    role: str


class ImportOut(Schema):
    """A cohort on its way in. ``status`` is queued, inspecting, ready (confirm it), blocked (mend the errors),
    registering, registered (``cohort_version`` is its number), failed or discarded."""

    id: int
    name: str
    simulated: bool
    status: str
    error: str
    errors: int
    warnings: int
    cohort: str | None
    cohort_version: int | None
    created_by: str
    created_at: datetime


class ImportDetailOut(ImportOut):
    """The same, with everything that was found in the file."""

    findings: list[FindingOut]
    columns: list[ColumnOut]
    mapping: dict[str, Any]
    suggested_mapping: dict[str, Any]
    summary: dict[str, Any]


def import_out(row: CohortImport) -> dict[str, Any]:
    found = [problem.get("severity") for problem in (row.inspection or {}).get("problems", [])]
    return {
        "id": row.pk,
        "name": row.name,
        "simulated": row.simulated,
        "status": row.status,
        "error": row.error,
        "errors": sum(severity == "error" for severity in found),
        "warnings": sum(severity != "error" for severity in found),
        "cohort": row.result.cohort.slug if row.result else None,
        "cohort_version": row.result_id,
        "created_by": row.created_by.username,
        "created_at": row.created_at,
    }


def _detail(row: CohortImport) -> dict[str, Any]:
    found = row.inspection or {}
    words = ("severity", "code", "message", "remedy")
    return import_out(row) | {
        "findings": [
            {name: str(item.get(name) or "") for name in words}
            | {"column": item.get("column"), "row": item.get("row"), "count": item.get("count") or 1}
            for item in found.get("problems", [])
        ],
        "columns": [
            {name: str(item[name]) for name in ("original", "name", "role")} for item in found.get("columns", [])
        ],
        "mapping": row.mapping or {},
        "suggested_mapping": found.get("suggested_mapping") or {},
        "summary": found.get("summary") or {},
    }


def _started(request: TokenRequest, *, path: Place, mapping: dict[str, Any] | None, facts: FactsIn) -> dict[str, Any]:
    names = ("name", "description", "source", "licence", "simulated")
    told = {name: getattr(facts, name) for name in names}
    row = start_import(source_path=path, mapping=mapping, by=request.auth, **told)
    request.answer_headers["Location"] = f"/api/v1/cohort-imports/{row.pk}"
    return _detail(row)


@router.operation(
    "POST", "/cohort-imports", scope=Scope.REGISTER, gives=ImportDetailOut, status=201, refuses=("conflict",),
    example={"name": "Ward A 2026", "path": "/data/exports/ward-a.parquet", "source": "PACS, export of March 2026"},
)  # fmt: skip
def start_cohort_import(request: TokenRequest, body: ImportIn) -> Any:
    """Have a file on the server read. Nothing is registered yet. For ML engineers and auditors."""
    if not Place(body.path).is_absolute():
        raise AuscultError("The path is no whole path.", remedy="Give the whole path, beginning with /.")
    return _started(request, path=Place(body.path), mapping=body.mapping, facts=body)


@router.operation(
    "POST", "/cohort-imports/uploads", scope=Scope.REGISTER, gives=ImportDetailOut, status=201, refuses=("conflict",),
    stream=Streamed(forms=FORMS, most=_most), may=check_may_import_cohort,
)  # fmt: skip
def upload_cohort(
    request: TokenRequest,
    facts: Query[FactsIn],
    file_name: Annotated[str, Query(max_length=100, pattern=r"^[A-Za-z0-9._ -]*$")] = "",
) -> Any:
    """Send a CSV or Parquet file and have it read. Nothing is registered yet. For ML engineers and auditors."""
    end = request.received.path.suffix
    target = place_for_upload(f"{Place(file_name).stem or 'cohort'}{end}")
    try:
        shutil.move(request.received.path, target)
        return _started(request, path=target, mapping=None, facts=facts)
    except AuscultError:
        remove_upload(target)
        raise


class ImportFilter(Schema):
    """Which imports."""

    status: CohortImport.Status | None = None


@router.operation(
    "GET", "/cohort-imports", scope=Scope.READ, may=check_may_read, gives=Page[ImportOut], name="cohort-imports"
)
def list_cohort_imports(request: TokenRequest, paging: Query[Paging], wanted: Query[ImportFilter]) -> Any:
    """Cohorts that came in or are on their way, newest first."""
    rows = imports_seen(request)
    if wanted.status:
        rows = rows.filter(status=wanted.status)
    return page_of(request, rows, paging, tell=import_out)


@router.operation(
    "GET",
    "/cohort-imports/{pk}",
    scope=Scope.READ,
    may=check_may_read,
    gives=ImportDetailOut,
    name="cohort-import",
    refuses=("not-found",),
)
def get_cohort_import(request: TokenRequest, pk: Pk) -> Any:
    """How far a cohort is on its way in, with everything that was found in its file."""
    return _detail(import_of(request, pk))


@router.operation(
    "POST", "/cohort-imports/{pk}/mapping", scope=Scope.REGISTER, gives=ImportDetailOut, refuses=REFUSES,
    example={"mapping": {"columns": {"Accession": "study_id"}, "values": {"label.effusion": {"yes": 1, "no": 0}}}},
)  # fmt: skip
def map_cohort_import(request: TokenRequest, pk: Pk, body: MappingIn) -> Any:
    """Have the file read again with other meanings of its columns and values."""
    return _detail(revise_import(cohort_import=import_of(request, pk), mapping=body.mapping, by=request.auth))


@router.operation("POST", "/cohort-imports/{pk}/confirm", scope=Scope.REGISTER, gives=ImportDetailOut, refuses=REFUSES)
def confirm_cohort_import(request: TokenRequest, pk: Pk) -> Any:
    """Register what was found. A worker does it; its number is told once it is registered."""
    return _detail(confirm_import(cohort_import=import_of(request, pk), by=request.auth))


@router.operation("POST", "/cohort-imports/{pk}/discard", scope=Scope.REGISTER, gives=ImportDetailOut, refuses=REFUSES)
def discard_cohort_import(request: TokenRequest, pk: Pk) -> Any:
    """Give it up. A file that was sent is removed; one that lies on the server stays."""
    return _detail(discard_import(cohort_import=import_of(request, pk), by=request.auth))
