"""Energy that a share of work took, where the device tells it.

Counters are of the whole device: what else ran on it meanwhile is in them, and the record says so.

Sources: the Linux power capping framework (``/sys/class/powercap``, Intel and AMD RAPL), and NVML's
``nvmlDeviceGetTotalEnergyConsumption`` (Volta and later) through the package nvidia-ml-py.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What a counter says of a stretch of work.

    Attributes:
        joules: None where nothing tells it; ``reason`` then says why.
        source: Which counter.
    """

    joules: float | None
    source: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Counter(Protocol):
    """Something that counts energy from a moment on."""

    def stop(self) -> Energy: ...


def start_counter(device: str) -> Counter:
    """Begin to count on a device; a device that tells nothing gives None and the reason at the end."""
    return _start_nvml(device) if device.startswith("cuda") else _start_rapl(POWERCAP)


@dataclass(frozen=True, kw_only=True)
class _Silent:
    reason: str

    def stop(self) -> Energy:
        return Energy(joules=None, reason=self.reason)


@dataclass(frozen=True, kw_only=True)
class _Rapl:
    """Counters of all processor packages, in microjoules; each begins again at its range."""

    before: dict[Path, int]

    def stop(self) -> Energy:
        total = 0
        for folder, start in self.before.items():
            now = _number(folder / "energy_uj")
            if now is None:
                return Energy(joules=None, reason="the processor's energy counter stopped answering")
            total += now - start if now >= start else now - start + (_number(folder / "max_energy_range_uj") or 0)
        return Energy(joules=round(total / 1e6, 3), source="RAPL counters of the processor, everything that ran on it")


def _start_rapl(root: Path) -> Counter:
    # intel-rapl:0 is a package, intel-rapl:0:1 a part of it that the package's counter holds already.
    packages = [path for path in sorted(root.glob("*-rapl:*")) if path.name.count(":") == 1]
    if not packages:
        return _Silent(reason="this machine shows no energy counter of its processor")
    before = {folder: _number(folder / "energy_uj") for folder in packages}
    if any(value is None for value in before.values()):
        return _Silent(reason="the processor's energy counter may be read by the administrator only")
    return _Rapl(before={folder: value for folder, value in before.items() if value is not None})


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, kw_only=True)
class _Nvml:
    library: Any
    handle: Any
    before: int

    def stop(self) -> Energy:
        try:
            now = int(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except self.library.NVMLError as error:
            return Energy(joules=None, reason=f"the device's energy counter stopped answering: {error}")
        return Energy(joules=round((now - self.before) / 1e3, 3), source="NVML counter of the device")


def _start_nvml(device: str) -> Counter:
    try:
        pynvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return _Silent(reason="the package nvidia-ml-py, which reads the device's energy counter, is not installed")
    import torch

    try:
        pynvml.nvmlInit()
        # By its identifier: NVML counts all devices, torch only those that CUDA_VISIBLE_DEVICES lets it see.
        facts = torch.cuda.get_device_properties(torch.device(device))
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{facts.uuid}")
        return _Nvml(library=pynvml, handle=handle, before=int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
    except pynvml.NVMLError as error:
        return _Silent(reason=f"the device has no energy counter: {error}")
