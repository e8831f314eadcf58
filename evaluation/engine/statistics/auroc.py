"""The area under the ROC curve with its variance, for studies that may share patients.

The area is the probability that a study with the finding scores higher than one without, ties counting half. The
*placement* of a study is its own part of that: for a study with the finding, the share of the studies without it that
score lower; for a study without, the share of those with it that score higher. The variance is that of the mean of
the placements, which needs one sort: O(n log n).

Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837; Obuchowski (1997), Biometrics 53:567, for several
studies of a patient; Sun and Xu (2014), IEEE Signal Processing Letters 21:1389, for midranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.intervals import Interval, p_of, z_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
TOO_FEW = "undefined: the variance needs two patients with the finding and two without"


@dataclass(frozen=True, kw_only=True)
class Auroc:
    """Attributes:
    value: The area in [0, 1]; None where all studies have, or all lack, the finding.
    variance: Of ``value``; None with fewer than two patients with a study of either kind.
    reason: Why ``value`` or ``variance`` is None.
    positives, negatives: Studies with and without the finding.
    placements: float64 [n], in the order given; zeros where ``value`` is None. Their mean over the studies with the
        finding is ``value``, and so is that over the others.
    """

    value: float | None
    variance: float | None
    reason: str
    positives: int
    negatives: int
    placements: Floats

    def interval(self, alpha: float) -> Interval | None:
        """:func:`logit_interval` at level ``1 - alpha``; None where it is undefined."""
        if self.value is None or self.variance is None:
            return None
        return logit_interval(self.value, self.variance, z_of(alpha))


@dataclass(frozen=True, kw_only=True)
class AurocDifference:
    """The area of a first score less that of a second, on the same studies. None as in :class:`Auroc`.

    Attributes:
        areas: The two areas.
        p_value: Two-sided, of ``value / sqrt(variance)``; 1 where both are 0, None where only the variance is.
    """

    value: float | None
    variance: float | None
    p_value: float | None
    reason: str
    areas: tuple[Auroc, Auroc]

    def interval(self, alpha: float) -> Interval | None:
        """``value -+ z sqrt(variance)``, within [-1, 1]; None where it is undefined."""
        if self.value is None or self.variance is None:
            return None
        half = z_of(alpha) * math.sqrt(self.variance)
        return max(-1.0, self.value - half), min(1.0, self.value + half)


def delong(scores: npt.ArrayLike, labels: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None) -> Auroc:
    """The area and its variance.

    With one study per patient: ``var(positive placements) / n+ + var(negative placements) / n-``. With clusters, the
    units are patients: for X_i and Y_i, the sums of patient i's m_i positive and n_i negative placements less m_i A
    and n_i A, ``I+/(I+ - 1) sum X_i^2 / n+^2 + I-/(I- - 1) sum Y_i^2 / n-^2 + 2 I/(I - 1) sum X_i Y_i / (n+ n-)``
    over the I patients, of whom I+ and I- have a study of that kind. Patients of one study give DeLong's.

    Args:
        scores: [n], finite.
        labels: [n], 1 with the finding and 0 without.
        clusters: int [n], codes of patients; each study its own patient when left out.

    Raises:
        ValueError: for scores that are not finite, labels other than 0 and 1, or arrays of different lengths.
    """
    score, positive, patient = _checked(scores, labels, clusters)
    n_positive = int(positive.sum())
    counts = {"positives": n_positive, "negatives": len(score) - n_positive}
    if not 0 < n_positive < len(score):
        lacking = "with" if n_positive == 0 else "without"
        reason = f"undefined: no studies {lacking} the finding"
        return Auroc(value=None, variance=None, reason=reason, placements=np.zeros(len(score)), **counts)
    placements = _placements(score, positive)
    value = float(placements[positive].mean())
    variance = _variance(placements, positive, patient)
    reason = TOO_FEW if variance is None else ""
    return Auroc(value=value, variance=variance, reason=reason, placements=placements, **counts)


def compare_auroc(
    first: npt.ArrayLike, second: npt.ArrayLike, labels: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None
) -> AurocDifference:
    """The difference of the areas of two scores of the same studies, ``A1 - A2``.

    Its variance is that of ``A1`` and of ``A2`` less twice their covariance: the formula of :func:`delong` applied to
    the differences of the placements.

    Raises:
        ValueError: as :func:`delong`.
    """
    areas = (delong(first, labels, clusters=clusters), delong(second, labels, clusters=clusters))
    one, two = areas
    if one.value is None or two.value is None:
        return AurocDifference(value=None, variance=None, p_value=None, reason=one.reason, areas=areas)
    _, positive, patient = _checked(first, labels, clusters)
    moved = one.placements - two.placements
    value = one.value - two.value
    variance = _variance(moved, positive, patient)
    if variance is None:
        return AurocDifference(value=value, variance=None, p_value=None, reason=TOO_FEW, areas=areas)
    p_value: float | None = 1.0
    reason = ""
    if variance > 0:
        p_value = p_of(value / math.sqrt(variance))
    elif value != 0:
        p_value, reason = None, "undefined: the difference does not vary"
    return AurocDifference(value=value, variance=variance, p_value=p_value, reason=reason, areas=areas)


def logit_interval(value: float, variance: float, z: float) -> Interval | None:
    """``expit(logit A -+ z sqrt(variance) / (A (1 - A)))``: within (0, 1), and truer than ``A -+ z se`` near 1.

    Returns:
        None where the area is 0 or 1, or does not vary: the data bound the area on one side only.

    Source: Pepe (2003), The Statistical Evaluation of Medical Tests, 5.2.
    """
    if not 0 < value < 1 or variance <= 0:
        return None
    centre, half = math.log(value / (1 - value)), z * math.sqrt(variance) / (value * (1 - value))
    return _expit(centre - half), _expit(centre + half)


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))


def _placements(score: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """Share of the other kind that a study is on the right side of, ties counting half."""
    _, rank = np.unique(score, return_inverse=True)
    above = np.bincount(rank[positive], minlength=int(rank.max()) + 1)
    below = np.bincount(rank[~positive], minlength=len(above))
    lower = np.cumsum(below) - below / 2
    higher = above.sum() - np.cumsum(above) + above / 2
    placed: Floats = np.where(positive, lower[rank] / below.sum(), higher[rank] / above.sum())
    return placed


def _variance(placed: Floats, positive: npt.NDArray[np.bool_], patient: Ints) -> float | None:
    """Obuchowski's variance of the mean of placements; None with fewer than two patients on a side."""
    everyone = int(patient.max()) + 1
    total, sums = 0.0, []
    for side in (positive, ~positive):
        codes, values = patient[side], placed[side]
        units, n = len(np.unique(codes)), len(codes)
        if units < 2:
            return None
        each = np.bincount(codes, weights=values - values.mean(), minlength=everyone) / n
        total += units / (units - 1) * float(each @ each)
        sums.append(each)
    return max(0.0, total + 2 * everyone / (everyone - 1) * float(sums[0] @ sums[1]))


def _checked(
    scores: npt.ArrayLike, labels: npt.ArrayLike, clusters: npt.ArrayLike | None
) -> tuple[Floats, npt.NDArray[np.bool_], Ints]:
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    codes = np.arange(len(score)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    if score.ndim != 1 or score.shape != label.shape or score.shape != codes.shape:
        raise ValueError("scores, labels and clusters must be vectors of one length")
    if not np.isfinite(score).all():
        raise ValueError("a score is not a finite number; leave studies without a score out")
    if not np.isin(label, (0, 1)).all():
        raise ValueError("a label is neither 0 nor 1; leave studies without a reference out")
    return score, label == 1, codes.astype(np.int64)
