"""Making monitors and steering them: who may, what is refused, what the scheduler and the ledger are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from core.errors import AuscultError, ConflictError, DeniedError, ProtocolError
from core.models import LedgerEntry
from evaluation.models import Alert, Monitor, MonitorWindow
from evaluation.monitoring.firing import fire_monitor
from evaluation.monitoring.scheduling import schedule_monitor
from evaluation.services import monitors as services
from evaluation.services.restarting import reference_since, restart_cycle
from models_registry.models import CohortVersion, Deployment
from tests.evaluation.monitor_scene import FIRST, make_deployment, make_monitor, make_window, watch_protocol
from tests.registry.scene import acts, make_protocol, snapshot, without

pytestmark = pytest.mark.django_db
Sent = list[tuple[str, int]]
Create = Callable[..., Monitor]


@pytest.fixture
def create(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any) -> Create:
    """Makes a monitor whose reference is a row: what it holds is checked elsewhere."""
    monkeypatch.setattr(services, "check_reference", lambda **_: None)
    cohort = CohortVersion.objects.first() or make_monitor(people, name="Another").reference_cohort
    facts: dict[str, Any] = {
        "deployment": Deployment.objects.first() or make_deployment(people),
        "name": "Weekly watch", "protocol": watch_protocol(people), "reference_cohort": cohort, "source_kind": "api",
        "source": {}, "window_unit": "week", "window_size": 1, "first_opens_at": FIRST, "zone": "Europe/Vienna",
        "crontab": "0 6 * * 1", "owner": people.amir, "escalate_to": people.clara, "by": people.boris,
    }  # fmt: skip

    def made(**changes: Any) -> Monitor:
        with django_capture_on_commit_callbacks(execute=True):
            return services.create_monitor(**facts | changes)

    return made


def test_a_monitor_is_made_with_one_entry_and_sent_to_be_prepared(create: Create, sent: Sent) -> None:
    monitor = create()
    assert (monitor.status, monitor.cycle, monitor.schedule) == (Monitor.Status.PREPARING, 1, None)
    assert sent == [("evaluation.tasks.prepare_monitor", monitor.pk)]
    entry = LedgerEntry.objects.get(act="monitor.created")
    told = json.loads(entry.body)["payload"]
    assert (entry.actor, told["owner"], told["schedule"]) == ("boris", "amir", "0 6 * * 1")
    assert told["protocol"] == monitor.protocol.digest and not PeriodicTask.objects.filter(name__startswith="monitor-")


@pytest.mark.parametrize("name", without("amir boris"))
def test_only_auditors_make_monitors(create: Create, people: SimpleNamespace, name: str) -> None:
    with pytest.raises(DeniedError):
        create(by=getattr(people, name))


def test_the_owner_is_bound_as_whoever_requests_an_audit(create: Create, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="cannot own this monitor"):
        create(owner=people.elena)
    with pytest.raises(DeniedError, match="cannot own this monitor"):
        create(owner=people.clara)
    assert "monitor.created" not in acts()


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"crontab": "0 6 * *"}, "crontab"),
        ({"every_seconds": 60}, "crontab"),
        ({"crontab": "", "every_seconds": 0}, "every_seconds"),
        ({"crontab": "", "every_seconds": True}, "every_seconds"),
        ({"window_unit": "fortnight"}, "window_unit"),
        ({"window_size": 0}, "window_size"),
        ({"grace_hours": -1}, "grace_hours"),
        ({"first_opens_at": datetime(2026, 3, 2)}, "first_opens_at"),  # noqa: DTZ001
        ({"first_opens_at": datetime(26, 3, 2, tzinfo=UTC)}, "first_opens_at"),
        ({"window_unit": "month", "window_size": 1_000_000}, "window_size"),
        ({"window_unit": "hour", "first_opens_at": datetime(2024, 3, 2, tzinfo=UTC)}, "first_opens_at"),
        ({"name": " \n "}, "name"),
        ({"escalate_after_hours": 0}, "escalate_after_hours"),
        ({"source_kind": "carrier pigeon"}, "source_kind"),
    ],
)
def test_what_cannot_be_is_refused_and_the_field_is_named(create: Create, changes: dict[str, Any], column: str) -> None:
    before = snapshot()
    with pytest.raises(AuscultError) as refused:
        create(**changes)
    assert refused.value.column == column and refused.value.remedy
    assert snapshot() == before


def test_a_protocol_that_watches_nothing_and_a_name_that_is_taken(create: Create, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError, match="watches nothing"):
        create(protocol=make_protocol(people))
    create()
    with pytest.raises(ConflictError, match="already"):
        create()
    Monitor.objects.filter(name="Weekly watch").update(status=Monitor.Status.ENDED)
    create()
    Deployment.objects.update(status=Deployment.Status.ENDED, ended_at=timezone.now(), ending="Replaced by another.")
    with pytest.raises(ConflictError, match="has ended"):
        create(name="Too late")


def test_a_reference_of_another_schema_is_refused(
    people: SimpleNamespace, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ProtocolError("The reference lacks 'sex'.", remedy="Choose another reference.", column="sex")

    monkeypatch.setattr(services, "check_reference", refuse)
    with pytest.raises(ProtocolError):
        create()
    assert "monitor.created" not in acts()


def test_an_act_without_its_entry_does_not_happen(create: Create, broken_ledger: None, sent: Sent) -> None:
    before = snapshot()
    with pytest.raises(RuntimeError):
        create()
    assert snapshot() == before and sent == []


def test_pausing_going_on_and_ending_are_told_to_the_scheduler(
    people: SimpleNamespace, sent: Sent, django_capture_on_commit_callbacks: Any
) -> None:
    monitor = make_monitor(people)
    schedule_monitor(monitor)
    entry = PeriodicTask.objects.get(name=f"monitor-{monitor.pk}")
    assert (entry.task, json.loads(entry.args), entry.enabled) == (
        "evaluation.tasks.fire_monitor", [monitor.pk], True,
    )  # fmt: skip
    assert str(entry.crontab.timezone) == "Europe/Vienna" and entry.crontab.hour == "6"
    services.pause_monitor(monitor=monitor, by=people.lea, reason="The export is being rebuilt.")
    entry.refresh_from_db()
    monitor.refresh_from_db()
    assert not entry.enabled and monitor.next_at is None
    fire_monitor(monitor.pk)
    assert not MonitorWindow.objects.exists(), "a message that was on its way does nothing any more"
    with pytest.raises(ConflictError):
        services.run_now(monitor=monitor, by=people.boris)

    with django_capture_on_commit_callbacks(execute=True):
        services.resume_monitor(monitor=monitor, by=people.boris)
    entry.refresh_from_db()
    assert entry.enabled and sent == [("evaluation.tasks.fire_monitor", monitor.pk)]
    services.end_monitor(monitor=monitor, by=people.boris, reason="Another monitor watches it.")
    entry.refresh_from_db()
    assert not entry.enabled
    for act in (services.pause_monitor, services.resume_monitor, services.end_monitor, services.retry_preparation):
        with pytest.raises(ConflictError):
            act(monitor=monitor, by=people.boris)
    assert acts() == ["monitor.paused", "monitor.resumed", "monitor.ended"]


def test_the_submitter_of_the_model_does_not_stop_its_watch(people: SimpleNamespace) -> None:
    monitor = make_monitor(people)
    for act in (services.pause_monitor, services.end_monitor, services.run_now):
        with pytest.raises(DeniedError, match="You submitted"):
            act(monitor=monitor, by=people.elena)
        with pytest.raises(DeniedError):
            act(monitor=monitor, by=people.nobody)


def test_a_firing_makes_each_missed_window_once_in_order(
    people: SimpleNamespace, sent: Sent, django_capture_on_commit_callbacks: Any
) -> None:
    monitor = make_monitor(people)
    until = FIRST + timedelta(weeks=5, hours=1)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            fire_monitor(monitor.pk, now=until)
    assert list(monitor.windows.order_by("index").values_list("index", flat=True)) == [1, 2, 3, 4, 5]
    assert acts() == ["monitor.windows_due"]
    first = monitor.windows.get(index=1)
    assert set(sent) == {("evaluation.tasks.collect_window", first.pk)}, "overlap is impossible: the first alone"
    monitor.refresh_from_db()
    assert monitor.fired_at is not None and monitor.next_at > timezone.now()


def test_windows_by_count_are_made_as_studies_come(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next so many studies by time; what is left over waits for the next window."""
    from evaluation.monitoring import firing

    held = [FIRST + timedelta(hours=i) for i in range(7)]

    def closing(monitor: Monitor, since: datetime, size: int) -> datetime | None:
        times = [at for at in held if at >= since]
        return times[size - 1] + timedelta(microseconds=1) if len(times) >= size else None

    looked: list[int] = []
    monkeypatch.setattr(firing, "look_at_source", lambda monitor, **_: looked.append(monitor.pk))
    monkeypatch.setattr(firing, "closing_of", closing)
    monitor = make_monitor(people, window_unit="count", window_size=3)
    fire_monitor(monitor.pk)
    fire_monitor(monitor.pk)
    rows = list(monitor.windows.order_by("index"))
    assert [row.index for row in rows] == [1, 2] and rows[0].closes_at == rows[1].opens_at and len(looked) == 2
    held += [FIRST + timedelta(hours=i) for i in range(7, 9)]
    fire_monitor(monitor.pk)
    assert monitor.windows.count() == 3


def test_no_window_has_a_number_below_1(people: SimpleNamespace) -> None:
    monitor = make_monitor(people)
    assert make_window(monitor, 1).opens_at == monitor.first_opens_at
    with pytest.raises(IntegrityError, match="window_counts_from_one"):
        make_window(monitor, 0)


def test_a_new_normal_needs_enough_patients(people: SimpleNamespace) -> None:
    """A window without sketch is none to compare with: the alarm stays open until there is more."""
    monitor = make_monitor(people)
    window = make_window(monitor, 1, alarm=True, look={"onset": 1})
    with pytest.raises(ConflictError, match="fewer than"):
        reference_since(monitor=monitor, window=window)
    facts = {"monitor": monitor, "window": window, "by": people.boris}
    with pytest.raises(ValueError, match="goes with"):
        restart_cycle(resolution="new_normal", reference=None, **facts)
    monitor.refresh_from_db()
    assert monitor.cycle == 1
    restart_cycle(resolution=Alert.Resolution.FIXED, reference=None, **facts)
    monitor.refresh_from_db()
    assert monitor.cycle == 2 and monitor.reference_windows == []


def test_a_monitor_that_is_gone_fires_nothing() -> None:
    fire_monitor(4711)
    with pytest.raises(ObjectDoesNotExist):
        Monitor.objects.get(pk=4711)
