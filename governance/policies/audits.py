"""How a version stands against one audit that a policy asks for. Pure.

Of each protocol on each cohort the newest finished audit decides, so that nobody picks the better of two. A failure on
any of them fails the item: it is not outweighed by a pass on another cohort.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.models import Role
from evaluation.models import Outcome
from governance.policies.facts import AcceptanceFact, PolicyFacts, RunFact
from governance.policies.findings import GOOD, ItemFinding, State
from governance.policies.form import AuditItem
from governance.policies.pins import is_meant
from governance.policies.words import day, listed, moment
from models_registry.models import CohortRole

AUDITORS = (Role.AUDITOR.value,)
MAKERS = (Role.ML_ENGINEER.value,)
UNSEEN = frozenset({CohortRole.INTERNAL_TEST, CohortRole.EXTERNAL_TEST, CohortRole.LOCAL, CohortRole.POST_DEPLOYMENT})
"""Roles of cohorts on which a version is tested: never one that it was trained on."""
WORST_FIRST = (State.FAILED, State.MISSING, State.INSUFFICIENT, State.STALE, State.ACCEPTED, State.MET)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The deciding audit of one protocol on one cohort, and what it amounts to now."""

    run: RunFact
    state: State
    until: datetime | None
    acceptance: AcceptanceFact | None = None


def judge_audit(item: AuditItem, facts: PolicyFacts, *, policy_digest: str, now: datetime) -> ItemFinding | None:
    """The finding; None where the item asks about use and the version was never used."""
    if item.after_deployment and facts.first_used is None:
        return None
    if not item.each_site or not facts.sites:
        return _over(item, facts, facts.runs, policy_digest=policy_digest, now=now)
    found = []
    for site in facts.sites:
        runs = [run for run in facts.runs if same_site(run.site, site)]
        finding = _over(item, facts, runs, policy_digest=policy_digest, now=now)
        found.append(replace(finding, statement=f"{site}: {finding.statement}"))
    return _together(found)


def same_site(one: str, other: str) -> bool:
    """Whether two names are of one site, as people write them."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _together(found: Sequence[ItemFinding]) -> ItemFinding:
    """One finding for all sites: the worst of them decides, and every one is told."""
    worst = min(found, key=lambda finding: WORST_FIRST.index(finding.state))
    ends = [finding.expires_at for finding in found if finding.expires_at and finding.state in GOOD]
    ends = ends if worst.state in GOOD else [worst.expires_at] if worst.expires_at else []
    return replace(
        worst,
        statement=" ".join(finding.statement for finding in found),
        expires_at=min(ends, default=None),
    )


def _over(
    item: AuditItem, facts: PolicyFacts, runs: Sequence[RunFact], *, policy_digest: str, now: datetime
) -> ItemFinding:
    counted = [run for run in runs if not why_not(run, item, facts)]
    # By the digest: another protocol of the same name is another one, and a pass by it outweighs no failure.
    newest: dict[tuple[str, str, int], RunFact] = {}
    for run in sorted(counted, key=lambda run: (run.finished_at, run.pk)):
        newest[run.protocol, run.protocol_digest, run.cohort] = run
    standings = [_standing(run, item, facts, policy_digest=policy_digest, now=now) for run in newest.values()]
    if not standings:
        return _missing(item, facts, runs, now=now)
    for state in (State.FAILED, State.MET, State.ACCEPTED, State.INSUFFICIENT, State.STALE):
        if these := [standing for standing in standings if standing.state == state]:
            best = max(these, key=lambda standing: (standing.until or now, standing.run.finished_at, standing.run.pk))
            return _told(item, best)
    raise AssertionError("a standing has one of the five states")


def _standing(run: RunFact, item: AuditItem, facts: PolicyFacts, *, policy_digest: str, now: datetime) -> Standing:
    until = run.finished_at + timedelta(days=item.max_age_days)
    if run.outcome == Outcome.FAIL:
        return Standing(run=run, state=State.FAILED, until=None)
    if now > until:
        return Standing(run=run, state=State.STALE, until=until)
    if run.outcome == Outcome.PASS:
        return Standing(run=run, state=State.MET, until=until)
    acceptance = _acceptance(run, item, facts, policy_digest=policy_digest, now=now)
    if acceptance is None:
        return Standing(run=run, state=State.INSUFFICIENT, until=until)
    return Standing(run=run, state=State.ACCEPTED, until=min(until, acceptance.expires_at), acceptance=acceptance)


def _acceptance(
    run: RunFact, item: AuditItem, facts: PolicyFacts, *, policy_digest: str, now: datetime
) -> AcceptanceFact | None:
    """The acceptance that stands longest; only of this policy, item, version and evidence, by a person apart."""
    if item.waiver is None:
        return None
    standing = [
        row
        for row in facts.acceptances
        if (row.policy_digest, row.item) == (policy_digest, item.id)
        and (row.version_digest, row.evidence_digest) == (facts.digest, run.evidence_digest)
        and not row.revoked
        and row.accepted_at <= now < row.expires_at
        and row.person not in (facts.submitter, run.runner)
    ]
    return max(standing, key=lambda row: (row.expires_at, row.pk), default=None)


def why_not(run: RunFact, item: AuditItem, facts: PolicyFacts) -> str:
    """Why an audit does not count for an item, in words that follow ``Audit 7``; empty where it counts."""
    if run.contradicted:
        return f"is not what the ledger says: {run.contradicted}"
    if run.about != facts.digest:
        return "is of other weights"
    if facts.void_at is not None and run.requested_at <= facts.void_at:
        return f"was requested before the approval became void on {day(facts.void_at)}"
    if not any(is_meant(asked, name=run.protocol, digest=run.protocol_digest) for asked in item.protocols):
        return f"is by the protocol {_protocol(run)}"
    if not run.approved:
        return f"is by {run.protocol}, which is not approved"
    if run.role not in item.cohort_roles:
        role = CohortRole(run.role).label.lower() if run.role else "no role yet"
        return f"is on {run.cohort_name}, whose role is {role}" if run.role else f"is on {run.cohort_name}, with {role}"
    if run.role in UNSEEN and (how := dict(facts.seen).get(run.cohort)):
        return f"is on {run.cohort_name}, which does not count: {how}"
    if run.simulated and not item.simulated_allowed:
        return f"is on simulated patients ({run.cohort_name})"
    if run.patients < item.min_patients:
        return f"judged {run.patients:,} patients, {item.min_patients - run.patients:,} too few"
    return ""


def _protocol(run: RunFact) -> str:
    """Name and the beginning of the digest, as the list of protocols shows it."""
    return f"{run.protocol} ({run.protocol_digest[:8]})" if run.protocol_digest else run.protocol


def asked_for(item: AuditItem) -> str:
    """What the item asks for, as a phrase: ``an audit by A or B on a cohort with the role external test, ...``."""
    roles = listed([CohortRole(role).label.lower() for role in item.cohort_roles], "or")
    kind = "" if item.simulated_allowed else ", of real patients"
    least = f", with at least {item.min_patients:,} patients" if item.min_patients > 1 else ""
    return f"an audit by {listed(item.protocols, 'or')} on a cohort with the role {roles}{kind}{least}"


def _missing(item: AuditItem, facts: PolicyFacts, runs: Iterable[RunFact], *, now: datetime) -> ItemFinding:
    if item.after_deployment and facts.first_used is not None:
        due = facts.first_used + timedelta(days=item.max_age_days)
        if now <= due:
            return _finding(
                item,
                State.MET,
                f"Not due yet: the version has been in use since {day(facts.first_used)}; the first evidence is due by "
                f"{moment(due)}.",
                expires_at=due,
            )
    near = sorted(runs, key=lambda run: (run.finished_at, run.pk), reverse=True)
    told = [f"Audit {run.pk} {why_not(run, item, facts)}." for run in near[:3]]
    if len(near) > 3:
        told.append(f"{len(near) - 3} more do not count either.")
    statement = " ".join([f"There is no {asked_for(item).removeprefix('an ')}.", *told])
    return _finding(
        item,
        State.MISSING,
        statement,
        remedy="Request such an audit.",
        who=AUDITORS,
    )


def _told(item: AuditItem, standing: Standing) -> ItemFinding:
    run, until = standing.run, standing.until
    what = (
        f"Audit {run.pk} by {_protocol(run)} on {run.cohort_name} ({run.patients:,} patients) ended on "
        f"{day(run.finished_at)}"
    )
    last = moment(until) if until else ""
    if standing.state == State.FAILED:
        statement, remedy = f"{what}: it fails.", "Submit a version that passes; a failure does not grow old."
        return _finding(item, State.FAILED, statement, run=run, remedy=remedy, who=MAKERS)
    if standing.state == State.MET:
        return _finding(item, State.MET, f"{what}: it passes. It counts until {last}.", run=run, expires_at=until)
    if standing.state == State.STALE:
        statement = f"{what}, and counted until {last}. It is older than {item.max_age_days} days now."
        remedy = "Request the audit again."
        return _finding(item, State.STALE, statement, run=run, remedy=remedy, who=AUDITORS, expires_at=until)
    if standing.state == State.ACCEPTED:
        assert standing.acceptance is not None  # a standing that is accepted has one
        statement = f"{what}: not enough evidence. {standing.acceptance.name} accepts that until {last}."
        return _finding(item, State.ACCEPTED, statement, run=run, expires_at=until)
    return _insufficient(item, run, f"{what}: not enough evidence.")


def _insufficient(item: AuditItem, run: RunFact, statement: str) -> ItemFinding:
    remedy = "Audit it on more patients: the audit says how many are needed."
    if item.waiver is None:
        return _finding(item, State.INSUFFICIENT, statement, run=run, remedy=remedy, who=AUDITORS)
    roles = listed([Role(role).label.lower() for role in item.waiver.accepted_by], "or")
    remedy += f" Or a {roles} accepts the gap, for {item.waiver.at_most_days} days at most."
    who = tuple(dict.fromkeys((*AUDITORS, *item.waiver.accepted_by)))
    return _finding(item, State.INSUFFICIENT, statement, run=run, remedy=remedy, who=who, acceptable=True)


def _finding(
    item: AuditItem,
    state: State,
    statement: str,
    *,
    run: RunFact | None = None,
    remedy: str = "",
    who: tuple[str, ...] = (),
    expires_at: datetime | None = None,
    acceptable: bool = False,
) -> ItemFinding:
    return ItemFinding(
        item=item.id,
        kind="audit",
        title=item.title,
        state=state,
        statement=statement,
        remedy=remedy,
        who=who,
        run=run.pk if run else None,
        evidence_digest=run.evidence_digest if run else "",
        evidence_at=run.finished_at if run else None,
        expires_at=expires_at,
        acceptable=acceptable,
    )
