"""The life of a monitor: how much evidence of a change each window left, on a log axis, with the line of the alarm.

Evidence is an e-value: 1 says nothing, an alarm is due at 1/alpha. Where the protocol spends alpha over the looks it is
the inverse of a p-value, told in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

from evaluation.charts.drawing import (
    ChartPlan,
    NothingToDrawError,
    Palette,
    Spec,
    at,
    heading_of,
    mark,
    page_of,
    text_at,
    told_by,
)
from evaluation.charts.timeline_axis import (
    WIDTH,
    Happening,
    TimeScale,
    WindowState,
    day,
    epoch,
    happening_heads,
    happening_layers,
    happening_notes,
    notes,
    numbered,
    state_strip,
    state_words,
)

MOST_NAMED = 5
HEIGHT = 230
LEAST, ROOM = -2.0, 4.0
"""The axis reaches down to an e-value of .01, and up to four powers of ten above the alarm."""
LN10 = math.log(10)


@dataclass(frozen=True, kw_only=True)
class TrackPoint:
    """One window of a monitor's life.

    Attributes:
        closes: End of the window, local time without a zone.
        log_e: Natural logarithm of the evidence of all streams; None where the window was not judged.
        decisive: The same of the streams whose shift is over its margin alone; what an alarm rests on.
        threshold: At which ``decisive`` is an alarm.
        leading: The stream that leads the alarm, in words.
    """

    index: int
    closes: datetime
    state: str
    word: str
    cycle: int
    log_e: float | None = None
    decisive: float | None = None
    threshold: float | None = None
    alarm: bool = False
    leading: str = ""
    method: str = ""


def plan_track(points: Sequence[TrackPoint], happenings: Sequence[Happening] = (), *, zone: str = "UTC") -> ChartPlan:
    """The track of a monitor.

    Args:
        points: Windows in order.
        happenings: What happened to the monitor, the deployment and the version.
        zone: In which the times are told.

    Raises:
        NothingToDrawError: no window was judged.
    """
    judged = [point for point in points if point.log_e is not None]
    if not judged:
        raise NothingToDrawError(
            "No window was judged yet, so there is no evidence to draw.",
            remedy="The track begins when the first window is judged.",
        )
    states = [WindowState(index=point.index, closes=point.closes, state=point.state) for point in points]
    scale = TimeScale.of(states, happenings)
    marks = numbered(happenings, scale)
    title = _title(judged)
    return ChartPlan(
        title=title,
        text_alternative=_in_words(title, judged, len(points), [item for _number, item in marks]),
        table_headers=("Window", f"Closed ({zone})", "State", "All evidence", "Beyond margins", "Alarm at", "Remark"),
        table_rows=(*(_table_row(point) for point in points), *(_mark_row(*found) for found in marks)),
        specify=partial(_specification, title, tuple(points), tuple(states), scale, tuple(marks), zone),
    )


def e_value(log_e: float | None) -> str:
    """Evidence as a reader writes it: ``.31``, ``4.2``, ``180``, ``2,400``, ``10^7``; empty where there is none."""
    if log_e is None or math.isnan(log_e):
        return ""
    power = log_e / LN10
    if power >= 5:
        return f"10^{math.floor(power)}"
    if power < LEAST:
        return "below .01"
    value = math.exp(log_e)
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}".removeprefix("0")


def _title(judged: Sequence[TrackPoint]) -> str:
    """The finding: the newest alarm of the cycle under way, or how far the newest window is from one."""
    last = judged[-1]
    alarms = [point for point in judged if point.alarm]
    here = [point for point in alarms if point.cycle == last.cycle]
    limit = e_value(last.threshold)
    if here:
        about = f": {here[0].leading}" if here[0].leading else ""
        return f"Alarm in window {here[0].index}, to {day(here[0].closes)}{about}"
    if _certain(last):
        certain = "a change is certain, but it is smaller than the margins"
        return f"No alarm since the monitor began anew: {certain}" if alarms else f"No alarm: {certain}"
    mine = sum(point.cycle == last.cycle for point in judged)
    count = f"{mine} windows" if mine > 1 else "the first window"
    since = f"{count} since the monitor began anew" if alarms else count
    return f"No alarm in {since}: evidence of a change is {e_value(last.decisive)}, an alarm is due at {limit}"


def _certain(point: TrackPoint) -> bool:
    """Whether all evidence is over the line and that beyond the margins is not."""
    return point.threshold is not None and not point.alarm and (point.log_e or 0.0) >= point.threshold


def _in_words(title: str, judged: Sequence[TrackPoint], count: int, marks: Sequence[Happening]) -> str:
    last = judged[-1]
    told = [
        f"{title}.",
        f"{len(judged)} of {count} windows were judged.",
        f"After window {last.index} the evidence of streams beyond their margin is {e_value(last.decisive)}, that of "
        f"all streams {e_value(last.log_e)}; an alarm is due at {e_value(last.threshold)}.",
    ]
    alarms = [f"window {point.index} ({day(point.closes)})" for point in judged if point.alarm]
    if alarms:
        told.append(f"Alarms: {', '.join(alarms)}.")
    if marks:
        told.append("What happened: " + "; ".join(f"{day(item.at)}, {item.text}" for item in marks) + ".")
    return " ".join(told)


def _table_row(point: TrackPoint) -> tuple[str, ...]:
    remark = f"Alarm: {point.leading}".rstrip(": ") if point.alarm else ""
    closes = f"{day(point.closes)} {point.closes:%H:%M}"
    figures = (e_value(point.log_e), e_value(point.decisive), e_value(point.threshold))
    return (str(point.index), closes, point.word, *figures, remark)


def _mark_row(number: int, item: Happening) -> tuple[str, ...]:
    return (f"Mark {number}", f"{day(item.at)} {item.at:%H:%M}", "", "", "", "", item.text)


@dataclass(frozen=True, kw_only=True)
class _Ends:
    """The axis of evidence, in powers of ten."""

    low: float
    high: float

    def held(self, log_e: float) -> float:
        """Within the axis; what is beyond it stands at its end."""
        return min(self.high, max(self.low, log_e / LN10))

    @property
    def ticks(self) -> list[int]:
        span = math.floor(self.high) - math.ceil(self.low)
        step = max(1, math.ceil(span / 7))
        return [power for power in range(math.ceil(self.low), math.floor(self.high) + 1) if power % step == 0]


def _ends(points: Sequence[TrackPoint]) -> _Ends:
    lines = [point.threshold / LN10 for point in points if point.threshold is not None] or [1.3]
    known = [value / LN10 for point in points for value in (point.log_e, point.decisive) if value is not None]
    top = max(lines)
    high = max(top + 0.7, min(max(known), top + ROOM) + 0.3)
    return _Ends(low=max(LEAST, min(-0.5, min(known) - 0.2)), high=math.ceil(2 * high) / 2)


def _specification(
    title: str,
    points: Sequence[TrackPoint],
    states: Sequence[WindowState],
    scale: TimeScale,
    marks: Sequence[tuple[int, Happening]],
    zone: str,
    palette: Palette,
) -> Spec:
    ends = _ends(points)
    method = next((point.method for point in reversed(points) if point.method), "")
    told = "1 / p-value" if method == "alpha_spending" else "e-value"
    heading = heading_of(f"Evidence of a change ({told}, log scale)", palette.ink, offset=6)
    parts: list[Spec] = [_legend(told, palette)]
    if marks:
        parts.append({"title": heading} | happening_heads(marks, scale, palette))
    parts.append(({} if marks else {"title": heading}) | _plot(points, scale, marks, ends, palette))
    parts.append(state_strip(states, scale, palette, f"End of the window ({zone})"))
    left = [state_words(states), *happening_notes(marks)]
    parts.append(notes(left, palette))
    return page_of(title, parts, palette, spacing=8)


def _legend(told: str, palette: Palette) -> Spec:
    """Which line is which, above the plot."""
    y = 8
    lines = [
        mark("line", [{"x": 0, "y": y}, {"x": 26, "y": y}], _xy(), color=palette.data, strokeWidth=2.5),
        mark("line", [{"x": 224, "y": y}, {"x": 250, "y": y}], _xy(), color=palette.quiet, strokeDash=[5, 3]),
        mark("rect", [{"x": 368, "x2": 390, "y": 2, "y2": 15}], _box(), color=palette.region),
    ]
    words = [
        {"x": 32, "y": y, "text": f"{told}, beyond their margins"},
        {"x": 256, "y": y, "text": "of all streams"},
        {"x": 396, "y": y, "text": "no alarm"},
        {"x": 482, "y": y, "text": "alarm"},
    ]
    diamond = mark("point", [{"x": 470, "y": y}], _xy(), shape="diamond", size=90, filled=True, color=palette.fail)
    diamond["mark"]["opacity"] = 1
    return {"width": WIDTH, "height": 18, "layer": [*lines, diamond, text_at(words, palette.quiet, fontSize=11)]}


def _xy() -> Spec:
    return {"x": at("x"), "y": at("y")}


def _box() -> Spec:
    return _xy() | {"x2": {"field": "x2"}, "y2": {"field": "y2"}}


def _plot(
    points: Sequence[TrackPoint],
    scale: TimeScale,
    marks: Sequence[tuple[int, Happening]],
    ends: _Ends,
    palette: Palette,
) -> Spec:
    y = {"field": "e", "type": "quantitative", "scale": {"domain": [ends.low, ends.high], "nice": False}}
    y |= {"axis": _evidence_axis(ends, palette)}
    x = scale.encoding
    judged = [point for point in points if point.log_e is not None]
    layers = _regions(judged, scale, ends, x, y, palette)
    layers += happening_layers(marks, scale, palette)
    layers += _restarts(judged, x, palette)
    for cycle in sorted({point.cycle for point in judged}):
        mine = [point for point in judged if point.cycle == cycle]
        whole = [{"t": epoch(point.closes), "e": ends.held(point.log_e or 0.0)} for point in mine]
        dashed = {"color": palette.quiet, "strokeDash": [5, 3], "strokeWidth": 1.5, "strokeCap": "butt"}
        layers.append(mark("line", whole, {"x": x, "y": y}, **dashed))
        known = [_dot(point, ends, palette) for point in mine if point.decisive is not None]
        layers.append(mark("line", known, {"x": x, "y": y}, color=palette.data, strokeWidth=2.5))
        encoding = {"x": x, "y": y, "shape": told_by("shape"), "color": told_by("colour"), "size": _sized()}
        layers.append(mark("point", known, encoding, filled=True, opacity=1))
    return {"width": WIDTH, "height": HEIGHT, "layer": layers}


def _sized() -> Spec:
    return {"field": "size", "type": "quantitative", "scale": None, "legend": None}


def _dot(point: TrackPoint, ends: _Ends, palette: Palette) -> dict[str, Any]:
    assert point.decisive is not None
    beyond = point.decisive / LN10 > ends.high
    shape = "diamond" if point.alarm else "triangle-up" if beyond else "circle"
    return {
        "t": epoch(point.closes),
        "e": ends.held(point.decisive),
        "shape": shape,
        "colour": palette.fail if point.alarm else palette.data,
        "size": 130 if point.alarm else 44,
    }


def _evidence_axis(ends: _Ends, palette: Palette) -> Spec:
    """Powers of ten as plain numbers: .01, 1, 100, 10,000."""
    written = "datum.value < 0 ? replace(format(pow(10, datum.value), '.2~r'), '0.', '.')"
    written += " : datum.value < 6 ? format(pow(10, datum.value), ',.0f') : '10^' + format(datum.value, 'd')"
    return {
        "title": None,
        "values": ends.ticks,
        "labelExpr": written,
        "grid": True,
        "gridColor": palette.rule,
        "gridOpacity": 0.45,
        "gridWidth": 0.7,
        "domainColor": palette.rule,
        "tickColor": palette.rule,
        "labelColor": palette.quiet,
        "labelFontSize": 11,
        "minExtent": 44,
    }


def _regions(
    judged: Sequence[TrackPoint], scale: TimeScale, ends: _Ends, x: Spec, y: Spec, palette: Palette
) -> list[Spec]:
    """Below the line of the alarm is the region without one; the line may change when the monitor begins anew."""
    steps = _segments(judged, scale)
    bands = [
        {"t": epoch(start), "to": epoch(end), "e": ends.low, "top": ends.held(limit), "limit": ends.held(limit)}
        for start, end, limit in steps
    ]
    line = {"x": x, "x2": {"field": "to"}, "y": y | {"field": "limit"}}
    words = [
        {"t": band["t"], "e": band["limit"], "text": f"alarm at {e_value(limit)}"}
        for band, (_start, _end, limit) in zip(bands, steps, strict=True)
    ]
    told = {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}}
    style = {"color": palette.fail, "fontSize": 11, "align": "left", "baseline": "bottom", "dx": 4, "dy": -3}
    return [
        mark("rect", bands, {"x": x, "x2": {"field": "to"}, "y": y, "y2": {"field": "top"}}, color=palette.region),
        mark("rule", bands, line, color=palette.fail, strokeDash=[6, 3], strokeWidth=1.5),
        mark("text", words, told, **style),
    ]


def _segments(judged: Sequence[TrackPoint], scale: TimeScale) -> list[tuple[datetime, datetime, float]]:
    """From when to when which threshold holds."""
    found: list[tuple[datetime, datetime, float]] = []
    start, limit = scale.start, None
    for before, point in pairwise([None, *judged]):
        assert point is not None
        if point.threshold is None:
            continue
        if limit is not None and not math.isclose(point.threshold, limit, rel_tol=1e-6):
            turn = before.closes + (point.closes - before.closes) / 2 if before is not None else scale.start
            found.append((start, turn, limit))
            start = turn
        limit = point.threshold
    return [*found, (start, scale.end, limit)] if limit is not None else found


def _restarts(judged: Sequence[TrackPoint], x: Spec, palette: Palette) -> list[Spec]:
    """A line where the monitor began anew after an alarm was closed."""
    turns = [
        {"t": (epoch(before.closes) + epoch(after.closes)) // 2, "text": "begins anew"}
        for before, after in pairwise(judged)
        if after.cycle != before.cycle
    ]
    # Where there are many, only the first is told, so that words do not lie over one another.
    named = turns if len(turns) <= MOST_NAMED else [turns[0] | {"text": "begins anew at each line"}]
    told = {"x": x, "y": {"value": 2}, "text": {"field": "text", "type": "nominal"}}
    style = {"color": palette.quiet, "fontSize": 11, "align": "left", "baseline": "top", "dx": 4}
    return [mark("rule", turns, {"x": x}, color=palette.ink, strokeWidth=1.2), mark("text", named, told, **style)]
