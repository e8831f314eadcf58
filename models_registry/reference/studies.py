"""Reading a cohort into memory for a training: decoded once, split by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.errors import CohortError
from models_registry.cohorts import CohortReader
from models_registry.cohorts.schema import ColumnRole, StudyBatch, role_of
from models_registry.reference.preprocessing import Arrays, Preprocessor, grey_pixels, scaled_pixels
from models_registry.reference.settings import TrainingSettings

Progress = Callable[[float, str], None]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
READ_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Studies:
    """Decoded studies of some patients, in memory.

    Attributes:
        arrays: What the preprocessor makes of them, but for the pictures.
        pictures: uint8 [n, 1, size, size], as they are before scaling: a quarter of the memory.
        reports: int64 [n, report_length] of word numbers; all 0 for a study without a report.
        labels: float32 [n, labels], NaN where unknown.
    """

    arrays: Arrays
    pictures: npt.NDArray[np.uint8]
    reports: npt.NDArray[np.int64]
    labels: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: npt.NDArray[np.int64] | slice) -> Arrays:
        """The arrays that the model takes of some studies."""
        arrays = {name: values[rows] for name, values in self.arrays.items()}
        return arrays | {"pixels": scaled_pixels(self.pictures[rows], arrays["has_image"])}

    def select(self, rows: Bools) -> Studies:
        return Studies(
            arrays={name: values[rows] for name, values in self.arrays.items()},
            pictures=self.pictures[rows],
            reports=self.reports[rows],
            labels=self.labels[rows],
        )

    def joined(self, more: Studies) -> Studies:
        """These studies, then others that the same preprocessing made."""
        return Studies(
            arrays={name: np.concatenate([values, more.arrays[name]]) for name, values in self.arrays.items()},
            pictures=np.concatenate([self.pictures, more.pictures]),
            reports=np.concatenate([self.reports, more.reports]),
            labels=np.concatenate([self.labels, more.labels]),
        )


def labels_of(reader: CohortReader, wanted: Sequence[str]) -> list[str]:
    """The labels to learn: those that are wanted, or every one of the cohort.

    Raises:
        CohortError: the cohort has none, or lacks one that is wanted.
    """
    there = [name.partition(".")[2] for name in reader.manifest.columns if role_of(name) is ColumnRole.LABEL]
    if not there:
        raise CohortError(
            "The cohort has no label to learn.", remedy="Add columns named label.<finding>.", file=reader.folder.name
        )
    for name in wanted:
        if name not in there:
            raise CohortError(
                f"The cohort has no label {name!r} to learn.",
                remedy=f"Name some of: {', '.join(there)}.",
                file=reader.folder.name,
                column=f"label.{name}",
            )
    return list(wanted) or there


def read_studies(
    reader: CohortReader,
    *,
    labels: list[str],
    settings: TrainingSettings,
    preprocess: Preprocessor | None,
    tell: Progress,
) -> tuple[Preprocessor, Studies, Studies]:
    """Decode the cohort once and split it by patient.

    Args:
        preprocess: That of the backbone; None to learn one from the training patients.

    Returns:
        The preprocessing, the studies to train on, those to validate on.

    Raises:
        CohortError: no patient is left for one of the two.
    """
    size = preprocess.image_size if preprocess else settings.image_size
    decoded = _decoded(reader, labels=labels, size=size, tell=tell)
    batches = decoded.batches
    aside = np.array([in_validation(p, settings.validation_share) for batch in batches for p in batch.patient_ids])
    if not aside.any() or aside.all():
        raise CohortError("There are too few patients to train on.", remedy="Give at least a few hundred patients.")
    if preprocess is None:
        preprocess = _learned(reader, batches, aside, settings)
    studies = decoded.studies(preprocess)
    return preprocess, studies.select(~aside), studies.select(aside)


def read_augmentation(
    reader: CohortReader, *, labels: Sequence[str], preprocess: Preprocessor, tell: Progress
) -> Studies:
    """Every study of a cohort that is learnt from beside another, decoded by what the other's patients taught.

    Nobody of it is kept for validation, and no word, category or scale is learnt from it.

    Raises:
        CohortError: it lacks a label to learn.
    """
    if labels:
        labels_of(reader, labels)
    return _decoded(reader, labels=labels, size=preprocess.image_size, tell=tell).studies(preprocess)


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    """A cohort in memory before any preprocessing. Full-size pictures are not kept: only that there was one."""

    batches: list[StudyBatch]
    pictures: npt.NDArray[np.uint8]
    labels: Floats

    def studies(self, preprocess: Preprocessor) -> Studies:
        made = [_without_pixels(preprocess, batch) for batch in self.batches]
        return Studies(
            arrays={name: np.concatenate([item[name] for item in made]) for name in made[0]},
            pictures=self.pictures,
            reports=np.concatenate([preprocess.read_reports(batch) for batch in self.batches]),
            labels=self.labels,
        )


def _decoded(reader: CohortReader, *, labels: Sequence[str], size: int, tell: Progress) -> _Decoded:
    batches: list[StudyBatch] = []
    pictures, truth = [], []
    for place, shard in enumerate(reader.shards):
        tell(place / len(reader.shards), "Reading the cohort")
        truth.append(_labels(reader, place, labels))
        for batch in reader.batches(shard, batch_size=READ_AT_ONCE):
            pictures.append(grey_pixels(batch, size))
            seen = [None if image is None else image[:1, :1] for image in batch.images]
            batches.append(replace(batch, images=seen))
    return _Decoded(batches=batches, pictures=np.concatenate(pictures), labels=np.concatenate(truth))


def in_validation(patient: str, share: float) -> bool:
    """Whether a patient is kept for validation: by a hash of the id, so that the same patient always is."""
    return int.from_bytes(hashlib.sha256(f"validation {patient}".encode()).digest()[:8], "big") < share * 2**64


def _labels(reader: CohortReader, shard: int, labels: Sequence[str]) -> Floats:
    reference = reader.reference(shard)
    truth = np.zeros((len(reference), len(labels)), np.float32)
    for place, label in enumerate(labels):
        truth[:, place] = reference.labels[label]
    truth[truth < 0] = np.nan
    return truth


def _without_pixels(preprocess: Preprocessor, batch: StudyBatch) -> Arrays:
    made = preprocess(replace(batch, images=[None] * len(batch)))
    del made["pixels"]
    return made | {"has_image": np.array([image is not None for image in batch.images])}


def _learned(reader: CohortReader, batches: list[StudyBatch], aside: Bools, settings: TrainingSettings) -> Preprocessor:
    """The preprocessing, from the training patients alone."""
    columns, start, kept = reader.manifest.columns, 0, []
    for batch in batches:
        kept.append(_some(batch, np.flatnonzero(~aside[start : start + len(batch)])))
        start += len(batch)
    return Preprocessor.learn(
        kept,
        image_size=settings.image_size,
        text=settings.text,
        report=settings.report if f"text.{settings.report}" in columns else "",
        series=[name.partition(".")[2] for name in columns if role_of(name) is ColumnRole.SERIES],
        categorical=[name for name in settings.categorical if name in columns],
        numeric=[name for name in settings.numeric if name in columns],
    )


def _some(batch: StudyBatch, rows: npt.NDArray[np.int64]) -> StudyBatch:
    places = rows.tolist()
    return StudyBatch(
        study_ids=tuple(batch.study_ids[row] for row in places),
        patient_ids=tuple(batch.patient_ids[row] for row in places),
        images=[None] * len(places),
        texts={name: [values[row] for row in places] for name, values in batch.texts.items()},
        series={name: [values[row] for row in places] for name, values in batch.series.items()},
        covariates={name: [values[row] for row in places] for name, values in batch.covariates.items()},
    )
