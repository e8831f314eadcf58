"""The header of a GGUF file, read without its weights and without trusting it. Registers no adapter.

Format: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3, little-endian. Everything is counted before it is
read: a header that promises more than a limit allows, or more than the file holds, is refused.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from core.errors import AdapterError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_KEYS = 10_000
MOST_TENSORS = 100_000
MOST_ENTRIES = 4_000_000
LONGEST_STRING = 4 << 20
LONGEST_HEADER = 1 << 29
LARGEST_SIDE = 1 << 40
MOST_SIDES = 4
DEFAULT_ALIGNMENT = 32
LARGEST_ALIGNMENT = 1 << 20
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Kinds of values of a fixed size, with how ``struct`` reads them."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor of the file: sizes in the order of torch, how it is stored, and where in the file it ends."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """What the file says of itself.

    Attributes:
        values: Key -> number, text or truth value. Of a list, its length.
        tensors: Name -> tensor.
    """

    values: dict[str, Any]
    tensors: dict[str, StoredTensor]

    @property
    def architecture(self) -> str:
        return str(self.values["general.architecture"])

    @property
    def kinds(self) -> dict[str, int]:
        """How many tensors are stored in which way, such as F32 or Q4_K."""
        return dict(sorted(Counter(tensor.kind for tensor in self.tensors.values()).items()))


def is_gguf(path: Path) -> bool:
    """Whether a file is one by its name, or begins like one: the word alone may begin any text."""
    if path.suffix.lower() == ".gguf":
        return True
    with path.open("rb") as stream:
        begin = stream.read(8)
    version = begin[4:]
    likely = len(version) == 4 and min(int.from_bytes(version, order) for order in ("little", "big")) < 256
    return begin[:4] == MAGIC and likely


def read_header(path: Path) -> GgufHeader:
    """Read and check the header of a GGUF file; weights are not read.

    Raises:
        AdapterError: no GGUF file, another version or byte order, truncated, larger than the limits, one part of
            several, a key or tensor given twice, or tensors that are stored in a way that cannot be unpacked.
    """
    size = path.stat().st_size
    if size < 24:
        raise _damaged(path, f"it has {size} bytes, which is too short for any header")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as blob:
        try:
            return _Reader(path, blob).header()
        except (struct.error, IndexError) as error:
            raise _damaged(path, "its header ends before all that it promises") from error
        except UnicodeDecodeError as error:
            raise _damaged(path, "a name in its header is not UTF-8") from error


class _Reader:
    """Walks through the header, from its first byte to its last."""

    def __init__(self, path: Path, blob: mmap.mmap) -> None:
        self.path, self.blob, self.at = path, blob, 0
        self.entries = 0

    def header(self) -> GgufHeader:
        if self.blob[:4] != MAGIC:
            raise _damaged(self.path, "it does not begin with GGUF")
        version, tensors, keys = struct.unpack_from("<IQQ", self.blob, 4)
        self.at = 24
        if version not in VERSIONS:
            swapped = int.from_bytes(self.blob[4:8], "big") in VERSIONS
            why = "it is big-endian" if swapped else f"it is of version {version}"
            raise _damaged(
                self.path, why, remedy="Convert it to GGUF version 3, little-endian, with today's llama.cpp."
            )
        self._limit("keys", keys, MOST_KEYS)
        self._limit("tensors", tensors, MOST_TENSORS)
        values: dict[str, Any] = {}
        for _ in range(keys):
            key = self._text()
            if key in values:
                raise _damaged(self.path, f"the key {key!r} is given twice")
            values[key] = self._value()
        if not isinstance(values.get("general.architecture"), str):
            raise _damaged(self.path, "it does not say its architecture (general.architecture)")
        _check_whole(self.path, values)
        return GgufHeader(values=values, tensors=self._tensors(tensors, values))

    def _tensors(self, count: int, values: dict[str, Any]) -> dict[str, StoredTensor]:
        told = []
        for _ in range(count):
            name = self._text()
            (sides,) = self._take("I")
            self._limit(f"dimensions of {name!r}", sides, MOST_SIDES)
            shape = self._take("Q" * sides) if sides else ()
            told.append((name, tuple(reversed(shape)), *self._take("IQ")))
        alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= LARGEST_ALIGNMENT or alignment & (alignment - 1):
            raise _damaged(self.path, f"its alignment is {alignment!r}")
        start = -(-self.at // alignment) * alignment
        found: dict[str, StoredTensor] = {}
        for name, shape, number, offset in told:
            if name in found:
                raise _damaged(self.path, f"the tensor {name!r} is given twice")
            kind, length = _stored(self.path, name, shape, number)
            found[name] = StoredTensor(
                name=name, shape=shape, kind=kind, start=start + offset, end=start + offset + length
            )
        self._check_places(found)
        return found

    def _check_places(self, tensors: dict[str, StoredTensor]) -> None:
        """Every tensor lies in the file, beside the others."""
        size, before = len(self.blob), 0
        for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
            if tensor.end > size:
                raise _damaged(
                    self.path, f"it has {size:,} bytes, and the tensor {tensor.name} ends at byte {tensor.end:,}"
                )
            if tensor.start < before:
                raise _damaged(self.path, f"the tensor {tensor.name} lies over another one")
            before = tensor.end

    def _value(self) -> Any:
        (kind,) = self._take("I")
        if kind == STRING:
            return self._text()
        if kind != ARRAY:
            return self._scalar(kind)
        inner, count = self._take("IQ")
        self.entries += count
        self._limit("entries of lists", self.entries, MOST_ENTRIES)
        if inner == STRING:
            for _ in range(count):
                self._skip_text()
        elif inner in SCALARS:
            self._move(count * struct.calcsize(f"<{SCALARS[inner]}"))
        else:
            raise _damaged(self.path, f"it holds a list of values of the unknown kind {inner}")
        return count

    def _scalar(self, kind: int) -> Any:
        if kind not in SCALARS:
            raise _damaged(self.path, f"it holds a value of the unknown kind {kind}")
        return self._take(SCALARS[kind])[0]

    def _take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.blob, self.at)
        self._move(struct.calcsize(f"<{form}"))
        return found

    def _text(self) -> str:
        begin, end = self._skip_text()
        return self.blob[begin:end].decode("utf-8")

    def _skip_text(self) -> tuple[int, int]:
        (length,) = self._take("Q")
        self._limit("bytes of a text", length, LONGEST_STRING)
        begin = self.at
        self._move(length)
        return begin, self.at

    def _move(self, length: int) -> None:
        self.at += length
        if self.at > len(self.blob):
            raise _damaged(self.path, "its header ends before all that it promises")
        self._limit("bytes of its header", self.at, LONGEST_HEADER)

    def _limit(self, what: str, number: int, most: int) -> None:
        if number > most:
            raise _damaged(self.path, f"it promises {number:,} {what}; at most {most:,} are read")


def _check_whole(path: Path, values: dict[str, Any]) -> None:
    parts = values.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise AdapterError(
            f"{path.name} is one of {parts} parts of a model.",
            remedy="Merge the parts into one file (llama-gguf-split --merge) and register that.",
            file=path.name,
            column="split.count",
        )


def _stored(path: Path, name: str, shape: tuple[int, ...], number: int) -> tuple[str, int]:
    """How a tensor is stored, and its length in bytes."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(number)
    except ValueError as error:
        raise _damaged(
            path,
            f"the tensor {name} is stored in the unknown way {number}",
            remedy="Convert the file with today's llama.cpp, in a format such as Q8_0 or Q4_K_M.",
        ) from error
    block, length = GGML_QUANT_SIZES[kind]
    if not shape or any(not 0 < side <= LARGEST_SIDE for side in shape) or shape[-1] % block:
        raise _damaged(path, f"the tensor {name} has the impossible size {' x '.join(map(str, shape))} as {kind.name}")
    return kind.name, prod(shape) // block * length


def _damaged(path: Path, why: str, *, remedy: str = "") -> AdapterError:
    return AdapterError(
        f"{path.name} is not a whole GGUF file that can be read: {why}.",
        remedy=remedy or "Copy the file again; compare its size and SHA-256 with the original.",
        file=path.name,
    )
