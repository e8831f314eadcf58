"""Studies as they are given to a model when it is asked: as they are, or with one of their modalities changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.asking import BLANK, DROPPED, NOISE, SWAPPED
from evaluation.engine.statistics.seeds import generator
from models_registry.cohorts.schema import StudyBatch


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to one study. ``modality`` is an image, ``text.<name>``, ``series.<name>`` or a covariate."""

    condition: str
    modality: str


def repeated(batch: StudyBatch, rows: Sequence[int]) -> StudyBatch:
    """The studies in these places, a study as often as it is named. Lists are new, what they hold is not."""

    def taken(values: list[Any]) -> list[Any]:
        return [values[row] for row in rows]

    return StudyBatch(
        study_ids=tuple(batch.study_ids[row] for row in rows),
        patient_ids=tuple(batch.patient_ids[row] for row in rows),
        images=taken(batch.images),
        texts={name: taken(values) for name, values in batch.texts.items()},
        series={name: taken(values) for name, values in batch.series.items()},
        covariates={name: taken(values) for name, values in batch.covariates.items()},
    )


def change(batch: StudyBatch, row: int, how: Change, *, seed: int, partner: Any = None) -> None:
    """Change one study of a batch that :func:`repeated` made.

    - ``blank``: an image of zeros of the same shape; anything else is taken away. What is missing stays missing.
    - ``noise``: an image of the same shape whose values are uniform over 0 to 255; the words of a text, or the values
      of a series, in another order. Drawn from ``seed`` and the study alone.
    - ``swapped``: ``partner`` in its place, another study's value of the modality.
    - ``dropped:<modality>``: that modality is taken away, whatever ``how.modality`` is.
    """
    if how.condition.startswith(f"{DROPPED}:"):
        _put(batch, row, how.condition.partition(":")[2], None)
    elif how.condition == SWAPPED:
        _put(batch, row, how.modality, partner)
    elif how.condition in (BLANK, NOISE):
        value = value_of(batch, row, how.modality)
        if value is not None:
            blank = how.condition == BLANK
            rng = generator(seed, NOISE, how.modality, batch.study_ids[row])
            _put(batch, row, how.modality, _blank(value) if blank else _noise(value, rng))


def alone(batch: StudyBatch, kind: str) -> StudyBatch:
    """The studies with nothing but their images (``image``), or nothing but their texts (``text``)."""
    nothing: list[Any] = [None] * len(batch)
    return StudyBatch(
        study_ids=batch.study_ids,
        patient_ids=batch.patient_ids,
        images=batch.images if kind == "image" else nothing,
        texts=batch.texts if kind == "text" else dict.fromkeys(batch.texts, nothing),
        series=dict.fromkeys(batch.series, nothing),
        covariates=dict.fromkeys(batch.covariates, nothing),
    )


def value_of(batch: StudyBatch, row: int, modality: str) -> Any:
    """What a study has of a modality; None where it has nothing."""
    values = _values(batch, modality)
    return values[row] if values else None


def _values(batch: StudyBatch, modality: str) -> list[Any] | None:
    if modality == "image":
        return batch.images
    head, _, name = modality.partition(".")
    parts: dict[str, dict[str, Any]] = {"text": batch.texts, "series": batch.series}
    found: list[Any] | None = parts.get(head, {}).get(name) if name else batch.covariates.get(modality)
    return found


def _put(batch: StudyBatch, row: int, modality: str, value: Any) -> None:
    values = _values(batch, modality)
    if values is not None:
        values[row] = value


def _blank(value: Any) -> Any:
    return np.zeros_like(value) if isinstance(value, np.ndarray) and value.dtype == np.uint8 else None


def _noise(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, str):
        return " ".join(rng.permutation(np.array(value.split(), dtype=object)).tolist())
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype == np.uint8:
        return rng.integers(0, 256, value.shape, dtype=np.uint8)
    mixed: npt.NDArray[np.float64] = value.copy()
    mixed[:, 1] = rng.permutation(mixed[:, 1])
    return mixed
