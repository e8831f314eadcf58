"""What the sweep of monitors finds: dead workers, lost messages, missed runs, stale windows, ended deployments."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from evaluation.models import Alert, AlertEvent, AuditRun, Monitor, MonitorWindow, RunStatus
from evaluation.monitoring import sweeping
from evaluation.monitoring.firing import fire_monitor
from evaluation.monitoring.missing import QUIET, REFERENCE
from evaluation.monitoring.sweeping import sweep_monitors
from evaluation.services.alerts import close_alert
from models_registry.models import Deployment
from tests.evaluation.monitor_scene import make_monitor, make_window
from tests.registry.scene import acts, snapshot

pytestmark = pytest.mark.django_db
Sent = list[tuple[str, int]]
Status = MonitorWindow.Status
NOW = timezone.now
DAY = timedelta(days=1)


@pytest.fixture
def monitor(people: SimpleNamespace) -> Monitor:
    return make_monitor(people, next_at=NOW() + DAY)


def due(monitor: Monitor, index: int = 1, **given: Any) -> MonitorWindow:
    """A window that fell due an hour ago."""
    facts = {"status": Status.DUE, "judged_at": None, "log_e": None, "due_at": NOW() - timedelta(hours=1)}
    window = make_window(monitor, index, **facts | given)
    MonitorWindow.objects.filter(pk=window.pk).update(created_at=NOW() - timedelta(hours=1))
    return window


def test_a_quiet_house_is_left_alone(monitor: Monitor, sent: Sent) -> None:
    make_window(monitor, 1, causes_digest="a" * 64)
    before = snapshot()
    assert sweep_monitors() == 0 and sent == [] and snapshot() == before


def test_a_missed_run_is_told_once_and_made_up_for(monitor: Monitor, people: SimpleNamespace, sent: Sent) -> None:
    """A scheduler that restarts has missed nothing; an hour is too late. The alert stays until a person closes it."""
    Monitor.objects.update(next_at=NOW() - timedelta(minutes=50))
    assert sweep_monitors() == 0 and not Alert.objects.exists()
    Monitor.objects.update(next_at=NOW() - timedelta(minutes=70))
    for _ in range(2):
        sweep_monitors()
    alert = Alert.objects.get()
    assert (alert.kind, alert.times) == (Alert.Kind.MISSED, 1)
    assert set(sent) == {("evaluation.tasks.fire_monitor", monitor.pk)}
    fire_monitor(monitor.pk)
    assert Alert.objects.get().status == Alert.Status.OPEN and monitor.windows.exists()
    sent.clear()
    MonitorWindow.objects.all().delete()
    assert sweep_monitors() == 0 and sent == []
    close_alert(alert=alert, resolution="fixed", closing="Beat was started again.", by=people.boris)


def test_a_short_period_has_five_minutes(monitor: Monitor) -> None:
    Monitor.objects.update(crontab="", every_seconds=5, next_at=NOW() - timedelta(minutes=4))
    assert sweep_monitors() == 0
    Monitor.objects.update(next_at=NOW() - timedelta(minutes=6))
    assert sweep_monitors() == 1 and Alert.objects.get().kind == Alert.Kind.MISSED


def test_a_gap_that_a_firing_ends_is_told_by_it(monitor: Monitor) -> None:
    """Beat itself was away, so no sweep ran: the first firing afterwards says what was missed."""
    Monitor.objects.update(next_at=NOW() - timedelta(days=16))
    fire_monitor(monitor.pk)
    assert Alert.objects.get(kind=Alert.Kind.MISSED).key.startswith("missed:")
    fire_monitor(monitor.pk)
    assert AlertEvent.objects.filter(alert__kind=Alert.Kind.MISSED).count() == 1


def test_the_first_open_window_is_sent_again_and_no_other(monitor: Monitor, sent: Sent) -> None:
    first, _ = due(monitor, 1), due(monitor, 2)
    sweep_monitors()
    assert sent == [("evaluation.tasks.collect_window", first.pk)]
    sweep_monitors()
    assert len(sent) == 1, "it was sent a moment ago"
    MonitorWindow.objects.filter(pk=first.pk).update(
        status=Status.COLLECTING, lease_token="x", lease_expires=NOW() - DAY, sent_at=None
    )
    sweep_monitors()
    assert len(sent) == 2, "its worker died"
    MonitorWindow.objects.filter(pk=first.pk).update(lease_expires=NOW() + DAY)
    Monitor.objects.update(status=Monitor.Status.PAUSED)
    sweep_monitors()
    assert len(sent) == 2


def test_a_window_that_waits_for_its_source_is_left_to_wait(monitor: Monitor, sent: Sent) -> None:
    """After five attempts 32 minutes pass between two; the sweep comes every half a minute."""
    window = due(monitor, attempts=5)
    MonitorWindow.objects.update(sent_at=NOW() - timedelta(minutes=20))
    assert sweep_monitors() == 0 and sent == []
    MonitorWindow.objects.update(sent_at=NOW() - timedelta(minutes=70))
    sweep_monitors()
    assert sent == [("evaluation.tasks.collect_window", window.pk)]


def test_a_stale_window_is_told_and_settled_when_it_ends(monitor: Monitor) -> None:
    window = due(monitor, 1, due_at=NOW() - timedelta(days=9))
    due(monitor, 2, due_at=NOW() - timedelta(days=8))
    MonitorWindow.objects.update(created_at=NOW() - timedelta(days=6))
    sweep_monitors()
    assert not Alert.objects.exists(), "a weekly window is given a week"
    MonitorWindow.objects.update(created_at=NOW() - timedelta(days=8))
    for _ in range(2):
        sweep_monitors()
    alert = Alert.objects.get()
    assert (alert.kind, alert.key, alert.times) == (Alert.Kind.STALE, "stale:1", 1)
    MonitorWindow.objects.filter(pk=window.pk).update(status=Status.EMPTY)
    sweep_monitors()
    alert.refresh_from_db()
    assert (alert.status, alert.resolution) == (Alert.Status.CLOSED, "settled")


def test_a_reference_that_is_not_made_is_sent_again_and_told(monitor: Monitor, sent: Sent) -> None:
    facts = {"status": Monitor.Status.PREPARING, "reference_digest": "", "frame_digest": ""}
    Monitor.objects.update(**facts, lease_token="x", lease_expires=NOW() + DAY, created_at=NOW() - 2 * DAY)
    sweep_monitors()
    assert sent == [] and Alert.objects.get().key == REFERENCE
    Monitor.objects.update(lease_expires=NOW() - timedelta(seconds=1))
    sweep_monitors()
    assert sent == [("evaluation.tasks.prepare_monitor", monitor.pk)]
    Monitor.objects.update(status=Monitor.Status.FAILED, lease_token="", lease_expires=None)
    sweep_monitors()
    assert Alert.objects.get().status == Alert.Status.CLOSED


def test_a_source_by_count_that_fell_silent_is_told(monitor: Monitor) -> None:
    Monitor.objects.update(window_unit="count", window_size=500, created_at=NOW() - timedelta(days=31))
    for _ in range(2):
        sweep_monitors()
    assert Alert.objects.get().key == QUIET and Alert.objects.get().times == 1
    make_window(monitor, 1, causes_digest="a" * 64)
    sweep_monitors()
    assert Alert.objects.get().status == Alert.Status.CLOSED


def test_judging_and_explaining_are_sent_again(people: SimpleNamespace, run: AuditRun, sent: Sent) -> None:
    monitor = make_monitor(people, next_at=NOW() + DAY)
    sent.clear()
    AuditRun.objects.filter(pk=run.pk).update(status=RunStatus.DONE)
    waits = make_window(monitor, 1, status=Status.AUDITING, run=run)
    make_window(monitor, 2, judged_at=NOW() - timedelta(minutes=2))
    lost = make_window(monitor, 3, judged_at=NOW() - timedelta(minutes=20))
    make_window(monitor, 4, judged_at=NOW() - timedelta(days=3))
    sweep_monitors()
    assert ("evaluation.tasks.judge_window", waits.pk) in sent
    assert [item for item in sent if "explain" in item[0]] == [("evaluation.tasks.explain_window", lost.pk)]


def test_a_monitor_ends_with_its_deployment_and_outlasts_a_suspension(monitor: Monitor) -> None:
    Deployment.objects.update(status="suspended", suspension="An incident is looked into.", suspended_at=NOW())
    sweep_monitors()
    assert Monitor.objects.get().status == Monitor.Status.ACTIVE
    Deployment.objects.update(status="ended", ended_at=NOW(), ending="Replaced by another version.")
    for _ in range(2):
        sweep_monitors()
    assert Monitor.objects.get().status == Monitor.Status.ENDED and acts() == ["monitor.ended"]


def test_a_part_that_fails_does_not_stop_the_others(
    monitor: Monitor, sent: Sent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(now: Any) -> int:
        raise ZeroDivisionError

    window = due(monitor)
    monkeypatch.setattr(sweeping, "run_missed", broken)
    assert sweep_monitors() == 1 and sent == [("evaluation.tasks.collect_window", window.pk)]
    assert "broken" in caplog.text and "ZeroDivisionError" in caplog.text


def test_more_windows_than_one_firing_makes_are_made_by_the_next_at_once(
    monitor: Monitor, sent: Sent, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    """Windows of minutes that are looked at once a day would fall behind for ever."""
    monkeypatch.setattr("evaluation.monitoring.firing.MOST_AT_ONCE", 3)
    again = ("evaluation.tasks.fire_monitor", monitor.pk)
    fired = 0
    Monitor.objects.filter(pk=monitor.pk).update(first_opens_at=NOW() - timedelta(weeks=7, days=1))
    while not fired or again in sent:
        sent.clear()
        with django_capture_on_commit_callbacks(execute=True):
            fire_monitor(monitor.pk)
        fired += 1
    assert (fired, monitor.windows.count()) == (3, 7)
