"""Cohorts come in by a door with two steps: read and shown first, registered when confirmed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from core import ledger
from core.errors import CohortError, ConflictError
from core.models import User
from core.reach import service
from models_registry.access import check_may_import_cohort
from models_registry.models import Cohort, CohortImport, CohortVersion
from models_registry.places import check_readable_from_pages

Status = CohortImport.Status


@service
def start_import(
    *,
    name: str,
    description: str,
    simulated: bool,
    source_path: Path,
    mapping: dict[str, Any] | None = None,
    source: str = "",
    licence: str = "",
    by: User,
) -> CohortImport:
    """Ask a worker to read a file. Nothing is registered yet.

    Args:
        source, licence: Where the data come from and under which terms, for the documentation.

    Raises:
        DeniedError: ``by`` may not register cohorts.
        CohortError: there is no such file on the server, or no name was given.
    """
    check_may_import_cohort(by)
    if not slugify(name):
        raise CohortError("The cohort has no name.", remedy="Give it a name that colleagues will recognise.")
    check_readable_from_pages(source_path)
    if not source_path.is_file():
        raise CohortError(
            "There is no such file on the server.",
            remedy="Check the path, or upload the file.",
            file=str(source_path),
        )
    row = CohortImport.objects.create(
        name=name.strip(),
        description=description.strip(),
        simulated=simulated,
        source=source or source_path.name,
        licence=licence,
        source_path=str(source_path),
        mapping=mapping or {},
        created_by=by,
    )
    _record(row, "cohort_import.started", by, name=row.name, simulated=simulated)
    _enqueue_inspection(row)
    return row


@service
def revise_import(*, cohort_import: CohortImport, mapping: dict[str, Any], by: User) -> CohortImport:
    """Read the file again with another mapping of its columns and values."""
    check_may_import_cohort(by)
    _move(
        cohort_import,
        {Status.READY, Status.BLOCKED, Status.FAILED},
        Status.QUEUED,
        mapping=mapping,
        error="",
        sent_at=timezone.now(),
    )
    _record(cohort_import, "cohort_import.revised", by)
    _enqueue_inspection(cohort_import)
    return cohort_import


@service
def confirm_import(*, cohort_import: CohortImport, by: User) -> CohortImport:
    """Register what was shown.

    Raises:
        ConflictError: the file has errors, or was not read to its end.
    """
    check_may_import_cohort(by)
    if cohort_import.status == Status.BLOCKED:
        raise ConflictError(
            "The file has errors.", remedy="Mend them in the mapping or in the file, then read it again."
        )
    _move(cohort_import, {Status.READY}, Status.REGISTERING, sent_at=timezone.now())
    _record(cohort_import, "cohort_import.confirmed", by)
    from models_registry import tasks

    tasks.register_cohort.delay_on_commit(cohort_import.pk)
    return cohort_import


@service
def discard_import(*, cohort_import: CohortImport, by: User) -> CohortImport:
    """Give an import up. A file on the server stays where it is; an uploaded one is removed."""
    check_may_import_cohort(by)
    waiting = {Status.QUEUED, Status.INSPECTING, Status.READY, Status.BLOCKED, Status.FAILED}
    _move(cohort_import, waiting, Status.DISCARDED)
    kept = {name: value for name, value in cohort_import.inspection.items() if name != "preview"}
    CohortImport.objects.filter(pk=cohort_import.pk).update(inspection=kept)
    _record(cohort_import, "cohort_import.discarded", by)
    transaction.on_commit(lambda: remove_upload(Path(cohort_import.source_path)))
    return cohort_import


def remove_upload(source: Path) -> None:
    """Remove a file that was uploaded for an import, with its folder. A file that lies elsewhere is left alone."""
    folder = source.resolve().parent
    if folder.parent == Path(settings.MEDIA_ROOT).resolve() / "cohorts":
        shutil.rmtree(folder, ignore_errors=True)


@service
def create_cohort_version(
    *,
    name: str,
    description: str,
    simulated: bool,
    source: str,
    licence: str,
    digest: str,
    manifest: dict[str, Any],
    generator_digest: str = "",
    parent: CohortVersion | None = None,
    quarantined: bool = False,
    by: User,
) -> CohortVersion:
    """Register content that lies in the store already. The same content twice is the same version.

    Args:
        parent: The cohort that its patients are like, where a generator learnt from one.
        quarantined: See ``CohortVersion``.
    """
    existing = CohortVersion.objects.filter(digest=digest).first()
    if existing:
        return existing
    cohort, _ = Cohort.objects.get_or_create(
        slug=slugify(name)[:80],
        defaults={
            "name": name,
            "description": description,
            "simulated": simulated,
            "source": source[:300],
            "licence": licence[:200],
            "created_by": by,
        },
    )
    if cohort.simulated != simulated:
        raise ConflictError(
            f"The cohort {cohort.name} is {'simulated' if cohort.simulated else 'real'}; this file says otherwise.",
            remedy="Register it under another name: simulated and real patients are never one cohort.",
        )
    facts = {
        "cohort": cohort,
        "n_studies": manifest["n_studies"],
        "n_patients": manifest["n_patients"],
        "summary": manifest["summary"],
        "generator_digest": generator_digest,
        "parent": parent,
        "quarantined": quarantined,
        "registered_by": by,
    }
    version, new = CohortVersion.objects.get_or_create(digest=digest, defaults=facts)
    if new:  # else registered by somebody else at this very moment
        _record_registered(version, source_digest=manifest["source_digest"], by=by)
    return version


def _record_registered(version: CohortVersion, *, source_digest: str, by: User) -> None:
    payload = {
        "cohort": version.cohort.slug,
        "digest": version.digest,
        "n_studies": version.n_studies,
        "n_patients": version.n_patients,
        "simulated": version.cohort.simulated,
        "source_digest": source_digest,
    }
    if version.parent is not None:
        payload |= {"parent": version.parent.digest, "quarantined": version.quarantined}
    ledger.record(actor=by.username, act="cohort.registered", subject=("CohortVersion", version.pk), payload=payload)


def check_usable(cohort: CohortVersion) -> None:
    """Raise where a cohort is in quarantine: what a generator made is used for nothing before it is released.

    Raises:
        ConflictError: it is.
    """
    if cohort.quarantined:
        raise ConflictError(
            f"{cohort} is in quarantine: a generator made it, and no data protection officer has released it.",
            remedy="Have its privacy audited and ask for its release.",
        )


def check_learnable_beside(augmentation: CohortVersion, cohort: CohortVersion) -> None:
    """Raise unless a model may learn from synthetic patients beside the patients of a cohort.

    The one exception to :func:`check_usable`: in quarantine they may be learnt from beside the very cohort that their
    generator learnt from, because the model sees those patients anyway. Never alone, never beside another cohort.

    Raises:
        ConflictError: no generator made them; or they are in quarantine and are not of this cohort's generator.
    """
    if augmentation.parent_id is None:
        raise ConflictError(
            f"{augmentation} was not made by a generator, so it is not learnt from beside another cohort.",
            remedy="Choose a cohort of synthetic patients; register real patients together as one cohort.",
        )
    if augmentation.quarantined and augmentation.parent_id != cohort.pk:
        raise ConflictError(
            f"{augmentation} is in quarantine, and its generator learnt from other patients than those of {cohort}.",
            remedy="In quarantine it may be learnt from beside the cohort of its generator alone; or have it released.",
        )


def _move(row: CohortImport, old: set[CohortImport.Status], new: CohortImport.Status, **changes: Any) -> None:
    if not CohortImport.objects.filter(pk=row.pk, status__in=old).update(status=new, **changes):
        raise ConflictError("This import has moved on meanwhile.", remedy="Reload the page to see where it is.")
    row.refresh_from_db()


def _record(row: CohortImport, act: str, by: User, **payload: Any) -> None:
    ledger.record(actor=by.username, act=act, subject=("CohortImport", row.pk), payload=payload)


def _enqueue_inspection(row: CohortImport) -> None:
    from models_registry import tasks

    tasks.inspect_cohort.delay_on_commit(row.pk)
