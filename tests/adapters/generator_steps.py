"""What the tests of models that write share: the models, a copy that may be spoilt, short ways to ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS
from models_registry.cohorts.schema import StudyBatch

KEYS = ("vision_encoder_decoder", "image_text_to_text", "gemma", "text_generation")
PROMPTED = KEYS[1:]
DRAWN = {"max_new_tokens": 12, "do_sample": True, "temperature": 1.5, "top_k": 100, "top_p": 0.95}


def factory(name: str):
    return ADAPTERS.get("image_text_to_text" if name == "gemma" else name)


def written(adapter, batch: StudyBatch) -> list[str | None]:
    return adapter.predict(batch).texts["generated"].tolist()


def edit(folder: Path, name: str = "auscult.json", **changes) -> None:
    path = folder / name
    body = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in body.items() if value is not None}))


def refused(name: str, folder: Path) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        factory(name).inspect(folder)
    assert caught.value.remedy
    assert str(folder) not in str(caught.value)
    return caught.value
