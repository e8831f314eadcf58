"""Rates of the groups of one label and one grouping, with their intervals and their replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from itertools import combinations

import numpy as np
import numpy.typing as npt

from evaluation.engine.grouped import Grouped
from evaluation.engine.judging import Contrast, Shortfall
from evaluation.engine.protocol import Protocol
from evaluation.engine.sketches.counts import CELLS, Cells
from evaluation.engine.statistics import bootstrap, intervals
from evaluation.engine.statistics.clusters import LEAST_EFFECT, PatientSums, Rate
from evaluation.engine.statistics.intervals import Interval, t_of, wilson, z_of
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.rates import RATES

WILSON = "Wilson"
CLUSTERED_WILSON = "Wilson with design effect"
LINEARISED = "logit t, linearised variance of patients"
BOOTSTRAP = "patient-cluster bootstrap"
LOGIT = f"{BOOTSTRAP}, logit t"


class LabelGroups(Grouped):
    """Everything that is computed from one :class:`Cells`: rates, intervals, contrasts. Computed once, on demand."""

    def __init__(self, protocol: Protocol, label: str, attribute: str, cells: Cells) -> None:
        super().__init__(protocol, label, attribute, cells.groups)
        self.cells = cells
        self._rates: dict[tuple[str, str], Rate] = {}
        self._replicates: bootstrap.Floats | None = None
        self._drawn: dict[str, bootstrap.Floats] = {}
        self._correlations: dict[tuple[str, str, str], float] = {}
        self._variances: dict[str, bootstrap.Floats] = {}
        self._contrasts: dict[tuple[str, ...], tuple[Contrast, ...]] = {}
        self._together: dict[str, npt.NDArray[np.int64]] = {}

    @cached_property
    def sums(self) -> PatientSums:
        return PatientSums.of(self.cells.vectors, self.cells.counts, len(self.cells.groups))

    def patients(self, group: str) -> int:
        """Patients with a usable study in the group."""
        return int(self.sums.patients[self.index(group)])

    @cached_property
    def spanning(self) -> bool:
        """Whether any patient has studies in several groups."""
        return int(self.sums.patients.sum()) > int(self.cells.counts.sum())

    def suppressed(self, group: str) -> bool:
        """Whether the group is so small that nothing is told of it. An empty group discloses nobody."""
        return 0 < self.patients(group) < self.protocol.minimum_cell

    def rate(self, metric: str, group: str) -> Rate:
        if (metric, group) not in self._rates:
            found = self.sums.rates(*_cells_of(metric))
            self._rates |= {(metric, name): rate for name, rate in zip(self.cells.groups, found, strict=True)}
        return self._rates[metric, group]

    def influence_covariance(self, metric: str, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Cluster-robust covariance of the rates of ``names``, float64 [k, k]: patients may be in several groups."""
        patients = max(2, int(self.cells.counts.sum()))
        found = self.sums.covariance(*_cells_of(metric), [self.index(name) for name in names])
        return found * patients / (patients - 1)

    def interval(self, metric: str, group: str) -> tuple[Interval, str]:
        """Interval of a defined rate at the protocol's level, and how it was made."""
        return self.limits(metric, group, z_of(self.protocol.alpha)), self.method(metric, group)

    def limits(self, metric: str, group: str, z: float) -> Interval:
        """Interval of a defined rate for a normal quantile z.

        With one study per patient Wilson's. Otherwise symmetric in the log odds, with the bootstrap's variance
        between patients (the linearised one where the event is sparse) and Student's t with patients - 1 degrees of
        freedom; where the rate is 0 or 1, Wilson's at the effective number of studies.
        """
        rate = self.rate(metric, group)
        value = rate.value or 0.0
        if not rate.clustered:
            return wilson(value, rate.effective, z)
        t = t_of(z, max(1, rate.patients - 1))
        if rate.certain:
            return wilson(value, rate.effective, t)
        variance = rate.variance if rate.sparse else float(self._variance(metric)[self.index(group)])
        return intervals.logit_interval(value, max(variance, LEAST_EFFECT * value * (1 - value) / rate.n), t)

    def method(self, metric: str, group: str) -> str:
        """How :meth:`limits` are made."""
        rate = self.rate(metric, group)
        if not rate.clustered:
            return WILSON
        if rate.certain:
            return CLUSTERED_WILSON
        return LINEARISED if rate.sparse else LOGIT

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
            groups = self.adequate(metrics)
            resampled = {metric: self._resampled(metric, groups) for metric in metrics}
            critical = self._critical(groups, resampled)
            self._contrasts[key] = tuple(
                self._pair(metric, groups[one], groups[two], critical, drawn=bool(resampled[metric][one, two]))
                for metric in metrics
                for one, two in combinations(range(len(groups)), 2)
            )
        return self._contrasts[key]

    def ratio_contrasts(self, metric: str) -> tuple[Contrast, ...]:
        """The rate of one adequate group over that of another, smaller over larger, for every pair; ideally 1.

        With Bonferroni over the pairs. A pair is left out where its larger rate is 0: the ratio is undefined.
        """
        groups = self.adequate([metric])
        critical = z_of(self.protocol.alpha / max(1, len(groups) * (len(groups) - 1) // 2))
        found = []
        for pair in combinations(groups, 2):
            small, large = sorted(pair, key=lambda name: self.rate(metric, name).value or 0.0)
            above, below = (self.rate(metric, name).value or 0.0 for name in (small, large))
            if below > 0:
                interval = partial(self._combined, intervals.ratio, metric, small, large)
                method = f"MOVER ratio, {self._joined_method(metric, small, large)}, Bonferroni"
                found.append(self._contrast(metric, (small, large), above / below, interval, critical, method))
        return tuple(found)

    def _resampled(self, metric: str, groups: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Pairs whose spread the bootstrap tells, above the diagonal: several studies per patient, no sparse event."""
        rates = [self.rate(metric, group) for group in groups]
        clustered = np.array([rate.clustered for rate in rates], dtype=bool)
        enough = np.array([not rate.sparse for rate in rates], dtype=bool)
        return np.triu((clustered[:, None] | clustered) & enough[:, None] & enough, 1)

    def _critical(self, groups: Sequence[str], resampled: dict[str, npt.NDArray[np.bool_]]) -> float:
        """The z that holds for all pairs: from the bootstrap, or Bonferroni's where it cannot tell of some of them."""
        pairs = len(resampled) * len(groups) * (len(groups) - 1) // 2
        fallback = z_of(self.protocol.alpha / max(1, pairs))
        if not any(used.any() for used in resampled.values()):
            return fallback
        places = [self.index(group) for group in groups]
        largest = np.max(
            [bootstrap.max_pair_t(self._deviations(metric)[:, places], used) for metric, used in resampled.items()],
            axis=0,
        )
        critical = max(float(np.quantile(largest, 1 - self.protocol.alpha)), z_of(self.protocol.alpha))
        told = sum(int(used.sum()) for used in resampled.values())
        return critical if told == pairs else max(critical, fallback)

    def _totals(self) -> bootstrap.Floats:
        # Not a cached_property: its lock is that of the class, and labels would wait for one another.
        if self._replicates is None:
            self._replicates = bootstrap.resample_totals(
                self.cells.vectors,
                self.cells.counts,
                groups=len(self.cells.groups),
                replicates=self.protocol.replicates,
                rng=generator(self.protocol.seed, self.label, self.attribute),
            )
        return self._replicates

    def _deviations(self, metric: str) -> bootstrap.Floats:
        """Replicates of the rates of all groups less the rates, float64 [B, G]; NaN where undefined."""
        if metric not in self._drawn:
            rule = RATES[metric]
            self._drawn[metric] = rule.of(self._totals()) - rule.of(self.sums.totals.astype(np.float64))
        return self._drawn[metric]

    def _variance(self, metric: str) -> bootstrap.Floats:
        """Bootstrap variance of the rate of every group, float64 [G]; for m patients m/(m-1) of that of the draws."""
        if metric not in self._variances:
            patients = np.array([max(2, self.rate(metric, group).patients) for group in self.cells.groups])
            squares = np.nan_to_num(self._deviations(metric)) ** 2
            self._variances[metric] = squares.mean(axis=0) * patients / (patients - 1)
        return self._variances[metric]

    def _single(self, metric: str, group: str, critical: float) -> Contrast:
        value, interval = self.rate(metric, group).value or 0.0, partial(self.limits, metric, group)
        return self._contrast(metric, (group,), value, interval, critical, self.method(metric, group))

    def _pair(self, metric: str, one: str, two: str, critical: float, *, drawn: bool) -> Contrast:
        """The difference, first group minus second, with the group that is worse off named first."""
        gap = (self.rate(metric, one).value or 0.0) - (self.rate(metric, two).value or 0.0)
        if gap * RATES[metric].worse < 0:
            one, two, gap = two, one, -gap
        interval = partial(self._combined, intervals.difference, metric, one, two)
        joined = self._joined_method(metric, one, two)
        if drawn:
            method = f"{BOOTSTRAP}, max-|t|, MOVER of logit t"
        else:
            method = f"{'Newcombe' if joined == WILSON else 'MOVER'}, {joined}, Bonferroni"
        return self._contrast(metric, (one, two), gap, interval, critical, method)

    def _combined(self, join: Callable[..., Interval], metric: str, one: str, two: str, z: float) -> Interval:
        """Interval of a difference or ratio of two rates from the limits of each."""
        values = (self.rate(metric, group).value or 0.0 for group in (one, two))
        limits = (self.limits(metric, one, z), self.limits(metric, two, z))
        return join(*values, limits, self._correlation(metric, one, two))

    def _joined_method(self, metric: str, one: str, two: str) -> str:
        return " and ".join(dict.fromkeys(self.method(metric, group) for group in (one, two)))

    def _correlation(self, metric: str, one: str, two: str) -> float:
        """Correlation of two rates; 0 when no patient is in both or a variance is 0."""
        if not self.spanning:
            return 0.0
        if (metric, one, two) not in self._correlations:
            found = self.sums.covariance(*_cells_of(metric), [self.index(one), self.index(two)])
            scale = float(found[0, 0] * found[1, 1])
            told = float(np.clip(found[0, 1] / np.sqrt(scale), -1, 1)) if scale > 0 else 0.0
            self._correlations[metric, one, two] = told
        return self._correlations[metric, one, two]

    def _contrast(
        self, metric: str, groups: tuple[str, ...], value: float, interval: Callable[[float], Interval],
        critical: float, method: str,
    ) -> Contrast:  # fmt: skip
        rates = [self.rate(metric, group) for group in groups]
        return Contrast(
            groups=groups,
            metric=metric,
            rates=tuple(rate.value or 0.0 for rate in rates),
            value=value,
            n=sum(rate.n for rate in rates),
            patients=self._patients_of(metric, groups),
            smallest=min(((g, rate.n) for g, rate in zip(groups, rates, strict=True)), key=lambda item: item[1]),
            method=method,
            interval=interval,
            critical=critical,
        )

    def _patients_of(self, metric: str, groups: Sequence[str]) -> int:
        """Patients in the denominators of one or two groups; who is in both counts once."""
        alone = sum(self.rate(metric, group).patients for group in groups)
        if len(groups) < 2 or not self.spanning:
            return alone
        if metric not in self._together:
            blocks = self.cells.vectors.reshape(len(self.cells.counts), len(self.cells.groups), 4)
            inside = (RATES[metric].studies(blocks) > 0).astype(np.float64)
            self._together[metric] = (inside.T @ (inside * self.cells.counts[:, None])).astype(np.int64)
        return alone - int(self._together[metric][self.index(groups[0]), self.index(groups[1])])

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


@cache
def _cells_of(metric: str) -> tuple[list[int], list[int]]:
    """Cells of the numerator and of the denominator."""
    rule = RATES[metric]
    return [CELLS.index(name) for name in rule.numerator], [CELLS.index(name) for name in rule.denominator]
