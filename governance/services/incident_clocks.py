"""The clocks of an incident as rows: made from facts and answers, replaced when these change, never deleted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone, translation

from core import ledger
from core.digests import sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import User
from core.notifications import resolve
from core.reach import service
from governance.access_incidents import check_may_explain, check_may_keep
from governance.applicability import Route, incident_routes
from governance.models import Incident, IncidentClock, IncidentEvent
from governance.requirements import load_requirements
from governance.selectors.incidents import answers_for, facts_of
from governance.services.incident_intake import check_moment, told
from governance.standing.incident_clocks import NEEDS_REASON, awareness, is_late

MOST_REFERENCE = 200


@dataclass(frozen=True, kw_only=True)
class Recount:
    """What recounting did to the clocks of an incident.

    Attributes:
        made: New clocks. Those among them that take the place of an old one are of a deadline in ``replaced``.
        dropped: Deadlines that are not owed any more.
    """

    made: tuple[IncidentClock, ...] = ()
    replaced: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.made or self.dropped)


def routes_of(incident: Incident, answers: Mapping[str, Mapping[str, Any]]) -> tuple[Route, ...]:
    """Every report that the incident calls for. Reasons are kept, so they are in English whoever asks."""
    with translation.override("en"):
        return incident_routes(answers, facts_of(incident), load_requirements())


def recount_clocks(incident: Incident) -> Recount:
    """Make the clocks of an incident those of its facts and of the newest answers. Call it with the incident locked.

    A clock that changed is superseded by a new one; one that was met stays met, and what was sent is carried over.

    Raises:
        AuscultError: a report would have been sent before the awareness from which its clock runs.
    """
    routes = {route.deadline: route for route in routes_of(incident, answers_for(incident.system))}
    rows = {row.deadline: row for row in incident.clocks.filter(superseded_at=None)}
    changed = {name: row for name, row in rows.items() if name in routes and _differs(incident, row, routes[name])}
    dropped = {name: row for name, row in rows.items() if name not in routes and row.met_at is None}
    gone = [row.pk for row in (*changed.values(), *dropped.values())]
    if gone:
        IncidentClock.objects.filter(pk__in=gone, superseded_at=None).update(superseded_at=timezone.now())
        silence(gone)
    made = [
        _new_clock(incident, route, before=changed.get(name))
        for name, route in routes.items()
        if name not in rows or name in changed
    ]
    IncidentClock.objects.bulk_create(made)
    return Recount(made=tuple(made), replaced=tuple(sorted(changed)), dropped=tuple(sorted(dropped)))


def _differs(incident: Incident, row: IncidentClock, route: Route) -> bool:
    start = awareness(route.regime, facts_of(incident))
    if (row.due_at, row.started_at) != (route.due_at, start):
        return True
    return row.met_at is None and (row.owed, row.reason) != (str(route.owed), route.reason)


def _new_clock(incident: Incident, route: Route, *, before: IncidentClock | None) -> IncidentClock:
    start = awareness(route.regime, facts_of(incident))
    clock = IncidentClock(
        incident=incident,
        regime=route.regime,
        deadline=route.deadline,
        due_at=route.due_at,
        owed=str(route.owed),
        reason=route.reason,
        late_at_intake=is_late(route.due_at, incident.recorded_at),
        started_at=start,
    )
    if before is None:
        return clock
    if before.met_at is not None and start is not None and before.met_at < start:
        raise AuscultError(
            f"The report under {route.regime} was sent before the awareness that is given now.",
            remedy="Check the times: nobody reports what they are not aware of.",
        )
    clock.met_at, clock.met_by, clock.reference = before.met_at, before.met_by, before.reference
    if before.met_at is not None:
        # Why nothing was sent was said of the clock as it was; of this one it is to be said anew.
        clock.delay_reason = before.delay_reason
    if before.due_at == route.due_at:
        # The end is the same: nobody is told of the same hours twice.
        clock.escalated = before.escalated
    return clock


@service
def mark_reported(
    *, clock: IncidentClock, at: dt.datetime, reference: str, delay_reason: str = "", by: User
) -> IncidentClock:
    """Record that the report of a clock was sent.

    Args:
        reference: The authority's reference, or where the proof of sending is.
        delay_reason: Why it was sent late; GDPR Art. 33(1) demands it.

    Raises:
        DeniedError: ``by`` neither owns the incident nor answers for incidents.
        AuscultError: the time is in the future or before the awareness, the reference is missing, or the reason is.
        ConflictError: it was marked before, is not owed any more, or the incident is closed.
    """
    incident = locked(clock.incident_id)
    check_may_keep(by, incident)
    clock = _current(clock, incident)
    at = check_moment(at, what="at which the report was sent", column="at")
    if clock.started_at is not None and at < clock.started_at:
        raise AuscultError(
            "The report cannot have been sent before anybody was aware of the incident.",
            remedy="Check the time and its zone, or amend the time of awareness first.",
            column="at",
        )
    reference = reference.strip()
    if not reference or len(reference) > MOST_REFERENCE or "\0" in reference:
        raise AuscultError(
            f"The reference is one line of at most {MOST_REFERENCE} characters.",
            remedy="Give the authority's reference, or where the proof of sending is kept.",
            column="reference",
        )
    late = is_late(clock.due_at, at)
    needed = late and clock.deadline in NEEDS_REASON
    reason = told(delay_reason, name="delay_reason", needed=needed) or clock.delay_reason
    values = {"met_at": at, "met_by": by, "reference": reference, "delay_reason": reason}
    _settle(clock, values)
    words = f"The report under {clock.regime} ({clock.deadline}) was sent{' late' if late else ' in time'}."
    facts = {"deadline": clock.deadline, "at": at.isoformat(), "late": late}
    write_event(incident, IncidentEvent.Kind.REPORTED, words, facts | {"reference": reference}, by=by)
    record(incident, "incident.reported", facts | {"clock": clock.pk, "reason_sha256": sha256_of(reason)}, by=by)
    return clock


@service
def explain_clock(*, clock: IncidentClock, reason: str, by: User) -> IncidentClock:
    """Record why no report is sent although the clock runs, or why one was sent late that does not say it yet.

    A clock without a report is settled by that, and its report can be marked as sent later.

    Raises:
        DeniedError: ``by`` is neither chair nor clinician lead nor data protection officer.
        AuscultError: the reason is empty.
        ConflictError: nothing is to be explained, it is not owed any more, or the incident is closed.
    """
    incident = locked(clock.incident_id)
    check_may_explain(by)
    clock = _current(clock, incident)
    words = told(reason, name="reason")
    if clock.met_at is not None and not (is_late(clock.due_at, clock.met_at) and not clock.delay_reason):
        raise ConflictError("This report was sent, and has nothing to explain.", remedy=RELOAD)
    sent = clock.met_at is not None
    open_rows = IncidentClock.objects.filter(pk=clock.pk, superseded_at=None, delay_reason=clock.delay_reason)
    if not open_rows.filter(met_at__isnull=not sent).update(delay_reason=words):
        raise ConflictError("This clock changed at this moment.", remedy=RELOAD)
    clock.refresh_from_db()
    silence([clock.pk])
    facts = {"deadline": clock.deadline, "sent": sent}
    text = f"{'The report was late' if sent else 'No report is sent'} under {clock.regime} ({clock.deadline}): {words}"
    write_event(incident, IncidentEvent.Kind.REPORTED, text, facts | {"explained": True}, by=by)
    record(incident, "incident.explained", facts | {"clock": clock.pk, "reason_sha256": sha256_of(words)}, by=by)
    return clock


def locked(pk: int) -> Incident:
    """The incident as it is now, locked until the transaction ends where the database can do so."""
    rows = Incident.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("system", "version", "deployment__version", "owner").get(pk=pk)


def _current(clock: IncidentClock, incident: Incident) -> IncidentClock:
    if incident.status == Incident.Status.CLOSED:
        raise ConflictError("The incident is closed.", remedy="Reopen it first.")
    return IncidentClock.objects.get(pk=clock.pk)


def _settle(clock: IncidentClock, values: Mapping[str, Any]) -> None:
    """Write what settles a clock, once."""
    running = IncidentClock.objects.filter(pk=clock.pk, met_at=None, superseded_at=None)
    if not running.update(**values):
        raise ConflictError("This report was sent before, or is not owed any more.", remedy=RELOAD)
    clock.refresh_from_db()
    silence([clock.pk])


def silence(clocks: Iterable[int]) -> None:
    """What was told of these clocks waits no more: they were met, explained or superseded."""
    for pk in clocks:
        resolve(f"incident-clock:{pk}")


def write_event(
    incident: Incident, kind: str, text: str, detail: Mapping[str, Any] | None = None, *, by: User | None
) -> IncidentEvent:
    """One line of the history."""
    return IncidentEvent.objects.create(incident=incident, kind=kind, text=text, detail=dict(detail or {}), author=by)


def record(incident: Incident, act: str, payload: Mapping[str, Any], *, by: User | None) -> None:
    """The ledger entry of an act: never the words of an incident, only their digests."""
    about = {"number": incident.number, "system": incident.system.slug, "status": str(incident.status)}
    actor = by.username if by else "system"
    ledger.record(actor=actor, act=act, subject=("Incident", incident.pk), payload=about | dict(payload))


def sha256_of(text: str) -> str:
    """The digest of a text for the ledger; empty for none."""
    return sha256_text(text) if text else ""


def in_ledger(clock: IncidentClock) -> dict[str, Any]:
    """A clock as ledger entries tell it."""
    return {
        "deadline": clock.deadline,
        "owed": str(clock.owed),
        "due_at": clock.due_at.astimezone(dt.UTC).isoformat() if clock.due_at else None,
        "late_at_intake": clock.late_at_intake,
    }
