"""Forest charts of verdicts, drawn into the page, each with its words and its table."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from governance.reports.findings import metric_title
from governance.reports.render import SVG_DATA
from governance.reports.wording import spoken


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One chart, ready for a template.

    Attributes:
        title: What is shown. The picture itself is headed by ``finding``, what was found.
        image: A data URI.
        rows: The chart as a table, under ``headers``.
    """

    number: int
    title: str
    finding: str
    outcome: str
    image: str
    text_alternative: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def anchor(self) -> str:
        return f"figure-{self.number}"


def draw_figures(evidence: dict[str, Any], verdicts: Sequence[dict[str, Any]]) -> tuple[Figure, ...]:
    """A figure for every verdict that groups patients by an attribute, numbered from 1 in their order."""
    grouped = [verdict for verdict in verdicts if verdict["attribute"]]
    return tuple(_draw(number, evidence, verdict) for number, verdict in enumerate(grouped, start=1))


def _draw(number: int, evidence: dict[str, Any], verdict: dict[str, Any]) -> Figure:
    from evaluation.charts import forest_chart

    chart = forest_chart(evidence["result"]["measurements"], verdict, theme="print")
    return Figure(
        number=number,
        title=f"{spoken(verdict['label'])} by {spoken(verdict['attribute'])}: {metric_title(verdict['metric'])}",
        finding=chart.title,
        outcome=verdict["outcome"],
        image=SVG_DATA + base64.b64encode(chart.svg.encode()).decode(),
        text_alternative=chart.text_alternative,
        headers=tuple(str(cell) for cell in chart.table_headers),
        rows=tuple(tuple(str(cell) for cell in row) for row in chart.table_rows),
    )
