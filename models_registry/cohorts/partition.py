"""Cuts a prediction file of any size into parts of whole patients, so that an audit streams it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import CohortError
from models_registry.cohorts.conversion import by_patient
from models_registry.cohorts.images import ImageFolder
from models_registry.cohorts.inspection import (
    FileKind,
    Inspection,
    Progress,
    inspect_cohort,
    part_of,
    tracked,
)
from models_registry.cohorts.mapping import Mapping, ResolvedColumn, resolve
from models_registry.cohorts.normalise import Normaliser, cast_covariates
from models_registry.cohorts.problems import ProblemLog, error_of
from models_registry.cohorts.reader import Objects, objects, signs
from models_registry.cohorts.schema import ColumnRole, Problem, role_of
from models_registry.cohorts.series import series_arrays
from models_registry.cohorts.source import open_source
from models_registry.cohorts.spool import room_on_disk

PART_ROWS = 100_000
MAX_PARTS = 512
BUFFER_BYTES = 64 << 20
_USED = frozenset(
    {
        ColumnRole.PATIENT_ID,
        ColumnRole.STUDY_ID,
        ColumnRole.LABEL,
        ColumnRole.SCORE,
        ColumnRole.PRED,
        ColumnRole.TRUNCATED,
    }
)
_TEXTS = frozenset({"text.reference", "text.generated"})


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A prediction file in parts. ``parts``: Arrow streams of whole patients, for :func:`read_predictions`."""

    parts: tuple[Path, ...]
    n_studies: int
    n_patients: int
    warnings: tuple[Problem, ...]
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """Studies with what the model said about them. All arrays have length n.

    Attributes:
        patient_ids, study_ids: Arrays of str.
        attributes: Name -> array of object: str, int, float, or None where it is missing.
        labels: Label -> int8: 1, 0, or -1 where the reference standard is silent.
        scores: Label -> float64 in [0, 1], NaN where the model gave none.
        decisions: Label -> int8: 1, 0, or -1 where the model gave none.
        texts: ``reference``, ``generated`` and whatever other text was kept -> array of object: str or None.
        splits: Value of the column ``split``, str or None; None where it was not asked for.
        truncated: Text -> bool: it ended at the model's limit of tokens, not by itself.
        series: Name -> array of object: float64 [t, 2] of (hours, value), or None. Only where they were kept.
    """

    patient_ids: Objects
    study_ids: Objects
    attributes: dict[str, Objects]
    labels: dict[str, npt.NDArray[np.int8]]
    scores: dict[str, npt.NDArray[np.float64]]
    decisions: dict[str, npt.NDArray[np.int8]]
    texts: dict[str, Objects]
    splits: Objects | None = None
    truncated: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    series: dict[str, Objects] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.patient_ids)


def partition_by_patient(
    path: Path,
    *,
    columns: Sequence[str] = (),
    whole: bool = False,
    spool: Path,
    mapping: Mapping | None = None,
    progress: Progress | None = None,
) -> Partition:
    """Check a prediction file and cut it into parts of about 100,000 studies, each of whole patients.

    Reads the file twice and holds less than 1 GiB whatever its size. Identifiers, labels, scores, predictions and
    texts are kept, and of the other columns those that are asked for.

    Args:
        columns: Attribute and other columns that must be there, such as a protocol's attributes and labels.
        whole: Keep every text and series of the studies as well, for checks of what a report says of them.
        spool: Folder for the parts; made if needed. The caller removes it.

    Raises:
        CohortError: the first error of the file, with the number of the others.
    """
    mapping = mapping or Mapping()
    inspection = inspect_cohort(
        path,
        mapping=mapping,
        kind=FileKind.PREDICTIONS,
        required=tuple(columns),
        progress=part_of(progress, 0.0, 0.5),
    )
    if (error := error_of(inspection.problems)) is not None:
        raise error
    with room_on_disk(spool):
        parts = _write_parts(
            path, mapping, inspection, frozenset(columns), spool, part_of(progress, 0.5, 1.0), whole=whole
        )
    return Partition(
        parts=parts,
        n_studies=inspection.summary["n_studies"],
        n_patients=inspection.summary["n_patients"],
        warnings=inspection.warnings,
        summary=inspection.summary,
    )


def _write_parts(
    path: Path,
    mapping: Mapping,
    inspection: Inspection,
    columns: frozenset[str],
    spool: Path,
    progress: Progress | None,
    *,
    whole: bool,
) -> tuple[Path, ...]:
    log = ProblemLog(path.name)
    source = open_source(path, mapping, log)
    plan = _used(resolve(source.columns, mapping, log), columns, whole=whole)
    images = ImageFolder(path.parent)
    normaliser = Normaliser(plan, mapping=mapping, typed=source.typed, images=images, log=log)
    n_parts = min(MAX_PARTS, -(-inspection.summary["n_studies"] // PART_ROWS))
    spool.mkdir(parents=True, exist_ok=True)
    writer = _PartWriter(spool, n_parts)
    try:
        for chunk in tracked(source, normaliser.plan, log, progress, "Sorting by patient"):
            writer.add(cast_covariates(normaliser.apply(chunk), inspection.types))
    finally:
        writer.close()
    if (error := error_of(log.problems())) is not None:
        raise error
    return writer.paths


def _used(plan: tuple[ResolvedColumn, ...], columns: frozenset[str], *, whole: bool) -> tuple[ResolvedColumn, ...]:
    roles = _USED | ({ColumnRole.TEXT, ColumnRole.SERIES} if whole else frozenset())
    return tuple(c for c in plan if c.role in roles or c.name in _TEXTS or c.name in columns)


class _PartWriter:
    """Gathers the rows of each part and writes them out when 64 MiB are held in all.

    Arrow streams, because hundreds of open Parquet files keep the metadata of all their row groups in memory.
    """

    def __init__(self, folder: Path, n_parts: int) -> None:
        self._folder, self._n = folder, n_parts
        self._waiting: dict[int, list[pa.RecordBatch]] = {}
        self._writers: dict[int, Any] = {}
        self._held = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self._path(number) for number in sorted(self._writers))

    def add(self, batch: pa.RecordBatch) -> None:
        for number, part in by_patient(batch, self._n):
            self._waiting.setdefault(number, []).append(part)
            self._held += part.nbytes
        if self._held >= BUFFER_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        for writer in self._writers.values():
            writer.close()

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:05d}.arrow"

    def _flush(self) -> None:
        for number in sorted(self._waiting):
            table = pa.Table.from_batches(self._waiting.pop(number))
            if number not in self._writers:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[number] = pa.ipc.new_stream(str(self._path(number)), table.schema, options=options)
            self._writers[number].write_table(table.combine_chunks())
        self._held = 0


def read_predictions(part: Path) -> PredictionTable:
    """A part as arrays, sorted by patient and study.

    Raises:
        CohortError: when the file is no part that :func:`partition_by_patient` wrote.
    """
    try:
        with pa.ipc.open_stream(str(part)) as stream:
            table = stream.read_all()
        order = pc.sort_indices(table, sort_keys=[("patient_id", "ascending"), ("study_id", "ascending")])
    except (pa.ArrowInvalid, OSError) as error:
        raise CohortError(
            "The part cannot be read.",
            remedy="Run the audit again; check the free disk space.",
            file=str(part),
        ) from error
    table = table.take(order)

    def named(role: ColumnRole) -> dict[str, pa.ChunkedArray]:
        return {n.partition(".")[2]: table.column(n) for n in table.column_names if role_of(n) is role}

    plain = {ColumnRole.COVARIATE, ColumnRole.SPLIT, ColumnRole.STUDY_TIME}
    return PredictionTable(
        patient_ids=objects(table.column("patient_id")),
        study_ids=objects(table.column("study_id")),
        attributes={n: objects(table.column(n)) for n in table.column_names if role_of(n) in plain},
        labels={name: signs(column) for name, column in named(ColumnRole.LABEL).items()},
        scores={name: _numbers(column) for name, column in named(ColumnRole.SCORE).items()},
        decisions={name: signs(column) for name, column in named(ColumnRole.PRED).items()},
        texts={name: objects(column) for name, column in named(ColumnRole.TEXT).items()},
        splits=objects(table.column("split")) if "split" in table.column_names else None,
        truncated={name: signs(column) == 1 for name, column in named(ColumnRole.TRUNCATED).items()},
        series={name: _series(column) for name, column in named(ColumnRole.SERIES).items()},
    )


def _series(column: pa.ChunkedArray) -> Objects:
    values = series_arrays(column.combine_chunks())
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    filled = pc.fill_null(column, float("nan")).combine_chunks()
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.float64)
