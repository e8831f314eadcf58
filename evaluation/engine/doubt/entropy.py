"""How far texts that were drawn for one study disagree in what they say.

Texts are told apart by their meaning, a hashable key: the claims of a report, the sense of an answer. Two texts with
one key are in one cluster.

Sources: Kuhn, Gal and Farquhar (2023), ICLR, and Farquhar et al. (2024), Nature 630:625, for semantic entropy, here in
its discrete form, which needs no probabilities of words; Manakul, Liusie and Gales (2023), EMNLP 9004, for comparing a
text with samples by n-grams. Clusters by claims, and the share of common n-grams, are our own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from functools import cache

LEAST_SAMPLES = 2
GRAM = 2
_WORD = re.compile(r"\w+")


def semantic_entropy(meanings: Sequence[Hashable]) -> float | None:
    """``-sum_c p_c ln p_c`` in nats over the clusters c, p the share of the samples; None for fewer than two samples.

    From 0, where all samples say the same, to ``ln K``, where no two of K do.
    """
    if len(meanings) < LEAST_SAMPLES:
        return None
    shares = [count / len(meanings) for count in Counter(meanings).values()]
    return -sum(share * math.log(share) for share in shares) + 0.0


def normalised_entropy(meanings: Sequence[Hashable]) -> float | None:
    """:func:`semantic_entropy` over ``ln K``: from 0 to 1, whatever the number of samples; None for fewer than two."""
    found = semantic_entropy(meanings)
    return None if found is None else min(1.0, found / math.log(len(meanings)))


def agreeing(plain: Hashable, meanings: Sequence[Hashable]) -> int:
    """How many of the samples are in the cluster of the text that was written without chance."""
    return sum(meaning == plain for meaning in meanings)


def shared_ngrams(plain: str, samples: Sequence[str]) -> float | None:
    """Share of the distinct pairs of neighbouring words of a text that a sample has too, mean over the samples.

    A text of one word is compared by that word. None for a text without a word, or without samples.
    """
    words = _words(plain)
    if not words or not samples:
        return None
    size = min(GRAM, len(words))
    mine = _grams(words, size)
    return sum(len(mine & _grams(_words(sample), size)) for sample in samples) / len(mine) / len(samples)


@cache
def attainable(samples: int) -> tuple[float, ...]:
    """Every value that :func:`normalised_entropy` of so many samples can take, ascending: one a partition of them."""
    found = {
        round(-sum(size / samples * math.log(size / samples) for size in sizes) / math.log(samples), 9) + 0.0
        for sizes in _partitions(samples, samples)
    }
    return tuple(sorted(found))


def _partitions(total: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Every way to write a number as a sum of parts of at most ``largest``."""
    if total == 0:
        yield ()
    for part in range(min(total, largest), 0, -1):
        yield from ((part, *rest) for rest in _partitions(total - part, part))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[start:] for start in range(size)), strict=False))
