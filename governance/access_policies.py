"""Who may propose, approve and withdraw policies, and accept a gap. Nobody approves their own proposal."""

from __future__ import annotations

from collections.abc import Sequence

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import INSIDERS, Role, User
from evaluation.models import AuditRun
from governance.models import Acceptance, Policy
from governance.policies.form import AuditItem
from models_registry.models import ModelVersion

PROPOSERS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.DPO, Role.CLINICIAN_LEAD)
CHECKERS = tuple(role for role in INSIDERS if role != Role.ADMINISTRATOR)


def check_may_propose_policy(user: User) -> None:
    check_role(user, *PROPOSERS, to="propose a policy")


def check_may_approve_policy(user: User, policy: Policy) -> None:
    """A chair, and another person than the one who proposed it."""
    if same_person(user, policy.proposed_by):
        raise DeniedError(
            "You proposed this policy, so you cannot approve it.", remedy="Another committee chair has to."
        )
    check_role(user, Role.COMMITTEE_CHAIR, to="approve a policy")


def check_may_withdraw_policy(user: User, policy: Policy) -> None:
    """A chair; while it is only proposed, also the person who proposed it."""
    if policy.status == Policy.Status.PROPOSED and same_person(user, policy.proposed_by):
        return check_may_propose_policy(user)
    return check_role(user, Role.COMMITTEE_CHAIR, to="withdraw a policy")


def check_may_accept_gap(user: User, *, item: AuditItem, version: ModelVersion, run: AuditRun) -> None:
    """A person with a role that the policy names, who had no part in the version or in the audit."""
    if same_person(user, version.submitted_by):
        raise DeniedError(
            "You submitted this version, so you cannot accept what is lacking about it.",
            remedy="Somebody else has to decide.",
        )
    if same_person(user, run.requested_by):
        raise DeniedError(
            "You requested this audit, so you cannot accept what it lacks.", remedy="Somebody else has to decide."
        )
    if item.waiver is None:
        raise DeniedError(f"The policy lets nobody accept a gap in '{item.title}'.", remedy="Mend the gap.")
    check_role(user, *_roles(item.waiver.accepted_by), to=f"accept a gap in '{item.title}'")


def check_may_revoke_acceptance(user: User, acceptance: Acceptance) -> None:
    """Whoever accepted it, or a chair."""
    if not same_person(user, acceptance.accepted_by):
        check_role(user, Role.COMMITTEE_CHAIR, to="revoke what somebody else accepted")


def check_may_record_gate(user: User) -> None:
    check_role(user, *CHECKERS, to="record how a version stands against a policy")


def _roles(values: Sequence[str]) -> list[Role]:
    return [Role(value) for value in values]
