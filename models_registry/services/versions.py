"""Registering model versions by the digest of their content, and moving them through their states."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction

from core import ledger
from core.digests import folder_manifest, manifest_digest
from core.errors import AdapterError, ConflictError
from core.models import User
from core.store import Store
from models_registry.access import check_may_register_version
from models_registry.adapters.base import ADAPTERS
from models_registry.models import AISystem, ModelVersion, VersionStatus
from models_registry.places import check_readable_from_pages

TRANSITIONS: dict[str, frozenset[str]] = {
    VersionStatus.DRAFT: frozenset({VersionStatus.SUBMITTED}),
    VersionStatus.SUBMITTED: frozenset({VersionStatus.IN_AUDIT, VersionStatus.RETIRED}),
    VersionStatus.IN_AUDIT: frozenset({VersionStatus.IN_REVIEW, VersionStatus.RETIRED}),
    VersionStatus.IN_REVIEW: frozenset({VersionStatus.APPROVED, VersionStatus.REJECTED}),
    VersionStatus.APPROVED: frozenset({VersionStatus.RETIRED}),
    VersionStatus.REJECTED: frozenset({VersionStatus.RETIRED}),
    VersionStatus.RETIRED: frozenset(),
}
"""What may follow on what. There is no other way for a version to change its state."""


def model_store() -> Store:
    """The store that holds weights, cohorts, sketches and evidence."""
    return Store(settings.AUSCULT_HOME / "store")


def register_version(
    *, system: AISystem, label: str, adapter: str, folder: Path, notes: str = "", by: User
) -> ModelVersion:
    """Check a model's folder, copy it into the store, and register it by the digest of its content.

    The folder is inspected without running it; nothing is kept when the inspection fails. The copy happens before
    the transaction, and content that is not referred to is harmless: it is named by its digest.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        AdapterError: pickle weights, truncated or wrongly shaped files, links out of the folder, ...
        AuscultError: there is no such adapter.
        ConflictError: the label or the same content is already registered for this system.
    """
    check_may_register_version(by)
    label = label.strip()
    if not label:
        raise ConflictError("A version needs a label.", remedy="Name it as its provider does, for example 2.1.0.")
    check_readable_from_pages(folder)
    if not folder.is_dir():
        raise AdapterError(
            "There is no such folder on the server.",
            remedy="Give the folder that holds the model.",
            file=str(folder),
        )
    _check_no_links(folder)
    info = ADAPTERS.get(adapter).inspect(folder)
    inspected = manifest_digest(folder_manifest(folder))
    _check_new(system=system, label=label, digest=inspected)
    digest, manifest = model_store().put_folder(folder)
    if digest != inspected:
        raise ConflictError("The folder changed while it was being registered.", remedy="Register it again.")
    return _create_version(
        system=system,
        label=label,
        adapter=adapter,
        digest=digest,
        manifest=manifest,
        config=info.to_dict(),
        notes=notes,
        by=by,
    )


def _check_no_links(folder: Path) -> None:
    """A link would bring a file into the store that lies elsewhere on the server and that no check has seen."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise AdapterError(
                "The folder holds a link to another place.",
                remedy="Register a copy with the files themselves, for example made with: cp -rL FOLDER COPY.",
                file=path.relative_to(folder).as_posix(),
            )


def _check_new(*, system: AISystem, label: str, digest: str) -> None:
    same = system.versions.filter(digest=digest).first()
    if same:
        raise ConflictError(
            f"The same content is already registered as {same.label}.",
            remedy="Open that version; equal weights are one version.",
        )
    if system.versions.filter(label=label).exists():
        raise ConflictError(f"{system.name} already has a version {label}.", remedy="Choose another label.")


@transaction.atomic
def _create_version(
    *,
    system: AISystem,
    label: str,
    adapter: str,
    digest: str,
    manifest: dict[str, str],
    config: dict[str, object],
    notes: str,
    by: User,
) -> ModelVersion:
    try:
        with transaction.atomic():
            version = ModelVersion.objects.create(
                system=system,
                label=label,
                adapter=adapter,
                digest=digest,
                manifest=manifest,
                config=config,
                notes=notes,
                submitted_by=by,
            )
    except IntegrityError as error:
        raise ConflictError(
            f"{system.name} already has a version {label}, or one with the same content.",
            remedy="Open the list of versions.",
        ) from error
    ledger.record(
        actor=by.username,
        act="version.registered",
        subject=("ModelVersion", version.pk),
        payload={
            "system": system.slug,
            "label": label,
            "adapter": adapter,
            "digest": digest,
            "files": len(manifest),
        },
    )
    return version


@transaction.atomic
def transition_version(*, version: ModelVersion, to: VersionStatus, by: User | None, reason: str = "") -> ModelVersion:
    """Move a version to another state by a conditional UPDATE on its old one.

    Raises:
        ConflictError: the table does not allow the step, or somebody else moved the version first.
    """
    old = version.status
    if to not in TRANSITIONS[old]:
        raise ConflictError(
            f"{version} is {VersionStatus(old).label.lower()} and cannot become {VersionStatus(to).label.lower()}.",
            remedy="Reload the page to see its present state.",
        )
    if not ModelVersion.objects.filter(pk=version.pk, status=old).update(status=to):
        raise ConflictError(f"The state of {version} changed meanwhile.", remedy="Reload the page and decide again.")
    version.status = to
    ledger.record(
        actor=by.username if by else "system",
        act="version.moved",
        subject=("ModelVersion", version.pk),
        payload={"from": str(old), "to": str(to), "reason": reason, "digest": version.digest},
    )
    return version
