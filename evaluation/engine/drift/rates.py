"""Rates of one label from counts by bin of the score, each with its gradients by the counts of either truth.

Counts may be fractions: those of a standardised reference, or expected ones where the truth is not known.

Sources: Hanley and McNeil (1982), Radiology 143:29, for AUROC; Brier (1950), Monthly Weather Review 78:1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EXTREME = 1e-4
"""Scores are kept this far from 0 and 1 before their logarithm is taken; finer ones share a bin."""
TITLES: Mapping[str, str] = {
    "auroc": "area under the ROC curve",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "positive predictive value",
    "accuracy": "accuracy",
    "brier": "Brier score",
    "log_loss": "log loss (natural logarithm)",
}
LOSSES = frozenset({"brier", "log_loss"})
"""Rates that are better when smaller."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate and, float64 [K], what one more study with the finding, or without it, in a bin adds to it."""

    value: float
    by_positive: Floats
    by_negative: Floats


def rates_of(positive: Floats, negative: Floats, from_bin: int | None) -> dict[str, Rate]:
    """AUROC, and at a threshold sensitivity, specificity, positive predictive value and accuracy.

    Args:
        positive, negative: float64 [K], studies with and without the finding in each bin.
        from_bin: First bin that is called positive; None without a threshold.

    Returns:
        Those that are defined: sensitivity needs a study with the finding, and so on.
    """
    made: dict[str, Rate] = {}
    p, n = float(positive.sum()), float(negative.sum())
    if p > 0 and n > 0:
        made["auroc"] = _auroc(positive, negative, p, n)
    if from_bin is None:
        return made
    called = (np.arange(len(positive)) >= from_bin).astype(np.float64)
    nothing = np.zeros(len(positive))
    if p > 0:
        found = float(positive @ called) / p
        made["sensitivity"] = Rate(value=found, by_positive=(called - found) / p, by_negative=nothing)
    if n > 0:
        spared = 1 - float(negative @ called) / n
        made["specificity"] = Rate(value=spared, by_positive=nothing, by_negative=(1 - called - spared) / n)
    calls = float((positive + negative) @ called)
    if calls > 0:
        right = float(positive @ called) / calls
        made["ppv"] = Rate(value=right, by_positive=called * (1 - right) / calls, by_negative=-called * right / calls)
    if p + n > 0:
        right = float(positive @ called + negative @ (1 - called)) / (p + n)
        made["accuracy"] = Rate(
            value=right, by_positive=(called - right) / (p + n), by_negative=(1 - called - right) / (p + n)
        )
    return made


def losses_of(positive: Floats, negative: Floats, means: Floats) -> dict[str, Rate]:
    """Brier score ``mean (p - y)^2`` and log loss ``-mean log P(y)``; a score counts as the mean of its bin [K]."""
    total = float(positive.sum() + negative.sum())
    if not total:
        return {}
    kept = np.clip(means, EXTREME, 1 - EXTREME)
    losses = {"brier": ((1 - means) ** 2, means**2), "log_loss": (-np.log(kept), -np.log(1 - kept))}
    made = {}
    for name, (missed, raised) in losses.items():
        mean = float(positive @ missed + negative @ raised) / total
        made[name] = Rate(value=mean, by_positive=(missed - mean) / total, by_negative=(raised - mean) / total)
    return made


def _auroc(positive: Floats, negative: Floats, p: float, n: float) -> Rate:
    """The chance that a study with the finding scores above one without, those of one bin counting half."""
    below = (np.cumsum(negative) - negative / 2) / n
    above = (np.cumsum(positive[::-1])[::-1] - positive / 2) / p
    area = float(positive @ below) / p
    return Rate(value=area, by_positive=(below - area) / p, by_negative=(above - area) / n)
