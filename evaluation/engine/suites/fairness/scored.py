"""Statistics of the groups' scores of one label and one grouping, with cluster-robust intervals.

The variance of a statistic is the sum over patients of the square of the sum of their studies' influences. Squares of
single studies come from the fine histogram; products of two studies of one patient from the coarse moments, in which a
study counts with the mean influence of its cell. With one study per patient AUROC's variance is thereby DeLong's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evaluation.engine.grouped import Grouped
from evaluation.engine.judging import Contrast, Shortfall
from evaluation.engine.protocol import Protocol
from evaluation.engine.sketches.scores import COARSE, SCALE, ScoreCells, bin_edges
from evaluation.engine.statistics.intervals import Interval, difference, t_of, wilson, z_of
from evaluation.engine.statistics.scored import Scores, Statistic, cross_auroc, net_benefit
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.statistics.simultaneous import normal_max_t
from evaluation.engine.suites.fairness.score_metrics import NET_BENEFIT, SCORED, XAUC, Need

Floats = npt.NDArray[np.float64]
Influence = Mapping[int, Floats]
"""Index of a group -> influence of one of its studies, float64 [2, BINS]."""

MANY = 200
"""Above so many pairs their joint covariance is not drawn from."""

NO_SPREAD = 1e-9
"""A standard error below this is that of numbers that do not vary."""

LINEARISED = "linearised variance of patients"
DELONG = "DeLong, clustered by patient"
EXACT = "Wilson, patients"


class ScoredGroups(Grouped):
    """Everything that is computed from one :class:`ScoreCells`. Computed once, on demand."""

    def __init__(self, protocol: Protocol, label: str, attribute: str, cells: ScoreCells) -> None:
        super().__init__(protocol, label, attribute, cells.groups)
        self.cells = cells
        self._statistics: dict[tuple[str, str], Statistic] = {}
        self._pairs: dict[str, tuple[Contrast, ...]] = {}
        self._errors: dict[tuple[str, str], float] = {}
        self._lacking: dict[tuple[str, str], Shortfall | None] = {}

    def patients(self, group: str) -> int:
        return int(self.cells.owners[self.index(group), 2])

    def patients_of(self, one: str, two: str) -> int:
        """Patients of either group."""
        both = int(self.cells.shared[self.index(one), self.index(two)])
        return self.patients(one) + self.patients(two) - both

    def suppressed(self, group: str) -> bool:
        """Whether the group is so small that nothing is told of it, or so few have, or lack, the finding."""
        return any(0 < int(count) < self.protocol.minimum_cell for count in self.cells.owners[self.index(group)])

    def scores(self, group: str) -> Scores:
        return self._scores[self.index(group)]

    @cached_property
    def _scores(self) -> list[Scores]:
        counts = self.cells.hist.sum(axis=0)
        sums = self.cells.sums.sum(axis=0) / SCALE
        means = np.divide(sums, counts, out=np.zeros(counts.shape), where=counts > 0)
        return [Scores(counts=counts[row], means=means[row]) for row in range(len(self.cells.groups))]

    def statistic(self, metric: str, group: str) -> Statistic:
        if (metric, group) not in self._statistics:
            self._statistics[metric, group] = self._compute(metric, self.scores(group))
        return self._statistics[metric, group]

    def _compute(self, metric: str, scores: Scores) -> Statistic:
        if metric == NET_BENEFIT:
            threshold = self.operating_point
            if threshold is None:
                reason = "undefined: the protocol gives the label no threshold, and names none under 'utility'"
                return Statistic(value=None, influence=np.zeros(scores.counts.shape), reason=reason)
            return net_benefit(scores, self.bin_at(threshold), threshold)
        return SCORED[metric].of(scores)

    @property
    def operating_point(self) -> float | None:
        """The threshold probability of net benefit: the label's own, else the first that the protocol names."""
        own = next((item.threshold for item in self.protocol.labels if item.name == self.label), None)
        if own is not None and 0 < own.value < 1:
            return own.value
        return self.protocol.utility_thresholds[0] if self.protocol.utility_thresholds else None

    @staticmethod
    @cache
    def bin_at(threshold: float) -> int:
        """First bin that counts as positive. A threshold within a bin counts as the bin's nearest edge."""
        return int(np.argmin(np.abs(bin_edges()[:-1] - threshold)))

    def need(self, metric: str) -> Need:
        if metric == XAUC:
            return Need.BOTH_CLASSES
        return Need.PATIENTS if metric == NET_BENEFIT else SCORED[metric].need

    def shortfalls(self, metric: str) -> tuple[Shortfall, ...]:
        """Groups that have too few patients, or studies, to be judged by the metric."""
        found = [self._shortfall(metric, group) for group in self.judged]
        return tuple(item for item in found if item is not None)

    def adequate(self, metric: str) -> tuple[str, ...]:
        return tuple(group for group in self.judged if self._shortfall(metric, group) is None)

    def _shortfall(self, metric: str, group: str) -> Shortfall | None:
        if (metric, group) not in self._lacking:
            self._lacking[metric, group] = self._find_shortfall(metric, group)
        return self._lacking[metric, group]

    def _find_shortfall(self, metric: str, group: str) -> Shortfall | None:
        need, least = self.need(metric), self.protocol.minimum_denominator
        without, present, anyone = (int(count) for count in self.cells.owners[self.index(group)])
        lacking = []
        if need is Need.PATIENTS:
            lacking = [(anyone, least, "patients with a score")]
        else:
            lacking = [(present, least, "patients with the finding"), (without, least, "patients without the finding")]
        if need is Need.EVENTS:
            scores, events = self.scores(group), self.protocol.calibration_events
            lacking += [
                (scores.with_finding, events, "studies with the finding"),
                (scores.without, events, "studies without the finding"),
            ]
        for count, wanted, whom in lacking:
            if count < wanted:
                few = 0 < count < self.protocol.minimum_cell
                told = f"fewer than {self.protocol.minimum_cell}" if few else str(count) if count else "no"
                more = (
                    f"at least {wanted} {whom} in group {group}"
                    if few
                    else f"about {wanted - count} more {whom} in group {group}"
                )
                return Shortfall(
                    group=group, reason=f"group {group} has {told} {whom}, {wanted} are needed", needed=more
                )
        if self.suppressed(group):
            reason = f"group {group} has fewer than {self.protocol.minimum_cell} patients with, or without, the finding"
            return Shortfall(group=group, reason=reason, needed="")
        statistic = Statistic(value=0.0, influence=np.zeros(0)) if metric == XAUC else self.statistic(metric, group)
        if statistic.value is None:
            return Shortfall(group=group, reason=f"group {group}: {statistic.reason}", needed="")
        return None

    def covariance(self, influences: Sequence[Influence]) -> Floats:
        """Cluster-robust covariance of statistics with these influences, float64 [k, k]."""
        count = len(influences)
        single, mean = np.zeros((count, count)), np.zeros((count, len(self.cells.groups), 2 * COARSE))
        for group in sorted({group for item in influences for group in item}):
            rows = [row for row, item in enumerate(influences) if group in item]
            fine = np.stack([influences[row][group] for row in rows]).reshape(len(rows), -1)
            weighed, mean[rows, group] = self._weighed(group, fine)
            single[np.ix_(rows, rows)] += weighed @ fine.T
        return self._clustered(single, mean)

    def variances(self, group: int, influences: Floats) -> Floats:
        """Cluster-robust variance of each statistic of one group, float64 [k], from influences [k, 2, BINS]."""
        fine = influences.reshape(len(influences), -1)
        mean = np.zeros((len(influences), len(self.cells.groups), 2 * COARSE))
        weighed, mean[:, group] = self._weighed(group, fine)
        return np.diag(self._clustered(np.diag((weighed * fine).sum(axis=1)), mean))

    def _weighed(self, group: int, fine: Floats) -> tuple[Floats, Floats]:
        """Influences [k, 2 BINS] times the studies of their cell, and their mean in each coarse cell, [k, 2 COARSE]."""
        hist, weight = self._weights[group]
        weighed = fine * hist
        mass = weighed.reshape(len(fine), 2 * COARSE, -1).sum(axis=2)
        return weighed, np.divide(mass, weight, out=np.zeros_like(mass), where=weight > 0)

    @cached_property
    def _weights(self) -> list[tuple[Floats, Floats]]:
        """Studies of each group in fine and in coarse cells."""
        fine = [scores.counts.reshape(-1).astype(np.float64) for scores in self._scores]
        return [(hist, hist.reshape(2 * COARSE, -1).sum(axis=1)) for hist in fine]

    def _clustered(self, single: Floats, mean: Floats) -> Floats:
        """Covariance from the products of single studies [k, k] and the mean influence in every coarse cell."""
        cells = mean.reshape(len(mean), -1).T
        both = self.cells.pairs.product(cells, cells) - (cells.T * self.cells.pairs.total) @ cells
        patients = max(2, int(self.cells.owners[:, 2].sum()))
        found: Floats = (single + both) * patients / (patients - 1)
        return found

    def standard_error(self, metric: str, group: str) -> float:
        if (metric, group) not in self._errors:
            influence = {self.index(group): self.statistic(metric, group).influence}
            self._errors[metric, group] = math.sqrt(max(0.0, float(self.covariance([influence])[0, 0])))
        return self._errors[metric, group]

    def freedom(self, metric: str, *groups: str) -> float:
        """Degrees of freedom of a statistic's variance: the patients of the rarer class, less one."""
        owners = self.cells.owners[[self.index(group) for group in groups]]
        rarer = owners[:, 2] if self.need(metric) is Need.PATIENTS else owners[:, :2].min(axis=1)
        return float(max(1, int(rarer.min()) - 1))

    def interval(self, metric: str, group: str) -> tuple[Callable[[float], Interval], str]:
        """Interval of a defined statistic for a normal quantile z, and how it is made."""
        value = self.statistic(metric, group).value or 0.0
        error, freedom = self.standard_error(metric, group), self.freedom(metric, group)
        scale = "plain" if metric == NET_BENEFIT else SCORED[metric].scale
        if scale == "logit" and (error <= 0 or not 0 < value < 1):
            fewest = max(1, int(self.cells.owners[self.index(group), :2].min()))
            return lambda z: wilson(value, fewest, z), EXACT
        if error < NO_SPREAD:
            # All patients say the same. That leaves room for what about one patient in all could have said otherwise.
            error = 1.5 / (freedom + 1)
        method = DELONG if metric == "auroc" else LINEARISED
        return lambda z: _limits(value, error, t_of(z, freedom) if z > 0 else 0.0, scale), method

    def single_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """The statistic of each adequate group against fixed limits, with Bonferroni over the groups."""
        groups = self.adequate(metric)
        critical = z_of(self.protocol.alpha / max(1, len(groups)))
        return tuple(self._single(metric, group, critical) for group in groups)

    def _single(self, metric: str, group: str, critical: float) -> Contrast:
        value = self.statistic(metric, group).value or 0.0
        interval, method = self.interval(metric, group)
        n = self.scores(group).n
        return Contrast(
            groups=(group,), metric=metric, rates=(value,), value=value, n=n, patients=self.patients(group),
            smallest=(group, n), method=method, interval=interval, critical=critical,
        )  # fmt: skip

    def pair_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """Differences between every two adequate groups with one simultaneous critical value: ``auroc`` or ``xauc``."""
        if metric not in self._pairs:
            pairs = list(combinations(self.adequate(metric), 2))
            found = [self._difference(metric, *pair) for pair in pairs]
            errors, critical = self._simultaneous(metric, [influence for _, influence in found])
            self._pairs[metric] = tuple(
                self._pair(metric, pair, values, error, critical, len(pairs))
                for pair, (values, _), error in zip(pairs, found, errors, strict=True)
            )
        return self._pairs[metric]

    def _simultaneous(self, metric: str, influences: Sequence[Influence]) -> tuple[list[float], float]:
        """Standard error of each difference, and the critical value for all: Bonferroni's where there are too many."""
        if not influences:
            return [], 0.0
        if len(influences) > MANY:
            variances = [float(self.covariance([item])[0, 0]) for item in influences]
            critical = z_of(self.protocol.alpha / len(influences))
        else:
            covariance = self.covariance(influences)
            variances = [float(value) for value in np.diag(covariance)]
            rng = generator(self.protocol.seed, "max-t", metric, self.label, self.attribute)
            critical = normal_max_t(covariance, self.protocol.alpha, rng)
        return [math.sqrt(max(0.0, value)) for value in variances], critical

    def cross(self, one: str, two: str) -> tuple[Statistic, Statistic]:
        """The cross-group AUROC: with the finding of ``one`` against without of ``two``; influences on each."""
        return cross_auroc(self.scores(one), self.scores(two))

    def _difference(self, metric: str, one: str, two: str) -> tuple[tuple[float, float], Influence]:
        """The two values whose difference is judged, and the influences on it."""
        first, second = self.index(one), self.index(two)
        if metric == XAUC:
            up, down = self.cross(one, two), self.cross(two, one)
            influence = {first: up[0].influence - down[1].influence, second: up[1].influence - down[0].influence}
            return (up[0].value or 0.0, down[0].value or 0.0), influence
        left, right = self.statistic(metric, one), self.statistic(metric, two)
        return (left.value or 0.0, right.value or 0.0), {first: left.influence, second: -right.influence}

    def _pair(
        self, metric: str, pair: tuple[str, str], values: tuple[float, float], error: float, critical: float, count: int
    ) -> Contrast:
        """The first value less the second, with the group that is worse off named first."""
        worse = SCORED[metric].worse if metric in SCORED else -1
        if (values[0] - values[1]) * worse < 0:
            pair, values = pair[::-1], values[::-1]
        gap, freedom = values[0] - values[1], self.freedom(metric, *pair)
        fewest = [max(1, int(self.cells.owners[self.index(group), :2].min())) for group in pair]

        def student(z: float) -> Interval:
            half = (t_of(z, freedom) if z > 0 else 0.0) * error
            return max(-1.0, gap - half), min(1.0, gap + half)

        def exact(z: float) -> Interval:
            limits = (wilson(values[0], fewest[0], z), wilson(values[1], fewest[1], z))
            return difference(*values, limits)

        sizes = [(group, self.scores(group).n) for group in pair]
        made = DELONG if metric in {"auroc", XAUC} else LINEARISED
        return Contrast(
            groups=pair, metric=metric, rates=values, value=gap, n=sum(n for _, n in sizes),
            patients=self.patients_of(*pair), smallest=min(sizes, key=lambda item: item[1]),
            method=f"{made}, max-|t|" if error > 0 else f"Newcombe, {EXACT}, Bonferroni",
            interval=student if error > 0 else exact,
            critical=critical if error > 0 else z_of(self.protocol.alpha / max(1, count)),
        )  # fmt: skip


def _limits(value: float, error: float, t: float, scale: str) -> Interval:
    """``value -+ t error`` on a scale. For ``log`` the error is that of the logarithm; ``unit`` is cut at 0 and 1."""
    if scale == "log":
        return value * math.exp(-min(700.0, t * error)), value * math.exp(min(700.0, t * error))
    if scale == "logit":
        centre, half = math.log(value / (1 - value)), t * error / (value * (1 - value))
        return _expit(centre - half), _expit(centre + half)
    low, high = value - t * error, value + t * error
    return (max(0.0, low), min(1.0, high)) if scale == "unit" else (low, high)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(max(-700.0, x)) / (1 + math.exp(max(-700.0, x)))
