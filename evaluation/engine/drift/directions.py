"""Which directions of an embedding are watched: principal ones that hold in studies which did not find them.

Along a principal direction of few studies those studies vary more than the next ones do: with as many coordinates as
studies, by half and more. A window would then look too narrow beside the reference that found the direction. So the
reference is cut into halves; a direction is kept while each half varies at least .8 as much along it as the half that
found it; the rest up to 16 are drawn at random, orthogonal to those kept, and depend on no study.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.engine.sketches.embeddings import EXACT_BITS, VALUE_BITS
from evaluation.engine.statistics.seeds import generator

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
DIRECTIONS = 16
STABLE = 0.8
"""Share of a direction's variance that the half which did not find it must have."""
NEGLIGIBLE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Attributes:
    whole: int64 [k, d], in units of ``2^-direction_bits(d)``; principal ones first, by falling variance.
    spread: float64 [k], standard deviation of the reference along each.
    principal: How many are principal; explained: the share of the variance that these hold.
    """

    whole: Ints
    spread: Floats
    principal: int
    explained: float


def directions_of(standard: Floats, *, seed: int) -> Directions:
    """Stable principal directions of a standardised reference [n, d], and random ones up to 16.

    The largest entry of a direction is positive: the sign is free, and a library's would differ between machines.

    Raises:
        ValueError: where all rows are equal.
    """
    n, d = standard.shape
    variance, leading = _principal(standard, min(DIRECTIONS, d))
    if variance[0] <= NEGLIGIBLE:
        raise ValueError("the embeddings of the reference are all equal")
    rng = generator(seed, "directions")
    order = rng.permutation(n)
    principal = _stable(standard[order[::2]], standard[order[1::2]], variance)
    kept = leading[:principal]
    drawn = rng.standard_normal((min(DIRECTIONS, d) - principal, d))
    drawn -= (drawn @ kept.T) @ kept
    kept = np.concatenate([kept, np.linalg.qr(drawn.T)[0].T]) if len(drawn) else kept
    kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)])[:, None]
    spread = (standard @ kept.T).std(axis=0, ddof=1)
    varies = spread > NEGLIGIBLE * float(spread.max())
    whole = np.rint(kept[varies] * 2.0 ** direction_bits(d)).astype(np.int64)
    total = float(standard.var(axis=0, ddof=1).sum())
    explained = float(variance[:principal].sum()) / total
    return Directions(whole=whole, spread=spread[varies], principal=principal, explained=explained)


def _principal(standard: Floats, most: int) -> tuple[Floats, Floats]:
    """Variances [k] and principal directions [k, d], by falling variance."""
    centred = standard - standard.mean(axis=0)
    n, d = centred.shape
    if d <= n:
        values, vectors = np.linalg.eigh(centred.T @ centred / (n - 1))
        return values[::-1][:most], vectors.T[::-1][:most]
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    return singular[:most] ** 2 / (n - 1), right[:most]


def _stable(one: Floats, two: Floats, variance: Floats) -> int:
    """How many leading directions have, in the half that did not find them, most of their variance in the other."""
    most = min(len(variance), len(one) - 1, len(two) - 1)
    held = np.ones(most)
    for finder, other in ((one, two), (two, one)):
        inside, found = _principal(finder, most)
        outside = (other @ found.T).var(axis=0, ddof=1)
        held = np.minimum(held, outside[:most] / np.maximum(inside, np.finfo(np.float64).tiny)[:most])
    sound = (held >= STABLE) & (variance[:most] > NEGLIGIBLE * variance[0])
    return most if sound.all() else int(sound.argmin())


def direction_bits(dimension: int) -> int:
    """As fine as leaves a sum of ``dimension`` products, of 18 bits and of an entry of a direction, below 2^53."""
    return EXACT_BITS - VALUE_BITS - 2 - math.ceil(math.log2(dimension)) if dimension > 1 else 34
