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


def benjamini_yekutieli(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Yekutieli's adjusted p-values: false discovery rate under any dependence.

    :func:`benjamini_hochberg` times ``1 + 1/2 + ... + 1/m``. Source: Benjamini and Yekutieli (2001), Annals of
    Statistics 29:1165.
    """
    if not p_values:
        return []
    values, order = _sorted(p_values)
    places = np.arange(1, len(values) + 1)
    scaled = values * len(values) * float((1 / places).sum()) / places
    return _restored(np.minimum(1, np.minimum.accumulate(scaled[::-1])[::-1]), order)


def e_benjamini_hochberg(e_values: Sequence[float]) -> list[float]:
    """The smallest level at which the e-BH procedure rejects each hypothesis: false discovery rate, any dependence.

    At level alpha the k largest e-values are rejected, for the largest k with ``k e_[k] >= m / alpha``. So the level
    is ``min over j >= k of min(1, m / (j e_[j]))`` with e-values in descending order: Benjamini and Hochberg on
    ``1 / e``, which for e-values needs no assumption on their dependence.

    Args:
        e_values: Not negative; infinity is allowed.

    Raises:
        ValueError: for an e-value that is negative or not a number.

    Source: Wang and Ramdas (2022), JRSS B 84:822.
    """
    values = np.asarray(e_values, dtype=np.float64)
    if not (values >= 0).all():
        raise ValueError("an e-value is negative or not a number")
    return benjamini_hochberg([float(1 / value) for value in np.maximum(values, 1e-100)])


def _sorted(p_values: Sequence[float]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    return values[order], order


def _restored(values: npt.NDArray[np.float64], order: npt.NDArray[np.int64]) -> list[float]:
    out = np.empty_like(values)
    out[order] = values
    return [float(value) for value in out]
