"""The tree against RFC 9162 written out naively, and against pymerkle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, InvalidProof
from pymerkle import verify_consistency as their_consistency
from pymerkle import verify_inclusion as their_inclusion

from core import merkle

MOST = 40


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


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b), section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    k = max(2**power for power in range(len(leaves).bit_length()) if 2**power < len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), tree_hash(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), tree_hash(leaves[:k])]


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


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_consistency_for_every_pair_of_sizes(new: int) -> None:
    """The proof is that of the RFC, and holds for the roots of the two trees and for no other tree."""
    leaves = entries(new)
    root = tree_hash(leaves)
    for old in range(1, new + 1):
        proof = merkle.consistency_proof(old, new, lookup(leaves))
        assert proof == subproof(old, leaves, True)
        assert merkle.verify_consistency(old, new, tree_hash(leaves[:old]), root, proof)
        forked = tree_hash([b"another", *leaves[1:old]])
        assert not merkle.verify_consistency(old, new, forked, root, proof)
        assert not merkle.verify_consistency(old, new, tree_hash(leaves[:old]), tree_hash([*leaves, b"more"]), proof)
        assert not merkle.verify_consistency(
            old, new, tree_hash(leaves[:old]), root, [*proof, proof[-1] if proof else root]
        )
        if proof:
            assert not merkle.verify_consistency(old, new, tree_hash(leaves[:old]), root, proof[:-1])


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_inclusion_is_verified_for_every_leaf(size: int) -> None:
    leaves = entries(size)
    root = tree_hash(leaves)
    for index, entry in enumerate(leaves):
        leaf, proof = merkle.leaf_hash(entry), path(index, leaves)
        assert merkle.verify_inclusion(index, size, leaf, proof, root)
        assert not merkle.verify_inclusion(index, size, merkle.leaf_hash(b"another"), proof, root)
        assert not merkle.verify_inclusion((index + 1) % size, size, leaf, proof, root) or size == 1
        assert not merkle.verify_inclusion(index, size, leaf, [*proof, root], root)
        assert not proof or not merkle.verify_inclusion(index, size, leaf, proof[:-1], root)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 33, MOST])
def test_another_library_says_the_same(size: int) -> None:
    leaves, theirs = entries(size), InmemoryTree(algorithm="sha256")
    theirs.append_entries(leaves)
    root = merkle.subtree_root(0, size, lookup(leaves))
    assert root == theirs.get_root(size)
    for old in range(1, size + 1):
        ours, proof = merkle.consistency_proof(old, size, lookup(leaves)), theirs.prove_consistency(old, size)
        their_consistency(theirs.get_root(old), root, proof)
        assert merkle.verify_consistency(old, size, theirs.get_root(old), root, ours)
        with pytest.raises(InvalidProof):
            their_consistency(merkle.leaf_hash(b"forked"), root, proof)
        assert not merkle.verify_consistency(old, size, merkle.leaf_hash(b"forked"), root, ours)
    for index, entry in enumerate(leaves):
        proof = theirs.prove_inclusion(index + 1, size)
        their_inclusion(merkle.leaf_hash(entry), root, proof)
        with pytest.raises(InvalidProof):
            their_inclusion(merkle.leaf_hash(b"another"), root, proof)
        ours = merkle.inclusion_proof(index, size, lookup(leaves))
        assert set(ours) <= set(proof.path)
        assert merkle.verify_inclusion(index, size, merkle.leaf_hash(entry), ours, root)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_proof_that_was_tampered_with_does_not_hold(data: st.DataObject) -> None:
    """One bit anywhere: in a root, or in a hash of the proof."""
    new = data.draw(st.integers(2, 64))
    old = data.draw(st.integers(1, new - 1))
    leaves = entries(new)
    parts = [tree_hash(leaves[:old]), tree_hash(leaves), *merkle.consistency_proof(old, new, lookup(leaves))]
    assert merkle.verify_consistency(old, new, parts[0], parts[1], parts[2:])
    place, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[place] = (int.from_bytes(parts[place]) ^ (1 << bit)).to_bytes(32)
    assert not merkle.verify_consistency(old, new, parts[0], parts[1], parts[2:])


@settings(max_examples=200, deadline=None)
@given(st.integers(-2, 70), st.integers(-2, 70), st.lists(st.binary(min_size=32, max_size=32), max_size=8))
def test_what_anybody_sends_is_refused_and_breaks_nothing(one: int, other: int, proof: list[bytes]) -> None:
    root = merkle.leaf_hash(b"root")
    assert not merkle.verify_consistency(one, other, merkle.leaf_hash(b"old"), root, proof)
    assert not merkle.verify_inclusion(one, other, merkle.leaf_hash(b"leaf"), proof, root)


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3)])
def test_a_tree_does_not_begin_with_a_larger_one(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="does not begin with"):
        merkle.consistency_proof(old, new, lookup(entries(3)))
    assert merkle.consistency_proof(0, 3, lookup(entries(3))) == []
    assert merkle.verify_consistency(0, 3, merkle.empty_root(), tree_hash(entries(3)), [])
    assert not merkle.verify_consistency(0, 3, merkle.leaf_hash(b""), tree_hash(entries(3)), [])


def test_hashes_are_fetched_at_once() -> None:
    leaves, asked = entries(21), []

    def fetch(places: list[merkle.Place]) -> dict[merkle.Place, bytes]:
        asked.append(places)
        return {place: lookup(leaves)(*place) for place in places}

    assert merkle.with_hashes(lambda find: merkle.inclusion_proof(4, 21, find), fetch) == path(4, leaves)
    assert len(asked) == 1
    assert merkle.with_hashes(lambda find: merkle.subtree_root(0, 0, find), fetch) == merkle.empty_root()
    assert len(asked) == 1
