"""Leases: one worker at a time, and none for ever."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from kombu import Connection

from config.celery import app
from models_registry import leases, tasks
from models_registry.models import CohortImport, JobStatus, TrainingJob
from tests.registry.scene import Files, make_cohort, make_system

PAST = timedelta(seconds=-1)


@pytest.fixture
def job(people: SimpleNamespace, files: Files) -> TrainingJob:
    return TrainingJob.objects.create(
        system=make_system(people),
        version_label="1",
        cohort=make_cohort(people, files.shards),
        requested_by=people.elena,
    )


def rows(job: TrainingJob) -> Any:
    return TrainingJob.objects.filter(pk=job.pk)


def expire(job: TrainingJob) -> None:
    rows(job).update(lease_expires=timezone.now() + PAST)


def test_a_job_is_claimed_once(job: TrainingJob, settings: Any) -> None:
    settings.AUSCULT_LEASE_SECONDS = 50
    token = leases.claim(rows(job), error="")
    assert token
    assert leases.claim(rows(job)) is None
    job.refresh_from_db()
    assert (job.status, job.lease_token) == (JobStatus.RUNNING, token)
    assert 40 < (job.lease_expires - timezone.now()).total_seconds() <= 50


@pytest.mark.parametrize("status", [JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_has_ended_is_not_claimed(job: TrainingJob, status: JobStatus) -> None:
    rows(job).update(status=status)
    assert leases.claim(rows(job)) is None


def test_who_was_silent_for_too_long_loses_the_job(job: TrainingJob) -> None:
    first = leases.claim(rows(job))
    assert first
    expire(job)
    second = leases.claim(rows(job))
    assert second and second != first
    with pytest.raises(leases.LeaseLostError):
        leases.renew(job, first, progress=0.9)
    assert not leases.finish(job, first, status=JobStatus.DONE, progress=1.0)
    job.refresh_from_db()
    assert (job.status, job.lease_token, job.progress) == (JobStatus.RUNNING, second, 0.0)
    leases.renew(job, second, progress=0.5)
    assert leases.finish(job, second, status=JobStatus.DONE, progress=1.0)
    job.refresh_from_db()
    assert (job.status, job.lease_token, job.lease_expires, job.progress) == (JobStatus.DONE, "", None, 1.0)


def test_a_late_renewal_keeps_a_job_that_nobody_took(job: TrainingJob) -> None:
    token = leases.claim(rows(job))
    assert token
    expire(job)
    leases.renew(job, token)
    job.refresh_from_db()
    assert job.lease_expires > timezone.now()
    assert leases.claim(rows(job)) is None


def test_a_cancelled_job_cannot_be_renewed_or_finished(job: TrainingJob) -> None:
    token = leases.claim(rows(job))
    assert token
    rows(job).update(status=JobStatus.CANCELLED, lease_token="", lease_expires=None)
    with pytest.raises(leases.LeaseLostError):
        leases.renew(job, token)
    assert not leases.finish(job, token, status=JobStatus.DONE)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


# The sweep


def test_what_a_dead_worker_held_is_sent_again(job: TrainingJob, sent: list) -> None:
    token = leases.claim(rows(job))
    assert token
    assert leases.requeue(TrainingJob.objects.all(), tasks.train) == 0
    expire(job)
    assert leases.requeue(TrainingJob.objects.all(), tasks.train) == 1
    assert sent == [("models_registry.tasks.train", job.pk)]
    job.refresh_from_db()
    assert (job.status, job.lease_token) == (JobStatus.QUEUED, "")
    with pytest.raises(leases.LeaseLostError):
        leases.renew(job, token)


@pytest.mark.parametrize(("waiting", "expected"), [(0, 1), (1, 0)])
def test_a_waiting_job_is_sent_again_only_when_the_queue_is_empty(
    job: TrainingJob, sent: list, monkeypatch: pytest.MonkeyPatch, waiting: int, expected: int
) -> None:
    monkeypatch.setattr(leases, "_queue_is_empty", lambda task: waiting == 0)
    assert leases.requeue(TrainingJob.objects.all(), tasks.train) == expected
    assert sent == [("models_registry.tasks.train", job.pk)] * expected


def test_a_waiting_job_is_left_alone_while_another_runs(
    job: TrainingJob, sent: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_queue_is_empty", lambda task: True)
    leases.claim(rows(job))
    TrainingJob.objects.create(system=job.system, version_label="2", cohort=job.cohort, requested_by=job.requested_by)
    assert leases.requeue(TrainingJob.objects.all(), tasks.train) == 0
    assert sent == []


def test_the_queue_that_is_looked_into_is_the_tasks_own() -> None:
    with Connection(app.conf.broker_url) as connection:
        channel = connection.default_channel
        for queue in ("gpu", "cpu"):
            channel.queue_declare(queue)
            channel.queue_purge(queue)
        assert leases._queue_is_empty(tasks.train)
        channel._put("gpu", {"body": "waiting"})
        assert not leases._queue_is_empty(tasks.train)
        assert leases._queue_is_empty(tasks.inspect_cohort)
        channel.queue_purge("gpu")


def test_a_queue_that_nobody_used_is_empty() -> None:
    with Connection(app.conf.broker_url) as connection:
        connection.default_channel.queue_delete("gpu")
    assert leases._queue_is_empty(tasks.train)


def test_imports_that_got_lost_are_sent_again_once(
    people: SimpleNamespace, sent: list, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models_registry import execution

    settings.AUSCULT_LEASE_SECONDS = 10
    states = CohortImport.Status
    made = {
        status: CohortImport.objects.create(name="x", source_path="/x", status=status, created_by=people.elena)
        for status in states
    }
    execution.requeue_jobs()
    assert sent == []
    CohortImport.objects.update(sent_at=timezone.now() - timedelta(seconds=41))
    execution.requeue_jobs()
    execution.requeue_jobs()
    assert sorted(sent) == sorted(
        [
            ("models_registry.tasks.inspect_cohort", made[states.QUEUED].pk),
            ("models_registry.tasks.inspect_cohort", made[states.INSPECTING].pk),
            ("models_registry.tasks.register_cohort", made[states.REGISTERING].pk),
        ]
    )
