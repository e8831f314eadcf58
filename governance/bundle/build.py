"""Builds a bundle: pure, from content that was gathered before; equal content gives equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .layout import (
    EVIDENCE,
    HEAD,
    HEAD_TYPE,
    KEY,
    MANIFEST,
    PROOFS,
    PROTOCOL,
    REVIEW,
    STATEMENT,
    STATEMENT_TYPE,
    canonical,
    canonical_zip,
    key_id,
    pre_authentication_encoding,
    seal_form,
    sha256,
    statement_body,
)


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """One issued report. ``name`` becomes ``reports/<name>.pdf`` and ``.json``."""

    name: str
    pdf: bytes
    json: bytes


@dataclass(frozen=True, kw_only=True)
class BundleContent:
    """Everything that goes into a bundle.

    Attributes:
        evidence: The evidence document, a JSON object, with the very bytes that its digest covers.
        protocol_source, protocol_body: The protocol as written (YAML) and in canonical form.
        review: ``review.json``: the decision, who may not vote, the votes with their reasons.
        proofs: For each ledger entry ``{"index", "entry", "path"}``, all for the same head.
        head_size, head_root, head_time: The head of the ledger that is signed, and when.
    """

    evidence: dict[str, Any]
    evidence_bytes: bytes
    protocol_source: str
    protocol_body: dict[str, Any]
    review: dict[str, Any]
    reports: Sequence[ReportFiles]
    proofs: Sequence[dict[str, Any]]
    head_size: int
    head_root: str
    head_time: str


def build_bundle(content: BundleContent, key: Ed25519PrivateKey) -> bytes:
    """The signed zip of this content."""
    head = {"size": content.head_size, "root": content.head_root, "signed_at": content.head_time}
    files = {
        "README.txt": readme(content, key_id(key.public_key())).encode(),
        KEY: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        EVIDENCE: content.evidence_bytes,
        "protocol.yaml": content.protocol_source.encode(),
        PROTOCOL: canonical(content.protocol_body),
        REVIEW: canonical(content.review),
        HEAD: sign(HEAD_TYPE, canonical({"schema": "auscult/tree-head/1", **head}), key),
        PROOFS: canonical({"schema": "auscult/ledger-proofs/1", "proofs": list(content.proofs)}),
    }
    for report in content.reports:
        files[f"reports/{report.name}.pdf"] = report.pdf
        files[f"reports/{report.name}.json"] = report.json
    listed = {name: {"sha256": sha256(data), "size": len(data)} for name, data in files.items()}
    files[MANIFEST] = canonical({"schema": "auscult/bundle/1", "files": listed})
    statement = statement_body(content.evidence, manifest=sha256(files[MANIFEST]), protocol_file=files[PROTOCOL])
    files[STATEMENT] = sign(STATEMENT_TYPE, canonical(statement), key)
    return canonical_zip(sorted(files.items()))


def sign(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """A DSSE envelope around the payload, in canonical JSON."""
    signature = key.sign(pre_authentication_encoding(payload_type, payload))
    return canonical(seal_form(payload_type, payload, key_id(key.public_key()), signature))


def readme(content: BundleContent, fingerprint: str) -> str:
    """``README.txt``: what the files are, and how to check them with and without Auscult."""
    system, version = content.evidence["system"], content.evidence["version"]
    return f"""AUDIT BUNDLE

System    {system["name"]}
Version   {version["label"]}
Evidence  {content.evidence["result"]["outcome"]}
Decision  {content.review["decision"]}

WHAT IS HERE
manifest.json         size and SHA-256 of every file but itself and the statement
statement.dsse.json   in-toto statement (test result) about the model, the cohort and the manifest, signed
key.pem               public key of the signatures (Ed25519)
evidence.json         everything that was measured, how, and how it was judged
protocol.yaml, .json  the rules, as written and in the form that their digest covers
review.json           the votes with their reasons, and the decision
reports/              the reports that were issued from this evidence
ledger/head.json      signed head of the ledger: number of entries and root hash (RFC 9162)
ledger/proofs.json    the ledger's entries about all this, with their inclusion proofs

HOW TO CHECK IT, OFFLINE
With Auscult's verifier, from a source that you trust (not from whoever sent you this file):
    auscult verify THIS.zip --trust FINGERPRINT      or      python verify.py THIS.zip --trust FINGERPRINT
The fingerprint must be the one that the issuer gave you by another way. This bundle says it is
    {fingerprint}

By hand: sha256sum of each file against manifest.json; the signature covers the DSSE encoding of the payload
in statement.dsse.json. docs/bundles.md of Auscult tells each step, and what it proves and does not.
"""
