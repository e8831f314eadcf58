"""What synthetic texts repeat of learnt ones, beyond what they would repeat of texts that were never learnt.

Reports repeat each other: the share of what is repeated means nothing by itself. So every rate is taken against learnt
patients and against as many that were held out, of the same synthetic texts, and the difference is shown.

Source: Carlini et al. (2021), Extracting training data from large language models, USENIX Security; (2023), Quantifying
memorization across neural language models, ICLR.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.privacy_arms import Arms
from synthetic.suites.privacy_shares import apart_error, excess
from synthetic.suites.values import Floats, Ints

GRAM = 13
"""Words in a row that are called a copy."""
LONGEST = 200
"""Runs of more words are not followed further."""
METRICS = ("text_copies", "text_overlap", "text_longest_run")
FACTOR = np.uint64(0x9E3779B97F4A7C15)
PATIENTS = "synthetic patients with the text"
_WORD = re.compile(r"\w+")
Tokens = list[str]


def words_of(text: str) -> Tokens:
    """Words in small letters, without punctuation."""
    return _WORD.findall(text.lower())


def text_figures(arms: Arms) -> list[Figure]:
    """For each text: texts repeated whole, the share of a text's 13 words in a row that are repeated, and the share of
    a text that is its longest repeated run; each of learnt less of held-out patients. A patient counts with the first
    study that has the text."""
    names = [name for name in arms.synthetic.studies.texts if name in arms.learnt.studies.texts]
    found = []
    for name in names:
        made = _first_texts(arms.synthetic.studies, name)
        banks = [_all_texts(arm.studies, name) for arm in (arms.learnt, arms.held_out)]
        if len(made) < 2 or not all(banks):
            found += [not_computed(metric, f"too few patients have the text '{name}'", of=name) for metric in METRICS]
        else:
            found += _figures(name, made, banks, arms)
    return found or [not_computed(metric, "no text is both learnt and made") for metric in METRICS]


def _figures(name: str, made: list[Tokens], banks: list[list[Tokens]], arms: Arms) -> list[Figure]:
    lengths = np.array([len(text) for text in made])
    repeats = [repeated(made, bank, arms.rng("words", name)) for bank in banks]
    places: dict[tuple[str, ...], int] = {}
    same = np.array([places.setdefault(tuple(text), len(places)) for text in made], dtype=np.int64)
    whole = [item.whole.astype(np.float64) for item in repeats]
    _, error = excess(*(item.whole for item in repeats))
    copies = _paired("text_copies", name, whole, same, least=error)
    finest = 1 / float(lengths.max()) / math.sqrt(len(made))
    runs = _paired("text_longest_run", name, [item.longest / lengths for item in repeats], same, least=finest)
    long = lengths >= GRAM
    if long.sum() < 2:
        return [copies, not_computed("text_overlap", f"no '{name}' has {GRAM} words", of=name), runs]
    grams = lengths[long] - GRAM + 1
    finest = 1 / float(grams.max()) / math.sqrt(len(grams))
    shares = [item.grams[long] / grams for item in repeats]
    return [copies, _paired("text_overlap", name, shares, same[long], least=finest), runs]


def _paired(metric: str, name: str, shares: list[Floats], same: Ints, *, least: float) -> Figure:
    """Mean difference of two shares of the same texts.

    Args:
        same: Equal for equal texts, which stand or fall together.
        least: Of the standard error, such as that of one step of one text.
    """
    apart = shares[0] - shares[1]
    return Figure(
        metric=metric, of=name, value=float(apart.mean()), n=len(apart), counted=PATIENTS, least=-1.0,
        error=max(apart_error(apart, same), least), method="paired differences, equal texts together",
        detail=_both(*shares) | {"different_texts": len(np.unique(same))},
    )  # fmt: skip


def _both(learnt: npt.NDArray[Any], held_out: npt.NDArray[Any]) -> dict[str, float]:
    return {"of_learnt": float(np.mean(learnt)), "of_held_out": float(np.mean(held_out))}


def _all_texts(studies: LinkedStudies, name: str) -> list[Tokens]:
    """Different texts, as words."""
    return [words for text in dict.fromkeys(studies.texts[name].tolist()) if text and (words := words_of(text))]


def _first_texts(studies: LinkedStudies, name: str) -> list[Tokens]:
    """The first text of each patient that has one, as words."""
    found: dict[str, Tokens] = {}
    for patient, text in zip(studies.patient_ids.tolist(), studies.texts[name].tolist(), strict=True):
        if text and patient not in found and (words := words_of(text)):
            found[patient] = words
    return list(found.values())


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What n texts repeat of a bank of texts.

    Attributes:
        whole: bool [n], the bank holds the text.
        longest: int64 [n], most words in a row in common with any text of the bank, at most :data:`LONGEST` where the
            text is not held as a whole.
        grams: int64 [n], places at which 13 words in a row begin that some text of the bank has.
    """

    whole: npt.NDArray[np.bool_]
    longest: Ints
    grams: Ints


def repeated(texts: Sequence[Tokens], bank: Sequence[Tokens], rng: np.random.Generator) -> Repeated:
    """What texts repeat of a bank.

    Runs are told apart by a 64-bit hash and grow word by word, together in all places that still match. Texts that the
    bank holds as a whole need not grow.
    """
    known = dict.fromkeys(tuple(text) for text in bank)
    whole = np.array([tuple(text) in known for text in texts], dtype=np.bool_)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    longest, grams = np.where(whole, lengths, 0), np.where(whole, np.maximum(lengths - GRAM + 1, 0), 0)
    growing = np.flatnonzero(~whole)
    vocabulary: dict[str, int] = {}
    mine = _Runs.of([texts[place] for place in growing.tolist()], vocabulary)
    theirs = _Runs.of([list(text) for text in known], vocabulary)
    marks = rng.integers(1, 2**63, len(vocabulary) + 1, dtype=np.uint64)
    for length in range(1, LONGEST + 1):
        mine.grow(length, marks)
        theirs.grow(length, marks)
        mine.keep(np.isin(mine.hashes, theirs.hashes))
        if not len(mine.starts):
            break
        theirs.keep(np.isin(theirs.hashes, mine.hashes))
        longest[growing[mine.owner]] = length
        if length == GRAM:
            grams[growing] = np.bincount(mine.owner, minlength=len(growing))
    return Repeated(whole=whole, longest=longest, grams=grams)


class _Runs:
    """Runs of words in texts that stand one after the other, all of one length."""

    def __init__(self, words: Ints, starts: Ints, left: Ints, owner: Ints) -> None:
        self.words, self.starts, self.left, self.owner = words, starts, left, owner
        self.hashes = np.zeros(len(starts), dtype=np.uint64)

    @classmethod
    def of(cls, texts: list[Tokens], vocabulary: dict[str, int]) -> _Runs:
        words = np.array([vocabulary.setdefault(w, len(vocabulary)) for text in texts for w in text], dtype=np.int64)
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        owner = np.repeat(np.arange(len(texts)), lengths)
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))
        return cls(words, np.arange(len(words)), left, owner)

    def grow(self, length: int, marks: npt.NDArray[np.uint64]) -> None:
        """One word longer; runs at the end of their text fall out."""
        self.keep(self.left >= length)
        self.hashes = self.hashes * FACTOR + marks[self.words[self.starts + length - 1]]

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        self.starts, self.left, self.owner = self.starts[which], self.left[which], self.owner[which]
        self.hashes = self.hashes[which]


def extraction_figure(texts: Sequence[str], canaries: Sequence[str]) -> Figure:
    """Share of the planted canaries that some synthetic text repeats, word by word."""
    if not canaries:
        return not_computed("canaries_extracted", "no canaries were planted before the training")
    said = "\n".join(f" {' '.join(words_of(text))} " for text in texts)
    out = sum(f" {' '.join(words_of(canary))} " in said for canary in canaries)
    return Figure(
        metric="canaries_extracted", value=out / len(canaries), error=0.0, n=len(canaries), counted="planted canaries",
        method="all synthetic texts", detail={"extracted": out},
    )  # fmt: skip


def all_texts(studies: LinkedStudies) -> list[str]:
    """Every different text of some studies."""
    return list(dict.fromkeys(text for values in studies.texts.values() for text in values.tolist() if text))
