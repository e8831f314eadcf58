"""``auscult ledger``: heads and proofs from the command line, as an operator and a witness use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection, transaction

from core import ledger
from core.models import SignedHead
from tests.config.test_cli import Ended, auscult

__all__ = ["auscult"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: LazySettings) -> Path:
    settings.AUSCULT_HOME = tmp_path / "home"
    settings.AUSCULT_HOME.mkdir()
    return settings.AUSCULT_HOME


def record(count: int) -> None:
    with transaction.atomic():
        for number in range(count):
            ledger.record(actor="amir", act="thing.done", subject=("Thing", number))


def test_signing_and_exporting_heads(auscult: Callable[..., Ended], tmp_path: Path) -> None:
    record(3)
    assert auscult("ledger", "heads").output == ""
    signed = auscult("ledger", "heads", "--sign")
    assert signed.code == 0 and signed.output.startswith(f"3  {ledger.tree_head().root}  ")
    again = auscult("ledger", "heads", "--sign", "--export", tmp_path / "witness")
    assert "Nothing was added" in again.errors and "1 files written" in again.errors
    assert [path.name for path in (tmp_path / "witness").iterdir()] == ["3.json"]
    checked = auscult("ledger", "check", tmp_path / "witness" / "3.json", "--trust", SignedHead.objects.get().key_id)
    assert (checked.code, checked.output.splitlines()[-1]) == (0, "VERIFIED")


def test_verifying_against_the_copies_of_a_witness(auscult: Callable[..., Ended], tmp_path: Path) -> None:
    record(3)
    auscult("ledger", "heads", "--sign", "--export", tmp_path)
    told = json.loads(auscult("ledger", "verify", "--heads", tmp_path, "--json").output)
    assert (told["faults"], told["heads"]) == (0, 1)
    with connection.cursor() as cursor:
        for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            cursor.execute(f'DROP TRIGGER "{name}"')
        for table in ("core_ledgerentry", "core_ledgernode", "core_signedhead", "core_ledgerhead"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608
    record(4)
    assert auscult("ledger", "verify").code == 0, "a ledger written anew fits itself"
    ended = auscult("ledger", "verify", "--heads", tmp_path)
    assert ended.code == 1 and "does not fit the head of 3 entries" in ended.output
    assert ended.output.splitlines()[-1] == "The ledger was tampered with."
    assert auscult("ledger", "verify", "--heads", tmp_path / "nowhere").code == 3


def test_proofs_are_written_and_checked(auscult: Callable[..., Ended], tmp_path: Path) -> None:
    record(3)
    auscult("ledger", "heads", "--sign")
    record(4)
    refused = auscult("ledger", "prove", 5, "-o", tmp_path / "entry.json")
    assert refused.code == 3 and "No head was signed since entry 5" in refused.errors
    auscult("ledger", "heads", "--sign")
    assert auscult("ledger", "prove", 5, "-o", tmp_path / "entry.json").code == 0
    shown = json.loads(auscult("ledger", "check", tmp_path / "entry.json", "--json").output)
    assert (shown["ok"], shown["trusted"]) == (True, None) and "Entry 5 is in the ledger of 7" in shown["shown"]
    assert auscult("ledger", "consistency", "--from", 3, "--to", 7, "-o", tmp_path / "both.json").code == 0
    checked = auscult("ledger", "check", tmp_path / "both.json")
    assert checked.code == 0 and checked.output.splitlines()[-1] == "VERIFIED, BUT THE KEY WAS NOT COMPARED"
    key = tmp_path / "home" / "keys" / "signing.pub.pem"
    assert auscult("ledger", "check", tmp_path / "both.json", "--trust", key).output.endswith("VERIFIED\n")
    (tmp_path / "both.json").write_text(
        (tmp_path / "both.json").read_text().replace('"path": [', f'"path": ["{"0" * 64}",')
    )
    changed = auscult("ledger", "check", tmp_path / "both.json")
    assert changed.code == 1 and "does not begin with" in changed.output


def test_bad_input_is_told(auscult: Callable[..., Ended], tmp_path: Path) -> None:
    record(3)
    auscult("ledger", "heads", "--sign")
    other = tmp_path / "other.json"
    other.write_text("[]")
    for words in (
        ("check", other),
        ("check", tmp_path / "missing.json"),
        ("consistency", "--from", 2, "--to", 3, "-o", tmp_path / "x.json"),
        ("prove", 99, "-o", tmp_path / "x.json"),
        ("prove", 1, "-o", tmp_path / "no" / "folder" / "x.json"),
    ):
        ended = auscult("ledger", *words)
        assert ended.code == 3 and ended.errors.startswith("Error: "), words
    assert not (tmp_path / "x.json").exists()
