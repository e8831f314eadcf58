"""Incidents: recorded by anybody, amended with a reason, owned, investigated, closed, and opened again.

The history of an incident is a row for each act; the ledger holds digests of what was written, never the words.
Clocks are in ``governance.services.incident_clocks``, drafts of the report in ``governance.services.incident_reports``.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone

from core.access import people_with, same_person
from core.digests import sha256_json
from core.errors import RELOAD, ConflictError
from core.models import Notification, Role, Topic, User
from core.notifications import notify, resolve
from core.reach import service
from governance.access_incidents import check_can_own, check_may_assign, check_may_keep, check_may_report
from governance.conditions.truth import Truth
from governance.models import Incident, IncidentEvent
from governance.requirements import load_requirements
from governance.services.incident_clocks import (
    Recount,
    explain_clock,
    in_ledger,
    locked,
    mark_reported,
    record,
    recount_clocks,
    sha256_of,
    silence,
    write_event,
)
from governance.services.incident_intake import IncidentReport, check_report, report_of, told
from governance.services.incident_reports import draft_report
from governance.standing.incident_clocks import (
    SETTLED,
    ClockFacts,
    lacks_reason,
    standing,
    timed,
)
from models_registry.models import AISystem

__all__ = [
    "TRANSITIONS",
    "IncidentReport",
    "add_note",
    "amend_facts",
    "assign",
    "close_incident",
    "draft_report",
    "explain_clock",
    "investigate",
    "mark_reported",
    "record_incident",
    "record_once",
    "reopen_incident",
    "report_of",
]

Status = Incident.Status
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.OPEN: frozenset({Status.INVESTIGATING}),
    Status.INVESTIGATING: frozenset({Status.CLOSED}),
    Status.CLOSED: frozenset({Status.OPEN}),
}
TRIES = 5
TEXTS = ("title", "description", "site")


@service
def record_incident(*, report: IncidentReport, by: User) -> Incident:
    """Record an incident and start its clocks. One whose clock has run out already is accepted, and marked late.

    Raises:
        DeniedError: ``by`` is a regulator, or has no role.
        AuscultError: the report cannot be, or could name a patient; ``column`` names the field.
    """
    check_may_report(by)
    incident = _create(check_report(report), by=by)
    clocks = recount_clocks(incident).made
    late = [clock.deadline for clock in clocks if clock.late_at_intake]
    words = "The incident was recorded."
    if late:
        words = f"The incident was recorded after the end of {', '.join(late)}: late at intake."
    write_event(incident, IncidentEvent.Kind.RECORDED, words, {"late": late}, by=by)
    payload = {
        "version": incident.version.digest if incident.version else None,
        "deployment": incident.deployment_id,
        "kinds": incident.kinds,
        "facts": _digest(incident),
        "clocks": [in_ledger(clock) for clock in clocks],
        "late_at_intake": late,
    }
    record(incident, "incident.recorded", payload, by=by)
    _tell_of_new(incident, late=late)
    return incident


@service
def record_once(*, report: IncidentReport, by: User) -> tuple[Incident, bool]:
    """As :func:`record_incident`, for programs, which send again what they got no answer to.

    Returns:
        The incident, and whether it is new: False where this person had reported the same facts of it before.
    """
    check_may_report(by)
    tidy = check_report(report)
    AISystem.objects.select_for_update(no_key=True).get(pk=tidy.system.pk)  # of two at once, the second sees the first
    known = Incident.objects.filter(reported_by=by, **tidy.values()).first()
    return (known, False) if known is not None else (record_incident(report=tidy, by=by), True)


def _create(report: IncidentReport, *, by: User) -> Incident:
    """The row with the next number. Of two people who record at once, one takes the number after."""
    for _attempt in range(TRIES):
        last = Incident.objects.aggregate(last=Max("number"))["last"] or 0
        try:
            with transaction.atomic():
                return Incident.objects.create(number=last + 1, reported_by=by, **report.values())
        except IntegrityError:
            continue
    raise ConflictError("Several incidents were recorded at this moment.", remedy="Send the form again.")


def _tell_of_new(incident: Incident, *, late: list[str]) -> None:
    roles = [Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD] + ([Role.DPO] if incident.breach else [])
    running = incident.clocks.filter(superseded_at=None).exclude(due_at=None).order_by("due_at").first()
    text = "No report to an authority is owed by what is known now."
    if running is not None and running.due_at is not None:
        due = running.due_at.astimezone(dt.UTC)
        text = f"The first report, {running.regime}, is due {due.day} {due:%b %Y %H:%M} UTC."
    notify(
        to=people_with(*roles, on=incident),
        topic=Topic.INCIDENTS,
        title=f"Incident {incident.number} of {incident.system.name} was recorded",
        text=f"{text} It ran out before the incident was recorded." if late else text,
        href=reverse("incident", args=[incident.pk]),
        key=f"incident:{incident.pk}:recorded",
        urgency=Notification.Urgency.URGENT if late else Notification.Urgency.ACTION,
    )


@service
def amend_facts(*, incident: Incident, report: IncidentReport, reason: str, by: User) -> Incident:
    """Put other facts in the place of those that were recorded, and recount the clocks. The history keeps both.

    Raises:
        DeniedError: ``by`` neither owns the incident nor answers for incidents.
        AuscultError: the facts cannot be, or no reason is given.
        ConflictError: the incident is closed, the system is another one, or nothing would change.
    """
    incident = _open(incident)
    check_may_keep(by, incident)
    words = told(reason, name="reason")
    if report.system.pk != incident.system_id:
        raise ConflictError("An incident stays with its system.", remedy="Record it anew for the other system.")
    before, after = report_of(incident).values(), check_report(report).values()
    changed = [name for name in after if after[name] != before[name]]
    if not changed:
        raise ConflictError("Nothing would change.", remedy="Change a fact, or write a note instead.")
    Incident.objects.filter(pk=incident.pk).update(**{name: after[name] for name in changed})
    incident = locked(incident.pk)
    recount = recount_clocks(incident)
    detail = {"before": {name: _plain(before[name]) for name in changed}} | _counted(recount)
    text = f"{words}\nChanged: {', '.join(name.replace('_', ' ') for name in changed)}. {recount_words(recount)}"
    write_event(incident, IncidentEvent.Kind.FACTS, text, detail, by=by)
    payload = {"changed": changed, "facts": _digest(incident), "reason_sha256": sha256_of(words)} | _counted(recount)
    record(incident, "incident.amended", payload, by=by)
    return incident


@transaction.atomic
def recount_after_answers(incident: Incident) -> bool:
    """Recount the clocks of an open incident by the answers as they are now; whether anything changed. For a sweep."""
    incident = locked(incident.pk)
    if incident.status == Status.CLOSED:
        return False
    recount = recount_clocks(incident)
    if not recount:
        return False
    text = f"Answers about the system changed. {recount_words(recount)}"
    write_event(incident, IncidentEvent.Kind.FACTS, text, _counted(recount) | {"answers": True}, by=None)
    record(incident, "incident.recounted", _counted(recount), by=None)
    owner = owner_to_tell(incident)
    notify(
        to=people_with(Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, on=incident) + ([owner] if owner else []),
        topic=Topic.INCIDENTS,
        title=f"Clocks of incident {incident.number} changed",
        text=text,
        href=reverse("incident", args=[incident.pk]),
        key=f"incident:{incident.pk}:recounted:{incident.clocks.latest('pk').pk}:{len(recount.dropped)}",
        urgency=Notification.Urgency.ACTION,
    )
    return True


def owner_to_tell(incident: Incident) -> User | None:
    """The account that stands for the owner of an incident; None where nobody owns it, or the account is closed."""
    owner = incident.owner
    if owner is not None and owner.merged_into is not None:
        owner = owner.merged_into
    return owner if owner is not None and owner.is_active else None


@service
def add_note(*, incident: Incident, text: str, by: User) -> IncidentEvent:
    """Add a note to the history, of a closed incident too. Raises DeniedError for regulators, AuscultError for none."""
    check_may_report(by)
    incident = locked(incident.pk)
    words = told(text, name="note")
    event = write_event(incident, IncidentEvent.Kind.NOTE, words, by=by)
    record(incident, "incident.noted", {"event": event.pk, "text_sha256": sha256_of(words)}, by=by)
    return event


@service
def assign(*, incident: Incident, owner: User, by: User) -> Incident:
    """Give an incident an owner: who is told first when a clock runs out.

    Raises:
        DeniedError: ``by`` may not assign, or ``owner`` cannot own.
        ConflictError: the incident is closed, or is this person's already.
    """
    incident = _open(incident)
    check_may_assign(by)
    check_can_own(owner)
    if same_person(owner, incident.owner):
        raise ConflictError(f"{owner} owns this incident already.", remedy="Nothing needs to be done.")
    before = incident.owner
    Incident.objects.filter(pk=incident.pk).update(owner=owner)
    incident.owner = owner
    people = {"owner": owner.username, "before": before.username if before else None}
    event = write_event(incident, IncidentEvent.Kind.MOVED, f"{owner} owns the incident now.", people, by=by)
    record(incident, "incident.assigned", people, by=by)
    resolve(f"incident:{incident.pk}:owner")
    notify(
        to=[] if same_person(owner, by) else [owner],
        topic=Topic.INCIDENTS,
        title=f"Incident {incident.number} of {incident.system.name} is yours",
        text=f"{by} made you its owner. See which reports are owed, and until when.",
        href=reverse("incident", args=[incident.pk]),
        key=f"incident:{incident.pk}:owner:{event.pk}",
        urgency=Notification.Urgency.ACTION,
    )
    return incident


@service
def investigate(*, incident: Incident, by: User) -> Incident:
    """Begin to investigate. Raises DeniedError for who may not act on it, ConflictError where it is not open."""
    incident = locked(incident.pk)
    check_may_keep(by, incident)
    incident = _move(incident, to=Status.INVESTIGATING)
    write_event(incident, IncidentEvent.Kind.MOVED, "The investigation began.", by=by)
    record(incident, "incident.investigated", {}, by=by)
    return incident


@service
def close_incident(*, incident: Incident, root_cause: str, correction: str, by: User) -> Incident:
    """Close an incident whose cause is known, and whose reports were sent, or explained where none was.

    Raises:
        DeniedError: ``by`` neither owns the incident nor answers for incidents.
        AuscultError: the cause or the correction is missing.
        ConflictError: a report is open still, or the incident is not under investigation.
    """
    incident = locked(incident.pk)
    check_may_keep(by, incident)
    cause, mended = told(root_cause, name="root_cause"), told(correction, name="correction")
    _check_settled(incident)
    values = {"root_cause": cause, "correction": mended, "closed_by": by, "closed_at": timezone.now()}
    incident = _move(incident, to=Status.CLOSED, values=values)
    text = f"The incident was closed.\nRoot cause: {cause}\nCorrection: {mended}"
    write_event(incident, IncidentEvent.Kind.MOVED, text, by=by)
    digests = {"root_cause_sha256": sha256_of(cause), "correction_sha256": sha256_of(mended)}
    record(incident, "incident.closed", digests, by=by)
    resolve(f"incident:{incident.pk}")
    silence(incident.clocks.values_list("pk", flat=True))
    return incident


@service
def reopen_incident(*, incident: Incident, reason: str, by: User) -> Incident:
    """Open a closed incident again, with its clocks counted anew. Raises as :func:`investigate` does."""
    incident = locked(incident.pk)
    check_may_keep(by, incident)
    words = told(reason, name="reason")
    incident = _move(incident, to=Status.OPEN, values={"closed_by": None, "closed_at": None})
    recount = recount_clocks(incident)
    text = f"The incident was reopened: {words} {recount_words(recount)}".strip()
    write_event(incident, IncidentEvent.Kind.MOVED, text, _counted(recount), by=by)
    record(incident, "incident.reopened", {"reason_sha256": sha256_of(words)} | _counted(recount), by=by)
    return incident


def _open(incident: Incident) -> Incident:
    incident = locked(incident.pk)
    if incident.status == Status.CLOSED:
        raise ConflictError("The incident is closed.", remedy="Reopen it first.")
    return incident


def _move(incident: Incident, *, to: Status, values: dict[str, Any] | None = None) -> Incident:
    """Change the state, once, from a state that the table allows."""
    before = [state for state, allowed in TRANSITIONS.items() if to in allowed]
    rows = Incident.objects.filter(pk=incident.pk, status__in=before)
    try:
        with transaction.atomic():
            done = rows.update(status=to, **(values or {}))
    except IntegrityError as error:
        raise ConflictError("The database refuses this step.", remedy=RELOAD) from error
    if not done:
        state = incident.get_status_display().lower()
        needed = " or ".join(Status(one).label.lower() for one in before)
        raise ConflictError(f"The incident is {state}; this step needs it {needed}.", remedy=RELOAD)
    return locked(incident.pk)


def _check_settled(incident: Incident) -> None:
    """Every report was sent, or somebody said why not; and a late one that must say why does."""
    catalogue = load_requirements()
    for clock in incident.clocks.filter(superseded_at=None):
        facts = ClockFacts(
            deadline=clock.deadline,
            started_at=clock.started_at,
            due_at=clock.due_at,
            met_at=clock.met_at,
            delay_reason=clock.delay_reason,
            timed=timed(catalogue, clock.deadline),
        )
        if standing(facts, timezone.now()) not in SETTLED:
            perhaps = "is owed" if clock.owed == Truth.YES else "may be owed"
            raise ConflictError(
                f"The report under {clock.regime} ({clock.deadline}) {perhaps}, and was not sent.",
                remedy="Mark it as sent, let a chair explain why none is sent, or answer what would decide it.",
            )
        if lacks_reason(facts):
            raise ConflictError(
                f"The report {clock.deadline} was late by the facts as they are now, and has no reason of the delay.",
                remedy="State the reason of the delay.",
            )


def recount_words(recount: Recount) -> str:
    """What became of the clocks, in a sentence or two."""
    parts = []
    fresh = [clock.deadline for clock in recount.made if clock.deadline not in recount.replaced]
    for names, words in (
        (fresh, "started"),
        (recount.replaced, "counted anew"),
        (recount.dropped, "not owed any more"),
    ):
        if names:
            parts.append(f"{words}: {', '.join(sorted(names))}")
    return f"Clocks {'; '.join(parts)}." if parts else "The clocks stay as they are."


def _counted(recount: Recount) -> dict[str, Any]:
    return {"clocks": [in_ledger(clock) for clock in recount.made], "dropped": list(recount.dropped)}


def _digest(incident: Incident) -> str:
    """The digest of all facts, by which the ledger proves what was recorded without telling it."""
    return sha256_json({name: _plain(value) for name, value in report_of(incident).values().items()})


def _plain(value: Any) -> Any:
    """A fact as JSON."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat()
    return value.pk if hasattr(value, "pk") else value
