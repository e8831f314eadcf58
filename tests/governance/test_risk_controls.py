"""Controls: who implements, who verifies, and which audits show nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, User
from evaluation.models import AuditRun, RunStatus
from governance.models import Control
from governance.services import controls
from governance.services.controls import drop_control, implement_control, plan_control, verify_control
from models_registry.models import AISystem, Cohort
from tests.governance.risk_scene import a_risk, implemented, planned, verified

Audited = Callable[..., AuditRun]


def test_from_plan_to_verification(people: SimpleNamespace) -> None:
    control = verified(a_risk(people), people)
    assert (control.status, control.implemented_by, control.verified_by) == ("verified", people.elena, people.amir)
    rows = LedgerEntry.objects.filter(subject_kind="Control", subject_id=str(control.pk)).order_by("index")
    assert list(rows.values_list("act", flat=True)) == ["control.planned", "control.implemented", "control.verified"]
    assert Notification.objects.filter(recipient=people.mina, key=f"control:{control.pk}:owner").exists()


def test_a_day_that_is_past_is_no_plan_and_one_ahead_no_implementation(people: SimpleNamespace) -> None:
    risk, today = a_risk(people), timezone.localdate()
    with pytest.raises(AuscultError, match="due is past"):
        planned(risk, people, due_on=today - timedelta(days=1))
    with pytest.raises(AuscultError, match="no kind of control"):
        planned(risk, people, kind="hope")
    with pytest.raises(DeniedError, match="works on no system"):
        plan_control(risk=risk, kind="design", text="So.", owner=people.rita, due_on=today, by=people.elena)
    control = planned(risk, people)
    with pytest.raises(AuscultError, match="lies ahead"):
        implement_control(
            control=control, implementation="Soon.", implemented_on=today + timedelta(days=1), by=people.mina
        )


@pytest.mark.parametrize(("name", "may"), [("mina", True), ("elena", True), ("tom", False), ("clara", False)])
def test_its_owner_or_an_ml_engineer_implements(name: str, may: bool, people: SimpleNamespace) -> None:
    control = planned(a_risk(people), people)
    if may:
        assert implemented(control, getattr(people, name)).status == "implemented"
        return
    with pytest.raises(DeniedError, match="ML engineer may implement"):
        implemented(control, getattr(people, name))


def test_neither_owner_nor_implementer_verifies_by_no_account(people: SimpleNamespace) -> None:
    control = implemented(planned(a_risk(people), people, owner=people.clara), people.elena)
    second = User.objects.create(username="clara2", merged_into=people.clara)
    for person, words in ((people.clara, "own this"), (people.elena, "implemented this"), (second, "own this")):
        with pytest.raises(DeniedError, match=words):
            verify_control(control=control, verification="Seen.", by=person)
        with pytest.raises(IntegrityError), transaction.atomic():
            Control.objects.filter(pk=control.pk).update(status="verified", verified_by=person, verification="Seen.")
    with pytest.raises(DeniedError, match="may verify a control"):
        verify_control(control=control, verification="Seen.", by=people.tom)
    with pytest.raises(IntegrityError), transaction.atomic():
        Control.objects.filter(pk=control.pk).update(status="verified", verified_by=people.amir, verification="")
    assert verify_control(control=control, verification="Seen.", by=people.dora).verified_by == people.dora


def test_steps_that_the_table_does_not_know_are_refused(people: SimpleNamespace) -> None:
    assert set(controls.TRANSITIONS) == set(Control.Status.values)
    risk = a_risk(people)
    control = planned(risk, people)
    with pytest.raises(ConflictError, match="is planned; it cannot become verified"):
        verify_control(control=control, verification="Seen.", by=people.amir)
    drop_control(control=control, reason="Not needed.", by=people.elena)
    for act in (
        lambda: implemented(control, people.mina),
        lambda: drop_control(control=control, reason="Again.", by=people.mina),
    ):
        with pytest.raises(ConflictError, match="dropped"):
            act()
    done = verified(risk, people)
    with pytest.raises(ConflictError, match="is verified; it cannot become implemented"):
        implemented(done, people.mina)


def test_who_has_no_part_in_it_does_not_drop_it(people: SimpleNamespace) -> None:
    control = planned(a_risk(people), people)
    with pytest.raises(DeniedError, match="may drop a control"):
        drop_control(control=control, reason="So.", by=people.tom)
    drop_control(control=control, reason="So.", by=people.dora)
    assert Notification.objects.filter(recipient=people.mina, key=f"control:{control.pk}:dropped").exists()


def test_an_audit_that_passed_is_kept_as_evidence(people: SimpleNamespace, audited: Audited) -> None:
    run = audited()
    control = implemented(planned(a_risk(people), people), people.elena)
    found = verify_control(control=control, verification="The gap is closed.", run=run, by=people.dora)
    assert (found.run, found.evidence_digest) == (run, run.evidence_digest)
    assert run.evidence_digest in LedgerEntry.objects.get(act="control.verified").body


@pytest.mark.parametrize(
    "spoiled", ["failed", "insufficient", "simulated", "other system", "not done", "older", "void"]
)
def test_an_audit_that_shows_nothing_verifies_nothing(spoiled: str, people: SimpleNamespace, audited: Audited) -> None:
    run = audited(outcome={"failed": "fail", "insufficient": "insufficient"}.get(spoiled, "pass"))
    risk = a_risk(people)
    control = implemented(planned(risk, people), people.elena)
    version = run.version
    if spoiled == "simulated":
        Cohort.objects.update(simulated=True)
    elif spoiled == "other system":
        version.system = AISystem.objects.create(
            name="Other", slug="other", intended_purpose="Else.", created_by=people.elena
        )
        version.save()
    elif spoiled == "not done":
        AuditRun.objects.filter(pk=run.pk).update(status=RunStatus.FAILED)
    elif spoiled == "older":
        AuditRun.objects.filter(pk=run.pk).update(finished_at=timezone.now() - timedelta(days=2))
    elif spoiled == "void":
        version.void_at, version.void_reason = timezone.now(), "Its backbone changed."
        version.save()
    with pytest.raises(ConflictError, match="verifies nothing here"):
        verify_control(control=control, verification="Seen.", run=run, by=people.dora)
    assert Control.objects.get(pk=control.pk).status == "implemented"
