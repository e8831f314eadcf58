"""The impact assessment: screening by WP248, risks on the CNIL's scales beside what was measured, Article 36."""

from __future__ import annotations

from typing import Any

import pytest

from governance.reports.base import Draft
from governance.reports.dpia import Dpia
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers, make_audit, make_statement
from tests.reports.scenes import assessment, context_of


def draft(outcome: str = "pass", *, simulated: bool = False, **replaced: Any) -> Draft:
    evidence = make_evidence(outcome, simulated=simulated)
    return Dpia().draft(evidence, context_of(evidence, **replaced))


def risks(document: Draft) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in document.data["content"]["risks"]}


def chapter(document: Draft, number: str) -> str:
    return document.html.split(f'id="chapter-{number}"')[1].split('<section class="chapter')[0]


CRITERIA = {f"wp248_c{number}": False for number in range(1, 10)}


@pytest.mark.parametrize(
    ("met", "left", "said"),
    [
        (
            {"wp248_c4": True, "wp248_c7": True},
            (),
            "2 of nine criteria are met: by the rule of thumb an assessment is needed.",
        ),
        ({"wp248_c4": True}, (), "1 of nine criteria are met: the rule of thumb calls for no assessment by itself."),
        ({"wp248_c4": True}, ("wp248_c9",), "1 of nine criteria are met and 1 are not answered"),
    ],
)
def test_two_criteria_of_wp248_call_for_an_assessment(met: dict[str, bool], left: tuple[str, ...], said: str) -> None:
    answers = make_answers(**(CRITERIA | met | dict.fromkeys(left)))
    document = draft(answers=answers)
    assert said in chapter(document, "0")
    screening = document.data["content"]["screening"]
    assert (screening["criteria_met"], screening["criteria_open"]) == (len(met), len(left))


def test_the_screening_says_who_answered_and_where_nobody_did() -> None:
    html = chapter(draft(answers=make_answers(wp248_c8=None)), "0")
    row = html.split("8. Innovative use or technology")[1].split("</tr>")[0]
    assert "?" in row
    assert "Criteria that nobody has answered: 6, 8, 9" in html
    assert "elena, 21 Nov 2026 10:00 UTC" in html.split("1. Evaluation or scoring")[1].split("</tr>")[0]


def test_what_nobody_rated_counts_as_four_and_blocks_the_use() -> None:
    document = draft()
    assert {row["residual"]["product"] for row in risks(document).values()} == {16}
    assert all(row["prior_consultation"] for row in risks(document).values())
    assert "4 × 4 = 16, very high (not rated by anybody; counts as 4)" in document.html
    cover = document.html.split("</section>")[0]
    assert "Risks are not rated, so they count as very high" in cover
    assert "the system must not go live" in cover


def test_ratings_are_put_into_bands_by_hand() -> None:
    """3 × 2 = 6 is medium, 3 × 3 = 9 high, 4 × 2 = 8 high, 2 × 2 = 4 medium, and 2 × 1 = 2 low after measures."""
    rows = risks(draft(statements=assessment()))
    inherent = {key: (row["inherent"]["product"], row["inherent"]["band"]) for key, row in rows.items()}
    assert inherent["illegitimate_access"] == (6, "medium")
    assert inherent["bias"] == (9, "high")
    assert inherent["wrong_output"] == (8, "high")
    assert inherent["disappearance"] == (4, "medium")
    assert {(row["residual"]["product"], row["residual"]["band"]) for row in rows.values()} == {(2, "low")}


def test_low_residual_risks_ask_for_no_consultation() -> None:
    document = draft(statements=assessment())
    assert "No risk is rated high after measures" in document.html.split("</section>")[0]
    assert not any(row["prior_consultation"] for row in risks(document).values())


def test_a_high_residual_risk_asks_for_the_authority_before_use() -> None:
    document = draft(statements=assessment(residual=(4, 2)))
    cover = document.html.split("</section>")[0]
    assert "Prior consultation is due" in cover
    assert "has to be consulted before the processing starts (Article 36)" in cover
    consulted = chapter(document, "6")
    assert "The authority has 8 weeks, +6 weeks" in consulted
    assert "When the authority was consulted." in consulted


def test_a_planned_measure_lowers_nothing() -> None:
    document = draft(statements=assessment(done=False))
    rows = risks(document)
    assert rows["bias"]["lowered"] and rows["bias"]["residual"]["product"] == 9
    assert rows["bias"]["prior_consultation"]
    residual = chapter(document, "5")
    assert "was set aside, because no measure against this risk is done" in residual
    assert "planned" in residual


def test_bias_is_filled_from_the_fairness_audit_with_its_source() -> None:
    evidence = make_evidence("fail", simulated=False)
    document = Dpia().draft(evidence, context_of(evidence, statements=assessment(bias=(3, 2))))
    bias = risks(document)["bias"]
    assert [(item["audit"], item["outcome"], item["counts"]) for item in bias["measured"]] == [("4", "fail", True)]
    assert bias["measured"][0]["evidence_digest"] == document.data["subject"]["evidence_digest"]
    part = chapter(document, "4").split("<h3>Discriminatory output</h3>")[1].split("<h3>")[0]
    assert "−.220" in part and "−.280 to −.160" in part
    assert 'href="#source-' in part
    assert any("audit 4 failed" in text for text in bias["contradicted"])
    assert "Contradiction" in part


def test_an_audit_on_simulated_patients_stands_there_and_proves_nothing() -> None:
    document = draft(simulated=True, statements=assessment())
    assert risks(document)["bias"]["measured"][0]["counts"] is False
    part = chapter(document, "4").split("<h3>Discriminatory output</h3>")[1].split("<h3>")[0]
    assert "It proves nothing about real patients" in part


def test_without_a_privacy_attack_the_row_says_that_none_was_run() -> None:
    part = chapter(draft(), "4").split("<h3>Memorisation by the model, or inference from it</h3>")[1]
    assert "privacy attack on this version" in part.split('class="gap"')[1].split("</div>")[0]


def test_measured_privacy_attacks_and_invented_findings_fill_their_rows() -> None:
    """Two further audits of the version, each in its own row, each from its own evidence."""
    evidence = make_evidence("pass", simulated=False)
    others = []
    for number, (suite, metric, value) in enumerate(
        [("privacy", "membership_inference_auc", 0.713), ("hallucination", "chair_i", 0.044)], start=7
    ):
        body = make_evidence("pass", simulated=False)
        body["run"] |= {"id": number}
        body["protocol"] |= {"name": f"{suite}-v1", "title": suite, "digest": f"{number:064x}"}
        body["protocol"]["body"] = body["protocol"]["body"] | {"suites": [suite]}
        row = body["result"]["verdicts"][0] | {"metric": metric, "attribute": "", "groups": [], "value": value}
        body["result"]["verdicts"] = [row]
        others.append(body)
    audits = [make_audit(body) for body in (evidence, *others)]
    document = Dpia().draft(evidence, context_of(evidence, documents=tuple(others), audits=audits))
    rows = risks(document)
    assert [item["audit"] for item in rows["model_inference"]["measured"]] == ["7"]
    assert "8" in [item["audit"] for item in rows["wrong_output"]["measured"]]
    text = chapter(document, "4")
    assert ".713" in text.split("<h3>Memorisation by the model, or inference from it</h3>")[1].split("<h3>")[0]
    assert ".044" in text.split("<h3>Wrong or invented output</h3>")[1].split("<h3>")[0]
    digests = {row["digest"] for row in document.data["sources"] if row["kind"] == "audit"}
    assert {audit["evidence_digest"] for audit in audits} <= digests


def test_evidence_that_is_gone_from_the_store_is_a_gap_and_no_number() -> None:
    evidence = make_evidence("pass", simulated=False)
    other = make_evidence("fail", simulated=False)
    other["run"] |= {"id": 9}
    other["protocol"] |= {"digest": f"{9:064x}"}
    audits = [make_audit(evidence), make_audit(other)]
    document = Dpia().draft(evidence, context_of(evidence, audits=audits))
    assert "The evidence of audit 9 is not in the store." in document.html
    assert "−.220" not in document.html


def test_a_statement_of_the_officer_is_printed_with_author_and_time() -> None:
    advice = make_statement(
        5,
        "GDPR-35-2",
        {"dpo": {"name": "Dora", "role": "DPO"}, "advice_text": "Go on with care.", "advice_date": "2026-11-20"},
        text="Given in writing.",
    )
    text = chapter(draft(statements=[advice]), "6")
    assert "Go on with care." in text
    assert "Written by dora, 21 Nov 2026 12:00 UTC; accepted by lea, 21 Nov 2026 16:30 UTC" in text
