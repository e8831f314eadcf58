"""Measurements of the fairness suite: support and rates of every group, gaps between groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from evaluation.engine.gaps import (
    Events,
    compared,
    few,
    gap_of,
    record,
    spread_of,
    unknown_bounds,
)
from evaluation.engine.records import UNKNOWN, Measurement
from evaluation.engine.statistics.heterogeneity import heterogeneity, wald_heterogeneity
from evaluation.engine.statistics.permutation import gap_test
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.groups import LabelGroups
from evaluation.engine.suites.fairness.rates import (
    COMPOSITE_METRICS,
    COMPOSITE_RATES,
    GAPS,
    LABEL_RATES,
    RATES,
    RATIO,
)


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
    """Largest difference of one or more rates between two adequate groups, with the tests beside it."""
    contrasts = groups.pair_contrasts(rates)
    detail: dict[str, Any] = {}
    if contrasts:
        rate = max(contrasts, key=lambda item: abs(item.value)).metric
        detail = {
            **_spread(groups, rate),
            **(_permuted(groups, metric, rates) if permute else {}),
            **_unknown_bounds(groups, rate),
        }
    return gap_of(groups, metric, contrasts, groups.shortfalls(rates), detail)


def _ratio(groups: LabelGroups) -> Measurement:
    """Smallest ratio of the selection rates of two adequate groups, lower over higher."""
    contrasts = sorted(groups.ratio_contrasts("selection_rate"), key=lambda item: item.value)
    if not contrasts:
        names = groups.adequate(["selection_rate"])
        few_groups = "undefined: fewer than two groups have enough patients"
        reason = few_groups if len(names) < 2 else "undefined: nothing was predicted in any group"
        return record(groups, RATIO, "", reason=reason)
    lowest = contrasts[0]
    return record(
        groups, RATIO, " vs ".join(lowest.groups), value=lowest.value, low=lowest.low, high=lowest.high,
        n=lowest.smallest[1], patients=lowest.patients, method=lowest.method,
        detail={"rate": "selection_rate", **compared(contrasts)},
    )  # fmt: skip


def _spread(groups: LabelGroups, metric: str) -> dict[str, Any]:
    """Test of heterogeneity, and the groups once chance is taken out; empty where they are undefined."""
    names = groups.adequate([metric])
    rates = [groups.rate(metric, name) for name in names]
    values = [rate.value or 0.0 for rate in rates]
    if groups.spanning:
        return spread_of(names, wald_heterogeneity(values, groups.influence_covariance(metric, names)))
    variances = [v * (1 - v) / rate.effective for v, rate in zip(values, rates, strict=True)]
    return spread_of(names, heterogeneity(values, variances))


def _permuted(groups: LabelGroups, metric: str, rates: tuple[str, ...]) -> dict[str, Any]:
    """P-value of the gap when groups are dealt to patients at random, or why there is none."""
    rng = generator(groups.protocol.seed, "permutation", metric, groups.label, groups.attribute)
    rules = [RATES[name] for name in rates]
    found = gap_test(groups.cells, rules, groups.adequate(rates), replicates=groups.protocol.replicates, rng=rng)
    return {"permutation_p": found.p_value, "permutation_reason": found.reason}


def _unknown_bounds(groups: LabelGroups, metric: str) -> dict[str, Any]:
    """Left out where there is no Unknown group, or where it is too small to be told."""
    if UNKNOWN not in groups.groups or groups.rate(metric, UNKNOWN).patients < groups.protocol.minimum_cell:
        return {}
    rates = [groups.rate(metric, name) for name in (*groups.adequate([metric]), UNKNOWN)]
    *known, unknown = (Events(events=rate.events, n=rate.n) for rate in rates)
    return {"unknown_bounds": list(unknown_bounds(known, unknown)), "unknown_studies": unknown.n}
