"""Charts of verdicts and of the groups behind them, drawn into the page, each with its words and its table."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from evaluation.engine.protocol import JOIN
from governance.reports.findings import metric_title
from governance.reports.render import SVG_DATA
from governance.reports.wording import inside, spoken

if TYPE_CHECKING:
    from evaluation.charts import ChartPlan

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
        _figure(number, title, plan, verdict["outcome"]) for number, (title, plan) in enumerate(plans, start=after + 1)
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
    from evaluation.charts import plan_forest

    title = _("%(label)s by %(attribute)s: %(metric)s") % {
        "label": spoken(verdict["label"]),
        "attribute": spoken(verdict["attribute"]),
        "metric": metric_title(verdict["metric"]),
    }
    plan = plan_forest(evidence["result"]["measurements"], verdict)
    return _figure(number, title, plan, verdict["outcome"])


def _figure(number: int, title: str, plan: ChartPlan, outcome: str) -> Figure:
    from evaluation.chart_words import for_reader
    from evaluation.charts import BESIDE

    chart = for_reader(plan).draw("print")
    rows = [(planned[0] == BESIDE, told) for planned, told in zip(plan.table_rows, chart.table_rows, strict=True)]
    return Figure(
        number=number,
        title=title,
        finding=chart.title,
        outcome=outcome,
        image=SVG_DATA + base64.b64encode(chart.svg.encode()).decode(),
        text_alternative=chart.text_alternative,
        headers=chart.table_headers,
        rows=tuple(told for beside, told in rows if not beside),
        beside="; ".join(f"{inside(told[1])}: {told[2]}" for beside, told in rows if beside),
    )
