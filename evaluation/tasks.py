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


@shared_task(**RETRY)
def prepare_monitor(monitor_id: int) -> None:
    from evaluation.monitoring import preparing

    preparing.prepare_monitor(monitor_id)


@shared_task
def fire_monitor(monitor_id: int) -> None:
    from evaluation.monitoring import firing

    firing.fire_monitor(monitor_id)


@shared_task(**RETRY)
def collect_window(window_id: int) -> None:
    from evaluation.monitoring import collecting

    collecting.collect_window(window_id)


@shared_task(**RETRY)
def judge_window(window_id: int) -> None:
    from evaluation.monitoring import judging

    judging.judge_window(window_id)


@shared_task(**RETRY)
def explain_window(window_id: int) -> None:
    from evaluation.monitoring import explaining

    explaining.explain_window(window_id)


@shared_task
def send_webhook(delivery_id: int) -> None:
    from evaluation.monitoring import webhooks

    webhooks.send_webhook(delivery_id)


@shared_task
def sweep() -> None:
    from evaluation import execution
    from evaluation.monitoring import sweeping

    execution.requeue_work()
    sweeping.sweep_monitors()
