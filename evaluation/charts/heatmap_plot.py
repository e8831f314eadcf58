"""The picture of a heat map. Every position is in pixels, so that hatching can be drawn line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.charts.drawing import (
    Palette,
    Spec,
    at,
    capital,
    estimate,
    exact,
    heading_of,
    mark,
    page_of,
    short_group,
    text_at,
    told_by,
)
from evaluation.engine.records import ALL
from evaluation.engine.words import plain

if TYPE_CHECKING:
    from evaluation.charts.heatmap import Cell, Grid

WIDTH, NAMES, CELL, TALL, GAP = 700, 118, 104, 46, 10
HEAD = 36
"""Pixels above the first row: names of columns, and below them, at the corner, what the rows are."""
MOST_GRIDS = 8
HATCH = 9
"""Pixels between two lines of the hatching."""


def draw_heatmap(title: str, grids: Sequence[Grid], metric: str, counted: str, palette: Palette) -> Spec:
    """The picture; ``counted``: what n counts, such as ``studies``."""
    values = [c.measured["value"] for grid in grids for c in grid.cells if c.measured["value"] is not None]
    low, high = _ends(values)
    parts = [_key(f"{capital(metric)}, and n: the {counted} it rests on", low, high, palette)]
    parts += [_grid_part(grid, low, high, palette) for grid in grids[:MOST_GRIDS]]
    if len(grids) > MOST_GRIDS:
        left = [{"x": 0, "y": 8, "text": f"{len(grids) - MOST_GRIDS} more are in the table."}]
        parts.append({"width": WIDTH, "height": 16, **text_at(left, palette.quiet, fontSize=11)})
    return page_of(title, parts, palette, spacing=16)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the colour scale: round, and at least .1 apart, so that small differences do not look large."""
    low, high = min(values), max(values)
    low, high = (low // 0.05) * 0.05, -(-high // 0.05) * 0.05
    if high - low < 0.1:
        middle = (low + high) / 2
        low, high = middle - 0.05, middle + 0.05
    return round(low, 3), round(high, 3)


def _mixed(share: float, ends: tuple[str, str]) -> str:
    """A colour between two, by its share of the way."""
    parts = [
        round(int(ends[0][place : place + 2], 16) * (1 - share) + int(ends[1][place : place + 2], 16) * share)
        for place in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2, 0 to 1."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def readable_on(colour: str) -> str:
    """Black or white, whichever is read better on a colour: its contrast is 4.5 at least."""
    return "#000000" if luminance(colour) > 0.179 else "#ffffff"


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _key(told: str, low: float, high: float, palette: Palette) -> Spec:
    """The colour scale with its ends, and how to read cells."""
    width, steps = 200, 40
    start = 40
    step = width / steps
    strip = [
        {
            "x": start + step * place,
            # Neighbours overlap a little, so that no seam shows between them.
            "x2": start + step * (place + 1) + (0.6 if place < steps - 1 else 0),
            "y": 24,
            "y2": 36,
            "colour": _mixed((place + 0.5) / steps, palette.heat),
        }
        for place in range(steps)
    ]
    texts = [{"x": start - 6, "y": 30, "text": exact(low), "align": "right"}]
    far = [{"x": start + width + 6, "y": 30, "text": exact(high)}]
    about = [{"x": 0, "y": 8, "text": told}]
    note = [{"x": 300, "y": 30, "text": "Hatched: not shown, with the reason. Dashed frame: shown, not judged."}]
    return {
        "width": WIDTH,
        "height": 38,
        "layer": [
            _boxes(strip),
            text_at(texts, palette.quiet, fontSize=11, align="right"),
            text_at(far, palette.quiet, fontSize=11),
            text_at(about, palette.quiet, fontSize=12),
            text_at(note, palette.quiet, fontSize=11),
        ],
    }


def _boxes(values: Sequence[Mapping[str, Any]], **style: Any) -> Spec:
    sides = {"x": at("x"), "y": at("y"), "x2": {"field": "x2"}, "y2": {"field": "y2"}}
    return mark("rect", values, sides | {"color": told_by("colour")}, opacity=1, **style)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the columns and rows of a grid begin, and how wide a cell is."""

    width: float
    left: Mapping[str, float]
    top: Mapping[str, float]

    @classmethod
    def of(cls, grid: Grid) -> Layout:
        """The groups of one attribute alone stand apart from the cells."""
        width = min(CELL, (WIDTH - NAMES - GAP) // len(grid.columns))
        apart = GAP if ALL in grid.columns else 0
        return cls(
            width=width,
            left={name: NAMES + width * place + apart * (name == ALL) for place, name in enumerate(grid.columns)},
            top={name: HEAD + TALL * place + apart * (name == ALL) for place, name in enumerate(grid.rows)},
        )

    def box(self, cell: Cell, inset: float = 1) -> dict[str, float]:
        x, y = self.left[cell.column], self.top[cell.row]
        return {"x": x + inset, "y": y + inset, "x2": x + self.width - inset, "y2": y + TALL - inset}

    def word(self, cell: Cell, down: float, text: str) -> dict[str, Any]:
        """A text in the middle of a cell, ``down`` pixels below its upper edge."""
        return {"x": self.left[cell.column] + self.width / 2, "y": self.top[cell.row] + down, "text": text}


def _grid_part(grid: Grid, low: float, high: float, palette: Palette) -> Spec:
    layout = Layout.of(grid)
    shown = [cell for cell in grid.cells if cell.measured["value"] is not None]
    empty = [cell for cell in grid.cells if cell.measured["value"] is None]
    frames = [layout.box(cell) | {"colour": palette.rule} for cell in grid.cells]
    part: Spec = {
        "width": WIDTH,
        "height": max(layout.top.values()) + TALL,
        "layer": [
            *_filled(shown, layout, low, high, palette),
            *_hatched(empty, layout, palette),
            _boxes(frames, filled=False, strokeWidth=0.8),
            *_labels(grid, layout, palette),
        ],
    }
    more = f"{grid.left_out} more of {plain(grid.across)} are in the table" if grid.left_out else ""
    if grid.within or more:
        part["title"] = heading_of(". ".join(filter(None, (grid.within, more))), palette.ink, offset=4)
    return part


def _filled(cells: Sequence[Cell], layout: Layout, low: float, high: float, palette: Palette) -> Iterator[Spec]:
    """Cells with a value: the colour, the value, the n, and a dashed frame where it was not judged."""
    boxes, dashed, values, sizes = [], [], [], []
    for cell in cells:
        value, n = cell.measured["value"], cell.measured["n"]
        colour = _mixed(_share(value, low, high), palette.heat)
        ink = {"colour": readable_on(colour)}
        boxes.append(layout.box(cell) | {"colour": colour})
        values.append(layout.word(cell, 17, estimate(value, None, None)) | ink)
        if n is not None:
            sizes.append(layout.word(cell, 33, f"n = {n:,}") | ink)
        if not cell.judged:
            dashed.append(layout.box(cell, 4) | ink)
    yield _boxes(boxes)
    yield _boxes(dashed, filled=False, strokeWidth=1.2, strokeDash=[4, 3])
    yield _written(values, fontSize=14, fontWeight=600)
    yield _written(sizes, fontSize=11, limit=layout.width - 6)


def _hatched(cells: Sequence[Cell], layout: Layout, palette: Palette) -> Iterator[Spec]:
    """Cells without a value: hatching, and the word for why on a clear ground."""
    lines = [line for cell in cells for line in _hatching(layout.box(cell))]
    words = [layout.word(cell, TALL / 2, cell.word) | {"colour": palette.ink} for cell in cells]
    grounds = [
        {"x": row["x"] - 33, "x2": row["x"] + 33, "y": row["y"] - 9, "y2": row["y"] + 9, "colour": palette.ground}
        for row in words
    ]
    ends = {"x": at("x"), "y": at("y"), "x2": {"field": "x2"}, "y2": {"field": "y2"}}
    yield mark("rule", lines, ends, color=palette.quiet, strokeWidth=0.8, opacity=0.7)
    yield _boxes(grounds)
    yield _written(words, fontSize=11, limit=layout.width - 6)


def _written(values: Sequence[Mapping[str, Any]], **style: Any) -> Spec:
    """Texts in the middle of cells, each in its own colour."""
    encoding = {"x": at("x"), "y": at("y"), "text": {"field": "text", "type": "nominal"}, "color": told_by("colour")}
    return mark("text", values, encoding, align="center", baseline="middle", **style)


def _labels(grid: Grid, layout: Layout, palette: Palette) -> Iterator[Spec]:
    """The names of columns and rows, and at their corner which attribute goes which way."""
    heads = [
        {"x": left + layout.width / 2, "y": 10, "text": short_group(grid.across, name)}
        for name, left in layout.left.items()
    ]
    names = [
        {"x": NAMES - 8, "y": top + TALL / 2, "text": short_group(grid.down, name)} for name, top in layout.top.items()
    ]
    corner = [
        {"x": NAMES - 8, "y": 10, "text": f"{plain(grid.across)} →"},
        {"x": NAMES - 8, "y": 26, "text": f"{plain(grid.down)} ↓"},
    ]
    yield text_at(heads, palette.ink, align="center", limit=layout.width - 4)
    yield text_at(names, palette.ink, align="right", limit=NAMES - 10)
    yield text_at(corner, palette.quiet, align="right", fontSize=10, limit=NAMES - 6)


def _hatching(box: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """Parallel lines at 45 degrees within a box."""
    x, y, x2, y2 = box["x"], box["y"], box["x2"], box["y2"]
    wide, tall = x2 - x, y2 - y
    reach = HATCH / 2
    while reach < wide + tall:
        yield {
            "x": x + max(0.0, reach - tall),
            "y": y + min(reach, tall),
            "x2": x + min(reach, wide),
            "y2": y + max(0.0, reach - wide),
        }
        reach += HATCH
