"""The questions whose answers decide what applies to a system: their texts, their options, and when they are asked.

The questions are in ``questionnaire.yaml``. An answer is checked by the kind of its question; nothing here concludes
anything from it (see ``governance.applicability``). Django-free.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import AuscultError
from core.plain_text import MOST_TEXT
from governance.requirements import load_requirements

SOURCE = Path(__file__).with_name("questionnaire.yaml")
NONE = "none"
"""The option of a question of kind ``several`` that excludes every other: an answer, unlike no answer."""
MOST_LINE = 200
MOST_LINES = 500


class AnswerError(AuscultError):
    """An answer that does not fit its question."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One thing that can be chosen."""

    key: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Clause:
    """That a question is answered with one of these values (``several``: with at least one of them)."""

    question: str
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """When a question is asked: one of the clauses holds."""

    any_of: tuple[Clause, ...]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about a system.

    Attributes:
        kind: ``yes_no``, ``choice`` (one option), ``several`` (options, or lines of free text where it has none),
            ``text``, ``date`` or ``number``.
        label: The question as a noun phrase, for sentences and tables: ``MDR class``.
        source: The article that makes it matter.
        asked_if: None when it is always asked.
        sets: Triggers and roles that its answer bears on.
    """

    key: str
    chapter: str
    kind: str
    label: str
    text: str
    help: str
    source: str
    options: tuple[Option, ...]
    asked_if: Condition | None
    sets: tuple[str, ...]

    def option_text(self, key: str) -> str:
        """What an option says; the key itself where there is no such option."""
        return next((option.text for option in self.options if option.key == key), key)


def load_questions(language: str = "en") -> tuple[Question, ...]:
    """All questions in the order in which they are asked, in a language; what is not translated is in English."""
    return _questions(language[:2].lower())


def question(key: str, language: str = "en") -> Question:
    """One question by its key. Raises AnswerError where there is none."""
    known = _by_key(language[:2].lower())
    if key not in known:
        raise AnswerError(f"There is no question called '{key}'.", remedy="Reload the questionnaire and answer again.")
    return known[key]


def load_chapters(language: str = "en") -> Mapping[str, str]:
    """Titles of the questionnaire's chapters by key, in order."""
    titles = load_requirements(language).question_texts.get("chapters", {})
    return {row["key"]: titles.get(row["key"], row["title"]) for row in _body()["chapters"]}


def check_answer(asked: Question, value: Any) -> Any:
    """The answer as it is kept: texts trimmed, a date as ``YYYY-MM-DD``. None takes an earlier answer back.

    Raises:
        AnswerError: the value does not fit the question's kind; the message names the question.
    """
    return None if value is None else CHECKS[asked.kind](asked, value)


def fits(asked: Question, value: Any) -> bool:
    """Whether the value is an answer that the question knows."""
    try:
        return check_answer(asked, value) is not None
    except AnswerError:
        return False


def _wrong(asked: Question, what: str, remedy: str) -> AnswerError:
    return AnswerError(f"“{asked.text}” {what}", remedy=remedy)


def _yes_no(asked: Question, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(asked, "is answered with yes or no.", "Choose one of them.")
    return value


def _choice(asked: Question, value: Any) -> str:
    keys = [option.key for option in asked.options]
    if not isinstance(value, str) or value not in keys:
        raise _wrong(asked, "is answered with one of its options.", f"Choose one of: {', '.join(keys)}.")
    return value


def _several(asked: Question, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise _wrong(asked, "is answered with a list.", "Choose one or more, or write one in each line.")
    if not asked.options:
        return _lines(asked, value)
    keys = [option.key for option in asked.options]
    if not value or set(value) - set(keys):
        raise _wrong(asked, "is answered with one or more of its options.", f"Choose among: {', '.join(keys)}.")
    if NONE in value and len(set(value)) > 1:
        raise _wrong(asked, "cannot be answered with “none” and something else.", "Choose the one or the other.")
    return [key for key in keys if key in value]


def _lines(asked: Question, value: list[str] | tuple[str, ...]) -> list[str]:
    lines = list(dict.fromkeys(_clean(asked, item, most=MOST_LINE) for item in value))
    if not lines or len(lines) > MOST_LINES:
        raise _wrong(asked, f"takes from 1 to {MOST_LINES} lines.", "Write one in each line.")
    return lines


def _text(asked: Question, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(asked, "is answered with a text.", "Write it as a text.")
    return _clean(asked, value, most=MOST_TEXT)


def _clean(asked: Question, value: str, *, most: int) -> str:
    text = value.strip()
    if not text or len(text) > most:
        raise _wrong(asked, f"takes from 1 to {most:,} characters.", "Shorten it, or leave the question unanswered.")
    if any(ord(char) < 32 and char not in "\n\r\t" for char in text):
        raise _wrong(asked, "holds characters that cannot be printed.", "Type the text again.")
    return text


def _date(asked: Question, value: Any) -> str:
    try:
        return dt.date.fromisoformat(value).isoformat()
    except (TypeError, ValueError) as error:
        raise _wrong(asked, "is answered with a date.", "Write it as YYYY-MM-DD.") from error


def _number(asked: Question, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise _wrong(asked, "is answered with a number of 0 or more.", "Write it in digits.")
    return value


CHECKS: dict[str, Callable[[Question, Any], Any]] = {
    "yes_no": _yes_no,
    "choice": _choice,
    "several": _several,
    "text": _text,
    "date": _date,
    "number": _number,
}
KEYS = {"key", "chapter", "kind", "label", "text", "source"}
OPTIONAL = {"help", "options", "asked_if", "sets"}


def find_question_problems(body: Any) -> list[str]:
    """Every contradiction in a questionnaire as it was read, each in one sentence; empty when it is sound."""
    chapters = {row["key"] for row in body["chapters"]}
    known: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for row in body["questions"]:
        name = row.get("key", "?")
        if wrong := (KEYS - row.keys()) | (row.keys() - KEYS - OPTIONAL):
            problems.append(f"{name}: keys missing or unknown: {', '.join(sorted(wrong))}.")
            continue
        if name in known:
            problems.append(f"{name}: it is asked twice.")
        if row["chapter"] not in chapters or row["kind"] not in CHECKS:
            problems.append(f"{name}: its chapter or kind is not known.")
        if bool(row.get("options")) != (row["kind"] == "choice") and row["kind"] != "several":
            problems.append(f"{name}: a choice has options, and nothing else but 'several' has.")
        problems += [text for clause in row.get("asked_if", ()) for text in _clause_problems(name, clause, known)]
        known[name] = row
    return problems


def _clause_problems(name: str, clause: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[str]:
    """A condition speaks of an earlier question, in values that it has: so no condition can run in a circle."""
    earlier = known.get(clause["question"])
    if earlier is None:
        return [f"{name}: it depends on '{clause['question']}', which is not asked before it."]
    values = {True, False} if earlier["kind"] == "yes_no" else set(earlier.get("options", {}))
    wrong = [str(value) for value in clause["values"] if value not in values]
    return [f"{name}: '{clause['question']}' has no value {', '.join(wrong)}."] if wrong else []


@lru_cache(maxsize=1)
def _body() -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    body: dict[str, Any] = yaml.load(SOURCE.read_text(encoding="utf-8"), Loader=loader)
    if problems := find_question_problems(body):
        raise AuscultError(
            "The questionnaire contradicts itself: " + " ".join(problems[:10]),
            remedy="Correct the questions that are named.",
            file=SOURCE.name,
        )
    return body


@lru_cache(maxsize=8)
def _questions(language: str) -> tuple[Question, ...]:
    texts = load_requirements(language).question_texts
    return tuple(_translated(_question(row), texts.get(row["key"], {})) for row in _body()["questions"])


@lru_cache(maxsize=8)
def _by_key(language: str) -> dict[str, Question]:
    return {item.key: item for item in _questions(language)}


def _question(row: dict[str, Any]) -> Question:
    clauses = tuple(
        Clause(question=clause["question"], values=tuple(clause["values"])) for clause in row.get("asked_if", ())
    )
    return Question(
        key=row["key"],
        chapter=row["chapter"],
        kind=row["kind"],
        label=row["label"],
        text=row["text"],
        help=row.get("help", ""),
        source=row["source"],
        options=tuple(Option(key=str(key), text=text) for key, text in row.get("options", {}).items()),
        asked_if=Condition(any_of=clauses) if clauses else None,
        sets=tuple(row.get("sets", ())),
    )


def _translated(original: Question, texts: Mapping[str, Any]) -> Question:
    named = texts.get("options", {})
    options = tuple(Option(key=one.key, text=named.get(one.key, one.text)) for one in original.options)
    given = {name: texts[name] for name in ("label", "text", "help", "source") if texts.get(name)}
    return replace(original, options=options, **given)
