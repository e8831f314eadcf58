"""Proofs of the ledger as files to give away: made from the database, checked by :mod:`core.proof_files`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from core import ledger
from core.errors import ConflictError, NotFoundError
from core.keys import public_key_pem
from core.models import LedgerEntry, SignedHead
from core.proof_files import envelope, write_proof


def head_file(head: SignedHead) -> bytes:
    """The file of a signed head: with the head before it, and the proof that this one goes on from there."""
    before = SignedHead.objects.filter(size__lt=head.size).order_by("-size").first()
    heads = [before, head] if before else [head]
    path = ledger.prove_consistency(before.size, head.size).path if before else ()
    return write_proof(kind="head", keys=_keys(heads), heads=[_envelope(item) for item in heads], path=path)


def covering_head(index: int) -> SignedHead | None:
    """The newest signed head, if it covers this entry."""
    newest = SignedHead.objects.order_by("-size").first()
    return newest if newest and newest.size > index else None


def inclusion_file(index: int) -> bytes:
    """The file that shows that an entry is in the ledger with the newest signed head.

    Raises:
        NotFoundError: there is no such entry.
        ConflictError: no head was signed since it was written.
    """
    if not LedgerEntry.objects.filter(index=index).exists():
        raise NotFoundError(f"The ledger has no entry {index}.", remedy="Search for it in the ledger.")
    head = covering_head(index)
    if head is None:
        raise ConflictError(
            f"No head was signed since entry {index} was written, so there is nothing to prove it against.",
            remedy="Wait for the next one, or run 'auscult ledger heads --sign'.",
        )
    proof = ledger.prove_inclusion(index, head.size)
    return write_proof(
        kind="inclusion", keys=_keys([head]), heads=[_envelope(head)], path=proof.path, index=index, entry=proof.entry
    )


def consistency_file(old: int, new: int) -> bytes:
    """The file that shows that the ledger of one signed head begins with that of another.

    Raises:
        NotFoundError: there is no signed head of that many entries.
        ConflictError: the first head is the larger one.
    """
    first, second = _signed(old), _signed(new)
    if first.size > second.size:
        raise ConflictError(
            f"The head of {first.size} entries is later than that of {second.size}.", remedy="Give the older one first."
        )
    path = ledger.prove_consistency(first.size, second.size).path
    heads = [first, second]
    return write_proof(kind="consistency", keys=_keys(heads), heads=[_envelope(item) for item in heads], path=path)


def _signed(size: int) -> SignedHead:
    found = SignedHead.objects.filter(size=size).first()
    if found is None:
        raise NotFoundError(
            f"No head of {size} entries was signed.", remedy="List the signed heads with 'auscult ledger heads'."
        )
    return found


def _keys(heads: Sequence[SignedHead]) -> list[str]:
    """The public keys that the heads name, as far as they are kept."""
    named = dict.fromkeys(head.key_id for head in heads)
    return [pem for pem in map(public_key_pem, named) if pem]


def _envelope(head: SignedHead) -> dict[str, Any]:
    return envelope(head.document.encode(), base64.b64decode(head.signature), head.key_id)
