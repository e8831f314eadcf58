"""Reading workers, what waits for them, and how fast audits of a version were. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet
from django.utils import timezone

from evaluation.models import AuditRun, RunStatus, Shard, ShardStatus, Worker
from models_registry.models import CohortImport, JobStatus, ModelVersion, TrainingJob, VersionIntake

WORKERS_SHOWN = 50
RUNS_MEASURED = 5


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    """A worker as the page shows it.

    Attributes:
        state: ``running``, ``queued`` (there, and waiting for work) or ``stale`` (silent for too long).
        loaded_bytes: Of the models that it keeps in memory.
    """

    worker: Worker
    state: str
    word: str
    loaded_bytes: int

    @property
    def present(self) -> bool:
        return self.state != "stale"


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """One kind of work: which queue it goes through, how much waits, how much is worked on."""

    work: str
    queue: str
    waiting: int
    running: int


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast one audit of a version was.

    Attributes:
        computed: Studies that the model was run on, not taken from the cache.
        seconds: From the start of the first share that was computed to the end of the last one.
        telemetry: What the workers measured, one for each share.
    """

    run: AuditRun
    computed: int
    from_cache: int
    seconds: float | None
    telemetry: tuple[dict[str, Any], ...]

    @property
    def rate(self) -> float | None:
        """Studies per second; None where nothing was computed, or faster than the clock tells."""
        return self.computed / self.seconds if self.computed and self.seconds else None


def silence() -> timedelta:
    """A worker that was not seen for this long is taken for gone: two leases."""
    return timedelta(seconds=2 * settings.AUSCULT_LEASE_SECONDS)


def list_workers(*, now: datetime | None = None) -> list[WorkerRow]:
    """Every worker that ever told of itself: those that are there first, then the one seen last."""
    now = now or timezone.now()
    rows = [_worker_row(worker, now=now) for worker in Worker.objects.order_by("-seen_at")[:WORKERS_SHOWN]]
    return sorted(rows, key=lambda row: (not row.present, row.worker.name if row.present else ""))


def _worker_row(worker: Worker, *, now: datetime) -> WorkerRow:
    if now - worker.seen_at >= silence():
        state, word = "stale", "Not there"
    elif worker.doing:
        state, word = "running", "Working"
    else:
        state, word = "queued", "Waiting for work"
    size = sum(item.get("bytes") or 0 for item in worker.loaded if isinstance(item, dict))
    return WorkerRow(worker=worker, state=state, word=word, loaded_bytes=size)


def list_queues() -> list[QueueRow]:
    """What waits for workers and what they work on, by kind of work. One query for each kind."""
    intake, cohort = VersionIntake.Status, CohortImport.Status
    shards = _by_status(Shard.objects.filter(run__status__in=[RunStatus.QUEUED, RunStatus.RUNNING]))
    trainings, runs = _by_status(TrainingJob.objects.all()), _by_status(AuditRun.objects.all())
    intakes, imports = _by_status(VersionIntake.objects.all()), _by_status(CohortImport.objects.all())

    def row(work: str, queue: str, counts: dict[str, int], waiting: Iterable[str], running: Iterable[str]) -> QueueRow:
        return QueueRow(
            work=work,
            queue=queue,
            waiting=sum(counts.get(str(name), 0) for name in waiting),
            running=sum(counts.get(str(name), 0) for name in running),
        )

    return [
        row("Shares of patients of audits", "gpu", shards, [ShardStatus.QUEUED], [ShardStatus.RUNNING]),
        row("Trainings", "gpu", trainings, [JobStatus.QUEUED], [JobStatus.RUNNING]),
        row("Audits to be judged", "cpu", runs, [], [RunStatus.JUDGING]),
        row("Models on their way in", "cpu", intakes, [intake.QUEUED], [intake.CHECKING, intake.REGISTERING]),
        row("Cohorts on their way in", "cpu", imports, [cohort.QUEUED], [cohort.INSPECTING, cohort.REGISTERING]),
    ]


def _by_status(rows: QuerySet[Any]) -> dict[str, int]:
    counted = rows.order_by().values_list("status").annotate(number=Count("pk"))
    return {str(status): number for status, number in counted}


def throughput_of(version: ModelVersion) -> list[Throughput]:
    """The last audits of a version that are done, with how fast they were. Two queries."""
    done = AuditRun.objects.filter(version=version, status=RunStatus.DONE).order_by("-finished_at", "-pk")
    runs = list(done.select_related("cohort__cohort")[:RUNS_MEASURED])
    shards: dict[int, list[Shard]] = {run.pk: [] for run in runs}
    for shard in Shard.objects.filter(run__in=shards).defer("error"):
        shards[shard.run_id].append(shard)
    return [_throughput(run, shards[run.pk]) for run in runs]


def _throughput(run: AuditRun, shards: list[Shard]) -> Throughput:
    computed = [shard for shard in shards if not shard.from_cache]
    starts = [shard.started_at for shard in computed if shard.started_at]
    ends = [shard.finished_at for shard in computed if shard.finished_at]
    seconds = (max(ends) - min(starts)).total_seconds() if starts and ends else None
    return Throughput(
        run=run,
        computed=sum(shard.studies_done for shard in computed),
        from_cache=len(shards) - len(computed),
        seconds=seconds if seconds and seconds > 0 else None,
        telemetry=tuple(shard.telemetry for shard in shards if shard.telemetry),
    )
