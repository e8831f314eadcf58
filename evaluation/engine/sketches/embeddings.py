"""Mean, covariance and kernel mean of embeddings, exact and the same in whatever order and batches they come.

Sums of floating-point numbers depend on their order. So each coordinate is rounded to a whole number of steps, of at
most 17 bits, and all that follows is done on whole numbers: sums and sums of products are added as integers, and the
matrix products, though computed on float64 by BLAS, never leave the range below 2^53 where float64 is exact.

The kernel mean is that of random Fourier features. For frequencies u, drawn once from the spectrum of the Gaussian
kernel ``k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2))``, the sketch has the sums of ``cos(2 pi u.x)`` and
``sin(2 pi u.x)``.
Frequencies are rounded too and count whole turns, so ``u.x`` is exact, its fraction is a few bits of an integer, and
cosines come from one table of 2^16 angles rather than from a library that differs between machines.

Source: Rahimi and Recht (2007), NIPS 20, random features; Gretton et al. (2012), JMLR 13:723, maximum mean discrepancy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_bytes
from core.errors import AuscultError
from evaluation.engine.sketches.packing import pack, unpack, widen
from evaluation.engine.statistics.seeds import generator

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAGIC = b"auscult-embeddings-1\n"
VALUE_BITS = 17
"""A coordinate is a whole number of steps, of at most 2^17."""
EXACT_BITS = 53
ANGLE_BITS = 16
ANGLES = 1 << ANGLE_BITS
COSINE_BITS = 30
MOST_BITS = 62
MOST_ROWS = 1 << 28
"""Sums of products of more rows could exceed 63 bits."""
CHUNK_CELLS = 1 << 22
PAIRED_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class RandomFeatures:
    """How embeddings are rounded and which random features are kept. Fixed on the reference, then never changed.

    Attributes:
        dimension: Coordinates of an embedding, at most 2^16.
        n_features: Random frequencies m; the error of a kernel value is about ``1 / sqrt(m)``.
        bandwidth: Of the Gaussian kernel, in the units of the embeddings.
        seed: Of the frequencies.
        step_bits: A step is ``2^-step_bits``; coordinates beyond ``2^(17 - step_bits)`` (32) are clipped.
    """

    dimension: int
    n_features: int
    bandwidth: float
    seed: int
    step_bits: int = 12

    def __post_init__(self) -> None:
        if not (1 <= self.dimension <= 1 << 16 and self.n_features >= 1 and -40 <= self.step_bits <= 40):
            raise ValueError("random features need 1 to 65536 dimensions, a feature, and a step from 2^-40 to 2^40")
        if not 1 <= self.bandwidth / self.step <= 2.0**30:
            raise ValueError("the bandwidth of the kernel is below the step, or far above any distance of embeddings")

    @classmethod
    def for_reference(cls, reference: npt.ArrayLike, *, n_features: int, seed: int) -> RandomFeatures:
        """Features for embeddings like ``reference`` [n, d]: median bandwidth, and room for four times the largest.

        Raises:
            ValueError: as :func:`median_bandwidth`.
        """
        values = np.asarray(reference, dtype=np.float64)
        bandwidth = median_bandwidth(values, seed=seed)
        top = float(np.abs(values).max())
        return cls(
            dimension=values.shape[1],
            n_features=n_features,
            bandwidth=bandwidth,
            seed=seed,
            step_bits=VALUE_BITS - 2 - math.ceil(math.log2(top)),
        )

    @property
    def step(self) -> float:
        """The width to which coordinates are rounded."""
        return 2.0**-self.step_bits

    @property
    def digest(self) -> str:
        """SHA-256 of the rounded frequencies: sketches with other frequencies cannot be compared."""
        frequencies, bits = _frequencies(self)
        return sha256_bytes(bits.to_bytes(2, "big", signed=True) + frequencies.astype("<i8").tobytes())


@dataclass(frozen=True, kw_only=True)
class EmbeddingSketch:
    """Sums over n embeddings of d coordinates. Start from ``EmbeddingSketch.empty(features)``.

    Attributes:
        n: Embeddings that were added.
        invalid: Embeddings with a coordinate that is not finite; they are left out.
        clipped: Coordinates that lay beyond the range and were moved to its end.
        sums: int64 [d], in steps; products: int64 [d, d], in squared steps.
        cosines, sines: int64 [m], in units of 2^-30.
    """

    features: RandomFeatures
    n: int
    invalid: int
    clipped: int
    sums: Ints
    products: Ints
    cosines: Ints
    sines: Ints

    @classmethod
    def empty(cls, features: RandomFeatures) -> EmbeddingSketch:
        d, m = features.dimension, features.n_features
        sums, products, cosines, sines = (np.zeros(shape, dtype=np.int64) for shape in (d, (d, d), m, m))
        return cls(
            features=features, n=0, invalid=0, clipped=0, sums=sums, products=products, cosines=cosines, sines=sines
        )

    def update(self, batch: npt.ArrayLike) -> EmbeddingSketch:
        """This sketch with embeddings [n, d] added. O(n d (d + m)).

        Raises:
            AuscultError: for embeddings of another dimension, or more than 2^28 in all.
        """
        rows = np.asarray(batch)
        if rows.ndim != 2 or rows.shape[1] != self.features.dimension:
            raise AuscultError(
                f"The embeddings have the shape {list(rows.shape)}, but {self.features.dimension} coordinates are due.",
                remedy="Compare embeddings of one model, one row for each study.",
            )
        size = max(1, min(1 << 18, CHUNK_CELLS // max(self.features.dimension, self.features.n_features)))
        made = self
        for start in range(0, len(rows), size):
            made = made.merge(_sketch_of(self.features, rows[start : start + size].astype(np.float64)))
        return made

    def merge(self, other: EmbeddingSketch) -> EmbeddingSketch:
        """The sketch of both. Exact; the order does not matter.

        Raises:
            AuscultError: for sketches of other features, or more than 2^28 embeddings.
        """
        if self.features != other.features:
            raise AuscultError("These sketches have different random features.", remedy="Use one reference.")
        if self.n + other.n > MOST_ROWS:
            raise AuscultError("A sketch holds at most 268 million embeddings.", remedy="Audit a part of the cohort.")
        return EmbeddingSketch(
            features=self.features,
            n=self.n + other.n,
            invalid=self.invalid + other.invalid,
            clipped=self.clipped + other.clipped,
            sums=self.sums + other.sums,
            products=self.products + other.products,
            cosines=self.cosines + other.cosines,
            sines=self.sines + other.sines,
        )

    def mean(self) -> Floats | None:
        """Mean of each coordinate, float64 [d]; right to half a step. None where there is no embedding."""
        return self.sums.astype(np.float64) * (self.features.step / self.n) if self.n else None

    def covariance(self) -> Floats | None:
        """Covariance of the coordinates, float64 [d, d], over n - 1. None with fewer than two embeddings.

        Rounding adds about ``step^2 / 12`` to a variance.
        """
        if self.n < 2:
            return None
        sums = self.sums.astype(np.float64)
        spread: Floats = (self.products - np.outer(sums, sums) / self.n) * (self.features.step**2 / (self.n - 1))
        return spread

    def kernel_mean(self) -> npt.NDArray[np.complex128] | None:
        """Mean of ``exp(2 pi i u.x)`` for each frequency, complex128 [m]. None where there is no embedding."""
        if self.n == 0:
            return None
        return (self.cosines + 1j * self.sines).astype(np.complex128) * (2.0**-COSINE_BITS / self.n)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal embeddings, in whatever order and batches they came."""
        header = {
            "features": asdict(self.features), "digest": self.features.digest, "n": self.n, "invalid": self.invalid,
            "clipped": self.clipped,
        }  # fmt: skip
        upper = self.products[np.triu_indices(self.features.dimension)]
        arrays = (self.sums, upper, self.cosines, self.sines)
        return pack(MAGIC, header, [array.astype("<i8").tobytes() for array in arrays])

    @classmethod
    def from_bytes(cls, data: bytes) -> EmbeddingSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged, of another kind, or made with other frequencies.
        """
        header, blocks = unpack(MAGIC, data)
        try:
            made = _read(header, blocks)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _damaged() from error
        if not _sound(made) or made.to_bytes() != data:
            raise _damaged()
        return made


def mmd2(one: EmbeddingSketch, two: EmbeddingSketch) -> float | None:
    """Squared maximum mean discrepancy of two samples, unbiased; about 0 or below where they are alike.

    The U-statistic ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)`` over different embeddings, with the kernel of the
    random features. For one frequency with sums A and B, it is
    ``(|A|^2 - n)/(n (n - 1)) + (|B|^2 - m)/(m (m - 1)) - 2 Re(A B*)/(n m)``, averaged over frequencies. The error
    against the exact kernel is about ``1 / sqrt(features)`` of the kernel's differences. Embeddings of one patient are
    counted as any others: a test of significance must permute patients, not embeddings.

    Returns:
        None with fewer than two embeddings in either.

    Raises:
        AuscultError: for sketches of other features.

    Source: Gretton et al. (2012), JMLR 13:723, lemma 6; Sutherland and Schneider (2015), UAI, on its error.
    """
    if one.features != two.features:
        raise AuscultError("These sketches have different random features.", remedy="Use one reference.")
    first, second = one.kernel_mean(), two.kernel_mean()
    if first is None or second is None or min(one.n, two.n) < 2:
        return None
    within = [(n * np.abs(part) ** 2 - 1) / (n - 1) for n, part in ((one.n, first), (two.n, second))]
    across = (first * second.conj()).real
    return float((within[0] + within[1] - 2 * across).mean())


def median_bandwidth(reference: npt.ArrayLike, *, seed: int) -> float:
    """Median distance between embeddings [n, d], over at most 1000 of them drawn with ``seed``.

    Raises:
        ValueError: for fewer than two embeddings, one that is not finite, or where most are equal.

    Source: Gretton et al. (2012), JMLR 13:723, section 8.
    """
    from scipy.spatial.distance import pdist

    values = np.asarray(reference, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError("a bandwidth needs at least two embeddings, all of them finite")
    if len(values) > PAIRED_ROWS:
        values = values[generator(seed, "bandwidth").choice(len(values), PAIRED_ROWS, replace=False)]
    found = float(np.median(pdist(values)))
    if found <= 0:
        raise ValueError("most embeddings are equal: there is no distance to take a bandwidth from")
    return found


def waves_of(features: RandomFeatures, exact: Floats) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Cosine and sine of every random feature of rows in whole steps [n, d]: int32 [n, m], in units of 2^-30."""
    frequencies, bits = _frequencies(features)
    turned = (exact @ frequencies.T.astype(np.float64)).astype(np.int64)
    # The turns, rounded to 2^-16; whole turns fall away.
    drop = bits - ANGLE_BITS
    angle = ((turned + ((1 << drop) >> 1)) >> drop) & (ANGLES - 1)
    table = _cosines()
    return table[angle], table[(angle - ANGLES // 4) & (ANGLES - 1)]


@lru_cache(maxsize=8)
def _frequencies(features: RandomFeatures) -> tuple[Ints, int]:
    """Frequencies in turns per step of a coordinate: whole numbers [m, d] in units of ``2^-bits``, and ``bits``.

    As fine as leaves any sum of d products, of 17 bits and of a frequency, below 2^53. A frequency is below 6 standard
    deviations, hence below one turn per step, so that at least 16 bits are left for the angle.
    """
    rng = generator(features.seed, "random features")
    drawn = rng.standard_normal((features.n_features, features.dimension))
    turns = drawn * (features.step / (2 * math.pi * features.bandwidth))
    room = 2.0 ** (EXACT_BITS - VALUE_BITS - 1) / features.dimension
    bits = min(MOST_BITS, math.floor(math.log2(room / float(np.abs(turns).max()))))
    whole = np.rint(turns * 2.0**bits).astype(np.int64)
    whole.setflags(write=False)
    return whole, bits


@lru_cache(maxsize=1)
def _cosines() -> npt.NDArray[np.int32]:
    """``cos(2 pi i / 2^16)`` in units of 2^-30. By its series: additions and products are alike on every machine."""
    quarter = ANGLES // 4
    square = (np.arange(quarter + 1) * (math.pi / 2 / quarter)) ** 2
    value = np.ones(quarter + 1)
    for term in range(24, 0, -2):
        value = 1 - square / (term * (term - 1)) * value
    rising = np.rint(value * (1 << COSINE_BITS)).astype(np.int32)
    rising[-1] = 0
    half = np.concatenate([rising, -rising[-2::-1]])
    whole = np.concatenate([half, half[-2:0:-1]])
    whole.setflags(write=False)
    return whole


def _sketch_of(features: RandomFeatures, rows: Floats) -> EmbeddingSketch:
    """Of one chunk, of at most 2^18 rows."""
    sound = np.isfinite(rows).all(axis=1)
    top = float(1 << VALUE_BITS)
    exact = np.rint(np.clip(rows[sound], -top * features.step, top * features.step) / features.step)
    cosines, sines = waves_of(features, exact)
    return EmbeddingSketch(
        features=features,
        n=len(exact),
        invalid=len(rows) - len(exact),
        clipped=int((np.abs(rows[sound]) > top * features.step).sum()),
        sums=exact.sum(axis=0).astype(np.int64),
        products=(exact.T @ exact).astype(np.int64),
        cosines=cosines.sum(axis=0, dtype=np.int64),
        sines=sines.sum(axis=0, dtype=np.int64),
    )


def _read(header: dict[str, Any], blocks: list[bytes]) -> EmbeddingSketch:
    features = RandomFeatures(**header["features"])
    d, m = features.dimension, features.n_features
    sums, upper, cosines, sines = (
        widen("<i8", block, (size,)) for block, size in zip(blocks, (d, d * (d + 1) // 2, m, m), strict=True)
    )
    products = np.zeros((d, d), dtype=np.int64)
    products[np.triu_indices(d)] = upper
    products = products + np.triu(products, 1).T
    counts = {name: int(header[name]) for name in ("n", "invalid", "clipped")}
    return EmbeddingSketch(features=features, sums=sums, products=products, cosines=cosines, sines=sines, **counts)


def _sound(made: EmbeddingSketch) -> bool:
    """Whether the sums could be those of ``n`` embeddings."""
    if not 0 <= made.n <= MOST_ROWS or min(made.invalid, made.clipped) < 0:
        return False
    bounds = ((made.sums, VALUE_BITS), (made.products, 2 * VALUE_BITS), (made.cosines, COSINE_BITS))
    return bool((np.diag(made.products) >= 0).all()) and all(
        -(made.n << bits) <= int(part.min()) and int(part.max()) <= made.n << bits
        for part, bits in (*bounds, (made.sines, COSINE_BITS))
    )


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a sketch of embeddings that this version can read.",
        remedy="Run the shard again; the sketch was damaged or made by another version.",
    )
