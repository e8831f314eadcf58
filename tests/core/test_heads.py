"""Signed heads: signed only over what fits, exported to a witness, and compared when the ledger is verified."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import LazySettings
from django.db import DatabaseError, transaction

from core import heads, ledger, proofs, verification
from core.errors import ConflictError, DigestMismatchError, EnvironmentProblemError, NotFoundError
from core.keys import public_key_pem, signing_key
from core.models import LedgerEntry, LedgerHead, Notification, Role, RoleGrant, SignedHead, User
from core.proof_files import check_proof, fingerprint, parse_proof, read_proof
from tests.core.test_ledger import bodies, record
from tests.core.test_ledger_verification import rewrite, tamper
from tests.core.test_merkle import subproof, tree_hash

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: LazySettings) -> Path:
    settings.AUSCULT_HOME = tmp_path / "home"
    settings.AUSCULT_LEDGER_EXPORT = ""
    settings.AUSCULT_HOME.mkdir()
    return settings.AUSCULT_HOME


@pytest.fixture
def ada() -> User:
    ada = User.objects.create(username="ada", email="ada@clinic.test")
    RoleGrant.objects.create(user=ada, role=Role.ADMINISTRATOR)
    return ada


def grow(*sizes: int) -> list[SignedHead]:
    """Entries up to each size, and a head signed there."""
    signed = []
    for place, size in enumerate(sizes):
        first = ledger.tree_head().size
        record(size - first, first=first)
        signed.append(heads.sign_head(now=NOON + timedelta(hours=place)))
    return signed


def test_a_head_says_how_large_the_ledger_was_and_is_signed() -> None:
    first, second = grow(3, 8)
    leaves = bodies()
    body = json.loads(second.document)
    assert body == {
        "schema": "auscult/tree-head/2",
        "key": fingerprint(signing_key().public_key()),
        "size": 8,
        "root": tree_hash(leaves).hex(),
        "signed_at": "2026-11-22T13:00:00+00:00",
        "previous": {"size": 3, "root": tree_hash(leaves[:3]).hex()},
    }
    assert json.loads(first.document)["previous"] is None


def test_nothing_is_signed_when_nothing_was_added() -> None:
    assert heads.sign_head() is None, "an empty ledger has nothing to sign"
    grow(3)
    assert heads.sign_head() is None
    assert (SignedHead.objects.count(), LedgerEntry.objects.count()) == (1, 3), "signing writes no entry"


def test_a_ledger_that_does_not_fit_the_last_head_is_not_signed_over() -> None:
    """Whoever made every hash fit anew does not get a signature for it."""
    grow(5)
    forge(2)
    record(1, first=5)
    with pytest.raises(DigestMismatchError, match="does not fit its head of 5 entries"):
        heads.sign_head()
    assert SignedHead.objects.count() == 1


def forge(index: int) -> None:
    """Rewrite an entry and every hash above it, so that all fits."""
    rewrite(index)
    leaves = bodies()
    for level in range(len(leaves).bit_length()):
        for place in range(len(leaves) >> level):
            value = tree_hash(leaves[place << level : (place + 1) << level]).hex()
            tamper("UPDATE core_ledgernode SET node_hash=%s WHERE level=%s AND position=%s", value, level, place)


def test_a_ledger_that_was_made_to_fit_is_found_by_its_heads() -> None:
    grow(3, 6, 9)
    assert verification.verify_all().intact
    forge(4)
    assert ledger.verify().intact, "by itself it fits"
    check = verification.verify_all()
    assert "It fits the head of 3 entries, so an entry from 3 to 5 was changed." in check.problems[0]
    assert (check.heads, check.faults) == (3, 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE core_signedhead SET root = '" + "0" * 64 + "' WHERE size = 6", "its columns do not say"),
        ("UPDATE core_signedhead SET size = 7 WHERE size = 6", "its columns do not say what was signed"),
        ("UPDATE core_signedhead SET document = replace(document, ':6}', ':7}') WHERE size = 6", "signature does not"),
        ("UPDATE core_signedhead SET document = '[]' WHERE size = 6", "is no signed head any more"),
        ("UPDATE core_signedhead SET signature = 'AAAA' WHERE size = 6", "its signature does not match"),
        ("DELETE FROM core_signedhead WHERE size = 6", "entries in the database names another head before it"),
        ("DELETE FROM core_signedhead WHERE size = 3", "entries in the database names another head before it"),
    ],
)
def test_a_head_that_was_changed_or_removed_is_named(change: str, told: str) -> None:
    grow(3, 6, 9)
    tamper(change)
    assert any(told in problem for problem in verification.verify_all().problems)


@pytest.mark.parametrize("act", ["update", "delete"])
def test_the_database_refuses_to_change_heads_and_hashes(act: str) -> None:
    grow(3)
    for rows in (SignedHead.objects.all(), LedgerHead.objects.all()):
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.delete() if act == "delete" else rows.update(size=1)


def test_the_witness_keeps_what_the_database_lost(tmp_path: Path) -> None:
    """Entries, hashes and heads were all replaced; the copies of the witness do not fit any more."""
    grow(3, 6)
    witness = tmp_path / "witness"
    witness.mkdir()
    assert heads.export_heads(witness) == 2
    assert verification.verify_all(folder=witness).intact
    forge(1)
    tamper("DELETE FROM core_signedhead")
    assert verification.verify_all().intact, "nothing inside the database gives it away"
    check = verification.verify_all(folder=witness)
    assert "an entry from 0 to 2 was changed" in check.problems[0]
    assert "Nor does it fit the head of 6 entries" in check.problems[1]


def test_files_of_heads_that_were_changed_are_named(tmp_path: Path) -> None:
    grow(3, 6)
    heads.export_heads(tmp_path)
    file = tmp_path / "3.json"
    file.write_text(file.read_text().replace('"sig": "', '"sig": "AAAA'))
    (tmp_path / "6.json").write_text("{}")
    check = verification.verify_all(folder=tmp_path)
    assert check.faults == 2
    assert check.problems[0].startswith("3.json: the head of 3 entries was changed")
    assert check.problems[1].startswith("6.json: This is no proof of a ledger")


def test_a_folder_without_heads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError, match="is not there"):
        verification.verify_all(folder=tmp_path / "nowhere")
    with pytest.raises(EnvironmentProblemError, match="no file of a signed head"):
        verification.verify_all(folder=tmp_path)


def test_the_schedule_signs_exports_and_writes_nothing_twice(
    tmp_path: Path, settings: LazySettings, home: Path
) -> None:
    settings.AUSCULT_LEDGER_EXPORT = str(tmp_path)
    record(4)
    assert heads.sign_and_export() == 1
    assert heads.sign_and_export() == 0
    exported = [folder / "4.json" for folder in (home / "ledger-heads", tmp_path)]
    assert exported[0].read_bytes() == exported[1].read_bytes()
    assert not list(tmp_path.glob(".part-*"))
    record(3, first=4)
    before = exported[1].stat().st_mtime_ns
    assert heads.sign_and_export() == 1
    assert exported[1].stat().st_mtime_ns == before, "what the witness has is not written again"
    found = check_proof(read_proof(tmp_path / "7.json"))
    assert (found.ok, found.problems) == (True, ())
    assert "begins with the 4 entries" in found.shown


def test_a_share_that_is_not_mounted_is_told_to_the_administrators_once_a_day(
    tmp_path: Path, settings: LazySettings, ada: User, home: Path
) -> None:
    settings.AUSCULT_LEDGER_EXPORT = str(tmp_path / "share")
    record(4)
    assert heads.sign_and_export() == 1
    heads.sign_and_export()
    (told,) = Notification.objects.filter(recipient=ada)
    assert (told.topic, told.urgency) == ("ledger", "urgent")
    assert "folder for signed heads is not there" in told.text
    assert (home / "ledger-heads" / "4.json").exists(), "the installation keeps its own all the same"
    (tmp_path / "share").mkdir()
    heads.sign_and_export()
    assert (tmp_path / "share" / "4.json").exists(), "what was missed is written later"


def test_a_ledger_that_cannot_be_signed_over_is_told_to_the_administrators(ada: User) -> None:
    grow(5)
    forge(2)
    record(1, first=5)
    assert heads.sign_and_export() == 0
    assert "does not fit its head of 5 entries" in Notification.objects.get(recipient=ada).text


def test_an_export_that_fails_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (head,) = grow(3)

    def failing(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(heads.os, "fsync", failing)
    folder = tmp_path / "share"
    folder.mkdir()
    with pytest.raises(EnvironmentProblemError, match="No space left on device"):
        heads.export_head(head, folder)
    assert list(folder.iterdir()) == []


def test_heads_of_a_key_that_was_changed_are_still_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(3)
    path = tmp_path / "other.pem"
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    monkeypatch.setitem(os.environ, "AUSCULT_SIGNING_KEY_FILE", str(path))
    (second,) = grow(6)
    assert len(set(SignedHead.objects.values_list("key_id", flat=True))) == 2
    assert verification.verify_all().intact
    proof = parse_proof(proofs.consistency_file(3, 6), "x")
    assert check_proof(proof).ok and len(proof.keys) == 2
    assert not check_proof(proof, trust=[second.key_id]).ok, "the older head is signed by a key not trusted"


def test_a_head_by_a_key_that_nobody_knows_is_named(home: Path) -> None:
    (head,) = grow(3)
    assert public_key_pem(head.key_id)
    (home / "keys" / "public" / f"{head.key_id}.pem").unlink()
    assert "signed by a key that this installation does not know" in verification.verify_all().problems[0]


def test_proofs_of_every_entry_and_between_all_heads() -> None:
    sizes = (1, 2, 5, 8, 13)
    grow(*sizes)
    leaves = bodies()
    for index in range(13):
        proof = parse_proof(proofs.inclusion_file(index), "x")
        assert check_proof(proof).ok
        assert proof.entry == leaves[index]
    for old in sizes:
        for new in sizes:
            if old <= new:
                proof = parse_proof(proofs.consistency_file(old, new), "x")
                assert list(proof.path) == subproof(old, leaves[:new], True)
                assert check_proof(proof).ok
    with pytest.raises(ConflictError, match="is later than"):
        proofs.consistency_file(5, 2)
    with pytest.raises(NotFoundError, match="No head of 4 entries"):
        proofs.consistency_file(4, 13)


def test_an_entry_after_the_last_head_has_no_proof_yet() -> None:
    grow(3)
    record(1, first=3)
    with pytest.raises(ConflictError, match="No head was signed since entry 3"):
        proofs.inclusion_file(3)
    with pytest.raises(NotFoundError, match="no entry 4"):
        proofs.inclusion_file(4)


def test_a_worker_verifies_and_tells_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("core.tasks.verify_ledger.delay", lambda: asked.append(1))
    grow(3)
    assert verification.latest() is None
    assert verification.ask_for_verification(by="dora")
    assert not verification.ask_for_verification(by="clara"), "one at a time"
    state = verification.latest()
    assert (state.running, state.asked_by, asked) == (True, "dora", [1])
    verification.run_verification()
    state = verification.latest()
    assert (state.finished, state.intact, state.entries, state.heads) == (True, True, 3, 1)
    assert state.root == ledger.tree_head().root
    rewrite(1)
    assert verification.ask_for_verification(by="clara")
    verification.run_verification()
    assert "Entry 1 does not have the hash" in verification.latest().problems[0]


def test_a_verification_whose_worker_died_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr("core.tasks.verify_ledger.delay", lambda: None)
    assert verification.ask_for_verification(by="dora")
    later = verification.latest().told_at + timedelta(minutes=3)
    monkeypatch.setattr(verification.timezone, "now", lambda: later)
    assert verification.latest().lost and not verification.latest().running
    assert verification.ask_for_verification(by="dora")
    (home / "ledger-verification.json").write_text("{half")
    assert verification.latest() is None
