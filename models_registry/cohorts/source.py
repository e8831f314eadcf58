"""A Parquet or CSV file as a stream of chunks, whatever it is: what the checks and the conversion read from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import CohortError
from models_registry.cohorts.delimited import CsvRows, sniff
from models_registry.cohorts.mapping import Mapping
from models_registry.cohorts.problems import ProblemLog

CHUNK_BYTES = 16 << 20
MAX_CHUNK_ROWS = 1 << 16
_PARQUET = b"PAR1"
_WORKBOOKS = {b"PK\x03\x04": "an Excel workbook or ZIP archive", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some rows of a file. ``rows``: their numbers, from 1; ``columns``: index in the file -> values."""

    rows: npt.NDArray[np.int64]
    columns: dict[int, pa.Array]

    def __len__(self) -> int:
        return len(self.rows)

    def cut(self, length: int) -> Iterator[Chunk]:
        """The chunk in pieces of at most ``length`` rows."""
        for start in range(0, len(self), length):
            columns = {index: array.slice(start, length) for index, array in self.columns.items()}
            yield Chunk(rows=self.rows[start : start + length], columns=columns)


class Source(Protocol):
    """A file that can be streamed. ``typed`` is False where every value is text (CSV)."""

    path: Path
    columns: tuple[str, ...]
    typed: bool
    size: int

    def chunks(self, indices: Sequence[int], log: ProblemLog) -> Iterator[Chunk]: ...


def open_source(path: Path, mapping: Mapping, log: ProblemLog) -> Source:
    """Open a file by its content, not by its name. What is odd about it goes to ``log``.

    Raises:
        CohortError: when it cannot be opened at all: missing, a folder, not readable, broken Parquet, a workbook.
    """
    head = _head(path)
    if path.suffix.lower() in {".parquet", ".pq"} or head.startswith(_PARQUET):
        return ParquetSource(path)
    for magic, kind in _WORKBOOKS.items():
        if head.startswith(magic):
            raise CohortError(f"The file is {kind}.", remedy="Save it as CSV (UTF-8) or Parquet.", file=path.name)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in {b"{", b"["}:
        raise CohortError("The file is JSON.", remedy="Write it as CSV (UTF-8) or Parquet.", file=path.name)
    return CsvSource(path, mapping, log)


def _head(path: Path) -> bytes:
    if not path.exists():
        raise CohortError("There is no such file.", remedy="Check the path.", file=str(path))
    if path.is_dir():
        raise CohortError("This is a folder.", remedy="Give the CSV or Parquet file inside it.", file=str(path))
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise CohortError(
            f"The file cannot be read ({error.strerror}).", remedy="Check its permissions.", file=str(path)
        ) from error
    if not head:
        raise CohortError("The file is empty.", remedy="Export it again.", file=path.name)
    return head


class CsvSource:
    """A CSV file. All values are text; see :mod:`models_registry.cohorts.delimited`."""

    typed = False

    def __init__(self, path: Path, mapping: Mapping, log: ProblemLog) -> None:
        self.path = path
        try:
            self._dialect = sniff(path, mapping)
        except (OSError, EOFError, zlib.error) as error:
            raise CohortError(
                "The file cannot be decompressed: it is cut short, or some of it was changed.",
                remedy="Copy or export it again.",
                file=path.name,
            ) from error
        self.columns = self._dialect.header
        self.size = path.stat().st_size
        self.dialect = self._dialect
        if self._dialect.guessed:
            log.add("guessed-encoding", detail=self._dialect.encoding)
        if self._dialect.invalid_row is not None:
            log.add("wrong-encoding", rows=np.array([self._dialect.invalid_row]), detail=self._dialect.encoding)
        if not self.columns:
            log.add("empty-file")

    def chunks(self, indices: Sequence[int], log: ProblemLog) -> Iterator[Chunk]:
        if self._dialect.invalid_row is not None or not self._dialect.has_rows:
            return
        for rows, columns in CsvRows(self.path, self._dialect).blocks(indices, log):
            yield Chunk(rows=rows, columns=columns)


class ParquetSource:
    """A Parquet file, read in chunks of about 16 MiB so that one huge row group does not fill the memory."""

    typed = True

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with self._open() as file:
                self._schema = file.schema_arrow
                metadata = file.metadata
                groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
                self.n_rows = metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise CohortError(
                "The file is named or marked as Parquet but cannot be read as Parquet.",
                remedy="Write it again; a copy may have broken off. A CSV file must be named .csv.",
                file=path.name,
            ) from error
        self.columns = tuple(self._schema.names)
        self.size = sum(groups)

    def _open(self) -> Any:
        return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20, memory_map=False)

    def chunks(self, indices: Sequence[int], log: ProblemLog) -> Iterator[Chunk]:
        row_bytes = max(1, self.size // max(1, self.n_rows))
        length = int(min(MAX_CHUNK_ROWS, max(1, CHUNK_BYTES // row_bytes)))
        names = sorted({self.columns[index] for index in indices})
        unique = len(set(self.columns)) == len(self.columns)
        seen = 0
        try:
            with self._open() as file:
                selected = names if unique else None
                for batch in file.iter_batches(batch_size=length, columns=selected, use_threads=False):
                    place = {name: i for i, name in enumerate(batch.schema.names)} if unique else None
                    columns = {i: batch.column(place[self.columns[i]] if place else i) for i in indices}
                    yield Chunk(rows=np.arange(seen, seen + len(batch), dtype=np.int64) + 1, columns=columns)
                    seen += len(batch)
        except (pa.ArrowException, OSError) as error:
            log.add("unreadable-rows", rows=np.array([seen + 1]), detail=str(error).splitlines()[0])
