"""Does the expert's report entail what the model's report says: a cross-encoder of natural language inference.

Each sentence of the generated report is a hypothesis, the reference its premise. A premise that is too long for the
model is cut into windows of whole sentences, and the window counts that entails the sentence most (Laban et al.,
TACL 2022, "SummaC", take the largest over the parts of the premise too). The score of a report is the mean probability
of entailment over its sentences. What the generated report leaves out does not lower it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AdapterError
from evaluation.engine.judges.base import JUDGES, Floats, Judge
from evaluation.engine.judges.reading import batches, check_finite, longest_input, sentences_of, windows, words_of

KIND = "a model that classifies pairs of texts"


class NliFactory:
    """Runs what transformers knows as a model for sequence classification, with a class called entailment."""

    title = "mean probability that the expert's report entails a sentence of the model's"

    def inspect(self, folder: Path) -> None:
        entailment_of(_checkpoint(folder).config)

    def load(self, folder: Path, *, device: str) -> Judge:
        from models_registry.adapters.base import InferenceSettings
        from models_registry.adapters.pretrained import check_vocabulary, load_model, load_tokenizer

        checkpoint, tokenizer = _checkpoint(folder), load_tokenizer(folder)
        check_vocabulary(tokenizer, checkpoint.config)
        model = load_model(folder, checkpoint, settings=InferenceSettings(), device=device)
        return _NliJudge(
            model=model,
            tokenizer=tokenizer,
            entailment=entailment_of(checkpoint.config),
            limit=longest_input(tokenizer, checkpoint.context),
            device=device,
        )


JUDGES.register("nli")(NliFactory())


def entailment_of(config: Any) -> int:
    """The index of the class that means entailment: checkpoints do not agree on an order, so it is told by its name.

    Raises:
        AdapterError: no class is called so.
    """
    names = {int(index): str(name).casefold() for index, name in (config.id2label or {}).items()}
    found = [index for index, name in names.items() if name.startswith("entail")]
    if len(found) != 1:
        raise AdapterError(
            f"No class is called entailment; there are {', '.join(names.values())}.",
            remedy="Name the classes in id2label, as the model's publisher numbers them.",
            file="config.json",
            column="id2label",
        )
    return found[0]


def _checkpoint(folder: Path) -> Any:
    from models_registry.adapters.pretrained import offline, read_checkpoint

    offline()
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    return read_checkpoint(folder, dict(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES), kind=KIND)


class _NliJudge:
    def __init__(self, *, model: Any, tokenizer: Any, entailment: int, limit: int, device: str) -> None:
        self.model, self.tokenizer, self.device = model, tokenizer, device
        self.entailment, self.limit = entailment, limit

    def score(self, references: Sequence[str], generated: Sequence[str]) -> Floats:
        """Mean probability of entailment over the sentences of each generated report; NaN where it has none."""
        owners: list[tuple[int, int]] = []
        pairs: list[tuple[str, str]] = []
        for row, (reference, text) in enumerate(zip(references, generated, strict=True)):
            premises = windows(sentences_of(reference), self.limit // 2, partial(words_of, self.tokenizer))
            for number, sentence in enumerate(sentences_of(text)):
                pairs += [(premise, sentence) for premise in premises]
                owners += [(row, number)] * len(premises)
        best: dict[tuple[int, int], float] = {}
        for owner, chance in zip(owners, self._entailed(pairs), strict=True):
            best[owner] = max(chance, best.get(owner, 0.0))
        by_report: list[list[float]] = [[] for _ in references]
        for (row, _), chance in best.items():
            by_report[row].append(chance)
        return np.array([float(np.mean(chances)) if chances else np.nan for chances in by_report])

    def _entailed(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        import torch

        found: list[float] = []
        for part in batches(pairs):
            inputs = self.tokenizer(
                [premise for premise, _ in part],
                [sentence for _, sentence in part],
                padding=True,
                truncation=True,
                max_length=self.limit,
                return_tensors="pt",
            ).to(self.device)
            with torch.inference_mode():
                logits = self.model(**inputs).logits.float()
            check_finite(logits, "nli")
            found += torch.softmax(logits, dim=-1)[:, self.entailment].tolist()
        return found
