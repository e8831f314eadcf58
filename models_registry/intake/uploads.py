"""Uploads on disk: bytes are written where they belong as they arrive, so that an upload goes on where it stopped."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import AdapterError, ConflictError
from core.store import check_room
from models_registry.intake.names import check_distinct, common_top, is_litter, plain_name

PIECE_BYTES = 1 << 20
MOST_FILES = 10_000
LARGEST_UPLOAD = 4 << 40


@dataclass(frozen=True, kw_only=True)
class PromisedFile:
    """A file that somebody is going to upload: its path in the model's folder, and its bytes."""

    path: str
    size: int


def check_promised(files: Sequence[PromisedFile], *, home: Path) -> None:
    """Raise unless these files can be received: names, sizes, and room on the disk of ``home``.

    Raises:
        AdapterError: no file, too many, a name that is refused, or an impossible size.
        EnvironmentProblemError: the disk has no room for them.
    """
    if not 0 < len(files) <= MOST_FILES:
        raise AdapterError(
            f"An upload has 1 to {MOST_FILES:,} files; this one has {len(files):,}.",
            remedy="Choose the files of one model, or upload them as one archive.",
        )
    for file in files:
        if plain_name(file.path) != file.path:
            raise AdapterError(
                f"The name {file.path!r} is no plain path.", remedy="Send it without ./ and slashes at its end."
            )
        if not 0 <= file.size <= LARGEST_UPLOAD:
            raise AdapterError(f"The file cannot have {file.size:,} bytes.", remedy="Send its size.", file=file.path)
    check_distinct([file.path for file in files])
    check_room(home, sum(file.size for file in files))


def write_chunk(target: Path, *, offset: int, stream: BinaryIO, length: int, most: int) -> int:
    """Write ``length`` bytes of a stream at an offset of a file; returns how many arrived.

    Fewer than ``length`` arrive when the connection breaks: those are kept, and the sender goes on behind them.

    Args:
        most: The bytes that the file has in all.

    Raises:
        ConflictError: the bytes reach beyond the promised size, or another request is writing this file.
    """
    if length < 0 or offset + length > most:
        raise ConflictError(
            f"{length:,} bytes at {offset:,} reach beyond the {most:,} bytes that were promised.",
            remedy="If the file changed, begin a new upload.",
            file=target.name,
        )
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                "Another request is sending this file now.",
                remedy="Ask what has arrived, and go on from there.",
                file=target.name,
            ) from error
        file.seek(offset)
        return _pour(stream, file, length)


def _pour(stream: BinaryIO, file: BinaryIO, length: int) -> int:
    done = 0
    while done < length:
        try:
            piece = stream.read(min(PIECE_BYTES, length - done))
        except OSError:  # The connection broke: Django's UnreadablePostError is an OSError.
            break
        if not piece:
            break
        view = memoryview(piece)
        while view:
            view = view[file.write(view) or 0 :]
        done += len(piece)
    return done


def arrange_upload(received: Path, content: Path) -> None:
    """Make the received files the model's folder: the one top folder is taken off, and litter of desktops is left out.

    Raises:
        AdapterError: nothing is left.
    """
    names = [path.relative_to(received).as_posix() for path in sorted(received.rglob("*")) if path.is_file()]
    for name in names:
        if is_litter(name):
            (received / name).unlink()
    names = [name for name in names if not is_litter(name)]
    if not names:
        raise AdapterError("The upload holds no file of a model.", remedy="Upload the folder with the weights.")
    top = common_top(names)
    (received / top if top else received).rename(content)
