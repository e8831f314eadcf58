"""Registering model versions by the digest of their content, and moving them through their states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from core import ledger
from core.digests import walk_files
from core.errors import AdapterError, ConflictError
from core.models import User
from core.store import Store
from models_registry.access import check_may_register_version
from models_registry.intake.checks import Checks, Findings, look_at
from models_registry.models import AISystem, CohortVersion, ModelVersion, SystemKind, VersionStatus
from models_registry.places import check_readable_from_pages
from models_registry.services.lineage import record_origins, void_for_withdrawn_backbone
from models_registry.services.voiding import is_weights

TRANSITIONS: dict[str, frozenset[str]] = {
    VersionStatus.DRAFT: frozenset({VersionStatus.SUBMITTED}),
    VersionStatus.SUBMITTED: frozenset({VersionStatus.IN_AUDIT, VersionStatus.RETIRED}),
    VersionStatus.IN_AUDIT: frozenset({VersionStatus.IN_REVIEW, VersionStatus.RETIRED}),
    VersionStatus.IN_REVIEW: frozenset({VersionStatus.APPROVED, VersionStatus.REJECTED}),
    VersionStatus.APPROVED: frozenset({VersionStatus.VOID, VersionStatus.RETIRED}),
    VersionStatus.VOID: frozenset({VersionStatus.IN_AUDIT, VersionStatus.RETIRED}),
    VersionStatus.REJECTED: frozenset({VersionStatus.RETIRED}),
    VersionStatus.RETIRED: frozenset(),
}
"""What may follow on what. There is no other way for a version to change its state."""


def model_store() -> Store:
    """The store that holds weights, cohorts, sketches and evidence."""
    return Store(settings.AUSCULT_HOME / "store")


@dataclass(frozen=True, kw_only=True)
class Content:
    """What lies in the store and is to become a version. ``backbone_digest`` is as in ``ModelVersion``."""

    digest: str
    manifest: dict[str, str]
    sizes: dict[str, int]
    config: dict[str, Any]
    card: dict[str, Any]
    backbone_digest: str


def register_version(
    *,
    system: AISystem,
    label: str,
    adapter: str,
    folder: Path,
    notes: str = "",
    backbone: ModelVersion | None = None,
    trained_on: CohortVersion | None = None,
    source: str = "",
    move: bool = False,
    by: User,
) -> ModelVersion:
    """Check a model's folder, copy it into the store, and register it by the digest of its content.

    The folder is inspected without running it; nothing is kept when the inspection fails. Each file is then read once,
    hashed while it is copied. The copy happens before the transaction, and content that is not referred to is harmless:
    it is named by its digest.

    Args:
        backbone: The version of a backbone that this one is built on, where the caller knows it.
        trained_on: The cohort of the training that made it.
        source: Where it came from, in words; default: the folder.
        move: The folder is the platform's own and on the disk of the store: it becomes the stored one, not a copy.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        AdapterError: pickle weights, truncated or wrongly shaped files, links out of the folder, ...
        AuscultError: there is no such adapter.
        ConflictError: the label or the same content is already registered for this system, or the backbone is another.
        EnvironmentProblemError: the disk has no room for it.
    """
    check_may_register_version(by)
    label = label.strip()
    _check_asked(system=system, label=label, folder=folder)
    before = signature(folder)
    findings = look_at(folder, adapter=adapter, checks=Checks(strict=True))
    assert findings is not None  # checks that are strict raise instead
    digest, manifest = model_store().put_folder(folder, move=move)
    if not move and signature(folder) != before:
        raise ConflictError("The folder changed while it was being registered.", remedy="Register it again.")
    check_new(system=system, label=label, digest=digest)
    return create_version(
        system=system,
        label=label,
        adapter=adapter,
        content=content_of(findings, digest=digest, manifest=manifest, system=system, backbone=backbone),
        notes=notes,
        backbone=backbone,
        trained_on=trained_on,
        source=source or str(folder),
        by=by,
    )


def _check_asked(*, system: AISystem, label: str, folder: Path) -> None:
    """Raise for what can be refused before anything is read."""
    if not label:
        raise ConflictError("A version needs a label.", remedy="Name it as its provider does, for example 2.1.0.")
    check_readable_from_pages(folder)
    if not folder.is_dir():
        raise AdapterError(
            "There is no such folder on the server.",
            remedy="Give the folder that holds the model.",
            file=str(folder),
        )


def signature(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What changes when a file is written: its bytes, and the times of its last change. Nothing is read."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in walk_files(folder)}
    return {name: (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns) for name, facts in found.items()}


def content_of(
    findings: Findings, *, digest: str, manifest: dict[str, str], system: AISystem, backbone: ModelVersion | None
) -> Content:
    """What was found in a folder, with the digests of its files.

    Raises:
        AdapterError: the adapter names a backbone whose weights are none of the files.
    """
    return Content(
        digest=digest,
        manifest=manifest,
        sizes=findings.sizes,
        config=findings.info.to_dict(),
        card=findings.card,
        backbone_digest=backbone_digest_of(findings, manifest=manifest, system=system, backbone=backbone),
    )


def backbone_digest_of(
    findings: Findings, *, manifest: dict[str, str], system: AISystem, backbone: ModelVersion | None
) -> str:
    """The digest of the weights that a version shares with its backbone; empty where it holds none.

    The adapter says so, or the file is the one of the chosen backbone, or of one that is registered. A backbone's own
    is known without its adapter when it has one weights file; lineage fills in the rest.
    """
    held = set(manifest.values())
    told = findings.info.details.get("backbone")
    said = str(told.get("digest", "")) if isinstance(told, dict) else ""
    if said and said not in held:
        raise AdapterError(
            f"The checkpoint names a backbone with the digest {said[:16]}…, which is none of its files.",
            remedy="Save the checkpoint again with the backbone that it was trained on.",
        )
    if said or system.kind == SystemKind.BACKBONE:
        return said
    if backbone is not None and backbone.backbone_digest in held:
        return backbone.backbone_digest
    weights = [value for name, value in manifest.items() if is_weights(name)]
    known = ModelVersion.objects.filter(system__kind=SystemKind.BACKBONE, backbone_digest__in=weights)
    return known.order_by("-pk").values_list("backbone_digest", flat=True).first() or ""


def check_new(*, system: AISystem, label: str, digest: str) -> None:
    """Raise unless the system has neither this content nor this label.

    Raises:
        ConflictError: naming the version that has it.
    """
    same = system.versions.filter(digest=digest).first()
    if same:
        raise ConflictError(
            f"The same content is already registered as {same.label}.",
            remedy="Open that version; equal weights are one version.",
        )
    if system.versions.filter(label=label).exists():
        raise ConflictError(f"{system.name} already has a version {label}.", remedy="Choose another label.")


@transaction.atomic
def create_version(
    *,
    system: AISystem,
    label: str,
    adapter: str,
    content: Content,
    notes: str,
    source: str,
    backbone: ModelVersion | None = None,
    trained_on: CohortVersion | None = None,
    by: User,
) -> ModelVersion:
    """Register content that lies in the store, with its lineage; what its registration voids is voided with it.

    Raises:
        ConflictError: the label or the same content is already registered for this system, or the backbone is another.
    """
    try:
        with transaction.atomic():
            version = ModelVersion.objects.create(
                system=system,
                label=label,
                adapter=adapter,
                digest=content.digest,
                manifest=content.manifest,
                sizes=content.sizes,
                config=content.config,
                card=content.card,
                backbone_digest=content.backbone_digest,
                source=source[:300],
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
            "digest": content.digest,
            "files": len(content.manifest),
        },
    )
    record_origins(version=version, backbone=backbone, trained_on=trained_on, by=by)
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
    if to in {VersionStatus.RETIRED, VersionStatus.REJECTED}:
        void_for_withdrawn_backbone(version=version, by=by)
    return version
