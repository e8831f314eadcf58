"""The device of this worker: which one, how much memory, how many threads, and how it is kept to the same numbers."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from core.errors import EnvironmentProblemError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
CPU_SHARE, CUDA_SHARE = 0.4, 0.8
CGROUP = Path("/sys/fs/cgroup/memory.max")
CPU_INFO = Path("/proc/cpuinfo")
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Device:
    """What models run on in this process.

    Attributes:
        name: As torch takes it: ``cpu``, ``cuda``, ``cuda:1``.
        title: What the maker calls it.
        memory_total: Bytes of its memory; of the machine's, or of the container's where that is less, for a CPU.
        threads: That torch computes with on the CPU.
    """

    name: str
    title: str
    memory_total: int
    threads: int

    @property
    def is_cuda(self) -> bool:
        return self.name.startswith("cuda")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def device() -> str:
    """The name of this worker's device: ``AUSCULT_DEVICE``, or a CUDA device when there is one, else the CPU."""
    if settings.AUSCULT_DEVICE != "auto":
        return str(settings.AUSCULT_DEVICE)
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def describe_device(name: str) -> Device:
    """Facts about a device, asked once in a process."""
    import torch

    if name.startswith("cuda") and torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(torch.device(name))
        title, memory = str(facts.name), int(facts.total_memory)
    else:
        title, memory = _processor(), machine_memory()
    return Device(name=name, title=title, memory_total=memory, threads=torch.get_num_threads())


def check_device() -> None:
    """Whether the device that this worker is told to use is there.

    Raises:
        EnvironmentProblemError: it is not.
    """
    name = device()
    if not name.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    place = int(name.partition(":")[2] or 0)
    if place >= count:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        among = f" among CUDA_VISIBLE_DEVICES={visible}" if visible is not None else ""
        raise EnvironmentProblemError(
            f"AUSCULT_DEVICE is {name}, and this process sees {count} CUDA devices{among}.",
            remedy="Set AUSCULT_DEVICE=cpu, or start the worker where the device and its driver are.",
        )


def prepare_process() -> None:
    """Make this process compute the same numbers each time, with as many threads as it was given.

    Called once, when a worker starts or a command runs a model, before any model is loaded: it changes settings of
    the whole process. Operations that have no deterministic form are used and warned of.
    """
    os.environ.setdefault(CUBLAS, ":4096:8")  # cuBLAS reads it when its first handle is made
    import torch

    if settings.AUSCULT_THREADS:
        torch.set_num_threads(settings.AUSCULT_THREADS)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    describe_device.cache_clear()


@contextmanager
def repeatable() -> Iterator[None]:
    """:func:`prepare_process` for as long as a block runs: for a process that goes on to do something else."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only, fills = torch.is_deterministic_algorithms_warn_only_enabled(), torch.utils.deterministic
    filled = fills.fill_uninitialized_memory
    switches = [(torch.backends.cudnn, name) for name in ("deterministic", "benchmark", "allow_tf32")]
    switches.append((torch.backends.cuda.matmul, "allow_tf32"))
    before = [getattr(place, name) for place, name in switches]
    prepare_process()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        fills.fill_uninitialized_memory = filled
        for (place, name), value in zip(switches, before, strict=True):
            setattr(place, name, value)
        describe_device.cache_clear()


def determinism() -> dict[str, Any]:
    """Everything in this process that decides whether a computation gives the same bits again."""
    import torch

    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "cublas_workspace_config": os.environ.get(CUBLAS),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def decodes_inline() -> bool:
    """Whether this worker decodes between the batches instead of beside them: when it was given a single thread."""
    return settings.AUSCULT_THREADS == 1 and not device().startswith("cuda")


def resolved_precision(wanted: str, known: tuple[str, ...]) -> str:
    """What ``auto`` means here: bfloat16 on a CUDA device that computes in it, float32 elsewhere.

    Args:
        known: What the adapter runs in.
    """
    if wanted != "auto":
        return wanted
    if "bfloat16" not in known or not device().startswith("cuda"):
        return "float32"
    import torch

    able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if able else "float32"


def model_memory() -> int:
    """Bytes of models that this worker keeps loaded: ``AUSCULT_MODEL_MEMORY``, else a share of the device's memory."""
    if settings.AUSCULT_MODEL_MEMORY:
        return byte_count(settings.AUSCULT_MODEL_MEMORY)
    found = describe_device(device())
    return int(found.memory_total * (CUDA_SHARE if found.is_cuda else CPU_SHARE))


def byte_count(text: str) -> int:
    """``8G``, ``500 MiB`` or ``1000000`` as bytes; units are powers of 1,024.

    Raises:
        EnvironmentProblemError: it is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise EnvironmentProblemError(
            f"AUSCULT_MODEL_MEMORY is {text!r}, which is no amount of memory.", remedy="Write it like 8G or 500M."
        )
    return int(float(match[1]) * UNITS[match[2].upper()])


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container where that has less."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else ""
    return min(total, int(limit)) if limit.isdigit() else total


def _processor() -> str:
    """The processor's name as the system tells it."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
