"""The certificate that signs reports: made once for trying out, else the operator's; refused when it cannot sign."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from django.utils import timezone

from core.errors import EnvironmentProblemError
from governance.services import certificates
from governance.services.certificates import sign_pdf, signing_certificate
from tests.governance.signers import AT, PASSWORD, certificate, key_usage, pack_p12, rsa_key


@pytest.fixture
def here(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder in which nobody has set anything."""
    settings.AUSCULT_HOME = tmp_path
    for variable in (certificates.VARIABLE, certificates.PASSWORD, "AUSCULT_TIMESTAMP_URL"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def given(here: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a PKCS#12 file the operator's."""

    def give(content: bytes, password: str = PASSWORD) -> Path:
        path = here / "operator.p12"
        path.write_bytes(content)
        monkeypatch.setenv(certificates.VARIABLE, str(path))
        monkeypatch.setenv(certificates.PASSWORD, password)
        return path

    return give


def valid_now(key: Any, **given: Any) -> x509.Certificate:
    now = timezone.now()
    return certificate(key, **({"begin": now - timedelta(days=1), "end": now + timedelta(days=1)} | given))


def test_one_is_made_on_first_use_and_stays(here: Path) -> None:
    first = signing_certificate()
    folder = here / "keys"
    assert sorted(item.name for item in folder.iterdir()) == ["certificate.p12", "certificate.pem"]
    assert stat.S_IMODE((folder / "certificate.p12").stat().st_mode) == 0o600
    assert signing_certificate() == first
    public = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    assert public.fingerprint(SHA256()).hex() == first.fingerprint
    assert first.self_made and "self-made for trying out" in first.subject
    usage = public.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.content_commitment, usage.key_cert_sign) == (True, True, False)


def test_when_two_make_one_the_first_stands_for_both(here: Path) -> None:
    first = signing_certificate()
    certificates._make(here / "keys" / "certificate.p12")
    assert signing_certificate() == first
    assert len(list((here / "keys").iterdir())) == 2


def test_a_report_says_how_it_is_signed(here: Path, given: Any) -> None:
    assert "made for itself, for trying out" in signing_certificate().in_words()
    key = rsa_key()
    given(pack_p12(key, valid_now(key)))
    told = signing_certificate().in_words()
    assert "CN=St. Example Hospital" in told and signing_certificate().fingerprint in told


def test_production_makes_none(here: Path, settings: Any) -> None:
    settings.PRODUCTION = True
    with pytest.raises(EnvironmentProblemError, match="AUSCULT_CERTIFICATE_FILE is not set"):
        sign_pdf(b"%PDF-", at=AT, reason="")
    assert not list(here.iterdir())


def test_the_operators_certificate_is_used_in_production(here: Path, given: Any, settings: Any) -> None:
    settings.PRODUCTION = True
    key = rsa_key()
    leaf = valid_now(key)
    given(pack_p12(key, leaf))
    found = signing_certificate()
    assert (found.subject, found.self_made) == ("CN=St. Example Hospital", False)
    assert found.fingerprint == leaf.fingerprint(SHA256()).hex()
    assert [item.name for item in here.iterdir()] == ["operator.p12"]


@pytest.mark.parametrize("password", ["wrong horse", ""])
def test_a_wrong_password_is_named_and_not_told(given: Any, password: str) -> None:
    key = rsa_key()
    path = given(pack_p12(key, valid_now(key)), password)
    with pytest.raises(EnvironmentProblemError, match="the password is not its own") as raised:
        signing_certificate()
    assert raised.value.file == str(path)
    assert "horse" not in str(raised.value)


def test_what_is_no_certificate_is_refused(given: Any, here: Path) -> None:
    path = given(b"no PKCS#12 file")
    with pytest.raises(EnvironmentProblemError, match="it is no PKCS#12 file"):
        signing_certificate()
    path.unlink()
    with pytest.raises(EnvironmentProblemError, match="cannot be read: No such file"):
        signing_certificate()


def test_a_certificate_without_its_key_cannot_sign(given: Any) -> None:
    lonely = pkcs12.serialize_key_and_certificates(
        b"test", None, None, [valid_now(rsa_key())], BestAvailableEncryption(PASSWORD.encode())
    )
    given(lonely)
    with pytest.raises(EnvironmentProblemError, match="holds no private key"):
        signing_certificate()


def test_a_kind_of_key_that_readers_do_not_know_is_refused(given: Any) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    now = timezone.now()
    builder = x509.CertificateBuilder(
        x509.Name([]), x509.Name([]), key.public_key(), 7, now - timedelta(days=1), now + timedelta(days=1)
    )
    given(pack_p12(key, builder.sign(key, None)))
    with pytest.raises(EnvironmentProblemError, match="neither RSA nor of an elliptic curve"):
        signing_certificate()


def test_a_certificate_signs_only_while_it_is_valid(given: Any) -> None:
    """Judged by the time that the signature claims: 30 days before and after AT."""
    key = rsa_key()
    given(pack_p12(key, certificate(key)))
    with pytest.raises(EnvironmentProblemError, match="not valid yet: it begins on 23 October 2026 at 14:05"):
        sign_pdf(b"%PDF-", at=AT - timedelta(days=30, seconds=1), reason="")
    with pytest.raises(EnvironmentProblemError, match="has expired: it ended on 22 December 2026 at 14:05"):
        sign_pdf(b"%PDF-", at=AT + timedelta(days=30, seconds=1), reason="")


def test_a_key_for_something_else_does_not_sign(given: Any) -> None:
    key = rsa_key()
    given(pack_p12(key, valid_now(key, extensions=(key_usage("key_encipherment", "key_cert_sign"),))))
    with pytest.raises(EnvironmentProblemError, match="may not sign"):
        signing_certificate()
    given(pack_p12(key, valid_now(key, extensions=(key_usage("content_commitment"),))))
    assert not signing_certificate().self_made
