"""What looks after monitors again and again: whatever was lost is sent again, whatever did not happen is told.

Each part may run twice, and one that fails does not stop the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from evaluation.models import Monitor, MonitorWindow, RunStatus
from evaluation.monitoring.collecting import FINAL, FIRST_PAUSE, LONGEST_PAUSE
from evaluation.monitoring.missing import is_missed, tell_missed, tell_quiet, tell_stale, tell_unprepared
from evaluation.monitoring.purging import purge_deliveries
from models_registry.models import Deployment

log = logging.getLogger(__name__)
Status = MonitorWindow.Status
ENDED = (RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED)
EXPLAINED_AFTER, GIVEN_UP_AFTER = timedelta(minutes=10), timedelta(days=1)
"""Causes that are not there after so long are asked for again; those that cannot be found at all, no more."""
OTHERS = ("evaluation.monitoring.escalating:sweep_alerts", "evaluation.monitoring.webhooks:resend_due")
"""``module:function`` of the sweeps of alerts; they take no argument and return how many things they did."""


def sweep_monitors() -> int:
    """How many things were sent again or told of. What nobody foresaw goes to the log with its traceback."""
    done = 0
    for name, part in _parts():
        try:
            done += part(timezone.now())
        except Exception:
            log.exception("The sweep of monitors failed at %s; it is tried again", name)
    return done


def _parts() -> list[tuple[str, Callable[[datetime], int]]]:
    ours: tuple[Callable[[datetime], int], ...] = (
        end_with_deployments,
        resend_references,
        run_missed,
        resend_windows,
        resend_judging,
        resend_explaining,
        tell_stale,
        tell_unprepared,
        tell_quiet,
        purge_deliveries,
    )
    return [*((getattr(part, "__name__", ""), part) for part in ours), *((name, _of(name)) for name in OTHERS)]


def _of(name: str) -> Callable[[datetime], int]:
    def part(now: datetime) -> int:
        module, _, function = name.partition(":")
        return int(getattr(import_module(module), function)())

    return part


def end_with_deployments(now: datetime) -> int:
    """End monitors whose deployment has ended. Those of a suspended one go on: it may come back."""
    from evaluation.services.monitors import end_monitor

    rows = Monitor.objects.filter(deployment__status=Deployment.Status.ENDED).exclude(status=Monitor.Status.ENDED)
    for monitor in rows:
        end_monitor(monitor=monitor, by=None, reason="The deployment that it watched has ended.")
    return len(rows)


def resend_references(now: datetime) -> int:
    """Send again references whose worker died, whose message was lost, or whose audit has ended."""
    from evaluation import tasks

    free = Q(lease_token="") | Q(lease_expires__lt=now)
    waits = Q(reference_run=None, created_at__lt=now - _leases(1)) | Q(reference_run__status__in=ENDED)
    found = Monitor.objects.filter(free, waits, status=Monitor.Status.PREPARING).values_list("pk", flat=True)
    for pk in found:
        tasks.prepare_monitor.delay(pk)
    return len(found)


def run_missed(now: datetime) -> int:
    """Tell of active monitors that did not fire, and have them look now."""
    from evaluation import tasks

    late = Monitor.objects.filter(status=Monitor.Status.ACTIVE, next_at__lt=now)
    found = [monitor for monitor in late if is_missed(monitor, now)]
    for monitor in found:
        with transaction.atomic():
            tell_missed(monitor, now)
        tasks.fire_monitor.delay(monitor.pk)
    return len(found)


def resend_windows(now: datetime) -> int:
    """Send again the first open window of each active monitor: its worker died, or its message was lost.

    One that waits for a source is left to wait: the pause between two attempts is not shortened.
    """
    from evaluation import tasks

    sent, seen = 0, set()
    rows = MonitorWindow.objects.filter(monitor__status=Monitor.Status.ACTIVE).exclude(status__in=FINAL)
    for window in rows.order_by("monitor", "index"):
        if window.monitor_id in seen:
            continue
        seen.add(window.monitor_id)
        if not _is_lost(window, now):
            continue
        if MonitorWindow.objects.filter(pk=window.pk, sent_at=window.sent_at).update(sent_at=now):
            tasks.collect_window.delay(window.pk)
            sent += 1
    return sent


def _is_lost(window: MonitorWindow, now: datetime) -> bool:
    if window.status == Status.COLLECTING:
        return window.lease_expires is not None and window.lease_expires < now
    if window.status != Status.DUE or window.due_at > now:
        return False
    last = window.sent_at or window.created_at
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**window.attempts) if window.attempts or window.progress else 0
    return now - last > timedelta(seconds=pause) + _leases(2)


def resend_judging(now: datetime) -> int:
    """Send again windows whose audit has ended and that nobody judges."""
    from evaluation import tasks

    waits = Q(status=Status.AUDITING, run__status__in=ENDED) | Q(status=Status.JUDGING, lease_expires__lt=now)
    found = MonitorWindow.objects.filter(waits).values_list("pk", flat=True)
    for pk in found:
        tasks.judge_window.delay(pk)
    return len(found)


def resend_explaining(now: datetime) -> int:
    """Ask again for the causes of windows that were judged a while ago and have none."""
    from evaluation import tasks

    waits = MonitorWindow.objects.filter(
        status=Status.JUDGED,
        causes_digest="",
        judged_at__lt=now - EXPLAINED_AFTER,
        judged_at__gt=now - GIVEN_UP_AFTER,
    )
    found = waits.values_list("pk", flat=True)
    for pk in found:
        tasks.explain_window.delay(pk)
    return len(found)


def _leases(number: int) -> timedelta:
    return timedelta(seconds=number * settings.AUSCULT_LEASE_SECONDS)
