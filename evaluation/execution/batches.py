"""Runs a model over batches that fit its device: one that does not fit is halved, and the size that fits is kept."""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

from core.errors import AdapterError
from evaluation.execution import predictions as codec
from models_registry.adapters.base import ModelAdapter, Predictions
from models_registry.cohorts.schema import StudyBatch

log = logging.getLogger(__name__)
WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


class Batches:
    """A model with the number of studies that it takes at once: as many as wanted, or as were found to fit before.

    A study's answer does not depend on its neighbours, so the size changes nothing else.
    """

    def __init__(self, adapter: ModelAdapter, size: int) -> None:
        self.adapter = adapter
        self.wanted = size
        self.size = _fitting.get(adapter, {}).get(size, size)

    def predict(self, batch: StudyBatch) -> Predictions:
        """The answers of a batch of any size.

        Raises:
            AdapterError: one study alone does not fit the device, or the adapter answered for other studies.
        """
        found: list[Predictions] = []
        start = 0
        while start < len(batch):
            answer = self._tried(batch.rows(start, start + self.size))
            if answer is not None:
                found.append(answer)
                start += len(answer.study_ids)
        return codec.join_batches(found)

    def _tried(self, part: StudyBatch) -> Predictions | None:
        """The answers, or None where the part did not fit and the size was halved."""
        try:
            return self._checked(part)
        except Exception as error:
            if not _out_of_memory(error):
                raise
            if len(part) <= 1:
                raise AdapterError(
                    "The device has not enough memory for a single study.",
                    remedy="Run a worker on a device with more memory, or the model at lower precision.",
                ) from error
        # Outside of the handler, whose traceback keeps the tensors of the failed attempt alive.
        self.size = len(part) // 2
        _fitting.setdefault(self.adapter, {})[self.wanted] = self.size
        _release()
        log.warning("a batch of %s studies did not fit the device; going on with %s", len(part), self.size)
        return None

    def _checked(self, part: StudyBatch) -> Predictions:
        found = self.adapter.predict(part)
        if found.study_ids != part.study_ids:
            raise AdapterError(
                "The adapter did not answer for exactly the studies it was given.",
                remedy="Mend the adapter: it must answer for every study, with NaN or -1 where it has nothing to say.",
            )
        return found


_fitting: WeakKeyDictionary[ModelAdapter, dict[int, int]] = WeakKeyDictionary()
"""Loaded model -> size that was wanted -> size that fits. Forgotten with the model."""


def _out_of_memory(error: Exception) -> bool:
    """Of the device or of the machine; torch names it by class on CUDA and by its words on the CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)


def _release() -> None:
    """Give back what the failed attempt holds on a CUDA device."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
