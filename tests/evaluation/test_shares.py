"""How a worker goes through the shares of a run: one after another, decoding ahead, telling of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.errors import AdapterError, TransientError
from evaluation import execution
from evaluation.engine import Protocol as Rules
from evaluation.execution import sequence, shards
from evaluation.execution.batches import Batches
from evaluation.execution.telemetry import Meter
from evaluation.models import AuditRun, CachedPredictions, RunStatus, ShardStatus
from evaluation.services.runs import cancel_run
from models_registry.adapters.base import AdapterInfo, Capability, Predictions
from models_registry.cohorts.schema import StudyBatch
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish, fresh, only_shard
from tests.registry.scene import SHARDS


def studies(count: int) -> StudyBatch:
    names = tuple(f"s{i}" for i in range(count))
    return StudyBatch(study_ids=names, patient_ids=names, images=[np.zeros((4, 4), np.uint8)] * count)


class Prepared:
    """A model with the two steps apart; ``room`` is how many studies its device holds."""

    info = AdapterInfo(capabilities=frozenset({Capability.CLASSIFY}), labels=("x",))

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.threads: list[str] = []
        self.unprepared = 0

    def prepare(self, batch: StudyBatch) -> Any:
        self.threads.append(threading.current_thread().name)
        return np.array([int(name[1:]) for name in batch.study_ids], np.float64)

    def predict_prepared(self, batch: StudyBatch, prepared: Any) -> Predictions:
        if len(batch) > self.room:
            raise MemoryError
        return Predictions(study_ids=batch.study_ids, scores={"x": prepared / 1000})

    def predict(self, batch: StudyBatch) -> Predictions:
        self.unprepared += 1
        return self.predict_prepared(batch, self.prepare(batch))


class Reader:
    """A cohort of so many studies in one share."""

    def __init__(self, count: int, fault: Exception | None = None) -> None:
        self.count, self.fault, self.closed = count, fault, False

    def batches(self, part: object, *, batch_size: int) -> Generator[StudyBatch]:
        try:
            for start in range(0, self.count, batch_size):
                yield studies(self.count).rows(start, start + batch_size)
            if self.fault:
                raise self.fault
        finally:
            self.closed = True


def predict(model: Any, reader: Reader, told: Callable[[int], None] = lambda done: None, size: int = 8) -> Any:
    meter = Meter()
    found = shards.predict_share(model, reader, None, batch_size=size, after_batch=told, meter=meter)  # type: ignore[arg-type]
    return SimpleNamespace(scores=found.scores["x"], meter=meter)


def test_batches_are_prepared_in_the_reading_thread() -> None:
    model = Prepared()
    found = predict(model, Reader(30))
    assert found.scores.tolist() == [i / 1000 for i in range(30)]
    assert (set(model.threads), model.unprepared) == ({"read-ahead"}, 0)
    told = found.meter
    assert (told.studies, told.batch_size, told.batch_size_wanted) == (30, 8, 8)
    assert told.seconds["decode"] > 0 and told.seconds["inference"] > 0 and told.speed > 0


def test_with_one_thread_everything_is_done_in_line(settings: Any) -> None:
    settings.AUSCULT_THREADS, settings.AUSCULT_DEVICE = 1, "cpu"
    model = Prepared()
    assert predict(model, Reader(30)).scores.tolist() == [i / 1000 for i in range(30)]
    assert set(model.threads) == {threading.current_thread().name}


def test_a_prepared_batch_that_does_not_fit_is_cut_without_what_was_prepared() -> None:
    model = Prepared(room=3)
    found = predict(model, Reader(20))
    assert found.scores.tolist() == [i / 1000 for i in range(20)]
    assert found.meter.batch_size == 2 and model.unprepared > 0
    again = Batches(model, 8)
    assert again.prepare(studies(8)) is None, "what will be cut is not prepared whole"
    assert again.prepare(studies(2)) is not None


def test_a_model_without_a_step_of_its_own_is_given_the_batch() -> None:
    model = Prepared()
    plain = SimpleNamespace(predict=model.predict, info=model.info)
    assert predict(SimpleWeak(plain), Reader(9)).scores.tolist() == [i / 1000 for i in range(9)]


class SimpleWeak:
    """A model that has nothing but ``predict``."""

    def __init__(self, inner: Any) -> None:
        self.predict = inner.predict


def test_what_is_raised_between_batches_ends_the_thread() -> None:
    reader, before = Reader(10_000), threading.active_count()

    def stop(done: int) -> None:
        if done >= 24:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        predict(Prepared(), reader, stop)
    assert reader.closed and threading.active_count() == before


def test_a_picture_that_cannot_be_decoded_fails_the_share_after_the_batches_before_it() -> None:
    told: list[int] = []
    with pytest.raises(AdapterError, match="row 17"):
        predict(Prepared(), Reader(16, AdapterError("The picture of row 17 is damaged.")), told.append)
    assert told == [8, 16]


# Share after share


def test_one_message_runs_every_share_that_waits(run: AuditRun, sent: list[Any]) -> None:
    execution.execute_shares(only_shard(run, 1).pk)
    assert set(run.shards.values_list("status", flat=True)) == {ShardStatus.DONE}
    assert fresh(run).status == RunStatus.JUDGING and sent == [("evaluation.tasks.judge", run.pk)]
    execution.execute_shares(only_shard(run, 2).pk)
    assert sent == [("evaluation.tasks.judge", run.pk)]


def test_shares_of_other_runs_and_of_other_workers_are_left(order: Callable[..., AuditRun], sent: list[Any]) -> None:
    run, other = order(), order(settings={"seed": 9})
    run.shards.filter(index=2).update(status=ShardStatus.RUNNING, attempts=1, lease_token="another")
    run.shards.filter(index=3).update(attempts=1)  # given back by a worker: its own message comes again
    execution.execute_shares(only_shard(run).pk)
    assert [shard.status for shard in run.shards.order_by("index")] == ["done", "done", "running", "queued"]
    assert set(other.shards.values_list("status", flat=True)) == {ShardStatus.QUEUED}


def test_a_share_that_another_worker_takes_first_does_not_end_the_sequence(
    run: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, second = sequence.settle_share, only_shard(run, 1)

    def race(pk: int) -> Any:
        if pk == second.pk:
            run.shards.filter(pk=pk).update(status=ShardStatus.RUNNING, attempts=1, lease_token="another")
        return real(pk)

    monkeypatch.setattr(sequence, "settle_share", race)
    execution.execute_shares(only_shard(run).pk)
    assert [shard.status for shard in run.shards.order_by("index")] == ["done", "running", "done", "done"]
    assert fresh(run).status == RunStatus.RUNNING


def test_a_cancelled_run_is_left_between_two_shares(
    run: AuditRun, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = sequence.settle_share, []

    def then_cancel(pk: int) -> Any:
        shard = real(pk)
        done.append(pk)
        cancel_run(run=fresh(run), by=people.amir)
        return shard

    monkeypatch.setattr(sequence, "settle_share", then_cancel)
    execution.execute_shares(only_shard(run).pk)
    assert len(done) == 1
    assert run.shards.filter(status=ShardStatus.CANCELLED).count() == SHARDS - 1


def test_a_worker_that_is_told_to_stop_ends_after_its_share(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    import celery.worker.state as state

    monkeypatch.setattr(state, "should_stop", 0)
    execution.execute_shares(only_shard(run).pk)
    assert run.shards.filter(status=ShardStatus.DONE).count() == 1


def test_a_passing_fault_of_a_later_share_is_retried_as_its_own(
    run: AuditRun, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, faulty = shards._work, only_shard(run, 1).pk

    def fault(shard: Any, *how: Any) -> None:
        if shard.pk == faulty:
            raise TransientError("The disk is away.")
        real(shard, *how)

    monkeypatch.setattr(shards, "_work", fault)
    execution.execute_shares(only_shard(run).pk)
    assert sent == [("evaluation.tasks.run_shard", faulty)]
    assert only_shard(run, 1).status == ShardStatus.QUEUED
    with pytest.raises(TransientError):
        execution.execute_shares(faulty)


# From the cache


def test_a_worker_without_a_device_helps_where_predictions_are_cached(
    order: Callable[..., AuditRun], sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish(order())
    sent.clear()
    run = order()
    by_whom: list[tuple[str, int]] = []
    real = shards.finish_run

    def helped(message: str, pk: int) -> None:
        """The other worker gets its message while this one is at its next share."""
        by_whom.append((message, pk))

    monkeypatch.setattr("evaluation.tasks.sketch_cached.delay", lambda pk: helped("sketch_cached", pk))
    work = sequence.settle_share

    def both(pk: int, **how: Any) -> Any:
        if by_whom == [("sketch_cached", run.pk)]:
            by_whom.append(("begun", pk))
            execution.sketch_cached(run.pk)
        return work(pk, **how)

    monkeypatch.setattr(sequence, "settle_share", both)
    execution.execute_shares(only_shard(run).pk)
    assert by_whom[0] == ("sketch_cached", run.pk), "called once, after the first share came from the cache"
    assert len([item for item in by_whom if item[0] == "sketch_cached"]) == 1
    assert fresh(run).status == RunStatus.JUDGING and sent == [("evaluation.tasks.judge", run.pk)]
    assert {shard.attempts for shard in run.shards.all()} == {1} and all(s.from_cache for s in run.shards.all())
    execution.judge(run.pk)
    assert fresh(run).result_digest == first.result_digest
    assert real is shards.finish_run


def test_nobody_is_called_where_nothing_is_cached(run: AuditRun, sent: list[Any]) -> None:
    execution.execute_shares(only_shard(run).pk)
    assert sent == [("evaluation.tasks.judge", run.pk)]


def test_a_helper_takes_only_what_is_cached_and_nothing_twice(order: Callable[..., AuditRun], sent: list[Any]) -> None:
    finish(order())
    run = order()
    assert shards.settle_share(only_shard(run).pk)
    gone = shards.cache_key(run, only_shard(run, 1).cohort_shard_digest)
    CachedPredictions.objects.filter(key=gone).delete()
    lost = CachedPredictions.objects.get(key=shards.cache_key(run, only_shard(run, 2).cohort_shard_digest))
    model_store().path(lost.digest).unlink()
    execution.sketch_cached(run.pk)
    execution.sketch_cached(run.pk)
    states = [(shard.status, shard.attempts) for shard in run.shards.order_by("index")]
    assert states == [("done", 1), ("queued", 0), ("queued", 0), ("done", 1)]
    assert fresh(run).status == RunStatus.RUNNING


def test_a_helper_leaves_runs_that_do_not_wait_for_it(order: Callable[..., AuditRun]) -> None:
    finish(order())
    waiting = order()
    for status in (RunStatus.QUEUED, RunStatus.RUNNING):
        AuditRun.objects.filter(pk=waiting.pk).update(status=status)
        execution.sketch_cached(waiting.pk)
        assert fresh(waiting).status == status, "nobody with the model has begun, so its precision is not known"
    assert set(waiting.shards.values_list("status", flat=True)) == {ShardStatus.QUEUED}
    execution.sketch_cached(987654)


def test_a_helper_takes_the_precision_that_the_worker_with_the_device_found(order: Callable[..., AuditRun]) -> None:
    """Cached shares of another precision are other predictions, and are left alone."""
    finish(order())
    run = order()
    assert shards.settle_share(only_shard(run).pk)
    done = only_shard(run)
    done.telemetry["made"]["precision"] = "bfloat16"
    done.save()
    execution.sketch_cached(run.pk)
    assert [shard.status for shard in run.shards.order_by("index")] == ["done", "queued", "queued", "queued"]


def test_progress_and_throughput_are_told_per_batch(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "RENEW_SECONDS", 0.0)
    AuditRun.objects.filter(pk=run.pk).update(settings=run.settings | {"batch_size": 10})
    shard, seen = only_shard(run), []
    real = shards.leases.renew

    def renew(row: Any, token: str, **changes: Any) -> None:
        real(row, token, **changes)
        seen.append(changes)

    monkeypatch.setattr(shards.leases, "renew", renew)
    execution.execute_shard(shard.pk)
    told = [item for item in seen if "telemetry" in item]
    assert [item["studies_done"] for item in told] == [*range(10, shard.n_studies, 10), shard.n_studies]
    assert all(item["telemetry"]["studies_per_second"] > 0 for item in told)


def test_the_lease_is_renewed_while_one_batch_takes_long(
    run: AuditRun, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread's writes go nowhere here: a test's database is seen by one thread only."""
    settings.AUSCULT_LEASE_SECONDS = 0.06
    beats: list[str] = []
    real = shards.leases.renew

    def renew(row: Any, token: str, **changes: Any) -> None:
        if threading.current_thread().name == "heartbeat":
            beats.append(token)
        else:
            real(row, token, **changes)

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.3)
        return predicted(*args, **kwargs)

    predicted = shards.predict_share
    monkeypatch.setattr(shards.leases, "renew", renew)
    monkeypatch.setattr(shards, "predict_share", slow)
    execution.execute_shard(only_shard(run).pk)
    assert len(beats) >= 3 and len(set(beats)) == 1
    assert only_shard(run).status == ShardStatus.DONE


def test_a_protocol_is_checked_once_in_a_process(run: AuditRun, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shards.rules_of(run)
    monkeypatch.setattr(Rules, "from_dict", lambda body: pytest.fail("it was checked again"))
    assert shards.rules_of(run) is first and first.digest == run.protocol.digest
