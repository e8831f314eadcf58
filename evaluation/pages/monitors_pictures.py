"""The two pictures of a monitor's life, made of its windows: for the page, for their addresses and for their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.core.paginator import Page, Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from core.kept import kept
from core.pages.readers import HouseRequest
from evaluation import selectors_monitors as selectors
from evaluation.chart_words import for_reader
from evaluation.engine.drift.words import effect_words
from evaluation.models import Monitor, MonitorWindow, StreamPoint
from evaluation.pages.monitors_words import group_words, has_two_sides, leading_of, stream_words

if TYPE_CHECKING:
    from evaluation.charts import ChartPlan, Happening, StreamLine, TrackPoint, WindowState

A_YEAR = 52
"""Windows of a page: its pictures and its table show the same ones."""
EVERY = "*"
"""In the address, for every group of an attribute."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The windows that a page shows, oldest first, and what the ledger tells of their time."""

    monitor: Monitor
    page: Page[MonitorWindow]
    windows: tuple[MonitorWindow, ...]
    marks: tuple[selectors.LedgerMark, ...]

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.monitor.zone)).replace(tzinfo=None)

    @property
    def happenings(self) -> tuple[Happening, ...]:
        from evaluation.charts import Happening

        return tuple(Happening(at=self.local(item.at), text=item.text) for item in self.marks)

    @property
    def states(self) -> tuple[WindowState, ...]:
        from evaluation.charts import WindowState

        return tuple(
            WindowState(index=row.index, closes=self.local(row.closes_at), state=_state(row)) for row in self.windows
        )


def _state(window: MonitorWindow) -> str:
    return str(window.status) if window.status in selectors.FINAL else "open"


def seen_of(request: HouseRequest, monitor: Monitor) -> Seen:
    """The windows that an address asks for, by its page."""
    page = Paginator(selectors.windows_of(monitor), A_YEAR).get_page(request.GET.get("page"))
    windows = tuple(page)[::-1]
    marks: list[selectors.LedgerMark] = []
    if windows:
        span = windows[-1].closes_at - windows[0].opens_at
        around = max(span / len(windows), timedelta(hours=1))
        shown = {"since": windows[0].opens_at - around, "until": windows[-1].closes_at + around}
        marks = kept("marks", monitor.pk, shown, make=lambda: selectors.marks_of(monitor, **shown))
    return Seen(monitor=monitor, page=page, windows=windows, marks=tuple(marks))


def track_of(seen: Seen) -> ChartPlan:
    """The track of evidence.

    Raises:
        NothingToDrawError: no window was judged.
    """
    from evaluation.charts import plan_track

    return plan_track([_track_point(seen, row) for row in seen.windows], seen.happenings, zone=seen.monitor.zone)


def _track_point(seen: Seen, window: MonitorWindow) -> TrackPoint:
    from evaluation.charts import TrackPoint

    look = window.look or {}
    judged = window.status == MonitorWindow.Status.JUDGED
    return TrackPoint(
        index=window.index,
        closes=seen.local(window.closes_at),
        state=_state(window),
        word=window.get_status_display(),
        cycle=window.cycle,
        log_e=window.log_e if judged else None,
        decisive=look.get("log_e_over_margin", window.log_e) if judged else None,
        threshold=look.get("threshold"),
        alarm=window.alarm,
        leading=leading_of(window),
        method=look.get("method", ""),
    )


@dataclass(frozen=True, kw_only=True)
class StreamAsked:
    """What an address asks for: a stream, over all studies, in one group, or in every group of an attribute."""

    stream: str
    attribute: str = ""
    group: str = ""

    @property
    def by(self) -> str:
        """As the address writes it: ``sex=F``, ``sex=*``; empty for all studies."""
        return f"{self.attribute}={self.group or EVERY}" if self.attribute else ""

    @property
    def query(self) -> str:
        return urlencode({"of": self.stream} | ({"by": self.by} if self.by else {}))


def asked_of(request: HouseRequest, choices: Sequence[selectors.StreamChoice], *, first: str = "") -> StreamAsked:
    """The stream and group of an address, where they are known; else the ``first`` stream, over all studies."""
    known = {choice.stream: choice for choice in choices}
    chosen = known.get(request.GET.get("of", "")) or known.get(first) or next(iter(known.values()), None)
    if chosen is None:
        return StreamAsked(stream="")
    attribute, _, group = request.GET.get("by", "").partition("=")
    group = "" if group == EVERY else group
    fits = any(name == attribute and group in {"", one} for name, one in chosen.groups)
    if not attribute or not fits:
        return StreamAsked(stream=chosen.stream)
    return StreamAsked(stream=chosen.stream, attribute=attribute, group=group)


def stream_plan(seen: Seen, asked: StreamAsked) -> ChartPlan:
    """One stream over the windows.

    Raises:
        NothingToDrawError: no window has a value of it.
    """
    from evaluation.charts import plan_timeline

    found = selectors.points_of_stream(seen.windows, stream=asked.stream, attribute=asked.attribute, group=asked.group)
    newest = next((point for points in found.values() for point in reversed(list(points.values()))), None)
    effect = newest.effect if newest else ""
    return plan_timeline(
        stream_words(asked.stream, newest.detail if newest else None),
        effect_words(effect),
        [_line(seen, attribute, group, points) for (attribute, group), points in found.items()],
        seen.states,
        seen.happenings,
        zone=seen.monitor.zone,
        both_sides=has_two_sides(effect),
    )


def _line(seen: Seen, attribute: str, group: str, points: dict[int, StreamPoint]) -> StreamLine:
    from evaluation.charts import StreamDot, StreamLine

    dots = tuple(
        StreamDot(
            index=window.index,
            closes=seen.local(window.closes_at),
            value=point.value,
            low=point.low,
            high=point.high,
            margin=point.margin,
            n=point.n,
            log_e=point.log_e,
            alarming=point.alarming,
            reason=point.reason,
        )
        for window in seen.windows
        if (point := points.get(window.pk)) is not None
    )
    return StreamLine(name=group_words(attribute, group), dots=dots)


def table_of(request: HouseRequest, monitor: Monitor, plan: ChartPlan) -> HttpResponse:
    """The numbers behind a picture: a part of the page, or a page of its own."""
    part = bool(request.headers.get("HX-Request"))
    template = "evaluation/_chart_table.html" if part else "evaluation/monitor_chart_table.html"
    return render(request, template, {"monitor": monitor, "chart": for_reader(plan)})
