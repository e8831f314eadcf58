"""Sentences that were made in English, in the language of the page.

What is refused and why, what to do, what was found: that is worked out, stored, signed and told to programs in English,
whatever language a page has. For who reads another, a sentence is recognised by the words around its values, and said
with the catalogue's words and the same values. ``There is no system 'x'.`` is recognised by ``There is no system
'{0}'.``; of several that fit, the one with most words of its own counts. What no sentence of the catalogue fits, such
as what people wrote, stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.utils.translation import get_language, gettext
from django.utils.translation.trans_real import translation as catalogue_of

HOLE = re.compile(r"\{(\d+)\}")
BETWEEN = re.compile(r"(?<=[.!?]) +(?=[A-Z\"'(])")
NUMBER = re.compile(r"(?<![\w.,])(?:[-−]?\.\d+|\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?!\w|[.,]\d)")
"""Numbers as this house writes them in sentences, ``.91`` and ``1,204``; what looks like a version is none."""
SWAPPED = str.maketrans(",.", ".,")
LONGEST = 4000
DEEPEST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """A sentence of the catalogue with places for values.

    Attributes:
        longest: Its longest run of words: what has not these is not this sentence.
        words: Letters that are its own.
    """

    shape: re.Pattern[str]
    longest: str
    words: int
    said: str


def spoken(text: str) -> str:
    """An English text in the language of the page: whole, or sentence by sentence."""
    language = get_language() or "en"
    if not text or language.startswith("en") or len(text) > LONGEST:
        return text
    return _spoken(text, language, DEEPEST)


@lru_cache(maxsize=4096)
def _spoken(text: str, language: str, depth: int) -> str:
    whole = _whole(text, language, depth)
    if whole is not None:
        return whole
    parts = BETWEEN.split(text)
    if len(parts) == 1:
        return text
    said = [_whole(part, language, depth) for part in parts]
    return " ".join(new if new is not None else old for new, old in zip(said, parts, strict=True))


def _whole(text: str, language: str, depth: int) -> str | None:
    """What one sentence of the catalogue says; None where none fits."""
    if (plain := gettext(text)) != text:
        return plain
    best: Pattern | None = None
    for pattern in _patterns(language):
        if (best is None or pattern.words > best.words) and pattern.longest in text and pattern.shape.fullmatch(text):
            best = pattern
    found = best and best.shape.fullmatch(text)
    if best is None or not found:
        return None
    values = [_value(value, language, depth) for value in found.groups()]
    return HOLE.sub(lambda place: values[int(place[1])], best.said)


def _value(value: str, language: str, depth: int) -> str:
    """What stands in a sentence may be a sentence, a word of the house, a number or a name."""
    said = _spoken(value, language, depth - 1) if depth else value
    return NUMBER.sub(lambda number: _number(number[0]), said) if said == value else said


def _number(text: str) -> str:
    sign, digits = ("−", text[1:]) if text[0] in "-−" else ("", text)
    return sign + ("0" if digits.startswith(".") else "") + digits.translate(SWAPPED)


@cache
def _patterns(language: str) -> tuple[Pattern, ...]:
    catalogue: Any = catalogue_of(language)
    known = {key: said for key, said in catalogue._catalog.items() if isinstance(key, str) and "{0}" in key}
    return tuple(_pattern(key, said) for key, said in known.items() if said and "\x04" not in key)


def _pattern(key: str, said: str) -> Pattern:
    pieces = HOLE.split(key)[::2]
    shape = "(.*?)".join(re.escape(piece) for piece in pieces)
    words = sum(letter.isalpha() for piece in pieces for letter in piece)
    return Pattern(shape=re.compile(shape, re.DOTALL), longest=max(pieces, key=len), words=words, said=said)
