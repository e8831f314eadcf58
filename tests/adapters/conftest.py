"""A small cohort and a checkpoint trained on it, made once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.cohorts.schema import StudyBatch
from models_registry.reference.training import TrainingResult, TrainingSettings, train_reference
from synthetic.simulator import SimulatorSettings, simulate_cohort

SMALL = TrainingSettings(epochs=4, width=64, layers=2, validation_share=0.25, threads=1)


@dataclass(frozen=True, kw_only=True)
class Trained:
    cohort: Path
    checkpoint: Path
    result: TrainingResult


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    home = tmp_path_factory.mktemp("reference")
    file = simulate_cohort(SimulatorSettings(patients=450, seed=21, difficulty=0.2), home / "cohort.parquet")
    convert_cohort(file, mapping=None, destination=home / "cohort")
    result = train_reference(home / "cohort", settings=SMALL, destination=home / "checkpoint")
    return Trained(cohort=home / "cohort", checkpoint=home / "checkpoint", result=result)


@pytest.fixture
def checkpoint(trained, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(trained.checkpoint, tmp_path / "checkpoint"))


@pytest.fixture(scope="session")
def batch(trained) -> StudyBatch:
    reader = open_cohort(trained.cohort)
    return next(iter(reader.batches(reader.shards[0], batch_size=48)))


@pytest.fixture(scope="session")
def fusion(trained):
    return ADAPTERS.get("fusion").load(trained.checkpoint, settings=InferenceSettings())


def reordered(batch: StudyBatch, rows: list[int]) -> StudyBatch:
    """The same studies in another order, or some of them."""
    return StudyBatch(
        study_ids=tuple(batch.study_ids[row] for row in rows),
        patient_ids=tuple(batch.patient_ids[row] for row in rows),
        images=[batch.images[row] for row in rows],
        texts={name: [values[row] for row in rows] for name, values in batch.texts.items()},
        series={name: [values[row] for row in rows] for name, values in batch.series.items()},
        covariates={name: [values[row] for row in rows] for name, values in batch.covariates.items()},
    )


def without(batch: StudyBatch, modalities: set[str]) -> StudyBatch:
    """The same studies with these modalities missing in every one."""
    none = [None] * len(batch)

    def left(prefix: str, columns: dict) -> dict:
        return {name: none if f"{prefix}{name}" in modalities else values for name, values in columns.items()}

    return StudyBatch(
        study_ids=batch.study_ids,
        patient_ids=batch.patient_ids,
        images=none if "image" in modalities else batch.images,
        texts=left("text.", batch.texts),
        series=left("series.", batch.series),
        covariates=left("", batch.covariates),
    )


def matrix(predictions) -> np.ndarray:
    return np.stack([predictions.scores[label] for label in sorted(predictions.scores)], axis=1)
