"""The Merkle tree of RFC 9162 (section 2.1): hashes, roots, inclusion and consistency proofs, and their verification.

``leaf = SHA-256(0x00 || entry)``, ``node = SHA-256(0x01 || left || right)``. Django-free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

Lookup = Callable[[int, int], bytes]
"""``(level, position) -> hash`` of the full subtree of ``2**level`` leaves that begins at ``position * 2**level``."""

Place = tuple[int, int]
"""Level and position of a full subtree."""

T = TypeVar("T")


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


def consistency_proof(old: int, new: int, lookup: Lookup) -> list[bytes]:
    """The hashes that show that the tree of ``new`` leaves begins with the tree of ``old`` leaves (section 2.1.4.1).

    Empty when the sizes are equal, and from the empty tree, which every tree begins with.

    Raises:
        ValueError: when ``old`` is not from 0 to ``new``.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not begin with one of {old}")
    if old in {0, new}:
        return []
    path: list[bytes] = []
    start, length, rest, whole = 0, new, old, True
    while rest != length:
        left = split_point(length)
        if rest <= left:
            path.append(subtree_root(start + left, length - left, lookup))
            length = left
        else:
            path.append(subtree_root(start, left, lookup))
            start, length, rest, whole = start + left, length - left, rest - left, False
    if not whole:
        path.append(subtree_root(start, length, lookup))
    return path[::-1]


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that a leaf hash and its proof lead to (section 2.1.3.2).

    Raises:
        ValueError: the leaf is not in a tree of this size, or the proof has too many or too few hashes for it.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    place, last, root = index, size - 1, leaf
    for node in path:
        if last == 0:
            raise ValueError("the proof has more hashes than the tree has levels")
        if place % 2 == 1 or place == last:
            root = node_hash(node, root)
            while place % 2 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, node)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ValueError("the proof has fewer hashes than lead to the root")
    return root


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows that the leaf with this hash is number ``index`` of the tree with this size and root."""
    try:
        return root_from_inclusion(index, size, leaf, path) == root
    except ValueError:
        return False


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of ``new`` leaves begins with that of ``old`` leaves (section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == empty_root()
    nodes = list(path) if old & (old - 1) else [old_root, *path]
    if not nodes:
        return False
    place, last = old - 1, new - 1
    while place % 2 == 1:
        place, last = place >> 1, last >> 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place % 2 == 1 or place == last:
            first, second = node_hash(node, first), node_hash(node, second)
            while place % 2 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, node)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def with_hashes(make: Callable[[Lookup], T], fetch: Callable[[list[Place]], dict[Place, bytes]]) -> T:
    """Call ``make`` with a lookup whose hashes are all fetched at once.

    ``make`` is called twice: first to see which hashes it asks for, then with them.
    """
    asked: list[Place] = []

    def note(level: int, position: int) -> bytes:
        asked.append((level, position))
        return b""

    make(note)
    known = fetch(asked) if asked else {}
    return make(lambda level, position: known[level, position])
