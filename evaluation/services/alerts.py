"""Alerts: raised and settled by the platform, acknowledged, assigned, snoozed and closed by people.

One matter is one alert: raised again while it is not closed, it counts up. The same thing told twice, as by a task that
is delivered twice or a sweep that looks again, counts once. A snoozed alert counts up in silence and wakes when its
time is over; one whose severity rises wakes at once. Escalation is in ``evaluation.monitoring.escalating``.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import same_person
from core.digests import sha256_json, sha256_text
from core.errors import RELOAD, AuscultError, ConflictError
from core.models import User
from core.plain_text import written
from core.reach import limited, service
from evaluation.access_alerts import check_can_be_assigned, check_may_handle_alert, check_may_settle_alert
from evaluation.models import Alert, AlertEvent, Monitor, MonitorWindow
from evaluation.services.alert_notices import (
    stop_telling,
    tell_assigned,
    tell_escalated,
    tell_raised,
    tell_webhooks,
)
from evaluation.services.restarting import ALARM, NewReference, accepted_reference, restart_cycle, restarts

__all__ = [
    "acknowledge_alert",
    "assign_alert",
    "close_alert",
    "escalate_alert",
    "is_alarm",
    "note_answer",
    "raise_alert",
    "settle_alert",
    "snooze_alert",
    "waits_since",
    "wake_alert",
]

Status = Alert.Status
Severity = Alert.Severity
TRANSITIONS: dict[str, frozenset[str]] = {
    Status.OPEN: frozenset({Status.ACKNOWLEDGED, Status.SNOOZED, Status.CLOSED}),
    Status.ACKNOWLEDGED: frozenset({Status.OPEN, Status.SNOOZED, Status.CLOSED}),
    Status.SNOOZED: frozenset({Status.OPEN, Status.ACKNOWLEDGED, Status.SNOOZED, Status.CLOSED}),
    Status.CLOSED: frozenset(),
}
"""What may follow on what."""
RANK: dict[str, int] = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
BY_HAND = (Alert.Resolution.FALSE_ALARM, Alert.Resolution.FIXED, Alert.Resolution.NEW_NORMAL)
LONGEST_REST = {Severity.INFO: 90, Severity.WARNING: 30, Severity.CRITICAL: 7}
"""Days for which an alert may be snoozed."""
MOST_TITLE, MOST_TEXT, MOST_KEY, MOST_REASON, MOST_CLOSING = 200, 10_000, 160, 2000, 4000


@transaction.atomic
def raise_alert(
    *,
    monitor: Monitor,
    kind: str,
    severity: str,
    key: str,
    title: str,
    text: str = "",
    detail: dict[str, Any] | None = None,
    window: MonitorWindow | None = None,
) -> Alert:
    """Raise a matter that somebody must look at, in the transaction of what found it.

    Where the same matter is not closed yet, it counts up: its text and window become the newest, its severity may
    rise and never falls. What was told with the same words of the same window before changes nothing.

    Args:
        kind, severity: Values of ``Alert.Kind`` and ``Alert.Severity``.
        key: Names the matter within the monitor: ``drift:2``, ``unit:series.crp:median``, ``missed:2026-11-02``.
        title, text: Never patient-level data, never a count below the smallest cell: they go out by mail and webhook.
        detail: Plain data for the page, under the same rule.

    Raises:
        ValueError: an unknown kind or severity, an empty title, a key that is empty or too long: a mistake of the
            caller.
    """
    if kind not in Alert.Kind.values or severity not in RANK or not title.strip() or not 0 < len(key) <= MOST_KEY:
        raise ValueError(f"no alert can be made of kind {kind!r}, severity {severity!r}, key {key!r}, title {title!r}")
    facts: dict[str, Any] = {
        "kind": kind,
        "title": " ".join(title.split())[:MOST_TITLE],
        "text": text.strip()[:MOST_TEXT],
        "detail": json.loads(json.dumps(detail or {})),  # as the database gives it back, to compare with
    } | ({"window": window} if window is not None else {})
    known = _unclosed(monitor, key)
    if known is None:
        now = timezone.now()
        given = facts | {"severity": severity, "first_at": now, "last_at": now}
        try:
            with transaction.atomic():
                alert = Alert.objects.create(monitor=monitor, key=key, **given)
        except IntegrityError:  # another worker has raised the same matter meanwhile
            known = _unclosed(monitor, key)
            if known is None:
                raise
        else:
            _note(alert, "raised", alert.text or alert.title)
            _record("alert.raised", alert, {"risen": True})
            tell_raised(alert, step="raised")
            tell_webhooks(alert, "raised")
            return alert
    return _repeat(known, severity=severity, facts=facts)


def _unclosed(monitor: Monitor, key: str) -> Alert | None:
    rows = Alert.objects.select_for_update(of=("self",), no_key=True).exclude(status=Status.CLOSED)
    return rows.select_related(*ABOUT).filter(monitor=monitor, key=key).first()


ABOUT = ("monitor__deployment__version__system", "monitor__owner", "monitor__escalate_to", "assigned_to")


def _repeat(alert: Alert, *, severity: str, facts: dict[str, Any]) -> Alert:
    """Count an unclosed alert up, unless this very thing was told before and the alert need not wake."""
    now = timezone.now()
    rises = RANK[severity] > RANK[alert.severity]
    rested = alert.status == Status.SNOOZED and alert.snoozed_until is not None and alert.snoozed_until <= now
    window = facts.get("window")
    same = all(getattr(alert, name) == facts[name] for name in ("kind", "title", "text", "detail"))
    same = same and (window is None or window.pk == alert.window_id)
    if same and not rises and not rested:
        return alert
    wakes = rested or (rises and alert.status != Status.OPEN)
    alert.times += 0 if same else 1
    changes: dict[str, Any] = facts | {"last_at": now, "times": alert.times}
    if rises:
        changes["severity"] = severity
    if wakes:
        changes |= {"status": Status.OPEN, "snoozed_until": now}
    if wakes or rises:
        changes["escalated_at"] = None
    if not Alert.objects.filter(pk=alert.pk, status=alert.status).update(**changes):
        raise ConflictError(f"Alert {alert.pk} changed meanwhile.", remedy="It is raised again by the next try.")
    for name, value in changes.items():
        setattr(alert, name, value)
    step = "risen" if rises else "woken" if wakes else "repeated"
    _note(alert, step, alert.text or alert.title)
    _record("alert.repeated", alert, {"risen": rises, "woken": wakes})
    if rises or wakes:
        tell_raised(alert, step=f"{step}:{alert.times}")
        tell_webhooks(alert, step)
    return alert


@transaction.atomic
def settle_alert(*, monitor: Monitor, key: str, why: str = "") -> Alert | None:
    """Close a matter that ended by itself, such as a source that answers again; None where nothing waits.

    Raises:
        ValueError: the key is of an alarm of drift: that is closed by a person alone.
    """
    if key.startswith(ALARM):
        raise ValueError("an alarm of drift is closed by a person")
    alert = _unclosed(monitor, key)
    if alert is None:
        return None
    words = why.strip() or "What the alert was about has ended."
    _move(
        alert,
        to=Status.CLOSED,
        resolution=Alert.Resolution.SETTLED,
        closing=words,
        closed_at=timezone.now(),
        snoozed_until=None,
    )
    _note(alert, "settled", words)
    _record("alert.settled", alert, {})
    stop_telling(alert)
    tell_webhooks(alert, "closed")
    return alert


@service
def acknowledge_alert(*, alert: Alert, by: User) -> Alert:
    """Say that one has seen it and sees to it. It is not escalated any more.

    Raises:
        DeniedError: ``by`` may not.
        ConflictError: it is acknowledged or closed.
    """
    alert = _locked(alert)
    check_may_handle_alert(by, alert)
    _move(alert, to=Status.ACKNOWLEDGED, acknowledged_by=by, acknowledged_at=timezone.now(), snoozed_until=None)
    _note(alert, "acknowledged", "", by=by)
    _record("alert.acknowledged", alert, {}, by=by)
    stop_telling(alert)
    tell_webhooks(alert, f"acknowledged:{alert.events.count()}")
    return alert


@service
def assign_alert(*, alert: Alert, to: User, by: User) -> Alert:
    """Say who sees to it; they are told.

    Raises:
        DeniedError: ``by`` may not, or ``to`` cannot see to alerts.
        ConflictError: it is closed, or this person's already.
    """
    alert = _locked(alert)
    check_may_handle_alert(by, alert)
    check_can_be_assigned(to)
    if same_person(to, alert.assigned_to):
        raise ConflictError(f"{to} sees to this alert already.", remedy="Nothing needs to be done.")
    before = alert.assigned_to
    if not Alert.objects.filter(pk=alert.pk).exclude(status=Status.CLOSED).update(assigned_to=to):
        raise ConflictError("The alert is closed.", remedy=RELOAD)
    alert.assigned_to = to
    event = _note(alert, "assigned", f"{to} sees to it.", by=by)
    people = {"to": to.username, "before": before.username if before else None}
    _record("alert.assigned", alert, people, by=by)
    if not same_person(to, by):
        tell_assigned(alert, step=f"assigned:{event.pk}", by=by)
    return alert


@service
def snooze_alert(*, alert: Alert, until: datetime, reason: str, by: User) -> Alert:
    """Let it rest until then. Raised meanwhile it counts up in silence, unless its severity rises.

    Raises:
        DeniedError: ``by`` may not, or submitted the version.
        AuscultError: no reason; an end that is past, or later than 7 (critical), 30 (warning) or 90 days from now.
        ConflictError: it is closed.
    """
    alert = _locked(alert)
    check_may_settle_alert(by, alert)
    words = written(reason, name="The reason", least=10, most=MOST_REASON, column="reason")
    now, days = timezone.now(), LONGEST_REST[Severity(alert.severity)]
    if not now < until <= now + timedelta(days=days, minutes=5):
        severity = alert.get_severity_display().lower()
        raise AuscultError(
            f"An alert of this severity ({severity}) rests until a moment from now to {days} days from now.",
            remedy="Choose an earlier end, or close the alert with what it came to.",
            column="until",
        )
    _move(alert, to=Status.SNOOZED, snoozed_until=until)
    _note(alert, "snoozed", f"Until {until:%Y-%m-%d %H:%M %Z}: {words}", by=by)
    _record("alert.snoozed", alert, {"until": until.isoformat(), "reason_sha256": sha256_text(words)}, by=by)
    stop_telling(alert)
    return alert


@limited
def close_alert(*, alert: Alert, resolution: str, closing: str, by: User) -> Alert:
    """Say what it came to. Closing an alarm of drift restarts the test; ``new_normal`` also moves the reference.

    Raises:
        DeniedError: ``by`` may not, or submitted the version.
        AuscultError: no words, or a resolution that does not fit.
        ConflictError: it is closed already; or the windows since the change have too few patients to be a reference.
    """
    alert = Alert.objects.select_related(*ABOUT, "monitor__protocol", "window").get(pk=alert.pk)
    check_may_settle_alert(by, alert)
    words = written(closing, name="What was found and done", least=10, most=MOST_CLOSING, column="closing")
    _check_resolution(alert, resolution)
    # Sketches are merged before the transaction, which looks whether they are still the ones.
    return _closed(alert, resolution, words, accepted_reference(alert, resolution), by)


@transaction.atomic
def _closed(alert: Alert, resolution: str, words: str, reference: NewReference | None, by: User) -> Alert:
    """The one transaction of closing an alert."""
    alert = _locked(alert)
    check_may_settle_alert(by, alert)
    facts = {"resolution": resolution, "closing": words, "closed_by": by, "closed_at": timezone.now()}
    _move(alert, to=Status.CLOSED, snoozed_until=None, **facts)
    label = alert.get_resolution_display()
    _note(alert, "closed", f"{label}. {words}", by=by)
    if restarts(alert):
        restart_cycle(monitor=alert.monitor, resolution=resolution, window=alert.window, reference=reference, by=by)
    _record("alert.closed", alert, {"resolution": resolution, "closing_sha256": sha256_text(words)}, by=by)
    stop_telling(alert)
    tell_webhooks(alert, "closed")
    return alert


def _check_resolution(alert: Alert, resolution: str) -> None:
    if resolution not in BY_HAND:
        raise AuscultError(
            f"'{resolution}' is not what a person closes an alert with.",
            remedy=f"Use one of: {', '.join(BY_HAND)}.",
            column="resolution",
        )
    if resolution == Alert.Resolution.NEW_NORMAL and not is_alarm(alert):
        raise AuscultError(
            "Only an alarm of drift can be accepted as the new normal: no reference goes with this alert.",
            remedy="Choose another answer.",
            column="resolution",
        )


@transaction.atomic
def wake_alert(alert: Alert) -> bool:
    """Open a snoozed alert whose time is over; False where somebody was faster. For the sweep."""
    now = timezone.now()
    alert = _locked(alert)
    due = Alert.objects.filter(pk=alert.pk, status=Status.SNOOZED, snoozed_until__lte=now)
    if not due.update(status=Status.OPEN, escalated_at=None):
        return False
    alert.status, alert.escalated_at = Status.OPEN, None
    _note(alert, "woken", "The time for which it was snoozed is over.")
    _record("alert.woken", alert, {})
    tell_raised(alert, step=f"woken:{alert.events.count()}")
    tell_webhooks(alert, f"woken:{alert.events.count()}")
    return True


@transaction.atomic
def escalate_alert(alert: Alert, *, now: datetime) -> bool:
    """Tell whom it is escalated to, once; False where somebody was faster. For the sweep."""
    alert = _locked(alert)
    if not Alert.objects.filter(pk=alert.pk, status=Status.OPEN, escalated_at=None).update(escalated_at=now):
        return False
    alert.escalated_at = now
    since = waits_since(alert)
    told = [person.username for person in tell_escalated(alert, since=since)]
    _note(
        alert, "escalated", f"Not acknowledged since {since:%Y-%m-%d %H:%M} UTC. Told: {', '.join(told) or 'nobody'}."
    )
    _record("alert.escalated", alert, {"told": told, "since": since.isoformat()})
    tell_webhooks(alert, f"escalated:{alert.events.count()}")
    return True


@transaction.atomic
def note_answer(*, alert: Alert, text: str, facts: dict[str, Any]) -> AlertEvent:
    """Keep with an alert what the platform did about it, such as a suspension by policy.

    Args:
        facts: For the ledger: the policy, what was suspended or opened.
    """
    event = _note(alert, "answered", text)
    _record("alert.answered", alert, facts)
    return event


def is_alarm(alert: Alert) -> bool:
    """Whether it is an alarm of the lifetime test, which restarts when it is closed."""
    return alert.key.startswith(ALARM)


def waits_since(alert: Alert) -> datetime:
    """Since when it waits for somebody: since it was raised, or since it woke last."""
    return max(alert.first_at, alert.snoozed_until or alert.first_at)


def _locked(alert: Alert) -> Alert:
    """The alert as it is now, locked after its monitor: whatever judges a window holds that first, then alerts."""
    list(Monitor.objects.select_for_update(of=("self",), no_key=True).filter(pk=alert.monitor_id).values_list("pk"))
    return Alert.objects.select_for_update(of=("self",), no_key=True).select_related(*ABOUT).get(pk=alert.pk)


def _move(alert: Alert, *, to: Alert.Status, **changes: Any) -> None:
    """Change the state by a conditional UPDATE on one that allows it."""
    before = [state for state, allowed in TRANSITIONS.items() if to in allowed]
    if not Alert.objects.filter(pk=alert.pk, status__in=before).update(status=to, **changes):
        state = alert.get_status_display().lower()
        raise ConflictError(f"The alert is {state} and cannot become {to.label.lower()}.", remedy=RELOAD)
    for name, value in ({"status": to} | changes).items():
        setattr(alert, name, value)


def _note(alert: Alert, act: str, text: str, *, by: User | None = None) -> AlertEvent:
    return AlertEvent.objects.create(alert=alert, act=act, text=text, by=by)


def _record(act: str, alert: Alert, facts: dict[str, Any], *, by: User | None = None) -> None:
    ledger.record(
        actor=by.username if by else "system",
        act=act,
        subject=("Alert", alert.pk),
        payload={
            "monitor": alert.monitor_id,
            "deployment": alert.monitor.deployment_id,
            "window": alert.window_id,
            "kind": alert.kind,
            "severity": alert.severity,
            "key": alert.key,
            "times": alert.times,
            "words_sha256": sha256_json({"title": alert.title, "text": alert.text, "detail": alert.detail}),
        }
        | facts,
    )
