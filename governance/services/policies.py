"""Policies: proposed by one person, approved by another, never changed; and gaps that somebody accepts until a day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone

from core import ledger
from core.access import people_with, same_person
from core.digests import sha256_json, sha256_text
from core.errors import RELOAD, ConflictError
from core.models import Role, Topic, User
from core.notifications import Urgency, notify, resolve
from core.plain_text import written
from core.reach import service
from core.stepup import StepUp, check_stepped_up
from evaluation.models import AuditRun
from governance.access_policies import (
    check_may_accept_gap,
    check_may_approve_policy,
    check_may_propose_policy,
    check_may_record_gate,
    check_may_revoke_acceptance,
    check_may_withdraw_policy,
)
from governance.models import Acceptance, Policy
from governance.policies.findings import GateFindings, State
from governance.policies.form import AuditItem
from governance.policies.form import Policy as Rules
from governance.selectors.policies import gate, rules_of
from models_registry.models import ModelVersion

_S = Policy.Status
TRANSITIONS: dict[str, frozenset[str]] = {
    _S.PROPOSED: frozenset({_S.APPROVED, _S.WITHDRAWN}),
    _S.APPROVED: frozenset({_S.SUPERSEDED, _S.WITHDRAWN}),
    _S.SUPERSEDED: frozenset(),
    _S.WITHDRAWN: frozenset(),
}
MOST_REASON = 500


@service
def propose_policy(*, source: str, by: User) -> Policy:
    """Check a policy's YAML and bind it to its digest, as the next number of its name. Somebody else approves it.

    Raises:
        DeniedError: ``by`` may not propose policies.
        PolicyError: the YAML is not a valid policy.
        ConflictError: the same rules were proposed before.
    """
    check_may_propose_policy(by)
    rules = Rules.from_yaml(source)
    known = Policy.objects.filter(digest=rules.digest).first()
    if known is not None:
        raise ConflictError(
            f"These rules are known already, as {known}: {known.get_status_display().lower()}.",
            remedy="Equal rules are one policy. To return to former rules, give them a title that says so.",
        )
    last = Policy.objects.filter(name=rules.name).aggregate(last=Max("number"))["last"] or 0
    facts = {"title": rules.title, "digest": rules.digest, "source": source, "body": rules.to_dict()}
    try:
        with transaction.atomic():
            policy = Policy.objects.create(name=rules.name, number=last + 1, proposed_by=by, **facts)
    except IntegrityError as error:
        raise ConflictError(f"{rules.name} was proposed by somebody else at this moment.", remedy=RELOAD) from error
    _record(policy, "policy.proposed", by)
    chairs = [person for person in people_with(Role.COMMITTEE_CHAIR) if not same_person(person, by)]
    _tell(policy, chairs, title=f"Approve the policy {policy}?", key="proposed", urgency=Urgency.ACTION)
    return policy


@service
def approve_policy(*, policy: Policy, by: User, signed: StepUp) -> Policy:
    """Put a policy into force. The number of its name that was in force is superseded.

    Raises:
        DeniedError: ``by`` is no chair, proposed it, or did not prove who they are.
        ConflictError: it is not waiting, a later number is in force, or another policy applies to the same systems.
    """
    # All that stand, in one order: of two approvals at once the second sees what the first put into force.
    standing = list(
        Policy.objects.select_for_update(no_key=True).filter(status__in=[_S.PROPOSED, _S.APPROVED]).order_by("pk")
    )
    policy = Policy.objects.select_related("proposed_by").get(pk=policy.pk)
    check_may_approve_policy(by, policy)
    check_stepped_up(signed, by)
    rules, now = rules_of(policy), timezone.now()
    in_force = [row for row in standing if row.status == _S.APPROVED]
    if policy.status == _S.PROPOSED:  # else the move below says what it is
        _check_alone(policy, rules, in_force)
    for earlier in in_force:
        if earlier.name == policy.name:
            _move(earlier, _S.SUPERSEDED, ended_at=now)
            _record(earlier, "policy.superseded", by, superseded_by=policy.number)
    _move(policy, _S.APPROVED, approved_by=by, approved_at=now)
    _record(policy, "policy.approved", by, **signed.in_ledger())
    people = [policy.proposed_by, *people_with(Role.COMMITTEE_CHAIR, Role.AUDITOR, Role.ML_ENGINEER)]
    _tell(policy, people, title=f"The policy {policy} is in force", key="approved")
    return policy


def _check_alone(policy: Policy, rules: Rules, in_force: list[Policy]) -> None:
    """Raise where a later number is in force, or another policy names the same systems, or is for all as well."""
    for other in in_force:
        if other.name == policy.name:
            if other.number > policy.number:
                raise ConflictError(
                    f"{other} is in force; an earlier number does not replace it.",
                    remedy="Propose the rules as a new number.",
                )
            continue
        theirs = rules_of(other)
        both = sorted(set(rules.applies_to) & set(theirs.applies_to))
        if both or (rules.for_all and theirs.for_all):
            where = f"name {', '.join(both)}" if both else "apply to all systems"
            raise ConflictError(
                f"{policy} and {other.name}, which is in force, both {where}.",
                remedy=f"Withdraw {other.name} first, or propose a policy for other systems.",
            )


@service
def withdraw_policy(*, policy: Policy, by: User, reason: str) -> Policy:
    """End a policy that is proposed or in force; nothing takes its place.

    Args:
        reason: In words, at most 500 characters; the ledger keeps it.

    Raises:
        DeniedError: ``by`` is neither a chair, nor the person who proposed what is still waiting.
        ConflictError: it has ended already.
        AuscultError: the reason is empty or too long.
    """
    policy = Policy.objects.select_related("proposed_by").get(pk=policy.pk)
    check_may_withdraw_policy(by, policy)
    reason = written(reason, name="The reason", most=MOST_REASON)
    was = policy.get_status_display().lower()
    _move(policy, _S.WITHDRAWN, ended_at=timezone.now())
    _record(policy, "policy.withdrawn", by, reason=reason)
    people = [policy.proposed_by, *people_with(Role.COMMITTEE_CHAIR, Role.AUDITOR)]
    _tell(policy, people, title=f"The policy {policy} ({was}) was withdrawn", key="withdrawn", text=reason)
    return policy


@service
def accept_insufficiency(
    *, version: ModelVersion, policy: Policy, item: str, reason: str, expires_at: datetime, by: User, signed: StepUp
) -> Acceptance:
    """Accept, until a day, that an audit had too little evidence. Counts for this version and evidence alone.

    Raises:
        DeniedError: the policy does not name a role of theirs, they submitted the version or requested the audit, or
            did not prove who they are.
        ConflictError: the policy is not in force, the item is not short of evidence now, or the day is past or too
            late.
        AuscultError: the reason is empty or too long.
    """
    version = (
        ModelVersion.objects.select_for_update(of=("self",), no_key=True).select_related("system").get(pk=version.pk)
    )
    policy = Policy.objects.get(pk=policy.pk)
    if policy.status != _S.APPROVED:
        raise ConflictError(f"{policy} is not in force.", remedy="Accept gaps under the policy that is.")
    asked = rules_of(policy).audit(item)
    if asked is None or not rules_of(policy).applies(version.system.slug):
        raise ConflictError(f"{policy} asks {version} for no audit called '{item}'.", remedy=RELOAD)
    now = timezone.now()
    found = next((row for row in gate(version, policy, now=now).items if row.item == item), None)
    if found is None or found.state != State.INSUFFICIENT or not found.acceptable or found.run is None:
        state = f"it is {found.state}" if found else "it is not asked for yet"
        raise ConflictError(f"'{asked.title}' is not short of evidence that could be accepted: {state}.", remedy=RELOAD)
    run = AuditRun.objects.select_related("requested_by").get(pk=found.run)
    check_may_accept_gap(by, item=asked, version=version, run=run)
    check_stepped_up(signed, by)
    reason = written(reason, name="The reason")
    _check_end(asked, expires_at, now=now)
    acceptance = _insert_acceptance(
        policy=policy, item=item, version=version, run=run, reason=reason, accepted_by=by, accepted_at=now,
        expires_at=expires_at, signed_at=signed.at, signed_with=signed.method,
    )  # fmt: skip
    _record_acceptance(acceptance, "acceptance.given", by, expires_at=expires_at.isoformat(), **signed.in_ledger())
    _tell_acceptance(acceptance, title=f"{by} accepts a gap of {version}: {asked.title}", key="given")
    return acceptance


def latest_end(item: AuditItem, *, now: datetime) -> datetime:
    """The last moment until which a gap in this item may be accepted."""
    return now + timedelta(days=item.waiver.at_most_days if item.waiver else 0)


def _check_end(item: AuditItem, expires_at: datetime, *, now: datetime) -> None:
    if timezone.is_naive(expires_at) or not now < expires_at <= latest_end(item, now=now):
        days = item.waiver.at_most_days if item.waiver else 0
        raise ConflictError(
            f"A gap is accepted until a day that is to come, and at most {days} days away.",
            remedy="Choose an earlier or a later last day.",
        )


def _insert_acceptance(*, version: ModelVersion, run: AuditRun, **facts: Any) -> Acceptance:
    try:
        with transaction.atomic():
            return Acceptance.objects.create(
                version=version,
                run=run,
                version_digest=version.digest,
                evidence_digest=run.evidence_digest,
                submitter=version.submitted_by,
                runner=run.requested_by,
                **facts,
            )
    except DatabaseError as error:  # a constraint, or a trigger, which not every database calls an IntegrityError
        raise ConflictError("The database refuses this acceptance.", remedy=RELOAD) from error


@service
def revoke_acceptance(*, acceptance: Acceptance, reason: str, by: User) -> Acceptance:
    """End an acceptance before its day. It cannot be given back; a new one may be.

    Raises:
        DeniedError: ``by`` neither accepted it nor is a chair.
        ConflictError: it was revoked, or has ended.
        AuscultError: the reason is empty or too long.
    """
    check_may_revoke_acceptance(by, acceptance)
    reason, now = written(reason, name="The reason"), timezone.now()
    standing = Acceptance.objects.filter(pk=acceptance.pk, revoked_at=None, expires_at__gt=now)
    if not standing.update(revoked_at=now, revoked_by=by, revocation=reason):
        raise ConflictError("This acceptance does not stand any more.", remedy=RELOAD)
    rows = Acceptance.objects.select_related("policy", "accepted_by", "version__system")
    acceptance = rows.get(pk=acceptance.pk)
    _record_acceptance(acceptance, "acceptance.revoked", by, revocation_sha256=sha256_text(reason))
    title = f"A gap of {acceptance.version} is not accepted any more: {acceptance.item}"
    resolve(f"acceptance:{acceptance.pk}")
    _tell_acceptance(acceptance, title=title, key="revoked", text=reason, urgency=Urgency.URGENT)
    return acceptance


@service
def record_gate(*, findings: GateFindings, version: ModelVersion, by: User) -> None:
    """Enter in the ledger how a version stood against a policy when a pipeline asked.

    Raises:
        DeniedError: ``by`` may not.
    """
    check_may_record_gate(by)
    ledger.record(
        actor=by.username,
        act="gate.checked",
        subject=("ModelVersion", version.pk),
        payload={
            "policy": findings.policy,
            "number": findings.number,
            "policy_digest": findings.policy_digest,
            "version": findings.version_digest,
            "outcome": str(findings.outcome),
            "states": {item.item: str(item.state) for item in findings.items},
            "findings": sha256_json(findings.to_dict()),
        },
    )


def _move(policy: Policy, to: Policy.Status, **changes: Any) -> None:
    """Move a policy by a conditional UPDATE from a state that allows it."""
    old = [status for status, following in TRANSITIONS.items() if to in following]
    try:
        with transaction.atomic():
            moved = Policy.objects.filter(pk=policy.pk, status__in=old).update(status=to, **changes)
    except DatabaseError as error:
        raise ConflictError(f"The database refuses to move {policy}.", remedy=RELOAD) from error
    policy.refresh_from_db()
    if not moved:
        raise ConflictError(f"{policy} cannot become {to.label.lower()}: it is {policy.get_status_display().lower()}.",
                            remedy=RELOAD)  # fmt: skip
    resolve(f"policy:{policy.pk}")
    if to != _S.APPROVED:
        resolve(f"evidence:{policy.pk}")


def _record(policy: Policy, act: str, by: User, **facts: Any) -> None:
    about = {"name": policy.name, "number": policy.number, "digest": policy.digest}
    ledger.record(actor=by.username, act=act, subject=("Policy", policy.pk), payload=about | facts)


def _record_acceptance(acceptance: Acceptance, act: str, by: User, **facts: Any) -> None:
    about = {
        "policy": acceptance.policy.digest,
        "item": acceptance.item,
        "run": acceptance.run_id,
        "version": acceptance.version_digest,
        "evidence": acceptance.evidence_digest,
        "reason_sha256": sha256_text(acceptance.reason),
    }
    ledger.record(actor=by.username, act=act, subject=("Acceptance", acceptance.pk), payload=about | facts)


def _tell(
    policy: Policy, people: list[User], *, title: str, key: str, text: str = "", urgency: Urgency = Urgency.INFO
) -> None:
    href = reverse("policy", args=[policy.pk])
    notify(
        to=people, topic=Topic.POLICIES, title=title, key=f"policy:{policy.pk}:{key}", text=text, href=href,
        urgency=urgency,
    )  # fmt: skip


def _tell_acceptance(
    acceptance: Acceptance, *, title: str, key: str, text: str = "", urgency: Urgency = Urgency.INFO
) -> None:
    version = acceptance.version
    href = reverse("version-policy", args=[version.system.slug, version.pk, acceptance.policy.name])
    people = [acceptance.accepted_by, *people_with(Role.COMMITTEE_CHAIR, Role.AUDITOR, Role.CLINICIAN_LEAD)]
    notify(
        to=people, topic=Topic.POLICIES, title=title, key=f"acceptance:{acceptance.pk}:{key}", text=text, href=href,
        urgency=urgency,
    )  # fmt: skip
