"""Sentences for a committee. Numbers keep two digits, or three where two would hide the side of a margin."""

from __future__ import annotations

from evaluation.engine.judging import Contrast, Wording
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.registry import MetricKind
from evaluation.engine.suites.fairness.metrics import METRICS, RULES
from evaluation.engine.words import PERSONS, group_words, number, plain, signs

__all__ = ["PERSONS", "group_words", "number", "plain", "signs", "wording_of"]


def wording_of(protocol: Protocol, criterion: Criterion, label: str, attribute: str) -> Wording:
    """How the verdicts of one criterion on one label and attribute are put in words."""
    info = METRICS[criterion.metric]
    across = f" across {plain(attribute)}" if attribute else ""
    scale = _Scale(protocol, criterion)
    pair = info.kind in {MetricKind.GAP, MetricKind.RATIO}
    return Wording(
        fails=lambda c: _pair_fails(c, label, attribute, scale) if pair else _single(c, label, attribute, scale),
        holds=lambda c: _pair_holds(c, label, attribute, scale) if pair else _single(c, label, attribute, scale),
        unit=lambda c: RULES[c.metric].among,
        subject=f"the {info.title} of {plain(label)}{across}",
    )


class _Scale:
    """How numbers are shown beside the ends of what one criterion accepts."""

    def __init__(self, protocol: Protocol, criterion: Criterion) -> None:
        info = METRICS[criterion.metric]
        self.level = f"{100 * (1 - protocol.alpha):g}%"
        self.ends = [end for end in info.accepted(criterion.direction, criterion.margin) if end is not None]
        self.compared = "ratio" if info.kind is MetricKind.RATIO else "difference"
        if info.kind is MetricKind.DEVIATION:
            self.accepted = f"accepted {number(self.ends[0])} to {number(self.ends[1])}"
        else:
            bound = "at least " if criterion.direction == "at_least" else ""
            self.accepted = f"margin {bound}{number(criterion.margin)}"

    def tail(self, c: Contrast) -> str:
        """Interval, support and margin: ``(95% interval -.22 to -.06), 238 studies of 170 patients, margin .10``."""
        return f"{self.value(c)} ({self.limits(c)}), {self.support(c)}"

    def value(self, c: Contrast) -> str:
        return number(c.value, self._digits(c))

    def limits(self, c: Contrast) -> str:
        digits = self._digits(c)
        return f"{self.level} interval {number(c.low, digits)} to {number(c.high, digits)}"

    def support(self, c: Contrast) -> str:
        return f"{c.n:,} {RULES[c.metric].among} of {c.patients:,} patients, {self.accepted}"

    def _digits(self, c: Contrast) -> int:
        """Three where two would hide the side of a margin."""
        near = any(abs(abs(value) - abs(end)) < 0.01 for end in self.ends for value in (c.value, c.low, c.high))
        return 3 if near else 2


def _pair_fails(c: Contrast, label: str, attribute: str, scale: _Scale) -> str:
    rule = RULES[c.metric]
    worse, better = (group_words(attribute, group) for group in c.groups)
    # A ratio is the lower rate over the higher, so its first group is the one with fewer.
    words = "{label} is predicted less often" if scale.compared == "ratio" else rule.worse_words
    finding = f"{words.format(label=plain(label))} in {worse} than in {better}"
    values = f"{rule.title} {number(c.rates[0])} vs {number(c.rates[1])}"
    return f"{finding}: {values}, {scale.compared} {scale.tail(c)}"


def _pair_holds(c: Contrast, label: str, attribute: str, scale: _Scale) -> str:
    one, two = (group_words(attribute, group) for group in c.groups)
    values = f"{number(c.rates[0])} vs {number(c.rates[1])}"
    return (
        f"the {RULES[c.metric].title} of {plain(label)} differs most between {one} and {two}: {values}, "
        f"{scale.compared} {scale.tail(c)}"
    )


def _single(c: Contrast, label: str, attribute: str, scale: _Scale) -> str:
    where = f" in {group_words(attribute, c.groups[0])}" if attribute else ""
    subject = f"the {RULES[c.metric].title} of {plain(label)}{where}"
    return f"{subject} is {scale.value(c)}: {scale.limits(c)}, {scale.support(c)}"
