"""Data files that a Python package brought to this machine: located without importing it, checked by their digest."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from core.digests import sha256_file
from core.errors import DigestMismatchError, EnvironmentProblemError

PACKAGE = "torchxrayvision"
VERSIONS = {PACKAGE: "1.5.7", "lifelines": "0.30.3", "causaldata": "0.1.5"}
"""The packages that data are read from, and in which version."""
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSIONS[PACKAGE]}"


def locate_package_file(name: str, digest: str, *, what: str, package: str = PACKAGE, folder: str = "data") -> Path:
    """Where a data file of a package is on this machine.

    Args:
        digest: SHA-256 that its content must have.
        what: What it holds, for the message: "chest X-ray labels".
        folder: Of the file, within the package.

    Raises:
        EnvironmentProblemError: when the package is not installed, or its file is missing.
        DigestMismatchError: when the file is not the one that the code was written for.
    """
    install = f"pip install --no-deps {package}=={VERSIONS[package]}"
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    path = Path(folders[0]) / folder / name if folders else None
    if path is None or not path.is_file():
        raise EnvironmentProblemError(
            f"The real {what} are not on this machine: the package {package} is not installed.",
            remedy=f"Run: {install}",
        )
    if sha256_file(path) != digest:
        raise DigestMismatchError(
            f"{name} is not the file that was expected.", remedy=f"Run: {install} --force-reinstall", file=str(path)
        )
    return path
