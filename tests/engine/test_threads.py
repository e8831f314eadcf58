"""Work in threads: order, errors, and the limit on BLAS."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from evaluation.engine.statistics.threads import in_threads, one_blas_thread


def blas_threads() -> set[int]:
    return {item["num_threads"] for item in threadpool_info() if item["user_api"] == "blas"}


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_results_are_in_the_order_of_the_items(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert in_threads(lambda number: number**2, range(20)) == [number**2 for number in range(20)]
    assert in_threads(str, []) == []


def test_the_first_error_is_raised_and_the_limit_is_taken_back() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with threadpool_limits(limits=2, user_api="blas"):
        with pytest.raises(ValueError, match="three"):
            in_threads(work, range(6))
        assert blas_threads() == {2}


def test_blas_has_one_thread_until_the_last_is_done() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        entered, leave = threading.Event(), threading.Event()

        def other() -> None:
            with one_blas_thread():
                entered.set()
                leave.wait(10)

        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
        with one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}, "the other thread still wants one"
        leave.set()
        thread.join(10)
        assert blas_threads() == {2}


def test_an_assessment_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from evaluation.engine import assess, sketch_shard
    from tests.engine.builders import clustered, protocol, table

    rules = protocol(
        attributes=[{"name": "sex"}, {"name": "site"}],
        labels=[{"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}],
    )
    rng = np.random.default_rng(4)
    rows = clustered(rng, patients=900, tpr={"F": 0.4, "M": 0.8})
    rows["s_x"] = np.clip(0.3 * rows["d_x"] + 0.7 * rng.random(len(rows)), 0, 1)
    rows["site"] = rng.choice(list("abcd"), 3000)[rows["patient"]]
    sketch = sketch_shard(rules, table(rows.drop(columns="d_x")))
    found: list[Any] = []
    for cores, limit in ((1, 1), (2, 2), (6, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        with threadpool_limits(limits=limit, user_api="blas"):
            found.append(assess(rules, sketch).to_dict())
    assert found[0] == found[1] == found[2]
    assert found[0]["advice"]
