"""The registry of suites: what the engine can measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from core.registry import Registry
from evaluation.engine.records import Measurement, ShardTable

if TYPE_CHECKING:
    from evaluation.engine.judging import CriterionTest
    from evaluation.engine.protocol import Protocol as AuditProtocol


class MetricKind(StrEnum):
    """How a criterion on a metric is judged. ``DESCRIBED`` metrics are measured and never judged."""

    RATE = "rate"
    GAP = "gap"
    DESCRIBED = "described"


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What a suite declares of one metric, so that a protocol can be checked before there is data.

    Attributes:
        title: In a reader's words, such as ``sensitivity``.
        composite: True when it is computed on the protocol's underdiagnosis composite, not on a label.
    """

    title: str
    kind: MetricKind
    composite: bool = False


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
    """A family of metrics. ``sketch`` runs beside the model, ``measure`` once on the merged sketch."""

    metrics: Mapping[str, MetricInfo]

    def sketch(self, protocol: AuditProtocol, table: ShardTable) -> Sketch: ...

    def load(self, data: bytes) -> Sketch: ...

    def measure(self, protocol: AuditProtocol, sketch: Any, *, cross_check: bool) -> SuiteFindings: ...


SUITES: Registry[Suite] = Registry(kind="suite", package="evaluation.engine.suites", group="auscult.suites")
"""Every suite, by key: ``fairness``, and those of other distributions."""
