"""Runs a model over batches that fit its device: one that does not fit is halved, and the size that fits is kept."""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

from core.errors import AdapterError
from evaluation.execution import predictions as codec
from evaluation.execution.loading import make_room, out_of_memory, release_memory
from models_registry.adapters.base import ModelAdapter, Predictions
from models_registry.cohorts.schema import StudyBatch

log = logging.getLogger(__name__)


class Batches:
    """A model with the number of studies that it takes at once: as many as wanted, or as were found to fit before.

    A study's answer does not depend on its neighbours, so the size changes nothing else.
    """

    def __init__(self, adapter: ModelAdapter, size: int) -> None:
        self.adapter = adapter
        self.wanted = size
        self.size = _fitting.get(adapter, {}).get(size, size)

    def prepare(self, batch: StudyBatch) -> Any:
        """What the adapter can make of a batch without its weights: called in another thread, ahead of the model.

        None where the adapter has no such step, and where the batch is to be cut into smaller ones.
        """
        step = getattr(self.adapter, "prepare", None)
        return step(batch) if step is not None and len(batch) <= self.size else None

    def predict(self, batch: StudyBatch, prepared: Any = None) -> Predictions:
        """The answers of a batch of any size.

        Args:
            prepared: What :meth:`prepare` gave for this very batch.

        Raises:
            AdapterError: one study alone does not fit the device, or the adapter answered for other studies.
        """
        found: list[Predictions] = []
        start = 0
        while start < len(batch):
            whole = start == 0 and len(batch) <= self.size
            part = batch if whole else batch.rows(start, start + self.size)
            answer = self._tried(part, prepared if whole else None)
            if answer is not None:
                found.append(answer)
                start += len(answer.study_ids)
        return found[0] if len(found) == 1 else codec.join_batches(found)

    def _tried(self, part: StudyBatch, prepared: Any) -> Predictions | None:
        """The answers, or None where the part did not fit: other models were forgotten, or the size was halved."""
        try:
            return self._checked(part, prepared)
        except Exception as error:
            if not out_of_memory(error):
                raise
            full = error.with_traceback(None)  # a traceback would keep the tensors of the failed attempt alive
        if make_room(0, but=self.adapter):
            log.warning("a batch did not fit beside other models; trying again without them")
            return None
        if len(part) <= 1:
            raise AdapterError(
                "The device has not enough memory for a single study.",
                remedy="Run a worker on a device with more memory, or the model at lower precision.",
            ) from full
        self.size = len(part) // 2
        _fitting.setdefault(self.adapter, {})[self.wanted] = self.size
        release_memory()
        log.warning("a batch of %s studies did not fit the device; going on with %s", len(part), self.size)
        return None

    def _checked(self, part: StudyBatch, prepared: Any) -> Predictions:
        adapter: Any = self.adapter
        found: Predictions = adapter.predict(part) if prepared is None else adapter.predict_prepared(part, prepared)
        if found.study_ids != part.study_ids:
            raise AdapterError(
                "The adapter did not answer for exactly the studies it was given.",
                remedy="Mend the adapter: it must answer for every study, with NaN or -1 where it has nothing to say.",
            )
        return found


_fitting: WeakKeyDictionary[ModelAdapter, dict[int, int]] = WeakKeyDictionary()
"""Loaded model -> size that was wanted -> size that fits. Forgotten with the model."""
