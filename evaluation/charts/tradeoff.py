"""What another threshold would bring each group: sensitivity, false positive rate and net benefit against threshold.

The three plots share their axis; a vertical line stands at the threshold that was frozen before the audit, and beside
each plot are the groups' values there. Dotted in the plot of net benefit: treating every study as positive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from evaluation.charts.drawing import (
    DASHES,
    ChartPlan,
    NothingToDrawError,
    Palette,
    Row,
    Spec,
    at,
    axis,
    bare_reason,
    by_words,
    capital,
    digits_for,
    estimate,
    exact,
    heading_of,
    long_group,
    mark,
    page_of,
    round_domain,
    short_group,
    text_at,
)
from evaluation.engine.records import UNKNOWN
from evaluation.engine.words import plain

MOST = 8
"""As many groups at most are drawn: more lines cannot be told apart."""
WIDTH, HEIGHT, BESIDE, LINE = 440, 150, 170, 18
CURVES = (
    ("tpr", "Sensitivity"),
    ("fpr", "False positive rate"),
    ("net_benefit", "Net benefit"),
)
HEADERS = ("Group", "Threshold", "Sensitivity", "False positive rate", "Net benefit", "Treat all", "Remark")
TOLD = 11
"""About as many thresholds stand in the table."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group's curve. ``place`` gives its colour and line."""

    place: int
    name: str
    row: Row
    curve: tuple[Row, ...]


def plan_tradeoff(measurements: Sequence[Row], *, label: str, attribute: str) -> ChartPlan:
    """Sensitivity, false positive rate and net benefit of one label against threshold, by group.

    Args:
        measurements: ``Measurement.to_dict()``; those of metric ``net_benefit`` with this label and attribute are used.

    Raises:
        NothingToDrawError: there are no scores, or no group is large enough to be shown.
    """
    rows = [m for m in measurements if (m["metric"], m["label"], m["attribute"]) == ("net_benefit", label, attribute)]
    if not rows:
        raise NothingToDrawError(
            f"The model gave decisions and no scores for {plain(label)}, so no other threshold can be tried.",
            remedy="A model that gives scores is measured here. An audit that was made before scores were measured "
            "has none either: request it again.",
        )
    groups = _groups(rows, attribute)
    with_curve = [group for group in groups if group.curve]
    frozen = next((row["detail"]["threshold"] for row in rows if row["detail"].get("threshold") is not None), None)
    drawn = sorted(sorted(with_curve, key=lambda group: -(group.row["n"] or 0))[:MOST], key=lambda group: group.place)
    drawn = [Group(place=place, name=g.name, row=g.row, curve=g.curve) for place, g in enumerate(drawn)]
    title = _title(with_curve, label, attribute, frozen)
    left = [group.name for group in groups if group.name not in {other.name for other in drawn}]
    return ChartPlan(
        title=title,
        text_alternative=_in_words(title, groups, frozen),
        table_headers=HEADERS,
        table_rows=tuple(_table(groups, frozen)),
        specify=partial(_specification, title, drawn, left, frozen),
    )


def _groups(rows: Sequence[Row], attribute: str) -> list[Group]:
    """Every group with its curve, empty where it is not told; raises where that is so of all."""
    groups = [
        Group(
            place=place,
            name=short_group(attribute, row["group"]),
            row=row,
            curve=tuple(sorted(row["detail"].get("curve") or (), key=lambda point: point["threshold"])),
        )
        for place, row in enumerate(rows)
    ]
    if not any(group.curve for group in groups):
        raise NothingToDrawError(
            f"No group of {by_words(attribute)} can be shown: {bare_reason(rows)}.",
            remedy="Audit a larger cohort, or choose an attribute with larger groups.",
        )
    return groups


def nearest(curve: Sequence[Row], threshold: float) -> Row:
    """The point of a curve that is nearest to a threshold."""
    return min(curve, key=lambda point: abs(point["threshold"] - threshold))


ALONE = "one group only, so nothing can be compared"
HALF = 0.5
"""Where groups are compared when the protocol froze no threshold: the model decides at a point of its own."""


def _title(groups: Sequence[Group], label: str, attribute: str, frozen: float | None) -> str:
    name = capital(plain(label))
    known = [group for group in groups if group.row["group"] != UNKNOWN]
    point = HALF if frozen is None else frozen
    where = (
        f"at a threshold of {exact(point)} (the protocol froze none)"
        if frozen is None
        else (f"at the frozen threshold {exact(point)}")
    )
    here = {g.place: nearest(g.curve, point)["tpr"] for g in known}
    found = [g for g in known if here[g.place] is not None]
    if len(found) < 2:
        return f"{name}, {where}: {ALONE}"
    low, high = min(found, key=lambda g: here[g.place]), max(found, key=lambda g: here[g.place])
    gap = here[high.place] - here[low.place]
    lower = f"a sensitivity of {exact(round(here[low.place], 2))} in {long_group(attribute, low.row['group'])}"
    higher = f"against {exact(round(here[high.place], 2))} in {long_group(attribute, high.row['group'])}"
    told = f"{name}, {where}: {lower}, {higher}"
    closing = _closing(low, here[high.place]) if gap >= 0.02 else None
    if closing is None:
        return told
    needed = f"the former would need a threshold of {exact(round(closing, 2))} to reach the latter"
    return f"{told}; {needed}"


def _closing(group: Group, wanted: float) -> float | None:
    """The highest threshold at which a group is as sensitive as ``wanted``; None where there is none above 0."""
    reached = [point["threshold"] for point in group.curve if point["tpr"] is not None and point["tpr"] >= wanted]
    return max(reached) if reached and max(reached) > 0 else None


def _value(point: Row, name: str) -> str:
    return estimate(point.get(name), None, None, 3 if name in {"net_benefit", "treat_all"} else 2)


def _in_words(title: str, groups: Sequence[Group], frozen: float | None) -> str:
    told = []
    for group in groups:
        if not group.curve:
            told.append(f"{group.name}: not shown, {group.row['reason']}")
            continue
        points = [nearest(group.curve, frozen)] if frozen is not None else [group.curve[0], group.curve[-1]]
        said = "; ".join(
            f"at threshold {exact(point['threshold'])} "
            f"sensitivity {_value(point, 'tpr') or 'undefined'}, "
            f"false positive rate {_value(point, 'fpr') or 'undefined'}, "
            f"net benefit {_value(point, 'net_benefit') or 'undefined'}"
            for point in points
        )
        told.append(f"{group.name}: {said}")
    return f"{title}. " + ". ".join(told) + "."


def _table(groups: Sequence[Group], frozen: float | None) -> Iterator[tuple[str, ...]]:
    """Some thresholds of every group, the frozen one among them."""
    for group in groups:
        if not group.curve:
            yield (group.name, "all", "not shown", "", "", "", str(group.row["reason"]))
            continue
        step = max(1, len(group.curve) // (TOLD - 1))
        chosen = {id(point) for point in (*group.curve[::step], group.curve[-1])}
        at_frozen = nearest(group.curve, frozen) if frozen is not None else None
        for point in group.curve:
            here = point is at_frozen
            if here or id(point) in chosen:
                values = (_value(point, name) or "undefined" for name in ("tpr", "fpr", "net_benefit", "treat_all"))
                yield (group.name, exact(point["threshold"]), *values, "frozen threshold" if here else "")


def _specification(
    title: str, groups: Sequence[Group], left: Sequence[str], frozen: float | None, palette: Palette
) -> Spec:
    thresholds = [point["threshold"] for group in groups for point in group.curve]
    span = (min(thresholds), max(thresholds))
    parts = [
        {
            "hconcat": [_plot(groups, curve, span, frozen, palette), _beside(groups, curve[0], frozen, palette)],
            "spacing": 16,
        }
        for curve in CURVES
    ]
    parts.append(_notes(left, palette))
    return page_of(title, parts, palette, spacing=14)


def _domain(groups: Sequence[Group], metric: str) -> tuple[float, float]:
    """A rate has the axis from 0 to 1. Net benefit has what the models reach: treating all falls far below."""
    if metric != "net_benefit":
        return 0.0, 1.0
    values = [point[metric] for group in groups for point in group.curve if point.get(metric) is not None]
    treated = [group.curve[0].get("treat_all") or 0.0 for group in groups]
    least = max(min([*values, 0.0]), -0.5 * max([*values, *treated, 0.02]))
    return round_domain([least, *(value for value in values if value >= least), *treated], -1.0, 1.0)


def _plot(
    groups: Sequence[Group], curve: tuple[str, str], span: tuple[float, float], frozen: float | None, palette: Palette
) -> Spec:
    metric, title = curve
    low, high = _domain(groups, metric)
    last = metric == CURVES[-1][0]
    x_axis = axis(palette, title="Threshold: scores from here on count as positive" if last else None, tickCount=6)
    y_axis = axis(palette, digits=digits_for(high - low), tickCount=4, minExtent=38) | {"grid": True}
    y_axis |= {"gridColor": palette.rule, "gridOpacity": 0.45, "gridWidth": 0.7}
    x = {"field": "x", "type": "quantitative", "scale": {"domain": list(span), "nice": False}, "axis": x_axis}
    y = {"field": "y", "type": "quantitative", "scale": {"domain": [low, high], "nice": False}, "axis": y_axis}
    layers = [_line(group, metric, x, y, palette) for group in groups]
    if last:
        layers = [_treat_all(group, x, y, palette) for group in groups] + layers
        layers.append(mark("rule", [{"y": 0.0}], {"y": y}, color=palette.quiet, strokeWidth=1))
    if frozen is not None:
        layers.append(mark("rule", [{"x": frozen}], {"x": x}, color=palette.ink, strokeWidth=1.2))
    if frozen is not None and metric == CURVES[0][0]:
        layers.append(_named(frozen, x, palette))
    heading = heading_of(title, palette.ink, offset=22 if metric == CURVES[0][0] else 6)
    return {"title": heading, "width": WIDTH, "height": max(HEIGHT, LINE * len(groups) + 8), "layer": layers}


def _named(frozen: float, x: Spec, palette: Palette) -> Spec:
    """The word at the line of the frozen threshold, above the first plot."""
    where = {"x": x, "y": {"value": 0}, "text": {"field": "text", "type": "nominal"}}
    said = [{"x": frozen, "text": f"frozen threshold {exact(frozen)}"}]
    return mark("text", said, where, color=palette.quiet, fontSize=11, baseline="bottom", dy=-4)


def _line(group: Group, metric: str, x: Spec, y: Spec, palette: Palette) -> Spec:
    points = _points(group, metric, y["scale"]["domain"][0])
    return mark("line", points, {"x": x, "y": y}, **_style(group, palette), strokeWidth=2)


def _treat_all(group: Group, x: Spec, y: Spec, palette: Palette) -> Spec:
    points = _points(group, "treat_all", y["scale"]["domain"][0])
    colour = palette.series[group.place % len(palette.series)]
    return mark("line", points, {"x": x, "y": y}, color=colour, strokeDash=[1, 3], strokeWidth=1.2)


def _points(group: Group, name: str, low: float) -> list[dict[str, float]]:
    """Points of a curve down to ``low``, where it leaves the plot. Clipping would number its path anew each time."""
    points: list[dict[str, float]] = []
    before: tuple[float, float] | None = None
    for point in group.curve:
        x, y = point["threshold"], point.get(name)
        if y is None:
            continue
        if y < low:
            if before is not None and before[1] > low:
                share = (before[1] - low) / (before[1] - y)
                points.append({"x": before[0] + share * (x - before[0]), "y": low})
            break
        points.append({"x": x, "y": y})
        before = (x, y)
    return points


def _style(group: Group, palette: Palette) -> Spec:
    return {
        "color": palette.series[group.place % len(palette.series)],
        "strokeDash": DASHES[group.place % len(DASHES)],
        "strokeCap": "butt",
    }


def _beside(groups: Sequence[Group], metric: str, frozen: float | None, palette: Palette) -> Spec:
    """The legend of a plot, with each group's value at the frozen threshold."""
    heading = f"At {exact(frozen)}, frozen" if frozen is not None else "Groups"
    names, values, layers = [], [], []
    for place, group in enumerate(groups):
        y = LINE * (place + 0.5)
        swatch = [{"x": 0, "y": y}, {"x": 26, "y": y}]
        layers.append(mark("line", swatch, {"x": at("x"), "y": at("y")}, **_style(group, palette), strokeWidth=2))
        names.append({"x": 34, "y": y, "text": group.name})
        if frozen is not None:
            values.append({"x": BESIDE, "y": y, "text": _value(nearest(group.curve, frozen), metric) or "undefined"})
    layers += [
        text_at(names, palette.ink, limit=BESIDE - 72),
        text_at(values, palette.ink, align="right"),
    ]
    return {
        "title": heading_of(heading, palette.quiet, weight=400, offset=6),
        "width": BESIDE,
        "height": max(HEIGHT, LINE * len(groups) + 8),
        "layer": layers,
    }


def _notes(left: Sequence[str], palette: Palette) -> Spec:
    lines = [
        "Net benefit: true positives for each study, less false positives at the odds of the threshold.",
        "Dotted: net benefit of treating every study of the group as positive. The line at 0: of treating none.",
    ]
    if left:
        lines.append(f"Not drawn: {', '.join(left[:6])}{' and others' if len(left) > 6 else ''}; see the table.")
    values = [{"x": 0, "y": 8 + 16 * place, "text": line} for place, line in enumerate(lines)]
    return {"width": WIDTH, "height": 16 * len(lines), **text_at(values, palette.quiet, fontSize=11)}
