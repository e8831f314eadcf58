"""Tiny models of image and text in one space, really saved to disk: random weights, real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EDGE, PATCH, WIDTH, LENGTH = 32, 16, 16, 24
WORDS = "a chest radiograph with no pleural effusion normal heart enlarged cardiomegaly cough and fever clear lungs"
LABELS = {
    "effusion": {
        "positive": ["a chest radiograph with pleural effusion", "pleural effusion"],
        "negative": ["a chest radiograph with no pleural effusion", "clear lungs"],
    },
    "cardiomegaly": {"positive": ["enlarged heart"], "negative": ["normal heart"]},
}
WISHES = {"labels": LABELS, "thresholds": {"effusion": 0.5}, "threshold_source": "the middle"}


def wishes(folder: Path, **changes: Any) -> Path:
    body = {name: value for name, value in (WISHES | changes).items() if value is not None}
    (folder / "auscult.json").write_text(json.dumps(body))
    return folder


def save_clip(folder: Path) -> Path:
    """CLIP: causal text tower read at its end token, linear projections."""
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    signs = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = CLIPConfig(
        text_config=tower() | signs | {"max_position_embeddings": LENGTH}, vision_config=sight(), projection_dim=8
    )
    processor = CLIPImageProcessorPil(size={"shortest_edge": EDGE}, crop_size={"height": EDGE, "width": EDGE})
    return save(folder, lambda: CLIPModel(config), processor)


def save_siglip(folder: Path) -> Path:
    """SigLIP: attention over all places of a text, no projections, a scale and a bias."""
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    signs = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    text = tower() | signs | {"max_position_embeddings": LENGTH, "projection_size": WIDTH}
    config = SiglipConfig(text_config=text, vision_config=sight())
    return save(folder, lambda: SiglipModel(config), SiglipImageProcessorPil(size={"height": EDGE, "width": EDGE}))


def save_pair(folder: Path) -> Path:
    """BERT and a vision transformer, joined by projections as in BiomedCLIP."""
    from transformers import BertConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel, ViTConfig
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(**sight()), BertConfig(**tower(), max_position_embeddings=LENGTH), projection_dim=8
    )
    processor = ViTImageProcessorPil(size={"height": EDGE, "width": EDGE})
    return save(folder, lambda: VisionTextDualEncoderModel(config), processor)


def save(folder: Path, make: Any, processor: Any) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        with torch.no_grad():
            for weights in model.parameters():
                if weights.ndim > 1:
                    weights.mul_(4.0)  # larger than fresh weights: answers then depend on what is shown
            model.logit_scale.fill_(2.0)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    processor.save_pretrained(folder)
    return wishes(folder)


def tower() -> dict[str, Any]:
    return {"vocab_size": 4 + len(WORDS.split()), "hidden_size": WIDTH, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2}  # fmt: skip


def sight() -> dict[str, Any]:
    return {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": EDGE, "patch_size": PATCH}  # fmt: skip


def tokenizer(extra: tuple[str, ...] = ()) -> Any:
    """A word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "<bos>", "<eos>", *WORDS.split(), *extra]
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<bos>", 2), ("<eos>", 3)]
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>", eos_token="<eos>",
        model_max_length=LENGTH,
    )  # fmt: skip
