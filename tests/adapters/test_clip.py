"""Zero-shot classification: the score against transformers' own forward pass, and every bad folder refused by name."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from config.embedded.stack import ROOT
from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, Embeds, InferenceSettings
from models_registry.cohorts.schema import StudyBatch
from tests.adapters.conftest import matrix
from tests.adapters.models_clip import EDGE, LABELS, save_clip, save_pair, save_siglip, tokenizer, wishes

CLIP = ADAPTERS.get("clip")
SAVERS = {"clip": save_clip, "siglip": save_siglip, "pair": save_pair}


@pytest.fixture(scope="module", params=SAVERS)
def saved(request, tmp_path_factory):
    return SAVERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def loaded(saved):
    return CLIP.load(saved, settings=InferenceSettings())


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("original"))


@pytest.fixture
def folder(original, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(original, tmp_path / "model")


def pictures(*images) -> StudyBatch:
    names = tuple(f"s{row}" for row in range(len(images)))
    return StudyBatch(study_ids=names, patient_ids=names, images=list(images))


def noise(shape, seed=0, top=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        CLIP.inspect(folder)
    assert caught.value.remedy
    assert str(folder) not in str(caught.value)
    return caught.value


def test_the_score_is_the_softmax_of_the_model_s_own_logits(saved, loaded):
    """One prompt on each side: transformers' forward pass gives the logits, without any code of the adapter."""
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    image = noise((EDGE, EDGE, 3))
    model = AutoModel.from_pretrained(saved, local_files_only=True).eval()
    sides = [LABELS["cardiomegaly"][side][0] for side in ("positive", "negative")]
    words = AutoTokenizer.from_pretrained(saved)(sides, padding="max_length", return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(saved, backend="pil")([image], return_tensors="pt")["pixel_values"]
    mask = {} if model.config.model_type == "siglip" else {"attention_mask": words["attention_mask"]}
    with torch.inference_mode():
        logits = model(input_ids=words["input_ids"], pixel_values=pixels, **mask).logits_per_image[0]
    expected = float(torch.softmax(logits.double(), 0)[0])
    assert loaded.predict(pictures(image)).scores["cardiomegaly"][0] == pytest.approx(expected, abs=2e-6)
    assert abs(expected - 0.5) > 1e-3


def test_prompts_are_averaged_as_directions(loaded):
    batch = StudyBatch(
        study_ids=("a", "b"), patient_ids=("a", "b"), images=[noise((EDGE, EDGE))] * 2,
        texts={"x": LABELS["effusion"]["positive"], "y": LABELS["effusion"]["negative"]},
    )  # fmt: skip
    image = loaded.embed(batch, "image")[0].astype(float)
    means = [loaded.embed(batch, name).astype(float).mean(axis=0) for name in ("text.x", "text.y")]
    there, absent = (image @ mean / np.linalg.norm(mean) for mean in means)
    expected = np.exp(loaded.scale * there) / (np.exp(loaded.scale * there) + np.exp(loaded.scale * absent))
    assert loaded.predict(batch).scores["effusion"][0] == pytest.approx(expected, abs=1e-6)


def test_only_labels_with_a_threshold_are_decided(loaded):
    found = loaded.predict(pictures(noise((40, 50), 1), None, noise((64, 64, 3), 2)))
    assert set(found.scores) == {"effusion", "cardiomegaly"}
    assert list(found.decisions) == ["effusion"]
    assert np.isnan(matrix(found)[1]).all()
    assert found.decisions["effusion"][1] == -1
    present = [0, 2]
    assert (found.decisions["effusion"][present] == (found.scores["effusion"][present] >= 0.5)).all()


def test_prompts_turned_round_turn_the_score_round(folder):
    turned = {name: {"positive": side["negative"], "negative": side["positive"]} for name, side in LABELS.items()}
    batch = pictures(noise((EDGE, EDGE)))
    one = CLIP.load(folder, settings=InferenceSettings()).predict(batch)
    two = CLIP.load(wishes(folder, labels=turned), settings=InferenceSettings()).predict(batch)
    assert matrix(one) + matrix(two) == pytest.approx(np.ones((1, 2)))


def test_greys_and_colours_of_one_picture_give_one_vector(loaded):
    grey = noise((EDGE, EDGE))
    deep = grey.astype(np.uint16) << 8
    kinds = pictures(grey, np.stack([grey] * 3, axis=2), grey[:, :, None], deep, deep >> 4)
    vectors = loaded.embed(kinds, "image")
    assert np.abs(vectors - vectors[0]).max() < 1e-6
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)


def test_texts_are_embedded_where_there_are_any(loaded):
    assert isinstance(loaded, Embeds)
    texts = {"indication": ["cough", None, " ", "cough and fever " * 40]}
    batch = replace(pictures(None, None, None, None), texts=texts)
    vectors = loaded.embed(batch, "text.indication")
    assert vectors.dtype == np.float32
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, True, False]
    alone = loaded.embed(replace(pictures(None), texts={"indication": ["cough"]}), "text.indication")
    assert np.abs(alone[0] - vectors[0]).max() < 1e-5
    assert np.isnan(loaded.embed(batch, "text.other")).all()
    for name in ("series.crp", "text.", "text", ""):
        with pytest.raises(AdapterError, match="does not embed") as caught:
            loaded.embed(batch, name)
        assert "image" in caught.value.remedy


def test_half_precision_stays_near(saved, loaded):
    batch = pictures(noise((EDGE, EDGE)), noise((EDGE, EDGE), 4))
    half = CLIP.load(saved, settings=InferenceSettings(precision="bfloat16"))
    assert np.abs(matrix(half.predict(batch)) - matrix(loaded.predict(batch))).max() < 0.05


def test_inspection_declares_what_was_wished(saved):
    info = CLIP.inspect(saved)
    assert info.outputs == ("score.effusion", "score.cardiomegaly", "pred.effusion")
    assert info.required == ("image",)
    assert info.details["thresholds_source"] == "the middle"
    assert info.details["prompts"]["effusion, negative"] == LABELS["effusion"]["negative"]
    stored = sum(value.numel() for value in load_file(saved / "model.safetensors").values())
    assert info.details["parameters"] == stored


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("preprocessor_config.json", "preprocessor_config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("auscult.json", "auscult.json"),
    ],
)
def test_a_missing_file_is_named(folder, name, told):
    (folder / name).unlink()
    assert refused(folder).file == told


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"labels": {}}, "labels"),
        ({"labels": None}, "labels"),
        ({"labels": ["effusion"]}, "labels"),
        ({"labels": {"effusion": {}}}, "labels.effusion.positive"),
        ({"labels": {"effusion": ["a heart"]}}, "labels.effusion"),
        ({"labels": {"effusion": {"positive": ["x"]}}}, "labels.effusion.negative"),
        ({"labels": {"effusion": {"positive": ["x"], "negative": []}}}, "labels.effusion.negative"),
        ({"labels": {"effusion": {"positive": [" "], "negative": ["x"]}}}, "labels.effusion.positive"),
        ({"labels": {"effusion": {"positive": [3], "negative": ["x"]}}}, "labels.effusion.positive"),
        ({"labels": {"effusion": {"positive": "x", "negative": ["x"]}}}, "labels.effusion.positive"),
        ({"labels": {"effusion": {"positive": ["x"], "negative": ["x"], "maybe": []}}}, "labels.effusion.maybe"),
        ({"labels": {" ": {"positive": ["x"], "negative": ["x"]}}}, "labels. "),
        ({"labels": {"effusion": {"positive": ["heart " * 99], "negative": ["x"]}}}, "labels.effusion.positive"),
        ({"thresholds": {"fracture": 0.5}}, "thresholds.fracture"),
        ({"thresholds": {"effusion": 50}}, "thresholds.effusion"),
        ({"treshold_source": "?"}, "treshold_source"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_wishes_that_cannot_be_fulfilled_name_their_key(folder, changes, key):
    error = refused(wishes(folder, **changes))
    assert (error.file, error.column) == ("auscult.json", key)


def test_another_kind_of_model_is_refused(folder):
    body = json.loads((folder / "config.json").read_text())
    for changes in ({"model_type": "bert"}, {"model_type": None}, {"architectures": ["CLIPVisionModel"]}):
        (folder / "config.json").write_text(json.dumps(body | changes))
        assert refused(folder).file == "config.json"


@pytest.mark.parametrize(
    "changes",
    [{"projection_dim": "wide"}, {"projection_dim": 12}, {"vision_config": 3}, {"vision_config": {}},
     {"text_config": {"num_attention_heads": 3}}, {"text_config": {"hidden_size": "wide"}}, {"architectures": "CLIP"}],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(folder, changes):
    body = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        body[name] = body[name] | value if isinstance(value, dict) and value else value
    (folder / "config.json").write_text(json.dumps(body))
    assert refused(folder).file in {"config.json", "model.safetensors"}


def split_in_two(folder):
    """The weights as transformers writes large models: several files and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        part = {name: value for name, value in tensors.items() if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    body = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(body))


def test_weights_in_several_files_are_the_same_model(folder, original):
    split_in_two(folder)
    batch = pictures(noise((EDGE, EDGE)))
    one, two = (CLIP.load(place, settings=InferenceSettings()) for place in (original, folder))
    assert one.info == two.info
    assert matrix(one.predict(batch)) == pytest.approx(matrix(two.predict(batch)), abs=1e-6)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert refused(folder).file == "model-00002-of-00002.safetensors"


@pytest.mark.parametrize("keep", [0, 7, 400, -1])
def test_truncated_weights_are_refused(folder, keep):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert refused(folder).file == "model.safetensors"


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_tensor_of_another_shape_is_named(folder):
    change_weights(folder, lambda t: t.update({"text_projection.weight": t["text_projection.weight"][:-1].clone()}))
    assert "text_projection.weight" in refused(folder).message


def test_a_missing_tensor_is_named(folder):
    change_weights(folder, lambda t: t.pop("visual_projection.weight"))
    assert "visual_projection.weight" in refused(folder).message


def test_numbers_that_a_model_computes_for_itself_may_lie_in_old_weights(folder):
    import torch

    places = {"text_model.embeddings.position_ids": torch.arange(3)[None]}
    before = matrix(CLIP.load(folder, settings=InferenceSettings()).predict(pictures(noise((EDGE, EDGE)))))
    change_weights(folder, lambda t: t.update(places))
    after = matrix(CLIP.load(folder, settings=InferenceSettings()).predict(pictures(noise((EDGE, EDGE)))))
    assert after.tolist() == before.tolist()


def test_weights_that_are_no_numbers_are_refused(folder):
    change_weights(folder, lambda t: t["visual_projection.weight"].fill_(float("nan")))
    adapter = CLIP.load(folder, settings=InferenceSettings())
    assert np.isnan(matrix(adapter.predict(pictures(None)))).all()
    with pytest.raises(AdapterError, match="not a number"):
        adapter.predict(pictures(noise((EDGE, EDGE))))
    change_weights(folder, lambda t: t["text_projection.weight"].fill_(float("nan")))
    with pytest.raises(AdapterError, match="prompts"):
        CLIP.load(folder, settings=InferenceSettings())


def test_processor_and_tokenizer_of_another_model_are_refused(folder):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = tokenizer(extra=("more", "words"))
    words.save_pretrained(folder)
    assert refused(folder).file == "tokenizer.json"
    tokenizer().save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}).save_pretrained(folder)
    assert refused(folder).file == "preprocessor_config.json"


def test_damaged_processor_files_are_refused(folder):
    for name in ("preprocessor_config.json", "tokenizer.json"):
        kept = (folder / name).read_text()
        (folder / name).write_text("{")
        assert refused(folder).file == name
        (folder / name).write_text(kept)
    assert "effusion" in CLIP.inspect(folder).labels


def test_a_device_or_precision_that_is_not_there_is_refused(folder, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AdapterError, match="CUDA"):
        CLIP.load(folder, settings=InferenceSettings(), device="cuda")
    with pytest.raises(AdapterError, match="int3"):
        CLIP.load(folder, settings=InferenceSettings(precision="int3"))


def test_the_example_on_the_page_is_run_as_it_stands(folder):
    page = (ROOT / "docs" / "adapters.md").read_text()
    section = page.split("\n## `clip`\n")[1].split("\n## ")[0]
    example = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    listing = re.search(r"```\ncxr-clip/\n(.*?)```", section, re.DOTALL)
    assert example is not None
    assert listing is not None
    (folder / "auscult.json").write_text(example[1])
    assert {path.name for path in folder.iterdir()} <= set(re.findall(r"^  (\S+)", listing[1], re.MULTILINE))
    adapter = CLIP.load(folder, settings=InferenceSettings())
    found = adapter.predict(pictures(noise((EDGE, EDGE))))
    assert set(found.scores) == {"effusion", "cardiomegaly"}
    assert set(found.decisions) == {"effusion"}
