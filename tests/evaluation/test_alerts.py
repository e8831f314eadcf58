"""Alerts: one for a matter, counted up, and what people do with it, with its history and its entries in the ledger."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification
from evaluation.models import Alert, Monitor
from evaluation.services import alerts as services
from evaluation.services.alerts import (
    acknowledge_alert,
    assign_alert,
    close_alert,
    raise_alert,
    settle_alert,
    snooze_alert,
)
from tests.evaluation.monitor_scene import make_alert, make_monitor, make_window

pytestmark = pytest.mark.django_db
WORDS = "The table was locked for a backup; it answers again."
UNTIL = timedelta(days=2)


@pytest.fixture
def monitor(people: SimpleNamespace) -> Monitor:
    return make_monitor(people)


def fact(monitor: Monitor, **given: Any) -> dict[str, Any]:
    return {
        "monitor": monitor,
        "kind": Alert.Kind.SOURCE,
        "severity": Alert.Severity.WARNING,
        "key": "source",
        "title": "The table cannot be read",
        "text": "It does not answer.",
    } | given


def acts(alert: Alert) -> list[str]:
    rows = LedgerEntry.objects.filter(subject_kind="Alert", subject_id=str(alert.pk)).order_by("index")
    return [act.partition(".")[2] for act in rows.values_list("act", flat=True)]


def unread(person: Any) -> list[tuple[str, str]]:
    rows = Notification.objects.filter(recipient=person, read_at=None).order_by("pk")
    return list(rows.values_list("title", "urgency"))


def test_a_matter_is_one_alert_and_what_is_told_twice_counts_once(people: SimpleNamespace, monitor: Monitor) -> None:
    first, second = make_window(monitor, 1), make_window(monitor, 2)
    detail = {"tries": (1, 2), "share": 0.25}
    alert = raise_alert(**fact(monitor, window=first, detail=detail))
    assert unread(people.amir) == [("The table cannot be read", "action")]
    assert not unread(people.clara)
    for _ in range(3):  # a task that is delivered twice, a sweep that looks again
        assert raise_alert(**fact(monitor, window=first, detail=detail)) == alert
    alert.refresh_from_db()
    assert (alert.times, alert.window, acts(alert)) == (1, first, ["raised"])

    raise_alert(**fact(monitor, window=second, text="It still does not answer."))
    alert.refresh_from_db()
    assert (alert.times, alert.window, alert.text) == (2, second, "It still does not answer.")
    assert acts(alert) == ["raised", "repeated"] == list(alert.events.values_list("act", flat=True))
    assert len(unread(people.amir)) == 1, "a repetition is told by the alert's page, not by another message"
    assert raise_alert(**fact(monitor, key="other")) != alert
    with pytest.raises(ValueError, match="no alert can be made"):
        raise_alert(**fact(monitor, kind="weather"))


def test_a_severity_rises_wakes_and_never_falls(people: SimpleNamespace, monitor: Monitor) -> None:
    alert = raise_alert(**fact(monitor))
    acknowledge_alert(alert=alert, by=people.amir)
    assert not unread(people.amir)
    raise_alert(**fact(monitor, severity=Alert.Severity.CRITICAL, text="For three windows now."))
    alert.refresh_from_db()
    assert (alert.severity, alert.status, alert.times) == ("critical", "open", 2)
    assert unread(people.amir) == unread(people.clara) == [("The table cannot be read", "urgent")]
    raise_alert(**fact(monitor, text="Less grave, it seems."))
    alert.refresh_from_db()
    assert (alert.severity, alert.times) == ("critical", 3)
    risen = [json.loads(row.body)["payload"]["risen"] for row in LedgerEntry.objects.filter(act="alert.repeated")]
    assert sorted(risen) == [False, True]


def test_two_workers_that_raise_one_matter_make_one_alert(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one looked before the first one wrote: the database refuses its row, and it counts up instead."""
    alert, seen = make_alert(monitor, key="source"), []
    real = services._unclosed

    def late(*args: Any) -> Alert | None:
        seen.append(args)
        return None if len(seen) == 1 else real(*args)

    monkeypatch.setattr(services, "_unclosed", late)
    assert raise_alert(**fact(monitor)) == alert
    assert (Alert.objects.count(), len(seen)) == (1, 2)


def test_what_ends_by_itself_is_settled_and_may_come_again(people: SimpleNamespace, monitor: Monitor) -> None:
    alert = raise_alert(**fact(monitor))
    snooze_alert(alert=alert, until=timezone.now() + UNTIL, reason="A backup is running.", by=people.amir)
    settled = settle_alert(monitor=monitor, key="source", why="The table answers again.")
    assert settled is not None
    settled.refresh_from_db()
    assert (settled.status, settled.resolution, settled.closed_by) == ("closed", "settled", None)
    assert settle_alert(monitor=monitor, key="source") is None
    assert raise_alert(**fact(monitor)).pk != alert.pk
    with pytest.raises(ValueError, match="closed by a person"):
        settle_alert(monitor=monitor, key="drift:1")


def test_it_is_acknowledged_assigned_and_closed_with_its_history(people: SimpleNamespace, monitor: Monitor) -> None:
    alert = raise_alert(**fact(monitor))
    with pytest.raises(DeniedError, match="may see to alerts") as denial:
        acknowledge_alert(alert=alert, by=people.dora)
    assert str(people.amir) in denial.value.remedy
    assign_alert(alert=alert, to=people.dora, by=people.amir)
    assert unread(people.dora) == [("The table cannot be read", "action")]
    with pytest.raises(ConflictError, match="sees to this alert already"):
        assign_alert(alert=alert, to=people.dora, by=people.amir)
    with pytest.raises(DeniedError, match="cannot see to an alert"):
        assign_alert(alert=alert, to=people.rita, by=people.amir)
    acknowledge_alert(alert=alert, by=people.dora)  # whoever it is assigned to may, whatever their role
    assert not unread(people.dora)
    with pytest.raises(ConflictError, match="is acknowledged and cannot become acknowledged"):
        acknowledge_alert(alert=alert, by=people.clara)
    with pytest.raises(AuscultError, match="needs 10 to"):
        close_alert(alert=alert, resolution="fixed", closing="ok", by=people.dora)
    with pytest.raises(AuscultError, match="Only an alarm of drift"):
        close_alert(alert=alert, resolution="new_normal", closing=WORDS, by=people.dora)
    with pytest.raises(AuscultError, match="not what a person closes"):
        close_alert(alert=alert, resolution="settled", closing=WORDS, by=people.dora)
    close_alert(alert=alert, resolution="fixed", closing=WORDS, by=people.dora)
    with pytest.raises(ConflictError, match="closed and cannot"):
        close_alert(alert=alert, resolution="fixed", closing=WORDS, by=people.dora)
    assert acts(alert) == ["raised", "assigned", "acknowledged", "closed"]
    assert list(alert.events.values_list("act", flat=True)) == acts(alert)
    entry = LedgerEntry.objects.get(act="alert.closed")
    assert (entry.actor, WORDS in entry.body) == ("dora", False)


def test_who_made_the_version_does_not_say_that_it_is_nothing(people: SimpleNamespace, monitor: Monitor) -> None:
    alert = raise_alert(**fact(monitor))
    assign_alert(alert=alert, to=people.elena, by=people.amir)
    acknowledge_alert(alert=alert, by=people.elena)
    with pytest.raises(DeniedError, match="You submitted"):
        close_alert(alert=alert, resolution="fixed", closing=WORDS, by=people.elena)
    with pytest.raises(DeniedError, match="You submitted"):
        snooze_alert(alert=alert, until=timezone.now() + UNTIL, reason="It is nothing.", by=people.elena)


def test_a_snoozed_alert_counts_up_in_silence_until_its_time_is_over(people: SimpleNamespace, monitor: Monitor) -> None:
    alert, now = raise_alert(**fact(monitor)), timezone.now()
    for until in (now - timedelta(minutes=1), now + timedelta(days=31)):
        with pytest.raises(AuscultError, match="rests until a moment from now to 30 days"):
            snooze_alert(alert=alert, until=until, reason="A backup is running.", by=people.amir)
    snooze_alert(alert=alert, until=now + UNTIL, reason="A backup is running.", by=people.amir)
    raise_alert(**fact(monitor, text="Again."))
    alert.refresh_from_db()
    assert (alert.status, alert.times, unread(people.amir)) == ("snoozed", 2, [])

    Alert.objects.filter(pk=alert.pk).update(snoozed_until=now - timedelta(seconds=1))
    raise_alert(**fact(monitor, text="Again."))  # the same words, but its time is over
    alert.refresh_from_db()
    assert (alert.status, alert.times) == ("open", 2)
    assert unread(people.amir) == [("The table cannot be read", "action")]


def test_closing_an_alarm_of_this_cycle_restarts_the_test(people: SimpleNamespace, monitor: Monitor) -> None:
    window = make_window(monitor, 4, alarm=True, look={"onset": 2})
    older, alarm = make_alert(monitor, key="drift:1"), make_alert(monitor, key="drift:2", window=window)
    Monitor.objects.filter(pk=monitor.pk).update(cycle=2)
    close_alert(alert=older, resolution="false_alarm", closing=WORDS, by=people.clara)
    monitor.refresh_from_db()
    assert monitor.cycle == 2, "an alarm of an earlier cycle moves nothing any more"
    # No window since the change was sketched, so there is no new reference: nothing at all happens.
    with pytest.raises(ConflictError, match="fewer than the"):
        close_alert(alert=alarm, resolution="new_normal", closing=WORDS, by=people.clara)
    alarm.refresh_from_db()
    assert (alarm.status, acts(alarm)) == ("open", [])
    close_alert(alert=alarm, resolution="fixed", closing=WORDS, by=people.clara)
    monitor.refresh_from_db()
    assert monitor.cycle == 3
    restarted = json.loads(LedgerEntry.objects.get(act="monitor.restarted").body)
    assert (restarted["actor"], restarted["payload"]["resolution"]) == ("clara", "fixed")


@pytest.mark.usefixtures("broken_ledger")
def test_no_act_stands_without_its_entry(people: SimpleNamespace, monitor: Monitor) -> None:
    alert = make_alert(monitor)
    attempts = [
        lambda: raise_alert(**fact(monitor)),
        lambda: raise_alert(**fact(monitor, key=alert.key)),
        lambda: acknowledge_alert(alert=alert, by=people.amir),
        lambda: assign_alert(alert=alert, to=people.dora, by=people.amir),
        lambda: snooze_alert(alert=alert, until=timezone.now() + UNTIL, reason="It can wait.", by=people.amir),
    ]
    before = Alert.objects.values().get()
    for attempt in attempts:
        with pytest.raises(RuntimeError, match="ledger is broken"), transaction.atomic():
            attempt()
        assert Alert.objects.values().get() == before
        assert not alert.events.exists()
