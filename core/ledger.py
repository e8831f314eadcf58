"""The ledger: every act that counts, in an append-only Merkle tree.

``record`` is called inside the transaction of the act, so that an act without its entry, or an entry without its
act, cannot be. Database triggers refuse to change or delete an entry; what gets past them :func:`verify` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from core import merkle
from core.digests import canonical_json
from core.errors import DigestMismatchError
from core.ledger_checks import HeadToCheck, LedgerCheck, TreeHead, check_ledger
from core.ledger_rows import LedgerRows
from core.models import LedgerEntry, LedgerHead, LedgerNode

__all__ = ["ConsistencyProof", "InclusionProof", "LedgerCheck", "TreeHead", "prove_consistency", "prove_inclusion",
           "record", "record_each", "tree_head", "verify"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InclusionProof:
    """That one entry is in the tree with this head. ``path`` holds hexadecimal hashes, lowest first."""

    index: int
    entry: str
    path: tuple[str, ...]
    head: TreeHead


@dataclass(frozen=True, kw_only=True)
class ConsistencyProof:
    """That the ledger with the head ``new`` begins with the ledger that had the head ``old``."""

    old: TreeHead
    new: TreeHead
    path: tuple[str, ...]


def record(*, actor: str, act: str, subject: tuple[str, object], payload: dict[str, Any] | None = None) -> LedgerEntry:
    """Append one entry.

    Args:
        actor: User name of the person, or ``system`` for the platform itself.
        act: ``noun.verb`` in the past tense, such as ``protocol.approved``.
        subject: Kind and identifier of what was acted on.
        payload: Facts that belong to the act: digests, counts, reasons. Never patient-level data.

    An entry whose moment lies a second or more before that of an earlier one says so in ``clock_behind_seconds``.

    Raises:
        RuntimeError: outside a transaction, because the entry could then outlive a failed act.
    """
    return record_each(actor=actor, act=act, about=[(subject, payload or {})])[0]


def record_each(
    *, actor: str, act: str, about: Sequence[tuple[tuple[str, object], dict[str, Any]]]
) -> list[LedgerEntry]:
    """Append an entry for each subject of one act, in their order; as many queries for a hundred as for one.

    Args:
        about: Subject and payload of each entry, as for :func:`record`.

    Raises:
        RuntimeError: outside a transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("ledger.record must be called in the transaction of the act it records")
    if not about:
        return []
    head, _ = LedgerHead.objects.select_for_update().get_or_create(pk=1)
    now = timezone.now()
    behind = int((head.recorded_at - now).total_seconds()) if head.recorded_at else 0
    entries = [
        _entry(index, now, behind, actor=actor, act=act, subject=subject, payload=payload)
        for index, (subject, payload) in enumerate(about, start=head.size)
    ]
    LedgerEntry.objects.bulk_create(entries)
    _append_nodes(head.size, [bytes.fromhex(entry.leaf_hash) for entry in entries])
    latest = max(now, head.recorded_at) if head.recorded_at else now
    LedgerHead.objects.filter(pk=1).update(size=head.size + len(entries), recorded_at=latest)
    return entries


def _entry(
    index: int, now: datetime, behind: int, *, actor: str, act: str, subject: tuple[str, object], payload: Any
) -> LedgerEntry:
    body = canonical_json(
        {
            "index": index,
            "recorded_at": now.isoformat(),
            "actor": actor,
            "act": act,
            "subject_kind": subject[0],
            "subject_id": str(subject[1]),
            "payload": payload,
        }
        | ({"clock_behind_seconds": behind} if behind > 0 else {})
    )
    return LedgerEntry(
        index=index,
        recorded_at=now,
        actor=actor,
        act=act,
        subject_kind=subject[0],
        subject_id=str(subject[1]),
        body=body.decode(),
        leaf_hash=merkle.leaf_hash(body).hex(),
    )


def _append_nodes(first: int, leaves: Sequence[bytes]) -> None:
    """Keep the leaves and every full subtree that they complete; the hashes beside these are fetched at once."""
    completed = {index: (~index & (index + 1)).bit_length() - 1 for index in range(first, first + len(leaves))}
    beside = [(level, (index >> level) - 1) for index, levels in completed.items() for level in range(levels)]
    known = _hashes([(level, position) for level, position in beside if (position + 1) << level <= first])
    fresh: dict[merkle.Place, bytes] = {}
    for (index, levels), leaf in zip(completed.items(), leaves, strict=True):
        fresh[0, index] = current = leaf
        for level in range(levels):
            place = (level, (index >> level) - 1)
            current = merkle.node_hash(known[place] if place in known else fresh[place], current)
            fresh[level + 1, index >> (level + 1)] = current
    LedgerNode.objects.bulk_create(
        [
            LedgerNode(level=level, position=position, node_hash=value.hex())
            for (level, position), value in fresh.items()
        ]
    )


def _hashes(places: list[merkle.Place]) -> dict[merkle.Place, bytes]:
    """The hashes of some subtrees, by one query.

    Raises:
        DigestMismatchError: the ledger lacks one of them, so it is damaged.
    """
    if not places:
        return {}
    asked = Q()
    for level, position in places:
        asked |= Q(level=level, position=position)
    rows = LedgerNode.objects.filter(asked).values_list("level", "position", "node_hash")
    known = {(level, position): bytes.fromhex(value) for level, position, value in rows}
    for level, position in places:
        if (level, position) not in known:
            raise DigestMismatchError(
                f"The ledger lacks the hash of level {level}, position {position}, so nothing can be added or proven.",
                remedy="Run 'auscult ledger verify', and restore the database from a backup.",
            )
    return known


def tree_head(size: int | None = None) -> TreeHead:
    """Head of the ledger, now or when it had ``size`` entries."""
    if size is None:
        size = LedgerHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    root = merkle.with_hashes(partial(merkle.subtree_root, 0, size), _hashes)
    return TreeHead(size=size, root=root.hex())


def prove_inclusion(index: int, size: int | None = None) -> InclusionProof:
    """Proof that entry ``index`` is in the ledger of ``size`` entries (default: now)."""
    head = tree_head(size)
    path = merkle.with_hashes(partial(merkle.inclusion_proof, index, head.size), _hashes)
    entry = LedgerEntry.objects.get(index=index)
    return InclusionProof(index=index, entry=entry.body, path=tuple(node.hex() for node in path), head=head)


def prove_consistency(old: int, new: int | None = None) -> ConsistencyProof:
    """Proof that the ledger of ``new`` entries (default: now) begins with the ledger of ``old`` entries.

    Raises:
        ValueError: ``old`` is not from 0 to ``new``.
    """
    head = tree_head(new)
    path = merkle.with_hashes(partial(merkle.consistency_proof, old, head.size), _hashes)
    return ConsistencyProof(old=tree_head(old), new=head, path=tuple(node.hex() for node in path))


def verify(*, heads: Sequence[HeadToCheck] = (), progress: Callable[[int, int], None] | None = None) -> LedgerCheck:
    """Recompute the ledger from its entries and compare it with everything that is stored about it.

    Nothing is locked: entries that are appended meanwhile are checked up to the size at the beginning or beyond.

    Args:
        heads: Heads that were signed; the tree of each size must have that root.
        progress: Called with the entries that are done and the entries in all.
    """
    return check_ledger(LedgerRows(), heads=heads, progress=progress)
