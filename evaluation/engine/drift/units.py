"""Whether a column changed its unit: told apart from a change of the patients, because the remedy is another one.

A conversion is believed only if the numbers of the window *are* those of the reference after it: the whole distribution
agrees and not only the median. Where a part of an analyte was converted, because a laboratory changed on a Wednesday or
one site of three did, the window is a mixture ``(1 - s) F_r + s F_converted``; s is fitted, and believed only where the
two parts hardly overlap. So patients who are more ill, or children among adults, are not taken for a unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from core.errors import ProtocolError
from evaluation.engine.drift.numbers import Paired, ks_p
from evaluation.engine.drift.records import StreamSpec

Floats = npt.NDArray[np.float64]
LEAST = 30
"""Numbers on either side; with fewer no conversion is claimed."""
SLACK = 0.03
"""What a conversion may leave: rounded results, and the width of a bin."""
LEVEL = 0.01
APART = 0.5
"""A conversion of the analyte must move the distribution so far, in KS, to be told from a change of the patients."""
WELL_APART = 0.9
"""A general conversion, and one of a part of the window, must move it so far: to a wide distribution any shift of the
logarithm is near some factor.
"""
LEAST_SHARE = 0.05
BETTER = 3.0
DECIMAL: tuple[tuple[str, str, float], ...] = (
    ("one unit", "a tenth of it", 10.0), ("one unit", "a hundredth of it", 100.0),
    ("one unit", "a thousandth of it", 1e3), ("one unit", "a millionth of it", 1e6),
)  # fmt: skip
"""Conversions that any column may have undergone, in either direction."""
GENERIC: tuple[tuple[str, str, float], ...] = (
    ("inches", "centimetres", 2.54), ("metres", "feet", 1 / 0.3048), ("kilograms", "pounds", 1 / 0.45359237),
    ("years", "months", 12.0), ("years", "days", 365.25), ("weeks", "days", 7.0), ("days", "hours", 24.0),
    ("hours", "minutes", 60.0), ("hours", "seconds", 3600.0), ("kPa", "mmHg", 7.50062),
)  # fmt: skip
"""Those that a column may have undergone which is no known analyte."""
FAHRENHEIT = (1.8, 32.0)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """``new = factor * old + offset``. ``known`` is the analyte whose own conversion it is; "" for a general one."""

    source: str
    target: str
    factor: float
    offset: float = 0.0
    known: str = ""


@dataclass(frozen=True, kw_only=True)
class UnitChange:
    """A conversion that turns the reference into the window.

    Attributes:
        share: Share of the window's numbers that were converted.
        ks_before, ks_after: Largest gap between the distribution functions, as they came and once converted.
    """

    conversion: Conversion
    share: float
    ks_before: float
    ks_after: float
    median: float
    median_reference: float

    @property
    def log_ratio(self) -> float | None:
        """Natural logarithm of the ratio of the medians; None where they are not both positive."""
        if self.median <= 0 or self.median_reference <= 0:
            return None
        return math.log(self.median / self.median_reference)


def unit_change(spec: StreamSpec, pair: Paired) -> UnitChange | None:
    """The conversion that explains the window, or None.

    A conversion of the analyte itself is preferred to a general one that fits as well.
    """
    if min(pair.n, pair.m) < LEAST:
        return None
    before = _gap(np.cumsum(pair.window), np.cumsum(pair.reference))
    noise = SLACK + _critical(pair.n, pair.m)
    if before <= noise:
        return None
    found = [made for item in candidates(spec) if (made := _tried(pair, item, before, noise)) is not None]
    return min(
        found,
        key=lambda made: (made.ks_after - SLACK * bool(made.conversion.known), made.conversion.source),
        default=None,
    )


def candidates(spec: StreamSpec) -> tuple[Conversion, ...]:
    """Conversions that a stream may have undergone: between the units of its analyte and by decimals, else any."""
    analyte = analyte_of(spec)
    if analyte:
        return (*_own(analyte, spec.unit), *_both_ways(DECIMAL))
    scale, zero = FAHRENHEIT
    return (
        *_both_ways((*DECIMAL, *GENERIC)),
        Conversion(source="Celsius", target="Fahrenheit", factor=scale, offset=zero),
        Conversion(source="Fahrenheit", target="Celsius", factor=1 / scale, offset=-zero / scale),
    )


@cache
def _both_ways(factors: tuple[tuple[str, str, float], ...]) -> tuple[Conversion, ...]:
    return tuple(
        item
        for large, small, factor in factors
        for item in (
            Conversion(source=large, target=small, factor=factor),
            Conversion(source=small, target=large, factor=1 / factor),
        )
    )


def analyte_of(spec: StreamSpec) -> str:
    """The analyte that a stream is named after; "" where there is none."""
    from evaluation.engine.text.analytes import analyte_words, text_key

    words = analyte_words()
    name = spec.name.removeprefix("series.").partition(":")[0]
    if name in words.analytes:
        return name
    found = words.phrases.get(text_key(name.replace("_", " ")), ())
    return found[0] if len(found) == 1 else ""


@cache
def _own(analyte: str, unit: str) -> tuple[Conversion, ...]:
    """Between the units that an analyte is stated in; from the one that the protocol names, where it does."""
    return tuple(_conversions(analyte, unit))


def _conversions(analyte: str, unit: str) -> Iterator[Conversion]:
    from evaluation.engine.text.analytes import analyte_words, conversion

    units = analyte_words().analytes[analyte].units
    for source in [unit] if unit else units:
        for target in units:
            try:
                known = conversion(analyte, source, target)
            except ProtocolError:  # a code of the protocol that the analyte is not stated in
                continue
            if known is not None and source != target and known != (1.0, 0.0):
                yield Conversion(source=source, target=target, factor=known[0], offset=known[1], known=analyte)


def _tried(pair: Paired, item: Conversion, before: float, noise: float) -> UnitChange | None:
    """A conversion of a part of the window, or of all of it, if it explains what the window is like."""
    converted = item.factor * pair.values + item.offset
    axis = np.union1d(pair.values, converted)
    window, reference = _cdf(axis, pair.values, pair.window), _cdf(axis, pair.values, pair.reference)
    moved = _cdf(axis, converted, pair.reference)
    apart = _gap(moved, reference)
    if apart < (APART if item.known else WELL_APART):
        return None
    whole = _gap(window, moved)
    share, after = 1.0, whole
    if whole > noise and item.known and apart >= WELL_APART:
        share = _fitted(window, reference, moved)
        after = _gap(window, (1 - share) * reference + share * moved)
        if share < LEAST_SHARE:
            return None
    if after > noise or after > before / BETTER:
        return None
    middle = [
        float(pair.values[np.searchsorted(np.cumsum(part), 0.5 - 1e-12)]) for part in (pair.window, pair.reference)
    ]
    return UnitChange(
        conversion=item, share=share, ks_before=before, ks_after=after, median=middle[0], median_reference=middle[1]
    )


def _fitted(window: Floats, reference: Floats, moved: Floats) -> float:
    """The share s for which ``(1 - s) F_r + s F_moved`` is nearest the window, by least squares over the axis."""
    way = moved - reference
    return float(np.clip(((window - reference) @ way) / max(float(way @ way), 1e-300), 0, 1))


def _cdf(axis: Floats, values: Floats, weights: Floats) -> Floats:
    """Distribution function on an axis. A value on a bin's edge may fall to either side: it is read a bit above."""
    until = np.concatenate([[0.0], np.cumsum(weights)])
    found: Floats = until[np.searchsorted(values, axis * (1 + np.sign(axis) * 2.0**-11), side="right")]
    return found


def _gap(one: Floats, two: Floats) -> float:
    return float(np.abs(one - two).max(initial=0.0))


@cache
def _critical(n: float, m: float) -> float:
    """The KS distance that chance exceeds with probability 1 %."""
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if ks_p(middle, n, m) > LEVEL else (low, middle)
    return high
