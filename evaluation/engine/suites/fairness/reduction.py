"""A classifier under a bound on how far a group may be from all: the exponentiated gradient reduction.

Two players: one fits a classifier to the costs of the moment, the other raises the price of the constraints that it
breaks. The answer is a mixture of the classifiers fitted on the way. A study's cost follows from its group and outcome
alone and its decision from its group and score alone, so everything is computed on counts by group, outcome and bin.

Source: Agarwal et al. (2018), A Reductions Approach to Fair Classification, ICML. The steps, their constants and the
order in which numbers are added are those of fairlearn's ``ExponentiatedGradient``: the mixture is the same to the
last bit, without a table per step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PRICE = 100.0
"""Bound on the sum of the prices."""
LEARNING = 2.0
SAME = 1e-8
LEAST_STEPS = 5
FIRST_LOOK, NEXT_LOOK, SHRINK = 5, 1.6, 0.8
"""When the progress is looked at, and by how much less than before it must be, or the learning rate becomes."""

EVENTS = {
    "demographic_parity_difference": ((0, 1),),
    "equal_opportunity_difference": ((1,),),
    "fpr_difference": ((0,),),
    "equalized_odds_difference": ((0,), (1,)),
}
"""Outcomes of the studies among which the groups are to be decided alike, by metric."""

Fit = Callable[[Bools, Floats], Bools]
"""From the wanted decision and the weight of each group and outcome, [G, 2], to decisions, bool [G, K]."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Studies as rows. All arrays have length n: group, outcome (0 or 1) and bin of the score."""

    groups: int
    bins: int
    group: Ints
    outcome: Ints
    bin: Ints

    def __len__(self) -> int:
        return len(self.group)

    @property
    def sizes(self) -> Ints:
        """Studies by group and outcome, int64 [G, 2]."""
        return np.bincount(self.group * 2 + self.outcome, minlength=2 * self.groups).reshape(-1, 2)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What is asked of a classifier: a metric of ``EVENTS``, the bound, and the costs of errors."""

    metric: str
    difference: float
    false_positive: float
    miss: float


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Chance of a positive decision by group and bin, float64 [G, K]; ``models`` have a share in it."""

    chances: Floats
    models: int


@dataclass(frozen=True, kw_only=True)
class _Gap:
    """Value of the game at a mixture: its own, the least and the highest that the players could reach from it."""

    own: float
    low: float
    high: float

    @property
    def size(self) -> float:
        return max(self.own - self.low, self.high - self.own)


def exponentiated_gradient(rows: Rows, bound: Bound, fit: Fit, *, steps: int) -> Mixture:
    """The mixture after at most ``steps`` steps, or as soon as neither player can gain more than chance."""
    game = _Game(rows, bound, fit)
    theta, prices = np.zeros(game.size), np.zeros(game.size)
    chosen: dict[int, float] = {}
    kept: list[tuple[float, tuple[int, ...], Floats]] = []
    own_gaps: list[float] = []
    rate, looked, last = LEARNING / PRICE, FIRST_LOOK, np.inf
    enough = 0.0
    for step in range(steps):
        price = PRICE * np.exp(theta) / (1 + np.exp(theta).sum())
        prices += price
        best = game.best(price)
        enough = enough if step else game.chance_of(best)
        chosen[best] = chosen.get(best, 0.0) + 1.0
        order, weights = tuple(chosen), np.array(list(chosen.values()))
        weights = weights / weights.sum()
        own = game.gap(order, weights, prices / (step + 1), enough).size
        own_gaps.append(own)
        solved = game.solved(enough) if step else None
        kept.append((own, order, weights) if solved is None or own < solved[0] else solved)
        if kept[step][0] < enough and step >= LEAST_STEPS:
            break
        if step >= looked * NEXT_LOOK:
            rate *= SHRINK if min(own_gaps) > last * SHRINK else 1.0
            looked, last = step, min(own_gaps)
        theta += rate * (game.breaches[best] - bound.difference)
    gaps = np.array([item[0] for item in kept])
    _, order, weights = kept[int(np.flatnonzero(gaps <= gaps.min() + SAME)[-1])]
    return Mixture(chances=game.mixed(order, weights), models=int((weights > 0).sum()))


class _Game:
    """The classifiers so far, with the cost of each and how far it breaks each constraint.

    Constraints are numbered by side (above, below), event and group. ``breaches[j]`` is float64 [size].
    """

    def __init__(self, rows: Rows, bound: Bound, fit: Fit) -> None:
        self.rows, self.bound, self.fit = rows, bound, fit
        sizes, total = rows.sizes, len(rows)
        events = EVENTS[bound.metric]
        self.parts = [
            (outcomes, group)
            for outcomes in events
            for group in range(rows.groups)
            if sizes[group, list(outcomes)].sum() > 0
        ]
        self.size = 2 * len(self.parts)
        among = [float(sizes[:, list(outcomes)].sum() / total) for outcomes, _ in self.parts]
        share = [float(sizes[group, list(outcomes)].sum() / total) for outcomes, group in self.parts]
        self.inside = np.array(share) / np.array(among)
        self.spans = [
            np.array([place for place, part in enumerate(self.parts) if part[0] == outcomes]) for outcomes in events
        ]
        cells = np.zeros((self.size, 2 * rows.groups))
        for place, (outcomes, group) in enumerate(self.parts):
            everyone = [2 * other + y for other in range(rows.groups) for y in outcomes]
            own = [2 * group + y for y in outcomes]
            cells[place, everyone] = 1 / among[place]
            cells[place, own] = 1 / among[place] - 1 / share[place]
        cells[len(self.parts) :] = -cells[: len(self.parts)]
        self.by_cell = cells
        # The sums over rows run in BLAS as they would over a table of rows, so that they are rounded alike.
        self.by_row = np.ascontiguousarray(cells[:, rows.group * 2 + rows.outcome])
        self.costs = np.tile([-bound.false_positive, bound.miss], rows.groups)
        self.sizes = sizes.reshape(-1)
        self.decisions: list[Bools] = []
        self.errors = np.zeros(0)
        self.breaches = np.zeros((0, self.size))
        self._solved: tuple[int, tuple[float, tuple[int, ...], Floats]] | None = None
        self._known: dict[bytes, tuple[Bools, float, Floats]] = {}

    def best(self, price: Floats) -> int:
        """Number of the classifier that is best at these prices: a new one, unless an older is as good."""
        decided, error, breach = self._respond(price)
        value = error + breach @ price
        older = self.errors + np.dot(self.breaches, price)
        if len(older) and not value < older.min() - SAME:
            return int(np.argmin(older))
        self.decisions.append(decided)
        self.errors = np.append(self.errors, error)
        self.breaches = np.concatenate([self.breaches, breach[None]])
        return len(self.decisions) - 1

    def _respond(self, price: Floats) -> tuple[Bools, float, Floats]:
        """A classifier fitted to what each group and outcome costs at these prices, its error and its breaches."""
        signed = self.costs + price @ self.by_cell
        wanted, weight = signed > 0, np.abs(signed)
        occurs = self.sizes > 0
        if len(set(wanted[occurs].tolist())) == 1:
            decided = np.full((self.rows.groups, self.rows.bins), bool(wanted[occurs][0]))
        else:
            scaled = len(self.rows) * weight / float(self.sizes @ weight)
            decided = self.fit(wanted.reshape(-1, 2), scaled.reshape(-1, 2))
        key = np.packbits(decided).tobytes()
        if key not in self._known:
            self._known[key] = (decided, *self._judged(decided))
        return self._known[key]

    def _judged(self, decided: Bools) -> tuple[float, Floats]:
        rows = self.rows
        made = decided[rows.group, rows.bin]
        missed = int((rows.outcome > made).sum())
        false = int((rows.outcome < made).sum())
        cost = float(np.full(missed, self.bound.miss).sum()) + float(np.full(false, self.bound.false_positive).sum())
        return cost / len(rows), -np.dot(self.by_row, made.astype(np.float64)) / len(rows)

    def chance_of(self, number: int) -> float:
        """Half a standard error of the error rate: a gain below it is chance."""
        rows = self.rows
        wrong = np.abs(self.decisions[number][rows.group, rows.bin] - rows.outcome).astype(np.float64)
        mean = wrong.sum() / len(wrong)
        spread = np.sqrt(((mean - wrong) ** 2).sum() / (len(wrong) - 1))
        return float(0.5 * spread / np.sqrt(len(rows)))

    def gap(self, order: Sequence[int], weights: Floats, price: Floats, enough: float) -> _Gap:
        """The value of a mixture at these prices, and what the players could still reach."""
        lean = self._lean(price)
        error, breach = self._of(order, weights)
        own = error + np.sum(lean * (breach - self.bound.difference))
        worst = (breach - self.bound.difference).max()
        high = error + PRICE * worst if worst > 0 else error
        found = _Gap(own=own, low=own, high=high)
        for factor in (1.0, 2.0, 5.0, 10.0):
            number = self.best(factor * price)
            low = self.errors[number] + np.sum(lean * (self.breaches[number] - self.bound.difference))
            found = _Gap(own=own, low=min(found.low, low), high=high)
            if found.size > enough + SAME:
                break
        return found

    def _of(self, order: Sequence[int], weights: Floats) -> tuple[float, Floats]:
        """Error and breaches of a mixture."""
        places = list(order)
        return float(np.dot(self.errors[places], weights)), np.dot(self.breaches[places].T, weights)

    def _lean(self, price: Floats) -> Floats:
        """Prices of less total that tell classifiers apart as well: only differences within an event count."""
        half = len(self.parts)
        signed = price[:half] - price[half:]
        for span in self.spans:
            inside = self.inside[span]
            ratio = signed[span] / inside
            order = np.argsort(ratio, kind="stable")
            middle = np.searchsorted(np.cumsum(inside[order]), inside.sum() / 2)
            signed[span] = signed[span] - inside * ratio[order[middle]]
        return np.concatenate([np.clip(signed, 0.0, None), np.clip(-signed, 0.0, None)])

    def solved(self, enough: float) -> tuple[float, tuple[int, ...], Floats]:
        """Gap, classifiers and weights of the best mixture of the classifiers so far, by linear programming."""
        count = len(self.decisions)
        if self._solved is None or self._solved[0] != count:
            weights, price = self._programs(count)
            order = tuple(range(count))
            self._solved = count, (self.gap(order, weights, price, enough).size, order, weights)
        return self._solved[1]

    def _programs(self, count: int) -> tuple[Floats, Floats]:
        """Weights of the mixture and prices of the constraints: the program and its dual."""
        from scipy.optimize import linprog

        cost = np.append(self.errors, PRICE)
        over = np.concatenate([self.breaches.T - self.bound.difference, -np.ones((self.size, 1))], axis=1)
        whole = np.append(np.ones(count), 0.0)[None]
        zeros, one = np.zeros(self.size), np.ones(1)
        found = linprog(cost, A_ub=over, b_ub=zeros, A_eq=whole, b_eq=one, method="highs-ds")
        free = [(0, None)] * self.size + [(None, None)]
        dual = linprog(
            np.append(zeros, -one), A_ub=np.concatenate([-over.T, whole.T], axis=1), b_ub=cost, bounds=free,
            method="highs-ds",
        )  # fmt: skip
        return found.x[:-1], dual.x[:-1]

    def mixed(self, order: Sequence[int], weights: Floats) -> Floats:
        """Chance of a positive decision by group and bin."""
        used = np.array([self.decisions[number].reshape(-1) for number in order])[weights != 0]
        chances: Floats = weights[weights != 0] @ used
        return chances.reshape(self.rows.groups, self.rows.bins)
