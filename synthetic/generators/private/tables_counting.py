"""Tables of a layout, counted over bounded patients in whole units, with noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.conditions import numbers_of
from synthetic.generators.plans import PARTS, SIDES, SIZES, ZONES
from synthetic.generators.private.accounting import Mechanism
from synthetic.generators.private.bounded import Bounded, Ints
from synthetic.generators.private.domain import Attribute
from synthetic.generators.private.noise import Noise
from synthetic.generators.private.tables_layout import FIRSTS, GAPS, Layout
from synthetic.generators.studies import Objects

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What patients count in one table: cells with the patient that they belong to, and whole weights."""

    cell: Ints
    owner: Ints
    weight: Ints


def codes_of(attribute: Attribute, values: Objects | None, n: int) -> Ints:
    """Place of each value among categories or bins; of what is missing, or named by no domain, the number of these.

    Numbers beyond a bound count as the bound.
    """
    missing = attribute.size
    if attribute.values:
        places = {value: place for place, value in enumerate(attribute.values)}
        given = [None] * n if values is None else values.tolist()
        return np.array([_place(places, value, missing) for value in given], dtype=np.int64)
    numbers = np.clip(numbers_of(values, n), attribute.low, attribute.high)
    if attribute.whole:
        numbers = np.floor(numbers)
    found = np.searchsorted(np.array(attribute.edges()[1:-1]), np.nan_to_num(numbers), side="right")
    return np.where(np.isnan(numbers), missing, found).astype(np.int64)


def _place(places: Mapping[str | int, int], value: object, missing: int) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return missing
    return places.get(value, missing)


def counted(layout: Layout, given: Bounded) -> dict[str, Cells]:
    """What each patient counts in each table. In none more than the layout's units."""
    found = dict(_Counting(layout, given).all())
    patients, units = len(given.visits), layout.units
    for name, cells in found.items():
        if len(cells.owner) and np.bincount(cells.owner, cells.weight, minlength=patients).max() > units:
            raise ArithmeticError(f"a patient counts more than {units} in the table '{name}'")
    return found


def noisy(layout: Layout, given: Bounded, allowed: Mechanism, noise: Noise) -> dict[str, Floats]:
    """All tables in units, each cell with noise: one Gaussian mechanism.

    A patient changes each of T tables by at most ``units`` in L1 and so in L2 norm, all together by
    ``units sqrt(T)``: this is the bound that the noise is a multiple of.
    """
    cells, tables = counted(layout, given), layout.tables()
    spread = allowed.noise * layout.units * float(np.sqrt(len(tables)))
    made = {}
    for table in tables:
        own = cells[table.name]
        exact = np.zeros(table.cells, dtype=np.int64)
        np.add.at(exact, own.cell, own.weight)
        made[table.name] = (exact + noise.whole(table.cells, spread)).reshape(table.shape)
    return made


class _Counting:
    """One set of patients on its way into tables."""

    def __init__(self, layout: Layout, given: Bounded) -> None:
        self.layout, self.given, self.studies = layout, given, given.studies
        self.first = np.flatnonzero(given.visit == 0)
        self.later = np.flatnonzero(given.visit > 0)
        self.share = layout.units // np.maximum(1, given.visits)

    def all(self) -> Iterator[tuple[str, Cells]]:
        layout = self.layout
        yield "visits", self._patients(self.given.visits - 1)
        for name in layout.of_patient():
            yield f"column {name}", self._patients(self._cell(name)[self.first])
        for name in layout.of_study():
            yield f"column {name}", self._studies(self._cell(name), np.arange(len(self.studies)))
        for name in layout.findings:
            yield from self._finding(name)
        for name in layout.series:
            yield f"series {name}", self._everywhere(self._lengths(name))
        for name in layout.texts:
            there = [bool(text and text.strip()) for text in self.studies.texts[name].tolist()]
            yield f"text {name}", self._everywhere(np.array(there, dtype=np.int64))
        if layout.image:
            yield "image", self._everywhere(self.studies.has_image.astype(np.int64))
        if layout.times:
            yield from self._times()

    def _finding(self, name: str) -> Iterator[tuple[str, Cells]]:
        states = self._codes(name)
        if self.layout.domain.visits > 1:
            yield f"change {name}", self._studies(3 * states[self.later - 1] + states[self.later], self.later)
        rows = np.flatnonzero(states == 1)
        plans, column = self.studies.plans, self.layout.domain.findings.index(name)
        side, zone, size = (plans.part(part)[rows, column].astype(np.int64) + 1 for part in PARTS)
        yield f"place {name}", self._studies((len(ZONES) + 1) * side + zone, rows)
        yield f"size {name}", self._studies(size, rows)

    def _times(self) -> Iterator[tuple[str, Cells]]:
        seconds = self.studies.times.astype("datetime64[s]")
        assert self.layout.domain.times is not None
        low, high = (np.datetime64(day, "s").astype(np.int64) for day in self.layout.domain.times)
        known = np.where(np.isnat(seconds), low, seconds.astype(np.int64))
        width = (high - low) / FIRSTS
        yield "first", self._patients(np.clip((known[self.first] - low) // width, 0, FIRSTS - 1).astype(np.int64))
        if self.layout.domain.visits > 1:
            gaps = np.maximum(0, known[self.later] - known[self.later - 1])
            place = np.minimum(np.searchsorted(np.array(GAPS), gaps), len(GAPS) - 1)
            yield "gap", self._studies(place.astype(np.int64), self.later)

    def _lengths(self, name: str) -> Ints:
        """0 without readings; else one more than the bin of their number."""
        most = self.layout.domain.series[name].readings
        ends = np.array(self.layout.lengths(name))
        counts = [0 if item is None else min(most, int(np.isfinite(item).all(axis=1).sum()))
                  for item in self.studies.series[name]]  # fmt: skip
        number = np.array(counts, dtype=np.int64)
        return np.where(number > 0, 1 + np.searchsorted(ends, number), 0).astype(np.int64)

    def _codes(self, name: str) -> Ints:
        if name in self.layout.findings:
            told = self.studies.plans.present[:, self.layout.domain.findings.index(name)].astype(np.int64)
            return np.where(told < 0, 2, told)
        return codes_of(self.layout.domain.attributes[name], self.studies.attributes.get(name), len(self.studies))

    def _cell(self, name: str) -> Ints:
        own, given = self._codes(name), self.layout.parent(name)
        if given is None:
            return own
        above = self._codes(given)
        if given not in self.layout.findings:  # of the patient: what the first study says
            above = above[self.first][self.given.owner]
        return self.layout.size(name) * above + own

    def _patients(self, cell: Ints) -> Cells:
        n = len(cell)
        return Cells(cell=cell, owner=np.arange(n), weight=np.full(n, self.layout.units, dtype=np.int64))

    def _studies(self, cell: Ints, rows: Ints) -> Cells:
        owner = self.given.owner[rows]
        return Cells(cell=cell, owner=owner, weight=self.share[owner])

    def _everywhere(self, cell: Ints) -> Cells:
        return self._studies(cell, np.arange(len(self.studies)))


def patients_of(layout: Layout, tables: Mapping[str, Floats]) -> float:
    """How many patients there are, from totals of noisy tables: one of few cells counts more. At least 1."""
    totals = [(tables[table.name].sum() / layout.units, 1 / table.cells) for table in layout.tables() if table.whole]
    return max(1.0, float(np.average([total for total, _ in totals], weights=[weight for _, weight in totals])))


def projected(values: Floats, total: float) -> Floats:
    """The nearest table without negative cells and of this total (Euclidean).

    Source: Duchi et al. (2008), Efficient projections onto the l1-ball, ICML.
    """
    flat = values.ravel()
    falling = np.sort(flat)[::-1]
    over = (np.cumsum(falling) - total) / np.arange(1, len(flat) + 1)
    cut = over[np.flatnonzero(falling > over)[-1]]
    found: Floats = np.maximum(values - cut, 0.0)
    return found


PLACES = (len(SIDES) + 1, len(ZONES) + 1)
SIZE_CODES = len(SIZES) + 1
