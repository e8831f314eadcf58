"""Charts of verdicts and of the groups behind them, drawn into the page, each with its words and its table."""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape
from typing import TYPE_CHECKING, Any

from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _

from evaluation.engine.protocol import JOIN
from governance.reports.engine_words import said
from governance.reports.findings import metric_title
from governance.reports.render import SVG_DATA
from governance.reports.wording import inside, marked, spoken, style

if TYPE_CHECKING:
    from evaluation.charts import Chart, ChartPlan

LONG = 16
"""Rows from which on a figure's table may go on the next page."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One chart, ready for a template.

    Attributes:
        title: What is shown. The picture itself is headed by ``finding``, what was found.
        image: A data URI.
        rows: The chart as a table, under ``headers``.
        beside: What stands beside a gap, in a sentence: it would make the columns of the table too narrow.
    """

    number: int
    title: str
    finding: str
    outcome: str
    image: str
    text_alternative: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    beside: str

    @property
    def long(self) -> bool:
        return len(self.rows) >= LONG

    @property
    def anchor(self) -> str:
        return f"figure-{self.number}"


def draw_figures(evidence: dict[str, Any], verdicts: Sequence[dict[str, Any]]) -> tuple[Figure, ...]:
    """A figure for every verdict that groups patients by an attribute, numbered from 1 in their order."""
    grouped = [verdict for verdict in verdicts if verdict["attribute"]]
    return tuple(_draw(number, evidence, verdict) for number, verdict in enumerate(grouped, start=1))


def draw_closer_figures(evidence: dict[str, Any], verdict: dict[str, Any] | None, *, after: int) -> tuple[Figure, ...]:
    """A closer look at the label of one verdict: its calibration by group, and its rate in each intersection.

    Evidence without scores has no calibration, and evidence without intersections no heat map: what cannot be drawn
    is left out, since the measurements beside it say why.

    Args:
        after: The number of the figure before the first of these.
    """
    if verdict is None:
        return ()
    plans = list(_closer_plans(evidence["result"]["measurements"], verdict))
    return tuple(
        _figure(number, title, plan.draw("print"), verdict["outcome"])
        for number, (title, plan) in enumerate(plans, start=after + 1)
    )


def _closer_plans(measurements: Sequence[dict[str, Any]], verdict: dict[str, Any]) -> Iterator[tuple[str, ChartPlan]]:
    from evaluation.charts import NothingToDrawError, plan_calibration, plan_heatmap
    from evaluation.charts.metrics import is_rate

    label, rate = verdict["label"], _rate_behind(measurements, verdict)
    rate = rate if is_rate(rate) else "tpr"
    mine = [item for item in measurements if item["label"] == label]
    scored = list(dict.fromkeys(item["attribute"] for item in mine if item["metric"] == "ece" and item["attribute"]))
    crossed = dict.fromkeys(item["attribute"] for item in mine if JOIN in item["attribute"] and item["metric"] == rate)
    wanted = [verdict["attribute"]] if verdict["attribute"] in scored else scored[:1]
    drawn: list[tuple[str, Any, str, dict[str, str]]] = [
        (_("calibration of %(label)s") % {"label": spoken(label)}, plan_calibration, name, {}) for name in wanted
    ]
    of_label = _("%(metric)s of %(label)s") % {"metric": metric_title(rate), "label": spoken(label)}
    drawn += [(of_label, plan_heatmap, name, {"metric": rate}) for name in crossed]
    for title, plan, attribute, more in drawn:
        try:
            words = {"what": title, "attribute": spoken(attribute)}
            yield (
                _("%(what)s by %(attribute)s") % words,
                plan(measurements, label=label, attribute=attribute, **more),
            )
        except NothingToDrawError:
            continue


def _rate_behind(measurements: Sequence[dict[str, Any]], verdict: dict[str, Any]) -> str:
    """The rate that a verdict is about: for a difference, the one that the evidence names."""
    same = (
        item
        for item in measurements
        if (item["metric"], item["label"], item["attribute"])
        == (verdict["metric"], verdict["label"], verdict["attribute"])
    )
    told = (str((item.get("detail") or {}).get("rate", "")) for item in same)
    return next((rate for rate in told if rate), str(verdict["metric"]))


def _draw(number: int, evidence: dict[str, Any], verdict: dict[str, Any]) -> Figure:
    from evaluation.charts import forest_chart

    chart = forest_chart(evidence["result"]["measurements"], verdict, theme="print")
    title = _("%(label)s by %(attribute)s: %(metric)s") % {
        "label": spoken(verdict["label"]),
        "attribute": spoken(verdict["attribute"]),
        "metric": metric_title(verdict["metric"]),
    }
    return _figure(number, title, chart, verdict["outcome"])


def _figure(number: int, title: str, chart: Chart, outcome: str) -> Figure:
    from evaluation.charts import BESIDE

    rows = tuple(tuple(localised(str(cell)) for cell in row) for row in chart.table_rows if row[0] != BESIDE)
    return Figure(
        number=number,
        title=title,
        finding=chart.title if in_english() else title,
        outcome=outcome,
        image=SVG_DATA + base64.b64encode(_localised_svg(chart, title).encode()).decode(),
        text_alternative=chart.text_alternative if in_english() else _told(title, rows),
        headers=tuple(localised(str(cell)) for cell in chart.table_headers),
        rows=rows,
        beside="; ".join(
            f"{inside(localised(row[1]))}: {localised(row[2])}" for row in chart.table_rows if row[0] == BESIDE
        ),
    )


def _told(title: str, rows: tuple[tuple[str, ...], ...]) -> str:
    """A chart in words, from the rows beside it."""
    return f"{title}. " + "; ".join(", ".join(cell for cell in row if cell) for row in rows) + "."


# Charts write English. Their fixed words, so that they can be translated with the rest:
CHART_WORDS = (
    gettext_noop("Value (interval)"),
    gettext_noop("Value (95% interval)"),
    gettext_noop("Studies / patients"),
    gettext_noop("n / patients"),
    gettext_noop("Measure"),
    gettext_noop("Group"),
    gettext_noop("Studies"),
    gettext_noop("Patients"),
    gettext_noop("Remark"),
    gettext_noop("Female"),
    gettext_noop("Male"),
    gettext_noop("Unknown"),
    gettext_noop("not shown"),
    gettext_noop("beyond the margin"),
    gettext_noop("fewer than 11 patients"),
    gettext_noop("suppressed: fewer than 11 patients"),
)
SVG_TEXT = re.compile(r"(<text[^>]*>)([^<]+)(</text>)")
SVG_LINES = re.compile(r"(<text[^>]*>)((?:<tspan[^>]*>[^<]*</tspan>)+)(</text>)")
LINE = 68
"""How many characters a heading has room for in one line."""
NUMBER = re.compile(r"\d*\.?\d+(?:,\d{3})*(?:\.\d+)?")


def in_english() -> bool:
    """Whether the active language is the one that charts are written in."""
    return (get_language() or "en").split("-")[0] == "en"


def localised(text: str) -> str:
    """A chart's text in the active language: known words and forms translated, numbers with that language's marks."""
    told = said(text) if text.strip() else text
    return NUMBER.sub(lambda found: _number(found[0]), told) if told == text and not in_english() else told


def _number(text: str) -> str:
    """``.61`` as ``0,61`` and ``1,204`` as ``1.204`` where the language writes so."""
    return marked(f"0{text}" if text.startswith(".") and style().leading_zero else text)


def _localised_svg(chart: Chart, title: str) -> str:
    """The picture with its words in the active language; its heading, a sentence in English, becomes the title."""
    if in_english():
        return chart.svg
    title = title[:1].upper() + title[1:]
    with_words = SVG_TEXT.sub(lambda found: f"{found[1]}{_word(found[2], chart, title)}{found[3]}", chart.svg)
    return SVG_LINES.sub(lambda found: found[1] + _lines(title, found[2]) + found[3], with_words)


def _word(text: str, chart: Chart, title: str) -> str:
    return escape(title if unescape(text) == chart.title else localised(unescape(text)), quote=False)


def _lines(title: str, lines: str) -> str:
    """The title in the lines that the heading had, which breaks where the picture ends."""
    tags = re.findall(r"<tspan[^>]*>", lines)
    texts = textwrap.wrap(title, LINE)[: len(tags)]
    return "".join(f"{tag}{escape(text, quote=False)}</tspan>" for tag, text in zip(tags, texts, strict=False))
