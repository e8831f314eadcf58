"""Time stamps: what is asked of the authority, what its answers must be, and what happens when none comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from asn1crypto import tsp

from core.errors import EnvironmentProblemError, TransientError
from governance.services.certificates import sign_pdf
from governance.services.timestamps import VARIABLE, timestamp
from governance.signing.timestamps import Refused, check_response
from governance.signing.verify_pdf import verify_pdf
from tests.governance.signers import AT, Authority, make_pdf, make_stamper, pack_p12, rsa_key, serve
from tests.governance.signers import PASSWORD as OPENS
from tests.governance.signers import certificate as make_certificate

DATA = b"the statement of a bundle"


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    with serve(Authority(make_stamper())) as found:
        monkeypatch.setenv(VARIABLE, found.url)
        yield found


def test_none_is_asked_where_none_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert timestamp(DATA) is None


def test_only_the_digest_is_sent(authority: Authority) -> None:
    response = timestamp(DATA)
    (request,) = authority.asked
    assert request["message_imprint"]["hashed_message"].native == sha256(DATA).digest()
    assert DATA not in request.dump()
    assert response is not None
    told = check_response(response, digest=sha256(DATA).digest(), nonce=request["nonce"].native)
    assert (told.at, told.authority) == (AT.replace(minute=6), "Common Name: Time Stamping Authority")
    with pytest.raises(Refused, match="about something else"):
        check_response(response, digest=sha256(b"else").digest(), nonce=request["nonce"].native)


def test_a_signed_report_carries_one(authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    key = rsa_key()
    (tmp_path / "operator.p12").write_bytes(pack_p12(key, make_certificate(key)))
    monkeypatch.setenv("AUSCULT_CERTIFICATE_FILE", str(tmp_path / "operator.p12"))
    monkeypatch.setenv("AUSCULT_CERTIFICATE_PASSWORD", OPENS)
    found = verify_pdf(sign_pdf(make_pdf(), at=AT, reason="Issued."))
    assert found.ok and found.signature is not None and found.signature.time_stamp is not None
    assert len(authority.asked) == 1


def test_an_authority_that_does_not_answer_may_do_so_later(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    authority.status = 503
    with pytest.raises(TransientError, match="status 503"):
        timestamp(DATA)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{probe.getsockname()[1]}/")
        with pytest.raises(TransientError, match="did not answer"):
            timestamp(DATA)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"status": 403}, "status 403"),
        ({"status": 302, "location": "http://127.0.0.1:9/"}, "status 302"),
        ({"kind": "text/html"}, "no time stamp"),
        ({"answer": lambda request: b"garbage"}, "not laid out"),
        ({"answer": lambda request: bytes(300_000)}, "no time stamp"),
        ({"answer": lambda request: bytes.fromhex("30053003020102")}, "declined, with status 2"),
    ],
    ids=["forbidden", "elsewhere", "page", "garbage", "endless", "rejected"],
)
def test_what_is_no_time_stamp_is_refused(authority: Authority, spoil: dict[str, Any], reason: str) -> None:
    for name, value in spoil.items():
        setattr(authority, name, value)
    with pytest.raises(EnvironmentProblemError, match=reason):
        timestamp(DATA)


def test_an_answer_to_another_question_is_refused(authority: Authority) -> None:
    """An old answer sent again has another nonce; one about other data has another imprint."""
    timestamp(b"another")
    old = authority.asked[0]
    authority.answer = lambda request: authority.stamper.request_tsa_response(old).dump()
    with pytest.raises(EnvironmentProblemError, match="answers another request"):
        timestamp(DATA)

    def other_imprint(request: tsp.TimeStampReq) -> bytes:
        request["message_imprint"]["hashed_message"] = sha256(b"another").digest()
        return bytes(authority.stamper.request_tsa_response(request).dump())

    authority.answer = other_imprint
    with pytest.raises(EnvironmentProblemError, match="about something else"):
        timestamp(DATA)


def test_a_time_stamp_must_be_signed_by_one_who_may(authority: Authority) -> None:
    authority.stamper = make_stamper(usage=False)
    with pytest.raises(EnvironmentProblemError, match="not for time stamps"):
        timestamp(DATA)
    sound = make_stamper()

    def forged(request: tsp.TimeStampReq) -> bytes:
        answer = sound.request_tsa_response(request)
        signer = answer["time_stamp_token"]["content"]["signer_infos"][0]
        signer["signature"] = bytes(len(signer["signature"].native))
        return bytes(answer.dump(force=True))

    authority.answer = forged
    with pytest.raises(EnvironmentProblemError, match="its signature does not fit"):
        timestamp(DATA)


@pytest.mark.parametrize("address", ["tsa.example.org", "ftp://tsa.example.org/", "https://", "file:///etc/passwd"])
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(EnvironmentProblemError, match="no address"):
        timestamp(DATA)
