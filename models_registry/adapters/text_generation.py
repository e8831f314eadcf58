"""Language models: texts of a study in, a text out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_registry.adapters.base import ADAPTERS, AdapterInfo, InferenceSettings
from models_registry.adapters.generation import Generation
from models_registry.adapters.gguf_checkpoint import gguf_of, load_gguf_tokenizer, read_gguf_checkpoint
from models_registry.adapters.pretrained import PRECISIONS, check_vocabulary, load_tokenizer, offline, read_checkpoint
from models_registry.adapters.prompted import PromptedAdapter, Setting, describe, load_prompted, pad_left
from models_registry.adapters.prompts import KEYS, Prompts
from models_registry.adapters.wishes import read_wishes

KIND = "a causal language model"


class TextGenerationFactory:
    """Checks and loads checkpoints that transformers runs as causal language models, GGUF files among them."""

    precisions = PRECISIONS

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the checkpoint and its wishes declare; weights are not read.

        Raises:
            AdapterError: naming file, field and remedy: another kind of model, truncated weights, no tokenizer,
                no chat template and no plain prompt, wishes that cannot be met.
        """
        return _Parts(folder).info

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> PromptedAdapter:
        """A model that is ready to write on ``device``."""
        return load_prompted(folder, _Parts(folder), settings=settings, device=device)


ADAPTERS.register("text_generation")(TextGenerationFactory())


class _Parts:
    """Everything of a folder but the weights, checked."""

    def __init__(self, folder: Path) -> None:
        offline()
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        classes = dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
        gguf = gguf_of(folder)
        if gguf is None:
            self.checkpoint = read_checkpoint(folder, classes, kind=KIND)
            self.tokenizer = load_tokenizer(folder)
        else:
            self.checkpoint = read_gguf_checkpoint(folder, gguf, classes, kind=KIND)
            self.tokenizer = load_gguf_tokenizer(folder, gguf)
        wishes = read_wishes(folder, KEYS, required=("prompt",))
        self.generation = Generation.from_wishes(wishes)
        check_vocabulary(self.tokenizer, self.checkpoint.config, file=gguf or "tokenizer.json")
        pad_left(self.tokenizer)
        prompts = Prompts.from_wishes(wishes, image_sign=None, has_template=bool(self.tokenizer.chat_template))
        self.setting = Setting(
            prompts=prompts, renderer=self.tokenizer, tokenizer=self.tokenizer, encode=self._encode(prompts)
        )
        self.prompt_tokens = self.setting.check(
            folder, generation=self.generation, context=self.checkpoint.context, picture=None
        )

    def _encode(self, prompts: Prompts) -> Any:
        def encode(texts: Sequence[str], pictures: Sequence[Any]) -> dict[str, Any]:
            # A chat template writes the sign of the beginning itself; a plain prompt gets it from the tokenizer.
            return dict(
                self.tokenizer(list(texts), padding=True, return_tensors="pt", add_special_tokens=prompts.plain)
            )

        return encode

    @property
    def info(self) -> AdapterInfo:
        return describe(
            self.checkpoint,
            self.setting,
            self.generation,
            prompt_tokens=self.prompt_tokens,
            preprocessing=type(self.tokenizer).__name__,
        )
