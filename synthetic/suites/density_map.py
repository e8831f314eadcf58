"""Where patients lie in two dimensions, as counts on a grid: no patient's point leaves the audit.

A cell that fewer than eleven patients share is not told, and neither is whether it is empty. Where all untold cells of
a set together hold fewer than eleven, its smallest told cells are withheld too: else the number of patients less the
told cells would tell what the grid does not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SMALL = 11
"""Counts below are not told."""
REACH = 2.5
"""Ends of the grid in standard deviations of the readers; who lies beyond counts in the cell at the edge."""
FEWEST, MOST = 4, 10
"""Cells along an edge."""
EACH = 20
"""Patients of a cell, about, that decide how many cells there are."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def density_map(real: Floats, synthetic: Floats) -> dict[str, Any] | None:
    """Counts of two sets of points on one grid; None where the points have fewer than two dimensions.

    Args:
        real, synthetic: float64 [patients, dimensions], each dimension of variance 1 in patients apart. The first two
            are mapped.

    Returns:
        ``edge`` (cells along an edge), ``reach`` and ``small`` as above, and ``real`` and ``synthetic``: each ``n`` and
        ``cells``, [edge, edge], lowest second dimension first; None where the count is not told.
    """
    if real.shape[1] < 2 or not len(real) or not len(synthetic):
        return None
    fewest = min(len(real), len(synthetic))
    edge = max(FEWEST, min(MOST, round(math.sqrt(fewest / EACH))))
    told = {
        name: {"n": len(points), "cells": _told(_counts(points, edge))}
        for name, points in (("real", real), ("synthetic", synthetic))
    }
    return {"edge": edge, "reach": REACH, "small": SMALL, **told}


def _counts(points: Floats, edge: int) -> Ints:
    """[edge, edge] patients; rows are the second dimension."""
    places = np.floor((points[:, :2] + REACH) / (2 * REACH) * edge)
    across, up = np.clip(places, 0, edge - 1).astype(np.int64).T
    found: Ints = np.bincount(up * edge + across, minlength=edge * edge).reshape(edge, edge)
    return found


def _told(counts: Ints) -> list[list[int | None]]:
    hidden = counts < SMALL
    while 0 < counts[hidden].sum() < SMALL and not hidden.all():
        least = int(np.where(hidden, np.iinfo(np.int64).max, counts).argmin())
        hidden.flat[least] = True
    return [
        [None if out else int(value) for value, out in zip(*row, strict=True)]
        for row in zip(counts, hidden, strict=True)
    ]
