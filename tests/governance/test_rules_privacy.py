"""What a machine can check of the principles, grounds and rights of the GDPR, and of WP248: worked examples."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.rules.checking import cites_audit
from governance.rules.privacy import point_of
from governance.statuses import State, judge
from tests.governance.dossiers import DEVICE, make_dossier, statement, with_statements
from tests.governance.privacy_facts import audit, facts, found

HOSPITAL = DEVICE | {"public_authority": True}


def ground(purpose: str = "Triage", phase: str = "deployment", point: str = "(e)") -> dict[str, str]:
    return {"purpose": purpose, "phase": phase, "ground": point}


def grounds(*rows: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"GDPR-6": {"basis_per_purpose": list(rows), **more}}


# ---- Principles


def test_fairness_is_argued_from_the_audit_of_this_version() -> None:
    """Art. 5(1)(a): each purpose with a ground, and a statement that cites the audit."""
    fields = {"purposes": [{"purpose": "Triage", "ground": "6(1)(e)", "notice": "N-1"}], "fairness_statement": "Fair."}
    bare = found("GDPR-5-1-a", DEVICE, {"GDPR-5-1-a": fields})
    assert any("fairness audit of this version" in words for words in bare.lacking)
    uncited = found("GDPR-5-1-a", DEVICE, {"GDPR-5-1-a": fields} | grounds(ground()), audits=[audit(4)])
    assert any("citation" in words for words in uncited.lacking)
    cited = fields | {"fairness_statement": "Audit 4 found gaps below .10."}
    whole = found("GDPR-5-1-a", DEVICE, {"GDPR-5-1-a": cited} | grounds(ground("triage")), audits=[audit(4)])
    assert (whole.lacking, whole.rests_on_audit) == ((), True)
    other = found("GDPR-5-1-a", DEVICE, {"GDPR-5-1-a": cited} | grounds(ground("Billing")), audits=[audit(4)])
    assert any("Triage" in words for words in other.lacking)


@pytest.mark.parametrize(
    ("text", "cites"),
    [("See audit 4.", True), ("Audits 4", True), ("digest 04040404", True), ("audit 41", False), ("0404", False),
     ("We audited 4 times", False), ("audit no. 4", True)],
)  # fmt: skip
def test_a_citation_names_the_audit(text: str, cites: bool) -> None:
    assert cites_audit(text, [audit(4)]) is cites


def test_five_factors_or_a_ground_of_its_own_for_reuse() -> None:
    """Art. 6(4)(a) to (e)."""
    names = ("link", "context", "nature", "consequences", "safeguards")
    table = [{"factor": name, "answer": "Yes."} for name in names]
    reuse = DEVICE | {"reuse_of_data": True}
    five = found("GDPR-5-1-b", reuse, {"GDPR-5-1-b": {"compatibility_test": table}})
    assert (five.lacking, five.waived) == ((), ("research_safeguards",))
    four = found("GDPR-5-1-b", reuse, {"GDPR-5-1-b": {"compatibility_test": table[:4]}})
    assert len(four.lacking) == 1
    twice = found("GDPR-5-1-b", reuse, {"GDPR-5-1-b": {"compatibility_test": [*table[:4], table[0]]}})
    assert len(twice.lacking) == 1
    research = found("GDPR-5-1-b", reuse, {"GDPR-5-1-b": {"research_safeguards": "Pseudonyms, ethics vote 12/26."}})
    assert (research.lacking, research.waived) == ((), ("compatibility_test",))


def test_every_input_of_the_model_has_a_reason() -> None:
    """Art. 5(1)(c): the version declares the inputs image and age."""
    table = [{"field": "Image", "reason": "The finding is in it."}]
    bare = found("GDPR-5-1-c", DEVICE, {"GDPR-5-1-c": {"field_necessity": table}})
    assert "“age”" in bare.lacking[0]
    assert "image" not in bare.lacking[0]
    both = [*table, {"field": "age in years", "reason": "Prevalence rises with it."}]
    assert found("GDPR-5-1-c", DEVICE, {"GDPR-5-1-c": {"field_necessity": both}}).lacking == ()


def test_logs_are_kept_as_long_as_the_ai_act_asks_and_everywhere_the_same() -> None:
    """Art. 5(1)(e) beside AI Act Art. 19(1): six months at least."""
    store = {"store": "Inference logs", "period": "3 months", "reason": "Debugging", "deletion": "cron"}
    short = found("GDPR-5-1-e", DEVICE, {"GDPR-5-1-e": {"retention_table": [store]}})
    assert "six months" in short.contradicted[0]
    half = {"GDPR-5-1-e": {"retention_table": [store | {"period": "6 months"}]}}
    assert found("GDPR-5-1-e", DEVICE, half).contradicted == ()
    other = half | {"AIA-Art19": {"retention_period": "12 months"}}
    assert "12 months" in found("GDPR-5-1-e", DEVICE, other).contradicted[0]
    same = half | {"AIA-Art19": {"retention_period": "6 months"}}
    assert found("GDPR-5-1-e", DEVICE, same).contradicted == ()
    images = {"GDPR-5-1-e": {"retention_table": [store | {"store": "Images"}]}}
    assert found("GDPR-5-1-e", DEVICE, images).contradicted == ()


# ---- Grounds


@pytest.mark.parametrize(
    ("text", "point"),
    [("(e)", "e"), ("e", "e"), ("Art. 6(1)(f)", "f"), ("point f", "f"), ("(e) or (f)", ""), ("public task", ""),
     ("", ""), ("9(2)(h)", "h"), ("(e), a public task", "e")],
)  # fmt: skip
def test_one_point_is_read_from_a_ground(text: str, point: str) -> None:
    assert point_of(text) == point


def test_each_purpose_and_phase_has_exactly_one_ground() -> None:
    """Art. 6(1)."""
    whole = [ground(phase=phase) for phase in ("development", "deployment", "monitoring")]
    clear = found("GDPR-6", DEVICE, grounds(*whole))
    assert (clear.lacking, clear.contradicted, clear.waived) == ((), (), ("balancing_test",))
    twice = found("GDPR-6", DEVICE, grounds(*whole, ground(point="(a)")))
    assert len(twice.contradicted) == 1
    assert any("monitoring" in words for words in found("GDPR-6", DEVICE, grounds(*whole[:2])).lacking)
    vague = found("GDPR-6", DEVICE, grounds(*whole[:2], ground(phase="monitoring", point="public health")))
    assert any("(a) to (f)" in words for words in vague.lacking)


def test_a_public_authority_has_no_legitimate_interest_in_its_tasks() -> None:
    """Art. 6(1), last sentence; elsewhere point (f) asks for a balance."""
    rows = [ground(phase=phase, point="(f)") for phase in ("development", "deployment", "monitoring")]
    assert len(found("GDPR-6", HOSPITAL, grounds(*rows)).contradicted) == 1
    private = found("GDPR-6", DEVICE, grounds(*rows))
    assert (private.contradicted, private.waived) == ((), ())


def test_an_exception_by_statute_names_it() -> None:
    """Art. 9(2)(g) to (j) rest on law, point (a) on consent."""
    row = {"purpose": "Triage", "point": "(h)"}
    bare = found("GDPR-9-2", DEVICE, {"GDPR-9-2": {"exception_per_purpose": [row]}})
    assert "Triage" in bare.lacking[0]
    assert bare.waived == ()
    cited = found("GDPR-9-2", DEVICE, {"GDPR-9-2": {"exception_per_purpose": [row | {"provision": "§ 22 BDSG"}]}})
    assert cited.lacking == ()
    consent = found("GDPR-9-2", DEVICE, {"GDPR-9-2": {"exception_per_purpose": [row | {"point": "(a)"}]}})
    assert consent.waived == ("national_provision", "secrecy_bound_persons")


# ---- Rights and roles


def test_rights_are_answered_within_a_month() -> None:
    """Art. 12(3): one month; Art. 15 to 18, 20 and 21 each have a process."""
    names = ("access", "Rectification", "Art. 17", "restriction", "portability", "objection")
    table = [{"right": name, "process": "P", "owner": "DPO", "limit": "1 month"} for name in names]
    assert found("GDPR-15-21", DEVICE, {"GDPR-15-21": {"process_per_right": table}}).lacking == ()
    five = found("GDPR-15-21", DEVICE, {"GDPR-15-21": {"process_per_right": table[1:]}})
    assert "access" in five.lacking[0]
    slow = [table[0] | {"limit": "6 weeks"}, *table[1:]]
    assert len(found("GDPR-15-21", DEVICE, {"GDPR-15-21": {"process_per_right": slow}}).contradicted) == 1


def test_a_decision_by_the_system_alone_needs_an_exception() -> None:
    """Art. 22(2) and (4)."""
    told = {"reasoning": "212 of 4,031 outputs overridden."}
    none = found("GDPR-22", DEVICE, {"GDPR-22": told | {"solely_automated": True, "exception": "none"}})
    assert len(none.contradicted) == 1
    health = found("GDPR-22", DEVICE, {"GDPR-22": told | {"solely_automated": True, "exception": "contract"}})
    assert "22(4)" in health.contradicted[0]
    consent = found("GDPR-22", DEVICE, {"GDPR-22": told | {"solely_automated": True, "exception": "explicit_consent"}})
    assert consent.contradicted == ()
    human = found("GDPR-22", DEVICE, {"GDPR-22": {"solely_automated": False, "reasoning": "People decide."}})
    assert human.waived == ("exception", "human_intervention_path")
    assert any("override" in words for words in human.lacking)


def test_a_processor_has_a_contract() -> None:
    """Art. 28(3)."""
    row = {"party": "Cloud GmbH", "phase": "deployment", "role": "processor"}
    assert "Cloud GmbH" in found("GDPR-26-28", DEVICE, {"GDPR-26-28": {"role_table": [row]}}).lacking[0]
    signed = found("GDPR-26-28", DEVICE, {"GDPR-26-28": {"role_table": [row | {"contract": "AVV-7"}]}})
    assert (signed.lacking, signed.waived) == ((), ())
    alone = found("GDPR-26-28", DEVICE, {"GDPR-26-28": {"role_table": [row | {"role": "controller"}]}})
    assert alone.waived == ("contract_files", "sub_processors")


def test_who_needs_an_officer() -> None:
    """Art. 37(1)(a) and (c)."""
    none = {"GDPR-37": {"dpo_required": False}}
    assert len(found("GDPR-37", HOSPITAL, none).contradicted) == 1
    assert any("37(1)(c)" in words for words in found("GDPR-37", DEVICE, none).lacking)
    small = DEVICE | {"dpia_case_b": False}
    assert found("GDPR-37", small, none).waived == ("dpo_name", "independence_statement")


def test_no_transfer_and_a_listed_transfer_cannot_both_be_true() -> None:
    """Art. 44."""
    table = [{"recipient": "Cloud Inc.", "country": "US", "tool": "scc"}]
    assert len(found("GDPR-44", DEVICE, {"GDPR-44": {"tool": "none", "transfers": table}}).contradicted) == 1
    assert found("GDPR-44", DEVICE, {"GDPR-44": {"tool": "none"}}).waived == ("transfers", "assessment_file")
    assert found("GDPR-44", DEVICE, {"GDPR-44": {"tool": "scc", "transfers": table}}).waived == ()


# ---- Whether an assessment is owed


def test_an_assessment_comes_before_processing() -> None:
    """Art. 35(1): prior to the processing."""
    texts = {"GDPR-35-1": "Special categories on a large scale."}
    fields = {"trigger_decision": "required", "completed_on": "2026-10-01", "processing_start": "2026-10-02"}
    assert found("GDPR-35-1", DEVICE, {"GDPR-35-1": fields}, texts=texts).contradicted == ()
    late = fields | {"completed_on": "2026-10-02"}
    assert len(found("GDPR-35-1", DEVICE, {"GDPR-35-1": late}, texts=texts).contradicted) == 1
    assert found("GDPR-35-1", DEVICE, {"GDPR-35-1": fields}).lacking


def test_no_assessment_is_refused_where_the_law_compels_it() -> None:
    """Art. 35(3)(b) was answered with yes."""
    fields = {"trigger_decision": "not_required", "completed_on": "2026-10-01", "processing_start": "2026-12-01"}
    finding = found("GDPR-35-1", DEVICE, {"GDPR-35-1": fields})
    assert any("(b)" in words for words in finding.contradicted)
    small = DEVICE | {"dpia_case_b": False}
    assert found("GDPR-35-1", small, {"GDPR-35-1": fields}).contradicted == ()


def test_the_criteria_are_counted_from_the_answers() -> None:
    """WP248: two or more criteria. Three answers with yes make three, whatever a statement says."""
    met = DEVICE | {"wp248_c1": True, "wp248_c4": True, "wp248_c7": True}
    finding = found("WP248-threshold", met)
    assert finding.filled == {"count": 3}
    assert (finding.settled, finding.waived) == (True, ("deviation_reason",))
    dossier = make_dossier(answers=met)
    assert judge(dossier).of("WP248-threshold").state is State.COMPLETE
    told = statement(dossier, "WP248-threshold", fields={"count": 2, "deviation_reason": "None."})
    assert judge(with_statements(dossier, told)).of("WP248-threshold").state is State.NONCONFORM


@given(st.lists(st.booleans(), min_size=9, max_size=9))
def test_count_equals_the_number_of_true_criteria(truths: list[bool]) -> None:
    answers = DEVICE | {f"wp248_c{number}": truth for number, truth in enumerate(truths, start=1)}
    assert found("WP248-threshold", answers).filled["count"] == sum(truths)


def test_an_open_criterion_leaves_the_count_open() -> None:
    answers = {key: value for key, value in DEVICE.items() if key != "wp248_c6"}
    finding = found("WP248-threshold", answers)
    assert "C6" in finding.lacking[0]
    assert (finding.filled, finding.settled) == ({}, False)


def test_two_criteria_without_an_assessment_need_reason_and_advice() -> None:
    answers = DEVICE | {"wp248_c1": True, "wp248_c2": True}
    decision = {"GDPR-35-1": {"trigger_decision": "not_required"}}
    bare = found("WP248-threshold", answers, decision)
    assert (len(bare.lacking), bare.settled) == (2, False)
    argued = decision | {"WP248-threshold": {"deviation_reason": "R"}, "GDPR-35-2": {"advice_text": "I agree."}}
    assert found("WP248-threshold", answers, argued).lacking == ()


def test_a_criterion_is_settled_by_an_answer_with_its_reason() -> None:
    with_reason = found("WP248-C1", DEVICE, reasons={"wp248_c1": "It scores findings, not people."})
    assert (with_reason.filled["met"], with_reason.settled) == (False, True)
    without = found("WP248-C1", DEVICE)
    assert (len(without.lacking), without.settled) == (1, False)
    assert found("WP248-C1").filled == {}
    scale = found("WP248-C5", DEVICE, reasons={"wp248_c5": "One ward."})
    assert not scale.settled


def test_no_rule_speaks_without_facts() -> None:
    """With no answer and no statement nothing is held by a person, and no rule fails or settles anything."""
    from governance.rules import rules

    empty = facts()
    for key, rule in rules().items():
        if key.startswith(("GDPR", "WP248", "CNIL", "EDPB", "SYN", "MDR", "EHDS", "HIPAA", "ISO", "STD")):
            finding = rule(empty)
            assert not finding.settled, key
            assert not finding.contradicted, key
