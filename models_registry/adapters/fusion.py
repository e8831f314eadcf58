"""The reference multimodal model: backbones, and heads on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_file
from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, AdapterInfo, Capability, Draw, InferenceSettings, Predictions, Said
from models_registry.adapters.checkpoint import check_safe, read_json, tensor_shapes
from models_registry.adapters.generation import Gumbel, answers_none, seed_of, turn_of
from models_registry.cohorts.schema import StudyBatch
from models_registry.reference.checkpoint import BACKBONE, HEAD, HEAD_TENSORS, LORA_TENSORS, load_model
from models_registry.reference.occlusion import embedded_kind, has_modality, hide_modalities, modality_groups
from models_registry.reference.preprocessing import FIRST_WORD, Arrays, Preprocessor

MODEL_TYPE = "auscult_fusion"
PRECISIONS = ("float32", "bfloat16")
OLD_WEIGHTS = "model.safetensors"


class FusionFactory:
    """Checks and loads checkpoints of the reference architecture."""

    precisions = PRECISIONS

    def inspect(self, folder: Path) -> AdapterInfo:
        """What the checkpoint declares, after its files were checked without running them.

        Raises:
            AdapterError: pickle weights, another architecture, a truncated file, tensors that do not fit the
                configuration, thresholds that do not fit the labels.
        """
        check_safe(folder)
        config = read_json(folder, "config.json")
        if config.get("model_type") != MODEL_TYPE:
            raise AdapterError(
                f"config.json says model_type {config.get('model_type')!r}; this adapter runs {MODEL_TYPE!r}.",
                remedy="Choose the adapter that fits the model.",
                file="config.json",
            )
        _check_layout(folder)
        preprocess = Preprocessor.load(folder)
        labels = _names(config, "labels")
        files = (BACKBONE, *([HEAD] if labels else []))
        shapes = {name: tensor_shapes(folder / name) for name in files}
        _check_shapes(config, shapes)
        _check_inputs(config, preprocess)
        writes = not labels and bool(config.get("decoder_layers"))
        thresholds = _thresholds(folder, labels) if labels else {"source": "", "values": {}}
        return AdapterInfo(
            capabilities=_capabilities(scores=bool(labels), writes=writes),
            labels=tuple(labels),
            outputs=(
                *(f"{kind}.{label}" for kind in ("score", "pred") for label in labels),
                *(["text.generated"] if writes else []),
            ),
            modalities=preprocess.modalities,
            required=(),
            runs_weights=True,
            details={
                "architecture": "AuscultFusionModel",
                "kind": "head" if labels else "backbone",
                "backbone": {"digest": sha256_file(folder / BACKBONE)},
                "parameters": _count(shapes),
                "parameters_of_head": _count({name: found for name, found in shapes.items() if name == HEAD}),
                "lora": config.get("lora"),
                "embeds": [*sorted(modality_groups(preprocess)), "study"],
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

        if device.startswith("cuda") and not torch.cuda.is_available():
            raise AdapterError(
                "This machine has no CUDA device.",
                remedy="Set AUSCULT_DEVICE=cpu, or run the worker where there is one.",
            )
        torch.manual_seed(settings.seed)
        kind = FusionHead if info.labels else FusionWriter if "text.generated" in info.outputs else FusionAdapter
        return kind(
            info=info,
            model=load_model(folder).to(device),
            preprocess=Preprocessor.load(folder),
            settings=settings,
            device=device,
        )


class FusionAdapter:
    """A loaded checkpoint: a backbone that embeds."""

    side_by_side = True

    def __init__(
        self, *, info: AdapterInfo, model: Any, preprocess: Preprocessor, settings: InferenceSettings, device: str
    ) -> None:
        self.info = info
        self.model = model
        self.preprocess = preprocess
        self.settings = settings
        self.device = device

    def prepare(self, batch: StudyBatch) -> dict[str, Any]:
        """Everything of :meth:`predict` that needs neither weights nor device, for a thread that reads ahead of it."""
        return self._tensors(self.preprocess(batch), ahead=True)

    def predict(self, batch: StudyBatch) -> Predictions:
        """What the model says about a batch, see :meth:`predict_prepared`."""
        return self.predict_prepared(batch, self.prepare(batch))

    def predict_prepared(self, batch: StudyBatch, prepared: dict[str, Any]) -> Predictions:
        """Nothing: a backbone without a decoder only embeds."""
        return Predictions(study_ids=batch.study_ids)

    def embed(self, batch: StudyBatch, modality: str) -> npt.NDArray[np.float32]:
        """Each study in the latent space that all modalities share, by one modality alone: float32 [n, width].

        Vectors have length 1, and were trained to lie near those of the same study's other modalities. ``series`` and
        ``demographics`` stand for all of them together, ``study`` for everything that the study has, fused. NaN where
        the study has none of it.

        Raises:
            AdapterError: the model does not read the modality; those it does are listed.
        """
        groups = modality_groups(self.preprocess) | {"study": self.info.modalities}
        if modality not in groups:
            raise AdapterError(
                f"This model does not embed {modality!r}.", remedy=f"Use one of: {', '.join(sorted(groups))}."
            )
        arrays = self.preprocess(batch)
        present = np.any([has_modality(self.preprocess, arrays, name) for name in groups[modality]], axis=0)
        alone = hide_modalities(self.preprocess, arrays, set(self.info.modalities) - set(groups[modality]))
        with self._running():
            answer = self.model.embed(embedded_kind(modality), self._moved(self._tensors(alone))).float().cpu().numpy()
        vectors = np.array(answer, dtype=np.float32)
        _check_finite(vectors, "an embedding")
        vectors[~present] = np.nan
        return vectors

    def _tensors(self, arrays: Arrays, *, ahead: bool = False) -> dict[str, Any]:
        """The arrays as tensors; those made ahead for another device are pinned, so that they are sent meanwhile."""
        import torch

        made = {name: torch.from_numpy(values) for name, values in arrays.items()}
        pinned = ahead and self.device.startswith("cuda")
        return {name: values.pin_memory() for name, values in made.items()} if pinned else made

    def _moved(self, tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: values.to(self.device, non_blocking=True) for name, values in tensors.items()}

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Without gradients, and with half precision where it was asked for."""
        import torch

        half = self.settings.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=half):
            yield


class FusionWriter(FusionAdapter):
    """A loaded backbone with a decoder: writes reports, and embeds."""

    def predict_prepared(self, batch: StudyBatch, prepared: dict[str, Any]) -> Predictions:
        """A report of each study, the most likely word at each place."""
        found = self._written(batch, prepared, None)
        return Predictions(
            study_ids=batch.study_ids, texts={"generated": found.text}, truncated={"generated": found.truncated}
        )

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        """A report of each study, of the likeliest words or of drawn ones.

        Raises:
            AdapterError: questions, which it does not answer.
        """
        if questions is not None:
            raise answers_none()
        return self._written(batch, self.prepare(batch), draw)

    def _written(self, batch: StudyBatch, prepared: dict[str, Any], draw: Draw | None) -> Said:
        choose = None
        if draw is not None:
            seeds = [seed_of(self.settings.seed, study, *turn_of(draw)) for study in batch.study_ids]
            choose = Gumbel(seeds, temperature=draw.temperature)
        with self._running():
            written = self.model.write_reports(self._moved(prepared), choose=choose).cpu().numpy()
        texts = np.empty(len(written), object)
        texts[:] = [self.preprocess.spell(words) for words in written]
        # The mark that ends a report leaves a place without a word.
        return Said(text=texts, truncated=(written != 0).all(axis=1))


class FusionHead(FusionAdapter):
    """A loaded checkpoint with a head: scores each label, decides at its own thresholds, embeds and attributes."""

    def predict_prepared(self, batch: StudyBatch, prepared: dict[str, Any]) -> Predictions:
        """Scores and decisions of a batch. A score is never NaN: a missing modality is left out.

        Raises:
            AdapterError: the weights gave a score that is not a number.
        """
        scores = self._scores(prepared)
        labels, thresholds = self.info.labels, self.info.details["thresholds"]
        return Predictions(
            study_ids=batch.study_ids,
            scores={label: scores[:, k] for k, label in enumerate(labels)},
            decisions={label: (scores[:, k] >= thresholds[label]).astype(np.int8) for k, label in enumerate(labels)},
        )

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
        whole = self._scores(self._tensors(arrays))[:, place]
        falls = {}
        for modality in self.info.modalities:
            left = self._tensors(hide_modalities(self.preprocess, arrays, {modality}))
            seen = has_modality(self.preprocess, arrays, modality)
            falls[modality] = np.where(seen, whole - self._scores(left)[:, place], np.nan)
        return falls

    def _scores(self, tensors: dict[str, Any]) -> npt.NDArray[np.float64]:
        import torch

        with self._running():
            logits = self.model(**self._moved(tensors)).logits
            scores: npt.NDArray[np.float64] = torch.sigmoid(logits.float()).double().cpu().numpy()
        _check_finite(scores, "a score")
        return scores


def _check_finite(values: npt.NDArray[Any], what: str) -> None:
    if not np.isfinite(values).all():
        raise AdapterError(
            f"The model answered {what} that is not a number.",
            remedy="Check the weights: a NaN in them, or an overflow in half precision, does this.",
        )


ADAPTERS.register("fusion")(FusionFactory())


def _capabilities(*, scores: bool, writes: bool) -> frozenset[Capability]:
    able = {Capability.EMBED}
    if scores:
        able |= {Capability.CLASSIFY, Capability.ATTRIBUTE}
    if writes:
        able.add(Capability.GENERATE)
    return frozenset(able)


def _check_layout(folder: Path) -> None:
    """Checkpoints had one file of weights before backbone and head were kept apart."""
    if (folder / OLD_WEIGHTS).is_file() and not (folder / BACKBONE).is_file():
        raise AdapterError(
            f"The checkpoint is of the former layout, with all weights in {OLD_WEIGHTS}.",
            remedy=f"Train it again: a checkpoint has {BACKBONE}, and {HEAD} where it scores labels.",
            file=OLD_WEIGHTS,
        )


def _names(config: dict[str, Any], name: str) -> list[str]:
    values = config.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise AdapterError(
            f"config.json does not give {name} as a list of names.",
            remedy="Save the checkpoint again.",
            file="config.json",
        )
    return values


def _count(shapes: dict[str, dict[str, tuple[int, ...]]]) -> int:
    return sum(int(np.prod(shape)) for found in shapes.values() for shape in found.values())


def _check_shapes(config: dict[str, Any], found: dict[str, dict[str, tuple[int, ...]]]) -> None:
    """Compare the files' tensors with those of a model of this configuration, made without memory for its weights."""
    expected = _expected(config)
    for file, shapes in found.items():
        mine = {name: shape for name, shape in expected.items() if _is_of_head(name) == (file == HEAD)}
        for name in sorted(set(mine) | set(shapes)):
            if mine.get(name) != shapes.get(name):
                raise AdapterError(
                    f"The tensor {name} is {_shape(shapes.get(name))}; config.json asks for {_shape(mine.get(name))}.",
                    remedy="Register weights and configuration of the same model.",
                    file=file,
                )


def _expected(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of every tensor of a checkpoint of this configuration, low-rank additions among them."""
    import torch

    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    try:
        with torch.device("meta"):
            model = AuscultFusionModel(AuscultFusionConfig(**config))
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        for name in model.adapted_linears():
            outputs, inputs = model.get_submodule(name).weight.shape
            expected[f"{LORA_TENSORS}{name}.a"] = (config["lora"]["rank"], inputs)
            expected[f"{LORA_TENSORS}{name}.b"] = (outputs, config["lora"]["rank"])
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise AdapterError(
            f"config.json does not describe a model: {error}.", remedy="Save the checkpoint again.", file="config.json"
        ) from error
    return expected


def _is_of_head(tensor: str) -> bool:
    return tensor.startswith((HEAD_TENSORS, LORA_TENSORS))


def _check_inputs(config: dict[str, Any], preprocess: Preprocessor) -> None:
    """The preprocessing must make what the model takes, place by place: a swapped column would go unnoticed."""
    makes = {
        "image_size": preprocess.image_size,
        "vocabulary_size": len(preprocess.vocabulary) + FIRST_WORD,
        "text_length": preprocess.text_length,
        "report_length": preprocess.report_length,
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
