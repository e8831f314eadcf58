"""The fusion adapter and the reference model: bad checkpoints are refused, good ones are run as they were trained."""

from __future__ import annotations

import json
import pickle
from itertools import combinations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.digests import folder_manifest
from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.reference.occlusion import hide_modalities
from models_registry.reference.preprocessing import Preprocessor
from models_registry.reference.training import TrainingSettings, train_reference
from tests.adapters.conftest import SMALL, matrix, without

FUSION = ADAPTERS.get("fusion")


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        FUSION.inspect(folder)
    assert caught.value.remedy
    return caught.value


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_short_training_learns(trained):
    areas = trained.result.auroc
    assert set(areas) == {"effusion", "pneumothorax", "consolidation", "cardiomegaly"}
    assert min(areas.values()) > 0.6


def test_inspection_declares_what_the_protocol_needs(trained):
    info = FUSION.inspect(trained.checkpoint)
    assert info.details["thresholds"] == trained.result.thresholds
    assert info.details["parameters"] == trained.result.parameters
    assert {"image", "text.indication", "series.crp", "sex", "age", "view"} <= set(info.modalities)
    assert "text.reference" not in info.modalities
    assert info.runs_weights


def test_equal_inputs_give_equal_bytes(trained, tmp_path):
    short = TrainingSettings.from_dict(SMALL.to_dict() | {"epochs": 1})
    for name in ("a", "b"):
        train_reference(trained.cohort, settings=short, destination=tmp_path / name)
    assert folder_manifest(tmp_path / "a") == folder_manifest(tmp_path / "b")


def test_save_and_load_give_the_same_scores(fusion, batch, tmp_path, trained):
    for name in ("config.json", "preprocessing.json", "thresholds.json"):
        (tmp_path / name).write_bytes((trained.checkpoint / name).read_bytes())
    fusion.model.save_pretrained(tmp_path)
    again = FUSION.load(tmp_path, settings=InferenceSettings())
    assert matrix(again.predict(batch)).tobytes() == matrix(fusion.predict(batch)).tobytes()


def test_decisions_are_scores_at_the_frozen_thresholds(fusion, batch):
    found = fusion.predict(batch)
    for label, threshold in fusion.info.details["thresholds"].items():
        assert (found.decisions[label] == (found.scores[label] >= threshold)).all()


def test_every_subset_of_modalities_is_scored_and_each_modality_counts(fusion, batch):
    kinds = {
        "image": {"image"},
        "text": {"text.indication"},
        "series": {name for name in fusion.info.modalities if name.startswith("series.")},
        "people": {"sex", "age", "view"},
    }
    whole = matrix(fusion.predict(batch))
    for size in range(1, len(kinds) + 1):
        for left_out in combinations(kinds, size):
            scores = matrix(fusion.predict(without(batch, set().union(*(kinds[name] for name in left_out)))))
            assert np.isfinite(scores).all()
            assert np.abs(scores - whole).max() > 1e-4, left_out


def test_hiding_is_preprocessing_studies_that_never_had_it(fusion, batch):
    names = fusion.info.modalities
    for hidden in (*({name} for name in names), set(names[:3]), set(names)):
        arrays = hide_modalities(fusion.preprocess, fusion.preprocess(batch), hidden)
        for name, values in fusion.preprocess(without(batch, hidden)).items():
            np.testing.assert_array_equal(arrays[name], values)


def test_an_embedding_is_what_the_head_reads_of_one_modality_alone(fusion, batch):
    import torch

    people = {"sex", "age", "view"}
    series = {name for name in fusion.info.modalities if name.startswith("series.")}
    for modality, kept in {"image": {"image"}, "demographics": people, "series": series, "sex": {"sex"}}.items():
        alone = fusion.preprocess(without(batch, set(fusion.info.modalities) - kept))
        with torch.inference_mode():
            answer = fusion.model(**{name: torch.from_numpy(values) for name, values in alone.items()})
            logits = fusion.model.head(answer.latent)
        vectors = fusion.embed(batch, modality)
        present = ~np.isnan(vectors).any(axis=1)
        assert vectors.shape == (len(batch), SMALL.width)
        np.testing.assert_array_equal(vectors[present], answer.latent.numpy()[present])
        np.testing.assert_array_equal(logits.numpy(), answer.logits.numpy())
        assert np.isnan(fusion.embed(without(batch, kept), modality)).all()
    assert not np.isnan(fusion.embed(without(batch, {"sex"}), "demographics")).any()


def test_what_the_model_does_not_read_is_not_embedded(fusion, batch):
    for name in ("text.reference", "series.lactate", "text", ""):
        with pytest.raises(AdapterError, match="does not embed") as caught:
            fusion.embed(batch, name)
        assert "image" in caught.value.remedy


def test_the_image_carries_a_finding_that_is_seen_in_it(fusion, batch):
    falls = fusion.attribute(batch, "effusion")
    score = fusion.predict(batch).scores["effusion"]
    sure = score > np.quantile(score, 0.8)
    assert np.nanmean(falls["image"][sure]) > max(0.05, np.nanmean(falls["view"][sure]))


def test_the_saved_preprocessing_makes_what_the_training_made(trained, batch, tmp_path):
    """Series and demographics are told apart by their place: saving must not reorder them."""
    names = {"series": ["spo2", "crp"], "categorical": ["view", "sex"], "numeric": ["age"]}
    learned = Preprocessor.learn([batch], image_size=64, text="indication", **names)
    learned.save(tmp_path)
    loaded = Preprocessor.load(tmp_path)
    assert loaded == learned
    for name in ("series", "categorical", "numeric"):
        assert list(getattr(loaded, name)) == list(getattr(learned, name))
    for name, values in learned(batch).items():
        assert (loaded(batch)[name] == values).all(), name


def test_preprocessing_of_another_training_is_refused(checkpoint):
    body = json.loads((checkpoint / "preprocessing.json").read_text())
    edit(checkpoint / "preprocessing.json", series=dict(reversed(body["series"].items())))
    error = refused(checkpoint)
    assert (error.file, error.column) == ("preprocessing.json", "series")


def test_training_leaves_torch_as_it_found_it(trained, tmp_path):
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    other = TrainingSettings.from_dict(SMALL.to_dict() | {"epochs": 1, "threads": before[0] + 1, "seed": 9})
    train_reference(trained.cohort, settings=other, destination=tmp_path / "checkpoint")
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_training_that_is_stopped_leaves_nothing(trained, tmp_path):
    with pytest.raises(AdapterError, match="stopped"):
        train_reference(trained.cohort, settings=SMALL, destination=tmp_path / "never", should_stop=lambda: True)
    assert not (tmp_path / "never").exists()


def test_an_unknown_training_setting_is_named():
    with pytest.raises(AdapterError, match="epoch_count"):
        TrainingSettings.from_dict({"epoch_count": 3})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "optimizer.ckpt", "notes.txt"])
def test_pickles_are_refused_by_name_and_by_content(checkpoint, name):
    (checkpoint / name).write_bytes(pickle.dumps({"weights": [1.0]}))
    error = refused(checkpoint)
    assert error.file == name
    assert "safetensors" in error.remedy


def test_a_pickle_called_safetensors_is_refused(checkpoint):
    (checkpoint / "model.safetensors").write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    assert "pickle" in refused(checkpoint).message


def test_code_in_the_folder_is_refused(checkpoint):
    (checkpoint / "modeling.py").write_text("raise SystemExit\n")
    assert refused(checkpoint).file == "modeling.py"


@pytest.mark.parametrize("keep", [0, 7, 400, -1])
def test_a_truncated_file_is_refused(checkpoint, keep):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert refused(checkpoint).file == "model.safetensors"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessing.json", "thresholds.json"])
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()
    assert name in str(refused(checkpoint))


def test_wrong_shapes_are_named(checkpoint):
    weights = checkpoint / "model.safetensors"
    tensors = load_file(weights)
    tensors["head.weight"] = tensors["head.weight"][:, :-1].copy()
    save_file(tensors, weights)
    assert "head.weight" in refused(checkpoint).message


def test_a_missing_tensor_is_named(checkpoint):
    weights = checkpoint / "model.safetensors"
    tensors = load_file(weights)
    del tensors["head.bias"]
    save_file(tensors, weights)
    assert "head.bias" in refused(checkpoint).message


def test_another_architecture_is_refused(checkpoint):
    edit(checkpoint / "config.json", model_type="bert")
    assert "bert" in refused(checkpoint).message


@pytest.mark.parametrize("changes", [{"width": 96}, {"layers": 1}, {"width": "wide"}, {"labels": ["effusion"]}])
def test_a_configuration_that_does_not_fit_is_refused(checkpoint, changes):
    edit(checkpoint / "config.json", **changes)
    error = refused(checkpoint)
    assert error.file and error.remedy


@pytest.mark.parametrize("values", [{"effusion": 0.5}, None, {"effusion": 2}])
def test_thresholds_must_fit_the_labels(checkpoint, values):
    edit(checkpoint / "thresholds.json", values=values)
    assert refused(checkpoint).file == "thresholds.json"


def test_a_cuda_device_that_is_not_there_is_refused(checkpoint, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AdapterError, match="CUDA"):
        FUSION.load(checkpoint, settings=InferenceSettings(), device="cuda")


def test_an_unknown_precision_is_refused(checkpoint):
    with pytest.raises(AdapterError, match="int3"):
        FUSION.load(checkpoint, settings=InferenceSettings(precision="int3"))
