"""Vision-language models, in the manner of LLaVA, Qwen-VL or MedGemma: a picture and a prompt in, a text out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, InferenceSettings
from models_registry.adapters.generation import Generation
from models_registry.adapters.pretrained import (
    CONFIG,
    PRECISIONS,
    check_vocabulary,
    colour,
    load_image_processor,
    load_tokenizer,
    offline,
    read_checkpoint,
)
from models_registry.adapters.prompted import PromptedAdapter, Setting, describe, load_prompted, pad_left
from models_registry.adapters.prompts import KEYS, Prompts
from models_registry.adapters.still_pictures import load_processor
from models_registry.adapters.wishes import read_wishes

BLANK = (512, 512)


class ImageTextToTextFactory:
    """Checks and loads checkpoints that transformers runs by ``AutoModelForImageTextToText``."""

    precisions = PRECISIONS

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the checkpoint and its wishes declare; weights are not read.

        Raises:
            AdapterError: naming file, field and remedy: another kind of model, truncated weights, no processor, no
                chat template and no plain prompt, no place for the picture, wishes that cannot be met.
        """
        return _Parts(folder).info

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> PromptedAdapter:
        """A model that is ready to write on ``device``."""
        return load_prompted(folder, _Parts(folder), settings=settings, device=device)


ADAPTERS.register("image_text_to_text")(ImageTextToTextFactory())


class _Parts:
    """Everything of a folder but the weights, checked."""

    def __init__(self, folder: Path) -> None:
        offline()
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

        classes = dict(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
        self.checkpoint = read_checkpoint(folder, classes, kind="a model that reads an image and a prompt")
        if getattr(self.checkpoint.config, "is_encoder_decoder", False):
            raise AdapterError(
                f"{self.checkpoint.architecture} encodes its prompt; this adapter runs models that continue it.",
                remedy="Use the adapter vision_encoder_decoder where the model takes a picture only.",
                file=CONFIG,
                column="is_encoder_decoder",
            )
        wishes = read_wishes(folder, KEYS, required=("prompt",))
        self.generation = Generation.from_wishes(wishes)
        load_tokenizer(folder)
        load_image_processor(folder)
        self.processor = load_processor(folder, str(self.checkpoint.config.model_type))
        self.tokenizer = self.processor.tokenizer
        check_vocabulary(self.tokenizer, self.checkpoint.config)
        pad_left(self.tokenizer)
        sign = str(getattr(self.processor, "image_token", "") or "")
        prompts = Prompts.from_wishes(wishes, image_sign=sign, has_template=bool(self.processor.chat_template))
        self.setting = Setting(
            prompts=prompts,
            renderer=self.processor,
            tokenizer=self.tokenizer,
            encode=self._encode(prompts),
            image_sign=sign,
        )
        blank = colour(np.full(BLANK, 128, dtype=np.uint8))
        self.prompt_tokens = self.setting.check(
            folder, generation=self.generation, context=self.checkpoint.context, picture=blank
        )

    def _encode(self, prompts: Prompts) -> Any:
        def encode(texts: Sequence[str], pictures: Sequence[Any]) -> dict[str, Any]:
            first = self.tokenizer.bos_token
            begun = not prompts.plain and bool(first) and texts[0].startswith(first)
            return dict(
                self.processor(
                    text=list(texts),
                    images=[[picture] for picture in pictures],
                    padding=True,
                    return_tensors="pt",
                    add_special_tokens=not begun,
                )
            )

        return encode

    @property
    def info(self) -> AdapterInfo:
        return describe(
            self.checkpoint,
            self.setting,
            self.generation,
            prompt_tokens=self.prompt_tokens,
            preprocessing=f"{type(self.processor).__name__}, {type(self.processor.image_processor).__name__}",
        )
