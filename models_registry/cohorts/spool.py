"""Exact checks over all rows in bounded memory: keys are hashed to 64 bits and spooled into bucket files.

Two different identifiers of a file of n rows share a hash with probability of about n^2 / 2^65: 3e-8 for a million
rows, 7e-5 for fifty million.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.errors import EnvironmentProblemError

BUCKETS = 64
BUFFER_RECORDS = 1 << 20

Keys = npt.NDArray[np.uint64]


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Turns 'no space left on device' into a message with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise EnvironmentProblemError(
            f"The disk that holds {folder} is full.",
            remedy="Free about twice the size of the file, or set TMPDIR and AUSCULT_HOME to a larger disk.",
        ) from error


def hash_ids(ids: pa.Array) -> Keys:
    """BLAKE2b-64 of each identifier (UTF-8), little-endian. The same on every machine, today and tomorrow."""
    encoded = ids.dictionary_encode()
    digests = b"".join(blake2b(v.encode(), digest_size=8).digest() for v in encoded.dictionary.to_pylist())
    table = np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    keys: Keys = table[encoded.indices.to_numpy(zero_copy_only=False)]
    return keys


class KeySpool:
    """Collects ``(key, value)`` pairs and gives them back bucket by bucket, equal keys in one bucket.

    Holds at most about a million pairs in memory; the rest lies in ``folder``.
    """

    _record = np.dtype([("key", "<u8"), ("value", "<i8")])

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._buffer: list[npt.NDArray[np.void]] = []
        self._held = 0
        self._spilled = False

    def add(self, keys: Keys, values: npt.NDArray[np.int64]) -> None:
        records = np.empty(len(keys), dtype=self._record)
        records["key"], records["value"] = keys, values
        self._buffer.append(records)
        self._held += len(records)
        if self._held >= BUFFER_RECORDS:
            self._spill()

    def buckets(self) -> Iterator[tuple[Keys, npt.NDArray[np.int64]]]:
        """Keys and values, sorted by key, within a key in the order of value."""
        if self._spilled:
            self._spill()
            for bucket in range(BUCKETS):
                path = self._path(bucket)
                if path.exists():
                    yield self._sorted(np.fromfile(path, dtype=self._record))
        elif self._buffer:
            yield self._sorted(np.concatenate(self._buffer))

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{self._name}-{bucket:02d}.keys"

    def _spill(self) -> None:
        if not self._buffer:
            return
        records = np.concatenate(self._buffer)
        bucket = (records["key"] >> np.uint64(58)).astype(np.int64)
        records, bucket = records[np.argsort(bucket, kind="stable")], np.sort(bucket)
        edges = np.searchsorted(bucket, np.arange(BUCKETS + 1))
        for number in range(BUCKETS):
            part = records[edges[number] : edges[number + 1]]
            if len(part):
                with self._path(number).open("ab") as stream:
                    part.tofile(stream)
        self._buffer, self._held, self._spilled = [], 0, True

    @staticmethod
    def _sorted(records: npt.NDArray[np.void]) -> tuple[Keys, npt.NDArray[np.int64]]:
        order = np.lexsort((records["value"], records["key"]))
        return records["key"][order].astype(np.uint64), records["value"][order].astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Keys that occur again: the rows of the later occurrences, and the first pair of rows."""

    rows: npt.NDArray[np.int64]
    first: int | None
    again: int | None


def repeated(spool: KeySpool) -> Repeats:
    """Rows (the spool's values) whose key occurred in an earlier row."""
    later: list[npt.NDArray[np.int64]] = []
    first = again = None
    for keys, rows in spool.buckets():
        same = np.flatnonzero(keys[1:] == keys[:-1]) + 1
        if len(same) == 0:
            continue
        later.append(rows[same])
        lowest = same[np.argmin(rows[same])]
        if again is None or rows[lowest] < again:
            start = np.searchsorted(keys, keys[lowest])
            first, again = int(rows[start]), int(rows[lowest])
    rows_again = np.concatenate(later) if later else np.empty(0, dtype=np.int64)
    return Repeats(rows=rows_again, first=first, again=again)


@dataclass(frozen=True, kw_only=True)
class PatientCounts:
    """How many patients there are, and how many have 1, 2, 3 ... studies."""

    n_patients: int
    studies: dict[int, int]


def count_patients(spool: KeySpool) -> PatientCounts:
    """Patients and their numbers of studies from a spool of one key per study."""
    studies: dict[int, int] = {}
    for keys, _ in spool.buckets():
        _, counts = np.unique(keys, return_counts=True)
        for size, patients in zip(*np.unique(counts, return_counts=True), strict=True):
            studies[int(size)] = studies.get(int(size), 0) + int(patients)
    return PatientCounts(n_patients=sum(studies.values()), studies=studies)


def in_two(spool: KeySpool) -> npt.NDArray[np.int64]:
    """Rows at which a patient first turns up in a further split.

    The spool's values are ``row * 256 + code of the split``.
    """
    found: list[npt.NDArray[np.int64]] = []
    for keys, values in spool.buckets():
        rows, codes = values >> 8, values & 255
        order = np.lexsort((rows, keys))
        keys, rows, codes = keys[order], rows[order], codes[order]
        start = np.searchsorted(keys, keys)
        differs = codes != codes[start]
        _, once = np.unique(keys[differs], return_index=True)
        found.append(rows[differs][once])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
