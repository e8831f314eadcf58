"""One share of a run's patients: claim, predict, reduce to sketches, release."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.digests import sha256_json
from core.errors import AuscultError, TransientError
from evaluation.engine import AuditSketch, sketch_shard
from evaluation.engine import Protocol as Rules
from evaluation.execution import predictions as codec
from evaluation.execution.batches import Batches
from evaluation.execution.loading import load_adapter
from evaluation.models import AuditRun, CachedPredictions, RunStatus, Shard, ShardStatus
from evaluation.services.runs import move_run
from models_registry import leases
from models_registry.adapters.base import InferenceSettings, ModelAdapter, Predictions
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.cohorts.schema import ShardRef
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
ATTEMPTS = 5
RENEW_SECONDS = 0.5


def execute_shard(shard_id: int) -> None:
    """Run the model over one share and keep its sketch. Safe to call twice: a share is claimed once.

    Everything it writes is named by digest or guarded by the lease's token, so a worker that is killed in the
    middle leaves nothing that the next attempt would count twice.
    """
    token = leases.claim(
        Shard.objects.filter(pk=shard_id, run__status__in=[RunStatus.QUEUED, RunStatus.RUNNING]),
        attempts=F("attempts") + 1,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        started_at=timezone.now(),
        studies_done=0,
        error="",
    )
    if token is None:
        return
    shard = Shard.objects.select_related(
        "run__version__system", "run__cohort", "run__protocol", "run__version__submitted_by"
    ).get(pk=shard_id)
    move_run(shard.run_id, to=RunStatus.RUNNING, started_at=shard.run.started_at or timezone.now())
    try:
        if shard.attempts > ATTEMPTS:
            raise AuscultError(
                f"{ATTEMPTS} workers in a row stopped while they worked on share {shard.index}.",
                remedy="Look for a lack of memory in the log of the workers, then resume the audit.",
            )
        _work(shard, token)
    except leases.LeaseLostError:
        log.info("share %s was cancelled or taken over", shard_id)
        return
    except TransientError:
        leases.finish(shard, token, status=ShardStatus.QUEUED)
        raise
    except AuscultError as error:
        _fail(shard, token, str(error))
        return
    except Exception as error:
        _fail(shard, token, leases.unexpected(error))
        raise
    finish_run(shard.run_id)


def _work(shard: Shard, token: str) -> None:
    run, store = shard.run, model_store()
    rules = Rules.from_dict(run.protocol.body)
    reader = open_cohort(store.folder_path(run.cohort.digest))
    part = reader.shards[shard.index]
    found, from_cache = _predictions(shard, token, reader, part)
    sketch = sketch_share(rules, reader, part, found)
    leases.finish(
        shard,
        token,
        status=ShardStatus.DONE,
        sketch_digest=store.put_bytes(sketch.to_bytes()),
        from_cache=from_cache,
        studies_done=part.n_studies,
        finished_at=timezone.now(),
    )


def sketch_share(rules: Rules, reader: CohortReader, part: ShardRef, found: Predictions) -> AuditSketch:
    """The sketches of one share: its predictions beside the reference standard."""
    attributes = [*rules.attribute_columns, *(["split"] if rules.splits else [])]
    reference = reader.reference(part, attributes=attributes, texts=["reference"] if rules.reports else [])
    return sketch_shard(rules, codec.join_reference(reference, found))


def cache_key(run: AuditRun, cohort_shard_digest: str) -> str:
    """Digest of everything that decides a prediction: model, adapter, share of the cohort, inference settings."""
    return sha256_json(
        {
            "model": run.version.digest,
            "adapter": run.version.adapter,
            "shard": cohort_shard_digest,
            "settings": run.settings,
        }
    )


def _predictions(shard: Shard, token: str, reader: CohortReader, part: ShardRef) -> tuple[Predictions, bool]:
    """The model's predictions for a share: from the cache when this very work was done before."""
    if shard.run.version.config.get("details", {}).get("weights"):
        # What answers behind an endpoint is bound by no digest: yesterday's answers say nothing of it.
        return _infer(shard, token, reader, part), False
    key, store = cache_key(shard.run, part.digest), model_store()
    cached = CachedPredictions.objects.filter(key=key).first()
    if cached and store.has(cached.digest):
        return codec.from_bytes(store.get_bytes(cached.digest)), True
    found = _infer(shard, token, reader, part)
    digest = store.put_bytes(codec.to_bytes(found))
    CachedPredictions.objects.update_or_create(key=key, defaults={"digest": digest, "n_studies": part.n_studies})
    return found, False


def _infer(shard: Shard, token: str, reader: CohortReader, part: ShardRef) -> Predictions:
    inference = InferenceSettings(**shard.run.settings)
    adapter = load_adapter(shard.run.version, inference)
    leases.renew(shard, token)
    last = time.monotonic()

    def told(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= RENEW_SECONDS:
            leases.renew(shard, token, studies_done=done)
            last = time.monotonic()

    found = predict_share(adapter, reader, part, batch_size=inference.batch_size, after_batch=told)
    leases.renew(shard, token, studies_done=part.n_studies)
    return found


def predict_share(
    adapter: ModelAdapter, reader: CohortReader, part: ShardRef, *, batch_size: int, after_batch: Callable[[int], None]
) -> Predictions:
    """The model over one share of a cohort. ``after_batch`` is told how many studies are done.

    Raises:
        AdapterError: the adapter did not answer for exactly the studies of a batch, or a study does not fit the device.
    """
    batch_size = min(batch_size, getattr(adapter, "most_at_once", batch_size))
    batches, done = Batches(adapter, batch_size), 0
    answers: list[Predictions] = []
    for batch in reader.batches(part, batch_size=batch_size):
        answers.append(batches.predict(batch))
        done += len(batch)
        after_batch(done)
    return codec.join_batches(answers)


def _fail(shard: Shard, token: str, error: str) -> None:
    """Fail the share and its run together; the shares that wait are stopped with it."""
    with transaction.atomic():
        if not leases.finish(shard, token, status=ShardStatus.FAILED, error=error, finished_at=timezone.now()):
            return
        move_run(shard.run_id, to=RunStatus.FAILED, error=error, finished_at=timezone.now())
        shard.run.shards.filter(status__in=[ShardStatus.QUEUED, ShardStatus.RUNNING]).update(
            status=ShardStatus.CANCELLED, lease_token="", lease_expires=None
        )


def finish_run(run_id: int) -> None:
    """When every share is done, hand the run over to be judged. Whoever moves it first enqueues."""
    if Shard.objects.filter(run_id=run_id).exclude(status=ShardStatus.DONE).exists():
        return
    move_run(run_id, to=RunStatus.RUNNING)
    if move_run(run_id, to=RunStatus.JUDGING):
        from evaluation import tasks

        tasks.judge.delay(run_id)
