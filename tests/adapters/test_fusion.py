"""The fusion adapter and the reference model: bad checkpoints are refused, good ones are run as they were trained."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, Capability, InferenceSettings
from models_registry.adapters.checkpoint import check_safe, tensor_shapes
from models_registry.reference.occlusion import hide_modalities
from models_registry.reference.preprocessing import Preprocessor
from tests.adapters.conftest import SMALL, matrix, without

FUSION = ADAPTERS.get("fusion")


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        FUSION.inspect(folder)
    assert caught.value.remedy
    return caught.value


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_inspection_declares_what_the_protocol_needs(trained):
    info = FUSION.inspect(trained.checkpoint)
    assert info.capabilities == {Capability.CLASSIFY, Capability.EMBED, Capability.ATTRIBUTE}
    assert info.details["thresholds"] == trained.result.thresholds
    assert info.details["parameters"] == trained.result.parameters
    assert {"image", "text.indication", "series.crp", "sex", "age", "view"} <= set(info.modalities)
    assert "text.reference" not in info.modalities
    assert info.runs_weights


def test_a_backbone_embeds_and_writes_and_scores_nothing(trained):
    info = FUSION.inspect(trained.backbone)
    assert (info.labels, info.outputs) == ((), ("text.generated",))
    assert info.capabilities == {Capability.EMBED, Capability.GENERATE}
    assert info.details["kind"] == "backbone"
    assert not (trained.backbone / "head.safetensors").exists()


def test_a_model_of_transformers_is_loaded_from_its_folder(fusion, batch, trained):
    import torch
    from transformers import AutoModel

    from models_registry.reference.model import register

    register()
    model = AutoModel.from_pretrained(trained.checkpoint)
    tensors = {name: torch.from_numpy(values) for name, values in fusion.preprocess(batch).items()}
    with torch.inference_mode():
        scores = torch.sigmoid(model(**tensors).logits).double().numpy()
    labels = sorted(fusion.info.labels)
    assert (
        scores[:, [fusion.info.labels.index(label) for label in labels]].tobytes()
        == matrix(fusion.predict(batch)).tobytes()
    )


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


def test_an_embedding_is_a_vector_of_length_one_in_the_shared_space(fusion, batch):
    import torch

    people = {"sex", "age", "view"}
    series = {name for name in fusion.info.modalities if name.startswith("series.")}
    kinds = {"image": "image", "demographics": "demographics", "series": "series", "sex": "demographics"}
    for modality, kept in {"image": {"image"}, "demographics": people, "series": series, "sex": {"sex"}}.items():
        alone = fusion.preprocess(without(batch, set(fusion.info.modalities) - kept))
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(values) for name, values in alone.items()}
            expected = fusion.model.embed(kinds[modality], tensors).numpy()
        vectors = fusion.embed(batch, modality)
        present = ~np.isnan(vectors).any(axis=1)
        assert vectors.shape == (len(batch), SMALL.width)
        np.testing.assert_array_equal(vectors[present], expected[present])
        np.testing.assert_allclose(np.linalg.norm(vectors[present], axis=1), 1, atol=1e-5)
        assert np.isnan(fusion.embed(without(batch, kept), modality)).all()
    assert not np.isnan(fusion.embed(without(batch, {"sex"}), "demographics")).any()


def test_modalities_of_a_study_lie_nearer_to_each_other_than_those_of_different_studies(fusion, batch):
    """What contrastive pretraining is for; by chance the rank of a study's own would be in the middle."""
    image, whole = fusion.embed(batch, "image"), fusion.embed(without(batch, {"image"}), "study")
    both = ~(np.isnan(image).any(axis=1) | np.isnan(whole).any(axis=1))
    likeness = image[both] @ whole[both].T
    ranks = (likeness > np.diag(likeness)[:, None]).mean(axis=1)
    assert ranks.mean() < 0.4


def test_an_embedding_does_not_change_with_the_head(fusion, batch, trained):
    backbone = FUSION.load(trained.backbone, settings=InferenceSettings())
    for modality in ("image", "series.crp", "text.indication"):
        np.testing.assert_array_equal(fusion.embed(batch, modality), backbone.embed(batch, modality))


def test_reports_are_written_and_never_read(trained, batch):
    backbone = FUSION.load(trained.backbone, settings=InferenceSettings())
    written = backbone.predict(batch).texts["generated"]
    assert all(text.startswith(("No ", "Small ", "Moderate ", "Large ")) and text.endswith(".") for text in written)
    head = FUSION.load(trained.checkpoint, settings=InferenceSettings())
    lying = replace(batch, texts=batch.texts | {"reference": ["Large left pleural effusion."] * len(batch)})
    assert backbone.predict(lying).texts["generated"].tolist() == written.tolist()
    assert matrix(head.predict(lying)).tobytes() == matrix(head.predict(batch)).tobytes()


def test_half_precision_gives_nearly_the_same_scores(fusion, batch, trained):
    half = FUSION.load(trained.checkpoint, settings=InferenceSettings(precision="bfloat16"))
    assert np.abs(matrix(half.predict(batch)) - matrix(fusion.predict(batch))).max() < 0.05
    assert half.embed(batch, "image").dtype == np.float32


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
    learned = Preprocessor.learn([batch], image_size=64, text="indication", report="reference", **names)
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


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "optimizer.ckpt", "notes.txt"])
def test_pickles_are_refused_by_name_and_by_content(checkpoint, name):
    (checkpoint / name).write_bytes(pickle.dumps({"weights": [1.0]}))
    error = refused(checkpoint)
    assert error.file == name
    assert "safetensors" in error.remedy


def test_a_pickle_called_safetensors_is_refused(checkpoint):
    (checkpoint / "backbone.safetensors").write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    assert "pickle" in refused(checkpoint).message


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_header_whose_length_begins_as_a_pickle_does_is_no_pickle(tmp_path, protocol):
    """0x80 and a protocol number are also the low bytes of header lengths such as 896."""
    length = protocol * 256 + 0x80
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    (tmp_path / "head.safetensors").write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    check_safe(tmp_path)
    assert tensor_shapes(tmp_path / "head.safetensors") == {"w": (1,)}
    (tmp_path / "head.safetensors").write_bytes(pickle.dumps([0.0] * 9, protocol=protocol))
    with pytest.raises(AdapterError, match="pickle"):
        check_safe(tmp_path)


def test_code_in_the_folder_is_refused(checkpoint):
    (checkpoint / "modeling.py").write_text("raise SystemExit\n")
    assert refused(checkpoint).file == "modeling.py"


def test_the_former_layout_is_refused_with_the_way_out(checkpoint):
    (checkpoint / "backbone.safetensors").rename(checkpoint / "model.safetensors")
    error = refused(checkpoint)
    assert error.file == "model.safetensors"
    assert "Train it again" in error.remedy


@pytest.mark.parametrize("name", ["backbone.safetensors", "head.safetensors"])
@pytest.mark.parametrize("keep", [0, 7, 400, -1])
def test_a_truncated_file_is_refused(checkpoint, keep, name):
    weights = checkpoint / name
    weights.write_bytes(weights.read_bytes()[:keep])
    assert refused(checkpoint).file == name


@pytest.mark.parametrize(
    "name", ["config.json", "backbone.safetensors", "head.safetensors", "preprocessing.json", "thresholds.json"]
)
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()
    assert name in str(refused(checkpoint))


@pytest.mark.parametrize(
    ("file", "name"), [("head.safetensors", "head.memory.weight"), ("backbone.safetensors", "fusion.0.qkv.weight")]
)
def test_wrong_shapes_are_named(checkpoint, file, name):
    tensors = load_file(checkpoint / file)
    tensors[name] = tensors[name][:, :-1].copy()
    save_file(tensors, checkpoint / file)
    error = refused(checkpoint)
    assert name in error.message
    assert error.file == file


def test_a_missing_tensor_is_named(checkpoint):
    weights = checkpoint / "head.safetensors"
    tensors = load_file(weights)
    del tensors["head.out.bias"]
    save_file(tensors, weights)
    assert "head.out.bias" in refused(checkpoint).message


def test_low_rank_additions_must_fit(trained, tmp_path):
    folder = Path(shutil.copytree(trained.lora, tmp_path / "lora"))
    edit(folder / "config.json", lora={"rank": 3, "alpha": 6, "targets": ["qkv", "out", "up", "down"]})
    assert "lora.fusion" in refused(folder).message
    edit(folder / "config.json", lora={"rank": "some"})
    assert refused(folder).file in {"config.json", "head.safetensors"}


def test_weights_that_are_not_numbers_are_told_and_not_scored(checkpoint, batch):
    weights = checkpoint / "head.safetensors"
    tensors = load_file(weights)
    tensors["head.out.bias"][:] = np.nan
    save_file(tensors, weights)
    with pytest.raises(AdapterError, match="not a number"):
        FUSION.load(checkpoint, settings=InferenceSettings()).predict(batch)


def test_another_architecture_is_refused(checkpoint):
    edit(checkpoint / "config.json", model_type="bert")
    assert "bert" in refused(checkpoint).message


@pytest.mark.parametrize(
    "changes", [{"width": 96}, {"layers": 1}, {"width": "wide"}, {"labels": ["effusion"]}, {"labels": "effusion"}]
)
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
