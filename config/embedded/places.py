"""Where models run in an embedded installation: one worker process for each device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import EnvironmentProblemError

DRIVER = Path("/proc/driver/nvidia/gpus")
MOST = 64


@dataclass(frozen=True, kw_only=True)
class Place:
    """A worker of the queue ``gpu`` and what it alone has in its environment.

    Attributes:
        name: ``gpu`` for the first, then ``gpu2``, ``gpu3``.
        title: What a person at the terminal is told when it dies.
    """

    name: str
    title: str
    environment: Mapping[str, str]


def worker_places(environment: Mapping[str, str]) -> tuple[Place, ...]:
    """The workers that an environment asks for.

    ``AUSCULT_DEVICES`` lists a device for each: ``cuda:0,cuda:1`` or ``cpu,cpu``. Without it there is one for each
    CUDA device, or ``AUSCULT_GPU_WORKERS`` on the CPU. Workers that share the CPU share its cores:
    ``AUSCULT_THREADS`` is the number of threads of each. A worker sees its own CUDA device and no other.

    Raises:
        EnvironmentProblemError: a value that is none.
    """
    devices = _devices(environment)
    found = []
    for place, device in enumerate(devices, start=1):
        kind, _, index = device.partition(":")
        own = {"AUSCULT_DEVICE": device}
        if kind == "cuda":
            own = {"AUSCULT_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": _visible(environment, int(index or 0))}
        elif len(devices) > 1 and not environment.get("AUSCULT_THREADS"):
            own["AUSCULT_THREADS"] = str(max(1, (os.cpu_count() or 1) // devices.count("cpu")))
        title = "The worker that runs models" + (f" ({device}, {place} of {len(devices)})" if len(devices) > 1 else "")
        found.append(Place(name="gpu" if place == 1 else f"gpu{place}", title=title, environment=own))
    return tuple(found)


def _devices(environment: Mapping[str, str]) -> list[str]:
    listed = [name.strip() for name in environment.get("AUSCULT_DEVICES", "").split(",") if name.strip()]
    for name in listed:
        kind, colon, index = name.partition(":")
        if kind not in {"cpu", "cuda", "auto"} or (colon and (kind != "cuda" or not index.isdigit())):
            raise EnvironmentProblemError(
                f"AUSCULT_DEVICES names {name!r}, which is no device.",
                remedy="List one for each worker, for example cuda:0,cuda:1 or cpu,cpu.",
            )
    if listed:
        return listed
    asked = environment.get("AUSCULT_GPU_WORKERS", "")
    if asked and not (asked.isdigit() and 1 <= int(asked) <= MOST):
        raise EnvironmentProblemError(
            f"AUSCULT_GPU_WORKERS is {asked!r}.", remedy=f"Give a whole number from 1 to {MOST}."
        )
    if asked and int(asked) > 1:
        return ["cpu"] * int(asked)
    only = environment.get("AUSCULT_DEVICE", "auto")
    if only != "auto" or asked:
        return [only]
    count = len(_seen(environment)) if DRIVER.is_dir() else 0
    return [f"cuda:{index}" for index in range(count)] or ["auto"]


def _seen(environment: Mapping[str, str]) -> list[str]:
    """Devices that this process may use, as CUDA numbers or names them."""
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    return [str(index) for index in range(len(list(DRIVER.iterdir())))] if DRIVER.is_dir() else []


def _visible(environment: Mapping[str, str], index: int) -> str:
    """What the worker's CUDA_VISIBLE_DEVICES is: the device with this place among those seen here."""
    seen = _seen(environment)
    return seen[index] if index < len(seen) else str(index)
