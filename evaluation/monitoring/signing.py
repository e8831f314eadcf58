"""Secrets of webhooks: made, kept encrypted, and used to sign what is sent.

Messages are signed as the specification Standard Webhooks says (github.com/standard-webhooks/standard-webhooks), so
that receivers may use a library of it. Signed is ``<id>.<timestamp>.<body>`` with HMAC-SHA256; the header reads
``v1,<Base64 of the digest>``. The id is the same on each attempt and the timestamp is that of the attempt: a receiver
that refuses old timestamps and ids it has seen cannot be made to act twice on one message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from core.errors import EnvironmentProblemError

PREFIX = "whsec_"
BYTES = 32
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = 300
"""Seconds by which the clocks of sender and receiver may differ."""
PURPOSE = b"auscult/webhook-secrets/1"


def new_secret() -> str:
    """A secret of 256 random bits, as receivers are given it: ``whsec_`` and Base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def sign(secret: str, *, event: str, timestamp: int, body: bytes) -> str:
    """The value of the signature's header for one attempt.

    Args:
        event: Id of the message; holds no dot.
        timestamp: Seconds since 1970, of this attempt.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    told = f"{event}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()


def is_signed(secret: str, *, event: str, timestamp: str, signature: str, body: bytes, now: int) -> bool:
    """What a receiver does: whether the message is of the holder of the secret, and new enough.

    Args:
        timestamp, signature: As the headers have them. Several signatures may stand beside each other, with blanks.
    """
    if not timestamp.isascii() or not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE:
        return False
    expected = sign(secret, event=event, timestamp=int(timestamp), body=body)
    return any(hmac.compare_digest(expected.encode(), given.encode()) for given in signature.split())


def seal(secret: str, *, keys: Sequence[str]) -> str:
    """The secret, encrypted (Fernet: AES-128-CBC and HMAC-SHA256) with a key derived from the first of some secrets."""
    return _box(keys).encrypt(secret.encode()).decode()


def unseal(sealed: str, *, keys: Sequence[str]) -> str:
    """The secret again.

    Args:
        keys: The installation's secret, and earlier ones that may still be in use.

    Raises:
        EnvironmentProblemError: none of them opens it: the installation's secret was changed.
    """
    try:
        return _box(keys).decrypt(sealed.encode()).decode()
    except (InvalidToken, binascii.Error) as error:
        raise EnvironmentProblemError(
            "The secret of this webhook cannot be read: the installation's own secret was changed since.",
            remedy="Give the webhook a new secret, and tell it to the receiver.",
        ) from error


def house_secrets() -> list[str]:
    """The installation's secret, then earlier ones that are still accepted (Django's ``SECRET_KEY_FALLBACKS``)."""
    return [str(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def _box(keys: Sequence[str]) -> MultiFernet:
    made = [HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(key.encode()) for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in made])
