"""Reading policies, and how versions stand against them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from core.digests import sha256_json
from core.errors import ConflictError, DigestMismatchError, NotFoundError
from core.models import LedgerEntry, RoleGrant, User
from evaluation.models import Protocol
from governance.models import Acceptance, Policy
from governance.persons import approved_alone
from governance.policies.audits import same_site
from governance.policies.evaluate import CHAIRS, evaluate
from governance.policies.facts import PolicyFacts
from governance.policies.findings import GateFindings, ItemFinding, State
from governance.policies.form import IN_FORCE
from governance.policies.form import Policy as Rules
from governance.policies.pins import is_meant, split
from governance.selectors.policy_facts import gather
from models_registry.models import AISystem, ModelVersion, VersionStatus

Status = Policy.Status
HEAVY = ("manifest", "sizes", "config", "card")
"""Columns of a version that no policy asks for."""
CURRENT = (
    VersionStatus.SUBMITTED,
    VersionStatus.IN_AUDIT,
    VersionStatus.IN_REVIEW,
    VersionStatus.APPROVED,
    VersionStatus.CONDITIONAL,
    VersionStatus.DEPLOYED,
    VersionStatus.SUSPENDED,
    VersionStatus.VOID,
)
"""States of versions that somebody may still decide about or uses: the others are held against no policy."""


def rules_of(policy: Policy) -> Rules:
    """The rules of a registered policy.

    Raises:
        DigestMismatchError: they are not what was proposed and approved.
    """
    if sha256_json(policy.body) != policy.digest:
        raise DigestMismatchError(
            f"The rules of {policy} were changed after they were proposed.",
            remedy="Nothing can be decided under it. Tell an administrator; propose the policy again.",
        )
    return Rules.from_dict(policy.body, source=str(policy))


def policies() -> QuerySet[Policy]:
    return Policy.objects.select_related("proposed_by", "approved_by")


def in_force() -> list[Policy]:
    """Every policy in force, in the order of their names."""
    return list(policies().filter(status=Status.APPROVED).order_by("name"))


def policies_for(system: AISystem) -> list[Policy]:
    """The policies in force that apply to a system: those that name it first, then those that apply to all."""
    return applying(in_force(), system.slug)


def applying(candidates: Iterable[Policy], slug: str) -> list[Policy]:
    """Those of some policies that apply to the system with this slug, those that name it first."""
    found = [(policy, rules_of(policy)) for policy in candidates]
    named = [policy for policy, rules in found if not rules.for_all and rules.applies(slug)]
    return [*named, *(policy for policy, rules in found if rules.for_all)]


def policy_for(system: AISystem) -> Policy | None:
    """The one policy that a review of the system is held under: one that names it, else one that applies to all.

    Raises:
        ConflictError: two apply equally.
    """
    found = policies_for(system)
    named = [policy for policy in found if not rules_of(policy).for_all]
    first = named or found
    if len(first) > 1:
        raise ConflictError(
            f"Two policies apply equally to {system.name}: {first[0].name} and {first[1].name}.",
            remedy="The committee chair withdraws one of them.",
        )
    return first[0] if first else None


def gate(
    version: ModelVersion,
    policy: Policy,
    *,
    for_review: bool = False,
    now: datetime | None = None,
    site: str = "",
) -> GateFindings:
    """How a version stands against a policy.

    A policy that is not in force lets nothing pass: the findings say so in an item of their own.

    Args:
        for_review: Leave out what can only be there after the review: the approval, and evidence from use.
        now: Default: this moment.
        site: A site where it is to be deployed: where the policy asks for evidence at each site, at this one too.
    """
    facts = _with_site(gather([version], [rules_of(policy)])[version.pk], site)
    return _findings(policy, facts, now=now or timezone.now(), for_review=for_review)


def _with_site(facts: PolicyFacts, site: str) -> PolicyFacts:
    if not site or any(same_site(site, other) for other in facts.sites):
        return facts
    return replace(facts, sites=(*facts.sites, site))


def gates(
    versions: Sequence[ModelVersion],
    candidates: Sequence[Policy],
    *,
    now: datetime | None = None,
    asked_alone: bool = False,
    site: str = "",
) -> dict[tuple[int, int], GateFindings]:
    """The findings of each version under each policy that applies to it, by their keys: (version, policy).

    ``asked_alone``: without what audits by other protocols are said to lack (``governance.selectors.policy_facts``).
    ``site``: as for :func:`gate`.
    """
    if not candidates:
        return {}
    moment = now or timezone.now()
    rows = gather(versions, [rules_of(policy) for policy in candidates], asked_alone=asked_alone)
    facts = {pk: _with_site(row, site) for pk, row in rows.items()}
    return {
        (version.pk, policy.pk): _findings(policy, facts[version.pk], now=moment)
        for version in versions
        for policy in applying(candidates, facts[version.pk].system)
    }


def _findings(policy: Policy, facts: PolicyFacts, *, now: datetime, for_review: bool = False) -> GateFindings:
    found = evaluate(
        rules_of(policy), facts, now=now, number=policy.number, policy_digest=policy.digest, for_review=for_review
    )
    if policy.status == Status.APPROVED and not approved_alone(policy):
        return found
    if policy.status == Status.APPROVED:
        return replace(found, items=(_alone(policy), *found.items))
    proposed = policy.status == Status.PROPOSED
    standing = ItemFinding(
        item=IN_FORCE,
        kind=IN_FORCE,
        title="The policy is in force",
        state=State.MISSING if proposed else State.STALE,
        statement=f"{policy} is not in force: {policy.get_status_display().lower()}.",
        remedy="The committee chair approves it." if proposed else "Use the number that is in force.",
        who=CHAIRS,
    )
    return replace(found, items=(standing, *found.items))


def _alone(policy: Policy) -> ItemFinding:
    """What stands instead of a policy in force that one person proposed and approved, by two accounts."""
    return ItemFinding(
        item=IN_FORCE,
        kind=IN_FORCE,
        title="The policy is in force",
        state=State.MISSING,
        statement=f"{policy} was proposed and approved by one person, {policy.proposed_by}, by two accounts.",
        remedy="The committee chair withdraws it; somebody proposes it again, and another person approves it.",
        who=CHAIRS,
    )


def policy_by_id(pk: int) -> Policy:
    policy = policies().filter(pk=pk).first()
    if policy is None:
        raise NotFoundError("There is no such policy.", remedy="Begin at the list of policies.")
    return policy


def policy_called(name: str, *, number: int | None = None) -> Policy:
    """The policy of this name that is in force; with ``number`` that one, whatever its state.

    Raises:
        NotFoundError: there is none.
    """
    named = policies().filter(name=name)
    policy = (named.filter(number=number) if number else named.filter(status=Status.APPROVED)).first()
    if policy is not None:
        return policy
    newest = named.first()
    if newest is None:
        known = ", ".join(policy.name for policy in in_force()) or "none"
        raise NotFoundError(f"There is no policy called '{name}'.", remedy=f"In force are: {known}.")
    if number:
        raise NotFoundError(f"{name} has no number {number}.", remedy=f"Its newest number is {newest.number}.")
    raise NotFoundError(
        f"No number of {name} is in force: number {newest.number} is {newest.get_status_display().lower()}.",
        remedy="The committee chair approves one, or choose another policy.",
    )


def newest_called(name: str) -> Policy:
    """The policy of this name that is in force, or its newest number where none is."""
    named = policies().filter(name=name)
    policy = named.filter(status=Status.APPROVED).first() or named.first()
    if policy is None:
        raise NotFoundError("There is no such policy.", remedy="Begin at the list of policies.")
    return policy


def before(policy: Policy) -> Policy | None:
    """The number that a policy changes: the one in force, or else the one before it."""
    earlier = policies().filter(name=policy.name, number__lt=policy.number)
    return earlier.filter(status=Status.APPROVED).first() or earlier.first()


def versions_under(policy: Policy) -> QuerySet[ModelVersion]:
    """Versions that somebody may decide about or uses, of the systems it applies to; newest first."""
    rules = rules_of(policy)
    rows = ModelVersion.objects.filter(status__in=CURRENT).select_related("system").defer(*HEAVY)
    rows = rows if rules.for_all else rows.filter(system__slug__in=rules.applies_to)
    return rows.order_by("-submitted_at", "-pk")


def _about_protocols(asked: set[str]) -> list[str]:
    """Of each protocol that a policy names: that there is none, or that its name stands for several."""
    approved = Protocol.objects.filter(name__in={split(name)[0] for name in asked}, status=Protocol.Status.APPROVED)
    known, told = list(approved.values_list("name", "digest")), []
    for wanted in sorted(asked):
        meant = sorted(digest for name, digest in known if is_meant(wanted, name=name, digest=digest))
        if not meant:
            told.append(f"The protocol {wanted} is not locked and approved here: no audit can be by it until it is.")
        elif len(meant) > 1:
            told.append(
                f"{len(meant)} approved protocols are called {wanted}, and an audit by any of them counts. Name one of "
                f"them alone: {' or '.join(f'{split(wanted)[0]}@{digest[:12]}' for digest in meant)}."
            )
    return told


def warnings_of(rules: Rules) -> list[str]:
    """What is odd about rules that are valid: they name what this installation does not have."""
    told = _about_protocols({asked for item in rules.audits for asked in item.protocols})
    slugs = set(AISystem.objects.filter(slug__in=rules.applies_to).values_list("slug", flat=True))
    return told + [
        f"There is no system with the short name {slug}: the policy applies to nothing by that name."
        for slug in rules.applies_to
        if slug not in slugs
    ]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One act on a policy, as the ledger has it."""

    entry: LedgerEntry
    act: str
    reason: str


def history_of(policy: Policy) -> list[Event]:
    """What was done with one number of a policy, oldest first."""
    rows = LedgerEntry.objects.filter(subject_kind="Policy", subject_id=str(policy.pk)).order_by("index")
    return [
        Event(
            entry=row,
            act=row.act.partition(".")[2].replace("_", " "),
            reason=json.loads(row.body)["payload"].get("reason", ""),
        )
        for row in rows
    ]


def acceptances_of(version: ModelVersion, policy: Policy) -> list[Acceptance]:
    """Every gap of the version that was accepted under any number of the policy, newest first."""
    rows = Acceptance.objects.filter(version=version, policy__name=policy.name)
    return list(rows.select_related("policy", "accepted_by", "revoked_by", "run"))


def acceptance_by_id(pk: int) -> Acceptance:
    rows = Acceptance.objects.select_related("policy", "accepted_by", "version__system", "run")
    acceptance = rows.filter(pk=pk).first()
    if acceptance is None:
        raise NotFoundError("There is no such acceptance.", remedy="Begin at the list of policies.")
    return acceptance


def people_by_role(roles: Iterable[str]) -> dict[str, list[User]]:
    """Who holds each of some roles: open accounts, one for each person."""
    grants = RoleGrant.objects.filter(role__in=set(roles), user__is_active=True, user__merged_into=None)
    found: dict[str, list[User]] = {role: [] for role in roles}
    for grant in grants.select_related("user").order_by("user__username"):
        found[grant.role].append(grant.user)
    return found
