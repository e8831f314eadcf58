"""A tiny Llama written as a GGUF file by the package that llama.cpp's converters use, from the weights of a twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.adapters.models_g2 import CHAT, END, PAD, SPECIAL, START, stir, tokenizer, vocabulary, wishes

NORMAL, CONTROL = 1, 3
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
HEADS = 2


def llama() -> Any:
    """The model of ``save_text_generation``: the same weights whenever it is made."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=64, vocab_size=vocabulary(),
        max_position_embeddings=512, pad_token_id=PAD, bos_token_id=START, eos_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        stir(model)
    return model


def save_gguf(folder: Path, *, kind: str = "F32", leave_out: str = "", **settings: Any) -> Path:
    """The Llama in one GGUF file beside its wishes.

    Args:
        kind: How matrices are stored, such as F32 or Q8_0.
        leave_out: A tensor that is not written.
        settings: Keys of the architecture with other values, such as ``block_count=3``.
    """
    folder.mkdir(exist_ok=True)
    write(folder / "model.gguf", kind=kind, leave_out=leave_out, **settings)
    return wishes(
        folder,
        prompt="Reason: {text.indication}\nWrite a report.",
        text_inputs=["text.indication"],
        generation={"max_new_tokens": 12},
    )


def save_qwen2_gguf(folder: Path) -> tuple[Path, Any]:
    """A Qwen2 whose words are tied to its embedding and whose attention has biases, and its twin in transformers."""
    import torch
    from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        vocab_size=vocabulary(), max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Qwen2ForCausalLM(config).eval()
        stir(model)
    folder.mkdir(exist_ok=True)
    writer = GGUFWriter(folder / "qwen.gguf", "qwen2")
    stated = {"block_count": 2, "context_length": 512, "embedding_length": 32, "feed_forward_length": 64}
    for key, value in (stated | {"attention.head_count": 4, "attention.head_count_kv": 2}).items():
        writer.add_uint32(f"qwen2.{key}", value)
    writer.add_float32("qwen2.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("qwen2.rope.freq_base", 10_000.0)
    _add_tokenizer(writer)
    names = get_tensor_name_map(MODEL_ARCH.QWEN2, 2)
    for name, value in model.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if name != "lm_head.weight":
            writer.add_tensor(f"{names.get_name(stem)}.{kind}", value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    wanted = {"prompt": "{text.indication}", "text_inputs": ["text.indication"], "generation": {"max_new_tokens": 8}}
    return wishes(folder, **wanted), model


def write(path: Path, *, kind: str = "F32", leave_out: str = "", arch: str = "llama", **settings: Any) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    writer = GGUFWriter(path, arch)
    stated = {
        "block_count": 2,
        "context_length": 512,
        "embedding_length": 32,
        "feed_forward_length": 64,
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS,
        "rope.dimension_count": 32 // HEADS,
    } | settings
    for key, value in stated.items():
        writer.add_uint32(f"{arch}.{key}", value)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32(f"{arch}.rope.freq_base", 10_000.0)
    _add_tokenizer(writer)
    wanted = GGMLQuantizationType[kind]
    for name, weights in _tensors().items():
        if name == leave_out:
            continue
        stored = wanted if weights.ndim == 2 else GGMLQuantizationType.F32
        data = quantize(weights, stored)
        writer.add_tensor(name, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any) -> None:
    words = tokenizer().get_vocab()
    ordered = sorted(words, key=words.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(ordered)
    writer.add_token_types([CONTROL if word in SPECIAL else NORMAL for word in ordered])
    writer.add_token_scores([0.0] * len(ordered))
    writer.add_bos_token_id(START)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)


def _tensors() -> dict[str, np.ndarray]:
    """Tensors by the names of llama.cpp; queries and keys with their rotary halves interleaved, as it has them."""
    found = {}
    for name, value in llama().state_dict().items():
        weights = value.numpy()
        stem = name.removesuffix(".weight")
        if stem in OUTER:
            found[f"{OUTER[stem]}.weight"] = weights
            continue
        layer, _, part = stem.removeprefix("model.layers.").partition(".")
        if NAMES[part] in {"attn_q", "attn_k"}:
            rows, columns = weights.shape
            weights = weights.reshape(HEADS, 2, rows // HEADS // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        found[f"blk.{layer}.{NAMES[part]}.weight"] = np.ascontiguousarray(weights)
    return found
