"""What parts are told of a study, with scales from the domain instead of from patients."""

from __future__ import annotations

import math

from synthetic.generators.kinds.conditions import Conditions
from synthetic.generators.kinds.report_conditions import BINS, ReportConditions
from synthetic.generators.private.tables_layout import Layout


def conditions_of(layout: Layout) -> Conditions:
    """Numbers around the middle of their bounds, in units of what an even spread over them deviates by."""
    attributes = layout.domain.attributes
    numbers, categories = {}, {}
    for name in sorted(layout.attributes):
        item = attributes[name]
        if item.values:
            categories[name] = tuple(str(value) for value in item.values)
        else:
            numbers[name] = ((item.low + item.high) / 2, (item.high - item.low) / math.sqrt(12))
    return Conditions(findings=layout.findings, numbers=numbers, categories=categories)


def report_conditions_of(layout: Layout, channels: int) -> ReportConditions:
    """The same for reports: bounds cut into equal parts. Latents of images have a scale of their own already.

    Args:
        channels: Of the latents; 0 without images.
    """
    cuts, categories = {}, {}
    for name in layout.attributes:
        item = layout.domain.attributes[name]
        if item.values:
            categories[name] = tuple(str(value) for value in item.values)
        else:
            cuts[name] = _ends(item.low, item.high)
    for name in layout.series:
        bounds = layout.domain.series[name]
        cuts[f"series.{name}"] = _ends(bounds.low, bounds.high, log=bounds.log)
    return ReportConditions(
        findings=layout.findings, cuts=dict(sorted(cuts.items())), categories=dict(sorted(categories.items())),
        middle=(0.0,) * channels, width=(1.0,) * channels,
    )  # fmt: skip


def _ends(low: float, high: float, *, log: bool = False) -> tuple[float, ...]:
    from synthetic.generators.private.series_rows import unscaled

    places = [2 * place / BINS - 1 for place in range(1, BINS)]
    return tuple(float(unscaled(place, low, high, log=log)) for place in places)
