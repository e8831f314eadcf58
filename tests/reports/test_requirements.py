"""The catalogue of requirements: sound as it is, refused when it contradicts itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from core.errors import AuscultError
from governance.requirements import SOURCE, find_problems, load_requirements, parse_requirements


@pytest.fixture
def body() -> dict[str, Any]:
    return yaml.load(SOURCE.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def test_the_catalogue_loads_whole(body: dict[str, Any]) -> None:
    catalogue = load_requirements()
    assert [item.id for item in catalogue.requirements] == [row["id"] for row in body["items"]]
    assert load_requirements() is catalogue


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
