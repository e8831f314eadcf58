"""Checkpoints and texts as judges take them. Registers no judge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core.errors import AdapterError

SENTENCE = re.compile(r"(?<=[.!?;])\s+|\s*\n\s*")
LETTER = re.compile(r"[^\W\d_]")
LONGEST = 512
BATCH = 16


def sentences_of(text: str) -> list[str]:
    """Sentences of a report that have a letter, in order. A point within a number ends none."""
    return [part.strip() for part in SENTENCE.split(text) if LETTER.search(part)]


def windows(sentences: Sequence[str], limit: int, length: Callable[[str], int]) -> list[str]:
    """Sentences joined into runs of at most ``limit`` tokens each; a longer sentence is a run of its own."""
    found: list[str] = []
    room = 0
    for sentence in sentences:
        size = length(sentence)
        if found and size <= room:
            found[-1] = f"{found[-1]} {sentence}"
            room -= size
        else:
            found.append(sentence)
            room = limit - size
    return found


def batches(items: Sequence[Any], size: int = BATCH) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def longest_input(tokenizer: Any, context: int | None) -> int:
    """Tokens that a text may have: the least of what the model, its tokenizer and :data:`LONGEST` allow."""
    told = [int(limit) for limit in (context, getattr(tokenizer, "model_max_length", None)) if limit]
    return min([LONGEST, *told])


def check_finite(scores: Any, name: str) -> None:
    """That a judge's weights gave numbers.

    Raises:
        AdapterError: they gave something else.
    """
    if not bool(scores.isfinite().all()):
        raise AdapterError(
            f"The judge '{name}' answered logits that are not numbers.", remedy="Check its weights: a NaN does this."
        )


def f1(reference: set[Any], generated: set[Any]) -> float:
    """``2 TP / (2 TP + FP + FN)`` of two sets; NaN where both are empty."""
    every = len(reference) + len(generated)
    return 2 * len(reference & generated) / every if every else float("nan")


def words_of(tokenizer: Any, text: str) -> int:
    """Tokens of a text, without those that begin and end it."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
