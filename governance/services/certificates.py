"""The certificate that signs reports: X.509 in a PKCS#12 file of the operator, else one made once for this home."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext

from core.errors import EnvironmentProblemError
from governance.services.timestamps import digest_stamper
from governance.signing.pades import SELF_MADE

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from governance.signing.pades import Material

VARIABLE = "AUSCULT_CERTIFICATE_FILE"
PASSWORD = "AUSCULT_CERTIFICATE_PASSWORD"
KEY_BITS = 3072
YEARS = 10
OTHER_USES = (
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
"""What a key that signs documents is not for."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Who signs.

    Attributes:
        subject: The distinguished name, as RFC 4514 writes it.
        fingerprint: SHA-256 of the certificate, in hexadecimal digits.
        self_made: The platform made it for trying out: it names nobody.
    """

    subject: str
    fingerprint: str
    self_made: bool

    def in_words(self) -> str:
        """How a PDF is signed, as a report says it, in the language that is switched on."""
        if self.self_made:
            return gettext(
                "The PDF is signed with a certificate that this installation made for itself, for trying out. "
                "It shows whether the file was changed, and nothing about who signed it."
            )
        return gettext("The PDF is signed with the certificate of %(subject)s (SHA-256 %(fingerprint)s).") % {
            "subject": self.subject,
            "fingerprint": self.fingerprint,
        }


def signing_certificate() -> Certificate:
    """The certificate that PDF files are signed with now.

    ``AUSCULT_CERTIFICATE_FILE`` names a PKCS#12 file with it and its private key, which
    ``AUSCULT_CERTIFICATE_PASSWORD`` opens; outside production one is made on first use in ``AUSCULT_HOME/keys``,
    readable by its owner alone, with the public part beside it in ``certificate.pem``.

    Raises:
        EnvironmentProblemError: production without the variable; a file that is missing, does not open with the
            password, lacks the private key, or whose certificate is not valid today or may not sign.
    """
    from cryptography.hazmat.primitives.hashes import SHA256

    certificate = _material(at=timezone.now()).certificate
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        self_made=SELF_MADE in certificate.subject.rfc4514_string(),
    )


def sign_pdf(pdf: bytes, *, at: datetime, reason: str) -> bytes:
    """The PDF with a PAdES signature that certifies it and allows no change (``governance.signing.pades``).

    With ``AUSCULT_TIMESTAMP_URL`` the signature carries a time stamp of that authority.

    Args:
        at: The time that the signature claims, with a time zone. The certificate must be valid then.
        reason: Why it was signed, in a sentence.

    Raises:
        EnvironmentProblemError: as for :func:`signing_certificate`, or the authority refuses.
        TransientError: the authority did not answer.
        AuscultError: the file cannot be signed.
    """
    from governance.signing.pades import seal_pdf

    return seal_pdf(pdf, _material(at=at), at=at, reason=reason, time_stamp=digest_stamper())


def _material(*, at: datetime) -> Material:
    if given := os.environ.get(VARIABLE):
        path, password = Path(given), os.environ.get(PASSWORD, "").encode() or None
    else:
        path, password = Path(settings.AUSCULT_HOME) / "keys" / "certificate.p12", None
        if not path.exists():
            if settings.PRODUCTION:
                raise EnvironmentProblemError(
                    f"{VARIABLE} is not set, so no PDF can be signed.",
                    remedy=f"Set it to a PKCS#12 file with the certificate of your organisation, and {PASSWORD}.",
                )
            _make(path)
    material = _read(path, password)
    _check(material.certificate, at=at, path=path)
    return material


def _make(path: Path) -> None:
    """Write a new key with its certificate at once or not at all; when two processes do so, one stands for both."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_made(private)
    handle, name = tempfile.mkstemp(dir=path.parent)  # Made with mode 600.
    with os.fdopen(handle, "wb") as stream:
        stream.write(pkcs12.serialize_key_and_certificates(b"auscult", private, certificate, None, NoEncryption()))
    try:
        os.link(name, path)
    except FileExistsError:
        return
    finally:
        Path(name).unlink()
    path.with_name("certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def _self_made(private: RSAPrivateKey) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    oids = x509.NameOID
    name = x509.Name(
        [
            x509.NameAttribute(oids.COMMON_NAME, f"Auscult ({SELF_MADE})"),
            x509.NameAttribute(oids.ORGANIZATIONAL_UNIT_NAME, "Not an identity: made by this installation for itself"),
        ]
    )
    now = datetime.now(UTC).replace(microsecond=0)
    never = dict.fromkeys(OTHER_USES, False)
    return (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, content_commitment=True, **never), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, SHA256())
    )


def _read(path: Path, password: bytes | None) -> Material:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import pkcs12

    from governance.signing.pades import Material

    def fail(message: str, remedy: str = f"Check {VARIABLE}.") -> EnvironmentProblemError:
        return EnvironmentProblemError(message, remedy=remedy, file=str(path))

    try:
        key, certificate, chain = pkcs12.load_key_and_certificates(path.read_bytes(), password)
    except OSError as error:
        raise fail(f"The certificate cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise fail(
            "The certificate's file does not open: it is no PKCS#12 file, or the password is not its own.",
            f"Check {VARIABLE} and {PASSWORD}.",
        ) from error
    if key is None or certificate is None:
        lacking = "private key" if key is None else "certificate of its private key"
        raise fail(f"The PKCS#12 file holds no {lacking}.", "Export the certificate together with its private key.")
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise fail(
            "The certificate's key is neither RSA nor of an elliptic curve.", "Ask for one that PDF readers know."
        )
    return Material(key=key, certificate=certificate, chain=tuple(chain))


def _check(certificate: x509.Certificate, *, at: datetime, path: Path) -> None:
    """That the certificate is valid at this moment and may sign documents."""
    from cryptography import x509

    def fail(message: str) -> EnvironmentProblemError:
        remedy = f"Set {VARIABLE} to a certificate that is valid and may sign documents."
        if SELF_MADE in certificate.subject.rfc4514_string():
            remedy = "Remove the file: a new one is made on next use."
        return EnvironmentProblemError(message, remedy=remedy, file=str(path))

    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < begin:
        raise fail(f"The certificate is not valid yet: it begins on {begin:%d %B %Y at %H:%M} UTC.")
    if at > end:
        raise fail(f"The certificate has expired: it ended on {end:%d %B %Y at %H:%M} UTC.")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.digital_signature or usage.content_commitment):
        raise fail("The certificate may not sign: its key usage has neither digital signature nor non-repudiation.")
