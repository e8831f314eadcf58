"""What a machine can check of the DPIA itself, of consultation and of anonymity: worked examples by article."""

from __future__ import annotations

from typing import Any

import pytest

from governance.statuses import State, judge
from tests.governance.dossiers import DEVICE, make_dossier, statement, with_statements
from tests.governance.privacy_facts import audit, found
from tests.governance.test_risk_rows import EVENT, entry, measures

SIGNED = {"signed_by": {"name": "Clara", "signed_on": "2026-11-10"}, "decision": "conditional"}


def test_advice_comes_before_approval() -> None:
    """Art. 35(2)."""
    before = {"GDPR-35-2": {"advice_date": "2026-11-09"}, "CNIL-validate": SIGNED}
    assert found("GDPR-35-2", DEVICE, before).contradicted == ()
    after = before | {"GDPR-35-2": {"advice_date": "2026-11-11"}}
    assert len(found("GDPR-35-2", DEVICE, after).contradicted) == 1
    ahead = {"GDPR-35-2": {"advice_date": "2026-12-24"}}
    assert len(found("GDPR-35-2", DEVICE, ahead).contradicted) == 1


def test_views_or_a_reason_for_not_asking() -> None:
    """Art. 35(9)."""
    asked = {"consulted_groups": ["patient council"], "method": "Meeting", "views": "On 3 May 2026: agreed."}
    assert found("GDPR-35-9", DEVICE, {"GDPR-35-9": asked}).lacking == ()
    undated = found("GDPR-35-9", DEVICE, {"GDPR-35-9": asked | {"views": "Agreed."}})
    assert "date" in undated.lacking[0]
    silent = found("GDPR-35-9", DEVICE, {"GDPR-35-9": {"not_consulted_reason": "Emergency care."}})
    assert silent.waived == ("consulted_groups", "method", "views")


def test_the_approval_is_newer_than_the_last_event() -> None:
    """Art. 35(11): the version was registered on 1 November, the approval signed on the 10th."""
    fields = {"GDPR-35-11": {"next_review": "2027-11-01"}, "CNIL-validate": SIGNED}
    assert found("GDPR-35-11", DEVICE, fields).contradicted == ()
    failed = audit(5, outcome="fail", finished_at="2026-11-15T10:00:00+00:00")
    later = found("GDPR-35-11", DEVICE, fields, audits=[failed])
    assert "audit 5 failed" in later.contradicted[0]
    overdue = fields | {"GDPR-35-11": {"next_review": "2026-11-22"}}
    assert len(found("GDPR-35-11", DEVICE, overdue).contradicted) == 1
    assert "approval" in found("GDPR-35-11", DEVICE, {"GDPR-35-11": {"next_review": "2027-11-01"}}).lacking[0]


def every_row(severity: str, likelihood: str) -> dict[str, Any]:
    """Every risk rated alike before and after measures, each with one measure that is done."""
    names = ("bias", "wrong output", "inference", "illegitimate access", "unwanted modification", "disappearance")
    tables = [measures(name, severity=severity, likelihood=likelihood) for name in names]
    merged = {key: [row for table in tables for row in table[key]] for key in tables[0]}
    return {"GDPR-35-7-c": {"risk_entries": [entry(name, "3", "3") for name in names]}, "GDPR-35-7-d": merged}


@pytest.mark.parametrize(
    ("submitted", "reply", "blocked"),
    [("2026-11-01", "", True), ("2026-11-01", "No objection.", False), ("2026-08-16", "", False),
     ("2026-08-17", "", True)],
    ids=["three weeks ago", "replied", "fourteen weeks ago", "a day less"],
)  # fmt: skip
def test_no_use_while_the_authority_has_neither_replied_nor_let_its_time_pass(
    submitted: str, reply: str, blocked: bool
) -> None:
    """Art. 36(2): eight weeks and six more. 16 August 2026 and fourteen weeks are 22 November 2026."""
    high = every_row("3", "3") | {"GDPR-36": {"submitted_on": submitted, "authority_reply": reply}}
    finding = found("GDPR-36", DEVICE | {"high_residual_risk": True}, high)
    assert finding.filled.get("go_live_blocked") is (True if blocked else None)
    assert bool(finding.lacking) is blocked
    live = high | {"GDPR-36": {"submitted_on": submitted, "authority_reply": reply, "go_live_blocked": False}}
    contradicted = found("GDPR-36", DEVICE | {"high_residual_risk": True}, live).contradicted
    assert bool(contradicted) is blocked


def test_processing_that_began_while_risks_stay_high_is_told() -> None:
    high = every_row("3", "3") | {"GDPR-36": {}, "GDPR-35-1": {"processing_start": "2026-11-01"}}
    assert any("2026-11-01" in words for words in found("GDPR-36", DEVICE, high).contradicted)


def test_low_risks_block_nothing_and_high_ones_forbid_approval() -> None:
    """Art. 36(1); the CNIL's validation."""
    approved = {"CNIL-validate": SIGNED | {"decision": "approve"}}
    assert found("CNIL-validate", DEVICE, every_row("1", "2") | approved).contradicted == ()
    assert len(found("CNIL-validate", DEVICE, every_row("2", "4") | approved).contradicted) == 1
    assert found("GDPR-36", DEVICE, every_row("1", "2")).filled == {}


def test_an_answer_that_denies_the_rows_is_contradicted() -> None:
    """It was answered that no high risk remains; 3 x 3 = 9 does."""
    finding = found("GDPR-35-7-d", DEVICE, every_row("3", "3"))
    assert any("answered" in words for words in finding.contradicted)
    assert found("GDPR-35-7-d", DEVICE, every_row("1", "2")).contradicted == ()


def test_risks_lack_what_no_audit_measured() -> None:
    """Art. 35(7)(c): the table of this platform cannot be whole without the measured side."""
    finding = found("GDPR-35-7-c", DEVICE, every_row("1", "2"), audits=[audit(4)])
    assert any("privacy attack" in words for words in finding.lacking)
    assert not any("fairness" in words for words in finding.lacking)
    kinds = ("fairness_audit", "hallucination_check", "synthetic_privacy_audit")
    assert found("GDPR-35-7-c", DEVICE, every_row("1", "2"), audits=[audit(4, kinds=kinds)]).lacking == ()


def test_ratings_fall_only_by_finished_measures() -> None:
    """CNIL: whole numbers from 1 to 4, and no rating falls without a finished measure."""
    planned = {
        "GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]},
        "GDPR-35-7-d": measures("bias", status="planned"),
    }
    assert any("without a finished measure" in words for words in found("CNIL-scale", DEVICE, planned).contradicted)
    five = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "5", "3")]}}
    assert any("“5”" in words for words in found("CNIL-scale", DEVICE, five).contradicted)


def test_ratings_of_a_feared_event_have_a_written_reason() -> None:
    assert found("CNIL-access", DEVICE, {"CNIL-access": EVENT}).lacking
    reasons = {"CNIL-access": "Severity 3: diagnoses. Likelihood 3: logs are open to the ward."}
    assert found("CNIL-access", DEVICE, {"CNIL-access": EVENT}, texts=reasons).lacking == ()


def test_every_threat_meets_a_tested_measure() -> None:
    """Art. 32(1)(d)."""
    row = {"threat": "Reading of LOGS", "measure": "Roles", "owner": "IT", "tested_on": "2026-10-01"}
    stated = {"CNIL-access": EVENT, "GDPR-32": {"measures": [row], "last_test": "2026-10-01"}}
    assert found("GDPR-32", DEVICE, stated).lacking == ()
    other = stated | {"CNIL-loss": EVENT | {"threats": ["fire"]}}
    assert "fire" in found("GDPR-32", DEVICE, other).lacking[0]


# ---- Anonymity

ATTACKS = [
    {"attack": "Extraction of training data", "audit": "9", "result": "none"},
    {"attack": "Membership inference", "audit": "9", "result": "AUC .51"},
]
NEAREST = [
    {"test": "membership", "audit": "9", "result": ".51"},
    {"test": "attribute", "audit": "9", "result": ".02"},
    {"test": "nearest record", "audit": "9", "result": "passed"},
]


@pytest.mark.parametrize(
    ("outcome", "tests", "contradicted"),
    [("pass", 2, False), ("pass", 1, True), ("fail", 2, True), ("insufficient", 2, True), (None, 2, True)],
)
def test_a_model_is_anonymous_only_by_attacks_it_withstood(outcome: str | None, tests: int, contradicted: bool) -> None:
    """EDPB Opinion 28/2024: extraction and membership, on this version, with results."""
    attacks = [audit(9, outcome=outcome, kinds=("synthetic_privacy_audit",))] if outcome else []
    fields = {"EDPB-28-2024": {"anonymity_claim": True, "attack_tests": ATTACKS[:tests]}}
    assert bool(found("EDPB-28-2024", DEVICE, fields, audits=attacks).contradicted) is contradicted


def test_a_model_that_is_not_called_anonymous_needs_no_attack() -> None:
    finding = found("EDPB-28-2024", DEVICE, {"EDPB-28-2024": {"anonymity_claim": False}})
    assert (finding.contradicted, finding.waived) == ((), ("attack_tests",))


@pytest.mark.parametrize(
    ("status", "outcome", "tests", "contradicted"),
    [("anonymous", "pass", 3, False), ("anonymous", "pass", 2, True), ("anonymous", "fail", 3, True),
     ("anonymous", None, 3, True), ("personal", None, 0, False), ("unclear", "fail", 3, False)],
)  # fmt: skip
def test_synthetic_data_are_anonymous_only_by_passed_attacks(
    status: str, outcome: str | None, tests: int, contradicted: bool
) -> None:
    """Recital 26: membership, attribute and nearest record, for this very dataset."""
    attacks = [audit(9, outcome=outcome, kinds=("synthetic_privacy_audit",))] if outcome else []
    fields = {"SYN-privacy": {"status": status, "nearest_neighbour_test": NEAREST[:tests]}}
    assert bool(found("SYN-privacy", DEVICE, fields, audits=attacks).contradicted) is contradicted


def test_an_attack_on_another_cohort_counts_for_nothing() -> None:
    elsewhere = audit(
        9, kinds=("synthetic_privacy_audit",), cohort={"name": "B", "digest": "b" * 64, "simulated": False}
    )
    fields = {"SYN-privacy": {"status": "anonymous", "nearest_neighbour_test": NEAREST}}
    assert found("SYN-privacy", DEVICE, fields, audits=[elsewhere]).contradicted


# ---- Through the states


def test_the_rules_decide_states() -> None:
    """A breach notified in time is complete with an accepted statement, and nonconform a day later."""
    dossier = make_dossier(answers=DEVICE | {"breach": True})
    fields = {
        "aware_at": "2026-11-16T10:00:00+01:00",
        "notified_at": "2026-11-19T09:59:00+01:00",
        "risk_assessment": "Names of four people; the disk was encrypted.",
    }
    told = with_statements(dossier, statement(dossier, "GDPR-33", fields=fields))
    assert judge(told).of("GDPR-33").state is State.COMPLETE
    late = fields | {"notified_at": "2026-11-20T10:00:00+01:00"}
    judgement = judge(with_statements(dossier, statement(dossier, "GDPR-33", fields=late))).of("GDPR-33")
    assert judgement.state is State.NONCONFORM
    assert "72" in " ".join(judgement.held)


def test_an_unfilled_assessment_is_never_complete() -> None:
    statuses = judge(make_dossier(answers=DEVICE))
    for key in ("GDPR-35-7-c", "GDPR-35-7-d", "GDPR-35-2", "GDPR-6"):
        assert statuses.of(key).state is State.MISSING, key
    assert not statuses.ready("dpia").ready
