"""Clocks of incidents held against an oracle that walks: day by day, second by second, by the clock on the wall."""

from __future__ import annotations

import datetime as dt
import re
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from dateutil import tz
from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from governance.applicability import IncidentFacts
from governance.incident_routes import due_at
from governance.member_states import ZONES
from governance.models import IncidentClock
from governance.requirements import load_requirements
from governance.selectors.incidents import clock_line, incident_detail
from governance.standing.incident_clocks import (
    DAY,
    HALF,
    HOURS,
    OVER,
    ClockFacts,
    awareness,
    is_late,
    is_short,
    left_words,
    member_state_of,
    moment_words,
    not_owed,
    span_words,
    standing,
    step_moments,
    steps_reached,
)
from tests.governance.example_answers import device
from tests.governance.incident_scene import (
    HEALTH,
    INFRASTRUCTURE,
    RIGHTS,
    SOFTWARE,
    VIENNA,
    clocks,
    freeze,
    make_scene,
    recorded,
    vienna,
)

CATALOGUE = load_requirements()
DAYS = {"AIA-73-2": 15, "AIA-73-4": 10, "AIA-73-3": 2, "MDR-87-3": 15, "MDR-87-5": 10, "MDR-87-4": 2}
PLACES = [*(zone for _name, zone in ZONES.values()), "UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland"]
SECONDS = st.integers(1_704_067_200, 2_019_686_400)  # 2024 to the end of 2033
ZONE = st.sampled_from(PLACES)
AROUND_DST = [(2027, 3, 28), (2027, 10, 31), (2028, 3, 26), (2028, 10, 29), (2028, 2, 29), (2027, 12, 31)]


# ---- The oracle


def walk_days(aware: dt.datetime, zone: str, days: int) -> dt.datetime:
    """The last second of the last day: go on second by second, once a day has begun, until the date has changed."""
    there = ZoneInfo(zone)

    def day_of(second: int) -> str:
        return dt.datetime.fromtimestamp(second, there).date().isoformat()

    second, today, passed = int(aware.timestamp()), day_of(int(aware.timestamp())), 0
    while True:
        # By hours and minutes while the date does not change within them; then second by second.
        step = next(size for size in (3600, 60, 1) if size == 1 or day_of(second + size) == today)
        second += step
        if day_of(second) != today:
            if passed == days:
                return dt.datetime.fromtimestamp(second - 1, dt.UTC)
            today, passed = day_of(second), passed + 1


def by_pandas(aware: dt.datetime, zone: str, days: int) -> dt.datetime:
    """The second before the midnight after the last day, as pandas counts calendar days."""
    local = pd.Timestamp(aware.timestamp(), unit="s", tz="UTC").tz_convert(zone)
    after = (local.tz_localize(None).normalize() + pd.DateOffset(days=days + 1)).tz_localize(zone)
    return (after - pd.Timedelta(seconds=1)).to_pydatetime()


def by_dateutil(aware: dt.datetime, zone: str, days: int) -> dt.datetime:
    there = tz.gettz(zone)
    local = aware.astimezone(there) + relativedelta(days=days)
    return local.replace(hour=23, minute=59, second=59, microsecond=0).astimezone(dt.UTC)


@given(second=SECONDS, zone=ZONE, deadline=st.sampled_from(sorted(DAYS)))
@settings(max_examples=150, deadline=None)
def test_days_end_where_walking_from_second_to_second_ends(second: int, zone: str, deadline: str) -> None:
    aware = dt.datetime.fromtimestamp(second, dt.UTC)
    found = due_at(CATALOGUE.deadlines[deadline], aware, ZoneInfo(zone))
    assert found == walk_days(aware, zone, DAYS[deadline])
    assert found == by_pandas(aware, zone, DAYS[deadline])
    assert found == by_dateutil(aware, zone, DAYS[deadline])


@pytest.mark.parametrize("day", AROUND_DST)
@pytest.mark.parametrize("deadline", sorted(DAYS))
def test_days_over_a_change_of_the_clocks_a_leap_day_and_the_end_of_a_year(
    day: tuple[int, int, int], deadline: str
) -> None:
    """From every day of the three weeks before, at the first, a middle and the last second of the day in Vienna."""
    for before in range(21):
        start = dt.date(*day) - dt.timedelta(days=before)
        for clock in (dt.time(0, 0, 0), dt.time(2, 30, 0), dt.time(23, 59, 59)):
            aware = dt.datetime.combine(start, clock, tzinfo=VIENNA)
            found = due_at(CATALOGUE.deadlines[deadline], aware, VIENNA)
            assert found == walk_days(aware, "Europe/Vienna", DAYS[deadline])
            assert found is not None
            local = found.astimezone(VIENNA)
            assert (local.time(), (local.date() - start).days) == (dt.time(23, 59, 59), DAYS[deadline])


@given(second=SECONDS, zone=ZONE)
@example(second=int(vienna(2027, 3, 26, 18).timestamp()), zone="Europe/Vienna")
@example(second=int(vienna(2027, 10, 29, 18).timestamp()), zone="Europe/Vienna")
@settings(max_examples=150, deadline=None)
def test_72_hours_are_seconds_and_nothing_else(second: int, zone: str) -> None:
    aware = dt.datetime.fromtimestamp(second, dt.UTC)
    found = due_at(CATALOGUE.deadlines["GDPR-33"], aware, ZoneInfo(zone))
    assert found is not None
    assert found.timestamp() == second + 72 * 60 * 60
    assert found == pd.Timestamp(second, unit="s", tz=zone) + pd.Timedelta(hours=72)


def test_the_oracle_would_find_a_period_of_24_hour_days() -> None:
    """A planted defect: days of 24 hours, which is wrong over a change of the clocks."""
    aware = vienna(2027, 3, 20, 12)
    wrong = (aware.astimezone(dt.UTC) + dt.timedelta(days=15)).astimezone(VIENNA).replace(hour=23, minute=59, second=59)
    naive = aware.astimezone(dt.UTC).replace(hour=23, minute=59, second=59) + dt.timedelta(days=15)
    assert walk_days(aware, "Europe/Vienna", 15) == wrong, "the day is the same"
    assert walk_days(aware, "Europe/Vienna", 15) != naive, "the end of the day in UTC is another moment"


# ---- From the report to what is shown


@pytest.fixture
def scene(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    freeze(monkeypatch, vienna(2028, 12, 1))
    return make_scene(people, **SOFTWARE)


@given(
    second=st.integers(1_704_067_200, 1_850_000_000),
    zone=ZONE,
    facts=st.sampled_from(
        [
            ({"kinds": (HEALTH,)}, "AIA-73-2", 15),
            ({"kinds": (HEALTH,), "death": True}, "AIA-73-4", 10),
            ({"kinds": (INFRASTRUCTURE,)}, "AIA-73-3", 2),
            ({"kinds": (RIGHTS,), "widespread": True}, "AIA-73-3", 2),
        ]
    ),
    later=st.integers(-3, 1_000_000),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_shown_is_what_the_oracle_walks_to(
    scene: SimpleNamespace, second: int, zone: str, facts: tuple[dict[str, Any], str, int], later: int
) -> None:
    given_facts, deadline, days = facts
    aware = dt.datetime.fromtimestamp(second, dt.UTC)
    incident = recorded(scene, aware_at=aware, zone=zone, **given_facts)
    end = walk_days(aware, zone, days)
    assert {key: row.due_at for key, row in clocks(incident).items()} == {deadline: end}, "kept in the database"
    now = end - dt.timedelta(seconds=later)
    (line,) = incident_detail(incident, user=None, now=now).clocks
    local = end.astimezone(ZoneInfo(zone))
    assert line.due_there.startswith(f"{local.day} {local:%b %Y} 23:59:59 ")
    assert line.due_there.endswith(f"({zone})" if zone != "UTC" else "23:59:59 UTC")
    assert line.standing == ("run_out" if later < 0 else "running")
    assert _seconds(line.left) in (later // 60 * 60, later // 3600 * 3600, 0 if later < 60 else later // 60 * 60)


def _seconds(left: str) -> int:
    """What a countdown in words says, in seconds, as far as it says it."""
    per = {"day": 86_400, "h": 3600, "min": 60}
    return sum(int(number) * per[unit] for number, unit in re.findall(r"(\d+) (day|h|min)", left))


@pytest.mark.parametrize(
    ("aware", "zone", "due"),
    [
        (vienna(2027, 3, 9, 23, 59, 59), "Europe/Vienna", "24 Mar 2027 23:59:59 CET (Europe/Vienna)"),
        (vienna(2027, 3, 10, 0, 0, 0), "Europe/Vienna", "25 Mar 2027 23:59:59 CET (Europe/Vienna)"),
        (vienna(2027, 3, 20, 9), "Europe/Vienna", "4 Apr 2027 23:59:59 CEST (Europe/Vienna)"),
        (vienna(2027, 10, 20, 9), "Europe/Vienna", "4 Nov 2027 23:59:59 CET (Europe/Vienna)"),
        (vienna(2028, 2, 20, 9), "Europe/Vienna", "6 Mar 2028 23:59:59 CET (Europe/Vienna)"),
        (vienna(2027, 12, 24, 9), "Europe/Vienna", "8 Jan 2028 23:59:59 CET (Europe/Vienna)"),
        (vienna(2027, 3, 9, 23, 30), "Europe/Athens", "25 Mar 2027 23:59:59 EET (Europe/Athens)"),
        (vienna(2027, 3, 9, 0, 30), "Europe/Lisbon", "23 Mar 2027 23:59:59 WET (Europe/Lisbon)"),
    ],
)
def test_days_by_hand(scene: SimpleNamespace, aware: dt.datetime, zone: str, due: str) -> None:
    """15 days: the second before midnight is one day, midnight the next; Athens and Lisbon have other dates."""
    incident = recorded(scene, aware_at=aware, zone=zone)
    (line,) = incident_detail(incident, user=None).clocks
    assert line.due_there == due


def test_a_reader_elsewhere_sees_both_clocks(scene: SimpleNamespace) -> None:
    reader = scene.people.clara
    reader.time_zone = "America/New_York"
    incident = recorded(scene, aware_at=vienna(2027, 3, 9))
    (line,) = incident_detail(incident, user=reader, now=vienna(2027, 3, 20)).clocks
    assert line.due_there == "24 Mar 2027 23:59:59 CET (Europe/Vienna)"
    assert line.due_here == "24 Mar 2027 18:59:59 EDT (America/New_York)"
    reader.time_zone = "Europe/Vienna"
    (line,) = incident_detail(incident, user=reader, now=vienna(2027, 3, 20)).clocks
    assert line.due_here == ""


# ---- Where a clock stands


@pytest.mark.parametrize(
    ("given_facts", "expected"),
    [
        ({}, "running"),
        ({"due_at": None}, "not_started"),
        ({"due_at": None, "timed": False}, "at_once"),
        ({"due_at": vienna(2027, 3, 9)}, "run_out"),
        ({"due_at": vienna(2027, 3, 10)}, "running"),
        ({"met_at": vienna(2027, 3, 9)}, "met"),
        ({"met_at": vienna(2027, 3, 31)}, "met_late"),
        ({"met_at": vienna(2027, 3, 31), "due_at": None}, "met"),
        ({"delay_reason": "Not ours."}, "explained"),
        ({"delay_reason": "Late.", "met_at": vienna(2027, 3, 31)}, "met_late"),
        ({"superseded": True, "met_at": vienna(2027, 3, 9)}, "superseded"),
    ],
)
def test_where_a_clock_stands(given_facts: dict[str, Any], expected: str) -> None:
    about: dict[str, Any] = {"deadline": "MDR-87-3", "started_at": vienna(2027, 3, 1), "due_at": vienna(2027, 3, 30)}
    assert standing(ClockFacts(**about | given_facts), vienna(2027, 3, 10)) == expected


@given(second=SECONDS, fraction=st.integers(0, 999_999))
def test_the_last_second_is_in_time_all_of_it(second: int, fraction: int) -> None:
    due = dt.datetime.fromtimestamp(second, dt.UTC)
    assert not is_late(due, due + dt.timedelta(microseconds=fraction))
    assert is_late(due, due + dt.timedelta(seconds=1, microseconds=fraction))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a minute"),
        (59, "less than a minute"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (18_750, "5 h 12 min"),
        (86_400, "1 day"),
        (86_400 * 3 + 4 * 3600 + 59 * 60, "3 days 4 h"),
    ],
)
def test_spans_in_words(seconds: int, words: str) -> None:
    now = vienna(2027, 3, 20, 12)
    assert span_words(seconds) == words
    assert left_words(now + dt.timedelta(seconds=seconds), now) == f"{words} left"
    if seconds:
        assert left_words(now, now + dt.timedelta(seconds=seconds)) == f"ran out {words} ago"


def test_a_countdown_over_a_change_of_the_clocks_counts_hours_that_pass() -> None:
    """From Saturday noon to Sunday noon, 28 March 2027, are 23 hours."""
    assert left_words(vienna(2027, 3, 28, 12), vienna(2027, 3, 27, 12)) == "23 h left"
    assert left_words(vienna(2027, 10, 31, 12), vienna(2027, 10, 30, 12)) == "1 day 1 h left"


def test_moments_tell_the_two_hours_of_autumn_apart() -> None:
    first = dt.datetime(2027, 10, 31, 0, 30, tzinfo=dt.UTC)
    told = [moment_words(first + dt.timedelta(hours=hour), "Europe/Vienna") for hour in (0, 1)]
    assert told == ["31 Oct 2027 02:30 CEST (Europe/Vienna)", "31 Oct 2027 02:30 CET (Europe/Vienna)"]
    assert moment_words(None, "UTC") == "–"


# ---- Steps


def test_steps_of_long_and_short_clocks() -> None:
    long = step_moments(started_at=vienna(2027, 3, 1, 12), due_at=vienna(2027, 3, 16, 23, 59, 59), short=False)
    assert set(long) == {HALF, DAY, OVER}
    assert long[DAY] == vienna(2027, 3, 15, 23, 59, 59)
    assert long[OVER] == vienna(2027, 3, 17, 0, 0, 0)
    short = step_moments(started_at=vienna(2027, 3, 1, 12), due_at=vienna(2027, 3, 4, 12), short=True)
    assert short[HALF] == vienna(2027, 3, 3, 0, 0)
    assert short[HOURS] == vienna(2027, 3, 4, 6)
    expected = {"GDPR-33", "AIA-73-3", "MDR-87-4", "IVDR-82-4"}
    assert {key for key, item in CATALOGUE.deadlines.items() if is_short(item)} == expected


@given(
    start=SECONDS,
    length=st.integers(1, 16 * 86_400),
    short=st.booleans(),
    looks=st.lists(st.integers(-1000, 17 * 86_400), max_size=12),
)
def test_every_step_is_taken_once_and_none_too_soon(start: int, length: int, short: bool, looks: list[int]) -> None:
    begun = dt.datetime.fromtimestamp(start, dt.UTC)
    moments = step_moments(started_at=begun, due_at=begun + dt.timedelta(seconds=length), short=short)
    taken: list[str] = []
    for look in sorted(looks):
        now = begun + dt.timedelta(seconds=look)
        new = steps_reached(moments, taken, now)
        assert all(moments[step] <= now for step in new)
        assert not set(new) & set(taken)
        taken += new
        assert set(taken) == {step for step, moment in moments.items() if moment <= now}


# ---- Who is aware, and what is not owed


def test_each_regime_runs_from_its_own_awareness() -> None:
    a, b, c = vienna(2027, 3, 3), vienna(2027, 3, 1), vienna(2027, 3, 2)
    facts = IncidentFacts(aware_at=a, deployer_aware_at=b, controller_aware_at=c)
    assert [awareness(regime, facts) for regime in ("AI Act", "MDR", "IVDR", "GDPR")] == [b, a, a, c]
    assert awareness("AI Act", IncidentFacts()) is None


@pytest.mark.parametrize(
    ("answers", "facts", "regime", "words"),
    [
        (device(), {"kinds": (HEALTH,)}, "AI Act", "Art. 73(10)"),
        (device(research_only=True), {"kinds": (RIGHTS,)}, "AI Act", "scientific research"),
        (device(role="deployer", art_25_changes=["none"]), {"kinds": (RIGHTS,)}, "AI Act", "not the provider"),
        (device(manufacturer=False), {"kinds": (HEALTH,)}, "MDR and IVDR", "manufacturer"),
        (device(device_law="none"), {"kinds": (HEALTH,)}, "MDR and IVDR", "no device"),
        (device(), {"kinds": (RIGHTS,)}, "MDR and IVDR", "No harm to health"),
        (device(data_role="processor"), {"breach": True}, "GDPR", "not"),
        (device(), {"breach": True, "breach_risk": "unlikely"}, "GDPR", "Art. 33(1)"),
        (device(), {}, "GDPR", "No breach"),
    ],
)
def test_why_a_regime_wants_nothing(answers: Any, facts: dict[str, Any], regime: str, words: str) -> None:
    told = {item.regime: item.reason for item in not_owed(answers, IncidentFacts(**facts), ())}
    assert words.casefold() in told[regime].casefold()


def test_a_regime_with_a_clock_has_no_such_reason() -> None:
    found = not_owed(device(), IncidentFacts(kinds=(HEALTH,)), ("MDR", "GDPR"))
    assert [item.regime for item in found] == ["AI Act"]


def test_member_states_by_zone() -> None:
    assert {member_state_of(zone) for _name, zone in ZONES.values()} == {name for name, _zone in ZONES.values()}
    assert member_state_of("America/New_York") == ""


def test_a_notice_without_a_number_of_days_is_due_at_once(scene: SimpleNamespace) -> None:
    incident = recorded(scene, kinds=(), breach=True, breach_risk="high", controller_aware_at=vienna(2028, 11, 30))
    found = {row.deadline: row for row in IncidentClock.objects.filter(incident=incident)}
    line = clock_line(found["GDPR-34"], zone="Europe/Vienna", reader="UTC", now=vienna(2028, 12, 1))
    assert (line.standing, line.left, line.due_there) == ("at_once", "", "–")
