"""Reading the ledger: searching it costs the same however long it is.

Entries are paged by their number. A search looks at a bounded number of entries, newest first, and says how far back it
looked; going on from there is the next page. So the first page of a million entries opens as fast as that of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import F, Max, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from core.models import LedgerEntry

PAGE = 50
SEARCHED = 200_000
FEW = 2_000
PROBES = 1_000


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for. ``words`` in the body, digests included; the rest as it stands in its column.

    ``since`` and ``until`` are moments; the entries from the first at or after the one to the last before the other.
    """

    words: str = ""
    act: str = ""
    actor: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def empty(self) -> bool:
        return self == Search()


@dataclass(frozen=True, kw_only=True)
class EntryPage:
    """Some entries, newest first.

    Attributes:
        older: The number to go on from to older entries; None at the end.
        newer: The number to go back from to newer ones; None on the first page.
        searched_to: The oldest entry that was looked at, where the search stopped before the beginning.
    """

    entries: list[LedgerEntry]
    older: int | None
    newer: int | None
    searched_to: int | None = None


def entry_page(search: Search, *, before: int | None = None, after: int | None = None) -> EntryPage:
    """The newest entries that match, below ``before`` or next above ``after``."""
    last = LedgerEntry.objects.aggregate(last=Max("index"))["last"]
    lowest, highest = _span(search, -1 if last is None else int(last))
    if after is not None:
        return _page_above(search, max(after + 1, lowest), highest)
    top = highest if before is None else min(before - 1, highest)
    found, reached = _matching(search, lowest, top, newest_first=True)
    more = len(found) > PAGE
    entries = found[:PAGE]
    older = entries[-1].index if more else (reached if reached > lowest else None)
    newer = (entries[0].index if entries else top) if before is not None and top < highest else None
    return EntryPage(
        entries=entries, older=older, newer=newer, searched_to=None if more or reached <= lowest else reached
    )


def _page_above(search: Search, bottom: int, highest: int) -> EntryPage:
    """The entries next above a number; at the top it is the first page again."""
    found, reached = _matching(search, bottom, highest, newest_first=False)
    entries = found[:PAGE][::-1]
    if len(found) <= PAGE and reached >= highest:
        return entry_page(search)
    newer = entries[0].index if len(found) > PAGE else reached
    return EntryPage(entries=entries, older=entries[-1].index if entries else bottom, newer=newer)


def _matching(search: Search, bottom: int, top: int, *, newest_first: bool) -> tuple[list[LedgerEntry], int]:
    """One more than a page of entries, and how far it was looked for them."""
    few = _few(search)
    entries = _filtered(search, by_index=few).filter(index__gte=bottom, index__lte=top)
    entries = entries.order_by("-index" if newest_first else "index")
    if few or search.empty:
        return list(entries[: PAGE + 1]), bottom if newest_first else top
    limit = max(bottom, top - SEARCHED + 1) if newest_first else min(top, bottom + SEARCHED - 1)
    window = entries.filter(index__gte=limit) if newest_first else entries.filter(index__lte=limit)
    return list(window[: PAGE + 1]), limit


def _few(search: Search) -> bool:
    """Whether an index leads to the entries at once: few have this subject, or this act."""
    if search.subject_kind and search.subject_id:
        narrowed = LedgerEntry.objects.filter(subject_kind=search.subject_kind, subject_id=search.subject_id)
    elif search.act:
        narrowed = LedgerEntry.objects.filter(act=search.act)
    else:
        return False
    return len(narrowed.order_by().values_list("pk", flat=True)[: FEW + 1]) <= FEW


def _filtered(search: Search, *, by_index: bool) -> QuerySet[LedgerEntry]:
    """The entries that match. Where many do, the database is kept from collecting and sorting all of them by the index
    of a column, when the numbers lead to the first fifty at once."""
    entries = LedgerEntry.objects.all()
    for column in ("act", "actor", "subject_kind", "subject_id"):
        if value := getattr(search, column):
            entries = entries.filter(Exact(F(column) if by_index else Coalesce(column, Value("")), value))
    for word in search.words.split():
        entries = entries.filter(Q(body__icontains=word))
    return entries


def _span(search: Search, last: int) -> tuple[int, int]:
    """The numbers that the days leave. Moments grow with the numbers, so they are looked up by narrowing."""
    lowest = _first_at(search.since, last) if search.since else 0
    return lowest, _first_at(search.until, last) - 1 if search.until else last


def _first_at(moment: datetime, last: int) -> int:
    """The number of the first entry that was recorded at or after a moment.

    Of a hundred million entries a thousand are looked at, then a thousand between two of these, until few are left.
    """
    low, high, wider = 0, last + 1, True
    while high - low > PROBES and wider:
        rows = LedgerEntry.objects.filter(index__in=range(low, high, (high - low) // PROBES))
        found = list(rows.order_by("index").values_list("index", "recorded_at"))
        first = next((place for place, (_, at) in enumerate(found) if at >= moment), len(found))
        before, above = found[:first], found[first:]
        narrowed = (before[-1][0] + 1 if before else low, above[0][0] if above else high)
        wider, (low, high) = narrowed != (low, high), narrowed
    left = LedgerEntry.objects.filter(index__gte=low, index__lt=high, recorded_at__gte=moment)
    index = left.order_by("index").values_list("index", flat=True).first()
    return high if index is None else int(index)


def words_recorded() -> tuple[list[str], list[str]]:
    """Every act, and every kind of subject, that occurs in the ledger: one query."""
    columns = ("act", "subject_kind")
    tables = ", ".join(f"{column}_found(value) AS ({_different(column)})" for column in columns)
    chosen = " UNION ALL ".join(
        f"SELECT '{column}', value FROM {column}_found WHERE value IS NOT NULL"  # noqa: S608 - names of the model
        for column in columns
    )
    with connection.cursor() as cursor:
        cursor.execute(f"WITH RECURSIVE {tables} {chosen}")
        found = cursor.fetchall()
    acts, kinds = (sorted(value for name, value in found if name == column) for column in columns)
    return acts, kinds


def _different(column: str) -> str:
    """The different values of a column that an index begins with: from one to the next, past all that are alike."""
    table = LedgerEntry._meta.db_table
    following = f"SELECT MIN({column}) FROM {table} WHERE {column} > {column}_found.value"  # noqa: S608
    rest = f"SELECT ({following}) FROM {column}_found WHERE {column}_found.value IS NOT NULL"  # noqa: S608
    return f"SELECT MIN({column}) FROM {table} UNION ALL {rest}"  # noqa: S608
