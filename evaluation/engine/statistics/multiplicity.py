"""Corrections of p-values for the number of questions asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values: familywise error under any dependence.

    ``p_(k) -> max over j <= k of min(1, (m - j + 1) p_(j))``. Source: Holm (1979), Scand. J. Statistics 6:65.
    """
    if not p_values:
        return []
    values, order = _sorted(p_values)
    stepped = np.minimum(1, np.maximum.accumulate(values * np.arange(len(values), 0, -1)))
    return _restored(stepped, order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values: false discovery rate under independence or positive dependence.

    ``p_(k) -> min over j >= k of min(1, m p_(j) / j)``. Source: Benjamini and Hochberg (1995), JRSS B 57:289.
    """
    if not p_values:
        return []
    values, order = _sorted(p_values)
    scaled = values * len(values) / np.arange(1, len(values) + 1)
    return _restored(np.minimum(1, np.minimum.accumulate(scaled[::-1])[::-1]), order)


def _sorted(p_values: Sequence[float]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], order


def _restored(values: npt.NDArray[np.float64], order: npt.NDArray[np.int64]) -> list[float]:
    out = np.empty_like(values)
    out[order] = values
    return [float(value) for value in out]
