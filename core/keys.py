"""The key that signs bundles and heads of the ledger: Ed25519, given by the operator, else made once for this home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from core.errors import EnvironmentProblemError
from core.proof_files import fingerprint, load_key

VARIABLE = "AUSCULT_SIGNING_KEY_FILE"


def signing_key() -> Ed25519PrivateKey:
    """The private key.

    ``AUSCULT_SIGNING_KEY_FILE`` names it; outside production a key is made on first use in
    ``AUSCULT_HOME/keys``, readable by its owner alone, with the public key beside it in ``signing.pub.pem``.

    Raises:
        EnvironmentProblemError: production without the variable; a file that is missing or is no Ed25519 key.
    """
    if given := os.environ.get(VARIABLE):
        return _read(Path(given))
    path = Path(settings.AUSCULT_HOME) / "keys" / "signing.pem"
    if not path.exists():
        if settings.PRODUCTION:
            raise EnvironmentProblemError(
                f"{VARIABLE} is not set, so nothing can be signed.",
                remedy="Run 'openssl genpkey -algorithm ed25519 -out FILE' and set the variable to FILE.",
            )
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    """Write a new key at once or not at all; when two processes do so, one key stands for both."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = Ed25519PrivateKey.generate()
    handle, name = tempfile.mkstemp(dir=path.parent)  # Made with mode 600.
    with os.fdopen(handle, "wb") as stream:
        stream.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        os.link(name, path)
    except FileExistsError:
        return
    finally:
        Path(name).unlink()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_name("signing.pub.pem").write_bytes(public)


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise EnvironmentProblemError(
            f"The signing key cannot be read: {error.strerror}.", remedy=f"Check {VARIABLE}.", file=str(path)
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EnvironmentProblemError(
            "The signing key is not an unencrypted private key in PEM form.",
            remedy=f"Check {VARIABLE}.",
            file=str(path),
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EnvironmentProblemError(
            "The signing key is not an Ed25519 key.",
            remedy="Make one with 'openssl genpkey -algorithm ed25519'.",
            file=str(path),
        )
    return key


def keep_public_key(key: Ed25519PrivateKey) -> str:
    """Keep the public half in ``AUSCULT_HOME/keys/public``, so that what was signed can be checked after a change of
    keys; its fingerprint."""
    public = key.public_key()
    name = fingerprint(public)
    path = _public_folder() / f"{name}.pem"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, written = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        Path(written).replace(path)
    return name


def public_key_pem(name: str) -> str | None:
    """The public key with this fingerprint in PEM form; None where none was kept, or the file holds another key."""
    try:
        pem = (_public_folder() / f"{name}.pem").read_text()
        return pem if fingerprint(load_key(pem)) == name else None
    except (OSError, ValueError):
        return None


def _public_folder() -> Path:
    return Path(settings.AUSCULT_HOME) / "keys" / "public"
