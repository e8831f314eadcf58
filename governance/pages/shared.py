"""What the pages of several people show alike: worked out once for all of them, until somebody acts (``core.kept``)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core.kept import kept
from core.models import User
from evaluation.selectors import newest_by_protocol, requested_runs
from governance.models import Review
from governance.selectors import review_room
from governance.selectors.gates_now import GatesNow, gates_now
from governance.selectors.questionnaire import unanswered_sheets
from models_registry.models import VersionStatus


@dataclass(frozen=True, kw_only=True)
class ToReview:
    """A finished audit that no review rests on, in the words of its line."""

    run: int
    version: str
    protocol: str
    outcome: str
    requested_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ToAnswer:
    """A questionnaire with open questions."""

    name: str
    slug: str
    since: datetime
    n_answered: int
    n_asked: int


def open_reviews() -> list[review_room.OpenReview]:
    return kept("open_reviews", make=review_room.open_reviews)


def waited_for() -> dict[int, tuple[User, ...]]:
    """Whom each open review waits for, by its key."""
    return kept("waited_for", make=lambda: review_room.waiting_for(open_reviews()))


def gates() -> GatesNow:
    return kept("gates_now", make=gates_now)


def audits_to_review() -> list[ToReview]:
    """The newest audit of each version in audit by each protocol, where no review rests on it."""
    return kept("audits_to_review", make=_audits_to_review)


def _audits_to_review() -> list[ToReview]:
    undecided = Review.objects.exclude(status=Review.Status.WITHDRAWN)
    done = requested_runs().filter(newest_by_protocol(), version__status=VersionStatus.IN_AUDIT)
    shown = done.exclude(pk__in=undecided.values("run")).values_list(
        "pk", "version__system__name", "version__label", "protocol__name", "outcome", "requested_at", "finished_at"
    )
    return [
        ToReview(
            run=pk, version=f"{system} {label}", protocol=name, outcome=outcome, requested_at=asked, finished_at=end
        )
        for pk, system, label, name, outcome, asked, end in shown
    ]


def questionnaires_to_answer() -> list[ToAnswer]:
    return kept("questionnaires", make=_questionnaires)


def _questionnaires() -> list[ToAnswer]:
    return [
        ToAnswer(
            name=sheet.system.name,
            slug=sheet.system.slug,
            since=sheet.system.created_at,
            n_answered=sheet.n_answered,
            n_asked=len(sheet.asked),
        )
        for sheet in unanswered_sheets()
    ]
