"""The workers' page: who is there, who is not, and what waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django.test import Client
from django.utils import timezone

from evaluation.models import Worker
from evaluation.worker_selectors import list_queues, list_workers
from models_registry.models import VersionIntake
from tests.pages import scene
from tests.pages.lineage_scene import workers
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]


def read(client: Client) -> str:
    text = client.get("/workers/").content.decode()
    page = Page(text)
    assert (page.faults, page.stack, page.tags["h1"]) == ([], [], 1)
    return text


def test_each_worker_with_device_work_models_and_speed(house: SimpleNamespace, sign_in: SignIn) -> None:
    workers()
    text = read(sign_in("dora"))
    first, second, third = (text.index(name) for name in ("cpu@node-1", "gpu1@node-1", "gpu2@node-2"))
    assert first < second < third, "those that are there come first"
    working = text[second:third]
    for fact in ("Working", "Audit 4, share 3 of 6", "Example CPU", "2 threads", "8.0 GB", "212", "1 model, 4.2 MB"):
        assert fact in working
    gone = text[third:]
    assert "Not there" in gone and "3 h ago" in gone
    assert "Waiting for work" in text[first:second] and "runs no models" in text[first:second]
    assert 'hx-trigger="every 5s"' in text


def test_an_empty_page_says_what_it_will_show(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = read(sign_in("amir"))
    assert "No worker has told of itself yet" in text and "Queues" in text


def test_all_silent_is_said_above_the_table(house: SimpleNamespace, sign_in: SignIn) -> None:
    workers()
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))
    assert "All of them have been silent for too long." in read(sign_in("amir"))


def test_a_worker_is_gone_after_two_leases(house: SimpleNamespace, settings: Any) -> None:
    settings.AUSCULT_LEASE_SECONDS = 60
    workers()
    row = Worker.objects.get(name="cpu@node-1")
    at = {row.worker.name: row for row in list_workers(now=row.seen_at + timedelta(seconds=119))}
    assert at["cpu@node-1"].present
    at = {row.worker.name: row for row in list_workers(now=row.seen_at + timedelta(seconds=120))}
    assert not at["cpu@node-1"].present


def test_queues_count_what_waits_and_what_is_worked_on(house: SimpleNamespace) -> None:
    for status in ("queued", "checking", "registering", "ready", "receiving"):
        VersionIntake.objects.create(
            system=house.system,
            label=status,
            adapter="recorded",
            kind="folder",
            status=status,
            created_by=scene.person("elena"),
        )
    found = {row.work: (row.queue, row.waiting, row.running) for row in list_queues()}
    # The scene: one running audit of six shares (three done, one at work), one import that is read, one training.
    assert found["Shares of patients of audits"] == ("gpu", 2, 1)
    assert found["Models on their way in"] == ("cpu", 1, 2)
    assert found["Cohorts on their way in"] == ("cpu", 0, 1)
    assert found["Audits to be judged"] == ("cpu", 0, 0)


def test_the_page_belongs_to_the_room_of_audits(house: SimpleNamespace, sign_in: SignIn) -> None:
    text = read(sign_in("amir"))
    entry = text[text.index('href="/audits/"') :].partition(">")[0]
    assert 'aria-current="page"' in entry
    assert 'href="/workers/"' in sign_in("amir").get("/audits/").content.decode()
