"""What a model says to the questions of an audit: from the store when this very work was done before, else asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.digests import sha256_json
from evaluation.engine import Protocol as Rules
from evaluation.engine.asking import CohortTruth, Utterances
from evaluation.engine.planning import Plan, count_cohort, plan_share, predicts, truth_key
from evaluation.execution import utterances as codec
from evaluation.execution.asking import ask_share
from evaluation.execution.heartbeat import Heartbeat
from evaluation.execution.loading import inference_of
from evaluation.execution.telemetry import Meter
from evaluation.models import CachedPredictions, Shard
from models_registry.adapters.base import InferenceSettings, ModelAdapter
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import ShardRef
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

Running = Callable[[InferenceSettings], AbstractContextManager[tuple[ModelAdapter, Callable[[int], None]]]]
Beating = Callable[[], AbstractContextManager[Heartbeat]]

_truths: dict[str, CohortTruth] = {}
"""Of this process, by :func:`truth_key`."""


class NotCachedError(Exception):
    """A share was to be taken from the cache, and is not in it."""


def is_unbound(version: ModelVersion) -> bool:
    """Whether what answers is bound by no digest, as behind an endpoint: yesterday's answers then say nothing of it."""
    return bool(version.config.get("details", {}).get("weights"))


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Asks about one share of a run.

    Attributes:
        cached_as: Precision of cached answers that are to be used; then no model is run. Empty where one may be.
    """

    shard: Shard
    reader: CohortReader
    part: ShardRef
    meter: Meter
    cached_as: str = ""

    def utterances(self, rules: Rules, running: Running, beating: Beating) -> Utterances:
        """The plan of the share with its answers.

        Raises:
            NotCachedError: they are to come from the cache and are not in it.
            LeaseLostError: the share was cancelled or taken over while the model was at work.
        """
        version = self.shard.run.version
        with beating():
            truth = cohort_truth(rules, self.reader)
        plan = plan_share(rules, self.reader, self.part, truth, declared=version.config)
        if not len(plan.asked):
            return Utterances.none(dict(plan.why_not))
        if is_unbound(version):
            return self._asked(plan, running)
        key = answers_key(self.shard, plan, precision=self.cached_as)
        cached, store = CachedPredictions.objects.filter(key=key).first(), model_store()
        if cached and store.has(cached.digest):
            self.meter.asked = cached.telemetry
            if not predicts(rules):
                self.meter.from_cache, self.meter.made = True, cached.telemetry
            found = codec.from_bytes(store.get_bytes(cached.digest))
            self.meter.texts = len(found)
            return found
        if self.cached_as:
            raise NotCachedError
        found = self._asked(plan, running)
        kept: dict[str, Any] = {
            "digest": store.put_bytes(codec.to_bytes(found)),
            "n_studies": len(np.unique(found.asked.study)),
            "telemetry": self.meter.to_dict(),
        }
        CachedPredictions.objects.update_or_create(key=key, defaults=kept)
        return found

    def _asked(self, plan: Plan, running: Running) -> Utterances:
        self.meter.from_cache = False
        inference = inference_of(self.shard.run.version, self.shard.run.settings)
        with running(inference) as (adapter, told):
            return ask_share(
                adapter,
                self.reader,
                self.part,
                plan,
                batch_size=inference.batch_size,
                after_batch=lambda _: told(self.part.n_studies),
                meter=self.meter,
            )


def answers_key(shard: Shard, plan: Plan, *, precision: str = "") -> str:
    """Digest of everything that decides the answers: model, adapter, share of the cohort, settings, and the plan.

    Args:
        precision: That the model is run in; left out, it is what the run's setting means in this process.
    """
    run = shard.run
    known = precision or inference_of(run.version, run.settings).precision
    return sha256_json(
        {
            "kind": "answers",
            "model": run.version.digest,
            "adapter": run.version.adapter,
            "shard": shard.cohort_shard_digest,
            "settings": run.settings | {"precision": known},
            "plan": plan.digest,
        }
    )


def cohort_truth(rules: Rules, reader: CohortReader) -> CohortTruth:
    """How common findings are in the whole cohort: counted once, then kept in the store and in this process."""
    key = truth_key(rules, reader)
    if key not in _truths:
        _truths[key] = _kept_truth(key) or _count(key, rules, reader)
    return _truths[key]


def _kept_truth(key: str) -> CohortTruth | None:
    kept, store = CachedPredictions.objects.filter(key=key).first(), model_store()
    if kept is None or not store.has(kept.digest):
        return None
    body = store.get_json(kept.digest)
    return CohortTruth(
        findings=tuple(body["findings"]),
        n_studies=body["n_studies"],
        positives=np.array(body["positives"], dtype=np.int64),
        together=np.array(body["together"], dtype=np.int64).reshape(len(body["findings"]), len(body["findings"])),
    )


def _count(key: str, rules: Rules, reader: CohortReader) -> CohortTruth:
    found = count_cohort(rules, reader)
    body = {
        "findings": list(found.findings),
        "n_studies": found.n_studies,
        "positives": found.positives.tolist(),
        "together": found.together.tolist(),
    }
    kept = {"digest": model_store().put_json(body), "n_studies": found.n_studies}
    CachedPredictions.objects.update_or_create(key=key, defaults=kept)
    return found
