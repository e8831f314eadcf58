"""Reading a checkpoint's folder without running anything in it. Registers no adapter."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

from core.digests import walk_files
from core.errors import AdapterError

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"})
CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyo", ".so", ".dll", ".dylib", ".exe"})
ARCHIVE = b"PK\x03\x04"
LONGEST_HEADER = 100_000_000
CONVERT = (
    "Convert them where you trust the source: torch.load(FILE, weights_only=True), then "
    "safetensors.torch.save_file(tensors, 'model.safetensors')."
)


def check_safe(folder: Path, *, as_data: Collection[str] = ()) -> None:
    """Refuse what runs when it is read or could be run: pickles by name and by content, code, compiled parts.

    Args:
        as_data: Suffixes of archives that their adapter reads as data; any other archive may be one of pickles.

    Raises:
        AdapterError: naming the file, with the way to convert a pickle.
    """
    for path in walk_files(folder):
        name, suffix = path.relative_to(folder).as_posix(), path.suffix.lower()
        with path.open("rb") as stream:
            head = stream.read(9)
        archived = head[:4] == ARCHIVE and suffix in as_data
        if suffix in PICKLE_SUFFIXES or (begins_as_pickle(head) and not archived):
            raise AdapterError(
                "Weights in pickle files are refused: reading one runs whatever code it holds.",
                remedy=CONVERT,
                file=name,
            )
        if suffix in CODE_SUFFIXES or head[:4] == b"\x7fELF":
            raise AdapterError(
                "The folder carries code, which is never run.",
                remedy="Remove it; a model of another kind needs an adapter that is installed with Auscult.",
                file=name,
            )


def begins_as_pickle(head: bytes) -> bool:
    """Whether a file that begins with these nine bytes is a pickle, or an archive such as torch.save writes.

    A safetensors file begins with the length of its header, eight bytes, then a brace: a length such as 896 begins as a
    pickle of protocol 3 does, but no pickle goes on with zeros.
    """
    if head[:4] == ARCHIVE:
        return True
    protocol = head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    return protocol and head[2:9] != b"\0\0\0\0\0\0{"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object from the folder.

    Raises:
        AdapterError: missing, or no JSON object.
    """
    path = folder / name
    try:
        body = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise AdapterError(
            f"{name} is missing.", remedy="Register the complete folder of the checkpoint.", file=name
        ) from error
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{name} cannot be read: {error}.", remedy="Save the checkpoint again.", file=name
        ) from error
    if not isinstance(body, dict):
        raise AdapterError(f"{name} is not a JSON object.", remedy="Save the checkpoint again.", file=name)
    return body


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a safetensors file, from its header; the file must hold all their bytes.

    Raises:
        AdapterError: missing, not a safetensors file, or truncated.
    """
    if not path.is_file():
        raise AdapterError(
            f"{path.name} is missing.", remedy="Register the complete folder of the checkpoint.", file=path.name
        )
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER
        if length >= min(LONGEST_HEADER, size):
            raise _damaged(path, "it does not begin with a safetensors header")
        try:
            header = json.loads(stream.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
            shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"its header cannot be read ({error})") from error
    if size != 8 + length + end:
        raise _damaged(path, f"it has {size:,} bytes and its header promises {8 + length + end:,}")
    return shapes


def _damaged(path: Path, why: str) -> AdapterError:
    return AdapterError(
        f"{path.name} is not a whole safetensors file: {why}.",
        remedy="Copy the file again; compare its size and SHA-256 with the original.",
        file=path.name,
    )
