"""Embeddings watched for drift: a frame that is fixed on the reference, and sums that merge exactly.

The frame standardises each coordinate by the reference, keeps k <= 16 directions, scaled so that the reference has
variance 1 along each, and fixes the random features of a Gaussian kernel over all coordinates, its bandwidth included.
Nothing of it is ever fitted on a window: a bandwidth that followed the window would hide its drift.

Principal directions of few studies have more variance in those studies than in the next ones, and the next window
would look too narrow. So a principal direction is kept only where one half of the reference finds it and the other
half varies along it as well; the rest of the 16 directions are drawn at random, and depend on no study.

A sketch holds, in each of four folds of patients, the sums and products of the k coordinates, and over all folds the
sums of the random features and the radii: root mean square of all standardised coordinates of a study. All are whole
numbers (see ``evaluation.engine.sketches.embeddings``), so the same studies give the same bytes in any order, batches
and shares.

Source: Rahimi and Recht (2007), NIPS 20, random features.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from core.digests import sha256_bytes
from core.errors import AuscultError
from evaluation.engine.drift.directions import NEGLIGIBLE, direction_bits, directions_of
from evaluation.engine.sketches.embeddings import (
    MOST_ROWS,
    VALUE_BITS,
    RandomFeatures,
    median_bandwidth,
    waves_of,
)
from evaluation.engine.sketches.packing import pack, unpack
from evaluation.engine.sketches.quantiles import QuantileSketch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAGIC_FRAME = b"auscult-vector-frame-1\n"
MAGIC_SKETCH = b"auscult-vector-sketch-1\n"
FOLDS = 4
FEATURES = 256
LEAST_ROWS = 20
RADIUS_STEPS = 128
INPUT_BITS = 12
"""Standardised coordinates are whole multiples of 2^-12, and lie within 32 standard deviations."""
STEP_BITS = 8
STEP = 2.0**-STEP_BITS
TOP = 32.0
"""Principal coordinates are whole multiples of 2^-8 standard deviations, and lie within 32 of them."""
WAVE_BITS = 15
"""Cosines and sines are summed in units of 2^-15."""
CHUNK_CELLS = 1 << 22


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorFrame:
    """How embeddings of d coordinates are reduced to k. Fixed on the reference.

    Attributes:
        mean, scale: float64 [d], of the reference; a coordinate that does not vary there has the scale 1.
        directions: int64 [k, d], directions of the standardised reference, in units of ``2^-bits``; first the principal
            ones, by falling variance, then those drawn at random.
        spread: float64 [k], standard deviation of the reference along each.
        principal: How many of them are principal.
        explained: Share of the standardised variance that the principal directions hold.
        features: Random features of the standardised coordinates.
    """

    mean: Floats
    scale: Floats
    directions: Ints
    spread: Floats
    principal: int
    explained: float
    features: RandomFeatures

    @classmethod
    def fit(cls, values: npt.ArrayLike, *, seed: int) -> VectorFrame:
        """The frame of a reference [n, d]; rows that are not finite are left out. O(n d^2).

        Raises:
            ValueError: for fewer than 20 embeddings, or where most are equal; the text says which.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] < 1:
            raise ValueError("embeddings come as one row for each study")
        rows = given[np.isfinite(given).all(axis=1)]
        if len(rows) < LEAST_ROWS:
            raise ValueError(f"{len(rows)} studies of the reference have an embedding; {LEAST_ROWS} are needed")
        mean, scale = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        scale = np.where(scale > NEGLIGIBLE * max(float(scale.max()), 1e-30), scale, 1.0)
        standard = (rows - mean) / scale
        found = directions_of(standard, seed=seed)
        features = RandomFeatures(
            dimension=rows.shape[1],
            n_features=FEATURES,
            bandwidth=median_bandwidth(standard, seed=seed),
            seed=seed,
            step_bits=INPUT_BITS,
        )
        return cls(
            mean=mean, scale=scale, directions=found.whole, spread=found.spread, principal=found.principal,
            explained=found.explained, features=features,
        )  # fmt: skip

    @property
    def dimension(self) -> int:
        """Coordinates of an embedding."""
        return len(self.mean)

    @property
    def k(self) -> int:
        """Directions."""
        return len(self.spread)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of :meth:`to_bytes`: sketches by other frames cannot be compared."""
        return sha256_bytes(self.to_bytes())

    def project(self, values: npt.ArrayLike) -> Floats:
        """Coordinates along the directions, float64 [n, k], in standard deviations of the reference.

        A row with a NaN becomes one of NaN. The same for a row whatever rows come with it.

        Raises:
            AuscultError: for embeddings of another dimension.
        """
        exact, sound = self._exact(values)
        made = np.full((len(sound), self.k), np.nan)
        made[sound] = self._coordinates(exact)
        return made

    def _exact(self, values: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Standardised coordinates in whole steps, of the finite rows, and which rows those are."""
        rows = np.asarray(values)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise AuscultError(
                f"The embeddings have the shape {list(rows.shape)}, but those of the reference have "
                f"{self.dimension} coordinates.",
                remedy="Compare embeddings of one model, one row for each study.",
            )
        sound = np.isfinite(rows).all(axis=1)
        top = float(1 << VALUE_BITS)
        standard = (rows[sound].astype(np.float64) - self.mean) / self.scale
        return np.rint(np.clip(standard * (1 << INPUT_BITS), -top, top)), sound

    def _coordinates(self, exact: Floats) -> Floats:
        # Whole numbers below 2^53: the product is exact, whatever BLAS does.
        turned = exact @ self.directions.T.astype(np.float64)
        unit = 2.0 ** -(INPUT_BITS + direction_bits(self.dimension))
        return np.asarray(turned * unit / self.spread)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal frames."""
        header = {
            "features": asdict(self.features),
            "k": self.k,
            "principal": self.principal,
            "explained": self.explained,
        }
        floats = [part.astype("<f8").tobytes() for part in (self.mean, self.scale, self.spread)]
        return pack(MAGIC_FRAME, header, [*floats, self.directions.astype("<i8").tobytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> VectorFrame:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC_FRAME, data)
        try:
            features = RandomFeatures(**header["features"])
            mean, scale, spread, directions = blocks
            made = cls(
                mean=_floats(mean, features.dimension),
                scale=_floats(scale, features.dimension),
                spread=_floats(spread, int(header["k"])),
                directions=np.frombuffer(directions, "<i8").astype(np.int64).reshape(int(header["k"]), -1),
                principal=int(header["principal"]),
                explained=float(header["explained"]),
                features=features,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged("frame") from error
        if made.directions.shape[1] != features.dimension or made.to_bytes() != data:
            raise _damaged("frame")
        return made


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorSketch:
    """Sums over the embeddings of studies. ``VectorSketch.of(frame, ...)`` makes it, ``merge`` adds.

    Attributes:
        frame_digest: Of the frame it was made by.
        counts: int64 [4], studies in each fold; missing: studies without an embedding.
        sums: int64 [4, k], in units of ``STEP``; products: int64 [4, k, k], in squared units.
        cosines, sines: int64 [m], in units of 2^-15, over all folds.
        radii: Root mean square of the d standardised coordinates of each study, to 1/128.
    """

    frame_digest: str
    counts: Ints
    missing: int
    radii: QuantileSketch
    sums: Ints
    products: Ints
    cosines: Ints
    sines: Ints

    @classmethod
    def of(cls, frame: VectorFrame, values: npt.ArrayLike, folds: npt.ArrayLike) -> VectorSketch:
        """Sketch of embeddings [n, d]. O(n d (k + m)), in chunks.

        Args:
            values: Rows with a NaN are counted as missing.
            folds: int [n], 0 to 3: a function of the patient, see :func:`folds_of`.

        Raises:
            AuscultError: for embeddings of another dimension.
            ValueError: for folds of another length, or outside 0 to 3.
        """
        rows, place = np.asarray(values), np.asarray(folds, dtype=np.int64)
        if place.shape != (len(rows),) or (len(place) and not 0 <= place.min() <= place.max() < FOLDS):
            raise ValueError("each embedding has a fold from 0 to 3")
        size = max(1, CHUNK_CELLS // max(frame.dimension, FEATURES))
        made = cls.empty(frame)
        for start in range(0, max(1, len(rows)), size):
            made = made.merge(_sketch_of(frame, made.frame_digest, rows[start : start + size], place[start:][:size]))
        return made

    @classmethod
    def empty(cls, frame: VectorFrame) -> VectorSketch:
        k, m = frame.k, frame.features.n_features
        counts, sums, products, cosines, sines = (
            np.zeros(shape, dtype=np.int64) for shape in ((FOLDS,), (FOLDS, k), (FOLDS, k, k), (m,), (m,))
        )
        return cls(
            frame_digest=frame.digest, counts=counts, missing=0, radii=QuantileSketch.of(), sums=sums,
            products=products, cosines=cosines, sines=sines,
        )  # fmt: skip

    @property
    def n(self) -> int:
        """Studies with an embedding."""
        return int(self.counts.sum())

    @property
    def k(self) -> int:
        return int(self.sums.shape[1])

    def merge(self, other: VectorSketch) -> VectorSketch:
        """The sketch of both. Exact; the order does not matter.

        Raises:
            AuscultError: for sketches by another frame, or more than 2^28 studies.
        """
        if self.frame_digest != other.frame_digest:
            raise AuscultError(
                "These embeddings were sketched by different frames.", remedy="Compare windows of one reference."
            )
        if self.n + other.n > MOST_ROWS:
            raise AuscultError("A sketch holds at most 268 million embeddings.", remedy="Watch shorter windows.")
        return VectorSketch(
            frame_digest=self.frame_digest,
            counts=self.counts + other.counts,
            missing=self.missing + other.missing,
            radii=self.radii.merge(other.radii),
            sums=self.sums + other.sums,
            products=self.products + other.products,
            cosines=self.cosines + other.cosines,
            sines=self.sines + other.sines,
        )

    def mean(self) -> Floats | None:
        """Mean coordinates, float64 [k], in standard deviations of the frame's reference; None of none."""
        return self.sums.sum(axis=0) * (STEP / self.n) if self.n else None

    def covariance(self) -> Floats | None:
        """Their covariance, float64 [k, k], over n; None of none."""
        if not self.n:
            return None
        sums = self.sums.sum(axis=0).astype(np.float64)
        spread: Floats = (self.products.sum(axis=0) - np.outer(sums, sums) / self.n) * (STEP**2 / self.n)
        return spread

    def kernel_mean(self) -> npt.NDArray[np.complex128] | None:
        """Mean of ``exp(2 pi i u.x)`` for each random feature, complex128 [m]; None of none."""
        if self.n == 0:
            return None
        return (self.cosines + 1j * self.sines).astype(np.complex128) * (2.0**-WAVE_BITS / self.n)

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal studies, in whatever order and shares they came."""
        upper = self.products[:, *np.triu_indices(self.k)]
        parts = [_narrowed(part) for part in (self.counts, self.sums, upper, self.cosines, self.sines)]
        header = {
            "frame": self.frame_digest, "k": self.k, "missing": self.missing, "widths": [width for width, _ in parts],
        }  # fmt: skip
        return pack(MAGIC_SKETCH, header, [*(block for _, block in parts), self.radii.to_bytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> VectorSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC_SKETCH, data)
        try:
            counts, sums, upper, cosines, sines = (
                np.frombuffer(block, _WIDTHS[width]).astype(np.int64)
                for width, block in zip(header["widths"], blocks[:-1], strict=True)
            )
            k = int(header["k"])
            products = np.zeros((FOLDS, k, k), dtype=np.int64)
            products[:, *np.triu_indices(k)] = upper.reshape(FOLDS, -1)
            products += np.triu(products, 1).transpose(0, 2, 1)
            made = cls(
                frame_digest=str(header["frame"]), counts=counts, missing=int(header["missing"]),
                radii=QuantileSketch.from_bytes(blocks[-1]), sums=sums.reshape(FOLDS, k), products=products,
                cosines=cosines, sines=sines,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged("sketch") from error
        if counts.shape != (FOLDS,) or counts.min() < 0 or made.missing < 0 or made.to_bytes() != data:
            raise _damaged("sketch")
        return made


def folds_of(hashes: npt.NDArray[np.uint64]) -> Ints:
    """Fold of each patient by its keyed hash (``sample.hashes_of``), 0 to 3: all studies of a patient lie in one.

    By the lowest bits, so that a sample of the least hashes has patients of every fold.
    """
    return (hashes % np.uint64(FOLDS)).astype(np.int64)


_WIDTHS = {name: np.dtype(name) for name in ("<i1", "<i2", "<i4", "<i8")}


def _narrowed(array: Ints) -> tuple[str, bytes]:
    """The narrowest signed type that holds the whole numbers of ``array``, and its bytes."""
    top = int(np.abs(array).max(initial=0))
    width = "<i1" if top < 1 << 7 else "<i2" if top < 1 << 15 else "<i4" if top < 1 << 31 else "<i8"
    return width, np.ascontiguousarray(array).astype(width).tobytes()


def _sketch_of(frame: VectorFrame, digest: str, rows: npt.NDArray[Any], place: Ints) -> VectorSketch:
    """Of one chunk."""
    exact, sound = frame._exact(rows)
    whole = np.rint(np.clip(frame._coordinates(exact), -TOP, TOP) / STEP)
    cosines, sines = (_rounded(part).sum(axis=0, dtype=np.int64) for part in waves_of(frame.features, exact))
    fold = place[sound]
    inside = [whole[fold == f] for f in range(FOLDS)]
    return VectorSketch(
        frame_digest=digest,
        counts=np.bincount(fold, minlength=FOLDS).astype(np.int64),
        missing=int((~sound).sum()),
        radii=QuantileSketch.of(_radii(exact)),
        sums=np.stack([part.sum(axis=0) for part in inside]).astype(np.int64),
        products=np.stack([part.T @ part for part in inside]).astype(np.int64),
        cosines=cosines,
        sines=sines,
    )


def _radii(exact: Floats) -> Floats:
    """Of rows in whole steps: sums of at most 2^16 squares of 17 bits are exact."""
    mean = (exact * exact).sum(axis=1) / (exact.shape[1] * 4.0**INPUT_BITS)
    return np.asarray(np.rint(np.sqrt(mean) * RADIUS_STEPS) / RADIUS_STEPS)


def _rounded(waves: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    half = 1 << (29 - WAVE_BITS)
    return (waves + np.int32(half)) >> np.int32(30 - WAVE_BITS)


def _floats(data: bytes, size: int) -> Floats:
    found = np.frombuffer(data, "<f8").astype(np.float64)
    if found.shape != (size,) or not np.isfinite(found).all():
        raise ValueError("an array of a frame has another length, or a value that is not finite")
    return found


def _damaged(what: str) -> AuscultError:
    return AuscultError(
        f"These bytes are not a {what} of embeddings that this version can read.",
        remedy="Run the window again; the bytes were damaged or made by another version.",
    )
