"""Tasks take one identifier and hold no logic. Each may be delivered twice."""

from __future__ import annotations

from celery import shared_task


@shared_task
def inspect_cohort(import_id: int) -> None:
    from models_registry import execution

    execution.inspect_import(import_id)


@shared_task
def register_cohort(import_id: int) -> None:
    from models_registry import execution

    execution.register_import(import_id)


@shared_task
def check_intake(intake_id: int) -> None:
    from models_registry import execution_intake

    execution_intake.check_intake(intake_id)


@shared_task
def register_intake(intake_id: int) -> None:
    from models_registry import execution_intake

    execution_intake.register_intake(intake_id)


@shared_task
def train(job_id: int) -> None:
    from models_registry import execution

    execution.run_training(job_id)


@shared_task
def sweep() -> None:
    from models_registry import execution, execution_intake

    execution.requeue_jobs()
    execution_intake.sweep_intakes()
