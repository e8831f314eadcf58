"""The DPIA's table of risks against cases worked out by hand on the CNIL's scales."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.standing.risk_rows import RISKS, RiskRow, blocking, risk_rows, risk_title
from governance.standing.risk_statements import risk_key, whole
from tests.governance.privacy_facts import audit, facts

EVENT = {
    "risk_sources": ["a curious colleague"],
    "threats": ["reading of logs"],
    "impacts": [{"impact": "shame"}],
    "existing_controls": ["roles"],
    "severity": "3",
    "likelihood": "3",
}


def entry(risk: str, severity: str = "2", likelihood: str = "2", **given: str) -> dict[str, str]:
    row = {"risk": risk, "source": "the model", "threat": "unequal errors", "impact": "missed findings"}
    return row | {"severity": severity, "likelihood": likelihood} | given


def measures(
    risk: str, *, status: str = "done", done_on: str = "2026-11-01", severity: str = "1", likelihood: str = "1"
) -> dict[str, Any]:
    """GDPR-35-7-d with one measure against one risk."""
    return {
        "measures_per_risk": [
            {"risk": risk, "measure": "Second reader", "owner": "Lea", "due": "2026-12-01", "status": status}
        ],
        "residual_ratings": [{"risk": risk, "severity": severity, "likelihood": likelihood}],
        "implementation_dates": [{"risk": risk, "measure": "second  READER", "done_on": done_on}],
    }


def row_of(key: str, statements: dict[str, Any], **given: Any) -> RiskRow:
    return next(row for row in risk_rows(facts({}, statements, **given)) if row.key == key)


def test_seven_risks_are_known_and_six_are_always_there() -> None:
    """Three feared events of the CNIL, then bias, wrong output and inference; function creep where it is stated."""
    assert [risk.key for risk in RISKS][:3] == ["illegitimate_access", "unwanted_modification", "disappearance"]
    assert [row.key for row in risk_rows(facts())] == [risk.key for risk in RISKS if risk.key != "function_creep"]
    stated = {"GDPR-35-7-c": {"risk_entries": [entry("Function creep"), entry("Loss of trust")]}}
    keys = [row.key for row in risk_rows(facts({}, stated))]
    assert keys[-2:] == ["function_creep", "loss_of_trust"]
    assert len({risk_title(risk.key) for risk in RISKS}) == len(RISKS)


def test_what_is_not_rated_counts_as_four_and_asks_for_consultation() -> None:
    """4 x 4 = 16, very high: a table that nobody filled is no clean bill."""
    for row in risk_rows(facts()):
        assert (row.inherent.product, row.inherent.band, row.inherent.stated) == (16, "very_high", False)
        assert (row.residual.product, row.residual.band) == (16, "very_high")
        assert row.consult
        assert any("counts as 4" in gap for gap in row.inherent_gaps)


@pytest.mark.parametrize(
    ("severity", "likelihood", "band"),
    [("1", "3", "low"), ("2", "2", "medium"), ("2", "3", "medium"), ("2", "4", "high"), ("3", "3", "high"),
     ("3", "4", "very_high"), ("4", "1", "medium"), ("4", "4", "very_high")],
)  # fmt: skip
def test_bands_by_product(severity: str, likelihood: str, band: str) -> None:
    """1-3 low, 4-6 medium, 8-9 high, 12-16 very high; severity 4 is never below medium."""
    row = row_of("bias", {"GDPR-35-7-c": {"risk_entries": [entry("bias", severity, likelihood)]}})
    assert row.inherent.band == band
    assert row.inherent.product == int(severity) * int(likelihood)


def test_half_a_rating_is_completed_by_four() -> None:
    row = row_of("bias", {"GDPR-35-7-c": {"risk_entries": [entry("bias", "2", "")]}})
    assert (row.inherent.severity, row.inherent.likelihood, row.inherent.stated) == (2, 4, False)


def test_a_done_measure_lowers_what_remains() -> None:
    """3 x 3 = 9, high; after a measure that is done 1 x 1 = 1, low: no consultation."""
    stated = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]}, "GDPR-35-7-d": measures("bias")}
    row = row_of("bias", stated)
    assert (row.inherent.band, row.residual.band, row.consult, row.lowered) == ("high", "low", False, False)
    assert row.residual_gaps == ()


@pytest.mark.parametrize(
    "changed",
    [{"status": "planned"}, {"done_on": "2026-12-24"}, {"done_on": ""}],
    ids=["planned", "done in a month", "without a day"],
)
def test_a_measure_that_is_not_done_lowers_nothing(changed: dict[str, str]) -> None:
    """What is planned on 22 November 2026 leaves 3 x 3 = 9: Art. 36 asks for consultation."""
    stated = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]}, "GDPR-35-7-d": measures("bias", **changed)}
    row = row_of("bias", stated)
    assert (row.residual.product, row.consult, row.lowered) == (9, True, True)


def test_a_measure_against_another_risk_lowers_nothing_here() -> None:
    other = measures("wrong output")
    other["residual_ratings"] = [{"risk": "bias", "severity": "1", "likelihood": "1"}]
    row = row_of("bias", {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]}, "GDPR-35-7-d": other})
    assert (row.residual.product, row.lowered) == (9, True)


def test_eight_is_where_consultation_begins() -> None:
    """2 x 4 = 8 blocks; 2 x 3 = 6 does not (Art. 36(1), bands of the catalogue)."""
    entries = [entry("bias", "2", "4"), entry("wrong output", "2", "3")]
    ratings = [{"risk": one["risk"], "severity": one["severity"], "likelihood": one["likelihood"]} for one in entries]
    found = facts({}, {"GDPR-35-7-c": {"risk_entries": entries}, "GDPR-35-7-d": {"residual_ratings": ratings}})
    blocked = {row.key for row in blocking(risk_rows(found))}
    assert "bias" in blocked
    assert "wrong_output" not in blocked


def test_two_statements_that_differ_the_graver_counts() -> None:
    stated = {"CNIL-access": EVENT, "GDPR-35-7-c": {"risk_entries": [entry("illegitimate access", "2", "3")]}}
    row = row_of("illegitimate_access", stated)
    assert (row.inherent.severity, row.inherent.likelihood) == (3, 3)
    assert len(row.clashes) == 1
    assert "2, 3" in row.clashes[0]
    assert row.sources == "a curious colleague; the model"
    assert [reference.kind for reference in row.references] == ["statement", "statement"]


def test_where_no_audit_measured_the_row_says_so() -> None:
    stated = {"GDPR-35-7-c": {"risk_entries": [entry("bias"), entry("inference")]}}
    assert any("fairness audit" in gap for gap in row_of("bias", stated).inherent_gaps)
    inference = row_of("model_inference", stated)
    assert inference.measured == ()
    assert any("privacy attack" in gap and "none was run" in gap for gap in inference.inherent_gaps)
    assert not any("audit" in gap for gap in row_of("disappearance", stated).inherent_gaps)


def test_the_measured_side_names_its_audit() -> None:
    stated = {"GDPR-35-7-c": {"risk_entries": [entry("bias")]}}
    row = row_of("bias", stated, audits=[audit(4)])
    assert [(item.outcome, item.counts) for item in row.measured] == [("pass", True)]
    assert "Audit 4" in row.measured[0].sentence
    assert row.measured[0].reference.digest == "04" * 32
    assert row.inherent_gaps == ()


@pytest.mark.parametrize(
    "changed",
    [{"cohort": {"name": "S", "digest": "c" * 64, "simulated": True}}, {"outcome": "insufficient"}],
    ids=["simulated", "too few"],
)
def test_an_audit_that_shows_nothing_about_patients_leaves_the_gap(changed: dict[str, Any]) -> None:
    row = row_of("bias", {"GDPR-35-7-c": {"risk_entries": [entry("bias")]}}, audits=[audit(4, **changed)])
    assert not row.measured[0].counts
    assert len(row.inherent_gaps) == 1


def test_a_failed_audit_contradicts_a_mild_likelihood() -> None:
    """Likelihood 2 is “hard for the sources”; the effect was measured in this version."""
    failed = [audit(4, outcome="fail")]
    mild = row_of("bias", {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "2")]}}, audits=failed)
    assert any("audit 4 failed" in clash for clash in mild.clashes)
    grave = row_of("bias", {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "3")]}}, audits=failed)
    assert grave.clashes == ()


def test_bias_was_seen_only_where_a_comparison_of_groups_failed() -> None:
    """An audit whose overall ranking failed says nothing about groups."""
    ranking = audit(4, outcome="fail", kinds=("fairness_audit", "performance_evaluation"))
    ranking["failed_kinds"] = ["performance_evaluation"]
    entries = {"GDPR-35-7-c": {"risk_entries": [entry("bias", "3", "2"), entry("wrong output", "3", "2")]}}
    assert row_of("bias", entries, audits=[ranking]).clashes == ()
    assert row_of("wrong_output", entries, audits=[ranking]).clashes != ()


@given(
    before=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    after=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    done=st.booleans(),
)
def test_what_remains_is_never_milder_than_what_was_done_for_it(
    before: tuple[int, int], after: tuple[int, int], done: bool
) -> None:
    """Without a finished measure no axis falls; with one, what was stated counts."""
    stated = {
        "GDPR-35-7-c": {"risk_entries": [entry("bias", *map(str, before))]},
        "GDPR-35-7-d": measures(
            "bias", status="done" if done else "planned", severity=str(after[0]), likelihood=str(after[1])
        ),
    }
    row = row_of("bias", stated)
    counted = after if done else (max(before[0], after[0]), max(before[1], after[1]))
    assert (row.residual.severity, row.residual.likelihood) == counted
    assert row.consult == (counted[0] * counted[1] >= 8)


@pytest.mark.parametrize(("value", "rating"), [("3", 3), (3, 3), ("0", None), (5, None), ("2.5", None), (True, None)])
def test_ratings_are_whole_numbers_from_one_to_four(value: Any, rating: int | None) -> None:
    assert whole(value) == rating


@pytest.mark.parametrize("text", ["bias", "Bias", "Discriminatory output", "discriminatory-output"])
def test_a_risk_is_found_under_any_of_its_names(text: str) -> None:
    assert risk_key(text) == "bias"
