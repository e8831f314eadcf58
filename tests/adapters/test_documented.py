"""The ``auscult.json`` examples of docs/adapters.md are read by the adapters that they are for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models_registry.adapters import image_text_to_text, prompts, vision_encoder_decoder
from models_registry.adapters.classifier import ClassifierWishes
from models_registry.adapters.endpoint import EndpointFactory
from models_registry.adapters.generation import Generation
from models_registry.adapters.prompts import Prompts
from models_registry.adapters.wishes import read_wishes

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


@pytest.mark.parametrize("folder", ["endpoint"], indirect=True)
def test_an_endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_ENDPOINT_HOSTS", "models.hospital.lan:8000")
    monkeypatch.setenv("AUSCULT_ENDPOINT_KEY_VLLM", "secret")
    info = EndpointFactory().inspect(folder)
    assert not info.runs_weights
    assert "not bound by a digest" in info.details["weights"]


def test_every_adapter_has_a_row_a_section_and_words_for_the_page() -> None:
    from models_registry.adapters.base import ADAPTERS
    from models_registry.pages.versions import ADAPTER_WORDS

    for key, _ in ADAPTERS:
        assert f"| `{key}` |" in PAGE
        assert f"\n## `{key}`\n" in PAGE
        assert key in ADAPTER_WORDS
