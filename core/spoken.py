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
from string import Formatter
from typing import Any

from django.utils.translation import get_language, gettext, npgettext
from django.utils.translation.trans_real import translation as catalogue_of

from core.noun_pairs import NOUNS

HOLE = re.compile(r"\{(\d+|[a-z_]+)\}")
BETWEEN = re.compile(r"(?<=[.!?]) +(?=[A-Z\"'(])")
NUMBER = re.compile(r"(?<![\w.,])(?:[-−]?\.\d+|\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?!\w|[.,]\d)")
"""Numbers as this house writes them in sentences, ``.91`` and ``1,204``; what looks like a version is none."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAY = re.compile(rf"\b(\d{{1,2}}) ({'|'.join(MONTHS)}) (\d{{4}})\b")
SWAPPED = str.maketrans(",.", ".,")
SENTENCES = re.compile(r"(?<=[.!?]) +(?=[A-Z\"'(<>≤≥]|\d+-\d+:)")
"""The same where names of groups begin a sentence: ``<50: ...``."""
LISTED = re.compile(r"(, | or | and | − | / | vs | ↓| →)")
LONGEST = 4000
DEEPEST = 3
BREAKS = (": ", "; ", " (", "), ", ", ", ")")
FIGURES = re.compile(r"([^:;,(]*?(?: \([^)]*\))?)( is)?((?:^| )[-−]?[.\d]+%?(?: vs [-−]?[.\d]+)?)")
SUBJECT = re.compile(
    r"(?:the )?(?P<title>[^:;,(]+?)(?: of (?P<of>[^:;,(]+?))?(?: across (?P<across>[^:;,(]+?))?"
    r"(?: by (?P<by>[^:;(]+?))?(?: in (?P<within>[^:;(]+))?"
)
SPAN = re.compile(r"[-−]?[.\d,]*\d%?(?: to [-−]?[.\d,]*\d%?)?")
"""A number, or an interval."""
POINT = re.compile(r"(?<!ersion \d)(?<=\b\d)\.(?=\d\d(?![\w.-]))|(?<= ist \d)\.(?=\d(?![\w.-]))")
"""The point of ``1.00``, not that of a version; after three digits it would be one between thousands."""
BEFORE = re.compile(r"[:;,] ")
SIGN = re.compile(r"[●□✚△◇] ")
"""The mark before a value; the sign of a legend."""
PARTED = re.compile(r"\w(?:: |; )")
BETWEEN_GROUPS = re.compile(r"( − | / )")
RANGE = re.compile(r"(?<=\d) to (?=[-−]?\.?\d)")
COUNTED = re.compile(r"(\d[\d,]*) ([a-z][a-z ]*)")
GROUP = re.compile(r"([a-z][a-z ]*?) ((?:[<>≥≤] ?)?[A-Z\d][\w.–-]*)")
"""``52 windows``; ``age band ≥80``."""
GRAMMAR = re.compile(
    r"\b(?:the|an?|is|are|was|were|has|have|of|in|than|more|less|fewer|most|between|and|or|with|without|from|to|not|no|by|"
    r"on|at|it|its|that|this)\b"
)
"""Words that a sentence has and a name has not."""
TYPED = ("Use ", "Choose one of:", "Choose among:", "Name some of", "Ask for one of")
FEW = 12
"""Letters: a sentence of so few of its own fits many by chance: its values are not much longer, and known or names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """A sentence of the catalogue with places for values.

    Attributes:
        longest: Its longest run of words: what has not these is not this sentence.
        words: Letters that are its own.
        said: The German words, each with the place of the value after them.
        begins: It begins with words of its own: ``Vote on {0}``.
        clause: It is a part of a sentence: none of its values has parts of its own.
        typed: Its values are to be typed as they stand: ``Use one of: pass, fail.``
    """

    shape: re.Pattern[str]
    longest: str
    words: int
    said: tuple[tuple[str, int | None], ...]
    begins: bool
    clause: bool
    typed: bool


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
    if len(parts) == 1 and (within := _headline(text, language, depth)) is not None:
        return within
    if len(parts) == 1:
        return _clauses(text, language, depth) or (SUBJECT.fullmatch(text) and _subject(text, language)) or text
    said = [_whole(part, language, depth) or _clauses(part, language, depth) for part in parts]
    return " ".join(new if new is not None else old for new, old in zip(said, parts, strict=True))


def _headline(text: str, language: str, depth: int) -> str | None:
    """What begins with a capital because it stands alone: ``The sensitivity of x differs most between ...``."""
    lower = text[:1].lower() + text[1:]
    said = _whole(lower, language, depth) if lower != text else None
    said = said or (_clauses(lower, language, depth) if lower != text else None)
    return said and said[:1].upper() + said[1:]


def _clauses(text: str, language: str, depth: int) -> str | None:
    """A verdict, clause by clause: ``Fails: ...: sensitivity .44 vs .60, difference -.16 (95% interval ...).``

    None unless each clause is known, or holds no word of a sentence: half a translation says less than none.
    """
    if depth == 0 or not (text.endswith(".") or any(mark in text for mark in BREAKS)):
        return None
    head, colon, sentence = text.partition(": ")
    if colon and (named := _word(head, language)) and (told := _whole(sentence, language, depth - 1)):
        return f"{named}: {told}"
    end = "." if text.endswith(".") else ""
    said = _from_clause(text.removesuffix("."), language, depth)
    return None if said is None else said + end


def _from_clause(text: str, language: str, depth: int) -> str | None:
    """The clause before a mark and those after it, or else the whole as one."""
    for mark in BREAKS:
        before, found, after = text.partition(mark)
        if found and (first := _clause(before, language, depth)) is not None:
            rest = _from_clause(after, language, depth)
            if rest is not None:
                return first + mark + rest
    return _clause(text, language, depth)


def _clause(text: str, language: str, depth: int) -> str | None:
    if SPAN.fullmatch(text):
        return RANGE.sub(gettext(" to "), NUMBER.sub(lambda number: _number(number[0]), text))
    if figures := FIGURES.fullmatch(text):
        title = _subject(figures[1], language) if figures[1] else ""
        rest = (gettext(" is") if figures[2] else "") + figures[3].replace(" vs ", gettext(" vs "))
        if title is not None:
            return title + NUMBER.sub(lambda number: _number(number[0]), rest)
    said = _subject(text, language) or _whole(text, language, depth - 1)
    if said is None and not GRAMMAR.search(text) and not any(mark in text for mark in BREAKS):
        return NUMBER.sub(lambda number: _number(number[0]), text)
    if said is None and len(parts := BETWEEN_GROUPS.split(text)) > 1:
        told = [part if BETWEEN_GROUPS.fullmatch(part) else _clause(part, language, depth) for part in parts]
        return "".join(part for part in told if part) if all(told) else None
    return said


def _subject(text: str, language: str) -> str | None:
    """A word of the house, or ``the sensitivity of effusion across sex``: a metric, with what it is of."""
    if title := _named(text.removeprefix("the "), language):
        return title
    parts = SUBJECT.fullmatch(text)
    if not parts or not (title := _word(parts["title"], language)):
        return None
    told = {"of": gettext(" of "), "across": gettext(" across "), "by": gettext(" by "), "within": gettext(" in ")}
    for name, word in told.items():
        if end := parts[name]:
            said = _listed(end, language) or (None if GRAMMAR.search(end) or ", " in end else end)
            title = title and said and title + word + said
    return title


def _whole(text: str, language: str, depth: int) -> str | None:
    """What one sentence of the catalogue says; None where none fits."""
    if (plain := gettext(text)) != text:
        return plain
    best: Pattern | None = None
    for pattern in _patterns(language):
        better = (best is None or pattern.words > best.words) and pattern.longest in text
        fits = pattern.shape.fullmatch(text) if better else None
        if not fits or (pattern.clause and any(PARTED.search(value) for value in fits.groups())):
            continue
        given = fits.groups()
        named = pattern.begins and not any(GRAMMAR.search(value) for value in given)
        if pattern.words > FEW or named or max(map(len, given)) <= 5 * pattern.words:
            best = pattern
    found = best and best.shape.fullmatch(text)
    if best is None or not found:
        return None
    values = [value if best.typed else _value(value, language, depth) for value in found.groups()]
    if best.words <= FEW and any(
        new == old and GRAMMAR.search(old) for new, old in zip(values, found.groups(), strict=True)
    ):
        return None  # by chance: what stands in it is the rest of another sentence
    return "".join(words + ("" if place is None else values[place]) for words, place in best.said)


def spoken_lines(text: str) -> str:
    """A text of several lines: each is said by itself."""
    return "\n".join(map(spoken, text.split("\n")))


def spoken_value(value: str) -> str:
    """What stands in a chart or in a cell of its table: a sentence, a word of the house, a number, a day or a name."""
    language = get_language() or "en"
    if not value or language.startswith("en"):
        return value
    if len(parts := SENTENCES.split(value)) > 1 and gettext(value) == value:
        return " ".join(map(spoken_value, parts))
    said = _value(value, language, DEEPEST + 1)
    said = POINT.sub(",", RANGE.sub(gettext(" to "), said))
    return DAY.sub(lambda day: f"{int(day[1]):02}.{MONTHS.index(day[2]) + 1:02}.{day[3]}", said)


def _value(value: str, language: str, depth: int) -> str:
    """What stands in a sentence may be a sentence, a word of the house, a number or a name."""
    if FIGURES.fullmatch(value) and (figures := _clause(value, language, depth)):
        return figures
    if before := BEFORE.match(value):
        return before[0] + _value(value[before.end() :], language, depth)
    said = _listed(value, language) or (_spoken(value, language, depth - 1) if depth else value)
    return NUMBER.sub(lambda number: _number(number[0]), said) if said == value else said


def _listed(value: str, language: str) -> str | None:
    """Words of the house, alone or several of them: ``auditor or committee chair``; None where one is no such word."""
    if whole := _word(value, language):
        return whole
    parts = LISTED.split(value)
    said = [_named(part, language) if place % 2 == 0 else gettext(part) for place, part in enumerate(parts)]
    return "".join(part for part in said if part) if all(part is not None for part in said) else None


def _word(text: str, language: str) -> str | None:
    """A word as the catalogue has it, or with a capital as it begins a line there."""
    catalogue: Any = catalogue_of(language)
    ways = (text, text[:1].upper() + text[1:], text[:1].lower() + text[1:])
    return next((said for known in ways if known and (said := catalogue._catalog.get(known))), None)


def _named(text: str, language: str) -> str | None:
    """A word of the house, a number of things, or a group by its attribute; nothing of nothing."""
    if not text or (found := _word(text, language)):
        return text and found
    if (sign := SIGN.match(text)) and (found := _named(text[sign.end() :], language)):
        return sign[0] + found
    if (counted := COUNTED.fullmatch(text)) and (noun := _noun(counted[2], counted[1])):
        return f"{_number(counted[1])} {noun}"
    group = GROUP.fullmatch(text)
    return f"{attribute} {group[2]}" if group and (attribute := _word(group[1], language)) else None


def _noun(words: str, digits: str) -> str | None:
    """A noun that pages count, in the number that stands before it."""
    count = int(digits.replace(",", ""))
    return npgettext("count", *NOUNS[words], count) if words in NOUNS else None


def _number(text: str) -> str:
    sign, digits = ("−", text[1:]) if text[0] in "-−" else ("", text)
    return sign + ("0" if digits.startswith(".") else "") + digits.translate(SWAPPED)


@cache
def _patterns(language: str) -> tuple[Pattern, ...]:
    catalogue: Any = catalogue_of(language)
    known = {key: said for key, said in catalogue._catalog.items() if isinstance(key, str) and "{" in key}
    made = (_pattern(key, said) for key, said in known.items() if said and "\x04" not in key)
    return tuple(pattern for pattern in made if pattern)


def _pattern(key: str, said: str) -> Pattern | None:
    """The pattern of a sentence; None for one without values."""
    english, german = pieces_of(key), pieces_of(said)
    names = [name for _, name in english if name is not None]
    if not names or any(name is not None and name not in names for _, name in german):
        return None
    words = [piece for piece, _ in english]
    shape = "".join(re.escape(piece) + ("" if name is None else "(.*?)") for piece, name in english)
    return Pattern(
        shape=re.compile(shape, re.DOTALL),
        longest=max(words, key=len),
        words=sum(letter.isalpha() for piece in words for letter in piece),
        said=tuple((piece, None if name is None else names.index(name)) for piece, name in german),
        begins=len(english[0][0].split()) >= 2,
        clause=key[-1] not in ".!?",
        typed=key.startswith(TYPED),
    )


def pieces_of(sentence: str) -> list[tuple[str, str | None]]:
    """Words and the name of the value after them: ``{0}`` of an f-string, or ``{column}`` of a text to be formatted,
    in which doubled braces are braces. Any other brace is a word like the rest."""
    if "{0}" in sentence:
        parts = HOLE.split(sentence)
        return [(words, name) for words, name in zip(parts[::2], [*parts[1::2], None], strict=True)]
    try:
        parsed = list(Formatter().parse(sentence))
    except ValueError:
        return [(sentence, None)]
    if any(name is not None and not (name.isidentifier() and not spec) for _, name, spec, _ in parsed):
        return [(sentence, None)]
    return [(words, name) for words, name, _, _ in parsed]
