"""Bytes of a sketch: a JSON header and raw little-endian arrays. Equal content gives equal bytes; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import canonical_json
from core.errors import AuscultError

WIDTHS = ("<u1", "<u2", "<u4", "<i8")


def pack(magic: bytes, header: Mapping[str, Any], blocks: Sequence[bytes]) -> bytes:
    """``magic``, length of the header (8 bytes), header, blocks. The header learns the blocks' sizes."""
    head = canonical_json({**header, "blocks": [len(block) for block in blocks]})
    return b"".join([magic, len(head).to_bytes(8, "little"), head, *blocks])


def unpack(magic: bytes, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The inverse of :func:`pack`.

    Raises:
        AuscultError: for bytes that are not what ``pack`` wrote: another kind, cut short, or with a rest.
    """
    start = len(magic) + 8
    if data[: len(magic)] != magic or len(data) < start:
        raise _damaged()
    end = start + int.from_bytes(data[len(magic) : start], "little")
    try:
        header = json.loads(data[start:end])
        sizes = [int(size) for size in header.pop("blocks")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged() from error
    if end + sum(sizes) != len(data) or any(size < 0 for size in sizes):
        raise _damaged()
    blocks = []
    for size in sizes:
        blocks.append(data[end : end + size])
        end += size
    return header, blocks


def narrow(array: npt.NDArray[np.int64]) -> tuple[str, bytes]:
    """The narrowest type that holds the non-negative integers of ``array``, and its bytes in C order."""
    top = int(array.max(initial=0))
    width = WIDTHS[0 if top < 1 << 8 else 1 if top < 1 << 16 else 2 if top < 1 << 32 else 3]
    return width, np.ascontiguousarray(array).astype(width).tobytes()


def widen(width: str, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The inverse of :func:`narrow`."""
    if width not in WIDTHS:
        raise _damaged()
    try:
        return np.frombuffer(data, dtype=width).astype(np.int64).reshape(shape)
    except ValueError as error:
        raise _damaged() from error


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a sketch that this version can read.",
        remedy="Run the shard again; the sketch was damaged or made by another version.",
    )
