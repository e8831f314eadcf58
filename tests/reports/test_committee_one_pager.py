"""One page, whatever was found, with the verdict first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from core.errors import AuscultError
from governance.reports.base import REPORTS, ReportDocument, schema_of
from governance.reports.findings import group_rates, leading_verdict
from tests.reports.conftest import make_context, make_evidence, make_review, verdict
from tests.reports.pdf import read_pdf


def build(evidence: dict[str, Any], decision: str | None = "rejected") -> ReportDocument:
    return REPORTS.get("committee_one_pager").build(evidence, make_context(decision))


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
    context = replace(make_context(), review=make_review("rejected", rationale="Because of the evidence. " * 80))
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
    context = replace(make_context(), review=make_review("rejected", rationale=script))
    html = REPORTS.get("committee_one_pager").build(make_evidence("fail"), context).html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert build(make_evidence("pass")).pdf == build(make_evidence("pass")).pdf
