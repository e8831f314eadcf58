"""Pictures of an audit of synthetic patients: places of dots, and of cells of a map, for templates that write SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from core.templatetags.figures import estimate, percent, rate
from evaluation.engine.words import plain
from evaluation.models import Measurement

WIDTH, EDGE = 240.0, 16.0
"""Of the picture of one column, in its own units."""
STEPS = 5
"""Shades of a map, by share of patients; one scale for both sets."""
ROUNDING = 1e-9
CELL = 36
SHAPE, SHAPE_MEAN, PRECISION = "column_shape", "column_shape_mean", "alpha_precision"
SETS = (("real", "Real patients never learnt from"), ("synthetic", "Synthetic patients"))


@dataclass(frozen=True, kw_only=True)
class ShapeRow:
    """One column.

    Attributes:
        dot, low, high: Places of its likeness and of the ends of its interval; empty where it was not computed.
        null: Place of the same among real patients; empty without one.
        below: Its likeness is below the bar of single columns.
    """

    item: Measurement
    dot: str = ""
    low: str = ""
    high: str = ""
    null: str = ""
    below: bool = False


@dataclass(frozen=True, kw_only=True)
class ShapePicture:
    """Likeness of columns on one axis, the least first.

    Attributes:
        ticks: (place, number) of the axis. ``bars``: (place, number, what it is a bar for) of the protocol.
        headline: What was found, in words.
    """

    rows: tuple[ShapeRow, ...]
    ticks: tuple[tuple[str, str], ...]
    bars: tuple[tuple[str, str, str], ...]
    headline: str


def shape_picture(items: Sequence[Measurement], margins: Mapping[str, float]) -> ShapePicture | None:
    """Plan the picture of columns' likeness; None without any.

    Args:
        items: Measurements of :data:`SHAPE`, the least alike first.
        margins: Metric -> margin of the protocol's criterion on it.
    """
    if not items:
        return None
    known = [item for item in items if item.value is not None]
    bars = {what: margins[metric] for metric, what in _BARS.items() if metric in margins}
    least = min([0.9, *bars.values(), *(value for item in known for value in _values(item))])
    start = int(10 * max(0.0, least)) / 10

    def place(value: float) -> str:
        share = (min(1.0, max(start, value)) - start) / (1 - start)
        return f"{EDGE + share * (WIDTH - 2 * EDGE):.1f}"

    bar = margins.get(SHAPE)
    tenths = range(10, round(10 * start) - 1, -1 if start >= 0.5 else -2)
    return ShapePicture(
        rows=tuple(_shape_row(item, place, bar) for item in items),
        ticks=tuple((place(tenth / 10), rate(tenth / 10, 1)) for tenth in tenths),
        bars=tuple((place(value), rate(value), what) for what, value in bars.items()),
        headline=_headline(known, bar),
    )


_BARS = {SHAPE: "each column", SHAPE_MEAN: "the mean of all"}


def _values(item: Measurement) -> list[float]:
    found = [item.value, item.low, null_of(item)]
    return [value for value in found if value is not None]


def null_of(item: Measurement) -> float | None:
    """The same figure with real patients in place of synthetic ones."""
    value: float | None = (item.detail.get("detail") or {}).get("null")
    return value


def _shape_row(item: Measurement, place: Any, bar: float | None) -> ShapeRow:
    if item.value is None:
        return ShapeRow(item=item)
    null = null_of(item)
    return ShapeRow(
        item=item,
        dot=place(item.value),
        low=place(item.value if item.low is None else item.low),
        high=place(item.value if item.high is None else item.high),
        null="" if null is None else place(null),
        below=bar is not None and item.value < bar,
    )


def _headline(known: Sequence[Measurement], bar: float | None) -> str:
    if not known:
        return "No column could be compared."
    worst = known[0]
    told = gettext("Least alike is %(label)s: %(x3)s") % {
        "label": plain(worst.label),
        "x3": estimate(worst.value, worst.low, worst.high, 3),
    }
    null = null_of(worst)
    told += "" if null is None else gettext(", among real patients %(x3)s") % {"x3": rate(null, 3)}
    if bar is None:
        return f"{told}."
    reach = sum(1 for item in known if item.value is not None and item.value >= bar)
    return gettext("%(told)s. %(reach)s of %(known)s columns reach %(bar)s.") % {
        "told": told,
        "reach": f"{reach:,}",
        "known": f"{len(known):,}",
        "bar": rate(bar),
    }


@dataclass(frozen=True, kw_only=True)
class MapCell:
    """One cell: its corner, its shade from 0 to :data:`STEPS`, and how many; ``count`` is None where it is not told."""

    x: int
    y: int
    shade: int
    count: int | None


@dataclass(frozen=True, kw_only=True)
class MapSide:
    """One set of patients on the grid; ``alternative`` says the picture in words."""

    name: str
    title: str
    n: int
    cells: tuple[MapCell, ...]
    alternative: str


@dataclass(frozen=True, kw_only=True)
class MapPicture:
    """Where patients lie: two sets on one grid.

    Attributes:
        rows: (across, up, counts and shares of both sets) of cells that are told of either, for a table.
        apart: Where they differ most among cells told of both, in words; empty where there is none.
    """

    item: Measurement
    size: int
    small: int
    reach: float
    sides: tuple[MapSide, ...]
    rows: tuple[tuple[int, int, str, str], ...]
    apart: str


def map_pictures(figures: Iterable[Measurement]) -> list[MapPicture]:
    """A picture of each map that the audit kept, see ``synthetic.suites.density_map``."""
    found = ((item, (item.detail.get("detail") or {}).get("map")) for item in figures if item.metric == PRECISION)
    return [_map_picture(item, body) for item, body in found if body]


def _map_picture(item: Measurement, body: Mapping[str, Any]) -> MapPicture:
    edge: int = body["edge"]
    shares = {name: _shares(body[name]) for name, _ in SETS}
    most = max((value for grid in shares.values() for value in grid.values()), default=0.0)
    places = sorted(set(shares["real"]) | set(shares["synthetic"]), key=lambda place: (-place[1], place[0]))
    one, two = (name for name, _ in SETS)
    told = [
        (place[0] + 1, place[1] + 1, _both(body[one], shares[one], place), _both(body[two], shares[two], place))
        for place in places
    ]
    return MapPicture(
        item=item,
        size=edge * CELL,
        small=body["small"],
        reach=body["reach"],
        sides=tuple(_side(name, title, body, shares[name], most) for name, title in SETS),
        rows=tuple(told),
        apart=_apart(shares["real"], shares["synthetic"]),
    )


Shares = dict[tuple[int, int], float]


def _shares(side: Mapping[str, Any]) -> Shares:
    """(across, up) -> share of the set's patients, of cells that are told."""
    return {
        (across, up): count / side["n"]
        for up, row in enumerate(side["cells"])
        for across, count in enumerate(row)
        if count is not None
    }


def _both(side: Mapping[str, Any], shares: Shares, place: tuple[int, int]) -> str:
    across, up = place
    return f"{side['cells'][up][across]:,} ({percent(shares[place])})" if place in shares else "not told"


def _side(name: str, title: str, body: Mapping[str, Any], shares: Shares, most: float) -> MapSide:
    edge, side = body["edge"], body[name]
    cells = tuple(
        MapCell(
            x=across * CELL,
            y=(edge - 1 - up) * CELL,
            shade=math.ceil(STEPS * shares[across, up] / most - ROUNDING) if (across, up) in shares else 0,
            count=side["cells"][up][across],
        )
        for up in range(edge)
        for across in range(edge)
    )
    hidden = edge * edge - len(shares)
    said = gettext("%(title)s: %(n)s on a grid of %(edge)s by %(edge)s.") % {
        "title": title,
        "n": f"{side['n']:,}",
        "edge": edge,
    }
    if shares:
        (across, up), share = max(shares.items(), key=lambda pair: pair[1])
        said += gettext(" The fullest cell, %(x1)s across and %(x12)s up, holds %(share)s.") % {
            "x1": across + 1,
            "x12": up + 1,
            "share": percent(share),
        }
    said += gettext(" %(hidden)s of %(edge)s cells are not told, as few patients lie there.") % {
        "hidden": hidden,
        "edge": edge * edge,
    }
    return MapSide(name=name, title=title, n=side["n"], cells=cells, alternative=said)


def _apart(real: Shares, made: Shares) -> str:
    both = set(real) & set(made)
    if not both:
        return ""
    across, up = place = max(sorted(both), key=lambda cell: abs(made[cell] - real[cell]))
    return gettext(
        "They are most apart %(x1)s across and %(x12)s up: %(place)s of synthetic patients and %(place2)s of real ones."
    ) % {"x1": across + 1, "x12": up + 1, "place": percent(made[place]), "place2": percent(real[place])}
