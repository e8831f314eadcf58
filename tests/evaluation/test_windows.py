"""Windows and schedules by the clock of a zone: no gap, no overlap, and right where clocks jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from celery.schedules import ParseException
from django_celery_beat.tzcrontab import TzAwareCrontab

from core.errors import AuscultError
from evaluation.models import Monitor
from evaluation.monitoring.windows import bounds, check_zone, due_windows, next_fire, next_time, period, read_crontab

ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
UNITS = ("minute", "hour", "day", "week", "month")
HOUR = timedelta(hours=1)


def moment(text: str, zone: str = "Europe/Vienna") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def test_windows_leave_no_gap_and_never_overlap() -> None:
    """Whatever unit, size, zone and beginning: each closes when the next opens, later than it opened."""
    rng = np.random.default_rng(3)
    for _ in range(400):
        zone, unit, size = str(rng.choice(ZONES)), str(rng.choice(UNITS)), int(rng.integers(1, 40))
        first = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=int(rng.integers(0, 800_000)))
        start = int(rng.integers(1, 100))
        found = [bounds(unit=unit, size=size, first=first, zone=zone, index=start + i) for i in range(4)]
        assert all(one.closes_at == other.opens_at for one, other in pairwise(found))
        assert all(one.opens_at < one.closes_at for one in found), (unit, size, zone, first)
        assert bounds(unit=unit, size=size, first=first, zone=zone, index=1).opens_at == first


def test_days_follow_the_local_clock_and_hours_do_not() -> None:
    spring, autumn = moment("2026-03-28T00:00"), moment("2026-10-24T00:00")
    lengths = {}
    for name, first in (("spring", spring), ("autumn", autumn)):
        days = [bounds(unit="day", size=1, first=first, zone="Europe/Vienna", index=i) for i in range(1, 4)]
        lengths[name] = [(day.closes_at - day.opens_at) / HOUR for day in days]
        assert {day.opens_at.astimezone(ZoneInfo("Europe/Vienna")).hour for day in days} == {0}
    assert lengths == {"spring": [24, 23, 24], "autumn": [24, 25, 24]}
    hours = [bounds(unit="hour", size=6, first=spring, zone="Europe/Vienna", index=i) for i in range(1, 13)]
    assert {item.closes_at - item.opens_at for item in hours} == {6 * HOUR}


def test_a_day_that_opens_in_the_skipped_hour_is_neither_lost_nor_double() -> None:
    """At 02:30 on 29 March 2026 no clock of Vienna stood: that window opens an hour later by the clock."""
    first = moment("2026-03-28T02:30")
    found = [bounds(unit="day", size=1, first=first, zone="Europe/Vienna", index=i) for i in range(1, 4)]
    local = [item.opens_at.astimezone(ZoneInfo("Europe/Vienna")) for item in found]
    assert [(at.day, at.hour, at.minute) for at in local] == [(28, 2, 30), (29, 3, 30), (30, 2, 30)]


def test_months_after_the_31st_end_with_the_month() -> None:
    first = moment("2026-01-31T00:00", "UTC")
    days = [bounds(unit="month", size=1, first=first, zone="UTC", index=i).opens_at for i in range(1, 6)]
    assert [(at.month, at.day) for at in days] == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]


def test_due_means_closed_and_the_grace_over_each_once() -> None:
    monitor = Monitor(
        window_unit="week", window_size=1, first_opens_at=moment("2026-03-02T00:00"), zone="Europe/Vienna",
        grace_hours=6,
    )  # fmt: skip
    closing = moment("2026-03-23T00:00")
    before = list(due_windows(monitor, after=0, until=closing + 6 * HOUR - timedelta(seconds=1)))
    assert [item.index for item in before] == [1, 2]
    assert [item.index for item in due_windows(monitor, after=0, until=closing + 6 * HOUR)] == [1, 2, 3]
    assert [item.index for item in due_windows(monitor, after=2, until=closing + 6 * HOUR)] == [3]
    assert all(item.due_at - item.closes_at == 6 * HOUR for item in before)


@pytest.mark.parametrize("text", ["0 6 * * 1", "*/20 2,3 * * *", "30 2 29 2 *", "15 23 1-7 * sun", "0 0 31 */2 *"])
def test_the_next_firing_is_the_scheduler_s_own(text: str) -> None:
    """Against the crontab that beat itself asks, in a zone whose clocks do not jump in between."""
    fields, zone = read_crontab(text), ZoneInfo("Asia/Kathmandu")
    rng = np.random.default_rng(8)
    for _ in range(15):
        after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=int(rng.integers(0, 500_000)))
        theirs = TzAwareCrontab(**fields, tz=zone)
        theirs.nowfun = lambda now=after: now.astimezone(zone)
        wanted = after + theirs.remaining_estimate(after.astimezone(zone))
        assert next_fire(fields, zone=zone, after=after) == wanted.astimezone(UTC)


def test_a_schedule_in_the_skipped_and_in_the_repeated_hour_fires_once_a_day() -> None:
    monitor = Monitor(crontab="30 2 * * *", zone="Europe/Vienna")
    for start in ("2026-03-27T12:00", "2026-10-23T12:00"):
        after, days = moment(start).astimezone(UTC), []
        for _ in range(4):
            after = next_time(monitor, after=after)
            days.append(after.astimezone(ZoneInfo("Europe/Vienna")).date())
        assert days == [days[0] + timedelta(days=i) for i in range(4)]
    assert period(monitor, after=moment("2026-06-01T00:00")) == 24 * HOUR
    assert period(Monitor(every_seconds=90), after=moment("2026-06-01T00:00")) == timedelta(seconds=90)


@pytest.mark.parametrize("text", ["", "0 6 * *", "0 6 * * 1 2", "61 6 * * 1", "0 25 * * *", "x 6 * * 1", "0 0 30 2 *"])
def test_a_crontab_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(AuscultError) as refused:
        read_crontab(text)
    assert refused.value.column == "crontab" and refused.value.remedy
    assert not isinstance(refused.value, ParseException)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "europe", "\x00"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(AuscultError) as refused:
        check_zone(name)
    assert refused.value.column == "zone"


def test_a_thousand_windows_of_a_long_gap_are_each_there_once() -> None:
    monitor = Monitor(
        window_unit="hour", window_size=1, first_opens_at=datetime(2026, 1, 1, tzinfo=UTC), zone="UTC", grace_hours=0
    )
    found = list(islice(due_windows(monitor, after=9, until=datetime(2026, 3, 1, tzinfo=UTC)), 2000))
    assert [item.index for item in found] == list(range(10, 59 * 24 + 1))
