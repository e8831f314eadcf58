"""Secrets of second factors, encrypted before they are stored: a copy of the database alone signs nobody in.

The key is derived from the installation's own (``AUSCULT_SECRET_KEY``). With another key nothing stored can be read;
the person is then let in by nobody's code, and an administrator takes the factor away.
"""

from __future__ import annotations

import base64
import logging
import secrets

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

log = logging.getLogger("auscult.sign_in")
BYTES = 32


def _box() -> Fernet:
    derive = HKDF(algorithm=SHA256(), length=BYTES, salt=None, info=b"auscult second factors")
    return Fernet(base64.urlsafe_b64encode(derive.derive(settings.SECRET_KEY.encode())))


def encrypt(text: str) -> str:
    return _box().encrypt(text.encode()).decode()


def decrypt(kept: str) -> str:
    """What was encrypted. Where it cannot be read, a secret that nobody knows: no code fits it.

    An empty secret would not do: the codes of an empty secret can be computed by anybody.
    """
    try:
        return _box().decrypt(kept.encode()).decode()
    except InvalidToken:
        log.error("A second factor cannot be read: AUSCULT_SECRET_KEY is not the one that it was stored with.")
        return base64.b32encode(secrets.token_bytes(BYTES)).decode()
