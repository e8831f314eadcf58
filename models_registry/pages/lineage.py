"""Where a version comes from and what rests on it: as a picture, and as a table of the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from core.pages.readers import HouseRequest, reads
from models_registry.lineage_selectors import Family, near_family, newer_backbones, whole_family
from models_registry.models import CohortVersion, ModelVersion, Origin, Relation, SystemKind, VersionStatus
from models_registry.pages.lineage_drawing import Drawing, Line, Node, draw
from models_registry.selectors import get_version

SAME_WEIGHTS = Relation.SAME_WEIGHTS.label.lower()


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """Something that was made of a version on a higher floor, such as an audit: shown at the end of its line."""

    version: int
    key: str
    title: str
    href: str
    state: str
    word: str
    cohort: CohortVersion | None = None


LeafSource = Callable[[Sequence[ModelVersion]], Iterable[Leaf]]
_sources: list[LeafSource] = []


def leaf_source(source: LeafSource) -> LeafSource:
    """Decorator: ask this function what hangs on versions, so that this floor need not know of it."""
    _sources.append(source)
    return source


@dataclass(frozen=True, kw_only=True)
class Row:
    """One edge as a line of the table: the target, how it is related, and the source."""

    target: Node
    source: Node
    line: Line


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The drawing, the same as rows, and what it shows in a sentence."""

    drawing: Drawing
    rows: tuple[Row, ...]
    finding: str
    hidden: int

    @property
    def same_weights(self) -> list[Node]:
        """Versions that hold a weights file of the focal one too, other than its backbone's."""
        rows = [row for row in self.rows if row.line.relation == SAME_WEIGHTS]
        return [row.source if row.target.focal else row.target for row in rows if row.target.focal or row.source.focal]


def near_picture(version: ModelVersion) -> Picture:
    """What the page of a version shows: one step in each direction."""
    return _picture(near_family(version), leaves=[])


def _picture(family: Family, *, leaves: Iterable[Leaf]) -> Picture:
    nodes: dict[str, Node] = {}
    lines: list[Line] = []
    for version in family.versions:
        _add(nodes, _version_node(version, focal=version.pk == family.focal.pk))
    for edge in family.origins:
        lines.append(_origin_line(edge, nodes))
    lines += _chain_lines(family.backbones)
    for leaf in leaves:
        lines += _leaf_lines(leaf, nodes)
    rows = (Row(target=nodes[line.target], source=nodes[line.source], line=line) for line in lines)
    return Picture(
        drawing=draw(list(nodes.values()), lines), rows=tuple(rows), finding=_finding(family), hidden=family.hidden
    )


def _add(nodes: dict[str, Node], node: Node) -> str:
    nodes.setdefault(node.key, node)
    return node.key


def _version_node(version: ModelVersion, *, focal: bool = False) -> Node:
    is_backbone = version.system.kind == SystemKind.BACKBONE
    return Node(
        key=f"version-{version.pk}",
        kind="backbone" if is_backbone else "version",
        title=version.system.name,
        detail=f"{'Backbone, version' if is_backbone else 'Version'} {version.label}",
        href=reverse("version", args=[version.system.slug, version.pk]),
        state=version.status,
        word=version.get_status_display(),
        focal=focal,
        chain=f"system-{version.system_id}",
    )


def _cohort_node(cohort: CohortVersion, *, role: str) -> Node:
    """A cohort in one role: as what was trained on and as what was audited on it is two boxes, near to what it made."""
    return Node(
        key=f"cohort-{role}-{cohort.pk}",
        kind="cohort",
        title=cohort.cohort.name,
        detail=gettext("Cohort, %(n_studies)s studies") % {"n_studies": f"{cohort.n_studies:,}"},
        href=reverse("cohort-version", args=[cohort.cohort.slug, cohort.pk]),
        word="Simulated" if cohort.cohort.simulated else "Registered",
    )


def _origin_line(edge: Origin, nodes: dict[str, Node]) -> Line:
    """The line of one edge; what it comes from becomes a box if it is none yet."""
    if edge.source_version is not None:
        source = _add(nodes, _version_node(edge.source_version))
    elif edge.source_cohort is not None:
        source = _add(nodes, _cohort_node(edge.source_cohort, role="training"))
    else:
        detail = "Named as training data" if edge.relation == Relation.TRAINED_ON else "Named as base model"
        name = Node(
            key=f"name-{edge.relation}-{edge.source_name}",
            kind="name",
            title=edge.source_name,
            detail=detail,
            word="Not registered here",
        )
        source = _add(nodes, name)
    return Line(
        source=source,
        target=f"version-{edge.version_id}",
        relation=edge.get_relation_display().lower(),
        known=edge.told_by,
        digest=edge.digest,
        broken=_is_broken(edge),
        beside=edge.relation == Relation.SAME_WEIGHTS,
    )


def _is_broken(edge: Origin) -> bool:
    """Whether the approval that rested on this backbone is void because of it."""
    if edge.relation != Relation.BACKBONE or edge.version.status != VersionStatus.VOID or edge.source_version is None:
        return False
    cause = edge.version.void_cause
    return cause is None or cause.system_id == edge.source_version.system_id


def _chain_lines(backbones: Sequence[ModelVersion]) -> list[Line]:
    """From each version of a backbone to the next one of the same system."""
    lines = []
    last: dict[int, ModelVersion] = {}
    for version in backbones:
        former = last.get(version.system_id)
        last[version.system_id] = version
        if former is not None:
            same = former.backbone_digest == version.backbone_digest
            line = Line(
                source=f"version-{former.pk}",
                target=f"version-{version.pk}",
                relation="came after, with the same weights" if same else "came after, with other weights",
                known="the order of registration",
                digest=version.backbone_digest,
                beside=True,
            )
            lines.append(line)
    return lines


def _leaf_lines(leaf: Leaf, nodes: dict[str, Node]) -> list[Line]:
    on = gettext("on %(name)s") % {"name": leaf.cohort.cohort.name} if leaf.cohort else ""
    node = Node(key=leaf.key, kind="run", title=leaf.title, detail=on, href=leaf.href, state=leaf.state, word=leaf.word)
    _add(nodes, node)
    lines = [Line(source=f"version-{leaf.version}", target=leaf.key, relation="audit of", known="the audit")]
    if leaf.cohort is not None:
        cohort = _add(nodes, _cohort_node(leaf.cohort, role="audit"))
        lines.append(Line(source=cohort, target=leaf.key, relation="run on", known="the audit"))
    return lines


def _finding(family: Family) -> str:
    """What the picture says, in a sentence."""
    void = [version for version in family.fallen if version.status == VersionStatus.VOID]
    if void:
        names = ", ".join(dict.fromkeys(str(version.void_cause) for version in void if version.void_cause))
        what = "1 approval is void" if len(void) == 1 else gettext("%(void)s approvals are void") % {"void": len(void)}
        return gettext("%(what)s because of %(names)s.") % {"what": what, "names": names} if names else f"{what}."
    if not family.origins:
        return "Nothing is known of what it was made from."
    built = [edge for edge in family.origins if edge.relation == Relation.BACKBONE and edge.source_version is not None]
    under = next((edge.source_version for edge in built if edge.version_id == family.focal.pk), None)
    others = len({edge.version_id for edge in built} - {family.focal.pk})
    if under is not None:
        so = "is 1 other version" if others == 1 else gettext("are %(others)s other versions") % {"others": others}
        also = gettext(", and so %(so)s") % {"so": so} if others else ""
        return gettext("%(focal)s is built on %(under)s%(also)s; no approval is void.") % {
            "focal": family.focal,
            "under": under,
            "also": also,
        }
    if others:
        which = "1 version is" if others == 1 else gettext("%(others)s versions are") % {"others": others}
        return gettext("%(which)s built on it; no approval is void.") % {"which": which}
    return "What it was made from, as far as it is known."


@require_safe
@reads
def lineage(request: HouseRequest, slug: str, pk: int) -> HttpResponse:
    """Backbone, what is built on it, the cohorts and the audits; and why approvals fell."""
    version = get_version(slug, pk)
    family = whole_family(version)
    leaves = [leaf for source in _sources for leaf in source(family.versions)]
    context: dict[str, Any] = {
        "version": version,
        "picture": _picture(family, leaves=leaves),
        "fallen": family.fallen,
        "newer": newer_backbones(version),
    }
    return render(request, "models_registry/lineage.html", context)
