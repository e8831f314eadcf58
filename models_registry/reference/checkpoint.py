"""The folder of a checkpoint: a backbone, or a head beside the very bytes of the backbone that it was put on.

``backbone.safetensors`` holds every tensor but the head's, so that all heads on one backbone share one digest.
``head.safetensors`` holds the head, and low-rank additions to the fusion layers where there are some.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.digests import sha256_file
from core.errors import AdapterError

CONFIG = "config.json"
BACKBONE = "backbone.safetensors"
HEAD = "head.safetensors"
THRESHOLDS = "thresholds.json"
TRAINING = "training.json"
CARD = "README.md"
HEAD_TENSORS = "head."
LORA_TENSORS = "lora."


def load_model(folder: Path) -> Any:
    """The model of a checkpoint on the CPU, ready to score: low-rank additions are merged into its weights.

    Raises:
        AdapterError: a file is missing or damaged, or its tensors are not those of the configuration.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from models_registry.reference.heads import merge_lora
    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    try:
        config = AuscultFusionConfig(**json.loads((folder / CONFIG).read_text()))
        state = load_file(folder / BACKBONE)
        if config.labels:
            state |= load_file(folder / HEAD)
        additions = {name: state.pop(name) for name in list(state) if name.startswith(LORA_TENSORS)}
        with torch.device("meta"):
            model = AuscultFusionModel(config)
        model.load_state_dict(state, assign=True)
    except (OSError, ValueError, TypeError, SafetensorError, RuntimeError) as error:
        raise AdapterError(
            f"The checkpoint cannot be loaded: {error}.",
            remedy="Register the complete folder as the training wrote it.",
            file=folder.name,
        ) from error
    if config.lora:
        merge_lora(model, additions, config.lora)
    return model.eval()


def write_backbone_weights(model: Any, folder: Path) -> str:
    """Write every tensor of a model but its head's; returns the SHA-256 of the file."""
    rest = {name: value for name, value in model.state_dict().items() if not name.startswith(HEAD_TENSORS)}
    return _save(rest, folder / BACKBONE)


def write_head_weights(model: Any, additions: dict[str, Any], folder: Path) -> None:
    """Write a model's head, and the low-rank additions that belong to it."""
    head = {name: value for name, value in model.state_dict().items() if name.startswith(HEAD_TENSORS)}
    _save(head | additions, folder / HEAD)


def write_json(path: Path, body: dict[str, Any]) -> None:
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")


def _save(tensors: dict[str, Any], path: Path) -> str:
    from safetensors.torch import save_file

    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(whole, path, metadata={"format": "pt"})
    return sha256_file(path)
