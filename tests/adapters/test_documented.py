"""The ``auscult.json`` examples of docs/adapters.md are read by the adapters that they are for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from core.errors import AdapterError
from models_registry.adapters import image_text_to_text, prompts, vision_encoder_decoder
from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.adapters.classifier import ClassifierWishes
from models_registry.adapters.endpoint import EndpointFactory
from models_registry.adapters.generation import Generation
from models_registry.adapters.prompts import Prompts
from models_registry.adapters.wishes import read_wishes
from models_registry.cohorts.schema import StudyBatch
from tests.adapters import models_gguf
from tests.adapters.conftest import SAVERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with the first JSON example of a section."""
    section = PAGE.split(f"\n## `{request.param}`\n")[1].split("\n## ")[0]
    example = re.findall(r"```json\n(.*?)```", section, re.S)[0]
    (tmp_path / "auscult.json").write_text(json.dumps(json.loads(example)))
    return tmp_path


@pytest.mark.parametrize("folder", ["vision_encoder_decoder"], indirect=True)
def test_an_encoder_with_a_decoder(folder: Path) -> None:
    wishes = read_wishes(folder, vision_encoder_decoder.KEYS)
    assert Generation.from_wishes(wishes).max_new_tokens == 128


@pytest.mark.parametrize(
    ("folder", "sign"), [("image_text_to_text", "<image>"), ("text_generation", None)], indirect=["folder"]
)
def test_models_with_a_prompt(folder: Path, sign: str | None) -> None:
    wishes = read_wishes(folder, prompts.KEYS, required=("prompt",))
    Prompts.from_wishes(wishes, image_sign=sign, has_template=True)
    assert Generation.from_wishes(wishes).max_new_tokens in {200, 300}
    assert image_text_to_text.KEYS is prompts.KEYS


@pytest.mark.parametrize("folder", ["torch_export"], indirect=True)
def test_classifiers(folder: Path) -> None:
    assert ClassifierWishes.read(folder).labels == ("effusion", "pneumothorax")


def example(section: str, language: str) -> str:
    """The first example of a section in a language; an empty one stands for none."""
    text = PAGE.split(f"\n## `{section}`\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)[0]


LONG = {"max_position_embeddings": 2048}


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("vision_encoder_decoder", "vision_encoder_decoder"),
        ("image_text_to_text", "image_text_to_text"),
        ("qwen2_vl", "image_text_to_text"),
        ("text_generation", "text_generation"),
        ("gguf", "text_generation"),
    ],
)
def test_the_example_is_run_by_a_model_of_its_kind(tmp_path: Path, kind: str, section: str) -> None:
    """The wishes as they stand on the page, with a context as long as real models have and fewer words to wait for."""
    if kind == "gguf":
        models_gguf.save_gguf(tmp_path, context_length=2048)
    else:
        SAVERS[kind](tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        part = config.get("text_config", config.get("decoder", config))
        part.update(LONG if "max_position_embeddings" in part else {})
        (tmp_path / "config.json").write_text(json.dumps(config))
    body = json.loads(example(section, "json"))
    (tmp_path / "auscult.json").write_text(json.dumps(body))
    factory = ADAPTERS.get(section)
    if kind == "vision_encoder_decoder":
        with pytest.raises(AdapterError, match="context"):  # 128 words do not fit into the tiny decoder
            factory.inspect(tmp_path)
    else:
        assert factory.inspect(tmp_path).details["generation"]["max_new_tokens"] == body["generation"]["max_new_tokens"]
    body["generation"]["max_new_tokens"] = 4
    (tmp_path / "auscult.json").write_text(json.dumps(body))
    batch = StudyBatch(
        study_ids=("s",),
        patient_ids=("p",),
        images=[np.full((30, 30), 80, dtype=np.uint8)],
        texts={"indication": ["cough"], "findings": ["clear"]},
    )
    found = factory.load(tmp_path, settings=InferenceSettings()).predict(batch)
    assert isinstance(found.texts["generated"][0], str)


def test_a_program_is_exported_by_the_code_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are run as they stand, and the result is registered with the wishes beside them."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))

    monkeypatch.chdir(tmp_path)
    exec(compile(example("torch_export", ""), "docs/adapters.md", "exec"), {"torch": torch, "model": Net()})
    (tmp_path / "auscult.json").write_text(example("torch_export", "json"))
    adapter = ADAPTERS.get("torch_export").load(tmp_path, settings=InferenceSettings())
    pictures = [np.full((50, 60), level, dtype=np.uint8) for level in (10, 200)]
    scores = adapter.predict(StudyBatch(study_ids=("a", "b"), patient_ids=("a", "b"), images=list(pictures))).scores
    assert sorted(scores) == ["effusion", "pneumothorax"]
    assert len(set(scores["effusion"].tolist())) == 2


@pytest.mark.parametrize("folder", ["endpoint"], indirect=True)
def test_an_endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", "models.hospital.lan:8000")
    monkeypatch.setenv("AUSCULT_ENDPOINT_KEY_VLLM", "secret")
    info = EndpointFactory().inspect(folder)
    assert not info.runs_weights
    assert "not bound by a digest" in info.details["weights"]


def test_every_adapter_has_a_row_a_section_and_words_for_the_page() -> None:
    from models_registry.pages.intakes import ADAPTER_WORDS

    for key, _ in ADAPTERS:
        assert f"| `{key}` |" in PAGE
        assert f"\n## `{key}`\n" in PAGE
        assert key in ADAPTER_WORDS
