"""Time series in a cell: a list of (time in hours, value), however the file writes it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from models_registry.cohorts.values import Mask, is_text, nulls_of, trimmed

SERIES_TYPE = pa.list_(pa.struct([pa.field("t", pa.float64()), pa.field("v", pa.float64())]))

Points = list[tuple[float, float]]


class SeriesFault(ValueError):
    """Why a cell is no series."""


def parse_series(array: pa.Array) -> tuple[pa.Array, dict[int, str], Mask] | None:
    """Series of every row as ``list<struct<t, v>>`` in the order of time.

    Reads JSON text, ``list<struct<t, v>>`` and lists of pairs. An empty list is a missing series.

    Returns:
        The values; for each row that is no series, why; and the rows whose times were not ascending. None for a
        type that cannot hold a series.
    """
    if is_text(array.type):
        cells: list[Any] = trimmed(array).to_pylist()
        read: Callable[[Any], Points] = _from_json
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        cells, read = array.to_pylist(), _from_list
    elif pa.types.is_null(array.type):
        cells, read = [None] * len(array), _from_list
    else:
        return None
    made: list[Points | None] = []
    faults: dict[int, str] = {}
    disordered = np.zeros(len(cells), dtype=np.bool_)
    for index, cell in enumerate(cells):
        try:
            points = None if cell is None else read(cell)
        except SeriesFault as fault:
            faults[index], points = str(fault), None
        if points and any(b[0] < a[0] for a, b in itertools.pairwise(points)):
            disordered[index] = True
            points = sorted(points, key=lambda point: point[0])
        made.append(points or None)
    return _array(made), faults, disordered


def _from_json(text: str) -> Points:
    try:
        return _from_list(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SeriesFault("it is not a JSON list of pairs") from error


def _from_list(cell: Any) -> Points:
    if not isinstance(cell, list):
        raise SeriesFault("it is not a list of pairs")
    return [_point(item) for item in cell]


def _point(item: Any) -> tuple[float, float]:
    pair = (item.get("t"), item.get("v")) if isinstance(item, dict) else item
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise SeriesFault("a point is not a pair of time and value")
    for number in pair:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise SeriesFault("a time or value is not a finite number")
    return float(pair[0]), float(pair[1])


def _array(made: list[Points | None]) -> pa.Array:
    points = [point for item in made if item for point in item]
    lengths = np.array([len(item) if item else 0 for item in made], dtype=np.int32)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = np.array(points, dtype=np.float64).reshape(len(points), 2)
    struct = pa.StructArray.from_arrays(
        [pa.array(flat[:, 0]), pa.array(flat[:, 1])], fields=list(SERIES_TYPE.value_type)
    )
    missing = pa.array([item is None for item in made], pa.bool_())
    return pa.ListArray.from_arrays(offsets, struct, type=SERIES_TYPE, mask=missing)


def series_arrays(array: pa.Array) -> list[np.ndarray[Any, np.dtype[np.float64]] | None]:
    """Each row as float64 [points, 2] of (time, value); None where there is none."""
    missing = nulls_of(array)
    offsets = array.offsets.to_numpy()
    inner = array.values
    flat = np.stack([inner.field("t").to_numpy(), inner.field("v").to_numpy()], axis=1)
    return [None if missing[i] else flat[offsets[i] : offsets[i + 1]] for i in range(len(array))]
