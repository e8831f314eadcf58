"""Shares and derived values of the groups of one grouping, with cluster-robust intervals and contrasts.

A share is a ratio ``p = N/D`` of sums over patients. Its linearised variance is ``m/(m-1) g'Sg`` with g the gradient of
the ratio, S the second moments of the patients' counts and m the patients behind D; divided by ``p(1-p)/D`` it is the
design effect, by which D shrinks to an effective size. The interval is Wilson's at that size. Findings of one report,
and reports of one patient, are alike: the design effect takes both in.

Where few patients err, how alike their errors are is hardly known, and too small a design effect makes the interval too
short. A cautious family therefore pulls it to ``sum(d_i^2) / D``, that of patients whose d_i findings all agree, with
the weight of one of the ``D min(p, 1-p) / effect`` errors that are independent; with many of them it makes no odds.

What is no proportion (a bias, which may be negative; ``d'``; a ratio of two shares) has the interval ``f +- t sqrt(V)``
with the same linearised V and Student's t of m - 1 degrees. V is at least what it would be if one patient more had said
nothing: counts that do not vary at all are no proof of certainty.

Source: Rao and Scott (1992), Biometrics 48:577; Korn and Graubard (1998), Survey Methodology 24:193, for the effective
size and its degrees of freedom; Binder (1983), International Statistical Review 51:279, for the linearised variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evaluation.engine.grouped import Grouped
from evaluation.engine.judging import Contrast, Shortfall
from evaluation.engine.protocol import Protocol
from evaluation.engine.sketches.tallies import TallyCells, denominators_of
from evaluation.engine.statistics.intervals import Interval, difference, t_of, wilson, z_of
from evaluation.engine.tallies import Definition, DerivedDefinition, ShareDefinition, TallyFamily

Floats = npt.NDArray[np.float64]
WILSON = "Wilson"
CLUSTERED = "Wilson with design effect"
LINEARISED = "t, linearised variance of patients"
VERSION = "1"
STEP = 1e-4
"""Of the central differences, as a share of a column's sum."""
ANYWHERE = (-math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class Value:
    """One metric in one group. ``value`` is None where it is undefined.

    Attributes:
        events: The numerator of a share (of omission, the findings omitted); 0 for what is derived.
        n, patients: The denominator and the patients behind it.
        effective: The denominator over the design effect (at least 1); 0 where the interval is no Wilson's.
        clustered: Whether any patient adds more than 1 to the denominator.
        gradient: float64 [size of the moments], of ``value`` by the counts.
        error: Standard error of what is no proportion; 0 for a proportion.
        bounds: What an interval of what is no proportion ends at.
    """

    value: float | None
    events: int
    n: int
    patients: int
    effective: float
    clustered: bool
    gradient: Floats
    proportion: bool = True
    error: float = 0.0
    bounds: Interval = ANYWHERE

    @property
    def method(self) -> str:
        if not self.proportion:
            return LINEARISED
        return CLUSTERED if self.clustered else WILSON

    def limits(self, z: float) -> Interval:
        """The interval for a normal quantile z; of Student's t with patients - 1 degrees where clustered."""
        value = self.value or 0.0
        if not self.proportion:
            half = t_of(z, max(1, self.patients - 1)) * self.error if z > 0 else 0.0
            return max(self.bounds[0], value - half), min(self.bounds[1], value + half)
        critical = t_of(z, max(1, self.patients - 1)) if self.clustered and z > 0 else z
        return wilson(value, max(self.effective, 1e-9), critical)


class TallyGroups(Grouped):
    """Everything that is computed from one :class:`TallyCells`. Computed once, on demand."""

    def __init__(
        self, protocol: Protocol, family: TallyFamily, attribute: str, cells: TallyCells, *, suite: str, version: str
    ) -> None:
        super().__init__(protocol, family.key, attribute, cells.groups)
        self.suite, self.version = suite, version
        self.family = family
        self.cells = cells
        self._columns = {name: place for place, name in enumerate(family.columns)}
        self._denominators = {names: place for place, names in enumerate(denominators_of(family))}
        self._rules: dict[str, Definition] = {item.metric: item for item in family.rules}
        self._values: dict[tuple[str, str], Value] = {}

    def rule(self, metric: str) -> Definition:
        return self._rules[metric]

    def total(self, column: str, group: str) -> int:
        return int(self.cells.totals[self.index(group), self._columns[column]])

    def patients(self, group: str, denominator: Sequence[str] = ()) -> int:
        """Patients with something to count in the group: at all, unless a denominator is named."""
        place = self.index(group)
        return int(self.cells.patients[self._denominators[self._named(denominator)], place, place])

    def aside(self, metric: str, group: str) -> str:
        """What the denominator of a metric leaves out, in words, where the group has any of it; else ""."""
        rule = self._rules[metric]
        column, words = rule.aside if isinstance(rule, ShareDefinition) else ("", "")
        return words if column and self.total(column, group) else ""

    def patients_of(self, one: str, two: str, denominator: Sequence[str]) -> int:
        """Patients of either group."""
        at = self._denominators[self._named(denominator)]
        both = int(self.cells.patients[at, self.index(one), self.index(two)])
        return self.patients(one, denominator) + self.patients(two, denominator) - both

    def _named(self, denominator: Sequence[str]) -> tuple[str, ...]:
        return tuple(denominator) or (self.family.columns[0],)

    def suppressed(self, group: str) -> bool:
        """Whether the group is so small that nothing is told of it. An empty group discloses nobody."""
        return 0 < self.patients(group) < self.protocol.minimum_cell

    def value(self, metric: str, group: str) -> Value:
        if (metric, group) not in self._values:
            rule = self._rules[metric]
            made = self._share(rule, group) if isinstance(rule, ShareDefinition) else self._derived(rule, group)
            self._values[metric, group] = made
        return self._values[metric, group]

    def _share(self, rule: ShareDefinition, group: str) -> Value:
        below = self._weights(dict.fromkeys(rule.denominator, 1), group)
        above = self._weights(rule.numerator, group)
        if rule.complement:
            above = below - above
        total = self.cells.moments.total
        n, events = int(total @ below), int(total @ above)
        patients = self.patients(group, rule.denominator)
        if n == 0:
            return self._undefined(rule)
        value = events / n
        gradient = (above - value * below) / n
        squares = float(self.cells.moments.product(below, below))
        clustered = squares > n
        if not rule.proportion:
            return Value(
                value=value, events=events, n=n, patients=patients, effective=0.0, clustered=clustered,
                gradient=gradient, proportion=False, error=self._error(gradient, group, patients), bounds=rule.bounds,
            )  # fmt: skip
        effect = squares / n
        if 0 < value < 1 and patients > 1:
            between = self._variance(gradient, patients)
            effect = max(1.0, between / (value * (1 - value) / n))
            if self.family.cautious:
                apart = n * min(value, 1 - value) / effect
                effect = (apart * effect + squares / n) / (apart + 1)
        return Value(
            value=value, events=events, n=n, patients=patients, effective=n / effect if clustered else float(n),
            clustered=clustered, gradient=gradient,
        )  # fmt: skip

    def _derived(self, rule: DerivedDefinition, group: str) -> Value:
        start, width = self.index(group) * len(self.family.columns), len(self.family.columns)
        sums = dict(zip(self.family.columns, map(float, self.cells.moments.total[start : start + width]), strict=True))
        value, n = rule.compute(sums), int(sum(sums[name] for name in rule.denominator))
        patients = self.patients(group, rule.denominator)
        if value is None or n == 0:
            return self._undefined(rule)
        gradient = np.zeros(len(self.cells.moments.total))
        for name in rule.columns or self.family.columns:
            gradient[start + self._columns[name]] = _slope(rule, sums, name)
        return Value(
            value=value, events=0, n=n, patients=patients, effective=0.0, clustered=True, gradient=gradient,
            proportion=False, error=self._error(gradient, group, patients), bounds=rule.bounds,
        )  # fmt: skip

    def _undefined(self, rule: Definition) -> Value:
        return Value(
            value=None, events=0, n=0, patients=0, effective=0.0, clustered=False,
            gradient=np.zeros(len(self.cells.moments.total)),
            proportion=isinstance(rule, ShareDefinition) and rule.proportion,
        )  # fmt: skip

    def _weights(self, columns: Mapping[str, int], group: str) -> Floats:
        made = np.zeros(len(self.cells.moments.total))
        start = self.index(group) * len(self.family.columns)
        for name, weight in columns.items():
            made[start + self._columns[name]] = weight
        return made

    def _variance(self, gradient: Floats, patients: int) -> float:
        return max(0.0, float(self.cells.moments.product(gradient, gradient))) * patients / (patients - 1)

    def _error(self, gradient: Floats, group: str, patients: int) -> float:
        """Standard error by the linearised variance; infinite for one patient, who shows no variation."""
        if patients < 2:
            return math.inf
        start, width = self.index(group) * len(self.family.columns), len(self.family.columns)
        one_more = gradient[start : start + width] * self.cells.moments.total[start : start + width] / patients
        return math.sqrt(max(self._variance(gradient, patients), float((one_more**2).sum())))

    def covariance(self, metric: str, groups: Sequence[str]) -> Floats:
        """Cluster-robust covariance of the metric in these groups, float64 [k, k]; patients may be in several."""
        gradients = np.stack([self.value(metric, group).gradient for group in groups], axis=1)
        scale = np.array([(m := max(2, self.value(metric, group).patients)) / (m - 1) for group in groups])
        found: Floats = self.cells.moments.product(gradients, gradients) * np.sqrt(np.outer(scale, scale))
        return found

    def mean_length(self, group: str) -> tuple[float, float, Interval] | None:
        """Mean length, its standard error and interval; None where no study has one."""
        lengths, written = (self._weights({name: 1}, group) for name in (self.family.lengths, self.family.written))
        total, patients = self.cells.moments.total, self.patients(group, (self.family.written,))
        n = int(total @ written)
        if n == 0:
            return None
        mean = int(total @ lengths) / n
        if patients < 2:
            return mean, math.inf, (0.0, math.inf)
        error = math.sqrt(self._variance((lengths - mean * written) / n, patients))
        half = t_of(z_of(self.protocol.alpha), patients - 1) * error
        return mean, error, (max(0.0, mean - half), mean + half)

    def interval(self, metric: str, group: str) -> tuple[Interval, str]:
        """Interval of a defined value at the protocol's level, and how it was made."""
        value = self.value(metric, group)
        return value.limits(z_of(self.protocol.alpha)), value.method

    def shortfalls(self, metric: str) -> tuple[Shortfall, ...]:
        """Groups that have too few patients in the denominator, or in which the metric is undefined."""
        found = [self._shortfall(metric, group) for group in self.judged]
        return tuple(item for item in found if item is not None)

    def adequate(self, metric: str) -> tuple[str, ...]:
        least = self.protocol.minimum_denominator
        return tuple(group for group in self.judged if self.value(metric, group).patients >= least)

    def _shortfall(self, metric: str, group: str) -> Shortfall | None:
        patients, least = self.value(metric, group).patients, self.protocol.minimum_denominator
        if patients >= least:
            return None
        rule = self._rules[metric]
        persons, behind = rule.persons + self.aside(metric, group), self.patients(group, rule.denominator)
        if isinstance(rule, DerivedDefinition) and behind >= least:
            return Shortfall(group=group, reason=f"group {group}: {rule.undefined}", needed="")
        if 0 < behind < self.protocol.minimum_cell or self.suppressed(group):
            told = f"fewer than {self.protocol.minimum_cell}"
            needed = f"at least {least} {persons} in group {group} (it has {told})"
        else:
            told = str(behind) if behind else "no"
            needed = f"about {least - behind} more {persons} in group {group}"
        return Shortfall(group=group, reason=f"group {group} has {told} {persons}, {least} are needed", needed=needed)

    def single_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """The value of each adequate group against a fixed margin, with Bonferroni over the groups."""
        groups = self.adequate(metric)
        critical = z_of(self.protocol.alpha / max(1, len(groups)))
        found = []
        for group in groups:
            item = self.value(metric, group)
            value = item.value or 0.0
            found.append(Contrast(
                groups=(group,), metric=metric, rates=(value,), value=value, n=item.n, patients=item.patients,
                smallest=(group, item.n), method=item.method, interval=item.limits, critical=critical,
            ))  # fmt: skip
        return tuple(found)

    def pair_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """Differences between every two adequate groups, with Bonferroni over the pairs."""
        pairs = list(combinations(self.adequate(metric), 2))
        critical = z_of(self.protocol.alpha / max(1, len(pairs)))
        return tuple(self._pair(metric, *pair, critical) for pair in pairs)

    def _pair(self, metric: str, one: str, two: str, critical: float) -> Contrast:
        """The difference, first group minus second, with the group that is worse off named first."""
        rule = self._rules[metric]
        gap = (self.value(metric, one).value or 0.0) - (self.value(metric, two).value or 0.0)
        if gap * rule.worse < 0:
            one, two, gap = two, one, -gap
        first, second = self.value(metric, one), self.value(metric, two)
        rates = (first.value or 0.0, second.value or 0.0)
        shared = self._correlation(first, second)
        least, most = (0.0, 1.0) if first.proportion else first.bounds
        bounds = least - most, most - least

        def interval(z: float) -> Interval:
            return difference(*rates, (first.limits(z), second.limits(z)), shared, bounds)

        if first.proportion:
            method = f"Newcombe, {CLUSTERED if first.clustered or second.clustered else WILSON}, Bonferroni"
        else:
            method = f"{LINEARISED}, Bonferroni"
        return Contrast(
            groups=(one, two), metric=metric, rates=rates, value=gap, n=first.n + second.n,
            patients=self.patients_of(one, two, rule.denominator),
            smallest=min(((one, first.n), (two, second.n)), key=lambda item: item[1]),
            method=method, interval=interval, critical=critical,
        )  # fmt: skip

    def _correlation(self, one: Value, two: Value) -> float:
        """Correlation of two values; 0 when no patient is in both or a variance is 0."""
        moments = self.cells.moments
        scale = float(moments.product(one.gradient, one.gradient)) * float(moments.product(two.gradient, two.gradient))
        if scale <= 0:
            return 0.0
        return float(np.clip(float(moments.product(one.gradient, two.gradient)) / math.sqrt(scale), -1, 1))


def _slope(rule: DerivedDefinition, sums: Mapping[str, float], name: str) -> float:
    """Derivative by one column, by central differences; 0 where nobody contributes to it, or the value ends there."""
    step = STEP * sums[name]
    ends = [rule.compute({**sums, name: sums[name] + side * step}) for side in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step) if step > 0 and None not in ends else 0.0  # type: ignore[operator]
