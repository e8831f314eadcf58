"""Lineage: what a version was made from, written as edges when it is registered, and never changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from core import ledger
from core.digests import manifest_digest
from core.errors import ConflictError
from core.models import User
from core.reach import service
from models_registry.models import CohortVersion, ModelVersion, Origin, Relation, SystemKind, VersionStatus
from models_registry.services.voiding import (
    WEIGHTS_SUFFIXES,
    is_weights,
    versions_with_file,
    void_for_changed_file,
    void_for_new_backbone,
    void_for_withdrawn_backbone,
)

__all__ = [
    "WEIGHTS_SUFFIXES",
    "record_origins",
    "versions_with_file",
    "void_for_changed_file",
    "void_for_withdrawn_backbone",
]

BY_WEIGHTS = "equal weights"
BY_PERSON = "the person who registered it"
BY_CARD = "its card"
BY_TRAINING = "its training"
NAMES_AT_MOST = 20
"""Base models and data sets that a card may name; what follows is not kept."""

DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@service
def record_origins(
    *, version: ModelVersion, backbone: ModelVersion | None = None, trained_on: CohortVersion | None = None, by: User
) -> None:
    """Write what a version that was just registered is made from, and void what its registration voids.

    Called in the transaction of the registration, with manifest, configuration and card stored. Edges come from equal
    bytes first, then from what the person chose, the training, and the card. There is one entry in the ledger for all
    edges (none when there is no edge), and one for each approval that falls.

    Args:
        backbone: The version of a backbone that the person chose.
        trained_on: The cohort of the training that made it.

    Raises:
        ConflictError: ``backbone`` is no version of a backbone, is the version itself, or has other weights than the
            checkpoint holds. Raised before anything is written.
    """
    if backbone is not None:
        _check_backbone(version, backbone)
    if version.system.kind == SystemKind.BACKBONE and not version.backbone_digest:
        version.backbone_digest = own_weights(version.manifest)
        version.save(update_fields=["backbone_digest"])
    edges = _once(_edges(version, backbone=backbone, trained_on=trained_on))
    edges += _heads_that_waited(version)
    if edges:
        Origin.objects.bulk_create(edges)
        ledger.record(
            actor=by.username,
            act="version.origins_recorded",
            subject=("ModelVersion", version.pk),
            payload={"digest": version.digest, "origins": [_in_ledger(edge) for edge in edges]},
        )
    if version.system.kind == SystemKind.BACKBONE:
        void_for_new_backbone(version=version, by=by)


def _check_backbone(version: ModelVersion, backbone: ModelVersion) -> None:
    if backbone.system.kind != SystemKind.BACKBONE or backbone.pk == version.pk:
        raise ConflictError(
            f"{backbone} is no backbone of other systems.", remedy="Choose a version of a backbone, or none."
        )
    held = "" if version.system.kind == SystemKind.BACKBONE else version.backbone_digest
    if held and backbone.backbone_digest not in {"", held}:
        raise ConflictError(
            f"The checkpoint holds another backbone than {backbone}: its weights are {held}, those "
            f"of {backbone} are {backbone.backbone_digest}.",
            remedy="Choose the backbone that the checkpoint was trained on, or none: it is found by its weights.",
        )


def own_weights(manifest: dict[str, str]) -> str:
    """What stands for a backbone's weights: the SHA-256 of its one weights file, or of the list of them."""
    files = {name: digest for name, digest in manifest.items() if is_weights(name)}
    return next(iter(files.values())) if len(files) == 1 else manifest_digest(files) if files else ""


def _edges(
    version: ModelVersion, *, backbone: ModelVersion | None, trained_on: CohortVersion | None
) -> Iterator[Origin]:
    """Every edge that anything tells of; the surer way to know it comes first."""
    held = _backbone_in(version)
    if held is not None:
        yield _from_version(version, Relation.BACKBONE, held, held.backbone_digest, BY_WEIGHTS)
    if backbone is not None and (held is None or held.backbone_digest != backbone.backbone_digest):
        yield _from_version(version, Relation.BACKBONE, backbone, backbone.backbone_digest, BY_PERSON)
    yield from _same_weights(version, shared=held.backbone_digest if held else "")
    if trained_on is not None:
        yield _from_cohort(version, trained_on, BY_TRAINING)
    yield from _from_card(version, exclude=held or backbone)


def _backbone_in(version: ModelVersion) -> ModelVersion | None:
    """The version of a backbone whose weights this version holds: the latest one that stands, else the latest."""
    if not version.backbone_digest or version.system.kind == SystemKind.BACKBONE:
        return None
    rows = ModelVersion.objects.filter(
        backbone_digest=version.backbone_digest, system__kind=SystemKind.BACKBONE
    ).select_related("system")
    standing = rows.exclude(status__in=[VersionStatus.RETIRED, VersionStatus.REJECTED])
    return standing.order_by("-pk").first() or rows.order_by("-pk").first()


def _same_weights(version: ModelVersion, *, shared: str) -> Iterator[Origin]:
    """Earlier versions that hold one of its weights files.

    Args:
        shared: The file of its registered backbone, which heads share as a matter of course.
    """
    digests = {value for name, value in version.manifest.items() if is_weights(name)} - {shared}
    is_backbone = version.system.kind == SystemKind.BACKBONE
    for digest, holders in sorted(versions_with_file(digests).items()):
        for other in holders:
            its_head = is_backbone and other.system.kind != SystemKind.BACKBONE and digest == other.backbone_digest
            if other.pk != version.pk and not its_head:
                yield _from_version(version, Relation.SAME_WEIGHTS, other, digest, BY_WEIGHTS)


def _from_card(version: ModelVersion, *, exclude: ModelVersion | None) -> Iterator[Origin]:
    for name in _names(version.card.get("base_model")):
        source = _version_called(name, than=version)
        if source is not None and exclude is not None and source.backbone_digest == exclude.backbone_digest:
            continue  # the card names the backbone that is known already
        if source is not None:
            yield _from_version(version, Relation.FINE_TUNED, source, source.digest, BY_CARD)
        else:
            yield Origin(version=version, relation=Relation.FINE_TUNED, source_name=name, told_by=BY_CARD)
    for name in _names(version.card.get("datasets")):
        cohort = _cohort_called(name)
        if cohort is not None:
            yield _from_cohort(version, cohort, BY_CARD)
        else:
            yield Origin(version=version, relation=Relation.TRAINED_ON, source_name=name, told_by=BY_CARD)


def _names(value: Any) -> list[str]:
    """The names in a field of a card, whatever was written there."""
    values = value if isinstance(value, list) else [value]
    return [text for item in values if isinstance(item, str) and (text := item.strip()[:300])][:NAMES_AT_MOST]


def _version_called(name: str, *, than: ModelVersion) -> ModelVersion | None:
    """A registered version that a card means: by its digest or its weights' digest, or as ``system/label``."""
    rows = ModelVersion.objects.exclude(pk=than.pk).select_related("system").order_by("-pk")
    if found := DIGEST.search(name):
        return (
            rows.filter(digest=found[0]).first()
            or rows.filter(backbone_digest=found[0], system__kind=SystemKind.BACKBONE).first()
        )
    for separator in ("/", "@", " "):
        system, _, label = name.rpartition(separator)
        named = rows.filter(label=label, system__name=system) | rows.filter(label=label, system__slug=system)
        if system and label and (match := named.first()):
            return match
    return None


def _cohort_called(name: str) -> CohortVersion | None:
    """A registered cohort that a card means: by the digest of its content alone, since names change."""
    found = DIGEST.search(name)
    return CohortVersion.objects.filter(digest=found[0]).first() if found else None


def _from_version(version: ModelVersion, relation: Relation, source: ModelVersion, digest: str, told_by: str) -> Origin:
    return Origin(version=version, relation=relation, source_version=source, digest=digest, told_by=told_by)


def _from_cohort(version: ModelVersion, cohort: CohortVersion, told_by: str) -> Origin:
    return Origin(
        version=version, relation=Relation.TRAINED_ON, source_cohort=cohort, digest=cohort.digest, told_by=told_by
    )


def _heads_that_waited(version: ModelVersion) -> list[Origin]:
    """Edges of heads that were registered before the backbone whose weights they hold."""
    if version.system.kind != SystemKind.BACKBONE or not version.backbone_digest:
        return []
    heads = ModelVersion.objects.filter(backbone_digest=version.backbone_digest).exclude(
        system__kind=SystemKind.BACKBONE
    )
    without = heads.exclude(origins__relation=Relation.BACKBONE).order_by("pk")
    return [_from_version(head, Relation.BACKBONE, version, version.backbone_digest, BY_WEIGHTS) for head in without]


def _once(edges: Iterable[Origin]) -> list[Origin]:
    """The first of several edges that say the same, whoever told them."""
    kept: dict[tuple[Any, ...], Origin] = {}
    for edge in edges:
        key = (edge.relation, edge.source_version_id, edge.source_cohort_id, edge.source_name)
        kept.setdefault(key, edge)
    return list(kept.values())


def _in_ledger(edge: Origin) -> dict[str, Any]:
    facts = {
        "version": edge.version.digest,
        "relation": str(edge.relation),
        "source": edge.source_version.digest if edge.source_version else edge.source_name,
        "cohort": edge.source_cohort.digest if edge.source_cohort else "",
        "digest": edge.digest,
        "told_by": edge.told_by,
    }
    return {name: value for name, value in facts.items() if value}
