"""MDR, standards and the informative texts: worked examples by article."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from governance.rules.devices import later_by_years, retention_end
from tests.governance.dossiers import DEVICE
from tests.governance.privacy_facts import audit, found


def test_the_class_is_the_answered_one_and_the_registered_one() -> None:
    """MDR Annex VIII Rule 11. The system of these facts is registered as IIa."""
    assert found("MDR-R11", DEVICE).filled == {"mdr_class": "IIa"}
    assert found("MDR-R11", DEVICE).contradicted == ()
    assert len(found("MDR-R11", DEVICE | {"mdr_class": "IIb"}).contradicted) == 1
    assert found("MDR-R11", DEVICE | {"mdr_class": "I_nb"}).filled == {"mdr_class": "I"}


@pytest.mark.parametrize(
    ("device", "last", "late"),
    [("IIa", "2024-11-22", False), ("IIa", "2024-11-21", True), ("IIb", "2025-11-22", False),
     ("IIb", "2025-11-21", True), ("III", "2024-11-22", True)],
)  # fmt: skip
def test_safety_reports_every_two_years_or_every_year(device: str, last: str, late: bool) -> None:
    """MDR Art. 86(1), judged on 22 November 2026."""
    finding = found("MDR-86", DEVICE | {"mdr_class": device}, {"MDR-86": {"last_psur": last}})
    assert bool(finding.contradicted) is late


def test_class_one_owes_another_report() -> None:
    """MDR Art. 85."""
    finding = found("MDR-86", DEVICE | {"mdr_class": "I"})
    assert (finding.waived, finding.settled) == (("last_psur",), True)


@pytest.mark.parametrize(
    ("last", "implantable", "placed", "end"),
    [("2026-01-15", False, "2024-05-01", "2036-01-15"), ("2026-01-15", True, "2024-05-01", "2041-01-15"),
     ("2026-01-15", False, "2026-02-01", "2036-02-01"), ("2028-02-29", False, None, "2038-03-01")],
)  # fmt: skip
def test_documents_are_kept_until_the_later_end(last: str, implantable: bool, placed: str | None, end: str) -> None:
    """MDR Art. 10(8): 10 or 15 years after the last device; AI Act Art. 18(1): 10 after the placing."""
    day = dt.date.fromisoformat
    found_end = retention_end(last_device=day(last), implantable=implantable, placed=day(placed) if placed else None)
    assert found_end == day(end)


def test_a_shorter_retention_is_contradicted() -> None:
    answers = DEVICE | {"placed_on_market": True, "first_placed_on": "2024-05-01"}
    fields = {"MDR-10-8": {"last_device_date": "2026-01-15"}, "AIA-Art18": {"retention_until": "2036-01-14"}}
    finding = found("MDR-10-8", answers, fields)
    assert finding.filled == {"implantable": False}
    assert "2036-01-15" in finding.contradicted[0]


def test_leap_days_have_an_anniversary() -> None:
    assert later_by_years(dt.date(2024, 2, 29), 4) == dt.date(2028, 2, 29)
    assert later_by_years(dt.date(2024, 2, 29), 1) == dt.date(2025, 3, 1)


def test_the_clinical_evaluation_covers_this_version_and_is_cited() -> None:
    """MDR Art. 61; the facts are of version 1.1."""
    old = found("MDR-61", DEVICE, {"MDR-61": {"version_covered": "1.0", "cer_reference": "CER-7"}})
    assert (len(old.contradicted), len(old.lacking)) == (1, 1)
    cited = {"AIA-AnnexIV-4": {"clinical_relevance": "See cer-7, chapter 4."}}
    sound = found("MDR-61", DEVICE, {"MDR-61": {"version_covered": "1.1", "cer_reference": "CER-7"}} | cited)
    assert (sound.contradicted, sound.lacking) == ((), ())


def test_one_surveillance_plan_under_both_acts() -> None:
    """MDR Art. 84; AI Act Art. 72(4)."""
    own = {"MDR-83-84": {"pms_plan": "PMS-3"}}
    assert found("MDR-83-84", DEVICE, own).lacking
    assert found("MDR-83-84", DEVICE, own | {"AIA-Art72-4": {"mdr_pms_plan": "pms-3"}}).contradicted == ()
    assert found("MDR-83-84", DEVICE, own | {"AIA-Art72-4": {"mdr_pms_plan": "PMS-2"}}).contradicted


def test_registration_before_placing_with_a_number_of_eudamed() -> None:
    """MDR Art. 29 and 31."""
    answers = DEVICE | {"placed_on_market": True, "first_placed_on": "2026-05-01"}
    sound = {"srn": "DE-MF-000012345", "registered_on": "2026-04-30"}
    finding = found("MDR-29", answers, {"MDR-29": sound})
    assert (finding.lacking, finding.contradicted) == ((), ())
    wrong = found("MDR-29", answers, {"MDR-29": {"srn": "12345", "registered_on": "2026-05-02"}})
    assert (len(wrong.lacking), len(wrong.contradicted)) == (1, 1)


@pytest.mark.parametrize(("checked", "fresh"), [("2026-08-24", True), ("2026-08-23", False)])
def test_the_watch_list_is_at_most_ninety_days_old(checked: str, fresh: bool) -> None:
    """24 August 2026 is ninety days before 22 November 2026."""
    assert (found("STD-list", DEVICE, {"STD-list": {"checked_on": checked}}).lacking == ()) is fresh


@pytest.mark.parametrize(
    ("presumption", "citation", "contradicted"), [("yes", "", True), ("no", "", False), ("yes", "OJ L 2027/1", False)]
)
def test_no_presumption_without_a_citation(presumption: str, citation: str, contradicted: bool) -> None:
    """AI Act Art. 40(1)."""
    row = {"deliverable": "EN 18286", "status": "published", "presumption": presumption, "citation": citation}
    fields = {"STD-list": {"checked_on": "2026-11-20", "status_table": [row]}}
    assert bool(found("STD-list", DEVICE, fields).contradicted) is contradicted


@pytest.mark.parametrize(
    ("text", "claims"),
    [("Our certificate shows conformity with the AI Act.", True),
     ("We are ISO 42001 certified. The product complies with the EU AI Act.", True),
     ("It shows no conformity with the AI Act.", False), ("Clause 6.1.2 leads to risk file 3.", False)],
)  # fmt: skip
def test_a_management_system_shows_no_conformity(text: str, claims: bool) -> None:
    fields = {"ISO42001-614": {"clause_map": [{"clause": "6.1.2", "record": "R-3"}]}}
    assert bool(found("ISO42001-614", DEVICE, fields, texts={"ISO42001-614": text}).contradicted) is claims


def test_controls_cite_this_version() -> None:
    table = [{"control": "A.6.2.4", "evidence": "Validation of version 1.0"}]
    assert found("ISO42001-A6-A7", DEVICE, {"ISO42001-A6-A7": {"control_map": table}}).lacking
    own = [{"control": "A.6.2.4", "evidence": "Audit 4 of version 1.1"}]
    finding = found("ISO42001-A6-A7", DEVICE, {"ISO42001-A6-A7": {"control_map": own}}, audits=[audit(4)])
    assert finding.lacking == ()
    assert "audit 4" in finding.held[0]


@pytest.mark.parametrize(
    ("requirement", "fields", "lacking"),
    [("EHDS-53-68", {"expiry": "2026-10-31"}, True), ("EHDS-53-68", {"expiry": "2026-11-30"}, False),
     ("EHDS-61-73", {"publication_due": "2026-11-21"}, True), ("EHDS-61-73", {"publication_due": "2026-11-22"}, False)],
)  # fmt: skip
def test_dates_of_the_health_data_space(requirement: str, fields: dict[str, Any], lacking: bool) -> None:
    """EHDS Art. 61(4), 68: the version was registered on 1 November 2026."""
    assert bool(found(requirement, DEVICE, {requirement: fields}).lacking) is lacking


def test_safe_harbour_needs_no_expert() -> None:
    """45 CFR 164.514(b)(1) and (2)."""
    assert found("HIPAA-164514", DEVICE, {"HIPAA-164514": {"method": "safe_harbor"}}).waived == ("expert_report",)
    assert found("HIPAA-164514", DEVICE, {"HIPAA-164514": {"method": "expert"}}).waived == ()
