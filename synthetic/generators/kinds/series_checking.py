"""How like the real ones series are that were made for the same studies: figures for a generator's facts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.series_grid import known
from synthetic.generators.plans import Plans
from synthetic.generators.studies import Readings

Floats = npt.NDArray[np.float64]
LEAST_STUDIES = 30
SURE = 3.0
"""Standard errors that a real difference is from zero to be held against what was made."""


def series_facts(real: Readings, made: Readings, plans: Plans, *, gaps: bool = True) -> dict[str, Any]:
    """Lag-1 correlation, Kolmogorov-Smirnov distances, and differences by finding of one series, real and made.

    ``lag1`` is the correlation of a reading with the one before it in the same study, over all such pairs;
    ``lag1_within`` the same of readings less the mean of their study. ``ks_values`` and ``ks_gaps`` are the largest
    differences of the distributions. ``gap_ratio`` is, by finding, the difference of study means between present and
    absent as made over the real one, where the real one is at least three standard errors from zero.
    A figure is None where fewer than 30 studies, or pairs, tell it.
    """
    one, other = known(real), known(made)
    found: dict[str, Any] = {
        "lag1": {"real": lag1(one), "made": lag1(other)},
        "lag1_within": {"real": lag1(one, within=True), "made": lag1(other, within=True)},
        "ks_values": ks(_flat(one, 1), _flat(other, 1)),
        "ks_gaps": ks(_hours_between(one), _hours_between(other)),
    }
    return found | ({"gap_ratio": gap_ratios(one, other, plans)} if gaps else {})


def lag1(readings: Readings, *, within: bool = False) -> float | None:
    """Correlation of successive values of a study, pooled over studies; None for fewer than 30 pairs."""
    before, after = [], []
    for item in readings:
        if item is not None and len(item) > 1:
            values = item[:, 1] - item[:, 1].mean() if within else item[:, 1]
            before.append(values[:-1])
            after.append(values[1:])
    if sum(map(len, before)) < LEAST_STUDIES:
        return None
    first, second = np.concatenate(before), np.concatenate(after)
    if first.std() == 0 or second.std() == 0:
        return None
    return _rounded(float(np.corrcoef(first, second)[0, 1]))


def gap_ratios(real: Readings, made: Readings, plans: Plans) -> dict[str, dict[str, float | None]]:
    """Finding -> real and made difference of study means, and their ratio where the real one is sure."""
    found: dict[str, dict[str, float | None]] = {}
    one, other = _means(real), _means(made)
    for column, name in enumerate(plans.findings):
        state = plans.present[:, column]
        wanted, error = _difference(one, state)
        got, _ = _difference(other, state)
        sure = None not in (wanted, got, error) and abs(wanted or 0) > SURE * (error or 0)
        found[name] = {
            "real": _rounded(wanted), "made": _rounded(got), "ratio": _rounded(got / wanted) if sure and got is not None
            and wanted else None,
        }  # fmt: skip
    return found


def _difference(means: Floats, state: npt.NDArray[np.int8]) -> tuple[float | None, float | None]:
    groups = [means[(state == value) & np.isfinite(means)] for value in (1, 0)]
    if min(map(len, groups)) < LEAST_STUDIES:
        return None, None
    difference = float(groups[0].mean() - groups[1].mean())
    return difference, math.sqrt(sum(float(group.var(ddof=1)) / len(group) for group in groups))


def ks(one: Floats, other: Floats) -> float | None:
    """Largest difference of two empirical distributions; None where either has fewer than 30 values."""
    if min(len(one), len(other)) < LEAST_STUDIES:
        return None
    both = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(item), both, side="right") / len(item) for item in (one, other)]
    return _rounded(float(np.abs(shares[0] - shares[1]).max()))


def _means(readings: Readings) -> Floats:
    return np.array([np.nan if item is None else item[:, 1].mean() for item in readings])


def _flat(readings: Readings, column: int) -> Floats:
    return np.concatenate([item[:, column] for item in readings if item is not None] or [np.zeros(0)])


def _hours_between(readings: Readings) -> Floats:
    return np.concatenate([np.diff(item[:, 0]) for item in readings if item is not None] or [np.zeros(0)])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
