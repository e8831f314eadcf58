"""Shares of the reports of each group of one grouping, with cluster-robust intervals and contrasts.

A share is a ratio ``p = N/D`` of sums over patients. Its linearised variance is ``m/(m-1) g'Sg`` with g the gradient of
the ratio, S the second moments of the patients' counts and m the patients behind D; divided by ``p(1-p)/D`` it is the
design effect, by which D shrinks to an effective size. The interval is Wilson's at that size. Findings of one report,
and reports of one patient, are alike: the design effect takes both in.

Source: Rao and Scott (1992), Biometrics 48:577; Korn and Graubard (1998), Survey Methodology 24:193, for the effective
size and its degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evaluation.engine.judging import Contrast, Shortfall
from evaluation.engine.protocol import Protocol
from evaluation.engine.sketches.claims import COLUMNS, DENOMINATORS, ClaimCells
from evaluation.engine.statistics.intervals import Interval, difference, t_of, wilson, z_of
from evaluation.engine.suites.fairness.grouped import Grouped
from evaluation.engine.suites.fairness.report_metrics import LABEL, REPORT_RATES, ReportDefinition

Floats = npt.NDArray[np.float64]
WILSON = "Wilson"
CLUSTERED = "Wilson with design effect"
LINEARISED = "t, linearised variance of patients"
PLACES = {name: place for place, name in enumerate(DENOMINATORS)}


@dataclass(frozen=True, kw_only=True)
class Share:
    """One share in one group. ``value`` is None when its denominator is empty.

    Attributes:
        events: The numerator (of the share itself: of omission, the findings omitted).
        n, patients: The denominator and the patients behind it.
        effective: The denominator over the design effect (at least 1).
        clustered: Whether any patient adds more than 1 to the denominator.
        gradient: float64 [size of the moments], of ``value`` by the counts.
    """

    value: float | None
    events: int
    n: int
    patients: int
    effective: float
    clustered: bool
    gradient: Floats

    def limits(self, z: float) -> Interval:
        """Wilson's interval for a normal quantile z; of Student's t with patients - 1 degrees where clustered."""
        critical = t_of(z, max(1, self.patients - 1)) if self.clustered and z > 0 else z
        return wilson(self.value or 0.0, max(self.effective, 1e-9), critical)


class ReportGroups(Grouped):
    """Everything that is computed from one :class:`ClaimCells`. Computed once, on demand."""

    def __init__(self, protocol: Protocol, attribute: str, cells: ClaimCells) -> None:
        super().__init__(protocol, LABEL, attribute, cells.groups)
        self.cells = cells
        self._shares: dict[tuple[str, str], Share] = {}

    def total(self, column: str, group: str) -> int:
        return int(self.cells.totals[self.index(group), COLUMNS.index(column)])

    def patients(self, group: str, denominator: str = "pairs") -> int:
        """Patients with something to count in the group."""
        place = self.index(group)
        return int(self.cells.patients[PLACES[denominator], place, place])

    def patients_of(self, one: str, two: str, denominator: str) -> int:
        """Patients of either group."""
        both = int(self.cells.patients[PLACES[denominator], self.index(one), self.index(two)])
        return self.patients(one, denominator) + self.patients(two, denominator) - both

    def suppressed(self, group: str) -> bool:
        """Whether the group is so small that nothing is told of it. An empty group discloses nobody."""
        return 0 < self.patients(group) < self.protocol.minimum_cell

    def share(self, metric: str, group: str) -> Share:
        if (metric, group) not in self._shares:
            self._shares[metric, group] = self._compute(REPORT_RATES[metric], group)
        return self._shares[metric, group]

    def _compute(self, rule: ReportDefinition, group: str) -> Share:
        below = self._weights(DENOMINATORS[rule.denominator], group)
        above = self._weights(rule.numerator, group)
        if rule.complement:
            above = below - above
        total = self.cells.moments.total
        n, events = int(total @ below), int(total @ above)
        patients = self.patients(group, rule.denominator)
        if n == 0:
            return Share(
                value=None, events=0, n=0, patients=0, effective=0.0, clustered=False, gradient=np.zeros(len(total))
            )
        value = events / n
        gradient = (above - value * below) / n
        squares = float(self.cells.moments.product(below, below))
        effect = squares / n
        if 0 < value < 1 and patients > 1:
            between = self._variance(gradient, patients)
            effect = max(1.0, between / (value * (1 - value) / n))
        clustered = squares > n
        return Share(
            value=value, events=events, n=n, patients=patients, effective=n / effect if clustered else float(n),
            clustered=clustered, gradient=gradient,
        )  # fmt: skip

    def _weights(self, columns: Sequence[str], group: str) -> Floats:
        made = np.zeros(len(self.cells.moments.total))
        made[[self.index(group) * len(COLUMNS) + COLUMNS.index(name) for name in columns]] = 1.0
        return made

    def _variance(self, gradient: Floats, patients: int) -> float:
        return max(0.0, float(self.cells.moments.product(gradient, gradient))) * patients / (patients - 1)

    def covariance(self, metric: str, groups: Sequence[str]) -> Floats:
        """Cluster-robust covariance of the share in these groups, float64 [k, k]; patients may be in several."""
        gradients = np.stack([self.share(metric, group).gradient for group in groups], axis=1)
        scale = np.array([(m := max(2, self.share(metric, group).patients)) / (m - 1) for group in groups])
        found: Floats = self.cells.moments.product(gradients, gradients) * np.sqrt(np.outer(scale, scale))
        return found

    def mean_words(self, group: str) -> tuple[float, float, Interval] | None:
        """Mean words of a written report, its standard error and interval; None where none was written."""
        words, written = self._weights(("words",), group), self._weights(("written",), group)
        total, patients = self.cells.moments.total, self.patients(group, "written")
        n = int(total @ written)
        if n == 0:
            return None
        mean = int(total @ words) / n
        if patients < 2:
            return mean, math.inf, (0.0, math.inf)
        error = math.sqrt(self._variance((words - mean * written) / n, patients))
        half = t_of(z_of(self.protocol.alpha), patients - 1) * error
        return mean, error, (max(0.0, mean - half), mean + half)

    def interval(self, metric: str, group: str) -> tuple[Interval, str]:
        """Interval of a defined share at the protocol's level, and how it was made."""
        share = self.share(metric, group)
        return share.limits(z_of(self.protocol.alpha)), CLUSTERED if share.clustered else WILSON

    def shortfalls(self, metric: str) -> tuple[Shortfall, ...]:
        """Groups that have too few patients in the denominator."""
        found = [self._shortfall(metric, group) for group in self.judged]
        return tuple(item for item in found if item is not None)

    def adequate(self, metric: str) -> tuple[str, ...]:
        least = self.protocol.minimum_denominator
        return tuple(group for group in self.judged if self.share(metric, group).patients >= least)

    def _shortfall(self, metric: str, group: str) -> Shortfall | None:
        patients, least = self.share(metric, group).patients, self.protocol.minimum_denominator
        if patients >= least:
            return None
        persons = REPORT_RATES[metric].persons
        if 0 < patients < self.protocol.minimum_cell or self.suppressed(group):
            told = f"fewer than {self.protocol.minimum_cell}"
            needed = f"at least {least} {persons} in group {group} (it has {told})"
        else:
            told = str(patients) if patients else "no"
            needed = f"about {least - patients} more {persons} in group {group}"
        return Shortfall(group=group, reason=f"group {group} has {told} {persons}, {least} are needed", needed=needed)

    def single_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """The share of each adequate group against a fixed margin, with Bonferroni over the groups."""
        groups = self.adequate(metric)
        critical = z_of(self.protocol.alpha / max(1, len(groups)))
        found = []
        for group in groups:
            share = self.share(metric, group)
            value = share.value or 0.0
            found.append(Contrast(
                groups=(group,), metric=metric, rates=(value,), value=value, n=share.n, patients=share.patients,
                smallest=(group, share.n), method=CLUSTERED if share.clustered else WILSON, interval=share.limits,
                critical=critical,
            ))  # fmt: skip
        return tuple(found)

    def pair_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """Differences between every two adequate groups, with Bonferroni over the pairs."""
        pairs = list(combinations(self.adequate(metric), 2))
        critical = z_of(self.protocol.alpha / max(1, len(pairs)))
        return tuple(self._pair(metric, *pair, critical) for pair in pairs)

    def _pair(self, metric: str, one: str, two: str, critical: float) -> Contrast:
        """The difference, first group minus second, with the group that is worse off named first."""
        rule = REPORT_RATES[metric]
        gap = (self.share(metric, one).value or 0.0) - (self.share(metric, two).value or 0.0)
        if gap * rule.worse < 0:
            one, two, gap = two, one, -gap
        first, second = self.share(metric, one), self.share(metric, two)
        rates = (first.value or 0.0, second.value or 0.0)
        shared = self._correlation(first, second)

        def interval(z: float) -> Interval:
            return difference(*rates, (first.limits(z), second.limits(z)), shared)

        clustered = first.clustered or second.clustered
        return Contrast(
            groups=(one, two), metric=metric, rates=rates, value=gap, n=first.n + second.n,
            patients=self.patients_of(one, two, rule.denominator),
            smallest=min(((one, first.n), (two, second.n)), key=lambda item: item[1]),
            method=f"Newcombe, {CLUSTERED if clustered else WILSON}, Bonferroni", interval=interval, critical=critical,
        )  # fmt: skip

    def _correlation(self, one: Share, two: Share) -> float:
        """Correlation of two shares; 0 when no patient is in both or a variance is 0."""
        moments = self.cells.moments
        scale = float(moments.product(one.gradient, one.gradient)) * float(moments.product(two.gradient, two.gradient))
        if scale <= 0:
            return 0.0
        return float(np.clip(float(moments.product(one.gradient, two.gradient)) / math.sqrt(scale), -1, 1))
