"""Data files that a Python package brought to this machine: located without importing it, checked by their digest."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from core.digests import sha256_file
from core.errors import DigestMismatchError, EnvironmentProblemError

PACKAGE = "torchxrayvision"
INSTALL = "pip install --no-deps torchxrayvision==1.5.7"


def locate_package_file(name: str, digest: str, *, what: str) -> Path:
    """Where a data file of the package is on this machine.

    Args:
        digest: SHA-256 that its content must have.
        what: What it holds, for the message: "chest X-ray labels".

    Raises:
        EnvironmentProblemError: when the package is not installed, or its file is missing.
        DigestMismatchError: when the file is not the one that the code was written for.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    path = Path(folders[0]) / "data" / name if folders else None
    if path is None or not path.is_file():
        raise EnvironmentProblemError(
            f"The real {what} are not on this machine: the package {PACKAGE} is not installed.",
            remedy=f"Run: {INSTALL}",
        )
    if sha256_file(path) != digest:
        raise DigestMismatchError(
            f"{name} is not the file that was expected.", remedy=f"Run: {INSTALL} --force-reinstall", file=str(path)
        )
    return path
