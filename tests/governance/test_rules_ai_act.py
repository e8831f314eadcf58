"""The rules about the AI Act check what each completeness rule says that a machine can check."""

from __future__ import annotations

from typing import Any

import pytest

from governance.statuses import State
from tests.governance.dossiers import (
    DEVICE,
    audit_of,
    digest,
    make_dossier,
    stated,
    valid_fields,
)
from tests.governance.rule_scene import EVENTS, SECTION_2, SIGNED, of, placed, table

CONTRADICTED: tuple[tuple[str, dict[str, Any], str], ...] = (
    # Art. 19(1) and 26(6): at least six months.
    ("AIA-Art19", {"retention_period": "5 months"}, "the least is six months"),
    ("AIA-Art19", {"retention_period": "180 days"}, "the least is six months"),
    ("AIA-Art26-6", {"retention_period": "26 weeks"}, "the least is six months"),
    (
        "AIA-Art26-6",
        {"control_split": [{"stream": "output", "party": "deployer", "period": "1 month"}]},
        "the least is six months",
    ),
    (
        "AIA-Art26-6",
        {"control_split": table("stream", "output", "output", party="x", period="1 year")},
        "more than one controlling party",
    ),
    # Art. 18(1): ten years; the reference day is the day of the dossier where nothing is placed yet.
    ("AIA-Art18", {"retention_until": "2036-11-21"}, "until 2036-11-22 at least"),
    # Annex VIII of the MDR, rule 11, and Art. 52(6): class IIa needs a notified body.
    ("AIA-Art6-1", {"mdr_class": "IIa", "notified_body_required": False}, "needs a notified body"),
    ("AIA-Art6-1", {"mdr_class": "IIb"}, "registered as class IIa, but class IIb"),
    # The Cyber Resilience Act leaves MDR devices out.
    ("AIA-Art15-5", {"cra_claimed": True}, "Cyber Resilience Act"),
    # Art. 40(1): only a cited standard gives a presumption.
    (
        "AIA-AnnexIV-7",
        {"standards": [{"standard": "EN 18286:2026", "oj_cited": "no", "presumption": "yes"}]},
        "presumed from EN 18286:2026",
    ),
    (
        "AIA-AnnexV-6",
        {"references": [{"standard": "ISO/IEC 42001", "oj_cited": "no", "presumption": "yes"}]},
        "presumed from ISO/IEC 42001",
    ),
    ("AIA-Art43-4", {"substantial": True, "within_envelope": True}, "is not substantial"),
    ("AIA-Art25-1", {"role_by_actor": table("actor", "ACME", "acme", role="provider", reason="x")}, "more than one"),
    ("AIA-Art5-1", {"answers_a_to_h": [{"limb": "c", "answer": "yes", "reasoning": "x"}]}, "Limb (c)"),
    ("AIA-AnnexV-5", {"applies": False}, "data protection applies"),
    ("AIA-AnnexV-8", {"date": "2026-11-19", "signature": SIGNED}, "of another day"),
    ("AIA-AnnexV-8", {"date": "2026-11-20", "signature": SIGNED, "signatory": "Dr. Otto"}, "somebody else"),
    ("AIA-AnnexIV-1-a", {"intended_purpose": "Replaces radiologists."}, "but the platform holds"),
    ("AIA-AnnexIV-1-a", {"version": "9.9"}, "stated as “9.9”, but the platform holds “1.1”"),
    ("AIA-AnnexIV-1-a", {"parent_version": "0.9"}, "holds “1.0”"),
)


@pytest.mark.parametrize(("key", "fields", "words"), CONTRADICTED, ids=lambda value: value if value is str else None)
def test_what_is_against_the_rule_is_nonconform(key: str, fields: dict[str, Any], words: str) -> None:
    item = of(stated(make_dossier(audits=(audit_of(),)), key, **fields), key)
    assert item.state is State.NONCONFORM
    assert any(words in told for told in item.contradicted)


LACKING: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("AIA-Art4", {"last_session": "2025-11-01"}, "within the last twelve months"),
    ("AIA-AnnexI-AB", {"legal_status_checked_on": "2026-08-23"}, "within the last 90 days"),
    ("AIA-Art9-1", {"review_interval": "6 months", "last_review": "2026-05-01"}, "within its own interval"),
    ("AIA-Art8-2", {"integration_map": table("requirement", "Art. 9", document="x")}, "Art. 10, Art. 11"),
    (
        "AIA-Art17-1-ae",
        {"procedure_refs": table("point", "a", procedure="P", in_force_from="2026-01-01")},
        "b, c, d, e",
    ),
    ("AIA-Art17-1-jm", {"procedure_refs": table("point", *"jklm", procedure="P 7", in_force_from="2027-01-01")}, "P 7"),
    ("AIA-Art12-2-a", {"event_types": table("event", "output", fields="x")}, "configuration change"),
    ("AIA-Art14-4-b", {"override_rate_monitoring": False}, "overrule"),
    ("AIA-Art14-4-e", {"last_test": "2026-11-19"}, "older than the version"),
    ("AIA-AnnexIV-6", {"substantial_decision": table("version", "1.1", substantial="no", reason="x")}, "version 1.0"),
    ("AIA-AnnexIV-3-input", {"input_schema": table("input", "image", format="DICOM", rejected="x")}, "text"),
    ("AIA-AnnexIV-1-e", {"validated_hardware": table("component", "NVIDIA A100")}, "NVIDIA L4"),
    ("AIA-AnnexIV-4", {"metric_justification": table("metric", "auroc", justification="x", weakness="y")}, "equal opp"),
    ("AIA-Art10-3-4", {"coverage_by_site": table("site", "Elsewhere", coverage="x")}, "Charité Mitte"),
    ("AIA-AnnexIV-2-d", {"datasheets": ["the datasheet"]}, digest("training")[:12]),
    ("AIA-Art10-2-fg", {"protected_attributes": ["sex", "ethnicity"]}, "a fairness audit by ethnicity"),
    ("AIA-AnnexIV-3-performance", {"subgroup_list": ["age band", "site"]}, "by site"),
    ("AIA-Art15-4", {"failure_modes": table("mode", "noise", result="x")}, "missing modality"),
    (
        "AIA-Art13-3-b-ii",
        {"declared_levels": table("metric", "AUROC", value=".91", audit="Audit 77")},
        "declared AUROC",
    ),
    ("AIA-Art13-3-b-iv", {"explanation_methods": ["saliency"]}, "how faithful"),
    ("AIA-Art72-1", {"scope_versions": ["1.0"]}, "1.1"),
    ("AIA-Art72-2", {"data_sources": table("site", "Elsewhere", source="PACS")}, "Charité Mitte"),
    ("AIA-Art47-1", {"valid_for_versions": ["1.0", "1.10"]}, "1.1"),
    ("AIA-Art47-3", {"union_acts": ["Regulation (EU) 2024/1689"]}, "2017/745"),
    ("AIA-Art43-3", {"nb_data_access_granted": False}, "notified body"),
    ("AIA-Art26-2", {"overseers": table("site", "Elsewhere", overseer="x", training="y", may_stop="yes")}, "Charité"),
    (
        "AIA-Art26-2",
        {"overseers": table("site", "Charité Mitte", overseer="x", training="y", may_stop="no")},
        "power to stop",
    ),
)


@pytest.mark.parametrize(("key", "fields", "words"), LACKING)
def test_what_the_rule_asks_for_beyond_is_told(key: str, fields: dict[str, Any], words: str) -> None:
    item = of(stated(make_dossier(audits=(audit_of(),)), key, **fields), key)
    assert item.state is State.PARTIAL
    assert any(words.replace("equal opp", "equal_opportunity_difference") in told for told in item.lacking)


COMPLETE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("AIA-Art4", {"last_session": "2025-11-25"}),
    ("AIA-AnnexI-AB", {"annex_i_section": "A", "legal_status_checked_on": "2026-08-24"}),
    ("AIA-Art8-2", {"integration_map": table("requirement", *SECTION_2, document="File")}),
    ("AIA-Art17-1-ae", {"procedure_refs": table("point", *"abcde", procedure="P", in_force_from="2026-01-01")}),
    ("AIA-Art18", {"retention_until": "2036-11-22"}),
    ("AIA-Art12-2-a", {"event_types": table("event", *EVENTS, fields="x")}),
    (
        "AIA-Art26-6",
        {"retention_period": "6 months", "control_split": table("stream", "a", party="x", period="1 year")},
    ),
    (
        "AIA-Art26-6",
        {"retention_period": "1 year", "control_split": table("stream", "a", party="x", period="1 month", law="§ 3")},
    ),
    ("AIA-AnnexIV-6", {"substantial_decision": table("version", "1.0", "1.1", substantial="no", reason="x")}),
    ("AIA-AnnexIV-2-d", {"datasheets": [f"Datasheet of {digest('training')}"]}),
    ("AIA-Art10-2-fg", {"protected_attributes": ["Sex", "age_band"]}),
    ("AIA-AnnexIV-3-performance", {"subgroup_list": ["sex"]}),
    ("AIA-AnnexIV-3-input", {"input_schema": table("input", "image", "text", format="x", rejected="y")}),
    ("AIA-AnnexIV-1-e", {"validated_hardware": table("component", "NVIDIA L4, 24 GB")}),
    ("AIA-Art9-6", {"thresholds_fixed_on": "2026-11-01"}),
    ("AIA-Art13-3-b-ii", {"declared_levels": table("metric", "AUROC", value=".91", audit="Audit 4")}),
    ("AIA-Art13-3-b-iv", {"explanation_methods": ["none"]}),
    ("AIA-Art13-3-b-v", {"subgroups": ["sex"], "omission_reason": ""}),
    ("AIA-Art15-5", {"cra_claimed": False}),
    ("AIA-Art72-1", {"scope_versions": ["1.0", "1.1"]}),
    ("AIA-Art47-1", {"valid_for_versions": ["1.1"], "machine_readable_file": None}),
    ("AIA-Art14-1", {"deployer_measures": []}),
    ("AIA-Art48", {}),
    ("AIA-AnnexIV-7", {"solution_per_requirement": table("requirement", *SECTION_2, solution="x")}),
    ("AIA-AnnexV-8", {"date": "2026-11-20", "signature": SIGNED}),
    ("AIA-AnnexV-1", {"system_name": "Chest model", "version": "1.1"}),
    ("AIA-Art43-4", {"substantial": False}),
)


@pytest.mark.parametrize(("key", "fields"), COMPLETE)
def test_what_satisfies_the_rule_is_complete(key: str, fields: dict[str, Any]) -> None:
    rows = {"AIA-AnnexIV-7": {"standards": table("standard", "EN 62304", oj_cited="no", presumption="no")}}
    item = of(stated(make_dossier(audits=(audit_of(),)), key, **fields, **rows.get(key, {})), key)
    assert (item.state, item.lacking, item.contradicted) == (State.COMPLETE, (), ())


def test_documents_are_kept_ten_years_from_the_day_of_placing() -> None:
    """Art. 18(1): placed on 10 January 2025, so until 10 January 2035."""
    dossier = make_dossier(answers=placed("2025-01-10"))
    assert of(stated(dossier, "AIA-Art18", retention_until="2035-01-10"), "AIA-Art18").state is State.COMPLETE
    short = of(stated(dossier, "AIA-Art18", retention_until="2035-01-09"), "AIA-Art18")
    assert any("2035-01-10" in words for words in short.contradicted)
    leap = make_dossier(answers=placed("2024-02-29"))
    assert of(stated(leap, "AIA-Art18", retention_until="2034-02-28"), "AIA-Art18").state is State.COMPLETE


def test_the_dpia_states_the_same_retention_of_logs() -> None:
    dossier = stated(make_dossier(), "AIA-Art19", retention_period="12 months")
    assert any("DPIA" in words for words in of(dossier, "AIA-Art19").lacking)

    def with_dpia(period: str) -> dict[str, Any]:
        fields = valid_fields("GDPR-5-1-e")
        row = fields["retention_table"][0] | {"store": "Logs", "period": period}
        return stated(dossier, "GDPR-5-1-e", retention_table=[row])

    assert of(with_dpia("1 years"), "AIA-Art19").state is State.COMPLETE
    other = of(with_dpia("24 months"), "AIA-Art19")
    assert any("keeps logs for 24 months, this statement for 12 months" in words for words in other.contradicted)


def test_a_system_placed_before_the_date_is_bound_when_it_is_changed() -> None:
    """Art. 111(2): before 2028-08-02 and unchanged, only authorities' systems are bound, from 2030-08-02."""

    def derived(changed: bool, public: bool) -> str:
        dossier = make_dossier(answers=placed("2026-01-10") | {"public_authority": public})
        fields = {"first_placing_date": "2026-01-10", "significant_design_change": changed}
        item = of(stated(dossier, "AIA-Art111-2", **fields, public_authority_use=public), "AIA-Art111-2")
        assert item.state is State.COMPLETE
        return next(words for words in item.held if words.startswith("derived"))

    assert "not in scope, placed before 2028-08-02" in derived(False, False)
    assert "in scope, placed on or after 2028-08-02 or changed" in derived(True, False)
    assert "in scope from 2030-08-02" in derived(False, True)


def test_what_is_not_placed_yet_needs_no_date_of_placing() -> None:
    item = of(
        stated(make_dossier(), "AIA-Art111-2", first_placing_date=None, public_authority_use=False), "AIA-Art111-2"
    )
    assert item.state is State.COMPLETE


def test_no_registration_is_owed_for_a_device_outside_annex_iii() -> None:
    """Art. 49(1) speaks of Annex III alone: computed from the answers, settled without a statement."""
    item = of(make_dossier(), "AIA-Art49-1")
    assert item.state is State.COMPLETE
    assert (item.value("conclusion"), item.value("annex_iii_point")) == ("not_owed", "none")
    assert item.statement is None


@pytest.mark.parametrize(
    ("points", "conclusion"), [(["5d"], "eu_database"), (["2"], "national"), (["2", "5d"], "eu_database")]
)
def test_registration_follows_from_the_point_of_annex_iii(points: list[str], conclusion: str) -> None:
    """Art. 49(1) and (5): point 2 is registered nationally."""
    answers = DEVICE | {"annex_iii_points": points, "art_6_3_claimed": False}
    item = of(make_dossier(answers=answers), "AIA-Art49-1")
    assert (item.state, item.value("conclusion")) == (State.COMPLETE, conclusion)


def test_a_conclusion_against_the_answers_is_nonconform() -> None:
    answers = DEVICE | {"annex_iii_points": ["5d"], "art_6_3_claimed": False}
    wrong = {"annex_iii_point": "5(d)", "conclusion": "not_owed"}
    item = of(stated(make_dossier(answers=answers), "AIA-Art49-1", **wrong), "AIA-Art49-1")
    assert item.state is State.NONCONFORM
    right = {"annex_iii_point": "5(d)", "conclusion": "eu_database"}
    assert of(stated(make_dossier(answers=answers), "AIA-Art49-1", **right), "AIA-Art49-1").state is State.COMPLETE


def test_whether_an_assessment_of_rights_is_owed_is_computed() -> None:
    """Art. 27(1): a public hospital with an Annex III use owes it; without that use it does not."""
    none = of(make_dossier(), "AIA-Art27-1-scope")
    assert (none.state, none.value("conclusion"), none.value("deployer_type")) == (
        State.COMPLETE,
        "not_owed",
        "public_law",
    )
    assert none.value("reasoning")
    owed = make_dossier(answers=DEVICE | {"annex_iii_points": ["5d"], "art_6_3_claimed": False})
    assert of(owed, "AIA-Art27-1-scope").value("conclusion") == "owed"
    claim = {"deployer_type": "public_law", "annex_iii_point": "5d", "conclusion": "voluntary"}
    assert of(stated(owed, "AIA-Art27-1-scope", **claim), "AIA-Art27-1-scope").state is State.NONCONFORM
