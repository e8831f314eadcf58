"""The Merkle tree of RFC 9162 (section 2.1): leaf and node hashes, roots, inclusion proofs.

``leaf = SHA-256(0x00 || entry)``, ``node = SHA-256(0x01 || left || right)``. Django-free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

Lookup = Callable[[int, int], bytes]
"""``(level, position) -> hash`` of the full subtree of ``2**level`` leaves that begins at ``position * 2**level``."""


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def empty_root() -> bytes:
    """Root of a tree without entries: SHA-256 of nothing."""
    return hashlib.sha256(b"").digest()


def split_point(size: int) -> int:
    """Largest power of two below ``size`` (``size`` >= 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def subtree_root(start: int, size: int, lookup: Lookup) -> bytes:
    """Root over leaves ``start .. start + size``; ``start`` is a multiple of the power of two at or above size."""
    if size == 0:
        return empty_root()
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return lookup(level, start >> level)
    left = split_point(size)
    return node_hash(subtree_root(start, left, lookup), subtree_root(start + left, size - left, lookup))


def inclusion_proof(index: int, size: int, lookup: Lookup) -> list[bytes]:
    """The hashes that lead from leaf ``index`` to the root of the tree of ``size`` leaves, lowest first.

    Raises:
        ValueError: when the leaf is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, length = 0, size
    while length > 1:
        left = split_point(length)
        if index - start < left:
            path.append(subtree_root(start + left, length - left, lookup))
            length = left
        else:
            path.append(subtree_root(start, left, lookup))
            start, length = start + left, length - left
    return path[::-1]
