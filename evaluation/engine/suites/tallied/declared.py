"""What a family declares of its metrics, so that a protocol can be checked before there is data."""

from __future__ import annotations

from collections.abc import Collection

from evaluation.engine.registry import MetricInfo, MetricKind
from evaluation.engine.tallies import Definition, ShareDefinition, TallyFamily


def metrics_of(family: TallyFamily) -> dict[str, MetricInfo]:
    """Metric -> its declaration: shares, what is derived, the length, then the gaps of those that are judged."""
    basis = family.basis
    found = {item.metric: _info(item, family) for item in family.rules}
    if family.lengths:
        found[family.length_metric] = MetricInfo(title=family.length_title, kind=MetricKind.DESCRIBED, basis=basis)
    rules = {item.metric: item for item in family.rules}
    for gap, metric in gaps_of(family).items():
        rule = rules[metric]
        found[gap] = MetricInfo(title=_gap_title(rule), kind=MetricKind.GAP, basis=basis, counted=rule.among)
    return found


def gaps_of(family: TallyFamily) -> dict[str, str]:
    """Gap -> the metric of which it is the largest difference between two groups."""
    return {_gap(item): item.metric for item in family.rules if item.judged}


def with_beside(family: TallyFamily, metrics: Collection[str]) -> set[str]:
    """These metrics, and those that are always told beside them: CHAIR is never told without omission."""
    gaps = gaps_of(family)
    named = {gaps.get(name, name) for name in metrics}
    return {*metrics, *(other for item in family.shares if item.metric in named for other in item.beside)}


def _info(rule: Definition, family: TallyFamily) -> MetricInfo:
    kind, ideal = MetricKind.RATE, 0.0
    if not rule.judged:
        kind = MetricKind.DESCRIBED
    elif isinstance(rule, ShareDefinition) and rule.ideal is not None:
        kind, ideal = MetricKind.DEVIATION, rule.ideal
    return MetricInfo(title=rule.title, kind=kind, basis=family.basis, ideal=ideal, counted=rule.among)


def _gap(rule: Definition) -> str:
    return (rule.gap if isinstance(rule, ShareDefinition) else "") or f"{rule.metric}_difference"


def _gap_title(rule: Definition) -> str:
    return (rule.gap_title if isinstance(rule, ShareDefinition) else "") or f"difference in {rule.title}"
