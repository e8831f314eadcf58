"""Tools of a forger: take a bundle apart, change it, and put it together again, with a key or without."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from governance.bundle.build import sign
from governance.bundle.container import canonical_zip
from governance.bundle.layout import HEAD_TYPE, STATEMENT_TYPE, UNLISTED, canonical, statement_body
from governance.bundle.verify import verify_bytes

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def unpack(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def resealed(files: dict[str, bytes], *, key: Ed25519PrivateKey = KEY) -> bytes:
    """What a forger with a key can do: everything made consistent again, manifest and signatures included."""
    files = dict(files)
    head = base64.b64decode(json.loads(files["ledger/head.json"])["payload"])
    files["ledger/head.json"] = sign(HEAD_TYPE, head, key)
    files.pop("timestamp.tsr", None)
    covered = {name: data for name, data in files.items() if name not in UNLISTED}
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in covered.items()}
    files["manifest.json"] = canonical({"schema": json.loads(files["manifest.json"])["schema"], "files": listed})
    statement = statement_body(
        json.loads(files["evidence.json"]),
        manifest=hashlib.sha256(files["manifest.json"]).hexdigest(),
        protocol_file=files["protocol.json"],
    )
    files["statement.dsse.json"] = sign(STATEMENT_TYPE, canonical(statement), key)
    return canonical_zip(sorted(files.items()))


def edited(files: dict[str, bytes], name: str, change: Callable[[Any], None]) -> bytes:
    body = json.loads(files[name])
    change(body)
    return resealed(files | {name: canonical(body)})


def data_ranges(raw: bytes) -> list[tuple[str, range]]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        begins = [(info, info.header_offset + 30 + len(info.filename)) for info in archive.infolist()]
    return [(info.filename, range(begin, begin + info.file_size)) for info, begin in begins]


def pem_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def set_(*path: Any) -> Callable[[Any], None]:
    """A change: ``set_("a", 0, "b", value)`` sets ``body["a"][0]["b"] = value``."""

    def change(body: Any) -> None:
        *way, last, value = path
        for step in way:
            body = body[step]
        body[last] = value

    return change


def findings(raw: bytes, **options: Any) -> list[str]:
    checks = verify_bytes(raw, **options).checks
    return [f"{problem.file}: {problem.message}" for check in checks for problem in check.problems]
