"""A figure of an audit of synthetic patients: its value, how sure it is, and what real patients give in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evaluation.engine.statistics.intervals import Interval, wilson
from synthetic.generators.studies import LinkedStudies


@dataclass(frozen=True, kw_only=True)
class AuditSets:
    """The patients of an audit. No patient is in two of them; all studies of a patient lie in one.

    Attributes:
        learnt: Real studies that the generator learnt from.
        readers: Real studies that the audit's own encoders, critics and language models learn from.
        held_out: Real studies that neither has seen: controls of every attack, and the null of every likeness.
        synthetic: What the generator made.
        seed: Of every draw of the audit.
    """

    learnt: LinkedStudies
    readers: LinkedStudies
    held_out: LinkedStudies
    synthetic: LinkedStudies
    seed: int


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        metric: Key of the suite's metric, such as ``column_shape``.
        of: The column, pair, finding or attack it is of; empty for one over all of them.
        attribute, group: The group of patients it is of; empty for all.
        value: None where it cannot be computed; ``reason`` then says why, in a clause without full stop.
        error: Standard error; 0 where the value is exact. None where ``hits`` are given, or there is no value.
        hits: Of n, for a share: its interval is Wilson's.
        n: What ``counted`` counts: patients, studies, attacks, pairs.
        null: The same figure with real patients in place of synthetic ones; None where there is none.
        null_error: Its standard error.
        least, most: Ends of the values that the figure can have; intervals are cut there.
        method: How the standard error was found, such as ``bootstrap over patients, 200 draws``.
        detail: What else a reader needs, such as a threshold. No patient.
    """

    metric: str
    of: str = ""
    attribute: str = ""
    group: str = ""
    value: float | None
    error: float | None = None
    hits: float | None = None
    n: int = 0
    counted: str = ""
    null: float | None = None
    null_error: float | None = None
    least: float = 0.0
    most: float = 1.0
    method: str = ""
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"'{self.metric}' has neither value nor reason")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"'{self.metric}' of '{self.of}' is no number")
        if self.value is not None and (self.error is None) == (self.hits is None):
            raise ValueError(f"'{self.metric}' of '{self.of}' needs a standard error, or hits")

    def interval(self, z: float) -> Interval:
        """The interval at a normal quantile z: Wilson's where hits are given, else ``value ± z error``.

        Raises:
            ValueError: there is no value.
        """
        if self.value is None:
            raise ValueError("no value, no interval")
        if self.hits is not None:
            return wilson(self.hits / self.n, self.n, z)
        reach = z * (self.error or 0.0)
        return max(self.least, self.value - reach), min(self.most, self.value + reach)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Figure:
        return cls(**body)


def not_computed(metric: str, reason: str, *, of: str = "", attribute: str = "", group: str = "") -> Figure:
    """A figure that cannot be computed, and why: a clause without full stop."""
    return Figure(metric=metric, of=of, attribute=attribute, group=group, value=None, reason=reason)
