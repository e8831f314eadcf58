"""The fundamental rights assessment: owed or not, by the answers and Article 27(1), and its six elements."""

from __future__ import annotations

from typing import Any

import pytest

from governance.reports.base import Draft
from governance.reports.fria import Fria
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers, make_statement
from tests.reports.scenes import context_of

TRIAGE = {"annex_iii_points": ["5d"], "art_6_3_claimed": False}


def draft(**replaced: Any) -> Draft:
    evidence = make_evidence("fail")
    return Fria().draft(evidence, context_of(evidence, **replaced))


def cover(document: Draft) -> str:
    return document.html.split("</section>")[0]


def test_a_device_that_is_high_risk_by_product_law_alone_owes_none() -> None:
    """Art. 27(1) speaks of Annex III systems; a class IIa device in a public hospital is high-risk by Art. 6(1)."""
    document = draft()
    assert document.data["content"]["owed"] == "no"
    assert "This assessment is not owed" in cover(document)
    assert "annex_iii_points" in document.data["content"]["questions"]
    assert {item["state"] for item in document.data["content"]["elements"].values()} == {"not_applicable"}


@pytest.mark.parametrize("kind", ["public_law", "private_public_service"])
def test_a_public_hospital_that_uses_emergency_triage_owes_one(kind: str) -> None:
    """Annex III point 5(d): patients are sorted in emergencies."""
    document = draft(answers=make_answers(**TRIAGE, deployer_kind=kind))
    assert document.data["content"]["owed"] == "yes"
    assert "This assessment is owed" in cover(document)
    assert document.data["ready"] is False


def test_another_private_body_owes_none_for_triage() -> None:
    document = draft(answers=make_answers(**TRIAGE, deployer_kind="other_private"))
    assert document.data["content"]["owed"] == "no"


def test_an_unanswered_question_leaves_it_open_and_blocks() -> None:
    document = draft(answers=make_answers(annex_iii_points=None))
    assert document.data["content"]["owed"] == "unknown"
    assert "Whether this assessment is owed is not determined" in cover(document)
    assert document.data["ready"] is False


def test_the_six_elements_stand_in_their_chapters() -> None:
    document = draft(answers=make_answers(**TRIAGE))
    table = document.html.split("The six elements of Article 27(1)")[1].split("</table>")[0]
    for letter, title in zip("abcdef", ("Deployer processes", "Period and frequency"), strict=False):
        assert f"({letter})" in table and title in table
    homes = {section["id"]: [row["id"] for row in section["requirements"]] for section in document.data["sections"]}
    for number, letter in enumerate("abcdef", start=1):
        assert f"AIA-Art27-1-{letter}" in homes[str(number)]


def test_harms_stand_beside_what_audits_measured() -> None:
    document = draft(answers=make_answers(**TRIAGE))
    part = document.html.split('id="chapter-4"')[1].split("<h3>Requirements of this chapter</h3>")[0]
    assert "−.220" in part and 'href="#source-' in part
    assert "Invented or unsupported findings" in part
    assert "No audit of this version measured it." in part


def test_the_newest_data_protection_assessment_is_linked_by_its_digests() -> None:
    report = {
        "id": 8,
        "kind": "dpia",
        "language": "en",
        "as_of": "2026-11-20T10:00:00+00:00",
        "pdf_digest": "a" * 64,
        "json_digest": "b" * 64,
        "dossier_digest": "c" * 64,
        "ready": False,
    }
    older = report | {"id": 5, "pdf_digest": "d" * 64}
    document = draft(reports=[older, report])
    part = document.html.split('id="chapter-7"')[1].split("<h3>Requirements")[0]
    assert "a" * 64 in part and "not ready" in part and "d" * 64 not in part
    assert document.data["content"]["dpia"] == report
    assert "has been issued here" in draft().html.split('id="chapter-7"')[1]


def test_a_voluntary_assessment_is_called_so() -> None:
    stated = make_statement(
        3,
        "AIA-Art27-1-scope",
        {
            "deployer_type": "public_law",
            "annex_iii_point": "none",
            "conclusion": "voluntary",
            "reasoning": "The board asked for it.",
        },
    )
    document = draft(statements=[stated])
    assert document.data["content"]["voluntary"] is True
    assert "It is made voluntarily, as was stated." in cover(document)
