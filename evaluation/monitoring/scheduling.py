"""A monitor's entry in the scheduler's tables: django-celery-beat fires ``evaluation.tasks.fire_monitor`` by it."""

from __future__ import annotations

import json

from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from evaluation.models import Monitor
from evaluation.monitoring.windows import next_time, read_crontab

TASK = "evaluation.tasks.fire_monitor"


def schedule_monitor(monitor: Monitor) -> None:
    """Write or renew the entry of an active monitor; inside the transaction of the act. The scheduler notices."""
    entry = monitor.schedule or PeriodicTask(name=f"monitor-{monitor.pk}", task=TASK, args=json.dumps([monitor.pk]))
    if monitor.crontab:
        entry.interval = None
        entry.crontab, _ = CrontabSchedule.objects.get_or_create(**read_crontab(monitor.crontab), timezone=monitor.zone)
    else:
        entry.crontab = None
        entry.interval, _ = IntervalSchedule.objects.get_or_create(
            every=monitor.every_seconds, period=IntervalSchedule.SECONDS
        )
    entry.enabled = True
    entry.description = str(monitor)[:200]
    entry.save()
    now = timezone.now()
    monitor.schedule, monitor.next_at = entry, next_time(monitor, after=now)
    Monitor.objects.filter(pk=monitor.pk).update(schedule=entry, next_at=monitor.next_at)


def unschedule_monitor(monitor: Monitor) -> None:
    """Switch the entry off: a monitor that is paused or has ended does not fire."""
    if monitor.schedule is not None:
        monitor.schedule.enabled = False
        monitor.schedule.save()
    Monitor.objects.filter(pk=monitor.pk).update(next_at=None)
