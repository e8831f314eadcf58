"""Every metric of the fairness suite, and the words of those that a criterion can compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from evaluation.engine.registry import MetricInfo
from evaluation.engine.suites.fairness.rates import RATE_METRICS, RATES, RateDefinition
from evaluation.engine.suites.fairness.report_metrics import REPORT_METRICS
from evaluation.engine.suites.fairness.score_metrics import NET_BENEFIT, SCORE_METRICS, SCORED, XAUC


class Rule(Protocol):
    """What the sentences of a verdict need of a metric."""

    @property
    def title(self) -> str: ...

    @property
    def among(self) -> str: ...

    @property
    def worse_words(self) -> str: ...


class _Words:
    """A rule without a statistic of one group behind it."""

    def __init__(self, title: str, among: str, worse_words: str) -> None:
        self.title = title
        self.among = among
        self.worse_words = worse_words


METRICS: dict[str, MetricInfo] = {**RATE_METRICS, **SCORE_METRICS, **REPORT_METRICS}

RULES: Mapping[str, RateDefinition | Rule] = {
    **RATES,
    **SCORED,
    XAUC: _Words("cross-group AUROC", "studies with a score", "studies with {label} are ranked below those without"),
    NET_BENEFIT: _Words("net benefit", "studies with a score", "the model is of less use for {label}"),
}
