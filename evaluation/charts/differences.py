"""Forest plot of differences between two audits: one panel a metric, no difference marked, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from evaluation.charts.drawing import ChartPlan, NothingToDrawError, capital, digits_for, round_domain
from evaluation.charts.forest import Line, Panel, specification
from evaluation.charts.metrics import STUDIES, metric_title
from evaluation.engine.differences import Difference
from evaluation.engine.words import number

MOST = 12
"""Lines of one picture."""


def plan_differences(found: Sequence[Difference], *, alpha: float) -> ChartPlan:
    """The differences that chance explains least, twelve at most, as ``after - before``.

    Args:
        found: Differences with their corrected p-values.

    Raises:
        NothingToDrawError: none has an interval.
    """
    drawn = sorted((item for item in found if item.low is not None and item.p is not None), key=_rank)
    if not drawn:
        raise NothingToDrawError("No difference has an interval.")
    shown, total = drawn[:MOST], sum(item.beyond(alpha) for item in found)
    title = f"{total} of {len(drawn)} differences {'is' if total == 1 else 'are'} beyond chance"
    panels = [_panel(metric, [item for item in shown if item.metric == metric], alpha) for metric in _metrics(shown)]
    told = "; ".join(
        f"{metric_title(item.metric)}, {_name(item)}: {_figures(item)}, {_remark(item, alpha)}" for item in shown
    )
    return ChartPlan(
        title=title,
        text_alternative=f"{title}. The {len(shown)} that chance explains least: {told}.",
        table_headers=("Measure", "Of", "Difference (interval)", "Studies", "Patients", "Remark"),
        table_rows=tuple(
            (capital(metric_title(item.metric)), _name(item), _figures(item), f"{item.n or 0:,}",
             f"{item.patients or 0:,}", _remark(item, alpha))
            for item in shown
        ),
        specify=partial(specification, title, panels),
    )  # fmt: skip


def _rank(item: Difference) -> tuple[float, float]:
    return (item.p if item.p is not None else 1.0, -abs(item.value or 0.0))


def _metrics(shown: Sequence[Difference]) -> list[str]:
    return list(dict.fromkeys(item.metric for item in shown))


def _panel(metric: str, items: Sequence[Difference], alpha: float) -> Panel:
    ends = [end for item in items for end in (item.low, item.value, item.high) if end is not None]
    domain = round_domain([*ends, 0.0], float("-inf"), float("inf"))
    digits = digits_for(domain[1] - domain[0])
    heading = f"Difference in {metric_title(metric)}, after minus before"
    lines = tuple(
        Line(
            panel=heading, name=_name(item), value=item.value, low=item.low, high=item.high, n=item.n,
            patients=item.patients, remark=_remark(item, alpha), judged=item.beyond(alpha),
            beyond=item.beyond(alpha) and item.direction == "worse", digits=digits, what=STUDIES,
        )
        for item in items
    )  # fmt: skip
    return Panel(heading=heading, lines=lines, region=None, ideal=0.0, domain=domain, ratio=False)


def _name(item: Difference) -> str:
    parts = [item.label.replace("_", " "), "" if item.group == "All" else item.group]
    return ", ".join(filter(None, parts)) or "all studies"


def _figures(item: Difference) -> str:
    return f"{_signed(item.value)} ({_signed(item.low)} to {_signed(item.high)})"


def _signed(value: float | None) -> str:
    told = number(value or 0.0, 3)
    return f"+{told}" if value is not None and value > 0 else told


def _remark(item: Difference, alpha: float) -> str:
    return f"{item.direction}, beyond chance" if item.beyond(alpha) else "within chance"
