"""Sentences for a committee. Numbers keep two digits, or three where two would hide the side of a margin."""

from __future__ import annotations

from evaluation.engine.judging import Contrast, Wording
from evaluation.engine.protocol import JOIN, Criterion, Protocol
from evaluation.engine.suites.fairness.rates import GAPS, METRICS, RATES

PERSONS = {
    "f": "female patients",
    "female": "female patients",
    "m": "male patients",
    "male": "male patients",
}


def number(value: float, digits: int = 2) -> str:
    """``.44``, ``-.14``, ``1.00``: no zero before the point, as in clinical papers."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def group_words(attribute: str, group: str) -> str:
    """A group in words: ``female patients``, ``age band ≥60``, ``female patients, age band ≥60``."""
    parts = []
    for name, value in zip(attribute.split(JOIN), group.split(JOIN), strict=False):
        person = PERSONS.get(value.casefold()) if name.casefold() in {"sex", "gender"} else None
        parts.append(person or f"{plain(name)} {signs(value)}")
    return ", ".join(parts)


def signs(group: str) -> str:
    """``>=60`` as ``≥60``."""
    return group.replace(">=", "≥").replace("<=", "≤")


def plain(name: str) -> str:
    """A name from a file as words: ``airspace_opacity`` becomes ``airspace opacity``."""
    return name.replace("_", " ")


def wording_of(protocol: Protocol, criterion: Criterion, label: str, attribute: str) -> Wording:
    """How the verdicts of one criterion on one label and attribute are put in words."""
    level = f"{100 * (1 - protocol.alpha):g}%"
    title = METRICS[criterion.metric].title
    across = f" across {plain(attribute)}" if attribute else ""
    scale = _Scale(level=level, margin=criterion.margin, direction=criterion.direction)
    pair = criterion.metric in GAPS
    return Wording(
        fails=lambda c: _pair_fails(c, label, attribute, scale) if pair else _single(c, label, attribute, scale),
        holds=lambda c: _pair_holds(c, label, attribute, scale) if pair else _single(c, label, attribute, scale),
        unit=lambda c: RATES[c.metric].among,
        subject=f"the {title} of {plain(label)}{across}",
    )


class _Scale:
    """How numbers are shown beside one margin."""

    def __init__(self, *, level: str, margin: float, direction: str) -> None:
        self.level = level
        self.margin = margin
        self.direction = direction

    def tail(self, c: Contrast) -> str:
        """Interval, support and margin: ``(95% interval -.22 to -.06), 238 studies of 170 patients, margin .10``."""
        near = any(abs(abs(end) - self.margin) < 0.01 for end in (c.value, c.low, c.high))
        digits = 3 if near else 2
        studies = f"{c.n:,} {RATES[c.metric].among} of {c.patients:,} patients"
        limits = f"{self.level} interval {number(c.low, digits)} to {number(c.high, digits)}"
        bound = "at least " if self.direction == "at_least" else ""
        return f"{number(c.value, digits)} ({limits}), {studies}, margin {bound}{number(self.margin)}"


def _pair_fails(c: Contrast, label: str, attribute: str, scale: _Scale) -> str:
    rule = RATES[c.metric]
    worse, better = (group_words(attribute, group) for group in c.groups)
    finding = f"{rule.worse_words.format(label=plain(label))} in {worse} than in {better}"
    values = f"{rule.title} {number(c.rates[0])} vs {number(c.rates[1])}"
    return f"{finding}: {values}, difference {scale.tail(c)}"


def _pair_holds(c: Contrast, label: str, attribute: str, scale: _Scale) -> str:
    rule = RATES[c.metric]
    one, two = (group_words(attribute, group) for group in c.groups)
    values = f"{number(c.rates[0])} vs {number(c.rates[1])}"
    return (
        f"the {rule.title} of {plain(label)} differs most between {one} and {two}: {values}, difference {scale.tail(c)}"
    )


def _single(c: Contrast, label: str, attribute: str, scale: _Scale) -> str:
    where = f" in {group_words(attribute, c.groups[0])}" if attribute else ""
    return f"the {RATES[c.metric].title} of {plain(label)}{where} is {scale.tail(c)}"
