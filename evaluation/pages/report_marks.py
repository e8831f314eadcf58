"""A text cut into pieces, so that a template can show its marks: one look for each kind, never by colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evaluation.studies.rows import TextMark

MOST_CHARACTERS = 60_000
"""Of one text on a page. Marks behind them are in the list below the text."""

LONGEST_HEAD = 24
"""Characters of a word that is kept on one line with its shape."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a kind is shown.

    Attributes:
        icon: A shape of ``evaluation/_mark_icon.html``; ``line``: how the words are underlined and grounded.
        meaning: For the legend.
    """

    title: str
    icon: str
    line: str
    meaning: str


LOOKS: dict[str, Look] = {
    "contradicted": Look(
        title="Contradicted", icon="swap", line="wrong", meaning="The model asserts what the expert's report denies."
    ),
    "denied": Look(
        title="Denied", icon="swap", line="wrong", meaning="The model denies what the expert's report asserts."
    ),
    "unsupported": Look(
        title="Unsupported", icon="cross", line="wrong", meaning="The model asserts it; the expert's report does not."
    ),
    "fabricated_number": Look(
        title="Fabricated number", icon="number", line="wrong", meaning="The patient has no such value."
    ),
    "wrong_value": Look(title="Wrong value", icon="number", line="wrong", meaning="The patient's values are others."),
    "wrong_unit": Look(title="Wrong unit", icon="number", line="wrong", meaning="The value is right in another unit."),
    "wrong_flag": Look(
        title="Wrong flag", icon="number", line="wrong", meaning="Called high, low or normal, and it is not."
    ),
    "wrong_time": Look(
        title="Wrong time", icon="clock", line="wrong", meaning="The value was measured at another time."
    ),
    "no_prior": Look(
        title="No prior", icon="clock", line="wrong", meaning="Compares with an earlier study, and none was given."
    ),
    "absent_modality": Look(
        title="Not given", icon="slash", line="wrong", meaning="Rests on something that the study does not have."
    ),
    "wrong_side": Look(title="Wrong side", icon="sides", line="wrong", meaning="The expert names the other side."),
    "wrong_severity": Look(
        title="Wrong severity", icon="steps", line="wrong", meaning="The expert calls it lighter or graver."
    ),
    "omitted": Look(
        title="Omitted", icon="ring", line="left-out", meaning="The expert's report has it; the model's does not."
    ),
    "uncertain": Look(title="Uncertain", icon="question", line="maybe", meaning="Said to be possible, not settled."),
    "supported": Look(title="Supported", icon="check", line="right", meaning="The other report says it too."),
    "agreed_absent": Look(title="Absent in both", icon="dash", line="absent", meaning="Both reports rule it out."),
}
"""Kind of mark -> its look, the gravest first: where marks lie on the same words, these wear the gravest's."""
_UNKNOWN = Look(title="Marked", icon="dash", line="absent", meaning="")


@dataclass(frozen=True, kw_only=True)
class NumberedMark:
    """A mark with its number in the text, from 1."""

    number: int
    mark: TextMark
    look: Look
    words: str


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some characters of a text.

    Attributes:
        marks: Those that lie on them, the gravest first; none for plain text.
        begins: The first piece of its gravest mark, which carries shape and number.
    """

    text: str
    marks: tuple[NumberedMark, ...] = ()
    begins: bool = False

    @property
    def head(self) -> str:
        """The first word, which stays on the line of its shape; nothing where it is long enough to leave the page."""
        word = self.text.split(maxsplit=1)[0] if self.text.strip() else ""
        return word if self.text.startswith(word) and len(word) <= LONGEST_HEAD else ""

    @property
    def tail(self) -> str:
        return self.text[len(self.head) :]

    @property
    def first(self) -> NumberedMark:
        return self.marks[0]


@dataclass(frozen=True, kw_only=True)
class MarkedText:
    """A text in pieces, its marks in order, and how many characters are not shown."""

    pieces: tuple[Piece, ...]
    marks: tuple[NumberedMark, ...]
    hidden: int


def look_of(kind: str) -> Look:
    return LOOKS.get(kind, _UNKNOWN)


def marked_text(text: str, marks: Sequence[TextMark]) -> MarkedText:
    """Cut a text at the ends of its marks. Time is linear in the text and in the marks that lie on each other."""
    ranks = {kind: rank for rank, kind in enumerate(LOOKS)}
    ordered = sorted(marks, key=lambda mark: (mark.start, mark.end, ranks.get(mark.kind, len(ranks))))
    numbered = tuple(
        NumberedMark(number=place, mark=mark, look=look_of(mark.kind), words=text[mark.start : mark.end])
        for place, mark in enumerate(ordered, start=1)
    )
    shown = text[:MOST_CHARACTERS]
    cuts = {0, len(shown)}
    for item in numbered:
        cuts |= {min(item.mark.start, len(shown)), min(item.mark.end, len(shown))}
    pieces: list[Piece] = []
    lying: list[NumberedMark] = []
    coming = list(reversed(numbered))
    edges = sorted(cuts)
    for start, end in pairwise(edges):
        while coming and coming[-1].mark.start <= start:
            lying.append(coming.pop())
        lying = [item for item in lying if item.mark.end > start]
        on = tuple(sorted(lying, key=lambda item: (ranks.get(item.mark.kind, len(ranks)), item.number)))
        begins = bool(on) and on[0].mark.start == start
        pieces.append(Piece(text=shown[start:end], marks=on, begins=begins))
    return MarkedText(pieces=tuple(pieces), marks=numbered, hidden=len(text) - len(shown))
