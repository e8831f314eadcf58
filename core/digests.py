"""Canonical JSON and SHA-256: how everything that is bound to something else is named."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

CHUNK_BYTES = 1 << 20
MOST_THREADS = 4
TELL_SECONDS = 0.5

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with the bytes that are done and the bytes in all; what it raises ends the work."""


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for a JSON value: sorted keys, no blanks, UTF-8, no NaN.

    Floats are written by Python's shortest round-trip rule, so equal numbers give equal bytes.

    Raises:
        ValueError: for NaN or infinity, which have no JSON form: an undefined number is ``None`` with a reason.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_text(text: str) -> str:
    """Digest of a text in UTF-8, by which a ledger entry proves words without telling them."""
    return sha256_bytes(text.encode())


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of ``value``."""
    return sha256_bytes(canonical_json(value))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in chunks of 1 MiB."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file under a folder, in the order of its POSIX path. Symbolic links are not followed."""
    yield from sorted(
        (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def folder_manifest(folder: Path, *, progress: Progress | None = None) -> dict[str, str]:
    """``{relative POSIX path: SHA-256}`` of every file under ``folder``, several files at once."""
    paths = list(walk_files(folder))
    tally = Tally(total=sum(path.stat().st_size for path in paths))
    digests = in_threads(lambda path: _hashed(path, tally), paths, tally=tally, progress=progress)
    return {path.relative_to(folder).as_posix(): digest for path, digest in zip(paths, digests, strict=True)}


def manifest_digest(manifest: Mapping[str, str]) -> str:
    """The digest of a folder: SHA-256 over its manifest in canonical JSON.

    The manifest maps each path to the SHA-256 of its file, so this is a Merkle tree of one level: the digest binds
    every byte, and two manifests tell which file differs (see :func:`compare_manifests`) without the files.
    """
    return sha256_json(dict(manifest))


@dataclass(frozen=True, kw_only=True)
class ManifestChange:
    """How one manifest differs from another: paths, sorted. It is true where anything differs."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def compare_manifests(old: Mapping[str, str], new: Mapping[str, str]) -> ManifestChange:
    """Which files were added, removed or changed between two manifests. A renamed file is one removed and one added."""
    return ManifestChange(
        added=tuple(sorted(set(new) - set(old))),
        removed=tuple(sorted(set(old) - set(new))),
        changed=tuple(sorted(path for path in set(old) & set(new) if old[path] != new[path])),
    )


class StoppedError(Exception):
    """Raised in a thread whose result nobody waits for any more."""


class Tally:
    """Bytes that several threads have done so far, and whether they shall go on."""

    def __init__(self, *, total: int) -> None:
        self.total = total
        self.done = 0
        self._lock = threading.Lock()
        self._stopped = False

    def add(self, count: int) -> None:
        """Count ``count`` more bytes.

        Raises:
            StoppedError: another thread failed, or the work was given up.
        """
        with self._lock:
            self.done += count
        if self._stopped:
            raise StoppedError

    def stop(self) -> None:
        self._stopped = True


def in_threads(
    act: Callable[[Path], T], paths: Sequence[Path], *, tally: Tally, progress: Progress | None = None
) -> list[T]:
    """``act`` on each path, on as many threads as there are processors (at most four); results in the given order.

    ``progress`` is called in the calling thread, about twice a second. The first error stops the others and is raised.
    """
    workers = min(MOST_THREADS, os.cpu_count() or 1, len(paths))
    if not paths or (workers == 1 and progress is None) or tally.total < CHUNK_BYTES:
        return [act(path) for path in paths]
    with ThreadPoolExecutor(workers, thread_name_prefix="digest") as pool:
        futures = [pool.submit(act, path) for path in paths]
        try:
            waiting = True
            while waiting:
                done, pending = wait(futures, timeout=TELL_SECONDS, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if progress is not None:
                    progress(min(tally.done, tally.total), tally.total)
                waiting = bool(pending)
        except BaseException:
            tally.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _hashed(path: Path, tally: Tally) -> str:
    """SHA-256 of a file, counted as it is read."""
    digest, buffer = hashlib.sha256(), bytearray(CHUNK_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(view):
            digest.update(view[:count])
            tally.add(count)
    return digest.hexdigest()


def finite_or_none(value: float | None) -> float | None:
    """``value`` as a float, or ``None`` where it is missing, NaN or infinite."""
    return None if value is None or not math.isfinite(value) else float(value)
