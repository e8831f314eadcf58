"""Requests to a time-stamping authority, and what its answers are worth (RFC 3161)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

USAGE = "time_stamping"
GRANTED = (0, 1)


class Refused(Exception):
    """There is no time stamp in the answer, or not one that fits the question."""


@dataclass(frozen=True, kw_only=True)
class TimeStamp:
    """What a time stamp says.

    Attributes:
        at: The authority's time.
        authority: Subject of its certificate. Whether to believe it is for the reader to decide.
        fingerprint: SHA-256 of that certificate.
    """

    at: datetime
    authority: str
    fingerprint: str


def request_for(digest: bytes) -> tuple[int, bytes]:
    """A request about a SHA-256: its nonce and its DER."""
    from asn1crypto import algos, tsp

    nonce = secrets.randbits(63)
    imprint = {"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "hashed_message": digest}
    request = tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "nonce": nonce, "cert_req": True})
    return nonce, bytes(request.dump())


def check_response(response: bytes, *, digest: bytes, nonce: int) -> TimeStamp:
    """What the answer says.

    Raises:
        Refused: the authority declined, or its answer is broken, about something else, or not signed by it.
    """
    from asn1crypto import core, tsp

    try:
        state = core.Sequence.load(response, strict=True)[0][0].native  # An answer that declines has no second part.
        if state not in GRANTED:
            raise Refused(f"it declined, with status {state}")
        token = tsp.TimeStampResp.load(response)["time_stamp_token"]
        if token["content"]["encap_content_info"]["content"].parsed["nonce"].native != nonce:
            raise Refused("it answers another request")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused("its answer is not laid out as it should be") from error
    return check_token(token, digest=digest)


def check_token(token: Any, *, digest: bytes) -> TimeStamp:
    """What a ``TimeStampToken`` says about a SHA-256.

    Raises:
        Refused: it is about something else, its signature does not fit, or its certificate is not one for time stamps.
    """
    from pyhanko.sign.general import CMSExtractionError
    from pyhanko.sign.validation.errors import SignatureValidationError

    try:
        return _check_token(token, digest)
    except (SignatureValidationError, CMSExtractionError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"its time stamp is not laid out as it should be ({error})") from error


def _check_token(token: Any, digest: bytes) -> TimeStamp:
    from pyhanko.sign.general import extract_certificate_info, extract_signer_info
    from pyhanko.sign.validation.generic_cms import validate_sig_integrity

    signed = token["content"]
    content = signed["encap_content_info"]["content"]
    told = content.parsed
    imprint = told["message_imprint"]
    if imprint["hash_algorithm"]["algorithm"].native != "sha256" or imprint["hashed_message"].native != digest:
        raise Refused("it is about something else")
    signer, certificate = extract_signer_info(signed), extract_certificate_info(signed).signer_cert
    actual = _hash(signer["digest_algorithm"]["algorithm"].native, bytes(content))
    if validate_sig_integrity(signer, certificate, "tst_info", actual) != (True, True):
        raise Refused("its signature does not fit")
    at = told["gen_time"].native
    usage = certificate.extended_key_usage_value
    if usage is None or USAGE not in usage.native:
        raise Refused("it is signed with a certificate that is not for time stamps")
    if not certificate.not_valid_before <= at <= certificate.not_valid_after:
        raise Refused("it is signed with a certificate that was not valid then")
    return TimeStamp(
        at=at,
        authority=certificate.subject.human_friendly,
        fingerprint=sha256(certificate.dump()).hexdigest(),
    )


def _hash(algorithm: str, content: bytes) -> bytes:
    import hashlib

    if algorithm not in ("sha256", "sha384", "sha512"):
        raise Refused(f"it is signed with the digest {algorithm}")
    return hashlib.new(algorithm, content).digest()
