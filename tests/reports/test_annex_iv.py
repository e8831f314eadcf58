"""The technical documentation: true to its evidence, valid against its schema, an archive file anyone can read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from core.digests import canonical_json, sha256_bytes, sha256_json
from core.errors import AuscultError
from governance.reports.annex_iv import AnnexIV
from governance.reports.base import REPORTS, Draft, ReportDocument, schema_of
from governance.reports.wording import limit
from governance.requirements import load_requirements
from tests.engine.measured import benefits, bins, calibration, crossed
from tests.reports.conftest import make_context, make_evidence, make_review
from tests.reports.pdf import Facts, read_pdf
from tests.reports.scenes import context_of, earlier_version

SCRIPT = "<script>alert('x')</script><img src=http://evil.example/p.png>"


def build(evidence: dict[str, Any], decision: str | None = "rejected") -> ReportDocument:
    return REPORTS.get("annex_iv").build(evidence, make_context(decision, evidence=evidence))


def draft(evidence: dict[str, Any], decision: str | None = "rejected") -> Draft:
    return AnnexIV().draft(evidence, make_context(decision, evidence=evidence))


@pytest.fixture(scope="module")
def failing() -> ReportDocument:
    return build(make_evidence("fail"))


@pytest.fixture(scope="module")
def pdf(failing: ReportDocument) -> Facts:
    return read_pdf(failing.pdf)


def test_it_is_an_archive_file_that_is_tagged_for_accessibility(pdf: Facts) -> None:
    assert (pdf.part, pdf.conformance) == ("3", "A")
    assert pdf.output_intents == 1
    assert pdf.tagged
    assert pdf.language == "en"
    assert pdf.title == "Technical documentation (Annex IV): Reference multimodal chest model 1.0-biased"
    assert pdf.author == "clara"
    assert pdf.created == "2026-11-22T14:05:00+00:00"


def test_tables_headings_and_figures_are_in_the_structure(pdf: Facts) -> None:
    assert pdf.tags["/H1"] == 1
    assert pdf.tags["/H2"] >= 15
    assert pdf.tags["/Table"] > 10
    assert pdf.tags["/TH"] > 100
    assert pdf.tags["/Figure"] == 4
    assert all("sensitivity" in text.casefold() for text in pdf.alternatives)


def test_the_json_travels_inside_unchanged(failing: ReportDocument, pdf: Facts) -> None:
    assert pdf.attachments == {"annex_iv.json": failing.data}
    assert pdf.relationships == {"annex_iv.json": "/Data"}


def test_another_process_zone_and_hash_seed_give_the_same_bytes(failing: ReportDocument) -> None:
    program = (
        "import django; django.setup()\n"
        "from core.digests import sha256_bytes\n"
        "from tests.reports.test_annex_iv import build, make_evidence\n"
        "print(sha256_bytes(build(make_evidence('fail')).pdf))\n"
    )
    surroundings = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TZ": "Asia/Tokyo",
        "PYTHONHASHSEED": "7",
    }
    done = subprocess.run([sys.executable, "-c", program], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == sha256_bytes(failing.pdf)


@pytest.mark.parametrize("outcome", ["pass", "fail", "insufficient"])
def test_the_data_are_valid_against_the_published_schema(outcome: str, failing: ReportDocument) -> None:
    document = failing if outcome == "fail" else draft(make_evidence(outcome, simulated=False), None)
    schema = schema_of("annex_iv")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document.data, schema, format_checker=jsonschema.FormatChecker())
    canonical_json(document.data)


@pytest.mark.parametrize("state", ["complete", "nonconform", "stale", "not_applicable"])
def test_the_schema_refuses_a_state_without_what_it_rests_on(state: str, failing: ReportDocument) -> None:
    altered = failing.data | {"sections": [dict(section) for section in failing.data["sections"]]}
    first = altered["sections"][1]
    row = next(item for item in first["requirements"] if item["state"] == "missing")
    first["requirements"] = [row | {"state": state, "reason": ""}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(altered, schema_of("annex_iv"))


def test_missing_is_said_where_it_is_missing(failing: ReportDocument) -> None:
    chapter = failing.html.split('id="chapter-8"')[1].split("</section>")[0]
    assert "Nothing is held that shows a binding requirement of this chapter." in chapter
    requirement = chapter.split('id="requirement-AIA-AnnexIV-8"')[1]
    assert '<span class="state missing">Missing</span>' in requirement
    assert "<b>Lacking:</b>" in requirement


def test_every_requirement_is_printed_with_its_id_in_the_margin(failing: ReportDocument) -> None:
    printed = re.findall(r'class="margin-id">([^<]+)<', failing.html)
    assert printed == [item.id for item in load_requirements().for_report("annex_iv")]


def test_a_failed_audit_is_nonconform_on_the_cover_and_in_its_chapter(failing: ReportDocument) -> None:
    assert failing.counts["nonconform"] > 0
    assert f"{failing.counts['nonconform']} binding requirements are nonconform" in failing.html.split("</section>")[0]
    requirement = failing.html.split(">AIA-AnnexIV-3-performance<")[1].split('id="requirement-')[0]
    assert '<span class="state nonconform">Nonconform</span>' in requirement
    assert "Audit 4 failed" in requirement


def test_readiness_is_worked_out_from_the_binding_requirements(failing: ReportDocument) -> None:
    assert failing.ready is failing.data["ready"] is False
    still_open = sum(failing.counts.values()) - failing.counts["complete"] - failing.counts["not_applicable"]
    assert still_open > 0
    assert len(failing.data["not_ready_because"]) >= 3


def test_simulation_and_recorded_predictions_are_said_plainly() -> None:
    both = draft(make_evidence("pass", simulated=True, runs_weights=False)).html
    cover = both.split("</section>")[0]
    assert "Every patient in the audited cohort is simulated." in cover
    assert "No weights were run" in cover
    assert "a log of predictions that were made elsewhere" in cover
    assert "simulated: no real patient is in it" in both.split('id="chapter-2"')[1]
    neither = draft(make_evidence("pass", simulated=False)).html
    assert "is simulated" not in neither
    assert "No weights were run" not in neither


def test_script_in_what_people_wrote_stays_text() -> None:
    evidence = make_evidence("fail", system={"intended_purpose": SCRIPT, "name": f"Name {SCRIPT}"})
    evidence["result"]["notes"] = [SCRIPT]
    review = make_review("rejected", rationale=SCRIPT)
    context = make_context(None, evidence=evidence)
    told = {**context.dossier, "reviews": [review]}
    hostile = REPORTS.get("annex_iv").build(evidence, replace(context, dossier=told))
    assert "<script" not in hostile.html
    assert hostile.html.count("&lt;script&gt;") >= 4
    assert not re.search(r"<img src=(?!\"data:image/svg)", hostile.html)
    assert read_pdf(hostile.pdf).attachments["annex_iv.json"]["content"]["review"]["votes"][0]["rationale"] == SCRIPT


def test_a_small_group_shows_its_reason_and_no_number() -> None:
    evidence = make_evidence("pass")
    row = evidence["result"]["measurements"][1]
    row |= {"value": 0.123456, "low": 0.1111, "high": 0.2222, "n": 7, "patients": 5}
    document = draft(evidence)
    assert ".123" not in document.html
    assert "Withheld: fewer than 11 studies or patients." in document.html
    assert "suppressed: fewer than 11 patients" in document.html
    assert b"0.123456" not in canonical_json(document.data)


def test_the_report_is_bound_to_the_evidence_as_it_is_kept() -> None:
    evidence = make_evidence("pass")
    assert draft(evidence).data["subject"]["evidence_digest"] == sha256_json(evidence)


def test_without_a_review_the_decision_is_marked_missing(failing: ReportDocument) -> None:
    chapter = draft(make_evidence("fail"), None).html.split('id="chapter-6"')[1].split("</section>")[0]
    assert "No committee review of this version was held" in chapter
    assert "Women are underdiagnosed" in failing.html.split('id="chapter-6"')[1].split("</section>")[0]


def test_what_changed_since_the_last_version_stands_in_the_chapter_on_changes() -> None:
    evidence = make_evidence("fail")
    before, told = earlier_version(evidence)
    chapter = AnnexIV().draft(evidence, context_of(evidence, documents=(before,), **told)).html
    chapter = chapter.split('id="chapter-6"')[1].split("</section>")[0]
    row = chapter.split("Primary criteria in the audit of version 0.9")[1].split("<tbody>")[1].split("</tr>")[0]
    for text in ("−.120", "−.180 to −.060", "−.220", "−.280 to −.160", "−.100"):
        assert text in row
    assert "model.safetensors" in chapter and "Model card" in chapter and "Made from" in chapter
    assert "config.json" not in chapter


def test_evidence_without_verdicts_is_refused() -> None:
    evidence = make_evidence("pass")
    context = make_context(evidence=evidence)
    del evidence["result"]["verdicts"]
    with pytest.raises(AuscultError, match=r"result\.verdicts"):
        AnnexIV().draft(evidence, context)


def closer_evidence() -> dict[str, Any]:
    """Evidence of an audit that measured scores by group and an intersection."""
    evidence = make_evidence("fail")
    evidence["result"]["measurements"] += [
        *calibration({"F": bins(0.12, above=0.4, hidden=(9,)), "M": bins(0.0)}),
        *benefits({"F": 0.05, "M": 0.2}),
        *crossed(),
    ]
    return evidence


def test_a_closer_look_at_the_deciding_label_is_printed_with_its_source() -> None:
    document = build(closer_evidence())
    pdf = read_pdf(document.pdf)
    assert pdf.tags["/Figure"] == 6
    assert "Calibration of effusion by sex." in document.html
    assert "Sensitivity of effusion by sex &amp; age band." in document.html
    assert any(
        text.startswith("Effusion: scores of female patients are too low above .40") for text in pdf.alternatives
    )
    assert any("suppressed: fewer than 11 patients" in text for text in pdf.alternatives)
    assert document.html.count("Figure 5.") == document.html.count("Figure 6.") == 1
    caption = document.html.split("Calibration of effusion by sex.")[1].split("</figcaption>")[0]
    assert "run 4" in caption and 'href="#source-' in caption


def test_bins_of_few_studies_leave_no_number() -> None:
    evidence = closer_evidence()
    row = next(item for item in evidence["result"]["measurements"] if item["metric"] == "ece")
    row["detail"]["bins"][3] |= {"n": 7, "observed": 0.987654}
    document = draft(evidence)
    assert ".99 (" not in document.html and ".988" not in document.html
    assert b"0.987654" not in canonical_json(document.data)


def test_evidence_without_scores_and_intersections_keeps_its_figures(failing: ReportDocument) -> None:
    assert failing.html.count("<figure ") == 4


@pytest.mark.parametrize(
    ("metric", "direction", "margin", "said"),
    [
        ("equal_opportunity_difference", "at_most", 0.1, "within ±.100"),
        ("tpr", "at_least", 0.8, "at least .800"),
        ("calibration_slope", "at_most", 0.2, ".800 to 1.200"),
        ("calibration_intercept", "at_most", 0.2, "within ±.200"),
        ("observed_expected", "at_most", 0.25, ".800 to 1.250"),
        ("of_another_suite", "at_most", 2.0, "at most 2.000"),
    ],
)
def test_a_limit_is_said_as_it_is_judged(metric: str, direction: str, margin: float, said: str) -> None:
    assert limit({"metric": metric, "direction": direction, "margin": margin}) == said
