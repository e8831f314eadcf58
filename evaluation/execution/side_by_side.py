"""Several batches at once on the cores of a CPU, each on one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from evaluation.execution.batches import Batches
from evaluation.execution.devices import device
from models_registry.adapters.base import ModelAdapter, Predictions
from models_registry.cohorts.schema import StudyBatch

MOST = 8
"""Batches at once at most: each holds the activations of its own."""


def batches_at_once(adapter: ModelAdapter) -> int:
    """As many as torch has threads, for an adapter that allows it (``side_by_side``) on a CPU; else one.

    A batch of a small model does not keep several cores busy: they wait for each other at every operator. Batches on a
    thread each do not wait, and what a model answers does not depend on the number of cores, to the last bit.
    """
    if not getattr(adapter, "side_by_side", False) or device().startswith("cuda"):
        return 1
    import torch

    return max(1, min(MOST, torch.get_num_threads()))


class SideBySide:
    """A context that gives the answers of batches in their order, some of them computed at the same time.

    Leaving it, for whatever reason, drops the batches that wait and waits for those that are computed.
    """

    def __init__(self, adapter: ModelAdapter, *, size: int, at_once: int) -> None:
        self.adapter, self.wanted, self.at_once = adapter, size, at_once
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(at_once, "batch", _on_one_thread) if at_once > 1 else None

    @property
    def size(self) -> int:
        """Studies that are given to the model at once: as many as were wanted, or as were found to fit."""
        return Batches(self.adapter, self.wanted).size

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def answers(self, items: Iterable[tuple[StudyBatch, Any]]) -> Iterator[Predictions]:
        """The answers of (batch, what was prepared of it), one for each item.

        Raises:
            AdapterError: see :meth:`Batches.predict`; where the answer of its batch would have come.
        """
        if self._pool is None:
            yield from (self._predict(batch, prepared) for batch, prepared in items)
            return
        waiting: deque[Future[Predictions]] = deque()
        for batch, prepared in items:
            waiting.append(self._pool.submit(self._predict, batch, prepared))
            if len(waiting) > self.at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _predict(self, batch: StudyBatch, prepared: Any) -> Predictions:
        # Each thread has a size of its own: what one finds to fit, the others are told by the next share.
        if not hasattr(self._own, "batches"):
            self._own.batches = Batches(self.adapter, self.wanted)
        found: Predictions = self._own.batches.predict(batch, prepared)
        return found


def _on_one_thread() -> None:
    """Torch's number of threads is each thread's own; the thread that made the pool keeps its."""
    import torch

    torch.set_num_threads(1)
