"""From linked studies to the columns that are learnt: of patients, and of studies one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import CohortError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.kinds.tables_columns import (
    Column,
    Findings,
    Floats,
    Ints,
    Reader,
    is_number,
    is_whole,
    numbers_of,
    plain,
)
from synthetic.generators.kinds.tables_plans import plan_columns
from synthetic.generators.kinds.tables_steady import STEADY, Split, split_steady
from synthetic.generators.studies import LinkedStudies

MOST_VISITS = 16
"""Studies of a patient that are learnt from, the first ones."""
YEAR = 365.25 * 86_400
MOST_LATENTS = 400
VISITS, START, GAP, TIMED, IMAGE = ":visits", ":start", ":gap", ":timed", ":image"


@dataclass(frozen=True, kw_only=True)
class Read:
    """What is learnt from.

    Attributes:
        patient: Columns over patients that form groups; ``steady``: further ones that some patients are told;
            ``study``: over studies.
        owner: Patient of each study; ``before``: the study before it, -1 for a first one.
        layout: How studies are put together again, as JSON.
    """

    patient: list[Column]
    steady: list[Column]
    study: list[Column]
    owner: Ints
    before: Ints
    layout: dict[str, Any]
    findings: Findings


def read_columns(studies: LinkedStudies, *, rare_below: int, steady: bool = True) -> Read:
    """Columns of studies; what cannot be learnt is left out by name.

    Args:
        steady: Whether columns of studies that stay as they are within patients become columns of the patients.

    Raises:
        CohortError: there is nothing to learn, or too many columns.
    """
    visits = studies.visits()
    cut = int((visits == MOST_VISITS).sum())
    studies = studies.rows(visits < MOST_VISITS)
    visits = studies.visits()
    owner: Ints = (np.cumsum(visits == 0) - 1).astype(np.int64)
    before: Ints = np.where(visits == 0, -1, np.arange(len(studies)) - 1)
    work = _Reading(studies=studies, owner=owner, before=before, rare_below=rare_below)
    work.counts()
    work.times()
    for name, values in studies.attributes.items():
        work.attribute(name, [plain(value) for value in values.tolist()])
    work.labels()
    work.presence()
    work.check()
    work.layout |= {"visits_cut": cut, "units": dict(sorted(studies.units.items()))}
    split = split_steady(work.study, owner, rare_below=rare_below) if steady else Split.none(work.study)
    return Read(
        patient=work.patient + split.grouping, steady=split.steady, study=split.changing, owner=owner, before=before,
        layout=work.layout, findings=work.findings,
    )  # fmt: skip


@dataclass(kw_only=True)
class _Reading:
    """One reading of studies into columns."""

    studies: LinkedStudies
    owner: Ints
    before: Ints
    rare_below: int

    def __post_init__(self) -> None:
        self.findings = Findings()
        self.patient: list[Column] = []
        self.study: list[Column] = []
        self.layout: dict[str, Any] = {"fixed": {}, "attributes": [], "labels": [], "plans": {}}
        self.first = self.before < 0
        patients = np.arange(int(self.first.sum()), dtype=np.int64)
        self.of_patients = Reader(patients, self.rare_below, self.findings)
        self.of_studies = Reader(self.owner, self.rare_below, self.findings)
        self.seconds: Floats | None = None

    def take(self, name: str, found: Any, into: list[Column]) -> bool:
        """Keep columns, or the one value that all have; False where it was left out."""
        if isinstance(found, tuple):
            self.layout["fixed"][name] = found[0]
        elif found is not None:
            into.extend(found)
        return found is not None

    def counts(self) -> None:
        visits = np.bincount(self.owner).astype(np.float64)
        if len(np.unique(visits)) == 1:
            self.layout["fixed"][VISITS] = int(visits[0])
        else:
            self.patient.append(self.of_patients.number(VISITS, visits, whole=True))

    def times(self) -> None:
        times = self.studies.times.astype("datetime64[s]")
        missing = np.isnat(times)
        holders = len(np.unique(self.owner[~missing]))
        self.layout["times"] = holders >= self.rare_below
        if holders < self.rare_below:
            if holders:
                self.findings.left_out["study_time"] = f"fewer than {self.rare_below} patients have one"
            return
        seconds = np.where(missing, np.nan, times.astype(np.int64).astype(np.float64))
        self.seconds = seconds
        if missing.any():
            found = self.of_studies.choice(TIMED, ["missing" if gone else "there" for gone in missing])
            self.take(TIMED, found, self.study)
        self.rising(START, GAP, seconds, whole=True)

    def rising(self, start: str, step: str, values: Floats, *, whole: bool) -> None:
        """A column that goes up from study to study: where it starts, and the steps."""
        self.starts(start, values, whole=whole)
        steps = np.where(self.first, np.nan, values - values[self.before])
        holders = len(np.unique(self.owner[~np.isnan(steps)]))
        if holders >= self.rare_below:
            self.study.append(self.of_studies.number(step, np.maximum(steps, 0), whole=whole))
        else:
            self.layout["fixed"][step] = 0

    def starts(self, name: str, values: Floats, *, whole: bool) -> None:
        """Where a column that rises starts: what is told first.

        Every patient that is drawn starts somewhere. So one of whom it is never told starts as another does, by lot:
        who is told it is kept, and that it is not told goes with no value.
        """
        told = np.flatnonzero(~np.isnan(values))[::-1]
        first = np.full(int(self.first.sum()), np.nan)
        first[self.owner[told]] = values[told]
        column = self.of_patients.number(name, first, whole=whole)
        lacking = np.isnan(first)
        lots = generator(0, "starts", name).integers(0, (~lacking).sum(), lacking.sum())
        seen = first.copy()
        seen[lacking] = first[~lacking][lots]
        self.patient.append(Column(variable=column.variable, seen=seen))

    def attribute(self, name: str, values: list[Any]) -> None:
        per_patient = self.steady(values)
        how = "patient" if per_patient else self.rises(values)
        entry: dict[str, Any] = {"name": name, "how": how or "study"}
        if how in ("clock", "steps"):
            numbers = numbers_of(values)
            known = ~np.isnan(numbers)
            if self.few(name, numbers):
                return
            entry |= {"whole": is_whole(values)}
            if not known.all():
                there = self.of_studies.choice(f"{name}?", ["there" if told else "missing" for told in known])
                if not self.take(f"{name}?", there, self.study):
                    return
            if how == "steps":
                self.rising(f":start {name}", f":step {name}", numbers, whole=entry["whole"])
            else:
                assert self.seconds is not None
                years = (self.seconds - self.seconds[self.first][self.owner]) / YEAR
                since = np.nan_to_num(np.floor(years) if entry["whole"] else years)
                self.starts(f":start {name}", numbers - since, whole=entry["whole"])
        else:
            reader = self.of_patients if per_patient else self.of_studies
            chosen = [values[row] for row in np.flatnonzero(self.first).tolist()] if per_patient else values
            found = reader.attribute(name, chosen, per_patient=per_patient)
            if not self.take(name, found, self.patient if per_patient else self.study):
                return
        self.layout["attributes"].append(entry)

    def few(self, name: str, numbers: Floats) -> bool:
        if len(np.unique(self.owner[~np.isnan(numbers)])) >= self.rare_below:
            return False
        self.findings.left_out[name] = f"fewer than {self.rare_below} patients have a number in it"
        return True

    def steady(self, values: Sequence[Any]) -> bool:
        """Whether a column stays as it is within patients."""
        later = np.flatnonzero(~self.first)
        if not len(later):
            return True
        changed = np.array([values[row] != values[row - 1] for row in later.tolist()], dtype=np.bool_)
        return 1 - len(np.unique(self.owner[later][changed])) / len(np.unique(self.owner[later])) >= STEADY

    def rises(self, values: Sequence[Any]) -> str | None:
        """``clock`` where numbers go up with the years, ``steps`` where they go up otherwise."""
        if not is_number(values):
            return None
        numbers = numbers_of(values)
        later = np.flatnonzero(~self.first)
        steps = numbers[later] - numbers[later - 1]
        told = ~np.isnan(steps)
        if told.sum() < self.rare_below or np.mean(steps[told] >= 0) < STEADY:
            return None
        if self.seconds is not None:
            years = (self.seconds[later] - self.seconds[later - 1]) / YEAR
            both = told & ~np.isnan(years)
            if both.any() and np.mean(np.abs(steps[both] - years[both]) <= 1) >= STEADY:
                return "clock"
        return "steps"

    def labels(self) -> None:
        plans = self.studies.plans
        for name, values in self.studies.labels.items():
            if name in plans.findings:
                self.layout["labels"].append({"name": name, "plan": True})
                continue
            found = self.label(name, values)
            self.layout["labels"].append({"name": name, "plan": False, "known": found})
        self.layout["findings"] = list(plans.findings)
        for place, name in enumerate(plans.findings):
            parts = plan_columns(name, plans, place, self.of_studies)
            known = self.label(name, plans.present[:, place], into=parts.present)
            self.layout["plans"][name] = {"known": known, "words": parts.words if known else {}}
            if known:
                self.study.extend(parts.columns(self.study, self.layout["fixed"]))

    def label(self, name: str, values: npt.NDArray[np.int8], into: str | None = None) -> bool:
        """Learn whether a label is there; False where too few patients have it, or lack it."""
        key = into or f":label {name}"
        codes = values.astype(np.int64)
        shown = np.array([len(np.unique(self.owner[codes == state])) for state in (0, 1)])
        if ((shown > 0) & (shown < self.rare_below)).any() or shown.sum() == 0:
            lacking = "positive" if 0 < shown[1] < self.rare_below else "negative" if shown.sum() else "known"
            self.findings.left_out[name] = f"fewer than {self.rare_below} patients have a {lacking} label"
            return False
        kept: list[Column] = []
        self.take(key, self.of_studies.choice(key, [int(code) for code in codes]), kept)
        self.study.extend(kept)
        return True

    def presence(self) -> None:
        masks: dict[str, Sequence[bool]] = {IMAGE: self.studies.has_image.tolist()}
        masks |= {f":series {name}": [item is not None for item in rows] for name, rows in self.studies.series.items()}
        masks |= {f":text {name}": [item is not None for item in rows] for name, rows in self.studies.texts.items()}
        for name, mask in masks.items():
            found = self.of_studies.choice(name, list(mask))
            if not self.take(name, found, self.study):
                self.layout["fixed"][name] = False
        for name, rows in self.studies.series.items():
            self.length(name, rows)
        self.layout |= {"series": list(self.studies.series), "texts": list(self.studies.texts)}

    def length(self, name: str, rows: Sequence[Any]) -> None:
        lengths = np.array([np.nan if item is None else float(len(item)) for item in rows])
        key, parent = f":length {name}", f":series {name}"
        if len(np.unique(self.owner[~np.isnan(lengths)])) < self.rare_below:
            self.layout["fixed"][key] = 0
            return
        there = next((item.variable for item in self.study if item.variable.name == parent), None)
        given = (parent, there.values.index(True)) if there else None
        self.study.append(self.of_studies.number(key, lengths, whole=True, given=given))

    def check(self) -> None:
        latents = sum(item.variable.latents for item in self.patient + self.study)
        if latents > MOST_LATENTS:
            raise CohortError(
                f"The cohort's columns have {latents} values and numbers to learn; at most {MOST_LATENTS} can be.",
                remedy="Name fewer findings in the settings, or give a cohort with fewer columns.",
            )
        if not self.layout["attributes"] and not any(
            entry.get("known", True) and self.layout["plans"].get(entry["name"], {}).get("known", True)
            for entry in self.layout["labels"]
        ):
            reasons = "; ".join(f"'{name}': {why}" for name, why in sorted(self.findings.left_out.items()))
            raise CohortError(
                f"No attribute and no label can be learnt ({reasons or 'there is none'}).",
                remedy="Give a cohort with at least one attribute or label that enough patients share.",
            )
