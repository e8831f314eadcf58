"""From drawn columns back to linked studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_columns import THERE, Variable
from synthetic.generators.kinds.tables_drawing import Drawn
from synthetic.generators.kinds.tables_model import Model
from synthetic.generators.kinds.tables_plans import part_name
from synthetic.generators.kinds.tables_reading import GAP, IMAGE, START, TIMED, YEAR
from synthetic.generators.parts import Wish
from synthetic.generators.plans import PARTS, Plans
from synthetic.generators.studies import LinkedStudies, Objects, Readings

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def studies_of(model: Model, drawn: Drawn, rng: np.random.Generator) -> LinkedStudies:
    """Studies of drawn patients, under keys by number."""
    made = _Writing(model=model, drawn=drawn)
    n, layout = len(made.owner), model.layout
    fractions = rng.random(len(drawn.visits))
    names = [f"P{number + 1:06d}" for number in range(len(drawn.visits))]
    ids = np.array(names, dtype=object)[made.owner]
    plans = made.plans()
    return LinkedStudies(
        patient_ids=ids,
        study_ids=np.array([f"{name}-{visit + 1}" for name, visit in zip(ids, made.visit.tolist(), strict=True)],
                           dtype=object),
        times=made.times(),
        attributes={entry["name"]: made.attribute(entry, fractions) for entry in layout["attributes"]},
        labels={entry["name"]: made.label(entry, plans) for entry in layout["labels"]},
        plans=plans,
        series={name: made.series(name) for name in layout["series"]},
        texts={name: made.texts(name) for name in layout["texts"]},
        has_image=made.mask(IMAGE) if n else np.zeros(0, dtype=np.bool_),
        units=dict(layout["units"]),
    )  # fmt: skip


def fulfils(studies: LinkedStudies, wish: Wish) -> Bools:
    """Whether each study has the attributes that are wished: [n]."""
    found = np.ones(len(studies), dtype=np.bool_)
    for name, wanted in wish.attributes.items():
        found &= np.array([value == wanted for value in studies.attributes[name]], dtype=np.bool_)
    for sign, limits in ((1, wish.least), (-1, wish.most)):
        for name, limit in limits.items():
            found &= np.array(
                [value is not None and sign * value >= sign * limit for value in studies.attributes[name]],
                dtype=np.bool_,
            )  # fmt: skip
    return found


class _Writing:
    """One set of drawn patients on its way to studies."""

    def __init__(self, *, model: Model, drawn: Drawn) -> None:
        self.model, self.drawn = model, drawn
        self.owner = np.repeat(np.arange(len(drawn.visits)), drawn.visits)
        starts = np.cumsum(drawn.visits) - drawn.visits
        self.visit = np.arange(len(self.owner)) - np.repeat(starts, drawn.visits)
        self.variables: Mapping[str, Variable] = {
            item.variable.name: item.variable for item in (*model.patient, *model.study)
        }

    def column(self, name: str) -> Floats | None:
        """What was drawn of a column, by study; None where it is none."""
        if name in self.drawn.study:
            return self.drawn.study[name]
        return self.drawn.patient[name][self.owner] if name in self.drawn.patient else None

    def values(self, name: str, otherwise: Any = None) -> Objects:
        """Values of a column by study; None where it is not told."""
        seen = self.column(name)
        made = np.full(len(self.owner), None, dtype=object)
        if seen is None:
            made[:] = self.model.layout["fixed"].get(name, otherwise)
            return made
        variable = self.variables[name]
        known = variable.ranked or variable.values
        if known:
            table = np.empty(len(known) + 1, dtype=object)
            table[: len(known)] = known
            table[-1] = None
            made[:] = table[np.where(np.isnan(seen), -1, seen).astype(np.int64)]
            return made
        assert variable.numbers is not None
        return self.numbers(seen, variable.numbers.whole)

    def numbers(self, seen: Floats, whole: bool) -> Objects:
        made = np.full(len(seen), None, dtype=object)
        told = ~np.isnan(seen)
        made[told] = np.rint(seen[told]).astype(np.int64).tolist() if whole else seen[told].tolist()
        return made

    def mask(self, name: str) -> Bools:
        found: Bools = np.equal(self.values(name, False), True).astype(np.bool_)
        return found

    def texts(self, name: str) -> Objects:
        found = np.full(len(self.owner), None, dtype=object)
        found[self.mask(f":text {name}")] = ""
        return found

    def risen(self, start: str, step: str) -> Floats:
        """A number that starts and rises from study to study."""
        first = self.column(start)
        assert first is not None
        steps = self.column(step)
        added = np.zeros(len(self.owner)) if steps is None else np.where(self.visit > 0, np.nan_to_num(steps), 0.0)
        total = np.cumsum(added)
        begin = np.flatnonzero(self.visit == 0)
        found: Floats = first + total - total[begin][self.owner]
        return found

    def times(self) -> npt.NDArray[np.datetime64]:
        if not self.model.layout["times"]:
            return np.full(len(self.owner), np.datetime64("NaT", "s"))
        times = np.rint(self.risen(START, GAP)).astype(np.int64).astype("datetime64[s]")
        timed = self.values(TIMED, THERE) == THERE
        return np.where(timed, times, np.datetime64("NaT", "s"))

    def attribute(self, entry: Mapping[str, Any], fractions: Floats) -> Objects:
        name = entry["name"]
        if entry["how"] not in ("clock", "steps"):
            return self.values(name)
        if entry["how"] == "steps":
            seen = self.risen(f":start {name}", f":step {name}")
        else:
            start = self.column(f":start {name}")
            assert start is not None
            passed = self.risen(START, GAP)
            years = (passed - passed[self.visit == 0][self.owner]) / YEAR
            # A whole number of years was somewhere between two birthdays at the first study.
            seen = np.floor(start + fractions[self.owner] + years) if entry["whole"] else start + years
        made = self.numbers(seen, entry["whole"])
        made[self.values(f"{name}?", THERE) != THERE] = None
        return made

    def plans(self) -> Plans:
        findings = tuple(self.model.layout["findings"])
        plans = Plans.empty(findings, len(self.owner))
        for place, name in enumerate(findings):
            if not self.model.layout["plans"][name]["known"]:
                continue
            plans.present[:, place] = self.codes(f":plan {name}")
            there = plans.present[:, place] == 1
            for part in PARTS:
                plans.part(part)[there, place] = self.codes(part_name(part, name))[there]
        return plans

    def codes(self, name: str) -> npt.NDArray[np.int8]:
        values = self.values(name, -1)
        return np.array([-1 if value is None else value for value in values], dtype=np.int8)

    def label(self, entry: Mapping[str, Any], plans: Plans) -> npt.NDArray[np.int8]:
        name = entry["name"]
        if entry["plan"]:
            found: npt.NDArray[np.int8] = plans.present[:, plans.findings.index(name)].copy()
            return found
        return self.codes(f":label {name}")

    def series(self, name: str) -> Readings:
        there = self.mask(f":series {name}")
        lengths = self.column(f":length {name}")
        if lengths is None:
            lengths = np.full(len(there), float(self.model.layout["fixed"].get(f":length {name}", 0)))
        return [np.full((int(t), 2), np.nan) if given else None for given, t in zip(there, np.nan_to_num(lengths),
                strict=True)]  # fmt: skip
