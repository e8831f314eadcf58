"""How a bundle is laid out: its files, its signatures, its statement, its ledger proofs.

Builder and verifier share this page. Standard library and ``cryptography`` only: the verifier stands alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

MAX_BYTES = (1 << 32) - 1
"""Sizes and places in the zip have 32 bits: what needs more is no bundle."""
MAX_FILES = 10_000
MAX_READ = 1 << 29
"""Bytes of files that are read into memory to be understood, all together; the others are only hashed."""
MANIFEST, STATEMENT, KEY = "manifest.json", "statement.dsse.json", "key.pem"
EVIDENCE, PROTOCOL, REVIEW = "evidence.json", "protocol.json", "review.json"
HEAD, PROOFS = "ledger/head.json", "ledger/proofs.json"
DOSSIER, STATUS, MODEL_BOM = "dossier.json", "status.json", "model.cdx.json"
TIMESTAMP = "timestamp.tsr"
UNLISTED = frozenset({MANIFEST, STATEMENT, TIMESTAMP})
"""What the manifest does not list: itself, what is signed over it, and the time-stamp over that signature."""
REQUIRED = frozenset(
    {"README.txt", "protocol.yaml", MANIFEST, STATEMENT, KEY, EVIDENCE, PROTOCOL, REVIEW, HEAD, PROOFS}
)
ADDED = frozenset({DOSSIER, STATUS, MODEL_BOM})
"""What every bundle has besides since layout 2."""
LAYOUTS = {"auscult/bundle/1": 1, "auscult/bundle/2": 2}
REPORT_FORMS = ("pdf", "json", "html", "docx")
STATEMENT_TYPE = "application/vnd.in-toto+json"
HEAD_TYPE = "application/vnd.auscult.tree-head+json"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
RESULTS = {"pass": "PASSED", "insufficient": "WARNED", "fail": "FAILED"}
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
OPTIONAL_NAME = re.compile(rf"timestamp\.tsr|reports/[^/]+\.({'|'.join(REPORT_FORMS)})|attachments/.+")
HELD_NAME = re.compile(r"[^/]+\.(json|pem|tsr)|ledger/[^/]+\.json|reports/[^/]+\.json")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong, and with which file of the bundle."""

    file: str
    message: str


class Mismatch(Exception):
    """Ends a check that cannot go on."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(file=file, message=message)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """Sorted keys, no blanks, UTF-8, no NaN: what every digest of a JSON value is taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the DER form: ``openssl pkey -pubin -in key.pem -outform DER | sha256sum``."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def load_key(pem: bytes, file: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Mismatch(file, "is not a public key in PEM form") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Mismatch(file, "is not an Ed25519 key")
    return key


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature covers."""
    return b"DSSEv1 %d %b %d %b" % (len(payload_type.encode()), payload_type.encode(), len(payload), payload)


def seal_form(payload_type: str, payload: bytes, keyid: str, signature: bytes) -> dict[str, Any]:
    """A DSSE envelope with one signature."""
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }


def statement_body(evidence: dict[str, Any], *, manifest: str, protocol_file: bytes) -> dict[str, Any]:
    """The in-toto statement about this evidence, with the Test Result predicate.

    A primary criterion that passed, failed or lacked evidence is a passed, failed or warned test. An
    exploratory one decides nothing, so it is passed or warned. Lack of evidence is never PASSED.
    """
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for verdict in evidence["result"]["verdicts"]:
        fate = "failedTests" if verdict["outcome"] == "fail" and verdict["primary"] else "warnedTests"
        parts = (verdict["criterion"], verdict["label"], verdict["attribute"])
        tests["passedTests" if verdict["outcome"] == "pass" else fate].append(
            " / ".join(part for part in parts if part)
        )
    version, system, cohort = evidence["version"], evidence["system"], evidence["cohort"]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": f"model {system['slug']} {version['label']}", "digest": {"sha256": version["digest"]}},
            {"name": f"cohort {cohort['name']}", "digest": {"sha256": cohort["digest"]}},
            {"name": MANIFEST, "digest": {"sha256": manifest}},
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": RESULTS[evidence["result"]["outcome"]],
            "configuration": [{"name": PROTOCOL, "digest": {"sha256": sha256(protocol_file)}}],
            **tests,
        },
    }


def root_from_path(*, index: int, size: int, entry: bytes, path: Sequence[bytes]) -> bytes:
    """Root hash that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        raise ValueError("the entry lies outside the tree")
    node, last = index, size - 1
    result = hashlib.sha256(b"\0" + entry).digest()
    for sibling in path:
        if last == 0 or len(sibling) != 32:
            raise ValueError("the path is too long")
        if node & 1 or node == last:
            result = hashlib.sha256(b"\1" + sibling + result).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = hashlib.sha256(b"\1" + result + sibling).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the path is too short")
    return result
