"""Policies in the database: proposed and approved by two persons, never changed; the gate on what the rows hold."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, ConflictError, DeniedError, DigestMismatchError
from core.models import Notification, Role
from evaluation.models import AuditRun
from governance.models import Acceptance, Policy
from governance.policies.findings import GateOutcome
from governance.policies.reading import PolicyError
from governance.selectors.policies import gate, gates, in_force, policies_for, policy_for, rules_of, versions_under
from governance.services.policies import (
    TRANSITIONS,
    approve_policy,
    propose_policy,
    record_gate,
    revoke_acceptance,
    withdraw_policy,
)
from models_registry.models import Cohort
from models_registry.services.cohort_roles import assign_cohort_role
from tests.governance.policy_fixtures import (
    WAIVED,
    Audited,
    accept,
    acts,
    judged,
    payload,
    second_account,
    standing,
    told,
)
from tests.governance.policy_scene import audit_body, written
from tests.governance.signed import signed

__all__ = ["judged", "standing"]


# Proposing and approving


def test_a_policy_is_proposed_and_approved_by_two_persons(people: SimpleNamespace) -> None:
    source = written()
    policy = propose_policy(source=source, by=people.amir)
    assert (policy.name, policy.number, policy.status, policy.source) == ("chest-use", 1, "proposed", source)
    assert in_force() == [] and told(people.clara) == ["Approve the policy chest-use no. 1?"]
    approved = approve_policy(policy=policy, by=people.clara, signed=signed(people.clara))
    assert approved.status == "approved" and approved.approved_by == people.clara
    assert acts("Policy", policy.pk) == ["policy.proposed", "policy.approved"]
    assert payload("policy.approved")["digest"] == policy.digest and payload("policy.approved")["signed_with"]
    assert "The policy chest-use no. 1 is in force" in told(people.amir)


@pytest.mark.parametrize("name", ["elena", "mina", "rita", "ada"])
def test_who_may_not_propose(name: str, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="may propose a policy"):
        propose_policy(source=written(), by=getattr(people, name))
    assert not Policy.objects.exists()


@pytest.mark.parametrize("name", ["elena", "amir", "mina", "lea", "dora", "rita", "ada"])
def test_who_may_not_approve(name: str, people: SimpleNamespace) -> None:
    policy = propose_policy(source=written(), by=people.clara)
    person = getattr(people, name)
    with pytest.raises(DeniedError, match="committee chair may approve"):
        approve_policy(policy=policy, by=person, signed=signed(person))


def test_nobody_approves_their_own_proposal_by_any_account_or_role(people: SimpleNamespace) -> None:
    policy = propose_policy(source=written(), by=people.clara)
    other = second_account(people.clara, Role.COMMITTEE_CHAIR)
    for person in (people.clara, other):
        with pytest.raises(DeniedError, match="You proposed this policy"):
            approve_policy(policy=policy, by=person, signed=signed(person))
        with pytest.raises(DatabaseError), transaction.atomic():
            Policy.objects.filter(pk=policy.pk).update(
                status="approved", approved_by=person, approved_at=timezone.now()
            )
    assert Policy.objects.get(pk=policy.pk).status == "proposed"


def test_approving_asks_for_a_fresh_proof_of_ones_own(people: SimpleNamespace) -> None:
    policy = propose_policy(source=written(), by=people.amir)
    for proof in (None, signed(people.amir)):
        with pytest.raises(DeniedError, match="Signing asks"):
            approve_policy(policy=policy, by=people.clara, signed=proof)  # type: ignore[arg-type]
    assert acts("Policy", policy.pk) == ["policy.proposed"]


def test_equal_rules_and_bad_rules_are_refused(people: SimpleNamespace) -> None:
    propose_policy(source=written(), by=people.amir)
    with pytest.raises(ConflictError, match=r"known already, as chest-use no\. 1: awaiting approval"):
        propose_policy(source=written() + "# another comment\n", by=people.dora)
    with pytest.raises(PolicyError, match="missing: name"):
        propose_policy(source="title: x", by=people.amir)
    assert Policy.objects.count() == 1


def test_a_later_number_supersedes_and_an_earlier_one_does_not(
    people: SimpleNamespace, standing: Callable[..., Policy]
) -> None:
    waiting = propose_policy(source=written(title="Never approved"), by=people.amir)
    first = standing(audit_body(max_age_days=100))
    second = standing(audit_body(max_age_days=200))
    first.refresh_from_db()
    assert (waiting.number, first.number, second.number) == (1, 2, 3)
    assert (first.status, second.status, in_force()) == ("superseded", "approved", [second])
    assert acts("Policy", first.pk)[-1] == "policy.superseded" and payload("policy.superseded")["superseded_by"] == 3
    with pytest.raises(ConflictError, match="an earlier number does not replace it"):
        approve_policy(policy=waiting, by=people.clara, signed=signed(people.clara))
    with pytest.raises(ConflictError, match="cannot become in force: it is superseded"):
        approve_policy(policy=first, by=people.clara, signed=signed(people.clara))


def test_two_policies_that_apply_equally_are_not_both_in_force(
    people: SimpleNamespace, standing: Callable[..., Policy]
) -> None:
    standing(name="for-all")
    standing(name="for-chest", applies_to=["chest-model", "other"])
    for name, applies_to, words in (
        ("all-again", "all", "both apply to all systems"),
        ("chest-again", ["third", "chest-model"], "both name chest-model"),
    ):
        policy = propose_policy(source=written(name=name, applies_to=applies_to), by=people.amir)
        with pytest.raises(ConflictError, match=words):
            approve_policy(policy=policy, by=people.clara, signed=signed(people.clara))
        assert Policy.objects.get(pk=policy.pk).status == "proposed"


def test_which_policies_apply(standing: Callable[..., Policy], audited: Audited) -> None:
    system = audited().version.system
    assert policy_for(system) is None and policies_for(system) == []
    general = standing(name="for-all")
    assert policy_for(system) == general and policies_for(system) == [general]
    named = standing(name="for-chest", applies_to=["chest-model"])
    standing(name="for-another", applies_to=["another"])
    assert policy_for(system) == named and policies_for(system) == [named, general]


def test_two_that_apply_equally_by_a_raw_write_are_named(standing: Callable[..., Policy], audited: Audited) -> None:
    system = audited().version.system
    standing(name="one"), standing(name="two", applies_to=["x"])
    body = Policy.objects.get(name="two").body | {"applies_to": "all"}
    Policy.objects.filter(name="two").update(body=body)
    with pytest.raises(DigestMismatchError, match=r"two no\. 1 were changed"):
        policy_for(system)


def test_rules_that_were_changed_in_the_database_decide_nothing(standing: Callable[..., Policy]) -> None:
    policy = standing()
    for changes in ({"digest": "0" * 64}, {"source": "x"}, {"name": "other"}, {"number": 9}):
        with pytest.raises(DatabaseError), transaction.atomic():
            Policy.objects.filter(pk=policy.pk).update(**changes)
    Policy.objects.filter(pk=policy.pk).update(body=policy.body | {"risks": "acceptable"})
    with pytest.raises(DigestMismatchError):
        rules_of(Policy.objects.get(pk=policy.pk))


def test_withdrawing(people: SimpleNamespace, standing: Callable[..., Policy]) -> None:
    policy, waiting = standing(), propose_policy(source=written(name="other"), by=people.dora)
    with pytest.raises(DeniedError, match="may withdraw a policy"):
        withdraw_policy(policy=policy, by=people.amir, reason="Enough.")
    with pytest.raises(AuscultError, match="The reason is empty"):
        withdraw_policy(policy=policy, by=people.clara, reason="  ")
    withdraw_policy(policy=policy, by=people.clara, reason="The scanners changed.")
    withdraw_policy(policy=waiting, by=people.dora, reason="A mistake of mine.")
    assert set(Policy.objects.values_list("status", flat=True)) == {"withdrawn"}
    assert acts("Policy", policy.pk)[-1] == "policy.withdrawn"
    with pytest.raises(ConflictError, match="cannot become withdrawn"):
        withdraw_policy(policy=policy, by=people.clara, reason="Again.")
    assert all(TRANSITIONS[state] == frozenset() for state in ("superseded", "withdrawn"))


# The gate on what the database holds


def test_a_version_passes_once_its_evidence_is_on_the_role(
    people: SimpleNamespace, audited: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = audited(), standing()
    before = gate(run.version, policy)
    assert before.outcome == GateOutcome.INSUFFICIENT and "with no role yet" in before.items[0].statement
    assign_cohort_role(cohort=run.cohort.cohort, role="external_test", site="", by=people.amir)
    found = gate(run.version, policy)
    assert found.outcome == GateOutcome.PASS
    assert (found.items[0].run, found.items[0].evidence_digest) == (run.pk, run.evidence_digest)
    assert (found.policy, found.number, found.policy_digest) == ("chest-use", 1, policy.digest)
    assert found.version_digest == run.version.digest


@pytest.mark.parametrize("state", ["proposed", "withdrawn"])
def test_a_policy_that_is_not_in_force_lets_nothing_pass(people: SimpleNamespace, judged: Audited, state: str) -> None:
    run, policy = judged(), propose_policy(source=written(), by=people.amir)
    Policy.objects.filter(pk=policy.pk).update(status=state)
    policy.refresh_from_db()
    found = gate(run.version, policy)
    assert found.outcome == GateOutcome.INSUFFICIENT and found.items[0].item == "policy"
    assert f"not in force: {policy.get_status_display().lower()}" in found.items[0].statement


def test_an_outcome_that_was_changed_in_its_row_is_found(judged: Audited, standing: Callable[..., Policy]) -> None:
    run, policy = judged(outcome="fail"), standing()
    assert gate(run.version, policy).outcome == GateOutcome.FAIL
    AuditRun.objects.filter(pk=run.pk).update(outcome="pass")
    found = gate(run.version, policy)
    assert found.outcome == GateOutcome.INSUFFICIENT
    assert "not what the ledger says: the ledger has the outcome fail" in found.items[0].statement
    AuditRun.objects.filter(pk=run.pk).update(outcome="fail", evidence_digest="0" * 64)
    assert "the ledger has other evidence" in gate(run.version, policy).items[0].statement


def test_a_run_on_other_weights_does_not_count(judged: Audited, standing: Callable[..., Policy]) -> None:
    run, policy = judged(), standing()
    type(run.version).objects.filter(pk=run.version_id).update(digest="0" * 64)
    found = gate(run.version, policy)
    assert found.outcome == GateOutcome.INSUFFICIENT and "is of other weights" in found.items[0].statement
    assert found.version_digest == "0" * 64


def test_the_gate_asks_as_many_queries_for_one_version_as_for_many(
    judged: Audited, standing: Callable[..., Policy], people: SimpleNamespace
) -> None:
    policy = standing(
        WAIVED, approval="required", documents=[{"report": "dpia", "max_age_days": 1}], risks="acceptable",
        oversight="required", incidents="none_open",
    )  # fmt: skip
    counts = []
    for number in range(2):
        for label in range(4 * number + 1):
            judged(label=f"{number}.{label}", outcome="insufficient")
        with CaptureQueriesContext(connection) as asked:
            found = gates(list(versions_under(policy)), in_force())
        counts.append(len(asked))
    assert len(found) == 6 and counts[0] == counts[1] <= 25


# The ledger


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(**_: Any) -> None:
        raise RuntimeError("the ledger is broken")

    return lambda: monkeypatch.setattr(ledger, "record", refuse)


def test_an_act_whose_entry_cannot_be_written_is_undone(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy], broken: Callable[[], None]
) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    row = accept(run, policy, people.clara)
    waiting = propose_policy(source=written(audit_body(max_age_days=9)), by=people.amir)
    other = judged(outcome="insufficient", label="2.0")
    cohort = Cohort.objects.get()
    before = list(Policy.objects.order_by("pk").values()), list(Acceptance.objects.values()), cohort.role
    notes = Notification.objects.count()
    broken()
    chair = people.clara
    for act in (
        lambda: propose_policy(source=written(name="third"), by=people.amir),
        lambda: approve_policy(policy=waiting, by=chair, signed=signed(chair)),
        lambda: withdraw_policy(policy=policy, by=chair, reason="Enough."),
        lambda: accept(other, policy, chair),
        lambda: revoke_acceptance(acceptance=row, reason="No.", by=chair),
        lambda: assign_cohort_role(cohort=cohort, role="local", site="Graz", by=chair),
    ):
        with pytest.raises(RuntimeError, match="ledger is broken"):
            act()
    cohort.refresh_from_db()
    assert before == (list(Policy.objects.order_by("pk").values()), list(Acceptance.objects.values()), cohort.role)
    assert Notification.objects.count() == notes


def test_a_gate_that_a_pipeline_asked_is_recorded(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(), standing()
    record_gate(findings=gate(run.version, policy), version=run.version, by=people.elena)
    entry = payload("gate.checked")
    assert entry["outcome"] == "pass" and entry["states"] == {"fairness": "met"} and len(entry["findings"]) == 64
    with pytest.raises(DeniedError, match="may record"):
        record_gate(findings=gate(run.version, policy), version=run.version, by=people.rita)
