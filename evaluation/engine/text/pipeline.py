"""The spaCy pipeline that reads one sentence: tokens, phrases, clauses, negation by negspacy, and what it lacks.

Imported where a text is read, not before: spaCy takes seconds to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import spacy
from negspacy.negation import Negex
from spacy.matcher import PhraseMatcher
from spacy.tokens import Doc, Span

from evaluation.engine.text.assertions import findings_said
from evaluation.engine.text.attributes import More, Word, described
from evaluation.engine.text.clauses import MENTIONS, Item, clause_starts
from evaluation.engine.text.ontology import Ontology
from evaluation.engine.text.phrases import Kind
from evaluation.engine.text.records import Assertion

T = TypeVar("T")

SAID = "said"
"""Key of the spans of a document that name findings."""

_ABSENT = {Kind.ABSENT_BEFORE, Kind.ABSENT_AFTER, Kind.ABSENT_EITHER}


class FoundClaim(NamedTuple):
    """A claim in characters of its sentence."""

    start: int
    end: int
    finding: str
    assertion: Assertion
    more: More


class FoundWords(NamedTuple):
    """Words that compare or cite, in characters of their sentence; ``value``: the modality."""

    start: int
    end: int
    kind: str
    value: str


class Found(NamedTuple):
    """What one sentence says."""

    claims: tuple[FoundClaim, ...]
    words: tuple[FoundWords, ...]


class SentenceReader:
    """Reads sentences by one vocabulary. Building it takes a moment; keep it."""

    def __init__(self, words: Ontology) -> None:
        self.words = words
        self.nlp = spacy.blank("en")
        self.nlp.tokenizer.rules = {}  # "cannot" stays one word
        self.phrases, self.actions = self._matcher(words.actions)
        self.modifiers, self.meanings = self._matcher(words.attributes)
        self.negex = Negex(self.nlp, "negex", neg_termset=termset(words), span_keys=[SAID])

    def _matcher(self, phrases: Mapping[str, T]) -> tuple[PhraseMatcher, dict[int, T]]:
        matcher = PhraseMatcher(self.nlp.vocab, attr="LOWER")
        values = {}
        for text, doc in zip(phrases, self.nlp.tokenizer.pipe(phrases), strict=True):
            matcher.add(text, [doc])
            values[self.nlp.vocab.strings[text]] = phrases[text]
        return matcher, values

    def read(self, sentences: Iterable[str]) -> Iterator[Found]:
        """What each sentence says, in their order."""
        with self.nlp.memory_zone():
            for doc in self.nlp.pipe(sentences):
                yield self._found(doc)

    def _found(self, doc: Doc) -> Found:
        items = self._items(doc)
        tokens = [token.text for token in doc]
        more = self._more(doc)
        if not any(item.kind in MENTIONS for item in items):
            return Found((), _places(doc, more))
        starts = clause_starts(items, tokens, self.words.openers)
        said = findings_said(items, starts, self._negated(doc, items, starts), self.words.signs)
        describing = [word for word in more if word.kind in ("side", "severity", "change")]
        extra = described(said, describing, tokens, starts, self.words.sided)
        asked = tokens[-1] == "?"  # a question asserts nothing
        claims = tuple(
            FoundClaim(
                *_characters(doc, one.start, one.end),
                one.finding,
                Assertion.UNCERTAIN if asked else one.assertion,
                further,
            )
            for one, further in zip(said, extra, strict=True)
        )
        return Found(claims, _places(doc, more))

    def _items(self, doc: Doc) -> list[Item]:
        """Phrases from left to right; the longest of those that begin at one place, none within another."""
        items: list[Item] = []
        done = 0
        actions = self.actions
        for key, start, end in sorted(self.phrases(doc), key=lambda match: (match[1], -match[2])):
            if start >= done:
                action = actions[key]
                items.append(Item(action.kind, action, start, end))
                done = end
        return items

    def _negated(self, doc: Doc, items: Sequence[Item], starts: Sequence[int]) -> dict[int, bool]:
        """Start of each mention -> whether negspacy finds it negated, with clauses as its sentences."""
        if not any(item.kind in _ABSENT for item in items):
            return {}
        if len(doc) > 1:
            doc[1].is_sent_start = 1 in starts
        for start in starts:
            doc[start].is_sent_start = True
        spans = [Span(doc, item.start, item.end) for item in items if item.kind in MENTIONS]
        doc.spans[SAID] = spans
        self.negex(doc)
        return {span.start: span._.negex for span in doc.spans[SAID]}

    def _more(self, doc: Doc) -> list[Word]:
        """Words that say more; a phrase within a longer one of its kind is left out."""
        found: list[Word] = []
        done = dict.fromkeys(("side", "severity", "change", "comparison", "citation"), 0)
        for key, start, end in sorted(self.modifiers(doc), key=lambda match: (match[1], -match[2])):
            for kind, value in self.meanings[key]:
                if start >= done[kind]:
                    done[kind] = end
                    if value != "none":
                        found.append(Word(kind, value, start, end))
        return found


def _characters(doc: Doc, start: int, end: int) -> tuple[int, int]:
    last = doc[end - 1]
    return doc[start].idx, last.idx + len(last)


def _places(doc: Doc, words: Sequence[Word]) -> tuple[FoundWords, ...]:
    return tuple(
        FoundWords(*_characters(doc, word.start, word.end), word.kind, word.value)
        for word in words
        if word.kind in ("citation", "comparison")
    )


def termset(words: Ontology) -> dict[str, list[str]]:
    """The vocabulary's cues as negspacy takes them.

    A phrase of any other kind that holds a cue hides it: "cannot exclude" and "no change" negate nothing.
    """
    by_kind: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    for text, action in words.actions.items():
        by_kind[action.kind].append(text)
    cues = {text for kind in _ABSENT for text in by_kind[kind]}
    hiding = [text for text, action in words.actions.items() if action.kind not in _ABSENT and _holds(text, cues)]
    return {
        "pseudo_negations": hiding,
        "preceding_negations": [*by_kind[Kind.ABSENT_BEFORE], *by_kind[Kind.ABSENT_EITHER]],
        "following_negations": [*by_kind[Kind.ABSENT_AFTER], *by_kind[Kind.ABSENT_EITHER]],
        "termination": by_kind[Kind.STOP],
    }


def _holds(text: str, cues: set[str]) -> bool:
    parts = text.split()
    return any(
        " ".join(parts[first:last]) in cues for first in range(len(parts)) for last in range(first + 1, len(parts) + 1)
    )


_READERS: dict[str, SentenceReader] = {}


def reader_of(words: Ontology) -> SentenceReader:
    """The reader of a vocabulary, built once."""
    if words.digest not in _READERS:
        made = SentenceReader(words)
        while len(_READERS) >= 8:
            _READERS.pop(next(iter(_READERS)))
        _READERS[words.digest] = made
    return _READERS[words.digest]
