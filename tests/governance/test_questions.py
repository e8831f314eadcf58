"""The questionnaire: sound as it is, refused when it contradicts itself, and strict about what answers it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from governance import questions as module
from governance import requirements
from governance.questions import (
    SOURCE,
    AnswerError,
    check_answer,
    find_question_problems,
    load_chapters,
    load_questions,
    question,
)

BODY: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))


def test_every_question_has_a_chapter_a_text_and_a_source() -> None:
    chapters = load_chapters()
    for asked in load_questions():
        assert asked.chapter in chapters
        assert asked.label and asked.source
        assert asked.text.endswith("?")
        assert not asked.help or asked.help.endswith(".")
    assert {asked.chapter for asked in load_questions()} == set(chapters)


def test_the_screen_of_art_5_has_every_limb_as_a_question_of_its_own() -> None:
    limbs = {asked.source for asked in load_questions() if asked.chapter == "prohibited"}
    assert limbs == {f"AI Act Art. 5(1)({limb})" for limb in ("a", "b", "ba", "bb", "c", "d", "e", "f", "g", "h")}


def test_annex_iii_has_its_eight_areas() -> None:
    points = {option.key for option in question("annex_iii_points").options}
    assert {point[0] for point in points - {"none"}} == set("12345678")


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("ai_system", False, False),
        ("ai_system", None, None),
        ("mdr_class", "IIa", "IIa"),
        ("annex_iii_points", ["5d", "1a", "5d"], ["1a", "5d"]),
        ("annex_iii_points", ["none"], ["none"]),
        ("sites", [" North ", "South", "North"], ["North", "South"]),
        ("first_placed_on", "2026-08-02", "2026-08-02"),
        ("authorised_representative", " Example GmbH,\nBerlin ", "Example GmbH,\nBerlin"),
    ],
)
def test_an_answer_is_kept_as_its_question_wants_it(key: str, given: Any, kept: Any) -> None:
    assert check_answer(question(key), given) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ai_system", "yes"),
        ("ai_system", 1),
        ("mdr_class", "IV"),
        ("mdr_class", ["IIa"]),
        ("mdr_class", True),
        ("annex_iii_points", []),
        ("annex_iii_points", "5d"),
        ("annex_iii_points", ["9"]),
        ("annex_iii_points", ["none", "5d"]),
        ("annex_iii_points", [["5d"]]),
        ("sites", []),
        ("sites", ["  "]),
        ("sites", ["x" * 201]),
        ("sites", ["a\x00b"]),
        ("first_placed_on", "2026-02-30"),
        ("first_placed_on", "02.08.2026"),
        ("first_placed_on", 20260802),
        ("authorised_representative", ""),
        ("authorised_representative", {"name": "x"}),
    ],
)
def test_a_wrong_answer_is_refused_by_the_text_of_its_question(key: str, value: Any) -> None:
    with pytest.raises(AnswerError) as refusal:
        check_answer(question(key), value)
    assert question(key).text in refusal.value.message
    assert refusal.value.remedy


@pytest.mark.parametrize("value", [True, -1, float("nan"), float("inf"), "3"])
def test_a_number_is_a_number(value: Any) -> None:
    asked = module.Question(
        key="n",
        chapter="scope",
        kind="number",
        label="N",
        text="N?",
        help="",
        source="",
        options=(),
        asked_if=None,
        sets=(),
    )
    assert check_answer(asked, 2.5) == 2.5
    with pytest.raises(AnswerError):
        check_answer(asked, value)


def test_an_unknown_question_is_refused_by_name() -> None:
    with pytest.raises(AnswerError, match="full_moon"):
        question("full_moon")


BREAKS: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "is asked twice": lambda rows: rows.append(copy.deepcopy(rows[0])),
    "keys missing or unknown: source": lambda rows: rows[0].pop("source"),
    "keys missing or unknown: colour": lambda rows: rows[0].update(colour="red"),
    "chapter or kind is not known": lambda rows: rows[0].update(kind="maybe"),
    "a choice has options": lambda rows: rows[0].update(kind="choice"),
    "not asked before it": lambda rows: rows[0].update(asked_if=[{"question": "role", "values": ["both"]}]),
    "has no value clown": lambda rows: rows[4].update(asked_if=[{"question": "role", "values": ["clown"]}]),
    "has no value yes": lambda rows: rows[4].update(asked_if=[{"question": "ai_system", "values": ["yes"]}]),
}


@pytest.mark.parametrize("message", BREAKS)
def test_each_contradiction_is_named(message: str) -> None:
    body = copy.deepcopy(BODY)
    assert find_question_problems(body) == []
    BREAKS[message](body["questions"])
    assert any(message in problem for problem in find_question_problems(body))


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A German file of its own beside the catalogue, with some texts."""
    source = tmp_path / "requirements.yaml"
    source.write_bytes(requirements.SOURCE.read_bytes())
    texts = {
        "questions": {
            "chapters": {"scope": "Was es ist"},
            "mdr_class": {"label": "MDR-Klasse", "text": "Welche Klasse?"},
            "role": {"options": {"provider": "Anbieter"}},
        }
    }
    (tmp_path / "requirements.de.yaml").write_text(yaml.safe_dump(texts), encoding="utf-8")
    monkeypatch.setattr(requirements, "SOURCE", source)
    caches = (requirements._load, module._questions, module._by_key)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_german_texts_are_laid_over_and_what_is_missing_stays_english(german: None) -> None:
    asked = question("mdr_class", "de-de")
    assert (asked.label, asked.text) == ("MDR-Klasse", "Welche Klasse?")
    assert asked.help == question("mdr_class").help
    assert question("role", "de").option_text("provider") == "Anbieter"
    assert question("role", "de").option_text("both") == "provider and deployer"
    assert load_chapters("de")["scope"] == "Was es ist"
    assert load_chapters("de")["data"] == "Personal data"
    assert question("mdr_class").label == "MDR class"
