"""Rates of the groups of one label and one grouping, with their intervals and their replicates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from math import sqrt

import numpy as np
import numpy.typing as npt

from evaluation.engine.judging import Contrast, Shortfall
from evaluation.engine.protocol import JOIN, Protocol
from evaluation.engine.records import UNKNOWN
from evaluation.engine.sketches.counts import Cells
from evaluation.engine.statistics import bootstrap
from evaluation.engine.statistics.clusters import Rate, correlation, freedom_of_difference, rate_of
from evaluation.engine.statistics.intervals import Interval, difference, t_of, wilson, z_of
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.rates import RATES

WILSON = "Wilson"
CLUSTERED_WILSON = "Wilson with design effect"
BOOTSTRAP = "patient-cluster bootstrap"


class LabelGroups:
    """Everything that is computed from one :class:`Cells`: rates, intervals, contrasts. Computed once, on demand."""

    def __init__(self, protocol: Protocol, label: str, attribute: str, cells: Cells) -> None:
        self.protocol = protocol
        self.label = label
        self.attribute = attribute
        self.cells = cells
        self._rates: dict[tuple[str, str], Rate] = {}
        self._contrasts: dict[tuple[str, ...], tuple[Contrast, ...]] = {}

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups in the order of the protocol, others alphabetically, Unknown last."""
        known = _order(self.protocol, self.attribute)
        rank = {name: place for place, name in enumerate(known)}
        return tuple(sorted(self.cells.groups, key=lambda g: (g == UNKNOWN, rank.get(g, len(rank)), g)))

    @cached_property
    def judged(self) -> tuple[str, ...]:
        """Groups that take part in criteria: all but Unknown."""
        return tuple(group for group in self.groups if group != UNKNOWN)

    def index(self, group: str) -> int:
        return self.cells.groups.index(group)

    def patients(self, group: str) -> int:
        """Patients with a usable study in the group."""
        start = 4 * self.index(group)
        return int(self.cells.counts[self.cells.vectors[:, start : start + 4].any(axis=1)].sum())

    def suppressed(self, group: str) -> bool:
        """Whether the group is so small that nothing is told of it. An empty group discloses nobody."""
        return 0 < self.patients(group) < self.protocol.minimum_cell

    def rate(self, metric: str, group: str) -> Rate:
        if (metric, group) not in self._rates:
            start = 4 * self.index(group)
            block = self.cells.vectors[:, start : start + 4]
            rule = RATES[metric]
            self._rates[metric, group] = rate_of(rule.events(block), rule.studies(block), self.cells.counts)
        return self._rates[metric, group]

    def interval(self, metric: str, group: str) -> tuple[Interval, str]:
        """Interval of a defined rate at the protocol's level, and how it was made."""
        rate = self.rate(metric, group)
        if rate.clustered and not rate.sparse:
            values = self._replicate_rates(metric)[:, self.index(group)]
            return bootstrap.percentile_interval(values, self.protocol.alpha), BOOTSTRAP
        low_high = wilson(rate.value or 0.0, rate.effective, z_of(self.protocol.alpha))
        return low_high, CLUSTERED_WILSON if rate.clustered else WILSON

    def shortfalls(self, metrics: Sequence[str]) -> tuple[Shortfall, ...]:
        """Groups that have too few patients in the denominator of any of the rates."""
        found = [self._shortfall(metric, group) for group in self.judged for metric in metrics]
        return tuple(item for item in found if item is not None)

    def adequate(self, metrics: Sequence[str]) -> tuple[str, ...]:
        """Groups that have enough patients in the denominators of all the rates."""
        least = self.protocol.minimum_denominator
        return tuple(g for g in self.judged if all(self.rate(metric, g).patients >= least for metric in metrics))

    def single_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """The rate of each adequate group against a fixed margin, with Bonferroni over the groups."""
        groups = self.adequate([metric])
        critical = z_of(self.protocol.alpha / max(1, len(groups)))
        return tuple(self._single(metric, group, critical) for group in groups)

    def pair_contrasts(self, metrics: Sequence[str]) -> tuple[Contrast, ...]:
        """Differences between every two adequate groups, in every rate, with one simultaneous critical value."""
        key = tuple(metrics)
        if key not in self._contrasts:
            pairs = [(m, a, b) for m in metrics for a, b in combinations(self.adequate(metrics), 2)]
            errors, critical = self._simultaneous(pairs)
            self._contrasts[key] = tuple(
                self._pair(*pair, error, critical) for pair, error in zip(pairs, errors, strict=True)
            )
        return self._contrasts[key]

    def _simultaneous(self, pairs: Sequence[tuple[str, str, str]]) -> tuple[list[float | None], float]:
        """Bootstrap standard error of each pair (None where it would degenerate), and the critical value."""
        fallback = z_of(self.protocol.alpha / max(1, len(pairs)))
        drawn = {pair: self._deviation(*pair) for pair in pairs if self._resampled(*pair)}
        varying = {pair: column for pair, column in drawn.items() if np.nanstd(column) > 0}
        if not varying:
            return [None] * len(pairs), fallback
        errors, critical = bootstrap.max_t(np.stack(list(varying.values()), axis=1), self.protocol.alpha)
        spread = dict(zip(varying, map(float, errors), strict=True))
        if len(varying) < len(pairs):
            critical = max(critical, fallback)
        return [spread.get(pair) for pair in pairs], critical

    def _resampled(self, metric: str, one: str, two: str) -> bool:
        rates = self.rate(metric, one), self.rate(metric, two)
        return any(rate.clustered for rate in rates) and not any(rate.sparse for rate in rates)

    def _deviation(self, metric: str, one: str, two: str) -> npt.NDArray[np.float64]:
        drawn = self._replicate_rates(metric)
        observed = (self.rate(metric, one).value or 0.0) - (self.rate(metric, two).value or 0.0)
        return drawn[:, self.index(one)] - drawn[:, self.index(two)] - observed

    @cached_property
    def _totals(self) -> bootstrap.Floats:
        return bootstrap.resample_totals(
            self.cells.vectors,
            self.cells.counts,
            groups=len(self.cells.groups),
            replicates=self.protocol.replicates,
            rng=generator(self.protocol.seed, self.label, self.attribute),
        )

    def _replicate_rates(self, metric: str) -> npt.NDArray[np.float64]:
        return RATES[metric].of(self._totals)

    def _single(self, metric: str, group: str, critical: float) -> Contrast:
        rate = self.rate(metric, group)
        value = rate.value or 0.0
        return Contrast(
            groups=(group,),
            metric=metric,
            rates=(value,),
            value=value,
            n=rate.n,
            patients=rate.patients,
            smallest=(group, rate.n),
            method=CLUSTERED_WILSON if rate.clustered else WILSON,
            interval=lambda z: wilson(value, rate.effective, z),
            critical=critical,
        )

    def _pair(self, metric: str, one: str, two: str, error: float | None, critical: float) -> Contrast:
        """The difference, first group minus second, with the group that is worse off named first."""
        gap = (self.rate(metric, one).value or 0.0) - (self.rate(metric, two).value or 0.0)
        if gap * RATES[metric].worse < 0:
            one, two, gap = two, one, -gap
        first, second = self.rate(metric, one), self.rate(metric, two)
        rates = (first.value or 0.0, second.value or 0.0)
        shared = correlation(first, second, self.cells.counts)

        def score(z: float) -> Interval:
            limits = (wilson(rates[0], first.effective, z), wilson(rates[1], second.effective, z))
            return difference(*rates, limits, shared)

        freedom = freedom_of_difference(first, second, self.cells.counts)
        wide = (error or 0.0) * sqrt((freedom + 1) / freedom)

        def student(z: float) -> Interval:
            half = t_of(z, freedom) * wide
            return max(-1.0, gap - half), min(1.0, gap + half)

        smaller = min(((one, first.n), (two, second.n)), key=lambda item: item[1])
        return Contrast(
            groups=(one, two),
            metric=metric,
            rates=rates,
            value=gap,
            n=first.n + second.n,
            patients=self._patients_of(metric, one, two),
            smallest=smaller,
            method=f"{BOOTSTRAP}, max-|t|" if error is not None else self._score_method(first, second),
            interval=student if error is not None else score,
            critical=critical,
        )

    def _patients_of(self, metric: str, one: str, two: str) -> int:
        blocks = self.cells.vectors.reshape(len(self.cells.counts), len(self.cells.groups), 4)
        inside = RATES[metric].studies(blocks[:, [self.index(one), self.index(two)], :]).any(axis=1)
        return int(self.cells.counts[inside].sum())

    @staticmethod
    def _score_method(first: Rate, second: Rate) -> str:
        return f"Newcombe, {CLUSTERED_WILSON if first.clustered or second.clustered else WILSON}, Bonferroni"

    def _shortfall(self, metric: str, group: str) -> Shortfall | None:
        rate, least, persons = self.rate(metric, group), self.protocol.minimum_denominator, RATES[metric].persons
        if rate.patients >= least:
            return None
        if 0 < rate.patients < self.protocol.minimum_cell or self.suppressed(group):
            told = f"fewer than {self.protocol.minimum_cell}"
            needed = f"at least {least} {persons} in group {group} (it has {told})"
        else:
            told = str(rate.patients) if rate.patients else "no"
            needed = f"about {least - rate.patients} more {persons} in group {group}"
        reason = f"group {group} has {told} {persons}, {least} are needed"
        return Shortfall(group=group, reason=reason, needed=needed)


def _order(protocol: Protocol, attribute: str) -> tuple[str, ...]:
    if not attribute:
        return ()
    names: list[str] = [""]
    for part in attribute.split(JOIN):
        listed = protocol.attribute(part).groups
        names = [f"{left}{JOIN if left else ''}{right}" for left in names for right in listed]
    return tuple(names)
