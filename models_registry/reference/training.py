"""Trains the reference model on a registered cohort.

Equal cohort, settings, machine and number of threads give equal bytes: every draw is seeded, torch's deterministic
algorithms are on, and the number of threads is part of the settings. Another processor may round differently.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AdapterError, CohortError
from models_registry.cohorts import CohortReader, open_cohort
from models_registry.cohorts.schema import ColumnRole, StudyBatch, role_of
from models_registry.reference.preprocessing import Arrays, Preprocessor

Progress = Callable[[float, str], None]
THRESHOLDS = "thresholds.json"
MEASURED_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything besides the cohort that decides the weights.

    Attributes:
        validation_share: Of the patients, by a hash of their id: for thresholds and figures, never for the weights.
        sensitivity: Each finding's threshold is the score that reaches this sensitivity on the validation patients.
        modality_dropout: Chance that a study is shown without its image, text, series or demographics.
        threads: Of torch; part of the settings because sums are rounded in another order with another number.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    width: int = 128
    layers: int = 3
    image_size: int = 64
    text: str = "indication"
    categorical: tuple[str, ...] = ("sex", "view")
    numeric: tuple[str, ...] = ("age",)
    validation_share: float = 0.15
    sensitivity: float = 0.85
    modality_dropout: float = 0.1
    threads: int = 2
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"categorical": list(self.categorical), "numeric": list(self.numeric)}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> TrainingSettings:
        """Settings from JSON; what is left out keeps its default.

        Raises:
            AdapterError: for a setting that does not exist; the known ones are listed.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(body) - known):
            raise AdapterError(
                f"There is no training setting called {', '.join(unknown)}.",
                remedy=f"Use some of: {', '.join(sorted(known))}.",
            )
        values = dict(body)
        for name in ("categorical", "numeric"):
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training led to. ``auroc`` is on the validation patients; None where a finding has one class there."""

    parameters: int
    seconds: float
    epochs: int
    n_training: int
    n_validation: int
    auroc: dict[str, float | None]
    thresholds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Studies:
    """Decoded studies of some patients, in memory: arrays of the preprocessor and labels (NaN where unknown)."""

    arrays: Arrays
    labels: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


def train_reference(
    folder: Path,
    *,
    settings: TrainingSettings,
    destination: Path,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train on the registered cohort in ``folder`` and write a checkpoint to ``destination``.

    The checkpoint is a folder: ``config.json``, ``model.safetensors``, ``preprocessing.json``, ``thresholds.json``
    and a model card ``README.md``. Nothing is written before the training is complete.

    Raises:
        CohortError: the cohort has no labels, or no patient for training or validation.
        AdapterError: the training was stopped.
    """
    started = time.monotonic()
    tell = progress or (lambda _share, _message: None)
    reader = open_cohort(folder)
    labels = [name.partition(".")[2] for name in reader.manifest.columns if role_of(name) is ColumnRole.LABEL]
    if not labels:
        raise CohortError(
            "The cohort has no label to learn.", remedy="Add columns named label.<finding>.", file=folder.name
        )
    preprocess, training, validation = _read(reader, labels, settings, tell)
    with _reproducible(settings):
        model = _build(preprocess, labels, settings)
        _fit(model, training, settings, tell, should_stop)
        scores = _scores(model, validation)
    thresholds = {label: _threshold(scores[:, k], validation.labels[:, k], settings) for k, label in enumerate(labels)}
    result = TrainingResult(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=round(time.monotonic() - started, 1),
        epochs=settings.epochs,
        n_training=len(training),
        n_validation=len(validation),
        auroc={label: _auroc(scores[:, k], validation.labels[:, k]) for k, label in enumerate(labels)},
        thresholds=thresholds,
    )
    _write(model, preprocess, result, settings, reader, destination)
    return result


@contextmanager
def _reproducible(settings: TrainingSettings) -> Iterator[None]:
    """Seeds, threads and deterministic algorithms of one training, and what was before it afterwards.

    A worker that trains goes on to run audits in the same process: those must not depend on it.
    """
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(settings.threads)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(settings.seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def in_validation(patient: str, share: float) -> bool:
    """Whether a patient is kept for validation: by a hash of the id, so that the same patient always is."""
    return int.from_bytes(hashlib.sha256(f"validation {patient}".encode()).digest()[:8], "big") < share * 2**64


def _read(
    reader: CohortReader, labels: list[str], settings: TrainingSettings, tell: Progress
) -> tuple[Preprocessor, _Studies, _Studies]:
    """Decode the cohort once, learn the preprocessing from the training patients, and split by patient."""
    batches: list[tuple[StudyBatch, npt.NDArray[np.float32]]] = []
    for place, shard in enumerate(reader.shards):
        tell(0.2 * place / len(reader.shards), "Reading the cohort")
        reference, start = reader.reference(shard), 0
        truth = np.stack([reference.labels[label] for label in labels], axis=1).astype(np.float32)
        truth[truth < 0] = np.nan
        for batch in reader.batches(shard, batch_size=MEASURED_BATCH):
            batches.append((batch, truth[start : start + len(batch)]))
            start += len(batch)
    kept = [np.array([in_validation(p, settings.validation_share) for p in batch.patient_ids]) for batch, _ in batches]
    preprocess = Preprocessor.learn(
        (batch for batch, _ in batches),
        image_size=settings.image_size,
        text=settings.text,
        series=[name.partition(".")[2] for name in reader.manifest.columns if role_of(name) is ColumnRole.SERIES],
        categorical=[name for name in settings.categorical if name in reader.manifest.columns],
        numeric=[name for name in settings.numeric if name in reader.manifest.columns],
    )
    made = [preprocess(batch) for batch, _ in batches]
    arrays = {name: np.concatenate([item[name] for item in made]) for name in made[0]}
    truth, aside = np.concatenate([truth for _, truth in batches]), np.concatenate(kept)
    parts = [_Studies(arrays={k: v[rows] for k, v in arrays.items()}, labels=truth[rows]) for rows in (~aside, aside)]
    if not len(parts[0]) or not len(parts[1]):
        raise CohortError("There are too few patients to train on.", remedy="Give at least a few hundred patients.")
    return preprocess, parts[0], parts[1]


def _build(preprocess: Preprocessor, labels: list[str], settings: TrainingSettings) -> Any:
    from models_registry.reference.model import AuscultFusionConfig, AuscultFusionModel

    config = AuscultFusionConfig(
        labels=labels,
        image_size=settings.image_size,
        vocabulary_size=len(preprocess.vocabulary) + 2,
        text_length=preprocess.text_length,
        series=list(preprocess.series),
        series_length=preprocess.series_length,
        categorical={name: len(values) for name, values in preprocess.categorical.items()},
        numeric=list(preprocess.numeric),
        width=settings.width,
        layers=settings.layers,
    )
    return AuscultFusionModel(config)


def _fit(
    model: Any, data: _Studies, settings: TrainingSettings, tell: Progress, should_stop: Callable[[], bool]
) -> None:
    """AdamW with a one-cycle learning rate; one pass over the data in a new order for each epoch."""
    import torch

    rng = np.random.default_rng(settings.seed)
    steps = -(-len(data) // settings.batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=settings.learning_rate, total_steps=steps * settings.epochs, pct_start=0.2
    )
    model.train()
    for epoch in range(settings.epochs):
        for step, rows in enumerate(np.array_split(rng.permutation(len(data)), steps)):
            if should_stop():
                raise AdapterError("The training was stopped.", remedy="Request it again.")
            batch = _tensors({name: values[rows] for name, values in data.arrays.items()})
            _drop_modalities(batch, settings.modality_dropout, rng)
            loss = model(**batch, labels=torch.from_numpy(data.labels[rows])).loss
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            tell(0.2 + 0.78 * (epoch + step / steps) / settings.epochs, f"Epoch {epoch + 1} of {settings.epochs}")
    model.eval()


def _drop_modalities(batch: dict[str, Any], chance: float, rng: np.random.Generator) -> None:
    """Hide whole modalities of some studies, so that the model learns to do without any of them."""
    import torch

    n = len(batch["pixels"])
    hide = {name: torch.from_numpy(rng.random(n) < chance) for name in ("image", "text", "series", "people")}
    batch["has_image"] = batch["has_image"] & ~hide["image"]
    batch["words"] = batch["words"].masked_fill(hide["text"].unsqueeze(1), 0)
    batch["has_points"] = batch["has_points"] & ~hide["series"][:, None, None]
    batch["categories"] = batch["categories"].masked_fill(hide["people"].unsqueeze(1), 0)
    batch["has_numbers"] = batch["has_numbers"] & ~hide["people"].unsqueeze(1)


def _tensors(arrays: Arrays) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def _scores(model: Any, data: _Studies) -> npt.NDArray[np.float64]:
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(data), MEASURED_BATCH):
            rows = slice(start, start + MEASURED_BATCH)
            logits = model(**_tensors({name: values[rows] for name, values in data.arrays.items()})).logits
            found.append(torch.sigmoid(logits).double().numpy())
    return np.concatenate(found)


def _threshold(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float32], settings: TrainingSettings) -> float:
    """The highest score at which at least ``sensitivity`` of the validation positives are called; .5 without any."""
    positives = np.sort(scores[truth == 1])[::-1]
    if not len(positives):
        return 0.5
    return float(positives[int(np.ceil(settings.sensitivity * len(positives))) - 1])


def _auroc(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float32]) -> float | None:
    """Area under the ROC curve by ranks, ties at half: Mann and Whitney (1947)."""
    from scipy.stats import rankdata

    known = ~np.isnan(truth)
    ranks, hits = rankdata(scores[known]), truth[known] == 1
    n1, n0 = int(hits.sum()), int((~hits).sum())
    if not n1 or not n0:
        return None
    return round(float((ranks[hits].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)), 4)


def _write(
    model: Any, preprocess: Preprocessor, result: TrainingResult, settings: TrainingSettings, reader: CohortReader,
    destination: Path,
) -> None:  # fmt: skip
    destination.mkdir(parents=True)
    model.save_pretrained(destination)
    preprocess.save(destination)
    thresholds = {
        "source": f"sensitivity {settings.sensitivity} on {result.n_validation} validation studies of other patients",
        "values": result.thresholds,
    }
    (destination / THRESHOLDS).write_text(json.dumps(thresholds, indent=1, sort_keys=True) + "\n")
    (destination / "training.json").write_text(
        json.dumps(
            {
                "settings": settings.to_dict(),
                "cohort_source_digest": reader.manifest.source_digest,
                "n_training": result.n_training,
                "n_validation": result.n_validation,
                "auroc_validation": result.auroc,
            },
            indent=1,
            sort_keys=True,
        )
        + "\n"
    )
    (destination / "README.md").write_text(_card(result, preprocess))


def _card(result: TrainingResult, preprocess: Preprocessor) -> str:
    rows = "\n".join(
        f"| {label} | {'-' if area is None else f'{area:.3f}'} | {result.thresholds[label]:.3f} |"
        for label, area in result.auroc.items()
    )
    return f"""---
library_name: transformers
license: apache-2.0
---
# Auscult reference multimodal model
{result.parameters:,} parameters. Reads {", ".join(preprocess.modalities)}; any of them may be missing.
Trained on {result.n_training:,} studies for {result.epochs} epochs;
validated on {result.n_validation:,} of other patients.

| Finding | AUROC (validation) | Threshold |
|---|---|---|
{rows}

A test subject of the Auscult platform. Not a medical device.
"""
