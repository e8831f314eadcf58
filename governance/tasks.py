"""Tasks take one identifier and hold no logic. Each may be delivered twice."""

from __future__ import annotations

from celery import shared_task

from core.errors import TransientError

RETRY = {"autoretry_for": (TransientError,), "retry_backoff": 2, "retry_kwargs": {"max_retries": 5}}


@shared_task(**RETRY)
def write_report(report_id: int) -> None:
    from governance import execution

    execution.write_report(report_id)


@shared_task(**RETRY)
def build_bundle(bundle_id: int) -> None:
    from governance import execution_bundles

    execution_bundles.build_bundle(bundle_id)


@shared_task(**RETRY)
def write_release(export_id: int) -> None:
    from governance import execution_releases

    execution_releases.write_release(export_id)


@shared_task
def sweep() -> None:
    from governance.sweeps import run_sweeps

    run_sweeps()
