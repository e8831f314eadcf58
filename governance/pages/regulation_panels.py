"""What the rules add to the pages of systems and versions, and ask of a person on the home page."""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from core.access import can
from core.kept import kept
from core.models import User
from core.pages.panels import Panel, QueueItem, panel, queue_source
from governance.access import check_may_answer
from governance.pages import shared
from governance.selectors.questionnaire import read_sheet
from governance.selectors.statements import drafts_awaiting
from models_registry.models import AISystem, ModelVersion


@panel("version:requirements", rank=10)
def requirements(user: User, version: ModelVersion) -> Panel:
    """Where the requirements of a version stand. The counts come by themselves, so that the page waits for nothing."""
    links = (("version-requirements", "Requirements"),)
    return Panel(template="governance/_version_requirements.html", context={"version": version}, links=links)


@panel("system", rank=50)
def questions(user: User, system: AISystem) -> Panel:
    """How far the questions about a system are answered."""
    context = {"sheet": kept("sheet", system.pk, make=lambda: read_sheet(system)), "system": system}
    links = (("system-questions", "What applies to it"),)
    return Panel(template="governance/_system_questions.html", context=context, links=links)


@queue_source
def drafts_and_questions(user: User) -> Iterator[QueueItem]:
    """Drafts that wait for a second person, and systems of which nobody has said what they are."""
    for row in drafts_awaiting(user):
        version = row.version
        address = reverse("requirements", args=[version.system.slug, version.pk])
        yield QueueItem(
            title=ngettext("Check %(n)s statement about %(version)s", "Check %(n)s statements about %(version)s", row.n)
            % {"n": row.n, "version": version},
            why="A statement counts when somebody other than its author has accepted it.",
            href=f"{address}?draft=1#list",
            since=row.since,
            tone="working",
            word="To check",
        )
    if can(check_may_answer, user):
        for sheet in shared.questionnaires_to_answer():
            yield QueueItem(
                title=gettext("Answer the questions about %(name)s") % {"name": sheet.name},
                why=gettext(
                    "%(n_answered)s of %(asked)s are answered. What is open keeps it unknown which rules apply."
                )
                % {"n_answered": sheet.n_answered, "asked": sheet.n_asked},
                href=reverse("questionnaire", args=[sheet.slug]),
                since=sheet.since,
                tone="insufficient",
                word="To answer",
            )
