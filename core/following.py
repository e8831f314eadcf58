"""Following the ledger: what reacts to an act reads the act's entry, at its own pace, and forgets none.

Each follower has a cursor of its own, a row of ``LedgerReader``. One entry, what the handler writes about it, and the
step of the cursor are one transaction: a handler that fails leaves the cursor where it was, and the entry is tried
again; two workers never handle one entry twice.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction

from core.models import LedgerEntry, LedgerHead, LedgerReader


def follow(name: str, acts: tuple[str, ...], handle: Callable[[LedgerEntry], None], most: int = 500) -> int:
    """Hand the entries of some acts to ``handle``, in their order, each once; return how many were handed over.

    A follower that is new begins with the first entry of the ledger.

    Args:
        name: Of the follower; its cursor is kept under it.
        handle: Called in a transaction. What it raises ends this call, and the entry is tried again by the next.
        most: Entries at one call.
    """
    done = 0
    while done < most and _follow_one(name, acts, handle):
        done += 1
    return done


@transaction.atomic
def _follow_one(name: str, acts: tuple[str, ...], handle: Callable[[LedgerEntry], None]) -> bool:
    """Handle the next entry of these acts. False where there is none."""
    LedgerReader.objects.get_or_create(name=name)
    reader = LedgerReader.objects.select_for_update(no_key=True).get(name=name)
    # An entry is counted in the head by the transaction that writes it, and that locks the head: whatever lies below
    # the size that is read here is there to be read.
    size = LedgerHead.objects.filter(pk=1).values_list("size", flat=True).first() or 0
    if reader.next_index >= size:
        return False
    new = LedgerEntry.objects.filter(act__in=acts, index__gte=reader.next_index, index__lt=size)
    entry = new.order_by("index").first()
    # Where nothing is there for this follower, the other entries need not be looked through again.
    after = size if entry is None else entry.index + 1
    moved = LedgerReader.objects.filter(pk=reader.pk, next_index=reader.next_index).update(next_index=after)
    if entry is None or not moved:
        return False
    handle(entry)
    return True
