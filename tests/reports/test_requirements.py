"""The catalogue of requirements: sound as it is, refused when it contradicts itself."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from core.errors import AuscultError
from governance.requirements import SOURCE, find_problems, load_requirements, parse_requirements

GERMAN = """
items: {AIA-Art3-1: {title: Einordnung, status: guidance}}
triggers: {hr: {question: Hochriskant.}}
reports: {annex_iv: {title: Technische Dokumentation, sections: {"1": Allgemeines}}}
timeline: {T-MDR: {what: Die MDR gilt, date: 1999-01-01}}
deadlines: {GDPR-33: {limit: 72 Stunden}}
risk_matrix: {severity: {1: gering}}
fields: {mdr_class: MDR-Klasse}
"""


@pytest.fixture
def body() -> dict[str, Any]:
    return yaml.load(SOURCE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def test_the_catalogue_loads_whole(body: dict[str, Any]) -> None:
    catalogue = load_requirements()
    assert [item.id for item in catalogue.requirements] == [row["id"] for row in body["items"]]
    assert load_requirements() is catalogue
    assert load_requirements("en-gb") is catalogue
    assert catalogue.digest == hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def test_every_requirement_of_a_report_is_found_in_exactly_one_chapter(body: dict[str, Any]) -> None:
    catalogue = load_requirements()
    for report in catalogue.outlines:
        wanted = sorted(row["id"] for row in body["items"] if row["report"] == report)
        assert sorted(item.id for item in catalogue.for_report(report)) == wanted


def test_annex_iv_has_the_chapters_0_to_10_in_order() -> None:
    sections = load_requirements().outline("annex_iv").sections
    assert [section.id for section in sections] == [str(number) for number in range(11)]


def test_an_uncertain_date_keeps_both_readings() -> None:
    entry = load_requirements().timeline["T-AIA-HR-FUNC-I"]
    assert (entry.date, entry.alternative) == (dt.date(2028, 8, 2), dt.date(2026, 8, 2))
    assert entry.confidence == "low"


def test_an_unknown_report_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AuscultError, match="annex_iv"):
        load_requirements().outline("annex_v")


def test_a_requirement_is_found_by_its_identifier() -> None:
    assert load_requirements().requirement("AIA-Art3-1").title == "AI-system qualification"
    with pytest.raises(AuscultError, match="AIA-Art0"):
        load_requirements().requirement("AIA-Art0")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("qualification_reasoning", "Qualification reasoning"),
        ("mdr_class", "MDR class"),
        ("udi_di", "UDI DI"),
        ("energy_kwh", "Energy kWh"),
        ("annex_iii_point", "Annex III point"),
        ("version", "Version"),
    ],
)
def test_a_field_is_named_in_words(name: str, label: str) -> None:
    assert load_requirements().field_label(name) == label


@pytest.mark.parametrize(
    ("id", "length", "unit"), [("AIA-73-2", 15, "day"), ("MDR-87-4", 2, "day"), ("GDPR-33", 72, "hour")]
)
def test_a_deadline_in_days_or_hours_has_its_period(id: str, length: int, unit: str) -> None:
    period = load_requirements().deadlines[id].period
    assert period is not None
    assert (period.length, period.unit) == (length, unit)


@pytest.mark.parametrize("id", ["GDPR-34", "GDPR-12-3", "AIA-18", "AIA-19-26", "EHDS-61-4"])
def test_another_deadline_has_none(id: str) -> None:
    assert load_requirements().deadlines[id].period is None


BANDS = ["low low low medium", "low medium medium high", "low medium high very_high", "medium high very_high very_high"]


def test_the_risk_matrix_has_a_band_for_every_pair_of_ratings() -> None:
    """Severity down, likelihood across: 1 to 3 low, 4 to 6 medium, 8 and 9 high, from 12 very high."""
    matrix = load_requirements().risk_matrix
    ratings = (1, 2, 3, 4)
    assert [" ".join(matrix.band(severity, other) for other in ratings) for severity in ratings] == BANDS


def test_a_missing_rating_counts_as_the_worst() -> None:
    matrix = load_requirements().risk_matrix
    assert matrix.band(None, 3) == matrix.band(4, 3) == "very_high"
    assert matrix.band(None, None) == "very_high"
    assert matrix.band(2, None) == "high"
    with pytest.raises(AuscultError, match="ratings"):
        matrix.band(0, 5)


def test_another_language_changes_texts_and_no_fact() -> None:
    text = SOURCE.read_text(encoding="utf-8")
    english, german = load_requirements(), parse_requirements(text, source="x", language="de", texts=GERMAN)
    assert german.requirement("AIA-Art3-1").title == "Einordnung"
    assert german.requirement("AIA-Art3-1").summary == english.requirement("AIA-Art3-1").summary
    assert german.requirement("AIA-Art3-1").status == "binding"
    assert german.triggers["hr"] == "Hochriskant."
    outline = german.outline("annex_iv")
    assert (outline.title, outline.sections[1].title) == ("Technische Dokumentation", "Allgemeines")
    assert outline.sections[2] == english.outline("annex_iv").sections[2]
    assert (german.timeline["T-MDR"].what, german.timeline["T-MDR"].date) == ("Die MDR gilt", dt.date(2021, 5, 26))
    assert german.deadlines["GDPR-33"].limit == "72 Stunden"
    assert german.deadlines["GDPR-33"].period == english.deadlines["GDPR-33"].period
    assert german.risk_matrix.severity[1] == "gering"
    assert german.risk_matrix.severity[2] == english.risk_matrix.severity[2]
    assert german.field_label("mdr_class") == "MDR-Klasse"
    assert german.digest == english.digest


def test_a_language_without_a_file_is_in_english() -> None:
    assert load_requirements("xx").requirements == load_requirements().requirements


def _item(body: dict[str, Any]) -> dict[str, Any]:
    return body["items"][0]


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "is there 2 times": lambda body: body["items"].append(dict(_item(body))),
    "there is no trigger 'full_moon'": lambda body: _item(body).update(applicability=["full_moon"]),
    "there is no chapter 99": lambda body: _item(body).update(section="99"),
    "evidence 'rumour' is not known": lambda body: _item(body).update(evidence=["rumour"]),
    "summary is empty": lambda body: _item(body).update(summary=""),
    "keys missing or unknown: summary": lambda body: _item(body).pop("summary"),
    "differs from the timeline": lambda body: _item(body)["applies_from"].update(date="1999-01-01"),
    "no entry 'T-NEVER'": lambda body: _item(body)["applies_from"].update(ref="T-NEVER"),
    "unknown type 'colour'": lambda body: _item(body)["required_fields"][0].update(type="colour"),
    "is not a sentence": lambda body: _item(body).update(completeness_rule="Done."),
    "unknown or its own home": lambda body: _item(body).update(also_feeds=["annex_iv"]),
    "date is not a date": lambda body: body["timeline"][0].update(date="soon"),
    "confidence 'sure' is not known": lambda body: body["timeline"][0].update(confidence="sure"),
    "no band for 6": lambda body: body["dpia_risk_matrix"]["bands"][1].update(products=[4]),
    "not rated from 1 to 4": lambda body: body["dpia_risk_matrix"]["severity"].pop(4),
    "has 2 bands for 4": lambda body: body["dpia_risk_matrix"]["bands"][0]["products"].append(4),
    "deadline GDPR-33 is there 2 times": lambda body: body["deadlines"][0].update(id="GDPR-33"),
    "It lacks triggers": lambda body: body.pop("triggers"),
}


@pytest.mark.parametrize("message", BREAKS)
def test_each_contradiction_is_named(body: dict[str, Any], message: str) -> None:
    assert find_problems(body) == []
    BREAKS[message](body)
    assert any(message in problem for problem in find_problems(body))


def test_a_chapter_without_a_requirement_is_named(body: dict[str, Any]) -> None:
    body["items"] = [row for row in body["items"] if (row["report"], row["section"]) != ("annex_iv", "8")]
    assert find_problems(body) == ["annex_iv: chapter 8 has no requirement."]


@pytest.mark.parametrize("text", ["items: [", "- a\n- b\n", ""])
def test_a_file_that_is_no_catalogue_is_refused_by_name(text: str) -> None:
    with pytest.raises(AuscultError, match=r"mine\.yaml"):
        parse_requirements(text, source="mine.yaml")
