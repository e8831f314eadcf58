"""The ledger: every act that counts, in an append-only Merkle tree.

``record`` is called inside the transaction of the act, so that an act without its entry, or an entry without its
act, cannot be. Database triggers refuse to change or delete an entry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from core import merkle
from core.digests import canonical_json
from core.models import LedgerEntry, LedgerHead, LedgerNode

BATCH = 2000


@dataclass(frozen=True, kw_only=True)
class TreeHead:
    """The size of the ledger and the root hash that stands for all of it."""

    size: int
    root: str


@dataclass(frozen=True, kw_only=True)
class InclusionProof:
    """That one entry is in the tree with this head. ``path`` holds hexadecimal hashes, lowest first."""

    index: int
    entry: str
    path: tuple[str, ...]
    head: TreeHead


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """What a verification found. ``problem`` names the first entry that is not what it was."""

    entries: int
    head: TreeHead
    problem: str | None

    @property
    def intact(self) -> bool:
        return self.problem is None


def record(*, actor: str, act: str, subject: tuple[str, object], payload: dict[str, Any] | None = None) -> LedgerEntry:
    """Append one entry.

    Args:
        actor: User name of the person, or ``system`` for the platform itself.
        act: ``noun.verb`` in the past tense, such as ``protocol.approved``.
        subject: Kind and identifier of what was acted on.
        payload: Facts that belong to the act: digests, counts, reasons. Never patient-level data.

    Raises:
        RuntimeError: outside a transaction, because the entry could then outlive a failed act.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("ledger.record must be called in the transaction of the act it records")
    head, _ = LedgerHead.objects.select_for_update().get_or_create(pk=1)
    index, now = head.size, timezone.now()
    body = canonical_json(
        {
            "index": index,
            "recorded_at": now.isoformat(),
            "actor": actor,
            "act": act,
            "subject_kind": subject[0],
            "subject_id": str(subject[1]),
            "payload": payload or {},
        }
    )
    leaf = merkle.leaf_hash(body)
    entry = LedgerEntry.objects.create(
        index=index,
        recorded_at=now,
        actor=actor,
        act=act,
        subject_kind=subject[0],
        subject_id=str(subject[1]),
        body=body.decode(),
        leaf_hash=leaf.hex(),
    )
    _append_nodes(index, leaf)
    LedgerHead.objects.filter(pk=1).update(size=index + 1)
    return entry


def _append_nodes(index: int, leaf: bytes) -> None:
    """Keep the leaf and every full subtree that it completes."""
    nodes = [LedgerNode(level=0, position=index, node_hash=leaf.hex())]
    level, position, current = 0, index, leaf
    while position % 2 == 1:
        sibling = bytes.fromhex(LedgerNode.objects.get(level=level, position=position - 1).node_hash)
        current = merkle.node_hash(sibling, current)
        level, position = level + 1, position // 2
        nodes.append(LedgerNode(level=level, position=position, node_hash=current.hex()))
    LedgerNode.objects.bulk_create(nodes)


def _lookup(level: int, position: int) -> bytes:
    return bytes.fromhex(LedgerNode.objects.get(level=level, position=position).node_hash)


def tree_head(size: int | None = None) -> TreeHead:
    """Head of the ledger, now or when it had ``size`` entries."""
    if size is None:
        size = LedgerHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    return TreeHead(size=size, root=merkle.subtree_root(0, size, _lookup).hex())


def prove_inclusion(index: int, size: int | None = None) -> InclusionProof:
    """Proof that entry ``index`` is in the ledger of ``size`` entries (default: now)."""
    head = tree_head(size)
    path = merkle.inclusion_proof(index, head.size, _lookup)
    entry = LedgerEntry.objects.get(index=index)
    return InclusionProof(index=index, entry=entry.body, path=tuple(node.hex() for node in path), head=head)


def verify() -> LedgerCheck:
    """Recompute every leaf and the root from the entries themselves, and compare with what is stored."""
    with transaction.atomic():
        head = tree_head()
        stack: list[tuple[int, bytes]] = []
        count, problem = 0, None
        for entry in LedgerEntry.objects.order_by("index").iterator(chunk_size=BATCH):
            problem = _entry_problem(entry, expected_index=count)
            if problem:
                return LedgerCheck(entries=count, head=head, problem=problem)
            stack.append((0, merkle.leaf_hash(entry.body.encode())))
            while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
                (level, right), (_, left) = stack.pop(), stack.pop()
                stack.append((level + 1, merkle.node_hash(left, right)))
            count += 1
        problem = _root_problem(stack, count=count, head=head)
        return LedgerCheck(entries=count, head=head, problem=problem)


def _entry_problem(entry: LedgerEntry, *, expected_index: int) -> str | None:
    if entry.index != expected_index:
        return f"Entry {expected_index} is missing."
    if merkle.leaf_hash(entry.body.encode()).hex() != entry.leaf_hash:
        return f"Entry {entry.index} was changed after it was written."
    body = json.loads(entry.body)
    columns = {
        "index": entry.index,
        "recorded_at": entry.recorded_at.isoformat(),
        "actor": entry.actor,
        "act": entry.act,
        "subject_kind": entry.subject_kind,
        "subject_id": entry.subject_id,
    }
    for name, value in columns.items():
        if body.get(name) != value:
            return f"Entry {entry.index}: its {name} was changed after it was written."
    return None


def _root_problem(stack: list[tuple[int, bytes]], *, count: int, head: TreeHead) -> str | None:
    if count != head.size:
        return f"The ledger says it has {head.size} entries; {count} are there."
    root = merkle.empty_root()
    if stack:
        root = stack[-1][1]
        for _, left in reversed(stack[:-1]):
            root = merkle.node_hash(left, root)
    if root.hex() != head.root:
        return "The entries do not give the root hash that is stored: an entry and its hashes were replaced."
    return None
