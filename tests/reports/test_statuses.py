"""A requirement is in the state that the evidence carries, and in no better one."""

from __future__ import annotations

from typing import Any

import pytest

from governance.reports import annex_iv_rules  # noqa: F401  registers the rules
from governance.reports.statuses import RULES, Judgement, count_states, judge
from governance.requirements import load_requirements
from tests.reports.conftest import make_context, make_evidence

RESTS_ON_AUDIT = {
    "AIA-Art10-2-fg",
    "AIA-Art9-6",
    "AIA-AnnexIV-2-g",
    "AIA-AnnexIV-3-performance",
    "AIA-Art15-1",
}


def judged(evidence: dict[str, Any], decision: str | None = "rejected") -> dict[str, Judgement]:
    catalogue = load_requirements()
    found = judge(catalogue.for_report("annex_iv"), catalogue, evidence, make_context(decision))
    return {item.requirement.id: item for item in found}


def test_every_rule_is_about_a_requirement_of_this_report() -> None:
    assert set(RULES) <= {item.id for item in load_requirements().for_report("annex_iv")}


def test_a_failed_audit_makes_what_rests_on_it_nonconform() -> None:
    found = judged(make_evidence("fail", simulated=False))
    assert {key for key, item in found.items() if item.state == "nonconform"} == RESTS_ON_AUDIT


@pytest.mark.parametrize("outcome", ["pass", "insufficient"])
def test_an_audit_that_did_not_fail_makes_nothing_nonconform(outcome: str) -> None:
    assert count_states(tuple(judged(make_evidence(outcome)).values()))["nonconform"] == 0


@pytest.mark.parametrize("outcome", ["pass", "fail", "insufficient"])
def test_simulated_patients_complete_nothing(outcome: str) -> None:
    found = judged(make_evidence(outcome, simulated=True))
    assert count_states(tuple(found.values()))["complete"] == 0
    assert all(any("real patients" in gap for gap in found[key].lacking) for key in RESTS_ON_AUDIT)


def test_what_nobody_holds_is_missing_and_never_partial() -> None:
    found = judged(make_evidence("pass"))
    assert found["AIA-AnnexIV-5"].state == "missing"
    assert found["AIA-AnnexIV-5"].held == ()
    assert found["AIA-AnnexIV-1-h"].state == "missing"


def test_partial_says_what_is_lacking() -> None:
    partial = [item for item in judged(make_evidence("pass")).values() if item.state == "partial"]
    assert partial
    assert all(item.held and item.lacking for item in partial)


def test_complete_needs_real_patients_a_pass_and_every_fact_of_the_rule() -> None:
    evidence = make_evidence("pass", simulated=False)
    evidence["result"]["measurements"][0]["suite"] = "robustness"
    assert judged(evidence)["AIA-AnnexIV-2-g"].state == "complete"
    evidence["result"]["verdicts"][0]["low"] = None
    gap = judged(evidence)["AIA-AnnexIV-2-g"]
    assert gap.state == "partial"
    assert any("equal-sensitivity" in text for text in gap.lacking)


def test_thresholds_approved_after_the_request_are_not_called_set_beforehand() -> None:
    late = make_evidence("pass", protocol={"approved_at": "2026-11-23T08:00:00+00:00"})
    found = judged(late)["AIA-Art9-6"]
    assert any("before the test was requested" in gap for gap in found.lacking)
    assert not any("before the test" in text for text in found.held)
    in_time = judged(make_evidence("pass"))["AIA-Art9-6"]
    assert any("before the test was requested" in text for text in in_time.held)


def test_a_prediction_log_shows_nothing_of_the_model_behind_it() -> None:
    found = judged(make_evidence("pass", runs_weights=False))
    for key in ("AIA-AnnexIV-2-a", "AIA-AnnexIV-2-c", "AIA-AnnexIV-1-e", "AIA-AnnexIV-3-input"):
        assert found[key].state == "missing"
    assert any("recorded predictions" in gap for gap in found["AIA-AnnexIV-2-g"].lacking)
    assert found["AIA-AnnexIV-2-d"].state == "not_judged"


def test_unanswered_conditions_and_non_binding_items_are_not_judged() -> None:
    found = judged(make_evidence("pass"))
    assert "condition" in found["AIA-Art55"].reason
    assert "pending" in found["AIA-Art2-13"].reason
    assert {found[key].state for key in ("AIA-Art55", "AIA-Art2-13", "MDR-61")} == {"not_judged"}


def test_a_decision_counts_only_when_the_review_is_closed() -> None:
    assert judged(make_evidence("pass"), "approved")["AIA-AnnexIV-6"].state == "partial"
    assert judged(make_evidence("pass"), "open")["AIA-AnnexIV-6"].state == "missing"
    assert judged(make_evidence("pass"), None)["AIA-AnnexIV-6"].state == "missing"


def test_the_states_add_up_to_all_requirements() -> None:
    found = judged(make_evidence("fail"))
    assert sum(count_states(tuple(found.values())).values()) == len(load_requirements().for_report("annex_iv"))
