"""Reading the ledger."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from core.models import LedgerEntry


def search_entries(*, words: str = "", act: str = "") -> QuerySet[LedgerEntry]:
    """Entries, newest first. ``words`` is looked for in the actor, the act, and the body (digests included)."""
    entries = LedgerEntry.objects.order_by("-index")
    if act:
        entries = entries.filter(act=act)
    if words:
        entries = entries.filter(Q(actor__icontains=words) | Q(act__icontains=words) | Q(body__icontains=words))
    return entries


def acts_recorded() -> list[str]:
    """Every act that occurs in the ledger."""
    return list(LedgerEntry.objects.order_by("act").values_list("act", flat=True).distinct())
