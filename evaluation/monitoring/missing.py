"""What did not happen is told: a run that was missed, a window that nobody judged, a source that fell silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from evaluation.models import Alert, Monitor, MonitorWindow
from evaluation.monitoring.collecting import FINAL
from evaluation.monitoring.owners import OWNER_KEY
from evaluation.monitoring.windows import period

SLACK, LATEST = timedelta(minutes=5), timedelta(hours=1)
"""A firing is missed once it is a period late, or an hour where that is shorter; five minutes are always given, because
a scheduler that restarts has missed nothing."""
STALE_AFTER = timedelta(hours=24)
"""A window that is due for so long, or for its own length where that is more, and has not ended, is stale."""
QUIET_AFTER = timedelta(days=30)
"""A monitor by count that has had no new window for so long is told of: perhaps nobody feeds it any more."""
REFERENCE, QUIET = "stale:reference", "stale:quiet"


def is_missed(monitor: Monitor, now: datetime) -> bool:
    """Whether a firing is so late that something must be wrong with the scheduler or the workers."""
    due = monitor.next_at
    return due is not None and now > due + max(SLACK, min(LATEST, period(monitor, after=due)))


def tell_missed(monitor: Monitor, now: datetime) -> bool:
    """Raise the alert of a run that did not come; inside the caller's transaction. One matter for each gap.

    It names the moment that was missed, so that the sweep and the firing that ends the gap tell of one thing.
    """
    if not is_missed(monitor, now) or monitor.next_at is None:
        return False
    due = f"{monitor.next_at:%Y-%m-%d %H:%M} UTC"
    _raise(
        monitor,
        kind=Alert.Kind.MISSED,
        key=f"missed:{monitor.next_at:%Y-%m-%dT%H:%M}",
        title=f"{monitor.name} did not run when it was due",
        text=f"The run of {due} did not come. Windows that passed meanwhile are worked on one by one, each once. See "
        "whether the scheduler and the workers are running.",
        detail={"due": due},
    )
    return True


def tell_stale(now: datetime) -> int:
    """Raise an alert for each window that should have ended long ago, and settle those that ended since.

    Windows that wait for an owner have an alert that says so.
    """
    told = 0
    rows = MonitorWindow.objects.exclude(status__in=FINAL).filter(due_at__lt=now - STALE_AFTER)
    active = rows.filter(monitor__status=Monitor.Status.ACTIVE).select_related("monitor").order_by("monitor", "index")
    waits = Alert.objects.filter(key=OWNER_KEY).exclude(status=Alert.Status.CLOSED)
    seen = set(waits.values_list("monitor_id", flat=True))
    for window in active:
        # The first open window of a monitor holds up those after it: they are one matter.
        if window.monitor_id in seen:
            continue
        seen.add(window.monitor_id)
        since = max(window.due_at, window.created_at)
        if now - since > max(STALE_AFTER, window.closes_at - window.opens_at):
            with transaction.atomic():
                _raise_stale(window)
            told += 1
    return told + _settle_ended()


def tell_unprepared(now: datetime) -> int:
    """Raise an alert for each reference that is still not made after a day."""
    rows = Monitor.objects.filter(status=Monitor.Status.PREPARING, created_at__lt=now - STALE_AFTER)
    for monitor in rows:
        with transaction.atomic():
            _raise(
                monitor,
                kind=Alert.Kind.STALE,
                key=REFERENCE,
                title=f"The reference of {monitor.name} is not made yet",
                text="It was ordered more than a day ago. See whether a worker of the queue gpu is running.",
            )
    return len(rows)


def tell_quiet(now: datetime) -> int:
    """Raise an alert for monitors by count that have had no new window for thirty days."""
    told = 0
    rows = Monitor.objects.filter(status=Monitor.Status.ACTIVE, window_unit=Monitor.Unit.COUNT)
    for monitor in rows:
        last = monitor.windows.order_by("-index").first()
        since = max(monitor.created_at, last.created_at if last else monitor.created_at)
        if now - since <= QUIET_AFTER:
            continue
        with transaction.atomic():
            _raise(
                monitor,
                kind=Alert.Kind.STALE,
                key=QUIET,
                title=f"{monitor.name} has had no new window for {QUIET_AFTER.days} days",
                text=f"A window needs {monitor.window_size:,} studies. See whether its source is still being fed.",
            )
        told += 1
    return told


def _raise_stale(window: MonitorWindow) -> None:
    _raise(
        window.monitor,
        kind=Alert.Kind.STALE,
        key=f"stale:{window.index}",
        title=f"Window {window.index} of {window.monitor.name} is not judged yet",
        text=f"It was due on {window.due_at:%Y-%m-%d %H:%M} UTC. Later windows wait for it. See what the workers do.",
        window=window,
    )


def _settle_ended() -> int:
    """Close the alerts of windows, references and sources that have gone on since."""
    from evaluation.services.alerts import settle_alert

    done = 0
    rows = Alert.objects.filter(kind=Alert.Kind.STALE).exclude(status=Alert.Status.CLOSED)
    for alert in rows.select_related("monitor", "window"):
        if not _is_over(alert):
            continue
        with transaction.atomic():
            done += settle_alert(monitor=alert.monitor, key=alert.key, why="It has gone on since.") is not None
    return done


def _is_over(alert: Alert) -> bool:
    if alert.key == REFERENCE:
        return alert.monitor.status != Monitor.Status.PREPARING
    if alert.key == QUIET:
        return alert.monitor.windows.filter(created_at__gt=alert.first_at).exists()
    return alert.window is not None and alert.window.status in FINAL


def _raise(monitor: Monitor, **facts: Any) -> None:
    from evaluation.services.alerts import raise_alert

    raise_alert(monitor=monitor, severity=Alert.Severity.WARNING, **facts)
