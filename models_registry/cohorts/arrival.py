"""A file of new studies, brought into the form of a cohort that is there already, with everything odd about it counted.

What is registered once is shown to a person first. Data that arrive by themselves, week by week, are seen by nobody:
here columns keep the types of the reference, what the reference does not have stays out, and each deviation is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models_registry.cohorts import values as cells
from models_registry.cohorts.conversion import registered
from models_registry.cohorts.inspection import Inspection, Progress, image_folder, inspect_cohort, tracked
from models_registry.cohorts.mapping import Mapping, ResolvedColumn, resolve
from models_registry.cohorts.normalise import Normaliser
from models_registry.cohorts.problems import ERROR, ProblemLog
from models_registry.cohorts.schema import CohortManifest, ColumnRole, Problem
from models_registry.cohorts.source import Chunk, open_source
from models_registry.cohorts.spool import hash_ids
from models_registry.cohorts.times import MOMENT, moments

TIME = "study_time"
BORNE = frozenset({"duplicate-study", "no-rows", "no-labels", "single-value", "all-missing-column", "mixed-type",
                   "prediction-column", "patient-in-two-splits", "guessed-encoding"})  # fmt: skip
"""What a cohort that is registered once must not have, or is warned of, and what new studies may have: it is counted
here in another way, or says nothing about a single week."""
REQUIRED = ("patient_id", "study_id", TIME)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Columns of the reference, and of each covariate its kind: ``integer``, ``number`` or ``text``."""

    columns: tuple[str, ...]
    kinds: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: CohortManifest) -> Expected:
        """What a registered cohort has."""
        attributes = manifest.summary.get("attributes", {})
        return cls(columns=manifest.columns, kinds={name: item["type"] for name, item in attributes.items()})


@dataclass(kw_only=True)
class Tally:
    """In how many rows something was found, and in which first (counted from 1)."""

    count: int = 0
    row: int | None = None

    def add(self, rows: npt.NDArray[np.int64]) -> None:
        if len(rows):
            self.count += len(rows)
            self.row = int(rows.min()) if self.row is None else min(self.row, int(rows.min()))


@dataclass(kw_only=True)
class Oddities:
    """What was counted while the rows were read.

    Attributes:
        naive, foreign, agreed: Times without a zone; with another zone's offset; with the offset of the given zone.
        unclear: Times without a zone in the hour of a change of clocks.
        timeless, future: Studies without a time, and later than was possible: both stay out.
        unordered: Studies that are earlier than one in a row before.
        twice: Further rows of a study that was in the same file: they stay out.
        other_kind: Covariate -> cells that are not of the reference's kind; they count as missing.
    """

    naive: Tally = field(default_factory=Tally)
    foreign: Tally = field(default_factory=Tally)
    agreed: Tally = field(default_factory=Tally)
    unclear: Tally = field(default_factory=Tally)
    timeless: Tally = field(default_factory=Tally)
    future: Tally = field(default_factory=Tally)
    unordered: Tally = field(default_factory=Tally)
    twice: Tally = field(default_factory=Tally)
    other_kind: dict[str, Tally] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What was made of a file.

    Attributes:
        n_rows: Rows in the file; ``n_studies`` of them were written.
        first, last: Times of the studies, UTC; None without any.
        columns: What was written. ``added``: what the reference does not have, and stayed out (with its place in the
            file, from 1). ``removed``: what the reference has and the file has not.
        errors: Why nothing was written; ``warnings``: of the file's values.
    """

    n_rows: int
    n_studies: int = 0
    first: datetime | None = None
    last: datetime | None = None
    columns: tuple[str, ...] = ()
    added: dict[str, int] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    odd: Oddities = field(default_factory=Oddities)


def receive(
    path: Path,
    *,
    mapping: Mapping,
    expected: Expected,
    zone: str,
    latest: datetime,
    target: Path,
    progress: Progress | None = None,
) -> Arrival:
    """Check a file and write its studies as one Parquet file in the reference's columns and types.

    The file is read twice, as for a registration, in bounded memory. Times are UTC in what is written; rows without a
    time, later than ``latest``, or of a study that stood in an earlier row stay out and are counted. Nothing is
    written where there are errors or no studies.

    Args:
        zone: In which times without a zone are meant.
        latest: The last moment that a study can be of, UTC without zone.

    Raises:
        CohortError: the file cannot be opened at all.
    """
    found = inspect_cohort(path, mapping=mapping, required=(TIME,), progress=progress)
    told = tuple(problem for problem in found.problems if problem.code not in BORNE)
    errors = tuple(problem for problem in told if problem.severity == ERROR)
    warnings = tuple(problem for problem in told if problem.severity != ERROR)
    plan = registered(_plan(path, mapping))
    added = {c.name: c.index + 1 for c in plan if c.name not in expected.columns and c.name not in REQUIRED}
    kept = tuple(column for column in plan if column.name not in added)
    names = {column.name for column in kept}
    removed = tuple(name for name in expected.columns if name not in names)
    n_rows = int(found.summary["n_studies"])
    if errors or not n_rows:
        return Arrival(n_rows=n_rows, added=added, removed=removed, errors=errors, warnings=warnings)
    writer = _Writer(path, mapping, kept, found, expected, zone=zone, latest=latest)
    writer.write(target, progress)
    return Arrival(
        n_rows=n_rows,
        n_studies=writer.n_studies,
        first=writer.first,
        last=writer.last,
        columns=tuple(column.name for column in writer.plan),
        added=added,
        removed=removed,
        warnings=warnings,
        odd=writer.odd,
    )


def _plan(path: Path, mapping: Mapping) -> tuple[ResolvedColumn, ...]:
    log = ProblemLog(path.name)
    return resolve(open_source(path, mapping, log).columns, mapping, log)


class _Writer:
    """The second pass: rows that stay, in the reference's types."""

    def __init__(
        self,
        path: Path,
        mapping: Mapping,
        plan: tuple[ResolvedColumn, ...],
        found: Inspection,
        expected: Expected,
        *,
        zone: str,
        latest: datetime,
    ) -> None:
        self.log = ProblemLog(path.name)
        self.source = open_source(path, mapping, self.log)
        images = image_folder(path, mapping)
        typed = self.source.typed
        self.normaliser = Normaliser(
            plan, mapping=mapping, typed=typed, images=images, log=self.log, check_images=False
        )
        self.plan = self.normaliser.plan
        self.types = {
            column.name: _wanted(expected.kinds.get(column.name, "text"), found.types.get(column.name))
            for column in plan
            if column.role is ColumnRole.COVARIATE
        }
        self.zone, self.latest = zone, latest
        self.odd = Oddities()
        self.n_studies = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._newest: datetime | None = None
        self._seen: set[int] = set()

    def write(self, target: Path, progress: Progress | None) -> None:
        writer: Any = None
        try:
            for chunk in tracked(self.source, self.plan, self.log, progress, "Reading studies"):
                batch = self._batch(chunk)
                if writer is None:
                    writer = pq.ParquetWriter(target, batch.schema, version="2.6", compression="zstd")
                if len(batch):
                    writer.write_batch(batch)
                self.n_studies += len(batch)
        finally:
            if writer is not None:
                writer.close()

    def _batch(self, chunk: Chunk) -> pa.RecordBatch:
        batch = self.normaliser.apply(chunk)
        arrays = []
        for column, array in zip(self.plan, batch.columns, strict=True):
            if column.role is ColumnRole.STUDY_TIME:
                array = self._times(cells.flat(chunk.columns[column.index]), chunk.rows)
            elif column.role is ColumnRole.COVARIATE:
                array = self._covariate(column.name, array, chunk.rows)
            arrays.append(array)
        batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        stays = self._on_time(batch.column(TIME), chunk.rows)
        stays &= self._once(batch.column("study_id"), chunk.rows, stays)
        batch = batch.filter(pa.array(stays))
        if len(batch):
            low, high = pc.min_max(batch.column(TIME)).as_py().values()
            self.first = low if self.first is None else min(self.first, low)
            self.last = high if self.last is None else max(self.last, high)
        return batch

    def _times(self, array: pa.Array, rows: npt.NDArray[np.int64]) -> pa.Array:
        read = moments(array, self.zone)
        if read is None:  # the inspection refused the type already
            return pa.nulls(len(array), MOMENT)
        self.odd.naive.add(rows[read.naive])
        self.odd.foreign.add(rows[read.foreign])
        self.odd.unclear.add(rows[read.unclear])
        self.odd.agreed.add(rows[~cells.nulls_of(read.values) & ~read.naive & ~read.foreign])
        return read.values

    def _on_time(self, times: pa.Array, rows: npt.NDArray[np.int64]) -> cells.Mask:
        missing = cells.nulls_of(times)
        future = cells.mask_of(pc.greater(times, pa.scalar(self.latest, MOMENT)))
        self.odd.timeless.add(rows[missing])
        self.odd.future.add(rows[future])
        stays = ~missing & ~future
        moment = times.filter(pa.array(stays)).to_numpy(zero_copy_only=False).astype("datetime64[us]")
        before = [] if self._newest is None else [np.datetime64(self._newest, "us")]
        newest = np.maximum.accumulate(np.concatenate([np.array(before, "datetime64[us]"), moment]))
        if len(moment):
            self.odd.unordered.add(rows[stays][moment < newest[-len(moment) :]])
            self._newest = newest[-1].item()
        return stays

    def _once(self, ids: pa.Array, rows: npt.NDArray[np.int64], among: cells.Mask) -> cells.Mask:
        """Where a study's first row is, of those that stay."""
        fresh = np.ones(len(ids), dtype=np.bool_)
        for place, (key, counts) in enumerate(zip(hash_ids(ids).tolist(), among, strict=True)):
            if counts:
                fresh[place] = key not in self._seen
                self._seen.add(key)
        self.odd.twice.add(rows[~fresh])
        return fresh

    def _covariate(self, name: str, array: pa.Array, rows: npt.NDArray[np.int64]) -> pa.Array:
        kind = self.types[name]
        given = array.type
        present = ~cells.nulls_of(array)
        self.odd.present[name] = self.odd.present.get(name, 0) + int(present.sum())
        if pa.types.is_string(kind):
            if not (cells.is_text(given) or pa.types.is_null(given)):
                self.odd.other_kind.setdefault(name, Tally()).add(rows[present])
            return cells.as_text(array)
        parsed = cells.parse_number(array)
        number = pa.nulls(len(array), pa.float64()) if parsed is None else parsed.values
        number = pc.if_else(pc.fill_null(pc.is_finite(number), False), number, pa.scalar(None, pa.float64()))
        self.odd.other_kind.setdefault(name, Tally()).add(rows[present & cells.nulls_of(number)])
        return number.cast(kind)


def _wanted(kind: str, found: pa.DataType | None) -> pa.DataType:
    """The type of a covariate here. Whole numbers stay whole where the file has nothing else."""
    if kind == "text":
        return pa.string()
    whole = kind == "integer" and found is not None and pa.types.is_integer(found)
    return pa.int64() if whole else pa.float64()
