"""A version's way in: start, send its files, look at the checks until they are made, confirm or discard."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path as Place
from typing import Annotated, Any

from ninja import Query, Schema
from pydantic import Field

from core.api.fields import Line, Long, Number, Pk, SlugInPath, Strict, Word, Words
from core.api.paging import Page, Paging, page_of
from core.api.requests import TokenRequest
from core.api.routing import HouseRouter, Scope
from core.errors import AuscultError
from models_registry.api.rows import intake_of, intakes_seen, system_of, version_of
from models_registry.intake.uploads import LARGEST_UPLOAD, MOST_FILES, PromisedFile
from models_registry.models import ModelVersion, VersionIntake
from models_registry.services import intakes

router = HouseRouter("Registering versions")
REFUSES = ("not-found", "conflict")


class FileIn(Strict):
    """A file that will be sent: its path in the model's folder, and its bytes."""

    path: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
    size: Annotated[int, Field(ge=0, le=LARGEST_UPLOAD, strict=True)]


class IntakeIn(Strict):
    """What comes in, and where its files are: sent afterwards (``upload``), or in a folder that the server may read."""

    label: Word
    adapter: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00]*$")]
    kind: VersionIntake.Kind = VersionIntake.Kind.UPLOAD
    path: Annotated[Long, Field(description="The folder, the archive, or the tracking folder of MLflow.")] = ""
    mlflow_run: Annotated[Line, Field(description="Its identifier, or runs:/IDENTIFIER/PATH.")] = ""
    files: Annotated[list[FileIn], Field(max_length=MOST_FILES)] = []
    notes: Words = ""
    backbone: Annotated[Number | None, Field(description="The version that it is built on.")] = None


class RecheckIn(Strict):
    """What is put right; what is left out stays."""

    label: Word | None = None
    adapter: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00]*$")] | None = None
    backbone: Number | None = None


class ConfirmIn(Strict):
    """``draft``: it is not audited before it is submitted."""

    draft: Annotated[bool, Field(strict=True)] = False


class CheckOut(Schema):
    """One check: ``state`` is waiting, running, ok, warning or error."""

    code: str
    title: str
    state: str
    message: str
    remedy: str
    file: str


class FileOut(Schema):
    """A file of an upload: go on at ``received``."""

    path: str
    size: int
    received: int


class IntakeOut(Schema):
    """A version on its way in. ``status`` is receiving, queued, checking, ready (confirm it), blocked (mend what the
    checks name), registering, registered (``version`` is its number), failed or discarded."""

    id: int
    system: str
    label: str
    adapter: str
    kind: str
    status: str
    progress: float
    message: str
    error: str
    checks: list[CheckOut]
    digest: str
    version: int | None
    created_by: str
    created_at: datetime


class IntakeDetailOut(IntakeOut):
    """The same, with the files of an upload."""

    files: list[FileOut]


def intake_out(row: VersionIntake) -> dict[str, Any]:
    names = ("code", "title", "state", "message", "remedy", "file")
    return {
        "id": row.pk,
        "system": row.system.slug,
        "label": row.label,
        "adapter": row.adapter,
        "kind": row.kind,
        "status": row.status,
        "progress": row.progress,
        "message": row.message,
        "error": row.error,
        "checks": [{name: str(check.get(name) or "") for name in names} for check in row.checks],
        "digest": str(row.findings.get("digest") or ""),
        "version": row.result_id,
        "created_by": row.created_by.username,
        "created_at": row.created_at,
    }


def _detail(row: VersionIntake) -> dict[str, Any]:
    return intake_out(row) | {"files": [file_out(file) for file in row.files.all()]}


def file_out(file: Any) -> dict[str, Any]:
    return {"path": file.path, "size": file.size, "received": file.received}


def _backbone(request: TokenRequest, pk: int | None) -> ModelVersion | None:
    return None if pk is None else version_of(request, pk)


@router.operation(
    "POST", "/systems/{slug}/intakes", scope=Scope.REGISTER, gives=IntakeDetailOut, status=201, refuses=REFUSES,
    example={"label": "2.1.0", "adapter": "fusion", "files": [{"path": "model.tar.gz", "size": 104857600}]},
)  # fmt: skip
def start_intake(request: TokenRequest, slug: SlugInPath, body: IntakeIn) -> Any:
    """Begin to register a version. Nothing is registered yet. For ML engineers."""
    row = intakes.start_intake(
        system=system_of(request, slug),
        label=body.label,
        adapter=body.adapter,
        kind=body.kind,
        source_path=Place(body.path) if body.path else None,
        notes=body.notes,
        backbone=_backbone(request, body.backbone),
        files=[PromisedFile(path=file.path, size=file.size) for file in body.files],
        mlflow_run=body.mlflow_run,
        by=request.auth,
    )
    request.answer_headers["Location"] = f"/api/v1/intakes/{row.pk}"
    return _detail(row)


class IntakeFilter(Schema):
    """Which intakes."""

    system: Word = ""
    status: VersionIntake.Status | None = None


@router.operation("GET", "/intakes", scope=Scope.READ, gives=Page[IntakeOut], name="intakes")
def list_intakes(request: TokenRequest, paging: Query[Paging], wanted: Query[IntakeFilter]) -> Any:
    """Versions that came in or are on their way, newest first."""
    rows = intakes_seen(request)
    if wanted.system:
        rows = rows.filter(system__slug=wanted.system)
    if wanted.status:
        rows = rows.filter(status=wanted.status)
    return page_of(request, rows, paging, tell=intake_out)


@router.operation(
    "GET", "/intakes/{pk}", scope=Scope.READ, gives=IntakeDetailOut, name="intake", refuses=("not-found",)
)
def get_intake(request: TokenRequest, pk: Pk) -> Any:
    """How far a version is on its way in: every check, what has arrived, and its number once it is registered."""
    return _detail(intake_of(request, pk))


@router.operation(
    "PUT", "/intakes/{pk}/files", scope=Scope.REGISTER, gives=FileOut, raw=True, refuses=(*REFUSES, "media-type")
)
def send_file(
    request: TokenRequest,
    pk: Pk,
    path: Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]*$")],
    offset: Annotated[int, Query(ge=0, le=LARGEST_UPLOAD)] = 0,
) -> Any:
    """Send a file of an upload, whole or in pieces. After a broken connection go on at what was received."""
    length = request.headers.get("Content-Length") or ""
    if not length.isdecimal():
        raise AuscultError("The request does not say how many bytes it has.", remedy="Send Content-Length.")
    file = intakes.receive_chunk(
        intake=intake_of(request, pk),
        path=path,
        offset=offset,
        stream=request,  # type: ignore[arg-type]
        length=int(length),
        by=request.auth,
    )
    return file_out(file)


@router.operation("POST", "/intakes/{pk}/finish", scope=Scope.REGISTER, gives=IntakeDetailOut, refuses=REFUSES)
def finish_intake(request: TokenRequest, pk: Pk) -> Any:
    """All bytes are there: a worker checks them."""
    return _detail(intakes.finish_upload(intake=intake_of(request, pk), by=request.auth))


@router.operation("POST", "/intakes/{pk}/recheck", scope=Scope.REGISTER, gives=IntakeDetailOut, refuses=REFUSES)
def recheck_intake(request: TokenRequest, pk: Pk, body: RecheckIn) -> Any:
    """Have it checked again, with what was put right."""
    row = intakes.recheck_intake(
        intake=intake_of(request, pk),
        adapter=body.adapter,
        label=body.label,
        backbone=_backbone(request, body.backbone),
        by=request.auth,
    )
    return _detail(row)


@router.operation(
    "POST", "/intakes/{pk}/confirm", scope=Scope.REGISTER, gives=IntakeDetailOut, refuses=REFUSES,
    example={"draft": False},
)  # fmt: skip
def confirm_intake(request: TokenRequest, pk: Pk, body: ConfirmIn) -> Any:
    """Register what was checked. A worker does it; its number is told once it is registered."""
    return _detail(intakes.confirm_intake(intake=intake_of(request, pk), draft=body.draft, by=request.auth))


@router.operation("POST", "/intakes/{pk}/discard", scope=Scope.REGISTER, gives=IntakeDetailOut, refuses=REFUSES)
def discard_intake(request: TokenRequest, pk: Pk) -> Any:
    """Give it up, and remove what was received."""
    return _detail(intakes.discard_intake(intake=intake_of(request, pk), by=request.auth))
