"""Requirements of a version as people look at them: judged once, then filtered, counted and laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from django.utils.translation import get_language

from core.errors import NotFoundError
from core.models import Role, User
from governance.dossier import dossier_for_page
from governance.models import Statement
from governance.questions import Question, load_questions
from governance.reports.wording import dated
from governance.selectors.portal import REGULATIONS, STATES
from governance.standing.judgements import Judgement, State
from governance.statuses import Readiness, Statuses, judge
from models_registry.models import ModelVersion
from models_registry.selectors import get_version

IN_FORCE = {"now": "in force", "later": "not yet in force", "depends": "in force by one of two readings"}
LONGEST_WHY = 220
UNSTATED = "facts that nobody has stated: "
"""How a judgement begins to name empty fields; in a narrow column the names alone say it."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A version with everything that is known of it and the state of each requirement."""

    version: ModelVersion
    dossier: dict[str, Any]
    statuses: Statuses
    people: Mapping[str, str]

    def owner(self, item: Judgement) -> str:
        """Who can mend it, in words: a person's name or a role."""
        return self.people.get(item.owner, _role_label(item.owner))

    @property
    def unanswered(self) -> bool:
        """Whether nobody has answered anything about the system."""
        return not self.dossier["answers"]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a reader wants to see; an empty text is everything."""

    state: str = ""
    regulation: str = ""
    report: str = ""
    owner: str = ""
    binding: bool = False
    draft: bool = False
    q: str = ""

    @property
    def any(self) -> bool:
        return bool(self.state or self.regulation or self.report or self.owner or self.binding or self.draft or self.q)

    def keeps(self, item: Judgement) -> bool:
        asked = item.requirement
        statement = item.statement or {}
        return (
            (not self.state or item.state == self.state)
            and (not self.regulation or asked.regulation == self.regulation)
            and (not self.report or self.report in (asked.report, *asked.also_feeds))
            and (not self.owner or item.owner == self.owner)
            and (not self.binding or asked.status == "binding")
            and (not self.draft or statement.get("status") == Statement.Status.DRAFT)
            and self._speaks_of(item)
        )

    def _speaks_of(self, item: Judgement) -> bool:
        asked = item.requirement
        text = " ".join((asked.id, asked.article, asked.title, asked.summary)).casefold()
        return all(word in text for word in self.q.casefold().split())


@dataclass(frozen=True, kw_only=True)
class Line:
    """One requirement in the matrix."""

    item: Judgement
    word: str
    regulation: str
    why: str
    more: int
    owner: str
    dates: tuple[date, ...]
    in_force: str
    draft: bool


@dataclass(frozen=True, kw_only=True)
class ReportLine:
    """A report with its readiness and how many binding requirements it still waits for."""

    key: str
    title: str
    readiness: Readiness
    waiting: int


def judge_version(slug: str, pk: int) -> Judged:
    """One version, gathered and judged once.

    Raises:
        NotFoundError: there is no such version of this system.
    """
    version = get_version(slug, pk)
    dossier = dossier_for_page(version)
    statuses = judge(dossier, language=language_of_requirements())
    names = {item.owner for item in statuses.items} - set(Role.values)
    names |= {answer["author"] for answer in dossier["answers"].values()}
    people = {user.username: str(user) for user in User.objects.filter(username__in=names)}
    return Judged(version=version, dossier=dossier, statuses=statuses, people=people)


def language_of_requirements() -> str:
    """The language of the page, where the catalogue of requirements has it."""
    return "de" if (get_language() or "").startswith("de") else "en"


def find_item(judged: Judged, requirement: str) -> Judgement:
    """The judgement of one requirement. Raises NotFoundError where the catalogue has none of this name."""
    found = next((item for item in judged.statuses.items if item.requirement.id == requirement), None)
    if found is None:
        raise NotFoundError("The catalogue has no such requirement.", remedy="Begin at the list of requirements.")
    return found


def lines(judged: Judged, filters: Filters) -> list[Line]:
    """The requirements that the filters keep, in the order of the catalogue."""
    return [line_of(judged, item) for item in judged.statuses.items if filters.keeps(item)]


def line_of(judged: Judged, item: Judgement) -> Line:
    """One requirement as the matrix shows it."""
    found = reasons(item)
    return Line(
        item=item,
        word=STATES[item.state],
        regulation=short_regulation(item.requirement.regulation),
        why=_short(found[0]) if found else "",
        more=max(0, len(found) - 1),
        owner=judged.owner(item),
        dates=dates_of(item),
        in_force=IN_FORCE[item.applicability.in_force],
        draft=bool(item.statement) and (item.statement or {})["status"] == Statement.Status.DRAFT,
    )


def reasons(item: Judgement) -> tuple[str, ...]:
    """Why a requirement is in its state, what weighs most first."""
    if item.state in (State.NOT_APPLICABLE, State.UNKNOWN):
        return (sentence(item.reason),)
    if item.state is State.COMPLETE:
        return tuple(f"Held: {dated(text)}" for text in item.held)
    found = [*map(sentence, item.contradicted), *map(sentence, item.stale)]
    return (*found, *(f"Lacking: {dated(text.removeprefix(UNSTATED))}" for text in item.lacking))


def sentence(text: str) -> str:
    """A part of a sentence as one of its own."""
    text = dated(text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "…")) else ".")


def _short(text: str) -> str:
    if len(text) <= LONGEST_WHY:
        return text
    return text[:LONGEST_WHY].rsplit(" ", 1)[0].rstrip(",;: ") + " …"


def dates_of(item: Judgement) -> tuple[date, ...]:
    """Every reading of the day from which a requirement applies."""
    entry = item.requirement.applies_from
    return item.applicability.dates or tuple(day for day in (entry.date, entry.alternative) if day)


def short_regulation(key: str) -> str:
    """The name of a rule in two words: ``AI Act``."""
    return REGULATIONS.get(key, key).partition(",")[0]


def report_lines(statuses: Statuses) -> list[ReportLine]:
    """Every report of the catalogue, whether it is ready, and why it is not."""
    return [
        ReportLine(
            key=key,
            title=outline.title,
            readiness=statuses.ready(key),
            waiting=_waiting(statuses.for_report(key)),
        )
        for key, outline in statuses.catalogue.outlines.items()
    ]


def _waiting(items: Iterable[Judgement]) -> int:
    done = (State.COMPLETE, State.NOT_APPLICABLE)
    return len([item for item in items if item.requirement.status == "binding" and item.state not in done])


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What can be chosen in the filters: value and word, as far as the version has any of it."""

    judged: Judged

    @cached_property
    def regulations(self) -> dict[str, str]:
        items = self.judged.statuses.items
        return {key: short_regulation(key) for key in dict.fromkeys(item.requirement.regulation for item in items)}

    @property
    def states(self) -> dict[str, str]:
        return STATES

    @cached_property
    def reports(self) -> dict[str, str]:
        return {key: outline.title for key, outline in self.judged.statuses.catalogue.outlines.items()}

    @cached_property
    def owners(self) -> dict[str, str]:
        found = {item.owner: self.judged.owner(item) for item in self.judged.statuses.items}
        return dict(sorted(found.items(), key=lambda pair: pair[1]))


def questions_of(item: Judgement) -> tuple[Question, ...]:
    """The questions whose answers decide whether a requirement applies, or that are open."""
    wanted = set(item.applicability.questions)
    return tuple(question for question in load_questions() if question.key in wanted)


def _role_label(key: str) -> str:
    return str(Role(key).label) if key in Role.values else key
