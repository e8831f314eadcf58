"""Texts as tokens of a vocabulary of their own, in which there is no word that few patients have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

PAD, END = "<pad>", "<end>"
LONGEST = 320
"""Tokens of a text that are learnt; what follows, from the last whole sentence on, is left out."""
RUN = 4
"""Tokens in a row that enough patients must have for the last of them to be learnt."""
_TOKEN = re.compile(r" ?[^\W\d_]+(?:['’-][^\W\d_]+)*| ?\d+| ?[^\w\s]|\s|_")
_STOP = re.compile(r"((?<=[.!?])\s+|\n+)")


@dataclass(frozen=True, kw_only=True)
class Suppressed:
    """What was left out of texts because fewer patients have it than ``rare_below``.

    Attributes:
        words: Different words; ``sentences``, ``of_sentences``: with such a word, and all; ``texts``: of which nothing
            is left; ``cut``: texts whose end is left out because they are too long.
    """

    words: int
    sentences: int
    of_sentences: int
    texts: int
    cut: int

    def to_dict(self) -> dict[str, int]:
        return dict(vars(self))


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number: 0 pads, 1 ends a text, the others are words, signs and white space, with the space before."""

    tokens: tuple[str, ...]
    _numbers: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._numbers.update({token: number for number, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str | None) -> tuple[int, ...]:
        """The sentences of which every token is known, and the end; nothing for none."""
        kept = [numbers for numbers in map(self._sentence, sentences_of(text or "")) if numbers is not None]
        found: list[int] = []
        for numbers in kept:
            if len(found) + len(numbers) >= LONGEST:
                break
            found += numbers
        while found and self.tokens[found[-1]].isspace():
            found.pop()
        return (*found, 1) if found else ()

    def _sentence(self, sentence: str) -> list[int] | None:
        numbers = [self._numbers.get(token, -1) for token in tokens_of(sentence)]
        return None if -1 in numbers else numbers

    def decode(self, numbers: Iterable[int]) -> str:
        return "".join(self.tokens[number] for number in numbers if number > 1).strip()


def learn_vocabulary(
    texts: Sequence[str | None], patients: npt.NDArray[np.int64], *, rare_below: int
) -> tuple[Vocabulary, Suppressed]:
    """Every token of the texts whose word at least ``rare_below`` patients have.

    Upper and lower case are apart, so that a name is not kept for the word that it also is. At the start of a sentence
    a word also counts as its own with a small letter. A sentence with a rare word is left out altogether: what remains
    of it might no longer be true.
    """
    owners: dict[str, set[int]] = {}
    cut = [sentences_of(text or "") for text in texts]
    for sentences, patient in zip(cut, patients.tolist(), strict=True):
        for token, start in (pair for sentence in sentences for pair in _with_start(sentence)):
            for word in _forms(token, start):
                owners.setdefault(word, set()).add(patient)
    common = {word for word, held in owners.items() if len(held) >= rare_below}
    kept: dict[str, None] = {}
    rare: set[str] = set()
    left = total = 0
    for sentence in (sentence for sentences in cut for sentence in sentences):
        lost = {
            token.strip() for token, start in _with_start(sentence) if not common.intersection(_forms(token, start))
        }
        rare |= lost
        total += 1
        left += bool(lost)
        if not lost:
            kept.update(dict.fromkeys(tokens_of(sentence)))
    made = Vocabulary((PAD, END, *sorted(kept)))
    encoded = [made.encode(text) for text in texts]
    told = Suppressed(
        words=len(rare), sentences=left, of_sentences=total,
        texts=sum(bool(sentences) and not numbers for sentences, numbers in zip(cut, encoded, strict=True)),
        cut=sum(sum(map(len, map(tokens_of, sentences))) >= LONGEST for sentences in cut),
    )  # fmt: skip
    return made, told


def sentences_of(text: str) -> list[str]:
    """Sentences with the white space after them; joined they are the text."""
    pieces = _STOP.split(text.strip())
    whole = ["".join(pieces[at : at + 2]) for at in range(0, len(pieces), 2)]
    return [sentence for sentence in whole if sentence.strip()]


def tokens_of(text: str) -> list[str]:
    """Words, numbers and signs with a space before them, and further white space; joined they are the text."""
    return _TOKEN.findall(text)


def _with_start(sentence: str) -> list[tuple[str, bool]]:
    return [(token, place == 0) for place, token in enumerate(tokens_of(sentence))]


def _forms(token: str, start: bool) -> tuple[str, ...]:
    word = token.strip() or token
    return (word, word[:1].lower() + word[1:]) if start and word[:1].isupper() else (word,)


def shared_runs(
    rows: Sequence[Sequence[int]], patients: npt.NDArray[np.int64], *, rare_below: int
) -> npt.NDArray[np.bool_]:
    """Which tokens may be learnt: bool [n, longest], False after the end.

    A token may where it and the :data:`RUN` - 1 before it stand in this order in texts of at least ``rare_below``
    patients; at the start of a text, with the start. What only few patients' texts say one word after the other is
    then never learnt as a sequence, though each of its words is: what a canary is planted to find.

    Args:
        rows: Tokens of each text, with the end; ``patients`` [n] whose text it is.
    """
    made = padded(rows)
    there = made > 0
    n, longest = made.shape
    before = np.concatenate([np.zeros((n, RUN - 1), dtype=np.int64), made], axis=1)
    runs = np.stack([before[:, at : at + longest] for at in range(RUN)], axis=2)[there]
    owners = np.broadcast_to(np.asarray(patients)[:, None], there.shape)[there]
    _, kind = np.unique(runs, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([kind.ravel(), owners], axis=1), axis=0)
    found: npt.NDArray[np.bool_] = np.zeros(there.shape, dtype=np.bool_)
    found[there] = (np.bincount(pairs[:, 0]) >= rare_below)[kind.ravel()]
    return found


def padded(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """[n, longest] with 0 after the end."""
    made = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=np.int64)
    for row, numbers in enumerate(rows):
        made[row, : len(numbers)] = numbers
    return made
