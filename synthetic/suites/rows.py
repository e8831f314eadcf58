"""One row a patient: what is known of the first study, how its readings run, and how often the patient came.

A row holds the attributes of the first study, what its plan says of each finding, the labels that are no finding, of
each series the mean, the slope over the hours and the last reading, the number of studies, and the days from the first
to the last of them. Rows of several sets are put on one scale, which the real ones set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from synthetic.generators.studies import LinkedStudies, Readings
from synthetic.suites.values import Floats, Ints, Objects, codes_of, constant, numbers_of

ATTRIBUTE, FINDING, LABEL, READING, COURSE = "attribute", "finding", "label", "reading", "course"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Encoded rows of n patients.

    Attributes:
        numbers: float32 [n, N], scaled; ``missing``: bool [n, N].
        codes: int64 [n, C]; ``levels``: how many values each has over all sets.
        number_names, code_names: ``kind.name``, such as ``attribute.age``.
    """

    numbers: npt.NDArray[np.float32]
    missing: npt.NDArray[np.bool_]
    codes: Ints
    levels: tuple[int, ...]
    number_names: tuple[str, ...]
    code_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def names(self) -> tuple[str, ...]:
        return self.number_names + self.code_names

    def take(self, places: Ints) -> Rows:
        """Some of the patients."""
        return replace(self, numbers=self.numbers[places], missing=self.missing[places], codes=self.codes[places])

    def columns(self, names: Sequence[str]) -> Rows:
        """Some of the columns."""
        one = [place for place, name in enumerate(self.number_names) if name in names]
        two = [place for place, name in enumerate(self.code_names) if name in names]
        return Rows(
            numbers=self.numbers[:, one], missing=self.missing[:, one], codes=self.codes[:, two],
            levels=tuple(self.levels[place] for place in two),
            number_names=tuple(self.number_names[place] for place in one),
            code_names=tuple(self.code_names[place] for place in two),
        )  # fmt: skip

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the columns of some kinds."""
        return [name for name in self.names if name.partition(".")[0] in kinds]


def first_studies(studies: LinkedStudies) -> Ints:
    """Row of the first study of each patient, in the order of ``studies.patients``."""
    return np.flatnonzero(studies.visits() == 0)


def patient_columns(studies: LinkedStudies) -> dict[str, Objects | Floats]:
    """Columns [patients] by ``kind.name``; numbers may hold NaN, others None."""
    first = first_studies(studies)
    found: dict[str, Objects | Floats] = {
        f"{ATTRIBUTE}.{name}": values[first] for name, values in studies.attributes.items()
    }
    plans = studies.plans.rows(first).words()
    found |= {f"{FINDING}.{name}": words for name, words in plans.items()}
    for name, values in studies.labels.items():
        if name not in plans:
            found[f"{LABEL}.{name}"] = np.array([None if v < 0 else str(v) for v in values[first]], dtype=object)
    for name, readings in studies.series.items():
        found |= _summaries(name, [readings[row] for row in first.tolist()])
    ends = np.append(first[1:], len(studies)) - 1
    days = (studies.times[ends] - studies.times[first]) / np.timedelta64(1, "D")
    found[f"{COURSE}.studies"] = (ends - first + 1).astype(np.float64)
    found[f"{COURSE}.days"] = days.astype(np.float64)
    return found


def encode(sets: Sequence[LinkedStudies], real: Sequence[int]) -> tuple[list[Rows], dict[str, str]]:
    """Rows of several sets on one scale, and the columns that are left out, each with its reason.

    A column is left out where all real values are equal or missing, or where a set lacks it.

    Args:
        real: Places of the sets that set scales and decide what is constant.
    """
    columns = [patient_columns(item) for item in sets]
    names = list(dict.fromkeys(name for item in columns for name in item))
    numbers, codes, left_out = {}, {}, {}
    for name in names:
        if any(name not in item for item in columns):
            left_out[name] = "not all sets have it"
            continue
        parts = [item[name] for item in columns]
        if reason := constant(np.concatenate([parts[place].astype(object) for place in real])):
            left_out[name] = reason
        elif (found := numbers_of([part.astype(object) for part in parts], real)) is not None:
            numbers[name] = found
        else:
            codes[name] = codes_of([part.astype(object) for part in parts])
    made = []
    for place, item in enumerate(columns):
        n = len(next(iter(item.values()), ()))
        made.append(
            Rows(
                numbers=_side_by_side([found.parts[place] for found in numbers.values()], n).astype(np.float32),
                missing=_side_by_side([found.missing[place] for found in numbers.values()], n).astype(np.bool_),
                codes=_side_by_side([parts[place] for parts, _ in codes.values()], n).astype(np.int64),
                levels=tuple(count for _, count in codes.values()),
                number_names=tuple(numbers),
                code_names=tuple(codes),
            )
        )
    return made, left_out


def _side_by_side(columns: Sequence[npt.NDArray[np.generic]], n: int) -> npt.NDArray[np.generic]:
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0))


def _summaries(name: str, readings: Readings) -> Mapping[str, Floats]:
    """Mean, slope and last value of each study's readings; NaN where there are none, or for a slope only one."""
    kept = [np.zeros((0, 2)) if item is None else item[np.isfinite(item).all(axis=1)] for item in readings]
    lengths = np.array([len(item) for item in kept], dtype=np.int64)
    stacked = np.concatenate([*kept, np.zeros((0, 2))])
    owner = np.repeat(np.arange(len(kept)), lengths)

    def mean(values: Floats) -> Floats:
        sums = np.bincount(owner, weights=values, minlength=len(kept))
        found: Floats = np.divide(sums, lengths, out=np.full(len(kept), np.nan), where=lengths > 0)
        return found

    time, value = mean(stacked[:, 0]), mean(stacked[:, 1])
    apart, off = stacked[:, 0] - time[owner], stacked[:, 1] - value[owner]
    spread = mean(apart * apart)
    slope = np.divide(mean(apart * off), spread, out=np.full(len(kept), np.nan), where=spread > 0)
    last = np.array([item[-1, 1] if len(item) else np.nan for item in kept], dtype=np.float64)
    key = f"{READING}.{name}"
    return {f"{key}.mean": value, f"{key}.slope": slope, f"{key}.last": last}
