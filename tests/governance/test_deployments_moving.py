"""Rolling back, voiding what runs, sites that do not answer, and two people who deploy at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core import ledger
from core.errors import ConflictError, DeniedError
from core.models import LedgerEntry, Notification, OutgoingMail
from governance import execution_deployments
from governance.execution_deployments import escalate_unconfirmed
from governance.policies.findings import State
from governance.selectors.deployments import who_suspended
from governance.selectors.gates_now import gates_now, in_use_without_gate
from governance.services import starting
from governance.services.deployments import (
    acknowledge_suspension,
    end_deployment,
    resume_deployment,
    roll_back,
    suspend_deployment,
    suspend_version,
)
from governance.services.policies import approve_policy, propose_policy
from models_registry.models import Deployment, ModelVersion, VersionStatus
from models_registry.services.suspensions import reason_of
from models_registry.services.voiding import Cause, void
from tests.governance.deployment_scene import WHY, acts_since, approved, findings, put
from tests.governance.policy_scene import audit_body, written
from tests.governance.signed import signed
from tests.governance.two_deployers import ROUNDS


def state(version: ModelVersion) -> str:
    return ModelVersion.objects.get(pk=version.pk).status


def back(row: Deployment, people: SimpleNamespace) -> Deployment:
    return roll_back(deployment=row, reason=WHY, by=people.lea, signed=signed(people.lea))


def test_a_site_goes_back_to_what_ran_there_before(people: SimpleNamespace, home: Path) -> None:
    old, other, new = (approved(people, home, label) for label in ("1.0", "1.5", "2.0"))
    first = put(old, people.clara, "North", unit="Radiology", share=80)
    end_deployment(deployment=first, reason="Version 2.0 takes its place.", by=people.clara)
    second = put(new, people.clara, "north", unit="radiology", share=80)
    before = LedgerEntry.objects.count()
    third = back(second, people)
    assert acts_since(before) == ["deployment.rolled_back", "deployment.started", "version.moved", "version.moved"]
    assert (third.version, third.replaces, third.share, third.status) == (old, second, 80, "running")
    assert (third.contact_email, third.started_by) == ("ines@hospital.example", people.lea)
    second.refresh_from_db()
    assert (second.status, second.ending, second.ended_by) == ("ended", WHY, people.lea)
    assert [state(row) for row in (old, other, new)] == ["deployed", "approved", "approved"]
    assert ledger.verify().intact


def test_without_a_former_one_the_newest_that_may_run_is_taken(
    people: SimpleNamespace, home: Path, monkeypatch: Any
) -> None:
    best, barred, new = (approved(people, home, label) for label in ("1.0", "1.5", "2.0"))
    row = put(new, people.clara)
    monkeypatch.setattr(
        starting,
        "findings_of",
        lambda one, site: [findings(one, State.FAILED if one.pk == barred.pk else State.MET)],
    )
    suspend_deployment(deployment=row, reason=WHY, by=people.lea)
    assert back(row, people).version == best
    assert (state(new), state(barred)) == ("suspended", "approved")


def test_a_rollback_says_of_each_version_why_it_may_not_run(
    people: SimpleNamespace, home: Path, monkeypatch: Any
) -> None:
    void_one, barred, new = (approved(people, home, label) for label in ("1.0", "1.5", "2.0"))
    row = put(new, people.clara)
    ModelVersion.objects.filter(pk=void_one.pk).update(status=VersionStatus.VOID)
    monkeypatch.setattr(
        starting,
        "findings_of",
        lambda one, site: [findings(one, State.MISSING)],
    )
    before = LedgerEntry.objects.count()
    with pytest.raises(ConflictError) as refusal:
        back(row, people)
    assert "1.0: Chest model 1.0 may not be used: Chest model 1.0 is approval void." in refusal.value.message
    assert "1.5: The gate of the policy imaging lacks evidence" in refusal.value.message
    assert (Deployment.objects.get().status, LedgerEntry.objects.count()) == ("running", before)
    assert barred.pk


def test_a_rollback_is_signed_by_one_who_deploys(people: SimpleNamespace, home: Path) -> None:
    approved(people, home, "1.0")
    row = put(approved(people, home, "2.0"), people.clara)
    with pytest.raises(DeniedError, match="proof of who you are"):
        roll_back(deployment=row, reason=WHY, by=people.lea, signed=None)
    with pytest.raises(DeniedError, match="Only people with the role"):
        roll_back(deployment=row, reason=WHY, by=people.dora, signed=signed(people.dora))
    back(row, people)
    with pytest.raises(ConflictError, match="is ended"):
        back(row, people)
    assert Deployment.objects.count() == 2


def test_a_rollback_without_its_entries_does_not_happen(people: SimpleNamespace, home: Path, monkeypatch: Any) -> None:
    approved(people, home, "1.0")
    row = put(approved(people, home, "2.0"), people.clara)
    real, calls = ledger.record, []

    def breaks_on_the_last(**given: Any) -> Any:
        calls.append(given["act"])
        if given["act"] == "deployment.started":
            raise RuntimeError("the ledger is not there")
        return real(**given)

    monkeypatch.setattr(ledger, "record", breaks_on_the_last)
    before = LedgerEntry.objects.count()
    with pytest.raises(RuntimeError):
        back(row, people)
    assert calls == ["deployment.rolled_back", "deployment.started"]
    assert (Deployment.objects.get().status, LedgerEntry.objects.count()) == ("running", before)


@pytest.mark.parametrize("status", ["approved", "conditional", "deployed", "suspended"])
def test_voiding_ends_every_kind_of_approval_and_stops_what_runs(
    people: SimpleNamespace, home: Path, status: str
) -> None:
    version = approved(people, home)
    row = put(version, people.clara)
    ModelVersion.objects.filter(pk=version.pk).update(status=status)
    before = LedgerEntry.objects.count()
    cause = Cause(reason="A file on the server is not what was registered.", version=None, by=None, facts={})
    assert void([version], cause) == [version]
    assert acts_since(before) == ["version.voided", "deployment.suspended"]
    row.refresh_from_db()
    assert (state(version), row.status, row.suspended_by) == (VersionStatus.VOID, "suspended", None)
    assert reason_of(row) == "Its approval is void. A file on the server is not what was registered."
    assert OutgoingMail.objects.filter(key__startswith=f"suspension:{row.pk}:").count() == 1
    with pytest.raises(ConflictError, match="may not be used"):
        resume_deployment(deployment=row, reason=WHY, by=people.clara, signed=signed(people.clara))
    assert void([version], cause) == []


def test_a_version_whose_review_was_withdrawn_remembers_who_suspended_it(people: SimpleNamespace, home: Path) -> None:
    from models_registry.services.versions import transition_version

    version = approved(people, home)
    suspend_version(version=version, reason=WHY, by=people.dora)
    transition_version(version=version, to=VersionStatus.IN_REVIEW, by=people.clara)
    assert who_suspended(version) is None
    transition_version(version=version, to=VersionStatus.SUSPENDED, by=people.clara)
    assert who_suspended(version) == people.dora


def test_a_site_that_does_not_confirm_is_followed_up_once(
    people: SimpleNamespace, home: Path, monkeypatch: Any
) -> None:
    version = approved(people, home)
    late, told, soon = (put(version, people.clara, site) for site in ("North", "South", "East"))
    suspend_version(version=version, reason=WHY, by=people.clara)
    acknowledge_suspension(deployment=told, name="Ines Vogel", by=people.clara)
    Deployment.objects.filter(pk=soon.pk).update(suspended_at=timezone.now() + timedelta(hours=2))
    assert escalate_unconfirmed() == 0
    later = timezone.now() + timedelta(hours=24, minutes=1)
    monkeypatch.setattr(execution_deployments.timezone, "now", lambda: later)
    before = LedgerEntry.objects.count()
    assert escalate_unconfirmed() == 1
    assert acts_since(before) == ["escalation.raised"]
    assert LedgerEntry.objects.get(index=before).subject_id == str(late.pk)
    rows = Notification.objects.filter(key__startswith="unconfirmed:")
    assert {row.recipient.username for row in rows} == {"clara", "lea", "dora", "amir"}
    assert escalate_unconfirmed() == 0


def test_two_people_who_deploy_at_once_share_a_hundred_per_cent(tmp_path: Path) -> None:
    environment = os.environ | {"AUSCULT_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    environment |= {"AUSCULT_REDIS_URL": "memory://"}
    command = [sys.executable, "-m", "tests.governance.two_deployers", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    expected = {"results": ["refused", "started"], "shares": 60, "started": 1, "intact": True}
    assert rounds == [expected] * ROUNDS


def test_a_policy_in_force_is_asked_for_real(people: SimpleNamespace, home: Path) -> None:
    """No stand-in: a policy that asks for an audit on local data stops a version that has none."""
    source = written(audit_body(protocols=["local-acceptance-v1"]))
    policy = propose_policy(source=source, by=people.amir)
    version = approved(people, home)
    row = put(version, people.clara, "North")
    approve_policy(policy=policy, by=people.clara, signed=signed(people.clara))
    with pytest.raises(ConflictError, match="The gate of the policy chest-use") as refusal:
        put(version, people.clara, "South")
    assert refusal.value.remedy
    suspend_deployment(deployment=row, reason=WHY, by=people.dora)
    with pytest.raises(ConflictError, match="The gate of the policy chest-use"):
        resume_deployment(deployment=row, reason=WHY, by=people.clara, signed=signed(people.clara))
    assert state(version) == VersionStatus.SUSPENDED
    assert [found.policy for _, found in in_use_without_gate(gates_now())] == []
    Deployment.objects.filter(pk=row.pk).update(status="running")
    assert [found.policy for _, found in in_use_without_gate(gates_now())] == ["chest-use"]
