"""What a monitor does when its schedule fires: windows that are due get a row, once, and the first is sent to work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from core import ledger
from evaluation.models import Monitor, MonitorWindow
from evaluation.monitoring.collecting import FINAL, look_at_source
from evaluation.monitoring.gathering import closing_of
from evaluation.monitoring.missing import tell_missed
from evaluation.monitoring.windows import Bounds, due_windows, next_time

MOST_AT_ONCE = 600
"""Windows that one firing makes. Where there are more, it fires once more at once: short windows that are looked at
seldom would else fall behind for ever."""


def fire_monitor(monitor_id: int, now: datetime | None = None) -> None:
    """Make the windows that are due and have none, and send the first that is open.

    After a downtime this makes each window that was missed, once. Called twice, or by two workers at once, it makes
    none a second time: the row of the monitor is locked, and a window's number is unique.

    Args:
        now: Until when windows are due; the clock's time unless a replay says otherwise.
    """
    from evaluation import tasks

    rows = Monitor.objects.select_related("deployment", "reference_cohort")
    monitor = rows.filter(pk=monitor_id, status=Monitor.Status.ACTIVE).first()
    if monitor is None:
        return
    until = now or timezone.now()
    if monitor.window_unit == Monitor.Unit.COUNT:
        look_at_source(monitor, opens_at=_opens_next(monitor), closes_at=until)
    # What is held is read here, in no transaction.
    after, found = _due(monitor, until)
    with transaction.atomic():
        locked = Monitor.objects.select_for_update(of=("self",), no_key=True).get(pk=monitor_id)
        if locked.status != Monitor.Status.ACTIVE:
            return
        _fired(locked)
        if _last(locked) == after:
            _make(locked, found)
        send_next(locked.pk)
        if len(found) == MOST_AT_ONCE and now is None:
            tasks.fire_monitor.delay_on_commit(locked.pk)


def send_next(monitor_id: int) -> None:
    """Send the first window that has not ended, when the transaction is through."""
    from evaluation import tasks

    first = MonitorWindow.objects.filter(monitor_id=monitor_id).exclude(status__in=FINAL).order_by("index").first()
    if first is not None and first.status == MonitorWindow.Status.DUE:
        tasks.collect_window.delay_on_commit(first.pk)


def _due(monitor: Monitor, until: datetime) -> tuple[int, list[Bounds]]:
    """The number of the last window that is there, and those that are due after it."""
    after = _last(monitor)
    if monitor.window_unit == Monitor.Unit.COUNT:
        source = _due_by_count(monitor, after=after, until=until)
    else:
        source = due_windows(monitor, after=after, until=until)
    return after, list(islice(source, MOST_AT_ONCE))


def _last(monitor: Monitor) -> int:
    """The number of the last window that is there; 0 where there is none, because the first is 1."""
    return int(monitor.windows.aggregate(last=Max("index"))["last"] or 0)


def _make(monitor: Monitor, found: list[Bounds]) -> None:
    if not found:
        return
    MonitorWindow.objects.bulk_create(
        MonitorWindow(
            monitor=monitor,
            index=item.index,
            cycle=monitor.cycle,
            opens_at=item.opens_at,
            closes_at=item.closes_at,
            due_at=item.due_at,
        )
        for item in found
    )
    ledger.record(
        actor="system",
        act="monitor.windows_due",
        subject=("Monitor", monitor.pk),
        payload={"first": found[0].index, "last": found[-1].index, "until": found[-1].closes_at.isoformat()},
    )


def _due_by_count(monitor: Monitor, *, after: int, until: datetime) -> Iterator[Bounds]:
    """Windows of the next so many studies each, for as many as are held."""
    index, opens = after + 1, _opens_next(monitor)
    while (closes := closing_of(monitor, opens, monitor.window_size)) is not None:
        due = closes + timedelta(hours=monitor.grace_hours)
        if due > until:
            return
        yield Bounds(index=index, opens_at=opens, closes_at=closes, due_at=due)
        index, opens = index + 1, closes


def _opens_next(monitor: Monitor) -> datetime:
    last = monitor.windows.order_by("-index").first()
    return last.closes_at if last is not None else monitor.first_opens_at


def _fired(monitor: Monitor) -> None:
    """Write that it fired, and when it is to fire next. A gap that ends here is told of, if nobody told of it yet."""
    now = timezone.now()
    tell_missed(monitor, now)
    Monitor.objects.filter(pk=monitor.pk).update(fired_at=now, next_at=next_time(monitor, after=now))
