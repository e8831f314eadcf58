"""Laboratory values and vital signs before each study, shifted by what is the matter with the patient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthetic.simulator.names import UNITS
from synthetic.simulator.patients import Bools, Floats, Studies

WINDOW_HOURS = 72.0
READINGS = (2, 6)
TURN_HOURS = 36.0
"""Before the study: since when a patient's course has turned, where one has."""


@dataclass(frozen=True, kw_only=True)
class Analyte:
    """How one measured quantity behaves.

    Attributes:
        base, spread: Mean and standard deviation over patients; ``noise``: of a reading around its course.
            On a natural-logarithm scale where ``logarithmic``.
        added: What each present finding adds, in the order of FINDINGS, on the same scale.
        least, most, digits: The range of plausible readings, and the printed precision.
    """

    unit: str
    base: float
    spread: float
    noise: float
    added: tuple[float, float, float, float]
    least: float
    most: float
    digits: int
    logarithmic: bool = False


ANALYTES = {
    "crp": Analyte(
        unit="mg/L",
        base=1.8,
        spread=0.8,
        noise=0.25,
        added=(0.4, 0.0, 1.3, 0.0),
        least=0.3,
        most=500,
        digits=1,
        logarithmic=True,
    ),
    "spo2": Analyte(
        unit="%",
        base=96.8,
        spread=1.5,
        noise=0.7,
        added=(-1.3, -1.7, -1.5, -0.5),
        least=70,
        most=100,
        digits=0,
    ),
    "heart_rate": Analyte(unit="/min", base=78, spread=11, noise=5, added=(3, 9, 7, 2), least=35, most=200, digits=0),
    "nt_probnp": Analyte(
        unit="ng/L",
        base=5.4,
        spread=0.9,
        noise=0.2,
        added=(0.5, 0.0, 0.0, 1.2),
        least=5,
        most=35_000,
        digits=0,
        logarithmic=True,
    ),
}


def measure(
    studies: Studies,
    name: str,
    missing: float,
    rng: np.random.Generator,
    *,
    level: Floats | None = None,
    turn: Floats | None = None,
    lost: Bools | None = None,
    unit: str = "",
    hints: float = 1.0,
) -> pa.Array:
    """Readings of one analyte for every study: ``list<struct<t, v>>``, t in hours before the study (<= 0).

    Args:
        level: [n] added to all readings of a study, on the analyte's scale.
        turn: [n] added to a reading at the time of the study, less the longer before it, nothing ``TURN_HOURS``
            before.
        lost: [n] studies whose readings are lost afterwards.
        unit: What the values of changed studies are in, where it is not the analyte's own (see UNITS).
        hints: Factor on what findings add.
    """
    analyte = ANALYTES[name]
    lengths = rng.integers(READINGS[0], READINGS[1] + 1, size=len(studies))
    absent = rng.random(len(studies)) < missing
    lengths[absent] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    row = np.repeat(np.arange(len(studies)), lengths)
    times = -np.round(rng.uniform(0, WINDOW_HOURS, size=len(row)), 1)
    times = times[np.lexsort((times, row))]
    values = _course(studies, analyte, row, times, rng, hints)
    if level is not None:
        values = values + level[row]
    if turn is not None:
        values = values + turn[row] * np.clip(1 + times / TURN_HOURS, 0, 1)
    values = _printed(analyte, values)
    if unit:
        values = np.where(studies.changed[row], _converted(values, UNITS[name][unit], analyte.digits), values)
    readings = pa.StructArray.from_arrays([pa.array(times), pa.array(values)], names=["t", "v"])
    starts = pa.array(offsets, mask=np.concatenate([absent, [False]]))
    made = pa.ListArray.from_arrays(starts, readings)
    return made if lost is None else pc.if_else(pa.array(lost), None, made)


def _course(
    studies: Studies, analyte: Analyte, row: np.ndarray, times: Floats, rng: np.random.Generator, hints: float
) -> Floats:
    level = analyte.base + hints * (studies.present @ np.array(analyte.added))
    level = level + analyte.spread * rng.standard_normal(len(studies))
    slope = 0.2 * analyte.spread * rng.standard_normal(len(studies)) / WINDOW_HOURS
    values: Floats = level[row] + slope[row] * times + analyte.noise * rng.standard_normal(len(row))
    return values


def _printed(analyte: Analyte, values: Floats) -> Floats:
    if analyte.logarithmic:
        values = np.exp(values)
    result: Floats = np.round(values.clip(analyte.least, analyte.most), analyte.digits)
    return result


def _converted(values: Floats, factor: float, digits: int) -> Floats:
    """Values in another unit, printed as precisely as before."""
    result: Floats = np.round(values * factor, max(0, digits - math.floor(math.log10(factor) + 1e-9)))
    return result
