"""Time stamps of a third party (RFC 3161): that something was there by a certain time, said by who is not us."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import urlsplit

from core.errors import EnvironmentProblemError, TransientError

VARIABLE = "AUSCULT_TIMESTAMP_URL"
SECONDS = 20
MOST_BYTES = 256 * 1024
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"


def timestamp(data: bytes) -> bytes | None:
    """The authority's signed statement that ``data`` was there, or None where no authority is configured.

    Only the SHA-256 of ``data`` leaves this machine.

    Returns:
        A ``TimeStampResp`` in DER, as ``openssl ts -verify -in FILE.tsr -data DATA -CAfile CA.pem`` reads it.

    Raises:
        TransientError: the authority did not answer.
        EnvironmentProblemError: it refuses, or its answer is not about ``data`` or is not signed as it should be.
    """
    stamp = digest_stamper()
    return None if stamp is None else stamp(sha256(data).digest())


def digest_stamper() -> Callable[[bytes], bytes] | None:
    """Gets a time stamp for a SHA-256 from the authority that ``AUSCULT_TIMESTAMP_URL`` names; None without one.

    Raises:
        EnvironmentProblemError: the variable holds no address.
    """
    address = os.environ.get(VARIABLE, "")
    if not address:
        return None
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise EnvironmentProblemError(
            f"{VARIABLE} is no address of a time-stamping authority.", remedy="Give one that begins with https://."
        )
    return lambda digest: _stamp(address, digest)


def _stamp(address: str, digest: bytes) -> bytes:
    from governance.signing.timestamps import Refused, check_response, request_for

    nonce, request = request_for(digest)
    response = _ask(address, request)
    try:
        check_response(response, digest=digest, nonce=nonce)
    except Refused as error:
        raise _refusal(str(error)) from error
    return response


def _ask(address: str, request: bytes) -> bytes:
    headers = {"Content-Type": QUERY, "Accept": REPLY}
    asked = urllib.request.Request(address, data=request, headers=headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(asked, timeout=SECONDS) as answer:
            kind, body = answer.headers.get_content_type(), answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500 or error.code == 429:
                raise TransientError(
                    f"The time-stamping authority answered with status {error.code}.", remedy="Try again later."
                ) from error
            raise _refusal(f"it answered with status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TransientError(
            f"The time-stamping authority did not answer: {reason}.", remedy=f"Check {VARIABLE} and the network."
        ) from error
    if kind != REPLY or len(body) > MOST_BYTES:
        raise _refusal("what it sent is no time stamp")
    return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An authority is asked where the operator said, and nowhere else."""

    def redirect_request(self, *arguments: object, **named: object) -> None:
        return None


def _refusal(reason: str) -> EnvironmentProblemError:
    return EnvironmentProblemError(
        f"The time-stamping authority gave no time stamp: {reason}.", remedy=f"Check {VARIABLE}."
    )
