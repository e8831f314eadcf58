"""What a file holds, in counts: shown before a cohort is registered and kept with it. No rows, no identifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models_registry.cohorts import values as cells
from models_registry.cohorts.mapping import ResolvedColumn
from models_registry.cohorts.schema import ColumnRole
from models_registry.cohorts.spool import PatientCounts

MAX_DISTINCT = 50
SMALL_CELL = 11
MAX_SAMPLE = 200_000


class NumberSample:
    """Minimum, maximum and median of a stream: the median of every value up to 200,000 of them, above that of
    every second, fourth, ... in the order of the file."""

    def __init__(self) -> None:
        self.low, self.high = float("inf"), float("-inf")
        self._kept: list[npt.NDArray[np.float64]] = []
        self._size, self._seen, self._stride = 0, 0, 1

    def update(self, values: npt.NDArray[np.float64]) -> None:
        if len(values) == 0:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        start = -self._seen % self._stride
        self._seen += len(values)
        self._kept.append(values[start :: self._stride].copy())
        self._size += len(self._kept[-1])
        while self._size > MAX_SAMPLE:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._size, self._stride = len(self._kept[0]), self._stride * 2

    def to_dict(self) -> dict[str, float | None]:
        if not self._seen:
            return {"min": None, "median": None, "max": None}
        return {"min": self.low, "median": float(np.median(np.concatenate(self._kept))), "max": self.high}


class Covariate:
    """Running facts about one covariate: type, missing values, counts per value or range."""

    def __init__(self, *, inferred: bool) -> None:
        self.missing = self.present = 0
        self.kinds = cells.Kinds()
        self._inferred = inferred
        self._type: pa.DataType = pa.null()
        self._counts: dict[str, int] | None = {}
        self._numbers = NumberSample()

    def update(self, array: pa.Array) -> None:
        self._type = array.type
        present = array.drop_null()
        self.missing += len(array) - len(present)
        self.present += len(present)
        if self._inferred:
            self.kinds.update(present)
        if self._counts is not None:
            self._tally(present)
        parsed = cells.parse_number(present) if self._inferred or not cells.is_text(array.type) else None
        if parsed is not None:
            number = parsed.values.drop_null().to_numpy(zero_copy_only=False)
            self._numbers.update(number[np.isfinite(number)])

    def _tally(self, present: pa.Array) -> None:
        counts = self._counts or {}
        counted = pc.value_counts(present)
        for value, count in zip(counted.field("values"), counted.field("counts").to_pylist(), strict=True):
            key = str(value.as_py())
            counts[key] = counts.get(key, 0) + count
            if len(counts) > MAX_DISTINCT:
                self._counts = None
                return
        self._counts = counts

    @property
    def type(self) -> pa.DataType:
        return self.kinds.type if self._inferred else self._type

    @property
    def single(self) -> bool:
        """One and the same value in every study."""
        return self._counts is not None and len(self._counts) == 1 and self.missing == 0 and self.present > 1

    def to_dict(self) -> dict[str, Any]:
        numeric = pa.types.is_integer(self.type) or pa.types.is_floating(self.type)
        body: dict[str, Any] = {
            "type": "integer" if pa.types.is_integer(self.type) else "number" if numeric else "text",
            "missing": self.missing,
        }
        if numeric:
            return body | self._numbers.to_dict()
        if self._counts is None:
            return body | {"distinct": f"more than {MAX_DISTINCT}"}
        return body | {"distinct": len(self._counts), "values": suppressed(self._counts)}


def suppressed(counts: dict[str, int]) -> dict[str, int | str]:
    """Counts in the order of size, those from 1 to 10 as ``<11``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {key: count if count >= SMALL_CELL else f"<{SMALL_CELL}" for key, count in ordered}


class SummaryBuilder:
    """Takes normalised batches and tells what was in them."""

    def __init__(self, plan: tuple[ResolvedColumn, ...], *, inferred: dict[str, bool]) -> None:
        self._plan = plan
        self.n_studies = 0
        self.present = {column.name: 0 for column in plan}
        self.covariates = {
            column.name: Covariate(inferred=inferred[column.name])
            for column in plan
            if column.role is ColumnRole.COVARIATE
        }
        self._positive: dict[str, int] = {}
        self._splits: dict[str, int] = {}

    def update(self, batch: pa.RecordBatch) -> None:
        self.n_studies += len(batch)
        for column in self._plan:
            array = batch.column(column.name)
            self.present[column.name] += len(array) - array.null_count
            if column.role in {ColumnRole.LABEL, ColumnRole.PRED}:
                ones = int(pc.sum(array).as_py() or 0)
                self._positive[column.name] = self._positive.get(column.name, 0) + ones
            elif column.role is ColumnRole.SPLIT:
                for item in pc.value_counts(array.drop_null()).to_pylist():
                    self._splits[item["values"]] = self._splits.get(item["values"], 0) + item["counts"]
            elif column.role is ColumnRole.COVARIATE:
                self.covariates[column.name].update(array)

    def to_dict(self, patients: PatientCounts) -> dict[str, Any]:
        """JSON-ready summary; see ``docs/cohorts.md`` for its keys."""
        return {
            "n_studies": self.n_studies,
            "n_patients": patients.n_patients,
            "studies_per_patient": _spread(patients),
            "labels": self._binary(ColumnRole.LABEL),
            "decisions": self._binary(ColumnRole.PRED),
            "scores": {
                name: {"n": self.present[full], "missing": self.n_studies - self.present[full]}
                for full, name in self._names(ColumnRole.SCORE)
            },
            "attributes": {name: covariate.to_dict() for name, covariate in self.covariates.items()},
            "modalities": self._coverage(),
            "splits": dict(sorted(self._splits.items())),
            "columns": {column.name: column.original for column in self._plan},
        }

    def _names(self, role: ColumnRole) -> list[tuple[str, str]]:
        return [(column.name, column.name.partition(".")[2]) for column in self._plan if column.role is role]

    def _binary(self, role: ColumnRole) -> dict[str, dict[str, int]]:
        made = {}
        for full, name in self._names(role):
            n, positive = self.present[full], self._positive.get(full, 0)
            made[name] = {
                "n": n,
                "positive": positive,
                "negative": n - positive,
                "missing": self.n_studies - n,
            }
        return made

    def _coverage(self) -> dict[str, float]:
        roles = {ColumnRole.IMAGE, ColumnRole.TEXT, ColumnRole.SERIES}
        names = [column.name for column in self._plan if column.role in roles]
        return {name: self.present[name] / self.n_studies if self.n_studies else 0.0 for name in names}


def _spread(patients: PatientCounts) -> dict[str, float | int | None]:
    if not patients.studies:
        return {"min": None, "median": None, "max": None}
    sizes = np.array(sorted(patients.studies))
    reached = np.cumsum([patients.studies[int(size)] for size in sizes])
    middle = [(patients.n_patients - 1) // 2, patients.n_patients // 2]
    median = float(np.mean([sizes[np.searchsorted(reached, index, side="right")] for index in middle]))
    return {"min": int(sizes[0]), "median": median, "max": int(sizes[-1])}
