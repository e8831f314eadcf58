"""Tiny models that write text, really saved to disk and loaded from there: random weights, real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_registry.adapters.base import ADAPTERS, InferenceSettings
from models_registry.cohorts.schema import StudyBatch

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<start_of_image>", "<end_of_image>", "<turn>", "<end>"]
PAD, START, END, IMAGE = 0, 1, 2, 4
SIDE, PATCH = 28, 14
CHAT = (
    "{% for message in messages %}<turn>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<end>\n{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
"""A chat template as checkpoints carry one; the word IMAGE stands for the model's own sign of a picture."""


def tokenizer(**more: Any) -> Any:
    """Every byte is a token, after the special ones: any text can be read and written."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: place for place, word in enumerate(SPECIAL + letters)}
    inner = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", **more
    )


def vocabulary() -> int:
    return len(SPECIAL) + 256


def wishes(folder: Path, **body: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "auscult.json").write_text(json.dumps(body))
    return folder


def save_vision_encoder_decoder(folder: Path) -> Path:
    """A vision transformer of two layers, and a GPT-2 of two layers that looks at it."""
    import torch
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    eye = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=SIDE,
        patch_size=PATCH,
    )  # fmt: skip
    hand = GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=vocabulary(), n_positions=64, bos_token_id=START, eos_token_id=END,
        is_decoder=True, add_cross_attention=True,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(eye, hand)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = START, PAD, END
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionEncoderDecoderModel(config)
        stir(model)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return wishes(folder, generation={"max_new_tokens": 12})


def save_llava(folder: Path) -> Path:
    """CLIP's image tower and a Llama, two layers each."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    eye = CLIPVisionConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=SIDE,
        patch_size=PATCH, projection_dim=32,
    )  # fmt: skip
    hand = LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=vocabulary(),
        max_position_embeddings=512, pad_token_id=PAD, bos_token_id=START, eos_token_id=END,
    )  # fmt: skip
    config = LlavaConfig(vision_config=eye, text_config=hand, image_token_index=IMAGE, image_seq_length=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
        stir(model)
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=CHAT.replace("IMAGE", "<image>"),
    ).save_pretrained(folder)
    return wishes(
        folder,
        prompt="Reason: {text.indication}\nWrite the findings.",
        text_inputs=["text.indication"],
        generation={"max_new_tokens": 12},
    )


def save_gemma(folder: Path) -> Path:
    """Gemma 3, the family of MedGemma: a SigLIP tower and attention over the whole picture."""
    import torch
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    eye = SiglipVisionConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=SIDE,
        patch_size=PATCH,
    )  # fmt: skip
    hand = Gemma3TextConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        intermediate_size=64, vocab_size=vocabulary(), max_position_embeddings=512, sliding_window=64,
        pad_token_id=PAD, bos_token_id=START, eos_token_id=END, query_pre_attn_scalar=16,
    )  # fmt: skip
    config = Gemma3Config(
        vision_config=eye, text_config=hand, mm_tokens_per_image=4, image_token_index=IMAGE,
        boi_token_index=5, eoi_token_index=6, image_token_id=IMAGE, eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Gemma3ForConditionalGeneration(config)
        stir(model)
    model.save_pretrained(folder)
    signs = {"image_token": "<image>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer(extra_special_tokens=signs),
        image_seq_length=4,
        chat_template=CHAT.replace("IMAGE", "<start_of_image>"),
    ).save_pretrained(folder)
    return wishes(folder, prompt="Write the findings.", generation={"max_new_tokens": 12})


def save_text_generation(folder: Path) -> Path:
    """A Llama of two layers with a chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=vocabulary(),
        max_position_embeddings=512, pad_token_id=PAD, bos_token_id=START, eos_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        stir(model)
    model.save_pretrained(folder)
    words = tokenizer()
    words.chat_template = CHAT
    words.save_pretrained(folder)
    return wishes(
        folder,
        prompt="Reason: {text.indication}\nWrite a report.",
        text_inputs=["text.indication"],
        generation={"max_new_tokens": 12},
    )


def stir(model: Any) -> None:
    """Larger weights than a fresh model has: its words then depend on what it is shown."""
    import torch

    with torch.no_grad():
        for weights in model.parameters():
            if not weights.any() and weights.ndim > 1:  # Gemma's way from picture to words starts at nought
                weights.normal_(0, 0.5)
            elif weights.ndim > 1:
                weights.mul_(6.0)


def studies(number: int = 7) -> StudyBatch:
    """Pictures of several shapes and reasons of several lengths; study 2 has no picture, study 4 no reason."""
    rng = np.random.default_rng(8)
    shapes = [(40, 40), (64, 48), (30, 50, 3)]
    return StudyBatch(
        study_ids=tuple(f"s{row}" for row in range(number)),
        patient_ids=tuple(f"p{row}" for row in range(number)),
        images=[None if row == 2 else rng.integers(0, 256, shapes[row % 3]).astype(np.uint8) for row in range(number)],
        texts={"indication": [None if row == 4 else "cough and fever " * (row + 1) for row in range(number)]},
    )


SAVED = {
    "vision_encoder_decoder": save_vision_encoder_decoder,
    "image_text_to_text": save_llava,
    "gemma": save_gemma,
    "text_generation": save_text_generation,
}


@pytest.fixture(scope="session")
def writers(tmp_path_factory) -> dict[str, Path]:
    """The folder of each tiny model, made once."""
    home = tmp_path_factory.mktemp("writers")
    return {name: save(home / name) for name, save in SAVED.items()}


@pytest.fixture(scope="session")
def vision_encoder_decoder(writers):
    return ADAPTERS.get("vision_encoder_decoder").load(writers["vision_encoder_decoder"], settings=InferenceSettings())


@pytest.fixture(scope="session")
def image_text_to_text(writers):
    return ADAPTERS.get("image_text_to_text").load(writers["image_text_to_text"], settings=InferenceSettings())


@pytest.fixture(scope="session")
def gemma(writers):
    return ADAPTERS.get("image_text_to_text").load(writers["gemma"], settings=InferenceSettings())


@pytest.fixture(scope="session")
def text_generation(writers):
    return ADAPTERS.get("text_generation").load(writers["text_generation"], settings=InferenceSettings())
