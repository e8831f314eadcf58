"""Patients drawn from noisy tables: a forest of columns, states that change from study to study, plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.plans import Plans
from synthetic.generators.private.domain import Attribute
from synthetic.generators.private.tables_counting import PLACES, Floats, patients_of, projected
from synthetic.generators.private.tables_layout import FIRSTS, GAPS, Layout
from synthetic.generators.studies import LinkedStudies, Objects, Readings

Ints = npt.NDArray[np.int64]
SOONEST = 600
"""Seconds between two studies at least."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of attributes.

    Attributes:
        chances: Attribute -> for each of its codes, the share of it that is asked for.
        least, most: Attribute -> bounds of its numbers.
    """

    chances: Mapping[str, Floats] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)


class Chances:
    """Chances that follow from noisy tables.

    Attributes:
        patients: How many there were, about.
    """

    def __init__(self, layout: Layout, tables: Mapping[str, Floats], spread: float) -> None:
        """``spread``: standard deviation of the noise of a cell, in units."""
        self.layout, self._tables, self._weight = layout, tables, spread / layout.units
        self.patients = patients_of(layout, tables)

    def plain(self, name: str) -> Floats:
        """Chances of a table as a whole, flat."""
        table = self._tables[name] / self.layout.units
        found = projected(table.ravel(), max(1.0, min(float(table.sum()), self.patients)))
        chances: Floats = found / found.sum()
        return chances

    def given(self, name: str) -> Floats:
        """[parents, values]: chances of values by what they depend on. A row whose count drowns in noise is drawn
        towards the chances of all."""
        table = self._tables[name] / self.layout.units
        total = max(1.0, min(float(table.sum()), self.patients))
        counts = projected(table, total)
        rows = counts + self._weight * self.shares(name)
        found: Floats = rows / rows.sum(axis=1, keepdims=True)
        return found

    def shares(self, name: str) -> Floats:
        """Chances of values, whatever they depend on."""
        table = self._tables[name] / self.layout.units
        whole = projected(table.sum(axis=0), max(1.0, min(float(table.sum()), self.patients)))
        found: Floats = whole / whole.sum()
        return found

    @cached_property
    def columns(self) -> dict[str, Floats]:
        names = (*self.layout.of_patient(), *self.layout.of_study())
        return {name: self.given(f"column {name}") for name in names}


def _picked(chances: Floats, rng: np.random.Generator) -> Ints:
    """A code for each row of chances [n, k], which need not sum to one."""
    ends = chances.cumsum(axis=1)
    below = (ends <= (rng.random(len(ends)) * ends[:, -1])[:, None]).sum(axis=1)
    found: Ints = np.minimum(below, chances.shape[1] - 1).astype(np.int64)
    return found


@dataclass(frozen=True, kw_only=True)
class Draft:
    """n patients: visits [n], codes of columns by patient (findings: of the first study) and by study."""

    visits: Ints
    owner: Ints
    visit: Ints
    patient: dict[str, Ints]
    study: dict[str, Ints]


def possible(chances: Chances, asked: Asked) -> bool:
    """Whether any patient can have what is asked of attributes of patients."""
    _, total = _messages(chances, asked)
    return total > 0


def _messages(chances: Chances, asked: Asked) -> tuple[dict[str, Floats], float]:
    """For each column of patients, the chance of what is asked of it and below it, by its value; and the chance that a
    patient has all."""
    layout, total = chances.layout, 1.0
    found: dict[str, Floats] = {}
    for name in reversed(layout.of_patient()):
        own = asked.chances.get(name, np.ones(layout.size(name))).copy()
        for child in layout.of_patient():
            if layout.parent(child) == name:
                own *= chances.columns[child] @ found[child]
        found[name] = own
        if layout.parent(name) is None:
            total *= float(chances.columns[name][0] @ own)
    return found, total


def draft(chances: Chances, asked: Asked, n: int, rng: np.random.Generator) -> Draft:
    """Patients whose own attributes are as asked; those of studies are only drawn, and may be otherwise."""
    layout = chances.layout
    messages, _ = _messages(chances, asked)
    visits = 1 + rng.choice(layout.domain.visits, n, p=chances.plain("visits"))
    owner = np.repeat(np.arange(n), visits)
    visit = np.arange(len(owner)) - np.repeat(np.cumsum(visits) - visits, visits)
    patient: dict[str, Ints] = {}
    for name in layout.of_patient():
        above = layout.parent(name)
        rows = patient[above] if above else np.zeros(n, dtype=np.int64)
        patient[name] = _picked(chances.columns[name][rows] * messages[name], rng)
    study: dict[str, Ints] = {}
    for name in layout.of_patient():
        if name in layout.findings:
            above = layout.parent(name)
            told = None if above is None else study[above] if above in study else patient[above][owner]
            study[name] = _states(chances, name, patient[name], told, owner, visit, rng)
    for name in layout.of_study():
        above = layout.parent(name)
        rows = np.zeros(len(owner), dtype=np.int64)
        if above:
            rows = study[above] if above in study else patient[above][owner]
        study[name] = _picked(chances.columns[name][rows], rng)
    return Draft(visits=visits, owner=owner, visit=visit, patient=patient, study=study)


def _states(
    chances: Chances, name: str, first: Ints, above: Ints | None, owner: Ints, visit: Ints, rng: np.random.Generator
) -> Ints:
    """States of a finding in all studies. After the first study a state follows the one before it, and what it depends
    on: ``P(s | before) P(s | above) / P(s)``, as if both told of it apart from each other."""
    found = first[owner]
    if chances.layout.domain.visits > 1:
        change, shares = chances.given(f"change {name}"), chances.columns[name]
        more = shares / np.maximum(chances.shares(f"column {name}"), 1e-9)
        for number in range(1, int(visit.max(initial=0)) + 1):
            rows = np.flatnonzero(visit == number)
            weights = change[found[rows - 1]] if above is None else change[found[rows - 1]] * more[above[rows]]
            found[rows] = _picked(weights, rng)
    return found


def studies_of(chances: Chances, asked: Asked, drawn: Draft, rng: np.random.Generator) -> LinkedStudies:
    """Studies of drawn patients, under keys by number."""
    layout, n = chances.layout, len(drawn.owner)
    names = [f"P{number + 1:06d}" for number in range(len(drawn.visits))]
    ids = np.array(names, dtype=object)[drawn.owner]
    keys = [f"{name}-{visit + 1}" for name, visit in zip(ids, drawn.visit.tolist(), strict=True)]
    plans = _plans(chances, drawn, rng)
    present = dict(zip(layout.findings, plans.present.T, strict=True))
    return LinkedStudies(
        patient_ids=ids,
        study_ids=np.array(keys, dtype=object),
        times=_times(chances, drawn, rng),
        attributes={name: _values(layout, asked, name, drawn, rng) for name in layout.attributes},
        labels={name: present[name].copy() for name in layout.findings},
        plans=plans,
        series={name: _lengths(chances, name, n, rng) for name in layout.series},
        texts={name: _texts(chances, name, n, rng) for name in layout.texts},
        has_image=_there(chances, "image", n, rng) if layout.image else np.zeros(n, dtype=np.bool_),
    )


def _there(chances: Chances, name: str, n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = rng.random(n) < chances.plain(name)[1]
    return found


def _texts(chances: Chances, name: str, n: int, rng: np.random.Generator) -> Objects:
    found = np.full(n, None, dtype=object)
    found[_there(chances, f"text {name}", n, rng)] = ""
    return found


def _lengths(chances: Chances, name: str, n: int, rng: np.random.Generator) -> Readings:
    ends = np.array([0, *chances.layout.lengths(name)])
    place = rng.choice(len(ends), n, p=chances.plain(f"series {name}"))
    low = np.where(place > 0, ends[np.maximum(place - 1, 0)] + 1, 0)
    counts = rng.integers(low, ends[place] + 1)
    return [np.full((count, 2), np.nan) if count else None for count in counts.tolist()]


def _plans(chances: Chances, drawn: Draft, rng: np.random.Generator) -> Plans:
    """Where a finding lies stays so in all studies of a patient; its size is drawn for each."""
    layout = chances.layout
    plans = Plans.empty(layout.findings, len(drawn.owner))
    for column, name in enumerate(layout.findings):
        state = drawn.study[name]
        plans.present[:, column] = np.where(state == 2, -1, state)
        there = state == 1
        place = rng.choice(PLACES[0] * PLACES[1], len(drawn.visits), p=chances.plain(f"place {name}"))[drawn.owner]
        size = rng.choice(len(chances.plain(f"size {name}")), len(state), p=chances.plain(f"size {name}"))
        plans.side[there, column] = (place // PLACES[1] - 1)[there]
        plans.zone[there, column] = (place % PLACES[1] - 1)[there]
        plans.size[there, column] = (size - 1)[there]
    return plans


def _times(chances: Chances, drawn: Draft, rng: np.random.Generator) -> npt.NDArray[np.datetime64]:
    n, layout = len(drawn.owner), chances.layout
    if not layout.times:
        return np.full(n, np.datetime64("NaT", "s"))
    assert layout.domain.times is not None
    low, high = (int(np.datetime64(day, "s").astype(np.int64)) for day in layout.domain.times)
    place = rng.choice(FIRSTS, len(drawn.visits), p=chances.plain("first")) + rng.random(len(drawn.visits))
    start = low + place * (high - low) / FIRSTS
    passed = np.zeros(n)
    if layout.domain.visits > 1:
        ends = np.log(np.array([SOONEST, *GAPS], dtype=np.float64))
        at = rng.choice(len(GAPS), n, p=chances.plain("gap"))
        gaps = np.exp(ends[at] + rng.random(n) * (ends[at + 1] - ends[at]))
        total = np.cumsum(np.where(drawn.visit > 0, gaps, 0.0))
        passed = total - total[np.flatnonzero(drawn.visit == 0)][drawn.owner]
    return np.rint(start[drawn.owner] + passed).astype(np.int64).astype("datetime64[s]")


def _values(layout: Layout, asked: Asked, name: str, drawn: Draft, rng: np.random.Generator) -> Objects:
    attribute = layout.domain.attributes[name]
    of_patient = name in drawn.patient
    codes = drawn.patient[name] if of_patient else drawn.study[name]
    limits = (asked.least.get(name, -np.inf), asked.most.get(name, np.inf))
    values = _categories(attribute, codes) if attribute.values else _numbers(attribute, codes, limits, rng)
    return values[drawn.owner] if of_patient else values


def _categories(attribute: Attribute, codes: Ints) -> Objects:
    table = np.empty(attribute.size + 1, dtype=object)
    table[:] = [*attribute.values, None]
    found: Objects = table[codes]
    return found


def _numbers(attribute: Attribute, codes: Ints, limits: tuple[float, float], rng: np.random.Generator) -> Objects:
    """Numbers spread evenly over what of their bin is within limits."""
    found = np.full(len(codes), None, dtype=object)
    for place in range(attribute.size):
        rows = np.flatnonzero(codes == place)
        low, high = inside(attribute, place, limits)
        if low > high:  # of a study that will be refused
            low, high = inside(attribute, place, (-np.inf, np.inf))
        if attribute.whole:
            found[rows] = rng.integers(int(low), int(high) + 1, len(rows)).tolist()
        else:
            found[rows] = np.round(rng.uniform(low, high, len(rows)), 4).tolist()
    return found


def inside(attribute: Attribute, place: int, limits: tuple[float, float]) -> tuple[float, float]:
    """Ends, both included, of what of a bin is within limits; the first above the second where nothing is."""
    low, high = attribute.edges()[place], attribute.edges()[place + 1]
    if attribute.whole:
        last = high if place + 1 == attribute.size else high - 1
        return float(max(low, np.ceil(limits[0]))), float(min(last, np.floor(limits[1])))
    return float(max(low, limits[0])), float(min(high, limits[1]))


def share_inside(attribute: Attribute, place: int, limits: tuple[float, float]) -> float:
    """Share of a bin that is within limits. A single point of numbers that are not whole has the share of its bin."""
    low, high = inside(attribute, place, limits)
    first, last = inside(attribute, place, (-np.inf, np.inf))
    if low > high:
        return 0.0
    if attribute.whole:
        return (high - low + 1) / (last - first + 1)
    return 1.0 if limits[0] == limits[1] else (high - low) / (last - first)


def matches(plans: Plans, wished: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Which studies have all findings that are wished: [n]."""
    from synthetic.generators.plans import NONE, PARTS, PRESENT

    found = np.ones(len(plans), dtype=np.bool_)
    for name, words in wished.items():
        column = plans.findings.index(name)
        found &= plans.present[:, column] == (0 if words == NONE else 1)
        for word in [] if words in (NONE, PRESENT) else words.split():
            part: Any = next(part for part, known in PARTS.items() if word in known)
            found &= plans.part(part)[:, column] == PARTS[part].index(word)
    return found
