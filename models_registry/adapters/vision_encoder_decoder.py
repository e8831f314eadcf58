"""Report generators with an image encoder and a text decoder: a picture in, a text out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, Capability, Draw, InferenceSettings, Predictions, Said
from models_registry.adapters.checkpoint import read_json
from models_registry.adapters.generation import (
    Generation,
    Writer,
    Written,
    answers_none,
    check_length,
    said,
    seed_of,
    turn_of,
)
from models_registry.adapters.pretrained import (
    CONFIG,
    PRECISIONS,
    PREPROCESSOR,
    Checkpoint,
    attempt,
    check_vocabulary,
    colour,
    load_image_processor,
    load_model,
    load_tokenizer,
    read_checkpoint,
)
from models_registry.adapters.wishes import read_wishes
from models_registry.cohorts.schema import StudyBatch

CLASSES = {"vision-encoder-decoder": "VisionEncoderDecoderModel"}
KEYS: dict[str, type | tuple[type, ...]] = {"generation": dict}
GENERATED = "text.generated"


class VisionEncoderDecoderFactory:
    """Checks and loads checkpoints of ``VisionEncoderDecoderModel``."""

    precisions = PRECISIONS

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the checkpoint declares; its weights are not read.

        Raises:
            AdapterError: naming file, field and remedy: another kind of model, truncated weights, no tokenizer or
                image processor, one that does not fit the model, wishes that cannot be met.
        """
        return _Parts(folder).info

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> VisionEncoderDecoderAdapter:
        """A model that is ready to write on ``device``."""
        parts = _Parts(folder)
        model = load_model(folder, parts.checkpoint, settings=settings, device=device)
        writer = Writer(
            model=model, tokenizer=parts.tokenizer, generation=parts.generation, device=device, start=parts.start
        )
        return VisionEncoderDecoderAdapter(
            info=parts.info, writer=writer, processor=parts.processor, seed=settings.seed
        )


class VisionEncoderDecoderAdapter:
    """A loaded checkpoint. Writes a text for each study that has a picture, and None for the others."""

    def __init__(self, *, info: AdapterInfo, writer: Writer, processor: Any, seed: int) -> None:
        self.info = info
        self.writer = writer
        self.processor = processor
        self.seed = seed

    def predict(self, batch: StudyBatch) -> Predictions:
        """A text for each study.

        Raises:
            AdapterError: the weights gave logits that are not numbers.
        """
        found = self.say(batch, None)
        return Predictions(
            study_ids=batch.study_ids, texts={"generated": found.text}, truncated={"generated": found.truncated}
        )

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        """A text for each study, the likeliest or a drawn one.

        Raises:
            AdapterError: as :meth:`predict`; questions, which it does not answer.
        """
        if questions is not None:
            raise answers_none()
        rows = [row for row, image in enumerate(batch.images) if image is not None]
        written = Written(texts=[], truncated=[])
        if rows:
            pictures = [colour(batch.images[row]) for row in rows]
            inputs = {"pixel_values": self.processor(images=pictures, return_tensors="pt")["pixel_values"]}
            seeds = [seed_of(self.seed, batch.study_ids[row], *turn_of(draw)) for row in rows]
            written = self.writer.write(inputs, seeds, draw=draw)
        return said(written, rows, len(batch))


ADAPTERS.register("vision_encoder_decoder")(VisionEncoderDecoderFactory())


class _Parts:
    """Everything of a folder but the weights, checked."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = read_checkpoint(folder, CLASSES, kind="a vision encoder-decoder")
        self.generation = Generation.from_wishes(read_wishes(folder, KEYS))
        self.tokenizer = load_tokenizer(folder)
        self.processor = load_image_processor(folder)
        check_vocabulary(self.tokenizer, self.checkpoint.config)
        self.start = _start(folder, self.checkpoint, self.tokenizer)
        check_length(self.generation, self.checkpoint.context, 1)
        self.side = _check_picture(self.processor, folder, self.checkpoint)

    @property
    def info(self) -> AdapterInfo:
        config = self.checkpoint.config
        return AdapterInfo(
            capabilities=frozenset({Capability.GENERATE}),
            labels=(),
            outputs=(GENERATED,),
            modalities=("image",),
            required=("image",),
            details={
                "architecture": f"{self.checkpoint.architecture}: {config.encoder.model_type} and "
                f"{config.decoder.model_type}",
                "parameters": self.checkpoint.parameters,
                "context": self.checkpoint.context,
                "generation": self.generation.to_dict(),
                "preprocessing": f"{type(self.processor).__name__}, {self.side}",
            },
        )


def _start(folder: Path, checkpoint: Checkpoint, tokenizer: Any) -> int:
    """The token that every text begins with, from where transformers would take it."""
    stated = read_json(folder, "generation_config.json") if (folder / "generation_config.json").is_file() else {}
    config = checkpoint.config
    found = [
        stated.get("decoder_start_token_id"),
        getattr(config, "decoder_start_token_id", None),
        getattr(config.decoder, "decoder_start_token_id", None),
        stated.get("bos_token_id"),
        getattr(config.decoder, "bos_token_id", None),
        tokenizer.bos_token_id,
    ]
    chosen = next((value for value in found if value is not None), None)
    if not isinstance(chosen, int) or not 0 <= chosen < config.decoder.vocab_size:
        raise AdapterError(
            f"The token that begins a text is {chosen!r}.",
            remedy="Set decoder_start_token_id to a token of the decoder.",
            file=CONFIG,
            column="decoder_start_token_id",
        )
    return chosen


def _check_picture(processor: Any, folder: Path, checkpoint: Checkpoint) -> str:
    """Prepare a blank picture: what comes out must be what the encoder takes."""
    blank = np.zeros((96, 64), dtype=np.uint8)
    made = attempt(
        lambda: tuple(processor(images=[colour(blank)], return_tensors="pt")["pixel_values"].shape),
        folder,
        said="The image processor cannot prepare a picture",
        remedy="Save the image processor that the model was trained with.",
        file=PREPROCESSOR,
    )
    encoder = checkpoint.config.encoder
    size = getattr(encoder, "image_size", None)
    sides = (size, size) if isinstance(size, int) else tuple(size or made[2:])
    wanted = (1, getattr(encoder, "num_channels", 3), *sides)
    if made != wanted:
        raise AdapterError(
            f"The image processor makes {made[1:]}; the encoder takes {wanted[1:]} (channels, rows, columns).",
            remedy="Save the image processor that the model was trained with.",
            file=PREPROCESSOR,
            column="size",
        )
    return f"{made[2]} x {made[3]} px, {made[1]} channels"
