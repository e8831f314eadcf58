"""Following the ledger: each entry once, in order, at least once whatever fails, and nothing read that need not be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from core import ledger
from core.following import follow
from core.models import LedgerEntry, LedgerReader

pytestmark = pytest.mark.django_db


def write(*acts: str) -> None:
    with transaction.atomic():
        for act in acts:
            ledger.record(actor="amir", act=act, subject=("AuditRun", 1))


def seen_by(name: str, *acts: str, most: int = 500) -> list[int]:
    seen: list[int] = []
    count = follow(name, acts, lambda entry: seen.append(entry.index), most)
    assert count == len(seen)
    return seen


def test_a_new_follower_begins_at_the_first_entry_and_reads_each_once() -> None:
    write("run.judged", "vote.cast", "run.judged", "risk.rated")
    assert seen_by("a", "run.judged") == [0, 2]
    assert seen_by("a", "run.judged") == []
    write("risk.rated", "run.judged")
    assert seen_by("a", "run.judged") == [5]
    assert seen_by("b", "run.judged", "risk.rated") == [0, 2, 3, 4, 5]


def test_an_empty_ledger_and_acts_that_never_happened() -> None:
    assert seen_by("a", "run.judged") == []
    write("vote.cast")
    assert seen_by("a", "run.judged") == []
    assert LedgerReader.objects.get(name="a").next_index == 1


def test_no_more_than_asked_for_at_one_call() -> None:
    write(*["run.judged"] * 5)
    assert [seen_by("a", "run.judged", most=2) for _ in range(4)] == [[0, 1], [2, 3], [4], []]


def test_a_handler_that_fails_leaves_cursor_and_writing_where_they_were() -> None:
    """What the handler wrote about the entry is gone with it; the entry before it stays handled."""
    write("run.judged", "run.judged", "run.judged")

    def failing(entry: LedgerEntry) -> None:
        with transaction.atomic():
            ledger.record(actor="system", act="risk.recorded", subject=("Risk", entry.index))
        if entry.index == 1:
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        follow("a", ("run.judged",), failing)
    assert list(LedgerEntry.objects.filter(act="risk.recorded").values_list("subject_id", flat=True)) == ["0"]
    assert LedgerReader.objects.get(name="a").next_index == 1
    assert seen_by("a", "run.judged") == [1, 2]
    assert ledger.verify().intact


def test_what_a_handler_writes_itself_is_not_lost_to_it() -> None:
    """A follower of its own act reads what it wrote, until the bound."""
    write("run.judged")

    def echo(entry: LedgerEntry) -> None:
        if entry.index < 3:
            with transaction.atomic():
                ledger.record(actor="system", act="run.judged", subject=("AuditRun", entry.index))

    assert follow("a", ("run.judged",), echo) == 4


def test_of_two_workers_one_handles_an_entry() -> None:
    """The second reads while the first is in its transaction: what the first steps over, the second finds done."""
    write("run.judged")
    seen: list[str] = []

    def first(entry: LedgerEntry) -> None:
        seen.append("first")
        follow("a", ("run.judged",), lambda _entry: seen.append("second"))

    assert follow("a", ("run.judged",), first) == 1
    assert seen == ["first"]


def _reading(asked: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in asked.captured_queries if "core_ledgerentry" in query["sql"]]


def test_entries_of_other_acts_are_neither_fetched_nor_looked_through_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    write(*["vote.cast"] * 40)
    counts: list[int] = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            assert seen_by("a", "run.judged") == []
        counts.append(len(_reading(asked)))
    assert counts == [1, 0]
    write(*["vote.cast"] * 40, "run.judged")
    with CaptureQueriesContext(connection) as asked:
        assert seen_by("a", "run.judged") == [80]
    assert len(_reading(asked)) == 1


@given(steps=st.lists(st.sampled_from(["run.judged", "vote.cast", "read", "fail"]), max_size=30))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_between_every_entry_is_handled_once_and_in_order(steps: list[str]) -> None:
    """Entries, readings of two at most, and readings whose handler fails once, in any order."""
    handled: list[int] = []
    broken = {"now": False}

    def handle(entry: LedgerEntry) -> None:
        if broken["now"]:
            raise RuntimeError("broken")
        handled.append(entry.index)

    def read(most: int) -> None:
        follow("walk", ("run.judged",), handle, most)

    with transaction.atomic():
        for step in steps:
            _step(step, read, broken)
        read(500)
        wanted = list(LedgerEntry.objects.filter(act="run.judged").order_by("index").values_list("index", flat=True))
        assert handled == wanted
        transaction.set_rollback(True)


def _step(step: str, read: Callable[[int], None], broken: dict[str, bool]) -> None:
    if step == "read":
        read(2)
    elif step == "fail":
        broken["now"] = True
        try:
            read(2)
        except RuntimeError as error:
            assert str(error) == "broken"
        broken["now"] = False
    else:
        write(step)
