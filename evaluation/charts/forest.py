"""Forest plot of one verdict: the group, its estimate with interval, and the numbers.

Above are the groups' values; below are the differences or ratios that were judged, with the accepted region shaded and
its limits told. The text alternative and the table are made from the same rows as the picture.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from evaluation.charts.drawing import (
    ChartPlan,
    Palette,
    Row,
    Spec,
    at,
    axis,
    by_words,
    capital,
    counted,
    digits_for,
    estimate,
    exact,
    heading_of,
    mark,
    page_of,
    round_domain,
    short_group,
    text_column,
    told_by,
)
from evaluation.charts.metrics import (
    STUDIES,
    Region,
    accepted,
    compares_groups,
    counts_of,
    ideal,
    is_factor,
    metric_title,
    rates_of,
)
from evaluation.engine.suites.fairness.score_metrics import XAUC_GAP
from evaluation.engine.words import number

NAMES, LONGEST, BOTH, VALUES, SUPPORT = 165, 235, 427, 150, 104
"""Pixels: the column of names at its narrowest and widest, names and plot together, and the columns of numbers."""
ROW = 26
MAX_PAIRS = 8
INTERVAL = re.compile(r" \(\d+(?:\.\d+)?% interval ")
RATIO_TICKS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


BESIDE = "Beside the gap"
"""First cell of the rows of a table that are not drawn: tests and bounds of the gap."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a forest plot. Without ``value`` only ``remark`` is shown.

    ``judged``: a filled mark, else hollow. ``beyond``: wholly outside the accepted region, a diamond in another colour.
    ``what``: what ``n`` counts.
    """

    panel: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    patients: int | None
    remark: str
    judged: bool
    beyond: bool
    digits: int
    what: str

    @property
    def figures(self) -> str:
        if self.value is None:
            return self.remark.removeprefix("suppressed: ")
        return estimate(self.value, self.low, self.high, self.digits)

    @property
    def brief(self) -> str:
        """What stands in the picture: of a long reason its first part, since the table has all of it."""
        return self.figures if self.value is not None else re.split(r", | with ", self.figures)[0]

    @property
    def support(self) -> str:
        return " / ".join(counted(count) for count in (self.n, self.patients) if count is not None)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines on one axis, with the accepted region (None: nothing is judged on this axis).

    ``ideal``: where no difference lies; a thin line is drawn there. ``ratio``: the axis is logarithmic.
    """

    heading: str
    lines: tuple[Line, ...]
    region: Region | None
    ideal: float | None
    domain: tuple[float, float]
    ratio: bool


def plan_forest(measurements: Sequence[Row], verdict: Mapping[str, Any]) -> ChartPlan:
    """Forest plot of one verdict.

    Args:
        measurements: ``Measurement.to_dict()`` of the whole audit; those of the verdict's label and attribute are used.
        verdict: ``Verdict.to_dict()``.
    """
    title = _title(verdict)
    panels = _panels(measurements, verdict)
    lines = [line for panel in panels for line in panel.lines]
    beside = _beside(measurements, verdict)
    level = next((f"{m['level']:.0%} " for m in measurements), "")
    number_of = "Studies" if all(line.what == STUDIES for line in lines) else "n"
    return ChartPlan(
        title=title,
        text_alternative=" ".join([_in_words(title, lines, verdict), *(f"{row[1]}: {row[2]}." for row in beside)]),
        table_headers=("Measure", "Group", f"Value ({level}interval)", number_of, "Patients", "Remark"),
        table_rows=(*(_table_row(line) for line in lines), *beside),
        specify=partial(specification, title, panels),
    )


def _beside(measurements: Sequence[Row], verdict: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What stands beside a gap, as rows of the table: chance taken out, tests over all groups, the Unknown."""
    same = (m for m in measurements if all(m[name] == verdict[name] for name in ("label", "attribute", "metric")))
    detail: Mapping[str, Any] = next((m["detail"] for m in same), {})
    found = []
    if detail.get("shrunken_gap") is not None:
        found.append(("Gap with chance taken out", number(detail["shrunken_gap"]), "groups shrunk by empirical Bayes"))
    for key, name in (("heterogeneity_p", "Do the groups differ at all"), ("permutation_p", "Groups dealt at random")):
        if detail.get(key) is not None:
            value = detail[key]
            told = "p < .001" if value < 0.001 else f"p = {number(value, 3)}"
            found.append((name, told, "test of heterogeneity" if key == "heterogeneity_p" else "permutation test"))
    if detail.get("unknown_bounds"):
        low, high = detail["unknown_bounds"]
        told = f"{number(low)} to {number(high)}"
        found.append(("Gap, whatever groups the Unknown belong to", told, f"{detail['unknown_studies']:,} studies"))
    return [(BESIDE, name, told, "", "", remark) for name, told, remark in found]


def _bounds(metric: str) -> tuple[float, float]:
    """The least and largest value that a metric can have."""
    if is_factor(metric):
        return 0.05, math.inf
    if metric == "report_length" or (ideal(metric) is not None and not compares_groups(metric)):
        return -math.inf, math.inf
    return (-1.0, 1.0) if metric == "net_benefit" or compares_groups(metric) else (0.0, 1.0)


def _panels(measurements: Sequence[Row], verdict: Mapping[str, Any]) -> list[Panel]:
    mine = [m for m in measurements if m["label"] == verdict["label"] and m["attribute"] == verdict["attribute"]]
    metric = verdict["metric"]
    region = accepted(metric, verdict["direction"], verdict["margin"])
    gap = next((m for m in mine if m["metric"] == metric), None)
    detail = gap["detail"] if gap else {}
    if not compares_groups(metric) and "pairs" not in detail:
        return [_group_panel(mine, metric, verdict, region)]
    shown = detail.get("rate") or rates_of(metric)[0]
    panels = [_group_panel(mine, shown, verdict, None)]
    pairs = [pair for pair in detail.get("pairs", []) if pair.get("rate", shown) == shown]
    if pairs:
        panels.append(_pair_panel(pairs, shown, verdict, region, detail.get("pairs_compared", len(pairs))))
    return panels


def _group_panel(mine: Sequence[Row], metric: str, verdict: Mapping[str, Any], region: Region | None) -> Panel:
    by = f" by {by_words(verdict['attribute'])}" if verdict["attribute"] else ""
    heading = capital(metric_title(metric)) + by
    rows = [m for m in mine if m["metric"] == metric]
    names = [short_group(verdict["attribute"], m["group"]) for m in rows]
    flags = [bool(m["detail"].get("judged", not m["reason"])) for m in rows]
    return _panel(heading, rows, names, flags, region, metric=metric, centre=ideal(metric))


def _pair_panel(pairs: Sequence[Row], metric: str, verdict: Mapping[str, Any], region: Region, compared: int) -> Panel:
    ratio = is_factor(verdict["metric"])
    few = f" (the largest {MAX_PAIRS} of {compared} comparisons)" if compared > MAX_PAIRS else ""
    heading = f"{'Ratio of' if ratio else 'Difference in'} {metric_title(metric)}{few}"
    rows = [{"reason": "", "detail": {}} | dict(pair) for pair in pairs[:MAX_PAIRS]]
    names = [_pair_name(verdict, pair["groups"]) for pair in rows]
    judged = [True] * len(rows)
    return _panel(heading, rows, names, judged, region, metric=verdict["metric"], centre=1.0 if ratio else 0.0)


def _pair_name(verdict: Mapping[str, Any], groups: Sequence[str]) -> str:
    names = [short_group(verdict["attribute"], group) for group in groups]
    if verdict["metric"] == XAUC_GAP:
        return f"{names[0]} vs {names[1]} − {names[1]} vs {names[0]}"
    return (" / " if is_factor(verdict["metric"]) else " − ").join(names)


def _panel(
    heading: str,
    rows: Sequence[Row],
    names: Sequence[str],
    judged: Sequence[bool],
    region: Region | None,
    *,
    metric: str,
    centre: float | None,
) -> Panel:
    low, high = region or (None, None)
    ends = [m[end] for m in rows for end in ("low", "value", "high") if m.get(end) is not None]
    limits = [end for end in (low, high) if end is not None]
    wide = [1.5 * end for end in limits] if centre == 0 else limits
    ratio = is_factor(metric)
    domain = round_domain([*ends, *wide], *_bounds(metric))
    digits = digits_for(domain[1] - domain[0])
    lines = tuple(
        Line(
            panel=heading,
            name=name,
            value=m["value"],
            low=m["low"],
            high=m["high"],
            n=m["n"],
            patients=m["patients"],
            remark=m["reason"],
            judged=is_judged,
            beyond=_outside(m, low, high),
            digits=digits,
            what=counts_of(metric),
        )
        for m, name, is_judged in zip(rows, names, judged, strict=True)
    )
    return Panel(heading=heading, lines=lines, region=region, ideal=centre, domain=domain, ratio=ratio)


def _outside(m: Row, low: float | None, high: float | None) -> bool:
    under = low is not None and m["high"] is not None and m["high"] < low
    return bool(under or (high is not None and m["low"] is not None and m["low"] > high))


def _title(verdict: Mapping[str, Any]) -> str:
    """The finding: the statement without its interval and what follows."""
    parts = INTERVAL.split(verdict["statement"])[0].split(": ")
    return ": ".join(parts[:2]).rstrip(".")


def _region_words(region: Region, centre: float | None) -> str:
    """The limits as they stand above the plot and in the text: ``±.10``, ``at least .80``, ``.80 to 1.25``."""
    low, high = region
    if low is not None and high is not None:
        digits = 2 if high - low >= 0.1 else 3
        return f"±{exact(high)}" if centre == 0 else f"{number(low, digits)} to {number(high, digits)}"
    return f"at least {exact(low)}" if low is not None else f"at most {exact(high or 0.0)}"


def _in_words(title: str, lines: Sequence[Line], verdict: Mapping[str, Any]) -> str:
    told = []
    for line in lines:
        support = f", {line.n:,} {line.what} of {line.patients:,} patients" if line.n and line.patients else ""
        told.append(f"{line.panel}, {line.name}: {line.figures}{support}")
    metric = verdict["metric"]
    said = _region_words(accepted(metric, verdict["direction"], verdict["margin"]), ideal(metric))
    within = "within " if said.startswith("±") else ""
    return f"{title}. Accepted: {within}{said}. " + "; ".join(told) + "."


def _table_row(line: Line) -> tuple[str, ...]:
    shown = line.figures if line.value is not None else "not shown"
    remark = line.remark or ("beyond the margin" if line.beyond else "")
    return (line.panel, line.name, shown, counted(line.n), counted(line.patients), remark)


def specification(title: str, panels: Sequence[Panel], palette: Palette) -> Spec:
    """A picture of some panels below each other, with one width of names."""
    longest = max((len(line.name) for panel in panels for line in panel.lines), default=0)
    names = min(LONGEST, max(NAMES, round(6.7 * longest)))
    return page_of(title, [_panel_part(panel, names, palette) for panel in panels], palette)


def _panel_part(panel: Panel, names: int, palette: Palette) -> Spec:
    """One panel: names, plot, figures and support, sharing their rows."""
    column = partial(text_column, row=ROW, palette=palette)
    lines = panel.lines
    support = "Studies / patients" if all(line.what == STUDIES for line in lines) else "n / patients"
    return {
        "title": heading_of(panel.heading, palette.ink),
        "spacing": 8,
        "hconcat": [
            column([line.name for line in lines], "", width=names),
            _plot(panel, BOTH - names, palette),
            column([line.brief for line in lines], "Value (interval)", width=VALUES),
            column([line.support for line in lines], support, width=SUPPORT),
        ],
    }


def _plot(panel: Panel, width: int, palette: Palette) -> Spec:
    height = ROW * max(1, len(panel.lines))
    scale: Spec = {"domain": list(panel.domain), "nice": False, "clamp": True}
    low, high = panel.domain
    marks_on_axis = axis(palette, digits=digits_for(high - low), tickCount=4)
    if panel.ratio:
        scale |= {"type": "log"}
        marks_on_axis |= {"values": [tick for tick in RATIO_TICKS if low <= tick <= high]}
    x = {"field": "value", "type": "quantitative", "scale": scale, "axis": marks_on_axis}
    seen = [
        {
            "y": ROW * (place + 0.5),
            "value": line.value,
            "low": line.low,
            "high": line.high,
            "shape": "diamond" if line.beyond else "circle",
            "colour": (colour := palette.fail if line.beyond else palette.data),
            "fill": colour if line.judged else palette.ground,
        }
        for place, line in enumerate(panel.lines)
        if line.value is not None
    ]
    whiskers = [row for row in seen if row["low"] is not None and row["high"] is not None]
    return {
        "width": width,
        "height": height,
        "layer": [
            *_region_layers(panel, scale, height, palette),
            mark(
                "rule",
                whiskers,
                {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": at("y"), "color": told_by("colour")},
                strokeWidth=2,
            ),
            mark(
                "point",
                seen,
                {
                    "x": x,
                    "y": at("y"),
                    "shape": told_by("shape"),
                    "stroke": told_by("colour"),
                    "fill": told_by("fill"),
                },
                size=72,
                opacity=1,
                strokeWidth=2,
            ),
        ],
    }


def _region_layers(panel: Panel, scale: Spec, height: int, palette: Palette) -> list[Spec]:
    """A line at no difference, the shaded region, and its dashed ends with their limits in words."""
    low, high = panel.domain
    x = {"field": "at", "type": "quantitative", "scale": scale}
    layers: list[Spec] = []
    if panel.region is not None:
        ends = [end for end in panel.region if end is not None]
        start, end = (
            edge if edge is not None else limit for edge, limit in zip(panel.region, panel.domain, strict=True)
        )
        middle = math.sqrt(start * end) if panel.ratio else (start + end) / 2
        said = _region_words(panel.region, panel.ideal)
        word = (
            f"accepted {said}"
            if "to" in said.split()
            else f"margin {said.removeprefix('at least ').removeprefix('at most ')}"
        )
        place = middle if len(ends) == 2 else ends[0]
        layers += [
            mark("rect", [{"at": start, "to": end}], {"x": x, "x2": {"field": "to"}}, color=palette.region, opacity=1),
            mark(
                "rule", [{"at": end} for end in ends], {"x": x}, color=palette.quiet, strokeDash=[4, 3], strokeWidth=1
            ),
            mark(
                "text",
                [{"at": place, "text": word}],
                {"x": x, "y": {"value": 0}, "text": {"field": "text", "type": "nominal"}},
                color=palette.quiet,
                fontSize=11,
                baseline="bottom",
                dy=-3,
            ),
        ]
    if panel.ideal is not None and low < panel.ideal < high:
        layers.append(mark("rule", [{"at": panel.ideal}], {"x": x}, color=palette.rule, strokeWidth=1))
    return layers
