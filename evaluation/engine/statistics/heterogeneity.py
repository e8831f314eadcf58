"""Do groups differ by more than chance, and by how much once chance is taken out?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """Attributes:
    p_value: Cochran's Q against chi-square with k - 1 degrees of freedom.
    shrunken_gap: Largest difference between empirical-Bayes estimates of the groups.
    """

    p_value: float
    shrunken_gap: float


def heterogeneity(values: Sequence[float], variances: Sequence[float]) -> Heterogeneity | None:
    """Heterogeneity of k independent estimates; None for fewer than two, or where a variance is 0.

    The largest of several differences is biased upward: eight equal groups of 100 differ by .1 or more somewhere.
    Each estimate is pulled to the weighted mean by ``v / (v + tau^2)``, with tau^2 by DerSimonian and Laird.

    Source: DerSimonian and Laird (1986), Controlled Clinical Trials 7:177; Morris (1983), JASA 78:47.
    """
    from scipy.stats import chi2

    value, variance = np.asarray(values, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if len(value) < 2 or (variance <= 0).any():
        return None
    weight = 1 / variance
    mean = float(weight @ value / weight.sum())
    statistic = float(weight @ (value - mean) ** 2)
    scale = float(weight.sum() - (weight @ weight) / weight.sum())
    tau2 = max(0.0, (statistic - (len(value) - 1)) / scale)
    random = 1 / (variance + tau2)
    centre = float(random @ value / random.sum())
    shrunk = centre + tau2 / (tau2 + variance) * (value - centre)
    return Heterogeneity(
        p_value=float(chi2.sf(statistic, len(value) - 1)), shrunken_gap=float(shrunk.max() - shrunk.min())
    )
