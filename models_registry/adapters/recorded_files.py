"""Reading the tables of a recorded model: Parquet, or CSV in UTF-8. Registers no adapter."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import AdapterError

BLOCK_BYTES = 1 << 20
"""Least size of the blocks that a CSV file is parsed in; a row, with its longest text, must fit into one."""


_QUOTED = re.compile(r"\b(columns, got \d+|invalid value)\b.*")
"""Where Arrow's message goes on with the row or the cell itself, which may tell of a patient."""


def find_one(folder: Path, names: Sequence[str], *, needed: bool) -> Path | None:
    """The one file of these names in a folder.

    Raises:
        AdapterError: there are several, or none and one is needed.
    """
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1 or (needed and not found):
        raise AdapterError(
            f"The folder must hold one of {' and '.join(names)}; it holds {len(found)} of them.",
            remedy="Put the prediction log into a folder of its own under one of these names.",
            file=str(folder),
        )
    return found[0] if found else None


def read_table(path: Path, *, texts: Sequence[str], blank: Sequence[str] | None = None) -> Any:
    """The rows of a file as an Arrow table; ``study_id`` is text.

    Args:
        texts: Columns of a CSV file that are text whatever stands in them.
        blank: What a missing cell of a CSV file looks like; what Arrow takes for one ("", NA, NaN, ...) unless given.

    Raises:
        AdapterError: the file cannot be read, has no row, or has a column twice; bytes that are no UTF-8, with the row.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            with pa.parquet.ParquetFile(path) as file:
                table = file.read()
        else:
            table = _csv(path, texts, blank)
    except (pa.ArrowException, OSError) as error:
        told = _QUOTED.sub(r"\1", str(error).splitlines()[0].replace(str(path), path.name))
        raise bad_file(
            path, f"The file cannot be read: {told}", "Write it again as Parquet, or as CSV in UTF-8.", None
        ) from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise bad_file(path, f"There are several columns {', '.join(twice)}.", "Keep one of each.", twice[0])
    if len(table) == 0:
        raise bad_file(path, "The log has no study.", "Write it again with its rows.", None)
    return _with_text_ids(path, table)


def _csv(path: Path, texts: Sequence[str], blank: Sequence[str] | None) -> Any:
    import pyarrow as pa
    import pyarrow.csv

    _check_utf8(path)
    return pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(block_size=max(BLOCK_BYTES, path.stat().st_size + 1)),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in texts}, null_values=blank, strings_can_be_null=True
        ),
    )


def _check_utf8(path: Path) -> None:
    data = path.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").splitlines(keepends=True)
        row = max(sum(1 for _ in csv.reader(before)) - 1, 0)
        raise bad_file(
            path,
            f"The file is not in UTF-8: byte {error.start + 1} is 0x{data[error.start]:02x}.",
            "Export it again in UTF-8.",
            None,
            row or None,
        ) from error


def _with_text_ids(path: Path, table: Any) -> Any:
    import pyarrow as pa

    place = table.schema.get_field_index("study_id")
    if place < 0 or pa.types.is_string(table.schema.field(place).type):
        return table
    try:
        return table.set_column(place, "study_id", table.column(place).cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        kind = table.schema.field(place).type
        raise bad_file(
            path, f"The column has the type {kind}.", "Write identifiers as text or whole numbers.", "study_id"
        ) from error


def bad_file(path: Path, message: str, remedy: str, column: str | None, row: int | None = None) -> AdapterError:
    """An error of a file that names it."""
    return AdapterError(message, remedy=remedy, file=path.name, column=column, row=row)
