"""Proof files, as somebody without Auscult's database reads them: what is changed in them is found."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from core import merkle
from core.digests import canonical_json
from core.proof_files import (
    HEAD_SCHEMA,
    ProofFileError,
    check_proof,
    envelope,
    fingerprint,
    parse_proof,
    signed_bytes,
    trusted_fingerprint,
    write_proof,
)
from tests.core.test_merkle import entries, lookup, tree_hash

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
NAME = fingerprint(KEY.public_key())
LEAVES = entries(21)


def head(size: int, **changed: Any) -> dict[str, Any]:
    said = {"schema": HEAD_SCHEMA, "key": NAME, "size": size, "root": tree_hash(LEAVES[:size]).hex(),
            "signed_at": "2026-11-22T12:00:00+00:00", "previous": None}  # fmt: skip
    document = canonical_json(said | changed)
    return envelope(document, KEY.sign(signed_bytes(document)), NAME)


def inclusion(index: int = 4) -> bytes:
    path = [node.hex() for node in merkle.inclusion_proof(index, 21, lookup(LEAVES))]
    return write_proof(
        kind="inclusion", keys=[PEM], heads=[head(21)], path=path, index=index, entry=LEAVES[index].decode()
    )


def consistency(old: int = 6) -> bytes:
    path = [node.hex() for node in merkle.consistency_proof(old, 21, lookup(LEAVES))]
    return write_proof(kind="consistency", keys=[PEM], heads=[head(old), head(21)], path=path)


def test_a_proof_holds_and_says_what_it_shows() -> None:
    shown = check_proof(parse_proof(inclusion(), "x"), trust=[NAME])
    assert (shown.ok, shown.trusted) == (True, True)
    assert shown.shown == "Entry 4 is in the ledger of 21 entries, signed 2026-11-22T12:00:00+00:00."
    shown = check_proof(parse_proof(consistency(), "x"))
    assert (shown.ok, shown.trusted) == (True, None)
    assert "begins with the 6 entries" in shown.shown


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"entry": "entry 5"}, "Entry 4 is not in the ledger"),
        ({"index": 5}, "Entry 5 is not in the ledger"),
        ({"path": []}, "Entry 4 is not in the ledger"),
        ({"heads": [head(20)]}, "Entry 4 is not in the ledger"),
        ({"heads": [head(21, root="0" * 64)]}, "Entry 4 is not in the ledger"),
        ({"heads": []}, "The file has 0 heads"),
        ({"heads": [head(21, key="0" * 64)]}, "is not in the file"),
        ({"keys": []}, "is not in the file"),
    ],
)
def test_what_was_changed_in_an_inclusion_proof_is_told(change: dict[str, Any], told: str) -> None:
    body = json.loads(inclusion()) | change
    found = check_proof(parse_proof(json.dumps(body).encode(), "x"))
    assert not found.ok and any(told in problem for problem in found.problems)


def test_a_head_that_was_changed_after_it_was_signed_is_told() -> None:
    body = json.loads(consistency())
    payload = base64.b64decode(body["heads"][1]["payload"]).replace(b'"size":21', b'"size":22')
    body["heads"][1]["payload"] = base64.b64encode(payload).decode()
    found = check_proof(parse_proof(json.dumps(body).encode(), "x"))
    assert "The signature of the head of 22 entries does not match: it was changed." in found.problems


def test_a_key_of_somebody_else_is_told() -> None:
    found = check_proof(parse_proof(consistency(), "x"), trust=["0" * 64])
    assert (found.ok, found.trusted) == (False, False)
    assert "signed by a key that you do not trust" in found.problems[0]


def test_two_ledgers_are_not_taken_for_one() -> None:
    """Both heads are signed; but one is of a ledger with another entry in it."""
    body = json.loads(consistency())
    body["heads"][0] = head(6, root=tree_hash([b"forked", *LEAVES[1:6]]).hex())
    found = check_proof(parse_proof(json.dumps(body).encode(), "x"))
    assert found.problems == (
        "The ledger of 21 entries does not begin with that of 6: between the two heads an entry was changed, or the "
        "proof was.",
    )


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_changed_character_is_never_taken_for_the_same_proof(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([inclusion(), consistency()]))
    place, letter = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(32, 126))
    changed = raw[:place] + bytes([letter]) + raw[place + 1 :]
    try:
        proof = parse_proof(changed, "x")
    except ProofFileError:
        return
    said = parse_proof(raw, "x")
    # What still holds says the very same; only its envelope, which nothing rests on, was written otherwise.
    assert not check_proof(proof).ok or (proof.entry, proof.index, proof.path, proof.kind) == (
        said.entry, said.index, said.path, said.kind,
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_what_is_no_proof_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(ProofFileError, match="no proof of a ledger"):
        parse_proof(data, "x")


@pytest.mark.parametrize(
    "change",
    [{"schema": "other"}, {"kind": "other"}, {"path": ["zz"]}, {"path": "ab"}, {"index": True}, {"index": -1},
     {"keys": ["no key"]}, {"heads": [{}]}, {"entry": None}, {"heads": [head(21) | {"payloadType": "other"}]}],
)  # fmt: skip
def test_a_file_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProofFileError, match="no proof of a ledger"):
        parse_proof(json.dumps(json.loads(inclusion()) | change).encode(), "x")
    with pytest.raises(ProofFileError, match="too large"):
        parse_proof(b" " * (5 << 20), "x")


def test_trust_takes_a_fingerprint_or_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    assert trusted_fingerprint(NAME.upper()) == NAME == trusted_fingerprint(str(path))
    for wrong in ("abc", str(tmp_path / "nowhere")):
        with pytest.raises(ProofFileError, match="neither a fingerprint"):
            trusted_fingerprint(wrong)


def test_the_command_needs_no_database(tmp_path: Path) -> None:
    file, key = tmp_path / "proof.json", tmp_path / "key.pem"
    file.write_bytes(inclusion())
    key.write_text(PEM)
    command = [sys.executable, "-m", "config.cli", "--home", str(tmp_path / "none"), "ledger", "check"]
    command += [str(file), "--trust", str(key)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "VERIFIED"), ended.stderr
    file.write_bytes(inclusion().replace(b"entry 4", b"entry 9"))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (1, "NOT VERIFIED")
    file.write_bytes(b"{}")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 3 and "no proof of a ledger" in ended.stderr
    assert not (tmp_path / "none").exists()


def test_checking_needs_no_django() -> None:
    code = "import core.proof_files, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
