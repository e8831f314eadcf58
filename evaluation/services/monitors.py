"""Making, handing over, pausing and ending monitors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import EllipsisType
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.digests import sha256_json, sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import User
from core.plain_text import written
from core.reach import service
from evaluation.access_monitors import (
    check_may_be_escalated_to,
    check_may_make_monitor,
    check_may_own_monitor,
    check_may_steer_monitor,
)
from evaluation.engine import Protocol as Rules
from evaluation.models import Monitor, Protocol
from evaluation.monitoring.scheduling import schedule_monitor, unschedule_monitor
from evaluation.monitoring.schema import check_reference, check_source
from evaluation.monitoring.windows import bounds, check_zone, read_crontab
from evaluation.selectors import check_not_of_neighbours
from evaluation.services.monitor_notices import tell_handed_over
from models_registry.models import CohortVersion, Deployment

Status = Monitor.Status
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.PREPARING: frozenset({Status.ACTIVE, Status.FAILED, Status.ENDED}),
    Status.FAILED: frozenset({Status.PREPARING, Status.ENDED}),
    Status.ACTIVE: frozenset({Status.PAUSED, Status.ENDED}),
    Status.PAUSED: frozenset({Status.ACTIVE, Status.ENDED}),
    Status.ENDED: frozenset(),
}
"""What may follow on what."""
MOST_NAME, MOST_REASON = 120, 2000
LEAST_SECONDS = 5
LONGEST_GRACE = 24 * 366
MOST_SIZE = 1_000_000
MOST_PAST = 5_000
"""Windows that may lie in the past when a monitor is made: thirteen years by day."""


@service
def create_monitor(
    *,
    deployment: Deployment,
    name: str,
    protocol: Protocol,
    reference_cohort: CohortVersion,
    source_kind: str,
    source: Mapping[str, Any],
    window_unit: str,
    window_size: int,
    first_opens_at: datetime,
    owner: User,
    by: User,
    grace_hours: int = 0,
    zone: str = "UTC",
    crontab: str = "",
    every_seconds: int | None = None,
    escalate_to: User | None = None,
    escalate_after_hours: int = 24,
) -> Monitor:
    """Have a deployment watched. A worker makes the reference first; the schedule begins when that is there.

    Args:
        source: Settings of the source; secrets are named as environment variables, never given.
        first_opens_at: May lie in the past: the windows since then are judged one by one.
        owner: Requests the audits of the windows, under the same separation of duties as any audit.
        crontab: Five fields, read by the clock of ``zone``; or else ``every_seconds``.

    Raises:
        DeniedError: ``by`` is no auditor; or ``owner`` may not audit this version by this protocol.
        AuscultError: a field is wrong; ``column`` names it.
        CohortError, ProtocolError: source, reference and protocol do not fit each other.
        ConflictError: the deployment has ended, or has a monitor of this name.
    """
    check_may_make_monitor(by)
    check_not_of_neighbours(by, reference_cohort)
    deployment = _watchable(deployment, protocol=protocol, owner=owner)
    facts = _checked(
        name=name,
        window_unit=window_unit,
        window_size=window_size,
        grace_hours=grace_hours,
        escalate_after_hours=escalate_after_hours,
        zone=zone,
        source_kind=source_kind,
        first_opens_at=first_opens_at,
    )
    facts |= _schedule(crontab, every_seconds)
    _check_calendar(facts)
    compared: dict[str, Any] = {"deployment": deployment, "protocol": protocol}
    settled = check_source(source_kind, dict(source))
    check_reference(**compared, reference=reference_cohort, kind=source_kind, source=settled)
    people = {"owner": owner, "escalate_to": escalate_to, "created_by": by}
    row = _insert(**compared, reference_cohort=reference_cohort, source=settled, **people, **facts)
    _record(row, "monitor.created", by, **_in_ledger(row))
    _prepare(row)
    return row


def _watchable(deployment: Deployment, *, protocol: Protocol, owner: User) -> Deployment:
    """The deployment as it stands, if it can be watched by this protocol in this person's name."""
    row = Deployment.objects.select_related("version__system", "version__submitted_by").get(pk=deployment.pk)
    if row.status == Deployment.Status.ENDED:
        raise ConflictError(f"{row} has ended.", remedy="Choose a deployment that is in use.")
    check_may_own_monitor(owner, deployment=row, protocol=protocol)
    _check_drift(protocol)
    return row


def _checked(**given: Any) -> dict[str, Any]:
    """The fields of a monitor that stand for themselves, each checked.

    Raises:
        AuscultError: naming the first that is wrong.
    """
    if timezone.is_naive(given["first_opens_at"]):
        raise AuscultError("The first window opens at a time without zone.", remedy="Add it.", column="first_opens_at")
    return given | {
        "name": written(" ".join(given["name"].split()), name="The name", most=MOST_NAME, column="name"),
        "window_unit": _one_of(given["window_unit"], Monitor.Unit.values, "window_unit"),
        "window_size": _number(given["window_size"], 1, MOST_SIZE, "window_size"),
        "grace_hours": _number(given["grace_hours"], 0, LONGEST_GRACE, "grace_hours"),
        "escalate_after_hours": _number(given["escalate_after_hours"], 1, 24 * 90, "escalate_after_hours"),
        "zone": check_zone(given["zone"]).key,
        "source_kind": _one_of(given["source_kind"], Monitor.Source.values, "source_kind"),
    }


def _check_calendar(facts: Mapping[str, Any]) -> None:
    """Whether the calendar holds such windows, and not too many of them lie in the past.

    Raises:
        AuscultError: naming the length, or the day of the first.
    """
    if facts["window_unit"] == Monitor.Unit.COUNT:
        return
    given = {
        "unit": facts["window_unit"],
        "size": facts["window_size"],
        "first": facts["first_opens_at"],
        "zone": facts["zone"],
        "grace_hours": facts["grace_hours"],
    }
    try:
        bounds(**given, index=1)
    except (OverflowError, ValueError) as error:
        raise AuscultError(
            "No calendar holds so long a window.", remedy="Give a shorter one.", column="window_size"
        ) from error
    try:
        last = bounds(**given, index=MOST_PAST + 1).due_at
    except (OverflowError, ValueError):  # beyond the end of the calendar
        return
    if last <= timezone.now():
        raise AuscultError(
            f"More than {MOST_PAST:,} windows would have closed since then, each of which is judged.",
            remedy="See whether the year is right; begin later, or make the windows longer.",
            column="first_opens_at",
        )


def _in_ledger(row: Monitor) -> dict[str, Any]:
    return {
        "deployment": row.deployment_id,
        "version": row.deployment.version.digest,
        "protocol": row.protocol.digest,
        "reference": row.reference_cohort.digest,
        "owner": row.owner.username,
        "source_sha256": sha256_json({"kind": row.source_kind, "settings": row.source}),
        "window": f"{row.window_size} {row.window_unit}",
        "schedule": row.crontab or f"every {row.every_seconds} s",
        "zone": row.zone,
    }


def _check_drift(protocol: Protocol) -> None:
    rules = Rules.from_dict(protocol.body)
    if rules.drift is None or "drift" not in rules.suites:
        raise AuscultError(
            f"The protocol {protocol.name} watches nothing: it has no section 'drift'.",
            remedy="Use one such as drift-weekly-v1; docs/protocols.md describes the section.",
            column="protocol",
        )


def _schedule(crontab: str, every_seconds: int | None) -> dict[str, Any]:
    if bool(crontab) == (every_seconds is not None):
        raise AuscultError(
            "A monitor has one schedule: a crontab, or a number of seconds.",
            remedy="Give one of them.",
            column="crontab",
        )
    if crontab:
        read_crontab(crontab)
        return {"crontab": " ".join(crontab.split()), "every_seconds": None}
    return {"crontab": "", "every_seconds": _number(every_seconds, LEAST_SECONDS, 366 * 86400, "every_seconds")}


def _number(value: Any, least: int, most: int, column: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise AuscultError(
            f"'{column}' is {value!r}.", remedy=f"Give a whole number from {least:,} to {most:,}.", column=column
        )
    return value


def _one_of(value: str, known: list[str], column: str) -> str:
    if value not in known:
        raise AuscultError(
            f"'{column}' is '{str(value)[:40]}'.", remedy=f"Use one of: {', '.join(known)}.", column=column
        )
    return value


def _insert(**facts: Any) -> Monitor:
    try:
        with transaction.atomic():
            return Monitor.objects.create(**facts)
    except IntegrityError as error:
        raise ConflictError(
            f"{facts['deployment']} has a monitor called '{facts['name']}' already.",
            remedy="Give it another name, or end the other one first.",
        ) from error


@service
def hand_over_monitor(
    *,
    monitor: Monitor,
    owner: User | None = None,
    escalate_to: User | EllipsisType | None = ...,
    by: User,
    reason: str,
) -> Monitor:
    """Give a monitor to another owner, or name another person whom its alerts escalate to.

    The first window that is open is sent again: it may wait for an owner who can request its audit.

    Args:
        owner: Requests the audits of the windows from now on; None leaves the one there is.
        escalate_to: None: the committee chairs alone. Left out: as it is.

    Raises:
        DeniedError: ``by`` may not; or the new owner may not audit this version by this protocol.
        AuscultError: no reason, or nothing would change.
        ConflictError: the monitor has ended, or somebody else was faster.
    """
    from evaluation.monitoring.firing import send_next

    check_may_steer_monitor(by, monitor)
    words = written(reason, name="The reason", least=10, most=MOST_REASON, column="reason")
    about = ("deployment__version__submitted_by", "protocol__approved_by", "owner", "escalate_to")
    row = Monitor.objects.select_related(*about).get(pk=monitor.pk)
    before: dict[str, Any] = {"owner": row.owner, "escalate_to": row.escalate_to}
    told_next = row.escalate_to if escalate_to is ... else escalate_to
    after: dict[str, Any] = {"owner": owner or row.owner, "escalate_to": told_next}
    if before == after:
        raise AuscultError(
            "Owner and escalation are these persons already.", remedy="Choose somebody else.", column="owner"
        )
    _check_successors(row, **after)
    alive = {Status.PREPARING, Status.FAILED, Status.ACTIVE, Status.PAUSED}
    if not Monitor.objects.filter(pk=row.pk, status__in=alive, **before).update(**after):
        monitor.refresh_from_db()
        state = "has ended" if monitor.status == Status.ENDED else "was handed over meanwhile"
        raise ConflictError(f"{monitor.name} {state}.", remedy=RELOAD)
    row.refresh_from_db()
    told = {name: {"from": _username(before[name]), "to": _username(after[name])} for name in before}
    _record(row, "monitor.handed_over", by, **told, reason_sha256=sha256_text(words))
    tell_handed_over(row, before=[person for person in before.values() if person], by=by)
    send_next(row.pk)
    return row


def _check_successors(row: Monitor, *, owner: User, escalate_to: User | None) -> None:
    """Whether the persons who are new here may be what they are to become."""
    if owner != row.owner:
        check_may_own_monitor(owner, deployment=row.deployment, protocol=row.protocol)
    if escalate_to is not None and escalate_to != row.escalate_to:
        check_may_be_escalated_to(escalate_to)


def _username(person: User | None) -> str | None:
    return person.username if person else None


@service
def pause_monitor(*, monitor: Monitor, by: User, reason: str = "") -> Monitor:
    """Stop a monitor for a while. Windows that close meanwhile are worked on when it goes on; none is left out."""
    check_may_steer_monitor(by, monitor)
    words = _reason(reason)
    row = _move(monitor, {Status.ACTIVE}, Status.PAUSED, reason=words)
    unschedule_monitor(row)
    _record(row, "monitor.paused", by, reason_sha256=sha256_text(words))
    return row


@service
def resume_monitor(*, monitor: Monitor, by: User) -> Monitor:
    """Let a paused monitor go on: it looks at once for the windows that closed meanwhile."""
    from evaluation import tasks

    check_may_steer_monitor(by, monitor)
    row = _move(monitor, {Status.PAUSED}, Status.ACTIVE, reason="")
    schedule_monitor(row)
    _record(row, "monitor.resumed", by)
    tasks.fire_monitor.delay_on_commit(row.pk)
    return row


@service
def end_monitor(*, monitor: Monitor, by: User | None, reason: str = "") -> Monitor:
    """End a monitor for good. What it found stays; windows that were not judged are not judged any more.

    Args:
        by: None where the platform does it, because the deployment ended.
    """
    if by is not None:
        check_may_steer_monitor(by, monitor)
    words = _reason(reason)
    old = {Status.PREPARING, Status.FAILED, Status.ACTIVE, Status.PAUSED}
    row = _move(monitor, old, Status.ENDED, reason=words)
    unschedule_monitor(row)
    _record(row, "monitor.ended", by, reason_sha256=sha256_text(words))
    return row


@service
def retry_preparation(*, monitor: Monitor, by: User) -> Monitor:
    """Make the reference again after it failed."""
    check_may_steer_monitor(by, monitor)
    row = _move(monitor, {Status.FAILED}, Status.PREPARING, error="", reference_run=None, frame_digest="")
    _record(row, "monitor.preparation_retried", by)
    _prepare(row)
    return row


@service
def run_now(*, monitor: Monitor, by: User) -> Monitor:
    """Have it look for windows that are due, without waiting for the schedule."""
    from evaluation import tasks

    check_may_steer_monitor(by, monitor)
    monitor.refresh_from_db()
    if monitor.status != Status.ACTIVE:
        raise ConflictError(
            f"{monitor.name} is {monitor.get_status_display().lower()}, so it does not look.", remedy=RELOAD
        )
    _record(monitor, "monitor.asked", by)
    tasks.fire_monitor.delay_on_commit(monitor.pk)
    return monitor


def _reason(text: str) -> str:
    return written(text, name="The reason", least=10, most=MOST_REASON, column="reason") if text.strip() else ""


def _prepare(row: Monitor) -> None:
    from evaluation import tasks

    tasks.prepare_monitor.delay_on_commit(row.pk)


def _move(monitor: Monitor, old: set[Status], new: Status, **changes: Any) -> Monitor:
    """Move a monitor by a conditional UPDATE from a state that allows it."""
    if not Monitor.objects.filter(pk=monitor.pk, status__in=old).update(status=new, **changes):
        monitor.refresh_from_db()
        raise ConflictError(f"{monitor.name} is {monitor.get_status_display().lower()} by now.", remedy=RELOAD)
    monitor.refresh_from_db()
    return monitor


def _record(row: Monitor, act: str, by: User | None, **payload: Any) -> None:
    ledger.record(actor=by.username if by else "system", act=act, subject=("Monitor", row.pk), payload=payload)
