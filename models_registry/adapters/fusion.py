"""The reference multimodal model, and fine-tuned descendants of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, Capability, InferenceSettings, Predictions
from models_registry.adapters.checkpoint import check_no_pickle, read_json, tensor_shapes
from models_registry.cohorts.schema import StudyBatch
from models_registry.reference.occlusion import has_modality, hide_modalities, modality_groups
from models_registry.reference.preprocessing import FIRST_WORD, Arrays, Preprocessor

WEIGHTS = "model.safetensors"
MODEL_TYPE = "auscult_fusion"
PRECISIONS = ("float32", "bfloat16")


class FusionFactory:
    """Checks and loads checkpoints of the reference architecture."""

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the checkpoint declares, after its files were checked without running them.

        Raises:
            AdapterError: pickle weights, another architecture, a truncated file, tensors that do not fit the
                configuration, thresholds that do not fit the labels.
        """
        check_no_pickle(folder)
        config = read_json(folder, "config.json")
        if config.get("model_type") != MODEL_TYPE:
            raise AdapterError(
                f"config.json says model_type {config.get('model_type')!r}; this adapter runs {MODEL_TYPE!r}.",
                remedy="Choose the adapter that fits the model.",
                file="config.json",
            )
        preprocess = Preprocessor.load(folder)
        shapes = tensor_shapes(folder / WEIGHTS)
        _check_shapes(config, shapes)
        _check_inputs(config, preprocess)
        thresholds = _thresholds(folder, config["labels"])
        return AdapterInfo(
            capabilities=frozenset({Capability.CLASSIFY, Capability.EMBED, Capability.ATTRIBUTE}),
            labels=tuple(config["labels"]),
            outputs=tuple(f"{kind}.{label}" for kind in ("score", "pred") for label in config["labels"]),
            modalities=preprocess.modalities,
            required=(),
            runs_weights=True,
            details={
                "architecture": "AuscultFusionModel",
                "parameters": sum(int(np.prod(shape)) for shape in shapes.values()),
                "embeds": sorted(modality_groups(preprocess)),
                "thresholds": thresholds["values"],
                "thresholds_source": thresholds["source"],
                "preprocessing": f"grey image {preprocess.image_size} px, {len(preprocess.vocabulary)} words, "
                f"{len(preprocess.series)} series of at most {preprocess.series_length} points",
                "training": read_json(folder, "training.json") if (folder / "training.json").is_file() else {},
            },
        )

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> FusionAdapter:
        """A model that is ready to predict on ``device``."""
        info = self.inspect(folder)
        if settings.precision not in PRECISIONS:
            raise AdapterError(
                f"There is no precision {settings.precision!r}.", remedy=f"Use one of: {', '.join(PRECISIONS)}."
            )
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch

        from models_registry.reference.model import AuscultFusionModel

        if device.startswith("cuda") and not torch.cuda.is_available():
            raise AdapterError(
                "This machine has no CUDA device.",
                remedy="Set AUSCULT_DEVICE=cpu, or run the worker where there is one.",
            )
        torch.manual_seed(settings.seed)
        model = AuscultFusionModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        return FusionAdapter(
            info=info,
            model=model.eval().to(device),
            preprocess=Preprocessor.load(folder),
            settings=settings,
            device=device,
        )


class FusionAdapter:
    """A loaded checkpoint. Scores each finding, decides at the checkpoint's own thresholds, embeds and attributes."""

    def __init__(
        self, *, info: AdapterInfo, model: Any, preprocess: Preprocessor, settings: InferenceSettings, device: str
    ) -> None:
        self.info = replace(info)
        self.model = model
        self.preprocess = preprocess
        self.settings = settings
        self.device = device

    def predict(self, batch: StudyBatch) -> Predictions:
        """Scores and decisions of a batch. A score is never NaN: a missing modality is left out.

        Raises:
            AdapterError: the weights gave a score that is not a number.
        """
        scores = self._scores(self.preprocess(batch))
        labels, thresholds = self.info.labels, self.info.details["thresholds"]
        return Predictions(
            study_ids=batch.study_ids,
            scores={label: scores[:, k] for k, label in enumerate(labels)},
            decisions={label: (scores[:, k] >= thresholds[label]).astype(np.int8) for k, label in enumerate(labels)},
        )

    def embed(self, batch: StudyBatch, modality: str) -> npt.NDArray[np.float32]:
        """Where the model puts each study when it is shown one modality alone, float32 [n, width].

        The vector is the class token before the head, so vectors of all modalities lie in one space. ``series``
        and ``demographics`` stand for all of them together. NaN where the study has none of it.

        Raises:
            AdapterError: the model does not read the modality; those it does are listed.
        """
        groups = modality_groups(self.preprocess)
        if modality not in groups:
            raise AdapterError(
                f"This model does not embed {modality!r}.", remedy=f"Use one of: {', '.join(sorted(groups))}."
            )
        arrays = self.preprocess(batch)
        present = np.any([has_modality(self.preprocess, arrays, name) for name in groups[modality]], axis=0)
        alone = hide_modalities(self.preprocess, arrays, set(self.info.modalities) - set(groups[modality]))
        vectors = np.array(self._run(alone).latent.float().cpu().numpy(), dtype=np.float32)
        _check_finite(vectors, "an embedding")
        vectors[~present] = np.nan
        return vectors

    def attribute(self, batch: StudyBatch, label: str) -> dict[str, npt.NDArray[np.float64]]:
        """How much the score falls without each modality: score of the study - its score with that one hidden.

        Returns:
            Modality -> float64 [n] in [-1, 1]; below 0 where the score rises without it, NaN where the study lacks
            the modality. The falls do not add up to the score: modalities that tell the same stand in for each
            other.

        Raises:
            AdapterError: the model does not score the label; those it does are listed.
        """
        if label not in self.info.labels:
            raise AdapterError(
                f"This model does not score {label!r}.", remedy=f"Use one of: {', '.join(self.info.labels)}."
            )
        place, arrays = self.info.labels.index(label), self.preprocess(batch)
        whole = self._scores(arrays)[:, place]
        falls = {}
        for modality in self.info.modalities:
            left = self._scores(hide_modalities(self.preprocess, arrays, {modality}))[:, place]
            falls[modality] = np.where(has_modality(self.preprocess, arrays, modality), whole - left, np.nan)
        return falls

    def _scores(self, arrays: Arrays) -> npt.NDArray[np.float64]:
        import torch

        scores: npt.NDArray[np.float64] = torch.sigmoid(self._run(arrays).logits.float()).double().cpu().numpy()
        _check_finite(scores, "a score")
        return scores

    def _run(self, arrays: Arrays) -> Any:
        import torch

        tensors = {name: torch.from_numpy(values).to(self.device) for name, values in arrays.items()}
        half = self.settings.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=half):
            return self.model(**tensors)


def _check_finite(values: npt.NDArray[Any], what: str) -> None:
    if not np.isfinite(values).all():
        raise AdapterError(
            f"The model answered {what} that is not a number.",
            remedy="Check the weights: a NaN in them, or an overflow in half precision, does this.",
        )


ADAPTERS.register("fusion")(FusionFactory())


def _check_shapes(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    """Compare the file's tensors with those of a model of this configuration, made without memory for its weights."""
    import torch

    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    try:
        with torch.device("meta"):
            model = AuscultFusionModel(AuscultFusionConfig(**config))
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise AdapterError(
            f"config.json does not describe a model: {error}.", remedy="Save the checkpoint again.", file="config.json"
        ) from error
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(set(expected) | set(shapes)):
        if expected.get(name) != shapes.get(name):
            raise AdapterError(
                f"The tensor {name} is {_shape(shapes.get(name))}; config.json asks for {_shape(expected.get(name))}.",
                remedy="Register weights and configuration of the same model.",
                file=WEIGHTS,
            )


def _check_inputs(config: dict[str, Any], preprocess: Preprocessor) -> None:
    """The preprocessing must make what the model takes, place by place: a swapped column would go unnoticed."""
    makes = {
        "image_size": preprocess.image_size,
        "vocabulary_size": len(preprocess.vocabulary) + FIRST_WORD,
        "text_length": preprocess.text_length,
        "series": list(preprocess.series),
        "series_length": preprocess.series_length,
        "categorical": [[name, len(values)] for name, values in preprocess.categorical.items()],
        "numeric": list(preprocess.numeric),
    }
    takes = config | {"categorical": [list(item) for item in config.get("categorical", {}).items()]}
    for name, value in makes.items():
        if takes.get(name) != value:
            raise AdapterError(
                f"preprocessing.json makes {name} {value!r}; config.json takes {takes.get(name)!r}.",
                remedy="Register the preprocessing and the weights of the same training.",
                file="preprocessing.json",
                column=name,
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else " x ".join(map(str, shape)) or "a single number"


def _thresholds(folder: Path, labels: list[str]) -> dict[str, Any]:
    body = read_json(folder, "thresholds.json")
    values = body.get("values")
    good = isinstance(values, dict) and set(values) == set(labels)
    if not good or not all(isinstance(value, int | float) and 0 <= value <= 1 for value in (values or {}).values()):
        raise AdapterError(
            "thresholds.json does not give a threshold from 0 to 1 for each label of config.json.",
            remedy='Write {"source": "...", "values": {"<label>": 0.5, ...}}.',
            file="thresholds.json",
        )
    return {"source": str(body.get("source", "")), "values": values}
