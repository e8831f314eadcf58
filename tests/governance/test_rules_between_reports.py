"""The rules about the AI Act, one requirement against another: issued reports, registers, dates, the same facts."""

from __future__ import annotations

import pytest

from governance.statuses import State
from tests.governance.dossiers import (
    DEVICE,
    audit_of,
    digest,
    everything_applies,
    failed,
    make_dossier,
    report_row,
    stated,
    statement,
    with_statements,
)
from tests.governance.rule_scene import EVENTS, SECTION_2, all_dossier, of, placed, table


def test_the_copy_of_the_declaration_is_the_issued_one() -> None:
    """Annex IV, point 8: a draft or an issue that was not ready is no declaration."""
    assert of(make_dossier(), "AIA-AnnexIV-8").state is State.MISSING
    early = make_dossier(reports=[report_row("declaration_of_conformity", ready=False)])
    assert of(early, "AIA-AnnexIV-8").state is State.PARTIAL
    item = of(make_dossier(reports=[report_row("declaration_of_conformity")]), "AIA-AnnexIV-8")
    assert item.state is State.COMPLETE
    assert item.references[0].digest == digest("declaration_of_conformity")


def test_an_issue_counts_until_what_it_says_is_changed() -> None:
    """Issued on 21 November at ten; its own statement accepted at nine, and another at eleven."""
    kind, key = "declaration_of_conformity", "AIA-AnnexV-6"
    dossier = make_dossier(reports=[report_row(kind)])
    before = with_statements(dossier, statement(dossier, key, decided_at="2026-11-21T09:00:00+00:00"))
    assert of(before, "AIA-AnnexIV-8").state is State.COMPLETE
    after = with_statements(dossier, statement(dossier, key, decided_at="2026-11-21T11:00:00+00:00"))
    item = of(after, "AIA-AnnexIV-8")
    assert item.state is State.PARTIAL
    assert any("was changed since" in words for words in item.lacking)
    elsewhere = with_statements(dossier, statement(dossier, "AIA-Art18", decided_at="2026-11-21T11:00:00+00:00"))
    assert of(elsewhere, "AIA-AnnexIV-8").state is State.COMPLETE
    answer = dossier["answers"]["notified_body"] | {"at": "2026-11-21T11:00:00+00:00"}
    answered = dossier | {"answers": dossier["answers"] | {"notified_body": answer}}
    assert of(answered, "AIA-AnnexIV-8").state is State.PARTIAL


def test_the_receipt_of_the_instructions_does_not_wait_for_a_complete_issue() -> None:
    """Art. 26(1): the deployer's receipt is told in the instructions themselves; it must not wait for itself."""
    kind = "instructions_for_use_art13"
    assert of(stated(make_dossier(), "AIA-Art26-1"), "AIA-Art26-1").state is State.PARTIAL
    early = make_dossier(reports=[report_row(kind, ready=False)])
    assert of(stated(early, "AIA-Art26-1"), "AIA-Art26-1").state is State.COMPLETE


def test_the_instructions_are_the_issued_ones_in_their_languages() -> None:
    kind = "instructions_for_use_art13"
    dossier = make_dossier(reports=[report_row(kind), report_row(kind, language="de")])
    item = of(dossier, "AIA-AnnexIV-1-h")
    assert (item.state, item.value("language_list")) == (State.COMPLETE, ["de", "en"])
    french = of(stated(dossier, "AIA-AnnexIV-1-h", language_list=["en", "fr"]), "AIA-AnnexIV-1-h")
    assert french.contradicted == ("The instructions for use are not issued in fr.",)


def test_the_monitoring_plan_needs_its_issue_and_a_description() -> None:
    issued = make_dossier(reports=[report_row("pmm_plan")])
    assert of(issued, "AIA-AnnexIV-9").state is State.PARTIAL
    assert of(stated(issued, "AIA-AnnexIV-9"), "AIA-AnnexIV-9").state is State.COMPLETE
    assert of(stated(make_dossier(), "AIA-AnnexIV-9"), "AIA-AnnexIV-9").state is State.PARTIAL


def test_monitoring_has_to_report_within_its_interval() -> None:
    """Placed in January 2025 with a review every three months: an audit of November 2026 is in time, none is not."""
    dossier = make_dossier(answers=placed("2025-01-10"), reports=[report_row("pmm_plan")])
    dossier = stated(stated(dossier, "AIA-Art72-2-act", review_interval="3 months"), "AIA-AnnexIV-9")
    late = of(dossier, "AIA-AnnexIV-9")
    assert any("within the plan's own interval" in words for words in late.lacking)
    fresh = dossier | {"audits": [audit_of()], "cohort": audit_of()["cohort"] | {"source": ""}}
    assert not any("own interval" in words for words in of(fresh, "AIA-AnnexIV-9").lacking)


def test_a_failed_audit_needs_a_decision_in_the_monitoring_plan() -> None:
    dossier = stated(make_dossier(audits=(failed(audit_of()),)), "AIA-Art72-2-act")
    assert any("failed audit 4" in words for words in of(dossier, "AIA-Art72-2-act").lacking)
    closed = {"id": 1, "run": 4, "closed_at": "2026-11-21T10:00:00+00:00", "status": "rejected"}
    assert of(dossier | {"reviews": [closed]}, "AIA-Art72-2-act").state is State.COMPLETE


def test_the_risk_system_is_complete_when_every_part_of_article_9_is() -> None:
    dossier = stated(make_dossier(audits=(audit_of(),)), "AIA-AnnexIV-5")
    first = of(dossier, "AIA-AnnexIV-5")
    assert first.state is State.PARTIAL
    assert any("AIA-Art9-1, AIA-Art9-2-ab, AIA-Art9-2-c, AIA-Art9-5, AIA-Art9-6" in words for words in first.lacking)
    rated = {"severity": "3", "likelihood": "2"}
    hazards = [{"hazard": name, "category": name} | rated for name in ("health", "safety", "fundamental rights")]
    dossier = stated(dossier, "AIA-Art9-1")
    dossier = stated(dossier, "AIA-Art9-2-ab", hazards=hazards)
    dossier = stated(dossier, "AIA-Art9-2-c")
    controls = table("risk", "health", "safety", "fundamental rights", control="x", residual="low")
    dossier = stated(dossier, "AIA-Art9-5", control_per_risk=controls)
    dossier = stated(dossier, "AIA-Art9-6", thresholds_fixed_on="2026-11-01")
    done = of(dossier, "AIA-AnnexIV-5")
    assert (done.state, done.lacking) == (State.COMPLETE, ())
    assert {reference.href_id for reference in done.references} >= {"AIA-Art9-5", "AIA-Art9-6"}


def test_each_hazard_has_a_control_and_those_to_tell_users_a_warning() -> None:
    hazards = table("hazard", "missed effusion", "false alarm", category="health", severity="3", likelihood="2")
    dossier = stated(make_dossier(), "AIA-Art9-2-ab", hazards=hazards)
    one = table("risk", "missed effusion", control="second reader", residual="low", inform_user="yes")
    dossier = stated(dossier, "AIA-Art9-5", control_per_risk=one)
    assert "a control of false alarm" in of(dossier, "AIA-Art9-5").lacking
    silent = stated(dossier, "AIA-Art13-3-b-iii", warnings=table("risk", "false alarm", warning="x"))
    assert "a warning of missed effusion" in of(silent, "AIA-Art13-3-b-iii").lacking
    told = stated(dossier, "AIA-Art13-3-b-iii", warnings=table("risk", "Missed effusion", warning="x"))
    assert of(told, "AIA-Art13-3-b-iii").state is State.COMPLETE


def test_conformity_is_declared_only_when_the_file_is_complete() -> None:
    """Annex V, point 4, rests on every binding requirement of Annex IV but the copy of the declaration itself."""
    item = of(stated(make_dossier(), "AIA-AnnexV-4", acts=["Regulation (EU) 2024/1689"]), "AIA-AnnexV-4")
    assert item.state is State.PARTIAL
    assert "requirements of the technical documentation" in item.lacking[0]
    assert "AIA-AnnexIV-8" not in item.lacking[0]


def test_the_declaration_on_data_protection_rests_on_an_issued_assessment() -> None:
    dossier = stated(make_dossier(), "AIA-AnnexV-5", applies=True)
    assert any("data protection impact assessment" in words for words in of(dossier, "AIA-AnnexV-5").lacking)
    assert of(dossier | {"reports": [report_row("dpia")]}, "AIA-AnnexV-5").state is State.COMPLETE


def test_contacts_hold_the_name_and_address_of_the_declaration() -> None:
    dossier = stated(make_dossier(), "AIA-AnnexV-2", name="ACME GmbH", address="Seestr. 1, Berlin")
    same = stated(dossier, "AIA-Art13-3-a", provider_contact="ACME GmbH, Seestr. 1,  Berlin, info@acme.example")
    assert of(same, "AIA-Art13-3-a").state is State.COMPLETE
    other = stated(dossier, "AIA-Art13-3-a", provider_contact="ACME GmbH, Seestr. 2, Berlin")
    assert "Seestr. 1" in of(other, "AIA-Art13-3-a").contradicted[0]
    alone = stated(make_dossier(), "AIA-Art13-3-a", authorised_representative=None)
    assert of(alone, "AIA-Art13-3-a").lacking == ("name and address in the declaration of conformity, to compare with",)


def test_the_file_is_no_younger_than_the_release() -> None:
    """Art. 11(1): drawn up before the system is placed on the market."""
    first = {"previous": None, "answers": placed("2026-11-01")}
    late = of(stated(make_dossier(**first), "AIA-Art11-1"), "AIA-Art11-1")
    assert any("on or before the day of placing" in words for words in late.lacking)
    early = report_row("annex_iv", as_of="2026-10-30T10:00:00+00:00")
    assert of(stated(make_dossier(**first, reports=[early]), "AIA-Art11-1"), "AIA-Art11-1").state is State.COMPLETE


def test_a_void_approval_contradicts_the_file() -> None:
    dossier = make_dossier()
    void = {"at": "2026-11-21T00:00:00+00:00", "reason": "The backbone changed."}
    item = of(dossier | {"version": dossier["version"] | {"void": void}}, "AIA-Art11-1")
    assert item.contradicted == ("The approval of this version is void: The backbone changed.",)


def test_thresholds_approved_after_the_request_are_not_called_set_beforehand() -> None:
    """Art. 9(8): testing is done against metrics and thresholds that were defined before."""
    audit = audit_of()
    late = audit | {"protocol": audit["protocol"] | {"approved_at": "2026-11-20T10:00:01+00:00"}}
    item = of(make_dossier(audits=(late,)), "AIA-Art9-6")
    assert any("before the test was requested, in audit 4" in words for words in item.lacking)
    assert not any("before the test" in words for words in item.held)
    assert any("before the test" in words for words in of(make_dossier(audits=(audit,)), "AIA-Art9-6").held)


def test_a_criterion_without_an_interval_keeps_testing_from_being_complete() -> None:
    robust = audit_of(("robustness_audit",), run=5, name="robustness-v1")
    whole = of(make_dossier(audits=(audit_of(), robust)), "AIA-AnnexIV-2-g")
    assert (whole.state, whole.value("primary_endpoints")) == (State.COMPLETE, ["Findings are missed equally often"])
    bare = of(make_dossier(audits=(audit_of(without_value=["sex-tpr"]), robust)), "AIA-AnnexIV-2-g")
    assert "value, interval or sample size of sex-tpr" in bare.lacking
    assert bare.state is State.PARTIAL


def test_a_log_of_predictions_shows_nothing_of_the_model_behind_it() -> None:
    version = make_dossier()["version"]
    config = {"runs_weights": False, "modalities": []}
    dossier = make_dossier(audits=(audit_of(),), version=version | {"config": config})
    for key in ("AIA-AnnexIV-2-a", "AIA-AnnexIV-1-c", "AIA-AnnexIV-1-e", "AIA-AnnexIV-3-input"):
        assert of(dossier, key).state is State.MISSING


def test_a_component_of_somebody_else_is_asked_for_by_name() -> None:
    version = make_dossier()["version"]
    edge = {"relation": "Fine-tuned from", "source": "google/vit-base", "digest": "", "told_by": "card"}
    dossier = make_dossier(version=version | {"origins": [edge]})
    item = of(stated(dossier, "AIA-AnnexIV-2-a"), "AIA-AnnexIV-2-a")
    assert "supplier, version, licence and adaptation of google/vit-base" in item.lacking
    columns = {"supplier": "Google", "version": "1", "licence": "Apache-2.0", "adaptation": "head"}
    named = stated(dossier, "AIA-AnnexIV-2-a", pretrained_components=[columns | {"component": "google/vit-base"}])
    assert of(named, "AIA-AnnexIV-2-a").state is State.COMPLETE


def test_images_may_be_left_out_with_a_reason() -> None:
    dossier, fields = make_dossier(), {"applicable": False}
    reasoned = with_statements(dossier, statement(dossier, "AIA-AnnexIV-1-f", fields=fields, text="Software only."))
    assert of(reasoned, "AIA-AnnexIV-1-f").state is State.COMPLETE
    silent = with_statements(dossier, statement(dossier, "AIA-AnnexIV-1-f", fields=fields, text=" "))
    assert of(silent, "AIA-AnnexIV-1-f").state is State.PARTIAL


def test_the_eight_limbs_are_filled_from_their_answers() -> None:
    item = of(make_dossier(), "AIA-Art5-1")
    rows = item.value("answers_a_to_h")
    assert [row["limb"] for row in rows] == list("abcdefgh")
    assert {row["answer"] for row in rows} == {"no"}
    assert rows[0]["reasoning"] == "As the file says."
    assert item.state is State.PARTIAL  # reviewer and reasoning are a person's


def test_annex_iii_in_the_table_and_in_the_answers_is_the_same() -> None:
    points = ["1(a)", "1(b)", "1(c)", "2", "3", "4", "5(a)", "5(b)", "5(c)", "5(d)", "6", "7", "8"]
    none = table("point", *points, answer="no", reasoning="x")
    assert of(stated(make_dossier(), "AIA-AnnexIII", matches=none), "AIA-AnnexIII").state is State.COMPLETE
    triage = [row | {"answer": "yes"} if row["point"] == "5(d)" else row for row in none]
    item = of(stated(make_dossier(), "AIA-AnnexIII", matches=triage), "AIA-AnnexIII")
    assert item.contradicted == ("The table and the answers differ on the points 5d of Annex III.",)


def test_profiling_defeats_the_exemption() -> None:
    """Art. 6(3), last subparagraph."""
    answers = DEVICE | {
        "device_law": "none",
        "annex_iii_points": ["5d"],
        "art_6_3_claimed": True,
        "art_6_3_condition": "a",
        "profiling": False,
    }
    answers = {key: value for key, value in answers.items() if key not in ("mdr_class", "annex_i_section")}
    dossier = make_dossier(answers=answers)
    assert of(stated(dossier, "AIA-Art6-3", profiling=False), "AIA-Art6-3").state is State.COMPLETE
    assert of(stated(dossier, "AIA-Art6-3", profiling=True), "AIA-Art6-3").state is State.NONCONFORM


def test_a_third_of_the_compute_makes_a_provider_of_the_model() -> None:
    third = {"original_compute_flop": 3e22, "conclusion": "system_only"}
    at = stated(all_dossier(), "AIA-Art53-status", **third, modification_compute_flop=1e22)
    assert of(at, "AIA-Art53-status").state is State.COMPLETE
    above = stated(all_dossier(), "AIA-Art53-status", **third, modification_compute_flop=1.1e22)
    assert of(above, "AIA-Art53-status").state is State.NONCONFORM


def test_compute_above_the_threshold_is_systemic() -> None:
    """Art. 51(2): more than 1e25 FLOP."""
    dossier = make_dossier(answers=everything_applies() | {"gpai_systemic": False})
    assert of(stated(dossier, "AIA-AnnexXI-2-de", flop=1e25), "AIA-AnnexXI-2-de").state is State.COMPLETE
    assert of(stated(dossier, "AIA-AnnexXI-2-de", flop=1.1e25), "AIA-AnnexXI-2-de").state is State.NONCONFORM


@pytest.mark.parametrize(("first", "due"), [("2026-08-01", "2026-12-02"), ("2026-08-02", "2026-08-02")])
def test_older_generators_have_longer_to_mark(first: str, due: str) -> None:
    """Art. 50(2) and 111(4)."""
    item = of(stated(all_dossier(), "AIA-Art50-2", first_placing_date=first, exemption_reason=None), "AIA-Art50-2")
    assert f"derived: marking is due from {due}" in item.held


def test_staff_and_authority_are_told_before_first_use() -> None:
    dossier = stated(all_dossier(), "AIA-Art27-1-b", start="2026-11-10", end="2027-11-10")
    for key, name in (("AIA-Art26-7", "informed_on"), ("AIA-Art27-2-3", "notified_on")):
        assert of(stated(dossier, key, **{name: "2026-11-11"}), key).state is State.NONCONFORM
        assert of(stated(dossier, key, **{name: "2026-11-10"}), key).state is State.COMPLETE


def test_a_period_of_use_does_not_end_before_it_starts() -> None:
    item = of(stated(all_dossier(), "AIA-Art27-1-b", start="2026-11-10", end="2026-11-09"), "AIA-Art27-1-b")
    assert item.state is State.NONCONFORM


def test_each_affected_group_has_a_harm() -> None:
    groups = table("group", "women", "people over 80", results="see audit 4")
    dossier = stated(all_dossier(audits=(audit_of(),)), "AIA-Art27-1-c", groups=groups)
    assert of(dossier, "AIA-Art27-1-c").state is State.COMPLETE
    one = stated(dossier, "AIA-Art27-1-d", harms=table("group", "women", harm="missed", rating="3"))
    assert any("people over 80" in words for words in of(one, "AIA-Art27-1-d").lacking)


def test_an_expired_certificate_is_none() -> None:
    item = of(stated(all_dossier(), "AIA-AnnexVIII-A-8", expiry="2026-11-21"), "AIA-AnnexVIII-A-8")
    assert item.contradicted == ("The certificate has expired.",)
    assert (
        of(stated(all_dossier(), "AIA-AnnexVIII-A-8", expiry="2027-01-01"), "AIA-AnnexVIII-A-8").state is State.COMPLETE
    )


def test_what_may_be_left_empty_in_annex_viii_is_complete_when_it_is() -> None:
    assert of(all_dossier(), "AIA-AnnexVIII-A-13").state is State.COMPLETE
    own = stated(all_dossier(), "AIA-AnnexVIII-A-2", submitter_contact=None, acts_for_provider=False)
    assert of(own, "AIA-AnnexVIII-A-2").state is State.COMPLETE
    needed = stated(all_dossier(), "AIA-AnnexVIII-A-3", representative_contact=None, applicable=False)
    assert of(needed, "AIA-AnnexVIII-A-3").state is State.NONCONFORM


def test_the_measures_of_oversight_are_described_with_role_and_moment() -> None:
    built = stated(make_dossier(), "AIA-Art14-1", built_in_measures=table("measure", "overlay", reason="x"))
    missing = stated(built, "AIA-Art13-3-d", measures=table("measure", "stop key", role="x", moment="y"))
    assert any("overlay" in words for words in of(missing, "AIA-Art13-3-d").lacking)
    told = table("measure", "overlay", "health", role="reader", moment="reading")
    assert of(stated(built, "AIA-Art13-3-d", measures=told), "AIA-Art13-3-d").state is State.COMPLETE


def test_an_override_needs_its_event_in_the_log() -> None:
    dossier = stated(make_dossier(), "AIA-Art14-4-d")
    assert of(dossier, "AIA-Art14-4-d").lacking == ("an event for overrides in the log schema",)
    logged = stated(dossier, "AIA-Art12-2-a", event_types=table("event", *EVENTS, fields="x"))
    assert of(logged, "AIA-Art14-4-d").state is State.COMPLETE


def test_every_indicator_has_a_limit_and_a_field_in_the_log() -> None:
    rows = [
        {"requirement": article, "indicator": f"I{number}", "interval": "1 month", "last_value": ".9"}
        for number, article in enumerate(SECTION_2)
    ]
    limits = table("indicator", *(row["indicator"] for row in rows), limit=".8")
    given = {"indicators": rows, "alert_limits": limits, "subgroup_indicators": ["sex", "age band"]}
    dossier = stated(make_dossier(audits=(audit_of(),)), "AIA-Art72-2-eval", **given)
    assert of(dossier, "AIA-Art72-2-eval").state is State.COMPLETE
    short = stated(make_dossier(audits=(audit_of(),)), "AIA-Art72-2-eval", **given | {"alert_limits": limits[:-1]})
    assert "a limit for I6" in of(short, "AIA-Art72-2-eval").lacking
    fields = stated(dossier, "AIA-Art12-2-bc", consumer_map=table("consumer", "I0", field="score"))
    assert any("I1, I2, I3" in words for words in of(fields, "AIA-Art12-2-bc").lacking)
