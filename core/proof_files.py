"""Files that show something about the ledger to whoever has no access to it: a signed head, an inclusion proof, a
consistency proof. Made here, and checked here with the standard library and ``cryptography`` alone.

A file is JSON: ``{"schema": "auscult/ledger-proof/1", "kind", "keys", "heads", "path"}`` and, for an inclusion proof,
``index`` and ``entry``. ``heads`` are DSSE envelopes, the older first; ``path`` are hexadecimal hashes in the order of
RFC 9162. A file of the kind ``head`` holds the head before it too, with the consistency proof from that one.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from core import merkle
from core.digests import sha256_bytes
from core.errors import AuscultError

SCHEMA, HEAD_SCHEMA = "auscult/ledger-proof/1", "auscult/tree-head/2"
HEAD_TYPE = "application/vnd.auscult.tree-head+json"
KINDS = ("head", "inclusion", "consistency")
MOST_BYTES = 4 << 20


class ProofFileError(AuscultError):
    """A file that is no proof of a ledger, or a key that is none."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A signed head as a file holds it. ``document`` is what the signature covers."""

    document: bytes
    signature: bytes
    key_id: str
    size: int
    root: bytes
    signed_at: str


@dataclass(frozen=True, kw_only=True)
class ProofFile:
    """What a file says, read but not checked."""

    kind: str
    keys: dict[str, Ed25519PublicKey]
    heads: tuple[Head, ...]
    path: tuple[bytes, ...]
    index: int | None
    entry: bytes | None


@dataclass(frozen=True, kw_only=True)
class ProofCheck:
    """What checking a file found.

    Attributes:
        shown: What the file shows if there is no problem, in a sentence.
        keys: Fingerprints of the keys that its heads name.
        trusted: None when no key was given to compare them with.
    """

    shown: str
    problems: tuple[str, ...]
    keys: tuple[str, ...]
    trusted: bool | None

    @property
    def ok(self) -> bool:
        return not self.problems


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the DER form, as bundles name keys: ``openssl pkey -pubin -in KEY -outform DER | sha256sum``."""
    return sha256_bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def signed_bytes(document: bytes) -> bytes:
    """The bytes that the signature of a head covers: the pre-authentication encoding of DSSE."""
    return b"DSSEv1 %d %b %d %b" % (len(HEAD_TYPE), HEAD_TYPE.encode(), len(document), document)


def envelope(document: bytes, signature: bytes, key_id: str) -> dict[str, Any]:
    """A signed head as a DSSE envelope."""
    return {
        "payload": base64.b64encode(document).decode(),
        "payloadType": HEAD_TYPE,
        "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}],
    }


def signature_holds(head: Head, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(head.signature, signed_bytes(head.document))
    except InvalidSignature:
        return False
    return fingerprint(key) == head.key_id


def write_proof(
    *, kind: str, keys: Sequence[str], heads: Sequence[dict[str, Any]], path: Sequence[str], index: int | None = None,
    entry: str | None = None,
) -> bytes:  # fmt: skip
    """The file. Args as the fields are called; ``keys`` are public keys in PEM form."""
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "keys": list(keys),
        "heads": list(heads),
        "path": list(path),
    }
    if kind == "inclusion":
        body |= {"index": index, "entry": entry}
    return json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def read_proof(path: Path) -> ProofFile:
    """Read a file.

    Raises:
        ProofFileError: it cannot be read, or it is no such file.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ProofFileError(f"It cannot be read: {error.strerror}.", file=path.name) from error
    return parse_proof(data, path.name)


def parse_proof(data: bytes, name: str) -> ProofFile:
    """What the bytes of a file say.

    Raises:
        ProofFileError: they are no such file.
    """
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("it is too large")
        body = json.loads(data)
        if body["schema"] != SCHEMA or body["kind"] not in KINDS:
            raise ValueError("its schema or kind is another")
        keys = [load_key(pem) for pem in _list(body["keys"])]
        inclusion = body["kind"] == "inclusion"
        return ProofFile(
            kind=body["kind"],
            keys={fingerprint(key): key for key in keys},
            heads=tuple(_head(item) for item in _list(body["heads"])),
            path=tuple(_digest(node) for node in _list(body["path"])),
            index=_whole(body["index"]) if inclusion else None,
            entry=body["entry"].encode() if inclusion else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ProofFileError(
            f"This is no proof of a ledger ({_why(error)}).",
            remedy="Take a file that 'auscult ledger prove', 'consistency' or 'heads --export' wrote.",
            file=name,
        ) from error


def _why(error: Exception) -> str:
    return f"it lacks {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)[:120]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is expected")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number is expected")
    return value


def _digest(value: Any) -> bytes:
    if not isinstance(value, str) or len(value) != 64:
        raise ValueError("a hash of 64 hexadecimal digits is expected")
    return bytes.fromhex(value)


def load_key(pem: str | bytes) -> Ed25519PublicKey:
    """A public key in PEM form; ValueError where it is none of the kind Ed25519."""
    try:
        key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except UnsupportedAlgorithm as error:
        raise ValueError("a key is of another kind") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("a key is not an Ed25519 key")
    return key


def _head(item: Any) -> Head:
    if item["payloadType"] != HEAD_TYPE:
        raise ValueError("a head is of another type")
    try:
        document = base64.b64decode(item["payload"], validate=True)
        signature = base64.b64decode(item["signatures"][0]["sig"], validate=True)
    except binascii.Error as error:
        raise ValueError("a head is not base64") from error
    return head_of(document, signature)


def head_of(document: bytes, signature: bytes) -> Head:
    """The head that a document tells of; ValueError where it is none."""
    body = json.loads(document)
    if body["schema"] != HEAD_SCHEMA:
        raise ValueError("a head has another schema")
    return Head(
        document=document, signature=signature, key_id=str(body["key"]), size=_whole(body["size"]),
        root=_digest(body["root"]), signed_at=str(body["signed_at"]),
    )  # fmt: skip


def trusted_fingerprint(text: str) -> str:
    """The fingerprint that ``--trust`` means: itself, or that of the public key in the file it names.

    Raises:
        ProofFileError: it is neither.
    """
    if len(text) == 64 and not set(text.lower()) - set("0123456789abcdef"):
        return text.lower()
    try:
        return fingerprint(load_key(Path(text).read_bytes()))
    except (OSError, ValueError) as error:
        raise ProofFileError(
            f"--trust {text} is neither a fingerprint of 64 digits nor the file of an Ed25519 public key."
        ) from error


def check_proof(proof: ProofFile, *, trust: Sequence[str] = ()) -> ProofCheck:
    """Check signatures and hashes.

    Args:
        trust: Fingerprints of keys; when given, each head must be signed by one of them.
    """
    problems = [told for head in proof.heads for told in _head_problems(proof, head, trust)]
    shown = ""
    if not proof.heads or len(proof.heads) > 2:
        problems.append(f"The file has {len(proof.heads)} heads.")
    elif proof.kind == "inclusion":
        shown = _check_inclusion(proof, problems)
    else:
        shown = _check_consistency(proof, problems)
    named = tuple(dict.fromkeys(head.key_id for head in proof.heads))
    return ProofCheck(
        shown=shown, problems=tuple(problems), keys=named, trusted=set(named) <= set(trust) if trust else None
    )


def _head_problems(proof: ProofFile, head: Head, trust: Sequence[str]) -> list[str]:
    key = proof.keys.get(head.key_id)
    if key is None:
        return [f"The key of the head of {head.size} entries is not in the file."]
    if not signature_holds(head, key):
        return [f"The signature of the head of {head.size} entries does not match: it was changed."]
    if trust and head.key_id not in trust:
        return [f"The head of {head.size} entries is signed by a key that you do not trust: {head.key_id}."]
    return []


def _check_inclusion(proof: ProofFile, problems: list[str]) -> str:
    head, entry, index = proof.heads[-1], proof.entry or b"", proof.index or 0
    if not merkle.verify_inclusion(index, head.size, merkle.leaf_hash(entry), proof.path, head.root):
        problems.append(f"Entry {index} is not in the ledger with this head: the entry or the proof was changed.")
    return f"Entry {index} is in the ledger of {head.size} entries, signed {head.signed_at}."


def _check_consistency(proof: ProofFile, problems: list[str]) -> str:
    old, new = proof.heads[0], proof.heads[-1]
    if not merkle.verify_consistency(old.size, new.size, old.root, new.root, proof.path):
        problems.append(
            f"The ledger of {new.size} entries does not begin with that of {old.size}: between the two heads an entry "
            "was changed, or the proof was."
        )
    if len(proof.heads) == 1:
        return f"The head of {new.size} entries was signed {new.signed_at}; the file holds no earlier one."
    return (
        f"The ledger of {new.size} entries, signed {new.signed_at}, begins with the {old.size} entries that were "
        f"signed {old.signed_at}: nothing among them was changed."
    )
