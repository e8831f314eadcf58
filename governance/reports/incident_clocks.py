"""The clocks of an incident: since when each runs, when it ends, and whether its report was sent in time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from governance import rules
from governance.applicability import IncidentFacts, Route, incident_routes
from governance.reports.blocks import Source
from governance.reports.view import View
from governance.reports.wording import day
from governance.rules.incident_register import Known, chosen_breach, chosen_incident, earliest, same_moment
from governance.rules.incidents import stated_incident
from governance.rules.values import moment_of
from governance.standing.judging import Judging, statement_reference

SENT = {
    "AIA-73-2": (("AIA-Art73-2", "reported_at"),),
    "AIA-73-3": (("AIA-Art73-3", "reported_at"), ("AIA-Art73-2", "reported_at")),
    "AIA-73-4": (("AIA-Art73-4", "reported_at"), ("AIA-Art73-2", "reported_at")),
    "MDR-87-3": (("MDR-87", "reported_at"),),
    "MDR-87-4": (("MDR-87", "reported_at"),),
    "MDR-87-5": (("MDR-87", "reported_at"),),
    "GDPR-33": (("GDPR-33", "notified_at"),),
}
"""Deadline -> the fields that tell when its report was sent; the first that is filled counts."""
AWARE = (("AIA-Art73-2", "aware_at"), ("MDR-87", "aware_at"))
"""Where the awareness of the provider stands, who is the manufacturer; the earlier one counts."""
OTHERS = (("AIA-Art26-5", "detected_at"), ("GDPR-33", "aware_at"), ("AIA-Art73-10", "member_state"))


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A route with what is known of it.

    ``late`` is None while nothing was sent and the time is not over, and where there is no time to hold it against.
    """

    route: Route
    aware_at: dt.datetime | None
    sent_at: dt.datetime | None
    late: bool | None


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One incident as accepted statements, answers and the register tell it, its clocks the most urgent first.

    Attributes:
        aware: Every time that is held for the provider's awareness; more than one is a contradiction.
        member_state: As stated; empty where it is not.
        sources: What the times rest on.
    """

    facts: IncidentFacts
    aware: tuple[dt.datetime, ...]
    member_state: str
    clocks: tuple[Clock, ...]
    sources: tuple[Source, ...]


def read_incident(view: View) -> Incident:
    """The incident of a dossier. Statements on requirements that do not apply are read too: they tell what happened."""
    facts = _facts_of(view)
    known = chosen_incident(facts)
    member_state = str(facts.values("AIA-Art73-10").get("member_state") or "")
    told = stated_incident(facts)
    if view.answer("incident") is not True and known is None:
        told = replace(told, kinds=())
    routes = incident_routes(view.dossier["answers"], told, view.catalogue)
    return Incident(
        facts=told,
        aware=_times(facts, known),
        member_state=member_state,
        clocks=tuple(_clock(facts, route, told, view.as_of) for route in routes),
        sources=_sources(facts, view, known),
    )


def _facts_of(view: View) -> rules.Facts:
    judging = Judging(
        dossier=dict(view.dossier),
        evidence=None,
        catalogue=view.catalogue,
        conclusions=view.statuses.conclusions,
        applicability={item.requirement.id: item.applicability for item in view.statuses.items},
        as_of=view.as_of,
    )
    return judging.facts


def _moment(facts: rules.Facts, place: tuple[str, str]) -> dt.datetime | None:
    requirement, name = place
    return moment_of(facts.values(requirement).get(name))


def _times(facts: rules.Facts, known: Known | None) -> tuple[dt.datetime, ...]:
    """Every time of the provider's awareness, by statements and by the register; the same minute counts once."""
    stated = {when for place in AWARE if (when := _moment(facts, place)) is not None}
    kept = known.at("aware_at") if known else None
    if kept is not None and not any(same_moment(when.isoformat(), kept.isoformat()) for when in stated):
        stated.add(kept)
    return tuple(sorted(stated))


def _clock(facts: rules.Facts, route: Route, told: IncidentFacts, now: dt.datetime) -> Clock:
    sent = next((when for place in SENT.get(route.deadline, ()) if (when := _moment(facts, place))), None)
    known = chosen_breach(facts) if route.regime == "GDPR" else chosen_incident(facts)
    sent = sent or moment_of(known.sent(route.deadline) if known else None)
    late = None
    if route.due_at is not None and (sent or now) > route.due_at:
        late = True
    elif route.due_at is not None and sent is not None:
        late = False
    return Clock(route=route, aware_at=_awareness(route, told), sent_at=sent, late=late)


def _awareness(route: Route, told: IncidentFacts) -> dt.datetime | None:
    """From when the clock of a regime runs: of the AI Act from the earlier of provider and deployer (Art. 73(2))."""
    if route.regime == "GDPR":
        return told.controller_aware_at
    if route.regime != "AI Act":
        return told.aware_at
    return earliest(told.aware_at, told.deployer_aware_at)


def _sources(facts: rules.Facts, view: View, known: Known | None) -> tuple[Source, ...]:
    found: dict[Source, None] = {}
    for requirement, name in (*AWARE, *OTHERS):
        row: Mapping[str, Any] | None = facts.accepted.get(requirement)
        if row and row["fields"].get(name):
            found[view.reference_source(statement_reference(row))] = None
    for held in (known, chosen_breach(facts)):
        if held is not None:
            found[view.reference_source(held.reference)] = None
    return tuple(found)


def local(when: dt.datetime | None, zone: dt.tzinfo | None) -> str:
    """A point in time in a zone: ``22 Nov 2026 23:59 CET (Europe/Berlin)``; in its own zone where none is given."""
    if when is None:
        return "—"
    there = when.astimezone(zone) if zone else when
    told = {"day": day(there.date()), "time": f"{there:%H:%M}", "name": there.tzname() or f"{there:%z}"}
    text = _("%(day)s %(time)s %(name)s") % told
    return f"{text} ({zone})" if zone else text
