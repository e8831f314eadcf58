"""Resuming, lifting, ending, confirming: who may, what is asked, and that no act is without its entry."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction

from core import ledger
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import Notification, OutgoingMail, Role, RoleGrant, User
from governance.models import Condition, Review
from governance.policies.findings import State
from governance.selectors.approvals import standing_approval
from governance.selectors.deployments import approval_if_lifted, register, who_suspended
from governance.services import deployments as services
from governance.services import starting
from governance.services.deployments import (
    acknowledge_suspension,
    end_deployment,
    lift_suspension,
    resume_deployment,
    suspend_deployment,
    suspend_version,
)
from models_registry.models import Deployment, ModelVersion, VersionStatus
from tests.governance.deployment_scene import WHY, acts_since, approved, findings, put
from tests.governance.deployment_steps import FOUND, LATER, size, state, version
from tests.governance.signed import signed

__all__ = ["version"]


def test_another_person_resumes(version: ModelVersion, people: SimpleNamespace) -> None:
    row = put(version, people.clara)
    suspend_deployment(deployment=row, reason=WHY, by=people.clara)
    with pytest.raises(DeniedError, match="You suspended this deployment"):
        resume_deployment(deployment=row, reason=FOUND, by=people.clara, signed=signed(people.clara))
    before = size()
    resume_deployment(deployment=row, reason=FOUND, by=people.lea, signed=signed(people.lea))
    assert acts_since(before) == ["version.moved", "deployment.resumed", "version.moved"]
    assert (row.status, state(version)) == ("running", VersionStatus.DEPLOYED)


def test_a_second_account_is_no_other_person(version: ModelVersion, people: SimpleNamespace) -> None:
    second = User.objects.create(username="clara2", merged_into=people.clara)
    RoleGrant.objects.create(user=second, role=Role.CLINICIAN_LEAD)
    row = put(version, people.lea)
    suspend_version(version=version, reason=WHY, by=people.clara)
    assert who_suspended(version) == people.clara
    assert approval_if_lifted(version).stands and not standing_approval(version).stands
    row.refresh_from_db()
    for act, subject in ((resume_deployment, {"deployment": row}), (lift_suspension, {"version": version})):
        with pytest.raises(DeniedError, match="You suspended"):
            act(reason=FOUND, by=second, signed=signed(second), **subject)
    assert state(version) == VersionStatus.SUSPENDED


def test_resuming_is_signed_and_asks_the_approval_and_the_gate(
    version: ModelVersion, people: SimpleNamespace, monkeypatch: Any
) -> None:
    row = put(version, people.clara)
    suspend_deployment(deployment=row, reason=WHY, by=people.dora)
    again = {"deployment": row, "reason": FOUND, "by": people.clara}
    with pytest.raises(DeniedError, match="proof of who you are"):
        resume_deployment(**again, signed=None)
    with pytest.raises(AuscultError, match="needs 20"):
        resume_deployment(**again | {"reason": "fine"}, signed=signed(people.clara))
    before = size()
    with monkeypatch.context() as patch:
        patch.setattr(starting, "findings_of", lambda one, site: [findings(one, State.STALE)])
        with pytest.raises(ConflictError, match="lacks evidence"):
            resume_deployment(**again, signed=signed(people.clara))
    assert (size(), state(version)) == (before, VersionStatus.SUSPENDED)
    review = Review.objects.get(version=version)
    lapsed = Condition.objects.create(review=review, text="Local audit", owner=people.elena, due_at=LATER,
                                      proposed_by=people.clara, status=Condition.Status.LAPSED)  # fmt: skip
    assert not approval_if_lifted(version).stands
    with pytest.raises(ConflictError, match="condition of the approval"):
        resume_deployment(**again, signed=signed(people.clara))
    assert state(version) == VersionStatus.SUSPENDED
    Condition.objects.filter(pk=lapsed.pk).update(status=Condition.Status.ENDED)
    resume_deployment(**again, signed=signed(people.clara))
    with pytest.raises(ConflictError, match="is running and cannot become running"):
        resume_deployment(**again, signed=signed(people.clara))


def test_lifting_starts_nothing(people: SimpleNamespace, home: Path) -> None:
    version = approved(people, home, status="conditional")
    review = Review.objects.get(version=version)
    Condition.objects.create(review=review, text="Local audit", owner=people.elena, due_at=LATER,
                             proposed_by=people.clara, status=Condition.Status.OPEN)  # fmt: skip
    row = put(version, people.clara)
    suspend_version(version=version, reason=WHY, by=None)
    before = size()
    lift_suspension(version=version, reason=FOUND, by=people.clara, signed=signed(people.clara))
    assert acts_since(before) == ["version.moved", "deployment.suspension_lifted"]
    assert state(version) == VersionStatus.CONDITIONAL
    assert Deployment.objects.get().status == "suspended"
    with pytest.raises(ConflictError, match="not suspended"):
        lift_suspension(version=version, reason=FOUND, by=people.clara, signed=signed(people.clara))
    resume_deployment(deployment=row, reason=FOUND, by=people.clara, signed=signed(people.clara))
    assert state(version) == VersionStatus.DEPLOYED


def test_ending_the_last_one_gives_the_version_back(version: ModelVersion, people: SimpleNamespace) -> None:
    north, south = put(version, people.clara, "North"), put(version, people.clara, "South")
    end_deployment(deployment=north, reason="The site closes its department.", by=people.lea)
    assert state(version) == VersionStatus.DEPLOYED
    before = size()
    end_deployment(deployment=south, reason="The site closes its department.", by=people.lea)
    assert acts_since(before) == ["deployment.ended", "version.moved"]
    assert state(version) == VersionStatus.APPROVED
    with pytest.raises(ConflictError, match="is ended"):
        end_deployment(deployment=south, reason="The site closes its department.", by=people.lea)
    with pytest.raises(DeniedError):
        end_deployment(deployment=south, reason="The site closes its department.", by=people.dora)
    assert [row["status"] for row in register(version.system)] == ["ended", "ended"]


def test_ending_beside_a_suspended_one_leaves_the_version_suspended(
    version: ModelVersion, people: SimpleNamespace
) -> None:
    north, south = put(version, people.clara, "North"), put(version, people.clara, "South")
    suspend_deployment(deployment=north, reason=WHY, by=people.dora)
    end_deployment(deployment=south, reason="The site closes its department.", by=people.lea)
    assert state(version) == VersionStatus.SUSPENDED


def test_the_site_confirms_once(version: ModelVersion, people: SimpleNamespace) -> None:
    row = put(version, people.clara)
    with pytest.raises(ConflictError, match="Nothing waits"):
        acknowledge_suspension(deployment=row, name="Ines Vogel", by=people.mina)
    suspend_deployment(deployment=row, reason=WHY, by=people.clara)
    with pytest.raises(ConflictError, match="Say who"):
        acknowledge_suspension(deployment=row, name="  ", by=people.mina)
    for who in (people.rita, people.ada):
        with pytest.raises(DeniedError):
            acknowledge_suspension(deployment=row, name="Ines Vogel", by=who)
    before = size()
    acknowledge_suspension(deployment=row, name=" Ines  Vogel", by=people.mina)
    assert acts_since(before) == ["deployment.acknowledged"]
    assert (row.acknowledged_by, row.acknowledged_at is not None) == ("Ines Vogel", True)
    with pytest.raises(ConflictError, match="Nothing waits"):
        acknowledge_suspension(deployment=row, name="Somebody", by=people.mina)


def _acts(version: ModelVersion, people: SimpleNamespace) -> dict[str, Any]:
    """Each act, ready to be done, by name; every one is allowed."""
    running, stopped = put(version, people.clara, "North"), put(version, people.clara, "South")
    suspend_deployment(deployment=stopped, reason=WHY, by=people.dora)
    again = {"reason": FOUND, "by": people.clara, "signed": signed(people.clara)}
    return {
        "deploy": lambda: put(version, people.clara, "West"),
        "suspend": lambda: suspend_deployment(deployment=running, reason=WHY, by=people.amir),
        "suspend_version": lambda: suspend_version(version=version, reason=WHY, by=people.amir),
        "resume": lambda: resume_deployment(deployment=stopped, **again),
        "end": lambda: end_deployment(deployment=running, reason=WHY, by=people.clara),
        "acknowledge": lambda: acknowledge_suspension(deployment=stopped, name="Ines", by=people.amir),
    }


@pytest.mark.parametrize("name", ["deploy", "suspend", "suspend_version", "resume", "end", "acknowledge"])
def test_an_act_without_its_entry_does_not_happen(
    version: ModelVersion, people: SimpleNamespace, monkeypatch: Any, name: str
) -> None:
    act = _acts(version, people)[name]

    def picture() -> list[Any]:
        rows = list(Deployment.objects.order_by("pk").values())
        return [rows, state(version), size(), OutgoingMail.objects.count(), Notification.objects.count()]

    def broken(**_: Any) -> None:
        raise RuntimeError("the ledger is not there")

    before = picture()
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "record", broken)
        with pytest.raises(RuntimeError, match="the ledger"), transaction.atomic():
            act()
    assert picture() == before
    act()
    assert picture() != before
    assert ledger.verify().intact


def test_every_step_is_in_the_table() -> None:
    assert set(services.TRANSITIONS) == set(Deployment.Status.values)
    assert services.TRANSITIONS[Deployment.Status.ENDED] == frozenset()
