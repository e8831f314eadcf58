"""Models that a worker keeps loaded: as many as fit its memory, the least recently used goes first."""

from __future__ import annotations

import gc
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import AdapterError, DigestMismatchError
from evaluation.execution.devices import device, model_memory, resolved_precision
from models_registry.adapters.base import ADAPTERS, InferenceSettings, ModelAdapter
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

log = logging.getLogger(__name__)
Key = tuple[str, str, str]
PARAMETER_BYTES = {"float32": 4, "bfloat16": 2}
OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in memory. ``bytes`` is the memory that its weights take, by their number or the size of their files."""

    adapter: ModelAdapter
    system: str
    label: str
    digest: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"system": self.system, "label": self.label, "digest": self.digest, "bytes": self.bytes}


_loaded: OrderedDict[Key, Loaded] = OrderedDict()
"""Least recently used first."""


def inference_of(version: ModelVersion, settings: dict[str, Any]) -> InferenceSettings:
    """A run's settings as they are carried out here: ``auto`` is resolved to a precision of this device.

    Raises:
        AdapterError: the settings have a field that there is not.
    """
    try:
        wanted = InferenceSettings(**settings)
    except TypeError as error:
        raise AdapterError(f"The run's settings cannot be read: {error}.", remedy="Request the audit again.") from error
    known = tuple(getattr(ADAPTERS.get(version.adapter), "precisions", ("float32",)))
    return replace(wanted, precision=resolved_precision(wanted.precision, known))


def load_adapter(version: ModelVersion, inference: InferenceSettings) -> ModelAdapter:
    """The version's model, loaded once in this process. Its files are compared with their digests when loaded.

    Raises:
        DigestMismatchError: a file of the model was changed since it was registered; approvals that rest on the file
            are void from then on.
        AdapterError: the device does not have the memory.
    """
    key = (version.adapter, version.digest, str(inference.to_dict()))
    if key not in _loaded:
        folder = _verified(version)
        needed = model_bytes(version, folder, inference.precision)
        make_room(model_memory() - needed)
        started = time.perf_counter()
        adapter = _load(version, folder, inference)
        log.info("loaded %s (%.0f MB) in %.1f s", version, needed / 1e6, time.perf_counter() - started)
        _loaded[key] = Loaded(
            adapter=adapter, system=version.system.name, label=version.label, digest=version.digest, bytes=needed
        )
    _loaded.move_to_end(key)
    return _loaded[key].adapter


def loaded_models() -> list[dict[str, Any]]:
    """What is in memory, least recently used first."""
    return [item.to_dict() for item in _loaded.values()]


def make_room(limit: int, *, but: ModelAdapter | None = None) -> bool:
    """Forget models, least recently used first, until the rest takes at most ``limit`` bytes; says whether any went.

    Args:
        but: A model that is in use and stays.
    """
    went = False
    for key in [key for key, item in _loaded.items() if item.adapter is not but]:
        if sum(item.bytes for item in _loaded.values()) <= limit:
            break
        log.info("forgot %s %s to make room", _loaded[key].system, _loaded[key].label)
        del _loaded[key]
        went = True
    if went:
        release_memory()
    return went


def model_bytes(version: ModelVersion, folder: Path, precision: str) -> int:
    """Memory that the weights take: parameters in the precision that they are run in, at least the files' bytes."""
    details = version.config.get("details", {})
    parameters = details.get("parameters") if isinstance(details, dict) else None
    files = sum(version.sizes.values()) or sum((folder / name).stat().st_size for name in version.manifest)
    if not isinstance(parameters, int):
        return int(files)
    width = PARAMETER_BYTES.get(precision, PARAMETER_BYTES["float32"])
    return max(parameters * width, 0 if width < PARAMETER_BYTES["float32"] else int(files))


def out_of_memory(error: BaseException) -> bool:
    """Of the device or of the machine; torch names it by class on CUDA and by its words on the CPU.

    An error that an adapter made of it counts as well.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY_WORDS):
        return True
    return error.__cause__ is not None and out_of_memory(error.__cause__)


def release_memory() -> None:
    """Give back what nobody refers to any more, on a CUDA device too."""
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load(version: ModelVersion, folder: Path, inference: InferenceSettings) -> ModelAdapter:
    """Load; when the memory does not suffice, once more with nothing else in it."""
    try:
        return _loaded_from(version, folder, inference)
    except Exception as error:
        if not out_of_memory(error):
            raise
    # Outside of the handler, whose traceback keeps what was half loaded alive.
    log.warning("the device has no memory left for %s; every other model is forgotten", version)
    make_room(0)
    release_memory()
    try:
        return _loaded_from(version, folder, inference)
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise AdapterError(
            f"The device has not enough memory to load {version}.",
            remedy="Run a worker on a device with more memory, or the model at lower precision.",
        ) from error


def _loaded_from(version: ModelVersion, folder: Path, inference: InferenceSettings) -> ModelAdapter:
    return ADAPTERS.get(version.adapter).load(folder, settings=inference, device=device())


def _verified(version: ModelVersion) -> Path:
    try:
        return model_store().verified_folder(version.digest, version.manifest)
    except DigestMismatchError as error:
        _void(version, error)
        raise


def _void(version: ModelVersion, error: DigestMismatchError) -> None:
    """Every approval that rests on a registered file that is no longer what it was ends."""
    from models_registry.services.lineage import void_for_changed_file

    folder = model_store().folder_path(version.digest)
    name = Path(error.file).relative_to(folder).as_posix() if error.file else ""
    if digest := version.manifest.get(name):
        void_for_changed_file(
            digest=digest, reason=f"{name} of {version}: {error.message} A worker found it.", version=version
        )
