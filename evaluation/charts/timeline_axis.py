"""What the two pictures of a monitor's life share: the axis of time, marks of what happened, windows without a result.

Times are those of the monitor's zone, written without it; the axis must not depend on where it is drawn.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from evaluation.charts.drawing import Palette, Spec, at, axis_style, mark, text_at, told_by

WIDTH = 640
STRIP, HEAD = 24, 17
TOLD_IN_PICTURE = 6
"""Marks that are told below the picture; all are numbered, and the table has them all."""
PATHS = {
    "judged": ("circle", "judged"),
    "empty": ("square", "no studies"),
    "refused": ("cross", "data refused"),
    "failed": ("triangle-up", "could not be judged"),
    "open": ("diamond", "not judged yet"),
}
"""State of a window -> its shape in the strip, and the word in the legend."""


@dataclass(frozen=True, kw_only=True)
class Happening:
    """Something that happened to the monitor, its deployment or its version. ``at``: local time without a zone."""

    at: datetime
    text: str


@dataclass(frozen=True, kw_only=True)
class WindowState:
    """Where a window stands on the axis of time: at its end. ``state``: one of ``PATHS``."""

    index: int
    closes: datetime
    state: str


@dataclass(frozen=True, kw_only=True)
class TimeScale:
    """The span that a picture shows."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, windows: Sequence[WindowState], happenings: Sequence[Happening]) -> TimeScale:
        """From the first window to the last, with what happened before and after within one window's length."""
        times = sorted(window.closes for window in windows)
        length = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else timedelta(days=1)
        length = max(length, timedelta(minutes=1))
        start, end = times[0] - length, times[-1] + length / 2
        told = [item.at for item in happenings if item.at < start]
        return cls(start=max([start - length, min(told)]) if told else start, end=end)

    @property
    def encoding(self) -> Spec:
        """The x of a layer whose data have ``t``."""
        scale = {"type": "utc", "domain": [epoch(self.start), epoch(self.end)], "nice": False}
        return {"field": "t", "type": "temporal", "scale": scale, "axis": None}

    def axis(self, palette: Palette, title: str) -> Spec:
        told = {"title": title, "format": self.format, "tickCount": 7, "labelOverlap": True}
        return told | axis_style(palette)

    @property
    def format(self) -> str:
        """How a tick is written: by the hour, by the day, by the month."""
        span = self.end - self.start
        if span <= timedelta(days=3):
            return "%-d %b %H:%M"
        return "%-d %b" if span <= timedelta(days=300) else "%b %Y"


def epoch(moment: datetime) -> int:
    """Milliseconds, as a picture counts time."""
    return calendar.timegm(moment.timetuple()) * 1000


def day(moment: datetime) -> str:
    """``9 May 2026``."""
    return f"{moment.day} {moment:%b %Y}"


def numbered(happenings: Sequence[Happening], scale: TimeScale) -> list[tuple[int, Happening]]:
    """Those within the picture, by time, with their numbers."""
    inside = sorted((item for item in happenings if scale.start <= item.at <= scale.end), key=lambda item: item.at)
    return list(enumerate(inside, start=1))


def happening_layers(marks: Sequence[tuple[int, Happening]], scale: TimeScale, palette: Palette) -> list[Spec]:
    """A thin line through the plot for each thing that happened."""
    values = [{"t": epoch(item.at)} for _number, item in marks]
    return [mark("rule", values, {"x": scale.encoding}, color=palette.quiet, strokeDash=[1, 3], strokeWidth=1.2)]


def happening_heads(marks: Sequence[tuple[int, Happening]], scale: TimeScale, palette: Palette) -> Spec:
    """The numbers of what happened, above the plot; those of the same days stand side by side."""
    values: list[dict[str, Any]] = []
    span = (scale.end - scale.start).total_seconds()
    for number, item in marks:
        place = WIDTH * (item.at - scale.start).total_seconds() / span
        values.append({"x": max(place, values[-1]["x"] + HEAD) if values else place, "y": 9, "text": str(number)})
    encoding = {"x": at("x"), "y": at("y")}
    rings = mark("point", values, encoding, shape="circle", size=190, filled=True, color=palette.region, opacity=1)
    return {
        "width": WIDTH,
        "height": 18,
        "layer": [rings, text_at(values, palette.ink, fontSize=10, align="center")],
    }


def happening_notes(marks: Sequence[tuple[int, Happening]]) -> list[str]:
    """``1  2 Mar 2026: version 1.0 deployed`` for the first of them; how many more there are."""
    told = [f"{number}  {day(item.at)}: {item.text}" for number, item in marks[:TOLD_IN_PICTURE]]
    more = len(marks) - len(told)
    return [*told, f"{more} more are in the table."] if more else told


def state_strip(windows: Sequence[WindowState], scale: TimeScale, palette: Palette, title: str) -> Spec:
    """One shape for each window, by what became of it; below it the axis of time."""
    values = [
        {
            "t": epoch(window.closes),
            "y": STRIP / 2,
            "shape": PATHS[window.state][0],
            "fill": palette.quiet if window.state == "judged" else palette.ground,
            "edge": palette.fail if window.state in {"refused", "failed"} else palette.quiet,
        }
        for window in windows
    ]
    x = scale.encoding | {"axis": scale.axis(palette, title)}
    encoding = {"x": x, "y": at("y"), "shape": told_by("shape"), "fill": told_by("fill"), "stroke": told_by("edge")}
    return {"width": WIDTH, "height": STRIP, **mark("point", values, encoding, size=46, opacity=1, strokeWidth=1.5)}


def state_words(windows: Sequence[WindowState]) -> str:
    """The legend of the strip: which shape is which, for what occurs."""
    signs = {"judged": "●", "empty": "□", "refused": "✚", "failed": "△", "open": "◇"}
    known = [name for name in PATHS if any(window.state == name for window in windows)]
    return "Windows: " + ", ".join(f"{signs[name]} {PATHS[name][1]}" for name in known)


def notes(lines: Sequence[str], palette: Palette) -> Spec:
    """Lines of small text below a picture."""
    values: list[dict[str, Any]] = [{"x": 0, "y": 8 + 16 * place, "text": line} for place, line in enumerate(lines)]
    return {"width": WIDTH, "height": 16 * max(1, len(lines)), **text_at(values, palette.quiet, fontSize=11)}
