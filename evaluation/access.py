"""Who may set rules, and who may run audits. The person who judges by a rule did not make the thing judged."""

from __future__ import annotations

from core.access import check_role, people_with, same_person
from core.errors import DeniedError
from core.models import Role, User
from evaluation.models import AuditRun, Protocol
from models_registry.models import ModelVersion


def check_may_lock_protocol(user: User) -> None:
    check_role(user, Role.AUDITOR, Role.COMMITTEE_CHAIR, to="lock a protocol")


def check_may_approve_protocol(user: User) -> None:
    check_role(user, Role.COMMITTEE_CHAIR, to="approve a protocol")


def check_may_audit(user: User) -> None:
    check_role(user, Role.AUDITOR, to="request an audit")


def check_may_request_audit(user: User, *, version: ModelVersion, protocol: Protocol) -> None:
    """Submitter, requester and approver of the protocol are three persons, and the protocol is approved."""
    check_may_audit(user)
    if same_person(version.submitted_by, user):
        raise DeniedError(
            "You submitted this version, so you cannot audit it.",
            remedy="Ask another auditor to request the audit.",
        )
    if protocol.status != Protocol.Status.APPROVED:
        raise DeniedError(
            f"The protocol {protocol.name} is not approved.",
            remedy="Ask a committee chair to approve it first.",
        )
    if same_person(protocol.approved_by, user):
        raise DeniedError(
            "You approved this protocol, so you cannot run an audit by it.",
            remedy="Ask another auditor to request the audit.",
        )
    if same_person(protocol.approved_by, version.submitted_by):
        raise DeniedError(
            "Whoever submitted this version also approved the protocol that would judge it.",
            remedy="Use a protocol that somebody else approved.",
        )


def check_may_steer_run(user: User, run: AuditRun) -> None:
    """Cancel or resume: the same person or another auditor, under the same separation of duties."""
    check_may_request_audit(user, version=run.version, protocol=run.protocol)


def check_may_read_patients(user: User) -> None:
    """Open what belongs to single patients: a role of its own, given by an administrator. Every opening is recorded."""
    try:
        check_role(user, Role.PATIENT_READER, to="open single studies: their texts, images and values")
    except DeniedError as denial:
        if not user.is_active:
            raise
        givers = ", ".join(str(person) for person in people_with(Role.ADMINISTRATOR)) or "nobody has that role yet"
        raise DeniedError(
            denial.message,
            remedy=f"An administrator may grant it to you ({givers}). What you then open is entered in the ledger.",
        ) from denial
