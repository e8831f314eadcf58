"""A monitor's reference: made once, whoever dies meanwhile; refused in words where it cannot be made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import CohortError, TransientError
from core.models import User
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.models import Alert, AuditRun, Monitor, RunStatus
from evaluation.monitoring import preparing
from evaluation.monitoring.sweeping import sweep_monitors
from evaluation.services import monitors as services
from evaluation.services.monitors import retry_preparation
from models_registry.services.versions import model_store
from tests.evaluation.monitor_story import REFERENCE, RULES, Story
from tests.registry.scene import acts, make_protocol

pytestmark = pytest.mark.django_db
PREPARE = "evaluation.tasks.prepare_monitor"


class Killed(BaseException):
    """As a signal that no program can answer."""


@pytest.fixture
def story(
    people: SimpleNamespace, tmp_path: Path, sent: list[tuple[str, int]], django_capture_on_commit_callbacks: Any
) -> Story:
    return Story(people, tmp_path, sent, django_capture_on_commit_callbacks)


def fresh(monitor: Monitor) -> Monitor:
    return Monitor.objects.get(pk=monitor.pk)


def test_a_worker_that_dies_while_it_fits_is_followed_by_another(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = story.create()
    story.sent.clear()

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(preparing, "fit_reference_frame", kill)
        preparing.prepare_monitor(monitor.pk)
    half = fresh(monitor)
    assert half.lease_token and half.reference_run is None and not half.frame_digest
    sweep_monitors()
    preparing.prepare_monitor(monitor.pk)
    assert story.sent == [] and not AuditRun.objects.exists(), "its lease still holds"
    Monitor.objects.update(
        lease_expires=timezone.now() - timedelta(seconds=1), created_at=timezone.now() - timedelta(1)
    )
    sweep_monitors()
    assert story.sent == [(PREPARE, monitor.pk)]
    story.sent.append((PREPARE, monitor.pk))
    story.work()
    done = fresh(monitor)
    assert done.status == Monitor.Status.ACTIVE and AuditRun.objects.count() == 1
    assert acts().count("monitor.activated") == 1
    sketch = DriftSketch.from_bytes(model_store().get_bytes(done.reference_digest))
    assert sketch.n == REFERENCE and sketch.frame_digest == done.frame_digest


def test_two_monitors_of_one_reference_share_its_audit(story: Story) -> None:
    one, two = story.create(), story.create(name="Another schedule")
    story.work()
    three = story.active(name="A later one")
    assert {fresh(row).reference_run_id for row in (one, two, three)} == {AuditRun.objects.get().pk}
    assert {fresh(row).status for row in (one, two)} == {Monitor.Status.ACTIVE}


def test_a_reference_that_is_too_small_is_refused(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the monitor is made; and again when its patients are counted, of whom a protocol may leave some out."""
    wanted = RULES.replace("story-watch", "large-reference").replace("reference: 100", "reference: 241")
    protocol = make_protocol(story.people, wanted)
    with pytest.raises(CohortError, match="asks for 241"):
        story.create(protocol=protocol)
    monkeypatch.setattr(services, "check_reference", lambda **_: None)
    monitor = story.create(protocol=protocol)
    story.work()
    failed = fresh(monitor)
    assert failed.status == Monitor.Status.FAILED and "fewer than the 241 patients" in failed.error
    alert = Alert.objects.get()
    assert (alert.kind, alert.key) == (Alert.Kind.RUN, "reference") and "monitor.failed" in acts()


def test_an_audit_of_the_reference_that_fails_is_told_and_can_be_tried_again(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = story.create()
    story.work(until=lambda name: name.endswith("run_shard"))
    AuditRun.objects.update(status=RunStatus.FAILED, error="The worker ran out of memory.")
    story.sent[:] = [(PREPARE, monitor.pk)]
    story.work()
    failed = fresh(monitor)
    assert failed.status == Monitor.Status.FAILED and "out of memory" in failed.error
    with story.committed(execute=True):
        retry_preparation(monitor=failed, by=story.people.boris)
    story.work()
    done = fresh(monitor)
    assert (done.status, done.error) == (Monitor.Status.ACTIVE, "")
    assert [run.attempt for run in AuditRun.objects.order_by("attempt")] == [1, 2]


def test_a_fault_that_passes_gives_the_lease_back_and_another_is_told(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = story.create()

    def passing(*_: Any, **__: Any) -> None:
        raise TransientError("The store does not answer.")

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(TransientError):
        patch.setattr(preparing, "fit_reference_frame", passing)
        preparing.prepare_monitor(monitor.pk)
    assert fresh(monitor).lease_token == "" and fresh(monitor).status == Monitor.Status.PREPARING
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(preparing, "fit_reference_frame", broken)
        preparing.prepare_monitor(monitor.pk)
    assert fresh(monitor).status == Monitor.Status.FAILED and "ZeroDivisionError" in fresh(monitor).error


def test_a_reference_that_another_monitor_orders_at_this_moment_is_waited_for(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees none, and then its own order is refused: it looks again, and shares the audit."""
    one = story.create()
    story.work(until=lambda name: name != PREPARE)
    two = story.create(name="Another schedule")
    with monkeypatch.context() as patch, pytest.raises(TransientError, match="under way"):
        patch.setattr(preparing, "_same", lambda *_: None)
        preparing.prepare_monitor(two.pk)
    assert (fresh(two).status, fresh(two).lease_token) == (Monitor.Status.PREPARING, "")
    preparing.prepare_monitor(two.pk)
    assert fresh(two).reference_run_id == fresh(one).reference_run_id is not None


def test_a_reference_that_nobody_may_order_is_made_after_the_hand_over(story: Story) -> None:
    monitor, people = story.create(), story.people
    User.objects.filter(pk=people.amir.pk).update(is_active=False)
    story.work()
    error = fresh(monitor).error
    assert fresh(monitor).status == Monitor.Status.FAILED and "This account is closed" in error
    assert f"auscult monitor hand-over {monitor.pk}" in error and "make the reference again" in error
    assert Alert.objects.get(key="reference").text == error
    with story.committed(execute=True):
        services.hand_over_monitor(monitor=monitor, owner=people.boris, by=people.clara, reason="Amir has left us.")
        retry_preparation(monitor=monitor, by=people.boris)
    story.work()
    assert fresh(monitor).status == Monitor.Status.ACTIVE
    assert AuditRun.objects.get().requested_by == people.boris
