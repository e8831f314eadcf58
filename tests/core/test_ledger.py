"""The ledger: written with the act or not at all, never changed unnoticed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from core import ledger
from core.models import LedgerEntry, LedgerHead, LedgerNode, User
from governance.bundle.layout import root_from_path
from tests.core.test_merkle import path, tree_hash

TRIGGERS = ("ledger_no_update", "ledger_no_delete")


def record(count: int, first: int = 0) -> None:
    with transaction.atomic():
        for number in range(first, first + count):
            ledger.record(actor="amir", act="thing.done", subject=("Thing", number), payload={"number": number})


def bodies() -> list[bytes]:
    return [body.encode() for body in LedgerEntry.objects.values_list("body", flat=True)]


def tamper(sql: str, *values: object) -> None:
    """What somebody with the database's password can do: away with the triggers first."""
    with connection.cursor() as cursor:
        for trigger in TRIGGERS:
            cursor.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        cursor.execute(sql, values)


@pytest.mark.django_db
def test_an_entry_says_who_did_what_to_what() -> None:
    with transaction.atomic():
        entry = ledger.record(actor="clara", act="protocol.approved", subject=("Protocol", 7), payload={"digest": "ab"})
    body = json.loads(entry.body)
    assert body.pop("recorded_at") == entry.recorded_at.isoformat()
    assert body == {
        "index": 0,
        "actor": "clara",
        "act": "protocol.approved",
        "subject_kind": "Protocol",
        "subject_id": "7",
        "payload": {"digest": "ab"},
    }


class OutsideATransaction:
    in_atomic_block = False


@pytest.mark.django_db
def test_recording_needs_the_transaction_of_the_act(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "connection", OutsideATransaction())
    with pytest.raises(RuntimeError, match="in the transaction of the act"):
        ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))
    assert ledger.tree_head().size == 0


@pytest.mark.django_db
def test_an_entry_that_fails_takes_the_act_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise DatabaseError("disk gone")

    monkeypatch.setattr(ledger, "_append_nodes", failing)
    with pytest.raises(DatabaseError, match="disk gone"), transaction.atomic():
        User.objects.create(username="somebody")
        ledger.record(actor="ada", act="user.created", subject=("User", 1))
    assert not User.objects.filter(username="somebody").exists()
    assert not LedgerEntry.objects.exists()


@pytest.mark.django_db
def test_an_act_that_fails_takes_its_entry_back() -> None:
    record(3)
    head = ledger.tree_head()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record(2, first=3)
        raise ZeroDivisionError
    assert ledger.tree_head() == head
    record(1, first=3)
    assert ledger.verify().intact


@pytest.mark.django_db
def test_a_payload_without_a_json_form_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range float"), transaction.atomic():
        ledger.record(actor="amir", act="thing.done", subject=("Thing", 1), payload={"value": float("nan")})
    assert not LedgerEntry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda: LedgerEntry.objects.filter(index=1).update(actor="nobody"),
        lambda: LedgerEntry.objects.filter(index=1).delete(),
        lambda: LedgerEntry.objects.get(index=1).delete(),
        lambda: LedgerEntry.objects.get(index=1).save(force_update=True),
    ],
)
def test_the_database_refuses_to_change_or_delete(change: object) -> None:
    record(3)
    with pytest.raises(DatabaseError, match=r"never (changed|deleted)"), transaction.atomic():
        change()
    assert ledger.verify().intact
    assert ledger.verify().entries == 3


@pytest.mark.django_db
def test_heads_and_proofs_for_every_size() -> None:
    """Against the tree written out naively, at every size that the ledger ever had."""
    record(70)
    leaves = bodies()
    for size in range(1, 71):
        head = ledger.tree_head(size)
        assert head.root == tree_hash(leaves[:size]).hex()
    for size in (1, 2, 3, 33, 64, 69, 70):
        for index in range(0, size, 5):
            proof = ledger.prove_inclusion(index, size)
            assert [bytes.fromhex(node) for node in proof.path] == path(index, leaves[:size])
            root = root_from_path(
                index=index, size=size, entry=proof.entry.encode(), path=[bytes.fromhex(node) for node in proof.path]
            )
            assert root.hex() == proof.head.root


@pytest.mark.django_db
def test_an_empty_ledger_is_intact() -> None:
    check = ledger.verify()
    assert (check.intact, check.entries) == (True, 0)
    assert check.head.root == tree_hash([]).hex()


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_an_untouched_ledger_is_intact(count: int) -> None:
    record(count)
    assert ledger.verify() == ledger.LedgerCheck(entries=count, head=ledger.tree_head(), problem=None)


COLUMNS = {"actor": "nobody", "act": "thing.undone", "subject_kind": "Other", "subject_id": "99"}


@pytest.mark.django_db
@pytest.mark.parametrize("column", COLUMNS)
def test_an_edited_column_is_named(column: str) -> None:
    record(9)
    tamper(f"UPDATE core_ledgerentry SET {column} = %s WHERE [index] = 4", COLUMNS[column])  # noqa: S608
    assert ledger.verify().problem == f"Entry 4: its {column} was changed after it was written."


@pytest.mark.django_db
def test_an_edited_time_is_named() -> None:
    record(9)
    later = LedgerEntry.objects.get(index=4).recorded_at + timedelta(microseconds=1)
    tamper("UPDATE core_ledgerentry SET recorded_at = %s WHERE [index] = 4", later)
    assert ledger.verify().problem == "Entry 4: its recorded_at was changed after it was written."


@pytest.mark.django_db
def test_an_edited_body_is_named() -> None:
    record(9)
    tamper("UPDATE core_ledgerentry SET body = replace(body, 'amir', 'anna') WHERE [index] = 4")
    assert ledger.verify().problem == "Entry 4 was changed after it was written."


@pytest.mark.django_db
def test_an_entry_rewritten_with_its_own_hash_is_found() -> None:
    """Everything about the entry is made to fit; the hashes above it no longer do."""
    record(9)
    body = LedgerEntry.objects.get(index=4).body.replace("amir", "anna")
    leaf = ledger.merkle.leaf_hash(body.encode()).hex()
    change = "UPDATE core_ledgerentry SET actor = 'anna', body = %s, leaf_hash = %s WHERE [index] = 4"
    tamper(change, body, leaf)
    assert "do not give the root hash" in ledger.verify().problem


@pytest.mark.django_db
@pytest.mark.parametrize("index", [0, 4, 8])
def test_a_deleted_entry_is_named(index: int) -> None:
    record(9)
    tamper("DELETE FROM core_ledgerentry WHERE [index] = %s", index)
    expected = f"Entry {index} is missing." if index < 8 else "The ledger says it has 9 entries; 8 are there."
    assert ledger.verify().problem == expected


@pytest.mark.django_db
def test_entries_that_changed_places_are_found() -> None:
    record(9)
    tamper("UPDATE core_ledgerentry SET [index] = CASE [index] WHEN 2 THEN 1003 ELSE 1002 END WHERE [index] IN (2, 3)")
    tamper("UPDATE core_ledgerentry SET [index] = [index] - 1000 WHERE [index] > 1000")
    assert ledger.verify().problem == "Entry 2: its index was changed after it was written."


@pytest.mark.django_db
def test_an_entry_slipped_in_is_found() -> None:
    record(4)
    tamper(
        "INSERT INTO core_ledgerentry ([index], recorded_at, actor, act, subject_kind, subject_id, body, leaf_hash) "
        "SELECT 4, recorded_at, actor, act, subject_kind, subject_id, replace(body, '\"index\":3', '\"index\":4'), "
        "leaf_hash FROM core_ledgerentry WHERE [index] = 3"
    )
    assert ledger.verify().problem == "Entry 4 was changed after it was written."


@pytest.mark.django_db
def test_changed_nodes_and_heads_are_found() -> None:
    record(9)
    with transaction.atomic():
        LedgerNode.objects.filter(level=3, position=0).update(node_hash="0" * 64)
        assert "do not give the root hash" in ledger.verify().problem
        transaction.set_rollback(True)
    LedgerHead.objects.update(size=8)
    assert ledger.verify().problem == "The ledger says it has 8 entries; 9 are there."
