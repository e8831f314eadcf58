"""Distances between rows of mixed kinds, after Gower, and the nearest row of another set.

``d(x, y) = (sum of |x - y| / range over numbers + number of categories that differ) / number of columns``. A missing
number lies at the median, and whether it is missing counts as one more category. Rows that are equal are 0 apart,
exactly. The time is that of one matrix product and one L1 distance: below a second for 5,000 rows by 5,000 and 30
columns.

Source: Gower (1971), Biometrics 27:857.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.suites.rows import Rows
from synthetic.suites.values import Floats, Ints

BLOCK = 512
"""Rows that are compared at a time: bounds the memory."""
WIDE = 64
"""A category of more values is compared value by value, not as indicators."""


def distances(rows: Rows, others: Rows) -> Iterator[tuple[slice, Any]]:
    """Blocks of Gower's distances: which of ``rows``, and a float32 tensor [block, others].

    Raises:
        ValueError: the rows have no columns.
    """
    import torch

    width = len(rows.names)
    if not width:
        raise ValueError("rows without columns have no distance")
    one, two = torch.from_numpy(rows.numbers), torch.from_numpy(others.numbers)
    narrow = [place for place, levels in enumerate(rows.levels) if levels <= WIDE]
    here, there = _indicators(rows, narrow), _indicators(others, narrow)
    wide = [place for place, levels in enumerate(rows.levels) if levels > WIDE]
    codes, other_codes = torch.from_numpy(rows.codes), torch.from_numpy(others.codes)
    compared = len(narrow) + rows.missing.shape[1]
    for start in range(0, len(rows), BLOCK):
        part = slice(start, min(start + BLOCK, len(rows)))
        found = compared - here[part] @ there.T
        if one.shape[1]:
            found += torch.cdist(one[part], two, p=1)
        for column in wide:
            found += codes[part, column, None] != other_codes[None, :, column]
        yield part, found / width


def nearest(rows: Rows, others: Rows) -> tuple[Floats, Ints]:
    """Distance to the nearest of ``others`` and its place, the first of equals: float64 [n], int64 [n]."""
    distance, place = np.empty(len(rows), dtype=np.float64), np.empty(len(rows), dtype=np.int64)
    for part, found in distances(rows, others):
        least = found.argmin(dim=1)
        place[part] = least.numpy()
        distance[part] = found.gather(1, least[:, None])[:, 0].numpy()
    return distance, place


def _indicators(rows: Rows, narrow: list[int]) -> Any:
    """1 where a category has a value, 1 where a number is there or missing: float32 [n, values]."""
    import torch

    made: list[npt.NDArray[np.float32]] = [np.zeros((len(rows), 0), dtype=np.float32)]
    for column in narrow:
        made.append((rows.codes[:, [column]] == np.arange(rows.levels[column])).astype(np.float32))
    made += [rows.missing.astype(np.float32), (~rows.missing).astype(np.float32)]
    return torch.from_numpy(np.concatenate(made, axis=1))
