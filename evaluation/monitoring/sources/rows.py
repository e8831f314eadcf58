"""Rows of any origin as one Parquet file: the same rows give the same bytes."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from core.errors import CohortError

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 20_000
LONGEST_LINE = 64 << 20
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""What half of a surrogate pair looks like, escaped or not."""


def write_rows(rows: Iterable[dict[str, Any]], target: Path) -> int:
    """Write rows; returns how many. Columns come in the order of their first appearance.

    A column of numbers stays one, one of mixed kinds becomes text. Moments keep the zone they have, as ISO 8601 text;
    lists become JSON text, bytes stay. Nothing is written without rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[pa.Table] = []
    stream = iter(rows)
    while part := list(islice(stream, AT_ONCE)):
        names = list(dict.fromkeys(name for row in part for name in row))
        tables.append(pa.table({name: _column([plain(row.get(name)) for row in part]) for name in names}))
    if not tables:
        return 0
    table = pa.concat_tables(_alike(tables), promote_options="default")
    pq.write_table(table, target, version="2.6", compression="zstd", write_statistics=False)
    return len(table)


def plain(value: Any) -> Any:
    """A value as Parquet can hold it: numbers, text, bytes."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, list | dict | tuple):
        return json.dumps(value)
    return value if value is None or isinstance(value, bool | int | float | str | bytes) else str(value)


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        try:
            return pa.array([float(v) if float in kinds and v is not None else v for v in values]
                            if kinds <= {int, float} else values)  # fmt: skip
        except (pa.ArrowException, OverflowError):  # a whole number beyond 64 bits: text keeps all its digits
            return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _alike(tables: list[pa.Table]) -> list[pa.Table]:
    """The tables with one type for each column: what differs becomes a float or text."""
    import pyarrow as pa

    found: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            found.setdefault(field.name, set()).add(field.type)
    types = {name: _joint({kind for kind in kinds if not pa.types.is_null(kind)}) for name, kinds in found.items()}
    return [table.cast(pa.schema([(name, types[name]) for name in table.column_names])) for table in tables]


def _joint(kinds: set[Any]) -> Any:
    import pyarrow as pa

    if len(kinds) == 1:
        return next(iter(kinds))
    return pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.string()


def ndjson_rows(stream: IO[bytes], *, name: str) -> Iterator[dict[str, Any]]:
    """Objects of a stream, one a line. ``image`` is the base64 of an image's bytes.

    Raises:
        CohortError: a line that is no JSON object, or an image that is no base64: its number, and none of its words.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE):
        if not line.strip():
            continue
        number += 1
        row = json_object(line)
        if row is None:
            raise CohortError(
                "A line is no JSON object.", remedy="Send one object a line, in UTF-8.", file=name, row=number
            )
        if isinstance(row.get("image"), str):
            row["image"] = _image(row["image"], name, number)
        yield row


def json_object(line: bytes) -> dict[str, Any] | None:
    """The object; None where it is none, or holds half of a surrogate pair, which is no character and no UTF-8."""
    try:
        row = json.loads(line)
        if SURROGATE.search(line):
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _image(text: str, name: str, row: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CohortError(
            "An image is no base64.",
            remedy="Send the bytes of PNG, JPEG or DICOM in base64, or a Parquet file.",
            file=name,
            column="image",
            row=row,
        ) from None
