"""What is watched of a text: length, words that the reference does not know, sections, findings, and an embedding.

No figure needs weights. Words are told by hashes, so that what is kept of a reference holds none of its texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.sample import hashes_of
from evaluation.engine.text.records import Assertion

if TYPE_CHECKING:
    from evaluation.engine.text.ontology import Ontology
    from evaluation.engine.text.records import ReadText

Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]
Vectors = npt.NDArray[np.float32]
Texts = Sequence[str | None]
DIMENSION = 64
"""Of the embedding without weights: a hash has as many bits."""
MOST_WORDS = 30_000
MOST_SECTIONS = 6
FOLDS = 2
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_DIGITS = re.compile(r"\d+")


def words_of(text: str | None) -> list[str]:
    """The words in lower case and order; every run of digits reads 0, so that no number is a word of its own."""
    return _WORD.findall(_DIGITS.sub("0", text.lower())) if text else []


@lru_cache(maxsize=200_000)
def word_hash(word: str) -> int:
    """63 bits of BLAKE2b: the same everywhere."""
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little") >> 1


def folds_of(patient_ids: Objects, *, seed: int) -> npt.NDArray[np.int64]:
    """The fold of each study's patient, 0 or 1: int64 [n]."""
    return (hashes_of(patient_ids, seed=seed) % np.uint64(FOLDS)).astype(np.int64)


def vocabularies_of(
    name: str, texts: Texts, patient_ids: Objects, *, seed: int, most: int = MOST_WORDS
) -> dict[str, tuple[int, ...]]:
    """Words of the patients of each fold, by hash, ascending: ``<name>/0`` and ``<name>/1``.

    A study is read with the words of the fold that its patient is not in. So no study of the reference is read with
    words that it gave itself, and those of a window are treated no worse than those of the reference.

    Args:
        most: Words of a fold that are kept, those of the most studies.
    """
    counts: list[Counter[int]] = [Counter() for _ in range(FOLDS)]
    for text, fold in zip(texts, folds_of(patient_ids, seed=seed), strict=True):
        counts[fold].update({word_hash(word) for word in words_of(text)})
    ordered = [sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most] for found in counts]
    return {f"{name}/{fold}": tuple(sorted(word for word, _ in kept)) for fold, kept in enumerate(ordered)}


def lengths(texts: Texts) -> Floats:
    """Words of each text, float64 [n]; NaN where there is no text."""
    return np.array([len(found) if (found := words_of(text)) else np.nan for text in texts], dtype=np.float64)


def unknown_share(
    name: str, texts: Texts, patient_ids: Objects, known: Mapping[str, Iterable[int]], *, seed: int
) -> Floats:
    """Share of the words that the other fold's vocabulary lacks, float64 [n]; NaN where there is no word.

    Args:
        known: See :func:`vocabularies_of`.
    """
    words = [frozenset(known.get(f"{name}/{fold}", ())) for fold in range(FOLDS)]
    shares = np.full(len(texts), np.nan)
    for row, (text, fold) in enumerate(zip(texts, folds_of(patient_ids, seed=seed), strict=True)):
        if found := words_of(text):
            shares[row] = sum(word_hash(word) not in words[1 - fold] for word in found) / len(found)
    return shares


def sections(texts: Texts, vocabulary: Ontology) -> Objects:
    """Headings of each text, object [n]: ``findings + impression``, ``no heading``, or None where there is no text."""
    from evaluation.engine.text.sentences import fold

    made = np.empty(len(texts), dtype=object)
    for row, text in enumerate(texts):
        if text and text.strip():
            found = vocabulary.heading.finditer(fold(text)) if ":" in text else ()
            names = sorted({" ".join(heading["name"].split()) for heading in found})
            made[row] = " + ".join(names[:MOST_SECTIONS]) or "no heading"
    return made


def findings(texts: Texts, vocabulary: Ontology) -> tuple[Floats, Floats]:
    """How many different findings each text says are there, and are not: float64 [n] each.

    NaN where there is no text, or one in another language than English, which is not read.
    """
    from evaluation.engine.text.reading import read_texts

    read = list(read_texts(texts, vocabulary))
    there, absent = (
        np.array([_counted(one, assertion) for one in read], dtype=np.float64)
        for assertion in (Assertion.PRESENT, Assertion.ABSENT)
    )
    return there, absent


def _counted(text: ReadText, assertion: Assertion) -> float:
    if not (text.given and text.supported):
        return float("nan")
    return len({claim.finding for claim in text.claims if claim.assertion is assertion})


def hashed_embedding(texts: Texts) -> Vectors:
    """An embedding without weights, float32 [n, 64]; a row of NaN where there is no word.

    ``sum over words and pairs of words g of (1 + log count_g) s_g``, of length 1, where s_g are 64 signs, the bits of
    the hash of g: a random projection of the counts, whose scalar products are about those of the counts themselves.

    Source: Achlioptas (2003), J Comput Syst Sci 66:671, random signs; Weinberger et al. (2009), ICML, feature hashing.
    """
    made = np.full((len(texts), DIMENSION), np.nan, dtype=np.float32)
    for row, text in enumerate(texts):
        words = words_of(text)
        grams = sorted(Counter([*words, *map(" ".join, pairwise(words))]).items())
        if not grams:
            continue
        weights = 1.0 + np.log(np.array([count for _, count in grams], dtype=np.float64))
        vector = (weights[:, None] * np.stack([_signs(gram) for gram, _ in grams])).sum(axis=0)
        length = float(np.sqrt((vector * vector).sum()))
        made[row] = vector / length if length > 0 else vector
    return made


@lru_cache(maxsize=100_000)
def _signs(gram: str) -> npt.NDArray[np.int8]:
    bits = np.unpackbits(np.frombuffer(blake2b(gram.encode(), digest_size=8).digest(), dtype=np.uint8))
    signs = bits.astype(np.int8) * 2 - 1
    signs.setflags(write=False)
    return signs
