"""What changed between two audits by the same protocol: each measurement's difference with its interval.

Where both audits judged the same studies and their predictions are kept, rates of decisions and gaps between groups are
compared *paired*, patient by patient (:mod:`evaluation.engine.paired`). Everything else is compared from the two
intervals, as if the audits were independent (MOVER): with estimates ``a`` and ``b`` and their intervals ``(la, ua)``
and ``(lb, ub)``, the difference ``d = b - a`` lies in
``(d - sqrt((b - lb)^2 + (ua - a)^2), d + sqrt((ub - b)^2 + (a - la)^2))``.
On the same patients that is usually too wide, never told as paired. Sources: Zou and Donner (2008), Statistics in
Medicine 27:1693; Newcombe (1998), Statistics in Medicine 17:873.

p-values are those of the intervals: an interval at level 1 - alpha excludes 0 exactly if its p is below alpha. They
are corrected over all differences that are shown together, by Holm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluation.engine.paired import Change
from evaluation.engine.pairing import PairedScene
from evaluation.engine.registry import MetricKind, known_metrics
from evaluation.engine.statistics.intervals import p_of, z_of
from evaluation.engine.statistics.multiplicity import holm
from evaluation.engine.suites.fairness.rates import RATES

Row = Mapping[str, Any]
"""A measurement as ``Measurement.to_dict`` gives it."""
KEPT = (
    "criterion", "metric", "label", "attribute", "groups", "outcome", "primary", "value", "low", "high", "statement",
)  # fmt: skip
RANK = {"pass": 0, "insufficient": 1, "fail": 2}
WORSE = {"auroc": -1, "auprc": -1, "xauc": -1, "brier": 1, "ece": 1, "selection_rate": 0, "prevalence": 0}
"""+1 where more is worse, beside what rates and gaps say of themselves. How many are flagged is neither."""
BETWEEN = " vs "
NEAR = 1e-6


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One measurement in both audits.

    Attributes:
        before, after: As each audit measured it; None where it is undefined there.
        value: ``after - before``; of a gap between two groups, how much its size grew. None where a side is undefined.
        low, high: Interval of ``value``; None where there is none, and ``reason`` says why.
        p: Of the hypothesis of no difference; None without an interval.
        adjusted: ``p`` after Holm over ``family`` differences; None before it was corrected.
        paired: Whether patients were compared with themselves.
        worse: +1 where more is worse, -1 where less is, 0 where it cannot be said.
    """

    suite: str
    metric: str
    label: str
    attribute: str
    group: str
    before: float | None
    after: float | None
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    patients: int | None
    paired: bool
    worse: int
    reason: str = ""
    p: float | None = None
    adjusted: float | None = None
    family: int = 0

    def beyond(self, alpha: float) -> bool:
        """Whether it is told as a change: the corrected p is below alpha."""
        return self.adjusted is not None and self.adjusted < alpha

    @property
    def direction(self) -> str:
        """``worse``, ``better`` or ``changed``, by the sign of the difference alone."""
        if not self.worse or not self.value:
            return "changed"
        return "worse" if self.value * self.worse > 0 else "better"


def differences(before: Iterable[Row], after: Iterable[Row], *, scene: PairedScene | None) -> list[Difference]:
    """Every measurement of the first audit that the second has too, in the order of the first.

    Args:
        scene: What both decided, study by study; None to compare from the intervals alone.
    """
    there = {_key(row): row for row in after}
    found = []
    for row in before:
        other = there.get(_key(row))
        if other is not None and row["method"] != "count":
            found.append(_difference(row, other, scene))
    return found


def _key(row: Row) -> tuple[str, ...]:
    """What makes two measurements the same; of the largest gap between groups, whichever they are."""
    # The largest gap may be between other groups in each audit.
    group = "" if _compares(row["metric"]) else str(row["group"])
    return row["suite"], row["metric"], row["label"], row["attribute"], group


def _compares(metric: str) -> bool:
    info = known_metrics().get(metric)
    return info is not None and info.kind in (MetricKind.GAP, MetricKind.RATIO)


def _difference(row: Row, other: Row, scene: PairedScene | None) -> Difference:
    found = Difference(
        **{name: row[name] for name in ("suite", "metric", "label", "attribute")},
        group=str(other["group"]), before=row["value"], after=other["value"], value=None, low=None, high=None,
        n=other["n"], patients=other["patients"], paired=False, worse=_worse(row["metric"]),
    )  # fmt: skip
    if row["value"] is None or other["value"] is None:
        return replace(found, reason=other["reason"] or row["reason"] or "undefined in one of the audits")
    if not _same_groups(row, other):
        return replace(found, reason=f"the largest was between {row['group']} before, so it is another comparison")
    sized = _is_size(row["metric"])
    sides = [_sized(side) if sized else side for side in (row, other)]
    value = sides[1]["value"] - sides[0]["value"]
    if all(row[name] == other[name] for name in ("value", "low", "high")):
        return replace(found, value=0.0, reason="the same in both")
    change = _paired(row, scene)
    if change is not None and _agrees(change, row, other):
        if change.low is None or change.high is None:
            return replace(found, value=value, paired=True, reason=change.reason)
        if change.low == change.high:  # what rests on the reference standard alone does not depend on the model
            return replace(found, value=value, paired=True, reason="the same in both")
        p = _p(change.value or 0.0, change.low, change.high, row["level"])
        return replace(found, value=change.value, low=change.low, high=change.high, paired=True, p=p)
    if any(side[end] is None for side in sides for end in ("low", "high")):
        return replace(found, value=value, reason="no interval was measured")
    low, high = mover(*((side["value"], side["low"], side["high"]) for side in sides))
    return replace(found, value=value, low=low, high=high, p=_p(value, low, high, row["level"]))


def _same_groups(row: Row, other: Row) -> bool:
    """Whether the same groups are compared; a ratio the same way round, a gap either way."""
    if row["group"] == other["group"]:
        return True
    return _is_size(row["metric"]) and sorted(row["group"].split(BETWEEN)) == sorted(other["group"].split(BETWEEN))


def _is_size(metric: str) -> bool:
    info = known_metrics().get(metric)
    return info is not None and info.kind is MetricKind.GAP


def _sized(row: Row) -> dict[str, Any]:
    """A gap as its size: turned round where it is negative."""
    if row["value"] >= 0:
        return dict(row)
    low, high = (None if row[end] is None else -row[end] for end in ("high", "low"))
    return dict(row) | {"value": -row["value"], "low": low, "high": high}


def mover(before: tuple[float, float, float], after: tuple[float, float, float]) -> tuple[float, float]:
    """Interval of the difference of two independent estimates, each as (value, low, high); see the module."""
    (a, la, ua), (b, lb, ub) = before, after
    value = b - a
    return value - math.hypot(b - lb, ua - a), value + math.hypot(ub - b, a - la)


def _p(value: float, low: float, high: float, level: float) -> float | None:
    """The p-value of an interval: from the half of it that reaches towards 0. None for an interval of no width."""
    half = value - low if value > 0 else high - value
    return p_of(value / (half / z_of(1 - level))) if half > 0 else None


def _paired(row: Row, scene: PairedScene | None) -> Change | None:
    """The paired change of a rate or of a gap between two groups; None where decisions do not give it."""
    if scene is None or row["label"] not in scene.pairs or row["attribute"] not in scene.groups:
        return None
    metric, held = row["metric"], scene.groups[row["attribute"]]
    if metric in RATES:
        group = row["group"]
        return scene.change(metric, row["label"], row["attribute"], group) if group in held else None
    groups, rate = tuple(str(row["group"]).split(BETWEEN)), (row["detail"] or {}).get("rate", "")
    if not _is_size(metric) or rate not in RATES or len(groups) != 2 or not set(groups) <= held.keys():
        return None
    return scene.gap(rate, row["label"], row["attribute"], groups)


def _agrees(change: Change, row: Row, other: Row) -> bool:
    """Whether the kept predictions give what the audits measured: otherwise they are not what was judged."""
    if change.before is None or change.after is None:
        return True
    sides = ((change.before, row["value"]), (change.after, other["value"]))
    return all(abs(abs(found) - abs(told)) <= NEAR for found, told in sides)


def _worse(metric: str) -> int:
    if metric in WORSE:
        return WORSE[metric]
    if metric in RATES:
        return RATES[metric].worse
    info = known_metrics().get(metric)
    return 1 if info is not None and info.kind is MetricKind.GAP else 0


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """The same differences with p-values corrected by Holm over all of them that have one."""
    p_values = [item.p for item in found if item.p is not None]
    told = iter(holm(p_values))
    return [replace(item, adjusted=next(told) if item.p is not None else None, family=len(p_values)) for item in found]


def side_by_side(before: Sequence[Row], after: Sequence[Row]) -> tuple[dict[str, Any], ...]:
    """Each verdict before and after, as ``Verdict.to_dict`` gives them; None on the side where there is none."""

    def by_place(rows: Sequence[Row]) -> dict[tuple[str, str, str], dict[str, Any]]:
        return {(row["criterion"], row["label"], row["attribute"]): {name: row[name] for name in KEPT} for row in rows}

    old, new = by_place(before), by_place(after)
    return tuple(
        {"criterion": key[0], "label": key[1], "attribute": key[2], "before": old.get(key), "after": new.get(key)}
        for key in dict.fromkeys((*old, *new))
    )


def fell(row: Mapping[str, Any]) -> bool:
    """Whether a verdict is judged worse than before."""
    old, new = row["before"], row["after"]
    return bool(old and new and RANK[new["outcome"]] > RANK[old["outcome"]])


def rose(row: Mapping[str, Any]) -> bool:
    """Whether a verdict is judged better than before."""
    old, new = row["before"], row["after"]
    return bool(old and new and RANK[new["outcome"]] < RANK[old["outcome"]])
