"""Conclusions as logic: every trigger can be reached, nothing is taken back, and nothing but answers is read."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.applicability import Applicability, Truth, applicability, conclude
from governance.conditions.conclusions import RULES
from governance.conditions.reading import Reading
from governance.questions import Question, load_questions
from governance.requirements import load_requirements
from tests.governance.example_answers import Answers, as_answers, device, triage_device

CATALOGUE = load_requirements()
QUESTIONS = {question.key: question for question in load_questions()}
YES, NO, UNKNOWN = Truth.YES, Truth.NO, Truth.UNKNOWN


def applied(answers: Answers) -> dict[str, Applicability]:
    return dict(applicability(CATALOGUE, answers, as_of=dt.date(2026, 11, 22)))


def truth_of(key: str, answers: Answers) -> Truth:
    return conclude(answers)[key].truth


CASES: dict[str, tuple[Answers, Answers]] = {
    "hr": (device(), device(ai_system=False)),
    "hr_6_1_mdr": (device(), device(device_law="none")),
    "annex_iii": (triage_device(), device()),
    "annex_iii_not_2": (triage_device(), triage_device(annex_iii_points=["2"])),
    "annex_iii_1a": (triage_device(annex_iii_points=["1a"]), triage_device()),
    "annex_iii_filtered": (
        triage_device(art_6_3_claimed=True, art_6_3_condition="a", profiling=False),
        triage_device(),
    ),
    "fria_deployer": (triage_device(), device()),
    "public_deployer": (triage_device(), triage_device(public_authority=False)),
    "workplace": (triage_device(workplace=True), triage_device()),
    "trains_on_data": (device(), device(trains_on_data=False)),
    "learns_after_market": (device(learns_after_market=True), device()),
    "predetermined_changes": (device(predetermined_changes=True), device()),
    "direct_interaction": (device(direct_interaction=True), device()),
    "generates_content": (device(), device(generated_content=["none"])),
    "emotion_or_biocat": (device(emotion_recognition=True), device()),
    "gpai_model_provider": (device(gpai_modified=True), device()),
    "gpai_systemic": (device(gpai_provider=True, gpai_systemic=True), device()),
    "uses_third_party_model": (device(), device(third_party_model=False)),
    "third_country_provider": (device(provider_outside_union=True), device()),
    "nb_involved": (device(), device(notified_body=False)),
    "personal_data": (device(), device(personal_data=False)),
    "special_category": (device(special_categories=["genetic"]), device(special_categories=["none"])),
    "bias_special_data": (device(bias_special_data=True), device()),
    "dpia_required": (device(), device(personal_data=False)),
    "high_residual_risk": (device(high_residual_risk=True), device()),
    "reuse_of_data": (device(), device(reuse_of_data=False)),
    "synthetic_data": (device(), device(synthetic_data=False)),
    "breach": (device(breach=True), device()),
    "incident": (device(incident=True), device()),
    "ai_act_incident": (
        device(incident=True, incident_kinds=["c_fundamental_rights"]),
        device(incident=True, incident_kinds=["b_infrastructure"]),
    ),
    "ai_act_death": (
        device(device_law="none", incident=True, incident_kinds=["a_health"]),
        device(incident=True, incident_kinds=["a_health"]),
    ),
    "health_incident": (device(incident=True, incident_kinds=["a_health"]), device()),
    "mdr_device": (device(), device(device_law="ivdr")),
    "annex_i_device": (device(device_law="ivdr"), device(device_law="none")),
    "ehds_data": (device(ehds_data=True), device()),
    "us_data": (device(us_data=True), device()),
    "provider": (device(), device(role="neither", art_25_changes=["none"])),
    "deployer": (triage_device(), device()),
    "manufacturer": (device(), device(manufacturer=False)),
    "controller": (device(), device(data_role="processor")),
    "processor": (device(data_role="both"), device()),
    "gpai_provider": (device(gpai_provider=True), device()),
    "data_user": (device(ehds_data=True, ehds_user=True), device()),
    "covered_entity": (device(us_data=True, hipaa_entity=True), device()),
}


def test_every_trigger_and_every_duty_bearer_has_a_case() -> None:
    bearers = {role for item in CATALOGUE.requirements for role in item.duty_bearer}
    assert set(CASES) == (set(CATALOGUE.triggers) | bearers) - {"always"}
    assert conclude({})["always"].truth is YES


@pytest.mark.parametrize("key", CASES)
def test_every_trigger_can_be_yes_no_and_unknown(key: str) -> None:
    holding, refusing = CASES[key]
    for answers, truth in ((holding, YES), (refusing, NO), ({}, UNKNOWN)):
        conclusion = conclude(answers)[key]
        assert conclusion.truth is truth
        assert conclusion.questions
        assert conclusion.reason.endswith(".")
        assert all(QUESTIONS[name].label in conclusion.reason for name in conclusion.questions)


# ---- Properties


def values_of(question: Question) -> st.SearchStrategy[Any]:
    """Answers that the question takes."""
    if question.kind == "yes_no":
        return st.booleans()
    if question.kind == "choice":
        return st.sampled_from([option.key for option in question.options])
    if question.kind == "several" and question.options:
        keys = [option.key for option in question.options if option.key != "none"]
        return st.just(["none"]) | st.lists(st.sampled_from(keys), min_size=1, unique=True)
    if question.kind == "several":
        return st.just(["Radiology"])
    if question.kind == "date":
        return st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1)).map(lambda day: day.isoformat())
    return st.just("A text")


SOME = st.fixed_dictionaries({}, optional={key: values_of(question) for key, question in QUESTIONS.items()})
ALL = st.fixed_dictionaries({key: values_of(question) for key, question in QUESTIONS.items()})


@settings(max_examples=150, deadline=None)
@given(values=ALL, data=st.data())
def test_an_added_answer_never_takes_a_decision_back(values: dict[str, Any], data: st.DataObject) -> None:
    """Monotone: what was decided without an answer is decided in the same way with it."""
    fewer = data.draw(st.sets(st.sampled_from(sorted(values))))
    more = fewer | data.draw(st.sets(st.sampled_from(sorted(values))))
    before = conclude(as_answers({key: values[key] for key in fewer}))
    after = conclude(as_answers({key: values[key] for key in more}))
    for key, conclusion in before.items():
        if conclusion.truth is not UNKNOWN:
            assert after[key].truth is conclusion.truth, key


@settings(max_examples=100, deadline=None)
@given(values=SOME)
def test_every_requirement_is_monotone_too_and_an_unknown_one_names_open_questions(values: dict[str, Any]) -> None:
    found = applied(as_answers(values))
    emptied = applied(as_answers(dict(list(values.items())[::2])))
    for key, one in found.items():
        assert one.reason.endswith(".")
        if one.applies is UNKNOWN:
            assert one.questions
            assert not set(one.questions) & set(values)
        if emptied[key].applies is not UNKNOWN:
            assert one.applies is emptied[key].applies


@settings(max_examples=100, deadline=None)
@given(values=ALL)
def test_all_answers_decide_everything(values: dict[str, Any]) -> None:
    """Whatever is asked is answered, so nothing is unknown."""
    assert [key for key, one in applied(as_answers(values)).items() if one.applies is UNKNOWN] == []


@settings(max_examples=50, deadline=None)
@given(values=SOME, seed=st.integers(0, 10_000))
def test_conclusions_depend_on_nothing_but_the_values(values: dict[str, Any], seed: int) -> None:
    shuffled = list(values.items())
    random.Random(seed).shuffle(shuffled)
    other = {
        key: {"value": value, "reason": f"<b>{seed}</b>", "author": "amir", "at": "1999-01-01T00:00:00+00:00"}
        for key, value in shuffled
    } | {"no_such_question": {"value": True}}
    assert conclude(as_answers(values)) == conclude(other)


def plain_high_risk(values: dict[str, Any]) -> bool:
    """Art. 6 in two-valued logic over a whole questionnaire, written apart from the rules."""
    if not values["ai_system"] or not values["union_market"] or values["research_only"]:
        return False
    law = values["device_law"]
    body = {"mdr": values["mdr_class"] != "I", "ivdr": values["ivdr_class"] != "A", "none": False}[law]
    lowest = law != "none" and not body and values["class_i_notified_body"]
    by_device = (body or lowest) and not values["in_house"] and values["annex_i_section"] == "A"
    exempt = values["art_6_3_claimed"] and values["art_6_3_condition"] != "none" and not values["profiling"]
    by_use = values["annex_iii_points"] != ["none"] and not exempt
    return bool(by_device or by_use or values["other_product_law"])


@settings(max_examples=200, deadline=None)
@given(values=ALL)
def test_high_risk_agrees_with_art_6_written_out(values: dict[str, Any]) -> None:
    assert truth_of("hr", as_answers(values)) is (YES if plain_high_risk(values) else NO)


def test_what_a_question_sets_is_what_the_rules_read_of_it() -> None:
    """``sets`` in the questionnaire, against the rules themselves: everything they look at, conditions included."""
    told = {key: set(question.sets) for key, question in QUESTIONS.items()}
    read: dict[str, set[str]] = {key: set() for key in QUESTIONS}

    class Watched(Reading):
        trigger = ""

        def fact(self, key: str, *values: Any) -> Any:
            read[key].add(self.trigger)
            return super().fact(key, *values)

    for key in CASES:
        watched = Watched({}, RULES)
        watched.trigger = key
        watched.of(key)
    assert told == read
