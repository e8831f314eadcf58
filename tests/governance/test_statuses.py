"""A requirement is in the state that the dossier carries, and in no better one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import AuscultError
from governance.requirements import load_requirements
from governance.rules import Facts, Finding, judged_by, rules
from governance.standing.judgements import Judgement
from governance.statuses import State, Statuses, judge
from tests.governance.dossiers import (
    DEVICE,
    answers_of,
    audit_of,
    digest,
    everything_applies,
    failed,
    fully_stated,
    make_dossier,
    report_row,
    stated,
    statement,
    with_statements,
)

EVERY = tuple(item.id for item in load_requirements().requirements)
PLAIN = "AIA-Art14-4-a"
"""A requirement with a text and a list, and no rule: judged by its fields and who accepted them alone."""
RESTS_ON_AUDIT = ("AIA-Art10-2-fg", "AIA-Art9-6", "AIA-AnnexIV-2-g", "AIA-AnnexIV-3-performance", "AIA-Art15-1")
RANK = {State.MISSING: 0, State.STALE: 0, State.PARTIAL: 1, State.COMPLETE: 2}


def of(dossier: dict[str, Any], key: str) -> Judgement:
    return judge(dossier).of(key)


@pytest.mark.parametrize("answers", [{}, DEVICE, everything_applies()], ids=["none", "device", "everything"])
@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_each_of_the_requirements_is_judged(answers: dict[str, Any], full: bool) -> None:
    dossier = make_dossier(answers=answers, audits=(audit_of(),) if full else ())
    statuses = judge(fully_stated(dossier) if full else dossier)
    assert [item.requirement.id for item in statuses.items] == list(EVERY)
    assert len(EVERY) == 227
    binding = [item for item in statuses.items if item.requirement.status == "binding"]
    assert sum(statuses.counts.values()) == len(binding)
    assert set(statuses.counts) == {state.value for state in State}
    for item in statuses.items:
        assert [field.name for field in item.fields] == [field.name for field in item.requirement.required_fields]


def test_every_rule_is_about_a_requirement() -> None:
    assert set(rules()) <= set(EVERY)


def test_without_an_answer_nothing_is_called_applicable_or_not() -> None:
    statuses = judge(make_dossier(answers={}))
    assert {item.state for item in statuses.items} == {State.UNKNOWN}
    assert all(item.reason and item.applicability.questions for item in statuses.items)


def test_what_does_not_apply_has_its_reason() -> None:
    """A class IIa device that is used for nothing in Annex III owes no FRIA (Art. 27(1))."""
    item = of(make_dossier(), "AIA-Art27-1-c")
    assert item.state is State.NOT_APPLICABLE
    assert item.reason == item.applicability.reason != ""
    none = [item for item in judge(make_dossier()).items if item.state is State.NOT_APPLICABLE]
    assert none
    assert all(item.reason for item in none)


def test_nothing_held_is_missing() -> None:
    item = of(make_dossier(), PLAIN)
    assert (item.state, item.held) == (State.MISSING, ())
    assert any("nobody has stated" in words for words in item.lacking)
    assert item.owner == "ml_engineer"


@pytest.mark.parametrize("status", ["draft", "returned", "withdrawn"])
def test_only_an_accepted_statement_counts(status: str) -> None:
    dossier = make_dossier()
    item = of(with_statements(dossier, statement(dossier, PLAIN, status=status, remark="Too short.")), PLAIN)
    assert item.state is State.MISSING
    assert all(field.value is None for field in item.fields)
    assert (item.statement is None) is (status == "withdrawn")


def test_a_draft_is_told_with_its_author() -> None:
    dossier = make_dossier()
    drafted = with_statements(dossier, statement(dossier, PLAIN, status="draft", generated=True))
    item = of(drafted, PLAIN)
    assert any("a program proposed by elena does not count" in words for words in item.lacking)
    assert item.owner == "elena"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(keys=st.sets(st.sampled_from(EVERY), max_size=12))
def test_drafts_change_no_state(keys: set[str]) -> None:
    dossier = make_dossier(audits=(audit_of(),))
    drafted = with_statements(dossier, *(statement(dossier, key, status="draft") for key in sorted(keys)))
    before, after = judge(dossier), judge(drafted)
    assert [item.state for item in after.items] == [item.state for item in before.items]


def test_an_accepted_statement_with_every_field_is_complete() -> None:
    dossier = make_dossier()
    item = of(stated(dossier, PLAIN), PLAIN)
    assert item.state is State.COMPLETE
    assert item.lacking == ()
    assert all(field.value is not None and field.reference for field in item.fields)
    assert item.references[0].kind == "statement"
    assert "accepted by clara on 2026-11-21" in item.held[0]


def test_an_accepted_statement_without_a_field_is_partial() -> None:
    dossier = make_dossier()
    item = of(with_statements(dossier, statement(dossier, PLAIN, fields={"training_content": "Two hours."})), PLAIN)
    assert item.state is State.PARTIAL
    assert item.lacking == ("facts that nobody has stated: Anomaly signals",)


@pytest.mark.parametrize(
    ("key", "name", "wrong", "words"),
    [
        ("AIA-Art3-1", "decided_on", "22.11.2026", "YYYY-MM-DD"),
        ("AIA-Art14-1", "autonomy_level", "full", "advisory, triage, autonomous"),
        ("AIA-Art14-4-b", "override_rate_monitoring", "yes", "yes or no"),
        ("AIA-Art9-1", "review_interval", "now and then", "days, weeks, months or years"),
        ("AIA-AnnexIV-2-c", "component_diagram", "diagram.png", "SHA-256"),
        ("AIA-AnnexIV-2-c", "component_diagram", {"name": "diagram.png", "digest": "abc"}, "SHA-256"),
        ("AIA-AnnexV-8", "signature", "Dr. Muster", "signature"),
        ("AIA-Art14-4-a", "anomaly_signals", ["", "a lamp"], "list of texts"),
        ("AIA-AnnexIV-7", "standards", [{"standard": "EN 18286"}], "oj_cited, presumption in row 1"),
        ("AIA-Art53-status", "original_compute_flop", "many", "number"),
    ],
)
def test_a_value_of_another_type_counts_as_none(key: str, name: str, wrong: Any, words: str) -> None:
    dossier = stated(make_dossier(answers=everything_applies()), key, **{name: wrong})
    item = of(dossier, key)
    assert item.value(name) is None
    assert any(words in told for told in item.lacking)
    assert item.state is not State.COMPLETE


def test_no_and_zero_are_values() -> None:
    dossier = stated(make_dossier(answers=everything_applies()), "AIA-Art53-status", modification_compute_flop=0)
    assert of(dossier, "AIA-Art53-status").value("modification_compute_flop") == 0
    denied = stated(make_dossier(), "AIA-Art15-5", cra_claimed=False)
    assert of(denied, "AIA-Art15-5").value("cra_claimed") is False


def test_a_day_that_is_still_to_come_contradicts_what_was_done() -> None:
    item = of(stated(make_dossier(), "AIA-Art3-1", decided_on="2026-11-23"), "AIA-Art3-1")
    assert (item.state, item.contradicted) == (State.NONCONFORM, ("Decided on lies in the future.",))
    assert of(stated(make_dossier(), "AIA-Art3-1", decided_on="2026-11-22"), "AIA-Art3-1").state is State.COMPLETE


def test_the_same_fact_stated_otherwise_makes_both_nonconform() -> None:
    """Retention in the provider's and the deployer's statement: one log, one period (Art. 19(1), 26(6))."""
    both = stated(make_dossier(), "AIA-Art19", retention_period="12 months")
    differing = judge(stated(both, "AIA-Art26-6", retention_period="24 months"))
    for key in ("AIA-Art19", "AIA-Art26-6"):
        assert differing.of(key).state is State.NONCONFORM
        assert any("not the same everywhere" in words for words in differing.of(key).contradicted)
    same = judge(stated(both, "AIA-Art26-6", retention_period="12  Months"))
    assert not any("same everywhere" in words for words in same.of("AIA-Art26-6").contradicted)


def test_what_the_platform_holds_is_not_stated_otherwise() -> None:
    item = of(stated(make_dossier(), "AIA-AnnexV-1", system_name="Another model"), "AIA-AnnexV-1")
    assert item.state is State.NONCONFORM
    assert any("“Another model”, but the platform holds “Chest model”" in words for words in item.contradicted)


@pytest.mark.parametrize("key", RESTS_ON_AUDIT)
def test_a_failed_audit_makes_nonconform_whatever_is_stated(key: str) -> None:
    bad = make_dossier(audits=(failed(audit_of()),))
    assert of(bad, key).state is State.NONCONFORM
    full = of(stated(bad, key, thresholds_fixed_on="2026-11-01"), key)
    assert full.state is State.NONCONFORM
    assert any("Audit 4 failed: 1 primary criterion" in words for words in full.contradicted)


def test_what_does_not_rest_on_the_audit_is_no_worse_for_its_failure() -> None:
    bad = stated(make_dossier(audits=(failed(audit_of()),)), PLAIN)
    assert of(bad, PLAIN).state is State.COMPLETE


def complete_testing(audit: dict[str, Any], **given: Any) -> Judgement:
    """Annex IV, point 2(g), with everything there: the platform itself checks it."""
    robust = audit | {"run": 5, "kinds": ["robustness_audit"], "protocol": audit["protocol"] | {"digest": digest("r")}}
    return of(make_dossier(audits=(audit, robust), **given), "AIA-AnnexIV-2-g")


def test_the_platform_completes_what_it_checked_itself() -> None:
    item = complete_testing(audit_of())
    assert (item.state, item.lacking) == (State.COMPLETE, ())
    assert {reference.kind for reference in item.references} == {"audit"}
    assert item.statement is None


def test_no_audit_on_simulated_patients_completes_anything() -> None:
    cohort = audit_of()["cohort"] | {"simulated": True}
    item = complete_testing(audit_of(cohort=cohort))
    assert item.state is State.PARTIAL
    assert "an audit on real patients: this cohort is simulated" in item.lacking
    full = judge(fully_stated(make_dossier(audits=(audit_of(cohort=cohort),))))
    assert all(full.of(key).state is not State.COMPLETE for key in RESTS_ON_AUDIT)


def test_no_audit_that_could_not_tell_completes_anything() -> None:
    item = complete_testing(audit_of(outcome="insufficient"))
    assert item.state is State.PARTIAL
    assert "enough studies to judge every primary criterion" in item.lacking


def test_no_log_of_predictions_completes_anything() -> None:
    version = make_dossier()["version"]
    item = complete_testing(audit_of(), version=version | {"config": version["config"] | {"runs_weights": False}})
    assert item.state is State.PARTIAL
    assert any("only its recorded predictions" in words for words in item.lacking)


def test_of_one_protocol_the_newest_audit_counts_and_of_several_each() -> None:
    again = make_dossier(audits=(audit_of(run=9), failed(audit_of(run=4))))
    assert of(again, "AIA-Art15-1").state is not State.NONCONFORM
    other = make_dossier(audits=(audit_of(run=9), failed(audit_of(run=4, name="stricter-v2"))))
    assert of(other, "AIA-Art15-1").state is State.NONCONFORM


def test_a_failure_on_another_cohort_is_not_forgotten() -> None:
    elsewhere = failed(audit_of(run=3, cohort={"name": "Winter", "digest": digest("winter"), "simulated": False}))
    item = of(make_dossier(audits=(audit_of(), elsewhere)), "AIA-Art15-1")
    assert any("audit 3 of this version, which failed on Winter" in words for words in item.lacking)


STATED = st.sampled_from(EVERY)


@settings(max_examples=60, deadline=None)
@given(key=STATED, everything=st.booleans(), audited=st.booleans())
def test_accepting_a_valid_statement_never_makes_worse_but_by_contradiction(
    key: str, everything: bool, audited: bool
) -> None:
    dossier = make_dossier(
        answers=everything_applies() if everything else DEVICE, audits=(audit_of(),) if audited else ()
    )
    before, after = of(dossier, key), of(stated(dossier, key), key)
    if after.state is State.NONCONFORM:
        assert after.contradicted
    elif before.state in RANK:
        assert RANK[after.state] >= RANK[before.state]
    else:
        assert after.state is before.state


def test_one_unknown_keeps_a_report_from_being_ready() -> None:
    answers = {key: value for key, value in DEVICE.items() if key != "notified_body"}
    ready = judge(make_dossier(answers=answers)).ready("declaration_of_conformity")
    assert not ready.ready
    assert any("of unknown applicability: AIA-AnnexV-7" in words for words in ready.because)


def test_a_report_of_which_nothing_applies_is_ready() -> None:
    """No FRIA is owed (Art. 27(1)): the finding that none is owed is all that the report says."""
    values = {key: value for key, value in DEVICE.items() if key != "role"} | {"role": "provider"}
    statuses = judge(make_dossier(answers=values))
    assert all(item.state is State.NOT_APPLICABLE for item in statuses.for_report("fria"))
    assert statuses.ready("fria").ready


def test_guidance_and_pending_items_decide_nothing_about_readiness() -> None:
    statuses = judge(make_dossier())
    judged = [item for item in statuses.items if item.requirement.status != "binding"]
    assert any(item.state is State.MISSING for item in judged)
    told = " ".join(words for key in statuses.catalogue.outlines for words in statuses.ready(key).because)
    assert not any(item.requirement.id in told for item in judged)


def test_a_prohibited_practice_keeps_every_report_from_being_ready() -> None:
    dossier = make_dossier(answers=DEVICE | {"role": "provider", "art5_c": True})
    statuses = judge(dossier)
    assert statuses.prohibited == ("c",)
    assert statuses.of("AIA-Art5-1").state is State.NONCONFORM
    for key in (*statuses.catalogue.outlines, "model_card"):
        assert not statuses.ready(key).ready
    assert "Article 5" in statuses.ready("model_card").because[0]


def test_answers_that_cannot_both_be_true_keep_every_report_from_being_ready() -> None:
    """Emotion recognition is point 1(c) of Annex III; whoever answers that no point is met contradicts it."""
    answers = DEVICE | {"role": "provider", "annex_iii_points": ["none"], "emotion_recognition": True}
    statuses = judge(make_dossier(answers=answers))
    for key in (*statuses.catalogue.outlines, "model_card"):
        assert not statuses.ready(key).ready
        assert any("point 1(c) of Annex III" in words for words in statuses.ready(key).because)


def test_a_report_without_requirements_of_its_own_is_ready() -> None:
    assert judge(make_dossier()).ready("model_card").ready


def test_chapters_and_reports_are_found_in_their_order() -> None:
    statuses = judge(make_dossier())
    catalogue = load_requirements()
    for key in catalogue.outlines:
        assert [item.requirement for item in statuses.for_report(key)] == list(catalogue.for_report(key))
    section = statuses.for_section("annex_iv", "5")
    assert {item.requirement.id for item in section} >= {"AIA-AnnexIV-5", "AIA-Art9-1"}


def test_evidence_changes_no_state() -> None:
    dossier = fully_stated(make_dossier(audits=(audit_of(),)))
    without, given_evidence = judge(dossier), judge(dossier, evidence={"result": {"outcome": "pass"}})
    assert [item.state for item in without.items] == [item.state for item in given_evidence.items]


def test_judging_twice_gives_the_same() -> None:
    dossier = fully_stated(make_dossier(answers=everything_applies(), audits=(audit_of(),)))
    assert judge(dossier).items == judge(dossier).items


def test_judging_changes_nothing_in_the_dossier() -> None:
    from core.digests import sha256_json

    dossier = fully_stated(make_dossier(audits=(audit_of(),), reports=[report_row("pmm_plan")]))
    before = sha256_json(dossier)
    judge(dossier)
    assert sha256_json(dossier) == before


def test_rules_may_not_ask_in_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(other: str) -> Callable[[Facts], Finding]:
        def rule(facts: Facts) -> Finding:
            return Finding(held=(facts.state_of(other),))

        return rule

    circle = dict(rules()) | {"AIA-Art9-1": ask("AIA-Art18"), "AIA-Art18": ask("AIA-Art9-1")}
    monkeypatch.setattr("governance.standing.judging.rules", lambda: circle)
    with pytest.raises(AuscultError, match="AIA-Art9-1 → AIA-Art18 → AIA-Art9-1"):
        judge(make_dossier())


def test_a_second_rule_for_one_requirement_is_refused() -> None:
    rules()
    with pytest.raises(AuscultError, match="Two rules judge AIA-Art18"):
        judged_by("AIA-Art18")(lambda facts: Finding())


def test_a_statement_about_an_unknown_requirement_is_passed_over() -> None:
    dossier = make_dossier()
    row = statement(dossier, PLAIN) | {"requirement": "XY-1"}
    assert isinstance(judge(with_statements(dossier, row)), Statuses)


def test_answers_bring_their_author_along() -> None:
    told = answers_of({"ai_system": True})["ai_system"]
    assert told["author"] == "dora"
    item = of(make_dossier(), "AIA-Art6-1")
    source = next(field.reference for field in item.fields if field.name == "mdr_class")
    assert source is not None
    assert (source.kind, source.href_id) == ("answer", "mdr_class")
