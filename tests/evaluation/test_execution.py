"""An audit as workers run it: to its end, twice, in any order, interrupted, and with what was tampered with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import TransientError
from core.ledger import verify
from core.models import LedgerEntry
from evaluation import execution
from evaluation.execution import shards
from evaluation.models import AuditRun, CachedPredictions, RunStatus, Shard, ShardStatus
from evaluation.services.runs import cancel_run, resume_run
from models_registry.services.versions import model_store
from tests.evaluation.steps import finish, fresh, only_shard, work
from tests.registry.scene import SHARDS, Files, acts, snapshot

Order = Callable[..., AuditRun]


class Interrupted:
    """The model of a run, with something that happens while it predicts."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self.what, self.calls = what, 0

    def __call__(self, version: Any, inference: Any) -> Interrupted:
        from evaluation.execution.loading import load_adapter

        self.adapter = load_adapter(version, inference)
        return self

    def predict(self, batch: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            self.what()
        return self.adapter.predict(batch)


@pytest.fixture
def while_predicting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Interrupted]:
    def install(what: Callable[[], Any]) -> Interrupted:
        interrupted = Interrupted(what)
        monkeypatch.setattr(shards, "load_adapter", interrupted)
        return interrupted

    return install


# To the end


def test_a_run_ends_with_measurements_verdicts_and_evidence(
    run: AuditRun, sent: list, files: Files, people: SimpleNamespace
) -> None:
    work(run)
    assert sent == [("evaluation.tasks.judge", run.pk)], "handed over once, by whoever finished last"
    assert fresh(run).status == RunStatus.JUDGING
    execution.judge(run.pk)
    done = fresh(run)
    assert (done.status, done.outcome, done.error) == (RunStatus.DONE, "fail", "")
    assert done.requested_at <= done.started_at <= done.finished_at
    assert {shard.studies_done for shard in run.shards.all()} == {shard.n_studies for shard in run.shards.all()}

    evidence = model_store().get_json(done.evidence_digest)
    assert evidence["run"]["requested_by"] == "amir" and evidence["version"]["submitted_by"] == "elena"
    assert evidence["protocol"]["approved_by"] == "clara"
    assert evidence["execution"]["shards"] == SHARDS and evidence["execution"]["shards_from_cache"] == 0
    assert evidence["execution"]["device"] == "none: recorded predictions"
    assert [item.detail for item in run.measurements.all()] == evidence["result"]["measurements"]
    assert [item.detail for item in run.verdicts.all()] == evidence["result"]["verdicts"]
    assert acts()[-1] == "run.judged" and verify().intact
    assert done.evidence_digest in LedgerEntry.objects.get(act="run.judged").body


def test_the_numbers_are_those_of_the_file(run: AuditRun, files: Files) -> None:
    """Sensitivity by sex, counted from the file by other means."""
    done = finish(run)
    truth = files.frame["label.effusion"] == 1
    for sex in ("F", "M"):
        cases = files.frame[truth & (files.frame["sex"] == sex)]
        found = done.measurements.get(metric="tpr", label="effusion", attribute="sex", group=sex)
        assert found.n == len(cases)
        assert found.value == pytest.approx(cases["pred.effusion"].mean(), abs=1e-12)
        assert found.patients == cases["patient_id"].nunique()
        assert found.low < found.value < found.high


def test_the_result_digest_is_what_a_reader_computes(run: AuditRun) -> None:
    done = finish(run)
    text = model_store().path(done.evidence_digest).read_bytes()
    assert hashlib.sha256(text).hexdigest() == done.evidence_digest
    evidence = json.loads(text)
    covered = {
        "cohort": evidence["cohort"]["digest"],
        "protocol": evidence["protocol"]["digest"],
        "result": evidence["result"],
        "settings": evidence["execution"]["settings"],
        "version": evidence["version"]["digest"],
    }
    plain = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(plain.encode()).hexdigest() == done.result_digest == evidence["result_digest"]


def test_every_delivery_may_come_twice(run: AuditRun, sent: list) -> None:
    for shard in run.shards.order_by("index"):
        execution.execute_shard(shard.pk)
        before, messages = snapshot(), list(sent)
        execution.execute_shard(shard.pk)
        assert snapshot() == before and sent == messages
    for step in (execution.finish_run, execution.judge, execution.judge, execution.finish_run):
        if step is execution.judge and fresh(run).status == RunStatus.JUDGING:
            step(run.pk)
            before = snapshot()
        step(run.pk)
        assert snapshot() == before
    work(run)
    execution.requeue_work()
    assert snapshot() == before
    assert sent == [("evaluation.tasks.judge", run.pk)]


def test_a_run_is_not_handed_over_before_its_last_share(run: AuditRun, sent: list) -> None:
    execution.execute_shard(only_shard(run).pk)
    execution.finish_run(run.pk)
    execution.judge(run.pk)
    assert fresh(run).status == RunStatus.RUNNING and sent == []


def test_order_workers_and_attempts_do_not_change_the_result(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    first = finish(order())
    CachedPredictions.objects.all().delete()
    workers = iter(range(100))
    monkeypatch.setattr(shards.os, "getpid", lambda: next(workers))
    second = finish(order(), backwards=True)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.result_digest == second.result_digest
    assert first.evidence_digest != second.evidence_digest, "the evidence tells the attempts apart"
    assert len(model_store().get_json(second.evidence_digest)["execution"]["workers"]) == SHARDS
    assert not second.shards.filter(from_cache=True).exists()


def test_a_second_audit_runs_no_model(order: Order, while_predicting: Any) -> None:
    first = finish(order())
    interrupted = while_predicting(lambda: pytest.fail("the model was run again"))
    second = finish(order())
    assert interrupted.calls == 0
    assert second.shards.filter(from_cache=True).count() == SHARDS
    assert second.result_digest == first.result_digest
    assert model_store().get_json(second.evidence_digest)["execution"]["shards_from_cache"] == SHARDS


def test_other_settings_or_another_model_are_other_predictions(order: Order, people: SimpleNamespace) -> None:
    run = finish(order())
    digest = only_shard(run).cohort_shard_digest
    assert CachedPredictions.objects.filter(key=shards.cache_key(run, digest)).exists()
    for change in ({"settings": run.settings | {"batch_size": 7}}, {"settings": run.settings | {"seed": 1}}):
        other = AuditRun(version=run.version, **change)
        assert shards.cache_key(other, digest) != shards.cache_key(run, digest)
    assert shards.cache_key(run, "0" * 64) != shards.cache_key(run, digest)


def test_predictions_that_are_gone_from_the_store_are_made_again(order: Order) -> None:
    first = finish(order())
    for cached in CachedPredictions.objects.all():
        model_store().path(cached.digest).unlink()
    second = finish(order())
    assert second.result_digest == first.result_digest
    assert not second.shards.filter(from_cache=True).exists()


# Tampered with


def test_a_share_of_the_cohort_that_was_changed_on_disk_stops_the_run(run: AuditRun, people: SimpleNamespace) -> None:
    path = model_store().folder_path(run.cohort.digest) / "shard-00001.parquet"
    original = path.read_bytes()
    path.write_bytes(original[:-20] + bytes([original[-20] ^ 1]) + original[-19:])
    work(run)
    failed = fresh(run)
    assert failed.status == RunStatus.FAILED and failed.finished_at
    assert "shard-00001.parquet was changed since the cohort was registered" in failed.error
    assert "What to do" in failed.error
    states = list(run.shards.order_by("index").values_list("status", flat=True))
    assert states == ["done", "failed", "cancelled", "cancelled"]
    assert not run.measurements.exists() and failed.outcome == ""

    path.write_bytes(original)
    resume_run(run=failed, by=people.boris)
    done = finish(failed)
    assert done.status == RunStatus.DONE and done.error == ""
    assert [shard.attempts for shard in run.shards.order_by("index")] == [1, 1, 1, 1]


def test_a_model_that_was_changed_on_disk_stops_the_run(run: AuditRun) -> None:
    path = model_store().folder_path(run.version.digest) / "predictions.parquet"
    path.write_bytes(path.read_bytes() + b"\0")
    work(run)
    failed = fresh(run)
    assert failed.status == RunStatus.FAILED
    assert "predictions.parquet was changed since this content was registered" in failed.error
    assert not CachedPredictions.objects.exists()


def test_cached_predictions_that_were_changed_on_disk_stop_the_run(order: Order) -> None:
    finish(order())
    path = model_store().path(CachedPredictions.objects.first().digest)
    path.write_bytes(path.read_bytes() + b"\0")
    second = order()
    work(second)
    assert fresh(second).status == RunStatus.FAILED
    assert "was changed on disk" in fresh(second).error


def test_a_sketch_that_was_changed_on_disk_is_not_judged(run: AuditRun) -> None:
    work(run)
    path = model_store().path(only_shard(run).sketch_digest)
    path.write_bytes(path.read_bytes() + b"\0")
    execution.judge(run.pk)
    failed = fresh(run)
    assert (failed.status, failed.judge_token) == (RunStatus.FAILED, "")
    assert "was changed on disk" in failed.error and not run.verdicts.exists()


# Interrupted


def test_a_cancelled_run_stops_between_batches(
    run: AuditRun, people: SimpleNamespace, while_predicting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "RENEW_SECONDS", 0.0)
    AuditRun.objects.filter(pk=run.pk).update(settings=run.settings | {"batch_size": 10})
    interrupted = while_predicting(lambda: cancel_run(run=fresh(run), by=people.boris))
    work(run)
    assert fresh(run).status == RunStatus.CANCELLED
    assert interrupted.calls == 1, "no batch was predicted after the run was cancelled"
    assert set(run.shards.values_list("status", flat=True)) == {ShardStatus.CANCELLED}
    assert not CachedPredictions.objects.exists()
    resume_run(run=fresh(run), by=people.amir)
    assert finish(run).status == RunStatus.DONE


def test_a_worker_that_was_taken_for_dead_writes_nothing(
    run: AuditRun, order: Order, while_predicting: Any, sent: list
) -> None:
    """While the first worker predicts, its lease runs out and a second one does the share."""
    shard = only_shard(run)

    def overtake() -> None:
        Shard.objects.filter(pk=shard.pk).update(lease_expires=timezone.now() - timedelta(seconds=1))
        execution.execute_shard(shard.pk)
        overtake.after = Shard.objects.filter(pk=shard.pk).values().get()  # type: ignore[attr-defined]

    while_predicting(overtake)
    execution.execute_shard(shard.pk)
    after = Shard.objects.filter(pk=shard.pk).values().get()
    assert after == overtake.after  # type: ignore[attr-defined]
    assert (after["status"], after["attempts"]) == (ShardStatus.DONE, 2)


def test_a_share_at_which_every_worker_dies_fails_the_run(run: AuditRun) -> None:
    shard = only_shard(run)
    for attempt in range(1, 6):
        Shard.objects.filter(pk=shard.pk).update(
            status=ShardStatus.RUNNING,
            attempts=attempt,
            lease_token="dead",
            lease_expires=timezone.now() - timedelta(seconds=1),
        )
    execution.execute_shard(shard.pk)
    failed = fresh(run)
    assert failed.status == RunStatus.FAILED
    assert "5 workers in a row stopped while they worked on share 0" in failed.error
    assert "memory" in failed.error


def test_the_fifth_worker_may_still_succeed(run: AuditRun) -> None:
    Shard.objects.filter(pk=only_shard(run).pk).update(attempts=4)
    execution.execute_shard(only_shard(run).pk)
    assert only_shard(run).status == ShardStatus.DONE


def test_a_fault_that_may_pass_gives_the_share_back(run: AuditRun, while_predicting: Any) -> None:
    def fault() -> None:
        raise TransientError("The disk is away.")

    while_predicting(fault)
    with pytest.raises(TransientError):
        execution.execute_shard(only_shard(run).pk)
    shard = only_shard(run)
    assert (shard.status, shard.lease_token) == (ShardStatus.QUEUED, "")
    assert fresh(run).status == RunStatus.RUNNING
    assert finish(run).status == RunStatus.DONE


def test_an_unexpected_error_fails_the_run_and_reaches_the_log(run: AuditRun, while_predicting: Any) -> None:
    while_predicting(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execution.execute_shard(only_shard(run).pk)
    assert fresh(run).status == RunStatus.FAILED
    assert "Unexpected ZeroDivisionError" in fresh(run).error


# The sweep


def test_nothing_stays_behind(order: Order, sent: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_registry.leases._queue_is_empty", lambda task: False)
    run = order()
    execution.requeue_work()
    assert sent == []
    first = only_shard(run)
    Shard.objects.filter(pk=first.pk).update(
        status=ShardStatus.RUNNING, lease_token="dead", lease_expires=timezone.now() - timedelta(seconds=1)
    )
    execution.requeue_work()
    assert sent == [("evaluation.tasks.run_shard", first.pk)]

    work(run)
    sent.clear()
    AuditRun.objects.update(status=RunStatus.RUNNING)  # the worker died between its last share and the handing over
    execution.requeue_work()
    assert set(sent) == {("evaluation.tasks.judge", run.pk)}
    sent.clear()
    AuditRun.objects.update(judge_token="busy", judge_expires=timezone.now() + timedelta(seconds=60))
    execution.requeue_work()
    assert sent == []
    AuditRun.objects.update(judge_expires=timezone.now() - timedelta(seconds=1))
    execution.requeue_work()
    assert sent == [("evaluation.tasks.judge", run.pk)]


def test_shares_of_a_run_that_ended_are_not_sent_again(
    run: AuditRun, people: SimpleNamespace, sent: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models_registry.leases._queue_is_empty", lambda task: True)
    cancel_run(run=run, by=people.amir)
    Shard.objects.update(status=ShardStatus.QUEUED)
    execution.requeue_work()
    work(run)
    assert sent == []
    assert set(run.shards.values_list("status", flat=True)) == {ShardStatus.QUEUED}
