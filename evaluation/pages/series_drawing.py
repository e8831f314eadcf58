"""Small charts of a patient's values: places of points, for a template that writes SVG with classes only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext

WIDTH, HEIGHT, EDGE = 320.0, 88.0, 8.0
MOST_POINTS = 400
"""Drawn of one series; of more, every so many-th. The table holds the first as many."""


@dataclass(frozen=True, kw_only=True)
class SeriesChart:
    """One series.

    Attributes:
        line: Points of a polyline. ``points``: centres of its marks, none where there are many.
        band: Top and height of the reference range; None where there is none.
        rows: (hours, value) as text; ``more``: values that are not among them.
    """

    title: str
    unit: str
    latest: str
    lowest: str
    highest: str
    hours: str
    line: str
    points: tuple[tuple[str, str], ...]
    band: tuple[str, str] | None
    reference: str
    rows: tuple[tuple[str, str], ...]
    more: int


def series_chart(
    title: str,
    values: npt.NDArray[np.float64],
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
) -> SeriesChart:
    """Plan the picture of float64 [t, 2] of (hours, value); there is at least one value."""
    drawn = values[:: max(1, math.ceil(len(values) / MOST_POINTS))]
    limits = [limit for limit in (low, high) if limit is not None]
    bottom, top = min(values[:, 1].min(), *limits, math.inf), max(values[:, 1].max(), *limits, -math.inf)
    across = _scale(values[:, 0].min(), values[:, 0].max(), EDGE, WIDTH - EDGE)
    upwards = _scale(bottom, top, HEIGHT - EDGE, EDGE)
    places = tuple((f"{across(hour):.1f}", f"{upwards(value):.1f}") for hour, value in drawn)
    band = None
    if limits:
        upper = upwards(high) if high is not None else 0.0
        lower = upwards(low) if low is not None else HEIGHT
        band = (f"{upper:.1f}", f"{max(lower - upper, 0.5):.1f}")
    return SeriesChart(
        title=title if title[1:2].isupper() else title[:1].upper() + title[1:],
        unit=unit,
        latest=_number(values[-1, 1]),
        lowest=_number(values[:, 1].min()),
        highest=_number(values[:, 1].max()),
        hours=" to ".join(dict.fromkeys([_number(values[0, 0]), _number(values[-1, 0])])) + " h",
        line=" ".join(",".join(place) for place in places),
        points=places if len(places) <= 40 else (),
        band=band,
        reference=_range(low, high),
        rows=tuple((_number(hour), _number(value)) for hour, value in values[:MOST_POINTS]),
        more=max(0, len(values) - MOST_POINTS),
    )


def _scale(low: float, high: float, start: float, end: float) -> _Linear:
    return _Linear(low=float(low), span=float(high - low), start=start, end=end)


@dataclass(frozen=True, kw_only=True)
class _Linear:
    low: float
    span: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """A place in the picture; the middle where all values are one."""
        share = (value - self.low) / self.span if self.span else 0.5
        return self.start + share * (self.end - self.start)


def _number(value: float) -> str:
    """Four digits; thousands marked, and a minus that is one."""
    return (f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}").replace("-", "\N{MINUS SIGN}")


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return gettext("%(low)s to %(high)s") % {"low": _number(low), "high": _number(high)}
    return (
        gettext("at least %(low)s") % {"low": _number(low)}
        if low is not None
        else gettext("at most %(high)s") % {"high": _number(high)}
        if high is not None
        else ""
    )
