"""Checks an RFC 3161 time-stamp token: what it is about, and that the certificate inside it signed it.

Standard library and ``cryptography`` only. Whether the time-stamping authority is one to trust is not decided here:
nobody's list of authorities is consulted. The fingerprint of its certificate is told for the reader to compare.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from .der import OCTETS, OID, SEQUENCE, SET, Element, read
from .layout import TIMESTAMP, Mismatch

SIGNED_DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256,
    "2.16.840.1.101.3.4.2.2": hashes.SHA384,
    "2.16.840.1.101.3.4.2.3": hashes.SHA512,
}
RSA_PSS = "1.2.840.113549.1.1.10"
RSA_PLAIN = frozenset(f"1.2.840.113549.1.1.{number}" for number in (1, 11, 12, 13))
STRANGE = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm)
"""What ``cryptography`` ends in, besides ValueError, when a certificate is not as it knows them."""
PRIMITIVE, CONSTRUCTED = 0x80, 0xA0
"""Tags of optional parts: the number is added."""


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A token whose signature holds. ``certificate`` is the SHA-256 of the authority's certificate (DER)."""

    time: datetime
    authority: str
    certificate: str


@dataclass(frozen=True, kw_only=True)
class _Signer:
    """The parts of the one SignerInfo (RFC 5652, section 5.3)."""

    identifier: Element
    digest: type[hashes.HashAlgorithm]
    signed: bytes
    attributes: dict[str, Element]
    algorithm: list[Element]
    signature: bytes


def check_token(data: bytes, subject: bytes) -> Stamp:
    """The time-stamp in a token, or in a response that holds one, about the bytes ``subject``.

    Raises:
        Mismatch: it is about other bytes, or was not signed by the certificate inside, or that may not time-stamp.
        ValueError, LookupError: it is laid out in another way than the standards say.
    """
    try:
        return _checked(data, subject)
    except STRANGE as error:
        raise Mismatch(TIMESTAMP, f"holds a certificate that cannot be read ({type(error).__name__})") from error


def _checked(data: bytes, subject: bytes) -> Stamp:
    info, certificates, signer = _opened(data)
    fields = read(info).children()
    imprint = fields[2].children()
    if _hash(_algorithm(imprint[0]), subject) != imprint[1].octets():
        raise Mismatch(TIMESTAMP, "is a time-stamp over other bytes than statement.dsse.json")
    certificate = _certificate(signer, certificates)
    _check_attributes(signer, info, certificate)
    _check_signature(signer, certificate)
    time = fields[4].time()
    _check_purpose(certificate, time)
    return Stamp(
        time=time,
        authority=certificate.subject.rfc4514_string(),
        certificate=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    )


def _opened(data: bytes) -> tuple[bytes, list[bytes], _Signer]:
    """TSTInfo, the certificates, and the signer of a token (RFC 3161, section 2.4.2)."""
    outer = read(data).children()
    if outer[0].tag != OID:  # A TimeStampResp: the status comes first.
        if outer[0].children()[0].integer() not in (0, 1):
            raise Mismatch(TIMESTAMP, "is a refusal of the time-stamping authority")
        outer = outer[1].children()
    if outer[0].oid() != SIGNED_DATA:
        raise ValueError("no signed data")
    parts = outer[1].children(CONSTRUCTED)[0].children()
    kind, content = parts[2].children()
    if kind.oid() != TST_INFO:
        raise ValueError("the signed data hold no time-stamp")
    certificates = [item.whole for part in parts[3:-1] if part.tag == CONSTRUCTED for item in part.children(part.tag)]
    (signer,) = parts[-1].children(SET)
    return content.children(CONSTRUCTED)[0].octets(), certificates, _signer(signer)


def _signer(info: Element) -> _Signer:
    _, identifier, digest, attributes, algorithm, signature, *_ = info.children()
    pairs = [pair.children() for pair in attributes.children(CONSTRUCTED)]
    named = {kind.oid(): values for kind, values in pairs}
    if len(named) != len(pairs):
        raise ValueError("a signed attribute that is there twice")
    single = {name: values.children(SET) for name, values in named.items()}
    return _Signer(
        identifier=identifier,
        digest=_algorithm(digest),
        signed=bytes([SET]) + attributes.whole[1:],  # RFC 5652, section 5.4: signed as a set, not as a tagged part.
        attributes={name: value for name, (value,) in single.items()},
        algorithm=algorithm.children(),
        signature=signature.octets(),
    )


def _algorithm(element: Element) -> type[hashes.HashAlgorithm]:
    name = element.children()[0].oid()
    if name not in HASHES:
        raise Mismatch(TIMESTAMP, f"uses a digest that is not accepted ({name})")
    return HASHES[name]


def _hash(algorithm: type[hashes.HashAlgorithm], data: bytes) -> bytes:
    digest = hashes.Hash(algorithm())
    digest.update(data)
    return digest.finalize()


def _certificate(signer: _Signer, certificates: list[bytes]) -> x509.Certificate:
    """The one that the signer names: by issuer and serial number, or by the identifier of its key."""
    for data in certificates:
        certificate = x509.load_der_x509_certificate(data)
        if signer.identifier.tag == SEQUENCE:
            issuer, serial = signer.identifier.children()
            if (issuer.whole, serial.integer()) == (certificate.issuer.public_bytes(), certificate.serial_number):
                return certificate
        elif signer.identifier.expect(PRIMITIVE).content == _key_identifier(certificate):
            return certificate
    raise Mismatch(TIMESTAMP, "does not hold the certificate of its signer")


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _check_attributes(signer: _Signer, info: bytes, certificate: x509.Certificate) -> None:
    """What was signed is this time-stamp, under this certificate (RFC 3161, section 2.4.2; RFC 5816)."""
    found = signer.attributes
    if found[CONTENT_TYPE].oid() != TST_INFO or found[MESSAGE_DIGEST].octets() != _hash(signer.digest, info):
        raise Mismatch(TIMESTAMP, "its signature is not over the time-stamp inside it")
    der = certificate.public_bytes(Encoding.DER)
    named = found.get(SIGNING_CERTIFICATE_2) or found[SIGNING_CERTIFICATE]
    first = named.children()[0].children()[0].children()
    if first[0].tag == OCTETS:
        plain = hashlib.sha256 if SIGNING_CERTIFICATE_2 in found else hashlib.sha1
        expected = plain(der).digest()
    else:
        expected = _hash(_algorithm(first[0]), der)
    if next(item for item in first if item.tag == OCTETS).content != expected:
        raise Mismatch(TIMESTAMP, "was signed under another certificate than the one inside it")


def _check_signature(signer: _Signer, certificate: x509.Certificate) -> None:
    key, name = certificate.public_key(), signer.algorithm[0].oid()
    try:
        if isinstance(key, rsa.RSAPublicKey) and name in RSA_PLAIN | {RSA_PSS}:
            scheme, digest = _rsa(signer, name)
            key.verify(signer.signature, signer.signed, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signer.signature, signer.signed, ec.ECDSA(signer.digest()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signer.signature, signer.signed)
        else:
            raise Mismatch(TIMESTAMP, f"uses a kind of signature that is not accepted ({name})")
    except InvalidSignature as error:
        raise Mismatch(TIMESTAMP, "its signature does not match the certificate inside it") from error


def _rsa(signer: _Signer, name: str) -> tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]:
    """Padding and digest; those of PSS stand in its parameters (RFC 4055, section 3.1)."""
    if name != RSA_PSS:
        return padding.PKCS1v15(), signer.digest()
    given = {part.tag & 0x1F: part.children(part.tag)[0] for part in signer.algorithm[1].children()}
    digest = _algorithm(given[0])
    mask = _algorithm(given[1].children()[1])
    return padding.PSS(mgf=padding.MGF1(mask()), salt_length=given[2].integer()), digest()


def _check_purpose(certificate: x509.Certificate, time: datetime) -> None:
    """The certificate is for time-stamping alone (RFC 3161, section 2.3) and was valid at that time."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise Mismatch(TIMESTAMP, "was signed under a certificate that is not for time-stamping alone")
    if not certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc:
        raise Mismatch(TIMESTAMP, "tells a time at which the certificate inside it was not valid")
