"""The gate as a pure function: every state from the least facts, its boundaries, and an oracle written otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from governance.policies.facts import ApprovalFact, IncidentFacts, RiskFacts, RunFact
from governance.policies.findings import GateOutcome, ItemFinding, State
from governance.policies.form import Policy
from tests.governance.policy_scene import (
    NOW,
    OTHER,
    RUNNER,
    SUBMITTER,
    WAIVER,
    acceptance,
    ago,
    asks_everything,
    audit_body,
    everything,
    facts,
    found,
    item,
    policy,
    run,
)

SECOND = timedelta(seconds=1)
WAIVED = audit_body(insufficient=WAIVER)


def state(rules: Policy, *runs: RunFact, **given: Any) -> State:
    return item(rules, facts(*runs, **given)).state


# Every state of an audit


def test_a_fresh_pass_meets_it_and_says_until_when() -> None:
    row = item(policy(), facts(run()))
    assert (row.state, row.run, row.remedy, row.who) == (State.MET, 1, "", ())
    assert row.expires_at == ago(days=10) + timedelta(days=365)
    assert found(policy(), facts(run())).outcome == GateOutcome.PASS
    assert found(policy(), facts(run())).expires_at == row.expires_at


def test_a_failure_fails_it_and_does_not_grow_old() -> None:
    for days in (1, 10_000):
        row = item(policy(), facts(run(outcome="fail", finished_at=ago(days=days), requested_at=ago(days=days + 1))))
        assert (row.state, row.who) == (State.FAILED, ("ml_engineer",))
        assert "fails" in row.statement
    assert found(policy(), facts(run(outcome="fail"))).outcome == GateOutcome.FAIL


def test_too_little_evidence_never_passes_by_itself() -> None:
    row = item(policy(), facts(run(outcome="insufficient")))
    assert (row.state, row.acceptable, row.who) == (State.INSUFFICIENT, False, ("auditor",))
    assert found(policy(), facts(run(outcome="insufficient"))).outcome == GateOutcome.INSUFFICIENT
    row = item(policy(WAIVED), facts(run(outcome="insufficient")))
    assert (row.state, row.acceptable, row.who) == (State.INSUFFICIENT, True, ("auditor", "committee_chair"))


def test_evidence_is_fresh_on_its_last_day_and_stale_a_second_later() -> None:
    for outcome, fresh in (("pass", State.MET), ("insufficient", State.INSUFFICIENT)):
        known = facts(run(outcome=outcome, finished_at=ago(days=365), requested_at=ago(days=366)))
        assert item(policy(), known).state == fresh
        row = item(policy(), known, now=NOW + SECOND)
        assert (row.state, row.expires_at, row.who) == (State.STALE, NOW, ("auditor",))
        assert "older than 365 days" in row.statement
        assert found(policy(), known, now=NOW + SECOND).outcome == GateOutcome.INSUFFICIENT


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"role": "internal_test"}, "whose role is internal test"),
        ({"role": ""}, "with no role yet"),
        ({"simulated": True}, "on simulated patients"),
        ({"patients": 199}, "199 patients, 1 too few"),
        ({"protocol": "other-v1"}, "by the protocol other-v1"),
        ({"approved": False}, "which is not approved"),
        ({"about": OTHER}, "of other weights"),
        ({"contradicted": "the ledger has the outcome fail"}, "not what the ledger says: the ledger has the outcome"),
    ],
)
def test_what_does_not_count_is_missing_and_told(changed: dict[str, Any], words: str) -> None:
    row = item(policy(), facts(run(**changed)))
    assert (row.state, row.run, row.who) == (State.MISSING, None, ("auditor",))
    assert words in row.statement
    # A failure that does not count decides nothing either, and takes nothing from one that counts.
    assert state(policy(), run(outcome="fail", **changed)) == State.MISSING
    assert state(policy(), run(), run(2, outcome="fail", cohort=2, **changed)) == State.MET


def test_nothing_is_missing_with_what_was_asked_for() -> None:
    row = item(policy(), facts())
    assert row.state == State.MISSING
    assert "There is no audit by imaging-classifier-v1 on a cohort with the role external test" in row.statement
    assert "of real patients, with at least 200 patients" in row.statement


def test_what_was_requested_before_the_approval_became_void_does_not_count() -> None:
    one = run()
    assert state(policy(), one, void_at=one.requested_at - SECOND) == State.MET
    for void_at in (one.requested_at, one.requested_at + SECOND):
        row = item(policy(), facts(one, void_at=void_at))
        assert row.state == State.MISSING and "before the approval became void" in row.statement


@pytest.mark.parametrize("role", ["internal_test", "external_test", "local", "post_deployment"])
def test_a_cohort_that_it_was_trained_on_is_no_test_whatever_its_role(role: str) -> None:
    rules = policy(audit_body(cohort_role=role))
    known = {"first_used": ago(days=800)}
    assert state(rules, run(role=role), **known) == State.MET
    row = item(rules, facts(run(role=role), seen=((1, "the version was trained on it"),), **known))
    assert row.state == State.MISSING and "the version was trained on it" in row.statement
    assert state(rules, run(role=role), seen=((2, "trained"),), **known) == State.MET


def test_training_data_may_be_asked_for_as_such() -> None:
    rules = policy(audit_body(cohort_role=["training", "tuning"]))
    assert state(rules, run(role="training"), seen=((1, "trained"),)) == State.MET


def test_simulated_patients_count_only_where_the_policy_says_so() -> None:
    assert state(policy(audit_body(simulated="allowed")), run(simulated=True)) == State.MET


# Nobody picks


def test_the_newest_audit_of_a_protocol_on_a_cohort_decides() -> None:
    earlier, later = run(1, finished_at=ago(days=9)), run(2, finished_at=ago(days=8))
    assert state(policy(), earlier, replace(later, outcome="fail")) == State.FAILED
    assert state(policy(), replace(later, outcome="fail"), earlier) == State.FAILED
    assert state(policy(), replace(earlier, outcome="fail"), later) == State.MET
    assert state(policy(), earlier, replace(later, outcome="insufficient")) == State.INSUFFICIENT


def test_a_failure_on_one_cohort_is_not_outweighed_by_a_pass_on_another() -> None:
    failed, passed = run(1, outcome="fail", finished_at=ago(days=90)), run(2, cohort=2, finished_at=ago(days=1))
    assert state(policy(), failed, passed) == State.FAILED
    several = policy(audit_body(protocols=["imaging-classifier-v1", "report-generator-v1"]))
    assert state(several, failed, run(3, protocol="report-generator-v1")) == State.FAILED


def test_any_of_the_protocols_is_enough_and_the_evidence_that_lasts_longest_is_told() -> None:
    several = policy(audit_body(protocols=["imaging-classifier-v1", "report-generator-v1"]))
    row = item(several, facts(run(1, finished_at=ago(days=300)), run(2, protocol="report-generator-v1")))
    assert (row.run, row.expires_at) == (2, ago(days=10) + timedelta(days=365))


# Accepting


def accepted(**given: Any) -> ItemFinding:
    short = run(outcome="insufficient")
    return item(policy(WAIVED), facts(short, acceptances=(acceptance(short, **given),)))


def test_an_acceptance_stands_until_its_second() -> None:
    row = accepted()
    assert (row.state, row.expires_at, row.acceptable) == (State.ACCEPTED, NOW + timedelta(days=30), False)
    assert "Clara Weiss accepts that until" in row.statement
    assert accepted(expires_at=NOW + SECOND).state == State.ACCEPTED
    assert accepted(expires_at=NOW).state == State.INSUFFICIENT
    assert accepted(accepted_at=NOW + SECOND).state == State.INSUFFICIENT


@pytest.mark.parametrize(
    "changed",
    [
        {"revoked": True},
        {"item": "another"},
        {"policy_digest": OTHER},
        {"version_digest": OTHER},
        {"evidence_digest": OTHER},
        {"person": SUBMITTER},
        {"person": RUNNER},
    ],
)
def test_an_acceptance_of_something_else_or_by_a_part_counts_for_nothing(changed: dict[str, Any]) -> None:
    assert accepted(**changed).state == State.INSUFFICIENT


def test_an_acceptance_turns_neither_a_failure_nor_a_gap_without_waiver_nor_old_evidence() -> None:
    for rules, short, expected in (
        (policy(WAIVED), run(outcome="fail"), State.FAILED),
        (policy(WAIVED), run(outcome="insufficient", finished_at=ago(days=366)), State.STALE),
        (policy(), run(outcome="insufficient"), State.INSUFFICIENT),
    ):
        row = acceptance(short, policy_digest=rules.digest)
        assert item(rules, facts(short, acceptances=(row,))).state == expected


def test_what_is_accepted_ends_with_the_evidence_when_that_is_sooner() -> None:
    short = run(outcome="insufficient", finished_at=ago(days=360))
    row = item(policy(WAIVED), facts(short, acceptances=(acceptance(short),)))
    assert row.expires_at == NOW + timedelta(days=5)


# Each site


def test_evidence_is_asked_for_at_each_site_where_it_is_deployed() -> None:
    rules = policy(audit_body(cohort_role="local", sites="each"))
    graz, linz = run(1, role="local", site="Graz"), run(2, role="local", site=" linz ", cohort=2)
    assert state(rules, graz) == State.MET  # deployed nowhere yet
    assert state(rules, graz, linz, sites=("GRAZ", "Linz")) == State.MET
    row = item(rules, facts(graz, sites=("Graz", "Linz")))
    assert row.state == State.MISSING and "Graz: Audit 1" in row.statement and "Linz: There is no" in row.statement
    assert state(rules, graz, replace(linz, outcome="fail"), sites=("Graz", "Linz")) == State.FAILED
    old = replace(linz, finished_at=ago(days=100))
    assert item(rules, facts(graz, old, sites=("Graz", "Linz"))).expires_at == ago(days=100) + timedelta(days=365)


# Evidence from use


def test_evidence_from_use_is_due_once_it_runs() -> None:
    rules = policy(audit_body(), audit_body(id="in-use", cohort_role="post_deployment", max_age_days=30))
    assert [row.item for row in found(rules, facts(run())).items] == ["fairness"]
    used = facts(run(), first_used=ago(days=30))
    row = item(rules, used, "in-use")
    assert (row.state, row.expires_at) == (State.MET, NOW) and "Not due yet" in row.statement
    assert item(rules, used, "in-use", now=NOW + SECOND).state == State.MISSING
    failed = facts(run(), run(2, cohort=2, role="post_deployment", outcome="fail"), first_used=ago(days=1))
    assert item(rules, failed, "in-use").state == State.FAILED
    assert [row.item for row in found(rules, failed, for_review=True).items] == ["fairness"]


# The other items


def test_everything_is_there() -> None:
    whole = found(asks_everything(), everything())
    assert [(row.item, row.state) for row in whole.items] == [
        (name, State.MET) for name in ("approval", "fairness", "document-annex_iv", "risks", "oversight", "incidents")
    ]
    assert whole.outcome == GateOutcome.PASS
    review = found(asks_everything(), everything(approval=None), for_review=True)
    assert "approval" not in [row.item for row in review.items] and review.outcome == GateOutcome.PASS


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("approval", {"approval": None}, State.MISSING),
        ("approval", {"approval": ApprovalFact(state=State.FAILED, reason="It is suspended.")}, State.FAILED),
        ("approval", {"approval": ApprovalFact(state=State.STALE, reason="It is void.")}, State.STALE),
        ("document-annex_iv", {"reports": ()}, State.MISSING),
        ("risks", {"risks": None}, State.MISSING),
        ("risks", {"risks": RiskFacts(recorded=0, rated_too_high=(), not_rated=())}, State.MISSING),
        ("risks", {"risks": RiskFacts(recorded=1, rated_too_high=(), not_rated=("risk 1",))}, State.INSUFFICIENT),
        ("risks", {"risks": RiskFacts(recorded=1, rated_too_high=("risk 1",), not_rated=())}, State.FAILED),
        ("oversight", {"measures": ()}, State.MISSING),
        ("oversight", {"measures": (("d", "verified"),)}, State.MISSING),
        ("oversight", {"measures": (("d", "verified"), ("e", "recorded"))}, State.INSUFFICIENT),
        ("incidents", {"incidents": IncidentFacts(owed=("Incident 1",), unknown=())}, State.FAILED),
        ("incidents", {"incidents": IncidentFacts(owed=(), unknown=("Incident 1",))}, State.INSUFFICIENT),
        ("incidents", {"incidents": None}, State.MET),
    ],
)
def test_each_other_item(name: str, given: dict[str, Any], expected: State) -> None:
    whole = found(asks_everything(), everything(**given))
    row = next(row for row in whole.items if row.item == name)
    assert row.state == expected
    assert bool(row.remedy) == bool(row.who) == (expected != State.MET)
    outcomes = {State.MET: GateOutcome.PASS, State.FAILED: GateOutcome.FAIL}
    assert whole.outcome == outcomes.get(expected, GateOutcome.INSUFFICIENT)


def test_conditions_of_an_approval_are_told_with_the_first_day() -> None:
    approval = ApprovalFact(state=State.MET, reason="", conditions=("Train the night shift",), first_due=NOW + SECOND)
    row = item(asks_everything(), everything(approval=approval), "approval")
    assert (row.state, row.expires_at) == (State.MET, NOW + SECOND)
    assert "1 condition to be met: Train the night shift" in row.statement


def test_the_newest_document_decides_and_ages() -> None:
    (one,) = everything().reports
    old = replace(one, as_of=ago(days=365), issued_at=ago(days=365))
    assert item(asks_everything(), everything(reports=(old,)), "document-annex_iv").state == State.MET
    row = item(asks_everything(), everything(reports=(old,)), "document-annex_iv", now=NOW + SECOND)
    assert (row.state, row.expires_at) == (State.STALE, NOW)
    unready = replace(one, pk=2, ready=False, issued_at=ago(days=1))
    assert item(asks_everything(), everything(reports=(unready, one)), "document-annex_iv").state == State.INSUFFICIENT
    mild = asks_everything(documents=[{"report": "annex_iv", "ready": False, "max_age_days": 365}])
    assert item(mild, everything(reports=(unready, one)), "document-annex_iv").state == State.MET
    void = {"reports": (one,), "void_at": one.as_of}
    row = item(asks_everything(), everything(**void), "document-annex_iv")
    assert row.state == State.MISSING and "since its approval became void" in row.statement
