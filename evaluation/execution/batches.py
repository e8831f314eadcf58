"""Runs a model over batches that fit its device: one that does not fit is halved, and the size that fits is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from evaluation.execution import predictions as codec
from evaluation.execution.loading import make_room, out_of_memory, release_memory
from models_registry.adapters.base import Draw, ModelAdapter, Predictions, Said
from models_registry.cohorts.schema import StudyBatch

log = logging.getLogger(__name__)
T = TypeVar("T")


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
            answer = self._tried(len(part), partial(self._checked, part, prepared if whole else None))
            if answer is not None:
                found.append(answer)
                start += len(answer.study_ids)
        return found[0] if len(found) == 1 else codec.join_batches(found)

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None) -> Said:
        """What the model says about a batch of any size, see ``adapters.base.Speaks``.

        Raises:
            AdapterError: one study alone does not fit the device, or the adapter did not answer for every study.
        """
        texts, cut, start = [], [], 0
        while start < len(batch):
            end = min(len(batch), start + self.size)
            asked = None if questions is None else questions[start:end]
            answer = self._tried(end - start, partial(self._spoken, batch.rows(start, end), asked, draw))
            if answer is not None:
                texts.append(answer.text)
                cut.append(answer.truncated)
                start += len(answer.text)
        return Said(text=np.concatenate(texts), truncated=np.concatenate(cut))

    def embed(self, batch: StudyBatch, modality: str) -> npt.NDArray[np.float32]:
        """Vectors of a batch of any size, see ``adapters.base.Embeds``: float32 [n, d].

        Raises:
            AdapterError: one study alone does not fit the device, or the adapter did not answer for every study.
        """
        found, start = [], 0
        while start < len(batch):
            end = min(len(batch), start + self.size)
            answer = self._tried(end - start, partial(self._embedded, batch.rows(start, end), modality))
            if answer is not None:
                found.append(answer)
                start += len(answer)
        return np.concatenate(found)

    def _embedded(self, part: StudyBatch, modality: str) -> npt.NDArray[np.float32]:
        adapter: Any = self.adapter
        found: npt.NDArray[np.float32] = adapter.embed(part, modality)
        if found.ndim != 2 or len(found) != len(part):
            raise AdapterError(
                f"The adapter gave vectors of the shape {list(found.shape)} for {len(part)} studies.",
                remedy="Mend the adapter: it must give one row for each study, of NaN where it has nothing.",
            )
        return found

    def _spoken(self, part: StudyBatch, questions: Sequence[str] | None, draw: Draw | None) -> Said:
        adapter: Any = self.adapter
        found: Said = adapter.say(part, questions, draw=draw)
        if not len(found.text) == len(found.truncated) == len(part):
            raise AdapterError(
                f"The adapter said {len(found.text)} texts about {len(part)} studies.",
                remedy="Mend the adapter: it must give one for each study, or None.",
            )
        return found

    def _tried(self, studies: int, run: Callable[[], T]) -> T | None:
        """The answers, or None where the part did not fit: other models were forgotten, or the size was halved."""
        try:
            return run()
        except Exception as error:
            if not out_of_memory(error):
                raise
            full = error.with_traceback(None)  # a traceback would keep the tensors of the failed attempt alive
        if make_room(0, but=self.adapter):
            log.warning("a batch did not fit beside other models; trying again without them")
            return None
        if studies <= 1:
            raise AdapterError(
                "The device has not enough memory for a single study.",
                remedy="Run a worker on a device with more memory, or the model at lower precision.",
            ) from full
        self.size = studies // 2
        _fitting.setdefault(self.adapter, {})[self.wanted] = self.size
        release_memory()
        log.warning("a batch of %s studies did not fit the device; going on with %s", studies, self.size)
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
