"""The least and the greatest AUROC a group could have, whatever studies of unknown group belong to it.

With the studies without the finding fixed, AUROC is a mean of placements, so the greatest comes from adding exactly the
unknown studies with the finding whose placement is above it: those from some bin upwards. In the same way the unknown
studies without the finding are added up to some bin. The greatest AUROC is therefore found among pairs of such cuts;
the least is one less the greatest of the classes exchanged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.scored import Scores

Floats = npt.NDArray[np.float64]
MOST_CUTS = 400
"""As many cuts at most are tried for each class; with more, neighbouring occupied bins move together."""


def auroc_range(known: Scores, unknown: Scores) -> tuple[float, float]:
    """Least and greatest AUROC of the studies of ``known`` with any of those of ``unknown`` added.

    Both classes must occur in ``known``.
    """
    absent, present = (known.counts[y].astype(np.float64) for y in (0, 1))
    more_absent, more_present = (unknown.counts[y].astype(np.float64) for y in (0, 1))
    greatest = _greatest(absent, present, more_absent, more_present)
    return 1 - _greatest(present, absent, more_present, more_absent), greatest


def _greatest(absent: Floats, present: Floats, more_absent: Floats, more_present: Floats) -> float:
    """Greatest AUROC over cuts: unknown studies with the finding from one bin up, without it up to another."""
    up, down = _cuts(more_present), _cuts(more_absent)
    below = np.cumsum(absent) - absent / 2
    above = np.cumsum(present[::-1])[::-1] - present / 2
    # Pairs of an added study with those that are known, and of two added ones, for every pair of cuts.
    gained_up = _from(more_present * below, up)
    gained_down = _upto(more_absent * above, down)
    inside = np.stack([_from(more_present * _below(more_absent, end), up) for end in down], axis=1)
    pairs = float(present @ below) + gained_up[:, None] + gained_down[None, :] + inside
    sizes = (present.sum() + _from(more_present, up))[:, None] * (absent.sum() + _upto(more_absent, down))[None, :]
    return float((pairs / sizes).max())


def _below(absent: Floats, end: int) -> Floats:
    """Studies of the bins up to ``end`` (left out) below each bin, ties half."""
    part = np.where(np.arange(len(absent)) < end, absent, 0.0)
    return np.cumsum(part) - part / 2


def _cuts(counts: Floats) -> list[int]:
    """Places between occupied bins, with both ends."""
    used = np.flatnonzero(counts)
    if len(used) > MOST_CUTS:
        used = used[np.linspace(0, len(used) - 1, MOST_CUTS).astype(int)]
    return sorted({0, *(int(place) + 1 for place in used), len(counts)})


def _from(values: Floats, cuts: list[int]) -> Floats:
    """Sums of the values from each cut on."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)[cuts]


def _upto(values: Floats, cuts: list[int]) -> Floats:
    """Sums of the values up to each cut, which is left out."""
    return np.insert(np.cumsum(values), 0, 0.0)[cuts]
