"""Waiting for workers, with progress, and without waiting for what has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import Sum

from config.demo.display import Display
from config.embedded.supervisor import Supervisor
from core.errors import AuscultError, EnvironmentProblemError
from evaluation.models import AuditRun, RunStatus

POLL_SECONDS = 0.25
FAILED = {"failed", "blocked", "cancelled", "discarded"}


class Waiter:
    """Polls rows in the database until workers have finished them."""

    def __init__(self, *, supervisor: Supervisor, display: Display) -> None:
        self.supervisor, self.display = supervisor, display

    def until(self, rows: Sequence[Any], *, done: set[str], title: Callable[[Any], str]) -> None:
        """Wait until each row's status is in ``done``; shows ``progress`` where a row has it.

        Raises:
            AuscultError: with the row's own error, when one fails.
        """
        finished: set[Any] = set()
        with self.display.working() as bars:
            tasks = [bars.add_task(title(row), total=100) for row in rows]
            while True:
                for row, task in zip(rows, tasks, strict=True):
                    row.refresh_from_db()
                    if row.status in done and row.pk not in finished:
                        finished.add(row.pk)
                        self.display.finished(title(row))
                    share = 1.0 if row.status in done else getattr(row, "progress", 0.0)
                    bars.update(task, completed=round(100 * share))
                    self._check(row, title(row))
                if all(row.status in done for row in rows):
                    return
                self._pause()

    def runs(self, rows: Sequence[AuditRun]) -> None:
        """Wait for audits, counting studies."""
        finished: set[int] = set()
        with self.display.working() as bars:
            tasks = [bars.add_task(f"Audit of {run.version}", total=run.n_studies) for run in rows]
            while True:
                for run, task in zip(rows, tasks, strict=True):
                    run.refresh_from_db()
                    if run.status == RunStatus.DONE and run.pk not in finished:
                        finished.add(run.pk)
                        self.display.finished(f"Audit of {run.version}: {run.n_studies:,} studies")
                    counted = run.shards.aggregate(done=Sum("studies_done"))["done"] or 0
                    bars.update(task, completed=counted)
                    self._check(run, f"The audit of {run.version}")
                if all(run.status == RunStatus.DONE for run in rows):
                    return
                self._pause()

    def _check(self, row: Any, title: str) -> None:
        if row.status in FAILED:
            found = getattr(row, "error", "") or getattr(row, "inspection", {}).get("problems", "")
            raise AuscultError(f"{title} ended as {row.status}: {found}", remedy="See the logs of the workers.")

    def _pause(self) -> None:
        failed = self.supervisor.failed
        if failed is not None:
            raise EnvironmentProblemError(
                f"{failed.title} stopped for good:\n{self.supervisor.tail(failed.name)}",
                remedy=f"Read {self.supervisor.log_path(failed.name)}, then run the same command again.",
            )
        time.sleep(POLL_SECONDS)
