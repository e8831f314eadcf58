"""What a worker process tells of itself: who it is, what it holds and does, how fast it was, that it is there."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from django.utils import timezone

from evaluation.execution.devices import describe_device, device
from evaluation.execution.loading import loaded_models
from evaluation.models import Worker

log = logging.getLogger(__name__)
REMEMBERED_SHARES = 20
TELL_SECONDS = 0.25
LONGEST_DOING = 300


class Presence:
    """This process as a worker. It writes its own row and no other; a write that fails stops no work.

    Attributes:
        name: Node name.
    """

    def __init__(self, *, name: str, queues: Sequence[str]) -> None:
        self.name, self.queues = name, sorted(queues)
        self.shares: deque[tuple[int, float]] = deque(maxlen=REMEMBERED_SHARES)
        self._told = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def begin(self) -> None:
        """Write the row anew and keep it fresh from a thread until :meth:`end`."""
        now = timezone.now()
        facts: dict[str, Any] = {
            "host": socket.gethostname(), "pid": os.getpid(), "queues": self.queues, "loaded": [], "doing": "",
            "speed": None, "started_at": now, "seen_at": now, **self._device(),
        }  # fmt: skip
        Worker.objects.update_or_create(name=self.name, defaults=facts)
        self._thread.start()

    def end(self) -> None:
        """Say good-bye: the row stays, and is stale at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write(doing="", loaded=[], seen_at=timezone.now() - 2 * silence())

    def tell(self, doing: str = "") -> None:
        """Say what is worked on now, and which models are in memory. Short pieces of work are not all told."""
        now = time.monotonic()
        if doing and now - self._told < TELL_SECONDS:
            return
        self._told = now if doing else 0.0
        self._write(doing=doing[:LONGEST_DOING], loaded=loaded_models(), speed=self.speed, seen_at=timezone.now())

    def note(self, studies: int, seconds: float) -> None:
        """A share is done for which the model was run."""
        self.shares.append((studies, seconds))

    @property
    def speed(self) -> float | None:
        """Studies per second over the last shares; None before the first."""
        studies, seconds = (sum(column) for column in zip(*self.shares, strict=True)) if self.shares else (0, 0.0)
        return round(studies / seconds, 2) if seconds > 0 else None

    def _device(self) -> dict[str, Any]:
        """Of a process that has torch loaded: a worker that runs no models has no device of its own."""
        if "torch" not in sys.modules or "gpu" not in self.queues:
            return {"device": "", "device_name": "", "memory_total": None, "threads": None}
        found = describe_device(device())
        return {
            "device": found.name,
            "device_name": found.title[:200],
            "memory_total": found.memory_total,
            "threads": found.threads,
        }

    def _write(self, **changes: Any) -> None:
        try:
            Worker.objects.filter(name=self.name, pid=os.getpid()).update(**changes)
        except DatabaseError as error:
            log.warning("the worker's row could not be written: %s", error)

    def _run(self) -> None:
        try:
            while not self._stop.wait(settings.AUSCULT_LEASE_SECONDS / 2):
                self._write(seen_at=timezone.now())
        finally:
            connections.close_all()


_here: Presence | None = None


def announce(*, name: str, queues: Sequence[str]) -> Presence:
    """Make this process known as a worker. Called once, when it is ready."""
    global _here
    _here = Presence(name=name, queues=queues)
    _here.begin()
    return _here


def leave() -> None:
    """The worker shuts down."""
    global _here
    if _here is not None:
        _here.end()
    _here = None


def tell(doing: str = "") -> None:
    """Say what this worker does; nothing where this process is no worker."""
    if _here is not None:
        _here.tell(doing)


def note_share(studies: int, seconds: float) -> None:
    """Count a share towards this worker's speed."""
    if _here is not None and seconds > 0:
        _here.note(studies, seconds)


def name() -> str:
    """Node name of this worker; empty where this process is none."""
    return _here.name if _here is not None else ""


def silence() -> timedelta:
    """A worker that was not seen for so long is taken for gone."""
    return timedelta(seconds=2 * settings.AUSCULT_LEASE_SECONDS)


def is_stale(worker: Worker, *, now: datetime) -> bool:
    """Whether a worker is taken for gone."""
    return now - worker.seen_at >= silence()
