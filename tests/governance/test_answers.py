"""Answers about a system: written all or none, never changed, with one entry in the ledger."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from core import ledger
from core.errors import DeniedError
from core.models import LedgerEntry
from governance.models import Answer
from governance.questions import AnswerError
from governance.selectors.answers import newest_answers
from governance.services.answers import record_answers
from models_registry.models import AISystem

SCRIPT = "<script>alert(1)</script> & 'quoted'"


@pytest.fixture
def system(people: SimpleNamespace) -> AISystem:
    return AISystem.objects.create(
        name="Chest model", slug="chest", intended_purpose="Finds effusion.", created_by=people.elena
    )


def recorded() -> list[dict[str, Any]]:
    entries = LedgerEntry.objects.filter(act="answers.recorded")
    return [json.loads(entry.body)["payload"] for entry in entries]


def answer_history(system: AISystem, question: str) -> list[Answer]:
    """Every answer to one question, newest first."""
    return list(Answer.objects.filter(system=system, question=question).order_by("-pk"))


def test_answers_are_written_with_their_reasons_and_one_entry(system: AISystem, people: SimpleNamespace) -> None:
    answers = {"mdr_class": "IIa", "ai_system": True, "sites": ["North", " South "]}
    written = record_answers(system=system, answers=answers, reasons={"mdr_class": " Rule 11. "}, by=people.dora)
    assert [answer.question for answer in written] == ["ai_system", "mdr_class", "sites"]
    kept = newest_answers(system)
    assert {key: answer.value for key, answer in kept.items()} == answers | {"sites": ["North", "South"]}
    assert (kept["mdr_class"].reason, kept["mdr_class"].author) == ("Rule 11.", people.dora)
    assert recorded() == [{"ai_system": True, "mdr_class": "IIa", "sites": ["North", "South"]}]


def test_only_what_changed_is_written_and_the_past_stays(system: AISystem, people: SimpleNamespace) -> None:
    record_answers(system=system, answers={"ai_system": True, "mdr_class": "IIa"}, reasons={}, by=people.dora)
    written = record_answers(
        system=system, answers={"ai_system": True, "mdr_class": "IIb"}, reasons={}, by=people.elena
    )
    assert [answer.question for answer in written] == ["mdr_class"]
    assert [(row.value, row.author) for row in answer_history(system, "mdr_class")] == [
        ("IIb", people.elena),
        ("IIa", people.dora),
    ]
    assert record_answers(system=system, answers={"mdr_class": "IIb"}, reasons={}, by=people.dora) == []
    assert recorded()[1:] == [{"mdr_class": "IIb"}]


def test_another_reason_is_another_answer(system: AISystem, people: SimpleNamespace) -> None:
    record_answers(system=system, answers={"ai_system": True}, reasons={"ai_system": "It learns."}, by=people.dora)
    record_answers(system=system, answers={"ai_system": True}, reasons={"ai_system": "It infers."}, by=people.dora)
    assert [row.reason for row in answer_history(system, "ai_system")] == ["It infers.", "It learns."]


def test_an_answer_is_taken_back_by_none(system: AISystem, people: SimpleNamespace) -> None:
    assert record_answers(system=system, answers={"ai_system": None}, reasons={}, by=people.dora) == []
    record_answers(system=system, answers={"ai_system": True}, reasons={}, by=people.dora)
    record_answers(system=system, answers={"ai_system": None}, reasons={}, by=people.dora)
    assert newest_answers(system)["ai_system"].value is None


def test_a_script_in_a_reason_stays_plain_text(system: AISystem, people: SimpleNamespace) -> None:
    record_answers(system=system, answers={"ai_system": True}, reasons={"ai_system": SCRIPT}, by=people.dora)
    assert newest_answers(system)["ai_system"].reason == SCRIPT


@pytest.mark.parametrize(
    ("answers", "reasons"),
    [
        ({"ai_system": True, "full_moon": True}, {}),
        ({"ai_system": True, "mdr_class": "IV"}, {}),
        ({"ai_system": True, "personal_data": "yes"}, {}),
        ({"ai_system": True, "annex_iii_points": []}, {}),
        ({"ai_system": True}, {"role": "A reason without an answer."}),
        ({"ai_system": True}, {"ai_system": "x" * 10_001}),
        ({"ai_system": True}, {"ai_system": "a\x00b"}),
        ({"ai_system": True}, {"full_moon": "There is none."}),
    ],
)
def test_one_bad_answer_leaves_nothing_written(
    system: AISystem, people: SimpleNamespace, answers: dict[str, Any], reasons: dict[str, str]
) -> None:
    with pytest.raises(AnswerError):
        record_answers(system=system, answers=answers, reasons=reasons, by=people.dora)
    assert not Answer.objects.exists()
    assert recorded() == []


def test_a_ledger_that_fails_takes_the_answers_with_it(
    system: AISystem, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**given: Any) -> None:
        raise DatabaseError("the ledger is full")

    monkeypatch.setattr(ledger, "record", fail)
    with pytest.raises(DatabaseError):
        record_answers(system=system, answers={"ai_system": True}, reasons={}, by=people.dora)
    assert not Answer.objects.exists()


@pytest.mark.parametrize("name", ["elena", "dora", "clara", "lea", "amir"])
def test_who_works_on_systems_may_answer(name: str, system: AISystem, people: SimpleNamespace) -> None:
    assert record_answers(system=system, answers={"ai_system": True}, reasons={}, by=getattr(people, name))


@pytest.mark.parametrize("name", ["mina", "rita", "ada"])
def test_others_may_not(name: str, system: AISystem, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="answer the questionnaire"):
        record_answers(system=system, answers={"ai_system": True}, reasons={}, by=getattr(people, name))
    assert not Answer.objects.exists()


def test_the_database_refuses_to_change_an_answer(system: AISystem, people: SimpleNamespace) -> None:
    record_answers(system=system, answers={"ai_system": True}, reasons={}, by=people.dora)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Answer.objects.update(value=False)


def test_systems_do_not_share_answers(system: AISystem, people: SimpleNamespace) -> None:
    other = AISystem.objects.create(name="Other", slug="other", intended_purpose="Else.", created_by=people.elena)
    record_answers(system=system, answers={"ai_system": True}, reasons={}, by=people.dora)
    assert newest_answers(other) == {}
