"""Canonical JSON and SHA-256: how everything that is bound to something else is named."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


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


def folder_manifest(folder: Path) -> dict[str, str]:
    """``{relative POSIX path: SHA-256}`` of every file under ``folder``."""
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in walk_files(folder)}


def manifest_digest(manifest: Mapping[str, str]) -> str:
    """The digest of a folder: SHA-256 over its manifest in canonical JSON."""
    return sha256_json(dict(manifest))


def finite_or_none(value: float | None) -> float | None:
    """``value`` as a float, or ``None`` where it is missing, NaN or infinite."""
    return None if value is None or not math.isfinite(value) else float(value)
