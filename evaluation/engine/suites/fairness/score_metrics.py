"""The metrics that are computed from scores: ranking, calibration, utility."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from evaluation.engine.registry import Basis, MetricInfo, MetricKind
from evaluation.engine.statistics import scored
from evaluation.engine.statistics.scored import Scores, Statistic


class Need(StrEnum):
    """What a group must have for a metric to be judged in it."""

    BOTH_CLASSES = "patients with the finding and without"
    EVENTS = "studies with the finding and without"
    PATIENTS = "patients"


@dataclass(frozen=True, kw_only=True)
class ScoreDefinition:
    """A statistic of one group's scores.

    Attributes:
        title, among, worse, worse_words: As of a ``RateDefinition``.
        scale: Scale on which its interval is symmetric: ``logit``, ``log`` (its influence is then that on the
            logarithm), ``plain``, or ``unit``: plain and cut at 0 and 1.
    """

    metric: str
    title: str
    of: Callable[[Scores], Statistic]
    scale: str
    need: Need
    worse: int
    worse_words: str
    kind: MetricKind
    ideal: float = 0.0
    relative: bool = False
    among: str = "studies with a score"

    @property
    def info(self) -> MetricInfo:
        return MetricInfo(
            title=self.title, kind=self.kind, basis=Basis.SCORES, ideal=self.ideal, relative=self.relative
        )


def _intercept(scores: Scores) -> Statistic:
    return scored.calibration_line(scores, slope=False)


def _slope(scores: Scores) -> Statistic:
    return scored.calibration_line(scores, slope=True)


SCORED: dict[str, ScoreDefinition] = {
    item.metric: item
    for item in (
        ScoreDefinition(
            metric="auroc", title="AUROC", of=scored.auroc, scale="logit", need=Need.BOTH_CLASSES, worse=-1,
            worse_words="studies with {label} are told apart from those without less well", kind=MetricKind.RATE,
        ),
        ScoreDefinition(
            metric="auprc", title="area under precision and recall", of=scored.average_precision, scale="logit",
            need=Need.BOTH_CLASSES, worse=-1, worse_words="{label} is found at a lower precision", kind=MetricKind.RATE,
        ),
        ScoreDefinition(
            metric="brier", title="Brier score", of=scored.brier, scale="unit", need=Need.PATIENTS, worse=1,
            worse_words="scores of {label} are further from the truth", kind=MetricKind.RATE,
        ),
        ScoreDefinition(
            metric="calibration_intercept", title="calibration intercept", of=_intercept, scale="plain",
            need=Need.EVENTS, worse=1, worse_words="{label} is underestimated more", kind=MetricKind.DEVIATION,
        ),
        ScoreDefinition(
            metric="calibration_slope", title="calibration slope", of=_slope, scale="plain", need=Need.EVENTS, worse=-1,
            worse_words="scores of {label} are more extreme than they should be", kind=MetricKind.DEVIATION, ideal=1.0,
        ),
        ScoreDefinition(
            metric="observed_expected", title="observed to expected ratio", of=scored.observed_expected, scale="log",
            need=Need.EVENTS, worse=1, worse_words="{label} is underestimated more", kind=MetricKind.DEVIATION,
            ideal=1.0, relative=True,
        ),
    )
}  # fmt: skip
"""Every statistic that is a function of one group's scores alone, by metric."""

AUROC_GAP = "auroc_difference"
AUPRC_GAP = "auprc_difference"
XAUC_GAP = "xauc_difference"
XAUC = "xauc"
ECE = "ece"
NET_BENEFIT = "net_benefit"

SCORE_GAPS: dict[str, str] = {AUROC_GAP: "auroc", AUPRC_GAP: "auprc", XAUC_GAP: XAUC}
"""Largest difference between two groups, and of what. That of the cross-group AUROC is
``P(score of A's with the finding > B's without) - P(score of B's with > A's without)``: ideal 0."""

SCORE_METRICS: dict[str, MetricInfo] = {
    **{name: item.info for name, item in SCORED.items()},
    AUROC_GAP: MetricInfo(title="AUROC difference", kind=MetricKind.GAP, basis=Basis.SCORES),
    AUPRC_GAP: MetricInfo(
        title="difference in the area under precision and recall", kind=MetricKind.GAP, basis=Basis.SCORES
    ),
    XAUC: MetricInfo(title="cross-group AUROC", kind=MetricKind.DESCRIBED, basis=Basis.SCORES),
    XAUC_GAP: MetricInfo(title="cross-group AUROC difference", kind=MetricKind.GAP, basis=Basis.SCORES),
    ECE: MetricInfo(title="expected calibration error", kind=MetricKind.DESCRIBED, basis=Basis.SCORES),
    NET_BENEFIT: MetricInfo(title="net benefit", kind=MetricKind.RATE, basis=Basis.SCORES),
}
