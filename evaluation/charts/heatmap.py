"""Heat map of a rate over the groups of an intersection: value and n in each cell, hatching where there is none.

Two attributes make one grid, with the groups of each attribute alone at its edge where they were measured. Of three or
more, the last two make a grid for each combination of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from evaluation.charts.drawing import (
    VERSUS,
    ChartPlan,
    NothingToDrawError,
    Row,
    bare_reason,
    by_words,
    capital,
    counted,
    estimate,
    exact,
    long_group,
    short_group,
)
from evaluation.charts.heatmap_plot import draw_heatmap
from evaluation.charts.metrics import STUDIES, counts_of, metric_title, worse
from evaluation.engine.protocol import JOIN
from evaluation.engine.records import ALL, UNKNOWN
from evaluation.engine.words import plain

MOST_COLUMNS = 10
"""As many columns at most are drawn; the table holds all."""
NO_STUDIES = "no studies"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One group of the intersection, or of one attribute alone (``edge``)."""

    row: str
    column: str
    measured: Row
    edge: bool

    @property
    def word(self) -> str:
        """Why there is no value, in a word."""
        reason = str(self.measured["reason"])
        if reason == NO_STUDIES:
            return NO_STUDIES
        return "suppressed" if reason.startswith("suppressed") else "undefined"

    @property
    def judged(self) -> bool:
        return bool(self.measured["detail"].get("judged", not self.measured["reason"]))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells over two attributes, within one combination of the others (``within``; empty where there are none).

    Attributes:
        left_out: Columns that are in the table alone, because they would not fit.
    """

    within: str
    down: str
    across: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    left_out: int


def plan_heatmap(measurements: Sequence[Row], *, label: str, attribute: str, metric: str = "tpr") -> ChartPlan:
    """Heat map of one rate of one label over the groups of an intersection.

    Args:
        measurements: ``Measurement.to_dict()``; those of this metric and label, of the intersection, of its attributes
            alone and of all studies are used, and the gap measurements of the intersection for the shrunken rates.
        attribute: The intersection, such as ``sex & age_band``.

    Raises:
        NothingToDrawError: the rate was not measured over this intersection, or no group is large enough to be shown.
    """
    same = [m for m in measurements if m["metric"] == metric and m["label"] == label]
    rows = [m for m in same if m["attribute"] == attribute and VERSUS not in m["group"]]
    title_of_metric = metric_title(metric)
    if JOIN not in attribute or not rows:
        raise NothingToDrawError(
            f"The {title_of_metric} of {plain(label)} was not measured over {by_words(attribute)}.",
            remedy="Choose another rate, or declare the intersection in the protocol.",
        )
    if all(m["value"] is None or JOIN not in m["group"] for m in rows):
        raise NothingToDrawError(
            f"No group of {by_words(attribute)} can be shown: {bare_reason(rows)}.",
            remedy="Audit a larger cohort, or cross attributes with fewer groups.",
        )
    gaps = [m for m in measurements if m["label"] == label and m["attribute"] == attribute]
    spread: Mapping[str, Any] = next((m["detail"] for m in gaps if m["detail"].get("rate") == metric), {})
    shrunken = spread.get("shrunken") or {}
    everyone = next((m for m in same if m["attribute"] == "" and m["value"] is not None), None)
    title = _title(rows, label, attribute, metric, spread.get("heterogeneity_p"), everyone)
    names = tuple(capital(plain(name)) for name in attribute.split(JOIN))
    level, what = f"{rows[0]['level']:.0%}", counts_of(metric)
    return ChartPlan(
        title=title,
        text_alternative=_in_words(title, rows, attribute, metric),
        table_headers=(
            *names,
            f"{capital(title_of_metric)} ({level} interval)",
            "Shrunken",
            "Studies" if what == STUDIES else "n",
            "Patients",
            "Remark",
        ),
        table_rows=tuple(_table(rows, attribute, shrunken)),
        specify=partial(draw_heatmap, title, _grids(same, rows, attribute), title_of_metric, what),
    )


def _title(
    rows: Sequence[Row], label: str, attribute: str, metric: str, p_value: float | None, everyone: Row | None
) -> str:
    """Which group fares worst; or that the groups differ no more than by chance, where a test says so."""
    subject = f"{capital(plain(label))}: {metric_title(metric)}"
    named = [m for m in rows if m["value"] is not None and UNKNOWN not in m["group"].split(JOIN)]
    judged = (
        [m for m in named if m["detail"].get("judged", not m["reason"])]
        or named
        or [m for m in rows if m["value"] is not None]
    )
    if p_value is not None and p_value >= 0.05:
        return f"{subject} differs between groups of {by_words(attribute)} no more than chance would give"
    side = worse(metric)
    worst = (max if side > 0 else min)(judged, key=lambda m: m["value"])
    told = f"{subject} is {'highest' if side > 0 else 'lowest'} in {long_group(attribute, worst['group'])}"
    values = estimate(worst["value"], worst["low"], worst["high"])
    against = f"; all studies {exact(round(everyone['value'], 2))}" if everyone else ""
    return f"{told}: {values}{against}"


def _in_words(title: str, rows: Sequence[Row], attribute: str, metric: str) -> str:
    told, what = [], counts_of(metric)
    for m in rows:
        name = short_group(attribute, m["group"])
        if m["value"] is None:
            told.append(f"{name}: not shown, {m['reason']}")
            continue
        support = f", {m['n']:,} {what} of {m['patients']:,} patients" if m["n"] and m["patients"] else ""
        told.append(f"{name}: {estimate(m['value'], m['low'], m['high'])}{support}")
    return f"{title}. {capital(metric_title(metric))} by {by_words(attribute)}: " + "; ".join(told) + "."


def _table(rows: Sequence[Row], attribute: str, shrunken: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for m in rows:
        parts = [
            short_group(name, part) for name, part in zip(attribute.split(JOIN), m["group"].split(JOIN), strict=False)
        ]
        parts += [""] * (attribute.count(JOIN) + 1 - len(parts))
        value = estimate(m["value"], m["low"], m["high"]) or "not shown"
        smooth = estimate(shrunken.get(m["group"]), None, None) if m["value"] is not None else ""
        yield (*parts, value, smooth, counted(m["n"]), counted(m["patients"]), str(m["reason"]))


def _grids(same: Sequence[Row], rows: Sequence[Row], attribute: str) -> list[Grid]:
    """One grid for each combination of all attributes but the last two; the longer of the two goes down."""
    *others, first, second = attribute.split(JOIN)
    found: dict[str, list[tuple[str, str, Row]]] = {}
    # Studies of which an attribute is not known are one group, "Unknown", and no cell: the table has it.
    for m in (m for m in rows if m["group"].count(JOIN) == attribute.count(JOIN)):
        *outer, one, two = m["group"].split(JOIN)
        within = short_group(JOIN.join(others), JOIN.join(outer)) if others else ""
        found.setdefault(within, []).append((one, two, m))
    values = [list(dict.fromkeys(item[place] for items in found.values() for item in items)) for place in (0, 1)]
    turned = len(values[1]) > len(values[0]) and len(values[1]) > MOST_COLUMNS // 2 + 1
    down, across = (second, first) if turned else (first, second)
    edges = [] if others else _edges(same, down, across)
    grids = []
    for within, items in found.items():
        cells = [
            Cell(row=two if turned else one, column=one if turned else two, measured=m, edge=False)
            for one, two, m in items
        ]
        grids.append(_grid(within, down, across, cells + edges))
    return grids


def _edges(same: Sequence[Row], down: str, across: str) -> list[Cell]:
    """The groups of each attribute alone, and all studies, where they were measured."""
    cells = [Cell(row=m["group"], column=ALL, measured=m, edge=True) for m in same if m["attribute"] == down]
    cells += [Cell(row=ALL, column=m["group"], measured=m, edge=True) for m in same if m["attribute"] == across]
    if cells:
        cells += [Cell(row=ALL, column=ALL, measured=m, edge=True) for m in same if m["attribute"] == ""][:1]
    return cells


def _grid(within: str, down: str, across: str, cells: Sequence[Cell]) -> Grid:
    inner = [cell for cell in cells if not cell.edge]
    rows, every = (list(dict.fromkeys(names)) for names in ((c.row for c in inner), (c.column for c in inner)))
    columns = every[:MOST_COLUMNS]
    if any(cell.edge for cell in cells):
        rows, columns = [*rows, ALL], [*columns, ALL]
    there = {(cell.row, cell.column) for cell in cells}
    none: Row = {"value": None, "reason": NO_STUDIES, "n": None, "detail": {}}
    cells = [
        *cells,
        *(
            Cell(row=row, column=column, measured=none, edge=False)
            for row in rows
            for column in columns
            if ALL not in (row, column) and (row, column) not in there
        ),
    ]
    shown = tuple(cell for cell in cells if cell.row in rows and cell.column in columns)
    return Grid(
        within=within, down=down, across=across, rows=tuple(rows), columns=tuple(columns), cells=shown,
        left_out=len(every) - MOST_COLUMNS if len(every) > MOST_COLUMNS else 0,
    )  # fmt: skip
