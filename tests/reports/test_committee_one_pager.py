"""One page, whatever was found, with the verdict first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from core.digests import sha256_json
from core.errors import AuscultError
from governance.reports.base import REPORTS, ReportContext, ReportDocument, schema_of
from governance.reports.findings import group_rates, leading_verdict
from tests.reports.conftest import make_context, make_evidence, make_review, verdict
from tests.reports.golden import check_golden
from tests.reports.pdf import read_pdf
from tests.reports.scenes import context_of, earlier_version


def build(evidence: dict[str, Any], decision: str | None = "rejected") -> ReportDocument:
    return REPORTS.get("committee_one_pager").build(evidence, make_context(decision, evidence=evidence))


def with_review(evidence: dict[str, Any], rationale: str) -> ReportContext:
    """A context whose committee gave this reason."""
    context = make_context(None, evidence=evidence)
    review = make_review("rejected", rationale=rationale)
    return replace(context, dossier={**context.dossier, "reviews": [review]})


@pytest.mark.parametrize(
    ("outcome", "word", "decision"),
    [
        ("pass", "Pass", "approved"),
        ("fail", "Fail", "rejected"),
        ("insufficient", "Insufficient evidence", None),
    ],
)
def test_each_outcome_is_one_page_with_its_word_first(outcome: str, word: str, decision: str | None) -> None:
    document = build(make_evidence(outcome), decision)
    facts = read_pdf(document.pdf)
    assert facts.pages == 1
    assert (facts.part, facts.conformance, facts.tagged, facts.language) == ("3", "A", True, "en")
    assert facts.attachments == {"committee_one_pager.json": document.data}
    assert len(facts.alternatives) == 1
    assert facts.alternatives[0]
    verdict_line = document.html.split('<p class="verdict">')[1]
    assert verdict_line.startswith(f'<span class="state {outcome}">{word}</span>')
    jsonschema.validate(document.data, schema_of("committee_one_pager"), format_checker=jsonschema.FormatChecker())


def test_the_worst_group_comes_first_with_value_interval_and_size() -> None:
    document = build(make_evidence("fail"))
    row = document.html.split("<tbody>")[1].split("</tr>")[0]
    assert "<b>F</b>" in row
    for text in (".610", ".570 to .650", "1,204", "611"):
        assert text in row
    assert "within ±.100" in document.html
    assert document.data["leading"]["groups"][0]["group"] == "F"


def test_the_leading_verdict_is_the_one_furthest_past_its_limit() -> None:
    evidence = make_evidence("pass")
    evidence["result"]["outcome"] = "fail"
    evidence["result"]["verdicts"] = [
        verdict(criterion="near", outcome="fail", value=0.12),
        verdict(criterion="far", outcome="fail", value=-0.4),
        verdict(criterion="held", value=0.09),
        verdict(criterion="explored", outcome="fail", value=0.9, primary=False),
    ]
    lead = leading_verdict(evidence)
    assert lead is not None
    assert lead["criterion"] == "far"


def test_a_limit_from_below_is_furthest_where_the_value_is_lowest() -> None:
    evidence = make_evidence("pass")
    low = {"metric": "tpr", "direction": "at_least", "margin": 0.8, "outcome": "fail"}
    evidence["result"]["verdicts"] = [
        verdict(criterion="high", value=0.79, **low),
        verdict(criterion="low", value=0.4, **low),
    ]
    assert (leading_verdict(evidence) or {})["criterion"] == "low"


def test_groups_that_were_not_measured_are_not_invented() -> None:
    evidence = make_evidence("fail")
    assert group_rates(evidence, verdict(attribute="view", groups=["AP", "PA"])) == []


def test_those_who_may_not_vote_are_named_with_the_reason() -> None:
    people = {row["person"]: row["because"] for row in build(make_evidence("pass")).data["may_not_vote"]}
    assert people == {
        "elena": "submitted the version",
        "amir": "requested the audit",
        "clara": "approved the protocol",
    }


def test_what_the_page_does_not_tell_is_true_of_this_evidence() -> None:
    simulated = " ".join(build(make_evidence("pass")).data["does_not_tell"])
    assert "every patient here is simulated" in simulated
    log = " ".join(build(make_evidence("pass", simulated=False, runs_weights=False)).data["does_not_tell"])
    assert "no weights were run" in log
    assert "simulated" not in log


def test_many_criteria_long_names_and_long_reasons_still_make_one_page() -> None:
    evidence = make_evidence("fail", system={"name": "A system for chest X-rays " * 7})
    evidence["result"]["verdicts"] += [verdict(label=f"finding number {i}") for i in range(60)]
    context = with_review(evidence, "Because of the evidence. " * 80)
    document = REPORTS.get("committee_one_pager").build(evidence, context)
    assert read_pdf(document.pdf).pages == 1
    assert len(document.data["criteria"]) == 64
    printed = document.html.split("<h2>Primary criteria</h2>")[1].split("</table>")[0].count('class="state')
    assert f"{64 - printed} more are in the technical documentation" in document.html


def test_what_cannot_fit_is_refused_and_not_cut_off() -> None:
    evidence = make_evidence("fail")
    evidence["result"]["verdicts"][0]["statement"] = "Fails: " + "a very long sentence, " * 200
    with pytest.raises(AuscultError, match="one page"):
        build(evidence)


def test_a_protocol_without_primary_criteria_decides_nothing() -> None:
    evidence = make_evidence("insufficient")
    evidence["result"]["verdicts"] = [row | {"primary": False} for row in evidence["result"]["verdicts"]]
    document = build(evidence)
    assert document.data["leading"] is None
    assert "nothing was decided" in document.data["headline"]
    assert read_pdf(document.pdf).pages == 1


def test_script_in_a_rationale_stays_text() -> None:
    script = "<script>fetch('/votes')</script>"
    evidence = make_evidence("fail")
    html = REPORTS.get("committee_one_pager").build(evidence, with_review(evidence, script)).html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert build(make_evidence("pass")).pdf == build(make_evidence("pass")).pdf


def changed(*, cohort: str = "", documents: bool = True, language: str = "en", **told: Any) -> ReportDocument:
    """The page about a version whose predecessor was audited by the same protocol."""
    evidence = make_evidence("fail")
    before, about = earlier_version(evidence, cohort=cohort)
    held = (before,) if documents else ()
    context = context_of(evidence, language=language, documents=held, **(about | told))
    return REPORTS.get("committee_one_pager").build(evidence, context)


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_data_are_as_they_were(language: str) -> None:
    document = changed(language=language)
    jsonschema.validate(document.data, schema_of("committee_one_pager"), format_checker=jsonschema.FormatChecker())
    check_golden("committee_one_pager", language, document.data)
    assert read_pdf(document.pdf).pages == 1


def test_it_tells_what_changed_since_the_last_version_with_both_intervals() -> None:
    """−.220 now less −.120 then is −.100: worse by a tenth."""
    document = changed()
    changes = document.data["changes"]
    assert changes["leading"]["before"] | {"n": 0} == {
        "value": -0.12, "low": -0.18, "high": -0.06, "n": 0, "outcome": "fail"
    }  # fmt: skip
    assert changes["leading"]["difference"] == pytest.approx(-0.1)
    assert changes["same_cohort"] is True
    assert {(row["kind"], row["name"]) for row in changes["differences"]} >= {
        ("File", "model.safetensors"),
        ("Model card", "licence"),
    }
    text = document.html.split("What changed since the last version")[1].split("</section>")[0]
    text = text.replace('<span class="unbroken">', "").replace("</span>", "")
    assert "Version 0.9: −.120 (−.180 to −.060), fail (run 2). Now: −.220 (−.280 to −.160), fail." in text
    assert "The value changed by −.100." in text
    assert "model.safetensors" in text
    assert read_pdf(document.pdf).pages == 1


def test_a_difference_across_cohorts_is_said_to_be_one_of_cohorts_too() -> None:
    document = changed(cohort="another")
    assert document.data["changes"]["same_cohort"] is False
    assert "The two audits were on different cohorts" in document.html


def test_nothing_is_compared_across_protocols() -> None:
    evidence = make_evidence("fail")
    before, told = earlier_version(evidence)
    before["protocol"]["digest"] = "f" * 64
    audit = told["earlier_audits"][0]
    audit |= {"evidence_digest": sha256_json(before), "protocol": audit["protocol"] | {"digest": "f" * 64}}
    context = context_of(evidence, documents=(before,), **told)
    document = REPORTS.get("committee_one_pager").build(evidence, context)
    assert document.data["changes"]["leading"] is None
    assert "was not audited by this protocol, so no value can be compared" in document.html


def test_without_the_earlier_evidence_nothing_is_guessed() -> None:
    document = changed(documents=False)
    assert "no audit of both can be compared" in document.html
    assert "−.120" not in document.html


def test_a_first_version_says_so() -> None:
    assert "No version of this system was registered before this one." in build(make_evidence("pass")).html
