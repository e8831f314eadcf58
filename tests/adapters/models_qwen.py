"""Tiny models in the manner of Qwen2-VL and Qwen2.5-VL, saved as their publishers save them: a picture has as many
tokens as its size asks for, and the processor reads video too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters.models_g2 import CHAT, END, IMAGE, PAD, PATCH, SPECIAL, START, stir, tokenizer, vocabulary, wishes

BEGIN, FINISH, VIDEO = (SPECIAL.index(word) for word in ("<start_of_image>", "<end_of_image>", "<unk>"))
TEMPLATE = CHAT.replace("IMAGE", "<start_of_image><image><end_of_image>")
SIGNS = {"image_token": "<image>", "video_token": "<unk>"}
HAND: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 64, "vocab_size": vocabulary(), "max_position_embeddings": 512, "pad_token_id": PAD,
    "bos_token_id": START, "eos_token_id": END,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
}  # fmt: skip
IDS = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": BEGIN,
    "vision_end_token_id": FINISH,
}


def save_qwen2_vl(folder: Path) -> Path:
    """Files of today: processor_config.json with a part for video, chat_template.jinja."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    eye = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": PATCH, "mlp_ratio": 2}
    config = Qwen2VLConfig(vision_config=eye, text_config=HAND, **IDS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(config)
        stir(model)
    model.save_pretrained(folder)
    _save_words(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    parts = {"image_processor": _pictures(), "video_processor": _video(), "processor_class": "Qwen2VLProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(parts))
    return _asked(folder)


def save_qwen2_5_vl(folder: Path) -> Path:
    """Files of when it was published: preprocessor_config.json, the chat template in the tokenizer's file."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    eye = {
        "depth": 2, "hidden_size": 32, "out_hidden_size": 32, "num_heads": 2, "patch_size": PATCH,
        "intermediate_size": 64, "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(vision_config=eye, text_config=HAND, **IDS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration(config)
        stir(model)
    model.save_pretrained(folder)
    _save_words(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": TEMPLATE}))
    kept = _pictures() | {"processor_class": "Qwen2_5_VLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(kept))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(_video()))
    return _asked(folder)


def _save_words(folder: Path) -> None:
    words = tokenizer(extra_special_tokens=SIGNS)
    words.save_pretrained(folder)


def _pictures() -> dict[str, Any]:
    """Between one and four patches of 28 pixels a side."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    found = Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=2, temporal_patch_size=2,
        size={"shortest_edge": 28 * 28, "longest_edge": 112 * 112},
    )  # fmt: skip
    return dict(found.to_dict())


def _video() -> dict[str, Any]:
    return {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": PATCH, "temporal_patch_size": 2}


def _asked(folder: Path) -> Path:
    return wishes(
        folder,
        prompt="Reason: {text.indication}\nWrite the findings.",
        text_inputs=["text.indication"],
        generation={"max_new_tokens": 12},
    )
