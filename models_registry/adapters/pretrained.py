"""Folders of transformers: checked without reading a weight, then loaded. Registers no adapter."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from core.digests import walk_files
from core.errors import AdapterError
from models_registry.adapters.base import InferenceSettings
from models_registry.adapters.checkpoint import check_safe, read_json, tensor_shapes
from models_registry.adapters.gguf_file import is_gguf
from models_registry.adapters.tensor_names import Misfit, find_misfit

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PREPROCESSOR = "preprocessor_config.json"
PRECISIONS = ("float32", "bfloat16")
CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions", "seq_length")
AGAIN = "Register the complete folder of one checkpoint, as save_pretrained writes it."
MOST_LAYERS = 2_000
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is known of a folder before a weight is read.

    Attributes:
        config: The model's configuration, as transformers reads it.
        architecture: Name of the class that runs it.
        shapes: Tensor -> shape, from the headers of the weights.
        context: How many tokens it can hold, None where there is no limit.
        gguf: The file that holds everything, where the model is in one GGUF file.
        stored: How many tensors of that file are stored in which way.
    """

    config: Any
    architecture: str
    shapes: dict[str, tuple[int, ...]]
    context: int | None
    gguf: str | None = None
    stored: dict[str, int] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


def attempt(make: Callable[[], Result], folder: Path, *, said: str, remedy: str, file: str) -> Result:
    """Call a library that reads the folder; what it raises becomes an AdapterError without the server's paths."""
    from huggingface_hub.errors import StrictDataclassError
    from jinja2 import TemplateError
    from safetensors import SafetensorError

    known = (
        OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ImportError,
        AssertionError, ZeroDivisionError, TemplateError, SafetensorError, StrictDataclassError,
    )  # fmt: skip
    try:
        return make()
    except known as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        told = lines[0].replace(str(folder), "the folder")[:300]
        raise AdapterError(f"{said}: {told}", remedy=remedy, file=file) from error


def read_checkpoint(folder: Path, classes: dict[str, Any], *, kind: str) -> Checkpoint:
    """Check a folder of transformers, without reading weights or running code of the folder.

    Args:
        classes: ``model_type`` -> name of the class, or several names, that this adapter runs.
        kind: What such a model is called, for messages.

    Raises:
        AdapterError: pickles, code, GGUF, adapters without their base, another kind of model, weights that are
            missing, truncated, or of another shape than the configuration asks for.
    """
    check_safe(folder)
    _check_no_gguf(folder)
    body = read_json(folder, CONFIG)
    model_type = body.get("model_type")
    names = classes.get(str(model_type), ())
    names = (names,) if isinstance(names, str) else tuple(names)
    stated = body.get("architectures") or list(names)
    fitting = [name for name in stated if name in names] if isinstance(stated, list) else []
    if not fitting:
        raise AdapterError(
            f"config.json describes {' or '.join(map(str, stated)) or model_type!r}, which is not {kind}.",
            remedy="Choose the adapter that fits the model, or register the checkpoint of the whole model.",
            file=CONFIG,
            column="architectures" if names else "model_type",
        )
    if (folder / "adapter_config.json").is_file():
        raise AdapterError(
            "The folder holds an adapter (LoRA) beside or instead of a whole model.",
            remedy="Merge it into its base model (merge_and_unload in peft) and register the result.",
            file="adapter_config.json",
        )
    _check_no_kernels(body)
    _check_layers(body)
    shapes = weight_shapes(folder)
    config = _read_config(folder)
    _check_shapes(folder, config, fitting[0], shapes)
    return Checkpoint(config=config, architecture=fitting[0], shapes=shapes, context=context_of(config))


def _check_no_gguf(folder: Path) -> None:
    for path in walk_files(folder):
        if is_gguf(path):
            raise AdapterError(
                "GGUF files are not run by this adapter.",
                remedy="Register the model's safetensors checkpoint. A language model in one GGUF file is run by the "
                "adapter text_generation, and any by a server with the adapter endpoint.",
                file=path.relative_to(folder).as_posix(),
            )


def _check_layers(body: Any) -> None:
    """A model of a billion layers would keep whoever inspects it busy for ever."""
    parts = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in parts:
        if "layer" in str(key) and isinstance(value, int) and value > MOST_LAYERS:
            raise AdapterError(
                f"config.json asks for {value:,} in {key!r}; at most {MOST_LAYERS:,} layers are read.",
                remedy="Save the checkpoint again; its configuration does not describe a model.",
                file=CONFIG,
                column=str(key),
            )
        _check_layers(value)


def _check_no_kernels(body: Any) -> None:
    """A configuration may ask for attention code by the name of a repository: that is code from elsewhere."""
    parts = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in parts:
        if str(key).endswith("attn_implementation") and "/" in str(value):
            raise AdapterError(
                f"config.json asks for attention code from {value!r}, which is never run.",
                remedy="Remove the key: the model then runs with the attention of the installed library.",
                file=CONFIG,
                column=str(key),
            )
        _check_no_kernels(value)


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors: of ``model.safetensors``, or of the files that ``model.safetensors.index.json`` names.

    Raises:
        AdapterError: a file that is missing or truncated, or that lacks a tensor which the index places in it.
    """
    if not (folder / INDEX).is_file():
        return tensor_shapes(folder / WEIGHTS)
    places = read_json(folder, INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise AdapterError("The index has no weight_map.", remedy=AGAIN, file=INDEX, column="weight_map")
    shapes: dict[str, tuple[int, ...]] = {}
    for name in sorted(set(map(str, places.values()))):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise AdapterError(
                f"The index names {name!r}, which is no safetensors file of the folder.", remedy=AGAIN, file=INDEX
            )
        shapes |= tensor_shapes(folder / name)
    lacking = sorted(set(places) - set(shapes))
    if lacking:
        raise AdapterError(f"The tensor {lacking[0]} is in none of the files.", remedy=AGAIN, file=INDEX)
    return shapes


def _read_config(folder: Path) -> Any:
    offline()
    from transformers import AutoConfig

    return attempt(
        lambda: AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
        folder,
        said="config.json does not describe a model",
        remedy="Save the checkpoint again.",
        file=CONFIG,
    )


def _check_shapes(folder: Path, config: Any, architecture: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Hold names and shapes of the tensors against the model. What cannot be told yet, loading tells."""
    import torch
    import transformers

    def compare() -> Misfit | None:
        with torch.device("meta"):
            model = getattr(transformers, architecture)(config)
        return find_misfit(model, shapes)

    misfit = attempt(
        compare, folder, said="config.json does not describe a model", remedy="Save the checkpoint again.", file=CONFIG
    )
    if misfit is None:
        return
    file = WEIGHTS if (folder / WEIGHTS).is_file() else INDEX
    if misfit.held is None:
        raise AdapterError(
            f"The tensor {misfit.name} is missing.",
            remedy="Register the weights of the whole model: the missing ones would be random.",
            file=file,
        )
    raise AdapterError(
        f"The tensor {misfit.name} is {_shape(misfit.held)}; config.json asks for {_shape(misfit.wanted)}.",
        remedy="Register weights and configuration of the same model.",
        file=file,
    )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def context_of(config: Any) -> int | None:
    """How many tokens prompt and text may have together; None where the configuration sets no limit."""
    inner = config.get_text_config(decoder=True)
    found = [getattr(inner, name, None) for name in CONTEXTS]
    return next((int(value) for value in found if isinstance(value, int) and value > 0), None)


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer.

    Raises:
        AdapterError: there is none, or it cannot be read.
    """
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
    if not any((folder / name).is_file() for name in names):
        raise AdapterError(
            "The folder has no tokenizer.",
            remedy="Add the files that tokenizer.save_pretrained writes.",
            file="tokenizer.json",
        )
    offline()
    from transformers import AutoTokenizer

    return attempt(
        lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
        folder,
        said="The tokenizer cannot be read",
        remedy="Save it again with tokenizer.save_pretrained, as tokenizer.json.",
        file="tokenizer.json",
    )


def load_image_processor(folder: Path) -> Any:
    """The folder's image processor.

    Raises:
        AdapterError: there is none, or it cannot be read.
    """
    if not any((folder / name).is_file() for name in (PREPROCESSOR, "processor_config.json")):
        raise AdapterError(
            "The folder has no image processor.",
            remedy="Add preprocessor_config.json, which image_processor.save_pretrained writes.",
            file=PREPROCESSOR,
        )
    offline()
    from transformers import AutoImageProcessor

    return attempt(
        lambda: AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        ),
        folder,
        said="The image processor cannot be read",
        remedy="Save it again with image_processor.save_pretrained.",
        file=PREPROCESSOR,
    )


def colour(image: npt.NDArray[Any] | None) -> Any:
    """A picture of a study as the three-channel PIL image that image processors take.

    Deeper greys than 8 bits are scaled as a cohort's reader does: by the power of two that holds their largest value.

    Raises:
        AdapterError: neither grey nor of three channels, or no whole numbers.
    """
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not fits or pixels.size == 0 or pixels.dtype.kind not in "ui":
        raise AdapterError(
            f"A picture is {pixels.dtype} of the shape {pixels.shape}.",
            remedy="Give pictures of whole numbers, grey or with three channels.",
            column="image",
        )
    if pixels.dtype != np.uint8:
        shift = max(0, int(pixels.max()).bit_length() - 8)
        pixels = (np.clip(pixels, 0, None).astype(np.int64) >> shift).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def check_vocabulary(tokenizer: Any, config: Any, *, file: str = "tokenizer.json") -> None:
    """Every token must have its row in the model's table of words.

    Raises:
        AdapterError: the tokenizer is of another model.
    """
    rows = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if rows is not None and largest >= rows:
        raise AdapterError(
            f"The tokenizer has tokens up to number {largest:,}; the model knows {rows:,}.",
            remedy="Register the tokenizer that the model was trained with.",
            file=file,
        )


def offline() -> None:
    """Nothing is ever fetched: must be said before transformers is imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


def load_model(folder: Path, checkpoint: Checkpoint, *, settings: InferenceSettings, device: str) -> Any:
    """The model with its weights, ready on the device.

    Raises:
        AdapterError: no such device or precision; a tensor is missing or of another shape.
    """
    if settings.precision not in PRECISIONS:
        raise AdapterError(
            f"There is no precision {settings.precision!r}.", remedy=f"Use one of: {', '.join(PRECISIONS)}."
        )
    offline()
    import torch
    import transformers

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise AdapterError(
            "This machine has no CUDA device.", remedy="Set AUSCULT_DEVICE=cpu, or run the worker where there is one."
        )
    model, told = attempt(
        lambda: getattr(transformers, checkpoint.architecture).from_pretrained(
            folder,
            config=checkpoint.config,
            dtype=getattr(torch, settings.precision),
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **_format(checkpoint),
        ),
        folder,
        said="The weights cannot be loaded",
        remedy="Register weights and configuration of the same model.",
        file=checkpoint.gguf or WEIGHTS,
    )
    if told["missing_keys"]:
        raise AdapterError(
            f"The tensor {min(told['missing_keys'])} is missing ({len(told['missing_keys'])} in all).",
            remedy="Register the weights of the whole model: the missing ones would be random.",
            file=checkpoint.gguf or WEIGHTS,
        )
    return model.eval().to(device)


def _format(checkpoint: Checkpoint) -> dict[str, Any]:
    """Which weights are read, and how: safetensors alone, or a GGUF file that is unpacked once.

    Left packed, a GGUF file would be computed with kernels that are fetched by name.
    """
    if checkpoint.gguf is None:
        return {"use_safetensors": True}
    from transformers import GgufConfig

    return {"gguf_file": checkpoint.gguf, "quantization_config": GgufConfig(dequantize=True)}
