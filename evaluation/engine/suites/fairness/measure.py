"""Measurements of the fairness suite: support and rates of every group, gaps between groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any, Protocol

from evaluation.engine.judging import Contrast
from evaluation.engine.protocol import Protocol as AuditProtocol
from evaluation.engine.records import UNKNOWN, Measurement
from evaluation.engine.statistics.heterogeneity import heterogeneity, wald_heterogeneity
from evaluation.engine.statistics.permutation import gap_test
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.groups import BOOTSTRAP, LabelGroups
from evaluation.engine.suites.fairness.rates import (
    COMPOSITE_METRICS,
    COMPOSITE_RATES,
    GAPS,
    LABEL_RATES,
    RATES,
    RATIO,
    VERSION,
)

MAX_PAIRS_TOLD = 30


def measure_groups(groups: LabelGroups, *, composite: bool) -> Iterator[Measurement]:
    """Support and every rate of every group, in the order of the protocol."""
    for group in groups.groups:
        yield _support(groups, group)
        for metric in COMPOSITE_RATES if composite else LABEL_RATES:
            yield _rate(groups, metric, group)


def measure_gaps(groups: LabelGroups, *, composite: bool, permuted: Collection[str] = ()) -> Iterator[Measurement]:
    """Largest difference between two adequate groups in each metric, and the ratio of selection rates.

    Args:
        permuted: Gaps that are tested by permutation too, such as those of the protocol's criteria.
    """
    for metric, rates in GAPS.items():
        if (metric in COMPOSITE_METRICS) == composite:
            yield _gap(groups, metric, rates, permute=metric in permuted)
    if not composite:
        yield _ratio(groups)


class Judged(Protocol):
    """Whose measurements they are."""

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
        suite="fairness",
        metric=metric,
        metric_version=VERSION,
        label=groups.label,
        attribute=groups.attribute,
        group=group,
        level=1 - protocol.alpha,
        **{**empty, "seed": protocol.seed if BOOTSTRAP in facts.get("method", "") else None, **facts},
    )


def few(groups: Judged, what: str = "patients") -> str:
    return f"suppressed: fewer than {groups.protocol.minimum_cell} {what}"


def _support(groups: LabelGroups, group: str) -> Measurement:
    """Studies with a reference and a decision. ``detail`` splits them and counts those that could not be used."""
    if groups.suppressed(group):
        return record(groups, "support", group, reason=few(groups))
    row = groups.cells.totals[groups.index(group)]
    silent = groups.cells.silent[groups.index(group)]
    n, everyone = int(row.sum()), int(groups.cells.totals.sum())
    detail: dict[str, Any] = {
        "share": n / everyone if everyone else None,
        "without_reference": int(silent[0]),
        "without_prediction": int(silent[1]),
    }
    if not _few_positive(groups, group):
        detail |= {"positives": int(row[0] + row[2]), "negatives": int(row[1] + row[3])}
    patients = groups.patients(group)
    return record(groups, "support", group, value=float(n), n=n, patients=patients, method="count", detail=detail)


def _few_positive(groups: LabelGroups, group: str) -> bool:
    """Whether so few patients have, or lack, the finding that telling it might point at somebody."""
    rate = groups.rate("prevalence", group)
    return any(0 < count < groups.protocol.minimum_cell for count in (rate.with_event, rate.without_event))


def _rate(groups: LabelGroups, metric: str, group: str) -> Measurement:
    """One rate; undefined where its denominator is empty, suppressed where it is small, flagged where not judged."""
    rule, least = RATES[metric], groups.protocol.minimum_denominator
    if groups.suppressed(group):
        return record(groups, metric, group, reason=few(groups))
    rate = groups.rate(metric, group)
    if rate.value is None:
        return record(groups, metric, group, reason=f"undefined: no {rule.among}", n=0, patients=0)
    if rate.patients < groups.protocol.minimum_cell:
        return record(groups, metric, group, reason=few(groups, rule.persons))
    if metric == "prevalence" and _few_positive(groups, group):
        return record(groups, metric, group, reason=few(groups, "patients with or without the finding"))
    (low, high), method = groups.interval(metric, group)
    judged = rate.patients >= least and group != UNKNOWN
    reason = "" if rate.patients >= least else f"not judged: below the minimum denominator of {least} patients"
    if group == UNKNOWN:
        reason = "not judged: the group is not known"
    return record(
        groups, metric, group, value=rate.value, low=low, high=high, n=rate.n, patients=rate.patients,
        reason=reason, method=method, detail={"judged": judged, "effective_n": round(rate.effective, 1)},
    )  # fmt: skip


def _gap(groups: LabelGroups, metric: str, rates: tuple[str, ...], *, permute: bool) -> Measurement:
    """Largest absolute difference between two adequate groups; its interval is the signed one, higher less lower."""
    contrasts = groups.pair_contrasts(rates)
    left_out = [item.group for item in groups.shortfalls(rates)]
    if not contrasts:
        reason = "undefined: fewer than two groups have enough patients to be compared"
        return record(groups, metric, "", reason=reason, detail={"left_out": sorted(set(left_out))})
    most = max(contrasts, key=lambda item: abs(item.value))
    names, low, high = (most.groups, most.low, most.high)
    if most.value < 0:
        names, low, high = names[::-1], -most.high, -most.low
    detail = {
        "rate": most.metric,
        "pairs": [told(item) for item in sorted(contrasts, key=lambda c: -abs(c.value))[:MAX_PAIRS_TOLD]],
        "pairs_compared": len(contrasts),
        "left_out": sorted(set(left_out)),
        **_spread(groups, most.metric),
        **(_permuted(groups, metric, rates) if permute else {}),
        **_unknown_bounds(groups, most.metric),
    }
    return record(
        groups, metric, " vs ".join(names), value=abs(most.value), low=low, high=high, n=most.smallest[1],
        patients=most.patients, method=most.method, detail=detail,
    )  # fmt: skip


def told(item: Contrast) -> dict[str, Any]:
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


def _ratio(groups: LabelGroups) -> Measurement:
    """Smallest ratio of the selection rates of two adequate groups, lower over higher."""
    contrasts = groups.ratio_contrasts("selection_rate")
    if not contrasts:
        names = groups.adequate(["selection_rate"])
        few_groups = "undefined: fewer than two groups have enough patients"
        reason = few_groups if len(names) < 2 else "undefined: nothing was predicted in any group"
        return record(groups, RATIO, "", reason=reason)
    lowest = min(contrasts, key=lambda item: min(item.value, 1 / item.value if item.value else 0.0))
    detail = {
        "rate": "selection_rate",
        "pairs": [told(item) for item in sorted(contrasts, key=lambda c: c.value)[:MAX_PAIRS_TOLD]],
        "pairs_compared": len(contrasts),
    }
    return record(
        groups, RATIO, " vs ".join(lowest.groups), value=lowest.value, low=lowest.low, high=lowest.high,
        n=lowest.smallest[1], patients=lowest.patients, method=lowest.method, detail=detail,
    )  # fmt: skip


def _spread(groups: LabelGroups, metric: str) -> dict[str, Any]:
    """Test of heterogeneity, and the groups once chance is taken out; empty where they are undefined."""
    names = groups.adequate([metric])
    rates = [groups.rate(metric, name) for name in names]
    values = [rate.value or 0.0 for rate in rates]
    if groups.spanning:
        found = wald_heterogeneity(values, groups.influence_covariance(metric, names))
    else:
        found = heterogeneity(values, [v * (1 - v) / rate.effective for v, rate in zip(values, rates, strict=True)])
    if found is None:
        return {}
    shrunken = dict(zip(names, found.shrunken, strict=True))
    return {"shrunken_gap": found.shrunken_gap, "heterogeneity_p": found.p_value, "shrunken": shrunken}


def _permuted(groups: LabelGroups, metric: str, rates: tuple[str, ...]) -> dict[str, Any]:
    """P-value of the gap when groups are dealt to patients at random, or why there is none."""
    rng = generator(groups.protocol.seed, "permutation", metric, groups.label, groups.attribute)
    rules = [RATES[name] for name in rates]
    found = gap_test(groups.cells, rules, groups.adequate(rates), replicates=groups.protocol.replicates, rng=rng)
    return {"permutation_p": found.p_value, "permutation_reason": found.reason}


def _unknown_bounds(groups: LabelGroups, metric: str) -> dict[str, Any]:
    """The smallest and largest gap there could be, whatever groups the Unknown studies truly belong to.

    For a pair, the difference is largest when the Unknown events are in one group and the Unknown non-events in the
    other. Left out where there is no Unknown group, or it is suppressed.
    """
    if UNKNOWN not in groups.groups or groups.suppressed(UNKNOWN) or groups.rate(metric, UNKNOWN).n == 0:
        return {}
    unknown = groups.rate(metric, UNKNOWN)
    extra, rest = unknown.events, unknown.n - unknown.events
    least, most = 0.0, 0.0
    for one, two in combinations(groups.adequate([metric]), 2):
        first, second = groups.rate(metric, one), groups.rate(metric, two)
        up = (first.events + extra) / (first.n + extra) - second.events / (second.n + rest)
        down = first.events / (first.n + rest) - (second.events + extra) / (second.n + extra)
        most = max(most, up, -down)
        least = max(least, down, -up)
    return {"unknown_bounds": [least, most], "unknown_studies": unknown.n}
