"""Whatever somebody with the database's password does to the ledger, verification finds it and names it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from core import ledger, ledger_checks, merkle
from core.ledger_checks import Bounds, HeadToCheck, check_ledger
from core.ledger_columns import Row
from core.models import LedgerEntry
from tests.core.test_ledger import bodies, record
from tests.core.test_merkle import tree_hash

pytestmark = pytest.mark.django_db
ALL = "SELECT name FROM sqlite_master WHERE type = 'trigger'"


def tamper(sql: str, *values: object) -> None:
    """Away with the triggers first."""
    with connection.cursor() as cursor:
        for (name,) in cursor.execute(ALL).fetchall():
            cursor.execute(f'DROP TRIGGER "{name}"')
        cursor.execute(sql, values)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_an_untouched_ledger_is_intact(count: int) -> None:
    record(count)
    assert ledger.verify() == ledger.LedgerCheck(entries=count, head=ledger.tree_head(), problems=())
    assert ledger.verify().head.root == tree_hash(bodies()).hex()


COLUMNS = {"actor": "nobody", "act": "thing.undone", "subject_kind": "Other", "subject_id": "99"}


@pytest.mark.parametrize("column", COLUMNS)
def test_an_edited_column_is_named(column: str) -> None:
    record(9)
    tamper(f"UPDATE core_ledgerentry SET {column} = %s WHERE [index] = 4", COLUMNS[column])  # noqa: S608
    assert ledger.verify().problems == (f"Entry 4: its {column} was changed after it was written.",)


def test_an_edited_time_is_named() -> None:
    record(9)
    later = LedgerEntry.objects.get(index=4).recorded_at + timedelta(microseconds=1)
    tamper("UPDATE core_ledgerentry SET recorded_at = %s WHERE [index] = 4", later)
    assert ledger.verify().problems == ("Entry 4: its recorded_at was changed after it was written.",)


def test_an_edited_leaf_hash_is_named() -> None:
    record(9)
    tamper("UPDATE core_ledgerentry SET leaf_hash = %s WHERE [index] = 4", "0" * 64)
    assert ledger.verify().problems == ("Entry 4: its leaf_hash was changed after it was written.",)


@pytest.mark.parametrize("value", ["replace(body, 'amir', 'anna')", "'{}'", "''", "CAST(x'ff00fe' AS TEXT)", "x'7b'"])
def test_an_edited_body_is_named(value: str) -> None:
    """One that is no text any more too. The hashes above it are those of what it was, and are not told."""
    record(9)
    tamper(f"UPDATE core_ledgerentry SET body = {value} WHERE [index] = 4")  # noqa: S608
    assert ledger.verify().problems == ("Entry 4 was changed after it was written.",)


def test_a_column_that_is_no_text_is_named() -> None:
    record(9)
    tamper("UPDATE core_ledgerentry SET actor = CAST(x'ff00fe' AS TEXT), recorded_at = 'soon' WHERE [index] = 4")
    assert ledger.verify().problems == (
        "Entry 4: its recorded_at was changed after it was written.",
        "Entry 4: its actor was changed after it was written.",
    )


def test_an_entry_rewritten_with_its_own_hash_is_named() -> None:
    """Everything about the entry is made to fit; the hashes of the tree no longer do."""
    record(9)
    rewrite(4)
    (problem,) = ledger.verify().problems
    assert problem.startswith("Entry 4 does not have the hash that the tree keeps for it")


def rewrite(index: int) -> None:
    body = LedgerEntry.objects.get(index=index).body.replace("amir", "anna")
    leaf = merkle.leaf_hash(body.encode()).hex()
    change = "UPDATE core_ledgerentry SET actor = 'anna', body = %s, leaf_hash = %s WHERE [index] = %s"
    tamper(change, body, leaf, index)


@pytest.mark.parametrize("index", [0, 4, 8])
def test_a_deleted_entry_is_named(index: int) -> None:
    record(9)
    tamper("DELETE FROM core_ledgerentry WHERE [index] = %s", index)
    assert ledger.verify().problems == (f"Entry {index} is missing.",)


def test_entries_that_changed_places_are_named() -> None:
    record(9)
    tamper("UPDATE core_ledgerentry SET [index] = CASE [index] WHEN 2 THEN 1003 ELSE 1002 END WHERE [index] IN (2, 3)")
    tamper("UPDATE core_ledgerentry SET [index] = [index] - 1000 WHERE [index] > 1000")
    assert ledger.verify().problems == (
        "Entry 2 was written as entry 3: entries were put into another order.",
        "Entry 3 was written as entry 2: entries were put into another order.",
    )


COPY = (
    "INSERT INTO core_ledgerentry ([index], recorded_at, actor, act, subject_kind, subject_id, body, leaf_hash) "
    "SELECT {0}, recorded_at, actor, act, subject_kind, subject_id, replace(body, '\"index\":3', '\"index\":{0}'), "
    "leaf_hash FROM core_ledgerentry WHERE [index] = 3"
)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (
            "4",
            {"The hash that the tree keeps for entry 4 is missing.", "The ledger says it has 4 entries; 5 are there."},
        ),
        ("-1", {"Entry -1 is there and belongs nowhere: it was put in."}),
        ("2.5", {"Entry 2.5 is there and belongs nowhere: it was put in."}),
        ("'x'", {"Entry x is there and belongs nowhere: it was put in."}),
        ("9000000000000000000", {"Entry 9000000000000000000 is there and belongs nowhere: it was put in."}),
    ],
)
def test_an_entry_slipped_in_is_named(number: str, told: set[str]) -> None:
    record(4)
    tamper(COPY.replace("'\"index\":{0}'", "'other'").format(number))
    assert told <= set(ledger.verify().problems)


@pytest.mark.parametrize(("level", "position", "span"), [(1, 2, "4 to 5"), (2, 1, "4 to 7"), (3, 0, "0 to 7")])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE core_ledgernode SET node_hash = '" + "0" * 64 + "'", "was changed"),
        ("UPDATE core_ledgernode SET node_hash = 'none'", "was changed"),
        ("DELETE FROM core_ledgernode", "is missing"),
    ],
)
def test_a_hash_of_the_tree_is_named(level: int, position: int, span: str, change: str, what: str) -> None:
    """Proofs rest on these. One is told once: those above it were made of what it was."""
    record(9)
    tamper(f"{change} WHERE level = %s AND position = %s", level, position)
    assert ledger.verify().problems == (
        f"The hash that the tree keeps for entries {span} (level {level}, position {position}) {what}.",
    )


def test_a_hash_of_a_leaf_is_named() -> None:
    record(9)
    tamper("UPDATE core_ledgernode SET node_hash = %s WHERE level = 0 AND position = 4", "0" * 64)
    (problem,) = ledger.verify().problems
    assert "Entry 4 does not have the hash that the tree keeps for it" in problem
    tamper("DELETE FROM core_ledgernode WHERE level = 0 AND position = 4")
    assert ledger.verify().problems == ("The hash that the tree keeps for entry 4 is missing.",)


@pytest.mark.parametrize(("level", "position"), [(3, 1), (4, 0), (70, 0), (0, -1), (0, 9000000000000000000)])
def test_a_hash_that_was_put_in_is_named(level: int, position: int) -> None:
    record(9)
    tamper("INSERT INTO core_ledgernode (level, position, node_hash) VALUES (%s, %s, 'ab')", level, position)
    assert f"The tree has a hash at level {level}, position {position}, where nothing is complete yet." in (
        ledger.verify().problems
    )


@pytest.mark.parametrize("size", [8, 12, 4611686018427387904])
def test_a_size_that_was_changed_is_named(size: int) -> None:
    """However large: what is not there is not looked for, one by one."""
    record(9)
    tamper("UPDATE core_ledgerhead SET size = %s", size)
    assert ledger.verify().problems == (f"The ledger says it has {size} entries; 9 are there.",)


def test_it_goes_on_after_the_first_problem_and_counts_all() -> None:
    record(40)
    tamper("UPDATE core_ledgerentry SET body = replace(body, 'amir', 'anna') WHERE [index] >= 12")
    check = ledger.verify()
    assert check.faults == 28
    assert check.problems == tuple(f"Entry {index} was changed after it was written." for index in range(12, 22))
    assert check.entries == 40


def test_several_different_faults_are_all_told() -> None:
    record(30)
    tamper("DELETE FROM core_ledgerentry WHERE [index] = 3")
    tamper("UPDATE core_ledgerentry SET actor = 'anna' WHERE [index] = 17")
    tamper("DELETE FROM core_ledgernode WHERE level = 3 AND position = 2")
    assert set(ledger.verify().problems) == {
        "Entry 3 is missing.",
        "Entry 17: its actor was changed after it was written.",
        "The hash that the tree keeps for entries 16 to 23 (level 3, position 2) is missing.",
    }


class Rows:
    """A ledger in memory, made to fit by somebody who knows how."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = texts

    def bounds(self) -> Bounds:
        return Bounds(size=len(self.texts), total=len(self.texts))

    def entries(self, start: int, stop: int) -> list[Row]:
        return [self.row(index) for index in range(start, min(stop, len(self.texts)))]

    def row(self, index: int) -> Row:
        said = json.loads(self.texts[index])
        named = (said[name].encode() for name in ("recorded_at", "actor", "act", "subject_kind", "subject_id"))
        body = self.texts[index]
        return (index, *named, body, merkle.leaf_hash(body).hex().encode())

    def nodes(self, level: int, start: int, stop: int) -> list[tuple[int, bytes]]:
        whole = range(start, min(stop, len(self.texts) >> level))
        return [(place, tree_hash(self.texts[place << level : (place + 1) << level]).hex().encode()) for place in whole]

    def strays(self, total: int) -> list[str]:
        return []


def texts(count: int) -> list[bytes]:
    said = {"recorded_at": "2026-11-22T12:00:00+00:00", "actor": "amir", "act": "thing.done", "subject_kind": "Thing"}
    return [
        json.dumps(said | {"subject_id": "1", "index": index, "payload": {}}, sort_keys=True).encode()
        for index in range(count)
    ]


def heads(of: list[bytes], *sizes: int) -> list[HeadToCheck]:
    return [
        HeadToCheck(size=size, root=tree_hash(of[:size]).hex(), signed_at=f"at {size}", source="the database")
        for size in sizes
    ]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four, so that a few entries are many chunks."""
    monkeypatch.setattr(ledger_checks, "CHUNK_LEVEL", 2)
    monkeypatch.setattr(ledger_checks, "CHUNK", 4)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("count", range(1, 40))
def test_heads_of_every_size_fit_over_many_chunks(count: int) -> None:
    of, told = texts(count), []
    check = check_ledger(Rows(of), heads=heads(of, *range(count + 1)), progress=lambda *at: told.append(at))
    assert (check.problems, check.heads) == ((), count + 1)
    assert check.head.root == tree_hash(of).hex()
    assert told[-1] == (count, count) and len(told) == -(-count // 4)


@pytest.mark.usefixtures("small_chunks")
def test_a_ledger_that_was_made_to_fit_anew_does_not_fit_the_signed_heads() -> None:
    """Entry, column and every hash agree with each other. Only what was signed before gives it away, and where."""
    of = texts(23)
    signed = heads(of, 5, 11, 16, 23)
    forged = [*of[:13], of[13].replace(b"amir", b"anna"), *of[14:]]
    check = check_ledger(Rows(forged), heads=signed)
    assert check.problems == (
        "The ledger does not fit the head of 16 entries, signed at 16 (the database). It fits the head of 11 entries, "
        "so an entry from 11 to 15 was changed.",
        "Nor does it fit the head of 23 entries (the database).",
    )
    assert check_ledger(Rows(forged)).intact, "nothing else could have found it"


def test_a_ledger_that_was_cut_off_does_not_reach_the_signed_head() -> None:
    of = texts(23)
    check = check_ledger(Rows(of[:20]), heads=heads(of, 11, 23))
    assert check.problems == (
        "The ledger has 20 entries and does not reach the head of 23 entries, signed at 23 (the database): entries "
        "were removed from its end.",
    )


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40), st.data())
def test_one_change_anywhere_is_found(count: int, data: st.DataObject) -> None:
    of = texts(count)
    rows, index = Rows(of), data.draw(st.integers(0, count - 1))
    level = data.draw(st.integers(0, count.bit_length() - 1))
    position = data.draw(st.integers(0, (count >> level) - 1))
    kind = data.draw(st.sampled_from(["body", "column", "gone", "node", "no node"]))
    entries, nodes = rows.entries, rows.nodes
    if kind == "body":
        rows.entries = lambda a, b: [(*r[:6], r[6] + b" ", r[7]) if r[0] == index else r for r in entries(a, b)]
    elif kind == "column":
        place = data.draw(st.integers(1, 5))
        rows.entries = lambda a, b: [
            (*r[:place], r[place] + b"x", *r[place + 1 :]) if r[0] == index else r for r in entries(a, b)
        ]
    elif kind == "gone":
        rows.entries = lambda a, b: [r for r in entries(a, b) if r[0] != index]
    elif kind == "node":
        rows.nodes = lambda lv, a, b: [
            (p, b"0" * 64 if (lv, p) == (level, position) else h) for p, h in nodes(lv, a, b)
        ]
    else:
        rows.nodes = lambda lv, a, b: [(p, h) for p, h in nodes(lv, a, b) if (lv, p) != (level, position)]
    check = check_ledger(rows)
    assert check.faults == 1
    if kind in {"body", "column", "gone"}:
        assert f"Entry {index}" in check.problems[0]
    elif level:
        assert f"level {level}, position {position}" in check.problems[0]
