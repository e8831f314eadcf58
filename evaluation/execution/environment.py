"""What computed the numbers: interpreter, packages, code, plug-ins, and the settings that make it repeatable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from core.store import Store
from evaluation.engine.registry import SUITES
from evaluation.execution.devices import determinism
from models_registry.adapters.base import ADAPTERS

PACKAGES = (
    "auscult",
    "numpy",
    "scipy",
    "pyarrow",
    "torch",
    "transformers",
    "safetensors",
    "fairlearn",
    "Django",
    "celery",
)
GROUPS = "auscult."


def environment() -> dict[str, Any]:
    """The short form, for people: versions of what computed the numbers, and where the code stands."""
    resolved = {name.lower(): version for name, version in packages().items()}
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: resolved.get(name.lower(), "not installed") for name in PACKAGES},
        "code": _code(settings.BASE_DIR),
    }


@cache
def full_environment() -> dict[str, Any]:
    """Everything: every installed distribution, every plug-in with where it came from, and the determinism flags.

    Made once in a process: what it has imported does not change with what is installed or committed later.
    """
    return environment() | {
        "python_build": sys.version,
        "packages": packages(),
        "plugins": plugins(),
        "pythonhashseed": os.environ.get("PYTHONHASHSEED"),
        # A process that has not imported torch has computed nothing with it.
        "determinism": determinism() if "torch" in sys.modules else None,
    }


def environment_digest(store: Store) -> str:
    """Digest under which the store holds :func:`full_environment` of this process."""
    return store.put_json(full_environment())


@cache
def packages() -> dict[str, str]:
    """Name and version of every installed distribution, sorted. Read once: a process keeps what it imported."""
    found = {
        item.metadata["Name"]: item.version for item in importlib.metadata.distributions() if item.metadata["Name"]
    }
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def plugins() -> dict[str, Any]:
    """Adapters and suites with where each is defined, and what other distributions add by entry points."""
    return {"adapters": ADAPTERS.resolved(), "suites": SUITES.resolved(), "entry_points": entry_points()}


@cache
def entry_points() -> list[str]:
    """Everything that any distribution registers in a group of ours: ``group name = object (distribution version)``."""
    return sorted(
        {  # One that lies on the path twice is found twice.
            f"{point.group} {point.name} = {point.value} ({item.metadata['Name']} {item.version})"
            for item in importlib.metadata.distributions()
            for point in item.entry_points
            if point.group.startswith(GROUPS)
        }
    )


@cache
def _code(folder: Path) -> dict[str, Any]:
    """The state of the code when this process first asked: what it has imported is of that time."""
    return code_state(folder)


def code_state(folder: Path) -> dict[str, Any]:
    """Commit of the code and whether it was changed since; unknown where it does not run from a checkout."""
    if not (folder / ".git").exists():
        return {"commit": None, "changed": None}
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "changed": None}
    return {"commit": commit, "changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
