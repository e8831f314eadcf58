"""A batch that does not fit the device is halved, and nothing else about the answers changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.errors import AdapterError
from evaluation.execution.batches import Batches
from evaluation.execution.shards import predict_share
from models_registry.adapters.base import AdapterInfo, Capability, Predictions
from models_registry.cohorts.schema import StudyBatch


class OutOfMemoryError(RuntimeError):
    """Named as torch names it on a CUDA device."""


class Small:
    """A model that takes so many studies at once and no more."""

    info = AdapterInfo(capabilities=frozenset({Capability.CLASSIFY}), labels=("x",))

    def __init__(self, room: int, error: Exception) -> None:
        self.room = room
        self.error = error
        self.sizes: list[int] = []

    def predict(self, batch: StudyBatch) -> Predictions:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        scores = np.array([float(name) / 100 for name in batch.covariates["value"]])
        return Predictions(study_ids=batch.study_ids, scores={"x": scores})


def studies(count: int) -> StudyBatch:
    names = tuple(f"s{i}" for i in range(count))
    return StudyBatch(
        study_ids=names, patient_ids=names, images=[None] * count, texts={"text.report": [None] * count},
        covariates={"value": list(range(count))},
    )  # fmt: skip


ERRORS = [
    OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_remembered(error: Exception) -> None:
    model = Small(10, error)
    batches = Batches(model, 64)
    found = batches.predict(studies(50))
    assert found.study_ids == studies(50).study_ids
    assert found.scores["x"].tolist() == [i / 100 for i in range(50)]
    assert batches.size == 6
    tried = len(model.sizes)
    batches.predict(studies(12))
    assert model.sizes[tried:] == [6, 6]


def test_the_next_share_begins_with_the_size_that_was_found() -> None:
    model = Small(10, MemoryError())
    Batches(model, 64).predict(studies(50))
    assert Batches(model, 64).size == 6
    assert Batches(model, 32).size == 32


def test_a_single_study_that_does_not_fit_is_told() -> None:
    with pytest.raises(AdapterError, match="single study") as caught:
        Batches(Small(0, MemoryError()), 8).predict(studies(8))
    assert "more memory" in caught.value.remedy


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    model = Small(0, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        Batches(model, 8).predict(studies(8))
    assert model.sizes == [8]


def test_answers_for_other_studies_are_refused() -> None:
    class Wrong(Small):
        def predict(self, batch: StudyBatch) -> Predictions:
            return Predictions(study_ids=("other",), scores={})

    with pytest.raises(AdapterError, match="exactly the studies"):
        Batches(Wrong(9, MemoryError()), 8).predict(studies(2))


def test_a_slow_model_is_given_few_studies_at_once_so_that_its_lease_is_renewed_in_between() -> None:
    class Reader:
        def batches(self, part: object, *, batch_size: int) -> Iterator[StudyBatch]:
            for start in range(0, 10, batch_size):
                yield studies(10).rows(start, start + batch_size)

    model, told = Small(64, MemoryError()), []
    model.most_at_once = 4  # type: ignore[attr-defined]
    found = predict_share(model, Reader(), None, batch_size=64, after_batch=told.append)  # type: ignore[arg-type]
    assert (model.sizes, told) == ([4, 4, 2], [4, 8, 10])
    assert found.study_ids == studies(10).study_ids
