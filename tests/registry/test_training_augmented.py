"""Training with synthetic patients beside a cohort: they are learnt from, and never validated on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.digests import folder_manifest, manifest_digest
from core.errors import CohortError
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.reference.studies import in_validation, read_augmentation, read_studies
from models_registry.reference.training import TrainingResult, TrainingSettings, train_reference
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.registry.test_training import QUICK

SETTINGS = TrainingSettings.from_dict(QUICK | {"labels": ["effusion"]})


def simulated(folder: Path, seed: int, **changes: Any) -> Path:
    settings = SimulatorSettings(patients=60, seed=seed, studies_max=2, image_size=32, **changes)
    convert_cohort(simulate_cohort(settings, folder / "c.parquet"), mapping=None, destination=folder / "shards")
    return folder / "shards"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("real"), 4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("made"), 5)


def trained(folder: Path, to: Path, beside: Path | None) -> TrainingResult:
    return train_reference(folder, settings=SETTINGS, destination=to, augmentation=beside)


def digest(folder: Path) -> str:
    return manifest_digest(folder_manifest(folder))


def test_patients_beside_change_the_weights_and_the_record_and_nothing_else(
    real: Path, made: Path, tmp_path: Path
) -> None:
    plain, more = trained(real, tmp_path / "plain", None), trained(real, tmp_path / "more", made)
    again = trained(real, tmp_path / "again", made)
    n = open_cohort(made).manifest.n_studies
    assert digest(tmp_path / "more") == digest(tmp_path / "again") != digest(tmp_path / "plain")
    assert again.auroc == more.auroc
    assert (plain.n_augmentation, more.n_augmentation, more.n_training) == (0, n, plain.n_training + n)
    assert more.n_validation == plain.n_validation, "validation rests on the patients of the cohort alone"
    same = "preprocessing.json"
    assert (tmp_path / "more" / same).read_bytes() == (tmp_path / "plain" / same).read_bytes()
    facts = [json.loads((tmp_path / name / "training.json").read_text()) for name in ("plain", "more")]
    assert "augmentation_digest" not in facts[0] and facts[1]["augmentation_digest"] == digest(made)
    cards = [(tmp_path / name / "README.md").read_text() for name in ("plain", "more")]
    assert f"augmentation_cohort: {digest(made)}" in cards[1] and "real studies alone" in cards[1]
    assert "augmentation" not in cards[0] and "Synthetic patients" not in cards[0]


def test_none_of_them_is_kept_for_validation_though_their_hash_would_say_so(real: Path, made: Path) -> None:
    preprocess, _, validation = read_studies(
        open_cohort(real), labels=["effusion"], settings=SETTINGS, preprocess=None, tell=lambda share, said: None
    )
    reader = open_cohort(made)
    found = read_augmentation(reader, labels=["effusion"], preprocess=preprocess, tell=lambda share, said: None)
    names = [name for shard in range(len(reader.shards)) for name in reader.reference(shard).patient_ids]
    assert any(in_validation(name, SETTINGS.validation_share) for name in names)
    assert len(found) == reader.manifest.n_studies and len(validation) > 0


def test_thresholds_do_not_rest_on_them(real: Path, made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Scores are asked for of the validation patients of the cohort, and of nobody else."""
    from models_registry.reference import training

    seen, score = [], training.score

    def watched(model: Any, data: Any) -> Any:
        seen.append(len(data))
        return score(model, data)

    monkeypatch.setattr(training, "score", watched)
    result = trained(real, tmp_path / "model", made)
    assert seen == [result.n_validation]


def test_a_label_that_they_lack_is_named(real: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source = real.parent / "c.parquet"
    pq.write_table(pq.read_table(source).drop_columns(["label.effusion"]), tmp_path / "less.parquet")
    convert_cohort(tmp_path / "less.parquet", mapping=None, destination=tmp_path / "less")
    with pytest.raises(CohortError, match="no label 'effusion'"):
        trained(real, tmp_path / "model", tmp_path / "less")
    assert not (tmp_path / "model").exists()
