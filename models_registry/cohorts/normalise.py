"""From a chunk of a file to a batch of the contract: canonical names, typed values, every problem noted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models_registry.cohorts import values as cells
from models_registry.cohorts.images import ImageFault, ImageFolder, decode_image, dicom_identifiers, is_dicom
from models_registry.cohorts.mapping import Mapping, ResolvedColumn, fold
from models_registry.cohorts.problems import ProblemLog
from models_registry.cohorts.schema import ColumnRole
from models_registry.cohorts.series import SERIES_TYPE, parse_series
from models_registry.cohorts.source import Chunk

MAX_AGE = 120
_AGES = frozenset({"age", "patient_age", "patient age", "age_years", "age_at_study"})
_ORDER = tuple(ColumnRole)
_EXPECTED = {
    ColumnRole.PATIENT_ID: "text or whole numbers",
    ColumnRole.STUDY_ID: "text or whole numbers",
    ColumnRole.STUDY_TIME: "ISO 8601, such as 2024-05-31 or 2024-05-31T14:05",
    ColumnRole.SPLIT: "text",
    ColumnRole.LABEL: "1, 0 or empty",
    ColumnRole.PRED: "1, 0 or empty",
    ColumnRole.TRUNCATED: "1 where the text was cut off, else 0 or empty",
    ColumnRole.SCORE: "numbers from 0 to 1 with a decimal point",
    ColumnRole.TEXT: "text",
    ColumnRole.IMAGE: "bytes of PNG, JPEG or DICOM, or relative paths",
    ColumnRole.SERIES: "lists of time and value",
    ColumnRole.COVARIATE: "text or numbers",
}


def in_order(plan: tuple[ResolvedColumn, ...]) -> tuple[ResolvedColumn, ...]:
    """Columns in the order of a registered cohort: identifiers, then by role, then as in the file."""
    return tuple(sorted(plan, key=lambda column: _ORDER.index(column.role)))


class Normaliser:
    """Applies a plan of columns to chunks. Cells that are wrong become null and are noted in the log.

    Covariates of untyped files stay text here: whether a column is of numbers is known after all rows only.
    """

    def __init__(
        self,
        plan: tuple[ResolvedColumn, ...],
        *,
        mapping: Mapping,
        typed: bool,
        images: ImageFolder,
        log: ProblemLog,
        check_images: bool = True,
    ) -> None:
        self.plan = in_order(plan)
        self._typed = typed
        self._images = images
        self._log = log
        self._check_images = check_images
        self._tables = {column.name: _table_for(column, mapping) for column in plan}
        self._parsers: dict[ColumnRole, Callable[[ResolvedColumn, pa.Array, Any], pa.Array]] = {
            ColumnRole.PATIENT_ID: self._identifier,
            ColumnRole.STUDY_ID: self._identifier,
            ColumnRole.STUDY_TIME: self._time,
            ColumnRole.LABEL: self._binary,
            ColumnRole.PRED: self._binary,
            ColumnRole.TRUNCATED: self._binary,
            ColumnRole.SCORE: self._score,
            ColumnRole.TEXT: self._text,
            ColumnRole.SPLIT: self._split,
            ColumnRole.IMAGE: self._image,
            ColumnRole.SERIES: self._series,
            ColumnRole.COVARIATE: self._covariate,
        }

    def apply(self, chunk: Chunk) -> pa.RecordBatch:
        """The chunk's rows with canonical columns."""
        made = []
        for column in self.plan:
            array = cells.flat(chunk.columns[column.index])
            table = self._tables[column.name]
            if table and column.role not in {ColumnRole.IMAGE, ColumnRole.SERIES} and not _opaque(array.type):
                array = cells.translate(array, table)
            made.append(self._parsers[column.role](column, array, chunk.rows))
        return pa.RecordBatch.from_arrays(made, names=[column.name for column in self.plan])

    def inferred(self, column: ResolvedColumn) -> bool:
        """Whether a covariate's type is told from its values: in CSV, and where the mapping rewrote them."""
        return not self._typed or bool(self._tables[column.name])

    def _wrong_type(self, column: ResolvedColumn, array: pa.Array, null: pa.DataType) -> pa.Array:
        key = (column.name, str(array.type))
        detail, expected = f"the type {key[1]}", _EXPECTED[column.role]
        self._log.add("wrong-type", column=column.name, detail=detail, examples=[expected])
        return pa.nulls(len(array), null)

    def _identifier(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        parsed = cells.parse_id(array)
        if parsed is None:
            self._log.add("missing-id", column=column.name, rows=rows[_empty(array)])
            return self._wrong_type(column, array, pa.string())
        self._log.add("missing-id", column=column.name, rows=rows[parsed.bad])
        return parsed.values

    def _time(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        parsed = cells.parse_time(array)
        if parsed is None:
            return self._wrong_type(column, array, pa.timestamp("us"))
        expected = [_EXPECTED[column.role]]
        self._log.add(
            "wrong-type",
            column=column.name,
            rows=rows[parsed.bad],
            detail="values that are no time",
            examples=expected,
        )
        return parsed.values

    def _binary(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        parsed = cells.parse_binary(array)
        if parsed is None:
            return self._wrong_type(column, array, pa.int8())
        if parsed.bad.any():
            code = "label-value" if column.role is ColumnRole.LABEL else "prediction-value"
            examples = parsed.bad_examples(array)
            self._log.add(code, column=column.name, rows=rows[parsed.bad], examples=examples)
        return parsed.values

    def _score(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        parsed = cells.parse_number(array)
        if parsed is None:
            return self._wrong_type(column, array, pa.float64())
        if parsed.bad.any():
            detail = f"values that are not numbers, such as {parsed.bad_examples(array)[0]}"
            expected = [_EXPECTED[column.role]]
            self._log.add("wrong-type", column=column.name, rows=rows[parsed.bad], detail=detail, examples=expected)
        number = parsed.values
        odd = cells.mask_of(pc.invert(pc.is_finite(number)))
        if odd.any():
            examples = sorted({_spelt(value) for value in pc.unique(number.filter(pa.array(odd))).to_pylist()})
            self._log.add("score-nan", column=column.name, rows=rows[odd], examples=examples)
        outside = cells.mask_of(pc.or_(pc.less(number, 0.0), pc.greater(number, 1.0))) & ~odd
        if outside.any():
            examples = [f"{value:g}" for value in number.filter(pa.array(outside)).slice(0, 5).to_pylist()]
            self._log.add("score-range", column=column.name, rows=rows[outside], examples=examples)
        return pc.if_else(pa.array(odd | outside), pa.scalar(None, pa.float64()), number)

    def _text(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        if not (cells.is_text(array.type) or pa.types.is_null(array.type)):
            return self._wrong_type(column, array, pa.string())
        text = array.cast(pa.string())
        blank = pc.equal(pc.utf8_trim_whitespace(text), "")
        return pc.if_else(blank, pa.scalar(None, pa.string()), text)

    def _split(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        if _opaque(array.type):
            return self._wrong_type(column, array, pa.string())
        return cells.as_text(array)

    def _covariate(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        parsed = cells.parse_covariate(array, typed=self._typed)
        if parsed is None:
            return self._wrong_type(column, array, pa.string())
        self._log.add(
            "wrong-type",
            column=column.name,
            rows=rows[parsed.bad],
            detail="infinite values",
            examples=["finite numbers"],
        )
        if fold(column.name) in _AGES:
            self._check_age(column, parsed.values, rows)
        return parsed.values

    def _check_age(self, column: ResolvedColumn, values: pa.Array, rows: Any) -> None:
        parsed = cells.parse_number(values)
        if parsed is None:
            return
        odd = cells.mask_of(pc.or_(pc.less(parsed.values, 0.0), pc.greater(parsed.values, float(MAX_AGE))))
        if odd.any():
            examples = [
                f"{value:g}" for value in pc.unique(parsed.values.filter(pa.array(odd))).slice(0, 5).to_pylist()
            ]
            self._log.add("implausible-age", column=column.name, rows=rows[odd], examples=examples)

    def _series(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        parsed = parse_series(array)
        if parsed is None:
            return self._wrong_type(column, array, SERIES_TYPE)
        series, faults, disordered = parsed
        for index, reason in faults.items():
            self._log.add("series-format", column=column.name, rows=rows[index : index + 1], detail=reason)
        self._log.add("series-time-order", column=column.name, rows=rows[disordered])
        return series

    def _image(self, column: ResolvedColumn, array: pa.Array, rows: Any) -> pa.Array:
        """Encoded bytes as they are; null where there is no usable image."""
        if cells.is_text(array.type):
            array = cells.trimmed(array)
        elif not (cells.is_bytes(array.type) or pa.types.is_null(array.type)):
            return self._wrong_type(column, array, pa.binary())
        made: list[bytes | None] = []
        for index, cell in enumerate(array):
            made.append(self._one_image(column, cell.as_py(), rows[index : index + 1]))
        return pa.array(made, pa.binary())

    def _one_image(self, column: ResolvedColumn, cell: str | bytes | None, row: Any) -> bytes | None:
        if not cell:
            return None
        try:
            data = self._images.read(cell) if isinstance(cell, str) else cell
            if self._check_images:
                self._check_image(column, data, row)
        except ImageFault as fault:
            name = f"{cell}: " if isinstance(cell, str) and cell not in fault.detail else ""
            self._log.add(fault.code, column=column.name, rows=row, detail=f"{name}{fault.detail}")
            return None
        return data

    def _check_image(self, column: ResolvedColumn, data: bytes, row: Any) -> None:
        decode_image(data)
        if is_dicom(data) and (named := dicom_identifiers(data)):
            self._log.add("dicom-identifiers", column=column.name, rows=row, detail=", ".join(named))


def _empty(array: pa.Array) -> cells.Mask:
    """Where a cell is missing; a floating NaN is one, as pandas makes it of a missing whole number."""
    return cells.mask_of(pc.is_null(array, nan_is_null=True))


def _spelt(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:+g}"


def _opaque(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) or cells.is_bytes(kind)


def _table_for(column: ResolvedColumn, mapping: Mapping) -> dict[str, Any]:
    """The mapping's values of a column, found by its name in the contract or in the file."""
    for key, table in mapping.values.items():
        if key in {column.name, column.original} or fold(key) in {fold(column.name), fold(column.original)}:
            return table
    return {}


def cast_covariates(batch: pa.RecordBatch, types: dict[str, pa.DataType]) -> pa.RecordBatch:
    """Covariates in the types that the inspection found for the whole file."""
    arrays = [
        _cast(batch.column(i), types[name]) if name in types else batch.column(i)
        for i, name in enumerate(batch.schema.names)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    text = pc.utf8_ltrim(array, characters="+") if cells.is_text(array.type) else array
    return text.cast(kind)
