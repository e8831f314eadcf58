"""Columns of mixed kinds: which hold numbers, which hold categories, and how each is put on a common scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
TAILS = (0.01, 0.99)
"""Quantiles between which a robust range lies: one wrong value does not squeeze all others together."""
FEW = 2
"""A column of numbers with so many different values or fewer is one of categories."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A column of numbers in several sets.

    Attributes:
        parts: Of each set float64 [n]: values over the robust range; a missing one lies at the median.
        missing: Of each set bool [n].
    """

    parts: list[Floats]
    missing: list[npt.NDArray[np.bool_]]


def is_missing(value: Any) -> bool:
    """None and NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_numbers(values: Objects) -> Floats | None:
    """Values as float64 with NaN where they are missing; None where one is neither number nor missing."""
    if values.dtype != object:
        return values.astype(np.float64)
    if not all(is_missing(v) or (isinstance(v, Real) and not isinstance(v, bool)) for v in values.tolist()):
        return None
    return np.array([math.nan if is_missing(v) else float(v) for v in values.tolist()], dtype=np.float64)


def numbers_of(parts: Sequence[Objects], real: Sequence[int]) -> Numbers | None:
    """A column as numbers on one scale; None where it holds no numbers, or so few different ones that it is a category.

    The scale is the range between the :data:`TAILS` of the real values, or the whole range where that is 0.

    Args:
        parts: The column in each set; real: places of the sets that set the scale.
    """
    found = [as_numbers(part) for part in parts]
    columns = [item for item in found if item is not None]
    if len(columns) < len(found):
        return None
    values = np.concatenate([columns[place] for place in real])
    values = values[np.isfinite(values)]
    if len(np.unique(values)) <= FEW:
        return None
    low, middle, high = np.quantile(values, (TAILS[0], 0.5, TAILS[1]))
    width = float(high - low) or float(values.max() - values.min())
    missing = [~np.isfinite(item) for item in columns]
    scaled = [np.where(gap, middle, item) / width for gap, item in zip(missing, columns, strict=True)]
    return Numbers(parts=scaled, missing=missing)


def codes_of(parts: Sequence[Objects]) -> tuple[list[Ints], int]:
    """A column of categories as codes that are common to all sets, a missing value being a category; and how many."""
    places: dict[str, int] = {}
    found = []
    for part in parts:
        words = [word(value) for value in part.tolist()]
        found.append(np.array([places.setdefault(word, len(places)) for word in words], dtype=np.int64))
    return found, len(places)


def constant(values: Objects) -> str:
    """Why nothing can be told from a column: ``all values are missing`` or ``all values are equal``; "" otherwise."""
    words = {word(value) for value in values.tolist()}
    if words <= {"missing"}:
        return "all values are missing"
    return "all values are equal" if len(words) == 1 else ""


def word(value: Any) -> str:
    """A value in words: equal values of Python and numpy have equal words; 1 and 1.0 are equal."""
    if is_missing(value):
        return "missing"
    if isinstance(value, Real) and not isinstance(value, bool | np.bool_):
        return f"n{float(value):.12g}"
    return f"s{value}"
