"""How often a finding is there, from scores alone: black-box shift estimation (BBSE).

Where the studies with the finding look as they did, and so do those without, the share of calls in a window is a
mixture: ``q = pi TPR + (1 - pi) FPR``. TPR and FPR are known from the reference, q from the window, and so is pi.
Under any other change the estimate is wrong; it is replaced by the observed share once the reference standard is in.

Source: Lipton, Wang and Smola (2018), ICML, Detecting and correcting for label shift with black box predictors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.scored import NEGATIVE, POSITIVE
from evaluation.engine.drift.standardised import Sides
from evaluation.engine.statistics.intervals import z_of

Floats = npt.NDArray[np.float64]
LEAST_SEPARATION = 0.05
"""Where TPR - FPR may be below it, chance and shift cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Prevalence:
    """An estimate without the reference standard.

    Attributes:
        value, low, high: Share of the window's studies with the finding, within [0, 1]; None with a ``reason``.
        change, change_low, change_high: The same less the share in the standardised reference.
        variance: Of ``change``.
        condition: 2-norm condition number of ``[[TPR, FPR], [1 - TPR, 1 - FPR]]``; large where the estimate is shaky.
        true_rate, false_rate: Mean call of studies with and without the finding in the reference.
        calls: ``threshold`` (share called positive), or ``score`` (mean score) of a label without a threshold.
    """

    value: float | None
    low: float | None
    high: float | None
    change: float | None
    change_low: float | None
    change_high: float | None
    variance: float | None
    condition: float | None
    true_rate: float | None
    false_rate: float | None
    calls: str
    reason: str = ""

    def to_dict(self) -> dict[str, float | str | None]:
        """What a shift tells of it."""
        return {
            "value": self.value, "low": self.low, "high": self.high, "change": self.change,
            "condition": self.condition, "true_rate": self.true_rate, "false_rate": self.false_rate,
            "calls": self.calls, "reason": self.reason,
        }  # fmt: skip


def shifted_prevalence(sides: Sides, means: Floats, from_bin: int | None, *, alpha: float) -> Prevalence:
    """``pi = (q - FPR) / (TPR - FPR)``, with an interval that counts the noise of the window and of the reference.

    Args:
        sides: Every study with a score, its truth in the reference.
        means: float64 [K], mean score of each bin, taken as the call where there is no threshold.
        from_bin: First bin that is called positive; None without a threshold.

    Returns:
        ``value`` None where the reference lacks studies with or without the finding, or the interval of
        ``TPR - FPR`` reaches below .05: the matrix is then near singular and any prevalence fits.
    """
    calls = "score" if from_bin is None else "threshold"
    call = means if from_bin is None else (np.arange(len(means)) >= from_bin).astype(np.float64)
    positive, negative = sides.reference[:, POSITIVE], sides.reference[:, NEGATIVE]
    with_finding, without = float(positive.sum()), float(negative.sum())
    if not with_finding or not without:
        return _undefined(calls, "undefined: the reference has no study with the finding, or none without")
    true, false = float(positive @ call) / with_finding, float(negative @ call) / without
    none = np.zeros(sides.window.shape)
    # Gradients of TPR and of FPR by the counts of the reference.
    by_true, by_false = none.copy(), none.copy()
    by_true[:, POSITIVE], by_false[:, NEGATIVE] = (call - true) / with_finding, (call - false) / without
    apart, z = true - false, z_of(alpha)
    condition = float(np.linalg.cond(np.array([[true, false], [1 - true, 1 - false]]))) if apart else None
    if apart - z * math.sqrt(sides.variance(none, by_true - by_false)) < LEAST_SEPARATION:
        return _undefined(
            calls, f"undefined: calls hardly depend on the finding (TPR {true:.3f}, FPR {false:.3f})",
            condition=condition, true_rate=true, false_rate=false,
        )  # fmt: skip
    n = float(sides.window.sum())
    called = float(sides.window.sum(axis=1) @ call) / n
    raw, before = (called - false) / apart, with_finding / (with_finding + without)
    by_window = np.repeat(((call - called) / (n * apart))[:, None], sides.window.shape[1], axis=1)
    by_reference = -(raw * by_true + (1 - raw) * by_false) / apart
    half = z * math.sqrt(sides.variance(by_window, by_reference))
    by_before = none.copy()
    by_before[:, POSITIVE] = (1 - before) / (with_finding + without)
    by_before[:, NEGATIVE] = -before / (with_finding + without)
    variance = sides.variance(by_window, by_reference - by_before)
    value, low, high = (min(1.0, max(0.0, found)) for found in (raw, raw - half, raw + half))
    wide = z * math.sqrt(variance)
    return Prevalence(
        value=value, low=low, high=high, change=value - before, change_low=max(-before, raw - before - wide),
        change_high=min(1 - before, raw - before + wide), variance=variance, condition=condition, true_rate=true,
        false_rate=false, calls=calls,
    )  # fmt: skip


def _undefined(
    calls: str,
    reason: str,
    *,
    condition: float | None = None,
    true_rate: float | None = None,
    false_rate: float | None = None,
) -> Prevalence:
    return Prevalence(
        value=None, low=None, high=None, change=None, change_low=None, change_high=None, variance=None,
        condition=condition, true_rate=true_rate, false_rate=false_rate, calls=calls, reason=reason,
    )  # fmt: skip
