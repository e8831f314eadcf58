"""Keeps a lease alive by time, also while one batch takes long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from django.db import DatabaseError, connections

from models_registry.leases import LeaseLostError

log = logging.getLogger(__name__)
LONGEST_BATCH_SECONDS = 3600.0
"""A worker that has not finished a batch for so long is taken for hung: its lease is left to run out."""


class Heartbeat:
    """A context in which a thread calls ``beat`` every so often. The thread never outlives the context.

    Args:
        beat: Renews the lease. Raises LeaseLostError where it is no longer ours.
        every: Seconds between two calls.
        at_most: Seconds without :meth:`alive` after which it stops calling.
    """

    def __init__(self, beat: Callable[[], None], *, every: float, at_most: float = LONGEST_BATCH_SECONDS) -> None:
        self.beat, self.every, self.at_most = beat, every, at_most
        self._stop, self._lost = threading.Event(), threading.Event()
        self._left = at_most
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def alive(self) -> None:
        """The worker tells that a batch is done.

        Raises:
            LeaseLostError: the lease was lost meanwhile.
        """
        self._left = self.at_most
        if self._lost.is_set():
            raise LeaseLostError

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self.every):
                self._left -= self.every
                if self._left <= 0:
                    log.error("no batch was finished for %.0f s; the lease is left to run out", self.at_most)
                    return
                if not self._beaten():
                    return
        finally:
            connections.close_all()  # a thread has connections of its own

    def _beaten(self) -> bool:
        try:
            self.beat()
        except LeaseLostError:
            self._lost.set()
            return False
        except DatabaseError as error:
            # A lease outlives several beats, so a database that is busy or away for a moment costs nothing.
            log.warning("a lease could not be renewed, trying again in %.0f s: %s", self.every, error)
        return True
