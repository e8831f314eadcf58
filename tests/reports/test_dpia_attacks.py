"""Attacks on privacy in the impact assessment: criterion of WP216, row of risks, and what was never judged."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from governance.reports.base import Draft
from governance.reports.dpia import Dpia
from synthetic.suites.privacy_meanings import CRITERIA, GATES, MEANINGS, METRICS
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_audit
from tests.reports.scenes import context_of
from tests.reports.test_dpia import chapter, risks

WP216 = {
    "singling out": {"near_copies", "copies", "singling_out", "image_copies", "text_copies", "text_overlap",
                     "text_longest_run"},
    "linkability": {"linkability"},
    "inference": {"inference", "canary_exposure"},
}  # fmt: skip
"""By the opinion's own paragraphs (2.2): isolate a record; link two records; deduce a value of an attribute."""


def privacy_audit(*, left: tuple[str, ...] = (), **outcomes: str) -> dict[str, Any]:
    """Evidence of a privacy audit that judged every attack but those left; all pass but those named."""
    body = make_evidence("pass", simulated=False)
    body["run"] |= {"id": 7}
    body["protocol"] |= {"name": "privacy-v1", "title": "Privacy", "digest": f"{7:064x}"}
    body["protocol"]["body"] = body["protocol"]["body"] | {"suites": ["privacy"]}
    like = body["result"]["verdicts"][0] | {"attribute": "", "groups": [], "label": "patients"}
    body["result"]["verdicts"] = [
        like
        | {"criterion": metric, "metric": metric, "direction": GATES[metric][0], "margin": GATES[metric][1]}
        | {"outcome": outcomes.get(metric, "pass"), "value": 0.123 if metric == "linkability" else 0.01}
        for metric in MEANINGS
        if metric not in left
    ]
    return body


def drafted(attacks: dict[str, Any], language: str = "en") -> Draft:
    evidence = make_evidence("pass", simulated=False)
    audits = [make_audit(evidence), make_audit(attacks)]
    return Dpia().draft(evidence, context_of(evidence, documents=(attacks,), audits=audits, language=language))


def section(document: Draft, title: str) -> str:
    return unescape(chapter(document, "4").split(f"<h3>{title}</h3>")[1].split("<h3>")[0])


def test_each_attack_leads_to_its_criterion_of_wp216_and_to_a_row_of_risks() -> None:
    assert {name: {key for key, item in MEANINGS.items() if item.criterion == name} for name in WP216} == WP216
    document = drafted(privacy_audit())
    told = {row["metric"]: row for row in document.data["content"]["attacks"]}
    assert set(told) == set(MEANINGS)
    for row in told.values():
        assert row["criterion"] in CRITERIA and row["verdict"] == "pass"
        assert row["risks"] and set(row["risks"]) <= set(risks(document))


def test_a_risk_lists_the_attacks_that_feed_it_and_no_others() -> None:
    document = drafted(privacy_audit())
    access = section(document, "Illegitimate access to data")
    kept = section(document, "Memorisation by the model, or inference from it")
    assert METRICS["linkability"].title in access and ".123" in access
    assert METRICS["linkability"].title not in kept
    for metric in ("weights_auc", "canary_exposure", "copies"):
        assert METRICS[metric].title in kept
    assert METRICS["weights_auc"].title not in access


def test_what_each_attack_asks_and_would_mean_is_told_once_in_plain_words() -> None:
    text = unescape(re.sub(r"</?span[^>]*>", "", chapter(drafted(privacy_audit()), "4")))
    for meaning in MEANINGS.values():
        assert text.count(meaning.plainly) == 1 and meaning.risk in text


def test_a_failed_attack_opens_its_criterion_and_says_what_follows() -> None:
    text = chapter(drafted(privacy_audit(linkability="fail", inference="insufficient")), "4")
    table = text.split("The criteria of WP216, and the worst verdict")[1].split("</table>")[0]
    rows = {
        name: table.split(f">{name}<")[1].split("</tr>")[0] for name in ("singling out", "linkability", "inference")
    }
    assert "state-fail" in rows["linkability"] or "Fail" in rows["linkability"]
    assert "Pass" in rows["singling out"]
    assert "Insufficient" in rows["inference"]
    assert "these criteria are not held: linkability and inference" in text


def test_where_every_attack_passed_nothing_is_said_to_be_open() -> None:
    assert "Not shown to be anonymous" not in chapter(drafted(privacy_audit()), "4")


def test_an_attack_that_was_not_judged_is_named_and_leaves_its_criterion_open() -> None:
    document = drafted(privacy_audit(left=("linkability",)))
    text = chapter(document, "4")
    assert "did not judge as primary criteria" in section(document, "Illegitimate access to data")
    table = text.split("The criteria of WP216, and the worst verdict")[1].split("</table>")[0]
    assert "0 of 1 judged" in table and "Insufficient" in table.split(">linkability<")[1].split("</tr>")[0]
    told = {row["metric"]: row["verdict"] for row in document.data["content"]["attacks"]}
    assert told["linkability"] is None


def test_a_version_without_such_an_audit_has_no_table_of_attacks() -> None:
    evidence = make_evidence("pass", simulated=False)
    document = Dpia().draft(evidence, context_of(evidence))
    assert "WP216" not in chapter(document, "4") and document.data["content"]["attacks"] == []


@pytest.mark.parametrize("metric", sorted(MEANINGS))
def test_every_attack_is_told_in_german(metric: str) -> None:
    text = unescape(chapter(drafted(privacy_audit(), language="de"), "4"))
    assert MEANINGS[metric].plainly not in text and MEANINGS[metric].risk not in text
