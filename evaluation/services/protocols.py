"""Protocols are locked, then approved, before anything is judged by them."""

from __future__ import annotations

from django.utils import timezone

from core import ledger
from core.errors import ConflictError
from core.models import User
from core.reach import service
from evaluation.access import check_may_approve_protocol, check_may_lock_protocol
from evaluation.engine import Protocol as Rules
from evaluation.models import Protocol


@service
def lock_protocol(*, source: str, by: User) -> Protocol:
    """Check a protocol's YAML and bind it to its digest. From now on a change makes another protocol.

    Raises:
        DeniedError: ``by`` may not lock protocols.
        ProtocolError: the YAML is not a valid protocol.
        ConflictError: the same rules are locked already.
    """
    check_may_lock_protocol(by)
    rules = Rules.from_yaml(source)
    facts = {"name": rules.name, "title": rules.title, "source": source, "body": rules.to_dict(), "locked_by": by}
    protocol, new = Protocol.objects.get_or_create(digest=rules.digest, defaults=facts)
    if not new:
        raise ConflictError(
            f"These rules are locked already, as {protocol.name}.",
            remedy="Use that protocol; equal rules are one protocol.",
        )
    ledger.record(
        actor=by.username,
        act="protocol.locked",
        subject=("Protocol", protocol.pk),
        payload={"name": rules.name, "digest": rules.digest},
    )
    return protocol


@service
def approve_protocol(*, protocol: Protocol, by: User) -> Protocol:
    """Allow audits by this protocol. The approver can neither run them nor vote on what they find."""
    check_may_approve_protocol(by)
    moved = Protocol.objects.filter(pk=protocol.pk, status=Protocol.Status.LOCKED).update(
        status=Protocol.Status.APPROVED, approved_by=by, approved_at=timezone.now()
    )
    if not moved:
        raise ConflictError(f"{protocol.name} is not waiting for approval.", remedy="Reload the page to see its state.")
    protocol.refresh_from_db()
    ledger.record(
        actor=by.username,
        act="protocol.approved",
        subject=("Protocol", protocol.pk),
        payload={"digest": protocol.digest},
    )
    return protocol
