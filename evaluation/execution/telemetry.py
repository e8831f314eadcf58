"""What a worker measures while it works on a share: where the seconds went, on what device, with how much memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.execution.devices import Device
from evaluation.execution.energy import Counter, start_counter

PROCESS = Path("/proc/self")
STEPS = ("load", "decode", "wait", "inference", "ask", "sketch")


@dataclass(kw_only=True)
class Meter:
    """Measures one share from when it is made until :meth:`to_dict`.

    Attributes:
        seconds: Step -> seconds: ``load`` the model, ``decode`` studies (in a thread, beside the model), ``wait`` for
            them, ``inference``, ``ask`` it questions, for samples and about changed studies, ``sketch``: score what
            it said.
        studies: That the model has answered.
        texts: That it was asked for beside its predictions; ``asked`` is what was measured when they were made, where
            they come from the cache.
        told: What was asked and what was not, see ``evidence_asking.count_asked``; None where nothing is asked.
        watched: How many streams were read for drift, and ``why_not`` others; None where nothing is watched. Reading
            them takes the step ``streams``.
        batch_size: Studies that it was given at once in the end; ``batch_size_wanted`` is what the run asked for.
        precision: That the weights were run in; empty where no weights ran here.
        endpoint: What was counted of a model behind an endpoint, see :func:`endpoint_usage`.
        environment: Digest of what is installed and set in this process, a JSON document in the store.
        made: What was measured when the predictions were made, where they come from the cache.
    """

    device: Device | None = None
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    studies: int = 0
    batch_size: int | None = None
    batch_size_wanted: int | None = None
    precision: str = ""
    from_cache: bool = False
    endpoint: dict[str, Any] | None = None
    environment: str = ""
    made: dict[str, Any] | None = None
    texts: int = 0
    asked: dict[str, Any] | None = None
    told: dict[str, Any] | None = None
    watched: dict[str, Any] | None = None
    _started: float = field(default_factory=time.perf_counter)
    _energy: Counter | None = None

    def begin_on(self, device: Device, *, precision: str) -> None:
        """From here on weights run on a device: its energy and memory are counted. Said twice, it counts on."""
        if self.device is not None:
            return
        self.device, self.precision = device, precision
        self._energy = start_counter(device.name)
        forget_peak(device)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the seconds of a block to a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started

    def count_endpoint(self, usage: dict[str, Any] | None) -> None:
        """Add what an adapter counted of its endpoint, see :func:`endpoint_usage`."""
        if self.endpoint is None or usage is None:
            self.endpoint = usage or self.endpoint
            return
        both = [self.endpoint["usage"], usage["usage"]]
        self.endpoint = {
            "usage": {name: sum(one.get(name, 0) for one in both) for name in sorted({*both[0], *both[1]})},
            "answered_by": sorted({*self.endpoint["answered_by"], *usage["answered_by"]}),
        }

    @property
    def speed(self) -> float | None:
        """Studies per second of decoding and inference together; None before the first study."""
        spent = self.seconds["inference"] + self.seconds["wait"]
        return self.studies / spent if self.studies and spent > 0 else None

    def so_far(self) -> dict[str, Any]:
        """What a page shows while the share is worked on."""
        return {
            "studies_per_second": round(self.speed, 2) if self.speed else None,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "texts": self.texts,
        }

    def to_dict(self) -> dict[str, Any]:
        """What is kept of the share. Numbers are rounded: the clock is not better."""
        energy = self._energy.stop() if self._energy else None
        return {
            "device": self.device.to_dict() if self.device else None,
            "precision": self.precision,
            "batch_size": self.batch_size,
            "batch_size_wanted": self.batch_size_wanted,
            "from_cache": self.from_cache,
            "seconds": {step: round(value, 4) for step, value in self.seconds.items()}
            | {"total": round(time.perf_counter() - self._started, 4)},
            "studies_per_second": round(self.speed, 2) if self.speed else None,
            "peak_memory": peak_memory(self.device),
            "energy": energy.to_dict() if energy else None,
            "endpoint": self.endpoint,
            "environment": self.environment,
            "made": self.made,
            "texts": self.texts,
            "asked": self.asked,
            "told": self.told,
        } | ({} if self.watched is None else {"watched": self.watched})


def endpoint_usage(adapter: object, before: dict[str, int] | None = None) -> dict[str, Any] | None:
    """What an adapter counted of the requests to its endpoint since ``before``; None for a model without one.

    ``usage`` are tokens and requests as the server counted them, ``answered_by`` the models by the server's word.
    """
    usage = getattr(adapter, "usage", None)
    if usage is None:
        return None
    earlier = before or {}
    counted = {name: int(count) - earlier.get(name, 0) for name, count in sorted(dict(usage).items())}
    return {"usage": counted, "answered_by": sorted(getattr(adapter, "answered_by", ()))}


def forget_peak(device: Device) -> None:
    """Begin to look for the peak of memory anew, where the system lets us."""
    # Where the system refuses, the peak is that of the process's whole life: an upper bound.
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")
    if device.is_cuda:
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats(torch.device(device.name))


def peak_memory(device: Device | None) -> dict[str, int | None]:
    """Bytes: the process's largest resident set, and the most that torch held on a CUDA device (None elsewhere)."""
    on_device = None
    if device is not None and device.is_cuda:
        import torch

        if torch.cuda.is_available():
            on_device = int(torch.cuda.max_memory_allocated(torch.device(device.name)))
    return {"process": _resident_peak(), "device": on_device}


def _resident_peak() -> int:
    import resource

    status = PROCESS / "status"
    lines = status.read_text().splitlines() if status.is_file() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peaks[0]) << 10 if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
