"""Quantiles of a column of numbers, as a histogram whose bins are as fine as the numbers are large.

A bin holds the numbers that agree in sign, exponent and the first ten bits of the mantissa: 1024 bins between a
number and its double. So any quantile is known to a relative 2^-10 (about one thousandth), zero and the whole numbers
up to 2048 are exact, and sketches merge exactly: the same bytes whatever the order, the batches or the workers.

The KLL sketch of Apache DataSketches is smaller, but its compactions draw random numbers: two sketches of the same
numbers differ in bytes and in quantiles, and evidence could not be reproduced. It serves as the oracle of the tests.

Source: Masson, Rim and Lee (2019), DDSketch, VLDB 12:2195, for bins of relative width; Karnin, Lang and Liberty (2016),
FOCS, for KLL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAGIC = b"auscult-quantiles-1\n"
BITS = 10
RELATIVE_ERROR = 2.0**-BITS
DROPPED = 52 - BITS
SIGN = 1 << (63 - DROPPED)
SUBNORMAL = 1 << BITS
ENDLESS = 2047 << BITS
"""Keys of what is not finite begin here."""
DENSE = 4


@dataclass(frozen=True, kw_only=True)
class QuantileSketch:
    """Numbers by bin. Start from ``QuantileSketch.of(values)``; every change makes a new sketch.

    Attributes:
        keys: int64 [K], ascending: sign times the first 22 bits of the float after its sign; 0 for zero.
        counts: int64 [K], numbers in each bin, above 0.
        least, most: Smallest and largest number, exact; None where there is none.
        missing: Values that are not a number (NaN).
        infinite: Infinite values, of either sign. They and the missing ones take no part in quantiles.
    """

    keys: Ints
    counts: Ints
    least: float | None
    most: float | None
    missing: int
    infinite: int

    @classmethod
    def of(cls, values: npt.ArrayLike = ()) -> QuantileSketch:
        """Sketch of numbers of any shape. Those closer to 0 than 2^-1022 (subnormal) count as 0."""
        given = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
        keys, counts = _counted(given)
        # What is not finite has the largest exponent of all, and is looked at once more only where it occurs.
        odd = np.abs(keys) >= ENDLESS
        finite = given[np.isfinite(given)] if odd.any() else given
        missing = int(np.isnan(given).sum()) if odd.any() else 0
        return cls(
            keys=keys[~odd],
            counts=counts[~odd],
            least=_plain(finite.min()) if len(finite) else None,
            most=_plain(finite.max()) if len(finite) else None,
            missing=missing,
            infinite=len(given) - len(finite) - missing,
        )

    @property
    def n(self) -> int:
        """Finite numbers."""
        return int(self.counts.sum())

    @property
    def values(self) -> Floats:
        """The number that stands for each bin, float64 [K], ascending: the one in it that is closest to 0."""
        magnitude = (np.abs(self.keys) << DROPPED).view(np.float64)
        return np.where(self.keys < 0, -magnitude, magnitude)

    def update(self, values: npt.ArrayLike) -> QuantileSketch:
        """This sketch with a batch of numbers added."""
        return self.merge(QuantileSketch.of(values))

    def merge(self, other: QuantileSketch) -> QuantileSketch:
        """The sketch of both. Exact; the order does not matter."""
        keys, places = np.unique(np.concatenate([self.keys, other.keys]), return_inverse=True)
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, places.reshape(-1), np.concatenate([self.counts, other.counts]))
        least = [part.least for part in (self, other) if part.least is not None]
        most = [part.most for part in (self, other) if part.most is not None]
        return QuantileSketch(
            keys=keys,
            counts=counts,
            least=min(least, default=None),
            most=max(most, default=None),
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
        )

    def quantile(self, share: float) -> float | None:
        """The smallest number that at least ``share`` of the numbers do not exceed.

        It is within ``RELATIVE_ERROR`` of numpy's quantile by the method ``inverted_cdf``. Smallest and largest number
        are exact. None where there is no number.

        Raises:
            ValueError: for a share outside [0, 1].
        """
        return self.quantiles([share])[0]

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """:meth:`quantile` of each share."""
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("the share of a quantile lies between 0 and 1")
        if self.least is None or self.most is None:
            return [None for _ in shares]
        n, until, values = self.n, np.cumsum(self.counts), self.values
        found: list[float | None] = []
        for share in shares:
            place = min(n, max(1, math.ceil(share * n)))
            inside = float(values[np.searchsorted(until, place)])
            found.append(
                self.most if place == n else self.least if place == 1 else min(max(inside, self.least), self.most)
            )
        return found

    def rank(self, value: float) -> float | None:
        """Share of the numbers that do not exceed ``value``; None where there is no number.

        The whole bin of ``value`` counts, so it is too large by less than the share of numbers within a relative
        ``RELATIVE_ERROR`` above ``value``.

        Raises:
            ValueError: for NaN.
        """
        if math.isnan(value):
            raise ValueError("NaN has no rank")
        if self.least is None or self.most is None:
            return None
        if value < self.least or value >= self.most:
            return float(value >= self.most)
        key = int(QuantileSketch.of([value]).keys[0])
        return int(self.counts[: np.searchsorted(self.keys, key, side="right")].sum()) / self.n

    def sound(self) -> bool:
        """Whether this could come from numbers: bins ascend, none is empty, and the ends lie in the end bins."""
        if self.missing < 0 or self.infinite < 0:
            return False
        if self.least is None or self.most is None:
            return self.least is self.most and not len(self.keys)
        if not (math.isfinite(self.least) and math.isfinite(self.most) and len(self.keys)):
            return False
        ends = QuantileSketch.of([self.least, self.most])
        return (
            self.least <= self.most
            and bool((np.diff(self.keys) > 0).all() and (self.counts > 0).all())
            and (int(self.keys[0]), int(self.keys[-1])) == (int(ends.keys[0]), int(ends.keys[-1]))
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal numbers, in whatever order and batches they came."""
        start = int(self.keys[0]) if len(self.keys) else 0
        # Steps between keys are small where numbers are many.
        key_width, keys = narrow(np.diff(self.keys, prepend=start))
        count_width, counts = narrow(self.counts)
        header = {
            "start": start, "bins": len(self.keys), "widths": [key_width, count_width], "least": self.least,
            "most": self.most, "missing": self.missing, "infinite": self.infinite,
        }  # fmt: skip
        return pack(MAGIC, header, [keys, counts])

    @classmethod
    def from_bytes(cls, data: bytes) -> QuantileSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        try:
            made = _read(header, blocks)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _damaged() from error
        if not made.sound() or made.to_bytes() != data:
            raise _damaged()
        return made


def _read(header: dict[str, Any], blocks: list[bytes]) -> QuantileSketch:
    key_width, count_width = header["widths"]
    steps, counts = blocks
    shape = (int(header["bins"]),)
    least, most = (None if header[name] is None else float(header[name]) for name in ("least", "most"))
    return QuantileSketch(
        keys=int(header["start"]) + np.cumsum(widen(key_width, steps, shape)),
        counts=widen(count_width, counts, shape),
        least=least,
        most=most,
        missing=int(header["missing"]),
        infinite=int(header["infinite"]),
    )


def _counted(values: Floats) -> tuple[Ints, Ints]:
    """Keys of all values, ascending, and how often each occurs; the values themselves are gone through once.

    The leading bits are counted as they are, and only the distinct ones made into keys.
    """
    lead = values.view(np.int64) >> DROPPED
    low, high = (int(lead.min()), int(lead.max())) if len(lead) else (0, 0)
    if high - low > DENSE * len(lead):
        found, number = np.unique(lead, return_counts=True)
    else:
        lead -= low
        every = np.bincount(lead)
        found = np.flatnonzero(every)
        number = every[found]
        found = found + low
    magnitude = np.where(found < 0, found + SIGN, found)
    magnitude[magnitude < SUBNORMAL] = 0
    keys, places = np.unique(np.where(found < 0, -magnitude, magnitude), return_inverse=True)
    counts = np.bincount(places.reshape(-1), weights=number, minlength=len(keys)).astype(np.int64)
    return keys.astype(np.int64), counts


def _plain(value: np.float64) -> float:
    """A number; 0 where it is subnormal."""
    return 0.0 if abs(value) < np.finfo(np.float64).tiny else float(value)


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a sketch of quantiles that this version can read.",
        remedy="Run the shard again; the sketch was damaged or made by another version.",
    )
