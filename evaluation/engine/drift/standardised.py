"""Scores of a window beside those of a reference that is put into the window's mix of strata.

With ``n_s`` studies of the window and ``m_s`` of the reference in stratum s of the case mix, each study of the
reference counts ``n_s / m_s``: direct standardisation. A statistic of both sides, with gradients ``g`` by the counts of
the window and ``h`` by those of the reference, has the variance
``sum_s n_s Var_s(g) + (n_s / m_s)^2 m_s Var_s(h)``, where ``Var_s`` is over the studies of stratum s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.scored import NEGATIVE, POSITIVE, SCALE, ScoredCounts, edges_of

Floats = npt.NDArray[np.float64]
Pairs = Sequence[tuple[ScoredCounts, ScoredCounts]]
EVERY = slice(0, 3)
LABELLED = slice(0, 2)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Counts of both sides by bin of the score and truth (with the finding, without, and silent where it counts).

    Attributes:
        window: float64 [K, C]; reference: float64 [K, C], standardised to the window, its sum that of the window.
        strata: Counts of window and reference, float64 [K, C], and the weight of a study of the reference.
        n: Studies of the window that are compared; n_reference: studies of the reference in their strata.
        worth: Studies that the standardised reference is worth, ``n^2 / sum_s (n_s^2 / m_s)``.
        uncompared: Studies of the window in strata that the reference lacks.
    """

    window: Floats
    reference: Floats
    strata: tuple[tuple[Floats, Floats, float], ...]
    n: int
    n_reference: int
    worth: float
    uncompared: int

    @classmethod
    def of(cls, pairs: Pairs, *, columns: slice = EVERY, unscored: bool = False) -> Sides | None:
        """None where no stratum has studies on both sides.

        Args:
            pairs: Window and reference of each stratum.
            columns: ``EVERY`` study, or the ``LABELLED`` ones, whose truth is known.
            unscored: Whether studies without a score count; they are the last row then.
        """
        rows = slice(None) if unscored else slice(None, -1)
        cut = [tuple(part.counts[rows, columns].astype(np.float64) for part in pair) for pair in pairs]
        sizes = [(int(one.sum()), int(two.sum())) for one, two in cut]
        both = [(one, two, n / m) for (one, two), (n, m) in zip(cut, sizes, strict=True) if n and m]
        if not both:
            return None
        n = sum(one for one, two in sizes if two)
        spent = sum(one**2 / two for one, two in sizes if two)
        return cls(
            window=np.sum([one for one, _, _ in both], axis=0),
            reference=np.sum([weight * two for _, two, weight in both], axis=0),
            strata=tuple(both),
            n=n,
            n_reference=sum(two for one, two in sizes if one),
            worth=n**2 / spent,
            uncompared=sum(one for one, two in sizes if not two),
        )

    @property
    def positives(self) -> int:
        """Studies of the window with the finding."""
        return int(self.window[:, POSITIVE].sum())

    @property
    def negatives(self) -> int:
        """Studies of the window without it."""
        return int(self.window[:, NEGATIVE].sum())

    def reference_class(self, column: int) -> int:
        """Studies of the reference with that truth, as they were counted."""
        return int(sum(two[:, column].sum() for _, two, _ in self.strata))

    def variance(self, by_window: Floats, by_reference: Floats) -> float:
        """Variance of a statistic from its gradients by the counts, [K, C] or [K] where truth does not matter."""
        total = 0.0
        for one, two, weight in self.strata:
            total += _spread(one, by_window) + weight**2 * _spread(two, by_reference)
        return total


def mean_scores(pairs: Pairs) -> Floats:
    """Mean score of the studies of either side in each bin, float64 [K]; the middle of a bin that is empty."""
    sums = np.sum([part.sums.sum(axis=1) for pair in pairs for part in pair], axis=0) / SCALE
    counts = np.sum([part.counts[:-1].sum(axis=1) for pair in pairs for part in pair], axis=0)
    edges = edges_of(pairs[0][0].threshold)
    made: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), (edges[:-1] + edges[1:]) / 2)
    return made


def _spread(counts: Floats, gradient: Floats) -> float:
    """``n Var(g)`` over the studies of one stratum, with n - 1 in the variance where there are two."""
    slopes = gradient if gradient.ndim == 2 else gradient[:, None]
    n = float(counts.sum())
    mean = float((counts * slopes).sum()) / n
    return float((counts * (slopes - mean) ** 2).sum()) * n / max(1.0, n - 1)
