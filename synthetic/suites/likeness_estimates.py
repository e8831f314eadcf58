"""Statistics of two sets of patients with their standard errors, linearised over patients.

Each statistic is written as a sum of one contribution per patient, around its value. The squared contributions of a set
add to its variance, ``m/(m - 1) sum c_i^2`` over m patients, however many studies each of them has; and contributions
of several statistics add up, so that their mean has an error of its own.

Source: Rao and Scott (1992), Biometrics 48:577, for ratios; Obuchowski (1997), Biometrics 53:567, for areas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
LINEARISED = "linearised over patients"
SMALLEST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and what each patient of each set contributes to its deviation from the truth.

    Attributes:
        parts: One array per independent set, [patients of it]; a patient without the values contributes 0.
        n: Of the first set: studies or patients that the value rests on.
    """

    value: float
    parts: tuple[Floats, ...]
    n: int = 0

    @property
    def error(self) -> float:
        """Standard error; 0 where nothing varies."""
        total = 0.0
        for part in self.parts:
            used = int(np.count_nonzero(part))
            total += float(part @ part) * (used / (used - 1) if used > 1 else 1.0)
        return math.sqrt(total)

    def minus(self, other: Estimate) -> Estimate:
        """The difference of two independent estimates."""
        parts = self.parts + tuple(-part for part in other.parts)
        return Estimate(value=self.value - other.value, parts=parts, n=self.n)

    def over(self, other: Estimate) -> Estimate:
        """The ratio of two independent estimates, by the delta method. ``other.value`` is not 0."""
        ratio = self.value / other.value
        parts = tuple(part / other.value for part in self.parts)
        parts += tuple(-ratio * part / other.value for part in other.parts)
        return Estimate(value=ratio, parts=parts, n=self.n)

    def scaled(self, factor: float) -> Estimate:
        return self.mapped(lambda value: factor * value, factor)

    def mapped(self, change: Callable[[float], float], slope: float) -> Estimate:
        """A function of the value, whose slope there is given."""
        parts = tuple(slope * part for part in self.parts)
        return Estimate(value=change(self.value), parts=parts, n=self.n)


def mean_of(items: Sequence[Estimate]) -> Estimate:
    """The mean of estimates of the same sets of patients. ``n`` is the number of estimates."""
    parts = tuple(np.mean([item.parts[k] for item in items], axis=0) for k in range(len(items[0].parts)))
    return Estimate(value=float(np.mean([item.value for item in items])), parts=parts, n=len(items))


def per_patient(weights: Floats, codes: Ints, patients: int) -> Floats:
    """Sum of the weights of each patient's studies: [patients]."""
    return np.bincount(codes, weights=weights, minlength=patients).astype(np.float64)


def mean(values: npt.ArrayLike, codes: Ints, patients: int) -> Estimate:
    """Mean of a value over studies.

    Args:
        values: [n], at least one.
        codes: int [n], the patient of each study, below ``patients``.
    """
    told = np.asarray(values, dtype=np.float64)
    value = float(told.mean())
    part = per_patient((told - value) / len(told), codes, patients)
    return Estimate(value=value, parts=(part,), n=len(told))


def share(hits: npt.ArrayLike, codes: Ints, patients: int) -> Estimate:
    """A share of studies. Its error is never 0: two studies are added, one of them a hit (Agresti and Caffo)."""
    told = np.asarray(hits, dtype=np.float64)
    found = mean(told, codes, patients)
    floor = (told.sum() + 1) / (len(told) + 2)
    least = math.sqrt(floor * (1 - floor) / (len(told) + 2))
    if found.error >= least or 0.0 < found.value < 1.0:
        return found
    return Estimate(value=found.value, parts=(np.array([least / math.sqrt(2)] * 2) / math.sqrt(2),), n=found.n)


def correlation(first: Floats, second: Floats, codes: Ints, patients: int) -> Estimate | None:
    """Pearson's correlation; of ranks, Spearman's. None where one of the two does not vary, or n < 3.

    The contribution of a study is ``(u v - r (u^2 + v^2) / 2) / n`` with standardised u and v.
    """
    if len(first) < 3:
        return None
    u, v = first - first.mean(), second - second.mean()
    spread = math.sqrt(float(u @ u)) * math.sqrt(float(v @ v))
    if spread < SMALLEST:
        return None
    u, v = u / math.sqrt(float(u @ u) / len(u)), v / math.sqrt(float(v @ v) / len(v))
    value = float(u @ v) / len(u)
    part = per_patient((u * v - value * (u * u + v * v) / 2) / len(u), codes, patients)
    return Estimate(value=max(-1.0, min(1.0, value)), parts=(part,), n=len(u))


def area(scores: Floats, labels: Bools, codes: Ints, patients: int) -> Estimate | None:
    """Area under the ROC curve from the placements of the studies; None where one kind is lacking."""
    from evaluation.engine.statistics.auroc import delong

    found = delong(scores, labels.astype(np.int64), clusters=codes)
    if found.value is None:
        return None
    weights = np.where(labels, 1 / found.positives, 1 / found.negatives) * (found.placements - found.value)
    part = per_patient(weights, codes, patients)
    return Estimate(value=found.value, parts=(part,), n=len(scores))


def balanced(said: Bools, truth: Bools, codes: Ints, patients: int) -> Estimate | None:
    """Mean of sensitivity and specificity of what was said; None where one kind is lacking."""
    if truth.all() or not truth.any():
        return None
    halves = [mean(said[here] == truth[here], codes[here], patients) for here in (truth, ~truth)]
    both = mean_of(halves)
    return Estimate(value=both.value, parts=both.parts, n=len(said))


def f1(said: Bools, truth: Bools, codes: Ints, patients: int) -> Estimate | None:
    """F1, ``2 TP / (2 TP + FP + FN)``; None where nothing is there and nothing was said."""
    hit, wrong = 2.0 * (said & truth), said.astype(np.float64) + truth
    total = float(wrong.sum())
    if not total:
        return None
    value = float(hit.sum()) / total
    part = per_patient((hit - value * wrong) / total, codes, patients)
    return Estimate(value=value, parts=(part,), n=len(said))


def resampled(count: int, draws: int, rng: np.random.Generator) -> Ints:
    """How often each of ``count`` patients comes up in each draw of as many with replacement: [draws, count]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=draws)
