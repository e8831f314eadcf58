"""One share of a run's patients: claim, predict, reduce to sketches, release."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.digests import sha256_json
from core.errors import AuscultError, TransientError
from evaluation.engine import Protocol as Rules
from evaluation.engine import sketch_shard
from evaluation.engine.planning import asks, predicts
from evaluation.engine.sketch import audited, measured_suites
from evaluation.execution import predictions as codec
from evaluation.execution import workers
from evaluation.execution.ahead import feed
from evaluation.execution.answers import Asker, NotCachedError, is_unbound
from evaluation.execution.batches import Batches
from evaluation.execution.computed import Computer, computer_of
from evaluation.execution.devices import decodes_inline, describe_device, device
from evaluation.execution.environment import environment_digest
from evaluation.execution.evidence_asking import count_asked
from evaluation.execution.explorer import index_share
from evaluation.execution.heartbeat import Heartbeat
from evaluation.execution.loading import inference_of, load_adapter
from evaluation.execution.monitored import tell_monitor
from evaluation.execution.side_by_side import SideBySide, batches_at_once
from evaluation.execution.tables import nothing, share_table
from evaluation.execution.telemetry import Meter, endpoint_usage
from evaluation.execution.watching import Watcher, is_watched, sample_of
from evaluation.models import AuditRun, CachedPredictions, RunStatus, Shard, ShardStatus
from evaluation.services.runs import move_run
from models_registry import leases
from models_registry.adapters.base import InferenceSettings, ModelAdapter, Predictions
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.cohorts.schema import ShardRef, StudyBatch
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
ATTEMPTS = 5
WRITTEN = 2
"""Form of cached predictions that hold texts: the second says which were cut off."""
RENEW_SECONDS = 0.5


def execute_shard(shard_id: int) -> None:
    """Run the model over one share and keep its sketch. Safe to call twice: a share is claimed once.

    Everything it writes is named by digest or guarded by the lease's token, so a worker that is killed in the
    middle leaves nothing that the next attempt would count twice.
    """
    shard = settle_share(shard_id)
    if shard is not None:
        workers.tell()
        finish_run(shard.run_id)


def settle_share(shard_id: int, *, cached_as: str = "") -> Shard | None:
    """Claim one share, work on it and write how it ended. The caller sees to the rest, also that the worker is idle.

    Args:
        cached_as: Precision of the cached predictions that are to be used. Then no model is run: a share that is not
            in the cache is given back.

    Returns:
        The share when it is done now; None when it is another's, was taken away or failed.
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
        return None
    shard = Shard.objects.select_related(
        "run__version__system", "run__cohort", "run__protocol", "run__version__submitted_by"
    ).get(pk=shard_id)
    if shard.run.status == RunStatus.QUEUED:
        move_run(shard.run_id, to=RunStatus.RUNNING, started_at=shard.run.started_at or timezone.now())
    workers.tell(f"Audit {shard.run_id} of {shard.run.version}: share {shard.index + 1}, {shard.n_studies:,} studies")
    done = False
    try:
        done = _settled(shard, token, cached_as)
    finally:
        if not done:
            workers.tell()
    return shard if done else None


def _settled(shard: Shard, token: str, cached_as: str) -> bool:
    """Work on a claimed share and write how it ended; says whether it is done."""
    try:
        if shard.attempts > ATTEMPTS:
            raise AuscultError(
                f"{ATTEMPTS} workers in a row stopped while they worked on share {shard.index}.",
                remedy="Look for a lack of memory in the log of the workers, then resume the audit.",
            )
        _work(shard, token, cached_as)
    except NotCachedError:
        leases.finish(shard, token, status=ShardStatus.QUEUED, attempts=shard.attempts - 1)
        return False
    except leases.LeaseLostError:
        log.info("share %s was cancelled or taken over", shard.pk)
        return False
    except TransientError:
        leases.finish(shard, token, status=ShardStatus.QUEUED)
        raise
    except AuscultError as error:
        _fail(shard, token, str(error))
        return False
    except Exception as error:
        _fail(shard, token, leases.unexpected(error))
        raise
    return True


def _work(shard: Shard, token: str, cached_as: str) -> None:
    run, store, meter = shard.run, model_store(), Meter()
    rules = rules_of(run)
    computer = computer_of(rules)
    if computer is not None:
        _compute(shard, token, computer, meter)
        return
    reader = open_cohort(store.folder_path(run.cohort.digest))
    part = reader.shards[shard.index]
    found = _predictions(shard, token, reader, part, meter, cached_as) if predicts(rules) else nothing(reader, part)
    said = None
    if asks(rules):
        asker = Asker(shard=shard, reader=reader, part=part, meter=meter, cached_as=cached_as)
        said = asker.utterances(rules, partial(_running, shard, token, meter), partial(_beating, shard, token))
    meter.told = count_asked(rules, said)
    watcher = Watcher(shard=shard, reader=reader, part=part, meter=meter, cached_as=cached_as)
    streams = watcher.streams(rules, found, partial(_running, shard, token, meter), partial(_beating, shard, token))
    with meter.timed("sketch"), _beating(shard, token) as beat:
        # What is judged, once: sketch and index then read each pair of texts a single time.
        whole = share_table(rules, reader, part, found, said, streams=streams, told=lambda _: beat.alive())
        table = audited(rules, whole)
        suites = measured_suites(rules, watched=is_watched(run, rules))
        sketch = store.put_bytes(sketch_shard(rules, table, suites=suites).to_bytes())
        index = index_share(rules, table)
        sample = sample_of(rules, table)
    leases.finish(
        shard,
        token,
        status=ShardStatus.DONE,
        sketch_digest=sketch,
        index_digest=store.put_bytes(index) if index else "",
        sample_digest=sample,
        from_cache=meter.from_cache,
        studies_done=part.n_studies,
        finished_at=timezone.now(),
        telemetry=meter.to_dict(),
    )
    shard.from_cache = meter.from_cache
    if not meter.from_cache and meter.studies:
        workers.note_share(meter.studies, meter.seconds["inference"] + meter.seconds["wait"])


def _compute(shard: Shard, token: str, computer: Computer, meter: Meter) -> None:
    """The only share of a run whose figures are computed of whole sets of patients."""

    def told(done: float, message: str) -> None:
        beat.alive()
        leases.renew(shard, token, studies_done=int(min(1.0, done) * shard.n_studies))

    with meter.timed("sketch"), _beating(shard, token) as beat:
        meter.begin_on(describe_device(device()), precision="float32")
        meter.environment = environment_digest(model_store())
        found = computer.compute(shard.run, rules_of(shard.run), tell=told)
        sketch = model_store().put_bytes(found.to_bytes())
    leases.finish(
        shard,
        token,
        status=ShardStatus.DONE,
        sketch_digest=sketch,
        studies_done=shard.n_studies,
        finished_at=timezone.now(),
        telemetry=meter.to_dict(),
    )


def rules_of(run: AuditRun) -> Rules:
    """The run's protocol; checked once in a process, because a digest names one protocol for ever."""
    if run.protocol.digest not in _rules:
        _rules[run.protocol.digest] = Rules.from_dict(run.protocol.body)
    return _rules[run.protocol.digest]


_rules: dict[str, Rules] = {}


def cache_key(run: AuditRun, cohort_shard_digest: str, *, precision: str = "") -> str:
    """Digest of everything that decides a prediction: model, adapter, share of the cohort, inference settings.

    Args:
        precision: That the model is run in; left out, it is what the run's setting means in this process.
    """
    known = precision or inference_of(run.version, run.settings).precision
    body = {
        "model": run.version.digest,
        "adapter": run.version.adapter,
        "shard": cohort_shard_digest,
        "settings": run.settings | {"precision": known},
    }
    # Texts that were kept before it was said which of them were cut off are written again.
    writes = "text.generated" in run.version.config.get("outputs", [])
    return sha256_json(body | ({"texts": WRITTEN} if writes else {}))


def _predictions(
    shard: Shard, token: str, reader: CohortReader, part: ShardRef, meter: Meter, cached_as: str
) -> Predictions:
    """The model's predictions for a share: from the cache when this very work was done before."""
    version = shard.run.version
    if is_unbound(version):
        return _infer(shard, token, reader, part, inference_of(version, shard.run.settings), meter)
    precision = cached_as or inference_of(version, shard.run.settings).precision
    key, store = cache_key(shard.run, part.digest, precision=precision), model_store()
    cached = CachedPredictions.objects.filter(key=key).first()
    if cached and store.has(cached.digest):
        meter.from_cache, meter.made = True, cached.telemetry
        return codec.from_bytes(store.get_bytes(cached.digest))
    if cached_as:
        raise NotCachedError
    found = _infer(shard, token, reader, part, inference_of(version, shard.run.settings), meter)
    kept = {
        "digest": store.put_bytes(codec.to_bytes(found)),
        "n_studies": part.n_studies,
        "telemetry": meter.to_dict(),
    }
    CachedPredictions.objects.update_or_create(key=key, defaults=kept)
    return found


def _infer(
    shard: Shard, token: str, reader: CohortReader, part: ShardRef, inference: InferenceSettings, meter: Meter
) -> Predictions:
    with _running(shard, token, meter, inference) as (adapter, told):
        found = predict_share(adapter, reader, part, batch_size=inference.batch_size, after_batch=told, meter=meter)
    leases.renew(shard, token, studies_done=part.n_studies)
    return found


def _beating(shard: Shard, token: str) -> Heartbeat:
    """Keeps the share's lease alive while one thing takes long."""
    return Heartbeat(partial(leases.renew, shard, token), every=settings.AUSCULT_LEASE_SECONDS / 3)


@contextmanager
def _running(
    shard: Shard, token: str, meter: Meter, inference: InferenceSettings
) -> Iterator[tuple[ModelAdapter, Callable[[int], None]]]:
    """The model, loaded, with a lease that does not run out while it is at work.

    Gives also what is to be told after each batch, with the studies that are done: it renews the lease, and raises
    LeaseLostError when the share was cancelled or taken over.
    """
    last = time.monotonic()
    version = shard.run.version
    with _beating(shard, token) as beat:
        with meter.timed("load"):
            adapter = load_adapter(version, inference)
        leases.renew(shard, token)
        if version.config.get("runs_weights"):
            meter.begin_on(describe_device(device()), precision=inference.precision)
        meter.environment = environment_digest(model_store())
        before = dict(getattr(adapter, "usage", {}))

        def told(done: int) -> None:
            nonlocal last
            beat.alive()
            if time.monotonic() - last >= RENEW_SECONDS:
                leases.renew(shard, token, studies_done=done, telemetry=meter.so_far())
                last = time.monotonic()

        yield adapter, told
    meter.count_endpoint(endpoint_usage(adapter, before))


def predict_share(
    adapter: ModelAdapter,
    reader: CohortReader,
    part: ShardRef,
    *,
    batch_size: int,
    after_batch: Callable[[int], None],
    meter: Meter | None = None,
) -> Predictions:
    """The model over one share of a cohort, while a thread reads and decodes the next batches.

    Args:
        after_batch: Told how many studies are done. What it raises ends the share, and the thread with it.

    Raises:
        AdapterError: the adapter did not answer for exactly the studies of a batch, or a study does not fit the device.
    """
    meter = meter or Meter()
    meter.batch_size_wanted = batch_size
    batches = Batches(adapter, min(batch_size, getattr(adapter, "most_at_once", batch_size)))
    answers: list[Predictions] = []
    source = _prepared(batches, reader.batches(part, batch_size=batches.size))
    with (
        feed(source, size=_bytes, inline=decodes_inline()) as ahead,
        SideBySide(adapter, size=batches.wanted, at_once=batches_at_once(adapter)) as model,
    ):
        found, spent = model.answers(ahead), 0.0
        while True:
            asked = time.perf_counter()
            answer = next(found, None)
            spent += time.perf_counter() - asked
            meter.seconds["decode"], meter.seconds["wait"] = ahead.reading, ahead.waiting
            meter.seconds["inference"] = spent - ahead.waiting
            if answer is None:
                break
            answers.append(answer)
            meter.studies += len(answer.study_ids)
            meter.batch_size = model.size
            after_batch(meter.studies)
    return codec.join_batches(answers)


def _prepared(batches: Batches, source: Iterator[StudyBatch]) -> Generator[tuple[StudyBatch, Any]]:
    for batch in source:
        yield batch, batches.prepare(batch)


def _bytes(item: tuple[StudyBatch, Any]) -> int:
    """Roughly the memory of a batch: its pictures; the rest is small beside them."""
    return sum(image.nbytes for image in item[0].images if image is not None)


def _fail(shard: Shard, token: str, error: str) -> None:
    """Fail the share and its run together; the shares that wait are stopped with it."""
    with transaction.atomic():
        if not leases.finish(shard, token, status=ShardStatus.FAILED, error=error, finished_at=timezone.now()):
            return
        move_run(shard.run_id, to=RunStatus.FAILED, error=error, finished_at=timezone.now())
        shard.run.shards.filter(status__in=[ShardStatus.QUEUED, ShardStatus.RUNNING]).update(
            status=ShardStatus.CANCELLED, lease_token="", lease_expires=None
        )
        tell_monitor(shard.run_id)


def finish_run(run_id: int) -> None:
    """When every share is done, hand the run over to be judged. Whoever moves it first enqueues."""
    if Shard.objects.filter(run_id=run_id).exclude(status=ShardStatus.DONE).exists():
        return
    move_run(run_id, to=RunStatus.RUNNING)
    if move_run(run_id, to=RunStatus.JUDGING):
        from evaluation import tasks

        tasks.judge.delay(run_id)
