"""What a study's readings depend on, as numbers: its plan, its attributes and which visit it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.series_scales import robust_ends
from synthetic.generators.plans import PARTS, Plans
from synthetic.generators.studies import LinkedStudies, Objects

Floats = npt.NDArray[np.float64]
MOST_CATEGORIES = 32
LEAST_NUMBERS = 12
"""A column with fewer different numbers is taken as categories."""
MOST_PAIRED = 8
"""Findings of which pairs are taken, too; of more there are too many pairs."""
LAST_VISIT = 5


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How studies are written as rows of numbers.

    Attributes:
        findings: Findings of the plans learnt from.
        numbers: Attribute -> middle and width of its numbers.
        categories: Attribute -> values that as many patients as ``rare_below`` have; all others count as none of them.
    """

    findings: tuple[str, ...]
    numbers: dict[str, tuple[float, float]]
    categories: dict[str, tuple[str, ...]]

    def rows(self, studies: LinkedStudies) -> Floats:
        """[n, C]. What was never learnt, and what is missing, counts as zero."""
        visits = np.minimum(studies.visits(), LAST_VISIT)
        columns = [_plan_columns(aligned(studies.plans, self.findings)), visits[:, None] / LAST_VISIT,
                   (visits == 0)[:, None]]  # fmt: skip
        for name, (middle, width) in self.numbers.items():
            columns.append(((numbers_of(studies.attributes.get(name), len(studies)) - middle) / width)[:, None])
        for name, values in self.categories.items():
            given = words_of(studies.attributes.get(name), len(studies))
            columns.append(np.stack([given == value for value in values], axis=1))
        made = np.concatenate([column.astype(np.float64) for column in columns], axis=1)
        found: Floats = np.clip(np.nan_to_num(made), -4, 4)
        return found

    def to_dict(self) -> dict[str, Any]:
        return {
            "findings": list(self.findings),
            "numbers": {name: list(value) for name, value in self.numbers.items()},
            "categories": {name: list(value) for name, value in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Conditions:
        return cls(
            findings=tuple(body["findings"]),
            numbers={name: (value[0], value[1]) for name, value in sorted(body["numbers"].items())},
            categories={name: tuple(value) for name, value in sorted(body["categories"].items())},
        )


def learn_conditions(studies: LinkedStudies, *, rare_below: int) -> Conditions:
    """Middles, widths and categories of the studies' attributes. A column that is constant or empty is left out."""
    numbers: dict[str, tuple[float, float]] = {}
    categories: dict[str, tuple[str, ...]] = {}
    patients = patient_numbers(studies)
    for name, values in sorted(studies.attributes.items()):
        if is_number_column(values):
            found = numbers_of(values, len(studies))
            there = np.isfinite(found)
            inside = np.clip(found[there], *robust_ends(found[there], patients[there], rare_below))
            if (width := float(inside.std())) > 0:
                numbers[name] = (float(inside.mean()), width)
            continue
        common = common_words(words_of(values, len(studies)), patients, rare_below)
        if len(common) > 1:
            categories[name] = common[:MOST_CATEGORIES]
    return Conditions(findings=studies.plans.findings, numbers=numbers, categories=categories)


def aligned(plans: Plans, findings: tuple[str, ...]) -> Plans:
    """Plans over other findings: those that are not told are not known."""
    if plans.findings == findings:
        return plans
    made = Plans.empty(findings, len(plans))
    for column, name in enumerate(findings):
        if name in plans.findings:
            at = plans.findings.index(name)
            for part in ("present", *PARTS):
                getattr(made, part)[:, column] = getattr(plans, part)[:, at]
    return made


def _plan_columns(plans: Plans) -> npt.NDArray[np.bool_]:
    state = [plans.present == 1, plans.present < 0]
    parts = [plans.part(name) == place for name, words in PARTS.items() for place in range(len(words))]
    columns = [part[:, column] for column in range(len(plans.findings)) for part in [*state, *parts]]
    if len(plans.findings) <= MOST_PAIRED:
        pairs = combinations(range(len(plans.findings)), 2)
        columns += [(plans.present[:, one] == 1) & (plans.present[:, two] == 1) for one, two in pairs]
    return np.stack(columns, axis=1) if columns else np.zeros((len(plans), 0), dtype=np.bool_)


def is_number_column(values: Objects) -> bool:
    """Whether a column holds numbers, of which there are more than a category would have."""
    given = {value for value in values.tolist() if value is not None}
    finite = {
        float(value)
        for value in given
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    told = [value for value in given if not (isinstance(value, float) and not math.isfinite(value))]
    return len(finite) >= LEAST_NUMBERS and len(finite) == len(told)


def numbers_of(values: Objects | None, n: int) -> Floats:
    """Floats [n]; NaN where the column holds none. A column that is not there is NaN throughout."""
    found = np.full(n, np.nan)
    for row, value in enumerate([] if values is None else values.tolist()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[row] = value
    return found


def words_of(values: Objects | None, n: int) -> Objects:
    """Values as text; "" where there is none."""
    given = [None] * n if values is None else values.tolist()
    return np.array(["" if value is None else str(value) for value in given], dtype=object)


def common_words(words: Objects, patients: npt.NDArray[np.int64], rare_below: int) -> tuple[str, ...]:
    """Words that at least ``rare_below`` patients have, the most frequent first. "" is none."""
    held: dict[str, set[int]] = {}
    for word, patient in zip(words.tolist(), patients.tolist(), strict=True):
        if word:
            held.setdefault(word, set()).add(patient)
    kept = [word for word, owners in held.items() if len(owners) >= rare_below]
    return tuple(sorted(kept, key=lambda word: (-len(held[word]), word)))


def patient_numbers(studies: LinkedStudies) -> npt.NDArray[np.int64]:
    """The number of each study's patient: int64 [n]."""
    found: npt.NDArray[np.int64] = np.unique(studies.patient_ids.astype(str), return_inverse=True)[1]
    return found
