"""Voiding approvals: an approval of a head is one of head and backbone together, and falls when the backbone changes.

What is void stays registered, with the reason, the moment and what caused it. A version that is under review keeps its
state, but the same three fields are set: an approval by a review that was opened before that moment is refused. Where
a version runs, it stops in the same transaction: its deployments are suspended with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.db import transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from core import ledger
from core.models import User
from core.reach import service
from models_registry.models import Deployment, ModelVersion, Relation, SystemKind, VersionStatus
from models_registry.services.suspensions import suspend_rows

WEIGHTS_SUFFIXES = frozenset({".safetensors", ".onnx", ".pt2", ".gguf", ".parquet"})
"""Files that hold what a model is. Equal bytes in two versions are the same weights (or the same prediction log)."""

APPROVED = (VersionStatus.APPROVED, VersionStatus.CONDITIONAL, VersionStatus.DEPLOYED, VersionStatus.SUSPENDED)
STANDING = (*APPROVED, VersionStatus.IN_REVIEW)
WITHDRAWN = (VersionStatus.RETIRED, VersionStatus.REJECTED)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why approvals fall: in words, the version of the backbone that is to blame, and who did it (None: the platform).

    ``facts`` go into the ledger beside the words.
    """

    reason: str
    version: ModelVersion | None
    by: User | None
    facts: dict[str, str]


def is_weights(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in WEIGHTS_SUFFIXES


def versions_with_file(digests: Collection[str]) -> dict[str, list[ModelVersion]]:
    """For each digest the versions that hold a file with these bytes, oldest first; digests of no version are left out.

    The text of the manifest is searched first, so that the database reads it and not we; then it is read as what it is.
    """
    wanted = set(digests)
    if not wanted:
        return {}
    holds = Q()
    for digest in wanted:
        holds |= Q(manifest_text__contains=digest)
    rows = ModelVersion.objects.annotate(manifest_text=Cast("manifest", TextField())).filter(holds)
    found: dict[str, list[ModelVersion]] = {}
    for version in rows.select_related("system").order_by("pk"):
        for digest in wanted & set(version.manifest.values()):
            found.setdefault(digest, []).append(version)
    return found


@transaction.atomic
def void_for_changed_file(*, digest: str, reason: str, version: ModelVersion | None = None) -> list[ModelVersion]:
    """Void the approvals of every version that shares a file which is no longer what was registered.

    Called by a worker that compared a model's files with their digests before loading it. Calling again voids nothing
    more, since what is void is not approved.

    Args:
        digest: The SHA-256 that the file had when it was registered.
        reason: What the worker found, in words.
        version: The version that was to be loaded. A changed file that holds no weights (a configuration, say) voids
            this one alone: others have a copy of their own, and share its bytes by coincidence.

    Returns:
        The versions whose approval is void now. Versions under review are marked too, but not in the list.
    """
    sharing = versions_with_file([digest]).get(digest, [])
    alone = version is not None and not any(
        is_weights(name) for name, value in version.manifest.items() if value == digest
    )
    if alone:
        sharing = [item for item in sharing if version is not None and item.pk == version.pk]
    cause = Cause(
        reason=f"A file on the server is not what was registered. {reason} When it was registered it had the SHA-256 "
        f"{digest}.",
        version=None,
        by=None,
        facts={"registered_digest": digest},
    )
    return void(sharing, cause, heads_too=not alone)


@service
def void_for_new_backbone(*, version: ModelVersion, by: User) -> list[ModelVersion]:
    """Void what rests on other weights of a backbone, if its new version has other weights than the one before it."""
    former = version.system.versions.filter(pk__lt=version.pk).exclude(backbone_digest="").order_by("-pk").first()
    if former is None or former.backbone_digest == version.backbone_digest:
        return []
    other = version.system.versions.exclude(backbone_digest__in=["", version.backbone_digest])
    cause = Cause(
        reason=f"The backbone {version.system.name} changed. Its version {former.label} has the weights "
        f"{former.backbone_digest}; version {version.label}, registered {timezone.now():%d %b %Y}, has the weights "
        f"{version.backbone_digest}. It was judged with weights that are not the backbone's any more.",
        version=version,
        by=by,
        facts={"former_backbone": former.backbone_digest, "present_backbone": version.backbone_digest},
    )
    return void(heads_on(other), cause)


@service
def void_for_withdrawn_backbone(*, version: ModelVersion, by: User | None) -> list[ModelVersion]:
    """Void what rests on a version of a backbone that was retired or rejected.

    Nothing happens for other systems, and while another version with the same weights still stands.
    """
    if version.system.kind != SystemKind.BACKBONE or version.status not in WITHDRAWN:
        return []
    standing = ModelVersion.objects.exclude(status__in=WITHDRAWN).filter(system__kind=SystemKind.BACKBONE)
    if version.backbone_digest and standing.filter(backbone_digest=version.backbone_digest).exists():
        return []
    cause = Cause(
        reason=f"The backbone {version} with the weights {version.backbone_digest} was "
        f"{version.get_status_display().lower()}. What rests on it is not approved any more.",
        version=version,
        by=by,
        facts={"former_backbone": version.backbone_digest, "backbone_status": version.status},
    )
    return void(heads_on([version]), cause)


def heads_on(backbones: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Versions that are built on one of these: by an edge of the lineage, or because they hold the same weights."""
    backbones = list(backbones)
    digests = {version.backbone_digest for version in backbones} - {""}
    by_edge = Q(origins__relation=Relation.BACKBONE, origins__source_version__in=backbones)
    told = Q(origins__relation=Relation.BACKBONE, origins__source_version__backbone_digest__in=digests)
    equal = Q(backbone_digest__in=digests) & ~Q(system__kind=SystemKind.BACKBONE)
    return list(ModelVersion.objects.filter(by_edge | told | equal).select_related("system").distinct().order_by("pk"))


def void(versions: Iterable[ModelVersion], cause: Cause, *, heads_too: bool = True) -> list[ModelVersion]:
    """Void the approved ones, mark those under review, and go on with what is built on any of them.

    Args:
        heads_too: Whether what is built on a backbone among them falls with it.

    Raises:
        RuntimeError: outside a transaction, as every write to the ledger.
    """
    told: dict[int, ModelVersion] = {}
    waiting = list(versions)
    while fresh := {version.pk: version for version in waiting if version.pk not in told}:
        told |= fresh
        backbones = [version for version in fresh.values() if version.system.kind == SystemKind.BACKBONE]
        waiting = heads_on(backbones) if backbones and heads_too else []
    standing = lock_standing(told.values())
    return [standing[pk] for pk in told if pk in standing and _fall(standing[pk], cause)]


def lock_standing(versions: Iterable[ModelVersion]) -> dict[int, ModelVersion]:
    """Lock those that stand, so that a vote that decides at this moment is either before the change or sees it.

    All at once, in one order, and before anything is entered in the ledger: whoever holds the ledger's head waits for
    nothing, so that no two acts wait for each other.
    """
    rows = ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system")
    wanted = [version.pk for version in versions]
    return {row.pk: row for row in rows.filter(pk__in=wanted, status__in=STANDING).order_by("pk")}


def lock_heads_on(backbones: Iterable[ModelVersion]) -> None:
    """Lock what may fall with these backbones. An act that may end them calls it before its first ledger entry."""
    if known := [version for version in backbones if version.system.kind == SystemKind.BACKBONE]:
        lock_standing(heads_on(known))


def _fall(version: ModelVersion, cause: Cause) -> bool:
    """Write one version's end of approval and its entry in the ledger; says whether an approval was voided."""
    approved = version.status in APPROVED
    to = VersionStatus.VOID if approved else VersionStatus.IN_REVIEW
    facts = {"void_reason": cause.reason, "void_at": timezone.now(), "void_cause": cause.version}
    if not ModelVersion.objects.filter(pk=version.pk, status=version.status).update(status=to, **facts):
        return False
    ledger.record(
        actor=cause.by.username if cause.by else "system",
        act="version.voided" if approved else "version.review_barred",
        subject=("ModelVersion", version.pk),
        payload={
            "from": str(version.status),
            "to": str(to),
            "reason": cause.reason,
            "digest": version.digest,
            "cause": cause.version.digest if cause.version else "",
            **cause.facts,
        },
    )
    version.refresh_from_db(fields=["status", *facts])
    _stop(version, cause)
    return approved


def _stop(version: ModelVersion, cause: Cause) -> None:
    """Suspend the version wherever it runs: nobody may go on using what is not approved any more."""
    running = version.deployments.select_for_update(of=("self",), no_key=True).filter(status=Deployment.Status.RUNNING)
    rows = list(running.select_related("version__system").order_by("pk"))
    if rows:
        suspend_rows(version=version, rows=rows, reason=f"Its approval is void. {cause.reason}", by=cause.by)
