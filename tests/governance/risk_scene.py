"""What the tests of the risk register share: a system with a risk, and short ways through its states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from core.models import LedgerEntry, User
from governance.models import Control, Risk, RiskAcceptance, Statement
from governance.selectors.risks import SHOWN_OF_FINDINGS, RiskLine, lines_of
from governance.services.controls import implement_control, plan_control, verify_control
from governance.services.risks import RiskReport, accept_residual, assign_owner, rate_risk, record_risk
from models_registry.models import AISystem, ModelVersion
from tests.governance.signed import signed

REPORT = RiskReport(
    title="Effusion is missed in women over 80",
    kind="bias",
    hazard="A lower sensitivity in one group of patients.",
    cause="Few of them were in the training data, and the radiologist trusts the output.",
    harm="An effusion is drained too late.",
)


def system_of(people: SimpleNamespace) -> AISystem:
    system, _ = AISystem.objects.get_or_create(
        slug="chest-model",
        defaults={"name": "Chest model", "intended_purpose": "Finds effusion.", "created_by": people.elena},
    )
    return system


def a_risk(people: SimpleNamespace, *, owner: User | None = None, **given: str) -> Risk:
    """A risk that Elena recorded and Mina owns."""
    report = RiskReport(**(vars(REPORT) | given))
    return record_risk(system=system_of(people), report=report, owner=owner or people.mina, by=people.elena)


def rated(risk: Risk, people: SimpleNamespace, stage: str, severity: int, likelihood: int) -> None:
    rate_risk(
        risk=risk, stage=stage, severity=severity, likelihood=likelihood, reason="By the literature.", by=people.elena
    )


def planned(risk: Risk, people: SimpleNamespace, **given: Any) -> Control:
    """A design control that Mina owns."""
    values = {"kind": "design", "text": "A second reader for this group.", "owner": people.mina, "by": people.elena}
    return plan_control(**(values | {"risk": risk, "due_on": timezone.localdate() + timedelta(days=30)} | given))


def implemented(control: Control, by: User) -> Control:
    return implement_control(
        control=control, implementation="Version 1.1 asks for it.", implemented_on=timezone.localdate(), by=by
    )


def verified(risk: Risk, people: SimpleNamespace, **given: Any) -> Control:
    """A control that Mina owns, Elena implemented and Amir verified."""
    control = implemented(planned(risk, people, **given), people.elena)
    return verify_control(control=control, verification="Read 20 studies; each had two readers.", by=people.amir)


def acceptable(people: SimpleNamespace, *, after: tuple[int, int] = (2, 2)) -> Risk:
    """A risk of 4 by 3 before and ``after`` after one verified control."""
    risk = a_risk(people)
    rated(risk, people, "before", 4, 3)
    verified(risk, people)
    rated(risk, people, "after", *after)
    return risk


def accepted(risk: Risk, by: User, *, days: float = 90) -> RiskAcceptance:
    return accept_residual(
        risk=risk,
        rationale="The benefit for all others outweighs it.",
        expires_at=timezone.now() + timedelta(days=days),
        by=by,
        signed=signed(by),
    )


def hand_over(risk: Risk, to: User, by: User) -> Risk:
    return assign_owner(risk=risk, owner=to, by=by)


def consultation(version: ModelVersion, people: SimpleNamespace, **given: Any) -> Statement:
    """An accepted statement on prior consultation, written by the data protection officer."""
    values: dict[str, Any] = {
        "version": version,
        "requirement": "GDPR-36",
        "revision": 1,
        "status": Statement.Status.ACCEPTED,
        "fields": {"submitted_on": "2026-05-01", "authority_reply": "The measures are enough."},
        "text": "",
        "author": people.dora,
        "decided_by": people.clara,
        "decided_at": datetime(2026, 10, 1, tzinfo=UTC),
    }
    return Statement.objects.create(**(values | given))


def acts(risk: Risk) -> list[str]:
    """Of the risk itself, oldest first."""
    rows = LedgerEntry.objects.filter(subject_kind="Risk", subject_id=str(risk.pk)).order_by("index")
    return list(rows.values_list("act", flat=True))


def now_of(risk: Risk) -> Risk:
    return Risk.objects.get(pk=risk.pk)


def register(system: AISystem) -> list[RiskLine]:
    """Every risk of a system with what counts of it, closed ones too, in the order of their numbers."""
    return lines_of(Risk.objects.filter(system=system), told=SHOWN_OF_FINDINGS)
