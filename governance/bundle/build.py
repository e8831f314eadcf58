"""Builds a bundle: pure, from content that was gathered before; equal content gives equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .container import Content, canonical_pieces, pieces_of
from .layout import (
    DOSSIER,
    EVIDENCE,
    HEAD,
    HEAD_TYPE,
    KEY,
    MANIFEST,
    MODEL_BOM,
    PROOFS,
    PROTOCOL,
    REVIEW,
    STATEMENT,
    STATEMENT_TYPE,
    STATUS,
    TIMESTAMP,
    canonical,
    key_id,
    pre_authentication_encoding,
    seal_form,
    sha256,
    statement_body,
)

SCHEMA = "auscult/bundle/2"
Stamper = Callable[[bytes], bytes | None]


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """One issued report. ``name`` becomes ``reports/<name>.pdf`` and so on; None: not issued in this form."""

    name: str
    pdf: bytes
    json: bytes
    html: bytes | None = None
    docx: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class BundleContent:
    """Everything that goes into a bundle.

    Attributes:
        evidence: The evidence document, a JSON object, with the very bytes that its digest covers.
        protocol_source, protocol_body: The protocol as written (YAML) and in canonical form.
        review: ``review.json``: the decision, who may not vote, the votes with their reasons.
        dossier: ``dossier.json``: what was known of the version; the bytes whose digest the ledger states.
        status: ``status.json``: the state of each requirement, judged from the dossier and the evidence.
        model_bom: ``model.cdx.json``: the model and its files as a CycloneDX ML-BOM.
        proofs: For each ledger entry ``{"index", "entry", "path"}``, all for the same head.
        head_size, head_root, head_time: The head of the ledger that is signed, and when.
        attachments: Further files by name, which becomes ``attachments/<name>``; they may be large.
    """

    evidence: dict[str, Any]
    evidence_bytes: bytes
    protocol_source: str
    protocol_body: dict[str, Any]
    review: dict[str, Any]
    dossier: bytes
    status: dict[str, Any]
    model_bom: bytes
    reports: Sequence[ReportFiles]
    proofs: Sequence[dict[str, Any]]
    head_size: int
    head_root: str
    head_time: str
    attachments: Sequence[tuple[str, Path]] = ()


def build_bundle(content: BundleContent, key: Ed25519PrivateKey, *, stamp: Stamper | None = None) -> bytes:
    """The signed zip of this content, in memory."""
    return b"".join(bundle_pieces(content, key, stamp=stamp))


def bundle_pieces(content: BundleContent, key: Ed25519PrivateKey, *, stamp: Stamper | None = None) -> Iterator[bytes]:
    """The signed zip of this content in pieces, for a file: attachments are never in memory as a whole.

    Args:
        stamp: Asks a time-stamping authority about the signed statement; gives None where there is none.

    Raises:
        OversizeError: all together have more than 4 GiB.
    """
    files = _covered(content, key)
    listed = {name: _listed(data) for name, data in files.items()}
    sealed, token = _sealed(content, key, listed, promised=stamp is not None), None
    if stamp is not None:
        token = stamp(sealed[STATEMENT])
        if token is None:
            sealed = _sealed(content, key, listed, promised=False)
    files |= sealed
    if token is not None:
        files[TIMESTAMP] = token
    return canonical_pieces(sorted(files.items()))


def _covered(content: BundleContent, key: Ed25519PrivateKey) -> dict[str, Content]:
    """Every file that the manifest lists."""
    head = {"size": content.head_size, "root": content.head_root, "signed_at": content.head_time}
    files: dict[str, Content] = {
        "README.txt": readme(content, key_id(key.public_key())).encode(),
        KEY: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        EVIDENCE: content.evidence_bytes,
        "protocol.yaml": content.protocol_source.encode(),
        PROTOCOL: canonical(content.protocol_body),
        REVIEW: canonical(content.review),
        DOSSIER: content.dossier,
        STATUS: canonical(content.status),
        MODEL_BOM: content.model_bom,
        HEAD: sign(HEAD_TYPE, canonical({"schema": "auscult/tree-head/1", **head}), key),
        PROOFS: canonical({"schema": "auscult/ledger-proofs/1", "proofs": list(content.proofs)}),
    }
    for report in content.reports:
        forms = {"pdf": report.pdf, "json": report.json, "html": report.html, "docx": report.docx}
        files |= {f"reports/{report.name}.{form}": data for form, data in forms.items() if data is not None}
    return files | {f"attachments/{name}": path for name, path in content.attachments}


def _listed(content: Content) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces_of(content):
        digest.update(piece)
        size += len(piece)
    return {"sha256": digest.hexdigest(), "size": size}


def _sealed(
    content: BundleContent,
    key: Ed25519PrivateKey,
    listed: dict[str, Any],
    *,
    promised: bool,
) -> dict[str, bytes]:
    """Manifest and signed statement. The manifest tells whether a time-stamp belongs to the bundle."""
    body = {"schema": SCHEMA, "files": listed, **({"timestamp": True} if promised else {})}
    manifest = canonical(body)
    protocol = canonical(content.protocol_body)
    statement = statement_body(content.evidence, manifest=sha256(manifest), protocol_file=protocol)
    return {MANIFEST: manifest, STATEMENT: sign(STATEMENT_TYPE, canonical(statement), key)}


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
manifest.json         size and SHA-256 of every file but itself, the statement and the time-stamp; layout 2
statement.dsse.json   in-toto statement (test result) about the model, the cohort and the manifest, signed
key.pem               public key of the signatures (Ed25519)
evidence.json         everything that was measured, how, and how it was judged
protocol.yaml, .json  the rules, as written and in the form that their digest covers
review.json           the votes with their reasons, and the decision
dossier.json          what was known of the version then: answers, statements, audits, decisions, reports
status.json           the state of each regulatory requirement, judged from dossier and evidence
model.cdx.json        the model and its files (CycloneDX ML-BOM)
reports/              the reports that were issued about this version, from this evidence or from none
attachments/          further files of the issuer, if any: signed with the rest, not in the ledger
timestamp.tsr         time-stamp of a third party over statement.dsse.json (RFC 3161), if there is one
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
