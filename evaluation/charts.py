"""Charts of evidence, as SVG that needs no script and prints. Drawn from plain measurements and verdicts.

A forest plot has, from the left: the group, its estimate with interval, and the numbers. Above are the groups' rates;
below are the differences that were judged, with the accepted region shaded and its margin labelled. The text
alternative and the table are made from the same rows as the picture.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.engine.protocol import JOIN
from evaluation.engine.suites.fairness.rates import GAPS, RATES
from evaluation.engine.suites.fairness.wording import PERSONS, number, plain, signs

Theme = Literal["light", "dark", "print"]
NAMES, PLOT, VALUES, SUPPORT = 165, 262, 150, 104
ROW = 26
MAX_PAIRS = 8
FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of one theme. Neutrals carry the frame; one colour of the Okabe-Ito set carries the data."""

    ink: str
    quiet: str
    rule: str
    region: str
    data: str
    fail: str


PALETTES: dict[Theme, Palette] = {
    "light": Palette(ink="#1b1b1b", quiet="#595959", rule="#bdbdbd", region="#ececec", data="#0072b2", fail="#b84a00"),
    "dark": Palette(ink="#f2f2f2", quiet="#b3b3b3", rule="#5c5c5c", region="#303030", data="#56b4e9", fail="#e69f00"),
    "print": Palette(ink="#000000", quiet="#404040", rule="#8c8c8c", region="#e4e4e4", data="#000000", fail="#000000"),
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture with what says the same in words and as a table. ``title`` states the finding."""

    title: str
    svg: str
    text_alternative: str
    table_headers: tuple[str, ...]
    table_rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a forest plot. Without ``value`` only ``remark`` is shown.

    ``judged``: a filled mark, else hollow. ``beyond``: wholly outside the accepted region, a diamond in another colour.
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

    @property
    def figures(self) -> str:
        if self.value is None:
            return self.remark.removeprefix("suppressed: ")
        told = number(self.value)
        if self.low is not None and self.high is not None:
            told += f" ({number(self.low)} to {number(self.high)})"
        return told.replace("-", "−")

    @property
    def support(self) -> str:
        if self.n is None:
            return ""
        return f"{self.n:,} / {self.patients:,}" if self.patients is not None else f"{self.n:,}"


def forest_chart(measurements: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any], *, theme: Theme) -> Chart:
    """Forest plot of one verdict.

    Args:
        measurements: ``Measurement.to_dict()`` of the whole audit; those of the verdict's label and attribute are used.
        verdict: ``Verdict.to_dict()``.
    """
    chart_title = _title(verdict)
    panels = _panels(measurements, verdict)
    rows = [row for panel in panels for row in panel.rows]
    level = next((f"{m['level']:.0%} " for m in measurements), "")
    return Chart(
        title=chart_title,
        svg=to_svg(_specification(chart_title, panels, PALETTES[theme])),
        text_alternative=_in_words(chart_title, rows, verdict),
        table_headers=("Measure", "Group", f"Value ({level}interval)", "Studies", "Patients", "Remark"),
        table_rows=tuple(_table_row(row) for row in rows),
    )


def to_svg(specification: Mapping[str, Any]) -> str:
    """SVG of a Vega-Lite specification. The same specification gives the same bytes."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(dict(specification)))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Rows on one axis, with the accepted region (None on the side where it has no end)."""

    heading: str
    rows: tuple[Row, ...]
    region: tuple[float | None, float | None] | None
    margin: float
    domain: tuple[float, float]


def _panels(measurements: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any]) -> list[Panel]:
    mine = [m for m in measurements if m["label"] == verdict["label"] and m["attribute"] == verdict["attribute"]]
    gap = next((m for m in mine if m["metric"] == verdict["metric"]), None)
    if verdict["metric"] not in GAPS:
        low, high = (verdict["margin"], None) if verdict["direction"] == "at_least" else (None, verdict["margin"])
        return [_rate_panel(mine, verdict["metric"], verdict, (low, high))]
    detail = gap["detail"] if gap else {}
    rates = GAPS[verdict["metric"]]
    shown = detail.get("rate", rates[0])
    panels = [_rate_panel(mine, shown, verdict, None)]
    pairs = [pair for pair in detail.get("pairs", []) if pair["rate"] == shown]
    if pairs:
        panels.append(_pair_panel(pairs, shown, verdict, detail.get("pairs_compared", len(pairs))))
    return panels


def _rate_panel(
    mine: Sequence[Mapping[str, Any]],
    metric: str,
    verdict: Mapping[str, Any],
    region: tuple[float | None, float | None] | None,
) -> Panel:
    title = RATES[metric].title if metric in RATES else plain(metric)
    by = f" by {plain(verdict['attribute'])}" if verdict["attribute"] else ""
    heading = title[0].upper() + title[1:] + by
    low, high = region or (None, None)
    rows = []
    for m in (m for m in mine if m["metric"] == metric):
        beyond = m["high"] is not None and (
            (low is not None and m["high"] < low) or (high is not None and m["low"] > high)
        )
        rows.append(
            Row(
                panel=heading,
                name=_short(verdict["attribute"], m["group"]),
                value=m["value"],
                low=m["low"],
                high=m["high"],
                n=m["n"],
                patients=m["patients"],
                remark=m["reason"],
                judged=not m["reason"],
                beyond=bool(beyond),
            )
        )
    ends = [end for row in rows for end in (row.low, row.high) if end is not None]
    ends += [end for end in (low, high) if end is not None]
    return Panel(
        heading=heading, rows=tuple(rows), region=region, margin=verdict["margin"], domain=_domain(ends, 0.0, 1.0)
    )


def _pair_panel(pairs: Sequence[Mapping[str, Any]], metric: str, verdict: Mapping[str, Any], compared: int) -> Panel:
    margin = verdict["margin"]
    few = f" (the largest {MAX_PAIRS} of {compared} comparisons)" if compared > MAX_PAIRS else ""
    heading = f"Difference in {RATES[metric].title}{few}"
    rows = tuple(
        Row(
            panel=heading,
            name=" − ".join(_short(verdict["attribute"], group) for group in pair["groups"]),
            value=pair["value"],
            low=pair["low"],
            high=pair["high"],
            n=pair["n"],
            patients=pair["patients"],
            remark="",
            judged=True,
            beyond=pair["high"] < -margin or pair["low"] > margin,
        )
        for pair in pairs[:MAX_PAIRS]
    )
    ends = [end for row in rows for end in (row.low or 0.0, row.high or 0.0)]
    domain = _domain([*ends, -1.5 * margin, 1.5 * margin], -1.0, 1.0)
    return Panel(heading=heading, rows=rows, region=(-margin, margin), margin=margin, domain=domain)


def _domain(ends: Sequence[float], least: float, most: float) -> tuple[float, float]:
    """A round range that holds every interval. A rate's axis does not begin at 0: positions are read, not lengths."""
    if not ends:
        return least, most
    low = max(least, (min(ends) - 0.02) // 0.05 * 0.05)
    high = min(most, -(-(max(ends) + 0.02) // 0.05) * 0.05)
    return round(low, 2), round(high, 2)


def _short(attribute: str, group: str) -> str:
    """A group's name for one line: ``Female, ≥60``; the heading names the attribute."""
    parts = []
    for name, value in zip(attribute.split(JOIN), group.split(JOIN), strict=False):
        person = PERSONS.get(value.casefold(), "") if name.casefold() in {"sex", "gender"} else ""
        parts.append(person.removesuffix(" patients").capitalize() or signs(value))
    return ", ".join(parts)


def _title(verdict: Mapping[str, Any]) -> str:
    """The finding: the statement without its numbers."""
    parts = verdict["statement"].split(": ")
    return ": ".join(parts[:2]).rstrip(".")


def _in_words(title: str, rows: Sequence[Row], verdict: Mapping[str, Any]) -> str:
    told = []
    for row in rows:
        support = f", {row.n:,} studies of {row.patients:,} patients" if row.n and row.patients else ""
        told.append(f"{row.panel}, {row.name}: {row.figures}{support}")
    bound = "at least" if verdict["direction"] == "at_least" else "at most"
    return f"{title}. Accepted: {bound} {number(verdict['margin'])}. " + "; ".join(told) + "."


def _table_row(row: Row) -> tuple[str, ...]:
    shown = row.figures if row.value is not None else "not shown"
    studies, patients = ("" if count is None else f"{count:,}" for count in (row.n, row.patients))
    remark = row.remark or ("beyond the margin" if row.beyond else "")
    return (row.panel, row.name, shown, studies, patients, remark)


def _specification(title: str, panels: Sequence[Panel], palette: Palette) -> dict[str, Any]:
    """The Vega-Lite specification: panels below each other, made with Altair."""
    import altair as alt

    chart = alt.vconcat(*(_panel_chart(panel, palette) for panel in panels), spacing=22)
    chart = chart.properties(
        title=alt.TitleParams(
            textwrap.wrap(title, 86), anchor="start", fontSize=15, fontWeight=600, color=palette.ink, offset=14
        ),
        background="transparent",
        padding=6,
    ).configure(font=FONT)
    chart = chart.configure_view(stroke=None).configure_concat(spacing=6)
    specification: dict[str, Any] = chart.to_dict()
    return specification


def _panel_chart(panel: Panel, palette: Palette) -> Any:
    """One panel: plot, figures and support, sharing their rows."""
    import altair as alt

    data = [
        {
            "row": f"{index}",
            "name": row.name,
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "figures": row.figures,
            "support": row.support,
            "judged": row.judged,
            "shape": "diamond" if row.beyond else "circle",
            "colour": palette.fail if row.beyond else palette.data,
        }
        for index, row in enumerate(panel.rows)
    ]
    base = alt.Chart(alt.InlineData(values=data))
    order = [item["row"] for item in data]
    y = alt.Y("row:N", sort=order, axis=None, scale=alt.Scale(type="band", domain=order))
    height = ROW * max(1, len(data))
    columns = [
        _text_column(base, y, "name:N", "", NAMES, height, palette),
        _plot(base, y, panel, height, palette),
        _text_column(base, y, "figures:N", "Value (interval)", VALUES, height, palette),
        _text_column(base, y, "support:N", "Studies / patients", SUPPORT, height, palette),
    ]
    title = alt.TitleParams(panel.heading, anchor="start", fontSize=12, fontWeight=600, color=palette.ink, offset=2)
    return alt.hconcat(*columns, spacing=8, title=title)


def _text_column(base: Any, y: Any, field: str, heading: str, width: int, height: int, palette: Palette) -> Any:
    import altair as alt

    title = alt.TitleParams(heading, anchor="start", fontSize=12, fontWeight=400, color=palette.quiet, offset=6)
    text = base.mark_text(align="left", baseline="middle", fontSize=12, color=palette.ink, limit=width)
    return text.encode(y=y, x=alt.value(0), text=field).properties(width=width, height=height, title=title)


def _plot(base: Any, y: Any, panel: Panel, height: int, palette: Palette) -> Any:
    import altair as alt

    axis = alt.Axis(
        title=None,
        labelExpr="replace(format(datum.value, '.2f'), '0.', '.')",
        tickCount=4,
        grid=False,
        domainColor=palette.rule,
        tickColor=palette.rule,
        labelColor=palette.quiet,
        labelFontSize=11,
    )
    scale = alt.Scale(domain=list(panel.domain), nice=False, clamp=True)
    x = alt.X("value:Q", scale=scale, axis=axis)
    seen = base.transform_filter("isValid(datum.value)")
    colour = alt.Color("colour:N", scale=None, legend=None)
    layers = [
        *_region_layers(panel, scale, height, palette),
        seen.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", color=colour),
        seen.mark_point(filled=True, size=72, opacity=1, strokeWidth=2).encode(
            y=y,
            x=x,
            shape=alt.Shape("shape:N", scale=None, legend=None),
            stroke=alt.Stroke("colour:N", scale=None, legend=None),
            fill=alt.condition("datum.judged", alt.Fill("colour:N", scale=None), alt.value("transparent")),
        ),
    ]
    return alt.layer(*layers).properties(width=PLOT, height=height)


def _region_layers(panel: Panel, scale: Any, height: int, palette: Palette) -> list[Any]:
    """Shaded region, its dashed ends with their margin, and a line at no difference."""
    import altair as alt

    if panel.region is None:
        return []
    low = panel.domain[0] if panel.region[0] is None else panel.region[0]
    high = panel.domain[1] if panel.region[1] is None else panel.region[1]
    ends = [{"at": end} for end in panel.region if end is not None]
    both = len(ends) == 2
    at = (low + high) / 2 if both else ends[0]["at"]
    x = alt.X("at:Q", scale=scale)
    area = alt.Chart(alt.InlineData(values=[{"at": low, "to": high}]))
    edge = alt.Chart(alt.InlineData(values=ends))
    said = alt.Chart(alt.InlineData(values=[{"at": at, "text": f"margin {'±' if both else ''}{number(panel.margin)}"}]))
    layers = [
        area.mark_rect(color=palette.region, opacity=1).encode(x=x, x2="to:Q"),
        edge.mark_rule(color=palette.quiet, strokeDash=[4, 3], strokeWidth=1).encode(x=x),
        said.mark_text(color=palette.quiet, fontSize=11, baseline="bottom", dy=-3).encode(
            x=x, text="text:N", y=alt.value(0)
        ),
    ]
    if low < 0 < high:
        zero = alt.Chart(alt.InlineData(values=[{"at": 0.0}]))
        layers.append(zero.mark_rule(color=palette.rule, strokeWidth=1).encode(x=x))
    return layers
