"""Reading ahead of the model: in order, bounded, and never outliving the share."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from evaluation.execution.ahead import Inline, ReadAhead, feed


def numbers(count: int, taken: list[int]) -> Generator[int]:
    for number in range(count):
        taken.append(number)
        yield number


def settle(met: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not met():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@pytest.mark.parametrize("inline", [True, False])
def test_items_come_in_their_order(inline: bool) -> None:
    taken: list[int] = []
    with feed(numbers(50, taken), size=lambda item: 1, inline=inline) as items:
        assert list(items) == list(range(50))
    assert taken == list(range(50))


def test_a_thread_reads_while_the_reader_is_busy() -> None:
    taken: list[int] = []
    with ReadAhead(numbers(20, taken), size=lambda item: 1, depth=3) as items:
        settle(lambda: len(taken) == 3)
        time.sleep(0.05)
        assert taken == [0, 1, 2], "no more than the depth waits"
        reader = iter(items)
        assert next(reader) == 0
        settle(lambda: len(taken) == 4)
    assert len(taken) == 4


def test_large_items_are_held_one_at_a_time() -> None:
    taken: list[int] = []
    with ReadAhead(numbers(9, taken), size=lambda item: 100, depth=5, most_bytes=50) as items:
        settle(lambda: len(taken) == 1)
        time.sleep(0.05)
        assert taken == [0]
        assert list(items) == list(range(9))


def test_in_line_nothing_is_read_before_it_is_asked_for() -> None:
    taken: list[int] = []
    with Inline(numbers(5, taken)) as items:
        reader = iter(items)
        assert (taken, next(reader), taken) == ([0], 0, [0])
        assert items.reading == items.waiting > 0


def test_an_error_of_the_source_comes_where_its_item_would_have_come() -> None:
    def broken() -> Generator[int]:
        yield 1
        yield 2
        raise ValueError("the third picture is damaged")

    found = []
    with pytest.raises(ValueError, match="third picture"), ReadAhead(broken(), size=lambda item: 1) as items:
        for item in items:
            found.append(item)
    assert found == [1, 2]


@pytest.mark.parametrize("depth", [1, 3])
def test_leaving_early_ends_the_thread_and_closes_the_source(depth: int) -> None:
    closed = []

    def source() -> Generator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="cancelled"), ReadAhead(source(), size=lambda item: 1, depth=depth) as items:
        for item in items:
            if item == 2:
                raise RuntimeError("cancelled")
    assert closed == [True]
    assert threading.active_count() == before


def test_the_seconds_of_both_sides_are_told() -> None:
    def slow() -> Generator[int]:
        for number in range(3):
            time.sleep(0.03)
            yield number

    with ReadAhead(slow(), size=lambda item: 1) as items:
        list(items)
    assert items.reading >= 0.09
    assert 0.02 < items.waiting <= items.reading + 0.05
