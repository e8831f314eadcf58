"""Delivered rows are deleted when no window can need them, and never before; the file stays known."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.models import LedgerEntry
from evaluation.models import Delivery, Monitor, MonitorWindow
from evaluation.monitoring.gathering import held_studies
from evaluation.monitoring.purging import purge_deliveries
from evaluation.services.deliveries import deliver_studies
from models_registry.services.versions import model_store
from tests.evaluation.source_scene import CLOSES, OPENS, studies, watched
from tests.registry.scene import Files, acts, snapshot

LATER = OPENS + timedelta(days=400)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)


@pytest.fixture
def monitor(people: SimpleNamespace, files: Files, tmp_path: Path) -> Monitor:
    return watched(people, files, tmp_path)


class Scene:
    """Brings files of studies to a monitor, and makes windows that have ended."""

    def __init__(self, monitor: Monitor, people: SimpleNamespace, folder: Path) -> None:
        self.monitor, self.people, self.folder = monitor, people, folder

    def bring(self, name: str, **given: Any) -> Delivery:
        """Studies of one day of March that came in the night after it."""
        path = self.folder / f"{name}.csv"
        studies(10, **given).to_csv(path, index=False)
        row = deliver_studies(monitor=self.monitor, path=path, name=name, by=self.people.lea).delivery
        Delivery.objects.filter(pk=row.pk).update(received_at=OPENS + given.get("day", 3) * DAY)
        return row

    def window(self, index: int, **given: Any) -> MonitorWindow:
        """A window that was judged an hour after it closed."""
        opens = OPENS + (index - 1) * WEEK
        ended = opens + WEEK + timedelta(hours=1)
        facts = {
            "opens_at": opens, "closes_at": opens + WEEK, "due_at": opens + WEEK, "status": "judged",
            "collected_at": ended, "judged_at": ended,
        }  # fmt: skip
        return MonitorWindow.objects.create(monitor=self.monitor, index=index, **facts | given)


@pytest.fixture
def scene(monitor: Monitor, people: SimpleNamespace, tmp_path: Path) -> Scene:
    return Scene(monitor, people, tmp_path)


def held(row: Delivery) -> bool:
    """Whether the rows of a delivery are in the store, as its own row says."""
    row.refresh_from_db()
    assert (row.purged_at is None) == bool(row.content_digest)
    return bool(row.content_digest) and model_store().has(row.content_digest)


def test_rows_go_ninety_days_after_the_last_window_they_lie_in(scene: Scene, people: SimpleNamespace) -> None:
    row, digest = scene.bring("week"), Delivery.objects.get().content_digest
    over = scene.bring("over", start=50, day=12)
    ended = scene.window(1).judged_at
    assert purge_deliveries(ended + 90 * DAY - timedelta(seconds=1)) == 0 and held(row)
    before = snapshot()
    assert purge_deliveries(ended + 90 * DAY) == 1 and not held(row) and not model_store().has(digest)
    assert snapshot() != before and held(over), "its window has not been made yet"
    assert (row.name, row.n_studies, row.purged_at) == ("week", 10, ended + 90 * DAY)
    entry = json.loads(LedgerEntry.objects.get(act="monitor.deliveries_purged").body)
    assert (entry["actor"], entry["payload"]) == ("system", {"deliveries": [row.pk], "days": 90})
    again = deliver_studies(monitor=scene.monitor, path=scene.folder / "week.csv", name="again", by=people.lea)
    assert (again.new, again.delivery) == (False, row), "the same file is known"
    assert held_studies(scene.monitor, OPENS) == 10, "what is left can be read: the studies of the other file"
    assert purge_deliveries(LATER) == 0 and acts().count("monitor.deliveries_purged") == 1


@pytest.mark.parametrize("status", ["due", "collecting", "auditing", "judging"])
def test_an_open_window_keeps_what_it_could_need(scene: Scene, status: str) -> None:
    first, second = scene.bring("first"), scene.bring("second", start=50, day=10)
    scene.window(1)
    open_one = scene.window(2, status=status, judged_at=None, collected_at=None)
    assert purge_deliveries(LATER) == 1 and not held(first) and held(second)
    scene.window(3)  # as if a later one had ended first: what an open one needs is still kept
    assert purge_deliveries(LATER) == 0 and held(second)
    MonitorWindow.objects.filter(pk=open_one.pk).update(status="empty", collected_at=CLOSES + WEEK)
    assert purge_deliveries(LATER) == 1 and not held(second)


def test_what_came_late_is_kept_until_a_window_has_counted_it(scene: Scene) -> None:
    late = scene.bring("late")
    Delivery.objects.filter(pk=late.pk).update(received_at=CLOSES + DAY)
    scene.window(1)
    assert purge_deliveries(LATER) == 0 and held(late)
    scene.window(2)
    assert purge_deliveries(LATER) == 1 and not held(late)
    new = scene.bring("new", start=50)
    Delivery.objects.filter(pk=new.pk).update(received_at=timezone.now())
    assert purge_deliveries(LATER) == 0, "it came after every window"


def test_rows_that_another_delivery_has_too_are_kept_in_the_store(scene: Scene) -> None:
    one, digest = scene.bring("one"), Delivery.objects.get().content_digest
    other = Delivery.objects.create(
        monitor=scene.monitor, name="other", source_digest="f" * 64, content_digest=digest, n_studies=10,
        first_at=OPENS, last_at=CLOSES + WEEK,
    )  # fmt: skip
    scene.window(1)
    assert purge_deliveries(LATER) == 1 and not held(one) and held(other)
    Delivery.objects.filter(pk=other.pk).update(received_at=OPENS)
    scene.window(2)
    scene.window(3)
    assert purge_deliveries(LATER) == 1 and not held(other) and not model_store().has(digest)


def test_an_ended_monitor_needs_nothing_and_a_short_time_is_kept_to(scene: Scene, settings: Any) -> None:
    row = scene.bring("week")
    settings.AUSCULT_DELIVERY_DAYS = 5
    assert purge_deliveries(LATER) == 0, "no window yet"
    Monitor.objects.filter(pk=scene.monitor.pk).update(status="ended")
    came = Delivery.objects.get().received_at
    assert purge_deliveries(came + 5 * DAY - timedelta(seconds=1)) == 0
    assert purge_deliveries(came + 5 * DAY) == 1 and not held(row)


def test_a_sweep_that_dies_between_file_and_row_is_made_good(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    row = scene.bring("week")
    scene.window(1)

    def refuse(**_: Any) -> None:
        raise RuntimeError("the ledger is broken")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("evaluation.monitoring.purging.ledger.record", refuse)
        purge_deliveries(LATER)
    assert Delivery.objects.get().content_digest, "nothing is said to be deleted without its entry"
    assert purge_deliveries(LATER) == 1 and not held(row)
