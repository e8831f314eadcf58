"""One stream over the windows of a monitor: its shift from the reference with interval, and the margin it may have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from evaluation.charts.drawing import (
    ChartPlan,
    NothingToDrawError,
    Palette,
    Spec,
    axis,
    capital,
    counted,
    digits_for,
    estimate,
    exact,
    heading_of,
    mark,
    page_of,
    round_domain,
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
from evaluation.charts.track import e_value

HEIGHT, LOW_PANEL = 190, 92
MOST_GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class StreamDot:
    """One stream in one window. ``log_e``: evidence of this stream by itself; ``reason``: why there is no value."""

    index: int
    closes: datetime
    value: float | None
    low: float | None
    high: float | None
    margin: float | None
    n: int | None
    log_e: float | None = None
    alarming: bool = False
    reason: str = ""

    @property
    def beyond(self) -> bool:
        """Whether the whole interval lies beyond the margin."""
        if self.margin is None or self.low is None or self.high is None:
            return False
        return self.low > self.margin or self.high < -self.margin


@dataclass(frozen=True, kw_only=True)
class StreamLine:
    """A stream of all studies, or of one group, window by window."""

    name: str
    dots: tuple[StreamDot, ...]


def plan_timeline(
    stream: str,
    effect: str,
    lines: Sequence[StreamLine],
    windows: Sequence[WindowState],
    happenings: Sequence[Happening] = (),
    *,
    zone: str = "UTC",
    both_sides: bool = False,
) -> ChartPlan:
    """The shift of a stream over windows: one panel for each line.

    Args:
        stream: In words: ``CRP, median of the study``.
        effect: What is drawn, in words: ``shift in standard deviations of the reference``.
        windows: Every window of the span, judged or not.
        both_sides: The shift has a sign, and both directions count.

    Raises:
        NothingToDrawError: no window has a value.
    """
    if not any(dot.value is not None for line in lines for dot in line.dots):
        why = next((dot.reason for line in lines for dot in line.dots if dot.reason), "no window was judged yet")
        raise NothingToDrawError(f"{stream} has no value in these windows: {why}", remedy="Choose another stream.")
    shown = tuple(lines[:MOST_GROUPS])
    scale = TimeScale.of(windows, happenings)
    marks = numbered(happenings, scale)
    title = _title(stream, lines)
    left = [line.name for line in lines[MOST_GROUPS:]]
    make = partial(_specification, title, effect, shown, tuple(windows), scale, tuple(marks), zone, both_sides, left)
    return ChartPlan(
        title=title,
        text_alternative=_in_words(title, effect, lines),
        table_headers=("Window", f"Closed ({zone})", "Group", "Shift (interval)", "Margin", "Evidence", "n", "Remark"),
        table_rows=tuple(_table_row(line.name, dot) for line in lines for dot in line.dots),
        specify=make,
    )


def _title(stream: str, lines: Sequence[StreamLine]) -> str:
    """The finding: since when it is beyond its margin, in which group; or that it stays within."""
    found = []
    for line in lines:
        known = [dot for dot in line.dots if dot.value is not None]
        if known and known[-1].beyond:
            since = known[-1]
            for dot in reversed(known):
                if not dot.beyond:
                    break
                since = dot
            found.append((since.index, line.name, since))
    if found:
        _index, name, since = min(found, key=lambda item: item[0])
        where = "" if len(lines) == 1 and name == "All studies" else f" in {_inside(name)}"
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{stream} is beyond its margin{where}{more} since window {since.index} (to {day(since.closes)})"
    past = [dot for line in lines for dot in line.dots if dot.beyond]
    if past:
        return f"{stream} is within its margin again; it was beyond it in window {past[-1].index}"
    return f"{stream} was in no window wholly beyond its margin"


def _inside(name: str) -> str:
    """A group inside a sentence: ``all studies``, ``sex: F``."""
    return name[:1].lower() + name[1:]


def _in_words(title: str, effect: str, lines: Sequence[StreamLine]) -> str:
    told = [f"{title}. Drawn: {effect}."]
    for line in lines:
        known = [dot for dot in line.dots if dot.value is not None]
        if not known:
            continue
        last = known[-1]
        margin = f", margin {exact(last.margin)}" if last.margin is not None else ""
        figures = estimate(last.value, last.low, last.high)
        told.append(
            f"{line.name}: {len(known)} windows with a value, the newest, window {last.index}, {figures}{margin}."
        )
    return " ".join(told)


def _table_row(name: str, dot: StreamDot) -> tuple[str, ...]:
    remark = dot.reason or ("Part of the alarm" if dot.alarming else "beyond the margin" if dot.beyond else "")
    shift = estimate(dot.value, dot.low, dot.high, 3) or "none"
    margin = exact(dot.margin) if dot.margin is not None else ""
    closes = f"{day(dot.closes)} {dot.closes:%H:%M}"
    return (str(dot.index), closes, name, shift, margin, e_value(dot.log_e), counted(dot.n), remark)


def _specification(
    title: str,
    effect: str,
    lines: Sequence[StreamLine],
    windows: Sequence[WindowState],
    scale: TimeScale,
    marks: Sequence[tuple[int, Happening]],
    zone: str,
    both_sides: bool,
    left: Sequence[str],
    palette: Palette,
) -> Spec:
    parts: list[Spec] = []
    if marks:
        parts.append(
            {"title": heading_of(capital(effect), palette.ink, offset=6)} | happening_heads(marks, scale, palette)
        )
    domain = _domain(lines, both_sides)
    height = HEIGHT if len(lines) == 1 else LOW_PANEL
    for place, line in enumerate(lines):
        heading = "" if marks and len(lines) == 1 else line.name if len(lines) > 1 else capital(effect)
        if place == 0 and not marks and len(lines) > 1:
            heading = f"{capital(effect)}: {_inside(line.name)}"
        named = {"title": heading_of(heading, palette.ink, offset=6)} if heading else {}
        parts.append(named | _panel(line, domain, height, both_sides, scale, marks, palette))
    parts.append(state_strip(windows, scale, palette, f"End of the window ({zone})"))
    said = [
        "Shaded: within the margin. Diamond: the whole interval lies beyond it.",
        state_words(windows),
    ]
    if left:
        said.append(f"Not drawn: {', '.join(left[:6])}{' and others' if len(left) > 6 else ''}; see the table.")
    parts.append(notes([*said, *happening_notes(marks)], palette))
    return page_of(title, parts, palette, spacing=8)


def _domain(lines: Sequence[StreamLine], both_sides: bool) -> tuple[float, float]:
    dots = [dot for line in lines for dot in line.dots if dot.value is not None]
    ends = [end for dot in dots for end in (dot.low, dot.value, dot.high) if end is not None]
    margins = [dot.margin for dot in dots if dot.margin is not None]
    wide = [1.3 * margin for margin in margins] + [0.0]
    every = [*ends, *wide, *([-end for end in wide] if both_sides else [])]
    return round_domain(every, least=0.0 if min(every) >= 0 else -math.inf)


def _panel(
    line: StreamLine,
    domain: tuple[float, float],
    height: int,
    both_sides: bool,
    scale: TimeScale,
    marks: Sequence[tuple[int, Happening]],
    palette: Palette,
) -> Spec:
    low, high = domain
    y_axis = axis(palette, digits=digits_for(high - low), tickCount=4, minExtent=44) | {"grid": True}
    y_axis |= {"gridColor": palette.rule, "gridOpacity": 0.45, "gridWidth": 0.7}
    y: Spec = {"field": "value", "type": "quantitative", "axis": y_axis}
    y["scale"] = {"domain": [low, high], "nice": False, "clamp": True}
    x = scale.encoding
    known = [_mark_of(dot, palette) for dot in line.dots if dot.value is not None]
    whiskers = [row for row in known if row["low"] is not None and row["high"] is not None]
    encoding = {"x": x, "y": y, "shape": told_by("shape"), "color": told_by("colour")}
    layers = [
        *_margin_layers(line, domain, both_sides, scale, y, palette),
        *happening_layers(marks, scale, palette),
        mark("line", known, {"x": x, "y": y}, color=palette.rule, strokeWidth=1.2),
        mark(
            "rule",
            whiskers,
            {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": told_by("colour")},
            strokeWidth=2,
        ),
        mark("point", known, encoding, filled=True, size=64, opacity=1),
    ]
    return {"width": WIDTH, "height": height, "layer": layers}


def _mark_of(dot: StreamDot, palette: Palette) -> dict[str, Any]:
    return {
        "t": epoch(dot.closes),
        "value": dot.value,
        "low": dot.low,
        "high": dot.high,
        "shape": "diamond" if dot.beyond else "circle",
        "colour": palette.fail if dot.beyond else palette.data,
    }


def _margin_layers(
    line: StreamLine, domain: tuple[float, float], both_sides: bool, scale: TimeScale, y: Spec, palette: Palette
) -> list[Spec]:
    """The accepted region, its dashed end with the margin in words, and a line where nothing has shifted."""
    margin = next((dot.margin for dot in reversed(line.dots) if dot.margin is not None), None)
    x = scale.encoding
    span = {"t": epoch(scale.start), "to": epoch(scale.end)}
    layers: list[Spec] = []
    if margin is not None:
        ends = [margin, -margin] if both_sides else [margin]
        floor = -margin if both_sides else domain[0]
        band = {"x": x, "x2": {"field": "to"}, "y": y, "y2": {"field": "top"}}
        layers.append(mark("rect", [span | {"value": floor, "top": margin}], band, color=palette.region, opacity=1))
        rules = [span | {"value": end} for end in ends]
        line_at = {"x": x, "x2": {"field": "to"}, "y": y}
        layers.append(mark("rule", rules, line_at, color=palette.quiet, strokeDash=[4, 3], strokeWidth=1))
        words = [{"value": margin, "text": f"{'±' if both_sides else '≤ '}{exact(margin)}"}]
        told = {"x": {"value": WIDTH}, "y": y, "text": {"field": "text", "type": "nominal"}}
        style = {"color": palette.quiet, "fontSize": 11, "align": "left", "baseline": "middle", "dx": 6}
        layers.append(mark("text", words, told, **style))
    if domain[0] < 0 < domain[1]:
        rule = {"x": x, "x2": {"field": "to"}, "y": y}
        layers.append(mark("rule", [span | {"value": 0.0}], rule, color=palette.rule, strokeWidth=1))
    return layers
