"""Qwen-VL style models without torchvision: pictures of any size, and nothing of video."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.adapters.still_pictures import _without_video
from models_registry.cohorts.schema import StudyBatch
from tests.adapters.models_qwen import TEMPLATE, save_qwen2_5_vl, save_qwen2_vl

FACTORY = ADAPTERS.get("image_text_to_text")
SAVERS = {"qwen2_vl": save_qwen2_vl, "qwen2_5_vl": save_qwen2_5_vl}


@pytest.fixture(scope="module", params=SAVERS)
def folder(request, tmp_path_factory) -> Path:
    return SAVERS[request.param](tmp_path_factory.mktemp("qwen") / request.param)


@pytest.fixture(scope="module")
def adapter(folder):
    return FACTORY.load(folder, settings=InferenceSettings())


def pictures(*shapes: tuple[int, int]) -> StudyBatch:
    rng = np.random.default_rng(2)
    ids = tuple(f"s{row}" for row in range(len(shapes)))
    return StudyBatch(
        study_ids=ids,
        patient_ids=ids,
        images=[rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes],
        texts={"indication": ["cough and fever"] * len(shapes)},
    )


def test_torchvision_is_not_needed(adapter):
    assert "torchvision" not in sys.modules
    assert adapter.info.details["preprocessing"].endswith("Qwen2VLImageProcessorPil")
    assert not hasattr(adapter.setting.renderer, "video_processor")


def test_a_text_is_what_transformers_writes_from_inputs_made_by_hand(adapter):
    """The picture's places are counted from its size, and the prompt is put together here."""
    import torch

    batch = pictures((64, 48))
    model, words = adapter.writer.model, adapter.setting.tokenizer
    processor = adapter.setting.renderer.image_processor
    prepared = processor(images=[Image.fromarray(batch.images[0]).convert("RGB")], return_tensors="pt")
    time, height, width = prepared["image_grid_thw"][0].tolist()
    assert (time, height % 2, width % 2) == (1, 0, 0)
    prompt = (
        "<turn>user\n<start_of_image>" + "<image>" * (height * width // 4) + "<end_of_image>"
        "Reason: cough and fever\nWrite the findings.<end>\n<turn>assistant\n"
    )
    tokens = words(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        found = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=(tokens == model.config.image_token_id).long(),
            **prepared,
            generation_config=adapter.writer.config,
        )
    wanted = words.decode(found[0, tokens.shape[1] :], skip_special_tokens=True).strip()
    assert adapter.predict(batch).texts["generated"].tolist() == [wanted]


def test_pictures_of_several_sizes_do_not_change_each_other(adapter):
    batch = pictures((28, 28), (112, 112), (40, 90), (200, 30))
    whole = adapter.predict(batch).texts["generated"].tolist()
    assert [adapter.predict(batch.rows(row, row + 1)).texts["generated"][0] for row in range(4)] == whole
    assert len(set(whole)) > 1


def test_a_template_in_the_file_of_old_is_read(tmp_path):
    folder = save_qwen2_vl(tmp_path / "old")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert FACTORY.inspect(folder).details["prompt_tokens"] > 20


def test_without_a_template_one_is_asked_for(tmp_path):
    folder = save_qwen2_vl(tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(AdapterError, match="no chat template"):
        FACTORY.inspect(folder)


def test_without_the_processor_the_missing_file_is_named(tmp_path):
    folder = save_qwen2_vl(tmp_path / "bare")
    (folder / "processor_config.json").unlink()
    with pytest.raises(AdapterError, match="no image processor") as caught:
        FACTORY.inspect(folder)
    assert caught.value.file == "preprocessor_config.json"


def test_a_processor_whose_parts_stand_otherwise_is_refused():
    class Other:
        @classmethod
        def get_attributes(cls) -> list[str]:
            return ["video_processor", "tokenizer"]

    with pytest.raises(AdapterError, match="Other reads video"):
        _without_video(Other)
