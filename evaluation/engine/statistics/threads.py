"""Work in threads, and linear algebra that is rounded alike on every machine.

numpy draws random numbers and multiplies without the interpreter's lock, so draws of different labels and groupings run
side by side. BLAS, were it to use threads of its own, would wait for them; and it would add numbers in an order that
depends on how many cores there are, which shows in the last digits. So it is held to one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
SPARE = 1
"""One more thread than cores: one may hold the interpreter's lock while the others draw."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS of this process on one thread until the last that asked for it is done."""
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``work`` of each item, in their order; the first error is raised. BLAS is held to one thread meanwhile."""
    todo, free = list(items), cores()
    with one_blas_thread():
        if free < 2 or len(todo) < 2:
            return [work(item) for item in todo]
        with ThreadPoolExecutor(min(len(todo), free + SPARE), thread_name_prefix="engine") as pool:
            return list(pool.map(work, todo))


def cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Limit:
    """Counts who asked for one thread, so that threads of this process do not undo each other's limit."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.users = 0
        self.limits: Any = None

    def enter(self) -> None:
        with self.lock:
            if self.users == 0:
                from threadpoolctl import threadpool_limits

                _take_control()
                self.limits = threadpool_limits(limits=1, user_api="blas")
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                _take_control()
                self.limits.restore_original_limits()
                self.limits = None


def _take_control() -> None:
    """From 3.8 on threadpoolctl lets no thread set the limit but the first that did, be it at work here or not."""
    from threadpoolctl import OpenBLASController

    release = getattr(OpenBLASController, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)


_limit = _Limit()
