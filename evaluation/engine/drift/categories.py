"""Two distributions over categories: how far apart, whether chance does that, and what was never there before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.cells import MISSING, OTHER

Floats = npt.NDArray[np.float64]
Counts = Mapping[str, int]
LEAST_EXPECTED = 5.0
"""Categories that are expected more rarely are tested together."""
BIAS = 1 / (8 * math.log(2))


@dataclass(frozen=True, kw_only=True)
class CategoryShift:
    """Distances of two distributions over categories.

    Attributes:
        value: Jensen-Shannon distance, base 2, from 0 (alike) to 1 (nothing in common), less what chance adds.
        low, high: Its interval.
        p_value: Of the likelihood-ratio (G) test.
        n, m: Patients compared, and those that the standardised reference is worth.
        n_reference: Patients of the reference; uncompared: of the window, in strata that the reference lacks.
        window, reference: Category -> share.
    """

    value: float
    low: float
    high: float
    p_value: float
    n: int
    m: float
    n_reference: int
    uncompared: int
    window: dict[str, float]
    reference: dict[str, float]
    detail: dict[str, Any]


def category_shift(strata: Sequence[tuple[Counts, Counts]], *, z: float) -> CategoryShift | None:
    """How far the window lies from the reference, put into the window's mix of strata.

    ``JSD = sum_k p/2 log2(2p/(p+q)) + q/2 log2(2q/(p+q))``; the distance is its square root. Of two samples of one
    distribution over K categories JSD is about ``(K - 1)(1/n + 1/m) / (8 ln 2)``, which is taken off. Its interval
    rests on ``8 ln 2 JSD / (1/n + 1/m)`` being about noncentral chi-square.

    Args:
        strata: Category counts of window and reference in each stratum; missing ones are a category.
        z: Normal quantile of the interval.

    Returns:
        None where no stratum has patients on both sides.

    Source: Lin (1991), IEEE Trans. Information Theory 37:145; Grosse et al. (2002), Physical Review E 65:041905, on
    its distribution.
    """
    sizes = [(sum(one.values()), sum(two.values())) for one, two in strata]
    n = sum(one for one, two in sizes if one and two)
    if not n:
        return None
    names = sorted(
        {name for pair, (one, two) in zip(strata, sizes, strict=True) if one and two for part in pair for name in part}
    )
    place = {name: i for i, name in enumerate(names)}
    p, q, spent = np.zeros(len(names)), np.zeros(len(names)), 0.0
    for (first, second), (one, two) in zip(strata, sizes, strict=True):
        if not (one and two):
            continue
        for name, number in first.items():
            p[place[name]] += number / n
        for name, number in second.items():
            q[place[name]] += number / two * one / n
        spent += (one / n) ** 2 / two
    m = 1 / spent
    value, low, high, raw = _distance(p, q, n, m, z)
    g, freedom, p_value = g_test(p, q, n, m)
    return CategoryShift(
        value=value, low=low, high=high, p_value=p_value, n=n, m=m,
        n_reference=sum(two for one, two in sizes if one),
        uncompared=sum(one for one, two in sizes if not two),
        window=dict(zip(names, p.tolist(), strict=True)), reference=dict(zip(names, q.tolist(), strict=True)),
        detail={"js": raw, "g": g, "freedom": freedom, "categories": len(names)},
    )  # fmt: skip


def js_distance(p: Floats, q: Floats) -> float:
    """Jensen-Shannon distance, base 2, of two distributions: the square root of the divergence."""
    return math.sqrt(js_divergence(p, q))


def g_test(p: Floats, q: Floats, n: float, m: float) -> tuple[float, int, float]:
    """G, its degrees of freedom, and its p-value. Categories that are expected less than 5 times are one category.

    ``G = 2 sum O ln(O / E)`` over the two rows, of n and m patients. P is 1 where fewer than two categories are left.

    Source: Williams (1976), Biometrika 63:33, whose correction divides G.
    """
    from scipy.special import chdtrc

    rows = np.stack([p * n, q * m])
    total = rows.sum(axis=0)
    rare = total * min(n, m) / (n + m) < LEAST_EXPECTED
    if rare.sum() > 1:
        rows = np.column_stack([rows[:, ~rare], rows[:, rare].sum(axis=1)])
        total = rows.sum(axis=0)
    kept = total > 0
    rows, total = rows[:, kept], total[kept]
    freedom = rows.shape[1] - 1
    if freedom < 1:
        return 0.0, 0, 1.0
    expected = np.outer([n, m], total) / (n + m)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(rows > 0, rows * np.log(rows / expected), 0.0)
    g = max(0.0, 2 * float(terms.sum()))
    factor = 1 + ((n + m) * (1 / n + 1 / m) - 1) * (float(((n + m) / total).sum()) - 1) / (6 * (n + m) * freedom)
    return g, freedom, float(chdtrc(freedom, g / factor))


def unseen(window: Counts, reference: Counts) -> dict[str, int]:
    """Categories of the window that the reference never had. None can be told where the reference had too many."""
    if OTHER in reference:
        return {}
    return {name: number for name, number in window.items() if name not in reference and name not in (MISSING, OTHER)}


def js_divergence(p: Floats, q: Floats) -> float:
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(part > 0, part * np.log2(part / middle), 0.0) for part in (p, q)]
    return max(0.0, float(sum(item.sum() for item in terms)) / 2)


def _distance(p: Floats, q: Floats, n: float, m: float, z: float) -> tuple[float, float, float, float]:
    """Distance without what chance adds, its interval, and the distance as it is."""
    raw = js_divergence(p, q)
    either = 1 / n + 1 / m
    pooled = (n * p + m * q) / (n + m)
    # A category that is hardly ever drawn adds at most half its share.
    chance = float(np.minimum((1 - pooled) * BIAS * either, pooled / 2).sum())
    scale = BIAS * either
    freedom, beyond = chance / scale, max(0.0, raw - chance) / scale
    half = z * math.sqrt(2 * freedom + 4 * beyond)
    low, high = (beyond - half) * scale, (beyond + half + z * z) * scale
    value, low, high = (math.sqrt(min(1.0, max(0.0, item))) for item in (beyond * scale, low, high))
    return value, low, max(value, high), math.sqrt(raw)
