"""Measures against a risk: planned, implemented, verified by somebody else, or dropped.

A verified control may rest on an audit. An audit that failed, could not tell, or used simulated patients verifies
nothing, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import same_person
from core.digests import sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import User
from core.notifications import resolve
from core.plain_text import written
from core.reach import service
from evaluation.models import AuditRun, Outcome, RunStatus
from governance.access_risks import (
    check_may_be_named,
    check_may_drop,
    check_may_implement,
    check_may_record_risk,
    check_may_verify,
)
from governance.execution_risks import end_standing_acceptance, locked_risk, risk_facts, tell_owner
from governance.models import Control, Risk

TRANSITIONS: dict[str, frozenset[str]] = {
    Control.Status.PLANNED: frozenset({Control.Status.IMPLEMENTED, Control.Status.DROPPED}),
    Control.Status.IMPLEMENTED: frozenset({Control.Status.VERIFIED, Control.Status.DROPPED}),
    Control.Status.VERIFIED: frozenset({Control.Status.DROPPED}),
    Control.Status.DROPPED: frozenset(),
}
MOST_REASON = 1_000


@service
def plan_control(*, risk: Risk, kind: str, text: str, owner: User, due_on: date, by: User) -> Control:
    """Plan a measure against a risk. It lowers nothing until it is verified.

    Raises:
        DeniedError: ``by`` works on no system, or the owner cannot own a control.
        AuscultError: no text, an unknown kind, or a day that is past.
        ConflictError: the risk is closed.
    """
    check_may_record_risk(by)
    check_may_be_named(owner)
    told = written(text, name="The control")
    if kind not in Control.Kind.values:
        raise AuscultError(f"'{kind}' is no kind of control.", remedy="Choose design, protection or information.")
    if due_on < timezone.localdate():
        raise AuscultError("The day by which the control is due is past.", remedy="Choose today or a later day.")
    risk = _open_risk(risk.pk)
    control = Control.objects.create(risk=risk, kind=kind, text=told, owner=owner, due_on=due_on, proposed_by=by)
    facts = {"kind": kind, "owner": owner.username, "due_on": due_on.isoformat(), "text_sha256": sha256_text(told)}
    _record("control.planned", control, by, facts)
    title = f"You own a control of risk {risk.number} of {risk.system}"
    tell_owner(risk, title=title, key=f"control:{control.pk}:owner", to=owner, facts={"Due": due_on.isoformat()})
    return control


@service
def implement_control(*, control: Control, implementation: str, implemented_on: date, by: User) -> Control:
    """Say that a planned control is there, since when, and where to see it.

    Raises:
        DeniedError: ``by`` neither owns it nor is an ML engineer.
        AuscultError: no text, or a day that lies ahead.
        ConflictError: it is not planned, or the risk is closed.
    """
    check_may_implement(by, control)
    told = written(implementation, name="What was implemented")
    if implemented_on > timezone.localdate():
        raise AuscultError("The day of the implementation lies ahead.", remedy="A control that is to come is planned.")
    _open_risk(control.risk_id)
    found = _move(
        control, Control.Status.IMPLEMENTED, implemented_by=by, implemented_on=implemented_on, implementation=told
    )
    facts = {"implemented_on": implemented_on.isoformat(), "implementation_sha256": sha256_text(told)}
    _record("control.implemented", found, by, facts)
    return found


@service
def verify_control(*, control: Control, verification: str, run: AuditRun | None = None, by: User) -> Control:
    """Say what was checked of an implemented control, and that it holds.

    Args:
        run: An audit of the system that passed after the control was implemented, on real patients.

    Raises:
        DeniedError: ``by`` owns it, implemented it, or has no role that verifies.
        AuscultError: no text.
        ConflictError: it is not implemented, the risk is closed, or the audit shows nothing about it.
    """
    check_may_verify(by, control)
    told = written(verification, name="What was checked")
    _open_risk(control.risk_id)
    control = Control.objects.select_related("risk__system", "owner", "implemented_by").get(pk=control.pk)
    check_may_verify(by, control)
    if run is not None:
        check_audit_verifies(control, run)
    try:
        with transaction.atomic():
            found = _move(
                control,
                Control.Status.VERIFIED,
                verified_by=by,
                verified_at=timezone.now(),
                verification=told,
                run=run,
                evidence_digest=run.evidence_digest if run else "",
            )
    except IntegrityError as error:
        raise ConflictError(
            "Who owns or implemented a control does not verify it.", remedy="Somebody else has to check it."
        ) from error
    evidence = {"run": run.pk, "evidence": run.evidence_digest} if run else {}
    _record("control.verified", found, by, {"verification_sha256": sha256_text(told)} | evidence)
    return found


def check_audit_verifies(control: Control, run: AuditRun) -> None:
    """Raise ConflictError unless an audit can show that a control holds."""
    run = AuditRun.objects.select_related("version__system", "cohort__cohort").get(pk=run.pk)
    why = ""
    if run.version.system_id != control.risk.system_id:
        why = f"is about {run.version.system}"
    elif run.status != RunStatus.DONE or not run.evidence_digest:
        why = f"is {run.get_status_display().lower()} and has no evidence"
    elif run.outcome != Outcome.PASS:
        why = f"did not pass: {Outcome(run.outcome).label.lower()}"
    elif run.cohort.cohort.simulated:
        why = "used simulated patients, and shows nothing about real ones"
    elif run.version.void_at is not None and run.requested_at <= run.version.void_at:
        why = "is older than what voided its version"
    elif control.implemented_on and timezone.localdate(run.finished_at or run.requested_at) < control.implemented_on:
        why = "ended before the control was implemented"
    if why:
        raise ConflictError(
            f"Audit {run.pk} {why}, so it verifies nothing here.",
            remedy="Choose another audit, or leave it out and say what else was checked.",
        )


@service
def drop_control(*, control: Control, reason: str, by: User) -> Control:
    """Give a control up, or take it back because it does not hold. What it lowered counts no more; an acceptance ends.

    Raises:
        DeniedError: ``by`` neither owns nor planned it, and has no role that verifies.
        ConflictError: it is dropped already, or the risk is closed.
    """
    check_may_drop(by, control)
    told = written(reason, name="The reason", most=MOST_REASON)
    risk = _open_risk(control.risk_id)
    before = Control.objects.get(pk=control.pk).status
    found = _move(control, Control.Status.DROPPED)
    end_standing_acceptance(risk, why="A control was dropped.", by=by)
    _record("control.dropped", found, by, {"from": str(before), "reason": told})
    if not same_person(found.owner, by):
        title = f"A control of risk {risk.number} of {risk.system} was dropped"
        tell_owner(risk, title=title, key=f"control:{found.pk}:dropped", to=found.owner)
    return found


def _open_risk(pk: int) -> Risk:
    risk = locked_risk(pk)
    if risk.status == Risk.Status.CLOSED:
        raise ConflictError(f"Risk {risk.number} is closed.", remedy="Open it again first, with a reason.")
    return risk


def _move(control: Control, to: str, **changes: object) -> Control:
    """Move a control by a conditional UPDATE on its old state; answers it as it is then."""
    old = Control.objects.get(pk=control.pk).status
    if to not in TRANSITIONS[old]:
        state, wanted = Control.Status(old).label.lower(), Control.Status(to).label.lower()
        raise ConflictError(f"This control is {state}; it cannot become {wanted}.", remedy=RELOAD)
    if not Control.objects.filter(pk=control.pk, status=old).update(status=to, **changes):
        raise ConflictError("The state of this control changed meanwhile.", remedy=RELOAD)
    resolve(f"control:{control.pk}")
    return Control.objects.select_related("risk__system", "owner", "implemented_by").get(pk=control.pk)


def _record(act: str, control: Control, by: User, facts: Mapping[str, object]) -> None:
    about = {"control": control.pk, "control_status": str(control.status)}
    payload = risk_facts(control.risk) | about | dict(facts)
    ledger.record(actor=by.username, act=act, subject=("Control", control.pk), payload=payload)
