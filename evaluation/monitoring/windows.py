"""When windows open and close, and when a schedule fires next: by the clock of a zone, right when that clock jumps.

Windows of minutes and hours have an absolute length. Windows of days, weeks and months follow the local clock: a day
in March may have 23 hours. The end of one window is the beginning of the next, so that none overlap and no moment is
left out.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import AuscultError
from evaluation.models import Monitor

Unit = Monitor.Unit
ABSOLUTE = {Unit.MINUTE: timedelta(minutes=1), Unit.HOUR: timedelta(hours=1)}
DAYS = {Unit.DAY: 1, Unit.WEEK: 7}
LONGEST_WAIT = 366 * 4 + 1
"""Days after which a crontab that has not fired never will: 29 February comes within them."""
CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """One window: its number from 1, when it opens and closes (left out), from when it is judged. All in UTC."""

    index: int
    opens_at: datetime
    closes_at: datetime
    due_at: datetime


def edge(*, unit: str, size: int, first: datetime, zone: str, index: int) -> datetime:
    """When window ``index`` opens, in UTC: window 1 at ``first``, each further one ``size`` units later.

    A month after the 31st is the last day of the next month; a local time that the clock skips is taken an hour later.

    Raises:
        ValueError: for a window by count, which has no edges of its own.
    """
    units = size * (index - 1)
    if unit in ABSOLUTE:
        return first.astimezone(UTC) + ABSOLUTE[Unit(unit)] * units
    local = first.astimezone(ZoneInfo(zone))
    if unit in DAYS:
        day = local.date() + timedelta(days=DAYS[Unit(unit)] * units)
    elif unit == Unit.MONTH:
        day = _months_after(local.date(), units)
    else:
        raise ValueError("windows by count have no edges by time")
    return datetime.combine(day, local.time().replace(tzinfo=None), tzinfo=ZoneInfo(zone)).astimezone(UTC)


def bounds(*, unit: str, size: int, first: datetime, zone: str, index: int, grace_hours: int = 0) -> Bounds:
    """A window by time; the first is number 1."""
    opens, closes = (edge(unit=unit, size=size, first=first, zone=zone, index=place) for place in (index, index + 1))
    return Bounds(index=index, opens_at=opens, closes_at=closes, due_at=closes + timedelta(hours=grace_hours))


def due_windows(monitor: Monitor, *, after: int, until: datetime) -> Iterator[Bounds]:
    """Windows by time with a number above ``after`` (0: all) that are due at ``until``, in their order."""
    for index in count(after + 1):
        found = bounds(
            unit=monitor.window_unit,
            size=monitor.window_size,
            first=monitor.first_opens_at,
            zone=monitor.zone,
            index=index,
            grace_hours=monitor.grace_hours,
        )
        if found.due_at > until:
            return
        yield found


def check_zone(name: str) -> ZoneInfo:
    """The zone of this name.

    Raises:
        AuscultError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise AuscultError(
            f"'{name}' is no time zone.", remedy="Give an IANA name, such as Europe/Vienna.", column="zone"
        ) from None


def read_crontab(text: str) -> dict[str, str]:
    """The five fields of a crontab, by the names that the scheduler uses.

    Raises:
        AuscultError: it has not five fields, one of them cannot be read, or no day ever meets them.
    """
    fields = text.split()
    remedy = "Give minute, hour, day of month, month and day of week, such as '0 6 * * 1' for Mondays at six."
    if len(fields) != len(CRON_FIELDS):
        raise AuscultError(
            f"A crontab has five fields; '{text[:60]}' has {len(fields)}.", remedy=remedy, column="crontab"
        )
    named = dict(zip(CRON_FIELDS, fields, strict=True))
    try:
        next_fire(named, zone=UTC_ZONE, after=datetime(2026, 1, 1, tzinfo=UTC))
    except (ValueError, KeyError, TypeError) as error:
        raise AuscultError(f"The crontab '{text[:60]}' cannot be read.", remedy=remedy, column="crontab") from error
    return named


UTC_ZONE = ZoneInfo("UTC")


def next_fire(fields: dict[str, str], *, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment after ``after`` that a crontab names by the clock of a zone, in UTC.

    Raises:
        ValueError: no day within four years meets it, or a field cannot be read.
    """
    from celery.schedules import crontab

    rule = crontab(**fields)
    local = after.astimezone(zone)
    for ahead in range(LONGEST_WAIT):
        day = local.date() + timedelta(days=ahead)
        if not _meets(rule, day):
            continue
        for hour in sorted(rule.hour):
            for minute in sorted(rule.minute):
                moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                if moment > after:
                    return moment
    raise ValueError("no day meets this crontab")


def next_time(monitor: Monitor, *, after: datetime) -> datetime:
    """When the monitor's schedule fires next after a moment, in UTC."""
    if monitor.every_seconds:
        return after.astimezone(UTC) + timedelta(seconds=monitor.every_seconds)
    return next_fire(read_crontab(monitor.crontab), zone=ZoneInfo(monitor.zone), after=after)


def period(monitor: Monitor, *, after: datetime) -> timedelta:
    """The time between the next two firings."""
    first = next_time(monitor, after=after)
    return next_time(monitor, after=first) - first


def _meets(rule: object, day: date) -> bool:
    of_month, of_year, of_week = (getattr(rule, name) for name in ("day_of_month", "month_of_year", "day_of_week"))
    return day.day in of_month and day.month in of_year and day.isoweekday() % 7 in of_week


def _months_after(day: date, months: int) -> date:
    place = day.year * 12 + day.month - 1 + months
    year, month = place // 12, place % 12 + 1
    return day.replace(year=year, month=month, day=min(day.day, monthrange(year, month)[1]))
