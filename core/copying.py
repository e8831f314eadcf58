"""Copying files while they are hashed: each byte is read once, memory stays within a few MiB, holes stay holes."""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.digests import CHUNK_BYTES, Progress, Tally, in_threads, walk_files
from core.errors import ConflictError

BUFFERS = 4
BLOCK_BYTES = 4096
_ZEROS = memoryview(bytes(CHUNK_BYTES))


@dataclass(frozen=True, kw_only=True)
class Extent:
    """A stretch of a file, from ``start`` to before ``end``: bytes, or a hole that reads as zeros."""

    start: int
    end: int
    hole: bool


def copy_folder(source: Path, target: Path, *, progress: Progress | None = None) -> dict[str, str]:
    """Copy every plain file under ``source`` to ``target``, which must not exist; returns the manifest.

    Raises:
        ConflictError: a file changed while it was read.
    """
    paths = list(walk_files(source))
    target.mkdir(parents=True, mode=0o700)
    for folder in sorted({path.parent for path in paths}):
        (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True, mode=0o700)
    tally = Tally(total=sum(path.stat().st_size for path in paths))

    def copy(path: Path) -> str:
        return copy_file(path, target / path.relative_to(source), tally)

    digests = in_threads(copy, paths, tally=tally, progress=progress)
    return {path.relative_to(source).as_posix(): digest for path, digest in zip(paths, digests, strict=True)}


def copy_file(source: Path, target: Path, tally: Tally) -> str:
    """Copy a file, hash what was read, and return the SHA-256: a second thread hashes while this one reads and writes.

    Raises:
        ConflictError: the file changed meanwhile.
    """
    with _open_plain(source) as reader, _Target(target) as writer:
        before = os.fstat(reader.fileno())
        if before.st_size <= CHUNK_BYTES:
            return _copy_small(source, reader, writer, before.st_size, tally)
        writer.pass_the_cache()
        hashing = _Hashing()
        try:
            for extent in extents(reader.fileno(), before.st_size):
                if extent.hole:
                    _skip_hole(extent, hashing, tally)
                else:
                    _copy_extent(reader, writer, extent, hashing, tally)
            writer.end_at(before.st_size)
        finally:
            digest = hashing.finish()
        after = os.fstat(reader.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed(source)
    return digest


def _open_plain(path: Path) -> io.FileIO:
    """The file itself: where it was exchanged for a link after it was looked at, that is a change, not followed."""
    try:
        return io.FileIO(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _changed(path) from error


def _copy_small(source: Path, reader: io.FileIO, writer: _Target, size: int, tally: Tally) -> str:
    data = reader.read(CHUNK_BYTES + 1) or b""
    if len(data) != size:
        raise _changed(source)
    writer.write(memoryview(data), 0)
    tally.add(size)
    return hashlib.sha256(data).hexdigest()


def extents(handle: int, size: int) -> Iterator[Extent]:
    """The stretches of an open file, in order. A file system that knows no holes gives one stretch of bytes."""
    place = 0
    while place < size:
        try:
            start = os.lseek(handle, place, os.SEEK_DATA)
            end = os.lseek(handle, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno not in {errno.ENXIO, errno.EINVAL, errno.ENOTSUP}:
                raise
            yield Extent(start=place, end=size, hole=error.errno == errno.ENXIO)  # ENXIO: no bytes from here on
            return
        if start > place:
            yield Extent(start=place, end=min(start, size), hole=True)
        if start < size:
            yield Extent(start=start, end=min(end, size), hole=False)
        place = end


def _copy_extent(reader: io.FileIO, writer: _Target, extent: Extent, hashing: _Hashing, tally: Tally) -> None:
    reader.seek(extent.start)
    place = extent.start
    while place < extent.end:
        buffer = hashing.buffer()
        view = memoryview(buffer)[: min(extent.end - place, CHUNK_BYTES)]
        count = reader.readinto(view)
        if not count:
            raise _changed(Path(str(reader.name)))
        hashing.bytes(buffer, count)
        writer.write(view[:count], place)
        hashing.written(buffer)
        place += count
        tally.add(count)


def _skip_hole(extent: Extent, hashing: _Hashing, tally: Tally) -> None:
    """Hash zeros for a hole without reading or writing any."""
    for start in range(extent.start, extent.end, CHUNK_BYTES):
        count = min(CHUNK_BYTES, extent.end - start)
        hashing.zeros(count)
        tally.add(count)


class _Target:
    """A file that is written at given places, past the page cache where the file system lets it.

    A checkpoint that is larger than memory would push everything else out of the cache, and filling the cache costs
    more than writing to the disk. Such writes are of whole blocks from memory at a block's border; what is not goes
    through the cache.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._plain = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._direct: int | None = None

    def __enter__(self) -> _Target:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._plain)
        if self._direct is not None:
            os.close(self._direct)

    def pass_the_cache(self) -> None:
        """Write whole buffers straight to the disk from now on, where the file system can."""
        try:
            self._direct = os.open(self._path, os.O_WRONLY | os.O_DIRECT)
        except OSError as error:  # tmpfs and some network file systems
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise

    def write(self, view: memoryview, place: int) -> None:
        """Write all of ``view`` at ``place``."""
        if self._direct is not None and len(view) == CHUNK_BYTES and place % BLOCK_BYTES == 0:
            count = os.pwrite(self._direct, view, place)
            view, place = view[count:], place + count
        while view:
            count = os.pwrite(self._plain, view, place)
            view, place = view[count:], place + count

    def end_at(self, size: int) -> None:
        """Give the file its size: a hole at its end is written by nobody."""
        os.ftruncate(self._plain, size)


class _Hashing:
    """A thread that hashes buffers while they are also written. A buffer is free again when both are done with it."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._free: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        self._full: queue.Queue[tuple[mmap.mmap | None, int] | None] = queue.Queue(BUFFERS)
        self._users: dict[int, int] = {}
        self._lock = threading.Lock()
        self._made = 0
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def buffer(self) -> mmap.mmap:
        """1 MiB of memory, at a block's border, that nobody uses; waits for it when all is in use."""
        if self._made < BUFFERS and self._free.empty():
            self._made += 1
            return mmap.mmap(-1, CHUNK_BYTES)
        return self._free.get()

    def bytes(self, buffer: mmap.mmap, count: int) -> None:
        with self._lock:
            self._users[id(buffer)] = 2
        self._full.put((buffer, count))

    def zeros(self, count: int) -> None:
        self._full.put((None, count))

    def written(self, buffer: mmap.mmap) -> None:
        with self._lock:
            self._users[id(buffer)] -= 1
            if self._users[id(buffer)]:
                return
        self._free.put(buffer)

    def finish(self) -> str:
        """Hash what is left, end the thread, and give the digest."""
        self._full.put(None)
        self._thread.join()
        return self._digest.hexdigest()

    def _run(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, count = item
            if buffer is None:
                self._digest.update(_ZEROS[:count])
            else:
                self._digest.update(memoryview(buffer)[:count])
                self.written(buffer)


def _changed(path: Path) -> ConflictError:
    return ConflictError(
        "The file changed while it was being read.", remedy="Wait until it is written, then try again.", file=path.name
    )
