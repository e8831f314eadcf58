"""Thresholds of each group under parity, from counts by bin of the score.

Every threshold gives a group a point (constraint, objective); between two points the group's studies may be dealt by
lot, which gives the upper convex hull. On a grid of 1,001 values of the constraint, the one with the best objective
over all groups is taken.

Source: Hardt, Price and Srebro (2016), Equality of Opportunity in Supervised Learning, NeurIPS. The grid, the ties and
the order in which numbers are added are those of fairlearn's ``ThresholdOptimizer`` with balanced accuracy as the
objective: the rules are the same to the last bit, without a table of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GRID = 1000
ODDS = "equalized_odds"
CONSTRAINTS = ("demographic_parity", "true_positive_rate_parity", "false_positive_rate_parity", ODDS)
DIGITS = 15


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Predict positive a score above the first threshold for a share of the studies, above the second for the rest.

    Attributes:
        shares: Of the studies, they add up to 1.
        thresholds: ``inf`` above all scores, ``-inf`` below.
        constant: Share of the studies whose prediction does not depend on the score; None where there is no such part.
        chance: The chance of a positive among these.
    """

    shares: tuple[float, float]
    thresholds: tuple[float, float]
    constant: float | None = None
    chance: float = 0.0

    def of(self, scores: Floats) -> Floats:
        """Chance of a positive for each score."""
        one, two = (share * (scores > threshold) for share, threshold in zip(self.shares, self.thresholds, strict=True))
        found: Floats = one + two
        if self.constant is not None:
            found = self.constant * self.chance + (1 - self.constant) * found
        return found


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """What a group can reach, on the grid of the constraint."""

    size: int
    objective: Floats
    shares: tuple[Floats, Floats]
    thresholds: tuple[Floats, Floats]

    def rule(self, place: int, *, constant: float | None = None, chance: float = 0.0) -> Rule:
        one, two = (float(values[place]) for values in self.shares)
        low, high = (float(values[place]) for values in self.thresholds)
        return Rule(shares=(one, two), thresholds=(low, high), constant=constant, chance=chance)


def optimise(counts: Ints, scores: Floats, constraint: str) -> dict[int, Rule]:
    """A rule for each group that has studies.

    Args:
        counts: int64 [G, 2, K], studies by group, outcome and bin.
        scores: float64 [K], the score of each bin, ascending.
        constraint: One of ``CONSTRAINTS``.

    Raises:
        ValueError: for a group with one outcome only.
    """
    grid = np.linspace(0, 1, GRID + 1)
    curves = {
        group: _curve(counts[group], scores, constraint, grid, group)
        for group in range(len(counts))
        if counts[group].any()
    }
    if constraint == ODDS:
        return _equal_odds(curves, grid, counts.sum(axis=(0, 2)))
    total = sum(curve.size for curve in curves.values())
    overall = np.zeros(len(grid))
    for curve in curves.values():
        overall = overall + np.nan_to_num(curve.size / total * curve.objective)
    best = int(np.argmax(overall))
    return {group: curve.rule(best) for group, curve in curves.items()}


def _equal_odds(curves: dict[int, _Curve], grid: Floats, outcomes: Ints) -> dict[int, Rule]:
    """Every group at the same false positive rate and at the sensitivity of the group that reaches least."""
    negatives, positives = (int(count) for count in outcomes)
    least = np.fmin.reduce([curve.objective for curve in curves.values()])
    true, missed = positives * least, positives * (1.0 - least)
    false, spared = negatives * grid, negatives * (1.0 - grid)
    value = np.around(0.5 * true / (true + missed) + 0.5 * spared / (spared + false), DIGITS)
    best = int(np.nanargmax(value))
    rules = {}
    for group, curve in curves.items():
        reached = float(curve.objective[best])
        above = reached - float(grid[best])
        # On the diagonal the prediction is by lot anyway.
        share = 0.0 if above == 0 else (reached - float(least[best])) / above
        rules[group] = curve.rule(best, constant=share, chance=float(grid[best]))
    return rules


def _curve(counts: Ints, scores: Floats, constraint: str, grid: Floats, group: int) -> _Curve:
    points, objectives, thresholds = _points(counts, scores, constraint, group)
    kept = _hull(points.tolist(), objectives.tolist())
    x, y, cuts = points[kept], objectives[kept], thresholds[kept]
    left = np.searchsorted(x, grid, side="right") - 1
    # A value of the grid that is a point belongs to the stretch on its left.
    left[1:] = np.where(grid[1:] == x[left[1:]], left[1:] - 1, left[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (x[left + 1] - grid) / (x[left + 1] - x[left])
    rest = 1 - share
    return _Curve(
        size=int(counts.sum()),
        objective=share * y[left] + rest * y[left + 1],
        shares=(share, rest),
        thresholds=(cuts[left], cuts[left + 1]),
    )


def _points(counts: Ints, scores: Floats, constraint: str, group: int) -> tuple[Floats, Floats, Floats]:
    """Constraint, objective and threshold between every two scores that occur, by constraint, then by objective."""
    negatives, positives = (int(count) for count in counts.sum(axis=1))
    if not negatives or not positives:
        raise ValueError(f"Degenerate labels for sensitive feature value {group}")
    occur = np.flatnonzero(counts.any(axis=0))[::-1]
    false, true = (np.append(0, np.cumsum(counts[outcome, occur])) for outcome in (0, 1))
    found = np.append(scores[occur], -np.inf)
    thresholds = np.append(np.inf, (found[:-1] + found[1:]) / 2)
    if constraint == ODDS:
        x, y = false / negatives, true / positives
    else:
        y = 0.5 * true / positives + 0.5 * (negatives - false) / negatives
        x = {
            "demographic_parity": (true + false) / (negatives + positives),
            "true_positive_rate_parity": true / positives,
            "false_positive_rate_parity": false / negatives,
        }[constraint]
    order = np.lexsort((y, x))
    return x[order], y[order], thresholds[order]


def _hull(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Places of the points of the upper convex hull. Points are sorted (Andrew's monotone chain)."""
    kept: list[int] = []
    for place in range(len(x)):
        while len(kept) >= 2:
            one, two = kept[-2], kept[-1]
            if (y[two] - y[one]) * (x[place] - x[one]) > (y[place] - y[one]) * (x[two] - x[one]):
                break
            kept.pop()
        kept.append(place)
    return kept
