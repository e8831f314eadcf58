"""What applies to a system: the law's own cases, and the logic of answers that are missing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from governance.applicability import Applicability, Truth, applicability, conclude, prohibited
from governance.requirements import load_requirements
from tests.governance.example_answers import Answers, as_answers, device, triage_device

CATALOGUE = load_requirements()
TODAY = dt.date(2026, 11, 22)
YES, NO, UNKNOWN = Truth.YES, Truth.NO, Truth.UNKNOWN
FRIA = ("1-a", "1-b", "1-c", "1-d", "1-e", "1-f", "2-3", "4")


def applied(answers: Answers, *, as_of: dt.date = TODAY) -> dict[str, Applicability]:
    return dict(applicability(CATALOGUE, answers, as_of=as_of))


def truth_of(key: str, answers: Answers) -> Truth:
    return conclude(answers)[key].truth


# ---- A pure device


def test_a_pure_mdr_device_of_class_iia_is_high_risk_by_art_6_1() -> None:
    """Art. 6(1): it is itself a product of Annex I Section A, and a notified body assesses it."""
    found = applied(device())
    assert found["AIA-Art9-1"].applies is YES
    assert found["AIA-Art43-3"].applies is YES
    assert "high-risk by Art. 6(1), as a device (" in found["AIA-Art9-1"].reason
    assert "MDR class: IIa" in found["AIA-Art9-1"].reason
    assert "Role under the AI Act: provider" in found["AIA-Art9-1"].reason


@pytest.mark.parametrize("role", ["provider", "deployer", "both"])
def test_a_pure_mdr_device_owes_no_fundamental_rights_impact_assessment(role: str) -> None:
    """Art. 27(1) speaks of systems of Art. 6(2) alone: not even a public hospital owes one for a pure device."""
    answers = device(role=role, deployer_kind="public_law", public_authority=True, art_25_changes=["none"])
    found = applied(answers)
    for part in FRIA:
        assert found[f"AIA-Art27-{part}"].applies is NO
        assert "Points of Annex III: none of them" in found[f"AIA-Art27-{part}"].reason


def test_a_pure_mdr_device_owes_no_entry_in_the_eu_database() -> None:
    """Art. 49(1) speaks of Annex III; a device is registered in EUDAMED (MDR Art. 29)."""
    found = applied(device(role="both", deployer_kind="public_law", public_authority=True, workplace=False))
    entries = [key for key in found if key.startswith("AIA-AnnexVIII")]
    assert len(entries) == 15
    assert {found[key].applies for key in entries} == {NO}
    assert found["AIA-Art49-1"].applies is YES, "whether it is owed is asked of everybody"
    assert found["MDR-29"].applies is YES


def test_a_pure_mdr_device_owes_neither_the_notice_of_art_26_11_nor_the_explanation_of_art_86() -> None:
    found = applied(device(role="deployer", deployer_kind="public_law", art_25_changes=["none"]))
    assert found["AIA-Art26-11"].applies is NO
    assert found["AIA-Art86"].applies is NO
    assert found["AIA-Art26-5"].applies is YES, "the duties of deployers of any high-risk system stay"


def test_the_same_device_in_emergency_triage_at_a_public_deployer_owes_an_assessment() -> None:
    """Annex III 5(d) and a body governed by public law: Art. 27(1)."""
    found = applied(triage_device())
    assert {found[f"AIA-Art27-{part}"].applies for part in FRIA} == {YES}
    assert "5(d)" in found["AIA-Art27-1-a"].reason
    assert "governed by public law" in found["AIA-Art27-1-a"].reason
    for key in ("AIA-AnnexVIII-A-1", "AIA-AnnexVIII-C", "AIA-Art26-11", "AIA-Art86"):
        assert found[key].applies is YES


def test_a_private_deployer_without_public_services_owes_none_but_for_credit_and_insurance() -> None:
    """Art. 27(1): the last limb reaches every deployer of Annex III 5(b) and 5(c)."""
    assert truth_of("fria_deployer", triage_device(deployer_kind="other_private")) is NO
    assert truth_of("fria_deployer", triage_device(deployer_kind="private_public_service")) is YES
    for point in ("5b", "5c"):
        answers = triage_device(deployer_kind="other_private", annex_iii_points=[point])
        assert truth_of("fria_deployer", answers) is YES


def test_point_2_of_annex_iii_owes_no_assessment_and_no_explanation() -> None:
    """Art. 27(1) and Art. 86(1) both leave out critical infrastructure."""
    found = applied(triage_device(annex_iii_points=["2"]))
    assert found["AIA-Art27-1-a"].applies is NO
    assert found["AIA-Art86"].applies is NO
    assert found["AIA-Art26-11"].applies is YES


def test_a_provider_bears_no_duty_of_deployers() -> None:
    found = applied(triage_device(role="provider"))
    assert found["AIA-Art26-5"].applies is NO
    assert found["AIA-Art26-5"].reason == "Your organisation is not a deployer (Role under the AI Act: provider)."
    assert found["AIA-Art27-1-a"].applies is NO


# ---- The class of the device: Table 1 of MDCG 2025-6


@pytest.mark.parametrize(
    ("law", "device_class", "with_body", "high_risk"),
    [
        ("mdr", "I", False, NO),
        ("mdr", "I", True, YES),
        ("mdr", "I", None, UNKNOWN),
        ("mdr", "IIa", None, YES),
        ("mdr", "IIb", None, YES),
        ("mdr", "III", None, YES),
        ("ivdr", "A", False, NO),
        ("ivdr", "A", True, YES),
        ("ivdr", "B", None, YES),
        ("ivdr", "C", None, YES),
        ("ivdr", "D", None, YES),
    ],
)
def test_the_class_decides_art_6_1(law: str, device_class: str, with_body: bool | None, high_risk: Truth) -> None:
    given = {"mdr_class": None, f"{law}_class": device_class, "class_i_notified_body": with_body}
    answers = device(device_law=law, **given)
    assert truth_of("hr_6_1_mdr", answers) is high_risk
    assert truth_of("hr", answers) is high_risk


def test_a_class_i_device_is_not_high_risk_by_art_6_1_but_may_be_by_its_use() -> None:
    class_i = {"mdr_class": "I", "class_i_notified_body": False}
    assert applied(device(**class_i))["AIA-Art9-1"].applies is NO
    found = applied(triage_device(**class_i))
    assert found["AIA-Art9-1"].applies is YES
    assert found["AIA-Art43-3"].applies is NO, "the route through MDR is that of Art. 6(1)"


def test_an_in_house_device_is_not_high_risk_by_art_6_1_and_has_no_manufacturer() -> None:
    """MDR Art. 5(5); MDCG 2025-6, Table 1."""
    found = applied(device(in_house=True))
    assert found["AIA-Art9-1"].applies is NO
    assert "MDCG 2025-6" in conclude(device(in_house=True))["hr_6_1_mdr"].reason
    assert found["MDR-83-84"].applies is NO


def test_in_section_b_of_annex_i_the_high_risk_duties_fall_away() -> None:
    """Art. 2(2). The proposal COM(2025) 1023 would move the law on devices there."""
    conclusion = conclude(device(annex_i_section="B"))["hr_6_1_mdr"]
    assert conclusion.truth is NO
    assert "Art. 2(2)" in conclusion.reason


def test_an_ivdr_device_owes_the_ai_act_and_nothing_of_mdr() -> None:
    found = applied(device(device_law="ivdr", mdr_class=None, ivdr_class="C"))
    assert {found[key].applies for key in found if key.startswith("MDR-")} == {NO}
    assert found["AIA-Art6-1"].applies is YES
    assert found["AIA-Art43-3"].applies is YES


# ---- The exemption of Art. 6(3)


def test_a_valid_exemption_takes_the_use_out_of_annex_iii_and_is_still_registered() -> None:
    """Art. 6(4) and 49(2): Section B of Annex VIII instead of Section A."""
    exempt = {"art_6_3_claimed": True, "art_6_3_condition": "d", "profiling": False}
    found = applied(triage_device(device_law="none", **exempt))
    assert found["AIA-AnnexVIII-B"].applies is YES
    assert found["AIA-AnnexVIII-A-1"].applies is NO
    assert found["AIA-Art9-1"].applies is NO
    assert found["AIA-Art27-1-a"].applies is NO


def test_the_exemption_never_removes_the_status_of_a_device() -> None:
    exempt = {"art_6_3_claimed": True, "art_6_3_condition": "d", "profiling": False}
    found = applied(triage_device(**exempt))
    assert found["AIA-Art9-1"].applies is YES
    assert found["AIA-Art26-11"].applies is NO


@pytest.mark.parametrize("failing", [{"profiling": True}, {"art_6_3_condition": "none"}])
def test_profiling_and_a_missing_condition_defeat_the_exemption(failing: dict[str, Any]) -> None:
    claim = {"art_6_3_claimed": True, "art_6_3_condition": "d", "profiling": False} | failing
    found = applied(triage_device(**claim))
    assert found["AIA-AnnexVIII-B"].applies is NO
    assert found["AIA-AnnexVIII-A-1"].applies is YES


# ---- Scope and roles


@pytest.mark.parametrize(
    "outside", [{"ai_system": False}, {"union_market": False}, {"research_only": True}], ids=lambda one: next(iter(one))
)
def test_what_the_ai_act_does_not_reach_owes_nothing_under_it(outside: dict[str, Any]) -> None:
    found = applied(triage_device(**outside))
    owed = {item.id for item in CATALOGUE.requirements if found[item.id].applies is not NO}
    by_ai_act = {item.id for item in CATALOGUE.requirements if item.regulation == "AI_ACT"}
    assert owed & by_ai_act == ({"AIA-Art3-1"} if "ai_system" in outside else set())
    assert found["GDPR-35-1"].applies is YES


def test_a_deployer_who_rebrands_becomes_the_provider() -> None:
    """Art. 25(1)(a)."""
    assert truth_of("provider", device(role="deployer", art_25_changes=["rebranded"])) is YES
    assert truth_of("provider", device(role="deployer", art_25_changes=["none"])) is NO
    assert truth_of("provider", device(role="deployer")) is UNKNOWN


def test_a_model_placed_on_the_market_is_no_ai_system_and_owes_its_duties_all_the_same() -> None:
    """Art. 53 binds providers of models, whatever systems they build."""
    found = applied(device(ai_system=False, gpai_provider=True, gpai_systemic=False))
    assert found["AIA-Art53-1-a"].applies is YES
    assert found["AIA-Art55"].applies is NO


# ---- Incidents


def test_art_73_10_narrows_the_reports_of_a_device_to_infringements_of_rights() -> None:
    """Harm to health goes through MDR Art. 87."""
    harm = applied(device(incident=True, incident_kinds=["a_health"]))
    for number in "23456":
        assert harm[f"AIA-Art73-{number}"].applies is NO
    assert "Art. 73(10)" in harm["AIA-Art73-2"].reason
    assert "MDR Art. 87" in harm["AIA-Art73-2"].reason
    assert harm["MDR-87"].applies is YES
    assert harm["AIA-Art73-10"].applies is YES

    rights = applied(device(incident=True, incident_kinds=["c_fundamental_rights"]))
    assert rights["AIA-Art73-2"].applies is YES
    assert rights["AIA-Art73-4"].applies is NO
    assert rights["MDR-87"].applies is NO


def test_without_a_device_harm_is_reported_under_the_ai_act() -> None:
    answers = triage_device(device_law="none", incident=True, incident_kinds=["a_health"])
    found = applied(answers)
    assert {found[f"AIA-Art73-{number}"].applies for number in "23456"} == {YES}
    assert found["AIA-Art73-10"].applies is NO
    assert found["MDR-87"].applies is NO


def test_art_73_10_reaches_a_class_i_device_that_is_high_risk_by_its_use() -> None:
    """It speaks of devices, whichever paragraph of Art. 6 makes them high-risk."""
    answers = triage_device(mdr_class="I", class_i_notified_body=False, incident=True, incident_kinds=["a_health"])
    found = applied(answers)
    assert found["AIA-Art73-10"].applies is YES
    assert found["AIA-Art73-2"].applies is NO


# ---- Personal data


def test_two_criteria_of_wp248_call_for_an_assessment_and_one_does_not() -> None:
    none_of_art_35 = {"dpia_case_b": False, "dpia_national_list": False}
    criteria = {f"wp248_c{number}": False for number in range(1, 10)}
    assert truth_of("dpia_required", device(**none_of_art_35, **criteria)) is NO
    assert truth_of("dpia_required", device(**none_of_art_35, **{**criteria, "wp248_c4": True})) is NO
    both = {**criteria, "wp248_c4": True, "wp248_c7": True}
    assert truth_of("dpia_required", device(**none_of_art_35, **both)) is YES
    one_open = {**criteria, "wp248_c4": True, "wp248_c7": None}
    assert truth_of("dpia_required", device(**none_of_art_35, **one_open)) is UNKNOWN


@pytest.mark.parametrize("case", ["dpia_case_a", "dpia_case_b", "dpia_case_c", "dpia_national_list", "dpia_chosen"])
def test_each_case_of_art_35_is_enough_by_itself(case: str) -> None:
    answers = {key: value for key, value in device().items() if not key.startswith(("dpia", "wp248"))}
    conclusion = conclude(answers | as_answers({case: True}))["dpia_required"]
    assert (conclusion.truth, conclusion.questions) == (YES, ("personal_data", case))


def test_without_personal_data_nothing_of_the_gdpr_applies() -> None:
    found = applied(device(personal_data=False))
    owed = {item.id for item in CATALOGUE.requirements if item.regulation in ("GDPR", "WP248", "CNIL_PIA", "EDPB")}
    assert {key for key in owed if found[key].applies is not NO} == {"SYN-privacy"}


# ---- Unknown


def test_what_is_not_answered_is_unknown_and_named() -> None:
    found = applied({})
    assert {one.applies for one in found.values()} == {UNKNOWN}
    assert "“AI system”" in found["AIA-Art9-1"].reason
    assert set(found["AIA-Art9-1"].questions) >= {"ai_system", "role"}


def test_an_answer_that_was_taken_back_is_none() -> None:
    answers = device() | as_answers({"annex_i_section": None})
    assert conclude(answers)["hr"].questions == ("annex_i_section",)


@pytest.mark.parametrize("value", ["IIc", True, ["IIa"], 2, {}])
def test_a_value_the_question_does_not_know_is_no_answer(value: Any) -> None:
    assert truth_of("hr_6_1_mdr", device() | as_answers({"mdr_class": value})) is UNKNOWN


def test_a_no_decides_whatever_else_is_unknown() -> None:
    found = applied(as_answers({"annex_iii_points": ["none"]}))
    assert found["AIA-Art27-1-a"].applies is NO
    assert found["AIA-Art27-1-a"].questions == ("annex_iii_points",)
    assert applied(as_answers({"personal_data": False}))["GDPR-36"].applies is NO
    assert truth_of("hr", as_answers({"ai_system": False})) is NO


def test_an_answer_to_a_question_that_is_not_asked_says_nothing() -> None:
    """A class that was entered before the device turned out to be none."""
    assert truth_of("hr", device(device_law="none")) is NO


def test_answering_every_question_that_is_asked_leaves_nothing_unknown() -> None:
    for answers in (device(), triage_device()):
        found = applied(answers)
        assert [key for key, one in found.items() if one.applies is UNKNOWN] == []


# ---- Art. 5


def test_a_prohibited_practice_is_named_by_its_limb() -> None:
    assert prohibited(device()) == ()
    assert prohibited({}) == ()
    assert prohibited(device(art5_f=True, art5_ba=True)) == ("ba", "f")


# ---- Dates


@pytest.mark.parametrize(
    ("as_of", "in_force"),
    [(dt.date(2026, 8, 1), "later"), (dt.date(2026, 8, 2), "depends"), (dt.date(2028, 8, 2), "now")],
)
def test_between_two_readings_of_a_date_it_depends(as_of: dt.date, in_force: str) -> None:
    """Arts 72 and 73 for products: 2 August 2026 by the letter, 2 August 2028 by the sense."""
    one = applied(device(), as_of=as_of)["AIA-Art72-1"]
    assert one.in_force == in_force
    assert one.dates == (dt.date(2026, 8, 2), dt.date(2028, 8, 2))


@pytest.mark.parametrize(
    ("answers", "dates", "in_force"),
    [
        (device(), (dt.date(2028, 8, 2),), "later"),
        (triage_device(), (dt.date(2027, 12, 2),), "now"),
        (device(annex_iii_points=None), (dt.date(2027, 12, 2), dt.date(2028, 8, 2)), "depends"),
    ],
)
def test_a_use_of_annex_iii_brings_the_duties_forward(
    answers: Answers, dates: tuple[dt.date, ...], in_force: str
) -> None:
    one = applied(answers, as_of=dt.date(2028, 1, 1))["AIA-Art9-1"]
    assert (one.dates, one.in_force) == (dates, in_force)


@pytest.mark.parametrize(
    ("placed", "in_force"),
    [
        ({"placed_on_market": False}, "now"),
        ({"placed_on_market": True, "first_placed_on": "2026-08-02"}, "now"),
        ({"placed_on_market": True, "first_placed_on": "2026-08-01"}, "later"),
        ({"placed_on_market": True}, "depends"),
        ({"placed_on_market": None}, "depends"),
    ],
)
def test_an_older_generative_system_is_marked_from_december(placed: dict[str, Any], in_force: str) -> None:
    """Art. 111(4): placed before 2 August 2026, marked from 2 December 2026."""
    assert applied(device(**placed))["AIA-Art50-2"].in_force == in_force
