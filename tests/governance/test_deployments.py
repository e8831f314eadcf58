"""Deploying, suspending, resuming and ending: who may, what is asked, what is refused, what stands in the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, OutgoingMail
from governance.policies.findings import State
from governance.selectors.deployments import share_taken
from governance.services import starting
from governance.services.deployments import (
    deploy,
    suspend_deployment,
    suspend_version,
)
from models_registry.models import Deployment, ModelVersion, VersionStatus
from models_registry.services.suspensions import notice_of, reason_of
from models_registry.services.versions import model_store
from tests.governance.deployment_scene import PLACE, WHY, acts_since, approved, findings, put
from tests.governance.deployment_steps import size, state, version
from tests.governance.signed import signed

__all__ = ["version"]


def test_a_deployment_moves_the_version_and_keeps_what_the_gates_found(
    version: ModelVersion, people: SimpleNamespace, monkeypatch: Any
) -> None:
    monkeypatch.setattr(starting, "findings_of", lambda row, site: [findings(row)])
    before = size()
    row = put(version, people.clara, " North   Hospital ", unit="Radiology", share=40)
    assert (row.site, row.unit, row.share, row.status) == ("North Hospital", "Radiology", 40, "running")
    assert state(version) == VersionStatus.DEPLOYED
    assert acts_since(before) == ["deployment.started", "version.moved"]
    kept = model_store().get_json(row.gate_digest)
    assert [item["state"] for item in kept["policies"][0]["items"]] == ["met"]
    assert (kept["policies"][0]["outcome"], kept["version"]) == ("pass", version.digest)
    payload = json.loads(LedgerEntry.objects.get(act="deployment.started").body)["payload"]
    assert payload["signed_with"] == "password"
    assert payload["gate"] == row.gate_digest
    assert "ines" not in json.dumps(payload)


@pytest.mark.parametrize("who", ["elena", "amir", "mina", "dora", "rita", "ada"])
def test_only_chair_and_clinician_lead_deploy(version: ModelVersion, people: SimpleNamespace, who: str) -> None:
    before = size()
    with pytest.raises(DeniedError):
        put(version, getattr(people, who))
    assert (Deployment.objects.count(), size()) == (0, before)


def test_deploying_is_signed(version: ModelVersion, people: SimpleNamespace) -> None:
    for proof in (None, signed(people.lea)):
        with pytest.raises(DeniedError, match="proof of who you are"):
            deploy(version=version, site="North", by=people.clara, signed=proof, **PLACE)
    assert not Deployment.objects.exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"site": " "}, "needs a site"),
        ({"site": "N\0rth"}, "holds a character"),
        ({"unit": "x" * 201}, "longer than 200"),
        ({"contact_name": " "}, "needs a contact"),
        ({"contact_email": "nobody"}, "e-mail address"),
        ({"contact_email": "a@b.example\nBcc: c@d.example"}, "e-mail address"),
        ({"share": 0}, "per cent is none"),
        ({"share": 101}, "per cent is none"),
        ({"share": True}, "per cent is none"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    version: ModelVersion, people: SimpleNamespace, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConflictError, match=says):
        put(version, people.clara, **({"site": "North"} | given))
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("status", ["in_audit", "in_review", "rejected", "suspended", "void", "retired", "submitted"])
def test_only_what_stands_approved_is_deployed(version: ModelVersion, people: SimpleNamespace, status: str) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(status=status)
    with pytest.raises(ConflictError, match="may not be used"):
        put(version, people.clara)
    assert state(version) == status


def test_an_approval_of_other_weights_does_not_count(version: ModelVersion, people: SimpleNamespace) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(digest="f" * 64)
    with pytest.raises(ConflictError, match="other weights"):
        put(version, people.clara)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (State.FAILED, "fails"),
        (State.MISSING, "lacks evidence"),
        (State.STALE, "lacks evidence"),
        (State.INSUFFICIENT, "lacks evidence"),
    ],
)
def test_a_gate_that_does_not_pass_stops_it_with_its_remedy(
    version: ModelVersion, people: SimpleNamespace, monkeypatch: Any, found: State, word: str
) -> None:
    monkeypatch.setattr(starting, "findings_of", lambda row, site: [findings(row), findings(row, found)])
    before = size()
    with pytest.raises(ConflictError, match=word) as refusal:
        put(version, people.clara)
    assert "cohort with the role local" in refusal.value.remedy
    assert (state(version), size(), Deployment.objects.count()) == (VersionStatus.APPROVED, before, 0)


def test_shares_at_one_place_sum_to_a_hundred_at_most(people: SimpleNamespace, home: Path) -> None:
    first, second = approved(people, home, "1.0"), approved(people, home, "2.0")
    held = put(first, people.clara, "North", share=60)
    with pytest.raises(ConflictError, match="60 per cent") as refusal:
        put(second, people.clara, "NORTH", share=41)
    assert "at most 40 per cent" in refusal.value.remedy
    suspend_deployment(deployment=held, reason=WHY, by=people.dora)
    with pytest.raises(ConflictError, match="keep their share"):
        put(second, people.clara, "North", share=41)
    put(second, people.clara, "North", share=40)
    put(second, people.clara, "South", share=100)


def test_a_unit_counts_what_runs_in_the_whole_site(people: SimpleNamespace, home: Path) -> None:
    first, second = approved(people, home, "1.0"), approved(people, home, "2.0")
    put(first, people.clara, "North", unit="Radiology", share=70)
    with pytest.raises(ConflictError, match="70 per cent"):
        put(second, people.clara, "North", unit="", share=31)
    put(second, people.clara, "North", unit="Emergency", share=100)


@given(
    st.lists(
        st.tuples(st.sampled_from(["A", "a", "B"]), st.sampled_from(["", "x", "X", "y"]), st.integers(1, 100)),
        max_size=6,
    ),
    st.sampled_from(["A", "B"]),
    st.sampled_from(["", "x", "y"]),
)
def test_the_share_that_is_taken_agrees_with_counting_studies(
    rows: list[tuple[str, str, int]], site: str, unit: str
) -> None:
    """Oracle: for each unit that a study may come from, add up who takes a share of it; the fullest one counts."""
    held = [Deployment(site=where, unit=part, share=share) for where, part, share in rows]
    named = {part.lower() for where, part, _ in rows if part and where.lower() == site.lower()}
    units = [unit] if unit else [*named, "somewhere else"]
    loads = [
        sum(share for where, part, share in rows if where.lower() == site.lower() and part.lower() in ("", one))
        for one in units
    ]
    assert share_taken(held, site=site, unit=unit) == max(loads)


def test_a_version_runs_once_at_a_place(version: ModelVersion, people: SimpleNamespace) -> None:
    put(version, people.clara, "North", share=10)
    with pytest.raises(ConflictError, match="deployed at north already"):
        put(version, people.clara, "north", share=10)
    assert Deployment.objects.count() == 1


def test_one_person_suspends_one_deployment_at_once(version: ModelVersion, people: SimpleNamespace) -> None:
    north, south = put(version, people.clara, "North"), put(version, people.clara, "South")
    before = size()
    suspend_deployment(deployment=north, reason=f"  {WHY} ", by=people.amir)
    assert acts_since(before) == ["deployment.suspended"]
    north.refresh_from_db()
    assert (north.status, north.suspended_by, reason_of(north)) == ("suspended", people.amir, WHY)
    assert (state(version), Deployment.objects.get(pk=south.pk).status) == (VersionStatus.DEPLOYED, "running")
    notice = notice_of(north)
    assert WHY in notice and "Chest model 1.0 at North" in notice and "Ines Vogel" in notice
    mail = OutgoingMail.objects.get()
    assert (mail.address, mail.text) == ("ines@hospital.example", notice)
    told = Notification.objects.filter(key__startswith=f"deployment:{north.pk}:suspended:")
    assert {row.recipient.username for row in told} == {"clara", "lea", "dora", "amir", "elena"}
    assert {row.urgency for row in told} == {"urgent"}
    assert {row.href for row in told} == {f"/governance/deployments/{north.pk}/"}


def test_suspending_the_last_one_suspends_the_version(version: ModelVersion, people: SimpleNamespace) -> None:
    only = put(version, people.clara)
    before = size()
    suspend_deployment(deployment=only, reason=WHY, by=people.clara)
    assert acts_since(before) == ["deployment.suspended", "version.moved"]
    assert state(version) == VersionStatus.SUSPENDED


def test_a_version_is_suspended_everywhere_as_one_act(version: ModelVersion, people: SimpleNamespace) -> None:
    sites = [put(version, people.clara, site) for site in ("North", "South", "East")]
    before = size()
    stopped = suspend_version(version=version, reason=WHY, by=people.dora)
    assert [row.pk for row in stopped] == [row.pk for row in sites]
    assert acts_since(before) == ["deployment.suspended", "version.moved"]
    assert set(Deployment.objects.values_list("status", flat=True)) == {"suspended"}
    assert version.status == state(version) == VersionStatus.SUSPENDED
    payload = json.loads(LedgerEntry.objects.get(act="deployment.suspended").body)["payload"]
    assert payload["deployments"] == [row.pk for row in sites]
    assert WHY not in json.dumps(payload)
    assert OutgoingMail.objects.count() == 3


def test_suspending_again_does_nothing(version: ModelVersion, people: SimpleNamespace) -> None:
    put(version, people.clara)
    assert len(suspend_version(version=version, reason=WHY, by=None)) == 1
    before, mails, told = size(), OutgoingMail.objects.count(), Notification.objects.count()
    assert suspend_version(version=version, reason=WHY, by=None) == []
    assert suspend_version(version=ModelVersion.objects.get(pk=version.pk), reason=WHY, by=people.lea) == []
    assert (size(), OutgoingMail.objects.count(), Notification.objects.count()) == (before, mails, told)


def test_the_platform_suspends_what_runs_nowhere_too(version: ModelVersion) -> None:
    before = size()
    assert suspend_version(version=version, reason=WHY, by=None) == []
    assert acts_since(before) == ["deployment.suspended", "version.moved"]
    assert LedgerEntry.objects.get(index=before).actor == "system"
    assert state(version) == VersionStatus.SUSPENDED


@pytest.mark.parametrize("who", ["elena", "mina", "rita", "ada"])
def test_who_may_not_suspend(version: ModelVersion, people: SimpleNamespace, who: str) -> None:
    row = put(version, people.clara)
    person = getattr(people, who)
    with pytest.raises(DeniedError):
        suspend_deployment(deployment=row, reason=WHY, by=person)
    with pytest.raises(DeniedError):
        suspend_version(version=version, reason=WHY, by=person)
    assert Deployment.objects.get().status == "running"


@pytest.mark.parametrize("reason", ["", "too short", " " * 30, "x" * 4001, "a reason with\0 a character of none"])
def test_a_suspension_needs_a_reason(version: ModelVersion, people: SimpleNamespace, reason: str) -> None:
    row = put(version, people.clara)
    with pytest.raises(AuscultError, match=r"needs 20 to 4,000|cannot be printed"):
        suspend_deployment(deployment=row, reason=reason, by=people.clara)
    with pytest.raises(AuscultError, match=r"needs 20 to 4,000|cannot be printed"):
        suspend_version(version=version, reason=reason, by=None)
    assert Deployment.objects.get().status == "running"


def test_what_is_not_running_is_not_suspended(version: ModelVersion, people: SimpleNamespace) -> None:
    row = put(version, people.clara)
    suspend_deployment(deployment=row, reason=WHY, by=people.clara)
    with pytest.raises(ConflictError, match="is suspended and cannot become suspended"):
        suspend_deployment(deployment=row, reason=WHY, by=people.clara)
