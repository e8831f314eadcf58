"""Series of many lengths as one grid: level, deviations, hour of the last reading and gaps, each as a normal score.

Of a study with t readings of a series at hours h and scores z of the values: the level is the mean of z, the deviations
are z less the level, over the standard deviation that such differences have within studies; the gaps are the
differences of h. So what is the same in all readings of a study, what differs between them, and when they were taken
are apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.series_scales import Scale, fit_scale
from synthetic.generators.studies import LinkedStudies, Readings

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
LONGEST = 64
"""Readings of a study that are learnt, the last ones: of longer series the first are left out."""


@dataclass(frozen=True, kw_only=True)
class SeriesScale:
    """The scales of one series.

    Attributes:
        value, last, gap: Of values, of hours of last readings, and of gaps in units of ``10 ** -last.decimals`` hours.
        first: No reading is made before this hour: ``rare_below`` patients have one at or before it.
        within: Standard deviation of scores around their study's level.
    """

    value: Scale
    last: Scale
    gap: Scale
    first: float
    within: float

    def to_dict(self) -> dict[str, Any]:
        scales = {name: getattr(self, name).to_dict() for name in ("value", "last", "gap")}
        return scales | {"first": self.first, "within": self.within}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> SeriesScale:
        scales = {name: Scale.from_dict(body[name]) for name in ("value", "last", "gap")}
        return cls(**scales, first=body["first"], within=body["within"])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """n studies, S series, up to T readings.

    Attributes:
        lengths: int64 [n, S]; 0 where a study has no readings of a series.
        level, last: [n, S] scores; deviation: [n, S, T]; gap: [n, S, T - 1], of which the first is between the last two
            readings. All are 0 where there is none.
    """

    lengths: Ints
    level: Floats
    last: Floats
    deviation: Floats
    gap: Floats

    @property
    def there(self) -> Bools:
        """bool [n, S, T]: which readings there are."""
        found: Bools = np.arange(self.deviation.shape[2]) < self.lengths[:, :, None]
        return found


@dataclass(frozen=True, kw_only=True)
class _Column:
    """All readings of one series, one after the other: row, place from the end, hour, value."""

    row: Ints
    place: Ints
    hour: Floats
    value: Floats


def lengths_of(readings: Readings, longest: int) -> Ints:
    """Readings that each study has, at most ``longest``: int64 [n]."""
    return np.array([0 if item is None else min(len(item), longest) for item in readings], dtype=np.int64)


def known(readings: Readings) -> Readings:
    """Readings whose hour and value are known, in the order of time, the last LONGEST of a study; None for none."""
    made: Readings = []
    for item in readings:
        kept = None if item is None else item[np.isfinite(item).all(axis=1)]
        if kept is not None and len(kept):
            kept = kept[np.argsort(kept[:, 0], kind="stable")][-LONGEST:]
        made.append(kept if kept is not None and len(kept) else None)
    return made


def _column(readings: Readings) -> _Column:
    lengths = lengths_of(readings, LONGEST)
    flat = np.concatenate([item for item in readings if item is not None] or [np.zeros((0, 2))])
    ends = np.repeat(np.cumsum(lengths), lengths)
    return _Column(
        row=np.repeat(np.arange(len(readings)), lengths),
        place=ends - 1 - np.arange(len(flat)),
        hour=flat[:, 0],
        value=flat[:, 1],
    )


def learn_scale(readings: Readings, patients: Ints, *, rare_below: int, rng: np.random.Generator) -> SeriesScale:
    """The scales of one series; ``readings`` as :func:`known` gives them."""
    column = _column(readings)
    owner = patients[column.row]
    value = fit_scale(column.value, owner, rare_below=rare_below, rng=rng)
    hours = fit_scale(column.hour, owner, rare_below=rare_below, rng=rng)
    is_last = column.place == 0
    last = fit_scale(column.hour[is_last], owner[is_last], rare_below=rare_below, rng=rng)
    gaps, inner = _gaps(column, hours.decimals)
    gap = fit_scale(gaps[inner], owner[inner], rare_below=rare_below, rng=rng) if _enough(owner[inner], rare_below) \
        else fit_scale(np.ones(rare_below), np.arange(rare_below), rare_below=rare_below, rng=rng)  # fmt: skip
    scores = value.to_scores(value.spread(column.value, rng))
    level = _mean_by(scores, column.row, len(readings))
    lengths = np.bincount(column.row, minlength=len(readings))
    free = max(1, int(np.maximum(lengths - 1, 0).sum()))
    within = float(np.sqrt(np.sum((scores - level[column.row]) ** 2) / free))
    last = Scale.from_dict(last.to_dict() | {"decimals": hours.decimals})
    return SeriesScale(value=value, last=last, gap=gap, first=hours.least, within=max(within, 1e-3))


def _enough(owner: Ints, rare_below: int) -> bool:
    return len(np.unique(owner)) >= rare_below


def _gaps(column: _Column, decimals: int) -> tuple[Floats, Bools]:
    """Units from the reading before to each, at least 1, and where there is one before."""
    units = np.rint(column.hour * 10.0**decimals)
    inner = np.concatenate([[False], column.row[1:] == column.row[:-1]])[: len(units)]
    found = np.concatenate([[1.0], np.diff(units)])[: len(units)]
    return np.maximum(found, 1), inner


def _mean_by(values: Floats, row: Ints, n: int) -> Floats:
    total = np.bincount(row, weights=values, minlength=n)
    found: Floats = total / np.maximum(1, np.bincount(row, minlength=n))
    return found


def to_grid(studies: LinkedStudies, scales: dict[str, SeriesScale], longest: int, rng: np.random.Generator) -> Grid:
    """The readings of studies on a grid of the series of ``scales``, in their order."""
    n, many = len(studies), len(scales)
    made = Grid(
        lengths=np.zeros((n, many), dtype=np.int64), level=np.zeros((n, many)), last=np.zeros((n, many)),
        deviation=np.zeros((n, many, longest)), gap=np.zeros((n, many, max(0, longest - 1))),
    )  # fmt: skip
    for at, (name, scale) in enumerate(scales.items()):
        readings = known(studies.series[name])
        column = _column(readings)
        made.lengths[:, at] = np.minimum(lengths_of(readings, LONGEST), longest)
        scores = scale.value.to_scores(scale.value.spread(column.value, rng))
        level = _mean_by(scores, column.row, n)
        made.level[:, at] = level
        kept = column.place < longest
        made.deviation[column.row[kept], at, column.place[kept]] = (
            (scores - level[column.row]) / scale.within
        )[kept]  # fmt: skip
        newest = column.place == 0
        made.last[column.row[newest], at] = scale.last.to_scores(scale.last.spread(column.hour[newest], rng))
        gaps, inner = _gaps(column, scale.last.decimals)
        inner &= column.place < longest - 1
        made.gap[column.row[inner], at, column.place[inner]] = scale.gap.to_scores(
            scale.gap.spread(gaps[inner], rng)
        )  # fmt: skip
    return made


def values_of(grid: Grid, at: int, scale: SeriesScale, *, stretch: float = 1.0) -> Floats:
    """Values [n, T] of one series, the last reading first; NaN where there is none.

    Args:
        stretch: Factor on what readings of a study differ by.
    """
    there = grid.there[:, at]
    count = np.maximum(1, grid.lengths[:, at])[:, None]
    around = grid.deviation[:, at] * there
    around = (around - around.sum(axis=1, keepdims=True) / count) * scale.within * stretch
    return np.where(there, scale.value.to_values(grid.level[:, at, None] + around), np.nan)


def hours_of(grid: Grid, at: int, scale: SeriesScale) -> Floats:
    """Hours [n, T] of one series, the last reading first, strictly falling from there; NaN where there is none.

    Where gaps reach back before the first hour, they are shortened in proportion, to no less than one unit.
    """
    unit = 10.0**scale.last.decimals
    there = grid.there[:, at]
    last = np.rint(scale.last.to_values(grid.last[:, at]) * unit)
    gaps = np.maximum(1, np.rint(scale.gap.to_values(grid.gap[:, at]))) * there[:, 1:]
    count = np.maximum(0, grid.lengths[:, at] - 1)
    last = np.maximum(last, np.rint(scale.first * unit) + count)
    room = last - np.rint(scale.first * unit)
    total = gaps.sum(axis=1)
    tight = total > room
    share = (room - count) / np.maximum(1, total - count)
    shorter = np.floor((gaps - 1) * share[:, None]) + 1
    gaps = np.where(tight[:, None], shorter, gaps) * there[:, 1:]
    back = np.concatenate([np.zeros((len(last), 1)), np.cumsum(gaps, axis=1)], axis=1)
    return np.where(there, np.round((last[:, None] - back) / unit, scale.last.decimals) + 0.0, np.nan)
