"""What the cache keeps in Redis, sealed with the installation's secret: nothing else is ever read back as an object."""

from __future__ import annotations

import hmac
import pickle
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation

SEAL = sha256().digest_size


class SealedSerializer:
    """Django's way of writing values to Redis with a seal before each: HMAC-SHA-256 of what follows.

    Whole numbers stay as they are, so that Redis can count.

    Raises:
        SuspiciousOperation: a value was not written by this installation.
    """

    def dumps(self, value: Any) -> int | bytes:
        if type(value) is int:
            return value
        body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        return _seal(body) + body

    def loads(self, data: bytes) -> Any:
        if data.removeprefix(b"-").isdigit():
            return int(data)
        seal, body = data[:SEAL], data[SEAL:]
        if not hmac.compare_digest(seal, _seal(body)):
            raise SuspiciousOperation("The cache holds a value that this installation did not write.")
        return pickle.loads(body)  # noqa: S301 - sealed by this installation


def _seal(body: bytes) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"auscult cache" + body, "sha256")
