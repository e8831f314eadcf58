"""Reads and decodes ahead of the model, in a thread, without holding more than a bounded amount of it.

Decoders and parsers give way to other threads while they work, so the model computes meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
END: Any = object()
DEPTH = 3
MOST_BYTES = 512 << 20


class Feed(Protocol[T_co]):
    """A context whose iterator gives items; ``reading`` and ``waiting`` are seconds, see :class:`ReadAhead`."""

    reading: float
    waiting: float

    def __enter__(self) -> Feed[T_co]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[T_co]: ...


def feed(source: Generator[T], *, size: Callable[[T], int], inline: bool) -> Feed[T]:
    """The items of a source, read ahead by a thread, or ``inline`` when each is asked for."""
    return Inline(source) if inline else ReadAhead(source, size=size)


class Inline(Generic[T]):
    """Items that are read when they are asked for: for a worker that has a single thread to compute with."""

    def __init__(self, source: Generator[T]) -> None:
        self.source = source
        self.reading = self.waiting = 0.0

    def __enter__(self) -> Inline[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            started = time.perf_counter()
            item = next(self.source, END)
            self.reading += time.perf_counter() - started
            self.waiting = self.reading
            if item is END:
                return
            yield item


@dataclass(kw_only=True)
class _State(Generic[T]):
    """What the two threads share, under one lock."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    ready: deque[tuple[T, int]] = field(default_factory=deque)
    held: int = 0
    ended: bool = False
    stopped: bool = False
    error: BaseException | None = None


class ReadAhead(Generic[T]):
    """A context whose iterator gives the items of ``source``, which a thread takes from it beforehand.

    At most ``depth`` items and ``most_bytes`` bytes wait, but always one may. An error of the source is raised where
    its item would have come. Leaving the context, for whatever reason, stops the thread after the item that it is at
    and waits for it.

    Attributes:
        reading: Seconds that the thread spent on the source. waiting: seconds that the reader waited for it.
    """

    def __init__(
        self, source: Generator[T], *, size: Callable[[T], int], depth: int = DEPTH, most_bytes: int = MOST_BYTES
    ) -> None:
        self.source, self.size, self.depth, self.most_bytes = source, size, depth, most_bytes
        self.reading = self.waiting = 0.0
        self._state: _State[T] = _State()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._state.changed:
            self._state.stopped = True
            self._state.changed.notify_all()
        self._thread.join()
        self._state.ready.clear()
        self.source.close()

    def __iter__(self) -> Iterator[T]:
        state = self._state
        while True:
            started = time.perf_counter()
            with state.changed:
                state.changed.wait_for(lambda: state.ready or state.ended)
                self.waiting += time.perf_counter() - started
                if not state.ready:
                    if state.error is not None:
                        raise state.error
                    return
                item, size = state.ready.popleft()
                state.held -= size
                state.changed.notify_all()
            yield item

    def _run(self) -> None:
        state, error = self._state, None
        try:
            while self._one():
                pass
        except BaseException as caught:  # noqa: BLE001 - whatever it is, it is raised again by the reader
            error = caught
        finally:
            with state.changed:
                state.ended, state.error = True, error
                state.changed.notify_all()

    def _one(self) -> bool:
        """Take one item, when there is room for it; says whether there may be more."""
        state = self._state
        with state.changed:
            state.changed.wait_for(lambda: state.stopped or self._room())
            if state.stopped:
                return False
        started = time.perf_counter()
        try:
            item = next(self.source)
        except StopIteration:
            return False
        finally:
            self.reading += time.perf_counter() - started
        with state.changed:
            size = self.size(item)
            state.ready.append((item, size))
            state.held += size
            state.changed.notify_all()
        return True

    def _room(self) -> bool:
        return not self._state.ready or (len(self._state.ready) < self.depth and self._state.held < self.most_bytes)
