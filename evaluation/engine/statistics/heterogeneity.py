"""Do groups differ by more than chance, and by how much once chance is taken out?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SINGULAR = 1e-10
"""A direction whose variance is below this share of the largest is taken to have none."""


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """Attributes:
    p_value: Of ``statistic`` against chi-square with ``freedom`` degrees of freedom.
    shrunken_gap: Largest difference between empirical-Bayes estimates of the groups.
    statistic: Cochran's Q, or the Wald statistic of correlated groups.
    freedom: k - 1, or fewer where some differences of correlated groups cannot vary.
    between: Estimated variance between groups, tau^2, by moments; 0 where they differ by no more than chance.
    shrunken: Empirical-Bayes estimate of each group, in the order given.
    shrunken_errors: Posterior standard deviation of each, as if tau^2 were known; so a little too small.
    """

    p_value: float
    shrunken_gap: float
    statistic: float
    freedom: int
    between: float
    shrunken: tuple[float, ...]
    shrunken_errors: tuple[float, ...]


def heterogeneity(values: Sequence[float], variances: Sequence[float]) -> Heterogeneity | None:
    """Heterogeneity of k independent estimates; None for fewer than two, or where a variance is 0.

    The largest of several differences is biased upward: eight equal groups of 100 differ by .1 or more somewhere.
    ``Q = sum (y - m)^2 / v`` around the weighted mean m. Each estimate is pulled to the mean by ``v / (v + tau^2)``,
    with tau^2 by DerSimonian and Laird.

    Source: DerSimonian and Laird (1986), Controlled Clinical Trials 7:177; Morris (1983), JASA 78:47.
    """
    value, variance = np.asarray(values, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if len(value) < 2 or (variance <= 0).any():
        return None
    weight = 1 / variance
    projection = np.diag(weight) - np.outer(weight, weight) / weight.sum()
    return _found(value, np.diag(variance), projection, len(value) - 1)


def wald_heterogeneity(values: Sequence[float], covariance: npt.ArrayLike) -> Heterogeneity | None:
    """Heterogeneity of k correlated estimates, such as rates of groups that share patients.

    With contrasts C (k - 1 orthonormal rows that sum to 0), ``Q = (C y)' (C V C')^- (C y)``, chi-square with the rank
    of ``C V C'`` degrees of freedom. tau^2 solves ``E Q = rank + tau^2 tr(C' (C V C')^- C)``, and the estimates
    become ``m + tau^2 (V + tau^2 I)^-1 (y - m)`` around the generalised least squares mean m. With a diagonal V it is
    :func:`heterogeneity`.

    Args:
        values: k estimates.
        covariance: Their covariance V, [k, k], symmetric and positive semi-definite.

    Returns:
        None for fewer than two estimates, where a variance is 0, or where estimates differ that cannot.

    Source: Rao (1973), Linear Statistical Inference, 3b.4 and 6a.2, on generalised inverses in quadratic forms; Rao and
    Scott (1981), JASA 76:221, on tests of proportions of clustered observations; Morris (1983), JASA 78:47.
    """
    value, matrix = np.asarray(values, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if len(value) < 2 or (np.diag(matrix) <= 0).any():
        return None
    contrasts = _contrasts(len(value))
    spread = contrasts @ matrix @ contrasts.T
    inverse, rank = _inverse(spread)
    different = contrasts @ value
    beyond = np.abs(different - spread @ inverse @ different).max()
    if rank == 0 or beyond > np.sqrt(SINGULAR * np.trace(matrix)):
        return None
    return _found(value, matrix, contrasts.T @ inverse @ contrasts, rank)


def _found(value: Floats, covariance: Floats, projection: Floats, rank: int) -> Heterogeneity:
    """From the matrix of the quadratic form, ``Q = y' projection y``, which sends constants to 0."""
    from scipy.special import chdtrc

    # About the plain mean: the form ignores a constant, but rounding does not.
    centred = value - value.mean()
    statistic = max(0.0, float(centred @ projection @ centred))
    between = max(0.0, (statistic - rank) / float(np.trace(projection)))
    inverse, full = _inverse(covariance + between * np.eye(len(value)))
    if full < len(value):
        # A combination of the estimates is known exactly: the limit of one that is known almost exactly.
        inverse, _ = _inverse(covariance + 2 * SINGULAR * float(np.trace(covariance)) * np.eye(len(value)))
    weight = inverse.sum(axis=1)
    total = float(weight.sum())
    centre = float(weight @ value / total)
    pull = np.eye(len(value)) - between * inverse
    shrunken = centre + between * inverse @ (value - centre)
    spread = between * np.diag(pull) + pull.sum(axis=1) ** 2 / total
    return Heterogeneity(
        p_value=float(chdtrc(rank, statistic)),
        shrunken_gap=float(shrunken.max() - shrunken.min()),
        statistic=statistic,
        freedom=rank,
        between=between,
        shrunken=tuple(map(float, shrunken)),
        shrunken_errors=tuple(map(float, np.sqrt(np.maximum(spread, 0.0)))),
    )


def _contrasts(size: int) -> Floats:
    """Helmert's contrasts, [size - 1, size]: orthonormal rows that sum to 0."""
    rows = np.tril(np.ones((size - 1, size)))
    order = np.arange(1, size)
    rows[order - 1, order] = -order
    rows[np.triu_indices(size - 1, 2, size)] = 0.0
    scaled: Floats = rows / np.sqrt(order * (order + 1.0))[:, None]
    return scaled


def _inverse(matrix: Floats) -> tuple[Floats, int]:
    """The Moore-Penrose inverse of a symmetric matrix, and its rank."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > SINGULAR * max(float(values[-1]), np.finfo(np.float64).tiny)
    inverse: Floats = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return inverse, int(kept.sum())
