"""Incidents and their clocks as pages, commands and reports read them. Nothing here writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, F, IntegerField, Min, Prefetch, Q, QuerySet, Value, When
from django.utils import timezone

from core.errors import NotFoundError
from core.models import User
from governance.access_incidents import REPORTERS
from governance.applicability import incident_routes
from governance.conditions.truth import Truth
from governance.incident_routes import IncidentFacts
from governance.models import Incident, IncidentClock, IncidentEvent
from governance.questions import Question, load_questions
from governance.requirements import load_requirements
from governance.selectors.answers import newest_answers
from governance.standing.incident_clocks import (
    SETTLED,
    WORDS,
    ClockFacts,
    NotOwed,
    Standing,
    lacks_reason,
    left_words,
    moment_words,
    not_owed,
    standing,
    timed,
)
from models_registry.models import AISystem

UNSETTLED = Q(clocks__superseded_at=None, clocks__met_at=None, clocks__delay_reason="")
STATES = ("unclosed", "open", "investigating", "closed", "all")


@dataclass(frozen=True, kw_only=True)
class ClockLine:
    """A clock with where it stands at one moment, in words.

    Attributes:
        due_there: The last moment in the zone of the incident; ``due_here`` in that of the reader, empty if the same.
        left: ``3 days 4 h left``; empty where nothing runs.
        todo: What to do now.
    """

    clock: IncidentClock
    standing: Standing
    word: str
    source: str
    trigger: str
    limit: str
    due_there: str
    due_here: str
    left: str
    todo: str
    lacks_reason: bool

    @property
    def overdue(self) -> bool:
        return self.standing is Standing.RUN_OUT

    @property
    def settled(self) -> bool:
        return self.standing in SETTLED

    @property
    def unknown(self) -> bool:
        return self.clock.owed == IncidentClock.Owed.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class IncidentLine:
    """An incident in a list, with the clock that ends first of those that are not settled."""

    incident: Incident
    urgent: ClockLine | None
    n_running: int
    n_clocks: int


@dataclass(frozen=True, kw_only=True)
class IncidentDetail:
    """One incident: the clocks that count, those that were replaced, why other regimes want nothing, what is open."""

    incident: Incident
    clocks: tuple[ClockLine, ...]
    replaced: tuple[ClockLine, ...]
    not_owed: tuple[NotOwed, ...]
    questions: tuple[Question, ...]

    @property
    def overdue(self) -> tuple[ClockLine, ...]:
        return tuple(line for line in self.clocks if line.overdue)

    @property
    def late_at_intake(self) -> tuple[ClockLine, ...]:
        return tuple(line for line in self.clocks if line.clock.late_at_intake)


def answers_for(system: AISystem) -> dict[str, dict[str, Any]]:
    """The newest answers about a system in the form in which rules read them."""
    rows = newest_answers(system)
    return {key: {"value": row.value} for key, row in rows.items() if row.value is not None}


def facts_of(incident: Incident) -> IncidentFacts:
    """What decides the clocks of an incident."""
    return IncidentFacts(
        kinds=tuple(incident.kinds),
        aware_at=incident.aware_at,
        deployer_aware_at=incident.deployer_aware_at,
        controller_aware_at=incident.controller_aware_at,
        death=incident.death,
        unanticipated_deterioration=incident.unanticipated_deterioration,
        public_health_threat=incident.public_health_threat,
        widespread=incident.widespread,
        breach=incident.breach,
        breach_risk=incident.breach_risk,
        zone=ZoneInfo(incident.zone),
    )


def zone_of_reader(user: User | None) -> str:
    """The zone that a person reads times in: their own, else that of the installation."""
    return (user.time_zone if user is not None else "") or settings.TIME_ZONE


def clock_line(clock: IncidentClock, *, zone: str, reader: str, now: dt.datetime) -> ClockLine:
    """One clock at a moment. ``zone`` is that of the incident, ``reader`` that of who looks."""
    catalogue = load_requirements()
    deadline = catalogue.deadlines[clock.deadline]
    facts = ClockFacts(
        deadline=clock.deadline,
        started_at=clock.started_at,
        due_at=clock.due_at,
        met_at=clock.met_at,
        delay_reason=clock.delay_reason,
        superseded=clock.superseded_at is not None,
        timed=timed(catalogue, clock.deadline),
    )
    stands = standing(facts, now)
    runs = stands in (Standing.RUNNING, Standing.RUN_OUT) and clock.due_at is not None
    return ClockLine(
        clock=clock,
        standing=stands,
        word=WORDS[stands],
        source=deadline.source,
        trigger=deadline.trigger,
        limit=deadline.limit,
        due_there=moment_words(clock.due_at, zone),
        due_here=moment_words(clock.due_at, reader) if reader != zone and clock.due_at else "",
        left=left_words(clock.due_at, now) if runs and clock.due_at else "",
        todo=_todo(stands, clock, lacks_reason(facts)),
        lacks_reason=lacks_reason(facts),
    )


def _todo(stands: Standing, clock: IncidentClock, unexplained: bool) -> str:
    if unexplained:
        return "State why it was sent late: GDPR Art. 33(1) asks for the reasons of the delay."
    if stands in SETTLED:
        return ""
    if stands is Standing.NOT_STARTED:
        who = "controller" if clock.regime == "GDPR" else "manufacturer" if clock.regime != "AI Act" else "provider"
        return f"Amend the facts as soon as the {who} is aware of it: the clock runs from then."
    if clock.owed == IncidentClock.Owed.UNKNOWN:
        return "Answer the open questions: they decide whether it is owed. Until then act as if it were."
    if stands is Standing.RUN_OUT:
        return "Send the report now, and say in it why it is late. Then mark it as sent."
    return "Send the report to the authority, then mark it as sent with its reference."


def incidents() -> QuerySet[Incident]:
    """Every incident with its people and its system, the clocks that count, and ``next_due``: the first open end."""
    counted = IncidentClock.objects.filter(superseded_at=None)
    rows = Incident.objects.select_related("system", "version", "owner", "deployment")
    return rows.prefetch_related(Prefetch("clocks", counted, to_attr="counted")).annotate(
        next_due=Min("clocks__due_at", filter=UNSETTLED)
    )


def list_incidents(*, state: str = "unclosed", system: str = "", words: str = "") -> QuerySet[Incident]:
    """Open incidents first; among them the one whose clock ends first, or ended longest ago, on top."""
    rows = in_state(incidents(), state)
    if system:
        rows = rows.filter(system__slug=system)
    if words:
        found = Q(title__icontains=words) | Q(description__icontains=words) | Q(site__icontains=words)
        rows = rows.filter(found | Q(number=int(words))) if words.isdecimal() and len(words) < 9 else rows.filter(found)
    closed = Case(When(status=Incident.Status.CLOSED, then=Value(1)), default=Value(0), output_field=IntegerField())
    return rows.order_by(closed, F("next_due").asc(nulls_last=True), "-number")


def in_state(rows: QuerySet[Incident], state: str) -> QuerySet[Incident]:
    """Incidents in one state, ``unclosed`` for every state but closed; all of them where it is none."""
    if state == "unclosed":
        return rows.exclude(status=Incident.Status.CLOSED)
    return rows.filter(status=state) if state in Incident.Status.values else rows


def incident_lines(
    rows: Iterable[Incident], *, user: User | None, now: dt.datetime | None = None
) -> list[IncidentLine]:
    """Incidents of :func:`list_incidents` as lines of a table. Asks the database nothing."""
    now, reader, lines = now or timezone.now(), zone_of_reader(user), []
    for row in rows:
        told = [clock_line(clock, zone=row.zone, reader=reader, now=now) for clock in row.counted]  # type: ignore[attr-defined]
        open_ones = [line for line in told if not line.settled]
        first = min(open_ones, key=_urgency, default=None) if row.status != Incident.Status.CLOSED else None
        lines.append(IncidentLine(incident=row, urgent=first, n_running=len(open_ones), n_clocks=len(told)))
    return lines


def _urgency(line: ClockLine) -> tuple[bool, float]:
    due = line.clock.due_at
    return (due is None, due.timestamp() if due else 0.0)


def open_incidents(system: AISystem) -> QuerySet[Incident]:
    """Incidents of a system that are not closed, the most urgent first."""
    return list_incidents(system=system.slug)


def running_clocks(
    *, system: AISystem | None = None, user: User | None = None, now: dt.datetime | None = None
) -> list[ClockLine]:
    """Clocks of incidents that are not closed which nothing has settled, the first to end first.

    Args:
        user: Who looks, for the zone.
    """
    now, reader = now or timezone.now(), zone_of_reader(user)
    rows = IncidentClock.objects.filter(superseded_at=None, met_at=None, delay_reason="")
    rows = rows.exclude(incident__status=Incident.Status.CLOSED).select_related("incident__system", "incident__owner")
    if system is not None:
        rows = rows.filter(incident__system=system)
    found = [clock_line(row, zone=row.incident.zone, reader=reader, now=now) for row in rows]
    return sorted(found, key=_urgency)


def get_incident(pk: int) -> Incident:
    """One incident with what its page names. Raises NotFoundError."""
    people = ("owner", "reported_by", "closed_by")
    found = Incident.objects.select_related("system", "version", "deployment__version__system", *people)
    incident = found.filter(pk=pk).first()
    if incident is None:
        raise NotFoundError("There is no such incident.", remedy="Begin at the list of incidents.")
    return incident


def get_clock(pk: int, clock_pk: int) -> IncidentClock:
    """A clock of an incident. Raises NotFoundError."""
    rows = IncidentClock.objects.select_related("incident__system", "incident__owner", "incident__version")
    clock = rows.filter(pk=clock_pk, incident=pk).first()
    if clock is None:
        raise NotFoundError("There is no such clock of this incident.", remedy="Begin at the page of the incident.")
    return clock


def incident_detail(incident: Incident, *, user: User | None, now: dt.datetime | None = None) -> IncidentDetail:
    """Everything that the page of an incident tells of its clocks, by a fixed number of queries."""
    now, reader = now or timezone.now(), zone_of_reader(user)
    rows = IncidentClock.objects.filter(incident=incident).select_related("met_by")
    told = [clock_line(row, zone=incident.zone, reader=reader, now=now) for row in rows]
    current = sorted((line for line in told if line.clock.superseded_at is None), key=_urgency)
    answers, facts = answers_for(incident.system), facts_of(incident)
    regimes = [line.clock.regime for line in current]
    return IncidentDetail(
        incident=incident,
        clocks=tuple(current),
        replaced=tuple(line for line in told if line.clock.superseded_at is not None),
        not_owed=not_owed(answers, facts, regimes),
        questions=_open_questions(answers, facts),
    )


def _open_questions(answers: Mapping[str, Mapping[str, Any]], facts: IncidentFacts) -> tuple[Question, ...]:
    """Unanswered questions that would decide whether a report is owed."""
    routes = incident_routes(answers, facts, load_requirements())
    keys = {key for route in routes if route.owed is Truth.UNKNOWN for key in route.questions}
    return tuple(item for item in load_questions() if item.key in keys)


def history(incident: Incident) -> QuerySet[IncidentEvent]:
    """The history of an incident, newest first."""
    return IncidentEvent.objects.filter(incident=incident).select_related("author").order_by("-pk")


def unowned_incidents() -> QuerySet[Incident]:
    """Incidents that are not closed and that nobody owns."""
    return Incident.objects.filter(owner=None).exclude(status=Incident.Status.CLOSED).select_related("system")


def possible_owners() -> QuerySet[User]:
    """People who can own an incident."""
    rows = User.objects.filter(role_grants__role__in=REPORTERS, is_active=True, merged_into=None)
    return rows.distinct().order_by("first_name", "last_name", "username")


def register(system: AISystem) -> list[dict[str, Any]]:
    """The incidents of a system as plain facts for a dossier, in the order of their numbers."""
    rows = Incident.objects.filter(system=system).select_related("version").order_by("number")
    rows = rows.prefetch_related(
        Prefetch("clocks", IncidentClock.objects.filter(superseded_at=None), to_attr="counted")
    )
    return [
        {
            "id": row.pk,
            "number": row.number,
            "title": row.title,
            "status": row.status,
            "version": row.version.digest if row.version else None,
            "site": row.site,
            "zone": row.zone,
            "kinds": list(row.kinds),
            "death": row.death,
            "unanticipated_deterioration": row.unanticipated_deterioration,
            "public_health_threat": row.public_health_threat,
            "widespread": row.widespread,
            "breach": row.breach,
            "breach_risk": row.breach_risk,
            "affected_persons": row.affected_persons,
            "occurred_at": _iso(row.occurred_at),
            "aware_at": _iso(row.aware_at),
            "deployer_aware_at": _iso(row.deployer_aware_at),
            "controller_aware_at": _iso(row.controller_aware_at),
            "recorded_at": _iso(row.recorded_at),
            "closed_at": _iso(row.closed_at),
            "root_cause": row.root_cause,
            "correction": row.correction,
            "clocks": [_clock_facts(clock) for clock in row.counted],  # type: ignore[attr-defined]
        }
        for row in rows
    ]


def _clock_facts(clock: IncidentClock) -> dict[str, Any]:
    return {
        "regime": clock.regime,
        "deadline": clock.deadline,
        "owed": clock.owed,
        "started_at": _iso(clock.started_at),
        "due_at": _iso(clock.due_at),
        "sent_at": _iso(clock.met_at),
        "late_at_intake": clock.late_at_intake,
        "reference": clock.reference,
        "delay_reason": clock.delay_reason,
    }


def _iso(at: dt.datetime | None) -> str | None:
    return at.astimezone(dt.UTC).isoformat() if at else None
