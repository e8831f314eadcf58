"""Drafts of the serious-incident report, filled from an incident: statements that somebody else still has to accept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from core.errors import ConflictError
from core.models import User
from core.reach import limited, service
from governance.access import check_may_state
from governance.incident_routes import HIGH_RISK, INFRASTRUCTURE
from governance.models import Incident, IncidentClock, IncidentEvent, Statement
from governance.questions import question
from governance.services.incident_clocks import locked, record, write_event
from governance.services.statements import write_statement
from governance.standing.incident_clocks import member_state_of
from models_registry.models import Deployment

AI_ACT = "AI Act"
DRAFTED = (
    "Drafted from incident {number} as it was recorded. Compare every value with what happened before you accept it; "
    "what the record does not tell is left empty."
)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A requirement that no draft was written for, and why."""

    requirement: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class DraftPlan:
    """What would be drafted: fields by requirement; and what would not, with reasons."""

    ready: Mapping[str, Mapping[str, Any]]
    skipped: tuple[Skipped, ...]


@service
def draft_report(*, incident: Incident, by: User) -> list[Statement]:
    """Write the incident into the fields of its report, as drafts. The history tells what was left alone, and why.

    Raises:
        DeniedError: ``by`` may not write statements.
        ConflictError: the incident names no version, or nothing is left to be drafted.
    """
    check_may_state(by)
    incident = locked(incident.pk)
    version = incident.version
    if version is None:
        raise ConflictError(
            "A report is about one version of the system, and the incident names none.",
            remedy="Amend the facts: choose the version.",
        )
    plan = plan_report(incident, by=by)
    if not plan.ready:
        left = " ".join(f"{item.requirement}: {item.reason}" for item in plan.skipped)
        raise ConflictError(
            f"There is nothing to draft. {left}".strip(), remedy="Open the requirements of the version."
        )
    text = DRAFTED.format(number=incident.number)
    written = [
        write_statement(version=version, requirement=key, fields=fields, text=text, generated=True, by=by)
        for key, fields in plan.ready.items()
    ]
    detail = {
        "drafted": [{"requirement": row.requirement, "revision": row.revision} for row in written],
        "skipped": [{"requirement": item.requirement, "reason": item.reason} for item in plan.skipped],
    }
    left = "".join(f"\nLeft alone, {item.requirement}: {item.reason}" for item in plan.skipped)
    words = f"The report was drafted: {', '.join(plan.ready)}. Somebody else accepts each draft.{left}"
    write_event(incident, IncidentEvent.Kind.NOTE, words, detail, by=by)
    record(incident, "incident.drafted", {"statements": [row.pk for row in written]}, by=by)
    return written


@limited
def plan_report(incident: Incident, *, by: User) -> DraftPlan:
    """What :func:`draft_report` would write for this person. It writes nothing."""
    rows = Statement.objects.filter(version=incident.version).select_related("author").order_by("pk")
    newest: dict[str, dict[str, Statement]] = {}
    for row in rows:
        newest.setdefault(row.requirement, {})[row.status] = row
    ready: dict[str, dict[str, Any]] = {}
    skipped = []
    for key, fields in report_fields(incident).items():
        known = {name: value for name, value in fields.items() if value not in (None, "")}
        own = newest.get(key, {})
        draft, accepted = own.get(Statement.Status.DRAFT), own.get(Statement.Status.ACCEPTED)
        stated = accepted.fields if accepted else {}
        if not known:
            skipped.append(Skipped(requirement=key, reason="The incident tells nothing of it yet."))
        elif draft is not None and (draft.author_id != by.pk or not draft.generated):
            skipped.append(Skipped(requirement=key, reason=f"A draft of {draft.author} is open."))
        elif known.items() <= stated.items():
            skipped.append(Skipped(requirement=key, reason="All of it is stated and accepted."))
        else:
            # What people stated beyond the incident stays: the newest accepted statement counts as a whole.
            ready[key] = {**stated, **known}
    return DraftPlan(ready=ready, skipped=tuple(skipped))


def report_fields(incident: Incident) -> dict[str, dict[str, Any]]:
    """The required fields that an incident can fill, by requirement; None for what it does not know.

    Only requirements of a regime that has a clock are filled, and what happened.
    """
    clocks = {row.deadline: row for row in incident.clocks.filter(superseded_at=None)}
    regimes = {row.regime for row in clocks.values()}
    filled = {"AIA-Art3-49": _what_happened(incident)}
    if incident.kinds:
        category = incident.kinds[0] if len(incident.kinds) == 1 else None
        filled["AIA-Art73-10"] = {
            "incident_category": category,
            "member_state": member_state_of(incident.zone) or None,
        }
    if AI_ACT in regimes:
        filled |= _ai_act(incident, clocks)
    if incident.deployer_aware_at is not None:
        place = incident.deployment
        suspended = place.status == Deployment.Status.SUSPENDED if place is not None else None
        filled["AIA-Art26-5"] = {
            "detected_at": _local(incident, incident.deployer_aware_at),
            "use_suspended": suspended,
        }
    if "MDR" in regimes:
        filled["MDR-87"] = _vigilance(incident, clocks)
    if "GDPR" in regimes:
        filled |= _privacy(incident, clocks)
    return filled


def _what_happened(incident: Incident) -> dict[str, Any]:
    kinds = question("incident_kinds")
    harm = "; ".join(kinds.option_text(kind) for kind in incident.kinds)
    return {
        "facts": incident.description,
        "harm_type": harm or None,
        "affected_persons": incident.affected_persons,
        "model_version": incident.version.label if incident.version else None,
        "site": incident.site or None,
    }


def _ai_act(incident: Incident, clocks: Mapping[str, IncidentClock]) -> dict[str, dict[str, Any]]:
    sent = [row.met_at for row in clocks.values() if row.regime == AI_ACT and row.met_at is not None]
    first = _local(incident, min(sent, default=None))
    aware = _local(incident, incident.aware_at)
    return {
        "AIA-Art73-2": {"aware_at": aware, "reported_at": _sent(incident, clocks, "AIA-73-2") or first},
        "AIA-Art73-3": {
            "widespread": incident.widespread,
            "infrastructure": INFRASTRUCTURE in incident.kinds,
            "reported_at": _sent(incident, clocks, "AIA-73-3"),
        },
        "AIA-Art73-4": {"death": incident.death, "reported_at": _sent(incident, clocks, "AIA-73-4")},
        "AIA-Art73-5": {"initial_sent_at": first},
        "AIA-Art73-6": {"root_cause": incident.root_cause},
    }


def _vigilance(incident: Incident, clocks: Mapping[str, IncidentClock]) -> dict[str, Any]:
    if incident.public_health_threat:
        kind, deadline = "public_health_threat", "MDR-87-4"
    elif incident.death or incident.unanticipated_deterioration:
        kind, deadline = "death_or_deterioration", "MDR-87-5"
    else:
        kind, deadline = "serious", "MDR-87-3"
    aware = _local(incident, incident.aware_at)
    return {"aware_at": aware, "type": kind, "reported_at": _sent(incident, clocks, deadline)}


def _privacy(incident: Incident, clocks: Mapping[str, IncidentClock]) -> dict[str, dict[str, Any]]:
    clock = clocks.get("GDPR-33")
    return {
        "GDPR-33": {
            "aware_at": _local(incident, incident.controller_aware_at),
            "notified_at": _sent(incident, clocks, "GDPR-33"),
            "delay_reason": clock.delay_reason if clock is not None and clock.met_at is not None else None,
        },
        "GDPR-34": {"high_risk": incident.breach_risk == HIGH_RISK},
    }


def _sent(incident: Incident, clocks: Mapping[str, IncidentClock], deadline: str) -> str | None:
    clock = clocks.get(deadline)
    return _local(incident, clock.met_at) if clock is not None else None


def _local(incident: Incident, at: dt.datetime | None) -> str | None:
    """A moment as fields of statements hold it: in the zone of the incident, with its offset."""
    return None if at is None else at.astimezone(ZoneInfo(incident.zone)).isoformat()
