"""What the suite on utility measures, and the margins that are proposed for it."""

from __future__ import annotations

from evaluation.engine.registry import MetricInfo, MetricKind

RATE, DESCRIBED = MetricKind.RATE, MetricKind.DESCRIBED

METRICS: dict[str, MetricInfo] = {
    "tstr_minus_trtr": MetricInfo(
        title="macro AUROC on real patients when learnt from synthetic ones, less when learnt from real ones", kind=RATE
    ),
    "arm_auroc": MetricInfo(title="macro AUROC on real patients, by what was learnt from", kind=DESCRIBED),
    "arm_gain": MetricInfo(title="macro AUROC, less when learnt from real patients alone", kind=DESCRIBED),
    "trts": MetricInfo(title="macro AUROC on synthetic patients when learnt from real ones", kind=DESCRIBED),
    "rare_f1_gain": MetricInfo(title="gain in F1 of a rare class from synthetic patients", kind=RATE),
    "subgroup_difference": MetricInfo(
        title="macro AUROC in a group when learnt from synthetic patients, less when learnt from real ones", kind=RATE
    ),
}

GATES: dict[str, tuple[str, float]] = {
    "tstr_minus_trtr": ("at_least", -0.05),
    "rare_f1_gain": ("at_least", 0.0),
    "subgroup_difference": ("at_least", -0.05),
}
"""Metric -> direction and margin of a criterion on it."""

MEANINGS: dict[str, str] = {
    "tstr_minus_trtr": "What a learner loses when it is taught on synthetic in the place of as many real patients; both"
    " are tested on the same real patients whom neither has seen.",
    "arm_auroc": "The mean area under the curve over the labels, for each way of teaching.",
    "arm_gain": "How much better than real patients alone each other way of teaching does.",
    "trts": "How well a learner taught on real patients does on synthetic ones: low where these are not like real ones,"
    " and higher than on real ones where they are too easy.",
    "rare_f1_gain": "What synthetic patients of rare classes add to real ones, against real patients alone and against"
    " real patients of these classes repeated as often: the cheaper way.",
    "subgroup_difference": "The loss within each group of at least 30 patients: a mean may hide a group that synthetic"
    " patients serve badly.",
}
