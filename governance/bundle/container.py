"""The zip of a bundle in its one canonical form: written and compared piece by piece, never as a whole in memory.

Standard library only. Nothing is ever unpacked: entries are taken as they lie in the file, so nothing can swell.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .layout import MAX_BYTES, MAX_FILES

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
DATE_1980 = 0x21
PIECE = 4 << 20
INLINE = 256 << 10
"""Below this many bytes a second thread costs more than it saves."""

Content = bytes | Path
Forget = Callable[[int, int], None]
"""Told a range of the file that will not be needed soon, so that its pages need not stay in memory."""


class OversizeError(ValueError):
    """More than the sizes in a zip header can say."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the zip: its name, where its data begins, and the data."""

    name: str
    begin: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class Sums:
    """What is taken of the bytes of one file, in one pass."""

    sha256: str
    crc: int
    size: int


def read_entries(raw: memoryview) -> list[Entry]:
    """Every entry from the front, as far as they follow one another."""
    entries: list[Entry] = []
    at = 0
    while bytes(raw[at : at + 4]) == b"PK\3\4" and at + LOCAL.size <= len(raw) and len(entries) <= MAX_FILES:
        *_, size, _, name_length, extra_length = LOCAL.unpack_from(raw, at)
        name = bytes(raw[at + LOCAL.size : at + LOCAL.size + name_length]).decode("latin-1")
        begin = at + LOCAL.size + name_length + extra_length
        entries.append(Entry(name, begin, raw[begin : begin + size]))
        at = begin + size
    return entries


def sums_of(entries: Sequence[Entry], forget: Forget) -> list[Sums]:
    """SHA-256 and CRC-32 of every entry. The two run in two threads: both leave the interpreter free meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return [_sums(entry, pool, forget) for entry in entries]


def _sums(entry: Entry, pool: ThreadPoolExecutor, forget: Forget) -> Sums:
    data, size = entry.data, len(entry.data)
    if size <= INLINE:
        return Sums(hashlib.sha256(data).hexdigest(), zlib.crc32(data), size)
    digest, crc = hashlib.sha256(), 0
    for at in range(0, size, PIECE):
        piece = data[at : at + PIECE]
        waiting = pool.submit(zlib.crc32, piece, crc)
        digest.update(piece)
        crc = waiting.result()
        forget(entry.begin + at, entry.begin + at + len(piece))
    return Sums(digest.hexdigest(), crc, size)


def _headers(name: bytes, crc: int, size: int, offset: int) -> tuple[bytes, bytes]:
    """Local header and directory record: stored, no extra fields, 1980-01-01, mode 644."""
    if offset + size > MAX_BYTES:
        raise OversizeError("the sizes and places in a zip header end at 4 GiB")
    common = (0, 0, 0, DATE_1980, crc, size, size, len(name), 0)
    local = LOCAL.pack(b"PK\3\4", 10, *common) + name
    return local, CENTRAL.pack(b"PK\1\2", 3 << 8 | 10, 10, *common, 0, 0, 0, 0o100644 << 16, offset) + name


def _end(count: int, directory: int, offset: int) -> bytes:
    return END.pack(b"PK\5\6", 0, 0, count, count, directory, offset, 0)


def canonical_pieces(files: Iterable[tuple[str, Content]]) -> Iterator[bytes]:
    """The one zip of these files in the order given, in pieces. A path is read twice, and never as a whole.

    Raises:
        OversizeError: all together have more than 4 GiB.
    """
    directory, offset, count = bytearray(), 0, 0
    for name, content in files:
        crc, size = _measure(content)
        local, record = _headers(name.encode("latin-1"), crc, size, offset)
        directory += record
        yield local
        yield from pieces_of(content)
        offset += len(local) + size
        count += 1
    end = _end(count, len(directory), offset)
    if offset + len(directory) + len(end) > MAX_BYTES:
        raise OversizeError("a bundle has at most 4 GiB")
    yield bytes(directory)
    yield end


def canonical_zip(files: Iterable[tuple[str, bytes]]) -> bytes:
    """:func:`canonical_pieces`, put together."""
    return b"".join(canonical_pieces(files))


def pieces_of(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def _measure(content: Content) -> tuple[int, int]:
    crc, size = 0, 0
    for piece in pieces_of(content):
        crc, size = zlib.crc32(piece, crc), size + len(piece)
    return crc, size


def first_difference(raw: memoryview, entries: Sequence[Entry], sums: Sequence[Sums]) -> tuple[str, int] | None:
    """Where the zip first differs from the canonical form of its own entries, and the file that this belongs to.

    The data of an entry is in both by construction. So only what lies between is compared: its header before it, and
    behind the last one the directory and the end record, after which nothing may follow.
    """
    at, records = 0, []
    for entry, its in zip(entries, sums, strict=True):
        local, record = _headers(entry.name.encode("latin-1"), its.crc, its.size, at)
        if (place := _unequal(raw, at, local)) is not None:
            return entry.name, place
        records.append((entry.name, record))
        at += len(local) + its.size
    directory = at
    for name, record in records:
        if (place := _unequal(raw, at, record)) is not None:
            return name, place
        at += len(record)
    end = _end(len(entries), at - directory, directory)
    if (place := _unequal(raw, at, end)) is not None:
        return "the zip file", place
    return ("the zip file", at + len(end)) if len(raw) > at + len(end) else None


def _unequal(raw: memoryview, at: int, expected: bytes) -> int | None:
    found = bytes(raw[at : at + len(expected)])
    if found == expected:
        return None
    same = (index for index, (one, two) in enumerate(zip(found, expected, strict=False)) if one != two)
    return at + next(same, len(found))
