"""What a regulator sees under a grant: issued bundles and requirement status. Nothing here writes.

The status is judged without the evidence document, so no number of a group of patients can be in it, and without
drafts, so nobody's unfinished words are.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from core.errors import NotFoundError
from core.models import User
from governance.models import Bundle, Grant, Statement
from governance.reports.wording import dated
from governance.selectors.grants import Standing, standing_of
from models_registry.models import AISystem, ModelVersion, VersionStatus
from models_registry.selectors import unshown

if TYPE_CHECKING:
    from governance.statuses import Judgement

SHOWN = 5
"""How many versions and bundles of each system the overview shows; the page of the system has all."""
SMALL = re.compile(r"\b(?:[0-9]|10)(?= (?:patients?|studies|study|people|persons?|data subjects?)\b)")
"""A count of people below the smallest cell that is ever shown."""
STATES = {
    "complete": "Complete",
    "partial": "Partial",
    "missing": "Missing",
    "nonconform": "Nonconform",
    "stale": "Stale",
    "not_applicable": "Not applicable",
    "unknown": "Undetermined",
}
REGULATIONS = {
    "AI_ACT": "AI Act, Regulation (EU) 2024/1689",
    "GDPR": "GDPR, Regulation (EU) 2016/679",
    "WP248": "WP 248, guidelines on data protection impact assessment",
    "CNIL_PIA": "CNIL, privacy impact assessment",
    "EDPB": "European Data Protection Board",
    "MDR": "MDR, Regulation (EU) 2017/745",
    "STANDARDS": "Standards",
    "ISO_IEC_42001": "ISO/IEC 42001",
    "EHDS": "EHDS, Regulation (EU) 2025/327",
    "HIPAA": "HIPAA",
}


@dataclass(frozen=True, kw_only=True)
class GrantedSystem:
    """A system under a grant: its newest versions, and the newest bundles that were issued about any of them.

    ``n_versions`` and ``n_bundles`` count all of them.
    """

    system: AISystem
    versions: tuple[ModelVersion, ...]
    bundles: tuple[Bundle, ...]
    n_versions: int
    n_bundles: int

    @property
    def has_more(self) -> bool:
        return self.n_versions > len(self.versions) or self.n_bundles > len(self.bundles)


@dataclass(frozen=True, kw_only=True)
class HeldGrant:
    """A grant as its regulator sees it. ``systems`` is empty when it gives no access any more; ``names`` never is."""

    grant: Grant
    standing: Standing
    names: tuple[str, ...]
    systems: tuple[GrantedSystem, ...]


@dataclass(frozen=True, kw_only=True)
class StatusLine:
    """One requirement: whether it is shown, and why or why not."""

    id: str
    article: str
    title: str
    state: str
    word: str
    reason: str
    binding: bool


@dataclass(frozen=True, kw_only=True)
class StatusGroup:
    """The requirements of one rule, in the order of the catalogue."""

    regulation: str
    lines: tuple[StatusLine, ...]


@dataclass(frozen=True, kw_only=True)
class RequirementStatus:
    """What is shown of a version's requirements, as of a moment, by a catalogue of a day.

    ``counts`` holds each state with its word and how many requirements are in it.
    """

    as_of: datetime
    catalogue_version: str
    catalogue_as_of: date
    counts: tuple[tuple[str, str, int], ...]
    total: int
    groups: tuple[StatusGroup, ...]


def held(own: Sequence[Grant]) -> list[HeldGrant]:
    """A regulator's grants with what is under them now. A fixed number of queries, however many there are."""
    open_ids = {grant.pk for grant in own if standing_of(grant) == Standing.ACTIVE}
    ids = {system.pk for grant in own if grant.pk in open_ids for system in grant.systems.all()}
    versions = _newest(_visible_versions().filter(system__in=ids), "system_id")
    bundles = _newest(_issued().filter(review__version__system__in=ids), "review__version__system_id")
    found = [
        HeldGrant(
            grant=grant,
            standing=standing_of(grant),
            names=tuple(system.name for system in grant.systems.all()),
            systems=tuple(
                GrantedSystem(
                    system=system,
                    versions=tuple(versions.get(system.pk, ())),
                    bundles=tuple(bundles.get(system.pk, ())),
                    n_versions=_all_of(versions.get(system.pk, ())),
                    n_bundles=_all_of(bundles.get(system.pk, ())),
                )
                for system in grant.systems.all()
                if grant.pk in open_ids
            ),
        )
        for grant in own
    ]
    return sorted(found, key=lambda item: item.standing != Standing.ACTIVE)


def _newest(rows: QuerySet[Any], system: str) -> dict[int, list[Any]]:
    """The first few rows of each system in their order, each with how many the system has: one query."""
    order: Any = rows.query.order_by
    place = Window(RowNumber(), partition_by=[F(system)], order_by=order)
    counted = rows.annotate(of_system=F(system), in_all=Window(Count("pk"), partition_by=[F(system)]), place=place)
    found: dict[int, list[Any]] = {}
    for row in counted.filter(place__lte=SHOWN).order_by(*order):
        found.setdefault(row.of_system, []).append(row)
    return found


def _all_of(rows: Sequence[Any]) -> int:
    return int(rows[0].in_all) if rows else 0


def _visible_versions() -> QuerySet[ModelVersion]:
    """Versions that are submitted: a draft is nobody's but its author's."""
    rows = ModelVersion.objects.exclude(status=VersionStatus.DRAFT).select_related("system")
    return rows.defer("manifest", "sizes", "config", "card").order_by("-submitted_at", "-pk")


def _issued() -> QuerySet[Bundle]:
    rows = Bundle.objects.filter(status=Bundle.Status.ISSUED).select_related("review__version__system")
    return rows.defer(*unshown("review__version")).order_by("-issued_at", "-pk")


def registered_versions(system: AISystem) -> QuerySet[ModelVersion]:
    """Every version of a system that is submitted, newest first."""
    return _visible_versions().filter(system=system)


def with_bundles(versions: Iterable[ModelVersion]) -> list[tuple[ModelVersion, tuple[Bundle, ...]]]:
    """Versions, each with the bundles that were issued about it, newest first: one query."""
    rows = list(versions)
    found: dict[int, list[Bundle]] = {}
    for bundle in _issued().filter(review__version__in=rows):
        found.setdefault(bundle.review.version_id, []).append(bundle)
    return [(version, tuple(found.get(version.pk, ()))) for version in rows]


def visible_version(pk: int) -> ModelVersion:
    """A version that is submitted. Raises NotFoundError. Whether it is under a grant is the service's question."""
    version = _visible_versions().filter(pk=pk).first()
    if version is None:
        raise NotFoundError("This is not under the grant.", remedy="Open your access page: it lists what is.")
    return version


def issued_bundle(pk: int) -> Bundle:
    """A bundle that is issued. Raises NotFoundError. Whether it is under a grant is the service's question."""
    bundle = _issued().filter(pk=pk).first()
    if bundle is None:
        raise NotFoundError("This is not under the grant.", remedy="Open your access page: it lists what is.")
    return bundle


def all_stand(pks: Iterable[int], user: User) -> bool:
    """Whether every one of these grants is this person's and gives access now."""
    standing = Grant.objects.filter(regulator=user, revoked_at__isnull=True, expires_at__gt=timezone.now())
    return set(pks) <= set(standing.values_list("pk", flat=True))


def requirement_status(version: ModelVersion) -> RequirementStatus:
    """How each requirement of a version stands, from what is accepted and audited, without drafts and numbers."""
    from governance.dossier import dossier_for_page
    from governance.statuses import judge

    dossier = without_drafts(dossier_for_page(version))
    judged = judge(dossier).items
    groups: dict[str, list[StatusLine]] = {}
    for item in judged:
        groups.setdefault(item.requirement.regulation, []).append(_line(item))
    tally = Counter(str(item.state) for item in judged)
    return RequirementStatus(
        as_of=datetime.fromisoformat(dossier["as_of"]),
        catalogue_version=str(dossier["catalogue"]["version"]),
        catalogue_as_of=date.fromisoformat(dossier["catalogue"]["as_of"]),
        counts=tuple((state, word, tally[state]) for state, word in STATES.items()),
        total=len(judged),
        groups=tuple(
            StatusGroup(regulation=REGULATIONS.get(name, name), lines=tuple(lines)) for name, lines in groups.items()
        ),
    )


def _line(item: Judgement) -> StatusLine:
    return StatusLine(
        id=item.requirement.id,
        article=item.requirement.article,
        title=item.requirement.title,
        state=str(item.state),
        word=STATES[item.state],
        reason=_reason(item),
        binding=item.requirement.status == "binding",
    )


def only(status: RequirementStatus, state: str) -> tuple[StatusGroup, ...]:
    """The groups with the lines in one state; all of them for no state."""
    if not state:
        return status.groups
    kept = (
        StatusGroup(regulation=group.regulation, lines=tuple(line for line in group.lines if line.state == state))
        for group in status.groups
    )
    return tuple(group for group in kept if group.lines)


def _reason(item: Judgement) -> str:
    """Why the requirement is in its state. What a statement says in full stays inside, as do its author and remarks."""
    if item.state == "complete":
        return "Every fact that it requires is held, and was accepted or checked."
    parts = [_sentence(part) for part in item.contradicted + item.stale]
    if item.lacking:
        parts.append(f"Lacking: {' '.join(_sentence(part) for part in item.lacking)}")
    if item.state in {"not_applicable", "unknown"}:
        parts = [_sentence(item.reason)]
    elif not parts:
        parts = ["Nothing that counts is held." if item.state == "missing" else "It is not complete."]
    return SMALL.sub("fewer than 11", " ".join(parts))


def _sentence(part: str) -> str:
    part = dated(part.strip())
    return part[:1].upper() + part[1:] + ("" if part.endswith((".", "?", "…")) else ".")


def without_drafts(dossier: Mapping[str, Any]) -> dict[str, Any]:
    """The dossier with accepted statements only. A draft never counts, and no outsider reads of it."""
    accepted = [item for item in dossier["statements"] if item["status"] == Statement.Status.ACCEPTED]
    return {**dossier, "statements": accepted}


@lru_cache(maxsize=1)
def verifier_zip() -> bytes:
    """The verifier's files in one zip of the canonical form, so that its digest is the same on every server."""
    from governance.bundle import container

    files = verifier_files(Path(container.__file__).parent)
    return container.canonical_zip((f"auscult_verifier/{name}", files[name]) for name in sorted(files))


def verifier_files(folder: Path) -> dict[str, bytes]:
    """``verify.py`` and each file beside it that it imports, by name: it needs nothing else of the platform."""
    found: dict[str, bytes] = {}
    wanted = ["verify"]
    while wanted:
        name = f"{wanted.pop()}.py"
        if name not in found:
            found[name] = (folder / name).read_bytes()
            imports = (node for node in ast.walk(ast.parse(found[name])) if isinstance(node, ast.ImportFrom))
            wanted += [node.module for node in imports if node.level == 1 and node.module]
    return found
