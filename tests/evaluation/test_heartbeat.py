"""A lease is renewed by time, and what it is lost by reaches the worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest
from django.db import OperationalError

from evaluation.execution.heartbeat import Heartbeat
from models_registry.leases import LeaseLostError


def until(met: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_it_beats_during_a_long_batch_and_stops_with_the_share() -> None:
    beats: list[str] = []
    before = threading.active_count()
    with Heartbeat(lambda: beats.append(threading.current_thread().name), every=0.01):
        until(lambda: len(beats) >= 3)
    count = len(beats)
    assert set(beats) == {"heartbeat"}
    assert threading.active_count() == before
    time.sleep(0.05)
    assert len(beats) == count


def test_it_ends_with_a_share_that_fails() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), Heartbeat(lambda: None, every=60):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_a_lost_lease_reaches_the_worker_after_its_batch() -> None:
    beats = []

    def lost() -> None:
        beats.append(1)
        raise LeaseLostError

    with Heartbeat(lost, every=0.01) as heartbeat:
        until(lambda: beats)
        until(lambda: not heartbeat._thread.is_alive())
        with pytest.raises(LeaseLostError):
            heartbeat.alive()
    assert beats == [1], "nobody renews a lease that is another's"


def test_a_database_that_is_busy_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    beats = []

    def busy() -> None:
        beats.append(1)
        if len(beats) == 1:
            raise OperationalError("database is locked")

    with caplog.at_level(logging.WARNING), Heartbeat(busy, every=0.01) as heartbeat:
        until(lambda: len(beats) >= 3)
        heartbeat.alive()
    assert "trying again" in caplog.text


def test_a_worker_that_hangs_loses_its_lease(caplog: pytest.LogCaptureFixture) -> None:
    beats = []
    with caplog.at_level(logging.ERROR), Heartbeat(lambda: beats.append(1), every=0.01, at_most=0.05) as heartbeat:
        until(lambda: not heartbeat._thread.is_alive())
    assert 1 <= len(beats) <= 5
    assert "left to run out" in caplog.text
