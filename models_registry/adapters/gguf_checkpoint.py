"""A language model in one GGUF file: checked without reading a weight. Registers no adapter.

Configuration, vocabulary and chat template are in the file; transformers takes them out, and unpacks the weights to
the precision that was asked for when the model is loaded.
"""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.digests import walk_files
from core.errors import AdapterError
from models_registry.adapters.checkpoint import check_safe
from models_registry.adapters.gguf_file import GgufHeader, is_gguf, read_header
from models_registry.adapters.pretrained import MOST_LAYERS, Checkpoint, attempt, context_of, offline

BESIDE = frozenset(
    {
        "config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
        "model.safetensors.index.json",
    }
)  # fmt: skip
"""What a folder of transformers holds and the GGUF file says itself: with both, nobody knows which one counts."""
TEMPLATE = "chat_template.jinja"
TOKENS = "tokenizer.ggml.tokens"
LARGEST_SETTING = 1 << 24


def gguf_of(folder: Path) -> str | None:
    """The name of the folder's GGUF file, told by name or content; None where there is none.

    Raises:
        AdapterError: several, one in a subfolder, or other weights beside it.
    """
    files = list(walk_files(folder))
    found = [path for path in files if is_gguf(path)]
    if not found:
        return None
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    if len(found) > 1:
        raise AdapterError(
            f"The folder holds {len(found)} GGUF files: {', '.join(names[:3])}.",
            remedy="Register one version for each. Merge the parts of a split model (llama-gguf-split --merge).",
            file=names[1],
        )
    if found[0].parent != folder or found[0].suffix.lower() != ".gguf":
        raise AdapterError(
            "A GGUF file must lie in the folder itself and be named *.gguf.",
            remedy="Move or rename it.",
            file=names[0],
        )
    for path in files:
        if path.name in BESIDE or path.suffix == ".safetensors":
            raise AdapterError(
                f"{path.name} lies beside a GGUF file, which says the same itself.",
                remedy="Keep the GGUF file and auscult.json, or remove the GGUF file and register the rest.",
                file=names[0],
            )
    return names[0]


def read_gguf_checkpoint(folder: Path, name: str, classes: dict[str, Any], *, kind: str) -> Checkpoint:
    """Check a folder with one GGUF file, without reading weights.

    Args:
        classes: ``model_type`` -> name of the class that this adapter runs.
        kind: What such a model is called, for messages.

    Raises:
        AdapterError: the package gguf is missing; pickles or code; a damaged file; a model that transformers cannot
            run from GGUF or that is of another kind; tensors that are missing or of another size.
    """
    if find_spec("gguf") is None:
        raise AdapterError(
            "GGUF files are read with the package gguf, which is not installed.",
            remedy="pip install auscult[gguf], on the server and on every worker.",
            file=name,
        )
    check_safe(folder)
    header = read_header(folder / name)
    _check_settings(header, name)
    config = _read_config(folder, name)
    model_type = str(config.model_type)
    named = classes.get(model_type, ())
    names = (named,) if isinstance(named, str) else tuple(named)
    if not names:
        raise AdapterError(
            f"The file describes {header.architecture!r}, which is not {kind}.",
            remedy="Choose the adapter that fits the model, or register its safetensors checkpoint.",
            file=name,
            column="general.architecture",
        )
    _check_unpacked(header, name)
    _check_tensors(folder, name, header, config, names[0])
    return Checkpoint(
        config=config,
        architecture=names[0],
        shapes={tensor.name: tensor.shape for tensor in header.tensors.values()},
        context=context_of(config),
        gguf=name,
        stored=header.kinds,
    )


def load_gguf_tokenizer(folder: Path, name: str) -> Any:
    """The tokenizer in a GGUF file that was checked; ``chat_template.jinja`` beside it comes before its own template.

    transformers adds a token of GPT-2 to vocabularies that lack it, beyond the last row of the model: it is taken out
    again, so that every token is one of the file.

    Raises:
        AdapterError: it cannot be read.
    """
    offline()
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    def read() -> Any:
        architecture, words, settings = get_gguf_tokenizer(str(folder / name))
        backend, more = convert_gguf_tokenizer(architecture, words)
        body = json.loads(backend.to_str())
        body["added_tokens"] = [token for token in body["added_tokens"] if token["id"] < len(words["tokens"])]
        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(json.dumps(body)), **{**settings, **more, **_template(folder)}
        )

    return attempt(
        read,
        folder,
        said="The tokenizer in the file cannot be read",
        remedy="Convert the model again, with its tokenizer, with today's llama.cpp.",
        file=name,
    )


def _template(folder: Path) -> dict[str, str]:
    path = folder / TEMPLATE
    return {"chat_template": path.read_text()} if path.is_file() else {}


def _check_settings(header: GgufHeader, name: str) -> None:
    """No setting of the architecture may make a model that nobody can build."""
    prefix = f"{header.architecture}."
    for key, value in header.values.items():
        most = MOST_LAYERS if key.endswith("block_count") else LARGEST_SETTING
        if key.startswith(prefix) and isinstance(value, int) and value > most:
            raise AdapterError(
                f"The file asks for {value:,} in {key!r}; at most {most:,} are read.",
                remedy="Convert the model again; the file does not describe one.",
                file=name,
                column=key,
            )
    if not header.values.get(TOKENS):
        raise AdapterError(
            "The file has no vocabulary.",
            remedy="Convert the model again, with its tokenizer.",
            file=name,
            column=TOKENS,
        )


def _read_config(folder: Path, name: str) -> Any:
    offline()
    from transformers import AutoConfig

    return attempt(
        lambda: AutoConfig.from_pretrained(folder, gguf_file=name, local_files_only=True, trust_remote_code=False),
        folder,
        said="The file does not describe a model that transformers runs from GGUF",
        remedy="Register the model's safetensors checkpoint, or serve the file and use the adapter endpoint.",
        file=name,
    )


def _check_unpacked(header: GgufHeader, name: str) -> None:
    """Each way of storing numbers must be one that can be unpacked here: tried on one block of zeros."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    for kind in header.kinds:
        number = GGMLQuantizationType[kind]
        block = np.zeros((1, GGML_QUANT_SIZES[number][1]), dtype=np.uint8)
        attempt(
            partial(dequantize, block, number),
            Path(name),
            said=f"Tensors stored as {kind} cannot be unpacked",
            remedy="Convert the model to another format, such as Q8_0, Q6_K or Q4_K_M.",
            file=name,
        )


def _check_tensors(folder: Path, name: str, header: GgufHeader, config: Any, architecture: str) -> None:
    """Every weight of the model is there, with as many numbers.

    Mixtures of experts, and architectures that transformers converts by another table, are told by loading alone.
    """
    import torch
    import transformers
    from transformers import modeling_gguf_pytorch_utils as gguf_reading
    from transformers.integrations.gguf import is_gguf_arch_supported

    if is_gguf_arch_supported(header.architecture):
        return

    def build() -> tuple[dict[str, str], dict[str, int], set[str]]:
        with torch.device("meta"):
            model = getattr(transformers, architecture)(config)
        processor = gguf_reading.TENSOR_PROCESSORS.get(header.architecture, gguf_reading.TensorProcessor)
        named = gguf_reading.get_gguf_hf_weights_map(model, processor(config=config.to_dict()))
        sizes = {key: value.numel() for key, value in model.state_dict().items()}
        return named, sizes, set(model.all_tied_weights_keys or {})

    named, sizes, tied = attempt(
        build,
        folder,
        said="The file does not describe a model that transformers runs from GGUF",
        remedy="Register the model's safetensors checkpoint, or serve the file and use the adapter endpoint.",
        file=name,
    )
    for stored_name, model_name in sorted(named.items()):
        if model_name not in sizes or model_name in tied or "_exps" in stored_name:
            continue
        tensor = header.tensors.get(stored_name)
        if tensor is None:
            raise AdapterError(
                f"The tensor {stored_name} is missing.",
                remedy="Convert the whole model again: the missing weights would be random.",
                file=name,
                column=stored_name,
            )
        held = 1
        for side in tensor.shape:
            held *= side
        if held != sizes[model_name]:
            raise AdapterError(
                f"The tensor {stored_name} has {held:,} numbers; the model asks for {sizes[model_name]:,}.",
                remedy="Convert the model again: its settings and its weights are not of one model.",
                file=name,
                column=stored_name,
            )
