"""The registry of suites: what the engine can measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from core.registry import Registry
from evaluation.engine.records import Advice, Measurement, ShardTable, Verdict

if TYPE_CHECKING:
    from evaluation.engine.judging import CriterionTest
    from evaluation.engine.protocol import Protocol as AuditProtocol


class MetricKind(StrEnum):
    """How a criterion on a metric is judged.

    A ``RATE`` is held against the margin in each group, at least or at most. A ``GAP`` between two groups may be at
    most the margin, a ``RATIO`` of two groups at least. A ``DEVIATION`` of a group from the metric's ideal may be at
    most the margin. ``DESCRIBED`` metrics are measured and never judged.
    """

    RATE = "rate"
    GAP = "gap"
    RATIO = "ratio"
    DEVIATION = "deviation"
    DESCRIBED = "described"


class Basis(StrEnum):
    """What a metric is computed from, and so what the data must have."""

    DECISIONS = "decisions"
    SCORES = "scores"
    REPORTS = "reports"
    PROBES = "probes"
    SAMPLES = "samples"
    PERTURBED = "perturbed"
    STREAMS = "streams"
    LINKED = "linked"


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What a suite declares of one metric, so that a protocol can be checked before there is data.

    Attributes:
        title: In a reader's words, such as ``sensitivity``.
        composite: True when it is computed on the protocol's underdiagnosis composite, not on a label.
        ideal: Value from which a ``DEVIATION`` is taken.
        relative: A deviation by a factor: ``ideal / (1 + margin)`` is as far off as ``ideal (1 + margin)``.
        counted: What n counts, such as ``findings reported by the model``; studies where it is empty.
    """

    title: str
    kind: MetricKind
    composite: bool = False
    basis: Basis = Basis.DECISIONS
    ideal: float = 0.0
    relative: bool = False
    counted: str = ""

    @property
    def direction(self) -> str | None:
        """The only direction in which a criterion can be written; None where both can."""
        if self.kind is MetricKind.RATE:
            return None
        return "at_least" if self.kind is MetricKind.RATIO else "at_most"

    def accepted(self, direction: str, margin: float) -> tuple[float | None, float | None]:
        """Ends of the values that a criterion accepts; None where there is no end.

        Args:
            margin: For a ratio above 0.
        """
        if self.kind is MetricKind.GAP:
            return -margin, margin
        if self.kind is MetricKind.RATIO:
            return margin, 1 / margin
        if self.kind is MetricKind.DEVIATION:
            factor = 1 + margin
            return (
                (self.ideal / factor, self.ideal * factor)
                if self.relative
                else (self.ideal - margin, self.ideal + margin)
            )
        return (margin, None) if direction == "at_least" else (None, margin)

    def slack(self, direction: str, margin: float, low: float, high: float) -> float:
        """How far an interval lies inside what a criterion accepts; negative where it reaches beyond."""
        least, most = self.accepted(direction, margin)
        room = [low - least] if least is not None else []
        return min(room + ([most - high] if most is not None else []))


class Sketch(Protocol):
    """A mergeable sufficient statistic. Merging is exact, associative and commutative."""

    def merge(self, other: Any) -> Any: ...

    def to_bytes(self) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class SuiteFindings:
    """What a suite read off the merged sketch: numbers, and tests that await their correction for multiplicity."""

    measurements: tuple[Measurement, ...]
    tests: tuple[CriterionTest, ...]
    notes: tuple[str, ...] = ()
    cross_checks: tuple[dict[str, Any], ...] = ()


class Suite(Protocol):
    """A family of metrics.

    ``sketch`` runs beside the model, ``measure`` once on the merged sketch; ``advise`` says what could be done about
    the verdicts that failed.
    """

    metrics: Mapping[str, MetricInfo]

    def sketch(self, protocol: AuditProtocol, table: ShardTable) -> Sketch: ...

    def load(self, data: bytes) -> Sketch: ...

    def measure(self, protocol: AuditProtocol, sketch: Any, *, cross_check: bool) -> SuiteFindings: ...

    def advise(self, protocol: AuditProtocol, sketch: Any, verdicts: Sequence[Verdict]) -> tuple[Advice, ...]: ...


SUITES: Registry[Suite] = Registry(kind="suite", package="evaluation.engine.suites", group="auscult.suites")
"""Every suite, by key: ``fairness``, and those of other distributions."""


@cache
def known_metrics() -> Mapping[str, MetricInfo]:
    """What every installed suite declares of its metrics, by name."""
    return {name: info for _, suite in SUITES for name, info in suite.metrics.items()}
