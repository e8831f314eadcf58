"""What corrects a flow of series after training: means, spreads, and what readings of a study differ by.

A network that makes what is typical draws conditional means together and tails in: where two findings meet, or where a
laboratory value is skewed, differences between patients with and without a finding come out too small. So levels are
split beforehand into what plan and attributes explain linearly (ridge regression) and a rest, and the flow makes the
rest. Once trained, it is asked for rests of the studies that it learnt from; what plan and attributes still explain in
them is taken away, their spread is set to the real one, and deviations within studies are stretched until their
variance is the real one after rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.series_grid import Grid, SeriesScale, values_of

Floats = npt.NDArray[np.float64]
RIDGE = 3.0
"""Penalty of the squared coefficients, in studies: what few studies tell is drawn towards no difference."""
STRETCHES = (0.25, 2.0)
HALVINGS = 16


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How rests become levels.

    Attributes:
        explained: [S, C + 1] coefficients of the levels; the last is the constant.
        width: [S] standard deviation of the rests: they are made in this unit.
        drift: [S, C + 1] what conditions explain in rests that the flow makes, to be taken away.
        spread: [S] factor on the rests after that.
        stretch: [S] factor on deviations within studies.
    """

    explained: Floats
    width: Floats
    drift: Floats
    spread: Floats
    stretch: Floats

    def rests(self, level: Floats, conditions: Floats) -> Floats:
        """Rests [n, S] of levels [n, S], in units of their standard deviation."""
        found: Floats = (level - with_constant(conditions) @ self.explained.T) / self.width
        return found

    def corrected(self, made: Floats, conditions: Floats) -> Floats:
        """Rests as the flow makes them -> rests that plan and attributes no longer explain, as wide as real ones."""
        found: Floats = (made - with_constant(conditions) @ self.drift.T) * self.spread
        return found

    def levels(self, rests: Floats, conditions: Floats) -> Floats:
        """The inverse of :meth:`rests`."""
        found: Floats = rests * self.width + with_constant(conditions) @ self.explained.T
        return found

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Calibration:
        return cls(**{name: np.array(body[name], dtype=np.float64) for name in cls.__dataclass_fields__})


def with_constant(conditions: Floats) -> Floats:
    """Conditions [n, C] with a last column of ones."""
    return np.concatenate([conditions, np.ones((len(conditions), 1))], axis=1)


def learn_levels(grid: Grid, conditions: Floats) -> Calibration:
    """What conditions explain in real levels; nothing is corrected yet."""
    design = with_constant(conditions)
    many = grid.level.shape[1]
    explained, width = np.zeros((many, design.shape[1])), np.ones(many)
    for at in range(many):
        rows = grid.lengths[:, at] > 0
        explained[at, :] = ridge(design[rows], grid.level[rows, at])
        width[at] = max(1e-3, float(np.std(grid.level[rows, at] - design[rows] @ explained[at])))
    return Calibration(
        explained=explained, width=width, drift=np.zeros_like(explained), spread=np.ones(many), stretch=np.ones(many)
    )


def ridge(design: Floats, target: Floats) -> Floats:
    """Coefficients of least squares with a penalty on all but the last column, the constant."""
    penalty = np.full(design.shape[1], RIDGE)
    penalty[-1] = 1e-9
    found: Floats = np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ target).astype(np.float64)
    return found


def correct(
    before: Calibration, real: Grid, made: Grid, draws: Floats, conditions: Floats, scales: dict[str, SeriesScale]
) -> Calibration:
    """The calibration of a flow that made rests [draws, n, S] for the conditions of ``real``.

    Args:
        made: The grid that belongs to the first draw.
    """
    rests = draws.mean(axis=0)
    design = with_constant(conditions)
    known = before.rests(real.level, conditions)
    drift, spread, stretch = before.drift.copy(), before.spread.copy(), before.stretch.copy()
    for at in range(len(spread)):
        rows = real.lengths[:, at] > 0
        drift[at] = ridge(design[rows], rests[rows, at])
        left = draws[:, rows, at] - design[rows] @ drift[at]
        spread[at] = float(np.std(known[rows, at]) / max(1e-6, float(np.std(left))))
    found = replace(before, drift=drift, spread=spread)
    levels = found.levels(found.corrected(draws[0], conditions), conditions)
    settled = replace(made, level=levels)
    for at, scale in enumerate(scales.values()):
        stretch[at] = _stretch(real, settled, at, scale)
    return replace(found, stretch=stretch)


def _stretch(real: Grid, made: Grid, at: int, scale: SeriesScale) -> float:
    """The factor at which deviations of printed values vary within studies as the real ones do. By bisection."""
    if not (real.lengths[:, at] > 1).any():
        return 1.0
    wanted = _within(values_of(real, at, scale), scale)
    low, high = STRETCHES
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _within(values_of(made, at, scale, stretch=middle), scale) < wanted else (low, middle)
        )  # fmt: skip
    return (low + high) / 2


def _within(values: Floats, scale: SeriesScale) -> float:
    """Pooled variance of the scores of printed values [n, T] within studies."""
    there = np.isfinite(values)
    scores = np.where(there, scale.value.to_scores(np.where(there, values, scale.value.least)), 0.0)
    count = there.sum(axis=1, keepdims=True)
    around = np.where(there, scores - scores.sum(axis=1, keepdims=True) / np.maximum(1, count), 0.0)
    free = max(1, int(np.maximum(count - 1, 0).sum()))
    return float((around**2).sum() / free)
