"""Two distributions of a number, from their quantile sketches: how far apart, and whether chance does that.

The reference is put into the window's mix of strata first (direct standardisation), so that a change in how many
patients of each stratum come moves nothing: with ``v_s`` the window's share of stratum s, the reference distribution is
``F_r = sum_s v_s F_rs``, worth ``m = 1 / sum_s (v_s^2 / m_s)`` patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.sketches.quantiles import QuantileSketch

Floats = npt.NDArray[np.float64]
DECILES = 10
PSI_FLOOR = 1e-4
IQR_OF_NORMAL = 1.3489795003921634
MIDDLE_OF_NORMAL = 3.919927969080109
MEAN_OF_FOLDED = math.sqrt(2 / math.pi)


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A window and a reference on one axis.

    Attributes:
        values: float64 [K], ascending: the numbers that occur on either side.
        window, reference: float64 [K], probabilities; each sums to 1.
        n: Patients of the window that are compared; m: patients that the standardised reference is worth.
        n_reference: Patients of the reference with a number.
        uncompared: Patients of the window whose stratum the reference does not have.
    """

    values: Floats
    window: Floats
    reference: Floats
    n: int
    m: float
    n_reference: int
    uncompared: int


@dataclass(frozen=True, kw_only=True)
class NumberShift:
    """Distances of two distributions of a number.

    Attributes:
        value: Wasserstein distance in the reference's robust standard deviations, less what chance adds.
        low, high: Its interval.
        p_value: Of Kolmogorov and Smirnov's test.
        detail: ``ks``, ``psi``, ``wasserstein`` (in the number's unit, nothing taken off), ``sigma``, medians, means.
    """

    value: float
    low: float
    high: float
    p_value: float
    detail: dict[str, Any]


def paired(strata: Sequence[tuple[QuantileSketch, QuantileSketch]]) -> Paired | None:
    """Window and reference on one axis, the reference in the window's mix of strata.

    Args:
        strata: Window and reference of each stratum.

    Returns:
        None where no stratum has numbers on both sides.
    """
    both = [(one, two) for one, two in strata if one.n and two.n]
    n = sum(one.n for one, _ in both)
    if not n:
        return None
    keys = np.unique(np.concatenate([part.keys for pair in both for part in pair]))
    window, reference, spent = np.zeros(len(keys)), np.zeros(len(keys)), 0.0
    for one, two in both:
        share = one.n / n
        window[np.searchsorted(keys, one.keys)] += one.counts / n
        reference[np.searchsorted(keys, two.keys)] += share * two.counts / two.n
        spent += share * share / two.n
    return Paired(
        values=values_of(keys),
        window=window,
        reference=reference,
        n=n,
        m=1 / spent,
        n_reference=sum(two.n for _, two in both),
        uncompared=sum(one.n for one, two in strata if not two.n),
    )


def values_of(keys: npt.NDArray[np.int64]) -> Floats:
    """The number that stands for each bin of a quantile sketch."""
    ones = np.ones(len(keys), dtype=np.int64)
    return QuantileSketch(keys=keys, counts=ones, least=None, most=None, missing=0, infinite=0).values


def number_shift(pair: Paired, *, z: float, sigma: float | None = None) -> NumberShift:
    """How far the window lies from the reference.

    ``W = int |F_w - F_r| dx / sigma``. Of two samples of one distribution W is not 0 but about
    ``b = sqrt(2/pi) int sqrt(F (1 - F) (1/n + 1/m)) dx / sigma``; the value is ``sqrt(max(0, W^2 - b^2))``. Its
    standard error is that of ``W = int s (F_w - F_r)`` for the signs s as they are: ``sqrt(Var_w(g)/n + Var_r(g)/m)``
    with g' = s.

    Args:
        z: Normal quantile of the interval.
        sigma: What the distance is told in; :func:`spread_of` unless given.

    Source: del Barrio, Gine and Matran (1999), Annals of Probability 27:1009, on the empirical Wasserstein distance.
    """
    cdf_w, cdf_r = np.cumsum(pair.window), np.cumsum(pair.reference)
    gap = (cdf_w - cdf_r)[:-1]
    steps = np.diff(pair.values)
    raw = float(np.abs(gap) @ steps)
    sigma = spread_of(pair) if sigma is None else sigma
    either = 1 / pair.n + 1 / pair.m
    pooled = ((pair.n * cdf_w + pair.m * cdf_r) / (pair.n + pair.m))[:-1].clip(0, 1)
    chance = MEAN_OF_FOLDED * float(np.sqrt(pooled * (1 - pooled) * either) @ steps)
    error = _error(pair, np.sign(gap) * steps)
    unit = 1 / sigma if sigma > 0 else 0.0
    value, low = (_less(item * unit, chance * unit) for item in (raw, raw - z * error))
    # At the upper end nothing is taken off: what chance added is not known so well.
    high = (raw + z * error) * unit
    ks = float(np.abs(gap).max(initial=0.0))
    return NumberShift(
        value=value, low=low, high=high, p_value=ks_p(ks, pair.n, pair.m), detail=_detail(pair, raw, sigma, ks)
    )


def spread_of(pair: Paired) -> float:
    """Robust standard deviation of the reference, from its middle half or its middle 95 %, whichever is wider.

    Both are the standard deviation where the number is normal. The second keeps the width of a number that mostly lies
    close to one value and now and then far from it: a shift within the crowd is no shift of the whole.
    Where both are 0, the standard deviation; where all is one number, that of both sides in even parts, so that a
    constant that changes is told as large; 0 only where both sides are that number.
    """
    middle = [_quantile(pair.values, pair.reference, share) for share in (0.025, 0.25, 0.75, 0.975)]
    robust = max((middle[2] - middle[1]) / IQR_OF_NORMAL, (middle[3] - middle[0]) / MIDDLE_OF_NORMAL)
    if robust > 0:
        return robust
    for weights in (pair.reference, (pair.reference + pair.window) / 2):
        mean = float(weights @ pair.values)
        variance = float(weights @ (pair.values - mean) ** 2)
        if variance > 1e-18 * mean * mean:
            return math.sqrt(variance)
    return 0.0


def standard_deviation(values: Floats, weights: Floats) -> float:
    """Of a distribution: probabilities ``weights`` at ``values``."""
    mean = float(weights @ values)
    return math.sqrt(max(0.0, float(weights @ (values - mean) ** 2)))


def ks_p(distance: float, n: float, m: float) -> float:
    """P-value of the two-sample Kolmogorov-Smirnov statistic, conservative where numbers are tied.

    Source: Stephens (1970), JRSS B 32:115, for the correction of the asymptotic law in small samples.
    """
    from scipy.special import kolmogorov

    size = math.sqrt(n * m / (n + m))
    return float(kolmogorov((size + 0.12 + 0.11 / size) * distance))


def psi(pair: Paired) -> float:
    """Population stability index over the reference's deciles: ``sum (p - q) ln(p / q)``, shares floored at 1e-4."""
    edges = np.unique([_quantile(pair.values, pair.reference, share / DECILES) for share in range(1, DECILES)])
    place = np.searchsorted(edges, pair.values)
    p, q = (np.bincount(place, weights=part, minlength=len(edges) + 1) for part in (pair.window, pair.reference))
    p, q = np.maximum(p, PSI_FLOOR), np.maximum(q, PSI_FLOOR)
    return float(((p - q) * np.log(p / q)).sum())


def _detail(pair: Paired, raw: float, sigma: float, ks: float) -> dict[str, Any]:
    mean_w, mean_r = float(pair.window @ pair.values), float(pair.reference @ pair.values)
    return {
        "ks": ks,
        "psi": psi(pair),
        "wasserstein": raw,
        "sigma": sigma,
        "sd": standard_deviation(pair.values, pair.reference),
        "mean": mean_w,
        "mean_reference": mean_r,
        "median": _quantile(pair.values, pair.window, 0.5),
        "median_reference": _quantile(pair.values, pair.reference, 0.5),
    }


def _error(pair: Paired, slopes: Floats) -> float:
    """Standard error of ``int s (F_w - F_r) dx`` for fixed signs: of means of g, with g' = s."""
    g = np.concatenate([[0.0], np.cumsum(slopes)])
    spread = 0.0
    for weights, size in ((pair.window, pair.n), (pair.reference, pair.m)):
        mean = weights @ g
        spread += float(weights @ (g - mean) ** 2) / size
    return math.sqrt(spread)


def _less(distance: float, chance: float) -> float:
    """A distance without what chance adds to it."""
    return math.sqrt(max(0.0, max(0.0, distance) ** 2 - chance**2))


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """The smallest value that at least ``share`` of the weight does not exceed."""
    place = int(np.searchsorted(np.cumsum(weights), share * (1 - 1e-12)))
    return float(values[min(place, len(values) - 1)])
