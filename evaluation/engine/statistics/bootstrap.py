"""The patient-cluster bootstrap on distinct vectors.

Resampling N patients with replacement is one multinomial draw over the D distinct vectors, so its cost does not grow
with the number of studies. All groups come from the same draw: intervals of differences use the same replicates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
CHUNK = 4_000_000


def resample_totals(vectors: Ints, counts: Ints, *, groups: int, replicates: int, rng: np.random.Generator) -> Floats:
    """Totals per group and cell in each replicate, float64 [replicates, groups, 4].

    When every patient lies in one group, each group keeps its number of patients (a stratified draw); when any
    patient spans groups, patients are drawn over all groups at once, each with all of its studies.

    Args:
        vectors: int64 [D, 4 groups]; counts: int64 [D], patients with that vector.
    """
    member: npt.NDArray[np.bool_] = (vectors.reshape(len(vectors), groups, 4) > 0).max(axis=2, initial=False)
    total = np.zeros((replicates, vectors.shape[1]))
    split = bool((member.sum(axis=1) <= 1).all())
    strata = [member[:, group] for group in range(groups)] if split else [member.max(axis=1, initial=False)]
    for stratum in strata:
        if stratum.any():
            total += _draw(vectors[stratum], counts[stratum], replicates, rng)
    return total.reshape(replicates, groups, 4)


def _draw(vectors: Ints, counts: Ints, replicates: int, rng: np.random.Generator) -> Floats:
    """Totals of one stratum, drawn in chunks: the stream of random numbers is the same for any chunk size."""
    patients = int(counts.sum())
    shares = counts / patients
    step = max(1, CHUNK // len(counts))
    # As floats, the product runs in BLAS; the numbers are whole and below 2^53, so it is still exact.
    columns = vectors.astype(np.float64)
    parts = [
        rng.multinomial(patients, shares, size=min(step, replicates - start)).astype(np.float64) @ columns
        for start in range(0, replicates, step)
    ]
    return np.concatenate(parts)


def percentile_interval(values: Floats, alpha: float) -> tuple[float, float]:
    """Percentile interval of replicates [B]; undefined (NaN) replicates are left out."""
    low, high = np.nanquantile(values, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def max_t(deviations: Floats, alpha: float) -> tuple[Floats, float]:
    """Standard errors of K statistics, and the critical value that holds for all of them at once.

    Args:
        deviations: float64 [B, K], replicates less the observed values. Every column must vary.

    Returns:
        ``(se [K], c)``: with probability ``1 - alpha`` no statistic is further than ``c se`` from its truth.

    Source: Westfall and Young (1993), Resampling-Based Multiple Testing, single-step max-|t|.
    """
    usable = deviations[np.isfinite(deviations).all(axis=1)]
    errors = np.sqrt((usable**2).mean(axis=0))
    return errors, float(np.quantile(np.abs(usable / errors).max(axis=1), 1 - alpha))
