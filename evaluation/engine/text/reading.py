"""Reads a report or an answer: everything that it claims, with where it says so.

Tokens, phrases and sentences come from spaCy (blank English), negation from negspacy (NegEx); doubt, the past, subjects
with what is said of them, sides, severity, change, comparisons and citations are rules of our own in the manner of
ConText. The vocabulary is ``ontology.yaml``. No weights, no network. Each distinct sentence is read once.

Source of the method: Chapman et al. (2001), J Biomed Inform 34:301 (NegEx); Harkema et al. (2009), J Biomed Inform
42:839 (ConText). Wording and rules are our own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

from evaluation.engine.text.language import is_english
from evaluation.engine.text.ontology import Ontology, ontology
from evaluation.engine.text.quantities import quantities_of
from evaluation.engine.text.records import Assertion, Citation, Claim, Comparison, ReadText
from evaluation.engine.text.sentences import Sentence, fold, sentences_of

if TYPE_CHECKING:
    from evaluation.engine.text.pipeline import Found, SentenceReader

BATCH = 500
"""Texts that are read together."""

KEPT = 20_000
"""Sentences that are remembered for each vocabulary."""

_LOCK = Lock()
_KNOWN: dict[str, dict[str, Found]] = {}


def read_text(text: str | None, vocabulary: Ontology | None = None) -> ReadText:
    """Everything that a text says.

    Sections that do not tell what was seen (indication, history, comparison, technique) are not read, nor are findings
    of the past ("history of pneumonia"). A sentence that was said before in the text is not read again. Linear in the
    length of the text.
    """
    return next(iter(read_texts([text], vocabulary)))


def read_texts(texts: Iterable[str | None], vocabulary: Ontology | None = None) -> Iterator[ReadText]:
    """The reading of each text, in order; each distinct text of a batch and each distinct sentence is read once."""
    words = vocabulary or ontology()
    waiting = iter(texts)
    while batch := list(islice(waiting, BATCH)):
        cut = {text: _Cut(text, words) for text in dict.fromkeys(batch) if text is not None and text.strip()}
        found = _found({sentence.words for one in cut.values() for sentence in one.sentences}, words)
        made = {text: one.reading(found, words) for text, one in cut.items()}
        for text in batch:
            yield made[text] if text in made else ReadText(given=False, supported=True, abstains=True, words=0)


def _found(sentences: Iterable[str], words: Ontology) -> dict[str, Found]:
    """What each sentence says. spaCy's store of strings is not shared between threads."""
    with _LOCK:
        known = _KNOWN.setdefault(words.digest, {})
        new = [sentence for sentence in sentences if sentence not in known]
        if new:
            if len(known) + len(new) > KEPT:
                kept = {sentence: known[sentence] for sentence in sentences if sentence in known}
                known = _KNOWN[words.digest] = kept
            known.update(zip(new, _reader(words).read(new), strict=True))
        return known


def _reader(words: Ontology) -> SentenceReader:
    with _torch_hidden():
        from evaluation.engine.text.pipeline import reader_of
    return reader_of(words)


@contextmanager
def _torch_hidden() -> Iterator[None]:
    """spaCy loads torch where it finds it, for parts that are not used here: seconds, and 190 MB in a web process.

    Where torch is loaded already, nothing is hidden. Afterwards it can be imported as ever.
    """
    hidden = "torch" not in sys.modules and "spacy" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]


class _Cut:
    """A text in sentences, without those that were said before."""

    def __init__(self, text: str, words: Ontology) -> None:
        self.text = text
        self.folded = fold(text)
        self.supported = is_english(self.folded)
        self.sentences: list[Sentence] = []
        self.numbers: list[int] = []
        self.repeated = 0
        seen: set[str] = set()
        for number, sentence in enumerate(sentences_of(self.folded, words) if self.supported else ()):
            if sentence.words in seen:
                self.repeated += 1
            else:
                seen.add(sentence.words)
                self.sentences.append(sentence)
                self.numbers.append(number)

    def reading(self, found: dict[str, Found], words: Ontology) -> ReadText:
        claims: list[Claim] = []
        comparisons: list[Comparison] = []
        citations: list[Citation] = []
        for number, sentence in zip(self.numbers, self.sentences, strict=True):
            said = found[sentence.words]
            for item in said.claims:
                start, end = sentence.place(item.start, item.end, self.folded)
                side, severity, change = item.more
                claims.append(
                    Claim(
                        start=start,
                        end=end,
                        sentence=number,
                        finding=item.finding,
                        assertion=item.assertion,
                        side=side,
                        severity=severity,
                        change=change,
                        section=sentence.section,
                    )
                )
            for word in said.words:
                start, end = sentence.place(word.start, word.end, self.folded)
                if word.kind == "comparison":
                    comparisons.append(Comparison(start=start, end=end, sentence=number))
                else:
                    citations.append(Citation(start=start, end=end, sentence=number, modality=word.value))
        return ReadText(
            given=True,
            supported=self.supported,
            abstains=_declines(self.folded, claims, words),
            words=len(self.text.split()),
            claims=tuple(claims),
            quantities=quantities_of(self.text, [(one.start, one.end) for one in self.sentences]),
            comparisons=tuple(comparisons),
            citations=tuple(citations),
            repeated=self.repeated,
        )


def _declines(folded: str, claims: Sequence[Claim], words: Ontology) -> bool:
    """Whether a text says that it cannot tell, and settles no finding."""
    if any(claim.assertion is not Assertion.UNCERTAIN for claim in claims):
        return False
    return words.abstentions.search(folded) is not None
