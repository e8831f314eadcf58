"""Models that write: what is refused, by file and key, and with what words."""

from __future__ import annotations

import json
import pickle

import pytest
from safetensors.numpy import load_file, save_file

from core.errors import AdapterError
from models_registry.adapters.base import InferenceSettings
from tests.adapters.generator_steps import KEYS, edit, factory, refused, written
from tests.adapters.models_g2 import (  # noqa: F401
    gemma,
    image_text_to_text,
    studies,
    text_generation,
    vision_encoder_decoder,
    writers,
)

# What is refused


@pytest.mark.parametrize("name", KEYS)
def test_broken_folders_are_refused_by_file(folder, name):
    home = folder(name)
    weights = home / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert refused(name, home).file == "model.safetensors"
    weights.unlink()
    assert refused(name, home).file == "model.safetensors"
    (home / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    assert "safetensors" in refused(name, home).remedy
    (home / "pytorch_model.bin").unlink()
    weights.write_bytes(whole)
    (home / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    assert refused(name, home).file == "model.gguf"
    (home / "model.gguf").unlink()
    (home / "adapter_config.json").write_text("{}")
    assert refused(name, home).file == "adapter_config.json"
    (home / "adapter_config.json").unlink()
    factory(name).inspect(home)
    for file in home.glob("*token*"):
        file.unlink()
    assert refused(name, home).file == "tokenizer.json"


@pytest.mark.parametrize("name", ["vision_encoder_decoder", "image_text_to_text"])
def test_a_missing_image_processor_is_named(folder, name):
    home = folder(name)
    for file in ("preprocessor_config.json", "processor_config.json"):
        (home / file).unlink(missing_ok=True)
    assert refused(name, home).file == "preprocessor_config.json"


@pytest.mark.parametrize("name", KEYS)
def test_a_model_of_another_kind_is_refused(folder, name):
    home = folder(name)
    edit(home, "config.json", model_type="bert", architectures=["BertForMaskedLM"])
    assert "BertForMaskedLM" in refused(name, home).message
    edit(home, "config.json", model_type="nothing", architectures=None)
    assert refused(name, home).column == "model_type"
    other = folder("text_generation" if name != "text_generation" else "vision_encoder_decoder")
    assert refused(name, other).file == "config.json"


def test_attention_code_from_elsewhere_is_refused(folder):
    home = folder("image_text_to_text")
    inner = json.loads((home / "config.json").read_text())["text_config"]
    edit(home, "config.json", text_config=inner | {"attn_implementation": "somebody/kernel"})
    assert refused("image_text_to_text", home).column == "attn_implementation"
    edit(home, "config.json", text_config=inner | {"num_hidden_layers": 10**9})
    assert refused("image_text_to_text", home).column == "num_hidden_layers"


def test_weights_that_do_not_fit_are_named(folder):
    home = folder("text_generation")
    weights = home / "model.safetensors"
    tensors = load_file(weights)
    save_file(tensors | {"lm_head.weight": tensors["lm_head.weight"][:-1].copy()}, weights)
    assert "lm_head.weight" in refused("text_generation", home).message
    del tensors["model.norm.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"model\.norm\.weight"):
        factory("text_generation").load(home, settings=InferenceSettings())


def test_weights_in_several_files_are_read_together(folder, text_generation):  # noqa: F811
    home = folder("text_generation")
    tensors = load_file(home / "model.safetensors")
    (home / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        part = {name: tensors[name] for name in tensors if places[name] == file}
        save_file(part, home / file, metadata={"format": "pt"})
    index = home / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    model = factory("text_generation").load(home, settings=InferenceSettings())
    assert written(model, studies()) == written(text_generation, studies())
    index.write_text(json.dumps({"weight_map": places | {"more": places["lm_head.weight"]}}))
    assert "more" in refused("text_generation", home).message
    index.write_text(json.dumps({"weight_map": {"more": "../elsewhere.safetensors"}}))
    assert refused("text_generation", home).file == index.name
    index.write_text(json.dumps({"weight_map": places}))
    (home / places["lm_head.weight"]).unlink()
    assert refused("text_generation", home).file == places["lm_head.weight"]


@pytest.mark.parametrize(
    ("name", "changes", "column"),
    [
        (name, {"generation": body}, f"generation.{key}")
        for name in KEYS
        for key, body in [
            ("num_beams", {"num_beams": 4}),
            ("max_new_tokens", {"max_new_tokens": 5000}),
            ("max_new_tokens", {"max_new_tokens": 0}),
            ("max_new_tokens", {"max_new_tokens": "many"}),
            ("min_new_tokens", {"max_new_tokens": 4, "min_new_tokens": 5}),
            ("temperature", {"temperature": 0.7}),
            ("top_p", {"do_sample": True, "top_p": 0}),
        ]
    ]
    + [
        ("vision_encoder_decoder", {"prompt": "Write."}, "prompt"),
        ("text_generation", {"prompt": None}, "prompt"),
        ("text_generation", {"prompt": "Write {text.indication}: {text.age}"}, "prompt"),
        ("text_generation", {"prompt": "Write."}, "prompt"),
        ("text_generation", {"question": "{text.indication}"}, "question"),
        ("text_generation", {"text_inputs": []}, "text_inputs"),
        ("text_generation", {"text_inputs": ["text.reference"]}, "text_inputs"),
        ("text_generation", {"text_inputs": ["indication"]}, "text_inputs"),
        ("text_generation", {"required": ["image"]}, "required"),
        ("text_generation", {"format": "prose"}, "format"),
        ("text_generation", {"text_tokens": 450}, "text_tokens"),
        ("text_generation", {"generation": {"max_new_tokens": 430}}, "generation.max_new_tokens"),
        ("image_text_to_text", {"format": "plain"}, "prompt"),
        ("gemma", {"format": "plain", "system": "You are", "prompt": "<start_of_image>"}, "system"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_by_key(folder, name, changes, column):
    home = folder(name)
    edit(home, **changes)
    error = refused(name, home)
    assert (error.file, error.column) == ("auscult.json", column)


@pytest.mark.parametrize("name", ["image_text_to_text", "text_generation"])
def test_without_a_template_the_format_must_be_plain(folder, name):
    home = folder(name)
    (home / "chat_template.jinja").unlink()
    error = refused(name, home)
    assert error.column == "format"
    assert "plain" in error.remedy


def test_templates_without_a_place_or_without_sense_are_refused(folder):
    home = folder("image_text_to_text")
    template = home / "chat_template.jinja"
    good = template.read_text()
    template.write_text(good.replace("<image>", ""))
    assert "0 places" in refused("image_text_to_text", home).message
    template.write_text("{% for message in %}")
    assert refused("image_text_to_text", home).file == template.name
    template.write_text("{{ raise_exception('No system turn') }}")
    assert "No system turn" in refused("image_text_to_text", home).message


def test_a_tokenizer_or_picture_of_another_model_is_refused(folder):
    home = folder("vision_encoder_decoder")
    edit(home, "preprocessor_config.json", size={"height": 30, "width": 28})
    assert refused("vision_encoder_decoder", home).column == "size"
    edit(home, "preprocessor_config.json", size={"height": 28, "width": 28})
    body = json.loads((home / "tokenizer.json").read_text())
    body["model"]["vocab"] |= {"zz": 9000}
    (home / "tokenizer.json").write_text(json.dumps(body))
    assert refused("vision_encoder_decoder", home).file == "tokenizer.json"


def test_device_and_precision_must_be_there(writers, monkeypatch):  # noqa: F811
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in KEYS:
        with pytest.raises(AdapterError, match="CUDA"):
            factory(name).load(writers[name], settings=InferenceSettings(), device="cuda")
        with pytest.raises(AdapterError, match="int3"):
            factory(name).load(writers[name], settings=InferenceSettings(precision="int3"))


def test_half_precision_writes_too(writers):  # noqa: F811
    for name in KEYS:
        model = factory(name).load(writers[name], settings=InferenceSettings(precision="bfloat16"))
        assert any(written(model, studies(3)))
