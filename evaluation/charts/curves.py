"""How a loss falls while something is trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from evaluation.charts.drawing import (
    ChartPlan,
    NothingToDrawError,
    Palette,
    Spec,
    axis,
    axis_style,
    digits_for,
    mark,
    page_of,
    round_domain,
)

WIDTH, HEIGHT = 420, 130
ROWS = 40
"""Of the table beside the picture: more points are thinned out."""


def plan_curve(name: str, points: Sequence[Sequence[float]]) -> ChartPlan:
    """One training curve.

    Args:
        name: ``image.flow``: the part and what is learnt.
        points: (step, value), by rising step.

    Raises:
        NothingToDrawError: there is no point yet.
    """
    if not points:
        raise NothingToDrawError(f"'{name}' has no point yet.", remedy="Wait until the training has begun.")
    part, _, what = name.partition(".")
    first, last = points[0], points[-1]
    said = f"{part.capitalize()}, {what.replace('_', ' ') or 'loss'}: {last[1]:.3g} at step {last[0]:,.0f}"
    every = max(1, len(points) // ROWS)
    shown = [*points[:-1:every], last]
    return ChartPlan(
        title=said,
        text_alternative=f"{said}, from {first[1]:.3g} at step {first[0]:,.0f}; {len(points)} points.",
        table_headers=("Step", "Value"),
        table_rows=tuple((f"{step:,.0f}", f"{value:.4g}") for step, value in shown),
        specify=partial(_specification, said, [(float(step), float(value)) for step, value in points]),
    )


def _specification(title: str, points: Sequence[tuple[float, float]], palette: Palette) -> Spec:
    low, high = round_domain([value for _, value in points])
    rows = [{"step": step, "value": value} for step, value in points]
    x: Spec = {
        "field": "step", "type": "quantitative", "axis": {"title": "step", "tickCount": 5} | axis_style(palette),
    }  # fmt: skip
    y: Spec = {
        "field": "value", "type": "quantitative", "scale": {"domain": [low, high], "nice": False},
        "axis": axis(palette, title="loss", digits=digits_for(high - low), tickCount=4),
    }  # fmt: skip
    layers = [mark("line", rows, {"x": x, "y": y}, color=palette.data, strokeWidth=1.6)]
    return page_of(title, [{"width": WIDTH, "height": HEIGHT, "layer": layers}], palette)
