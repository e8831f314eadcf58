"""Ranking, calibration and utility from histograms of scores, each with the influence of one study on it.

A group's scores are counts ``n[y, k]`` of studies with outcome y (0 without the finding, 1 with it) in bin k, and
their mean score ``p[y, k]``. The influence ``h[y, k]`` of a study is what it adds to the statistic to first order: the
statistic less its truth is about ``sum h``, so a variance is a sum of squares of ``h`` over studies, or over patients
of the sum of their studies' ``h``. Influences sum to 0.

Sources: Hanley and McNeil (1982), Radiology 143:29, and DeLong et al. (1988), Biometrics 44:837, for AUROC and its
placements; Kallus and Zhou (2019), NeurIPS, for the cross-group AUROC; Davis and Goadrich (2006), ICML, for the area
under precision and recall; Cox (1958), Biometrika 45:562, and Steyerberg (2009), Clinical Prediction Models, for
calibration; Guo et al. (2017), ICML, for ECE; Vickers and Elkin (2006), Medical Decision Making 26:565, for utility.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
EXTREME = 1e-9
"""Scores are kept this far from 0 and 1 before their logit is taken."""


SINGULAR = 1e12
LEAST_DOUBT = 5.0
"""Least ``sum p (1-p)`` over the studies, recalibrated, with which a calibration line is told."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one group.

    Attributes:
        counts: int64 [2, K]; means: float64 [2, K], mean score of the bin, 0 where it is empty.
    """

    counts: Ints
    means: Floats

    @property
    def without(self) -> int:
        return int(self.counts[0].sum())

    @property
    def with_finding(self) -> int:
        return int(self.counts[1].sum())

    @property
    def n(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A value with the influence of a study on it, float64 [2, K]. ``value`` is None where it is undefined."""

    value: float | None
    influence: Floats
    reason: str = ""


ONE_CLASS = "undefined: it needs studies with the finding and without it"


def undefined(scores: Scores, reason: str) -> Statistic:
    return Statistic(value=None, influence=np.zeros(scores.counts.shape), reason=reason)


def cross_auroc(positives: Scores, negatives: Scores) -> tuple[Statistic, Statistic]:
    """P(a study with the finding of one group scores above a study without it of another), ties counted half.

    Returns:
        The value twice, with the influence of the first group's studies and of the second's.
    """
    with_finding, without = positives.counts[1].astype(np.float64), negatives.counts[0].astype(np.float64)
    if not with_finding.sum() or not without.sum():
        return undefined(positives, ONE_CLASS), undefined(negatives, ONE_CLASS)
    above_negatives = (np.cumsum(without) - without / 2) / without.sum()
    below_positives = (np.cumsum(with_finding[::-1])[::-1] - with_finding / 2) / with_finding.sum()
    value = float(with_finding @ above_negatives / with_finding.sum())
    one, two = np.zeros(positives.counts.shape), np.zeros(negatives.counts.shape)
    one[1] = (above_negatives - value) / with_finding.sum()
    two[0] = (below_positives - value) / without.sum()
    return Statistic(value=value, influence=one), Statistic(value=value, influence=two)


def auroc(scores: Scores) -> Statistic:
    """Area under the receiver operating characteristic: :func:`cross_auroc` of a group with itself."""
    one, two = cross_auroc(scores, scores)
    return Statistic(value=one.value, influence=one.influence + two.influence, reason=one.reason)


def average_precision(scores: Scores) -> Statistic:
    """Area under precision and recall: ``sum_k (R_k - R_{k-1}) P_k`` from the highest threshold down, no interpolation.

    Undefined without studies with the finding. Of no use to compare groups of different prevalence.
    """
    absent, present = (scores.counts[y, ::-1].astype(np.float64) for y in (0, 1))
    events = present.sum()
    if not events or not absent.sum():
        return undefined(scores, ONE_CLASS)
    true, false = np.cumsum(present), np.cumsum(absent)
    called = np.maximum(true + false, 1)
    precision = true / called
    value = float(present @ precision / events)
    by_true = np.cumsum((present * false / called**2)[::-1])[::-1]
    by_false = np.cumsum((-present * true / called**2)[::-1])[::-1]
    influence = np.stack([by_false / events, (precision + by_true - value) / events])[:, ::-1]
    return Statistic(value=value, influence=np.ascontiguousarray(influence))


def brier(scores: Scores) -> Statistic:
    """Mean of ``(p - y)^2``. The scores of a bin count as their mean: the error is below 3e-7."""
    if not scores.n:
        return undefined(scores, "undefined: no study has a score")
    losses = (scores.means - np.array([[0.0], [1.0]])) ** 2
    value = float((scores.counts * losses).sum() / scores.n)
    return Statistic(value=value, influence=(losses - value) / scores.n)


def observed_expected(scores: Scores) -> Statistic:
    """Studies with the finding over the sum of the scores. The influence is that on its logarithm.

    Undefined without a study with the finding, or where all scores are 0.
    """
    expected = float((scores.counts * scores.means).sum())
    if not scores.with_finding or expected <= 0:
        return undefined(scores, "undefined: no study has the finding, or every score is 0")
    influence = np.array([[0.0], [1.0]]) / scores.with_finding - scores.means / expected
    return Statistic(value=scores.with_finding / expected, influence=influence)


def calibration_line(scores: Scores, *, slope: bool) -> Statistic:
    """Logistic recalibration ``logit P(y) = a + b logit p``.

    Without ``slope``, b is 1 and the value is the intercept a (calibration in the large, ideal 0). With ``slope``, both
    are fitted and the value is b (ideal 1; below 1 the scores are too extreme).

    Undefined for one class; where most scores are 0 or 1, or leave less than five studies' worth of doubt; and for a
    slope where all scores are equal or separate the classes.
    """
    if not scores.without or not scores.with_finding:
        return undefined(scores, ONE_CLASS)
    certain = (scores.means <= EXTREME) | (scores.means >= 1 - EXTREME)
    if scores.counts[certain].sum() > scores.n / 2:
        return undefined(scores, "undefined: most scores are 0 or 1, and their log odds have no number")
    p = np.clip(scores.means, EXTREME, 1 - EXTREME)
    logit = np.log(p / (1 - p))
    weight = scores.counts.astype(np.float64)
    # Centred, the slope is the same and the intercept stays small however small the scores are.
    centred = logit - float((weight * logit).sum() / weight.sum())
    design = np.stack([np.ones_like(logit), centred]) if slope else np.ones((1, *logit.shape))
    offset = np.zeros_like(logit) if slope else logit
    found = _newton(design, offset, weight)
    if found is None:
        return undefined(scores, "undefined: the scores separate the classes, or are all equal")
    residual, information = found.residual, found.information
    if information[0, 0] < LEAST_DOUBT:
        return undefined(scores, "undefined: the scores leave no doubt, and the log odds say nothing")
    inverse = np.linalg.inv(information)
    influence = np.tensordot(inverse[-1], design, axes=1) * residual
    return Statistic(value=float(found.coefficients[-1]), influence=influence)


@dataclass(frozen=True, kw_only=True)
class _Fit:
    coefficients: Floats
    residual: Floats
    information: Floats


def _newton(design: Floats, offset: Floats, weight: Floats) -> _Fit | None:
    """Maximum likelihood of a logistic regression on cells; None where it does not converge to a finite point."""
    y = np.array([[0.0], [1.0]])
    coefficients = np.zeros(len(design))
    if len(design) == 2:
        coefficients[1] = 1.0
    for _ in range(60):
        linear = np.clip(np.tensordot(coefficients, design, axes=1) + offset, -40, 40)
        mean = 1 / (1 + np.exp(-linear))
        score = np.array([(weight * x * (y - mean)).sum() for x in design])
        curve = weight * mean * (1 - mean)
        information = np.array([[(curve * one * two).sum() for two in design] for one in design])
        if _singular(information):
            return None
        step = np.linalg.solve(information, score)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        coefficients = coefficients + step
        if np.abs(coefficients).max() > 50:
            return None
        if np.abs(step).max() < 1e-10:
            return _Fit(coefficients=coefficients, residual=y - mean, information=information)
    return None


def _singular(information: Floats) -> bool:
    """Whether a symmetric matrix of one or two rows has a condition number above SINGULAR."""
    (top, *_), trace = information[0], float(np.trace(information))
    determinant = float(top) if len(information) == 1 else float(top * information[1, 1] - information[0, 1] ** 2)
    # The condition number of a positive definite matrix of two rows is below trace^2 / determinant.
    if top > 0 and determinant > trace ** len(information) * 1e-6:
        return False
    return bool(np.linalg.cond(information) > SINGULAR)


def net_benefit(scores: Scores, from_bin: int, threshold: float) -> Statistic:
    """``TP/n - FP/n t/(1-t)``: studies from ``from_bin`` on are called positive, t is the threshold probability."""
    if not scores.n:
        return undefined(scores, "undefined: no study has a score")
    called = (np.arange(scores.counts.shape[1]) >= from_bin).astype(np.float64)
    gain = np.stack([-called * threshold / (1 - threshold), called])
    value = float((scores.counts * gain).sum() / scores.n)
    return Statistic(value=value, influence=(gain - value) / scores.n)


def net_benefits(scores: Scores, from_bins: Sequence[int], thresholds: Sequence[float]) -> list[float]:
    """The values of :func:`net_benefit` at several thresholds; the scores must not be empty."""
    odds = np.array([-threshold / (1 - threshold) for threshold in thresholds])
    called = (np.arange(scores.counts.shape[1]) >= np.array(from_bins)[:, None]).astype(np.float64)
    gain = np.stack([called * odds[:, None], called], axis=1) * scores.counts
    values: list[float] = (gain.reshape(len(odds), -1).sum(axis=1) / scores.n).tolist()
    return values


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bin of a calibration curve, over the fine bins from ``first`` up to ``last``, last left out."""

    first: int
    last: int
    n: int
    predicted: float | None
    observed: float | None


def equal_mass_edges(counts: Ints, bins: int) -> list[int]:
    """Fine bins at which ``bins`` bins of about equally many studies begin, with the end; fewer where scores tie.

    Args:
        counts: int64 [K], studies of all groups together: the edges are the same for every group.
    """
    reached = np.cumsum(counts)
    if not len(reached) or not reached[-1]:
        return [0, len(counts)]
    wanted = reached[-1] * np.arange(1, bins) / bins
    inner = np.searchsorted(reached, wanted, side="left") + 1
    return sorted({0, *(int(edge) for edge in inner if reached[edge - 1] < reached[-1]), len(counts)})


def calibration_curve(scores: Scores, edges: list[int]) -> list[Bin]:
    """Mean score and share with the finding in each bin; None in an empty one."""
    found = []
    for first, last in pairwise(edges):
        part = scores.counts[:, first:last]
        n = int(part.sum())
        total = float((part * scores.means[:, first:last]).sum())
        found.append(
            Bin(
                first=first, last=last, n=n, predicted=total / n if n else None,
                observed=int(part[1].sum()) / n if n else None,
            )
        )  # fmt: skip
    return found


def calibration_error(scores: Scores, edges: list[int]) -> float | None:
    """Expected calibration error: ``sum_b n_b/n |observed_b - predicted_b|``; None without a study."""
    if not scores.n:
        return None
    return float(np.abs(_bin_residuals(scores, edges)).sum() / scores.n)


def _bin_residuals(scores: Scores, edges: list[int]) -> Floats:
    """``sum (y - p)`` over the studies of each bin."""
    gaps = (scores.counts * (np.array([[0.0], [1.0]]) - scores.means)).sum(axis=0)
    return np.add.reduceat(gaps, edges[:-1])


def bin_influences(scores: Scores, edges: list[int]) -> Floats:
    """Influence of a study on each bin's ``sum (y - p) / n``, float64 [bins, 2, K]."""
    residual = np.array([[0.0], [1.0]]) - scores.means
    values = _bin_residuals(scores, edges) / max(1, scores.n)
    place = np.searchsorted(np.array(edges[1:-1]), np.arange(scores.counts.shape[1]), side="right")
    inside = place[None, :] == np.arange(len(edges) - 1)[:, None]
    found: Floats = (inside[:, None, :] * residual[None] - values[:, None, None]) / max(1, scores.n)
    return found


def matched_calibration_error(scores: Scores, edges: list[int], n: int, rng: np.random.Generator) -> float | None:
    """Mean ECE of 50 samples of n studies without replacement: ECE grows as a group shrinks, so groups are compared
    at one size. None where the group has fewer than n studies."""
    if n < 1 or scores.n < n:
        return None
    if scores.n == n:
        return calibration_error(scores, edges)
    used = np.nonzero(scores.counts)
    residual = (np.array([[0.0], [1.0]]) - scores.means)[used]
    place = np.searchsorted(np.array(edges[1:-1]), used[1], side="right")
    spread = np.zeros((len(residual), len(edges) - 1))
    spread[np.arange(len(residual)), place] = residual
    draws = rng.multivariate_hypergeometric(scores.counts[used], n, size=50, method="marginals")
    return float(np.abs(draws @ spread).sum(axis=1).mean() / n)
