"""What nobody reads is taken to somebody else: first to the committee chair, then to the administrators.

A notification says that something runs out or waits. If it is about a clock, a condition or a suspension, and stays
unread while its matter is open, somebody else has to know. Each step is made once, and the ledger tells of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core import ledger
from core.access import people_with
from core.models import Notification, Role, User
from core.notifications import MOST_TITLE, matter_of, notify
from evaluation.models import Alert
from governance.models import Condition, Incident, IncidentClock
from governance.selectors.deployments import waiting_for_site
from models_registry.models import Deployment, ModelVersion, VersionStatus

Urgency = Notification.Urgency
PERIODS = {Urgency.ACTION: timedelta(hours=24), Urgency.URGENT: timedelta(hours=4)}
STEPS = (Role.COMMITTEE_CHAIR, Role.ADMINISTRATOR)
ESCALATED = "escalated"
ACTOR = "system"


def _open_conditions() -> QuerySet[Any]:
    waiting = [Condition.Status.OPEN, Condition.Status.CLAIMED, Condition.Status.LAPSED]
    return Condition.objects.filter(status__in=waiting)


def _open_clocks() -> QuerySet[Any]:
    return IncidentClock.objects.filter(met_at=None, superseded_at=None, delay_reason="")


def _open_incidents() -> QuerySet[Any]:
    return Incident.objects.exclude(status=Incident.Status.CLOSED)


def _suspended_deployments() -> QuerySet[Any]:
    return Deployment.objects.filter(status=Deployment.Status.SUSPENDED)


def _unacknowledged_alerts() -> QuerySet[Any]:
    return Alert.objects.filter(status=Alert.Status.OPEN)


def _suspended_versions() -> QuerySet[Any]:
    return ModelVersion.objects.filter(status=VersionStatus.SUSPENDED)


@dataclass(frozen=True, kw_only=True)
class Matter:
    """A kind of thing that notifications are about: its name in the ledger, and those of it that still wait."""

    subject: str
    waiting: Callable[[], QuerySet[Any]]

    def open_among(self, pks: Collection[int]) -> set[int]:
        """Those of these keys whose matter still waits: one query, however many they are."""
        return set(self.waiting().filter(pk__in=pks).values_list("pk", flat=True))


MATTERS = {
    "condition": Matter(subject="Condition", waiting=_open_conditions),
    "incident-clock": Matter(subject="IncidentClock", waiting=_open_clocks),
    "incident": Matter(subject="Incident", waiting=_open_incidents),
    "deployment": Matter(subject="Deployment", waiting=_suspended_deployments),
    "unconfirmed": Matter(subject="Deployment", waiting=waiting_for_site),
    # An alert has an escalation of its own (evaluation.monitoring.escalating); this is of what that told.
    "alert-escalated": Matter(subject="Alert", waiting=_unacknowledged_alerts),
    "version": Matter(subject="ModelVersion", waiting=_suspended_versions),
}
"""First part of a notification's key -> what it is about. Other kinds are not escalated."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event that somebody has not read: its notifications that are unread, of which ``first`` is the oldest."""

    kind: str
    pk: int
    key: str
    first: Notification
    unread_by: tuple[User, ...]

    @property
    def period(self) -> timedelta:
        return PERIODS[Urgency(self.first.urgency)]

    def step_key(self, role: Role) -> str:
        """The key of one step: it is of the same matter, so that it is resolved together with it."""
        event = hashlib.sha256(self.key.encode()).hexdigest()[:16]
        return f"{self.kind}:{self.pk}:{ESCALATED}:{role.value}:{event}"


def escalate_unread(now: datetime | None = None) -> int:
    """Take what has stayed unread too long one step further. Returns how many steps were made."""
    now = now or timezone.now()
    events = _of_open_matters(list(_overdue(now)))
    made = _steps_made(events)
    return sum(_escalate(event, made, now) for event in events)


def _of_open_matters(events: list[Event]) -> list[Event]:
    """Those whose matter still waits. A closed one may stay unread: it is nobody's task any more."""
    asked: dict[str, set[int]] = {}
    for event in events:
        asked.setdefault(event.kind, set()).add(event.pk)
    found = {kind: MATTERS[kind].open_among(pks) for kind, pks in asked.items()}
    return [event for event in events if event.pk in found[event.kind]]


def _steps_made(events: list[Event]) -> dict[str, list[Notification]]:
    """By the key of each step what was told with it."""
    keys = {event.step_key(role) for event in events for role in STEPS}
    made: dict[str, list[Notification]] = {}
    for row in Notification.objects.filter(key__in=keys) if keys else ():
        made.setdefault(row.key, []).append(row)
    return made


def _overdue(now: datetime) -> Iterator[Event]:
    """Events of matters that somebody has left unread for longer than the period of their urgency."""
    late = Q()
    for urgency, period in PERIODS.items():
        late |= Q(urgency=urgency, created_at__lte=now - period)
    kinds = Q()
    for kind in MATTERS:
        kinds |= Q(key__startswith=f"{kind}:")
    rows = Notification.objects.filter(late, kinds, read_at=None).exclude(key__contains=f":{ESCALATED}:")
    by_key: dict[str, list[Notification]] = {}
    for row in rows.filter(recipient__is_active=True).select_related("recipient").order_by("created_at", "pk"):
        by_key.setdefault(row.key, []).append(row)
    for key, unread in by_key.items():
        matter = matter_of(key)
        if matter is not None and matter[0] in MATTERS:
            kind, pk = matter
            people = tuple(row.recipient for row in unread)
            yield Event(kind=kind, pk=pk, key=key, first=unread[0], unread_by=people)


def _escalate(event: Event, made: Mapping[str, list[Notification]], now: datetime) -> bool:
    """Make the next step of an event, if its time has come."""
    due = event.first.created_at + event.period
    for role in STEPS:
        told = made.get(event.step_key(role))
        if told:
            if any(row.read_at is not None for row in told):
                return False
            due = min(row.created_at for row in told) + event.period
            continue
        if now < due:
            return False
        if _make_step(event, role):
            return True
        # Nobody holds the role: the next one is told a period later than this one would have been.
        due += event.period
    return False


@transaction.atomic
def _make_step(event: Event, role: Role) -> bool:
    """Tell everyone with the role; False if nobody has it, or another worker has made this step."""
    names = ", ".join(str(person) for person in event.unread_by)
    hours = int(event.period.total_seconds() // 3600)
    told = people_with(role)
    number = notify(
        to=told,
        topic=event.first.topic,  # type: ignore[arg-type]
        title=f"Not read: {event.first.title}"[:MOST_TITLE],
        text=f"{names} did not read this within {hours} hours, and it still waits.\n{event.first.text}".strip(),
        href=event.first.href,
        key=event.step_key(role),
        urgency=Urgency.URGENT,
    )
    if not number:
        return False
    ledger.record(
        actor=ACTOR,
        act="escalation.made",
        subject=(MATTERS[event.kind].subject, event.pk),
        payload={
            "event": event.key,
            "step": role.value,
            "told": [person.username for person in told],
            "unread_by": [person.username for person in event.unread_by],
            "told_at": event.first.created_at.isoformat(),
        },
    )
    return True
