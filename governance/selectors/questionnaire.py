"""The questionnaire of a system as people see it: what is asked now, what was answered, and what that decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.errors import NotFoundError
from governance.applicability import Conclusion, Truth, conclude, prohibited
from governance.conditions.conclusions import RULES
from governance.conditions.contradictions import contradictions
from governance.conditions.reading import Reading
from governance.models import Answer
from governance.questions import Question, load_chapters, load_questions
from governance.requirements import load_requirements
from models_registry.models import AISystem, ModelVersion, SystemKind, VersionStatus

NOT_IN_USE = (VersionStatus.RETIRED, VersionStatus.REJECTED)


@dataclass(frozen=True, kw_only=True)
class ChapterProgress:
    """A chapter with how many of the questions that it asks now are answered."""

    key: str
    title: str
    asked: int
    answered: int

    @property
    def state(self) -> str:
        """``not_applicable`` where it asks nothing, ``complete``, ``partial`` or ``missing``."""
        if not self.asked:
            return "not_applicable"
        if self.answered == self.asked:
            return "complete"
        return "partial" if self.answered else "missing"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One conclusion as a page tells it: what it is about, whether it holds, why, and by which questions."""

    label: str
    conclusion: Conclusion
    questions: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The questionnaire of one system, filled as far as it is.

    Attributes:
        answers: Every answer, taken-back ones included, oldest first.
    """

    system: AISystem
    answers: tuple[Answer, ...]

    @cached_property
    def newest(self) -> dict[str, Answer]:
        return {row.question: row for row in self.answers}

    @cached_property
    def given(self) -> dict[str, dict[str, Any]]:
        """The newest answers in the form in which conclusions are drawn from them."""
        return {key: {"value": row.value} for key, row in self.newest.items() if row.value is not None}

    @cached_property
    def reading(self) -> Reading:
        return Reading(self.given, RULES)

    @cached_property
    def asked(self) -> tuple[Question, ...]:
        """The questions that are asked now: those whose condition is met by what is answered."""
        return tuple(item for item in load_questions() if self.reading.asked(item.key).truth is Truth.YES)

    @cached_property
    def open(self) -> tuple[Question, ...]:
        """The questions that are asked now and not answered."""
        return tuple(item for item in self.asked if item.key not in self.reading.values)

    @property
    def n_answered(self) -> int:
        return len(self.asked) - len(self.open)

    @cached_property
    def conclusions(self) -> Mapping[str, Conclusion]:
        return conclude(self.given)

    @cached_property
    def chapters(self) -> tuple[ChapterProgress, ...]:
        waiting = {item.key for item in self.open}
        found = []
        for key, title in load_chapters().items():
            asked = [item.key for item in self.asked if item.chapter == key]
            answered = len([name for name in asked if name not in waiting])
            found.append(ChapterProgress(key=key, title=title, asked=len(asked), answered=answered))
        return tuple(found)

    @property
    def prohibited(self) -> tuple[str, ...]:
        """Limbs of Article 5 that are answered with yes."""
        return prohibited(self.given)

    @property
    def contradictions(self) -> tuple[str, ...]:
        return contradictions(self.given)

    @property
    def seen(self) -> int:
        """The number of the newest answer: what a page was made from."""
        return max((row.pk for row in self.answers), default=0)

    def as_of(self, seen: int) -> dict[str, Answer]:
        """The newest answers at the time when a page was made that has seen this number."""
        return {row.question: row for row in self.answers if row.pk <= seen}

    def history(self, key: str) -> list[Answer]:
        """Every answer to a question, newest first."""
        return [row for row in reversed(self.answers) if row.question == key]

    @cached_property
    def roles(self) -> tuple[Told, ...]:
        """Every duty bearer of the catalogue, and whether your organisation is one."""
        bearers = dict.fromkeys(name for item in load_requirements().requirements for name in item.duty_bearer)
        labels = {name: name.replace("_", " ").capitalize() for name in bearers}
        labels["gpai_provider"] = "Provider of a general-purpose AI model"
        return tuple(self._told(key, labels[key]) for key in bearers if key in self.conclusions)

    @cached_property
    def triggers(self) -> tuple[Told, ...]:
        """Every condition of the catalogue, and whether it is met."""
        triggers = load_requirements().triggers
        return tuple(
            self._told(key, label) for key, label in triggers.items() if key in self.conclusions and key != "always"
        )

    def _told(self, key: str, label: str) -> Told:
        conclusion = self.conclusions[key]
        return Told(label=label, conclusion=conclusion, questions=self.by_keys(conclusion.questions))

    def by_keys(self, keys: Iterable[str]) -> tuple[Question, ...]:
        """The questions with these keys, in the order in which they are asked."""
        wanted = set(keys)
        return tuple(item for item in load_questions() if item.key in wanted)

    def decided_by(self, asked: Question) -> list[Conclusion]:
        """What the answer to a question decides now, or leaves open; of equal sentences one."""
        found = {
            (item.truth, item.reason): item
            for item in self.conclusions.values()
            if asked.key in item.questions and item.key != "always"
        }
        return list(found.values())


def read_sheet(system: AISystem) -> Sheet:
    """The questionnaire of a system, in one query."""
    rows = Answer.objects.filter(system=system).select_related("author").order_by("pk")
    return Sheet(system=system, answers=tuple(rows))


def find_system(slug: str) -> AISystem:
    """A system without anything that hangs on it.

    Raises:
        NotFoundError: there is none with this slug.
    """
    found = AISystem.objects.filter(slug=slug).first()
    if found is None:
        raise NotFoundError("There is no such system.", remedy="Begin at the list of systems.")
    return found


def find_chapter(sheet: Sheet, key: str) -> ChapterProgress:
    """One chapter. Raises NotFoundError where there is none with this key."""
    found = next((item for item in sheet.chapters if item.key == key), None)
    if found is None:
        raise NotFoundError("There is no such chapter of the questionnaire.", remedy="Choose one of its chapters.")
    return found


def unanswered_sheets() -> list[Sheet]:
    """Questionnaires with open questions, of systems that have a version in use. Two queries, however many."""
    used = ModelVersion.objects.filter(system__kind=SystemKind.SYSTEM).exclude(status__in=NOT_IN_USE)
    systems = list(AISystem.objects.filter(pk__in=used.values("system")).order_by("created_at", "pk"))
    rows: dict[int, list[Answer]] = {system.pk: [] for system in systems}
    for answer in Answer.objects.filter(system__in=rows).order_by("pk"):
        rows[answer.system_id].append(answer)
    sheets = (Sheet(system=system, answers=tuple(rows[system.pk])) for system in systems)
    return [sheet for sheet in sheets if sheet.open]
