"""What the reference standard of a window says: how well the model does, and whether scores still mean the same.

``performance`` compares the area under the ROC curve, and beside it losses and rates at the threshold. ``concept``
compares, at equal scores, how often the finding is there: where that moved, estimates that rest on the reference's
calibration (``estimated``) no longer hold, and a notice says so.

Source: Moreno-Torres et al. (2012), Pattern Recognition 45:521, on concept shift; Hosmer and Lemeshow (1980),
Communications in Statistics A 9:1043, for the comparison in groups of scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.rates import LOSSES, Rate, losses_of, rates_of
from evaluation.engine.drift.scored import NEGATIVE, POSITIVE, edges_of
from evaluation.engine.drift.standardised import Sides
from evaluation.engine.statistics.intervals import p_of, z_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LEAST_OF_A_CLASS = 10
"""Studies with the finding, and without, on either side, below which no rate is compared."""
MOST_GROUPS = 8
A_GROUP = 5
"""Studies with the finding, and without, that a group of scores is due for each."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How far something moved; None with a reason. ``detail`` goes into the shift."""

    effect: str
    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    reason: str
    detail: dict[str, Any]


def undefined(effect: str, reason: str) -> Change:
    return Change(effect=effect, value=None, low=None, high=None, p_value=None, reason=reason, detail={})


def too_few(sides: Sides | None) -> str:
    """Why the reference standard cannot be compared; "" where it can."""
    if sides is None:
        return "undefined: too few studies have a reference standard that can be compared with that of the reference"
    for what, numbers in (
        ("window", (sides.positives, sides.negatives)),
        ("reference", (sides.reference_class(POSITIVE), sides.reference_class(NEGATIVE))),
    ):
        if min(numbers) < LEAST_OF_A_CLASS:
            return f"undefined: the {what} needs {LEAST_OF_A_CLASS} studies with the finding and without it"
    return ""


def performance_change(sides: Sides | None, means: Floats, from_bin: int | None, *, alpha: float) -> Change:
    """Drop of the area under the ROC curve, reference less window: above 0 the model has become worse.

    Args:
        sides: Studies whose truth is known. means: float64 [K], mean score of a bin.

    Returns:
        ``auroc_drop`` with a normal interval. ``detail[rate]``: value, reference, and drop (rise of a loss) with
        interval and p-value. None with fewer than ten studies of either truth on a side, or areas that do not vary.
    """
    if sides is None or too_few(sides):
        return undefined("auroc_drop", too_few(sides))
    found = [
        rates_of(counts[:, POSITIVE], counts[:, NEGATIVE], from_bin)
        | losses_of(counts[:, POSITIVE], counts[:, NEGATIVE], means)
        for counts in (sides.window, sides.reference)
    ]
    detail = {name: _worse(sides, name, found[0][name], found[1][name], alpha) for name in found[0] if name in found[1]}
    main = detail["auroc"]
    reason = "" if main["low"] is not None else "the areas do not vary: every study lies on its own side"
    return Change(
        effect="auroc_drop", value=main["drop"], low=main["low"], high=main["high"], p_value=main["p_value"],
        reason=reason, detail=detail,
    )  # fmt: skip


def _worse(sides: Sides, name: str, now: Rate, before: Rate, alpha: float) -> dict[str, float | None]:
    """How much worse a rate became."""
    sign = -1.0 if name in LOSSES else 1.0
    drop = sign * (before.value - now.value)
    slopes = [np.column_stack([rate.by_positive, rate.by_negative]) for rate in (now, before)]
    error = math.sqrt(sides.variance(*slopes))
    half = z_of(alpha) * error
    told: dict[str, float | None] = {"value": now.value, "reference": before.value, "drop": drop}
    if error <= 0:
        return told | {"low": None, "high": None, "p_value": None}
    return told | {"low": drop - half, "high": drop + half, "p_value": p_of(drop / error)}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How often the finding is there at a score, from the reference: rising with the score.

    Attributes:
        share: float64 [K]; block: int64 [K], bins with one share.
        spread: float64 [blocks], variance of the share of a block.
        weight: float64 [blocks], standardised studies of the reference in it, and what was added to them.
    """

    share: Floats
    block: Ints
    spread: Floats
    weight: Floats


def calibration_of(sides: Sides) -> Calibration:
    """Isotonic share by bin (pool adjacent violators), one study at the overall share added to each block.

    Bins without a labelled study take the share of the nearest block below, else above.

    Source: Ayer et al. (1955), Annals of Mathematical Statistics 26:641; Zadrozny and Elkan (2002), KDD.
    """
    positive, labelled = sides.reference[:, POSITIVE], sides.reference[:, :2].sum(axis=1)
    block = _blocks(positive, labelled)
    # One study of the reference, in the units of the standardised counts.
    unit = float(labelled.sum()) / max(1, sides.reference_class(POSITIVE) + sides.reference_class(NEGATIVE))
    size = int(block.max()) + 1
    with_finding, weight = (_sums(block, part, size) for part in (positive, labelled))
    with_finding += unit * float(positive.sum() / labelled.sum())
    weight += unit
    # What was added may set a small block below the one before it.
    again = _blocks(with_finding, weight)
    block = again[block]
    size = int(again.max()) + 1
    with_finding, weight = (_sums(again, part, size) for part in (with_finding, weight))
    share = with_finding / weight
    spread = share * (1 - share) / weight * (float(sides.window.sum()) / sides.worth)
    return Calibration(share=share[block], block=block, spread=spread, weight=weight)


def concept_change(sides: Sides | None, threshold: float | None, *, alpha: float, minimum_cell: int = 1) -> Change:
    """How far the share of positives at equal scores lies from the reference's calibration.

    Over G groups of scores with shares ``n_g / n`` of the window's studies, observed less expected shares D_g with
    covariance V (of the window given its scores, and of the calibration): ``sqrt(max(0, sum n_g/n (D_g^2 - V_gg)))``,
    root mean square, less what chance adds. The p-value is that of ``D' V^-1 D``, chi-square with G degrees.

    Returns:
        ``calibration_rms``; ``detail``: observed and expected shares, and the groups of scores with at
        least ``minimum_cell`` studies.
    """
    if sides is None or too_few(sides):
        return undefined("calibration_rms", too_few(sides))
    from scipy.special import chdtrc

    map_ = calibration_of(sides)
    labelled = sides.window.sum(axis=1)
    group = _groups(labelled, map_.share, sides)
    size = int(group.max()) + 1
    n = _sums(group, labelled, size)
    observed, expected = (_sums(group, part, size) / n for part in (sides.window[:, POSITIVE], labelled * map_.share))
    # Of the expected share of a group, how much each block of the calibration makes.
    makes = np.zeros((size, len(map_.spread)))
    np.add.at(makes, (group, map_.block), labelled / n[group])
    own = _sums(group, labelled * map_.share * (1 - map_.share), size) / n**2
    covariance = np.diag(own) + (makes * map_.spread) @ makes.T
    apart, weights = observed - expected, n / n.sum()
    squared = float(weights @ (apart**2 - np.diag(covariance)))
    weighed = weights[:, None] * weights * covariance
    error = math.sqrt(2 * float((weighed * covariance).sum()) + 4 * float(apart @ weighed @ apart))
    value, low, high = (
        math.sqrt(max(0.0, found)) for found in (squared, squared - z_of(alpha) * error, squared + z_of(alpha) * error)
    )
    statistic = max(0.0, float(apart @ np.linalg.solve(covariance, apart)))
    detail = {
        "observed": float(weights @ observed), "expected": float(weights @ expected), "chi2": statistic,
        "freedom": size, "groups": [
            row for row in _told(group, edges_of(threshold), n, observed, expected) if row["n"] >= minimum_cell
        ],
    }  # fmt: skip
    return Change(
        effect="calibration_rms", value=value, low=low, high=high, p_value=float(chdtrc(size, statistic)), reason="",
        detail=detail,
    )  # fmt: skip


def _sums(place: Ints, weights: Floats, size: int) -> Floats:
    return np.bincount(place, weights=weights, minlength=size).astype(np.float64)


def _told(group: Ints, edges: Floats, n: Floats, observed: Floats, expected: Floats) -> list[dict[str, float]]:
    """Groups of scores, for a reader."""
    rows = []
    for place in range(len(n)):
        bins = np.flatnonzero(group == place)
        rows.append({
            "from": float(edges[bins[0]]), "to": float(edges[bins[-1] + 1]), "n": int(n[place]),
            "observed": float(observed[place]), "expected": float(expected[place]),
        })  # fmt: skip
    return rows


def _groups(labelled: Floats, share: Floats, sides: Sides) -> Ints:
    """Neighbouring bins, so that the groups hold alike much doubt ``n p (1 - p)``: int64 [K], each with a study."""
    rarer = min(float(labelled @ share), float(labelled @ (1 - share)), float(min(sides.positives, sides.negatives)))
    most = int(min(MOST_GROUPS, max(1.0, rarer / A_GROUP)))
    doubt = np.cumsum(labelled * share * (1 - share))
    cut = np.minimum(most - 1, (doubt - labelled * share * (1 - share) / 2) / max(doubt[-1], 1e-300) * most)
    raw = np.maximum.accumulate(cut.astype(np.int64))
    # Groups without a study join the one before, so that none is empty.
    there = np.unique(raw[labelled > 0])
    made: Ints = np.clip(np.searchsorted(there, raw, side="right") - 1, 0, None).astype(np.int64)
    return made


def _blocks(positive: Floats, labelled: Floats) -> Ints:
    """Block of each bin: int64 [K], rising."""
    found: list[tuple[float, float, int]] = []
    for place in np.flatnonzero(labelled > 0).tolist():
        made = (float(positive[place]), float(labelled[place]), place)
        while found and found[-1][0] * made[1] >= made[0] * found[-1][1]:
            last = found.pop()
            made = (made[0] + last[0], made[1] + last[1], last[2])
        found.append(made)
    starts = np.array([place for _, _, place in found])
    nearest: Ints = np.clip(np.searchsorted(starts, np.arange(len(labelled)), side="right") - 1, 0, None)
    return nearest.astype(np.int64)
