"""CSV files as they come out of hospitals: encoding, delimiter and compression told from the content."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from core.errors import CohortError
from models_registry.cohorts.mapping import DELIMITERS, Mapping
from models_registry.cohorts.problems import ProblemLog

HEAD_BYTES = 1 << 20
BLOCK_BYTES = 8 << 20
SAMPLE_RECORDS = 50
_GZIP = b"\x1f\x8b"
_NOT_C1 = bytes(set(range(256)) - set(range(0x80, 0xA0)))
_UNDEFINED_IN_CP1252 = frozenset(b"\x81\x8d\x8f\x90\x9d")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a CSV file is written. ``invalid_row``: first data row (about) that is not in a declared encoding."""

    encoding: str
    guessed: bool
    delimiter: str
    gzipped: bool
    header: tuple[str, ...]
    has_rows: bool
    invalid_row: int | None = None


def open_binary(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed if it is gzip."""
    with path.open("rb") as stream:
        gzipped = stream.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path, "rb") if gzipped else path.open("rb"))


def sniff(path: Path, mapping: Mapping) -> Dialect:
    """Tell encoding, delimiter and header. Reads the whole file once to be sure of the encoding.

    Raises:
        CohortError: when the file holds no text at all.
    """
    with open_binary(path) as stream:
        head = stream.read(HEAD_BYTES)
    encoding, guessed, invalid_row = _encoding(path, head, mapping.encoding)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head, final=len(head) < HEAD_BYTES)
    text = text.removeprefix("\ufeff")
    delimiter = mapping.delimiter or _delimiter(text)
    records = _records(text, delimiter)
    with path.open("rb") as raw:
        gzipped = raw.read(2) == _GZIP
    return Dialect(
        encoding=encoding,
        guessed=guessed,
        delimiter=delimiter,
        gzipped=gzipped,
        header=tuple(records[0]) if records else (),
        has_rows=len(records) > 1 or len(head) == HEAD_BYTES,
        invalid_row=invalid_row,
    )


def _encoding(path: Path, head: bytes, declared: str | None) -> tuple[str, bool, int | None]:
    if declared is not None:
        return declared, False, _first_invalid_row(path, declared)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", False, None
    if b"\0" in head:
        odd, even = head[1::2].count(0), head[0::2].count(0)
        if max(odd, even) < len(head) // 8:
            raise CohortError(
                "The file is not text.", remedy="Give a CSV or Parquet file, not a workbook.", file=path.name
            )
        return ("utf-16-le" if odd > even else "utf-16-be"), True, None
    invalid = _first_invalid_row(path, "utf-8")
    if head.startswith(codecs.BOM_UTF8):  # the file says itself that it is UTF-8: nothing is guessed
        return "utf-8-sig", False, invalid
    if invalid is None:
        return "utf-8", False, None
    return _western(path), True, None


def _first_invalid_row(path: Path, encoding: str) -> int | None:
    """First data row (counted in lines) whose bytes are not valid in ``encoding``; None when all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 0
    with open_binary(path) as stream:
        while chunk := stream.read(HEAD_BYTES):
            try:
                lines += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                return max(1, lines + error.object[: error.start].count(b"\n"))
    return None


def _western(path: Path) -> str:
    """cp1252 where bytes 0x80-0x9F occur and are all defined there; else latin-1, which reads any byte."""
    controls: set[int] = set()
    with open_binary(path) as stream:
        while chunk := stream.read(HEAD_BYTES):
            controls |= set(chunk.translate(None, _NOT_C1))
    return "cp1252" if controls and not controls & _UNDEFINED_IN_CP1252 else "latin-1"


def _delimiter(text: str) -> str:
    """The delimiter that cuts the most records of the head into as many fields as the header has."""

    def fit(delimiter: str) -> tuple[int, int]:
        widths = [len(record) for record in _records(text, delimiter)]
        agreeing = sum(width == widths[0] for width in widths) if widths and widths[0] > 1 else 0
        return agreeing, widths[0] if widths else 0

    return max(DELIMITERS, key=fit) if text else ","


def _records(text: str, delimiter: str) -> list[list[str]]:
    """The first records that are not empty. One that cannot be cut, as a quote is open, counts as one of no field."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[list[str]] = []
    try:
        for record in reader:
            if record:
                found.append(record)
            if len(found) == SAMPLE_RECORDS:
                break
    except csv.Error:
        found.append([])
    return found


class CsvRows:
    """Streams the columns of a CSV file as text, with the number of each data row.

    Rows with too few or too many fields are noted in the log and left out.
    """

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self.path = path
        self.dialect = dialect

    def blocks(self, indices: Sequence[int], log: ProblemLog) -> Iterator[tuple[Any, dict[int, pa.Array]]]:
        """``(row numbers, {column index: string array})`` block by block. Unreadable rests end the stream."""
        skipped: list[int] = []
        names = [f"c{index}" for index in range(len(self.dialect.header))]
        seen = 0
        try:
            with pa.input_stream(str(self.path), compression="gzip" if self.dialect.gzipped else None) as stream:
                reader = self._open(stream, names, [f"c{index}" for index in indices], skipped, log)
                columns: dict[int, pa.Array] = {}
                for batch in reader:
                    rows = _row_numbers(seen, len(batch), skipped)
                    seen += len(batch)
                    columns = {index: batch.column(f"c{index}") for index in indices}
                    yield rows, columns
                if self._ends_in_quote(columns):
                    row = np.array([seen + len(skipped)])
                    log.add("unreadable-rows", rows=row, detail="a quote in it is never closed")
        except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
            row = np.array([seen + len(skipped) + 1])
            log.add("unreadable-rows", rows=row, detail=_reason(error))

    def _ends_in_quote(self, columns: dict[int, pa.Array]) -> bool:
        """Whether the last row swallowed the rest of the file: it holds line breaks, and quotes are uneven."""
        last = [array[-1].as_py() or "" for array in columns.values() if len(array)]
        if not any("\n" in value for value in last):
            return False
        with (
            open_binary(self.path) as raw,
            io.TextIOWrapper(raw, self.dialect.encoding, errors="replace") as text,
        ):
            return sum(line.count('"') for line in text) % 2 == 1

    def _open(
        self, stream: Any, names: list[str], wanted: list[str], skipped: list[int], log: ProblemLog
    ) -> arrow_csv.CSVStreamingReader:
        def skip(row: Any) -> str:
            number = row.number - 1
            skipped.append(number)
            detail = f"{row.actual_columns} fields where the header has {row.expected_columns}"
            log.add("ragged-row", rows=np.array([number]), detail=detail)
            return "skip"

        encoding = "utf8" if self.dialect.encoding in {"utf-8", "utf-8-sig"} else self.dialect.encoding
        return arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                column_names=names,
                skip_rows_after_names=1,
                use_threads=False,
                block_size=BLOCK_BYTES,
                encoding=encoding,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.dialect.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                strings_can_be_null=False,
                include_columns=wanted,
            ),
        )


def _row_numbers(seen: int, length: int, skipped: list[int]) -> Any:
    """Numbers of the kept rows ``seen .. seen + length`` in the file, which also holds the skipped ones."""
    kept = np.arange(seen, seen + length, dtype=np.int64) + 1
    for number in sorted(skipped):
        kept[kept >= number] += 1
    return kept


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "a row is longer than 8 MiB" if "straddling" in text else text.rstrip(".")
