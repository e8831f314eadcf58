"""The test of a criterion on shifts: of one window alone, a single look. Alarms over a life are another thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from evaluation.engine.drift.records import Family, StreamShift
from evaluation.engine.judging import Contrast, CriterionTest, Region, Shortfall, Wording
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import UNKNOWN
from evaluation.engine.statistics.intervals import Interval, z_of
from evaluation.engine.suites.drift.metrics import DISTANCES, EFFECTS, LABEL, METHODS, METRICS, metric_of
from evaluation.engine.words import group_words, number, plain


def shift_test(
    protocol: Protocol, criterion: Criterion, shifts: Sequence[StreamShift], titles: dict[str, str], *, why_none: str
) -> CriterionTest:
    """The test of a criterion on every stream of its family, before the correction for multiplicity.

    Args:
        shifts: All of the window.
        titles: Stream -> its title.
        why_none: Why there are no shifts at all, where there are none.
    """
    own = [
        item for item in shifts if metric_of(item.family) == criterion.metric and item.attribute == criterion.attribute
    ]
    named = {_name(item, titles): item for item in own if item.group != UNKNOWN}
    if len(named) < len({(item.stream, item.group) for item in own if item.group != UNKNOWN}):
        # Two streams have one title.
        named = {_name(item, {}): item for item in own if item.group != UNKNOWN}
    short = {name: why for name, item in named.items() if (why := _shortfall(protocol, item))}
    tested = {name: item for name, item in named.items() if name not in short}
    critical = z_of(protocol.alpha / max(1, len(tested)))
    shortfalls = [Shortfall(group=name, reason=f"{name}: {why[0]}", needed=why[1]) for name, why in short.items()]
    if not named:
        what = why_none or f"no stream tells of the {METRICS[criterion.metric].title}"
        shortfalls = [Shortfall(group="All", reason=what, needed="")]
    low, high = METRICS[criterion.metric].accepted(criterion.direction, criterion.margin)
    return CriterionTest(
        criterion=criterion,
        label=LABEL,
        attribute=criterion.attribute,
        region=Region(low=-float("inf") if low is None else low, high=float("inf") if high is None else high),
        contrasts=tuple(_contrast(protocol, name, item, critical) for name, item in tested.items()),
        shortfalls=tuple(shortfalls),
        wording=_wording(protocol, criterion, named),
    )


def _name(item: StreamShift, titles: dict[str, str]) -> str:
    title = titles.get(item.stream, plain(item.stream))
    return f"{group_words(item.attribute, item.group)}: {title}" if item.attribute else title


def _shortfall(protocol: Protocol, item: StreamShift) -> tuple[str, str] | None:
    """Why a stream is not judged, and what would suffice; None where it is."""
    if item.value is None or item.low is None or item.high is None:
        return item.reason or "it has no interval", ""
    least = protocol.minimum_denominator
    for n, side in ((item.n, "window"), (item.n_reference, "reference")):
        if n < least:
            return f"{n} patients in the {side}", f"at least {least} patients in the {side}"
    return None


def _contrast(protocol: Protocol, name: str, item: StreamShift, critical: float) -> Contrast:
    value, low, high = item.value or 0.0, item.low or 0.0, item.high or 0.0
    return Contrast(
        groups=(name,),
        metric=metric_of(item.family),
        rates=(value,),
        value=value,
        n=item.n,
        patients=item.n,
        smallest=(name, item.n),
        method=METHODS.get(item.effect, plain(item.effect)),
        interval=partial(_at, (value, low, high), item.effect in DISTANCES, z_of(protocol.alpha)),
        critical=critical,
    )


def _at(limits: tuple[float, float, float], distance: bool, known: float, z: float) -> Interval:
    """The interval at another quantile: each side as many times as wide as z is of the known one."""
    value, low, high = limits
    lower = value - (value - low) * z / known
    return max(0.0, lower) if distance else lower, value + (high - value) * z / known


def _wording(protocol: Protocol, criterion: Criterion, named: dict[str, StreamShift]) -> Wording:
    title = METRICS[criterion.metric].title
    across = f" across {plain(criterion.attribute)}" if criterion.attribute else ""
    said: Callable[[Contrast], str] = partial(_said, protocol, criterion, named)
    return Wording(fails=said, holds=said, unit=lambda c: "patients", subject=f"the {title}{across}")


def _said(protocol: Protocol, criterion: Criterion, named: dict[str, StreamShift], c: Contrast) -> str:
    item = named[c.groups[0]]
    near = any(abs(abs(value) - criterion.margin) < 0.01 for value in (c.value, c.low, c.high))
    digits = 3 if near else 2
    verb = "moved most, by" if len(named) > 1 else "moved by"
    words = EFFECTS.get(item.effect, f"in {plain(item.effect)}")
    limits = f"{100 * (1 - protocol.alpha):g}% interval {number(c.low, digits)} to {number(c.high, digits)}"
    who = f"{item.n:,} patients against {item.n_reference:,} of the reference"
    return (
        f"{c.groups[0]} {verb} {number(c.value, digits)} {words} ({limits}), {who}, margin {number(criterion.margin)}"
    )


def families_of(protocol: Protocol) -> tuple[Family, ...]:
    """Families that the protocol watches."""
    return tuple(item for item in Family if protocol.drift is not None and protocol.drift.watches(item.value))
