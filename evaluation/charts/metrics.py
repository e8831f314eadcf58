"""What charts need to know of a metric: its title, what it compares, what a criterion accepts, which way is worse."""

from __future__ import annotations

from evaluation.engine.registry import Basis, MetricInfo, MetricKind, known_metrics
from evaluation.engine.suites.drift.metrics import METRICS as SHIFTS
from evaluation.engine.suites.fairness.rates import GAPS, RATES, RATIO
from evaluation.engine.suites.fairness.report_metrics import REPORT_GAPS
from evaluation.engine.suites.fairness.score_metrics import SCORE_GAPS, SCORED
from evaluation.engine.suites.hallucination import WORSE
from evaluation.engine.words import plain

Region = tuple[float | None, float | None]
"""What is accepted; None on the side where it has no end."""
STUDIES = "studies"


def metric_title(metric: str) -> str:
    """A metric in a reader's words, as its suite declares it; its own name where no installed suite knows it."""
    info = known_metrics().get(metric)
    return info.title if info else plain(metric)


def counts_of(metric: str) -> str:
    """What n counts: ``studies``, ``findings reported by the model``."""
    info = known_metrics().get(metric)
    return (info.counted if info else "") or STUDIES


def _kind(metric: str) -> MetricKind:
    """How a metric is judged. One that no installed suite knows is told by its name."""
    info = known_metrics().get(metric)
    if info is not None:
        return info.kind
    return MetricKind.GAP if metric.endswith("_difference") else MetricKind.RATE


def compares_groups(metric: str) -> bool:
    """Whether a metric is a difference or a ratio of groups, and no value of one group."""
    return _kind(metric) in {MetricKind.GAP, MetricKind.RATIO}


def is_rate(metric: str) -> bool:
    """Whether a metric is one value for each group of which more, or less, is better."""
    known = metric in known_metrics()
    return metric == "prevalence" or (known and _kind(metric) is MetricKind.RATE)


def is_written(metric: str) -> bool:
    """Whether a metric is of what a model wrote or answered, and not of its decisions or scores."""
    info = known_metrics().get(metric)
    return info is not None and info.basis not in (Basis.DECISIONS, Basis.SCORES)


def rates_of(metric: str) -> tuple[str, ...]:
    """The metrics of one group that a difference or ratio is made of; a metric of one group alone is its own."""
    if metric in GAPS:
        return GAPS[metric]
    if metric == RATIO:
        return ("selection_rate",)
    return ((SCORE_GAPS | REPORT_GAPS).get(metric, metric.removesuffix("_difference")),)


def gaps_of(rate: str) -> tuple[str, ...]:
    """The differences that are made of a metric of one group."""
    return tuple(metric for metric in known_metrics() if compares_groups(metric) and rate in rates_of(metric))


def accepted(metric: str, direction: str, margin: float) -> Region:
    """The values with which a criterion holds."""
    info = known_metrics().get(metric) or MetricInfo(title=metric, kind=_kind(metric))
    return info.accepted(direction, margin)


def ideal(metric: str) -> float | None:
    """The value at which nothing differs or is off; None where there is none, as for a rate."""
    kind, info = _kind(metric), known_metrics().get(metric)
    if kind is MetricKind.RATIO:
        return 1.0
    if kind is MetricKind.DEVIATION and info is not None:
        return info.ideal
    return 0.0 if kind is MetricKind.GAP else None


def is_factor(metric: str) -> bool:
    """Whether twice is as far from the ideal as half: such a metric has a logarithmic axis."""
    info = known_metrics().get(metric)
    return _kind(metric) is MetricKind.RATIO or (info is not None and info.relative)


def worse(metric: str) -> int:
    """+1 where a higher value is worse for the group, -1 where a lower one is."""
    if metric in SHIFTS:
        return 1
    rule = RATES.get(metric) or SCORED.get(metric)
    return rule.worse if rule is not None else WORSE.get(metric, -1)
