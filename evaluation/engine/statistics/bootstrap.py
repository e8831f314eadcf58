"""The patient-cluster bootstrap on distinct vectors.

Resampling N patients with replacement is one multinomial draw over the D distinct vectors, so its cost does not grow
with the number of studies. All groups come from the same draw: intervals of differences use the same replicates.

Vectors that few patients have are many. They are drawn as one category, and each draw that falls into it picks one of
its patients: the same distribution, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.threads import in_threads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PART, MOST = 1 << 21, 1024
"""A part of the replicates holds at most so many numbers (replicates times vectors), and so many replicates. It has a
generator of its own: both constants are part of what defines the draws, while the number of threads is not."""
RARE = 12
"""A vector that fewer patients have is drawn patient by patient: cheaper than a binomial number of its own."""
LITTLE = 1 << 18
"""Draws of fewer numbers are not worth threads of their own."""


def resample_totals(vectors: Ints, counts: Ints, *, groups: int, replicates: int, rng: np.random.Generator) -> Floats:
    """Totals per group and cell in each replicate, float64 [replicates, groups, 4].

    When every patient lies in one group, each group keeps its number of patients (a stratified draw); when any
    patient spans groups, patients are drawn over all groups at once, each with all of its studies.

    Args:
        vectors: int64 [D, 4 groups]; counts: int64 [D], patients with that vector.
        rng: Its seed decides the draws; it is spawned from, not drawn from.
    """
    total = np.zeros((replicates, vectors.shape[1]))
    tasks = []
    for stratum in _strata(vectors, counts, groups):
        size = max(1, min(MOST, PART // len(stratum.counts)))
        starts = range(0, replicates, size)
        tasks += [
            (stratum, slice(start, min(start + size, replicates)), child)
            for start, child in zip(starts, rng.spawn(len(starts)), strict=True)
        ]

    def work(task: tuple[_Stratum, slice, np.random.Generator]) -> None:
        stratum, rows, child = task
        total[rows, stratum.columns] = stratum.draw(rows.stop - rows.start, child)

    # Parts write to places of their own.
    if replicates * len(counts) < LITTLE:
        for task in tasks:
            work(task)
    else:
        in_threads(work, tasks)
    return total.reshape(replicates, groups, 4)


@dataclass(frozen=True, kw_only=True)
class _Stratum:
    """Patients that are drawn from one another.

    Attributes:
        columns: Those of the totals that its patients contribute to.
        vectors: float64 [D, columns].
        counts: int64 [D], patients with each vector, ascending.
        rare: int64, the vector of each patient who has a vector with fewer than RARE patients; these come first.
    """

    columns: slice
    vectors: Floats
    counts: Ints
    rare: Ints

    @classmethod
    def of(cls, columns: slice, vectors: Ints, counts: Ints) -> _Stratum:
        order = np.argsort(counts, kind="stable")
        few = int(np.searchsorted(counts[order], RARE))
        # As floats, the product runs in BLAS; the numbers are whole and below 2^53, so it is still exact.
        values = vectors[order, columns].astype(np.float64)
        rare = np.repeat(np.arange(few), counts[order[:few]])
        return cls(columns=columns, vectors=values, counts=counts[order], rare=rare)

    def draw(self, replicates: int, rng: np.random.Generator) -> Floats:
        """Totals of as many patients drawn with replacement, float64 [replicates, columns]."""
        few, patients = int(self.rare[-1]) + 1 if len(self.rare) else 0, int(self.counts.sum())
        shares = np.append(self.counts[few:], len(self.rare)) / patients
        found = rng.multinomial(patients, shares, size=replicates)
        drawn = np.empty((replicates, len(self.counts)))
        drawn[:, few:] = found[:, :-1]
        drawn[:, :few] = _picked(found[:, -1], self.rare, few, rng)
        product: Floats = drawn @ self.vectors
        return product


def _strata(vectors: Ints, counts: Ints, groups: int) -> Iterator[_Stratum]:
    """One stratum for each group where no patient spans groups, else one for all."""
    member: npt.NDArray[np.bool_] = np.asarray(vectors.reshape(len(vectors), groups, 4).any(axis=2))
    if bool((member.sum(axis=1) <= 1).all()):
        for group in np.flatnonzero(member.any(axis=0)):
            inside = member[:, group]
            yield _Stratum.of(slice(4 * group, 4 * group + 4), vectors[inside], counts[inside])
    else:
        yield _Stratum.of(slice(0, 4 * groups), vectors, counts)


def _picked(times: Ints, rare: Ints, size: int, rng: np.random.Generator) -> Ints:
    """How often each vector comes up when ``times[b]`` patients of ``rare`` are picked, int64 [B, size]."""
    if not size:
        return np.zeros((len(times), 0), dtype=np.int64)
    picks = rare[rng.integers(0, len(rare), int(times.sum()))]
    picks += np.repeat(np.arange(len(times)) * size, times)
    return np.bincount(picks, minlength=len(times) * size).reshape(len(times), size)


def max_pair_t(deviations: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """The largest standardised difference between two statistics in each replicate, float64 [B].

    Its ``1 - alpha`` quantile is the critical value that holds for all pairs at once. Pairs whose difference does not
    vary are left out; a replicate in which a statistic is undefined is 0.

    Args:
        deviations: float64 [B, K], replicates less the observed values.
        used: bool [K, K], pairs to look at, above the diagonal.

    Source: Westfall and Young (1993), Resampling-Based Multiple Testing, single-step max-|t|.
    """
    largest = np.zeros(len(deviations))
    for one in np.flatnonzero(used.any(axis=1)):
        apart = np.nan_to_num(deviations[:, [one]] - deviations[:, used[one]])
        errors = np.sqrt((apart**2).mean(axis=0))
        largest = np.maximum(largest, (np.abs(apart[:, errors > 0]) / errors[errors > 0]).max(axis=1, initial=0.0))
    return largest
