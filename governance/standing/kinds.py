"""Which kinds of evidence a finished audit shows.

Told by the verdicts of its locked protocol, and not by whatever was measured beside them: an audit shows calibration
where a criterion about calibration was judged on a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluation.engine.registry import Basis, known_metrics

SUITES = {
    "robustness": "robustness_audit",
    "hallucination": "hallucination_check",
    "explainability": "explainability_audit",
    "privacy": "synthetic_privacy_audit",
    "calibration": "calibration_report",
}
"""Kind of evidence that each suite besides fairness shows."""
CALIBRATION = frozenset({"calibration_intercept", "calibration_slope", "observed_expected", "ece", "brier"})
UNSUPPORTED = frozenset({
    "chair_i", "chair_s", "chair_i_lenient", "chair_s_lenient", "negation_flip", "laterality_error", "severity_error",
    "severity_weighted_error", "number_error", "number_fabricated", "number_unit", "number_value", "number_flag",
    "number_time", "prior_hallucination", "absent_modality_claims",
})  # fmt: skip
"""Metrics of what a written report says that is not so."""
QUESTIONED = frozenset({Basis.PROBES, Basis.SAMPLES, Basis.PERTURBED})
"""What only the checks of hallucination rest on."""
AUDIT_KINDS = frozenset({"fairness_audit", "performance_evaluation", "drift_monitoring", *SUITES.values()})


def kinds_of(suites: Iterable[str], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The kinds of evidence that an audit shows, sorted.

    Args:
        suites: Of its protocol.
        verdicts: Its verdicts: ``metric``, ``attribute``, ``value``.
    """
    valued = [item for item in verdicts if item.get("value") is not None]
    if not valued:
        return []
    kinds = {SUITES[name] for name in suites if name in SUITES}
    if "fairness" in suites:
        kinds.add("performance_evaluation")
    for item in valued:
        kinds |= _kinds_of_verdict(item)
    return sorted(kinds)


def _kinds_of_verdict(item: Mapping[str, Any]) -> set[str]:
    metric, kinds = str(item["metric"]), set()
    info = known_metrics().get(metric)
    if item.get("attribute"):
        kinds.add("fairness_audit")
    if metric in CALIBRATION or metric.removesuffix("_difference") in CALIBRATION:
        kinds.add("calibration_report")
    reported = metric.removesuffix("_difference") in UNSUPPORTED
    if info is not None and (info.basis in QUESTIONED or (reported and info.basis is Basis.REPORTS)):
        kinds.add("hallucination_check")
    if info is not None and info.basis is Basis.STREAMS:  # a run without a reference measures no drift
        kinds.add("drift_monitoring")
    return kinds
