"""Cuts a report into the sentences that are read: parts, headings, line breaks. Offsets are of the text as given."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from evaluation.engine.text.ontology import LINE_END, Ontology
from evaluation.engine.text.records import Section

LONGEST = 1000
"""Characters of a sentence at most; a longer run is cut at white space, so that no text takes more than linear time."""

_PLAIN = str.maketrans({**dict.fromkeys("-_\xa0–—‑\t\r<>*#|", " "), "\N{RIGHT SINGLE QUOTATION MARK}": "'"})
# A line break that ends a sentence. Repetitions are bounded throughout, so that no text takes more than linear time.
_BREAK = re.compile(r"(?<![,\s])\n(?=\s{0,20}(?:[-*\N{BULLET}]|\d{1,3}[.)]\s|[A-Z])|[ \t\r]{0,20}\n)")
_BREAK_OF_CAPITALS = re.compile(r"(?<![,\s])\n(?=\s{0,20}(?:[-*\N{BULLET}]|\d{1,3}[.)]\s)|[ \t\r]{0,20}\n)")
# "?" before a word puts it in doubt: "? pneumonia".
_END = re.compile(
    rf"(?:(?<!\bvs)[.!]|(?<=[^\s{LINE_END}])\?)(?=[\s\"')]|$|{LINE_END})|(?<=[a-z]{{3}})\.(?=[a-z]{{2}})|[;{LINE_END}]"
)
# A mark of a web page: it is no word. One that begins or ends a block ends a sentence.
_MARK = re.compile(r"<\s{0,3}/?([A-Za-z][A-Za-z0-9]{0,20})\b[^<>]{0,200}>")
_BLOCKS = frozenset({"p", "br", "div", "li", "ul", "ol", "tr", "td", "th", "table", "script", "style", "section"})
_WORD = re.compile(r"\S+")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """Characters ``start`` up to ``end`` of a text.

    Attributes:
        words: In lower case, hyphens as spaces, single spaces: the key under which it is read once.
        section: The part of the report that it stands in.
    """

    start: int
    end: int
    words: str
    section: Section

    def place(self, start: int, end: int, folded: str) -> tuple[int, int]:
        """Characters of the text that characters of ``words`` stand for."""
        if self.end - self.start == len(self.words):
            return self.start + start, self.start + end
        ours, theirs = [0], []
        for match in _WORD.finditer(folded, self.start, self.end):
            theirs.append(match.start())
            ours.append(ours[-1] + len(match.group()) + 1)
        first, last = bisect_right(ours, start) - 1, bisect_right(ours, end - 1) - 1
        return theirs[first] + start - ours[first], theirs[last] + end - ours[last]


def fold(text: str) -> str:
    """The text in lower case with hyphens and marks as spaces and line ends marked; every character keeps its place."""
    breaks = _BREAK_OF_CAPITALS if text.isupper() else _BREAK
    marked = _MARK.sub(_unmarked, text) if "<" in text else text
    marked = breaks.sub(LINE_END, marked) if "\n" in marked else marked
    lower = marked.lower()
    if len(lower) != len(marked):
        lower = "".join(char.lower() if len(char.lower()) == 1 else char for char in marked)
    return lower.translate(_PLAIN)


def _unmarked(mark: re.Match[str]) -> str:
    first = LINE_END if mark[1].lower() in _BLOCKS else " "
    return first + " " * (len(mark[0]) - 1)


def sentences_of(folded: str, words: Ontology) -> Iterator[Sentence]:
    """The sentences that are read, in order. Those without a letter are left out."""
    for section, start, end in _parts(folded, words):
        for first, last in _cut(folded, start, end):
            piece = " ".join(folded[first:last].split())
            if piece and _LETTER.search(piece):
                first += len(folded[first:last]) - len(folded[first:last].lstrip())
                last = first + len(folded[first:last].rstrip())
                yield Sentence(start=first, end=last, words=piece, section=section)


def _parts(folded: str, words: Ontology) -> Iterator[tuple[Section, int, int]]:
    """Runs of the text with the section they stand in; what follows a heading that is skipped is left out.

    A skipped part reaches to the next heading; where none follows, to the end of its sentence or line.
    """
    headings = list(words.heading.finditer(folded)) if ":" in folded else []
    section, done = Section.BODY, 0
    for place, heading in enumerate(headings):
        yield section, done, heading.start()
        done = heading.end()
        kind = words.headings[" ".join(heading["name"].split())]
        if kind != "skipped":
            section = Section(kind)
        elif place + 1 < len(headings):
            done = headings[place + 1].start()
        else:
            stop = _END.search(folded, heading.end())
            done = len(folded) if stop is None else stop.end()
            section = Section.BODY
    yield section, done, len(folded)


def _cut(folded: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for stop in _END.finditer(folded, start, end):
        # A question keeps its mark: it asserts nothing.
        yield from _short(folded, start, stop.end() if stop.group() == "?" else stop.start())
        start = stop.end()
    yield from _short(folded, start, end)


def _short(folded: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST:
        space = folded.rfind(" ", start + 1, start + LONGEST)
        cut = space if space > 0 else start + LONGEST
        yield start, cut
        start = cut
    if start < end:
        yield start, end
