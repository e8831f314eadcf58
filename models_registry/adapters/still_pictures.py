"""Processors of models that read pictures and video, for pictures alone. Registers no adapter.

Qwen-VL's processor and its like make a video processor too, which needs torchvision. A study has a still picture, so
the part for video is left out: what the other parts do does not change.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from core.errors import AdapterError
from models_registry.adapters.pretrained import PREPROCESSOR, attempt, offline

VIDEO = "video_processor"


def load_processor(folder: Path, model_type: str) -> Any:
    """The folder's processor of pictures and text.

    Raises:
        AdapterError: it cannot be read, or does not prepare pictures and text.
    """
    offline()
    from transformers import AutoProcessor

    known = attempt(
        lambda: _class_of(model_type),
        folder,
        said="The processor cannot be read",
        remedy="A library that the message names must be installed where Auscult runs.",
        file="processor_config.json",
    )
    reader = _without_video(known) if known is not None and VIDEO in known.get_attributes() else AutoProcessor
    processor = attempt(
        lambda: reader.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
        folder,
        said="The processor cannot be read",
        remedy="Save it again with processor.save_pretrained. A library that the message names must be installed where "
        "Auscult runs.",
        file="processor_config.json",
    )
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise AdapterError(
            "The processor does not prepare pictures and text.",
            remedy="Add the files that processor.save_pretrained writes.",
            file=PREPROCESSOR,
        )
    if not processor.chat_template:
        # Some checkpoints keep the template for pictures with the tokenizer.
        processor.chat_template = processor.tokenizer.chat_template
    return processor


def _class_of(model_type: str) -> Any:
    """The class of transformers that reads the processor of such a model; None where it has none of its own."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(model_type)
    if not isinstance(name, str):
        return None
    module = importlib.import_module(f"transformers.models.{model_type_to_module_name(model_type)}")
    return getattr(module, name, None)


def _without_video(processor: Any) -> Any:
    """The same class without its part for video, where that is the last one.

    Raises:
        AdapterError: the parts stand in another order.
    """
    parts = processor.get_attributes()
    if parts[-1] != VIDEO:
        raise AdapterError(
            f"{processor.__name__} reads video, and pictures cannot be prepared without that part.",
            remedy="Serve the model and register it with the adapter endpoint.",
            file="processor_config.json",
        )

    def get_attributes(cls: Any) -> list[str]:
        return list(parts[:-1])

    return type(processor.__name__, (processor,), {"get_attributes": classmethod(get_attributes)})
