"""The picture of calibration by group: points and intervals against the diagonal, and the studies in each bin."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from evaluation.charts.drawing import (
    SHAPES,
    Palette,
    Spec,
    at,
    axis,
    capital,
    heading_of,
    mark,
    page_of,
    text_at,
    told_by,
)

if TYPE_CHECKING:
    from evaluation.charts.calibration import Group

SHARED = 4
"""As many groups at most share one plot."""
MOST = 12
"""As many groups at most are drawn; the table holds all."""
WIDE, SMALL, COUNTS = 352, 176, 64


def draw_calibration(title: str, groups: Sequence[Group], palette: Palette) -> Spec:
    drawn = [group for group in groups if group.shown]
    axes = Axes.of(drawn)
    if len(drawn) <= SHARED and len(groups) <= SHARED + 2:
        plots = [_plot(drawn, axes, WIDE, palette), _counts(drawn, axes, WIDE, palette)]
        beside = {"hconcat": [{"vconcat": plots, "spacing": 10}, _legend(groups, palette)], "spacing": 22}
        return page_of(title, [beside], palette)
    few = drawn[:MOST]
    cells = [_small(group, drawn, axes, palette) for group in few]
    rows: list[Spec] = [{"hconcat": cells[start : start + 3], "spacing": 18} for start in range(0, len(cells), 3)]
    rows += [_notes([group for group in groups if group not in few], axes, few, palette)]
    return page_of(title, rows, palette, spacing=18)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Both axes of every plot: alike, so that the diagonal is where score and share agree.

    Attributes:
        top: Where they end: 1, or less where all scores and intervals are small.
        root: They are square-root axes, since most scores are small.
        counts: Powers of ten around the studies of all bins.
    """

    top: float
    root: bool
    counts: tuple[int, ...]

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Axes:
        rows = [item for group in groups for item in group.shown]
        most = max(max(item["predicted"], item["observed"], item.get("observed_high") or 0) for item in rows)
        top = next((end for end in (0.1, 0.2, 0.4, 0.6, 0.8) if most <= end), 1.0)
        sizes = [item["n"] for item in rows if item["n"]] or [10]
        low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes) + 1))
        return cls(
            top=top,
            root=median(item["predicted"] for item in rows) < top / 4,
            counts=tuple(10**power for power in range(low, max(high, low + 1) + 1)),
        )

    @property
    def scale(self) -> Spec:
        kind = {"type": "sqrt"} if self.root else {}
        return {"domain": [0, self.top], "nice": False, "clamp": True} | kind

    def ticks(self, small: bool) -> list[float]:
        if not self.root:
            return [round(self.top * step / (2 if small else 5), 3) for step in range(3 if small else 6)]
        round_ones = (0.0, 0.05, 0.2, self.top) if small else (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
        return sorted({tick for tick in round_ones if tick <= self.top})


def _points(group: Group, palette: Palette) -> list[dict[str, Any]]:
    colour = palette.series[group.place % len(palette.series)]
    style = {
        "colour": colour,
        "fill": colour if group.judged else palette.ground,
        "shape": SHAPES[group.place % len(SHAPES)],
    }
    return [
        {
            "x": item["predicted"],
            "y": item["observed"],
            "low": item.get("observed_low"),
            "high": item.get("observed_high"),
            "n": item["n"],
        }
        | style
        for item in group.shown
    ]


def _field(name: str, scale: Spec, marks: Spec | None) -> Spec:
    return {"field": name, "type": "quantitative", "scale": scale, "axis": marks}


def _plot(groups: Sequence[Group], axes: Axes, size: int, palette: Palette, behind: Sequence[Group] = ()) -> Spec:
    """Diagonal, and for each group its points with intervals. ``behind``: other groups as pale lines."""
    small = size < WIDE
    scale, ticks, top = axes.scale, axes.ticks(small), axes.top
    x_axis = axis(palette, values=ticks, labels=False, ticks=False)
    y_axis = axis(palette, title=None if small else "Observed share with the finding", values=ticks, minExtent=34)
    x, y = _field("x", scale, x_axis), _field("y", scale, y_axis)
    diagonal = [{"x": 0, "y": 0, "x2": top, "y2": top}]
    ends = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    layers = [mark("rule", diagonal, {"x": x, "y": y, **ends}, color=palette.quiet, strokeDash=[4, 3], strokeWidth=1)]
    for group in behind:
        layers.append(mark("line", _points(group, palette), {"x": x, "y": y}, color=palette.rule, strokeWidth=1))
    for group in groups:
        points = _points(group, palette)
        whiskers = [row for row in points if row["low"] is not None and row["high"] is not None]
        between = {"x": x, "y": _field("low", scale, y_axis), "y2": {"field": "high"}, "color": told_by("colour")}
        line_colour = palette.series[group.place % len(palette.series)]
        point = {"x": x, "y": y, "stroke": told_by("colour"), "fill": told_by("fill"), "shape": told_by("shape")}
        layers += [
            mark("line", points, {"x": x, "y": y}, color=line_colour, strokeWidth=1, opacity=0.6),
            mark("rule", whiskers, between, strokeWidth=1.5),
            mark("point", points, point, size=46 if small else 70, opacity=1, strokeWidth=1.5),
        ]
    return {"width": size, "height": size - (0 if small else 40), "layer": layers}


def _counts(groups: Sequence[Group], axes: Axes, size: int, palette: Palette) -> Spec:
    """Studies in each bin, below their points. On a logarithmic axis, so that rare high scores are seen too."""
    small = size < WIDE
    title = "Mean score of the bin" + (" (square-root axes)" if axes.root else "")
    x_axis = axis(palette, title=None if small else title, values=axes.ticks(small))
    y_axis = axis(palette, title=None if small else "Studies (log scale)", values=list(axes.counts), minExtent=34)
    y_axis["labelExpr"] = "format(datum.value, '~s')"
    scale, tiers = axes.scale, {"type": "log", "domain": [axes.counts[0], axes.counts[-1]], "nice": False}
    encoding = {
        "x": _field("x", scale, x_axis),
        "y": _field("n", tiers, y_axis),
        "stroke": told_by("colour"),
        "fill": told_by("fill"),
        "shape": told_by("shape"),
    }
    points = [row for group in groups for row in _points(group, palette) if row["n"]]
    layer = mark("point", points, encoding, size=30 if small else 44, opacity=1, strokeWidth=1.2)
    return {"width": size, "height": 40 if small else COUNTS, **layer}


def _small(group: Group, groups: Sequence[Group], axes: Axes, palette: Palette) -> Spec:
    """One group's own plot, with the others as pale lines behind."""
    others = [other for other in groups if other.place != group.place]
    plots = [
        _plot([group], axes, SMALL, palette, others) | {"title": _small_title(group, palette)},
        _counts([group], axes, SMALL, palette),
    ]
    return {"vconcat": plots, "spacing": 6}


def _small_title(group: Group, palette: Palette) -> Spec:
    fine = {"subtitle": group.error, "subtitleColor": palette.quiet, "subtitleFontSize": 11, "subtitlePadding": 3}
    return heading_of(group.name, palette.ink, offset=6) | fine


def _legend(groups: Sequence[Group], palette: Palette) -> Spec:
    """Beside the plot: each group's mark, its calibration error, and what it rests on."""
    marks, names, fine = [], [], []
    y = 12
    for group in groups:
        colour = palette.series[group.place % len(palette.series)]
        if group.shown:
            shape = SHAPES[group.place % len(SHAPES)]
            marks.append(
                {"x": 6, "y": y, "shape": shape, "colour": colour, "fill": colour if group.judged else palette.ground}
            )
        names.append({"x": 20, "y": y, "text": group.name})
        for line in _legend_lines(group):
            y += 16
            fine.append({"x": 20, "y": y, "text": line})
        y += 30
    y += 4
    fine += [{"x": 0, "y": y, "text": "Dashed: score and share agree"}]
    encoding = {
        "x": at("x"),
        "y": at("y"),
        "stroke": told_by("colour"),
        "fill": told_by("fill"),
        "shape": told_by("shape"),
    }
    return {
        "width": 286,
        "height": y + 10,
        "layer": [
            mark("point", marks, encoding, size=70, opacity=1, strokeWidth=1.5),
            text_at(names, palette.ink, fontWeight=600, limit=266),
            text_at(fine, palette.quiet, fontSize=11, limit=286),
        ],
    }


def _legend_lines(group: Group) -> Iterator[str]:
    row = group.row
    yield from textwrap.wrap(capital(group.error), 38)
    if row["n"] and row["patients"]:
        yield f"{row['n']:,} studies of {row['patients']:,} patients"
    if not group.judged and row["value"] is not None:
        yield "hollow: not judged"
    if hidden := len(group.bins) - len(group.shown):
        yield f"{hidden} of {len(group.bins)} bins not shown"


def _notes(left: Sequence[Group], axes: Axes, drawn: Sequence[Group], palette: Palette) -> Spec:
    """How to read the plots, and the groups without one of their own and why."""
    root = " Both axes are square-root axes." if axes.root else ""
    lines = [f"Across: mean score of the bin. Up: observed share with the finding.{root} Below: studies, log axis."]
    hollow = "; hollow: a group that is not judged" if not all(group.judged for group in drawn) else ""
    lines.append(f"Dashed: score and share agree; grey: the other groups{hollow}.")
    lines += [f"{group.name}: {'in the table only' if group.shown else group.error}" for group in left]
    values = [{"x": 0, "y": 10 + 16 * place, "text": line} for place, line in enumerate(lines)]
    return {"width": 600, "height": 16 * len(lines), **text_at(values, palette.quiet, fontSize=11)}
