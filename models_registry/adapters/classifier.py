"""What exported image classifiers have in common, whatever runs them. Registers no adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import walk_files
from core.errors import AdapterError
from models_registry.adapters.base import AdapterInfo, Capability, InferenceSettings, Predictions
from models_registry.adapters.pixels import Floats32, PixelPlan
from models_registry.adapters.program import Side
from models_registry.adapters.wishes import FILE, read_thresholds, read_wishes, refusal
from models_registry.cohorts.schema import StudyBatch

KEYS: dict[str, Any] = {
    "labels": list,
    "input": dict,
    "activation": str,
    "thresholds": dict,
    "threshold_source": str,
}
ACTIVATIONS = ("sigmoid", "softmax", "none")
NOTE_SUFFIXES = frozenset({".json", ".md", ".txt"})
NOTE_NAMES = frozenset({"LICENSE", "NOTICE"})
Run = Callable[[Floats32], npt.NDArray[Any]]
Part = tuple[list[int], Floats32]
"""Rows of a batch, and their pictures."""


@dataclass(frozen=True, kw_only=True)
class ClassifierWishes:
    """What ``auscult.json`` says of a classifier. Labels stand in the order of the model's outputs."""

    labels: tuple[str, ...]
    pixels: PixelPlan
    activation: str
    thresholds: dict[str, float]
    threshold_source: str

    @classmethod
    def read(cls, folder: Path) -> ClassifierWishes:
        """
        Raises:
            AdapterError: with the key and what may stand there.
        """
        body = read_wishes(folder, KEYS, required=("labels", "input", "activation"), file_required=True)
        labels = body["labels"]
        good = all(isinstance(label, str) and label.strip() == label != "" for label in labels)
        if not labels or not good or len(set(labels)) < len(labels):
            raise refusal(
                "labels", f"The labels are {labels!r}.", "Name each output of the model once, in their order."
            )
        if body["activation"] not in ACTIVATIONS:
            raise refusal(
                "activation",
                f"The value is {body['activation']!r}.",
                f"Use one of: {', '.join(ACTIVATIONS)}; none where the model answers probabilities itself.",
            )
        return cls(
            labels=tuple(labels),
            pixels=PixelPlan.read(body["input"]),
            activation=body["activation"],
            thresholds=read_thresholds(body, labels),
            threshold_source=body.get("threshold_source", ""),
        )

    def info(self, **details: Any) -> AdapterInfo:
        """What the classifier declares."""
        decided = [f"pred.{label}" for label in self.labels if label in self.thresholds]
        return AdapterInfo(
            capabilities=frozenset({Capability.CLASSIFY}),
            labels=self.labels,
            outputs=(*(f"score.{label}" for label in self.labels), *decided),
            modalities=("image",),
            required=("image",),
            runs_weights=True,
            details=details
            | {
                "preprocessing": self.pixels.describe(),
                "activation": self.activation,
                "thresholds": self.thresholds,
                "thresholds_source": self.threshold_source,
            },
        )

    def check_shapes(self, file: str, sides: tuple[Side, ...], output_sides: tuple[int | None, ...]) -> None:
        """Hold the model's signature against the wishes.

        Input [studies, channels, height, width], output [studies, labels].

        Raises:
            AdapterError: with both shapes.
        """
        wanted = (self.pixels.channels, self.pixels.height, self.pixels.width)
        for name, size, side in zip(("channels", "height", "width"), wanted, sides[1:], strict=True):
            if not side.least <= size <= side.most:
                takes = str(side.least) if side.least == side.most else f"{side.least} to {side.most}"
                raise refusal(
                    "input", f"The {name} would be {size}; {file} takes {takes}.", "Write what the model takes."
                )
        if len(output_sides) != 2 or output_sides[1] not in {None, len(self.labels)}:
            raise refusal(
                "labels",
                f"There are {len(self.labels)} labels; {file} answers the shape {list(output_sides)}.",
                "Name one label for each output; export a model that answers [studies, labels].",
            )


class ImageClassifier:
    """A loaded classifier. A study without a picture has no score (NaN) and no decision (-1).

    Args:
        run: float32 [n, channels, height, width] -> [n, labels], before the activation.
        studies: How many studies the model takes at once. Fewer are filled up with empty pictures.
        side_by_side: Whether several threads may run it at once, each with a core; see :class:`ModelAdapter`.
    """

    def __init__(
        self,
        *,
        info: AdapterInfo,
        wishes: ClassifierWishes,
        run: Run,
        studies: Side,
        batch: int,
        side_by_side: bool = False,
    ) -> None:
        self.side_by_side = side_by_side
        self.info = info
        self.wishes = wishes
        self.run = run
        self.studies = studies
        self.batch = max(studies.least, min(batch, studies.most))

    def prepare(self, batch: StudyBatch) -> list[Part]:
        """The pictures as the model takes them, in parts that it takes at once: for a thread that reads ahead of it."""
        rows = [row for row, image in enumerate(batch.images) if image is not None]
        parts = [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]
        return [(part, self.wishes.pixels([image for row in part if (image := batch.images[row]) is not None]))
                for part in parts]  # fmt: skip

    def predict(self, batch: StudyBatch) -> Predictions:
        """What the model says about a batch, see :meth:`predict_prepared`."""
        return self.predict_prepared(batch, self.prepare(batch))

    def predict_prepared(self, batch: StudyBatch, prepared: list[Part]) -> Predictions:
        """Scores, and decisions at the thresholds of ``auscult.json``.

        Raises:
            AdapterError: the model answered another shape, a value that is not a number, or (without an activation)
                one outside 0 to 1.
        """
        labels, thresholds = self.wishes.labels, self.wishes.thresholds
        scores = np.full((len(batch), len(labels)), np.nan)
        for rows, pixels in prepared:
            scores[rows] = self._scores(pixels)
        decided = np.isfinite(scores)
        return Predictions(
            study_ids=batch.study_ids,
            scores={label: scores[:, k].copy() for k, label in enumerate(labels)},
            decisions={
                label: np.where(decided[:, k], scores[:, k] >= thresholds[label], -1).astype(np.int8)
                for k, label in enumerate(labels)
                if label in thresholds
            },
        )

    def _scores(self, pixels: Floats32) -> npt.NDArray[np.float64]:
        count, lacking = len(pixels), max(0, self.studies.least - len(pixels))
        filled = np.concatenate([pixels, np.zeros((lacking, *pixels.shape[1:]), np.float32)]) if lacking else pixels
        found = np.asarray(self.run(filled), np.float64)
        wanted = (count + lacking, len(self.wishes.labels))
        if found.shape != wanted:
            raise AdapterError(
                f"The model answered the shape {found.shape}; {wanted} was expected.",
                remedy="Name one label for each output of the model.",
                file=FILE,
                column="labels",
            )
        return _activated(found[:count], self.wishes.activation)


def check_precision(settings: InferenceSettings) -> None:
    """An exported file has its own precision: a run cannot ask for another."""
    if settings.precision != "float32":
        raise AdapterError(
            f"An exported model cannot be run in {settings.precision}.",
            remedy="Use float32; export the model in another precision to have it run so.",
        )


def check_folder(folder: Path, own: Callable[[str], bool]) -> None:
    """Refuse every file that is neither the model's own, nor auscult.json, nor a note that is plain text.

    Raises:
        AdapterError: naming the file.
    """
    for path in walk_files(folder):
        name = path.relative_to(folder).as_posix()
        if own(name):
            continue
        with path.open("rb") as stream:
            head = stream.read(4)
        binary = head[:1] == b"\x80" or head == b"PK\x03\x04"
        if binary or (path.suffix.lower() not in NOTE_SUFFIXES and path.name not in NOTE_NAMES):
            raise AdapterError(
                "The file is no part of an exported model; pickled weights and code are never read.",
                remedy="Register a folder with the exported model, auscult.json and notes (.md, .txt) only.",
                file=name,
            )


def _activated(values: npt.NDArray[np.float64], activation: str) -> npt.NDArray[np.float64]:
    """Scores in [0, 1] from what the model answered [n, labels]."""
    from scipy.special import expit, softmax

    if activation != "none":
        # An infinite logit is a sure yes or no to the sigmoid, and nothing at all to the softmax.
        with np.errstate(invalid="ignore"):
            values = np.asarray(expit(values) if activation == "sigmoid" else softmax(values, axis=1), np.float64)
    if np.isnan(values).any():
        raise AdapterError(
            "The model answered a score that is not a number.",
            remedy="Check the weights, and the mean and std of the input.",
        )
    if values.min() < 0 or values.max() > 1:
        raise AdapterError(
            "The model answered a value outside 0 to 1.",
            remedy="Write activation sigmoid or softmax where it answers logits.",
            file=FILE,
            column="activation",
        )
    return values
