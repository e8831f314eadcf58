"""Randomness that keeps a secret: which patients a step takes, and the noise that is added to their sum.

Who knows the noise can take it off again. So it comes from the operating system's source for keys, is never stored, and
does not follow from the seed of a generator: equal settings and data give *different* generators, and no digest of one
can be computed beforehand. Tests hand over a key of their own, which makes draws repeatable and voids the guarantee.

Noise is added to whole numbers and rounded to whole numbers. ``round(m + z) = m + round(z)`` for whole m, so this is
the Gaussian mechanism with its result rounded; and no low digit of a sum in floating point tells what was added to it.

Source: Mironov (2012), On significance of the least significant bits for differential privacy.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Secret:
    """Where the noise of one part comes from.

    Attributes:
        key: None for the operating system's randomness. Of tests alone: bytes that decide every draw.
    """

    key: bytes | None = None

    def of(self, part: str) -> Noise:
        """The noise of a part; with a key, that of each part follows from the key and its name."""
        if self.key is None:
            return Noise(None)
        digest = hashlib.sha256(self.key + b"\0" + part.encode()).digest()
        return Noise(np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big"))))


class Noise:
    """A stream of random numbers."""

    def __init__(self, repeatable: np.random.Generator | None) -> None:
        self._repeatable = repeatable

    def bits(self, n: int) -> npt.NDArray[np.uint64]:
        """uint64 [n], each of 64 random bits."""
        raw = os.urandom(8 * n) if self._repeatable is None else self._repeatable.bytes(8 * n)
        return np.frombuffer(raw, dtype=np.uint64)

    def normal(self, n: int) -> Floats:
        """Standard normal numbers [n]: one bit is the sign, the others the probability of the tail beyond."""
        from scipy.special import ndtri

        found = np.empty(n)
        for start in range(0, n, AT_ONCE):
            bits = self.bits(min(AT_ONCE, n - start))
            tail = ((bits >> np.uint64(1)).astype(np.float64) + 0.5) * 2.0**-64
            found[start : start + len(bits)] = np.where(bits & np.uint64(1), 1.0, -1.0) * ndtri(tail)
        return found

    def whole(self, n: int, spread: float) -> Floats:
        """Normal numbers [n] of a standard deviation, rounded to whole ones."""
        found: Floats = np.rint(spread * self.normal(n))
        return found

    def chosen(self, n: int, rate: float) -> npt.NDArray[np.int64]:
        """Which of n were taken, each with the chance ``rate`` on its own."""
        if rate >= 1:
            return np.arange(n)
        return np.flatnonzero(self.bits(n) < np.uint64(int(rate * 2.0**64)))
