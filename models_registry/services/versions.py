"""Registering model versions by the digest of their content, and moving them through their states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from core import ledger
from core.digests import walk_files
from core.errors import RELOAD, AdapterError, ConflictError
from core.models import User
from core.notifications import resolve
from core.object_storage import SharedStore
from core.reach import limited, service
from core.store import Store
from models_registry.access import (
    check_may_register_version,
    check_may_retire_version,
    check_may_submit_version,
)
from models_registry.intake.checks import Checks, Findings, look_at
from models_registry.models import AISystem, CohortVersion, Deployment, ModelVersion, SystemKind, VersionStatus
from models_registry.places import check_readable_from_pages
from models_registry.services.lineage import record_origins, void_for_withdrawn_backbone
from models_registry.services.voiding import is_weights, lock_heads_on

_S = VersionStatus
TRANSITIONS: dict[str, frozenset[str]] = {
    _S.DRAFT: frozenset({_S.SUBMITTED, _S.RETIRED}),
    _S.SUBMITTED: frozenset({_S.IN_AUDIT, _S.RETIRED}),
    _S.IN_AUDIT: frozenset({_S.IN_REVIEW, _S.RETIRED}),
    _S.IN_REVIEW: frozenset({_S.APPROVED, _S.CONDITIONAL, _S.REJECTED, _S.IN_AUDIT, _S.SUSPENDED}),
    _S.APPROVED: frozenset({_S.DEPLOYED, _S.SUSPENDED, _S.VOID, _S.RETIRED}),
    _S.CONDITIONAL: frozenset({_S.APPROVED, _S.DEPLOYED, _S.SUSPENDED, _S.VOID, _S.RETIRED}),
    _S.DEPLOYED: frozenset({_S.APPROVED, _S.CONDITIONAL, _S.SUSPENDED, _S.VOID, _S.RETIRED}),
    _S.SUSPENDED: frozenset({_S.APPROVED, _S.CONDITIONAL, _S.DEPLOYED, _S.IN_REVIEW, _S.VOID, _S.RETIRED}),
    _S.VOID: frozenset({_S.IN_AUDIT, _S.RETIRED}),
    _S.REJECTED: frozenset({_S.RETIRED}),
    _S.RETIRED: frozenset(),
}
"""What may follow on what. There is no other way for a version to change its state."""

MOST_REASON = 2_000


def model_store() -> Store:
    """The store that holds weights, cohorts, sketches and evidence."""
    root = settings.AUSCULT_HOME / "store"
    return SharedStore(root, settings.AUSCULT_BUCKET) if settings.AUSCULT_BUCKET else Store(root)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What lies in the store and is to become a version. ``backbone_digest`` is as in ``ModelVersion``."""

    digest: str
    manifest: dict[str, str]
    sizes: dict[str, int]
    config: dict[str, Any]
    card: dict[str, Any]
    backbone_digest: str


@limited
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
    draft: bool = False,
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
        draft: Registered, and not yet submitted: see :func:`submit_version`.

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
        draft=draft,
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


@service
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
    draft: bool = False,
    by: User,
) -> ModelVersion:
    """Register content that lies in the store, with its lineage; what its registration voids is voided with it.

    A draft has its place and its digest, and is not audited before it is submitted. Of a backbone there is none: the
    weights of a new version count from the moment they are known.

    Raises:
        ConflictError: the label or the same content is already registered for this system, or the backbone is another.
    """
    if system.kind == SystemKind.BACKBONE:
        _begin_backbone(system, draft=draft)
    try:
        with transaction.atomic():
            version = ModelVersion.objects.create(
                system=system,
                status=VersionStatus.DRAFT if draft else VersionStatus.SUBMITTED,
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
            **({"draft": True} if draft else {}),
        },
    )
    record_origins(version=version, backbone=backbone, trained_on=trained_on, by=by)
    return version


def _begin_backbone(system: AISystem, *, draft: bool) -> None:
    """Lock what a new version of a backbone may void, before the first entry in the ledger.

    Raises:
        ConflictError: it is a draft.
    """
    if draft:
        raise ConflictError("A backbone has no drafts.", remedy="Register it as a version that is submitted.")
    lock_heads_on(system.versions.select_related("system"))


@service
def submit_version(*, version: ModelVersion, by: User) -> ModelVersion:
    """Submit a draft: from now on it can be audited. Its content is what was registered.

    Raises:
        DeniedError: somebody else registered it, or ``by`` is no ML engineer any more.
        ConflictError: it is no draft.
    """
    version = ModelVersion.objects.select_related("system", "submitted_by").get(pk=version.pk)
    check_may_submit_version(by, version)
    return transition_version(version=version, to=VersionStatus.SUBMITTED, by=by, reason="submitted")


@service
def retire_version(*, version: ModelVersion, reason: str, by: User) -> ModelVersion:
    """Take a version out of use for good. Nothing follows on it; what is on record stays.

    Raises:
        DeniedError: ``by`` is no committee chair.
        ConflictError: it runs somewhere or is suspended there, is under review, is retired already, or there is no
            reason.
    """
    check_may_retire_version(by)
    reason = reason.strip()
    if not reason or len(reason) > MOST_REASON or "\0" in reason:
        raise ConflictError(
            f"Retiring a version needs a reason of at most {MOST_REASON:,} characters.", remedy="Write why it ends."
        )
    version = (
        ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system").get(pk=version.pk)
    )
    places = version.deployments.exclude(status=Deployment.Status.ENDED)
    if sites := list(places.order_by("site").values_list("site", flat=True)):
        raise ConflictError(
            f"{version} is deployed at {', '.join(sites[:5])}.", remedy="End these deployments first, then retire it."
        )
    return transition_version(version=version, to=VersionStatus.RETIRED, by=by, reason=reason)


@service
def transition_version(*, version: ModelVersion, to: VersionStatus, by: User | None, reason: str = "") -> ModelVersion:
    """Move a version to another state by a conditional UPDATE on its old one.

    Raises:
        ConflictError: the table does not allow the step, or somebody else moved the version first.
    """
    old = version.status
    if to not in TRANSITIONS[old]:
        raise ConflictError(
            f"{version} is {VersionStatus(old).label.lower()} and cannot become {VersionStatus(to).label.lower()}.",
            remedy=RELOAD,
        )
    if to in {VersionStatus.RETIRED, VersionStatus.REJECTED}:
        lock_heads_on([version])
    if not ModelVersion.objects.filter(pk=version.pk, status=old).update(status=to):
        raise ConflictError(f"The state of {version} changed meanwhile.", remedy="Reload the page and decide again.")
    version.status = to
    if old == VersionStatus.SUSPENDED:
        resolve(f"version:{version.pk}")
    ledger.record(
        actor=by.username if by else "system",
        act="version.moved",
        subject=("ModelVersion", version.pk),
        payload={"from": str(old), "to": str(to), "reason": reason, "digest": version.digest},
    )
    if to in {VersionStatus.RETIRED, VersionStatus.REJECTED}:
        void_for_withdrawn_backbone(version=version, by=by)
    return version
