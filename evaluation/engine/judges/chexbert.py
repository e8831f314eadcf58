"""Do both reports have the same findings, as CheXbert labels them.

A BERT whose first token goes through 14 heads, one for each observation of CheXpert: 13 of four classes (blank,
positive, negative, uncertain) and "No Finding" of two (blank, positive). The score of a pair is the F1 of the two sets
of positive observations; uncertain is not positive, as everywhere in Auscult.

Source: Smit et al., EMNLP 2020, "CheXbert". The published checkpoint is a pickle with the prefix ``module.`` on every
name; ``docs/hallucination/judges.md`` says how to convert it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AdapterError
from evaluation.engine.judges.base import JUDGES, Floats, Judge
from evaluation.engine.judges.reading import batches, check_finite, f1, longest_input

OBSERVATIONS = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices", "No Finding",
)  # fmt: skip
"""In the order of the heads."""
CLASSES = (*(4,) * 13, 2)
POSITIVE = 1
WEIGHTS = "model.safetensors"
PREFIX = "module."
UNUSED = "bert.embeddings.position_ids"
"""A tensor of older checkpoints that holds no weight."""


class ChexbertFactory:
    """Runs a CheXbert whose weights were converted to safetensors."""

    title = "F1 of the observations that CheXbert finds in both reports"

    def inspect(self, folder: Path) -> None:
        _read_config(folder)
        _check_heads(folder)

    def load(self, folder: Path, *, device: str) -> Judge:
        from models_registry.adapters.pretrained import attempt, check_vocabulary, context_of, load_tokenizer

        self.inspect(folder)
        config, tokenizer = _read_config(folder), load_tokenizer(folder)
        check_vocabulary(tokenizer, config)
        bert, heads = attempt(
            lambda: _load_weights(folder, config, device),
            folder,
            said="The weights cannot be loaded",
            remedy="Supply the weights and the config.json of the same model.",
            file=WEIGHTS,
        )
        limit = longest_input(tokenizer, context_of(config))
        return _ChexbertJudge(bert=bert, heads=heads, tokenizer=tokenizer, limit=limit, device=device)


JUDGES.register("chexbert")(ChexbertFactory())


def _read_config(folder: Path) -> Any:
    from models_registry.adapters.checkpoint import check_safe, read_json
    from models_registry.adapters.pretrained import attempt, offline

    check_safe(folder)
    body = read_json(folder, "config.json")
    if body.get("model_type") != "bert":
        raise AdapterError(
            f"config.json describes {body.get('model_type')!r}; CheXbert is a BERT.",
            remedy="Supply the config.json of bert-base-uncased beside the converted weights.",
            file="config.json",
            column="model_type",
        )
    offline()
    from transformers import BertConfig

    return attempt(
        lambda: BertConfig.from_pretrained(folder, local_files_only=True),
        folder,
        said="config.json does not describe a model",
        remedy="Supply the config.json of bert-base-uncased.",
        file="config.json",
    )


def _check_heads(folder: Path) -> None:
    from models_registry.adapters.checkpoint import tensor_shapes

    shapes = {name.removeprefix(PREFIX): shape for name, shape in tensor_shapes(folder / WEIGHTS).items()}
    for place, (observation, classes) in enumerate(zip(OBSERVATIONS, CLASSES, strict=True)):
        name = f"linear_heads.{place}.weight"
        if name not in shapes or shapes[name][0] != classes:
            held = f"has {shapes[name][0]} classes" if name in shapes else "is missing"
            raise AdapterError(
                f"The head of {observation} {held}; CheXbert has {classes}.",
                remedy="Supply CheXbert's own weights, converted as docs/hallucination/judges.md says.",
                file=WEIGHTS,
                column=name,
            )


def _load_weights(folder: Path, config: Any, device: str) -> tuple[Any, list[tuple[Any, Any]]]:
    from safetensors.torch import load_file
    from transformers import BertModel

    tensors = {name.removeprefix(PREFIX): value for name, value in load_file(folder / WEIGHTS).items()}
    bert = BertModel(config)
    inner = {
        name.removeprefix("bert."): value
        for name, value in tensors.items()
        if name.startswith("bert.") and name != UNUSED
    }
    bert.load_state_dict(inner)
    heads = [
        (tensors[f"linear_heads.{place}.weight"].to(device), tensors[f"linear_heads.{place}.bias"].to(device))
        for place in range(len(OBSERVATIONS))
    ]
    return bert.eval().to(device), heads


class _ChexbertJudge:
    def __init__(self, *, bert: Any, heads: Sequence[tuple[Any, Any]], tokenizer: Any, limit: int, device: str) -> None:
        self.bert, self.heads, self.tokenizer = bert, heads, tokenizer
        self.limit, self.device = limit, device

    def score(self, references: Sequence[str], generated: Sequence[str]) -> Floats:
        """F1 of the positive observations of each pair; NaN where neither report has one."""
        return np.array(
            [f1(wanted, had) for wanted, had in zip(self.label(references), self.label(generated), strict=True)]
        )

    def label(self, texts: Sequence[str]) -> list[set[str]]:
        """Positive observations of each text."""
        import torch

        found: list[set[str]] = []
        for part in batches(texts):
            inputs = self.tokenizer(
                [" ".join(text.split()) for text in part],
                padding=True,
                truncation=True,
                max_length=self.limit,
                return_tensors="pt",
            )
            asked = {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                first = self.bert(**asked).last_hidden_state[:, 0]
                chosen = []
                for weight, bias in self.heads:
                    logits = torch.nn.functional.linear(first, weight, bias)
                    check_finite(logits, "chexbert")
                    chosen.append(logits.argmax(dim=1).tolist())
            for row in range(len(part)):
                found.append({name for name, of in zip(OBSERVATIONS, chosen, strict=True) if of[row] == POSITIVE})
        return found
