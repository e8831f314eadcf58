"""Two audits held against each other: what may be compared, and what changed beyond chance. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db.models import QuerySet

from core.digests import sha256_json
from core.errors import AuscultError, ConflictError, NotFoundError
from evaluation.engine.differences import Difference, differences, fell, rose, side_by_side
from evaluation.engine.pairing import PairedScene
from evaluation.execution.kept import table_of
from evaluation.execution.shards import rules_of
from evaluation.models import AuditRun, RunStatus
from evaluation.selectors import PEOPLE, of_no_window, requested_runs
from models_registry.models import ModelVersion

AT_ONCE = 50_000_000
"""Studies times measurements that are paired while a page is made: a few seconds, once."""
CANDIDATES = 60
COMPARED = 1
"""Part of the key of every stored comparison: raised when it is computed differently."""
SAID = ("name", "title", "intended_use", "description", "notes")
"""What a protocol says of itself, without asking anything."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two audits by one protocol.

    Attributes:
        left, right: Before and after.
        paired: Whether patients were compared with themselves where decisions allow it.
        why_not: Why they were not; empty where they were.
        verdicts: Each verdict before and after.
        found: Every measurement that both have.
        alpha: Of the protocol.
    """

    left: AuditRun
    right: AuditRun
    paired: bool
    why_not: str
    verdicts: tuple[dict[str, Any], ...]
    found: tuple[Difference, ...]
    alpha: float

    @property
    def fallen(self) -> tuple[dict[str, Any], ...]:
        return tuple(row for row in self.verdicts if fell(row))

    @property
    def risen(self) -> tuple[dict[str, Any], ...]:
        return tuple(row for row in self.verdicts if rose(row))

    @property
    def changed(self) -> tuple[dict[str, Any], ...]:
        """Verdicts that are not what they were: those that fell first."""
        alone = tuple(row for row in self.verdicts if (row["before"] is None) != (row["after"] is None))
        return (*self.fallen, *self.risen, *alone)


def compared_runs(left: str, right: str) -> tuple[AuditRun, AuditRun]:
    """The audits that an address names: ``run:12`` one audit, ``version:3`` the newest of a version that fits.

    Raises:
        NotFoundError: there is none.
        ConflictError: no audits of the two versions are by one protocol.
    """
    first, second = _named(left), _named(right)
    if first.kind == second.kind == "run":
        return _run(first.pk), _run(second.pk)
    pairs = [(one, two) for one in _runs(first) for two in _runs(second) if one.pk != two.pk]
    fitting = [pair for pair in pairs if pair[0].protocol_id == pair[1].protocol_id]
    if not fitting:
        raise ConflictError(
            "No two audits of these versions that are done are by the same protocol.",
            remedy="Audit both by one protocol, on one cohort; then compare them.",
        )
    one, two = max(fitting, key=lambda pair: (pair[0].cohort_id == pair[1].cohort_id, pair[1].pk, pair[0].pk))
    return _run(one.pk), _run(two.pk)


@dataclass(frozen=True, kw_only=True)
class _Name:
    kind: str
    pk: int


def _named(text: str) -> _Name:
    kind, _, number = text.partition(":")
    if kind not in ("run", "version") or not number.isdecimal() or len(number) > 18:
        raise NotFoundError("There is no such audit or version.", remedy="Choose two audits from the list.")
    return _Name(kind=kind, pk=int(number))


def _runs(name: _Name) -> list[AuditRun]:
    if name.kind == "run":
        return [_run(name.pk)]
    if not ModelVersion.objects.filter(pk=name.pk).exists():
        raise NotFoundError("There is no such version.", remedy="Begin at the list of systems.")
    done = AuditRun.objects.filter(of_no_window(), version=name.pk, status=RunStatus.DONE)
    return list(done.only("pk", "protocol_id", "cohort_id").order_by("-pk")[:CANDIDATES])


def _run(pk: int) -> AuditRun:
    found = AuditRun.objects.select_related(*PEOPLE, "protocol__locked_by").filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no audit {pk}.", remedy="Choose two audits from the list.")
    return found


def comparable_runs(*, beside: str = "") -> QuerySet[AuditRun]:
    """Audits that may be chosen, the newest first.

    Args:
        beside: One that is chosen, as an address names it (``run:12``): then those by its protocol alone.
    """
    rows = requested_runs().filter(status=RunStatus.DONE).defer("protocol__source", "cohort__summary")
    name = _named(beside) if beside else None
    if name is None or name.kind != "run":
        return rows
    return rows.filter(protocol__in=AuditRun.objects.filter(pk=name.pk).values("protocol"))


def check_comparable(left: AuditRun, right: AuditRun) -> None:
    """Raise where two audits cannot be held against each other.

    Raises:
        ConflictError: one is not done, they are one, or their protocols ask other things.
    """
    for run in (left, right):
        if run.status != RunStatus.DONE:
            state = run.get_status_display().lower()
            raise ConflictError(
                f"Audit {run.pk} is {state}, so it has nothing to compare.", remedy="Compare audits that are done."
            )
    if left.pk == right.pk:
        raise ConflictError(f"Audit {left.pk} was chosen twice.", remedy="Choose another one for one of the sides.")
    if differing := asked_differently(left.protocol.body, right.protocol.body):
        raise ConflictError(
            f"The protocols {left.protocol.name} and {right.protocol.name} do not ask the same: their "
            f"{_listed(differing)} differ.",
            remedy="Audit both versions by one protocol; then compare these audits.",
        )


def asked_differently(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The parts of two protocols that are not equal and that ask something."""
    return sorted(name for name in {*one, *other} - set(SAID) if one.get(name) != other.get(name))


def _listed(names: list[str]) -> str:
    words = [name.replace("_", " ") for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def compare_runs(left: AuditRun, right: AuditRun) -> Comparison:
    """What changed from one audit to another. Kept in the cache: evidence does not change.

    Raises:
        ConflictError: see :func:`check_comparable`.
    """
    check_comparable(left, right)
    before, after = (_details(run) for run in (left, right))
    found, why_not = _differences(left, right, before, after)
    return Comparison(
        left=left,
        right=right,
        paired=not why_not,
        why_not=why_not,
        verdicts=side_by_side(*(_verdicts(run) for run in (left, right))),
        found=tuple(found),
        alpha=float(left.protocol.body.get("alpha", 0.05)),
    )


def _details(run: AuditRun) -> list[dict[str, Any]]:
    return list(run.measurements.order_by("position").values_list("detail", flat=True))


def _verdicts(run: AuditRun) -> list[dict[str, Any]]:
    return list(run.verdicts.order_by("position").values_list("detail", flat=True))


def _differences(
    left: AuditRun, right: AuditRun, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> tuple[list[Difference], str]:
    content = [COMPARED, left.pk, right.pk, left.result_digest, right.result_digest]
    key = f"compared:{sha256_json(content)}"
    kept: tuple[list[Difference], str] | None = cache.get(key)
    if kept is None:
        scene, why_not = _scene(left, right, size=left.n_studies * len(before))
        kept = differences(before, after, scene=scene), why_not
        cache.set(key, kept, timeout=None if not why_not else 3600)
    return kept


def _scene(left: AuditRun, right: AuditRun, *, size: int) -> tuple[PairedScene | None, str]:
    """The decisions of both audits side by side; else None, and why not in words."""
    if left.cohort_id != right.cohort_id:
        return None, "They are of two cohorts, so the patients are other ones: the intervals of both are combined."
    if size > AT_ONCE:
        return None, "The cohort is too large to compare patient by patient here: the intervals of both are combined."
    try:
        return PairedScene(rules_of(left), table_of(left), table_of(right)), ""
    except AuscultError as error:
        return None, f"{error.message} The intervals of both are combined."
