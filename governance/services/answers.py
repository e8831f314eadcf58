"""Answers about a system: checked by their questions, written as new rows, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core import ledger
from core.models import User
from core.plain_text import MOST_TEXT
from core.reach import service
from governance.access import check_may_answer
from governance.models import Answer
from governance.questions import AnswerError, check_answer, load_questions, question
from governance.selectors.answers import newest_answers
from models_registry.models import AISystem


@service
def record_answers(
    *, system: AISystem, answers: Mapping[str, Any], reasons: Mapping[str, str], by: User
) -> list[Answer]:
    """Write the answers that differ from the newest ones, in value or in reason, all or none.

    Args:
        answers: Value by question; None takes an answer back.
        reasons: Why it is so, by question. Kept as plain text: a question without one has none.

    Returns:
        What was written, in the order of the questionnaire; empty when nothing changed, and then nothing is recorded.

    Raises:
        DeniedError: ``by`` may not answer.
        AnswerError: an unknown question, a value of another kind, or a reason without an answer; nothing is written.
    """
    check_may_answer(by)
    values = {key: check_answer(question(key), value) for key, value in answers.items()}
    texts = {key: _check_reason(key, reasons[key], values) for key in reasons}
    # Two people who answer at once take turns, so that each row follows what was newest when it was written.
    AISystem.objects.select_for_update(no_key=True).get(pk=system.pk)
    before = newest_answers(system)
    written = Answer.objects.bulk_create(
        Answer(system=system, question=item.key, value=values[item.key], reason=texts.get(item.key, ""), author=by)
        for item in load_questions()
        if item.key in values and _differs(before.get(item.key), values[item.key], texts.get(item.key, ""))
    )
    if written:
        ledger.record(
            actor=by.username,
            act="answers.recorded",
            subject=("AISystem", system.pk),
            payload={answer.question: answer.value for answer in written},
        )
    return written


def _check_reason(key: str, reason: Any, values: Mapping[str, Any]) -> str:
    asked = question(key)
    if key not in values:
        raise AnswerError(f"“{asked.text}” has a reason and no answer.", remedy="Answer it, or leave the reason out.")
    if not isinstance(reason, str) or len(reason) > MOST_TEXT or "\0" in reason:
        raise AnswerError(
            f"The reason given to “{asked.text}” is no text of at most {MOST_TEXT:,} characters.", remedy="Shorten it."
        )
    return reason.strip()


def _differs(before: Answer | None, value: Any, reason: str) -> bool:
    if before is None:
        return value is not None
    # True and 1 are equal in Python and are different answers.
    return (type(before.value), before.value, before.reason) != (type(value), value, reason)
