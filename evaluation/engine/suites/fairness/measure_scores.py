"""Measurements from scores: ranking, calibration and utility of every group, and gaps between groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from evaluation.engine.gaps import few, gap_of, record, spread_of
from evaluation.engine.records import UNKNOWN, Measurement
from evaluation.engine.sketches.scores import bin_edges
from evaluation.engine.statistics.heterogeneity import wald_heterogeneity
from evaluation.engine.statistics.intervals import Interval, wilson, z_of
from evaluation.engine.statistics.scored import (
    Bin,
    bin_influences,
    calibration_curve,
    calibration_error,
    equal_mass_edges,
    matched_calibration_error,
    net_benefits,
)
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.statistics.unknown import auroc_range
from evaluation.engine.suites.fairness.score_metrics import ECE, NET_BENEFIT, SCORE_GAPS, SCORED, XAUC, Need
from evaluation.engine.suites.fairness.scored import LINEARISED, ScoredGroups

MAX_CROSSED = 8
"""Above so many groups the cross-group AUROC is told of the pairs of its gap alone."""

ECE_DRAWS = 2000
THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, *(step / 20 for step in range(2, 19)), 0.93, 0.95, 0.97, 0.98, 0.99)
FEW = "patients, or patients with or without the finding"


def measure_scores(groups: ScoredGroups) -> Iterator[Measurement]:
    """Every statistic of every group, in the order of the protocol, then the gaps."""
    edges = equal_mass_edges(groups.cells.hist.sum(axis=(0, 1, 2)), groups.protocol.calibration_bins)
    smallest = min((groups.scores(group).n for group in groups.adequate("observed_expected")), default=0)
    for group in groups.groups:
        if groups.suppressed(group):
            for metric in (*SCORED, NET_BENEFIT, ECE):
                yield record(groups, metric, group, reason=few(groups, FEW))
            continue
        for metric in SCORED:
            yield _single(groups, metric, group)
        yield _utility(groups, group)
        yield _calibration(groups, group, edges, smallest)
    if groups.attribute:
        yield from _crossed(groups)
        for metric, base in SCORE_GAPS.items():
            yield _gap(groups, metric, base)


def _not_judged(groups: ScoredGroups, metric: str, group: str) -> str:
    if group == UNKNOWN:
        return "not judged: the group is not known"
    if group in groups.adequate(metric):
        return ""
    protocol = groups.protocol
    if groups.need(metric) is Need.EVENTS:
        return f"not judged: below {protocol.calibration_events} studies with and without the finding"
    return f"not judged: below {protocol.minimum_denominator} patients with and without the finding"


def _single(groups: ScoredGroups, metric: str, group: str, **detail: Any) -> Measurement:
    """One statistic; undefined with its reason, or flagged where the group is too small to be judged."""
    statistic, scores = groups.statistic(metric, group), groups.scores(group)
    if statistic.value is None:
        n, patients = scores.n, groups.patients(group)
        return record(groups, metric, group, reason=statistic.reason, n=n, patients=patients, detail=detail)
    interval, method = groups.interval(metric, group)
    low, high = interval(z_of(groups.protocol.alpha))
    reason = _not_judged(groups, metric, group)
    return record(
        groups, metric, group, value=statistic.value, low=low, high=high, n=scores.n, patients=groups.patients(group),
        reason=reason, method=method, detail={"judged": not reason, **detail},
    )  # fmt: skip


def _utility(groups: ScoredGroups, group: str) -> Measurement:
    """Net benefit at the operating point, with the curves over all thresholds where the group is large enough."""
    point = groups.operating_point
    detail: dict[str, Any] = {"threshold": point}
    if group in groups.adequate("auroc"):
        grid = sorted({*THRESHOLDS, *groups.protocol.utility_thresholds, *([point] if point else [])})
        detail["curve"] = _curve(groups, group, grid)
    return _single(groups, NET_BENEFIT, group, **detail)


def _curve(groups: ScoredGroups, group: str, grid: Sequence[float]) -> list[dict[str, float]]:
    """Rates and net benefit of calling positive from each threshold on."""
    scores, first = groups.scores(group), [groups.bin_at(threshold) for threshold in grid]
    benefits = net_benefits(scores, first, grid)
    above = np.cumsum(scores.counts[:, ::-1], axis=1)[:, ::-1].T[first].tolist()
    prevalence = scores.with_finding / scores.n
    told = []
    for threshold, benefit, (false, true) in zip(grid, benefits, above, strict=True):
        found = {
            "threshold": threshold,
            "selection_rate": (false + true) / scores.n,
            "tpr": true / scores.with_finding,
            "fpr": false / scores.without,
            "net_benefit": benefit,
            "treat_all": prevalence - (1 - prevalence) * (threshold / (1 - threshold)),
        }
        told.append({name: round(value, 5) for name, value in found.items()})
    return told


def _calibration(groups: ScoredGroups, group: str, edges: list[int], smallest: int) -> Measurement:
    """ECE with the edges of all groups, its curve, and the ECE at the size of the smallest group."""
    scores, protocol = groups.scores(group), groups.protocol
    error = calibration_error(scores, edges)
    if error is None:
        return record(groups, ECE, group, reason="undefined: no study has a score", n=0, patients=0)
    reason = _not_judged(groups, "observed_expected", group)
    rng = generator(protocol.seed, "matched", groups.label, groups.attribute, group)
    matched = matched_calibration_error(scores, edges, smallest, rng) if not reason else None
    low, high = _error_interval(groups, group, edges, error)
    return record(
        groups, ECE, group, value=error, low=low, high=high, n=scores.n, patients=groups.patients(group), reason=reason,
        method=f"{LINEARISED}, {ECE_DRAWS:,} normal draws of the bins", seed=protocol.seed,
        detail={"judged": False, "matched": matched, "matched_n": smallest, "bins": _bins(groups, group, edges)},
    )  # fmt: skip


def _error_interval(groups: ScoredGroups, group: str, edges: list[int], error: float) -> Interval:
    """Basic interval ``2 ECE - q``: the error of noise alone is above 0, and that is taken off.

    It always holds the ECE itself, which noise alone may have made larger than the upper end.
    """
    scores, protocol = groups.scores(group), groups.protocol
    influences = bin_influences(scores, edges)
    covariance = groups.covariance([{groups.index(group): item} for item in influences])
    values, vectors = np.linalg.eigh(covariance)
    rng = generator(protocol.seed, "ece", groups.label, groups.attribute, group)
    noise = rng.standard_normal((ECE_DRAWS, len(values))) @ (vectors * np.sqrt(np.clip(values, 0, None))).T
    residual = np.array([
        ((item.observed or 0.0) - (item.predicted or 0.0)) * item.n / scores.n
        for item in calibration_curve(scores, edges)
    ])  # fmt: skip
    drawn = np.abs(residual + noise).sum(axis=1)
    low, high = np.quantile(drawn, [protocol.alpha / 2, 1 - protocol.alpha / 2])
    return min(error, max(0.0, 2 * error - float(high))), max(error, 2 * error - float(low))


def _bins(groups: ScoredGroups, group: str, edges: list[int]) -> list[dict[str, Any]]:
    """The curve for people; a bin that may hold too few patients is not told."""
    scores, cell = groups.scores(group), groups.protocol.minimum_cell
    largest = max(1, int(groups.cells.largest[groups.index(group)]))
    ends, level = bin_edges(), z_of(groups.protocol.alpha)
    bins = calibration_curve(scores, edges)
    effective = _effective(groups, group, bins)
    told_bins = []
    for item, size in zip(bins, effective, strict=True):
        facts: dict[str, Any] = {"low": round(float(ends[item.first]), 6), "high": round(float(ends[item.last]), 6)}
        if item.observed is None or item.predicted is None or -(-item.n // largest) < cell:
            empty = dict.fromkeys(("n", "predicted", "observed", "observed_low", "observed_high"))
            reason = "no study" if not item.n else f"suppressed: may be fewer than {cell} patients"
            told_bins.append(facts | empty | {"reason": reason})
            continue
        low, high = wilson(item.observed, size, level)
        facts |= {"n": item.n, "predicted": round(item.predicted, 6), "observed": round(item.observed, 6)}
        told_bins.append(facts | {"observed_low": round(low, 6), "observed_high": round(high, 6), "reason": ""})
    return told_bins


def _effective(groups: ScoredGroups, group: str, bins: Sequence[Bin]) -> list[float]:
    """Studies of each bin divided by the design effect of the share with the finding, at least 1; 0 without a study."""
    scores, row = groups.scores(group), groups.index(group)
    influences = np.zeros((len(bins), *scores.counts.shape))
    for place, item in enumerate(bins):
        if item.observed is not None:
            influences[place, :, item.first : item.last] = (np.array([[0.0], [1.0]]) - item.observed) / item.n
    variances = groups.variances(row, influences).tolist()
    found = []
    for item, variance in zip(bins, variances, strict=True):
        share, n = item.observed or 0.0, float(item.n)
        if share in (0.0, 1.0):
            found.append(n / max(1, int(groups.cells.largest[row])))
        else:
            found.append(min(n, share * (1 - share) / variance) if variance > 0 else n)
    return found


def _crossed(groups: ScoredGroups) -> Iterator[Measurement]:
    """Cross-group AUROC of every ordered pair of adequate groups, where they are few."""
    names = groups.adequate(XAUC)
    if len(names) > MAX_CROSSED:
        return
    for one, two in permutations(names, 2):
        first, second = groups.cross(one, two)
        influence = {groups.index(one): first.influence, groups.index(two): second.influence}
        value = first.value or 0.0
        error = float(np.sqrt(max(0.0, groups.covariance([influence])[0, 0])))
        half = z_of(groups.protocol.alpha) * error
        yield record(
            groups, XAUC, f"{one} vs {two}", value=value, low=max(0.0, value - half), high=min(1.0, value + half),
            n=min(groups.scores(one).n, groups.scores(two).n), patients=groups.patients_of(one, two), method=LINEARISED,
        )  # fmt: skip


def _gap(groups: ScoredGroups, metric: str, base: str) -> Measurement:
    """Largest difference of a statistic between two adequate groups."""
    contrasts = groups.pair_contrasts(base)
    detail = {**_spread(groups, base), **_unknown_bounds(groups, base)} if contrasts else {}
    return gap_of(groups, metric, contrasts, groups.shortfalls(base), detail, seed=groups.protocol.seed)


def _spread(groups: ScoredGroups, metric: str) -> dict[str, Any]:
    """Test of heterogeneity, and the groups once chance is taken out; empty where there is none."""
    names = groups.adequate(metric)
    if metric == XAUC or len(names) < 2:
        return {}
    values = [groups.statistic(metric, name).value or 0.0 for name in names]
    influences = [{groups.index(name): groups.statistic(metric, name).influence} for name in names]
    return spread_of(names, wald_heterogeneity(values, groups.covariance(influences)))


def _unknown_bounds(groups: ScoredGroups, metric: str) -> dict[str, Any]:
    """The smallest and largest gap of AUROC there could be, whatever groups the Unknown studies truly belong to.

    The largest lets a study count for one group and against another, so it may not be reached; left out where there is
    no Unknown group, or where it is too small to be told.
    """
    if metric != "auroc" or UNKNOWN not in groups.groups or groups.suppressed(UNKNOWN):
        return {}
    unknown = groups.scores(UNKNOWN)
    ranges = [auroc_range(groups.scores(name), unknown) for name in groups.adequate(metric)]
    pairs = [(one[0] - two[1], one[1] - two[0]) for one, two in permutations(ranges, 2)]
    bounds = [max(0.0, *(low for low, _ in pairs)), max(high for _, high in pairs)]
    return {"unknown_bounds": bounds, "unknown_studies": unknown.n}
