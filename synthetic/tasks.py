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
def advance_repair(repair_id: int) -> None:
    from synthetic import execution_repairs

    execution_repairs.advance_repair(repair_id)


@shared_task
def prepare_gallery(order_id: int) -> None:
    from synthetic import execution_gallery

    execution_gallery.prepare_gallery(order_id)


@shared_task
def sweep() -> None:
    from synthetic import execution, execution_repairs

    execution.requeue_jobs()
    execution_repairs.advance_repairs()
    execution.forget_abandoned()
