"""What is gathered for a gate from the rows: trained on, patients, approval, risks, measures, incidents, sites."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from core.models import LedgerEntry, Notification
from evaluation.models import AuditRun, Measurement, Protocol
from governance import execution_policies
from governance.execution_policies import expire_acceptances, step, tell_what_runs_out
from governance.models import (
    Condition,
    Incident,
    IncidentClock,
    OversightMeasure,
    Policy,
    Report,
    Review,
    Risk,
    RiskRating,
)
from governance.policies.facts import PolicyFacts
from governance.policies.findings import State
from governance.selectors.policies import gate, rules_of
from governance.selectors.policy_facts import gather
from governance.services.policies import revoke_acceptance, withdraw_policy
from governance.sweeps import SWEEPS
from models_registry.models import CohortVersion, Deployment, ModelVersion, Origin, VersionStatus
from tests.governance.conftest import make_version
from tests.governance.policy_fixtures import WAIVED, Audited, accept, judged, standing, told
from tests.governance.policy_scene import asks_everything, audit_body

__all__ = ["judged", "standing"]


def facts_of(version: ModelVersion) -> PolicyFacts:
    return gather([version], [asks_everything()])[version.pk]


def trained(version: ModelVersion, on: CohortVersion) -> None:
    Origin.objects.create(version=version, relation="trained_on", source_cohort=on, told_by="the training")


def from_version(version: ModelVersion, relation: str, source: ModelVersion) -> None:
    Origin.objects.create(version=version, relation=relation, source_version=source, told_by="equal weights")


def other_content(of: CohortVersion, letter: str = "7") -> CohortVersion:
    return CohortVersion.objects.create(
        cohort=of.cohort, digest=letter * 64, n_studies=1, n_patients=1, summary={}, registered_by=of.registered_by
    )


# Trained on


def test_training_on_any_version_of_a_cohort_takes_it_out(judged: Audited, standing: Callable[..., Policy]) -> None:
    run, policy = judged(), standing()
    assert gate(run.version, policy).items[0].state == State.MET
    trained(run.version, other_content(run.cohort))
    found = gate(run.version, policy).items[0]
    assert found.state == State.MISSING and "the version was trained on it" in found.statement


@pytest.mark.parametrize("relation", ["backbone", "fine_tuned", "same_weights"])
def test_so_does_training_of_what_it_was_made_from(
    relation: str, people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(), standing()
    middle, first = make_version(people, "backbone"), make_version(people, "first")
    from_version(run.version, relation, middle)
    from_version(middle, "fine_tuned", first)
    from_version(first, "same_weights", middle)  # a circle ends
    trained(first, run.cohort)
    found = gate(run.version, policy).items[0]
    assert (
        found.state == State.MISSING
        and "Chest model first, which it is made from, was trained on it" in found.statement
    )


def test_training_of_what_was_made_from_it_does_not(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(), standing()
    child = make_version(people, "child")
    from_version(child, "fine_tuned", run.version)
    trained(child, run.cohort)
    assert gate(run.version, policy).items[0].state == State.MET


# Runs


def test_patients_are_those_that_were_judged(judged: Audited) -> None:
    run = judged()
    assert facts_of(run.version).runs[0].patients == 200
    for position, patients in enumerate((None, 30, 150)):
        Measurement.objects.create(run=run, position=position, suite="fairness", metric="x", patients=patients)
    assert facts_of(run.version).runs[0].patients == 150
    Measurement.objects.create(run=run, position=9, suite="fairness", metric="x", patients=9_999)
    assert facts_of(run.version).runs[0].patients == 200


def test_only_finished_runs_with_evidence_are_gathered(judged: Audited) -> None:
    run = judged()
    for changes in ({"status": "failed"}, {"evidence_digest": ""}, {"outcome": ""}, {"finished_at": None}):
        before = AuditRun.objects.filter(pk=run.pk).values(*changes).get()
        AuditRun.objects.filter(pk=run.pk).update(**changes)
        assert facts_of(run.version).runs == ()
        AuditRun.objects.filter(pk=run.pk).update(**before)
    assert len(facts_of(run.version).runs) == 1


def test_a_protocol_that_was_withdrawn_counts_no_more(judged: Audited, standing: Callable[..., Policy]) -> None:
    run, policy = judged(), standing()
    Protocol.objects.update(status="withdrawn")
    assert "which is not approved" in gate(run.version, policy).items[0].statement


# Approval


def reviewed(run: AuditRun, people: SimpleNamespace, status: str = "approved") -> Review:
    return Review.objects.create(
        version=run.version, run=run, evidence_digest=run.evidence_digest, version_digest=run.version.digest,
        status=status, submitter=people.elena, runner=people.amir, protocol_approver=people.clara,
        opened_by=people.clara, closed_at=timezone.now(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "review", "expected"),
    [
        (VersionStatus.IN_AUDIT, None, State.MISSING),
        (VersionStatus.IN_REVIEW, "open", State.MISSING),
        (VersionStatus.APPROVED, "approved", State.MET),
        (VersionStatus.DEPLOYED, "approved", State.MET),
        (VersionStatus.CONDITIONAL, "conditional", State.MET),
        (VersionStatus.SUSPENDED, "approved", State.FAILED),
        (VersionStatus.REJECTED, "rejected", State.FAILED),
        (VersionStatus.RETIRED, "approved", State.FAILED),
    ],
)
def test_how_the_approval_stands(
    status: str, review: str | None, expected: State, people: SimpleNamespace, judged: Audited
) -> None:
    run = judged()
    if review:
        reviewed(run, people, review)
    ModelVersion.objects.filter(pk=run.version_id).update(status=status)
    approval = facts_of(run.version).approval
    assert approval is not None and approval.state == expected and bool(approval.reason) == (expected != State.MET)


def test_a_void_approval_is_stale_and_a_lapsed_condition_fails(people: SimpleNamespace, judged: Audited) -> None:
    run = judged()
    review = reviewed(run, people, "conditional")
    condition = Condition.objects.create(
        review=review, text="Train the night shift", owner=people.lea, due_at=timezone.now() + timedelta(days=9),
        status="open", proposed_by=people.clara,
    )  # fmt: skip
    ModelVersion.objects.filter(pk=run.version_id).update(status="conditional")
    approval = facts_of(run.version).approval
    assert approval is not None and approval.state == State.MET
    assert (approval.conditions, approval.first_due) == (("Train the night shift",), condition.due_at)
    Condition.objects.update(status="lapsed")
    lapsed = facts_of(run.version).approval
    assert lapsed is not None and lapsed.state == State.FAILED and "Train the night shift" in lapsed.reason
    Condition.objects.update(status="ended")
    ModelVersion.objects.update(status="void", void_at=timezone.now(), void_reason="The backbone changed.")
    void = facts_of(run.version).approval
    assert void is not None and void.state == State.STALE and "The backbone changed." in void.reason


# The system


def test_risks_measures_incidents_sites(people: SimpleNamespace, judged: Audited) -> None:
    version = judged().version
    empty = facts_of(version)
    assert empty.risks is not None and (empty.risks.recorded, empty.measures, empty.incidents) == (0, (), None)
    assert (empty.sites, empty.first_used, empty.reports) == ((), None, ())
    risk = Risk.objects.create(
        system=version.system, number=1, title="Missed effusion", kind="clinical", hazard="x", cause="x", harm="x"
    )
    unrated = facts_of(version).risks
    assert unrated is not None and unrated.not_rated == ("risk 1, Missed effusion",) and not unrated.rated_too_high
    rate(risk, people, 4, 4)
    rated = facts_of(version).risks
    assert rated is not None and rated.rated_too_high == ("risk 1, Missed effusion",) and not rated.not_rated
    _measures_incidents_and_sites(people, version)
    whole = facts_of(version)
    assert whole.measures == (("d", "verified"), ("e", "recorded"))
    assert whole.incidents is not None
    assert whole.incidents.owed == ("Incident 1: Missed",) and whole.incidents.unknown == ("Incident 2: Missed",)
    assert whole.sites == ("Graz", "Linz") and whole.first_used is not None
    assert [(report.kind, report.ready) for report in whole.reports] == [("annex_iv", True)]
    other = make_version(people, "same-system")
    assert facts_of(other).sites == ("Graz", "Linz") and facts_of(other).first_used is None


def rate(risk: Risk, people: SimpleNamespace, severity: int, likelihood: int) -> None:
    for stage in ("before", "after"):
        RiskRating.objects.create(
            risk=risk, stage=stage, severity=severity, likelihood=likelihood, reason="x", rated_by=people.amir
        )


def _measures_incidents_and_sites(people: SimpleNamespace, version: ModelVersion) -> None:
    now = timezone.now()
    for limb, verified, ended in (("d", people.lea, None), ("d", None, None), ("e", None, None), ("a", None, now)):
        OversightMeasure.objects.create(
            system=version.system, limb=limb, kind="built_in", text="x", role="x", moment="x", responsible=people.clara,
            recorded_by=people.amir, verified_by=verified, verification="Seen." if verified else "", ended_at=ended,
        )  # fmt: skip
    for number, status, owed, met in (
        (1, "open", "yes", None), (2, "investigating", "unknown", None), (3, "open", "yes", now),
        (4, "closed", "yes", None),
    ):  # fmt: skip
        incident = Incident.objects.create(
            system=version.system, number=number, title="Missed", description="x", zone="UTC", status=status,
            reported_by=people.amir, root_cause="x", correction="x", closed_at=now,
        )  # fmt: skip
        IncidentClock.objects.create(
            incident=incident, regime="x", deadline="x", owed=owed, reason="x", met_at=met, due_at=now
        )
    for site, status in (("Graz", "running"), ("Linz", "suspended"), ("Wels", "ended")):
        Deployment.objects.create(
            version=version, site=site, contact_name="x", contact_email="x@example.org", status=status, started_at=now,
            started_by=people.clara, suspension="x", suspended_at=now,
        )  # fmt: skip
    for status in ("issued", "failed"):
        Report.objects.create(
            kind="annex_iv", version=version, status=status, as_of=now, ready=True, issued_by=people.clara
        )


# What runs out is told


def test_steps_before_the_end() -> None:
    now = timezone.now()
    days = {20: "", 14.01: "", 14: "14", 3.01: "14", 3: "3", 1.5: "3", 1: "1", 0.01: "1", 0: "ended", -5: "ended"}
    assert {left: step(now + timedelta(days=left), now) for left in days} == days


def test_an_acceptance_that_runs_out_is_told_at_each_step_once(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    row = accept(run, policy, people.clara)
    Notification.objects.all().delete()
    entries = LedgerEntry.objects.count()
    for days, sent, urgency in ((20, 0, ""), (14, 1, "action"), (10, 0, ""), (3, 1, "action"), (1, 1, "action"),
                                (0, 1, "urgent"), (-1, 0, ""), (-31, 0, "")):  # fmt: skip
        now = row.expires_at - timedelta(days=days)
        assert (expire_acceptances(now), expire_acceptances(now)) == (sent, 0), days
        if sent:
            newest = Notification.objects.filter(recipient=people.clara).latest("pk")
            assert (newest.urgency, newest.topic) == (urgency, "policies")
            assert f"/policies/{policy.name}/" in newest.href
    assert len(told(people.clara)) == len(told(people.amir)) == len(told(people.lea)) == 4 and told(people.elena) == []
    assert LedgerEntry.objects.count() == entries  # it is telling, no act


@pytest.mark.parametrize("ended", ["revoked", "withdrawn"])
def test_what_was_ended_is_not_told_again(
    ended: str, people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    row = accept(run, policy, people.clara)
    if ended == "revoked":
        revoke_acceptance(acceptance=row, reason="No.", by=people.clara)
    else:
        withdraw_policy(policy=policy, reason="No.", by=people.clara)
    assert expire_acceptances(row.expires_at - timedelta(days=1)) == 0


def test_evidence_of_a_version_in_use_is_told_before_it_is_too_old(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(), standing(audit_body(max_age_days=100))
    until = gate(run.version, policy).items[0].expires_at
    assert until is not None and rules_of(policy).audits[0].max_age_days == 100
    assert expire_acceptances(until - timedelta(days=1)) == 0  # nobody uses it
    Deployment.objects.create(
        version=run.version, site="Graz", contact_name="x", contact_email="x@example.org", started_at=timezone.now(),
        started_by=people.clara,
    )  # fmt: skip
    Notification.objects.all().delete()
    for days, sent in ((15, 0), (14, 1), (5, 0), (3, 1), (1, 1), (-0.1, 1), (-2, 0)):
        assert expire_acceptances(until - timedelta(days=days)) == sent, days
    assert told(people.amir)[-1] == f"Evidence of {run.version}, in use, is too old: Fair to women and men"
    assert Notification.objects.filter(recipient=people.amir).latest("pk").urgency == "urgent"


def test_the_sweep_looks_once_in_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(execution_policies, "expire_acceptances", lambda: looks.append(1) or 4)
    cache.clear()
    assert (tell_what_runs_out(), tell_what_runs_out(), len(looks)) == (4, 0, 1)
    cache.delete(execution_policies.LOOKED)  # as it is when its time is over
    assert (tell_what_runs_out(), len(looks), execution_policies.LOOK_EVERY) == (4, 2, 15 * 60)
    assert "governance.execution_policies:tell_what_runs_out" in SWEEPS


def test_nothing_due_costs_little(django_assert_max_num_queries: Any, db: None) -> None:
    with django_assert_max_num_queries(2):
        assert expire_acceptances() == 0
