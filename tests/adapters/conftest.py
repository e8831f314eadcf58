"""A small cohort, a checkpoint trained on it, and a folder for each adapter that the contract tries: made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.cohorts.schema import StudyBatch
from models_registry.reference.training import TrainingResult, TrainingSettings, train_reference
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.adapters import models_clip, models_g2, models_g3, models_gguf, models_qwen

SMALL = TrainingSettings(
    epochs=6, head_epochs=8, batch_size=32, width=64, layers=2, image_layers=1, validation_share=0.25, threads=1
)

SAVERS: dict[str, Callable[[Path], object]] = {
    "clip": models_clip.save_clip,
    "siglip": models_clip.save_siglip,
    "pair": models_clip.save_pair,
    "vision_encoder_decoder": models_g2.save_vision_encoder_decoder,
    "image_text_to_text": models_g2.save_llava,
    "gemma": models_g2.save_gemma,
    "qwen2_vl": models_qwen.save_qwen2_vl,
    "qwen2_5_vl": models_qwen.save_qwen2_5_vl,
    "text_generation": models_g2.save_text_generation,
    "gguf": models_gguf.save_gguf,
    "torch_export": models_g3.save_torch_export,
    "onnx": models_g3.save_onnx_classifier,
}
"""How a tiny model of a kind is saved into an empty folder."""

ADAPTER_FIXTURES: dict[str, str] = {name: name for name in ("fusion", "recorded", *SAVERS, "endpoint")}
ADAPTER_FIXTURES |= {"fusion_backbone": "fusion", "fusion_lora": "fusion"}
ADAPTER_FIXTURES |= {"siglip": "clip", "pair": "clip", "gguf": "text_generation"}
ADAPTER_FIXTURES |= dict.fromkeys(("gemma", "qwen2_vl", "qwen2_5_vl"), "image_text_to_text")
"""Every kind of model that the contract tries, with the key of its adapter. A kind without an entry in ``SAVERS``
has a fixture ``<kind>_folder``."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny models are no faster with more, and many times slower where another process wants the same cores."""
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A backbone, and heads on it: one that was fitted alone, and one with low-rank additions."""

    cohort: Path
    backbone: Path
    checkpoint: Path
    lora: Path
    result: TrainingResult


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    home = tmp_path_factory.mktemp("reference")
    file = simulate_cohort(SimulatorSettings(patients=450, seed=21, difficulty=0.2), home / "cohort.parquet")
    convert_cohort(file, mapping=None, destination=home / "cohort")
    cohort, backbone = home / "cohort", home / "backbone"
    train_reference(cohort, settings=replace(SMALL, kind="backbone"), destination=backbone)
    head = replace(SMALL, kind="head")
    result = train_reference(cohort, settings=head, backbone=backbone, destination=home / "checkpoint")
    lora = replace(head, method="lora", head_epochs=2)
    train_reference(cohort, settings=lora, backbone=backbone, destination=home / "lora")
    return Trained(cohort=cohort, backbone=backbone, checkpoint=home / "checkpoint", lora=home / "lora", result=result)


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


@pytest.fixture(scope="session")
def fusion_folder(trained) -> Path:
    return trained.checkpoint


@pytest.fixture(scope="session")
def fusion_backbone_folder(trained) -> Path:
    return trained.backbone


@pytest.fixture(scope="session")
def fusion_lora_folder(trained) -> Path:
    return trained.lora


@pytest.fixture(scope="session")
def recorded_folder(batch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    table = pa.table(
        {
            "study_id": list(batch.study_ids),
            "score.effusion": np.random.default_rng(0).random(len(batch)),
            "pred.effusion": np.arange(len(batch)) % 2,
            "text.generated": [f"Report {place}." for place in range(len(batch))],
        }
    )
    pq.write_table(table, folder / "predictions.parquet")
    return folder


@pytest.fixture(scope="module")
def endpoint_folder(tmp_path_factory) -> Iterator[Path]:
    with models_g3.chat_server() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUSCULT_ENDPOINT_HOSTS", server.host)
        yield models_g3.save_endpoint(tmp_path_factory.mktemp("endpoint"), server.host)


@pytest.fixture
def folder(writers, tmp_path):
    """A copy of a tiny model that a test may spoil."""
    return lambda name: Path(shutil.copytree(writers[name], tmp_path / name))


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
