"""The gate: how a version stands against a policy. A pure function of policy, facts and moment.

So a page, a vote, a pipeline and a deployment that ask at one moment get one answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from core.models import Role
from governance.policies.audits import judge_audit
from governance.policies.facts import PolicyFacts
from governance.policies.findings import GateFindings, ItemFinding, State
from governance.policies.form import APPROVAL, INCIDENTS, OVERSIGHT, RISKS, DocumentItem, Policy
from governance.policies.monitoring import judge_monitoring
from governance.policies.words import day, listed, moment

LIMBS = (("d", "decide not to use the output or overrule it"), ("e", "stop the system"))
"""Limbs of Art. 14(4) of the AI Act of which at least one measure has to be verified."""
CHAIRS = (Role.COMMITTEE_CHAIR.value,)
RISK_PEOPLE = (Role.COMMITTEE_CHAIR.value, Role.CLINICIAN_LEAD.value)
ISSUERS = (Role.COMMITTEE_CHAIR.value, Role.AUDITOR.value)


def evaluate(
    policy: Policy,
    facts: PolicyFacts,
    *,
    now: datetime,
    number: int = 0,
    policy_digest: str = "",
    for_review: bool = False,
) -> GateFindings:
    """How the version stands against each item, and in all.

    Args:
        number, policy_digest: Of the registered policy; default: a policy that is not registered.
        for_review: Leave out what can only be there after the review: the approval, and evidence from use.
    """
    digest = policy_digest or policy.digest
    return GateFindings(
        policy=policy.name,
        number=number,
        policy_digest=digest,
        system=facts.system,
        version=facts.version,
        version_digest=facts.digest,
        as_of=now,
        items=tuple(_items(policy, facts, digest=digest, now=now, for_review=for_review)),
    )


def _items(
    policy: Policy, facts: PolicyFacts, *, digest: str, now: datetime, for_review: bool
) -> Iterator[ItemFinding]:
    if policy.approval and not for_review:
        yield _approval(facts)
    for audit in policy.audits:
        if for_review and audit.after_deployment:
            continue
        finding = judge_audit(audit, facts, policy_digest=digest, now=now)
        if finding is not None:
            yield finding
    for document in policy.documents:
        yield _document(document, facts, now=now)
    if policy.risks:
        yield _risks(facts)
    if policy.oversight:
        yield _oversight(facts)
    if policy.incidents:
        yield _incidents(facts)
    if policy.monitoring is not None and not for_review:
        found = judge_monitoring(policy.monitoring, facts.watched, now=now)
        if found is not None:
            yield found


def _approval(facts: PolicyFacts) -> ItemFinding:
    approval = facts.approval
    title = "The committee's approval stands"
    if approval is None or approval.state != State.MET:
        return ItemFinding(
            item=APPROVAL,
            kind="approval",
            title=title,
            state=approval.state if approval else State.MISSING,
            statement=approval.reason if approval else "The version was never approved.",
            remedy="The committee decides on it, after an audit.",
            who=CHAIRS,
            evidence_at=approval.decided_at if approval else None,
        )
    statement = f"Approved on {day(approval.decided_at)}." if approval.decided_at else "Approved."
    if approval.conditions:
        n = len(approval.conditions)
        statement += f" {n} condition{'s' if n > 1 else ''} to be met: {' / '.join(approval.conditions)}."
    if approval.first_due:
        statement += f" The first is due by {moment(approval.first_due)}."
    return ItemFinding(
        item=APPROVAL,
        kind="approval",
        title=title,
        state=State.MET,
        statement=statement,
        evidence_at=approval.decided_at,
        expires_at=approval.first_due,
    )


def _document(item: DocumentItem, facts: PolicyFacts, *, now: datetime) -> ItemFinding:
    """The newest issued one decides; one from before the approval became void is about what is void."""
    title = _title(item.report)
    reports = [
        report
        for report in facts.reports
        if report.kind == item.report and (facts.void_at is None or report.as_of > facts.void_at)
    ]
    newest = max(reports, key=lambda report: (report.issued_at, report.pk), default=None)
    if newest is None:
        earlier = any(report.kind == item.report for report in facts.reports)
        since = " since its approval became void" if earlier else ""
        statement = f"The document was not issued for this version{since}."
        return _about(item, title, State.MISSING, statement, remedy=f"Issue the document: {title}.")
    until = newest.as_of + timedelta(days=item.max_age_days)
    what = f"Issued with what was known on {day(newest.as_of)}"
    if item.ready and not newest.ready:
        statement = f"{what}; obligatory parts are missing in it."
        remedy = "Complete what its page names, and issue it again."
        return _about(item, title, State.INSUFFICIENT, statement, remedy=remedy, evidence_at=newest.as_of)
    if now > until:
        statement = f"{what}. It counted until {moment(until)}."
        return _about(
            item, title, State.STALE, statement, remedy="Issue it again.", expires_at=until, evidence_at=newest.as_of
        )
    return _about(
        item, title, State.MET, f"{what}. It counts until {moment(until)}.", expires_at=until, evidence_at=newest.as_of
    )


def _about(
    item: DocumentItem,
    title: str,
    state: State,
    statement: str,
    *,
    remedy: str = "",
    evidence_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> ItemFinding:
    return ItemFinding(
        item=item.id,
        kind="document",
        title=title,
        state=state,
        statement=statement,
        remedy=remedy,
        who=ISSUERS if remedy else (),
        evidence_at=evidence_at,
        expires_at=expires_at,
    )


def _title(report: str) -> str:
    from governance.reports.base import REPORTS  # the kinds of reports are found by importing them all

    return str(REPORTS.get(report).title) if report in REPORTS.keys() else report  # noqa: SIM118 - a Registry is no mapping


def _risks(facts: PolicyFacts) -> ItemFinding:
    found, title = facts.risks, "No risk stops the use"
    state, statement, remedy = State.MET, "", ""
    if found is None or not found.recorded:
        state, statement = State.MISSING, "The risk register of the system is empty."
        remedy = "Record its risks, rate them, and plan what is done about them."
    elif found.rated_too_high:
        state, statement = State.FAILED, f"What remains is too high and not accepted: {listed(found.rated_too_high)}."
        remedy = "Lower the risk by a verified measure, or have what remains accepted."
    elif found.not_rated:
        state, statement = State.INSUFFICIENT, f"Not rated after measures: {listed(found.not_rated)}."
        remedy = "Rate what remains of each risk."
    else:
        statement = f"{found.recorded} risk{'s are' if found.recorded > 1 else ' is'} recorded, none of them too high."
    who = RISK_PEOPLE if remedy else ()
    return ItemFinding(item=RISKS, kind=RISKS, title=title, state=state, statement=statement, remedy=remedy, who=who)


def _oversight(facts: PolicyFacts) -> ItemFinding:
    measures = dict(facts.measures)
    lacking = [(limb, words) for limb, words in LIMBS if measures.get(limb) != "verified"]
    title = "People can overrule it and stop it"
    if not lacking:
        statement = "A measure to overrule it and one to stop it are verified."
        return ItemFinding(item=OVERSIGHT, kind=OVERSIGHT, title=title, state=State.MET, statement=statement)
    told = [
        f"No {'verified ' * (limb in measures)}measure lets people {words}, Art. 14(4)({limb})."
        for limb, words in lacking
    ]
    every = all(limb in measures for limb, _ in lacking)
    return ItemFinding(
        item=OVERSIGHT,
        kind=OVERSIGHT,
        title=title,
        state=State.INSUFFICIENT if every else State.MISSING,
        statement=" ".join(told),
        remedy="Another person verifies the measure." if every else "Record the measure, and have it verified.",
        who=(Role.CLINICIAN_LEAD.value, Role.COMMITTEE_CHAIR.value),
    )


def _incidents(facts: PolicyFacts) -> ItemFinding:
    found, title = facts.incidents, "No report of an incident is owed"
    owed, unknown = (found.owed, found.unknown) if found else ((), ())
    who: tuple[str, ...] = (Role.COMMITTEE_CHAIR.value, Role.DPO.value)
    if owed:
        state, statement = State.FAILED, f"Open, with a report that is owed and not sent: {listed(owed)}."
        remedy = "Send the report, and enter when it was sent."
    elif unknown:
        state, statement = State.INSUFFICIENT, f"Open, and not known whether a report is owed: {listed(unknown)}."
        remedy = "Answer what is missing about the incident."
    else:
        state, statement, remedy, who = State.MET, "No open incident has a report that is owed and not sent.", "", ()
    return ItemFinding(
        item=INCIDENTS, kind=INCIDENTS, title=title, state=state, statement=statement, remedy=remedy, who=who
    )
