"""The key under which studies are counted without being known: an HMAC instead of an identifier."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from django.conf import settings

LENGTH = 32


def keyed_digest(kind: str, *parts: str) -> str:
    """HMAC-SHA256 of some parts under the installation's own key, in hexadecimal.

    Without the key nobody can try identifiers until one fits; the key never leaves ``AUSCULT_HOME/keys``.

    Args:
        kind: What the digest stands for, so that digests of different things never agree.
    """
    message = "\x1f".join((kind, *parts)).encode()
    return hmac.new(_key(), message, hashlib.sha256).hexdigest()


def _key() -> bytes:
    path = Path(settings.AUSCULT_HOME) / "keys" / "cases.key"
    if not path.exists():
        _make(path)
    return bytes.fromhex(path.read_text().strip())


def _make(path: Path) -> None:
    """Write a new key at once or not at all; when two processes do so, one key stands for both."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)  # Made with mode 600.
    with os.fdopen(handle, "w") as stream:
        stream.write(secrets.token_hex(LENGTH))
    try:
        os.link(name, path)
    except FileExistsError:
        return
    finally:
        Path(name).unlink()
