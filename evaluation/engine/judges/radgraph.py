"""Do both reports name the same entities, as a model that was trained on RadGraph marks them.

The model gives each token a class: anatomy or observation, definitely present, uncertain or definitely absent. Runs of
words of one class are entities; the score of a pair is the F1 of the two sets of (words, class). This is the entity
part of RadGraph F1 (Yu et al., Patterns 2023); relations between entities are not compared.

The published RadGraph models (Jain et al., NeurIPS 2021) are built with another library and cannot be loaded here: what
runs is a checkpoint for token classification in the format of transformers, with RadGraph's classes or others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import AdapterError
from evaluation.engine.judges.base import JUDGES, Floats, Judge
from evaluation.engine.judges.reading import batches, check_finite, f1, longest_input, sentences_of, windows, words_of

KIND = "a model that classifies tokens"
OUTSIDE = "O"
Entity = tuple[str, str]


class RadgraphFactory:
    """Runs what transformers knows as a model for token classification."""

    title = "F1 of the entities that a RadGraph model marks in both reports"

    def inspect(self, folder: Path) -> None:
        _labels(_checkpoint(folder).config)

    def load(self, folder: Path, *, device: str) -> Judge:
        from models_registry.adapters.base import InferenceSettings
        from models_registry.adapters.pretrained import check_vocabulary, load_model, load_tokenizer

        checkpoint, tokenizer = _checkpoint(folder), load_tokenizer(folder)
        check_vocabulary(tokenizer, checkpoint.config)
        if not tokenizer.is_fast:
            raise AdapterError(
                "The tokenizer cannot tell which word a token is of.",
                remedy="Save it as tokenizer.json (a fast tokenizer).",
                file="tokenizer.json",
            )
        return _RadgraphJudge(
            model=load_model(folder, checkpoint, settings=InferenceSettings(), device=device),
            tokenizer=tokenizer,
            labels=_labels(checkpoint.config),
            limit=longest_input(tokenizer, checkpoint.context),
            device=device,
        )


JUDGES.register("radgraph")(RadgraphFactory())


def entities_of(words: Sequence[str], labels: Sequence[str]) -> set[Entity]:
    """Entities of words with their classes: runs of one class, which ``B-`` begins anew and ``O`` ends."""
    found: list[tuple[list[str], str]] = []
    before = ""
    for word, label in zip(words, labels, strict=True):
        mark, dash, name = label.partition("-")
        kind = name if dash and mark in {"B", "I"} else label
        if label != OUTSIDE:
            if kind == before and not (dash and mark == "B"):
                found[-1][0].append(word)
            else:
                found.append(([word], kind))
        before = kind if label != OUTSIDE else ""
    return {(" ".join(run).casefold(), kind) for run, kind in found}


def _labels(config: Any) -> dict[int, str]:
    names = {int(index): str(name) for index, name in (config.id2label or {}).items()}
    if OUTSIDE not in names.values() or all(name.startswith("LABEL_") or name == OUTSIDE for name in names.values()):
        raise AdapterError(
            f"The classes are {', '.join(names.values())}; words that are no entity have none called {OUTSIDE}.",
            remedy=f"Name the classes in id2label: {OUTSIDE}, and such as OBS-DP, with or without B- and I-.",
            file="config.json",
            column="id2label",
        )
    return names


def _checkpoint(folder: Path) -> Any:
    from models_registry.adapters.pretrained import offline, read_checkpoint

    offline()
    from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES

    return read_checkpoint(folder, dict(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES), kind=KIND)


class _RadgraphJudge:
    def __init__(self, *, model: Any, tokenizer: Any, labels: dict[int, str], limit: int, device: str) -> None:
        self.model, self.tokenizer, self.labels = model, tokenizer, labels
        self.limit, self.device = limit, device

    def score(self, references: Sequence[str], generated: Sequence[str]) -> Floats:
        """F1 of the entities of each pair; NaN where neither report has one."""
        wanted, had = self.entities(references), self.entities(generated)
        return np.array([f1(one, other) for one, other in zip(wanted, had, strict=True)])

    def entities(self, texts: Sequence[str]) -> list[set[Entity]]:
        """Entities of each text. A text that is too long for the model is marked in windows of whole sentences."""
        count = partial(words_of, self.tokenizer)
        room = self.limit - self.tokenizer.num_special_tokens_to_add()
        runs = [(row, run) for row, text in enumerate(texts) for run in windows(sentences_of(text), room, count)]
        found: list[set[Entity]] = [set() for _ in texts]
        for part in batches(runs):
            for (row, _), entities in zip(part, self._marked([run for _, run in part]), strict=True):
                found[row] |= entities
        return found

    def _marked(self, texts: Sequence[str]) -> list[set[Entity]]:
        """Each word has the class of its first token."""
        import torch

        words = [text.split() for text in texts]
        inputs = self.tokenizer(
            words, is_split_into_words=True, padding=True, truncation=True, max_length=self.limit, return_tensors="pt"
        )
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.device)).logits.float()
        check_finite(logits, "radgraph")
        chosen = logits.argmax(dim=-1).tolist()
        found = []
        for row, own in enumerate(words):
            first: dict[int, str] = {}
            for token, word in enumerate(inputs.word_ids(row)):
                if word is not None and word not in first:
                    first[word] = self.labels[chosen[row][token]]
            read = sorted(first)
            found.append(entities_of([_bare(own[word]) for word in read], [first[word] for word in read]))
        return found


def _bare(word: str) -> str:
    """Without the stops around it."""
    return word.strip(".,;:()[]\"'") or word
