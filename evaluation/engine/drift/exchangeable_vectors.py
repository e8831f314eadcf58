"""How unusual the mean of a window's vectors is among its pool; see ``exchangeable`` for what that means.

Coordinates are principal components in the frame of the reference, so the first ones hold most. Given the values of
window and pool together, the window's sum has a known mean and covariance. Each coordinate is freed of what those
before it explain, which makes the scores uncorrelated; they are near normal from some tens of studies on.

Source: Wald and Wolfowitz (1944), Annals of Mathematical Statistics 15:358.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.exchangeable import FEWEST, LARGEST, SMALLEST

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vectors:
    """Mean [k] and covariance [k, k] (divisor n) of the vectors of one stratum."""

    n: int
    mean: Floats
    covariance: Floats


def vector_scores(strata: Sequence[tuple[Vectors, Vectors]], *, fewest: int = FEWEST) -> dict[str, float]:
    """Scores of the leading coordinates, each freed of those before it: ``direction 1``, ..."""
    used = [(window, pool) for window, pool in strata if window.n and pool.n]
    if sum(window.n for window, _ in used) < fewest:
        return {}
    size = len(used[0][0].mean)
    deviation, covariance = np.zeros(size), np.zeros((size, size))
    for window, pool in used:
        total = window.n + pool.n
        mean = (window.n * window.mean + pool.n * pool.mean) / total
        inside = sum(
            (part.n / total) * (part.covariance + np.outer(part.mean - mean, part.mean - mean))
            for part in (window, pool)
        )
        deviation += window.n * (window.mean - mean)
        covariance += window.n * pool.n / (total - 1) * inside
    return _whitened(deviation, covariance)


def _whitened(deviation: Floats, covariance: Floats) -> dict[str, float]:
    """Each coordinate less what those before it explain, over its standard deviation; constant ones are left out."""
    found: dict[str, float] = {}
    scale = float(np.max(np.diag(covariance), initial=0.0))
    left, rest = covariance.copy(), deviation.copy()
    for place in range(len(rest)):
        variance = float(left[place, place])
        if variance <= max(SMALLEST * scale, np.finfo(np.float64).tiny):
            continue
        found[f"direction {place + 1}"] = min(LARGEST, max(-LARGEST, float(rest[place]) / math.sqrt(variance)))
        share = left[place] / variance
        rest = rest - share * rest[place]
        left = left - np.outer(share, left[place])
    return found
