"""Where an incident is to be reported, and until when: the AI Act, the vigilance of devices, the GDPR.

Of a device the AI Act wants only infringements of fundamental rights reported (Art. 73(10)); harm to health goes
through MDR Art. 87 or IVDR Art. 82. Days are calendar days of the place, Sundays and holidays included: the day of
awareness is not counted, and the last day ends at its last second (Regulation 1182/71 Art. 3(1)). An extension to the
next working day is never assumed. Hours run exactly. Pure: the clock is not read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from core.errors import AuscultError
from governance.catalogue import Catalogue, Deadline
from governance.conditions.conclusions import KINDS, RULES
from governance.conditions.reading import Reading
from governance.conditions.truth import Term, Truth, all_of, any_of, negate

LAST_SECOND = dt.time(23, 59, 59)
HEALTH, INFRASTRUCTURE, RIGHTS, _PROPERTY = KINDS
UNLIKELY, RISK, HIGH_RISK = "unlikely", "risk", "high"
VIGILANCE = {"mdr": ("MDR-87-3", "MDR-87-5", "MDR-87-4"), "ivdr": ("IVDR-82-3", "IVDR-82-5", "IVDR-82-4")}
"""Deadlines for a serious incident, for a death or unanticipated deterioration, and for a public health threat."""


@dataclass(frozen=True, kw_only=True)
class IncidentFacts:
    """What is known of one incident. Every time carries its zone; the calendar is that of ``zone``.

    Attributes:
        aware_at: When the provider, or the manufacturer, became aware. None: not yet.
        deployer_aware_at: When the deployer did; the earlier of the two starts the clock of the AI Act.
        controller_aware_at: When the controller became aware of a breach.
        kinds: Limbs of Art. 3(49), as the question ``incident_kinds`` names them.
        unanticipated_deterioration: An unanticipated serious deterioration of somebody's state of health.
        breach_risk: ``unlikely``, ``risk`` or ``high``, to the rights and freedoms of people.
        zone: Where days begin and end; that of each time itself when None.
    """

    kinds: tuple[str, ...] = ()
    aware_at: dt.datetime | None = None
    deployer_aware_at: dt.datetime | None = None
    controller_aware_at: dt.datetime | None = None
    death: bool = False
    unanticipated_deterioration: bool = False
    public_health_threat: bool = False
    widespread: bool = False
    breach: bool = False
    breach_risk: str = RISK
    zone: dt.tzinfo | None = None

    def __post_init__(self) -> None:
        unknown = set(self.kinds) - set(KINDS)
        if unknown or self.breach_risk not in (UNLIKELY, RISK, HIGH_RISK):
            wrong = ", ".join(sorted(unknown)) or self.breach_risk
            raise AuscultError(f"An incident cannot be of the kind '{wrong}'.", remedy=f"Use: {', '.join(KINDS)}.")
        for moment in (self.aware_at, self.deployer_aware_at, self.controller_aware_at):
            if moment is not None and moment.tzinfo is None:
                raise AuscultError("The time of awareness has no time zone.", remedy="Give the time with its zone.")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One report that is owed, or may be.

    Attributes:
        regime: ``AI Act``, ``MDR``, ``IVDR`` or ``GDPR``.
        deadline: Identifier of the catalogue's deadline.
        due_at: The last moment; None where no awareness is recorded or the limit is no number of days or hours.
        owed: ``YES``, or ``UNKNOWN`` where an answer is missing that would decide it; the clock is told all the same.
        reason: Full sentences.
        questions: The deciding questions, or the unanswered ones.
    """

    regime: str
    deadline: str
    due_at: dt.datetime | None
    owed: Truth
    reason: str
    questions: tuple[str, ...]


def incident_routes(
    answers: Mapping[str, Mapping[str, Any]], incident: IncidentFacts, catalogue: Catalogue
) -> tuple[Route, ...]:
    """Every report that this incident calls for, the most urgent first; what is decided with *no* is left out.

    Raises:
        AuscultError: the catalogue lacks a deadline.
    """
    reading = Reading(answers, RULES)
    routes = [
        *_ai_act_routes(reading, incident, catalogue),
        *_vigilance_routes(reading, incident, catalogue),
        *_breach_routes(reading, incident, catalogue),
    ]
    return tuple(sorted(routes, key=lambda route: (route.due_at is None, route.due_at or 0, route.deadline)))


def due_at(deadline: Deadline, aware_at: dt.datetime | None, zone: dt.tzinfo | None = None) -> dt.datetime | None:
    """The last moment of a period that runs from awareness.

    Hours are exact, over weekends and changes of the clocks. Days are calendar days in the zone: the day of awareness
    is not counted, and the period ends with the last second of its last day.
    """
    if aware_at is None or deadline.period is None:
        return None
    local = aware_at.astimezone(zone or aware_at.tzinfo)
    if deadline.period.unit == "hour":
        exact = aware_at.astimezone(dt.UTC) + dt.timedelta(hours=deadline.period.length)
        return exact.astimezone(local.tzinfo)
    last_day = local.date() + dt.timedelta(days=deadline.period.length)
    return dt.datetime.combine(last_day, LAST_SECOND, tzinfo=local.tzinfo)


def _ai_act_routes(reading: Reading, incident: IncidentFacts, catalogue: Catalogue) -> Iterator[Route]:
    if not incident.kinds:
        return
    device = reading.of("annex_i_device")
    rights = _given(RIGHTS in incident.kinds)
    owed = all_of(reading.of("hr"), reading.of("provider"), any_of(rights, negate(device)))
    first = _earlier(incident.aware_at, incident.deployer_aware_at)
    urgent = incident.widespread or INFRASTRUCTURE in incident.kinds
    if urgent:
        yield from _route(reading, incident, catalogue, "AIA-73-3", owed, first, why=_narrowing(device))
    if incident.death:
        by_ai_act = all_of(owed, negate(device))
        yield from _route(reading, incident, catalogue, "AIA-73-4", by_ai_act, first, why=_narrowing(device))
    if not urgent and not (incident.death and device.truth is Truth.NO):
        yield from _route(reading, incident, catalogue, "AIA-73-2", owed, first, why=_narrowing(device))


def _narrowing(device: Term) -> str:
    """What Art. 73(10) does to a report under the AI Act."""
    if device.truth is Truth.YES:
        return _("Of a device only the infringement of fundamental rights is reported here (Art. 73(10)).")
    if device.truth is Truth.UNKNOWN:
        return _("If it is a device, only an infringement of fundamental rights is reported here (Art. 73(10)).")
    return ""


def _vigilance_routes(reading: Reading, incident: IncidentFacts, catalogue: Catalogue) -> Iterator[Route]:
    if HEALTH not in incident.kinds:
        return
    for law, (general, death, threat) in VIGILANCE.items():
        owed = all_of(reading.fact("device_law", law), reading.of("manufacturer"))
        why = _("Harm by a device goes through its vigilance, not through Art. 73 of the AI Act (Art. 73(10)).")
        if incident.public_health_threat:
            name = threat
        elif incident.death or incident.unanticipated_deterioration:
            name = death
        else:
            name = general
        yield from _route(reading, incident, catalogue, name, owed, incident.aware_at, why=why)


def _breach_routes(reading: Reading, incident: IncidentFacts, catalogue: Catalogue) -> Iterator[Route]:
    if not incident.breach or incident.breach_risk == UNLIKELY:
        return
    owed = all_of(reading.of("personal_data"), reading.of("controller"))
    aware = incident.controller_aware_at
    why = _("A breach is notified to the supervisory authority unless a risk to people is unlikely.")
    yield from _route(reading, incident, catalogue, "GDPR-33", owed, aware, why=why)
    if incident.breach_risk == HIGH_RISK:
        told = _("The people concerned are told of a breach with a high risk to them.")
        yield from _route(reading, incident, catalogue, "GDPR-34", owed, aware, why=told)


def _route(
    reading: Reading,
    incident: IncidentFacts,
    catalogue: Catalogue,
    name: str,
    owed: Term,
    aware_at: dt.datetime | None,
    *,
    why: str,
) -> Iterator[Route]:
    """The route, unless it is decided that this report is not owed."""
    if owed.truth is Truth.NO:
        return
    if name not in catalogue.deadlines:
        raise AuscultError(f"The catalogue has no deadline '{name}'.", remedy="Use the catalogue of this release.")
    deadline = catalogue.deadlines[name]
    yield Route(
        regime=deadline.regime,
        deadline=name,
        due_at=due_at(deadline, aware_at, incident.zone),
        owed=owed.truth,
        reason=" ".join(part for part in (_limit(deadline), why, _open_questions(reading, owed)) if part),
        questions=owed.questions,
    )


def _limit(deadline: Deadline) -> str:
    return _("%(source)s: %(trigger)s, %(limit)s from %(start)s.") % {
        "source": deadline.source,
        "trigger": deadline.trigger,
        "limit": deadline.limit,
        "start": deadline.clock_start,
    }


def _open_questions(reading: Reading, owed: Term) -> str:
    if owed.known:
        return ""
    labels = ", ".join(_("“%(label)s”") % {"label": reading.questions[key].label} for key in owed.questions)
    return _("Whether it is owed is not known: there is no answer to %(questions)s.") % {"questions": labels}


def _given(holds: bool) -> Term:
    """A fact of the incident itself, which no question decides."""
    return Term(truth=Truth.YES if holds else Truth.NO)


def _earlier(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)
