"""The ledger: written with the act or not at all. What verification finds is in test_ledger_verification."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from core import ledger
from core.errors import DigestMismatchError
from core.models import LedgerEntry, LedgerHead, User
from governance.bundle.layout import root_from_path
from tests.core.test_merkle import path, subproof, tree_hash


def record(count: int, first: int = 0) -> None:
    with transaction.atomic():
        for number in range(first, first + count):
            ledger.record(actor="amir", act="thing.done", subject=("Thing", number), payload={"number": number})


def bodies() -> list[bytes]:
    return [body.encode() for body in LedgerEntry.objects.values_list("body", flat=True)]


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
@pytest.mark.parametrize("index", range(1, 18))
def test_appending_asks_the_same_number_of_questions(index: int, django_assert_max_num_queries: Any) -> None:
    """However many hashes an entry completes, those beside them are fetched at once."""
    record(index)
    with django_assert_max_num_queries(5 + 2), transaction.atomic():  # Two are the savepoint of the test.
        ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))


@pytest.mark.django_db
def test_proving_asks_for_all_hashes_at_once(django_assert_max_num_queries: Any) -> None:
    record(70)
    with django_assert_max_num_queries(4):
        ledger.prove_inclusion(33)
    with django_assert_max_num_queries(4):
        proof = ledger.prove_consistency(33)
    leaves = bodies()
    assert [bytes.fromhex(node) for node in proof.path] == subproof(33, leaves, True)
    assert (proof.old.root, proof.new.root) == (tree_hash(leaves[:33]).hex(), tree_hash(leaves).hex())


@pytest.mark.django_db
def test_nothing_is_appended_to_a_ledger_that_lacks_a_hash() -> None:
    """It would give a tree that nobody can verify any more."""
    record(3)
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER ledger_node_no_delete")
        cursor.execute("DELETE FROM core_ledgernode WHERE level = 1")
    with pytest.raises(DigestMismatchError, match="lacks the hash of level 1, position 0"), transaction.atomic():
        ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))
    assert LedgerEntry.objects.count() == 3


@pytest.mark.django_db
def test_a_clock_that_was_set_back_is_in_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is measured against the latest moment, so that the entry after it says so too."""
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for hours, behind in ((0, None), (-1, 3600), (-2, 7200), (-0.0001, None), (1, None)):
        monkeypatch.setattr(ledger.timezone, "now", lambda hours=hours: noon + timedelta(hours=hours))
        with transaction.atomic():
            entry = ledger.record(actor="amir", act="thing.done", subject=("Thing", 1))
        assert json.loads(entry.body).get("clock_behind_seconds") == behind
    assert LedgerHead.objects.get().recorded_at == noon + timedelta(hours=1)
    check = ledger.verify()
    assert check.intact
    assert check.marks == (
        "Entry 1 was recorded 3600 s before an earlier one: a clock was set back.",
        "Entry 2 was recorded 7200 s before an earlier one: a clock was set back.",
    )
