"""Linked studies as columns of three tables: patients, their studies, and what the series of a study come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.plans import PARTS, UNTOLD
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.likeness_gathering import patient_codes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
RARE = 11
"""Values that fewer real patients hold are put together, and never named."""
OTHER = -1.0
DERIVED = ("side of ", "zone of ", "size of ", "place in the ", "days since ", "words of ")
PATIENTS, STUDIES, SERIES = "patients", "studies", "series"
CONSTANT = 0.999
"""An attribute that is the same in all studies of this share of patients is the patient's."""
NUMBERS = 10
"""A column of numbers with no more different values is one of categories, unless it counts something."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column is, as the real patients tell.

    Attributes:
        table: ``patients``, ``studies`` or ``series``.
        numeric: A number; else a category.
        codes: Category -> its number; empty for a number.
    """

    name: str
    table: str
    numeric: bool
    codes: dict[Any, float]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Studies as numbers.

    Attributes:
        codes: int [n], the patient of each study; ``patients`` of them.
        first: bool [n], a patient's first study: the one that tells of the patient.
        values: Column -> float [n]; NaN where it is missing. Of a category its number, -1 for any other.
        visits: int [patients] studies of each patient.
    """

    codes: Ints
    patients: int
    first: Bools
    values: dict[str, Floats]
    visits: Ints

    def of(self, column: Column) -> tuple[Floats, Ints]:
        """The values of a column that are there, and the patient of each: one of each patient for a patient's own."""
        values = self.values[column.name]
        here = np.isfinite(values) & (self.first if column.table == PATIENTS else True)
        return values[here], self.codes[here]

    def missing(self, column: Column) -> tuple[Bools, Ints]:
        """Whether a value is missing, and the patient of each."""
        here = self.first if column.table == PATIENTS else np.ones(len(self.codes), dtype=np.bool_)
        return np.isnan(self.values[column.name])[here], self.codes[here]


def schema(real: Sequence[LinkedStudies]) -> tuple[Column, ...]:
    """The columns of a cohort, as all of its real patients together tell.

    What is derived, such as the side of a finding, is left out where it is the same in all of them: it is no column.
    """
    together = LinkedStudies.joined(list(real))
    codes, _ = patient_codes(together)
    return tuple(
        Column(
            name=name,
            table=_table_of(table, values, codes),
            numeric=numeric,
            codes={} if numeric else _categories(values, codes),
        )
        for name, table, values, numeric in _raw(together)
        if not name.startswith(DERIVED) or len(np.unique(values[np.isfinite(values)])) > 1
    )


def frame(studies: LinkedStudies, columns: Sequence[Column]) -> Frame:
    """Studies as numbers. A column that they lack is missing throughout."""
    codes, patients = patient_codes(studies)
    raw = {name: values for name, _, values, _ in _raw(studies)}
    values: dict[str, Floats] = {}
    for column in columns:
        if column.name not in raw:
            values[column.name] = np.full(len(studies), np.nan)
        elif column.numeric:
            values[column.name] = _numbers(raw[column.name])
        else:
            values[column.name] = _coded(raw[column.name], column.codes)
    first = studies.visits() == 0
    visits = np.bincount(codes, minlength=patients)
    return Frame(codes=codes, patients=patients, first=first, values=values, visits=visits)


def matrix(made: Frame, columns: Sequence[Column]) -> Floats:
    """Columns side by side, [n, columns], NaN where a value is missing."""
    return np.column_stack([made.values[column.name] for column in columns])


def _raw(studies: LinkedStudies) -> Iterator[tuple[str, str, Any, bool]]:
    """Name, table, values and whether it is a number, of each column. Two columns never have one name."""
    for name, values in studies.attributes.items():
        yield name, "", values, _is_number(values)
    for name, labels in studies.labels.items():
        yield f"label {name}", STUDIES, _of_codes(labels), False
    plans = studies.plans
    for place, name in enumerate(plans.findings):
        if name not in studies.labels:
            yield f"finding {name}", STUDIES, _of_codes(plans.present[:, place]), False
        for part in PARTS:
            told = plans.part(part)[:, place]
            yield f"{part} of {name}", STUDIES, _of_codes(told), False
    visits = studies.visits()
    yield "place in the sequence of visits", STUDIES, visits.astype(np.float64), True
    if not np.isnat(studies.times).all():
        yield "days since the visit before", STUDIES, _gaps(studies, visits), True
    for name, texts in studies.texts.items():
        yield f"words of {name}", STUDIES, np.array([_words(text) for text in texts]), True
    for name, series in studies.series.items():
        for what, numbers in _summaries(series).items():
            yield f"{name}: {what}", SERIES, numbers, True


def _of_codes(codes: npt.NDArray[np.int8]) -> Floats:
    return np.where(codes == UNTOLD, np.nan, codes.astype(np.float64))


def _words(text: str | None) -> float:
    return np.nan if text is None else float(len(text.split()))


def _gaps(studies: LinkedStudies, visits: Ints) -> Floats:
    seconds = studies.times.astype("datetime64[s]")
    days = np.full(len(studies), np.nan)
    if len(studies) > 1:
        days[1:] = (seconds[1:] - seconds[:-1]) / np.timedelta64(86_400, "s")
    return np.where(visits > 0, days, np.nan)


def _summaries(series: Sequence[npt.NDArray[np.float64] | None]) -> dict[str, Floats]:
    """What the readings of each study come to. NaN where there are none."""
    made = np.full((len(series), 5), np.nan)
    for row, item in enumerate(series):
        if item is not None and len(item):
            values = item[:, 1]
            made[row] = (len(item), values.mean(), values[-1] - values[0], np.ptp(values), np.ptp(item[:, 0]))
    names = ("readings", "mean", "change", "range", "hours")
    return {name: made[:, place] for place, name in enumerate(names)}


def _is_number(values: Any) -> bool:
    told = [value for value in values if value is not None]
    if not all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in told):
        return False
    whole = all(float(value).is_integer() for value in told[:1000])
    return bool(told) and (len(set(told)) > NUMBERS or (whole and len(set(told)) > 2))


def _numbers(values: Any) -> Floats:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return values
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    """A number, or NaN where the value is none: what cannot be read is missing."""
    try:
        found = float(value) if value is not None else np.nan
    except (TypeError, ValueError):
        return np.nan
    return found if np.isfinite(found) else np.nan


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _categories(values: Any, codes: Ints) -> dict[Any, float]:
    """The values that enough patients hold, in the order of their names."""
    holders: dict[Any, set[int]] = {}
    for value, code in zip(values, codes.tolist(), strict=True):
        if not _missing(value):
            holders.setdefault(value, set()).add(code)
    kept = sorted((value for value, who in holders.items() if len(who) >= RARE), key=str)
    return {value: float(place) for place, value in enumerate(kept)}


def _coded(values: Any, codes: dict[Any, float]) -> Floats:
    return np.array([np.nan if _missing(value) else codes.get(value, OTHER) for value in values])


def _table_of(table: str, values: Any, codes: Ints) -> str:
    """Of an attribute, whether it is the patient's or the study's."""
    if table:
        return table
    words = np.array([str(value) for value in values], dtype=object)
    first = np.unique(codes, return_index=True)[1]
    same = words == words[first][codes]
    changing = np.unique(codes[~same])
    return PATIENTS if len(changing) <= (1 - CONSTANT) * len(first) else STUDIES
