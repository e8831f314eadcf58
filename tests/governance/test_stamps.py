"""The time-stamp of a bundle (RFC 3161): what it must be over, and who must have signed it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from governance.bundle import der
from governance.bundle.build import build_bundle
from governance.bundle.container import canonical_zip
from governance.bundle.layout import Mismatch, canonical
from governance.bundle.stamps import check_token
from governance.bundle.verify import render, verify_bytes
from tests.governance.forging import KEY, findings, unpack
from tests.governance.sealing import NOW, made_content
from tests.governance.stamping import Authority

SUBJECT = b"what is stamped"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("kind", ["ec", "rsa", "pss"])
def test_every_usual_kind_of_signature_is_understood(kind: str, by_key: bool) -> None:
    authority = Authority(kind)
    found = check_token(authority.stamp(SUBJECT, by_key=by_key), SUBJECT)
    assert (found.time, found.authority, found.certificate) == (NOW, "CN=Test time", authority.fingerprint)


def test_a_response_and_the_token_inside_it_are_read(authority: Authority) -> None:
    response = authority.stamp(SUBJECT)
    token = der.read(response).children()[1].whole
    assert check_token(token, SUBJECT) == check_token(response, SUBJECT)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the other implementation")
def test_a_token_of_another_implementation_is_read(tmp_path: Path) -> None:
    """``openssl ts`` asks and answers; its RSA-signed token names the certificate by RFC 5816."""
    authority = Authority("rsa")
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    (tmp_path / "key.pem").write_bytes(authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "tsa.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "data").write_bytes(SUBJECT)
    (tmp_path / "serial").write_text("01")
    (tmp_path / "ts.cnf").write_text(
        "[tsa]\nserial = serial\ndefault_policy = 1.2.3.4.1\ndigests = sha256\nsigner_digest = sha256\n"
        "ess_cert_id_alg = sha256\naccuracy = secs:1\n"
    )
    asked = ["openssl", "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query.tsq"]
    answered = ["openssl", "ts", "-reply", "-config", "ts.cnf", "-section", "tsa", "-queryfile", "query.tsq"]
    answered += ["-signer", "tsa.pem", "-inkey", "key.pem", "-out", "reply.tsr"]
    for command in (asked, answered):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    token = (tmp_path / "reply.tsr").read_bytes()
    within = authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc
    openssl_says = der.read(der.read(token).children()[1].whole)
    assert openssl_says.tag == der.SEQUENCE
    try:
        found = check_token(token, SUBJECT)
    except Mismatch as error:  # The certificate is valid around a fixed day, openssl stamps with today's.
        assert "not valid" in str(error)
    else:
        assert found.certificate == authority.fingerprint and within[0] <= found.time <= within[1]
    with pytest.raises(Mismatch, match="over other bytes"):
        check_token(token, SUBJECT + b"!")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the other implementation")
def test_our_reading_of_a_good_and_a_wrong_token_is_that_of_openssl(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "tsa.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "data").write_bytes(SUBJECT)
    at = str(int(NOW.timestamp()))
    command = ["openssl", "ts", "-verify", "-data", "data", "-in", "t.tsr", "-CAfile", "tsa.pem", "-attime", at]
    for token, good in (
        (authority.stamp(SUBJECT), True),
        (authority.stamp(b"other"), False),
        (authority.stamp(SUBJECT, signature=b"\x30\x06\x02\x01\x01\x02\x01\x01"), False),
        (authority.stamp(SUBJECT, named=b"another certificate"), False),
        (authority.stamp(SUBJECT, digest=bytes(32)), False),
    ):
        (tmp_path / "t.tsr").write_bytes(token)
        theirs = subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
        assert theirs is good
        if good:
            check_token(token, SUBJECT)
        else:
            with pytest.raises(Mismatch):
                check_token(token, SUBJECT)


def test_each_thing_that_may_be_wrong_is_named(authority: Authority) -> None:
    other = Authority()
    from asn1crypto import x509 as asn

    wrong = {
        "over other bytes": authority.stamp(b"other"),
        "not over the time-stamp inside": authority.stamp(SUBJECT, digest=bytes(32)),
        "not over the time-stamp": authority.stamp(SUBJECT, content_type="data"),
        "under another certificate": authority.stamp(SUBJECT, named=other.der),
        "does not hold the certificate": authority.stamp(SUBJECT, certificates=[]),
        "signature does not match": authority.stamp(SUBJECT, signature=other.key_signature(b"x")),
        "is a refusal": authority.stamp(SUBJECT, status="rejection"),
        "at which the certificate inside it was not valid": authority.stamp(SUBJECT, at=NOW + timedelta(days=2)),
        "not for time-stamping alone": Authority(usage=ExtendedKeyUsageOID.CODE_SIGNING).stamp(SUBJECT),
        "is not for time-stamping": Authority(critical=False).stamp(SUBJECT),
    }
    for words, token in wrong.items():
        with pytest.raises(Mismatch, match=words):
            check_token(token, SUBJECT)
    swapped = authority.stamp(SUBJECT, certificates=[asn.Certificate.load(other.der)])
    with pytest.raises(Mismatch, match=r"under another certificate"):
        check_token(swapped, SUBJECT)  # Same issuer and number, another key.


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_flipped_bit_in_a_token_never_passes_for_another_statement(authority: Authority) -> None:
    """What is not signed (the status, the outer frame) may differ; what the token says may not."""
    token = authority.stamp(SUBJECT)
    good, rng = check_token(token, SUBJECT), random.Random(20261122)
    for _ in range(2000):
        changed = bytearray(token)
        changed[rng.randrange(len(token))] ^= 1 << rng.randrange(8)
        try:
            found = check_token(bytes(changed), SUBJECT)
        except (Mismatch, ValueError, LookupError):
            continue
        assert found == good


def test_a_bundle_is_bound_to_its_time_stamp(authority: Authority) -> None:
    raw = build_bundle(made_content(), KEY, stamp=authority.stamp)
    files = unpack(raw)
    found = verify_bytes(raw)
    assert (found.ok, found.tsa_trusted) == (True, None)
    assert found.stamp is not None and found.stamp.certificate == authority.fingerprint
    text = render(found)
    assert "Time-stamp: 2026-11-22T12:00:00+00:00 by CN=Test time" in text
    assert authority.fingerprint in text and "is yours to find out" in text
    assert verify_bytes(raw, trust_tsa=[authority.fingerprint]).tsa_trusted is True
    assert findings(raw, trust_tsa=["0" * 64]) == ["timestamp.tsr: is not by an authority that you trust"]
    del files["timestamp.tsr"]
    assert findings(canonical_zip(sorted(files.items()))) == ["timestamp.tsr: is missing"]
    other = files | {"timestamp.tsr": authority.stamp(b"another statement")}
    expected = "timestamp.tsr: is a time-stamp over other bytes than statement.dsse.json"
    assert findings(canonical_zip(sorted(other.items()))) == [expected]
    junk = files | {"timestamp.tsr": b"not DER"}
    assert findings(canonical_zip(sorted(junk.items()))) == [
        "timestamp.tsr: is not laid out as it should be (ValueError)"
    ]


def test_a_time_stamp_that_was_not_promised_is_an_added_file(authority: Authority) -> None:
    files = unpack(build_bundle(made_content(), KEY))
    added = files | {"timestamp.tsr": authority.stamp(files["statement.dsse.json"])}
    assert findings(canonical_zip(sorted(added.items()))) == ["timestamp.tsr: is not in the manifest: it was added"]


def test_none_is_promised_where_the_authority_gives_none() -> None:
    """Asked, and nothing came: the manifest is sealed again without the promise."""
    asked: list[bytes] = []
    raw = build_bundle(made_content(), KEY, stamp=lambda data: asked.append(data))
    assert len(asked) == 1 and verify_bytes(raw).ok
    assert "timestamp" not in json.loads(unpack(raw)["manifest.json"])
    assert raw == build_bundle(made_content(), KEY)


def test_the_authority_sees_the_bytes_of_the_statement_as_they_are_sealed(authority: Authority) -> None:
    asked: list[bytes] = []
    raw = build_bundle(made_content(), KEY, stamp=lambda data: asked.append(data) or authority.stamp(data))
    assert [hashlib.sha256(item).digest() for item in asked] == [
        hashlib.sha256(unpack(raw)["statement.dsse.json"]).digest()
    ]


@given(st.binary(max_size=80))
def test_der_of_any_bytes_ends_in_an_answer_or_a_value_error(data: bytes) -> None:
    try:
        found = der.read(data)
    except ValueError:
        return
    assert found.whole == data


@given(st.integers(), st.binary(max_size=300))
def test_der_is_read_as_another_implementation_writes_it(number: int, octets: bytes) -> None:
    from asn1crypto import core

    assert der.read(core.Integer(number).dump()).integer() == number
    assert der.read(core.OctetString(octets).dump()).octets() == octets


@pytest.mark.parametrize("oid", ["1.2.840.113549.1.7.2", "2.16.840.1.101.3.4.2.1", "0.9.2342", "2.999.3"])
def test_object_identifiers(oid: str) -> None:
    from asn1crypto import core

    assert der.read(core.ObjectIdentifier(oid).dump()).oid() == oid


@pytest.mark.parametrize(
    "data",
    ["", "30", "3080", "308000", "30810101", "3002", "0500aa", "1f0100", "30850000000001", "0202007f", "0203ffff01"],
)
def test_what_is_no_der_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="DER"):
        der.read(bytes.fromhex(data)).integer()


def test_canonical_json_of_a_promise_is_true_and_nothing_else(authority: Authority) -> None:
    """``"timestamp": 1`` is no promise: who reads the manifest in another language would see another thing."""
    files = unpack(build_bundle(made_content(), KEY, stamp=authority.stamp))
    body = json.loads(files["manifest.json"]) | {"timestamp": 1}
    forged = canonical_zip(sorted((files | {"manifest.json": canonical(body)}).items()))
    assert "timestamp.tsr: is not in the manifest: it was added" in findings(forged)
