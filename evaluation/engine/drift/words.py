"""Effect sizes in a reader's words: the same on pages and in alerts."""

from __future__ import annotations

EFFECTS = {
    "wasserstein_sigma": "shift of the distribution, in standard deviations of the reference",
    "js_distance": "distance of the shares from the reference (Jensen-Shannon, 0 to 1)",
    "auc_excess": "how well a classifier tells window and reference apart (AUROC above .5)",
    "prevalence_change": "change of the share of positives",
    "sensitivity_drop": "drop of sensitivity",
    "auroc_drop": "drop of AUROC",
    "brier_rise": "rise of the Brier score",
    "calibration_rms": "distance of the findings at equal score from the reference (root mean square)",
    "estimated_prevalence_change": "estimated change of the share of positives, without labels",
}
UNITS = {
    "wasserstein_sigma": "standard deviations",
    "js_distance": "Jensen-Shannon distance",
    "auc_excess": "AUROC above .5",
    "auroc_drop": "drop of AUROC",
    "brier_rise": "rise of the Brier score",
    "calibration_rms": "root mean square",
    "estimated_prevalence_change": "change of the share, estimated",
    "prevalence_change": "change of the share",
}


def effect_words(effect: str) -> str:
    return EFFECTS.get(effect, effect.replace("_", " "))


def unit_words(effect: str) -> str:
    """The shift's unit for a column: ``standard deviations``."""
    return UNITS.get(effect, effect.replace("_", " "))
