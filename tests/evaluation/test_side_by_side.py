"""Batches side by side: in order, each on one thread, and nothing left behind."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import AdapterError
from evaluation.execution import side_by_side
from evaluation.execution.side_by_side import MOST, SideBySide, batches_at_once
from models_registry.adapters.base import AdapterInfo, Capability, Predictions
from models_registry.cohorts.schema import StudyBatch

INFO = AdapterInfo(capabilities=frozenset({Capability.CLASSIFY}), labels=("x",))


def batch(number: int) -> StudyBatch:
    return StudyBatch(study_ids=(f"s{number}",), patient_ids=(f"p{number}",), images=[None])


class Model:
    """The later a batch, the faster its answer."""

    info = INFO
    side_by_side = True

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.fails_at, self.lock = fails_at, threading.Lock()
        self.threads: set[int] = set()
        self.together = self.most_together = self.answered = 0

    def predict(self, studies: StudyBatch) -> Predictions:
        number = int(studies.study_ids[0][1:])
        with self.lock:
            self.threads.add(torch.get_num_threads())
            self.together += 1
            self.most_together = max(self.most_together, self.together)
        time.sleep(0.02 if number % 2 == 0 else 0.001)
        with self.lock:
            self.together -= 1
            self.answered += 1
        if number == self.fails_at:
            raise AdapterError("No answer.", remedy="None.")
        return Predictions(study_ids=studies.study_ids, scores={"x": np.array([number / 100])})


def threads_of_batches() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batch")]


def test_answers_come_in_order_each_computed_on_one_thread() -> None:
    model, before = Model(), torch.get_num_threads()
    with SideBySide(model, size=64, at_once=3) as running:
        found = [answer.study_ids[0] for answer in running.answers((batch(n), None) for n in range(20))]
    assert found == [f"s{n}" for n in range(20)]
    assert model.threads == {1} and 1 < model.most_together <= 3
    assert torch.get_num_threads() == before and not threads_of_batches()


def test_no_more_batches_are_held_than_are_worked_on() -> None:
    taken = 0

    def source() -> Any:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield batch(number), None

    model = Model()
    with SideBySide(model, size=64, at_once=2) as running:
        for done, _ in enumerate(running.answers(source()), start=1):
            assert taken <= done + 2


def test_an_error_comes_where_its_answer_would_have_and_ends_the_rest() -> None:
    model, found = Model(fails_at=5), []
    with pytest.raises(AdapterError, match="No answer"), SideBySide(model, size=64, at_once=2) as running:
        for answer in running.answers((batch(n), None) for n in range(200)):
            found.append(answer.study_ids[0])
    assert found == [f"s{n}" for n in range(5)]
    assert model.answered < 12 and not threads_of_batches()


def test_a_reader_that_stops_leaves_no_thread() -> None:
    model = Model()
    with pytest.raises(KeyError), SideBySide(model, size=64, at_once=2) as running:
        next(running.answers((batch(n), None) for n in range(200)))
        raise KeyError
    assert model.answered < 8 and not threads_of_batches()


@pytest.mark.parametrize(("device", "allowed", "threads", "expected"), [
    ("cpu", True, 4, 4), ("cpu", True, 64, MOST), ("cpu", True, 1, 1), ("cpu", False, 4, 1), ("cuda:0", True, 4, 1),
])  # fmt: skip
def test_how_many_run_at_once(
    device: str, allowed: bool, threads: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    model.side_by_side = allowed
    monkeypatch.setattr(side_by_side, "device", lambda: device)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert batches_at_once(model) == expected  # type: ignore[arg-type]
