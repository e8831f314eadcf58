"""How a benchmark reports: machine, versions, and targets with the figure that was measured."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

PACKAGES = ("auscult", "celery", "Django", "numpy", "pyarrow", "torch", "transformers")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One claim: ``value op goal``. ``peer`` names what it was measured against in the same run."""

    name: str
    value: float
    unit: str
    op: str
    goal: float
    peer: str

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.op == ">=" else self.value <= self.goal


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerator": None,
    }


def publish(targets: Sequence[Target], *, as_json: bool, facts: dict[str, Any]) -> None:
    """Print the result, for people or as one JSON object."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    if as_json:
        body = {
            "machine": machine(),
            "versions": versions,
            "facts": facts,
            "targets": [asdict(target) | {"met": target.met} for target in targets],
        }
        print(json.dumps(body))
        return
    for name, value in facts.items():
        print(f"{name}: {value}")
    for target in targets:
        word = "met" if target.met else "MISSED"
        goal = f"goal {target.op} {target.goal}, beside {target.peer}"
        print(f"{target.name}: {target.value:.3f} {target.unit} ({goal}): {word}")
