"""The risk register: risks are recorded, rated, given an owner, accepted until a day, closed, and opened again.

The controls of a risk are in ``governance.services.controls``; risks that audits open, in
``governance.execution_findings``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import same_person
from core.digests import sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import LedgerEntry, User
from core.notifications import resolve
from core.plain_text import written
from core.reach import service
from core.stepup import StepUp, check_stepped_up
from governance.access_risks import (
    check_may_accept_residual,
    check_may_assign_risk,
    check_may_be_named,
    check_may_close_risk,
    check_may_end_acceptance,
    check_may_record_risk,
)
from governance.execution_risks import (
    TRANSITIONS,
    end_standing_acceptance,
    lock_next_number,
    locked_risk,
    move_risk,
    risk_facts,
    tell_owner,
)
from governance.models import Incident, IncidentEvent, Risk, RiskAcceptance, RiskRating
from governance.selectors.risks import RiskLine, consultation_of, incident_key, line_of, risk_of_incident
from governance.services.incident_clocks import write_event
from governance.standing.register import NEVER, UNACCEPTABLE
from governance.standing.risk_rows import KINDS
from models_registry.models import AISystem

__all__ = [
    "TRANSITIONS",
    "RiskReport",
    "accept_residual",
    "assign_owner",
    "check_acceptable",
    "close_risk",
    "end_acceptance",
    "rate_risk",
    "record_risk",
    "reopen_risk",
]

MOST_TITLE = 200
MOST_REASON = 1_000
"""Reasons that stand in the ledger word for word, because no row keeps them."""
MOST_YEARS = 2


@dataclass(frozen=True, kw_only=True)
class RiskReport:
    """A risk in the terms of ISO 14971: from which source, by which sequence of events, to which harm of whom.

    Attributes:
        kind: A key of ``governance.standing.risk_rows.KINDS``.
    """

    title: str
    kind: str
    hazard: str
    cause: str
    harm: str


@service
def record_risk(
    *, system: AISystem, report: RiskReport, owner: User | None = None, incident: Incident | None = None, by: User
) -> Risk:
    """Enter a risk in the register of a system. It is rated later; until then it counts as 4 by 4.

    Args:
        incident: What showed the risk, one of the system's; an incident opens one risk.

    Raises:
        DeniedError: ``by`` works on no system, or the owner cannot own a risk.
        AuscultError: a part is empty or too long, or the kind is unknown.
        ConflictError: the incident is of another system, or has opened its risk.
    """
    check_may_record_risk(by)
    if owner is not None:
        check_may_be_named(owner)
    if report.kind not in KINDS:
        raise AuscultError(f"'{report.kind}' is no kind of risk.", remedy=f"Use one of: {', '.join(KINDS)}.")
    number = lock_next_number(system)
    opened = {} if incident is None else _opened_by(incident, system)
    risk = Risk.objects.create(
        system=system,
        number=number,
        title=written(report.title, name="The title", most=MOST_TITLE),
        kind=report.kind,
        hazard=written(report.hazard, name="The hazard"),
        cause=written(report.cause, name="The cause"),
        harm=written(report.harm, name="The harm"),
        owner=owner,
        opened_by=by,
        **opened,
    )
    parts = "\n".join((risk.title, risk.hazard, risk.cause, risk.harm))
    facts = {"kind": risk.kind, "origin": str(risk.origin), "parts_sha256": sha256_text(parts)}
    shown_by = {} if incident is None else {"incident": incident.number}
    entry = _record("risk.recorded", risk, by, facts | shown_by | {"owner": owner.username if owner else None})
    if incident is not None:
        words = f"Risk {risk.number} of the register was opened because of it."
        write_event(incident, IncidentEvent.Kind.NOTE, words, {"risk": risk.pk}, by=by)
    if owner is not None:
        _tell_owner(risk, owner, entry)
    return risk


def _opened_by(incident: Incident, system: AISystem) -> dict[str, str]:
    """The columns by which a risk and the incident that showed it find each other. The system is locked."""
    if incident.system_id != system.pk:
        raise ConflictError(f"Incident {incident.number} is of another system.", remedy="Choose its system.")
    known = risk_of_incident(incident)
    if known is not None:
        raise ConflictError(
            f"Incident {incident.number} has opened risk {known.number} already.", remedy="Open that risk."
        )
    return {"origin": Risk.Origin.INCIDENT, "finding_key": incident_key(incident)}


@service
def rate_risk(*, risk: Risk, stage: str, severity: int, likelihood: int, reason: str, by: User) -> RiskRating:
    """Rate a risk before or after controls. The rating before it stays in the history; an acceptance ends.

    Raises:
        DeniedError: ``by`` works on no system.
        AuscultError: a rating outside the scales of 1 to 4, an unknown stage, no reason.
        ConflictError: the risk is closed.
    """
    check_may_record_risk(by)
    told = written(reason, name="The reason of the rating")
    if stage not in RiskRating.Stage.values:
        raise AuscultError(f"'{stage}' is no stage of a rating.", remedy="Rate before or after controls.")
    if not {severity, likelihood} <= set(range(1, 5)):
        raise AuscultError(
            f"{severity} by {likelihood} is no rating.", remedy="Rate severity and likelihood from 1 to 4."
        )
    risk = _not_closed(risk)
    rating = RiskRating.objects.create(
        risk=risk, stage=stage, severity=severity, likelihood=likelihood, reason=told, rated_by=by
    )
    end_standing_acceptance(risk, why="The risk was rated anew.", by=by)
    facts = {"stage": stage, "severity": severity, "likelihood": likelihood, "reason_sha256": sha256_text(told)}
    _record("risk.rated", risk, by, facts | {"rating": rating.pk})
    return rating


@service
def assign_owner(*, risk: Risk, owner: User, by: User) -> Risk:
    """Say who answers for a risk.

    Raises:
        DeniedError: ``by`` may not assign, or the owner cannot own a risk.
        ConflictError: the risk is closed, is the person's already, or the person accepted what remains of it.
    """
    check_may_assign_risk(by)
    check_may_be_named(owner)
    risk = _not_closed(risk)
    if same_person(risk.owner, owner):
        raise ConflictError(f"{owner} owns this risk already.", remedy="Choose somebody else.")
    standing = risk.acceptances.filter(ended_at__isnull=True).select_related("accepted_by").first()
    if standing is not None and same_person(standing.accepted_by, owner):
        raise ConflictError(
            f"{owner} accepted what remains of this risk, and nobody accepts their own risk.",
            remedy="End the acceptance first, or choose another owner.",
        )
    before = risk.owner.username if risk.owner else None
    if not Risk.objects.filter(pk=risk.pk, owner=risk.owner_id).update(owner=owner):
        raise ConflictError("The owner changed meanwhile.", remedy=RELOAD)
    risk.owner = owner
    entry = _record("risk.owner_assigned", risk, by, {"from": before, "to": owner.username})
    _tell_owner(risk, owner, entry)
    return risk


@service
def accept_residual(
    *, risk: Risk, rationale: str, expires_at: datetime, by: User, signed: StepUp | None
) -> RiskAcceptance:
    """Accept what remains of a risk until a day; signed. What is very high is accepted by nobody.

    Raises:
        DeniedError: ``by`` is neither chair nor clinician lead, owns the risk, or gave no fresh proof of identity.
        AuscultError: no rationale, or an end that is past or more than two years away.
        ConflictError: the risk is not open, has no owner or no rating, or what remains of it cannot be accepted.
    """
    check_may_accept_residual(by, risk)
    proof = check_stepped_up(signed, by)
    told = written(rationale, name="The rationale")
    now = timezone.now()
    _check_end(expires_at, now)
    risk = locked_risk(risk.pk)
    check_may_accept_residual(by, risk)
    line = line_of(risk)
    consulted = check_acceptable(line)
    move_risk(risk, Risk.Status.ACCEPTED)
    acceptance = _create_acceptance(line, told, expires_at=expires_at, now=now, proof=proof, by=by)
    facts = {
        "acceptance": acceptance.pk,
        "severity": acceptance.severity,
        "likelihood": acceptance.likelihood,
        "owner": acceptance.owner.username,
        "expires_at": expires_at.astimezone(UTC).isoformat(),
        "rationale_sha256": sha256_text(told),
        "consultation": consulted,
    }
    _record("risk.accepted", risk, by, facts | proof.in_ledger())
    resolve(f"risk:{risk.pk}:acceptance-ended")
    return acceptance


def latest_acceptance_end(now: datetime) -> datetime:
    """The last moment that an acceptance given now may name."""
    try:
        return now.replace(year=now.year + MOST_YEARS)
    except ValueError:  # 29 February
        return now.replace(year=now.year + MOST_YEARS, day=28)


def _check_end(expires_at: datetime, now: datetime) -> None:
    if expires_at <= now:
        raise AuscultError("The end of the acceptance is past.", remedy="Choose a day in the future.")
    # Until the end of the day, so that a form that asks for a day accepts the last one.
    if timezone.localdate(expires_at) > timezone.localdate(latest_acceptance_end(now)):
        raise AuscultError(
            f"An acceptance lasts {MOST_YEARS} years at most.", remedy="Choose an earlier day; it can be given again."
        )


def check_acceptable(line: RiskLine) -> int | None:
    """The statement about prior consultation that acceptance rests on, by its number; None where none is needed.

    Raises:
        ConflictError: what remains of the risk cannot be accepted as it is now.
    """
    risk = line.risk
    if risk.status == Risk.Status.CLOSED:
        raise ConflictError(f"Risk {risk.number} is closed.", remedy="Open it again first, with a reason.")
    if risk.status != Risk.Status.OPEN:
        raise ConflictError("What remains of this risk is accepted already.", remedy=RELOAD)
    if risk.owner is None:
        raise ConflictError("Nobody owns this risk.", remedy="Name an owner first: somebody has to watch what remains.")
    if line.stated_before is None or line.stated_after is None:
        raise ConflictError(
            "This risk is not rated both before and after controls; what is missing counts as 4.",
            remedy="Rate it first.",
        )
    if line.after.product >= NEVER:
        raise ConflictError(
            f"What remains is very high ({line.after.severity} by {line.after.likelihood}), and nobody can accept it.",
            remedy="Plan a control, have it verified, and rate the risk again; or do not use the system.",
        )
    if line.after.product < UNACCEPTABLE:
        return None
    statement = consultation_of(risk)
    if statement is None:
        raise ConflictError(
            f"What remains is high ({line.after.severity} by {line.after.likelihood}). It can be accepted only after "
            "prior consultation (Art. 36 GDPR), told by the data protection officer.",
            remedy="Lower it by verified controls; or state the authority's reply under GDPR-36, written or accepted "
            "by the data protection officer after this risk was opened.",
        )
    return statement.pk


def _create_acceptance(
    line: RiskLine, rationale: str, *, expires_at: datetime, now: datetime, proof: StepUp, by: User
) -> RiskAcceptance:
    try:
        with transaction.atomic():
            return RiskAcceptance.objects.create(
                risk=line.risk,
                severity=line.after.severity,
                likelihood=line.after.likelihood,
                rationale=rationale,
                accepted_by=by,
                accepted_at=now,
                expires_at=expires_at,
                signed_at=proof.at,
                signed_with=proof.method,
                owner=cast(User, line.risk.owner),  # check_acceptable refuses a risk that nobody owns.
            )
    except IntegrityError as error:
        raise ConflictError("What remains of this risk is accepted already.", remedy=RELOAD) from error


@service
def end_acceptance(*, risk: Risk, reason: str, by: User) -> RiskAcceptance:
    """Take the acceptance of a risk back before its day.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: none stands.
    """
    check_may_end_acceptance(by)
    told = written(reason, name="The reason", most=MOST_REASON)
    ended = end_standing_acceptance(locked_risk(risk.pk), why=told, by=by)
    if ended is None:
        raise ConflictError("No acceptance of this risk stands.", remedy=RELOAD)
    ended.refresh_from_db()
    return ended


@service
def close_risk(*, risk: Risk, reason: str, hazard_gone: bool = False, by: User) -> Risk:
    """Close a risk: what remains is low or medium under a verified control, or the hazard no longer exists.

    Raises:
        DeniedError: ``by`` opened it, owns it, or has no role that closes risks.
        ConflictError: it is closed, no control is verified, or what remains is high.
    """
    check_may_close_risk(by, risk)
    told = written(reason, name="The reason", most=MOST_REASON)
    risk = _not_closed(risk)
    check_may_close_risk(by, risk)
    line = line_of(risk)
    if not hazard_gone:
        check_closable(line)
    end_standing_acceptance(risk, why="The risk was closed.", by=by, closes=True)
    move_risk(risk, Risk.Status.CLOSED, closed_by=by, closed_at=timezone.now(), closing_reason=told)
    facts = {"hazard_gone": hazard_gone, "verified": line.n_verified, "residual": line.after.product, "reason": told}
    _record("risk.closed", risk, by, facts)
    resolve(f"risk:{risk.pk}")
    return Risk.objects.get(pk=risk.pk)


def check_closable(line: RiskLine) -> None:
    if not line.n_verified:
        raise ConflictError(
            "No control of this risk is verified, so it cannot be closed.",
            remedy="Have a control verified, or say that the hazard no longer exists.",
        )
    if line.judged.unacceptable:
        raise ConflictError(
            f"What remains is {line.band_after.lower()} ({line.after.severity} by {line.after.likelihood}), so the "
            "risk cannot be closed.",
            remedy="Lower it by verified controls and rate it again, or say that the hazard no longer exists.",
        )


@service
def reopen_risk(*, risk: Risk, reason: str, by: User) -> Risk:
    """Open a closed risk again. Anybody who may record one may: a closed risk that is none is a danger.

    Raises:
        DeniedError: ``by`` works on no system.
        ConflictError: it is not closed.
    """
    check_may_record_risk(by)
    told = written(reason, name="The reason", most=MOST_REASON)
    risk = locked_risk(risk.pk)
    if risk.status != Risk.Status.CLOSED:
        raise ConflictError(f"Risk {risk.number} is not closed.", remedy=RELOAD)
    move_risk(risk, Risk.Status.OPEN, closed_by=None, closed_at=None, closing_reason="")
    entry = _record("risk.reopened", risk, by, {"reason": told})
    if risk.owner is not None and not same_person(risk.owner, by):
        key = f"risk:{risk.pk}:reopened:{entry.index}"
        tell_owner(risk, title=f"Risk {risk.number} of {risk.system} is open again", key=key, to=risk.owner)
    return Risk.objects.get(pk=risk.pk)


def _not_closed(risk: Risk) -> Risk:
    found = locked_risk(risk.pk)
    if found.status == Risk.Status.CLOSED:
        raise ConflictError(f"Risk {found.number} is closed.", remedy="Open it again first, with a reason.")
    return found


def _tell_owner(risk: Risk, owner: User, entry: LedgerEntry) -> None:
    title = f"You own risk {risk.number} of {risk.system}"
    resolve(f"risk:{risk.pk}:owner")
    tell_owner(risk, title=title, key=f"risk:{risk.pk}:owner:{entry.index}", to=owner)


def _record(act: str, risk: Risk, by: User, facts: dict[str, object]) -> LedgerEntry:
    payload = risk_facts(risk) | facts
    return ledger.record(actor=by.username, act=act, subject=("Risk", risk.pk), payload=payload)
