"""Models that a worker keeps loaded."""

from __future__ import annotations

from collections import OrderedDict

from django.conf import settings

from models_registry.adapters.base import ADAPTERS, InferenceSettings, ModelAdapter
from models_registry.models import ModelVersion
from models_registry.services.versions import model_store

KEPT = 2
_loaded: OrderedDict[tuple[str, str, str], ModelAdapter] = OrderedDict()


def device() -> str:
    """The device of this worker: ``AUSCULT_DEVICE``, or a CUDA device when there is one, else the CPU."""
    if settings.AUSCULT_DEVICE != "auto":
        return str(settings.AUSCULT_DEVICE)
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_adapter(version: ModelVersion, inference: InferenceSettings) -> ModelAdapter:
    """The version's model, loaded once in this process. Its files are compared with their digests when loaded.

    Raises:
        DigestMismatchError: a file of the model was changed since it was registered.
    """
    key = (version.adapter, version.digest, str(inference.to_dict()))
    if key not in _loaded:
        folder = model_store().verified_folder(version.digest, version.manifest)
        _loaded[key] = ADAPTERS.get(version.adapter).load(folder, settings=inference, device=device())
        while len(_loaded) > KEPT:
            _loaded.popitem(last=False)
    _loaded.move_to_end(key)
    return _loaded[key]
