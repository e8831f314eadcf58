"""Checks a signed PDF offline: that it is, to the last bit, what its signer signed.

Stricter than viewers are. There is one signature; it certifies the file and covers all of it, so nothing can have been
added later; and the few bytes that no signature can cover, its own, are written in the one form that the platform
writes, so that no change hides there. What a time stamp's authority put around its own signed statement is not ours to
pin down: that statement and its signature are checked.

Whether to believe the certificate is for the reader: no list of authorities is asked. Give its fingerprint to
``--trust``, learned by another way than the file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from governance.signing.pades import SELF_MADE, path_of, vouches
from governance.signing.timestamps import Refused, TimeStamp, check_token

DIGESTS = ("sha256", "sha384", "sha512")


class UnreadableError(Exception):
    """There is nothing that could be checked: no such file, too large, no PDF."""


class Mismatch(Exception):
    """A check failed; the message says how."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check in words; ``problem`` is empty when it passed."""

    title: str
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A file inside the PDF. The digest of a report's JSON is the one that the platform's record states."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Who signed, when by their own account, and why.

    Attributes:
        subject, fingerprint: Of the signer's certificate.
        self_made: The platform made the certificate for trying out: it names nobody.
        self_signed: Nobody but the signer vouches for the name.
        time_stamp: A third party's word about the time, or None.
    """

    subject: str
    fingerprint: str
    self_made: bool
    self_signed: bool
    claimed_at: datetime
    reason: str
    time_stamp: TimeStamp | None


@dataclass(frozen=True, kw_only=True)
class PdfVerification:
    """The result. ``trusted`` is None when no fingerprint was given to compare with."""

    checks: tuple[Check, ...]
    signature: Signature | None
    embedded: tuple[Embedded, ...]
    trusted: bool | None

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        checks = [asdict(check) | {"ok": check.ok} for check in self.checks]
        signature = asdict(self.signature) if self.signature else None
        return {
            "ok": self.ok,
            "trusted": self.trusted,
            "signature": json.loads(json.dumps(signature, default=datetime.isoformat)),
            "embedded": [asdict(item) for item in self.embedded],
            "checks": checks,
        }


def verify_pdf(raw: bytes, *, trust: Sequence[str] = ()) -> PdfVerification:
    """Check a signed PDF held in memory.

    Args:
        trust: Fingerprints of certificates (64 hexadecimal digits). When given, the signer's must be one of them.

    Raises:
        UnreadableError: it is no PDF.
    """
    if not raw.startswith(b"%PDF-"):
        raise UnreadableError("The file is no PDF.")
    facts: dict[str, Any] = {}
    wanted: list[tuple[str, Callable[[bytes, dict[str, Any]], None]]] = [
        ("The file holds one signature", _open),
        ("The signature covers the whole file, and nothing came after it", _check_coverage),
        ("The signature is written in its one form", _check_form),
        ("The signed bytes and the signature fit each other", _check_integrity),
        ("The file is certified: its signer allowed no change", _check_certification),
        ("The certificate was valid when it signed", _check_certificate),
        ("A time stamp, where there is one, fits the signature", _check_time_stamp),
        ("The embedded files can be read", _check_embedded),
    ]
    checks = []
    for title, check in wanted:
        checks.append(_run(title, check, raw, facts))
        if check is _open and not checks[-1].ok:
            break
    signature = facts.get("signature") if all(check.ok for check in checks) else None
    trusted = None
    if trust:
        trusted = signature is not None and signature.fingerprint in {item.lower() for item in trust}
        checks.append(Check(title="The certificate is one that you trust", problem="" if trusted else "it is not"))
    embedded = tuple(facts.get("embedded", ())) if signature else ()
    return PdfVerification(checks=tuple(checks), signature=signature, embedded=embedded, trusted=trusted)


def _run(title: str, check: Callable[[bytes, dict[str, Any]], None], raw: bytes, facts: dict[str, Any]) -> Check:
    try:
        check(raw, facts)
    except Mismatch as found:
        return Check(title=title, problem=str(found))
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes its reader raise, it is damaged
        return Check(title=title, problem=f"the file is not laid out as it should be ({type(error).__name__})")
    return Check(title=title)


def _open(raw: bytes, facts: dict[str, Any]) -> None:
    from pyhanko.pdf_utils.reader import PdfFileReader

    reader = PdfFileReader(io.BytesIO(raw), strict=True)
    found = reader.embedded_signatures
    if len(found) != 1:
        raise Mismatch("it is not signed" if not found else f"it has {len(found)}")
    facts["reader"], facts["found"] = reader, found[0]


def _check_coverage(raw: bytes, facts: dict[str, Any]) -> None:
    start, before, behind, rest = (int(number) for number in facts["found"].byte_range)
    if start != 0 or behind + rest != len(raw) or not 0 < before < behind:
        raise Mismatch("bytes lie outside what was signed")
    facts["der"] = der = _trimmed(facts["found"].pkcs7_content)
    padded = der.ljust((behind - before) // 2 - 1, b"\0")
    if raw[before:behind] != b"<" + padded.hex().encode().upper() + b">":
        raise Mismatch("something else than the signature lies between the signed bytes")


def _trimmed(content: bytes) -> bytes:
    """The signature without the zeros behind it: its first bytes say how long it is."""
    if content[:2] != b"\x30\x82":
        raise Mismatch("the signature does not begin as one does")
    return content[: 4 + int.from_bytes(content[2:4], "big")]


def _check_form(raw: bytes, facts: dict[str, Any]) -> None:
    """Put the signature together again from the parts that are signed: the bytes must be the same."""
    from asn1crypto import cms

    found = facts["found"]
    signed, certificate = found.signed_data, found.signer_cert
    signer, digest = signed["signer_infos"][0], found.md_algorithm
    number = {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
    again = {
        "version": "v1",
        "sid": cms.SignerIdentifier("issuer_and_serial_number", cms.IssuerAndSerialNumber(number)),
        "digest_algorithm": {"algorithm": digest},
        "signature_algorithm": {
            "algorithm": f"{digest}_{'rsa' if certificate.public_key.algorithm == 'rsa' else 'ecdsa'}"
        },
        "signed_attrs": list(signer["signed_attrs"]),
        "signature": signer["signature"].native,
    }
    if signer["unsigned_attrs"].native:
        if [attribute["type"].native for attribute in signer["unsigned_attrs"]] != ["signature_time_stamp_token"]:
            raise Mismatch("it carries something besides a time stamp that is not signed")
        again["unsigned_attrs"] = list(signer["unsigned_attrs"])
    content = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": digest}],
        "encap_content_info": {"content_type": "data"},
        "certificates": list(signed["certificates"]),
        "signer_infos": [again],
    }
    whole = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(content)})
    if whole.dump() != facts["der"]:
        raise Mismatch("it was changed outside the part that is signed")


def _check_integrity(raw: bytes, facts: dict[str, Any]) -> None:
    from pyhanko.sign.validation.generic_cms import validate_sig_integrity

    found = facts["found"]
    if found.md_algorithm not in DIGESTS:
        raise Mismatch(f"the digest {found.md_algorithm} is too weak")
    intact, valid = validate_sig_integrity(found.signer_info, found.signer_cert, "data", found.compute_digest())
    if not valid:
        raise Mismatch("the signature is not that of its certificate")
    if not intact:
        raise Mismatch("the file was changed after it was signed")


def _check_certification(raw: bytes, facts: dict[str, Any]) -> None:
    from pyhanko.sign.fields import MDPPerm
    from pyhanko.sign.validation.pdf_embedded import read_certification_data

    certified = read_certification_data(facts["reader"])
    if certified is None or certified.permission != MDPPerm.NO_CHANGES:
        raise Mismatch("it is not")
    if facts["found"].sig_object["/SubFilter"] != "/ETSI.CAdES.detached":
        raise Mismatch("the signature is not of the kind PAdES")


def _check_certificate(raw: bytes, facts: dict[str, Any]) -> None:
    from cryptography import x509

    found = facts["found"]
    claimed = found.self_reported_timestamp
    if claimed is None or claimed.tzinfo is None:
        raise Mismatch("the signature states no time")
    certificates = [x509.load_der_x509_certificate(item.chosen.dump()) for item in found.signed_data["certificates"]]
    signer = x509.load_der_x509_certificate(found.signer_cert.dump())
    if not signer.not_valid_before_utc <= claimed <= signer.not_valid_after_utc:
        raise Mismatch(f"it was not on {claimed:%d %B %Y}")
    _check_chain(signer, certificates)
    subject = signer.subject.rfc4514_string()
    facts["signature"] = Signature(
        subject=subject,
        fingerprint=sha256(found.signer_cert.dump()).hexdigest(),
        self_made=SELF_MADE in subject,
        self_signed=signer.subject == signer.issuer,
        claimed_at=claimed,
        reason=str(found.sig_object.get("/Reason", "")),
        time_stamp=None,
    )


def _check_chain(signer: Any, certificates: list[Any]) -> None:
    """Every certificate in the signature is the signer's, or vouches for one before it."""
    path = path_of(signer, certificates)
    top = path[-1] if path else signer
    if len(path) + 1 != len(certificates) or (top.issuer == top.subject and not vouches(top, top)):
        raise Mismatch("a certificate in the signature does not vouch for the signer's")


def _check_time_stamp(raw: bytes, facts: dict[str, Any]) -> None:
    signer = facts["found"].signer_info
    if not signer["unsigned_attrs"].native:
        return
    token = signer["unsigned_attrs"][0]["values"][0]
    try:
        stamp = check_token(token, digest=sha256(signer["signature"].native).digest())
    except Refused as refused:
        raise Mismatch(str(refused)) from refused
    if "signature" in facts:
        facts["signature"] = replace(facts["signature"], time_stamp=stamp)


def _check_embedded(raw: bytes, facts: dict[str, Any]) -> None:
    facts["embedded"] = found = []
    for item in facts["reader"].root.get("/AF", ()):
        specification = item.get_object()
        content = specification["/EF"]["/F"].data
        found.append(Embedded(name=str(specification["/UF"]), sha256=sha256(content).hexdigest(), size=len(content)))
