"""Columns that a higher floor adds to a list of a lower floor, without the lower floor knowing them.

As a panel adds a section to a page, a column adds a cell to each row of a list. It is asked once for all rows of the
page, so that it costs one query however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.models import User
from core.pages.lists import Column, Order


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in one cell: a template and its context."""

    template: str
    context: dict[str, Any] = field(default_factory=dict)


CellMaker = Callable[[User, Sequence[Any]], Mapping[int, Cell]]


@dataclass(frozen=True, kw_only=True)
class PageColumn:
    """A column of a list.

    Attributes:
        cells: Reader and the rows of a page -> cell by the key of the row; rows without one have nothing to show.
        order: Gives what rows are sorted by, where the list can be sorted by it.
    """

    key: str
    title: str
    rank: int
    cells: CellMaker
    order: Callable[[], tuple[Order, ...]] | None
    down: bool
    numeric: bool

    @property
    def head(self) -> Column:
        order = self.order() if self.order else ()
        key = self.key if order else ""
        return Column(title=self.title, key=key, order=order, down=self.down, numeric=self.numeric)


_columns: dict[str, list[PageColumn]] = {}


def page_column(
    place: str,
    *,
    key: str,
    title: str,
    rank: int = 50,
    order: Callable[[], tuple[Order, ...]] | None = None,
    down: bool = False,
    numeric: bool = False,
) -> Callable[[CellMaker], CellMaker]:
    """Decorator: add this column to the list at ``place``; the lower its rank, the further left.

    Raises:
        ValueError: the place has a column of this key already.
    """

    def add(maker: CellMaker) -> CellMaker:
        standing = _columns.setdefault(place, [])
        if any(item.key == key for item in standing):
            raise ValueError(f"The list {place} has a column {key} already")
        standing.append(
            PageColumn(key=key, title=title, rank=rank, cells=maker, order=order, down=down, numeric=numeric)
        )
        return maker

    return add


def columns_of(place: str) -> list[PageColumn]:
    """The columns that were added to a list, from left to right."""
    return sorted(_columns.get(place, []), key=lambda column: column.rank)


def cells_for(
    columns: Sequence[PageColumn], user: User, rows: Sequence[Any]
) -> dict[int, list[tuple[PageColumn, Any]]]:
    """For each row by its key: each column with its cell, None where it has nothing to show."""
    found = [(column, column.cells(user, rows) if rows else {}) for column in columns]
    return {row.pk: [(column, cells.get(row.pk)) for column, cells in found] for row in rows}
