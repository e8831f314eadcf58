"""A window's studies become a cohort and an audit, in order and once; everything odd about the data has its record."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from django.utils import timezone

from core.errors import AuscultError, ProtocolError
from core.models import LedgerEntry, User
from evaluation.models import Alert, AuditRun, Delivery, Monitor, MonitorWindow
from evaluation.monitoring import collecting
from evaluation.monitoring.collecting import FINAL, MOST_ATTEMPTS, collect_window, look_at_source
from evaluation.monitoring.deliveries import pull
from evaluation.monitoring.gathering import closing_of, held_studies
from evaluation.monitoring.missing import tell_stale
from evaluation.monitoring.owners import OWNER_KEY
from evaluation.monitoring.schema import check_reference, check_source
from evaluation.monitoring.sources.base import SourceError
from evaluation.selectors_monitors import UNREADABLE
from evaluation.services.deliveries import deliver_studies
from evaluation.services.monitors import hand_over_monitor
from models_registry.cohorts import open_cohort
from models_registry.execution import cohort_folder
from tests.evaluation.source_scene import CLOSES, OPENS, drop, monitor, studies
from tests.registry.scene import acts

__all__ = ["drop", "monitor"]
Sent = list[tuple[str, int]]
COLLECT = "evaluation.tasks.collect_window"


@pytest.fixture
def put(drop: Path) -> Callable[..., None]:
    def write(frame: pd.DataFrame, name: str = "week.csv") -> None:
        frame.to_csv(drop / name, index=False)
        os.utime(drop / name, (1_700_000_000, 1_700_000_000))

    return write


@pytest.fixture(autouse=True)
def _at_once(django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent on commit is sent, though the test's own transaction never commits."""
    real = collecting.collect_window

    def collect(window_id: int) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            real(window_id)

    monkeypatch.setitem(globals(), "collect_window", collect)


def window(monitor: Monitor, index: int = 1, **given: Any) -> MonitorWindow:
    opens = OPENS + (index - 1) * timedelta(weeks=1)
    closes = opens + timedelta(weeks=1)
    facts = {"opens_at": opens, "closes_at": closes, "due_at": closes} | given
    return MonitorWindow.objects.create(monitor=monitor, index=index, **facts)


def collected(row: MonitorWindow) -> MonitorWindow:
    collect_window(row.pk)
    row.refresh_from_db()
    return row


def codes(row: MonitorWindow) -> dict[str, int]:
    return {item["code"]: item["count"] for item in row.findings}


def ids(row: MonitorWindow) -> set[str]:
    assert row.cohort is not None
    reader = open_cohort(cohort_folder(row.cohort))
    return {study for shard in reader.shards for batch in reader.batches(shard) for study in batch.study_ids}


def test_studies_of_the_window_become_an_audit(
    monitor: Monitor, put: Callable[..., None], sent: Sent, people: SimpleNamespace
) -> None:
    put(pd.concat([studies(40), studies(10, start=40, day=10)]))
    row = collected(window(monitor))
    assert (row.status, row.n_studies, row.n_patients, row.error) == ("auditing", 40, 40, "")
    assert ids(row) == {f"s{i}" for i in range(40)} and row.collected_at is not None and row.lease_token == ""
    assert row.cohort is not None and row.run is not None
    assert (row.cohort.cohort.role, row.cohort.cohort.site) == ("post_deployment", "North Hospital")
    assert (row.run.cohort, row.run.requested_by) == (row.cohort, people.amir)
    assert (row.run.frame_digest, row.run.reference_digest) == (monitor.frame_digest, monitor.reference_digest)
    assert codes(row) == {"times-unordered": 18} and not Alert.objects.exclude(severity="info").exists()
    assert "monitor.delivered" in acts() and acts().count("window.collected") == 1
    body = LedgerEntry.objects.get(act="window.collected").body
    assert "s17" not in body and "p17" not in body
    before = (AuditRun.objects.count(), Delivery.objects.count(), len(sent))
    collect_window(row.pk)  # delivered twice
    assert (AuditRun.objects.count(), Delivery.objects.count(), len(sent)) == before
    second = window(monitor, 2)
    collect_window(second.pk)  # the first is not judged yet: nothing happens out of order
    second.refresh_from_db()
    assert second.status == "due"
    MonitorWindow.objects.filter(pk=row.pk).update(status="judged")
    assert ids(collected(second)) == {f"s{i}" for i in range(40, 50)} and codes(second) == {"times-unordered": 18}
    assert Alert.objects.get().times == 1  # told once, though two windows use the file


def test_a_window_without_studies_is_recorded_and_the_next_one_comes(monitor: Monitor, sent: Sent) -> None:
    first, second = window(monitor), window(monitor, 2)
    later = window(monitor, 3, due_at=timezone.now() + timedelta(days=1))
    assert collected(first).status == "empty" and codes(first) == {"window-empty": 1}
    assert Alert.objects.get().kind == "empty" and sent.count((COLLECT, second.pk)) == 1
    assert collected(second).status == "empty" and Alert.objects.get().times == 2
    assert (COLLECT, later.pk) not in sent and collected(later).status == "due"
    assert acts().count("window.empty") == 2


def test_a_refused_file_has_its_alert_and_can_be_mended(monitor: Monitor, put: Callable[..., None], drop: Path) -> None:
    put(studies(20, **{"label.effusion": "YES Quincey"}))
    first = collected(window(monitor))
    assert first.status == "refused" and "1 delivery." in first.error
    told = {alert.key: alert for alert in Alert.objects.all()}
    assert told["schema:label-value:label.effusion"].detail["row"] == 1
    assert "Quincey" not in "".join(str(alert.__dict__) for alert in told.values())
    assert Delivery.objects.get().status == "refused" and "What to do" in Delivery.objects.get().error
    put(studies(20, day=10))  # mended, under the same name
    second = collected(window(monitor, 2))
    assert second.status == "auditing"
    assert acts().count("monitor.delivery_refused") == 1 and "window.refused" in acts()


def test_what_is_refused_besides_what_is_held_is_told(monitor: Monitor, put: Callable[..., None]) -> None:
    put(studies(20), "good.csv")
    put(studies(5, start=50).drop(columns="patient_id"), "bad.csv")
    row = collected(window(monitor))
    assert row.status == "auditing" and codes(row)["delivery-refused"] == 1 and len(ids(row)) == 20


def test_columns_that_changed_are_told(monitor: Monitor, put: Callable[..., None]) -> None:
    put(studies(20, nurse="n1", age="sixty"))
    row = collected(window(monitor))
    assert row.status == "auditing"
    assert {(f["code"], f["column"]) for f in row.findings} >= {("column-added", "nurse"), ("column-retyped", "age")}
    assert {alert.kind for alert in Alert.objects.exclude(severity="info")} == {"schema"}
    reader = open_cohort(cohort_folder(row.cohort))
    assert "nurse" not in reader.manifest.columns


def test_a_column_that_the_protocol_needs_and_did_not_come_refuses_the_window(
    monitor: Monitor, put: Callable[..., None], sent: Sent
) -> None:
    put(studies(20).drop(columns="sex"))
    second = window(monitor, 2)
    row = collected(window(monitor))
    assert row.status == "refused" and "'sex'" in row.error and row.run is None
    assert codes(row)["column-removed"] == 1 and codes(row)["window-refused"] == 1
    assert not AuditRun.objects.exists() and (COLLECT, second.pk) in sent


def test_studies_twice_late_and_in_the_future(monitor: Monitor, put: Callable[..., None]) -> None:
    """Of 12 rows one is the same study again, one lies in the future; a later delivery completes five."""
    soon = (timezone.now() + timedelta(days=3)).isoformat()
    first = pd.concat([studies(10), studies(1), studies(1, start=90, study_time=soon)])
    put(first, "a.csv")
    pull(monitor, opens_at=OPENS, closes_at=CLOSES)
    put(studies(5, **{"label.effusion": 1, "age": ""}), "b.csv")
    row = collected(window(monitor))
    found = codes(row)
    assert (found["study-twice"], found["future-time"], found["study-again"]) == (1, 1, 5)
    assert row.n_studies == 10 and row.cohort is not None
    labels = row.cohort.summary["labels"]["effusion"]
    assert labels["positive"] == 5 + sum(i % 3 % 2 for i in range(5, 10))  # the later word counts
    assert row.cohort.summary["attributes"]["age"]["missing"] == 0  # and an empty one takes nothing away
    MonitorWindow.objects.filter(pk=row.pk).update(status="judged")
    put(pd.concat([studies(3, start=60), studies(8, start=70, day=10), studies(2, day=11)]), "c.csv")
    second = collected(window(monitor, 2))
    assert ids(second) == {f"s{i}" for i in range(70, 78)}
    assert codes(second)["late-studies"] == 3 and codes(second)["study-of-earlier-window"] == 2
    kinds = set(Alert.objects.exclude(severity="info").values_list("kind", flat=True))
    assert kinds == {"duplicates", "times", "late"}


def test_a_source_that_cannot_be_read_is_tried_again_and_at_last_recorded(
    monitor: Monitor, drop: Path, put: Callable[..., None], sent: Sent
) -> None:
    row, following = window(monitor), window(monitor, 2)
    drop.rmdir()
    assert collected(row).status == "due" and row.attempts == 1 and "drop folder" in row.error
    assert sent == [(COLLECT, row.pk)] and Alert.objects.get().kind == "source"
    drop.mkdir()
    put(studies(20))
    assert collected(row).status == "auditing" and row.error == ""
    assert Alert.objects.exclude(severity="info").get().status == "closed"  # settled by itself
    MonitorWindow.objects.filter(pk=row.pk).update(status="judged")
    MonitorWindow.objects.filter(pk=following.pk).update(attempts=MOST_ATTEMPTS - 1)
    (drop / "week.csv").unlink()
    drop.rmdir()
    third = window(monitor, 3)
    assert collected(following).status == "failed" and following.error and (COLLECT, third.pk) in sent
    assert "window.failed" in acts()


def test_a_worker_that_dies_is_replaced_and_a_paused_monitor_waits(
    monitor: Monitor, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    put(studies(20))
    row = window(monitor)

    def killed(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(collecting, "store_cohort", killed)
        with pytest.raises(KeyboardInterrupt):
            collecting.collect_window(row.pk)
    row.refresh_from_db()
    assert row.status == "collecting"
    assert collected(row).status == "collecting"  # its lease still holds
    MonitorWindow.objects.filter(pk=row.pk).update(lease_expires=timezone.now() - timedelta(seconds=1))
    Monitor.objects.filter(pk=monitor.pk).update(status="paused")
    assert collected(row).status == "collecting"
    Monitor.objects.filter(pk=monitor.pk).update(status="active")
    assert collected(row).status == "auditing"
    assert (Delivery.objects.count(), AuditRun.objects.count()) == (1, 1)


def test_a_lost_lease_writes_nothing(
    monitor: Monitor, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(studies(20))
    row = window(monitor)
    real = collecting.store_cohort

    def slow(**given: Any) -> Any:
        MonitorWindow.objects.filter(pk=row.pk).update(lease_token="another")
        return real(**given)

    monkeypatch.setattr(collecting, "store_cohort", slow)
    assert collected(row).status == "collecting" and row.lease_token == "another"
    assert not AuditRun.objects.exists() and "window.collected" not in acts()


def test_a_fault_of_the_ledger_leaves_nothing_half_done(
    monitor: Monitor, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(studies(20))
    pull(monitor, opens_at=OPENS, closes_at=CLOSES)
    row = window(monitor)

    def refuse(**given: Any) -> None:
        if given["act"] == "window.collected":
            raise RuntimeError("the ledger is broken")
        return real(**given)

    real = collecting.ledger.record
    monkeypatch.setattr(collecting.ledger, "record", refuse)
    with pytest.raises(RuntimeError):
        collecting.collect_window(row.pk)
    row.refresh_from_db()
    assert (row.status, row.run, row.cohort, row.attempts) == ("due", None, None, 1)
    assert not AuditRun.objects.exists()


def test_a_file_that_is_still_written_is_waited_for_some_times(
    monitor: Monitor, put: Callable[..., None], drop: Path, sent: Sent
) -> None:
    monitor.source = check_source("folder", {"path": str(drop), "marks": True})
    monitor.save()
    put(studies(20), "done.csv")
    (drop / "done.csv.done").touch()
    put(studies(5, start=50), "open.csv")
    row = window(monitor)
    for number in range(collecting.MOST_WAITS):
        assert collected(row).status == "due" and row.progress["waits"] == number + 1 and row.attempts == 0
    assert len(sent) == collecting.MOST_WAITS
    assert collected(row).status == "auditing" and codes(row)["file-unsettled"] == 1 and len(ids(row)) == 20


def test_windows_by_count_close_with_their_last_study(monitor: Monitor, put: Callable[..., None]) -> None:
    put(pd.concat([studies(24), studies(24, start=24, day=4)]))
    assert held_studies(monitor, OPENS) == 0
    assert look_at_source(monitor, opens_at=OPENS, closes_at=CLOSES) == 1
    assert held_studies(monitor, OPENS) == 48
    closes = closing_of(monitor, OPENS, 30)
    assert closes == datetime(2026, 3, 4, 5, 30, 0, 1, tzinfo=OPENS.tzinfo)
    assert closing_of(monitor, OPENS, 49) is None
    row = collected(window(monitor, closes_at=closes))
    assert len(ids(row)) == 30 and held_studies(monitor, closes) == 18
    assert held_studies(monitor, OPENS) == 18  # what a window has is not held any more


def test_a_source_that_fails_while_it_is_looked_at_is_an_alert(monitor: Monitor, drop: Path) -> None:
    drop.rmdir()
    assert look_at_source(monitor, opens_at=OPENS, closes_at=CLOSES) == 0
    assert Alert.objects.get().key == UNREADABLE


def test_a_reference_of_another_schema_is_refused(monitor: Monitor, people: SimpleNamespace, drop: Path) -> None:
    facts = {"deployment": monitor.deployment, "reference": monitor.reference_cohort, "protocol": monitor.protocol}
    check_reference(**facts, kind="folder", source=monitor.source)
    mapped = {"path": str(drop), "mapping": {"columns": {"Ward": "ward"}}}
    with pytest.raises(AuscultError, match="does not have: ward"):
        check_reference(**facts, kind="folder", source=check_source("folder", mapped))
    fhir = check_source("fhir", {"url_env": "AUSCULT_SOURCE_A", "labels": {"fracture": ["s|1"]}})
    with pytest.raises(AuscultError, match=r"label\.effusion"):
        check_reference(**facts, kind="fhir", source=fhir)
    body = monitor.protocol.body | {"attributes": [{"name": "ward", "values": ["A"]}]}
    body["criteria"] = [item | {"attribute": "ward"} for item in body["criteria"]]
    monitor.protocol.body = body
    with pytest.raises(ProtocolError, match="'ward'"):
        check_reference(**facts, kind="folder", source=monitor.source)
    monitor.reference_cohort.cohort.role = "training"
    with pytest.raises(AuscultError, match="training cohort"):
        check_reference(**facts, kind="folder", source=monitor.source)


def test_who_may_deliver(monitor: Monitor, people: SimpleNamespace, tmp_path: Path) -> None:
    studies(12).to_parquet(tmp_path / "a.parquet")
    for name, says in (("elena", "You submitted"), ("nobody", "Only people"), ("rita", "Only people")):
        with pytest.raises(AuscultError, match=says):
            deliver_studies(monitor=monitor, path=tmp_path / "a.parquet", name="a", by=getattr(people, name))
    assert not Delivery.objects.exists()
    made = deliver_studies(monitor=monitor, path=tmp_path / "a.parquet", name="a", by=people.lea)
    again = deliver_studies(monitor=monitor, path=tmp_path / "a.parquet", name="b", by=people.lea)
    assert (made.new, again.new, again.delivery) == (True, False, made.delivery)
    assert FINAL and issubclass(SourceError, AuscultError)
    Monitor.objects.filter(pk=monitor.pk).update(status="ended")
    monitor.refresh_from_db()
    with pytest.raises(AuscultError, match="has ended"):
        deliver_studies(monitor=monitor, path=tmp_path / "a.parquet", name="a", by=people.lea)


@pytest.mark.parametrize("gone", ["deactivated", "lost the role"])
def test_a_window_waits_for_an_owner_who_may_not_request_audits(
    monitor: Monitor, people: SimpleNamespace, put: Callable[..., None], sent: Sent, gone: str,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    """However long that takes, no window is skipped: the one that waits goes on after the hand-over."""
    put(studies(20))
    row, following = window(monitor), window(monitor, 2)
    if gone == "deactivated":
        User.objects.filter(pk=people.amir.pk).update(is_active=False)
    else:
        people.amir.role_grants.all().delete()
    for _ in range(MOST_ATTEMPTS + 1):
        assert collected(row).status == "due" and row.attempts == 0 and row.lease_token == ""
    alert = Alert.objects.get()
    assert (alert.key, alert.kind, alert.times, alert.status) == (OWNER_KEY, "stale", 1, "open")
    assert "'Hand it over'" in alert.text and f"auscult monitor hand-over {monitor.pk} --owner" in alert.text
    assert not Delivery.objects.exists() and (COLLECT, following.pk) not in sent and "window.failed" not in acts()
    assert collected(following).status == "due", "nothing happens out of order"
    MonitorWindow.objects.update(created_at=timezone.now() - timedelta(days=30))
    assert tell_stale(timezone.now()) == 0 and Alert.objects.count() == 1, "one matter, one alert"

    sent.clear()
    with django_capture_on_commit_callbacks(execute=True):
        hand_over_monitor(monitor=monitor, owner=people.boris, by=people.clara, reason="Amir has left the hospital.")
    assert sent == [(COLLECT, row.pk)]
    assert collected(row).status == "auditing" and row.error == "" and row.run.requested_by == people.boris
    alert.refresh_from_db()
    assert (alert.status, alert.resolution) == ("closed", "settled")


def test_an_owner_who_goes_while_data_are_read_does_not_lose_the_window(
    monitor: Monitor, people: SimpleNamespace, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(studies(20))
    row = window(monitor)
    real = collecting.store_cohort

    def meanwhile(**given: Any) -> Any:
        made = real(**given)
        User.objects.filter(pk=people.amir.pk).update(is_active=False)
        given["by"].is_active = False
        return made

    monkeypatch.setattr(collecting, "store_cohort", meanwhile)
    assert collected(row).status == "due" and Alert.objects.filter(key=OWNER_KEY).exists()
    assert not AuditRun.objects.exists()
