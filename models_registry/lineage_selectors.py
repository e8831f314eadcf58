"""Reading the lineage of a version: its near relations, or its whole family around a backbone. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import OuterRef, Q, QuerySet, Subquery

from models_registry.models import AISystem, ModelVersion, Origin, Relation, SystemKind, VersionStatus
from models_registry.services.voiding import heads_on

VERSIONS_SHOWN = 40
"""Versions in one picture; what is beyond is counted and named by the page."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Versions that have to do with each other, and the edges between them and to what they were made from.

    Attributes:
        focal: The version that was asked about.
        versions: All of them, the focal one among them, oldest first.
        origins: Every edge that ends at one of ``versions``.
        hidden: How many versions more there are.
    """

    focal: ModelVersion
    versions: tuple[ModelVersion, ...]
    origins: tuple[Origin, ...]
    hidden: int

    @property
    def backbones(self) -> tuple[ModelVersion, ...]:
        return tuple(version for version in self.versions if version.system.kind == SystemKind.BACKBONE)

    @property
    def fallen(self) -> tuple[ModelVersion, ...]:
        """Versions that something voided at some time, whatever became of them since; the latest first."""
        marked = [version for version in self.versions if version.void_at is not None]
        return tuple(sorted(marked, key=lambda version: (version.void_at, version.pk), reverse=True))


def near_family(version: ModelVersion) -> Family:
    """The version, what it was made from, and what was made from it: one step in each direction. Two queries."""
    edges = list(_origins().filter(Q(version=version) | Q(source_version=version)))
    related = [edge.source_version for edge in edges] + [edge.version for edge in edges]
    return _family(version, related, edges)


def whole_family(version: ModelVersion) -> Family:
    """All versions of the backbones that this one has to do with, everything on them, and its near relations."""
    near = near_family(version)
    systems = {row.system_id for row in near.backbones}
    backbones = list(ModelVersion.objects.filter(system__in=systems).select_related("system", "void_cause__system"))
    related = [*near.versions, *backbones, *heads_on(backbones)]
    family = _family(version, related, [])
    edges = _origins().filter(version__in=[row.pk for row in family.versions])
    return _family(version, related, list(edges))


def former_version(version: ModelVersion) -> ModelVersion | None:
    """The version of the same system that was registered before this one."""
    return version.system.versions.filter(pk__lt=version.pk).order_by("-pk").first()


def newer_backbones(version: ModelVersion) -> list[ModelVersion]:
    """For each backbone that a version is built on: its latest version, where that has other weights. One query."""
    built_on = Origin.objects.filter(version=version, relation=Relation.BACKBONE, source_version__isnull=False)
    latest = later_backbones().order_by("-pk").values("pk")[:1]
    keys = built_on.annotate(latest=Subquery(latest)).values("latest")
    return list(ModelVersion.objects.filter(pk__in=keys).select_related("system").order_by("pk"))


def later_backbones() -> QuerySet[ModelVersion]:
    """Within a query on :class:`Origin`: versions of its backbone with other weights, registered after it."""
    later = ModelVersion.objects.filter(
        system=OuterRef("source_version__system"), pk__gt=OuterRef("source_version")
    ).exclude(Q(status__in=[VersionStatus.RETIRED, VersionStatus.REJECTED]))
    return later.exclude(backbone_digest=OuterRef("source_version__backbone_digest"))


def approvals_at_stake(system: AISystem, *, weights: str) -> list[ModelVersion]:
    """Approved versions that would be void if a version of this backbone with these weights were registered now."""
    former = system.versions.exclude(backbone_digest="").order_by("-pk").first()
    if system.kind != SystemKind.BACKBONE or former is None or weights in {"", former.backbone_digest}:
        return []
    others = system.versions.exclude(backbone_digest__in=["", weights])
    return [head for head in heads_on(others) if head.status == VersionStatus.APPROVED]


def _origins() -> QuerySet[Origin]:
    ends = ("version__system", "source_version__system", "source_cohort__cohort")
    return Origin.objects.select_related(*ends, "version__void_cause__system").order_by("pk")


def _family(focal: ModelVersion, related: Iterable[ModelVersion | None], edges: list[Origin]) -> Family:
    """Those to show: the focal version, then the latest; edges to versions that are left out go with them."""
    rows = {row.pk: row for row in related if row is not None} | {focal.pk: focal}
    latest = sorted(rows, key=lambda pk: (pk == focal.pk, pk), reverse=True)[:VERSIONS_SHOWN]
    shown = set(latest)
    kept = [
        edge
        for edge in edges
        if edge.version_id in shown and (edge.source_version_id is None or edge.source_version_id in shown)
    ]
    return Family(
        focal=focal,
        versions=tuple(rows[pk] for pk in sorted(shown)),
        origins=tuple(kept),
        hidden=len(rows) - len(shown),
    )


def list_origins(version: ModelVersion) -> list[dict[str, str]]:
    """What a version was made from, as plain facts for evidence and documents: relation, source, digest, told by."""
    edges = _origins().filter(version=version).order_by("relation", "pk")
    return [
        {
            "relation": edge.get_relation_display(),
            "source": str(edge.source_version or edge.source_cohort or edge.source_name),
            "digest": edge.digest,
            "told_by": edge.told_by,
        }
        for edge in edges
    ]
