"""Gaps between groups as measurements: what rates, scores and counts of texts have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

from evaluation.engine.judging import Contrast, Shortfall
from evaluation.engine.protocol import Protocol as AuditProtocol
from evaluation.engine.records import Measurement
from evaluation.engine.statistics.heterogeneity import Heterogeneity

VERSION = "2"
"""Of the definitions and intervals of the fairness metrics. 2: intervals of clustered rates on the logit, no longer
percentiles."""

MAX_PAIRS_TOLD = 30


class Judged(Protocol):
    """Whose measurements they are."""

    @property
    def suite(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def protocol(self) -> AuditProtocol: ...

    @property
    def label(self) -> str: ...

    @property
    def attribute(self) -> str: ...


def record(groups: Judged, metric: str, group: str, **facts: Any) -> Measurement:
    """A measurement of the suite; ``facts`` are fields of it, empty unless given."""
    empty = {"value": None, "reason": "", "low": None, "high": None, "n": None, "patients": None, "method": ""}
    protocol = groups.protocol
    return Measurement(
        suite=groups.suite,
        metric=metric,
        metric_version=groups.version,
        label=groups.label,
        attribute=groups.attribute,
        group=group,
        level=1 - protocol.alpha,
        **{**empty, "seed": protocol.seed if "bootstrap" in facts.get("method", "") else None, **facts},
    )


def few(groups: Judged, what: str = "patients") -> str:
    """Why a number is not told."""
    return f"suppressed: fewer than {groups.protocol.minimum_cell} {what}"


def gap_of(
    groups: Judged,
    metric: str,
    contrasts: Sequence[Contrast],
    shortfalls: Collection[Shortfall],
    detail: Mapping[str, Any],
    **facts: Any,
) -> Measurement:
    """Largest absolute difference between two adequate groups; its interval is the signed one, higher less lower."""
    left_out = sorted({item.group for item in shortfalls})
    if not contrasts:
        reason = "undefined: fewer than two groups have enough patients to be compared"
        return record(groups, metric, "", reason=reason, detail={"left_out": left_out})
    most = max(contrasts, key=lambda item: abs(item.value))
    names, low, high = most.groups, most.low, most.high
    if most.value < 0:
        names, low, high = names[::-1], -most.high, -most.low
    pairs = sorted(contrasts, key=lambda item: -abs(item.value))
    return record(
        groups, metric, " vs ".join(names), value=abs(most.value), low=low, high=high, n=most.smallest[1],
        patients=most.patients, method=most.method,
        detail={"rate": most.metric, **compared(pairs), "left_out": left_out, **detail}, **facts,
    )  # fmt: skip


def compared(pairs: Sequence[Contrast]) -> dict[str, Any]:
    """The first comparisons of an order, and how many there were."""
    return {"pairs": [_told(item) for item in pairs[:MAX_PAIRS_TOLD]], "pairs_compared": len(pairs)}


def _told(item: Contrast) -> dict[str, Any]:
    return {
        "groups": list(item.groups),
        "rate": item.metric,
        "value": item.value,
        "low": item.low,
        "high": item.high,
        "n": item.n,
        "patients": item.patients,
        "method": item.method,
    }


def spread_of(names: Sequence[str], found: Heterogeneity | None) -> dict[str, Any]:
    """Test of heterogeneity, and the groups once chance is taken out; empty where they are undefined."""
    if found is None:
        return {}
    shrunken = dict(zip(names, found.shrunken, strict=True))
    return {"shrunken_gap": found.shrunken_gap, "heterogeneity_p": found.p_value, "shrunken": shrunken}


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events among studies of one group."""

    events: int
    n: int


def unknown_bounds(known: Sequence[Events], unknown: Events) -> tuple[float, float]:
    """The smallest and largest gap there could be, whatever groups the Unknown studies truly belong to.

    For a pair, the difference is largest when the Unknown events are in one group and the Unknown non-events in the
    other.
    """
    extra, rest = unknown.events, unknown.n - unknown.events
    least, most = 0.0, 0.0
    for first, second in combinations(known, 2):
        up = (first.events + extra) / (first.n + extra) - second.events / (second.n + rest)
        down = first.events / (first.n + rest) - (second.events + extra) / (second.n + extra)
        most, least = max(most, up, -down), max(least, down, -up)
    return least, most
