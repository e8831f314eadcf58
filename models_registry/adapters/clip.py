"""Zero-shot classification with models of image and text in one space: CLIP, SigLIP, and pairs such as BiomedCLIP.

``auscult.json`` gives each finding prompts that say it is there and prompts that say it is not. For a study,

    score = softmax(logit_scale * (s+, s-))[0] = sigmoid(logit_scale * (s+ - s-)),

where s+ and s- are the cosines of the image's vector with the mean of the normalised vectors of the finding's positive
and negative prompts, normalised again (prompt ensembling of Radford et al., "Learning transferable visual models from
natural language supervision", 2021), and logit_scale is the model's own, learned one. The same rule is used for SigLIP:
its bias cancels in the difference, and its own sigmoid of one prompt answers how likely this very caption is among all
captions, which is near 0 for either of a pair. A score is a degree of preference between prompts, not a calibrated
probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, Capability, InferenceSettings, Predictions
from models_registry.adapters.pretrained import (
    PRECISIONS,
    PREPROCESSOR,
    WEIGHTS,
    Checkpoint,
    check_vocabulary,
    colour,
    load_image_processor,
    load_model,
    load_tokenizer,
    read_checkpoint,
)
from models_registry.adapters.wishes import Kind, check_keys, read_thresholds, read_wishes, refusal
from models_registry.cohorts.schema import StudyBatch

CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel", "vision-text-dual-encoder": "VisionTextDualEncoderModel"}
KIND = "a model of image and text in one space (CLIP, SigLIP, VisionTextDualEncoder)"
SIDES = ("positive", "negative")
LONGEST_LABEL = 80
WISHES: dict[str, Kind] = {"labels": dict, "thresholds": dict, "threshold_source": str}
TOKENIZER = "tokenizer.json"

Floats = npt.NDArray[np.float32]


class ClipFactory:
    """Checks and loads folders of ``save_pretrained`` with an ``auscult.json`` that gives labels and prompts."""

    precisions = PRECISIONS

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the folder declares, after its files were checked without running the model.

        Raises:
            AdapterError: pickles, another model type, weights that are truncated or do not fit, no processor or
                tokenizer, or one that does not fit the model; no ``auscult.json``, a label without prompts, a
                prompt that the model would cut off, a threshold of another label.
        """
        checkpoint = read_checkpoint(folder, CLASSES, kind=KIND)
        wishes = read_wishes(folder, WISHES, required=["labels"])
        prompts = _prompts(wishes["labels"])
        thresholds = read_thresholds(wishes, prompts)
        reader = _Reader.load(folder, checkpoint)
        reader.check(prompts)
        _check_complete(checkpoint)
        scores = [f"score.{label}" for label in prompts]
        return AdapterInfo(
            capabilities=frozenset({Capability.CLASSIFY, Capability.EMBED}),
            labels=tuple(prompts),
            outputs=(*scores, *(f"pred.{label}" for label in prompts if label in thresholds)),
            modalities=("image",),
            required=("image",),
            runs_weights=True,
            details={
                "architecture": checkpoint.architecture,
                "parameters": checkpoint.parameters,
                "embeds": ["image", "text.*"],
                "thresholds": thresholds,
                "thresholds_source": wishes.get("threshold_source", ""),
                "preprocessing": f"colour image {reader.image_size} px by the folder's own processor",
                "prompts": {f"{label}, {side}": texts[side] for label, texts in prompts.items() for side in SIDES},
            },
        )

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> ClipAdapter:
        """A model with its prompts encoded, ready to predict on ``device``.

        Raises:
            AdapterError: as :meth:`inspect`; an unknown precision; no such device; prompts that the model cannot
                tell from each other because their vectors are not numbers.
        """
        info = self.inspect(folder)
        checkpoint = read_checkpoint(folder, CLASSES, kind=KIND)
        return ClipAdapter(
            info=info,
            model=load_model(folder, checkpoint, settings=settings, device=device),
            reader=_Reader.load(folder, checkpoint),
            prompts=_prompts(read_wishes(folder, WISHES, required=["labels"])["labels"]),
            device=device,
        )


class ClipAdapter:
    """A loaded model. Scores each label by its prompts; decides only labels with a threshold of their own."""

    def __init__(
        self,
        *,
        info: AdapterInfo,
        model: Any,
        reader: _Reader,
        prompts: dict[str, dict[str, list[str]]],
        device: str,
    ) -> None:
        self.info = info
        self.model = model
        self.reader = reader
        self.device = device
        self.scale = float(model.logit_scale.detach().float().exp())
        ensembles = {label: [_ensemble(self._texts(texts[side])) for side in SIDES] for label, texts in prompts.items()}
        self.directions = np.stack([there - absent for there, absent in ensembles.values()], axis=1)
        if not np.isfinite(self.directions).all() or not np.isfinite(self.scale):
            raise AdapterError("The model's vectors of the prompts are not numbers.", remedy="Check the weights.")

    def predict(self, batch: StudyBatch) -> Predictions:
        """Scores of a batch; NaN and -1 for studies without an image.

        Raises:
            AdapterError: the weights gave a score that is not a number for a study with an image.
        """
        scores = np.full((len(batch), len(self.info.labels)), np.nan)
        vectors = self.embed(batch, "image").astype(np.float64)
        present = ~np.isnan(vectors).all(axis=1)
        logits = self.scale * (vectors[present] @ self.directions)
        scores[present] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        thresholds = self.info.details["thresholds"]
        by_label = {label: scores[:, place] for place, label in enumerate(self.info.labels)}
        return Predictions(
            study_ids=batch.study_ids,
            scores=by_label,
            decisions={
                label: np.where(np.isnan(values), -1, values >= thresholds[label]).astype(np.int8)
                for label, values in by_label.items()
                if label in thresholds
            },
        )

    def embed(self, batch: StudyBatch, modality: str) -> Floats:
        """Vectors of length 1 in the space of image and text, float32 [n, d]; NaN where the study has none.

        Args:
            modality: ``image``, or ``text.<name>`` for any text of the cohort; texts longer than the model reads
                are cut off, empty ones count as missing.

        Raises:
            AdapterError: another modality, or vectors that are not numbers.
        """
        if modality == "image":
            given: list[Any] = list(batch.images)
        elif modality.startswith("text.") and modality != "text.":
            texts = batch.texts.get(modality.removeprefix("text."), [None] * len(batch))
            given = [text if text and text.strip() else None for text in texts]
        else:
            raise AdapterError(
                f"This model does not embed {modality!r}.", remedy="Use image, or text.<name> of a text of the cohort."
            )
        rows = [row for row, item in enumerate(given) if item is not None]
        found = np.full((len(batch), self.directions.shape[0]), np.nan, np.float32)
        if rows:
            present = [given[row] for row in rows]
            found[rows] = self._images(present) if modality == "image" else self._texts(present)
        if not np.isfinite(found[rows]).all():
            raise AdapterError(
                "The model answered a vector that is not a number.",
                remedy="Check the weights: a NaN in them, or an overflow in half precision, does this.",
            )
        return found

    def _images(self, images: list[npt.NDArray[Any]]) -> Floats:
        return self._run("get_image_features", {"pixel_values": self.reader.pixels(images)})

    def _texts(self, texts: list[str]) -> Floats:
        return self._run("get_text_features", self.reader.words(texts))

    def _run(self, what: str, inputs: dict[str, Any]) -> Floats:
        import torch

        given = {name: values.to(self.device) for name, values in inputs.items()}
        given = {
            name: values.to(self.model.dtype) if values.is_floating_point() else values
            for name, values in given.items()
        }
        with torch.inference_mode():
            vectors = getattr(self.model, what)(**given).pooler_output.float()
        vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        return np.asarray(vectors.cpu().numpy(), np.float32)


ADAPTERS.register("clip")(ClipFactory())


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """The folder's image processor and tokenizer.

    Attributes:
        image_size: Edge of the square image that the model takes.
        length: Most tokens of a text, with those that begin and end it.
        bare: SigLIP learned from texts filled up to the full length, without a mask.
    """

    processor: Any
    tokenizer: Any
    image_size: int
    length: int
    bare: bool

    @classmethod
    def load(cls, folder: Path, checkpoint: Checkpoint) -> _Reader:
        tokenizer, config = load_tokenizer(folder), checkpoint.config
        if tokenizer.pad_token_id is None:
            raise AdapterError(
                "The tokenizer has no padding token.", remedy="Set pad_token and save it again.", file=TOKENIZER
            )
        check_vocabulary(tokenizer, config)
        return cls(
            processor=load_image_processor(folder),
            tokenizer=tokenizer,
            image_size=int(config.vision_config.image_size),
            length=min(int(config.text_config.max_position_embeddings), int(tokenizer.model_max_length)),
            bare=config.model_type == "siglip",
        )

    def check(self, prompts: dict[str, dict[str, list[str]]]) -> None:
        """That the processor makes what the model takes, and that no prompt is cut off."""
        made = tuple(self.pixels([np.zeros((9, 7), np.uint8)]).shape[1:])
        if made != (3, self.image_size, self.image_size):
            raise AdapterError(
                f"The processor makes images of {' x '.join(map(str, made))}; the model takes "
                f"3 x {self.image_size} x {self.image_size}.",
                remedy="Register the processor and the weights of the same model.",
                file=PREPROCESSOR,
            )
        for label, texts in prompts.items():
            for side in SIDES:
                longest = max(len(tokens) for tokens in self.tokenizer(texts[side])["input_ids"])
                if longest > self.length:
                    raise refusal(
                        f"labels.{label}.{side}",
                        f"A prompt has {longest} tokens; the model reads {self.length}.",
                        "Shorten it: what is cut off would not count.",
                    )

    def pixels(self, images: list[npt.NDArray[Any]]) -> Any:
        """float32 [n, 3, size, size]."""
        return self.processor([colour(image) for image in images], return_tensors="pt")["pixel_values"]

    def words(self, texts: list[str]) -> dict[str, Any]:
        """Token numbers, with a mask where the model learned with one."""
        padding = "max_length" if self.bare else "longest"
        tokens = self.tokenizer(
            texts, padding=padding, truncation=True, max_length=self.length, padding_side="right", return_tensors="pt"
        )
        names = ("input_ids",) if self.bare else ("input_ids", "attention_mask")
        return {name: tokens[name] for name in names}


def _check_complete(checkpoint: Checkpoint) -> None:
    """Refuse weights that lack a tensor, where no tensor is left over that could be it under an older name.

    Tensors under older names are known to transformers only, and are compared when they are loaded.
    """
    import torch
    import transformers

    with torch.device("meta"):
        expected = set(getattr(transformers, checkpoint.architecture)(checkpoint.config).state_dict())
    found = {name for name in checkpoint.shapes if not name.endswith("position_ids")}
    missing = sorted(name for name in expected - found if not name.endswith("position_ids"))
    if missing and (found <= expected or "logit_scale" in missing):
        raise AdapterError(
            f"The tensor {missing[0]} is missing ({len(missing)} in all).",
            remedy="Register the weights of the whole model: the missing ones would be random.",
            file=WEIGHTS,
        )


def _prompts(labels: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Label -> side -> prompts, checked."""
    if not labels:
        raise refusal("labels", "There is no label.", 'Write {"effusion": {"positive": [...], "negative": [...]}}.')
    for label, sides in labels.items():
        place = f"labels.{label}"
        if not label.strip() or label != label.strip() or not label.isprintable() or len(label) > LONGEST_LABEL:
            raise refusal(place, "This is no name of a finding.", "Use a short name such as effusion.")
        if not isinstance(sides, dict):
            raise refusal(place, "The label has no prompts.", 'Write {"positive": [...], "negative": [...]}.')
        check_keys(sides, dict.fromkeys(SIDES, list), required=SIDES, inside=place)
        for side in SIDES:
            texts = sides[side]
            if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
                raise refusal(f"{place}.{side}", "There is no prompt, or an empty one.", 'Write at least one: ["..."].')
    return labels


def _ensemble(vectors: Floats) -> npt.NDArray[np.float64]:
    """The mean direction of vectors of length 1."""
    mean = vectors.astype(np.float64).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))
