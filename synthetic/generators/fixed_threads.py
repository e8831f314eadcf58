"""Computing on a fixed number of threads, so that equal seeds give equal weights however busy the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

THREADS = 1
"""Threads of every training, sampling and audit. How sums are split over threads shows in the last digits: with another
number, equal seeds would give other weights. So it is no setting, and part of the recipe. One, because the networks are
small: steps of milliseconds on two threads wait for each other ten times as long as they compute once another process
wants a core as well. Large networks share a step out by hand, one half of the batch a thread (``networks.running``)."""


@contextmanager
def fixed_threads() -> Iterator[None]:
    """Torch, BLAS and OpenMP compute on :data:`THREADS` threads inside, on as many as before afterwards."""
    import torch
    from threadpoolctl import threadpool_limits

    from evaluation.engine.statistics.threads import one_blas_thread

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with one_blas_thread(), threadpool_limits(THREADS, user_api="openmp"):
            torch.set_num_threads(THREADS)
            yield
    finally:
        torch.set_num_threads(before)
