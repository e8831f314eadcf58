"""Verifies a released set of synthetic patients offline: ``python verify.py FOLDER --key KEY.pem``.

This file stands alone: it needs Python 3.11 and the package ``cryptography``, nothing else of Auscult and no network.
Exit status: 0 when nothing was found, 1 when something was (the file is named), 3 when there is nothing to check.

It proves that the holder of the key stated these very files to be the release, none more and none less. It does not
prove that the statement is true, nor who holds the key: that fingerprint has to come by another way than the files.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

STATEMENT, ENVELOPE = "statement.json", "statement.dsse.json"
UNLISTED = frozenset({STATEMENT, ENVELOPE})
"""What the statement does not list: itself, and itself signed."""
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
"""Names of files. Subjects that are no file have a blank in their name."""
MOST_BYTES = 512 << 20
"""More than a statement about a million files."""


class Unreadable(Exception):
    """There is nothing that could be checked."""


def verify_release(folder: Path, public_key_pem: bytes | str) -> list[str]:
    """What is wrong with a release, each in a sentence that names the file; empty when nothing is.

    Args:
        public_key_pem: The issuer's Ed25519 key in PEM form, from another source than the release.
    """
    try:
        key = load_key(public_key_pem)
        statement = _read(folder / STATEMENT)
    except Unreadable as error:
        return [str(error)]
    problems = list(_signature_problems(folder, statement, key))
    try:
        listed = _listed(statement)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return [*problems, f"{STATEMENT} is not laid out as the statement of a release ({type(error).__name__})."]
    return [*problems, *_file_problems(folder, listed)]


def load_key(pem: bytes | str) -> Ed25519PublicKey:
    """The key.

    Raises:
        Unreadable: it is no public Ed25519 key in PEM form.
    """
    try:
        key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable("The key is no public key in PEM form.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Unreadable("The key is not an Ed25519 key.")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the DER form: ``openssl pkey -pubin -in key.pem -outform DER | sha256sum``."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def canonical(value: Any) -> bytes:
    """Sorted keys, no blanks, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def signed_bytes(payload: bytes) -> bytes:
    """The bytes that the signature covers: the pre-authentication encoding of DSSE."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def envelope_form(payload: bytes, keyid: str, signature: bytes) -> dict[str, Any]:
    """A DSSE envelope with one signature, in the only form that is taken."""
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }


def files_in(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder, links among them, in the order of names."""
    yield from sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # A pipe would be waited for.
            raise Unreadable(f"{path.name} cannot be read: it is missing, or no file.")
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if len(data) > MOST_BYTES:
        raise Unreadable(f"{path.name} is larger than any statement.")
    return data


def _signature_problems(folder: Path, statement: bytes, key: Ed25519PublicKey) -> Iterator[str]:
    if not (folder / ENVELOPE).exists():
        yield f"{ENVELOPE} is missing: the release is not signed."
        return
    try:
        data = _read(folder / ENVELOPE)
        body = json.loads(data)
        payload = base64.b64decode(body["payload"], validate=True)
        signature = base64.b64decode(body["signatures"][0]["sig"], validate=True)
        only_form = canonical(envelope_form(payload, key_id(key), signature))
    except Unreadable as error:
        yield str(error)
        return
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        yield f"{ENVELOPE} is no DSSE envelope ({type(error).__name__})."
        return
    if payload != statement:
        yield f"{STATEMENT} was changed: it is not what was signed."
    try:
        key.verify(signature, signed_bytes(payload))
    except InvalidSignature:
        yield f"{ENVELOPE}: the signature is not by this key, or what was signed was changed."
        return
    if data != only_form:
        yield f"{ENVELOPE} is not in its canonical form, or names another key."


def _listed(statement: bytes) -> dict[str, str]:
    """The files of the statement: name -> SHA-256."""
    body = json.loads(statement)
    if statement != canonical(body) or (body["_type"], body["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ValueError("not canonical, or of another type")
    named = [(item["name"], item["digest"]["sha256"]) for item in body["subject"]]
    files = [(name, digest) for name, digest in named if " " not in name]
    if len(dict(files)) != len(files) or not all(SAFE_NAME.fullmatch(name) for name, _ in files):
        raise ValueError("a name is unsafe or there twice")
    return dict(files)


def _file_problems(folder: Path, listed: dict[str, str]) -> Iterator[str]:
    there = {path.relative_to(folder).as_posix(): path for path in files_in(folder)}
    for name in sorted(there.keys() | listed.keys() - UNLISTED):
        path = there.get(name)
        if path is None:
            yield f"{name} is missing."
        elif path.is_symlink() or not path.is_file():
            yield f"{name} is no plain file, but a link or a device."
        elif name in UNLISTED:
            continue
        elif name not in listed:
            yield f"{ascii(name)[1:-1]} was added: the statement does not list it."
        else:
            yield from _digest_problems(name, path, listed[name])


def _digest_problems(name: str, path: Path, digest: str) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        yield f"{name} cannot be read: {error.strerror or error}."
        return
    if found != digest:
        yield f"{name} was changed: its SHA-256 is not what the statement says."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a released set of synthetic patients offline.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", type=Path, required=True, metavar="KEY.pem", help="the issuer's public key")
    given = parser.parse_args(arguments)
    try:
        pem = _read(given.key)
        fingerprint = key_id(load_key(pem))
        _read(given.folder / STATEMENT)
    except Unreadable as error:
        sys.stdout.write(f"CANNOT CHECK  {error}\n")
        return 3
    problems = verify_release(given.folder, pem)
    lines = [f"FAILED  {line}" for line in problems] or ["VERIFIED  Every file is as the statement says, none is more."]
    told = "\n".join([*lines, f"Key fingerprint (SHA-256): {fingerprint}"])
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in told) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
