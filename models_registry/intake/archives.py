"""Unpacking an archive from outside: every member is looked at before it is written, and what it is refused by name.

Members are written one by one by this module, never by ``extractall``: plain files and folders alone, below the
destination, each once, of the size that was declared, and all together no more than the limits say.
"""

from __future__ import annotations

import gzip
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core.errors import AdapterError
from core.store import check_room
from models_registry.intake.names import Names, is_litter, plain_name

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
PIECE_BYTES = 1 << 20
LONGEST_HEADER = 4 << 20
LONGEST_DIRECTORY = 64 << 20
ZIPPED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
OTHERS = {b"7z\xbc\xaf": "7z", b"Rar!": "RAR", b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, gzip.BadGzipFile, struct.error, EOFError, ValueError,
           NotImplementedError, OverflowError)  # fmt: skip
"""What the standard library raises for archives that are not what they say."""

ENCRYPTED = 0x1 | 0x40 | 0x2000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may become. ``ratio``: unpacked bytes for each byte of the archive, above ``free_bytes``."""

    entries: int = 10_000
    total_bytes: int = 4 << 40
    ratio: int = 100
    free_bytes: int = 64 << 20


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, destination: Path, *, limits: Limits | None = None, progress: Progress | None = None) -> None:
    """Unpack a zip, tar or gzipped tar into a new folder; one top folder that holds everything is taken off.

    Raises:
        AdapterError: it is no such archive, is truncated or encrypted, holds a link, a device, a name that leads out,
            a name twice, or would become too many files or too many bytes. Nothing is left then.
        EnvironmentProblemError: the disk has no room for it.
    """
    destination.mkdir(parents=True, mode=0o700)
    job = _Unpacking(archive=archive, destination=destination, limits=limits or Limits(), progress=progress)
    try:
        with archive.open("rb") as stream:
            head = stream.read(262)
        if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
            _unzip(job)
        elif head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar":
            _untar(job, zipped=head[:2] == b"\x1f\x8b")
        else:
            raise job.refused(_what_else(head), "Make a .zip, .tar or .tar.gz of the model's folder.")
        if not job.done:
            raise job.refused("It holds no file", "Make an archive of the folder with the weights.")
        _take_top_off(destination)
    except DAMAGED as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise job.refused(
            f"It is truncated or damaged ({error})", "Make the archive again, or copy it again."
        ) from error
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise


class _Unpacking:
    """One archive on its way into a folder, with what has been taken out of it so far."""

    def __init__(self, *, archive: Path, destination: Path, limits: Limits, progress: Progress | None) -> None:
        self.archive, self.destination, self.limits, self.progress = archive, destination, limits, progress
        self.size = archive.stat().st_size
        self.names = Names()
        self.entries = self.done = self.declared = 0

    def refused(self, why: str, remedy: str, member: str = "") -> AdapterError:
        place = f" ({member[:120]!r})" if member else ""
        return AdapterError(f"The archive is refused. {why}{place}.", remedy=remedy, file=self.archive.name)

    def admit(self, name: str, size: int, *, room: bool = True) -> str | None:
        """The path for a file of this name and size; None where it is litter.

        Raises:
            AdapterError: its name or the archive's growth is refused.
        """
        self.count()
        path = plain_name(name)
        if is_litter(path):
            return None
        self.names.add(path)
        self.declared += size
        most = min(self.limits.total_bytes, max(self.limits.free_bytes, self.limits.ratio * self.size))
        if size < 0 or self.declared > most:
            raise self.refused(
                f"It would become more than {most:,} bytes out of {self.size:,}",
                "Give the folder itself, or an archive without compression.",
                name,
            )
        if room:
            check_room(self.destination, size)
        return path

    def count(self) -> None:
        self.entries += 1
        if self.entries > self.limits.entries:
            raise self.refused(f"It has more than {self.limits.entries:,} entries", "Leave out what is not the model.")

    def write(self, path: str, stream: IO[bytes], size: int, read_so_far: Callable[[], int]) -> None:
        """Write exactly ``size`` bytes of a member."""
        target = self.destination / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        left = size
        with target.open("xb", buffering=0) as file:
            while left and (piece := stream.read(min(PIECE_BYTES, left))):
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) or 0 :]
                left -= len(piece)
                if self.progress:
                    self.progress(read_so_far(), max(self.size, 1))
            if left or stream.read(1):
                raise EOFError(f"{path} has not the {size:,} bytes that are declared")
        self.done += 1


def _unzip(job: _Unpacking) -> None:
    _check_directory(job)
    with zipfile.ZipFile(job.archive) as file:
        members = sorted(file.infolist(), key=lambda item: item.header_offset)
        end = 0
        for item in members:
            _check_zipped(job, item)
            if item.header_offset < end:
                raise job.refused("Two entries share the same bytes", "Make the archive again.", item.filename)
            end = item.header_offset + 30 + item.compress_size
        admitted = [
            (job.admit(item.orig_filename, item.file_size, room=False), item) for item in members if _is_file(job, item)
        ]
        check_room(job.destination, job.declared)
        for path, item in admitted:
            if path is not None:
                with file.open(item) as stream:
                    job.write(path, stream, item.file_size, lambda place=item.header_offset: place)  # type: ignore[misc]


def _is_file(job: _Unpacking, item: zipfile.ZipInfo) -> bool:
    """False for a folder, which counts as an entry and has its name checked all the same."""
    if not item.orig_filename.endswith("/"):
        return True
    job.count()
    plain_name(item.orig_filename)
    return False


def _check_zipped(job: _Unpacking, item: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(item.external_attr >> 16)
    if item.flag_bits & ENCRYPTED:
        raise job.refused("It is encrypted", "Make it without a password.", item.filename)
    if kind == stat.S_IFLNK:
        raise job.refused("It holds a link", "Put the files themselves into it.", item.filename)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise job.refused("It holds a device or a pipe", "Put plain files into it.", item.filename)
    if item.compress_type not in ZIPPED:
        raise job.refused("It is compressed in a way that is not read", "Use zip's usual compression.", item.filename)


def _check_directory(job: _Unpacking) -> None:
    """The table at a zip's end is read into memory as a whole: its size must be sound."""
    with job.archive.open("rb") as file:
        file.seek(max(0, job.size - (1 << 16) - 98))
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        raise EOFError("the table at its end is missing")
    count, size = struct.unpack("<HI", tail[place + 10 : place + 16])
    wide = tail.rfind(b"PK\x06\x06", 0, place)
    if count == 0xFFFF or size == 0xFFFFFFFF:
        if wide < 0 or len(tail) < wide + 48:
            raise EOFError("the table at its end is missing")
        count, size = struct.unpack("<QQ", tail[wide + 32 : wide + 48])
    if count > job.limits.entries:
        raise job.refused(
            f"It has {count:,} entries, more than {job.limits.entries:,}", "Leave out what is not the model."
        )
    if size > LONGEST_DIRECTORY:
        raise job.refused(f"Its table of contents has {size:,} bytes", "Make the archive again.")


class _Guarded:
    """A file that tarfile reads headers from: no header makes it read more than a few MiB at once."""

    def __init__(self, file: Any, job: _Unpacking) -> None:
        self._file, self._job = file, job
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_HEADER:
            raise self._job.refused(f"A header of it has {size:,} bytes", "Make the archive again.")
        self.last = self._file.read(size)
        return self.last

    def seek(self, place: int, whence: int = 0) -> int:
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())


def _untar(job: _Unpacking, *, zipped: bool) -> None:
    with job.archive.open("rb") as raw:
        plain: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        guarded: Any = _Guarded(plain, job)
        with tarfile.open(fileobj=guarded, mode="r:", errorlevel=2) as file:
            for item in file:
                _untar_member(job, file, item, raw.tell)
        # A tar ends with blocks of zeros; without them it was cut between two members.
        if len(guarded.last) != tarfile.BLOCKSIZE or any(guarded.last):
            raise EOFError("the end of the archive is missing")
        if zipped:
            _drain(job, plain)


def _untar_member(
    job: _Unpacking, file: tarfile.TarFile, item: tarfile.TarInfo, read_so_far: Callable[[], int]
) -> None:
    if item.issym() or item.islnk():
        raise job.refused("It holds a link", "Put the files themselves into it.", item.name)
    if item.isdir():
        job.count()
        if item.name.strip("./"):
            plain_name(item.name)
        return
    if not item.isreg():
        raise job.refused("It holds a device or a pipe", "Put plain files into it.", item.name)
    path = job.admit(item.name, item.size)
    tarfile.data_filter(item, str(job.destination))  # a second net: raises for what was overlooked above
    stream = file.extractfile(item)
    if path is not None and stream is not None:
        job.write(path, stream, item.size, read_so_far)


def _drain(job: _Unpacking, stream: IO[bytes]) -> None:
    """Read to the end of the compressed stream, where its checksum is; only padding stands there."""
    left = PIECE_BYTES
    while piece := stream.read(1 << 16):
        left -= len(piece)
        if left < 0:
            raise job.refused("It goes on behind its end", "Make the archive again.")


def _take_top_off(folder: Path) -> None:
    """Where everything lies in one folder, its content takes its place."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return
    above = folder.with_name(f"{folder.name}-top")
    folder.rename(above)
    (above / entries[0].name).rename(folder)
    above.rmdir()


def _what_else(head: bytes) -> str:
    kind = next((name for magic, name in OTHERS.items() if head.startswith(magic)), "")
    return f"It is a {kind} archive, which is not read" if kind else "It is neither a zip nor a tar"
