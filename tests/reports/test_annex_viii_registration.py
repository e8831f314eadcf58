"""Registration data: owed or not before any form, sections by the answers, deleted points not asked for."""

from __future__ import annotations

from typing import Any

from governance.reports.annex_viii_registration import AnnexViiiRegistration
from governance.reports.base import Draft
from tests.reports.conftest import make_evidence
from tests.reports.dossiers import make_answers, make_statement
from tests.reports.scenes import context_of
from tests.reports.stated_scenes import PURPOSE, REGISTRATION, TRIAGE, make_statements

FILTERED = {"annex_iii_points": ["5d"], "art_6_3_claimed": True, "art_6_3_condition": "a", "profiling": False}
NO_DEVICE = {"device_law": "none", "mdr_class": None, "annex_i_section": None, "manufacturer": None}


def draft(*, statements: list[dict[str, Any]] | None = None, **answers: Any) -> Draft:
    evidence = make_evidence("fail")
    told = make_statements(REGISTRATION) if statements is None else statements
    return AnnexViiiRegistration().draft(
        evidence, context_of(evidence, statements=told, answers=make_answers(**answers))
    )


def chapter(document: Draft, number: str) -> str:
    return document.html.split(f'id="chapter-{number}"')[1].split("Requirements of this chapter")[0]


def owed(document: Draft) -> dict[str, str]:
    found: dict[str, str] = document.data["content"]["owed"]
    return found


def test_a_device_of_class_iia_is_not_entered() -> None:
    """Art. 49(1) speaks of Annex III systems; a device that is high-risk by Art. 6(1) alone goes to EUDAMED."""
    document = draft()
    assert owed(document) == {"A": "no", "B": "no", "C": "no"}
    assert "Registration is not owed" in document.html.split("</section>")[0]
    assert document.data["content"]["fields"] == {}
    for section in "ABC":
        text = chapter(document, section)
        assert "No form is printed." in text
        assert "<table" not in text
    assert "Entry in EUDAMED under the MDR" in chapter(document, "0")


def test_emergency_triage_owes_section_a_in_the_order_of_its_points() -> None:
    document = draft(**TRIAGE)
    assert owed(document) == {"A": "yes", "B": "no", "C": "no"}
    text = chapter(document, "A")
    places = [text.index(f">{number}. ") for number in range(1, 14)]
    assert places == sorted(places)
    assert "ChestRead" in text
    assert "Missing: nothing accepted is held." in text.split(">1. ")[1].split("</tr>")[0]


def test_a_public_deployer_owes_section_c_too() -> None:
    document = draft(**TRIAGE, public_authority=True)
    assert owed(document)["C"] == "yes"
    assert "Fria summary" in chapter(document, "C") or "FRIA summary" in chapter(document, "C")


def test_the_exemption_owes_section_b_without_the_deleted_points() -> None:
    """Regulation (EU) 2026/1744 deleted points 7 and 9 of Section B."""
    document = draft(**(FILTERED | NO_DEVICE))
    assert owed(document)["B"] == "yes"
    text = chapter(document, "B")
    assert "were deleted by Regulation (EU) 2026/1744 and are not asked for" in text
    rows = text.split("<tbody>")[1].split("</tbody>")[0]
    for deleted in ("summary of grounds", "Member States", "Member states"):
        assert deleted not in rows


def test_unanswered_is_neither_owed_nor_not() -> None:
    document = draft(annex_iii_points=None)
    assert owed(document) == {"A": "unknown", "B": "unknown", "C": "no"}
    assert "Whether registration is owed is not known" in document.html.split("</section>")[0]
    assert "<table" not in chapter(document, "A")
    assert document.data["ready"] is False


def test_another_purpose_than_in_the_instructions_is_shown() -> None:
    rows = make_statements(REGISTRATION)
    other = {"intended_purpose": PURPOSE + " And in children.", "intended_users": ["all"], "patient_population": "All"}
    document = draft(statements=[*rows, make_statement(90, "AIA-Art13-3-b-i", other)], **TRIAGE)
    text = chapter(document, "A")
    assert "The intended purpose is not the same everywhere" in text
    assert "And in children." in text
    assert "The intended purpose is not the same everywhere" not in draft(**TRIAGE).html


def test_both_readings_of_the_date_are_printed() -> None:
    """Whether Art. 49 waits for 2 December 2027 or applied from 2 August 2026 is open."""
    text = chapter(draft(**TRIAGE), "0")
    assert "from 2 Dec 2027; by another reading from 2 Aug 2026" in text
