"""How unusual a window is among its pool, as numbers that are standard normal when nothing changed.

The pool is all that came before: the reference and the earlier windows. Window and pool together hold N patients, n of
them in the window. If nothing changed, every choice of n among the N was as likely as any other. So the distribution of
every statistic here is known from the N values alone: no model, no plug-in of a reference that is itself uncertain.
Given the values of a pool, the windows before it are still a random part of it. Hence the scores of successive windows
are independent, exactly so for ranks without ties and for randomised counts (Barndorff-Nielsen, 1963; Vovk, 2005).

- Counts: exact, by the hypergeometric distribution, summed over strata. A count has a mass at each value; it is given
  the mean of the normal scores that the mass covers. By Jensen's inequality that is never more extreme than a
  randomised score, on average over any convex function, such as the bets of the lifetime test.
- Numbers: ranks in the pool with orthonormal polynomials as scores (Neyman, 1937): location, scale, asymmetry. Mean and
  variance of the sum are exact; its third moment is exact and is taken out by a monotone cubic (Hall, 1992).

Strata are compared each within itself. Deviations add up, and so do variances and third moments: the choice that weighs
strata best when the shift is the same in all (Cochran, 1954; Mantel and Haenszel, 1959).

Source: Wald and Wolfowitz (1944) for sums without replacement; Hall (1992), JRSS B 54:221; Barndorff-Nielsen (1963),
Annals of Mathematical Statistics 34:30, independent ranks; Vovk, Gammerman and Shafer (2005), Algorithmic Learning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LARGEST = 30.0
"""No score lies further from 0: beyond it the alarm is certain, and tails can no longer be computed."""
EXACT_VARIANCE = 60.0
"""Counts with a smaller variance are treated exactly; above, skewness is below .13 and the cubic takes it out."""
DEGREES = ("location", "scale", "asymmetry")
FEWEST = 10
"""Numbers of a window below which its ranks are not scored."""
FEWEST_VALUES = 3
COMMON = 0.5
"""A value that more than this share of the pool has is counted by itself, and the others are ranked among them."""
MOST_CATEGORIES = 20
OTHER = "(other)"
SMALLEST = 1e-9


class Draw(NamedTuple):
    """Hypergeometric: ``drawn`` of ``total`` patients are in the window, ``marked`` of the total have a property."""

    drawn: int
    marked: int
    total: int


@dataclass(frozen=True)
class Numbers:
    """Numbers of one stratum by distinct value.

    Attributes:
        values: float64 or int64 [K], ascending. counts: int64 [K]. missing: Patients without a number.
    """

    values: npt.NDArray[np.generic]
    counts: Ints
    missing: int = 0


@dataclass(frozen=True)
class _Sum:
    """A sum over the window: its deviation from the mean, its variance and its third central moment."""

    deviation: float = 0.0
    variance: float = 0.0
    third: float = 0.0

    def plus(self, other: _Sum, factor: float = 1.0) -> _Sum:
        """With another sum, independent of this one, times ``factor``."""
        return _Sum(
            self.deviation + factor * other.deviation,
            self.variance + factor**2 * other.variance,
            self.third + factor**3 * other.third,
        )

    def score(self) -> float | None:
        """See :func:`normal_score`."""
        return normal_score(self.deviation, self.variance, self.third)


def normal_score(deviation: float, variance: float, third: float = 0.0) -> float | None:
    """A deviation over its standard deviation, freed of skewness; None where it cannot vary.

    With skewness g: ``z - g (z^2 - 1) / 6 + g^2 z^3 / 108``, which rises everywhere (Hall, 1992).
    """
    if variance <= SMALLEST:
        return None
    z = deviation / math.sqrt(variance)
    bend = -third / variance**1.5 / 6
    return _clipped(z + bend * (z * z - 1) + bend * bend * z**3 / 3)


def count_score(count: int, draws: Sequence[Draw]) -> float | None:
    """The score of a count that is the sum of hypergeometric counts, one of each stratum.

    ``E[Phi^-1(U)]`` for U uniform between ``P(X < count)`` and ``P(X <= count)``. None where only one count is
    possible.
    """
    moments = [_moments(item) for item in draws]
    variance = sum(item.variance for item in moments)
    if variance <= SMALLEST:
        return None
    if variance > EXACT_VARIANCE:
        mean = sum(item.drawn * (item.marked / item.total) for item in draws if item.total)
        return normal_score(count - mean, variance, sum(item.third for item in moments))
    start, masses = 0, np.ones(1)
    for item in draws:
        low, part = _masses(item)
        start, masses = start + low, np.convolve(masses, part)
    return _mean_score(masses, count - start)


def category_scores(window: Ints, pool: Ints, names: Sequence[str]) -> dict[str, float]:
    """Scores of categories, each among those that are more common: independent of one another.

    The rarest comes first: its count among all; then the next among the rest; the most common has none. Order, and
    which categories are put together as ``(other)`` beyond 20, depend on window and pool together alone.

    Args:
        window, pool: int64 [strata, categories]. names: One for each category.
    """
    window, pool, names = _lumped(window, pool, names)
    totals = (window + pool).sum(axis=0)
    order = sorted(range(len(names)), key=lambda place: (int(totals[place]), names[place]))
    found: dict[str, float] = {}
    drawn, total = window.sum(axis=1), (window + pool).sum(axis=1)
    for place in order[:-1]:
        mine = window[:, place]
        marked = mine + pool[:, place]
        draws = [Draw(*item) for item in zip(drawn.tolist(), marked.tolist(), total.tolist(), strict=True)]
        score = count_score(int(mine.sum()), draws)
        if score is not None:
            found[names[place]] = score
        drawn, total = drawn - mine, total - marked
    return found


def number_scores(strata: Sequence[tuple[Numbers, Numbers]]) -> dict[str, float]:
    """Scores of numbers: whether it is the common value, and the ranks of the others.

    Args:
        strata: Window and pool of each stratum.

    Returns:
        ``common`` where one value holds more than half; ``location``, ``scale``, ``asymmetry``. A name is
        left out where it cannot vary, or where the window has fewer than 10 numbers to rank.
    """
    found: dict[str, float | None] = {}
    merged = [_merged(window, pool) for window, pool in strata]
    common = _common(merged)
    if common is not None:
        found["common"] = _common_score(merged, common)
        merged = [_without(item, common) for item in merged]
    found |= rank_scores([(window, window + pool) for _, window, pool in merged])
    return {name: score for name, score in found.items() if score is not None}


def rank_scores(strata: Sequence[tuple[Ints, Ints]], *, fewest: int = FEWEST) -> dict[str, float | None]:
    """Scores of the ranks of a window: degree 1, 2 and 3 of Neyman's smooth test.

    Args:
        strata: Counts by distinct value, ascending: of the window, and of window and pool together.
        fewest: Numbers of the window below which nothing is scored.
    """
    if sum(int(window.sum()) for window, _ in strata) < fewest:
        return {}
    sums = dict.fromkeys(DEGREES, _Sum())
    for window, both in strata:
        n, total = int(window.sum()), int(both.sum())
        if n == 0 or n == total or total < FEWEST_VALUES:
            continue
        weights = both / total
        for name, scores in zip(DEGREES, _polynomials(weights), strict=False):
            sums[name] = sums[name].plus(_sum_of(scores, window, weights, n, total))
    return {name: item.score() for name, item in sums.items()}


def linear_score(strata: Sequence[tuple[Floats, Ints, Ints]], *, fewest: int = FEWEST) -> float | None:
    """The score of a sum of given values: that of the window against what its pool makes likely.

    Args:
        strata: Value of each cell, and counts by cell of the window, and of window and pool together.
    """
    if sum(int(window.sum()) for _, window, _ in strata) < fewest:
        return None
    made = _Sum()
    for values, window, both in strata:
        n, total = int(window.sum()), int(both.sum())
        if 0 < n < total and total >= FEWEST_VALUES:
            weights = both / total
            made = made.plus(_sum_of(values - float(weights @ values), window, weights, n, total))
    return made.score()


def stratified_slope(counts: Sequence[Draw], marked: Sequence[int], places: Sequence[float]) -> dict[str, float]:
    """Scores of a share within many strata: ``level`` (all together), and ``slope`` (rising over ``places``).

    Args:
        counts: The draw of each stratum. marked: How many of the window have the property. places: Where it lies.
    """
    level = count_score(sum(marked), counts)
    moments = [_moments(item) for item in counts]
    total = sum(item.variance for item in moments)
    if level is None or total <= SMALLEST:
        return {}
    middle = sum(place * item.variance for place, item in zip(places, moments, strict=True)) / total
    made = _Sum()
    for draw, found, place, item in zip(counts, marked, places, moments, strict=True):
        deviation = found - draw.drawn * (draw.marked / draw.total) if draw.total else 0.0
        made = made.plus(_Sum(deviation, item.variance, item.third), place - middle)
    slope = made.score() if total >= 1 else None
    return {"level": level} if slope is None else {"level": level, "slope": slope}


def _clipped(z: float) -> float:
    return min(LARGEST, max(-LARGEST, z))


def _moments(draw: Draw) -> _Sum:
    """Variance and third central moment of a hypergeometric count."""
    n, marked, total = draw
    if total < 2 or n in (0, total):
        return _Sum()
    share = marked / total
    spread = share * (1 - share)
    third = _third(n, total) * spread * (1 - 2 * share)
    return _Sum(variance=n * (total - n) / (total - 1) * spread, third=third)


def _third(n: int, total: int) -> float:
    """Third central moment of a sum of n of ``total`` values, over theirs."""
    if total < FEWEST_VALUES:
        return 0.0
    return n * (total - n) / (total - 1) * ((total - 2 * n) / (total - 2))


def _sum_of(scores: Floats, window: Ints, weights: Floats, n: int, total: int) -> _Sum:
    """A stratum's sum of ``scores``, whose mean is 0 under ``weights``."""
    squares = scores * scores
    variance = n * (total - n) / (total - 1) * float(weights @ squares)
    return _Sum(float(window @ scores), variance, _third(n, total) * float(weights @ (squares * scores)))


def _masses(draw: Draw) -> tuple[int, Floats]:
    """Smallest count and the probabilities from it on; counts beyond 14 standard deviations are left out."""
    from scipy.special import gammaln

    n, marked, total = draw
    least, most = max(0, n + marked - total), min(n, marked)
    if least == most:
        return least, np.ones(1)
    middle, reach = n * marked / total, 14 * math.sqrt(_moments(draw).variance) + 30
    least, most = max(least, math.floor(middle - reach)), min(most, math.ceil(middle + reach))
    x = np.arange(least, most + 1, dtype=np.float64)
    rest = float(total - marked - n)
    logs = -(gammaln(x + 1) + gammaln(marked - x + 1) + gammaln(n - x + 1) + gammaln(rest + x + 1))
    masses = np.exp(logs - logs.max())
    return least, masses / masses.sum()


def _mean_score(masses: Floats, place: int) -> float:
    """The mean of the normal scores that the mass at ``place`` covers."""
    if not 0 <= place < len(masses) or masses[place] < 1e-290:
        return LARGEST if place * 2 > len(masses) else -LARGEST
    below, at, above = float(masses[:place].sum()), float(masses[place]), float(masses[place + 1 :].sum())
    edges = (_density(min(below, at + above)), _density(min(below + at, above)))
    return _clipped((edges[0] - edges[1]) / at)


def _density(share: float) -> float:
    """The normal density at the quantile of ``share``."""
    from scipy.special import ndtri

    if share <= 0:
        return 0.0
    return math.exp(-0.5 * float(ndtri(share)) ** 2) / math.sqrt(2 * math.pi)


def _lumped(window: Ints, pool: Ints, names: Sequence[str]) -> tuple[Ints, Ints, list[str]]:
    """Categories beyond the 20 most common are put together, with what the sketch itself put together."""
    totals = (window + pool).sum(axis=0)
    order = sorted(range(len(names)), key=lambda place: (-int(totals[place]), names[place]))
    kept = [place for place in order if names[place] != OTHER][:MOST_CATEGORIES]
    kept = [place for place in kept if totals[place] > 0]
    rest = [place for place in order if place not in set(kept)]
    parts = [np.column_stack([part[:, kept], part[:, rest].sum(axis=1)]) for part in (window, pool)]
    return parts[0], parts[1], [*(names[place] for place in kept), OTHER]


def _merged(window: Numbers, pool: Numbers) -> tuple[npt.NDArray[np.generic], Ints, Ints]:
    """Distinct values of both, and the counts of either at each."""
    values = np.union1d(window.values, pool.values)
    counts = np.zeros((2, len(values)), dtype=np.int64)
    counts[0, np.searchsorted(values, window.values)] = window.counts
    counts[1, np.searchsorted(values, pool.values)] = pool.counts
    return values, counts[0], counts[1]


def _common(merged: Sequence[tuple[npt.NDArray[np.generic], Ints, Ints]]) -> float | None:
    """The value that more than half of all numbers are, over the strata; None where there is none."""
    total = sum(int(window.sum() + pool.sum()) for _, window, pool in merged)
    tally: dict[float, int] = {}
    for values, window, pool in merged:
        both = window + pool
        if len(both):
            # One value can hold more than half of all only if it holds more than half of some stratum.
            place = int(np.argmax(both))
            tally.setdefault(float(values[place]), 0)
    for value in tally:
        tally[value] = sum(int((window + pool)[values == value].sum()) for values, window, pool in merged)
    best = max(tally, key=lambda value: (tally[value], -value), default=None)
    return best if best is not None and tally[best] > COMMON * total else None


def _common_score(merged: Sequence[tuple[npt.NDArray[np.generic], Ints, Ints]], common: float) -> float | None:
    draws, count = [], 0
    for values, window, pool in merged:
        mine, all_of_it = int(window[values == common].sum()), int((window + pool)[values == common].sum())
        draws.append(Draw(int(window.sum()), all_of_it, int(window.sum() + pool.sum())))
        count += mine
    return count_score(count, draws)


def _without(
    item: tuple[npt.NDArray[np.generic], Ints, Ints], common: float
) -> tuple[npt.NDArray[np.generic], Ints, Ints]:
    values, window, pool = item
    kept = values != common
    return values[kept], window[kept], pool[kept]


def _polynomials(weights: Floats) -> list[Floats]:
    """Polynomials of degree 1 to 3 in the mid-ranks, orthonormal under ``weights``; fewer where values are few."""
    middle = np.cumsum(weights) - weights / 2
    made = [np.ones_like(weights)]
    power = 2 * middle - 1
    for _ in DEGREES:
        # The next power, less what those before explain: twice, since once leaves rounding behind.
        rest = made[-1] * power if len(made) > 1 else power.copy()
        for _ in range(2):
            for known in made:
                rest = rest - float((weights * known) @ rest) * known
        size = float(weights @ (rest * rest))
        if size < 1e-8:
            break
        made.append(rest / math.sqrt(size))
    return made[1:]
