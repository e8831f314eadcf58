"""The vocabulary of measured values: names, units, conversions. Compiled from ``analytes.yaml``.

Units are UCUM codes. ``ucumvert`` reads them and ``pint`` converts them, both loaded when the first conversion is asked
for; each pair of units is converted once and then is a factor and an offset.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from core.errors import ProtocolError

# Characters that texts write a unit with, each to one character, so that places in the text stay.
PLAIN = str.maketrans(
    dict.fromkeys("\xa0\u2009\u202f\t\r\n", " ")
    | dict.fromkeys("\N{GREEK SMALL LETTER MU}\N{MICRO SIGN}", "µ")
    | dict.fromkeys("\N{EN DASH}\N{EM DASH}\N{NON-BREAKING HYPHEN}\N{HYPHEN}", "-")
    | {"\N{MULTIPLICATION SIGN}": "x", "\N{SUPERSCRIPT TWO}": "2", "\N{SUPERSCRIPT THREE}": "3"}
    | {"\N{SUPERSCRIPT NINE}": "9", "\N{DOT OPERATOR}": "*"}
)


UNIT_REMEDY = "Write it as UCUM does, such as mg/dL, mm[Hg], 10*9/L, or 1 where there is none."


@dataclass(frozen=True, kw_only=True)
class Analyte:
    """Something that is measured in a patient.

    Attributes:
        units: UCUM codes that texts may state it in; the first is the usual one.
        molar: g/mol, or None where mass does not turn into amount of substance.
        charge: Elementary charges of the ion, or None.
        equations: From, to, factor, offset: where no physical law converts.
        bare: A word with a flag alone ("elevated") counts, not only one with a number.
    """

    key: str
    title: str
    units: tuple[str, ...]
    molar: float | None
    charge: int | None
    bare: bool
    equations: tuple[tuple[str, str, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnalyteWords:
    """The vocabulary, ready to read with.

    Attributes:
        analytes: Key -> analyte.
        names: Matches a name. ``lastgroup`` is ``phrase``, ``symbol`` or ``alone`` (a word with its own flag).
        phrases, symbols, alone: Matched text -> keys; keys of a pair are two; key and flag.
        units: Matches a unit as texts write it, from where a number ends; ``codes`` has its UCUM code.
        links: Matches what may stand between a name and its number, from end to end.
        flags: Matches a flag; ``flag_of`` says which.
    """

    analytes: Mapping[str, Analyte]
    names: re.Pattern[str]
    phrases: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    alone: Mapping[str, tuple[str, str]]
    units: re.Pattern[str]
    codes: Mapping[str, str]
    links: re.Pattern[str]
    flags: re.Pattern[str]
    flag_of: Mapping[str, str]
    negated: re.Pattern[str]
    counts_else: re.Pattern[str]


@cache
def analyte_words() -> AnalyteWords:
    """The vocabulary that comes with Auscult."""
    body = yaml.safe_load((resources.files("evaluation.engine.text") / "analytes.yaml").read_text(encoding="utf-8"))
    analytes = {key: _analyte(key, item) for key, item in body["analytes"].items()}
    phrases = {text_key(name): (key,) for key, item in body["analytes"].items() for name in item["phrases"]}
    phrases |= {text_key(name): tuple(pair["analytes"]) for pair in body["pairs"] for name in pair["phrases"]}
    symbols = {name: key for key, item in body["analytes"].items() for name in item.get("symbols", ())}
    alone = {
        text_key(name): (key, flag)
        for key, item in body["analytes"].items()
        for flag in ("high", "low")
        for name in item.get(flag, ())
    }
    codes = {text_key(code): code for code in body["spellings"]}
    codes |= {text_key(code): code for analyte in analytes.values() for code in analyte.units if code != "1"}
    codes |= {text_key(text): code for code, texts in body["spellings"].items() for text in texts}
    flag_of = {text_key(text): flag for flag, texts in body["flags"].items() for text in texts}
    return AnalyteWords(
        analytes=analytes,
        names=re.compile(
            rf"(?<![\w-])(?:(?P<phrase>(?i:{_any(phrases)}))|(?P<alone>(?i:{_any(alone)}))"
            rf"|(?P<symbol>{_any(symbols, fold=False)}))(?![\w-]|\.\d)"
        ),
        phrases=phrases,
        symbols=symbols,
        alone=alone,
        units=re.compile(
            rf"[ ]{{0,2}}-?(?P<known>(?i:{_any(codes)}))(?![\w/^*])"
            r"|[ ]?(?P<other>[a-zA-Zµ%]{1,6}/[a-zA-Zµ]{1,6})"
        ),
        codes=codes,
        links=re.compile(rf"(?:[\s:=~,;>→()-]|(?:{_any(body['links'])})(?!\w))*", re.IGNORECASE),
        # "Increased to" tells a change and no level.
        flags=re.compile(
            rf"(?<![\w])(?:{_any(flag_of)})(?!\w)(?!\s(?:to|from|by|since|compared|than)\b)", re.IGNORECASE
        ),
        flag_of=flag_of,
        negated=re.compile(rf"(?<!\w)(?:{_any(body['negations'])})\s(?:\w+\s){{0,3}}$", re.IGNORECASE),
        counts_else=re.compile(rf"[ -]?(?:{_any(body['other_counts'])})(?!\w)", re.IGNORECASE),
    )


def text_key(text: str) -> str:
    """A matched text as the key of its phrase: lower case, hyphens and runs of white space as one blank."""
    return " ".join(text.lower().replace("-", " ").split())


def conversion(analyte: str, source: str, target: str) -> tuple[float, float] | None:
    """Factor and offset with which a value in ``source`` is one in ``target``; None where no conversion is known.

    ``target value = factor * source value + offset``. Mass becomes amount of substance by the molar mass of the
    analyte, milliequivalents by its charge.

    Raises:
        ProtocolError: for a code that is no UCUM unit, or an analyte that is not in the vocabulary.
    """
    if source == target:
        return 1.0, 0.0
    known = analyte_words().analytes.get(analyte)
    if known is None:
        raise ProtocolError(
            f"There is no analyte '{analyte}'.", remedy=f"Use one of: {', '.join(analyte_words().analytes)}."
        )
    return _conversion(known, source, target)


@cache
def _conversion(analyte: Analyte, source: str, target: str) -> tuple[float, float] | None:
    for start, end, factor, offset in analyte.equations:
        if (start, end) == (source, target):
            return factor, offset
        if (start, end) == (target, source):
            return 1 / factor, -offset / factor
    first_unit, last_unit = _unit(source), _unit(target)
    if first_unit.dimensionality != last_unit.dimensionality:
        bridge = _bridge(analyte, first_unit, last_unit)
        if bridge is None:
            return None
        first_unit = first_unit * bridge
    zero, one = (_converted(value, first_unit, last_unit) for value in (0.0, 1.0))
    ions = float(analyte.charge or 1) ** (("eq" in target) - ("eq" in source))
    return (one - zero) * ions, zero * ions


def _converted(value: float, first: Any, last: Any) -> float:
    """``value`` times the quantity ``first`` in units of ``last``. Temperatures have a zero of their own."""
    start = type(first)(value * first.magnitude, first.units)
    return float(start.to(last.units).magnitude / last.magnitude)


def _bridge(analyte: Analyte, first: Any, last: Any) -> Any | None:
    """What turns a concentration of mass into one of substance, or the other way round."""
    if analyte.molar is None:
        return None
    molar = analyte.molar * _unit("g/mol")
    fitting = (item for item in (1 / molar, molar) if (first * item).dimensionality == last.dimensionality)
    return next(fitting, None)


@cache
def _unit(code: str) -> Any:
    """One of a UCUM unit as a quantity of pint."""
    from lark.exceptions import LarkError

    try:
        found = _registry().from_ucum(code)
    except LarkError as error:
        raise ProtocolError(f"'{code}' is no UCUM unit.", remedy=UNIT_REMEDY) from error
    if not hasattr(found, "dimensionality"):  # an annotation alone, such as {score}
        raise ProtocolError(f"'{code}' is a UCUM unit without a dimension.", remedy=UNIT_REMEDY)
    return found


@cache
def _registry() -> Any:
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry()


def _analyte(key: str, item: Mapping[str, Any]) -> Analyte:
    molar = item.get("molar")
    return Analyte(
        key=key,
        title=item["title"],
        units=tuple(item["units"]),
        molar=None if molar is None else float(molar),
        charge=item.get("charge"),
        bare=item.get("bare", True),
        equations=tuple((a, b, float(c), float(d)) for a, b, c, d in item.get("equations", ())),
    )


def _any(texts: Iterable[str], *, fold: bool = True) -> str:
    """A pattern of any of the texts, longest first, those that begin with one character under one branch."""
    by_first: dict[str, list[str]] = defaultdict(list)
    for text in sorted(set(texts), key=len, reverse=True):
        by_first[text[0]].append(text[1:])
    branches = []
    for first, rests in by_first.items():
        tails = "|".join(re.escape(rest).replace(r"\ ", r"[\s-]{1,3}" if fold else " ") for rest in rests)
        branches.append(f"{re.escape(first)}(?:{tails})")
    return "|".join(branches)
