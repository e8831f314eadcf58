"""What runs by itself about incidents: clocks are recounted when answers change, and escalated before they run out.

Each step of a clock is taken once: it is written by a conditional update in the transaction that tells people of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from django.db import transaction
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone

from core.access import people_with
from core.models import Notification, Role, Topic, User
from core.notifications import notify
from governance.models import Answer, Incident, IncidentClock, IncidentEvent
from governance.requirements import load_requirements
from governance.services.incident_clocks import in_ledger, record, write_event
from governance.services.incidents import owner_to_tell, recount_after_answers
from governance.standing.incident_clocks import (
    DAY,
    HALF,
    HOURS,
    OVER,
    STEPS,
    is_short,
    left_words,
    moment_words,
    step_moments,
    steps_reached,
)

LEADS = (Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD)
PRIVACY = "GDPR"
OVERLAP = dt.timedelta(minutes=10)
"""Answers this much older are looked at again: they may have been written before and committed after the count."""


def escalate_clocks() -> int:
    """Take every step of escalation whose moment has come; returns how many clocks were escalated."""
    now = timezone.now()
    running = IncidentClock.objects.filter(superseded_at=None, met_at=None, delay_reason="")
    rows = running.exclude(due_at=None).exclude(started_at=None).exclude(incident__status=Incident.Status.CLOSED)
    return sum(escalate(clock, now=now) for clock in rows if _steps(clock, now))


def _steps(clock: IncidentClock, now: dt.datetime) -> tuple[str, ...]:
    """The steps of a clock that have come and were not taken. Asks the database nothing."""
    if clock.started_at is None or clock.due_at is None:
        return ()
    deadline = load_requirements().deadlines[clock.deadline]
    moments = step_moments(started_at=clock.started_at, due_at=clock.due_at, short=is_short(deadline))
    return steps_reached(moments, clock.escalated, now)


@transaction.atomic
def escalate(clock: IncidentClock, *, now: dt.datetime) -> bool:
    """Take the steps of one clock that have come. False where there are none, or somebody else took them just now."""
    steps = _steps(clock, now)
    if not steps or clock.due_at is None:
        return False
    incident = (
        Incident.objects.select_for_update(of=("self",), no_key=True)
        .select_related("system", "owner__merged_into")
        .get(pk=clock.incident_id)
    )
    running = IncidentClock.objects.filter(pk=clock.pk, superseded_at=None, met_at=None, delay_reason="")
    if not running.filter(escalated=clock.escalated).update(escalated=[*clock.escalated, *steps]):
        return False
    last = steps[-1]
    told = _tell(incident, clock, last, due_at=clock.due_at, now=now)
    words = f"{clock.regime} ({clock.deadline}): {STEPS[last]}. {told} people were told."
    facts = {"deadline": clock.deadline, "steps": list(steps)}
    write_event(incident, IncidentEvent.Kind.ESCALATED, words, facts, by=None)
    record(incident, "incident.escalated", facts | {"clock": in_ledger(clock), "told": told}, by=None)
    return True


def _tell(incident: Incident, clock: IncidentClock, step: str, *, due_at: dt.datetime, now: dt.datetime) -> int:
    due = moment_words(due_at, incident.zone)
    text = f"The report under {clock.regime} ({clock.deadline}) is due {due}: {left_words(due_at, now)}."
    if clock.owed == IncidentClock.Owed.UNKNOWN:
        text += f" {clock.reason} Answer the questions about {incident.system.name}: until then the clock runs."
    href = reverse("incident", args=[incident.pk])
    return notify(
        to=audience(incident, clock, step),
        topic=Topic.INCIDENTS,
        title=f"Incident {incident.number}, {clock.regime}: {STEPS[step]}",
        text=text,
        href=href,
        key=f"incident-clock:{clock.pk}:{step}",
        urgency=Notification.Urgency.URGENT if step in (OVER, HOURS, DAY) else Notification.Urgency.ACTION,
    )


def audience(incident: Incident, clock: IncidentClock, step: str) -> list[User]:
    """Who is told at a step: the owner at half of the time, then who answers for incidents, at last administrators.

    An incident without an owner who can be reached goes to chairs from the first step on.
    """
    owner = owner_to_tell(incident)
    roles: list[Role] = []
    if step == HALF and owner is None:
        roles = [Role.COMMITTEE_CHAIR]
    if step != HALF:
        roles = [*LEADS]
        if clock.regime == PRIVACY:
            roles.append(Role.DPO)
        if step == OVER:
            roles.append(Role.ADMINISTRATOR)
    people: dict[int, User] = {user.pk: user for user in people_with(*roles)} if roles else {}
    if owner is not None:
        people[owner.pk] = owner
    return list(people.values())


def recount_incidents() -> int:
    """Recount the clocks of open incidents whose system was answered about since; returns how many changed."""
    rows = list(Incident.objects.exclude(status=Incident.Status.CLOSED).select_related("system"))
    if not rows:
        return 0
    newest = _newest_answers(row.system_id for row in rows)
    counted = _last_counts(rows)
    changed = 0
    for row in rows:
        answered, last = newest.get(row.system_id), counted.get(row.pk)
        if answered is not None and (last is None or answered > last - OVERLAP):
            changed += recount_after_answers(row)
    return changed


def _newest_answers(systems: Iterable[int]) -> Mapping[int, dt.datetime]:
    told = Answer.objects.filter(system__in=set(systems)).values("system").annotate(at=Max("answered_at"))
    return {row["system"]: row["at"] for row in told}


def _last_counts(incidents: Iterable[Incident]) -> Mapping[int, dt.datetime]:
    """When the clocks of each incident were last made: the youngest event that counted them."""
    counting = (IncidentEvent.Kind.RECORDED, IncidentEvent.Kind.FACTS)
    events = IncidentEvent.objects.filter(incident__in=[row.pk for row in incidents], kind__in=counting)
    return {row["incident"]: row["at"] for row in events.values("incident").annotate(at=Max("at"))}
