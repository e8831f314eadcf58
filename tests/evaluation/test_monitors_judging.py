"""A window is judged once and in its order: a worker that is killed, a restart in between, an audit that failed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import TransientError
from core.models import LedgerEntry
from evaluation.models import Alert, AuditRun, Monitor, MonitorWindow, StreamPoint
from evaluation.monitoring import judging
from evaluation.monitoring.sweeping import sweep_monitors
from evaluation.services.restarting import _in_one_unit, restart_cycle
from evaluation.services.runs import cancel_run
from tests.evaluation.monitor_story import PER_WEEK, REFERENCE, Story
from tests.registry.scene import acts

pytestmark = pytest.mark.django_db
Status = MonitorWindow.Status
JUDGE = "evaluation.tasks.judge_window"


@pytest.fixture
def story(
    people: SimpleNamespace, tmp_path: Path, sent: list[tuple[str, int]], django_capture_on_commit_callbacks: Any
) -> Story:
    return Story(people, tmp_path, sent, django_capture_on_commit_callbacks)


@pytest.fixture
def window(story: Story) -> MonitorWindow:
    """A window whose audit is done: the message to judge it waits."""
    story.deliver(0)
    story.deliver(1)
    story.fire(story.active(), weeks=2)
    story.work(until=lambda name: name == JUDGE)
    found = MonitorWindow.objects.get(index=1)
    assert found.status == Status.AUDITING and found.run is not None and found.run.status == "done"
    return found


class Killed(BaseException):
    """As a signal that no program can answer."""


def kill(*_: Any, **__: Any) -> None:
    raise Killed


def fresh(window: MonitorWindow) -> MonitorWindow:
    return MonitorWindow.objects.get(pk=window.pk)


def test_a_worker_that_is_killed_in_the_middle_is_followed_by_another(
    window: MonitorWindow, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.sent.clear()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(judging, "_settle", kill)
        judging.judge_window(window.pk)
    half = fresh(window)
    assert half.status == Status.JUDGING and half.lease_token and not half.sketch_digest
    judging.judge_window(window.pk)
    assert fresh(window).lease_token == half.lease_token, "nobody takes it while the lease holds"
    sweep_monitors()
    assert (JUDGE, window.pk) not in story.sent

    MonitorWindow.objects.filter(pk=window.pk).update(lease_expires=timezone.now() - timedelta(seconds=1))
    sweep_monitors()
    assert story.sent.count((JUDGE, window.pk)) == 1
    story.sent.append((JUDGE, window.pk))
    story.work(until=lambda name: name.endswith("collect_window"))
    done = fresh(window)
    assert done.status == Status.JUDGED and LedgerEntry.objects.filter(act="window.judged").count() == 1
    assert StreamPoint.objects.filter(window=window).values("stream", "attribute", "group").distinct().count() == (
        StreamPoint.objects.filter(window=window).count()
    )


def test_what_is_found_does_not_depend_on_who_finds_it(window: MonitorWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that takes over writes what the first would have written, to the last digit."""
    kept: list[dict[str, Any]] = []
    monkeypatch.setattr(judging, "_settle", lambda window, token, found, facts: kept.append(facts))
    for _ in range(2):
        judging.judge_window(window.pk)
        MonitorWindow.objects.filter(pk=window.pk).update(lease_expires=timezone.now() - timedelta(seconds=1))
    assert kept[0] == kept[1] and kept[0]["evidence_digest"]


def test_a_worker_that_was_taken_over_writes_nothing(window: MonitorWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    real = judging._settle

    def overtaken(*given: Any) -> None:
        MonitorWindow.objects.filter(pk=window.pk).update(lease_token="another")
        real(*given)

    monkeypatch.setattr(judging, "_settle", overtaken)
    judging.judge_window(window.pk)
    assert fresh(window).status == Status.JUDGING and not StreamPoint.objects.exists()
    assert "window.judged" not in acts()


def test_a_restart_in_between_is_judged_by_what_holds_afterwards(
    window: MonitorWindow, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = judging._settle

    def restarted(*given: Any) -> None:
        restart_cycle(monitor=window.monitor, resolution="fixed", window=None, reference=None, by=story.people.boris)
        monkeypatch.setattr(judging, "_settle", real)
        real(*given)

    monkeypatch.setattr(judging, "_settle", restarted)
    story.work(until=lambda name: name.endswith("collect_window"))
    done = fresh(window)
    assert (done.status, done.cycle, done.look["method"]) == (Status.JUDGED, 2, "run_length")
    assert LedgerEntry.objects.filter(act="window.judged").count() == 1


def test_an_audit_that_ended_badly_closes_its_window_and_the_next_one_comes(story: Story) -> None:
    monitor = story.active()
    story.deliver(0)
    story.deliver(1)
    story.fire(monitor, weeks=2)
    story.work(until=lambda name: name.endswith("run_shard"))
    story.sent.clear()
    with story.committed(execute=True):
        cancel_run(run=AuditRun.objects.latest("pk"), by=story.people.amir)
    story.work()
    first, second = story.windows(monitor)
    assert (first.status, second.status) == (Status.FAILED, Status.JUDGED) and "cancelled" in first.error
    assert Alert.objects.get(window=first).key == "run:1"
    assert second.baseline_digest == monitor.reference_digest, "a window that was not judged is no part of the pool"


def test_windows_wait_for_those_before_them(window: MonitorWindow, story: Story) -> None:
    """Even with its audit done, the second is not judged before the first."""
    assert window.run is not None
    later = MonitorWindow.objects.get(index=2)
    MonitorWindow.objects.filter(pk=window.pk).update(run=None)
    MonitorWindow.objects.filter(pk=later.pk).update(status=Status.AUDITING, run=window.run)
    judging.judge_window(later.pk)
    assert fresh(later).status == Status.AUDITING


def test_a_fault_that_passes_is_tried_again_and_another_closes_the_window(
    window: MonitorWindow, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: Any) -> None:
        raise TransientError("The store does not answer.")

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(TransientError):
        patch.setattr(judging, "_judged", unreadable)
        judging.judge_window(window.pk)
    assert fresh(window).status == Status.JUDGING and fresh(window).lease_expires <= timezone.now()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(judging, "_judged", broken)
        judging.judge_window(window.pk)
    closed = fresh(window)
    assert closed.status == Status.FAILED and "ZeroDivisionError" in closed.error
    assert Alert.objects.get(key="run:1").kind == Alert.Kind.RUN


def test_a_ledger_that_refuses_leaves_the_window_unjudged(window: MonitorWindow, broken_ledger: None) -> None:
    with pytest.raises(RuntimeError):
        judging.judge_window(window.pk)
    assert fresh(window).status == Status.JUDGING and not StreamPoint.objects.exists()
    assert Monitor.objects.get().cycle == 1


def test_what_earlier_windows_said_holds_for_the_next(window: MonitorWindow, story: Story) -> None:
    """Numbers in another unit stay out of the pool; what labels contradicted stays so while the cycle lasts."""
    story.work(until=lambda name: name == JUDGE and MonitorWindow.objects.get(index=2).status == Status.AUDITING)
    first, second = fresh(window), MonitorWindow.objects.get(index=2)
    assert (first.status, second.status) == (Status.JUDGED, Status.AUDITING)
    where = {"attribute": "sex", "group": "F", "lasting": True}
    concept = {"code": "notice-concept", "stream": "concept.a.b", "detail": where}
    passing = {"code": "notice-concept", "stream": "concept.c", "detail": {"lasting": False}}
    first.findings = [{"code": "notice-unit", "stream": "age", "detail": {}}, passing, concept]
    first.save(update_fields=["findings"])
    found = judging._judged(second).baseline.total()
    assert (found.n, found.numbers["age"].n) == (REFERENCE + PER_WEEK, REFERENCE)
    assert judging._contradicted([first]) == {("a.b", "sex", "F"): 1}
    kept = judging._evidence(second, made := judging._judged(second), {"look": {}, "findings": []} | DIGESTS)
    names = {name for item in kept["residuals"] for name in item["components"]}
    assert names and not names & {"Aquila", "Borealis"}, "a rare category may be of one patient"
    assert any("Aquila" in item.components or "Borealis" in item.components for item in made.residuals)
    plain = fresh(window)
    plain.findings = []
    ages = [
        ["age" in sketch.total().numbers for sketch in _in_one_unit(rows)] for rows in ([first, plain], [first] * 2)
    ]
    assert ages == [[False, True], [True, True]], "a new normal is in one unit, the new one where all came in it"


DIGESTS = {"sketch_digest": "", "baseline_digest": ""}
