"""Workers as they tell of themselves, and workers that are refused before they take work."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from config import workers as signals
from config.embedded.places import worker_places
from config.embedded.stack import ROOT
from core.errors import AuscultError, EnvironmentProblemError
from evaluation import execution
from evaluation.execution import shards as shards_module
from evaluation.execution import workers
from evaluation.models import AuditRun, Worker
from tests.evaluation.steps import only_shard


@pytest.fixture
def here(db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """This process as a worker, without the thread: a test's database is seen by one thread only."""
    import torch  # noqa: F401 - as a worker of this queue does when it starts

    monkeypatch.setattr(workers.Presence, "_run", lambda self: None)
    yield workers.announce(name="gpu@test", queues=["gpu"])
    workers.leave()


def row() -> Worker:
    return Worker.objects.get(name="gpu@test")


def test_a_worker_is_known_from_its_start_to_its_end(here: workers.Presence, settings: Any) -> None:
    import torch

    found = row()
    assert (found.pid, found.queues, found.doing, found.loaded, found.speed) == (os.getpid(), ["gpu"], "", [], None)
    assert (found.device, found.threads) == ("cpu", torch.get_num_threads())
    assert found.memory_total and found.device_name
    assert not workers.is_stale(found, now=timezone.now())
    assert workers.is_stale(found, now=timezone.now() + timedelta(seconds=2 * settings.AUSCULT_LEASE_SECONDS))
    workers.leave()
    assert workers.is_stale(row(), now=timezone.now()), "who has left is not taken for busy"


def test_a_worker_tells_what_it_does_while_it_does_it(
    here: workers.Presence, run: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[Worker] = []
    real = shards_module.predict_share

    def watched(*args: Any, **kwargs: Any) -> Any:
        during.append(row())
        return real(*args, **kwargs)

    monkeypatch.setattr(shards_module, "predict_share", watched)
    execution.execute_shard(only_shard(run).pk)
    assert during[0].doing == f"Audit {run.pk} of {run.version}: share 1, {only_shard(run).n_studies} studies"
    after = row()
    assert after.doing == "" and after.seen_at >= during[0].seen_at
    assert [(item["system"], item["label"]) for item in after.loaded] == [("Chest model", "1.0")]
    assert after.speed and after.speed > 0


def test_a_worker_is_idle_after_a_share_that_failed(
    here: workers.Presence, run: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        assert row().doing
        raise AuscultError("It cannot be done.")

    monkeypatch.setattr(shards_module, "_work", fail)
    execution.execute_shares(only_shard(run).pk)
    assert row().doing == "" and only_shard(run).status == "failed"


def test_speed_is_that_of_the_last_shares(here: workers.Presence) -> None:
    for _ in range(workers.REMEMBERED_SHARES):
        workers.note_share(100, 1.0)
    assert here.speed == 100.0
    for _ in range(workers.REMEMBERED_SHARES):
        workers.note_share(100, 2.0)
    assert here.speed == 50.0
    workers.note_share(5, 0.0)
    assert here.speed == 50.0


def test_a_row_that_cannot_be_written_stops_no_work(
    here: workers.Presence, run: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> Any:
        raise DatabaseError("database is locked")

    monkeypatch.setattr(Worker.objects, "filter", refuse)
    execution.execute_shard(only_shard(run).pk)
    assert only_shard(run).status == "done"
    monkeypatch.undo()


def test_a_process_that_is_no_worker_writes_no_row(run: AuditRun) -> None:
    execution.execute_shard(only_shard(run).pk)
    workers.tell("something")
    assert workers.name() == "" and not Worker.objects.exists()


def test_other_tasks_are_told_in_words(here: workers.Presence) -> None:
    class Task:
        name = "evaluation.tasks.judge"

    signals.tell_begin(task=Task(), args=(7,))
    assert row().doing == "Judges audit 7"
    signals.tell_end(task=Task())
    assert row().doing == ""
    Task.name = "evaluation.tasks.sweep"
    signals.tell_begin(task=Task(), args=())
    assert row().doing == "", "the sweep is too short to tell"


# Refused


def celery(tmp_path: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A worker that ends before it looks for a broker."""
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", *options]
    mine = {**os.environ, "AUSCULT_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings", **environment}
    return subprocess.run(command, cwd=ROOT, env=mine, capture_output=True, text=True, timeout=120)


def test_models_are_not_run_in_a_pool_that_forks(tmp_path: Path) -> None:
    done = celery(tmp_path, "-Q", "gpu,cpu")
    assert done.returncode == 1
    assert "cannot use the pool prefork" in done.stderr and "-P solo" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_whose_device_is_not_there_takes_no_work(tmp_path: Path) -> None:
    done = celery(tmp_path, "-Q", "gpu", "-P", "solo", AUSCULT_DEVICE="cuda:5", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "AUSCULT_DEVICE is cuda:5, and this process sees 0 CUDA devices" in done.stderr
    assert "AUSCULT_DEVICE=cpu" in done.stderr and "Traceback" not in done.stderr


def test_a_number_of_threads_that_is_none_is_told(tmp_path: Path) -> None:
    done = celery(tmp_path, "-Q", "gpu", "-P", "solo", AUSCULT_THREADS="two")
    assert done.returncode != 0 and "AUSCULT_THREADS is 'two'" in done.stderr


def test_a_worker_that_forks_computes_nothing_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that have computed with threads hang in forked children."""
    warmed: list[bool] = []
    monkeypatch.setattr("evaluation.engine.warm_up", lambda: warmed.append(True))
    for pool, expected in (("prefork", []), ("solo", [True])):
        queues = SimpleNamespace(consume_from={"cpu": None})
        sender = SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)), pool_cls=pool)
        signals.prepare_worker(sender=sender)
        assert warmed == expected


@pytest.mark.parametrize("pool", ["prefork", "threads", "celery.concurrency.gevent:TaskPool"])
def test_only_solo_runs_models(pool: str) -> None:
    with pytest.raises(SystemExit, match="-P solo"):
        signals._check_pool(pool)


def test_solo_is_known_by_name_and_by_class() -> None:
    from celery.concurrency.prefork import TaskPool as Prefork
    from celery.concurrency.solo import TaskPool as Solo

    for pool in ("solo", "celery.concurrency.solo:TaskPool", Solo):
        signals._check_pool(pool)
    with pytest.raises(SystemExit, match="prefork"):
        signals._check_pool(Prefork)


# One process for each device


@pytest.fixture
def two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "cards" / name).mkdir(parents=True)
    monkeypatch.setattr("config.embedded.places.DRIVER", tmp_path / "cards")


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.embedded.places.os.cpu_count", lambda: 4)


def places(**environment: str) -> list[tuple[str, dict[str, str]]]:
    return [(place.name, dict(place.environment)) for place in worker_places(environment)]


def test_without_a_card_one_worker_runs_on_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.embedded.places.DRIVER", tmp_path / "none")
    assert places() == [("gpu", {"AUSCULT_DEVICE": "auto"})]
    assert places(AUSCULT_DEVICE="cpu") == [("gpu", {"AUSCULT_DEVICE": "cpu"})]


def test_each_card_gets_a_worker_that_sees_no_other(two_cards: None) -> None:
    first, second = {"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}
    assert places() == [("gpu", first | {"AUSCULT_DEVICE": "cuda"}), ("gpu2", second | {"AUSCULT_DEVICE": "cuda"})]
    assert places(CUDA_VISIBLE_DEVICES="7") == [("gpu", {"CUDA_VISIBLE_DEVICES": "7", "AUSCULT_DEVICE": "cuda"})]
    assert places(AUSCULT_DEVICES="cuda:1, cpu")[0] == ("gpu", second | {"AUSCULT_DEVICE": "cuda"})
    assert len(places(AUSCULT_DEVICE="cpu")) == 1


def test_workers_on_the_processor_share_its_cores(four_cores: None) -> None:
    own = {"AUSCULT_DEVICE": "cpu", "AUSCULT_THREADS": "2"}
    assert places(AUSCULT_GPU_WORKERS="2") == [("gpu", own), ("gpu2", own)]
    assert places(AUSCULT_DEVICES="cpu,cpu") == places(AUSCULT_GPU_WORKERS="2")
    told = places(AUSCULT_GPU_WORKERS="3", AUSCULT_THREADS="1")
    assert [name for name, _ in told] == ["gpu", "gpu2", "gpu3"]
    assert all("AUSCULT_THREADS" not in environment for _, environment in told), "what is set for all stands"


@pytest.mark.parametrize(
    "environment",
    [{"AUSCULT_DEVICES": "tpu"}, {"AUSCULT_DEVICES": "cuda:x"}, {"AUSCULT_DEVICES": "cpu:1"},
     {"AUSCULT_GPU_WORKERS": "0"}, {"AUSCULT_GPU_WORKERS": "many"}, {"AUSCULT_GPU_WORKERS": "65"}],
)  # fmt: skip
def test_what_is_no_device_and_no_number_is_told(environment: dict[str, str]) -> None:
    with pytest.raises(EnvironmentProblemError):
        worker_places(environment)
