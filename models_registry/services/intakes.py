"""A model version comes in by a door with two steps: received and checked first, registered when confirmed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from django.db import transaction
from django.utils import timezone

from core import ledger
from core.errors import AdapterError, ConflictError, DeniedError, EnvironmentProblemError, NotFoundError
from core.models import User
from core.reach import limited, service
from models_registry.access import check_may_register_version
from models_registry.adapters.base import ADAPTERS
from models_registry.intake.uploads import PromisedFile, check_promised, write_chunk
from models_registry.models import AISystem, ModelVersion, SystemKind, UploadedFile, VersionIntake
from models_registry.places import check_readable_from_pages
from models_registry.services.versions import model_store

Status = VersionIntake.Status
Kind = VersionIntake.Kind
WAITING = frozenset({Status.READY, Status.BLOCKED, Status.FAILED})
OPEN = WAITING | {Status.RECEIVING, Status.QUEUED, Status.CHECKING}
"""States in which an intake can still be given up."""


@service
def start_intake(
    *,
    system: AISystem,
    label: str,
    adapter: str,
    kind: str,
    source_path: Path | None,
    notes: str = "",
    backbone: ModelVersion | None = None,
    files: Sequence[PromisedFile] = (),
    mlflow_run: str = "",
    trusted: bool = False,
    by: User,
) -> VersionIntake:
    """Begin to bring a model version in. Nothing is registered yet.

    A folder, an archive or an MLflow run on the server is checked by a worker at once; an upload when all of its bytes
    are there (:func:`finish_upload`).

    Args:
        kind: One of ``VersionIntake.Kind``.
        source_path: The folder, the archive, or the tracking folder of MLflow; None for an upload.
        backbone: The version of a backbone that this one is built on, where the person knows it.
        files: What will be uploaded: the files of a folder, or one archive.
        mlflow_run: The run's identifier, or ``runs:/<identifier>/<path of the model among its artifacts>``.
        trusted: The path was given by whoever operates the server, from a shell: it may lie anywhere.

    Raises:
        DeniedError: ``by`` is no ML engineer, or the path lies outside the folders that are open to pages.
        AdapterError: there is no such folder or file, or an upload with refused names.
        AuscultError: there is no such adapter.
        ConflictError: no label, a label that is taken, or a backbone that is none.
    """
    check_may_register_version(by)
    label = checked_label(system, label)
    ADAPTERS.get(adapter)
    check_backbone(backbone)
    if kind == Kind.UPLOAD:
        check_promised(files, home=_on_the_stores_disk())
    else:
        check_source(kind=kind, path=source_path, mlflow_run=mlflow_run, trusted=trusted)
    row = VersionIntake.objects.create(
        system=system,
        label=label,
        adapter=adapter,
        kind=kind,
        notes=notes.strip(),
        backbone=backbone,
        source_path=str(source_path.resolve()) if source_path else "",
        findings={"mlflow_run": mlflow_run.strip()} if kind == Kind.MLFLOW else {},
        status=Status.RECEIVING if kind == Kind.UPLOAD else Status.QUEUED,
        created_by=by,
    )
    UploadedFile.objects.bulk_create(UploadedFile(intake=row, path=file.path, size=file.size) for file in files)
    _record(row, "version_intake.started", by, system=system.slug, label=label, adapter=adapter, kind=str(kind))
    if kind != Kind.UPLOAD:
        _enqueue_check(row)
    return row


@limited
def receive_chunk(
    *, intake: VersionIntake, path: str, offset: int, stream: BinaryIO, length: int, by: User
) -> UploadedFile:
    """Take the next bytes of a file of an upload, straight to the disk.

    Bytes arrive in order: ``offset`` is what has arrived so far. When the connection breaks, what came before stays,
    and the file's ``received`` tells where to go on.

    Raises:
        DeniedError: ``by`` is not who started this upload.
        NotFoundError: no such file was promised.
        ConflictError: the upload has ended, the offset is another one, the bytes exceed what was promised, or another
            request is sending this file.
        EnvironmentProblemError: the disk is full.
    """
    check_may_send(intake, by)
    file = intake.files.filter(path=path).first()
    if file is None:
        raise NotFoundError("This upload has no such file.", remedy="Begin a new upload with it.")
    _check_receiving(intake)
    if offset != file.received:
        raise ConflictError(
            f"The bytes begin at {offset:,}; {file.received:,} of {file.size:,} have arrived.",
            remedy=f"Go on at {file.received:,}.",
            file=path,
        )
    model_store().staging_folder(staging_of(intake).name)  # private before anything is in it
    try:
        count = write_chunk(upload_folder(intake) / path, offset=offset, stream=stream, length=length, most=file.size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise EnvironmentProblemError(
            "The disk of the store is full.", remedy="Ask the operator to free some space, then go on.", file=path
        ) from error
    alive = VersionIntake.objects.filter(pk=intake.pk, status=Status.RECEIVING).update(sent_at=timezone.now())
    rows = UploadedFile.objects.filter(pk=file.pk, received=offset)
    if not alive or not rows.update(received=offset + count):
        raise ConflictError("The upload has moved on meanwhile.", remedy="Ask what has arrived, and go on from there.")
    file.refresh_from_db()
    return file


@service
def finish_upload(*, intake: VersionIntake, by: User) -> VersionIntake:
    """All bytes are there: have a worker check them.

    Raises:
        DeniedError: ``by`` is not who started this upload.
        ConflictError: bytes are missing, or the upload has ended already.
    """
    check_may_send(intake, by)
    for file in intake.files.all():
        if file.received != file.size:
            raise ConflictError(
                f"{file.received:,} of {file.size:,} bytes have arrived.", remedy="Send the rest first.", file=file.path
            )
    _move(intake, {Status.RECEIVING}, Status.QUEUED, sent_at=timezone.now())
    _record(intake, "version_intake.received", by, files=intake.files.count())
    _enqueue_check(intake)
    return intake


@service
def recheck_intake(
    *,
    intake: VersionIntake,
    adapter: str | None = None,
    label: str | None = None,
    backbone: ModelVersion | None = None,
    by: User,
) -> VersionIntake:
    """Check again: what lies on the server is read anew, an upload stays as it is. None leaves a value as it was.

    Raises:
        DeniedError, ConflictError, AuscultError: as :func:`start_intake`.
    """
    check_may_register_version(by)
    changes: dict[str, Any] = {}
    if adapter is not None:
        ADAPTERS.get(adapter)
        changes["adapter"] = adapter
    if label is not None:
        changes["label"] = checked_label(intake.system, label)
    if backbone is not None:
        check_backbone(backbone)
        changes["backbone"] = backbone
    _move(intake, WAITING, Status.QUEUED, error="", message="", progress=0.0, sent_at=timezone.now(), **changes)
    _record(intake, "version_intake.revised", by, label=intake.label, adapter=intake.adapter)
    _enqueue_check(intake)
    return intake


@service
def confirm_intake(*, intake: VersionIntake, draft: bool = False, by: User) -> VersionIntake:
    """Register what was checked and shown.

    Args:
        draft: Register it as a draft, which is not audited before it is submitted.

    Raises:
        ConflictError: it has errors, or is not checked to its end.
    """
    check_may_register_version(by)
    if intake.status == Status.BLOCKED:
        raise ConflictError("The model has errors.", remedy="Mend what the checks name, then have it checked again.")
    findings = intake.findings | {"draft": draft}
    _move(intake, {Status.READY}, Status.REGISTERING, sent_at=timezone.now(), findings=findings)
    _record(intake, "version_intake.confirmed", by, digest=intake.findings.get("digest", ""))
    from models_registry import tasks

    tasks.register_intake.delay_on_commit(intake.pk)
    return intake


@service
def discard_intake(*, intake: VersionIntake, by: User | None) -> VersionIntake:
    """Give an intake up, and remove what was received of it. What lies elsewhere on the server stays where it is.

    Args:
        by: None when the platform itself gives up what nobody came back to.

    Raises:
        ConflictError: it is being registered, or has ended.
    """
    if by is not None:
        check_may_register_version(by)
    reason = "" if by else "Nobody came back to it, so it was given up and its files were removed."
    _move(intake, OPEN, Status.DISCARDED, message=reason)
    _record(intake, "version_intake.discarded", by)
    transaction.on_commit(lambda: shutil.rmtree(staging_of(intake), ignore_errors=True))
    return intake


def check_may_send(intake: VersionIntake, by: User) -> None:
    """Raise unless ``by`` may send bytes of this upload: nobody but who started it."""
    check_may_register_version(by)
    if intake.created_by_id != by.pk:
        raise DeniedError(
            "Only the person who started this upload may send its files.", remedy="Start an upload of your own."
        )


def checked_label(system: AISystem, label: str) -> str:
    """The label without blanks around it.

    Raises:
        ConflictError: it is empty, too long, or taken.
    """
    label = label.strip()
    if not 0 < len(label) <= 80:
        raise ConflictError(
            "A version needs a label of at most 80 characters.",
            remedy="Name it as its provider does, for example 2.1.0.",
        )
    if system.versions.filter(label=label).exists():
        raise ConflictError(f"{system.name} already has a version {label}.", remedy="Choose another label.")
    return label


def check_backbone(backbone: ModelVersion | None) -> None:
    """Raise unless this is a version of a backbone, or none."""
    if backbone is not None and backbone.system.kind != SystemKind.BACKBONE:
        raise ConflictError(
            f"{backbone} is no backbone.", remedy="Choose a version of a system that is registered as a backbone."
        )


def check_source(*, kind: str, path: Path | None, mlflow_run: str, trusted: bool) -> None:
    """Raise unless there is such a folder or file on the server, and it may be read."""
    if path is None or not path.is_absolute():
        raise AdapterError("The path on the server is missing.", remedy="Give the whole path, beginning with /.")
    if not trusted:
        check_readable_from_pages(path)
    if not (path.is_file() if kind == Kind.ARCHIVE else path.is_dir()):
        raise AdapterError(
            f"There is no such {'file' if kind == Kind.ARCHIVE else 'folder'} on the server.",
            remedy="Give the archive that holds the model." if kind == Kind.ARCHIVE else "Give the folder.",
            file=str(path),
        )
    if kind == Kind.MLFLOW and not mlflow_run.strip():
        raise AdapterError("The MLflow run is missing.", remedy="Give its identifier, as MLflow shows it.")


def staging_of(intake: VersionIntake) -> Path:
    """The folder on the store's disk for what is received of an intake. It need not be there."""
    return model_store().root / "staging" / f"intake-{intake.pk}"


def upload_folder(intake: VersionIntake) -> Path:
    """Where uploaded files are written."""
    return staging_of(intake) / "upload"


def _on_the_stores_disk() -> Path:
    root = model_store().root
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def _check_receiving(intake: VersionIntake) -> None:
    if not VersionIntake.objects.filter(pk=intake.pk, status=Status.RECEIVING).exists():
        raise ConflictError("This upload has ended.", remedy="Reload the page to see what became of it.")


def _move(row: VersionIntake, old: frozenset[Status] | set[Status], new: Status, **changes: Any) -> None:
    if not VersionIntake.objects.filter(pk=row.pk, status__in=old).update(status=new, **changes):
        raise ConflictError("This intake has moved on meanwhile.", remedy="Reload the page to see where it is.")
    row.refresh_from_db()


def _record(row: VersionIntake, act: str, by: User | None, **payload: Any) -> None:
    actor = by.username if by else "system"
    ledger.record(actor=actor, act=act, subject=("VersionIntake", row.pk), payload=payload)


def _enqueue_check(row: VersionIntake) -> None:
    from models_registry import tasks

    tasks.check_intake.delay_on_commit(row.pk)
