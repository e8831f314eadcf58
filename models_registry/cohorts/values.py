"""Cells of a file as typed values: identifiers, labels, scores, times, covariates.

Every parser takes an Arrow array as it was read and gives an Arrow array of the same length in which what cannot
be understood is null, together with boolean masks of the offending rows. Blanks around a value do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]

_BINARY = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "true": 1, "false": 0}
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INTEGER = r"^[+-]?\d{1,18}$"
_CODE = r"^[+-]?(0\d+|\d{19,})$"
"""What looks like a number and is none: it would lose its leading zeros or its last digits."""


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """``values`` with null where a cell is missing or not understood; ``bad`` marks the latter."""

    values: pa.Array
    bad: Mask

    def bad_examples(self, source: pa.Array) -> list[str]:
        """A few of the cells that were not understood, shortened."""
        distinct = pc.unique(source.filter(pa.array(self.bad))).slice(0, 5)
        return [f"'{str(value)[:40]}'" for value in distinct.to_pylist()]


def flat(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One plain array: chunks joined, dictionaries decoded."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def trimmed(array: pa.Array) -> pa.Array:
    """Text without blanks at its ends; empty text is null. A NUL, which PostgreSQL cannot hold, becomes U+FFFD."""
    text = pc.utf8_trim_whitespace(array.cast(pa.string()))
    if pc.any(pc.match_substring(text, "\0")).as_py():
        text = pc.replace_substring(text, "\0", "\ufffd")
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def as_text(array: pa.Array) -> pa.Array:
    """Any scalar array as trimmed text; whole floats lose their ``.0`` only through :func:`translate`."""
    if pa.types.is_boolean(array.type):
        return pc.if_else(array, "true", "false")
    if is_text(array.type):
        return trimmed(array)
    return array.cast(pa.string())


def mask_of(array: pa.Array) -> Mask:
    """A boolean Arrow array as NumPy, null counted as False."""
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def nulls_of(array: pa.Array) -> Mask:
    return np.asarray(pc.is_null(array).to_numpy(zero_copy_only=False), dtype=np.bool_)


def translate(array: pa.Array, table: Mapping[str, Any]) -> pa.Array:
    """Replace values by a mapping's ``values`` table: exact match first, then without regard to case.

    The answer is text; None in the table becomes null. ``1.0`` also matches the key ``1``.
    """
    folded = {key.strip().casefold(): value for key, value in table.items()}

    def one(value: str | None) -> str | None:
        if value is None:
            return None
        whole = value.removesuffix(".0")
        for known, key in ((table, value), (folded, value.casefold()), (table, whole)):
            if key in known:
                found = known[key]
                return (
                    None if found is None else ("true" if found else "false") if isinstance(found, bool) else str(found)
                )
        return value

    return per_distinct(as_text(array), one, pa.string())


def per_distinct(array: pa.Array, function: Callable[[Any], Any], kind: pa.DataType) -> pa.Array:
    """``function`` of each value, called once for each distinct one."""
    encoded = array.dictionary_encode(null_encoding="encode")
    made = pa.array([function(value) for value in encoded.dictionary.to_pylist()], kind)
    return made.take(encoded.indices)


def _floats(array: pa.Array) -> pa.Array:
    """Numbers as float64; a whole number beyond 2^53 is rounded, where Arrow would refuse it."""
    return array.cast(pa.float64(), safe=False)


def _matches(text: pa.Array, pattern: str) -> Mask:
    return mask_of(pc.match_substring_regex(text, pattern))


def parse_id(array: pa.Array) -> Parsed | None:
    """Identifiers as text: ``00012`` keeps its zeros. None for a type that is no identifier (floats, bytes, ...)."""
    if is_text(array.type) or pa.types.is_integer(array.type) or pa.types.is_null(array.type):
        values = as_text(array)
        return Parsed(values=values, bad=nulls_of(values))
    return None


def parse_binary(array: pa.Array) -> Parsed | None:
    """0 or 1 as int8. Understood: 0, 1, 0.0, 1.0, true, false in any case; a float NaN is an empty cell.

    None for a type that cannot hold them.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return Parsed(values=array.cast(pa.int8()), bad=np.zeros(len(array), bool))
    if pa.types.is_boolean(kind):
        return Parsed(values=array.cast(pa.int8()), bad=np.zeros(len(array), bool))
    if is_text(kind):
        text = trimmed(array)
        values = per_distinct(text, lambda v: None if v is None else _BINARY.get(v.casefold()), pa.int8())
        return Parsed(values=values, bad=nulls_of(values) & ~nulls_of(text))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        number = _floats(array)
        fine = pc.or_(pc.equal(number, 0.0), pc.equal(number, 1.0))
        values = pc.if_else(fine, number, pa.scalar(None, pa.float64())).cast(pa.int8())
        empty = mask_of(pc.is_null(number, nan_is_null=True))
        return Parsed(values=values, bad=nulls_of(values) & ~empty)
    return None


def parse_number(array: pa.Array) -> Parsed | None:
    """Numbers as float64 (NaN and infinity included). None for a type that is neither number nor text."""
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Parsed(values=_floats(array), bad=np.zeros(len(array), bool))
    if not is_text(kind):
        return None
    text = trimmed(array)
    try:
        return Parsed(values=text.cast(pa.float64()), bad=np.zeros(len(array), bool))
    except pa.ArrowInvalid:
        values = per_distinct(text, _float_or_none, pa.float64())
        return Parsed(values=values, bad=nulls_of(values) & ~nulls_of(text))


def _float_or_none(value: str | None) -> float | None:
    """``float`` without Python's underscores."""
    try:
        return None if value is None or "_" in value else float(value)
    except ValueError:
        return None


def parse_time(array: pa.Array) -> Parsed | None:
    """Times as timestamps in microseconds: ISO 8601, or Arrow dates and timestamps. With a zone they become UTC;
    without one they are kept as they are."""
    kind, target = array.type, pa.timestamp("us")
    if pa.types.is_null(kind):
        return Parsed(values=array.cast(target), bad=np.zeros(len(array), bool))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return Parsed(values=array.cast(target, safe=False), bad=np.zeros(len(array), bool))
    if not is_text(kind):
        return None
    text = trimmed(array)
    values = per_distinct(text, _time_or_none, target)
    return Parsed(values=values, bad=nulls_of(values) & ~nulls_of(text))


def _time_or_none(value: str | None) -> datetime | None:
    """The time that a text names, in UTC; None where it names none, or one that no calendar holds once in UTC."""
    try:
        moment = None if value is None else datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment is not None and moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None


def parse_covariate(array: pa.Array, *, typed: bool) -> Parsed | None:
    """A plain column. Typed files: int64, float64 (NaN is empty) or text; untyped ones: text, see :class:`Kinds`.

    None for nested types and bytes.
    """
    kind = array.type
    fine = np.zeros(len(array), bool)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return Parsed(values=array.cast(pa.int64()), bad=fine)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        number = _floats(array)
        finite = pc.is_finite(number)
        values = pc.if_else(pc.fill_null(finite, False), number, pa.scalar(None, pa.float64()))
        return Parsed(values=values, bad=mask_of(pc.is_inf(number)))
    if pa.types.is_null(kind):
        return Parsed(values=array.cast(pa.string()), bad=fine)
    timed = pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind)
    if is_text(kind) or pa.types.is_boolean(kind) or timed:
        return Parsed(values=as_text(array), bad=fine)
    return None


class Kinds:
    """Tells, over all rows of an untyped column, whether it is of whole numbers, numbers or text.

    One value such as ``007`` makes it text: a number would lose its zeros.
    """

    def __init__(self) -> None:
        self.integers = self.decimals = self.others = 0
        self.codes = False
        self.odd: list[str] = []

    def update(self, text: pa.Array) -> None:
        counted = pc.value_counts(text.drop_null())
        values, counts = counted.field("values"), counted.field("counts").to_numpy()
        integer, number = _matches(values, _INTEGER), _matches(values, _NUMBER)
        self.codes = self.codes or bool(_matches(values, _CODE).any())
        self.integers += int(counts[integer].sum())
        self.decimals += int(counts[number & ~integer].sum())
        self.others += int(counts[~number].sum())
        for value in values.filter(pa.array(~number)).slice(0, 5).to_pylist():
            if len(self.odd) < 5 and f"'{value[:40]}'" not in self.odd:
                self.odd.append(f"'{value[:40]}'")

    @property
    def mixed(self) -> bool:
        """Nine of ten values or more are numbers, and some are not."""
        numbers = self.integers + self.decimals
        return self.others > 0 and not self.codes and numbers >= 9 * self.others

    @property
    def type(self) -> pa.DataType:
        if self.codes or self.others or not self.integers + self.decimals:
            return pa.string()
        return pa.float64() if self.decimals else pa.int64()
