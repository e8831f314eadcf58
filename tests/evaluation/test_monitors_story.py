"""The life of a monitor, from its making to the restart after an alarm, as beat and workers walk through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import ConflictError
from core.models import LedgerEntry
from evaluation.models import Alert, AuditRun, Monitor, MonitorWindow, StreamPoint
from evaluation.services.alerts import close_alert
from evaluation.services.restarting import reference_since, restart_cycle
from models_registry.services.versions import model_store
from tests.evaluation.monitor_story import PER_WEEK, Story
from tests.registry.scene import acts, snapshot

pytestmark = pytest.mark.django_db
Status = MonitorWindow.Status


@pytest.fixture
def story(
    people: SimpleNamespace, tmp_path: Path, sent: list[tuple[str, int]], django_capture_on_commit_callbacks: Any
) -> Story:
    return Story(people, tmp_path, sent, django_capture_on_commit_callbacks)


def test_from_the_reference_through_an_alarm_to_the_new_normal(story: Story) -> None:
    """Two quiet weeks, a downtime of two weeks in which the scanner changes, and what a person makes of it."""
    monitor = story.active()
    assert acts().count("monitor.created") == acts().count("monitor.activated") == 1
    assert monitor.schedule is not None and monitor.schedule.enabled and monitor.next_at is not None

    story.deliver(0)
    story.deliver(1)
    story.fire(monitor, weeks=2)
    story.work()
    quiet = story.windows(monitor)
    assert [(row.status, row.alarm, row.n_patients) for row in quiet] == [(Status.JUDGED, False, PER_WEEK)] * 2
    assert all(row.run is not None and row.run.status == "done" for row in quiet)
    assert quiet[0].baseline_digest == monitor.reference_digest != quiet[1].baseline_digest
    assert not Alert.objects.exists()

    # Nobody fires for two weeks; then every week is made, worked on and judged once, and in its order.
    story.deliver(2, scanner="Cygnus")
    story.deliver(3, scanner="Cygnus")
    story.fire(monitor, weeks=4)
    done = story.work()
    assert done.count("collect_window") == done.count("judge_window") == 2
    assert done.index("judge_window") < len(done) - done[::-1].index("collect_window"), "the second waits for the first"
    rows = story.windows(monitor)
    assert [row.index for row in rows] == [1, 2, 3, 4] and {row.status for row in rows} == {Status.JUDGED}
    judged = LedgerEntry.objects.filter(act="window.judged").values_list("subject_id", flat=True)
    assert sorted(judged) == sorted(str(row.pk) for row in rows)
    _check_alarm(monitor, rows)

    alert = Alert.objects.get(key="drift:1")
    words = "The hospital bought a new scanner; its pictures were read and found good."
    # Of another set of windows than there is now, as where one was judged meanwhile: nothing is restarted.
    stale = replace(reference_since(monitor=monitor, window=alert.window), windows=(rows[2].pk,))
    with pytest.raises(ConflictError, match="judged meanwhile"):
        restart_cycle(
            monitor=monitor, resolution="new_normal", window=alert.window, reference=stale, by=story.people.boris
        )
    close_alert(alert=alert, resolution="new_normal", closing=words, by=story.people.boris)
    monitor.refresh_from_db()
    assert monitor.cycle == 2 and monitor.reference_windows == [rows[2].pk, rows[3].pk]
    story.deliver(4, scanner="Cygnus")
    story.fire(monitor, weeks=5)
    story.work()
    last = story.windows(monitor)[-1]
    assert (last.status, last.cycle, last.alarm) == (Status.JUDGED, 2, False)
    assert last.look["method"] == "run_length" and last.baseline_digest == monitor.reference_digest
    assert StreamPoint.objects.get(window=last, stream="scanner", attribute="").value < 0.1, "the new normal"


def _check_alarm(monitor: Monitor, rows: list[MonitorWindow]) -> None:
    assert [row.alarm for row in rows[:2]] == [False, False] and rows[3].alarm
    assert rows[3].look["onset"] == 3, "the window in which the scanner changed"
    alert = Alert.objects.get(monitor=monitor, key="drift:1")
    assert (alert.kind, alert.severity) == (Alert.Kind.DRIFT, Alert.Severity.CRITICAL)
    assert alert.detail["streams"][0]["stream"] == "scanner" and "scanner" in alert.title.lower()
    assert Alert.objects.filter(key="unseen:scanner").count() == 1
    point = StreamPoint.objects.get(window=rows[3], stream="scanner", attribute="")
    assert point.alarming and point.value is not None and point.value > 0.5 and point.log_e > rows[3].look["threshold"]
    assert point.detail["title"] and not StreamPoint.objects.filter(window=rows[3], stream="age", alarming=True)
    document = model_store().get_json(rows[3].evidence_digest)
    assert document["look"] == rows[3].look and document["reference"] == monitor.reference_digest
    assert document["run"]["result"] == AuditRun.objects.get(pk=rows[3].run_id).result_digest
    assert "p00" not in str(document) and "s00" not in str(document), "no patient is named"
    assert any(item["kind"] == "unseen" for item in rows[3].findings)


def test_tasks_that_come_twice_change_nothing(story: Story) -> None:
    monitor = story.active()
    story.deliver(0)
    story.fire(monitor, weeks=1)
    story.work()
    story.fire(monitor, weeks=1)
    story.work()
    window = monitor.windows.get()
    before = snapshot()
    for name in ("collect_window", "judge_window"):
        story.sent.append((f"evaluation.tasks.{name}", window.pk))
    story.sent.append(("evaluation.tasks.prepare_monitor", monitor.pk))
    story.work()
    assert snapshot() == before


def test_a_week_without_studies_is_told_and_the_next_is_judged(story: Story) -> None:
    monitor = story.active()
    story.deliver(1)
    story.fire(monitor, weeks=2)
    story.work()
    first, second = story.windows(monitor)
    assert (first.status, second.status) == (Status.EMPTY, Status.JUDGED)
    assert Alert.objects.get(window=first).kind == Alert.Kind.EMPTY
    assert second.baseline_digest == monitor.reference_digest
