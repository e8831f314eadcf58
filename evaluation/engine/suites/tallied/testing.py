"""The test of a criterion on a metric that is counted, and its words."""

from __future__ import annotations

from evaluation.engine.judging import Contrast, CriterionTest, Region, Shortfall, Wording
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.registry import MetricKind
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.tallied.declared import gaps_of, metrics_of
from evaluation.engine.suites.tallied.groups import VERSION, TallyGroups
from evaluation.engine.suites.tallied.measure import beside, not_asked
from evaluation.engine.tallies import ShareDefinition, TallyFamily
from evaluation.engine.words import group_words, number, plain


def tally_test(protocol: Protocol, criterion: Criterion, sketch: TallySketch, family: TallyFamily) -> CriterionTest:
    """The test of a criterion on a metric of a family, before the correction for multiplicity.

    What was not asked at all (:attr:`~evaluation.engine.asking.Utterances.why_not`) gives no contrast, so that the
    verdict is insufficient evidence, for that reason.
    """
    groups = TallyGroups(
        protocol, family, criterion.attribute, sketch.cells[criterion.attribute], suite="", version=VERSION
    )
    info, base = metrics_of(family)[criterion.metric], gaps_of(family).get(criterion.metric, criterion.metric)
    pairs = info.kind is MetricKind.GAP
    low, high = info.accepted(criterion.direction, criterion.margin)
    contrasts = groups.pair_contrasts(base) if pairs else groups.single_contrasts(base)
    shortfalls = groups.shortfalls(base)
    if not contrasts and (why := not_asked(sketch, family, groups.rule(base))):
        shortfalls = (
            Shortfall(group="All", reason=f"it was not asked, {why}", needed="an audit in which it is asked"),
        )
    return CriterionTest(
        criterion=criterion,
        label=family.key,
        attribute=criterion.attribute,
        region=Region(low=-float("inf") if low is None else low, high=float("inf") if high is None else high),
        contrasts=contrasts,
        shortfalls=shortfalls,
        wording=_Words(protocol, criterion, groups, base, pairs=pairs).wording(),
    )


class _Words:
    """How the verdicts of one criterion are put in words."""

    def __init__(
        self, protocol: Protocol, criterion: Criterion, groups: TallyGroups, metric: str, *, pairs: bool
    ) -> None:
        self.criterion, self.groups, self.metric, self.pairs = criterion, groups, metric, pairs
        self.rule, self.of = groups.rule(metric), groups.family.of
        self.level = f"{100 * (1 - protocol.alpha):g}%"

    def wording(self) -> Wording:
        attribute = self.criterion.attribute
        across = f" across {plain(attribute)}" if attribute else ""
        return Wording(
            fails=self._worse if self.pairs else self._single,
            holds=self._most if self.pairs else self._single,
            unit=lambda c: self.rule.among,
            subject=f"the {self.rule.title}{across}",
        )

    def _tail(self, c: Contrast) -> str:
        near = any(abs(abs(value) - self.criterion.margin) < 0.01 for value in (c.value, c.low, c.high))
        digits = 3 if near else 2
        limits = f"{self.level} interval {number(c.low, digits)} to {number(c.high, digits)}"
        amount = f"{c.n:,} {self.rule.among} of {c.patients:,} patients"
        return f"{number(c.value, digits)} ({limits}), {amount}, {self._margin()}{self._beside(c)}"

    def _margin(self) -> str:
        """What is accepted: a margin, or for a deviation both ends."""
        margin, ideal = self.criterion.margin, getattr(self.rule, "ideal", None)
        if ideal is not None and not self.pairs:
            return f"accepted {number(ideal - margin)} to {number(ideal + margin)}"
        bound = "at least " if self.criterion.direction == "at_least" else ""
        return f"margin {bound}{number(margin)}"

    def _worse(self, c: Contrast) -> str:
        one, two = (group_words(self.criterion.attribute, group) for group in c.groups)
        values = f"{self.rule.title} {number(c.rates[0])} vs {number(c.rates[1])}"
        return f"{self._worse_words().format(one=one, two=two)}: {values}, difference {self._tail(c)}"

    def _worse_words(self) -> str:
        """What a worse value means, made from the title where the family does not say it."""
        side = "higher" if self.rule.worse > 0 else "lower"
        return (
            self.rule.worse_words or f"the {self.rule.title} is {side} in {self.of} {{one}} than in {self.of} {{two}}"
        )

    def _most(self, c: Contrast) -> str:
        one, two = (group_words(self.criterion.attribute, group) for group in c.groups)
        values, word = f"{number(c.rates[0])} vs {number(c.rates[1])}", self.of.rsplit(" ", 1)[-1]
        between = f"between {self.of} {one} and {word} {two}"
        return f"the {self.rule.title} differs most {between}: {values}, difference {self._tail(c)}"

    def _single(self, c: Contrast) -> str:
        attribute = self.criterion.attribute
        where = f" in {self.of} {group_words(attribute, c.groups[0])}" if attribute else ""
        return f"the {self.rule.title}{where} is {self._tail(c)}"

    def _beside(self, c: Contrast) -> str:
        """What is told wherever the metric is: an empty report would score best on CHAIR alone."""
        told = [beside(self.groups, self.metric, group) for group in c.groups]
        parts = []
        for other in told[0]:
            values = [item[other] for item in told]
            shown = " vs ".join("too few to tell" if value is None else number(value) for value in values)
            rule = self.groups.rule(other)
            parts.append(f", {(isinstance(rule, ShareDefinition) and rule.brief) or plain(other)} {shown}")
        return "".join(parts)
