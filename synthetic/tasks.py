"""Tasks take one identifier and hold no logic. Each may be delivered twice."""

from __future__ import annotations

from celery import shared_task


@shared_task
def generate(job_id: int) -> None:
    from synthetic import execution

    execution.run_generation(job_id)


@shared_task
def train_generator(job_id: int) -> None:
    from synthetic import execution_generators

    execution_generators.train_generator(job_id)


@shared_task
def make_patients(job_id: int) -> None:
    from synthetic import execution_generators

    execution_generators.make_patients(job_id)


@shared_task
def sweep() -> None:
    from synthetic import execution

    execution.requeue_jobs()
    execution.forget_abandoned()
