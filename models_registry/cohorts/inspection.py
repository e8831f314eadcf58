"""Reads a whole file once and tells everything that is wrong with it, before anything is registered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from models_registry.cohorts.images import ImageFolder
from models_registry.cohorts.mapping import Mapping, ResolvedColumn, resolve, suggest_mapping
from models_registry.cohorts.normalise import Normaliser
from models_registry.cohorts.problems import ERROR, WARNING, ProblemLog, error_of, guessed_values
from models_registry.cohorts.schema import ColumnRole, Problem
from models_registry.cohorts.source import Chunk, Source, open_source
from models_registry.cohorts.spool import (
    KeySpool,
    PatientCounts,
    count_patients,
    hash_ids,
    in_two,
    repeated,
    room_on_disk,
)
from models_registry.cohorts.summary import SummaryBuilder

PREVIEW_ROWS = 10
IMAGE_ROWS = 32
PREVIEW_CHARACTERS = 80
REQUIRED = ("patient_id", "study_id")
PREDICTED = frozenset({ColumnRole.SCORE, ColumnRole.PRED, ColumnRole.TRUNCATED})
GENERATED = "text.generated"

Progress = Callable[[float, str], None]


class FileKind(StrEnum):
    """What a file is read as. Only a cohort warns about predictions in it."""

    COHORT = "cohort"
    PREDICTIONS = "predictions"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The first rows as they stand in the file, abbreviated. ``originals``: the file's own column names."""

    columns: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "originals": list(self.originals),
            "rows": [list(r) for r in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file holds and what is wrong with it.

    Attributes:
        problems: Errors first; grouped by code and column.
        columns: ``{"original", "name", "role"}`` of each column that is used.
        suggested_mapping: Where there are errors, a mapping that would settle what can be guessed of them, for a
            person to confirm; else the mapping that was given, so that what was shown is what gets registered.
        types: Arrow type of each covariate, told from all rows.
    """

    file: str
    kind: FileKind
    problems: tuple[Problem, ...]
    columns: tuple[dict[str, str], ...]
    preview: Preview
    summary: dict[str, Any]
    mapping: Mapping
    suggested_mapping: Mapping
    types: dict[str, pa.DataType] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == WARNING)

    @property
    def usable(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready. Contains the preview, hence patient-level data: not for the ledger or for reports."""
        return {
            "file": self.file,
            "kind": self.kind.value,
            "usable": self.usable,
            "problems": [problem.to_dict() for problem in self.problems],
            "columns": [dict(column) for column in self.columns],
            "preview": self.preview.to_dict(),
            "summary": self.summary,
            "mapping": self.mapping.to_dict(),
            "suggested_mapping": self.suggested_mapping.to_dict(),
        }


def inspect_cohort(
    path: Path,
    *,
    mapping: Mapping | None = None,
    kind: FileKind = FileKind.COHORT,
    required: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Inspection:
    """Read a cohort or prediction file and find every problem at once. Memory does not grow with the file.

    Args:
        mapping: The file's own columns and values; without it only canonical names are understood.
        required: Columns that must be there besides ``patient_id`` and ``study_id``.

    Raises:
        CohortError: only when the file cannot be opened at all. What is wrong inside is in ``problems``.
    """
    mapping = mapping or Mapping()
    log = ProblemLog(path.name)
    source = open_source(path, mapping, log)
    plan = resolve(source.columns, mapping, log)
    suggested = suggest_mapping(source.columns)
    _check_columns(plan, kind, (*REQUIRED, *required), suggested, log)
    with tempfile.TemporaryDirectory(prefix="auscult-inspect-") as folder:
        scan = _Scan(source, plan, mapping, log, Path(folder))
        with room_on_disk(Path(folder)):
            scan.run(progress)
            summary = scan.finish()
    problems = log.problems()
    summary["warnings"] = [problem.to_dict() for problem in problems if problem.severity == WARNING]
    return Inspection(
        file=path.name,
        kind=kind,
        problems=problems,
        columns=tuple({"original": c.original, "name": c.name, "role": c.role.value} for c in plan),
        preview=scan.preview,
        summary=summary,
        mapping=mapping,
        suggested_mapping=_with_values(mapping, suggested, plan, log) if error_of(problems) else mapping,
        types={name: covariate.type for name, covariate in scan.summary.covariates.items()},
    )


def image_folder(path: Path, mapping: Mapping) -> ImageFolder:
    """Where the image paths of a file start: ``image_root`` from the file's folder, or that folder."""
    return ImageFolder(path.resolve().parent / (mapping.image_root or "."))


def _check_columns(
    plan: tuple[ResolvedColumn, ...],
    kind: FileKind,
    required: tuple[str, ...],
    suggested: Mapping,
    log: ProblemLog,
) -> None:
    names = {column.name for column in plan}
    for name in required:
        if name not in names:
            guess = next((own for own, target in suggested.columns.items() if target == name), None)
            detail = f" The file's column '{guess.strip()}' may be it." if guess else ""
            log.add(
                "missing-column",
                column=name,
                detail=detail,
                examples=[f'columns: {{"{guess or "..."}": {name}}}'],
            )
    if not any(column.role is ColumnRole.LABEL or column.name == "text.reference" for column in plan):
        log.add("no-labels")
    if kind is FileKind.COHORT:
        for column in plan:
            if is_prediction(column):
                log.add("prediction-column", column=column.name)


def is_prediction(column: ResolvedColumn) -> bool:
    """Whether a column holds what a model said: kept out of a registered cohort."""
    return column.role in PREDICTED or column.name == GENERATED


def _with_values(mapping: Mapping, suggested: Mapping, plan: tuple[ResolvedColumn, ...], log: ProblemLog) -> Mapping:
    """The given mapping, completed by what can be guessed from names and from label values."""
    done = {column.original for column in plan if column.original in mapping.columns}
    columns = {k: v for k, v in suggested.columns.items() if k not in done and v not in mapping.columns.values()}
    values = {key: dict(table) for key, table in mapping.values.items()}
    for column in plan:
        for code in ("label-value", "prediction-value"):
            if guess := guessed_values(log.examples(code, column.name)):
                values[column.name] = {**values.get(column.name, {}), **guess}
    return Mapping(
        columns={**mapping.columns, **columns},
        values=values,
        ignore=mapping.ignore,
        encoding=mapping.encoding,
        delimiter=mapping.delimiter,
        image_root=mapping.image_root,
    )


class _Scan:
    """One pass over a file: values, uniqueness, splits, counts, preview."""

    def __init__(
        self,
        source: Source,
        plan: tuple[ResolvedColumn, ...],
        mapping: Mapping,
        log: ProblemLog,
        folder: Path,
    ) -> None:
        self.source, self.log = source, log
        images = image_folder(source.path, mapping)
        self.normaliser = Normaliser(plan, mapping=mapping, typed=source.typed, images=images, log=log)
        inferred = {column.name: self.normaliser.inferred(column) for column in plan}
        self.plan = self.normaliser.plan
        self.summary = SummaryBuilder(self.plan, inferred=inferred)
        self.preview = Preview()
        self._names = {column.name for column in plan}
        self._studies, self._patients = KeySpool(folder, "studies"), KeySpool(folder, "patients")
        self._splits = KeySpool(folder, "splits")
        self._split_codes: dict[str, int] = {}

    def run(self, progress: Progress | None) -> None:
        if not self.plan:
            return
        for chunk in tracked(self.source, self.plan, self.log, progress, "Reading"):
            if not self.preview.rows:
                self.preview = _preview(chunk, self.plan)
            batch = self.normaliser.apply(chunk)
            self.summary.update(batch)
            self._spool(batch, chunk)

    def _spool(self, batch: pa.RecordBatch, chunk: Chunk) -> None:
        for name, spool in (("study_id", self._studies), ("patient_id", self._patients)):
            if name in self._names:
                ids = batch.column(name)
                known = np.asarray(ids.is_valid())
                spool.add(hash_ids(ids.drop_null()), chunk.rows[known])
        if "split" in self._names and "patient_id" in self._names:
            part = _with_split(batch)
            codes = np.array([self._code(value) for value in batch.column("split").filter(part).to_pylist()], np.int64)
            keys = hash_ids(batch.column("patient_id").filter(part))
            self._splits.add(keys, (chunk.rows[np.asarray(part)] << 8) | codes)

    def _code(self, split: str) -> int:
        return self._split_codes.setdefault(split, min(255, len(self._split_codes)))

    def finish(self) -> dict[str, Any]:
        """Checks that need every row, then the summary."""
        again = repeated(self._studies)
        if again.again is not None:
            first = f"{again.again} (first in row {again.first})"
            self.log.add("duplicate-study", column="study_id", rows=again.rows, detail=first)
        both = in_two(self._splits)
        detail = f"{len(both):,} patient{' is' if len(both) == 1 else 's are'}"
        self.log.add("patient-in-two-splits", column="split", rows=both, detail=detail)
        patients = count_patients(self._patients)
        if self.summary.n_studies == 0 and not any(p.severity == ERROR and p.row for p in self.log.problems()):
            self.log.add("no-rows" if self.source.columns else "empty-file")
        elif self.summary.n_studies:
            self._check_contents()
        return self.summary.to_dict(
            patients if "patient_id" in self._names else PatientCounts(n_patients=0, studies={})
        )

    def _check_contents(self) -> None:
        for name, present in self.summary.present.items():
            if present == 0 and name not in REQUIRED and not self._rejected(name):
                self.log.add("all-missing-column", column=name)
        for name, covariate in self.summary.covariates.items():
            if covariate.single:
                self.log.add("single-value", column=name)
            if covariate.kinds.mixed:
                self.log.add("mixed-type", column=name, examples=covariate.kinds.odd)

    def _rejected(self, name: str) -> bool:
        """Whether the column is empty because its cells were refused: then that is said already."""
        return any(problem.column == name and problem.severity == ERROR for problem in self.log.problems())


def _with_split(batch: pa.RecordBatch) -> pa.Array:
    """Rows with a patient and a split."""
    patient, split = batch.column("patient_id").is_valid(), batch.column("split").is_valid()
    return pa.array(np.asarray(patient) & np.asarray(split))


def tracked(
    source: Source, plan: tuple[ResolvedColumn, ...], log: ProblemLog, progress: Progress | None, what: str
) -> Iterator[Chunk]:
    """Chunks of a source, with the share that was read reported after each.

    Where images are read from files, chunks are cut small: their rows are short, but what they name is not.
    """
    done = rows = 0
    with_images = any(column.role is ColumnRole.IMAGE for column in plan)
    for chunk in source.chunks([column.index for column in plan], log):
        yield from chunk.cut(IMAGE_ROWS) if with_images else [chunk]
        rows += len(chunk)
        done += sum(array.nbytes for array in chunk.columns.values())
        if progress is not None:
            progress(min(0.99, done / max(1, source.size)), f"{what}: {rows:,} studies")


def _preview(chunk: Chunk, plan: tuple[ResolvedColumn, ...]) -> Preview:
    columns = [[_shown(cell.as_py()) for cell in chunk.columns[c.index].slice(0, PREVIEW_ROWS)] for c in plan]
    return Preview(
        columns=tuple(column.name for column in plan),
        originals=tuple(column.original for column in plan),
        rows=tuple(zip(*columns, strict=True)),
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = " ".join(str(value).split())
    return text if len(text) <= PREVIEW_CHARACTERS else f"{text[: PREVIEW_CHARACTERS - 1]}…"


def part_of(progress: Progress | None, low: float, high: float) -> Progress | None:
    """A callback that reports a step of longer work: its 0 to 1 become ``low`` to ``high``."""
    if progress is None:
        return None
    return lambda share, text: progress(low + share * (high - low), text)
