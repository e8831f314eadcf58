"""The streams of a share: from the store when this very work was done before, else read off its studies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from core.digests import sha256_json
from core.errors import AuscultError
from evaluation.engine import Assessment, AuditSketch, assess
from evaluation.engine import Protocol as Rules
from evaluation.engine.drift.records import StudyStreams
from evaluation.engine.drift.sample import DriftSample, merge_samples
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol import Drift
from evaluation.engine.records import ShardTable
from evaluation.engine.sketch import DRIFT, NOT_WATCHED, audited, measured_suites
from evaluation.engine.text.pairing import vocabulary_for
from evaluation.execution import stream_codec as codec
from evaluation.execution.answers import Beating, NotCachedError, Running, is_unbound
from evaluation.execution.frames import frame_of
from evaluation.execution.loading import inference_of
from evaluation.execution.stream_plan import StreamPlan
from evaluation.execution.streams import read_streams
from evaluation.execution.telemetry import Meter
from evaluation.models import AuditRun, CachedPredictions, Shard
from models_registry.adapters.base import ModelAdapter, Predictions
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import ShardRef
from models_registry.services.versions import model_store

FORM = 1
"""Of cached streams: raised when a stream is read in another way."""


def is_watched(run: AuditRun, rules: Rules) -> bool:
    """Whether streams are read in a run: those of a monitor, which have a frame."""
    return rules.drift is not None and DRIFT in rules.suites and bool(run.frame_digest)


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Reads the streams of one share of a run.

    Attributes:
        cached_as: Precision of cached work that is to be used; then no model is run. Empty where one may be.
    """

    shard: Shard
    reader: CohortReader
    part: ShardRef
    meter: Meter
    cached_as: str = ""

    def streams(
        self,
        rules: Rules,
        found: Predictions,
        running: Running,
        beating: Beating,
    ) -> StudyStreams | None:
        """What is watched of the share; None in a run that watches nothing.

        Raises:
            NotCachedError: a model is needed, and the work is to come from the cache and is not in it.
            LeaseLostError: the share was cancelled or taken over meanwhile.
        """
        run = self.shard.run
        if not is_watched(run, rules):
            return None
        frame, store, version = frame_of(run.frame_digest), model_store(), run.version
        key = streams_key(self.shard, rules, precision=self.cached_as)
        cached = None if is_unbound(version) else CachedPredictions.objects.filter(key=key).first()
        if cached is not None and store.has(cached.digest):
            streams = codec.from_bytes(store.get_bytes(cached.digest), frame)
            self._told(streams)
            return streams
        if self.cached_as and StreamPlan.of_frame(frame).needs_model(rules.drift or Drift()):
            raise NotCachedError
        with self.meter.timed("streams"):
            streams = self._read(rules, found, running, beating)
        self._told(streams)
        if not is_unbound(version):
            kept: dict[str, Any] = {
                "digest": store.put_bytes(codec.to_bytes(streams)),
                "n_studies": self.part.n_studies,
                "telemetry": self.meter.to_dict(),
            }
            CachedPredictions.objects.update_or_create(key=key, defaults=kept)
        return streams

    def _read(
        self,
        rules: Rules,
        found: Predictions,
        running: Running,
        beating: Beating,
    ) -> StudyStreams:
        """Read them, with a lease that does not run out. The model is loaded when it is first asked for."""
        run = self.shard.run
        inference = inference_of(run.version, run.settings)
        with ExitStack() as stack:
            beat = stack.enter_context(beating())
            in_use: list[tuple[ModelAdapter, Callable[[int], None]]] = []

            def adapter() -> ModelAdapter:
                if not in_use:
                    self.meter.from_cache = False
                    in_use.append(stack.enter_context(running(inference)))
                return in_use[0][0]

            def told(done: int) -> None:
                beat.alive()
                for _, renew in in_use:
                    renew(self.part.n_studies)

            return read_streams(
                rules,
                self.reader,
                self.part,
                found,
                adapter=adapter,
                frame=frame_of(run.frame_digest),
                batch_size=inference.batch_size,
                after_batch=told,
            )

    def _told(self, streams: StudyStreams) -> None:
        self.meter.watched = {"streams": len(streams.specs), "why_not": dict(sorted(streams.why_not.items()))}


def streams_key(shard: Shard, rules: Rules, *, precision: str = "") -> str:
    """Digest of everything that decides the streams of a share: model, settings, share, frame, section ``drift``.

    Args:
        precision: That the model is run in; left out, it is what the run's setting means in this process.
    """
    run = shard.run
    known = precision or inference_of(run.version, run.settings).precision
    return sha256_json(
        {
            "kind": "streams",
            "form": FORM,
            "model": run.version.digest,
            "adapter": run.version.adapter,
            "shard": shard.cohort_shard_digest,
            "settings": run.settings | {"precision": known},
            "frame": run.frame_digest,
            "drift": rules.drift.to_dict() if rules.drift else None,
            "labels": [label.to_dict() for label in rules.labels],
            "seed": rules.seed,
            "vocabulary": vocabulary_for(rules).digest,
        }
    )


def sample_of(rules: Rules, table: ShardTable) -> str:
    """Digest of the share's sample, put into the store; empty where nothing is watched."""
    if table.streams is None:
        return ""
    return model_store().put_bytes(DriftSample.of(rules, audited(rules, table)).to_bytes())


def assess_run(
    rules: Rules,
    merged: AuditSketch,
    *,
    frame: str,
    reference: str,
    with_advice: bool = False,
) -> Assessment:
    """Measurements and verdicts of a run: of one that watches for drift, against its reference.

    The digests of frame and reference are among the notes: what was found is bound to what it was compared with.

    Args:
        frame, reference: Digests of the run; empty where it has none.

    Raises:
        AuscultError: the reference was read through another frame than the run.
    """
    if DRIFT not in rules.suites:
        return assess(rules, merged, with_advice=with_advice)
    suites = measured_suites(rules, watched=bool(frame))
    notes: tuple[str, ...] = () if DRIFT in suites else (NOT_WATCHED,)
    if DRIFT in suites:
        notes = (f"Streams were read through the frame {frame}.",)
    if DRIFT in suites and reference:
        merged = replace(merged, parts=merged.parts | {DRIFT: _against(merged, frame, reference)})
        notes = (*notes, f"Drift was measured against the reference {reference}.")
    found = assess(rules, merged, suites=suites, with_advice=with_advice)
    return replace(found, notes=(*found.notes, *notes))


def _against(merged: AuditSketch, frame: str, reference: str) -> Any:
    window = merged.parts[DRIFT]
    before = DriftSketch.from_bytes(model_store().get_bytes(reference))
    if not isinstance(window, DriftSketch) or window.frame_digest != before.frame_digest:
        raise AuscultError(
            f"The reference {reference[:12]} was read through another frame than {frame[:12]}, that of this run.",
            remedy="Have the monitor's reference prepared again.",
        )
    return window.against(before)


def window_sample(run: AuditRun, rules: Rules) -> DriftSample:
    """The patient-level sample of a whole run, merged from those of its shares. Whoever reads it needs the right to."""
    store = model_store()
    digests = run.shards.exclude(sample_digest="").order_by("index").values_list("sample_digest", flat=True)
    samples = [DriftSample.from_bytes(store.get_bytes(digest)) for digest in digests]
    return merge_samples(samples, size=(rules.drift or Drift()).sample)
