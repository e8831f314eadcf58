"""What the drift suite declares of its metrics: one for each family of streams."""

from __future__ import annotations

from evaluation.engine.drift.records import Family
from evaluation.engine.registry import Basis, MetricInfo, MetricKind

SUITE = "drift"
VERSION = "1"
LABEL = "streams"
"""The label of the suite's verdicts: a criterion is judged on every stream of its family."""
TITLES: dict[Family, str] = {
    Family.NUMERIC: "shift of a number",
    Family.SERIES: "shift of a measured series",
    Family.CATEGORICAL: "shift of a category",
    Family.MASK: "shift of what is missing",
    Family.TEXT: "shift of a text",
    Family.IMAGE: "shift of the images",
    Family.PREDICTION: "shift of the scores",
    Family.LABEL: "change of prevalence",
    Family.CONCORDANCE: "shift of how well modalities agree",
    Family.ESTIMATED: "loss of estimated performance",
    Family.PERFORMANCE: "loss of performance",
    Family.CONCEPT: "change of what a score means",
    Family.CASE_MIX: "shift of the case mix",
}


def metric_of(family: Family) -> str:
    """``numeric_shift``: the metric of a family."""
    return f"{family.value}_shift"


METRICS: dict[str, MetricInfo] = {
    metric_of(family): MetricInfo(
        title=title,
        # A prevalence may fall as well as rise; every other shift is a distance or a loss.
        kind=MetricKind.DEVIATION if family is Family.LABEL else MetricKind.RATE,
        basis=Basis.STREAMS,
        counted="patients with the stream",
    )
    for family, title in TITLES.items()
}
EFFECTS: dict[str, str] = {
    "wasserstein_sigma": "robust standard deviations",
    "js_distance": "in Jensen-Shannon distance",
    "auc_excess": "in AUROC above .5 of a classifier that tells window from reference",
    "prevalence_change": "in prevalence",
    "estimated_prevalence_change": "in prevalence as estimated before labels",
    "sensitivity_drop": "of sensitivity lost",
    "auroc_drop": "of AUROC lost",
    "calibration_rms": "in how often the finding is there at one score",
}
"""Effect -> the words behind its value."""
METHODS: dict[str, str] = {
    "wasserstein_sigma": "Wasserstein distance, linearised interval",
    "js_distance": "Jensen-Shannon distance, noncentral chi-square interval",
    "auc_excess": "cross-fitted classifier two-sample test",
}
DISTANCES = frozenset({"wasserstein_sigma", "js_distance"})
"""Effects that are never below 0."""
