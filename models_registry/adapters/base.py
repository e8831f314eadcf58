"""The adapter protocol: a batch of studies in, typed arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from core.registry import Registry
from models_registry.cohorts.schema import StudyBatch


class Capability(StrEnum):
    """What a model can be asked for."""

    CLASSIFY = "classify"
    GENERATE = "generate"
    ANSWER = "answer"
    EMBED = "embed"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, kw_only=True)
class AdapterInfo:
    """What an adapter declares about one model when it is registered.

    Attributes:
        labels: The findings it scores.
        outputs: What it answers for each study, as columns of a prediction file: ``score.effusion``,
            ``pred.effusion`` (its own frozen operating point), ``text.generated``.
        modalities: What it reads: ``image``, ``text.<name>``, ``series.<name>``, or a column name.
        required: The modalities without which it gives no prediction.
        runs_weights: False for a prediction log, and for weights that run elsewhere: reports then say so.
        details: Architecture, parameter count, preprocessing, licence, training cohort: for the documentation.
            ``weights`` is a sentence on weights that no digest binds, and given for such alone.
    """

    capabilities: frozenset[Capability]
    labels: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    runs_weights: bool = True
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "capabilities": sorted(item.value for item in self.capabilities),
            "labels": list(self.labels),
            "outputs": list(self.outputs),
            "modalities": list(self.modalities),
            "required": list(self.required),
            "runs_weights": self.runs_weights,
            "details": self.details,
        }


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model said about a batch of n studies, in the order of the batch.

    Attributes:
        scores: Label -> float64 [n] in [0, 1], NaN where there is none.
        decisions: Label -> int8 [n]: 1, 0, or -1 where there is none.
        texts: ``generated`` -> object [n]: str or None.
        truncated: ``generated`` -> bool [n]: the text ended at the limit of tokens, not by itself. Left out where the
            model cannot tell.
    """

    study_ids: tuple[str, ...]
    scores: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    decisions: dict[str, npt.NDArray[np.int8]] = field(default_factory=dict)
    texts: dict[str, npt.NDArray[np.object_]] = field(default_factory=dict)
    truncated: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """Everything besides weights and data that can change a prediction: part of the cache's key."""

    batch_size: int = 64
    precision: str = "float32"
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "precision": self.precision, "seed": self.seed}


class ModelAdapter(Protocol):
    """A loaded model. Made by a factory that the registry knows by the adapter's key.

    ``predict`` never raises for a study whose modality is missing: it predicts without it, or answers NaN / -1
    where the modality is required. A model that answers slowly may have an attribute ``most_at_once``: as many studies
    are given to it at most, so that progress is told and a lease is renewed in between. Where it has both methods
    ``prepare(batch)`` and ``predict_prepared(batch, prepared)``, a thread calls the first ahead of the model, for what
    needs neither weights nor device. Where it has a true attribute ``side_by_side``, several threads may call it at
    once: on a CPU, batches then run side by side, each on one core.
    """

    info: AdapterInfo

    def predict(self, batch: StudyBatch) -> Predictions: ...


@runtime_checkable
class Embeds(Protocol):
    """A model that gives vectors: capability ``embed``."""

    def embed(self, batch: StudyBatch, modality: str) -> npt.NDArray[np.float32]:
        """Vectors of one modality, float32 [n, d]; a row of NaN where the study lacks it.

        Raises:
            AdapterError: the model does not embed that modality; those it does are listed.
        """
        ...


@runtime_checkable
class Answers(Protocol):
    """A model that answers questions about a study: capability ``answer``."""

    def answer(self, batch: StudyBatch, questions: Sequence[str]) -> npt.NDArray[np.object_]:
        """One answer for each study and its question, object [n]: str, or None where a required modality is missing.

        Args:
            questions: One for each study.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Words are drawn, not the likeliest taken. ``turn`` counts the draws of one study: each has a seed of its own."""

    temperature: float
    turn: int


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model said about n studies: ``text`` object [n], str or None; ``truncated`` bool [n]."""

    text: npt.NDArray[np.object_]
    truncated: npt.NDArray[np.bool_]


@runtime_checkable
class Speaks(Protocol):
    """A model that writes: a report of each study, or an answer to each study's question, with or without chance."""

    def say(self, batch: StudyBatch, questions: Sequence[str] | None, *, draw: Draw | None = None) -> Said:
        """One text for each study.

        Args:
            questions: One for each study; None for a report.
            draw: None for what :meth:`predict` and :meth:`answer` would give.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Posed:
    """What one study was asked elsewhere.

    Attributes:
        question: The words; "" for a report.
        condition, turn: How the study was changed, and the number of the sample or paraphrase: see
            ``evaluation.engine.asking``.
        modality: What was made blank, noise or another's; "" where nothing was changed.
        partner: Study whose modality was given instead; "" for none.
    """

    study_id: str
    question: str
    condition: str
    turn: int = 0
    modality: str = ""
    partner: str = ""


@runtime_checkable
class Recalls(Protocol):
    """A log of what a model said elsewhere: it is told what was asked, and not the study."""

    def recall(self, posed: Sequence[Posed]) -> Said:
        """What the log holds for each; None where it holds nothing."""
        ...

    def holds(self, condition: str, *, report: bool) -> bool:
        """Whether the whole log holds any text under a condition: a report, or an answer to a question."""
        ...


@runtime_checkable
class Attributes(Protocol):
    """A model that tells what its score rests on: capability ``attribute``."""

    def attribute(self, batch: StudyBatch, label: str) -> dict[str, npt.NDArray[np.float64]]:
        """For each modality, how much the score falls when it is taken away: float64 [n], NaN where it is missing."""
        ...


class AdapterFactory(Protocol):
    """How one kind of model is checked and loaded.

    ``inspect`` reads a folder without running it and raises AdapterError with a remedy (pickle weights, missing
    files, wrong shapes). ``load`` gives a ready adapter; heavy imports happen inside. A factory whose models can also
    run in bfloat16 has an attribute ``precisions`` that lists what ``InferenceSettings.precision`` may be.
    """

    def inspect(self, folder: Path) -> AdapterInfo: ...

    def load(self, folder: Path, *, settings: InferenceSettings, device: str = "cpu") -> ModelAdapter: ...


ADAPTERS: Registry[AdapterFactory] = Registry(
    kind="adapter", package="models_registry.adapters", group="auscult.adapters"
)
"""Every adapter, by key: ``fusion``, ``recorded``, and those of other distributions."""
