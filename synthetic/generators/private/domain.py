"""What is said of the data in public, before anybody looks at them: categories, bounds, bins, words.

With differential privacy nothing of this may be learnt from patients, as a largest value or a rare word is somebody's.
It is written down by whoever orders a training, from what everybody can know: how old people become, in which range a
laboratory reports, which findings a radiograph can show. What the domain does not name is not learnt. Names of columns
are public.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from core.errors import AuscultError

PATIENT, STUDY = "patient", "study"
MOST_VALUES, MOST_BINS, MOST_VISITS, MOST_READINGS, MOST_WORDS = 64, 64, 8, 64, 2000
FIELDS = ("attributes", "findings", "series", "texts", "words", "image", "visits", "times", "pairs")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_EXAMPLE = (
    '{"findings": ["effusion"], "attributes": {"sex": ["F", "M"], "age": [0, 100, 10]}, '
    '"series": {"crp": [0, 400]}, "texts": ["reference"], "image": true}'
)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute: categories, or numbers between bounds in bins of equal width.

    Attributes:
        values: Categories; empty for numbers.
        low, high, bins, whole: Of numbers. Those beyond count as the bound; ``whole`` ones have no decimals.
        each: Whether it is one of the patient, the same in every study, or one of each study.
    """

    values: tuple[str | int, ...] = ()
    low: float = 0.0
    high: float = 0.0
    bins: int = 0
    whole: bool = True
    each: str = PATIENT

    @property
    def size(self) -> int:
        """Categories or bins, without the one for what is missing."""
        return len(self.values) or self.bins

    def edges(self) -> list[float]:
        """Ends of the bins, one more than bins. Those of whole numbers are whole."""
        step = (self.high - self.low) / self.bins
        found = [self.low + place * step for place in range(self.bins)] + [self.high]
        return [float(round(value)) for value in found] if self.whole else found

    def to_dict(self) -> dict[str, Any]:
        if self.values:
            return {"values": list(self.values), "each": self.each}
        return {"low": self.low, "high": self.high, "bins": self.bins, "whole": self.whole, "each": self.each}


@dataclass(frozen=True, kw_only=True)
class SeriesBounds:
    """A series: bounds of values, and of hours before the study; readings beyond the number given are left out.

    Attributes:
        log: Whether small values are told apart more finely than large ones, as of what grows by factors.
    """

    low: float
    high: float
    readings: int = 8
    first: float = -72.0
    last: float = 0.0
    decimals: int = 1
    log: bool = False

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Domain:
    """All that is public.

    Attributes:
        findings: Labels of which plans are made.
        texts: Fields; ``words``: besides those of the platform (see ``private.words``).
        image: Whether images are learnt; ``visits``: studies of a patient that are learnt, the first ones.
        times: Days between which first studies lie; None for studies without time.
        pairs: Attribute or finding -> attribute or finding on which it depends. Nothing depends on two others.
    """

    findings: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    series: Mapping[str, SeriesBounds] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    image: bool = False
    visits: int = 4
    times: tuple[str, str] | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What :func:`check_domain` reads."""
        return {
            "findings": list(self.findings), "texts": list(self.texts), "words": list(self.words), "image": self.image,
            "attributes": {name: item.to_dict() for name, item in self.attributes.items()},
            "series": {name: item.to_dict() for name, item in self.series.items()}, "visits": self.visits,
            "times": list(self.times) if self.times else None,
            "pairs": [[given, name] for name, given in self.pairs.items()],
        }  # fmt: skip


def missing_domain() -> AuscultError:
    """That differential privacy was asked for without a domain."""
    return AuscultError(
        "Differential privacy needs a domain: bounds, bins and categories of what is to be learnt, which nobody may"
        " read from the patients.",
        remedy=f"Give the setting privacy.domain, such as {_EXAMPLE}.",
        column="privacy.domain",
    )


def check_domain(body: Any) -> Domain:
    """A domain from JSON.

    Short forms: a list of words for an attribute of categories, ``[low, high, bins]`` for one of numbers, ``[low,
    high]`` for a series. Categories that are numbers are told in full: ``{"values": [1, 2]}``.

    Raises:
        AuscultError: naming the entry that is missing, unknown or of the wrong kind.
    """
    if body is None:
        raise missing_domain()
    if not isinstance(body, Mapping):
        raise _wrong("", body, f"an object such as {_EXAMPLE}")
    for name in body:
        if name not in FIELDS:
            raise _wrong(str(name), body[name], f"one of the entries {', '.join(FIELDS)}")
    attributes = {str(name): _attribute(name, item) for name, item in _object(body, "attributes").items()}
    findings = _words(body, "findings")
    if not attributes and not findings:
        raise _wrong("findings", body.get("findings"), "at least one finding or one attribute")
    if both := set(attributes) & set(findings):
        raise _wrong("findings", sorted(both)[0], "names that are not those of attributes")
    image = body.get("image", False)
    if not isinstance(image, bool):
        raise _wrong("image", image, "true or false")
    return Domain(
        findings=findings, attributes=attributes, texts=_words(body, "texts"), words=_vocabulary(body), image=image,
        series={str(name): _series(name, item) for name, item in _object(body, "series").items()},
        visits=_count("visits", body.get("visits", 4), 1, MOST_VISITS), times=_times(body.get("times")),
        pairs=_pairs(body.get("pairs"), attributes, findings),
    )  # fmt: skip


def _attribute(name: Any, body: Any) -> Attribute:
    where = f"attributes.{name}"
    if isinstance(body, Sequence) and not isinstance(body, str):
        if len(body) == 3 and all(_is_number(item) for item in body):
            body = dict(zip(("low", "high", "bins"), body, strict=True))
        elif not any(isinstance(item, int | float) for item in body):
            body = {"values": body}
    if not isinstance(body, Mapping):
        raise _wrong(where, body, "a list of categories, or [low, high, bins]")
    for key in body:
        if key not in ("values", "low", "high", "bins", "whole", "each"):
            raise _wrong(f"{where}.{key}", body[key], "values, or low, high and bins; besides, whole and each")
    each = body.get("each", PATIENT)
    if each not in (PATIENT, STUDY):
        raise _wrong(f"{where}.each", each, f"{PATIENT} or {STUDY}")
    if "values" in body:
        values = body["values"]
        if not isinstance(values, Sequence) or isinstance(values, str) or not 1 <= len(values) <= MOST_VALUES:
            raise _wrong(f"{where}.values", values, f"a list of 1 to {MOST_VALUES} categories")
        if len(set(values)) < len(values) or not all(type(item) in (str, int) and item != "" for item in values):
            raise _wrong(f"{where}.values", values, "different words or whole numbers")
        return Attribute(values=tuple(values), each=each)
    low, high = _bounds(where, body)
    whole = body.get("whole", float(low).is_integer() and float(high).is_integer())
    if not isinstance(whole, bool):
        raise _wrong(f"{where}.whole", whole, "true or false")
    bins = _count(f"{where}.bins", body.get("bins"), 1, MOST_BINS)
    if whole and bins > high - low:
        raise _wrong(f"{where}.bins", bins, f"at most {int(high - low)}, so that each holds a whole number")
    return Attribute(low=low, high=high, bins=bins, whole=whole, each=each)


def _series(name: Any, body: Any) -> SeriesBounds:
    where = f"series.{name}"
    if isinstance(body, Sequence) and not isinstance(body, str) and len(body) == 2:
        body = {"low": body[0], "high": body[1]}
    if not isinstance(body, Mapping):
        raise _wrong(where, body, "[low, high]")
    for key in body:
        if key not in vars(SeriesBounds(low=0, high=1)):
            raise _wrong(f"{where}.{key}", body[key], "low, high, readings, first, last, decimals or log")
    low, high = _bounds(where, body)
    log = body.get("log", False)
    if not isinstance(log, bool):
        raise _wrong(f"{where}.log", log, "true or false")
    first, last = body.get("first", -72.0), body.get("last", 0.0)
    if not (_is_number(first) and _is_number(last) and first < last):
        raise _wrong(f"{where}.first", first, "hours, the first one before the last one")
    return SeriesBounds(
        low=low, high=high, readings=_count(f"{where}.readings", body.get("readings", 8), 1, MOST_READINGS),
        first=float(first), last=float(last), decimals=_count(f"{where}.decimals", body.get("decimals", 1), 0, 6),
        log=log,
    )  # fmt: skip


def _pairs(body: Any, attributes: Mapping[str, Attribute], findings: Sequence[str]) -> dict[str, str]:
    """Child -> parent. Without any given, each finding depends on the first attribute of the patient."""
    known = [*attributes, *findings]
    if body is None:
        first = next((name for name, item in attributes.items() if item.each == PATIENT), None)
        return {} if first is None else dict.fromkeys(findings, first)
    found: dict[str, str] = {}
    if not isinstance(body, Sequence) or isinstance(body, str):
        raise _wrong("pairs", body, 'a list of pairs such as [["age", "effusion"]]')
    for item in body:
        if not isinstance(item, Sequence) or len(item) != 2 or not all(name in known for name in item):
            raise _wrong("pairs", item, f"two of {', '.join(known)}")
        given, name = item
        if name in found:
            raise _wrong("pairs", item, f"one pair alone that ends in {name}")
        of_study = given in findings or attributes[given].each == STUDY
        if of_study and name in attributes and attributes[name].each == PATIENT:
            raise _wrong("pairs", item, f"a pair in which {name}, one of the patient, does not depend on a study")
        if given in attributes and attributes[given].each == STUDY:
            raise _wrong("pairs", item, "a pair that begins with a finding, or with an attribute of the patient")
        found[name] = given
    for name in found:
        seen, now = {name}, found[name]
        while now in found and now not in seen:
            seen.add(now)
            now = found[now]
        if now in seen:
            raise _wrong("pairs", sorted(seen), "pairs that form no circle")
    return found


def _times(body: Any) -> tuple[str, str] | None:
    if body is None:
        return None
    try:
        first, last = (date.fromisoformat(item) for item in body)
    except (TypeError, ValueError) as error:
        raise _wrong("times", body, 'two days such as ["2020-01-01", "2024-12-31"]') from error
    if first >= last:
        raise _wrong("times", body, "two days, the earlier one first")
    return first.isoformat(), last.isoformat()


def _bounds(where: str, body: Mapping[str, Any]) -> tuple[float, float]:
    for key in ("low", "high"):
        if not _is_number(body.get(key)):
            raise _wrong(f"{where}.{key}", body.get(key), "a number that everybody can know")
    if not body["low"] < body["high"]:
        raise _wrong(f"{where}.high", body["high"], "a number above the low one")
    return float(body["low"]), float(body["high"])


def _count(where: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _wrong(where, value, f"a whole number from {least} to {most}")
    return value


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name) or {}
    if not isinstance(found, Mapping):
        raise _wrong(name, found, "an object of names")
    return found


def _words(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = body.get(name) or []
    if not isinstance(found, Sequence) or isinstance(found, str) or not all(isinstance(item, str) for item in found):
        raise _wrong(name, found, "a list of names")
    if len(set(found)) < len(found) or "" in found:
        raise _wrong(name, found, "different names")
    return tuple(found)


def _vocabulary(body: Mapping[str, Any]) -> tuple[str, ...]:
    found = _words(body, "words")
    if len(found) > MOST_WORDS:
        raise _wrong("words", f"{len(found):,} words", f"at most {MOST_WORDS:,}")
    for word in found:
        if not _WORD.fullmatch(word):
            raise _wrong("words", word, "single words of letters")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(where: str, value: object, expected: str) -> AuscultError:
    name = f"domain.{where}" if where else "domain"
    return AuscultError(f"The entry {name} is {value!r}.", remedy=f"Give {expected}.", column=f"privacy.{name}")
