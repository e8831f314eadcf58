"""Tasks take one identifier and hold no logic. Each may be delivered twice."""

from __future__ import annotations

from celery import shared_task

from core.errors import TransientError

RETRY = {"autoretry_for": (TransientError,), "retry_backoff": 2, "retry_kwargs": {"max_retries": 5}}


@shared_task(**RETRY)
def run_shard(shard_id: int) -> None:
    from evaluation import execution

    execution.execute_shares(shard_id)


@shared_task
def sketch_cached(run_id: int) -> None:
    from evaluation import execution

    execution.sketch_cached(run_id)


@shared_task(**RETRY)
def finish_run(run_id: int) -> None:
    from evaluation import execution

    execution.finish_run(run_id)


@shared_task(**RETRY)
def judge(run_id: int) -> None:
    from evaluation import execution

    execution.judge(run_id)


@shared_task(**RETRY)
def advise(run_id: int) -> None:
    from evaluation import execution

    execution.work_out_advice(run_id)


@shared_task
def sweep() -> None:
    from evaluation import execution

    execution.requeue_work()
