"""Drawing a lineage from left to right: which box stands where, and how the lines between them run. Pure geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 208, 68
GAP_ACROSS, GAP_DOWN, MARGIN = 68, 20, 8
LETTERS = 27
"""Letters that fit one line of a box at the size that the style sheet sets."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One box. ``state`` gives the shape of its mark, ``word`` says it; one ``chain`` stays together in its column."""

    key: str
    kind: str
    title: str
    detail: str
    href: str = ""
    state: str = ""
    word: str = ""
    focal: bool = False
    chain: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One edge between two boxes, as the picture and the table show it.

    Attributes:
        relation: In words, read from the target: "built on".
        known: How it is known.
        broken: The approval that rested on it is void.
        beside: The two are peers: one came after the other in a system, or both are the same. It moves no box to the
            right, and is dotted.
    """

    source: str
    target: str
    relation: str
    known: str = ""
    digest: str = ""
    broken: bool = False
    beside: bool = False


@dataclass(frozen=True, kw_only=True)
class PlacedNode:
    """A box with the place of its upper left corner, in pixels."""

    node: Node
    x: int
    y: int

    @property
    def title(self) -> str:
        return shortened(self.node.title)

    @property
    def detail(self) -> str:
        return shortened(self.node.detail)

    @property
    def text_x(self) -> int:
        return self.x + 12

    @property
    def mark_y(self) -> int:
        return self.y + 45

    @property
    def word_x(self) -> int:
        """Where the word of the state begins, behind its mark."""
        return self.x + 32

    @property
    def lines_y(self) -> tuple[int, int, int]:
        """The base lines of title, detail and state."""
        return self.y + 21, self.y + 39, self.y + 57


@dataclass(frozen=True, kw_only=True)
class PlacedLine:
    line: Line
    path: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture: its size, boxes and lines."""

    width: int
    height: int
    nodes: tuple[PlacedNode, ...]
    lines: tuple[PlacedLine, ...]
    node_width: int = WIDTH
    node_height: int = HEIGHT


def shortened(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1].rstrip()}…"


def draw(nodes: Sequence[Node], lines: Sequence[Line]) -> Drawing:
    """Place every box one column to the right of what it comes from. Lines to unknown boxes are left out."""
    known = {node.key: node for node in nodes}
    lines = [line for line in lines if line.source in known and line.target in known]
    columns = _columns(nodes, lines)
    places: dict[str, tuple[int, int]] = {}
    tallest = max((len(column) for column in columns), default=0)
    for across, column in enumerate(columns):
        top = (tallest - len(column)) * (HEIGHT + GAP_DOWN) // 2
        for down, key in enumerate(_ordered(column, known, lines, places)):
            places[key] = (MARGIN + across * (WIDTH + GAP_ACROSS), MARGIN + top + down * (HEIGHT + GAP_DOWN))
    return Drawing(
        width=2 * MARGIN + len(columns) * (WIDTH + GAP_ACROSS) - GAP_ACROSS if columns else 0,
        height=2 * MARGIN + tallest * (HEIGHT + GAP_DOWN) - GAP_DOWN if columns else 0,
        nodes=tuple(PlacedNode(node=known[key], x=x, y=y) for key, (x, y) in places.items()),
        lines=tuple(PlacedLine(line=line, path=_path(places[line.source], places[line.target])) for line in lines),
    )


def _columns(nodes: Sequence[Node], lines: Sequence[Line]) -> list[list[str]]:
    """Keys by column: the longest way from a source; a source stands just before the first that it leads to."""
    column = {node.key: 0 for node in nodes}
    across = [line for line in lines if not line.beside and line.source != line.target]
    for _ in nodes:  # as many rounds as the longest way can have steps; a circle ends there too
        moved = [line for line in across if column[line.target] <= column[line.source] < len(nodes)]
        if not moved:
            break
        for line in moved:
            column[line.target] = column[line.source] + 1
    ends = {line.target for line in across}
    for node in nodes:
        following = [column[line.target] for line in across if line.source == node.key]
        if following and node.key not in ends:
            column[node.key] = max(0, min(following) - 1)
    used = sorted(set(column.values()))
    return [[node.key for node in nodes if column[node.key] == place] for place in used]


def _ordered(
    column: list[str], known: dict[str, Node], lines: Sequence[Line], places: dict[str, tuple[int, int]]
) -> list[str]:
    """A column from top to bottom: beside what the boxes come from, versions of one thing below each other."""
    heights: dict[str, float] = {}
    for key in column:
        before = [places[line.source][1] for line in lines if line.target == key and line.source in places]
        heights[key] = sum(before) / len(before) if before else 0.0
    chains: dict[str, list[str]] = {}
    for key in column:
        chains.setdefault(known[key].chain or key, []).append(key)
    groups = sorted(chains.values(), key=lambda group: sum(heights[key] for key in group) / len(group))
    return [key for group in groups for key in group]


def _path(source: tuple[int, int], target: tuple[int, int]) -> str:
    (x, y), (to_x, to_y) = source, target
    if x == to_x and abs(to_y - y) == HEIGHT + GAP_DOWN:  # one right below the other
        start, end = (y + HEIGHT, to_y) if to_y > y else (y, to_y + HEIGHT)
        middle = x + WIDTH // 2
        return f"M{middle} {start}L{middle} {end}"
    if x == to_x:  # around what stands between them
        side, out = x + WIDTH, x + WIDTH + GAP_ACROSS // 2
        from_y, end_y = y + HEIGHT // 2, to_y + HEIGHT // 2
        return f"M{side} {from_y}C{out} {from_y} {out} {end_y} {side} {end_y}"
    start_x, end_x = (x + WIDTH, to_x) if to_x > x else (x, to_x + WIDTH)
    start_y, end_y = y + HEIGHT // 2, to_y + HEIGHT // 2
    bend = (start_x + end_x) // 2
    return f"M{start_x} {start_y}C{bend} {start_y} {bend} {end_y} {end_x} {end_y}"
