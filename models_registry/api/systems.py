"""Systems and their versions: lists, one of them, a new system."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Digest, Line, Pk, SlugInPath, Strict, Word, Words
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from models_registry.api.rows import system_of, systems_seen, version_of, versions_seen
from models_registry.models import AISystem, ModelVersion, SystemKind, VersionStatus
from models_registry.services.systems import create_system

router = HouseRouter("Systems and versions")


class SystemIn(Strict):
    """What is registered. A backbone is a general model that other systems are built on."""

    name: Annotated[Line, Field(min_length=1)]
    intended_purpose: Annotated[Words, Field(min_length=1)]
    provider: Line = ""
    risk_class: Line = ""
    kind: SystemKind = SystemKind.SYSTEM


class SystemOut(Schema):
    """A system; ``latest`` is the label of its newest version."""

    slug: str
    name: str
    kind: str
    provider: str
    intended_purpose: str
    risk_class: str
    versions: int
    approved: int
    latest: str | None
    latest_status: str | None
    created_at: datetime


class VersionOut(Schema):
    """A version. ``digest`` is the SHA-256 of the manifest, which maps each file to its own."""

    id: int
    system: str
    label: str
    status: str
    adapter: str
    digest: str
    submitted_by: str
    submitted_at: datetime
    void_reason: str


class VersionDetailOut(VersionOut):
    """A version with its files, and what its adapter declared when it was registered."""

    notes: str
    source: str
    manifest: dict[str, str]
    sizes: dict[str, int]
    config: dict[str, Any]
    backbone_digest: str


class SystemFilter(Schema):
    """Which systems."""

    q: Annotated[Line, Field(description="Part of the name.")] = ""
    kind: SystemKind | None = None


class VersionFilter(Schema):
    """Which versions."""

    status: VersionStatus | None = None
    digest: Annotated[Digest, Field(description="The whole digest.")] = ""
    label: Word = ""


def system_out(row: AISystem) -> dict[str, Any]:
    told: Any = row  # with what the selector counted
    return {
        "slug": row.slug,
        "name": row.name,
        "kind": row.kind,
        "provider": row.provider,
        "intended_purpose": row.intended_purpose,
        "risk_class": row.risk_class,
        "versions": told.n_versions,
        "approved": told.n_approved,
        "latest": told.latest_label,
        "latest_status": told.latest_status,
        "created_at": row.created_at,
    }


def version_out(row: ModelVersion) -> dict[str, Any]:
    return {
        "id": row.pk,
        "system": row.system.slug,
        "label": row.label,
        "status": row.status,
        "adapter": row.adapter,
        "digest": row.digest,
        "submitted_by": row.submitted_by.username,
        "submitted_at": row.submitted_at,
        "void_reason": row.void_reason,
    }


@router.operation("GET", "/systems", scope=Scope.READ, gives=Page[SystemOut], name="systems")
def list_systems(request: TokenRequest, paging: Query[Paging], wanted: Query[SystemFilter]) -> Any:
    """Systems, by name."""
    rows = systems_seen(request)
    if wanted.q:
        rows = rows.filter(name__icontains=wanted.q)
    if wanted.kind:
        rows = rows.filter(kind=wanted.kind)
    return page_of(request, rows, paging, order="name", tell=system_out)


@router.operation(
    "POST", "/systems", scope=Scope.REGISTER, gives=SystemOut, status=201, name="systems", refuses=("conflict",),
    example={"name": "Chest model", "intended_purpose": "Flags pleural effusion for the radiologist who reads it."},
)  # fmt: skip
def register_system(request: TokenRequest, body: SystemIn) -> Any:
    """Register a system, or a backbone. For ML engineers."""
    made = create_system(**body.model_dump(), by=request.auth)
    request.answer_headers["Location"] = f"/api/v1/systems/{made.slug}"
    return system_out(system_of(request, made.slug))


@router.operation("GET", "/systems/{slug}", scope=Scope.READ, gives=SystemOut, name="system", refuses=("not-found",))
def get_system(request: TokenRequest, slug: SlugInPath) -> Any:
    """One system."""
    return system_out(system_of(request, slug))


@router.operation(
    "GET", "/systems/{slug}/versions", scope=Scope.READ, gives=Page[VersionOut], name="versions", refuses=("not-found",)
)
def list_versions(request: TokenRequest, slug: SlugInPath, paging: Query[Paging], wanted: Query[VersionFilter]) -> Any:
    """Versions of a system, newest first."""
    rows = versions_seen(request).filter(system=system_of(request, slug)).defer("manifest", "config", "card", "sizes")
    rows = rows.filter(**{name: value for name, value in wanted.model_dump().items() if value})
    return page_of(request, rows, paging, order="-submitted_at", tell=version_out)


@router.operation(
    "GET", "/versions/{pk}", scope=Scope.READ, gives=VersionDetailOut, name="version", refuses=("not-found",)
)
def get_version(request: TokenRequest, pk: Pk) -> Any:
    """One version, with its files."""
    row = version_of(request, pk)
    more = ("notes", "source", "manifest", "sizes", "config", "backbone_digest")
    return version_out(row) | {name: getattr(row, name) for name in more}
