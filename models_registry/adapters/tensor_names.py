"""The tensors of a folder of transformers, held against the model that is configured. Registers no adapter.

Checkpoints may name tensors otherwise than the model does today: transformers renames them when it loads, and the same
table of names is used here, so that a misfit is told before a weight is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A tensor that does not fit, by its name in the file. ``held`` is None where the file lacks it."""

    name: str
    held: Shape | None
    wanted: Shape


def find_misfit(model: Any, shapes: dict[str, Shape]) -> Misfit | None:
    """The first tensor of another shape than the model asks for, else the first one that is missing; None for a fit.

    Missing ones are told only where every tensor of the file was found in the model: else one of those that are left
    over may be it, and only loading tells.

    Args:
        model: A model of transformers without weights (on the device ``meta``).
        shapes: Tensor of the files -> shape.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    mapping = get_model_conversion_mapping(model)
    renamings = [item for item in mapping if isinstance(item, WeightRenaming)]
    converters = [item for item in mapping if isinstance(item, WeightConverter)]
    found, sure = set(), True
    for name in sorted(shapes):
        today, converted = rename_source_key(
            name, renamings, converters, getattr(model, "base_model_prefix", None), wanted
        )
        if converted is not None or today not in wanted:
            # Tensors that are joined or split on the way, and those that the model does not know.
            sure = False
            continue
        found.add(today)
        if wanted[today] != shapes[name]:
            return Misfit(name=name, held=shapes[name], wanted=wanted[today])
    missing = sorted(set(wanted) - found - set(model.all_tied_weights_keys or {}) - _computed(model, wanted))
    return Misfit(name=missing[0], held=None, wanted=wanted[missing[0]]) if missing and sure else None


def _computed(model: Any, names: dict[str, Shape]) -> set[str]:
    """Tensors that the model makes for itself where a file lacks them."""
    patterns = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_missing", None) or ()]
    buffers = {name for name, _ in model.named_buffers()}
    return buffers | {name for name in names if any(pattern.search(name) for pattern in patterns)}
