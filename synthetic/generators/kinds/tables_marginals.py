"""How numbers are spread: levels that many patients hold, or a grid of quantiles; never the value of one patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MOST_LEVELS = 64
COVERED = 0.95
"""Share of the values that must be held by enough patients for a column to be kept as levels."""
BINS = 6
MOST_DECIMALS = 6
EDGE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The distribution of a column of numbers.

    Attributes:
        values: Levels: the values, rising. Grid: edges of cells that hold equal shares.
        ends: Levels: cumulated share up to and with each value. Empty for a grid.
        decimals: Digits after the point that the column is written with; -1 for as many as there are.
        whole: The values are whole numbers, written as such.

    A level is held by at least ``rare_below`` patients; rarer values are counted with the nearest level. A cell of a
    grid holds at least ``rare_below`` patients, and each edge is the mean over as many patients' values around the
    quantile. So are the bounds, lowest and highest: they lie inside what was seen, and nothing beyond them is made.
    """

    values: Floats
    ends: Floats
    decimals: int
    whole: bool

    @classmethod
    def learn(cls, values: Floats, patients: Ints, *, rare_below: int, whole: bool) -> Numbers:
        """From n values of patients (codes); at least ``rare_below`` patients are needed."""
        levels, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        held = np.bincount(np.unique(np.stack([place, patients]), axis=1)[0], minlength=len(levels))
        kept = held >= rare_below
        decimals = 0 if whole else _decimals(levels)
        if kept.any() and kept.sum() <= MOST_LEVELS and counts[kept].sum() >= COVERED * len(values):
            chosen = levels[kept]
            share = np.bincount(_nearest(chosen, levels), weights=counts, minlength=len(chosen)) / len(values)
            return cls(values=chosen, ends=np.cumsum(share), decimals=decimals, whole=whole)
        return cls(values=_grid(values, patients, rare_below), ends=np.empty(0), decimals=decimals, whole=whole)

    @property
    def levels(self) -> bool:
        return len(self.ends) > 0

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest number that is made."""
        low, high = self._written(self.values[[0, -1]])
        return float(low), float(high)

    def at(self, z: Floats) -> Floats:
        """Numbers at standard normal scores."""
        from scipy.special import ndtr

        u = ndtr(z)
        if self.levels:
            found: Floats = self.values[np.searchsorted(self.ends[:-1], u, side="right")]
            return found
        return self._written(np.interp(u, np.linspace(0, 1, len(self.values)), self.values))

    def scores(self, values: Floats) -> Floats:
        """Standard normal scores of values: the normal quantile of their middle rank."""
        from scipy.special import ndtri
        from scipy.stats import rankdata

        if self.levels:
            starts = np.concatenate([[0.0], self.ends[:-1]])
            middle: Floats = ((starts + self.ends) / 2)[_nearest(self.values, values)]
        else:
            middle = (rankdata(values) - 0.5) / len(values)
        found: Floats = ndtri(np.clip(middle, EDGE, 1 - EDGE))
        return found

    def span(self, least: float, most: float) -> tuple[float, float]:
        """Scores between which numbers lie in [least, most]; a little wider where numbers are rounded."""
        from scipy.special import ndtri

        if self.levels:
            first, last = np.searchsorted(self.values, least), np.searchsorted(self.values, most, side="right")
            ends = np.concatenate([[0.0], self.ends[:-1], [1.0]])
            low, high = float(ends[first]), float(ends[last])
        else:
            half = 0.5 * 10.0**-self.decimals if self.decimals >= 0 else 0.0
            u, edges = np.linspace(0, 1, len(self.values)), self.values
            before = max(int(np.searchsorted(edges, least - half)) - 1, 0)
            after = min(int(np.searchsorted(edges, most + half, side="right")), len(edges) - 1)
            low, high = float(u[before]), float(u[after])
        return float(ndtri(low)), float(ndtri(high))

    def cuts(self) -> Floats:
        """Upper ends of the bins in which other columns see this one; the last bin has none."""
        from scipy.special import ndtri

        found: Floats = np.unique(self.at(ndtri(np.arange(1, BINS) / BINS)))
        return found

    def _written(self, values: Floats) -> Floats:
        if self.decimals < 0:
            return values
        found: Floats = np.round(values, self.decimals)
        return found

    def to_dict(self) -> dict[str, Any]:
        return {"decimals": self.decimals, "whole": self.whole}


def _nearest(levels: Floats, values: Floats) -> Ints:
    found: Ints = np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.int64)
    return found


def _decimals(levels: Floats) -> int:
    for digits in range(MOST_DECIMALS):
        if np.allclose(np.round(levels, digits), levels, rtol=0, atol=1e-9):
            return digits
    return -1


def _grid(values: Floats, patients: Ints, rare_below: int) -> Floats:
    """Edges of cells of equal shares. A cell's share is chosen so that as many patients are in it, even where a
    patient has many values."""
    order = np.argsort(values, kind="stable")
    ordered, owners = values[order], patients[order]
    cells = max(1, min(MOST_LEVELS, len(np.unique(patients)) // rare_below))
    while cells > 1:
        parts = np.array_split(owners, cells)
        if min(len(np.unique(part)) for part in parts) >= rare_below:
            break
        cells = max(1, cells * 3 // 4)
    places = np.linspace(0, len(ordered) - 1, cells + 1)
    edges = np.array([_around(ordered, owners, round(float(place)), rare_below) for place in places])
    found: Floats = np.maximum.accumulate(edges)
    return found


def _around(ordered: Floats, owners: Ints, place: int, patients: int) -> float:
    """Mean of the values around a place that belong to ``patients`` patients, each counted once."""
    low, high, seen = place, place, {int(owners[place]): float(ordered[place])}
    while len(seen) < patients and (low > 0 or high < len(ordered) - 1):
        take_low = low > 0 and (high == len(ordered) - 1 or place - low <= high - place)
        low, high = (low - 1, high) if take_low else (low, high + 1)
        at = low if take_low else high
        seen.setdefault(int(owners[at]), float(ordered[at]))
    return float(np.mean(list(seen.values())))
