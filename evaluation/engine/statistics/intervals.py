"""Intervals for one proportion, and for a difference of two from the intervals of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

Interval = tuple[float, float]
NORMAL = NormalDist()
Z_MAX = 37.0
"""Beyond this the two-sided normal p-value underflows a double."""


def z_of(alpha: float) -> float:
    """Two-sided normal quantile: 1.96 for ``alpha`` .05."""
    return NORMAL.inv_cdf(1 - alpha / 2)


def p_of(z: float) -> float:
    """Two-sided normal p-value of a z statistic: ``erfc(|z| / sqrt 2)``, accurate in the far tail."""
    return math.erfc(abs(z) / math.sqrt(2))


def wilson(share: float, n: float, z: float) -> Interval:
    """Wilson's score interval of a proportion.

    ``(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``. ``n`` may be an effective sample size. Keeps its
    coverage near 0 and 1, where a bootstrap does not.

    Args:
        share: Observed proportion, in [0, 1].
        n: Size of the denominator, above 0.
        z: Normal quantile, such as 1.96.

    Source: Wilson (1927), JASA 22:209; Brown, Cai, DasGupta (2001), Statistical Science 16:101.
    """
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if share <= 0 else max(0.0, centre - half)
    high = 1.0 if share >= 1 else min(1.0, centre + half)
    return low, high


def logit_interval(share: float, variance: float, t: float) -> Interval:
    """Interval of a proportion that is symmetric in its log odds: ``logit p +- t sqrt(V) / (p (1 - p))``, back again.

    With the variance V between patients and Student's t it keeps its coverage where patients contribute several
    studies each; a percentile bootstrap is too narrow there.

    Args:
        share: In (0, 1), both ends excluded.
        variance: Variance of ``share``, such as a bootstrap's or the linearised one.

    Source: Korn and Graubard (1998), Survey Methodology 24:193, who compare it with others.
    """
    centre, half = math.log(share / (1 - share)), t * math.sqrt(variance) / (share * (1 - share))
    low, high = (0.5 * (1 + math.tanh((centre + side * half) / 2)) for side in (-1, 1))
    return min(low, share), max(high, share)


def difference(
    first: float,
    second: float,
    limits: tuple[Interval, Interval],
    correlation: float = 0.0,
    bounds: Interval = (-1.0, 1.0),
) -> Interval:
    """Interval of ``first - second`` from the limits of each: the method of variance estimates recovery.

    ``d - sqrt((p1-l1)^2 - 2r(p1-l1)(u2-p2) + (u2-p2)^2)`` below, likewise above. With Wilson limits and ``r = 0`` it
    is Newcombe's method 10; it stays honest when a proportion is 0 or 1.

    Args:
        limits: Intervals of the two, at one confidence level.
        correlation: Correlation of the two estimates, from patients that are in both groups.
        bounds: Between which the difference must lie: those of two proportions, unless told otherwise.

    Source: Newcombe (1998), Statistics in Medicine 17:873; Zou and Donner (2008), Statistics in Medicine 27:1693.
    """
    (low1, high1), (low2, high2) = limits
    value = first - second
    down = _pythagoras(first - low1, high2 - second, correlation)
    up = _pythagoras(high1 - first, second - low2, correlation)
    return max(bounds[0], value - down), min(bounds[1], value + up)


def ratio(first: float, second: float, limits: tuple[Interval, Interval], correlation: float = 0.0) -> Interval:
    """Interval of ``first / second`` from the limits of each, by the method of variance estimates recovery.

    The lower limit is the R at which the lower limit of ``first - R second`` is 0: the smaller root of
    ``R^2 u2 (2 p2 - u2) - 2 R (p1 p2 - r (p1 - l1)(u2 - p2)) + l1 (2 p1 - l1) = 0``; likewise the upper, which is
    infinite where the second could be 0.

    Args:
        first, second: Proportions in [0, 1], the second above 0.
        limits, correlation: As for :func:`difference`.

    Source: Donner and Zou (2012), Statistical Methods in Medical Research 21:347.
    """
    (low1, high1), (low2, high2) = limits
    half = first * second - correlation * (first - low1) * (high2 - second)
    down = _root(half, high2 * (2 * second - high2), low1 * (2 * first - low1), -1)
    half = first * second - correlation * (high1 - first) * (second - low2)
    up = _root(half, low2 * (2 * second - low2), high1 * (2 * first - high1), 1)
    return max(0.0, down), up


def t_of(z: float, freedom: float) -> float:
    """The t quantile with the tail of the normal quantile ``z >= 0``, in closed form, monotone in z.

    ``sqrt(f (exp((z (8f + 3)/(8f + 1))^2 / f) - 1))``: Wallace's approximation, inverted. For 9 degrees of freedom or
    more it is within .4 % up to z = 3; further out it is too wide, never too narrow.

    Source: Wallace (1959), Annals of Mathematical Statistics 30:1124.
    """
    scaled = z * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(min(700.0, scaled * scaled / freedom)))


def z_at_bound(interval: Callable[[float], Interval], bound: float, value: float) -> float:
    """The largest z whose interval lies wholly on ``value``'s side of ``bound``: the test that inverts the interval.

    0 where ``value`` is at the bound. ``interval`` must widen with z.
    """
    from scipy.optimize import brentq

    if value == bound:
        return 0.0

    def slack(z: float) -> float:
        low, high = interval(z) if z > 0 else (value, value)
        return low - bound if value > bound else bound - high

    if slack(Z_MAX) > 0:
        return Z_MAX
    return float(brentq(slack, 0.0, Z_MAX, xtol=1e-10))


def _pythagoras(one: float, two: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * two + two * two))


def _root(half: float, square: float, constant: float, side: int) -> float:
    """The lower (``side`` -1) or upper root of ``square R^2 - 2 half R + constant``; infinite where there is none."""
    wide = math.sqrt(max(0.0, half * half - square * constant))
    if side < 0:
        # Not (half - wide) / square: that would cancel, and divide by 0.
        return constant / (half + wide) if half + wide > 0 else 0.0
    return (half + wide) / square if square > 0 else math.inf
