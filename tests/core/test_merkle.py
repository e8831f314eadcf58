"""The tree against RFC 9162 written out naively."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from core import merkle


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH(D_n), section 2.1.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D_n), section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), tree_hash(leaves[k:])]
    return [*path(m - k, leaves[k:]), tree_hash(leaves[:k])]


def entries(count: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(count)]


def lookup(leaves: list[bytes]) -> merkle.Lookup:
    """Full subtrees only, as the database keeps them: a position beyond the leaves is an error."""

    def find(level: int, position: int) -> bytes:
        begin, end = position << level, (position + 1) << level
        assert end <= len(leaves)
        return tree_hash(leaves[begin:end])

    return find


@pytest.mark.parametrize("size", range(71))
def test_root_and_paths_for_every_size(size: int) -> None:
    leaves = entries(size)
    assert merkle.subtree_root(0, size, lookup(leaves)) == tree_hash(leaves)
    for index in range(size):
        assert merkle.inclusion_proof(index, size, lookup(leaves)) == path(index, leaves)


def test_leaf_and_node_are_never_the_same() -> None:
    """The prefixes keep an inner node from being passed off as an entry."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="is not in a tree"):
        merkle.inclusion_proof(index, size, lookup(entries(3)))
