"""Series of a study as a row of numbers on scales that the domain gives, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.private.domain import SeriesBounds
from synthetic.generators.studies import LinkedStudies, Readings

Floats = npt.NDArray[np.float64]
FACTOR = 100.0
"""Of a series that grows by factors: how much finer the scale is at its low end than at its high one."""
WIDE = 3**0.5
"""Deviation one for what is spread evenly over [-1, 1]."""


def scaled(values: Any, low: float, high: float, *, log: bool) -> Any:
    """Values within bounds as numbers from -1 to 1; what is beyond counts as the bound."""
    share = np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0, 1)
    return 2 * (np.log1p(FACTOR * share) / np.log1p(FACTOR) if log else share) - 1


def unscaled(numbers: Any, low: float, high: float, *, log: bool) -> Any:
    """The inverse of :func:`scaled`; numbers beyond count as the end."""
    share = np.clip((np.asarray(numbers, dtype=np.float64) + 1) / 2, 0, 1)
    return low + (high - low) * (np.expm1(share * np.log1p(FACTOR)) / FACTOR if log else share)


@dataclass(frozen=True, kw_only=True)
class SeriesRows:
    """How S series are written, each up to its own number of readings: values and hours, the last reading first."""

    bounds: Mapping[str, SeriesBounds]

    @property
    def width(self) -> int:
        return 2 * sum(item.readings for item in self.bounds.values())

    def rows(self, studies: LinkedStudies) -> tuple[Floats, Floats]:
        """Numbers [n, width], and 1 or 0 for which there are."""
        made, there = np.zeros((len(studies), self.width)), np.zeros((len(studies), self.width))
        start = 0
        for name, item in self.bounds.items():
            for row, readings in enumerate(studies.series[name]):
                values, hours = _last(readings, item)
                count = len(values)
                made[row, start : start + count] = WIDE * scaled(values, item.low, item.high, log=item.log)
                late = start + item.readings
                made[row, late : late + count] = WIDE * scaled(hours, item.first, item.last, log=False)
                there[row, start : start + count] = there[row, late : late + count] = 1
            start += 2 * item.readings
        return made, there

    def lengths(self, studies: LinkedStudies) -> dict[str, npt.NDArray[np.int64]]:
        """Readings that each study is to have: int64 [n] by series."""
        nothing: Readings = [None] * len(studies)
        return {
            name: np.array(
                [0 if readings is None else min(len(readings), item.readings)
                 for readings in studies.series.get(name, nothing)], dtype=np.int64,
            )
            for name, item in self.bounds.items()
        }  # fmt: skip

    def mask(self, lengths: Mapping[str, npt.NDArray[np.int64]]) -> Floats:
        parts = [np.arange(item.readings) < lengths[name][:, None] for name, item in self.bounds.items()
                 for _ in range(2)]  # fmt: skip
        return np.concatenate(parts, axis=1).astype(np.float64)

    def readings(self, rows: Floats, lengths: Mapping[str, npt.NDArray[np.int64]], name: str) -> Readings:
        """Readings of one series, hours strictly rising."""
        start = 0
        for other, item in self.bounds.items():
            if other == name:
                break
            start += 2 * item.readings
        item = self.bounds[name]
        values = unscaled(rows[:, start : start + item.readings] / WIDE, item.low, item.high, log=item.log)
        late = start + item.readings
        hours = unscaled(rows[:, late : late + item.readings] / WIDE, item.first, item.last, log=False)
        return [_made(values[row, :count], hours[row, :count], item) if count else None
                for row, count in enumerate(lengths[name].tolist())]  # fmt: skip


def _last(readings: Any, item: SeriesBounds) -> tuple[Floats, Floats]:
    """Values and hours of the last readings, the very last first."""
    if readings is None:
        return np.zeros(0), np.zeros(0)
    kept = readings[np.isfinite(readings).all(axis=1)]
    kept = kept[np.argsort(kept[:, 0], kind="stable")][-item.readings :][::-1]
    return kept[:, 1], kept[:, 0]


def _made(values: Floats, hours: Floats, item: SeriesBounds) -> Floats:
    """Readings in the order of time, apart by at least a tenth of an hour or what room there is."""
    order = np.argsort(hours, kind="stable")
    count = len(order)
    apart = min(0.1, (item.last - item.first) / count)
    rising = np.arange(count)
    spread = np.clip(hours[order], item.first, item.last - apart * (count - 1))
    spread = np.maximum.accumulate(spread - apart * rising) + apart * rising
    spread = np.minimum(spread, item.last - apart * (count - 1 - rising))
    found: Floats = np.stack([np.round(spread, 4), np.round(values[order], item.decimals)], axis=1)
    return found
