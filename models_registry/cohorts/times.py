"""Moments of studies from files that tell the zone, in part or not at all: all become UTC, and are counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models_registry.cohorts.values import Mask, is_text, nulls_of, trimmed

MOMENT = pa.timestamp("us")


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Times of n studies.

    Attributes:
        values: timestamp[us] in UTC; null where a cell is empty or no time.
        bad: Cells that are no time.
        naive: Times without a zone: read as local times of the given zone.
        foreign: Times with an offset that the given zone does not have at that moment.
        unclear: Times without a zone that the given zone has twice or not at all, in the hour of a change of clocks.
            The earlier one is taken.
    """

    values: pa.Array
    bad: Mask
    naive: Mask
    foreign: Mask
    unclear: Mask


def moments(array: pa.Array, zone: str) -> Moments | None:
    """Read a column of times: ISO 8601 text, or Arrow dates and timestamps. None for a type that holds no times.

    Args:
        zone: IANA name, such as ``Europe/Vienna``, in which times without a zone are meant.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return _alike(array.cast(MOMENT))
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        values = array.cast(pa.timestamp("us", tz=kind.tz), safe=False)
        return _alike(values.cast(MOMENT), foreign=_foreign(values, zone))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _assumed(array.cast(MOMENT, safe=False), zone)
    return _from_text(trimmed(array), ZoneInfo(zone)) if is_text(kind) else None


def _alike(values: pa.Array, *, foreign: Mask | None = None) -> Moments:
    none = np.zeros(len(values), dtype=np.bool_)
    return Moments(values=values, bad=none, naive=none, foreign=none if foreign is None else foreign, unclear=none)


def _foreign(values: pa.Array, zone: str) -> Mask:
    """Where the wall clock of the array's own zone is not that of ``zone``."""
    own, here = pc.local_timestamp(values), pc.local_timestamp(values.cast(pa.timestamp("us", tz=zone)))
    return np.asarray(pc.fill_null(pc.not_equal(own, here), False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _assumed(local: pa.Array, zone: str) -> Moments:
    early = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="earliest").cast(MOMENT)
    late = pc.assume_timezone(local, zone, ambiguous="latest", nonexistent="latest").cast(MOMENT)
    none = np.zeros(len(local), dtype=np.bool_)
    unclear = np.asarray(pc.fill_null(pc.not_equal(early, late), False).to_numpy(zero_copy_only=False), dtype=np.bool_)
    return Moments(values=early, bad=none, naive=~nulls_of(local), foreign=none, unclear=unclear)


def _from_text(text: pa.Array, zone: ZoneInfo) -> Moments:
    encoded = text.dictionary_encode(null_encoding="encode")
    read = [_read(value, zone) for value in encoded.dictionary.to_pylist()]
    indices = encoded.indices.to_numpy(zero_copy_only=False)

    def each(of: int) -> Mask:
        marked: Mask = np.array([bool(item[of]) for item in read], dtype=np.bool_)[indices]
        return marked

    values = pa.array([item[0] for item in read], MOMENT).take(encoded.indices)
    bad = nulls_of(values) & ~nulls_of(text)
    return Moments(values=values, bad=bad, naive=each(1), foreign=each(2), unclear=each(3))


def _read(value: str | None, zone: ZoneInfo) -> tuple[datetime | None, bool, bool, bool]:
    """(in UTC, naive, foreign, unclear)."""
    try:
        moment = None if value is None else datetime.fromisoformat(value)
        if moment is None:
            return None, False, False, False
        if moment.tzinfo is not None:
            foreign = moment.utcoffset() != moment.astimezone(zone).utcoffset()
            return moment.astimezone(UTC).replace(tzinfo=None), False, foreign, False
        early, late = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        return early.astimezone(UTC).replace(tzinfo=None), True, False, early.utcoffset() != late.utcoffset()
    except (ValueError, OverflowError):  # no time, or one at the edge of the calendar
        return None, False, False, False
