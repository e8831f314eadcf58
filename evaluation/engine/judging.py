"""From tests to verdicts: pass, fail, or insufficient evidence, with error control over all criteria of a protocol.

A criterion accepts values in a region, such as [-.10, .10] for a difference. It

- fails when some contrast's simultaneous interval lies wholly outside the region, and its p-value survives Holm over
  the primary criteria (Benjamini-Hochberg over the exploratory ones);
- passes when every group could be judged and every simultaneous interval lies wholly inside the region;
- otherwise lacks evidence, and the verdict says how much more would do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from evaluation.engine.protocol import Criterion
from evaluation.engine.records import Outcome, Verdict
from evaluation.engine.statistics.intervals import Interval, p_of, z_at_bound, z_of
from evaluation.engine.statistics.multiplicity import benjamini_hochberg, holm

HOPELESS = 25.0
"""More than this many times the studies: not a plan, so no number is given."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A rate of one group, or the difference between two, with its interval at any width.

    Attributes:
        metric: The rate's metric, such as ``tpr``.
        rates: The rate of each group.
        n, patients: Studies in the denominators of all its groups, and the patients they belong to.
        smallest: The group with the fewest studies in its denominator, and how many.
        interval: Interval for a normal quantile z; wider for a larger z.
        critical: The z that holds simultaneously for all contrasts of this criterion.
    """

    groups: tuple[str, ...]
    metric: str
    rates: tuple[float, ...]
    value: float
    n: int
    patients: int
    smallest: tuple[str, int]
    method: str
    interval: Callable[[float], Interval]
    critical: float

    @cached_property
    def limits(self) -> Interval:
        """The simultaneous interval."""
        return self.interval(self.critical)

    @property
    def low(self) -> float:
        return self.limits[0]

    @property
    def high(self) -> float:
        return self.limits[1]


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """A group that cannot be judged: why, and what would suffice."""

    group: str
    reason: str
    needed: str


@dataclass(frozen=True, kw_only=True)
class Region:
    """Values that a criterion accepts, ends included."""

    low: float
    high: float

    def holds(self, low: float, high: float) -> bool:
        return self.low <= low and high <= self.high

    def excludes(self, low: float, high: float) -> bool:
        return high < self.low or low > self.high

    def nearest(self, value: float) -> float:
        """The bound that ``value`` is nearest to."""
        return min((self.low, self.high), key=lambda bound: abs(bound - value))

    def p_value(self, contrast: Contrast) -> float:
        """Two-sided p-value of the hypothesis that the truth lies in the region: the test that inverts the interval."""
        if self.low <= contrast.value <= self.high:
            return 1.0
        return p_of(z_at_bound(contrast.interval, self.nearest(contrast.value), contrast.value))


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a suite puts a test in words. Each function gives a clause without full stop.

    Attributes:
        fails: The finding, such as ``effusion is missed more often in female patients than in male patients: ...``.
        holds: The same for a contrast that was not shown to fail.
        unit: What more is needed of, such as ``studies with the finding``.
    """

    fails: Callable[[Contrast], str]
    holds: Callable[[Contrast], str]
    unit: Callable[[Contrast], str]
    subject: str


@dataclass(frozen=True, kw_only=True)
class CriterionTest:
    """One criterion on one label, before the correction for multiplicity."""

    criterion: Criterion
    label: str
    attribute: str
    region: Region
    contrasts: tuple[Contrast, ...]
    shortfalls: tuple[Shortfall, ...]
    wording: Wording

    @cached_property
    def p_values(self) -> tuple[float, ...]:
        """P-value of each contrast on its own."""
        return tuple(self.region.p_value(item) for item in self.contrasts)

    def p_value(self) -> float | None:
        """Bonferroni over the contrasts of this criterion; None where none could be tested."""
        return min(1.0, len(self.contrasts) * min(self.p_values)) if self.contrasts else None

    def decisive(self) -> Contrast | None:
        """The contrast that speaks most against the criterion: of the least p-value, else the furthest out."""
        beyond = [max(self.region.low - item.value, item.value - self.region.high) for item in self.contrasts]
        order = sorted(range(len(self.contrasts)), key=lambda i: (self.p_values[i], -beyond[i]))
        return self.contrasts[order[0]] if order else None


def judge(tests: Sequence[CriterionTest], *, alpha: float) -> tuple[Verdict, ...]:
    """A verdict for each test, in their order."""
    raw = [test.p_value() for test in tests]
    adjusted: list[float | None] = [None] * len(tests)
    sizes = {True: 0, False: 0}
    for primary, correct in ((True, holm), (False, benjamini_hochberg)):
        family = [i for i, test in enumerate(tests) if test.criterion.primary is primary and raw[i] is not None]
        sizes[primary] = len(family)
        for place, value in zip(family, correct([raw[i] or 0.0 for i in family]), strict=True):
            adjusted[place] = value
    return tuple(
        _verdict(test, p, q, _Level(alpha=alpha, tests=sizes[test.criterion.primary]))
        for test, p, q in zip(tests, raw, adjusted, strict=True)
    )


def overall(verdicts: Sequence[Verdict]) -> Outcome:
    """Fail if a primary criterion failed, else insufficient if one lacked evidence or there is none, else pass."""
    primary = [item.outcome for item in verdicts if item.primary]
    if Outcome.FAIL in primary:
        return Outcome.FAIL
    return Outcome.INSUFFICIENT if Outcome.INSUFFICIENT in primary or not primary else Outcome.PASS


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The error rate to keep, and over how many tests."""

    alpha: float
    tests: int


def _outcome(test: CriterionTest, item: Contrast | None, adjusted: float | None, alpha: float) -> Outcome:
    if item is not None and adjusted is not None and adjusted <= alpha and test.region.excludes(item.low, item.high):
        return Outcome.FAIL
    if test.contrasts and not test.shortfalls and all(test.region.holds(c.low, c.high) for c in test.contrasts):
        return Outcome.PASS
    return Outcome.INSUFFICIENT


def _verdict(test: CriterionTest, p: float | None, adjusted: float | None, level: _Level) -> Verdict:
    item = test.decisive()
    outcome = _outcome(test, item, adjusted, level.alpha)
    needed = _needed(test, level) if outcome is Outcome.INSUFFICIENT else ""
    return Verdict(
        criterion=test.criterion.id,
        metric=test.criterion.metric,
        label=test.label,
        attribute=test.attribute,
        groups=item.groups if item else tuple(gap.group for gap in test.shortfalls),
        outcome=outcome,
        primary=test.criterion.primary,
        direction=test.criterion.direction,
        margin=test.criterion.margin,
        value=item.value if item else None,
        low=item.low if item else None,
        high=item.high if item else None,
        n=item.n if item else None,
        patients=item.patients if item else None,
        p_value=p,
        p_adjusted=adjusted,
        statement=_statement(test, item, outcome, level),
        needed=needed,
    )


def _statement(test: CriterionTest, item: Contrast | None, outcome: Outcome, level: _Level) -> str:
    if outcome is Outcome.FAIL and item is not None:
        return f"Fails: {test.wording.fails(item)}."
    if outcome is Outcome.PASS and item is not None:
        return f"Passes: {test.wording.holds(item)}."
    why = "; ".join(gap.reason for gap in test.shortfalls)
    if item is None:
        return f"Insufficient evidence: {test.wording.subject} cannot be judged: {why}."
    settled = all(test.region.holds(c.low, c.high) for c in test.contrasts)
    if settled:
        return f"Insufficient evidence: {test.wording.subject} cannot be judged in every group: {why}."
    # Only what was shown is said: "missed more often" is the wording of a difference that excludes zero.
    shown = item.low > 0 or item.high < 0
    clause = test.wording.fails(item) if shown and min(test.p_values) < 1 else test.wording.holds(item)
    if test.region.excludes(item.low, item.high):
        kind = "primary" if test.criterion.primary else "exploratory"
        reach = f"That is beyond the margin, but not more than chance may show among {level.tests} {kind} tests"
    else:
        reach = "The interval includes the margin"
    return f"Insufficient evidence: {clause}. {reach}{'; ' + why if why else ''}."


def _needed(test: CriterionTest, level: _Level) -> str:
    """What would suffice, in words: for groups that are too small, and for the widest unsettled interval."""
    parts = [gap.needed for gap in test.shortfalls if gap.needed]
    open_ones = [item for item in test.contrasts if not test.region.holds(item.low, item.high)]
    if open_ones:
        factors = [_factor(test, item, level) for item in open_ones]
        factor = max(factors)
        most = open_ones[factors.index(factor)]
        group, n = most.smallest
        unit = test.wording.unit(most)
        if factor > HOPELESS:
            parts.append(f"more than {HOPELESS:.0f} times as many {unit}, because the value lies close to the margin")
        else:
            parts.append(f"about {_round(n * (factor - 1)):,} more {unit} in group {group}")
    return "; ".join(parts)


def _factor(test: CriterionTest, item: Contrast, level: _Level) -> float:
    """How many times the studies would settle the contrast, were its value to stay.

    Inside the region: until the interval clears the nearest bound. Outside: until the p-value survives the strictest
    step of the correction for multiplicity.
    """
    bound = test.region.nearest(item.value)
    if test.region.p_value(item) < 1:
        reached = z_at_bound(item.interval, bound, item.value)
        wanted = z_of(level.alpha / (level.tests * len(test.contrasts)))
        return max(1.1, (wanted / reached) ** 2) if reached > 0 else float("inf")
    slack, half = abs(item.value - bound), max(item.high - item.value, item.value - item.low)
    return max(1.1, (half / slack) ** 2) if slack > 0 else float("inf")


def _round(number: float) -> int:
    """Up, to two digits: an estimate should not look like a count."""
    step: int = 10 ** max(0, len(str(int(number))) - 2)
    return max(1, ceil(number / step) * step)
