"""Share after share of one run: by the worker that has the model, and from the cache by whoever is free."""

from __future__ import annotations

import sys

from core.errors import TransientError
from evaluation.execution import workers
from evaluation.execution.shards import cache_key, finish_run, settle_share
from evaluation.models import AuditRun, CachedPredictions, RunStatus, Shard, ShardStatus


def execute_shares(shard_id: int) -> None:
    """Run one share, then every other share of its run that waits: a message for each would cost time between them.

    The messages of those shares find them done. A worker that is told to stop ends after the share it is at. When
    predictions come from the cache, the workers that have no device are called to help.

    Raises:
        TransientError: of the share that the message is about. Another share is sent again, to be retried as its own.
    """
    from evaluation import tasks

    pk, run_id, called = shard_id, 0, False
    try:
        while pk:
            try:
                shard = settle_share(pk)
            except TransientError:
                if pk == shard_id:
                    raise
                tasks.run_shard.delay(pk)
                return
            run_id = shard.run_id if shard is not None else run_id
            pk = 0 if _told_to_stop() else _next_share(run_id)
            if pk and not called and shard is not None and shard.from_cache:
                tasks.sketch_cached.delay(run_id)
                called = True
        if run_id:
            finish_run(run_id)
    finally:
        if run_id:
            workers.tell()


def sketch_cached(run_id: int) -> None:
    """Reduce waiting shares of a run to sketches, last one first, for as long as their predictions are cached.

    Needs no model and no device, so it runs beside the worker that has them, and takes the precision that this worker
    found: what ``auto`` means depends on the device.
    """
    run = AuditRun.objects.select_related("version").filter(pk=run_id, status=RunStatus.RUNNING).first()
    done = Shard.objects.filter(run=run, status=ShardStatus.DONE, from_cache=True).first() if run else None
    if run is None or done is None:
        return
    precision = done.telemetry["made"].get("precision") or "float32"
    waiting = run.shards.filter(status=ShardStatus.QUEUED, attempts=0).order_by("-index")
    keys = {cache_key(run, shard.cohort_shard_digest, precision=precision): shard.pk for shard in waiting}
    cached = set(CachedPredictions.objects.filter(key__in=keys).values_list("key", flat=True))
    try:
        for key, pk in keys.items():
            if key in cached and not _told_to_stop():
                settle_share(pk, cached_as=precision)
    finally:
        workers.tell()
    finish_run(run_id)


def _next_share(run_id: int) -> int:
    """A share of a run that waits and that nobody has tried yet; 0 where there is none."""
    waiting = Shard.objects.filter(run=run_id, run__status=RunStatus.RUNNING, status=ShardStatus.QUEUED, attempts=0)
    return waiting.order_by("index").values_list("pk", flat=True).first() or 0


def _told_to_stop() -> bool:
    """Whether this process is a Celery worker that is shutting down."""
    state = sys.modules.get("celery.worker.state")
    return state is not None and (state.should_stop is not None or state.should_terminate is not None)
