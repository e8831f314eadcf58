"""One critical value that holds for several correlated statistics at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.intervals import z_of

Floats = npt.NDArray[np.float64]
DRAWS = 20_000


def normal_max_t(covariance: Floats, alpha: float, rng: np.random.Generator) -> float:
    """The c for which ``P(max_k |Z_k| <= c) = 1 - alpha``, Z normal with the correlations of ``covariance`` [K, K].

    By 20,000 draws; never below the critical value of one statistic, never above Bonferroni's. Statistics without
    variance are left out. Source: Hothorn, Bretz and Westfall (2008), Biometrical Journal 50:346.
    """
    spread = np.sqrt(np.diag(covariance))
    varying = spread > 0
    count = int(varying.sum())
    if count <= 1:
        return z_of(alpha)
    correlation = covariance[np.ix_(varying, varying)] / np.outer(spread[varying], spread[varying])
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    draws = rng.standard_normal((DRAWS, count)) @ root.T
    found = float(np.quantile(np.abs(draws).max(axis=1), 1 - alpha))
    return float(np.clip(found, z_of(alpha), z_of(alpha / count)))
