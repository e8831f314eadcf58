"""Measured values that a text states, and whether they are the patient's.

"CRP 45 mg/L", "heart rate of 110 bpm", "SpO2 92%", "NT-proBNP: 1,200 pg/mL", "CRP was 45 mg/L at 6 h, elevated". A name
finds the number behind it where only words that link the two stand between, else one with a unit just before it.
Ranges, inequalities, differences ("rose by 20") and negated flags ("not elevated") state no value and are left out.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from evaluation.engine.protocol_sections import NumberRule
from evaluation.engine.text.analytes import PLAIN, AnalyteWords, analyte_words, conversion, text_key
from evaluation.engine.text.records import Quantity

NEAR = 60
"""Characters between a name and its number at most."""

HOUR_TOLERANCE = 0.5
"""Hours by which the time of a measurement may differ from the one that a text states."""

_NUMBER = re.compile(r"(?<![\w.,/<>^*\[-])(?:\d{1,3}(?:,\d{3})+|\d{1,7})(?:\.\d{1,6})?(?![\d\]]|[.,]\d|[eE][+-]?\d)")
_RANGE = re.compile(r"\s?(?:-|to)\s?\d")
_PAIR = re.compile(r"\s?/\s?(?=\d)")
_FROM = re.compile(r"\bfrom\b|->|→", re.IGNORECASE)
_NO_VALUE = re.compile(
    r"(?:(?<!-)[<>≤≥]=?|\b(?:less than|more than|greater than|below|above|under|over|by|goal|target|between))\s*$",
    re.IGNORECASE,
)
_BEHIND = re.compile(r"[\s,(]{0,15}(?:which\s|is\s|was\s|and\s|remains\s){0,2}$", re.IGNORECASE)
_BEFORE_NAME = re.compile(r"\s(?:of\s)?(?:the\s)?|\s?\(", re.IGNORECASE)
_FLAG_BEFORE = re.compile(r"\s(?:the\s|serum\s|plasma\s|blood\s)?", re.IGNORECASE)
_TIME = re.compile(
    r"(?<![\w.,/-])(?:at\s|after\s|by\s|@\s?)?(?:t\s?=\s?)?(?P<n>\d{1,4}(?:\.\d{1,2})?)\s?-?"
    r"(?P<unit>hours?|hrs?|h|minutes?|mins?)(?![\w/])"
    r"|(?<!\w)(?:at\s|after\s)?hour\s(?P<hour>\d{1,4}(?:\.\d{1,2})?)(?![\w./])",
    re.IGNORECASE,
)


class QuantityVerdict(StrEnum):
    """What a stated value is, held against the patient's measurements.

    ``FABRICATED``: nothing of the kind was measured in this patient. ``UNIT``: the number is right in another unit than
    the one that is printed, or the unit is none of this analyte. ``VALUE``: it was measured, and never with this
    result. ``TIME``: the result is right and was not measured then. ``FLAG``: "high", "low" or "normal" contradicts the
    reference range.
    """

    OK = "ok"
    FABRICATED = "fabricated"
    UNIT = "unit"
    VALUE = "value"
    FLAG = "flag"
    TIME = "time"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Number:
    """A number with its unit. Places count from the start of the sentence."""

    start: int
    end: int
    value: float
    decimals: int
    unit: str | None
    printed_unit: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Time:
    start: int
    end: int
    hours: float


def quantities_of(text: str, sentences: Sequence[tuple[int, int]]) -> tuple[Quantity, ...]:
    """Every measured value that a text states, in its order.

    A flag without a number ("CRP is elevated", "tachycardia") is a quantity whose ``value`` is NaN. Linear in the
    length of the text.

    Args:
        sentences: Start and end of each, ascending and apart; what stands in none is not read.
    """
    words = analyte_words()
    plain = text.translate(PLAIN)
    starts = [start for start, _ in sentences]
    by_sentence: dict[int, list[re.Match[str]]] = {}
    for name in words.names.finditer(plain):
        index = bisect_right(starts, name.start()) - 1
        if index >= 0 and name.end() <= sentences[index][1]:
            by_sentence.setdefault(index, []).append(name)
    found: list[Quantity] = []
    for index, names in by_sentence.items():
        start, end = sentences[index]
        found += _Sentence(plain[start:end], start, index, words).read(names)
    return tuple(found)


class _Sentence:
    """Reads the values of one sentence. Places in it count from its start."""

    def __init__(self, text: str, offset: int, index: int, words: AnalyteWords) -> None:
        self.offset, self.index, self.words = offset, index, words
        self.times = tuple(_times(text))
        self.text = text = _TIME.sub(lambda match: " " * len(match[0]), text)
        self.numbers = [
            match
            for match in _NUMBER.finditer(text)
            if not _NO_VALUE.search(text, max(0, match.start() - NEAR), match.start())
        ]
        self.starts = [match.start() for match in self.numbers]
        self.used: set[int] = set()

    def read(self, names: Sequence[re.Match[str]]) -> Iterator[Quantity]:
        ends = [name.start() - self.offset for name in names[1:]] + [len(self.text)]
        for name, limit in zip(names, ends, strict=True):
            yield from self._of_name(name, limit)

    def _of_name(self, name: re.Match[str], limit: int) -> Iterator[Quantity]:
        start, end = name.start() - self.offset, name.end() - self.offset
        if name.lastgroup == "alone":
            key, flag = self.words.alone[text_key(name[0])]
            numbers = self._behind(key, end, limit, wants_unit=True)
            if not self._negated(start):
                yield from self._numbered(key, start, end, numbers, [flag] * len(numbers))
                if not numbers:
                    yield self._quantity(key, start, end, None, flag)
            return
        symbol = name.lastgroup == "symbol"
        keys = (self.words.symbols[name[0]],) if symbol else self.words.phrases[text_key(name[0])]
        if len(keys) == 2:
            yield from self._pair(keys, start, end, limit)
            return
        analyte = self.words.analytes[keys[0]]
        wants_unit = len(name[0].rstrip("+-")) == 1 or not analyte.bare
        numbers = self._behind(keys[0], end, limit, wants_unit)
        if not numbers and (before := self._before(keys[0], start)) is not None:
            numbers = [before]
        flags = [self._flag(start, end, number, limit) for number in numbers]
        yield from self._numbered(keys[0], start, end, numbers, flags)
        if not numbers and not symbol and not wants_unit and (flag := self._flag(start, end, None, limit)):
            yield self._quantity(keys[0], start, end, None, flag)

    def _numbered(
        self, analyte: str, start: int, end: int, numbers: Sequence[_Number], flags: Sequence[str]
    ) -> Iterator[Quantity]:
        """The values of a name. The first one's words begin with the name, those of the others with their numbers."""
        for place, (number, flag) in enumerate(zip(numbers, flags, strict=True)):
            low, high = (number.start, number.end) if place else (min(start, number.start), max(end, number.end))
            yield self._quantity(analyte, low, high, number, flag)

    def _quantity(self, analyte: str, start: int, end: int, number: _Number | None, flag: str) -> Quantity:
        place = (start, end) if number is None else (number.start, number.end)
        return Quantity(
            start=self.offset + start,
            end=self.offset + end,
            sentence=self.index,
            analyte=analyte,
            value=math.nan if number is None else number.value,
            decimals=0 if number is None else number.decimals,
            unit="" if number is None else number.unit,
            flag=flag,
            hours=self._hours(*place),
        )

    def _links(self, start: int, end: int) -> bool:
        """Only words that link a name to its number stand between two places. Flags may stand there, too."""
        if end - start > NEAR:
            return False
        return self.words.links.fullmatch(self.words.flags.sub(" ", self.text[start:end])) is not None

    def _behind(self, analyte: str, end: int, limit: int, wants_unit: bool) -> list[_Number]:
        """The number behind a name, and those that follow it as its further values."""
        found: list[_Number] = []
        place = end
        for match in self._numbers_from(end, limit):
            if match.start() < place or match.start() - place > NEAR:
                break
            gap = self.text[place : match.start()]
            if not self._links(place, match.start()):
                break
            number = self._number(match, analyte)
            ranged = _RANGE.match(self.text, number.end) and not _FROM.search(self.text[end : match.start()])
            if ranged or self._counts_else(number) or (found and not number.unit):
                break
            if number.unit is None and limit < len(self.text) and _BEFORE_NAME.fullmatch(self.text, number.end, limit):
                break  # "elevated WBC, 98 bpm heart rate": it is the next name's
            if not found and wants_unit and not number.unit and not set(gap) & set(":="):
                break
            found.append(number)
            self.used.add(match.start())
            place = number.end
        return _with_unit_of_last(found)

    def _counts_else(self, number: _Number) -> bool:
        return not number.printed_unit and self.words.counts_else.match(self.text, number.end) is not None

    def _before(self, analyte: str, start: int) -> _Number | None:
        """A number with a unit just before a name: "45 mg/L of CRP"."""
        place = bisect_right(self.starts, start) - 1
        if place < 0 or self.starts[place] in self.used or start - self.starts[place] > NEAR:
            return None
        number = self._number(self.numbers[place], analyte)
        if not number.unit or not _BEFORE_NAME.fullmatch(self.text[number.end : start]):
            return None
        self.used.add(number.start)
        return number

    def _pair(self, keys: Sequence[str], start: int, end: int, limit: int) -> Iterator[Quantity]:
        """Two numbers with a stroke, as of the blood pressure."""
        match = next(self._numbers_from(end, limit), None)
        stroke = None if match is None else _PAIR.match(self.text, match.end())
        second = None if stroke is None else _PLAIN_NUMBER.match(self.text, stroke.end())
        if match is None or second is None or not self._links(end, match.start()):
            return
        self.used.add(match.start())
        last = self._number(second, keys[1])
        first = self._number(match, keys[0], unit=last)
        yield self._quantity(keys[0], start, first.end, first, "")
        yield self._quantity(keys[1], last.start, last.end, last, "")

    def _numbers_from(self, start: int, limit: int) -> Iterator[re.Match[str]]:
        """Numbers that stand from ``start`` to ``limit`` and belong to no name yet."""
        for place in range(bisect_left(self.starts, start), len(self.starts)):
            match = self.numbers[place]
            if match.end() > limit:
                return
            if match.start() not in self.used:
                yield match

    def _number(self, match: re.Match[str], analyte: str, unit: _Number | None = None) -> _Number:
        digits = match[0].replace(",", "")
        printed = self.words.units.match(self.text, match.end())
        code: str | None = ""
        end = match.end()
        if unit is not None:
            code = unit.unit
        elif printed is not None:
            known = self.words.codes.get(text_key(printed["known"])) if printed["known"] else None
            code = known if known in self.words.analytes[analyte].units else None
            end = printed.end()
        return _Number(
            start=match.start(),
            end=end,
            value=float(digits),
            decimals=len(digits.partition(".")[2]),
            unit=code,
            printed_unit=printed is not None,
        )

    def _flag(self, start: int, end: int, number: _Number | None, limit: int) -> str:
        """What the text calls a value: between name and number, behind the number, or before the name."""
        stop = limit if number is None or number.start < end else number.start
        for match in self.words.flags.finditer(self.text, end, min(stop, end + NEAR)):
            linked = self.words.links.fullmatch(self.text[end : match.start()])
            if linked and not self._negated(match.start()):
                return self.words.flag_of[text_key(match[0])]
        if number is not None:
            tail = self.words.flags.search(self.text, number.end, min(len(self.text), number.end + NEAR))
            if tail and _BEHIND.fullmatch(self.text[number.end : tail.start()]):
                return self.words.flag_of[text_key(tail[0])]
        for match in self.words.flags.finditer(self.text, max(0, start - NEAR), start):
            if _FLAG_BEFORE.fullmatch(self.text[match.end() : start]) and not self._negated(match.start()):
                return self.words.flag_of[text_key(match[0])]
        return ""

    def _negated(self, place: int) -> bool:
        return self.words.negated.search(self.text[max(0, place - NEAR) : place]) is not None

    def _hours(self, start: int, end: int) -> float | None:
        """The time that belongs to a place.

        The only one of the sentence; else, where a time leads the sentence ("at 6 h the CRP was 45, at 12 h 80"), the
        last one before it, and otherwise ("45 at 6 h and 80 at 12 h") the next one.
        """
        if len(self.times) < 2:
            return self.times[0].hours if self.times else None
        leads = not self.starts or self.times[0].start < self.starts[0]
        place = (
            bisect_right(self.times, start, key=lambda time: time.end) - 1
            if leads
            else bisect_left(self.times, end, key=lambda time: time.start)
        )
        return self.times[place].hours if 0 <= place < len(self.times) else None


_PLAIN_NUMBER = re.compile(r"\d{1,3}(?!\d)(?:\.\d{1,2})?")


def _with_unit_of_last(numbers: list[_Number]) -> list[_Number]:
    """ "From 45 to 120 mg/L": the unit behind the last number is that of those before it, if they have none."""
    if len(numbers) < 2:
        return numbers
    unit = numbers[-1].unit
    return [number if number.printed_unit else replace(number, unit=unit) for number in numbers]


def _times(text: str) -> Iterator[_Time]:
    for match in _TIME.finditer(text):
        value = float(match["n"] or match["hour"])
        minutes = (match["unit"] or "").lower().startswith("min")
        yield _Time(start=match.start(), end=match.end(), hours=value / 60 if minutes else value)


def compare_quantity(quantity: Quantity, series: npt.NDArray[np.float64] | None, rule: NumberRule) -> QuantityVerdict:
    """What a stated value is, held against the patient's series.

    A number matches a measurement that differs by at most half a unit of its last printed digit, in the unit that is
    printed; without a unit, in the cohort's. 1.0 matches 1.00, 10 does not match 1.0. Classes are tried in the order
    fabricated, unit, value, time, flag: a value is in one class. A flag is judged only on the sides on which the rule
    has a limit; a flag without a number is right where some measurement meets it.

    Args:
        series: float64 [t, 2] of (hours, value) in ``rule.unit``, NaN where a value is missing; None for no series.
        rule: The rule of the quantity's analyte.

    Raises:
        ProtocolError: when a unit is no UCUM unit.
    """
    points = np.empty((0, 2)) if series is None else np.asarray(series, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points[:, 1])]
    if not len(points):
        return QuantityVerdict.FABRICATED
    if math.isnan(quantity.value):
        near = points if quantity.hours is None else points[_at(points, quantity.hours)]
        if not len(near):
            return QuantityVerdict.TIME
        return QuantityVerdict.OK if _flag_fits(quantity.flag, near[:, 1], rule) else QuantityVerdict.FLAG
    if quantity.unit is None:
        return QuantityVerdict.UNIT
    matching = points[_matches(quantity, points[:, 1], rule, quantity.unit or rule.unit)]
    if not len(matching):
        units = analyte_words().analytes[quantity.analyte].units
        elsewhere = any(_matches(quantity, points[:, 1], rule, unit).any() for unit in (rule.unit, *units))
        return QuantityVerdict.UNIT if elsewhere else QuantityVerdict.VALUE
    if quantity.hours is not None:
        matching = matching[_at(matching, quantity.hours)]
        if not len(matching):
            return QuantityVerdict.TIME
    return QuantityVerdict.OK if _flag_fits(quantity.flag, matching[:, 1], rule) else QuantityVerdict.FLAG


def _matches(quantity: Quantity, values: npt.NDArray[np.float64], rule: NumberRule, unit: str) -> npt.NDArray[np.bool_]:
    """Which measurements would be printed as the number, if they were printed in ``unit``."""
    found = conversion(quantity.analyte, rule.unit, unit)
    if found is None:
        return np.zeros(len(values), dtype=bool)
    factor, offset = found
    distance = np.abs(values * factor + offset - quantity.value)
    # A hair more, because neither side of a tie such as 0.125 has an exact form in binary.
    return np.asarray(distance <= 0.5 * 10.0**-quantity.decimals + 1e-9 * max(1.0, abs(quantity.value)))


def _at(points: npt.NDArray[np.float64], hours: float) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(points[:, 0] - hours) <= HOUR_TOLERANCE)


def _flag_fits(flag: str, values: npt.NDArray[np.float64], rule: NumberRule) -> bool:
    """Some value meets the flag, or the rule has no limit to judge it by."""
    low = -math.inf if rule.low is None else rule.low
    high = math.inf if rule.high is None else rule.high
    if flag == "high":
        return rule.high is None or bool((values > high).any())
    if flag == "low":
        return rule.low is None or bool((values < low).any())
    return flag != "normal" or bool(((values >= low) & (values <= high)).any())
