"""How well a window's embeddings can be told from the reference's: classifier two-sample test and kernel distance.

Two classifiers are tried. One is Fisher's linear discriminant over the k coordinates of the frame: in turn, each fold
of patients is held out, the discriminant is trained on the moments of the other folds, and the fold is scored. It sees
the mean move. The other takes the radius of an embedding, needs no training, and sees its spread change. The effect is
the better area under the ROC curve less 1/2.

Rows are not kept, so the area on a held-out fold comes from its moments, the scores of either side being about normal:
``AUC = Phi(w.(m1 - m0) / sqrt(w'(V1 + V0) w))``. Scores are sums of many coordinates, and the tests hold the area
against that of the rows themselves.

Source: Lopez-Paz and Oquab (2017), ICLR, classifier two-sample tests; Rabanser et al. (2019), NeurIPS, on embeddings;
Gretton et al. (2012), JMLR 13:723, maximum mean discrepancy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.numbers import paired
from evaluation.engine.drift.records import StreamShift, StreamSpec
from evaluation.engine.drift.vectors import FOLDS, STEP, VectorSketch
from evaluation.engine.records import ALL
from evaluation.engine.statistics.intervals import p_of, z_of
from evaluation.engine.statistics.seeds import generator

Floats = npt.NDArray[np.float64]
Sketches = VectorSketch | Sequence[VectorSketch]
REPLICATES = 1000
LEVEL = 0.05
LEAST = 2
"""Studies of either side in each fold, below which nothing is told."""
TOO_FEW = "undefined: each of the four folds needs two studies with an embedding on either side"


def vector_shift(
    spec: StreamSpec, window: Sketches, reference: Sketches, *, margin: float, seed: int, alpha: float = LEVEL
) -> StreamShift:
    """How far a window's embeddings moved, over all studies: effect ``auc_excess``, the better area less 1/2.

    ``value`` is near 0 where nothing moved (by chance also below), at most 1/2. The interval of the linear
    discriminant is ``value -+ z sd``, where sd is that of 1,000 simulated windows with the shift that was found, less
    what noise adds to it; that of the radius comes from placements. The p-value is Hotelling's of the mean, or that of
    the radius, the smaller of them doubled.

    Args:
        window, reference: One sketch each, or as many strata of the case mix on either side in the same order. Then
            studies are compared within strata, weighted by the window's sizes; strata without a reference are left
            out and counted in ``detail["uncompared"]``.
        margin: From the protocol.

    Returns:
        ``value`` None with a ``reason`` where a fold has fewer than two studies on either side. ``detail``: ``auc``,
        ``auc_by_fold`` (held out), ``auc_radius``, ``mmd2`` (kernel of the frame, None of fewer than two studies),
        ``distance`` (Mahalanobis), ``hotelling``, ``radius_p``, ``missing``, ``missing_reference``.
    """
    pairs = _pairs(window, reference)
    both = [(one, two) for one, two in pairs if one.n and two.n]
    shift = StreamShift(
        stream=spec.name, family=spec.family, attribute="", group=ALL, effect="auc_excess", value=None, low=None,
        high=None, margin=margin, p_value=None, n=sum(one.n for one, _ in both),
        n_reference=sum(two.n for _, two in both), reason=TOO_FEW,
        detail={
            "missing": sum(one.missing for one, _ in pairs), "missing_reference": sum(two.missing for _, two in pairs),
            "uncompared": sum(one.n for one, two in pairs if not two.n),
        },
    )  # fmt: skip
    folds = _Folds.of(both)
    if folds is None:
        return shift
    linear, radius = _linear(folds, spec.name, seed, alpha / 2), _radius(both, alpha / 2)
    best = max(linear, radius, key=lambda found: found.value)
    detail = shift.detail | {
        "classifier": "linear" if best is linear else "radius", "auc": 0.5 + linear.value,
        "auc_by_fold": list(linear.by_fold), "auc_radius": radius.area, "radius_p": radius.p_value,
        "mean_p": linear.p_value, "hotelling": linear.hotelling, "distance": linear.distance, "mmd2": mmd2(both),
    }  # fmt: skip
    p_value = min(1.0, 2 * min(linear.p_value, radius.p_value))
    return replace(
        shift, value=best.value, low=best.low, high=best.high, p_value=p_value, reason="", detail=detail
    )  # fmt: skip


def mmd2(strata: Sequence[tuple[VectorSketch, VectorSketch]]) -> float | None:
    """Squared maximum mean discrepancy, unbiased, of a window and a reference; about 0 or below where they are alike.

    Over strata s with the window's weights w, the kernel means are ``sum w_s mean_s`` on either side, and what a
    mean's own noise adds to its square, ``w_s^2 (1 - |mean_s|^2) / (n_s - 1)``, is taken off. With one stratum this is
    the U-statistic. The error against the exact kernel is about ``1 / sqrt(256)`` of it.

    Returns:
        None where no stratum has two studies on either side; strata with fewer are left out.

    Source: Gretton et al. (2012), JMLR 13:723, lemma 6; Sutherland and Schneider (2015), UAI, on its error.
    """
    used = [pair for pair in strata if min(pair[0].n, pair[1].n) >= LEAST]
    if not used:
        return None
    everyone = sum(one.n for one, _ in used)
    apart, noise = np.zeros(len(used[0][0].cosines), dtype=np.complex128), 0.0
    for pair in used:
        weight = pair[0].n / everyone
        for part, sign in zip(pair, (1, -1), strict=True):
            mean = part.kernel_mean()
            assert mean is not None
            apart += sign * weight * mean
            noise += weight**2 * float((1 - np.abs(mean) ** 2).mean()) / (part.n - 1)
    return float((np.abs(apart) ** 2).mean()) - noise


@dataclass(frozen=True, kw_only=True)
class _Folds:
    """What is known of each fold. Counts and covariances are within strata.

    Attributes:
        size: float64 [4], studies of the window; shift: float64 [4, k], mean within strata of window less reference.
        noise: float64 [4], factor c of the covariance of ``shift``.
        scatter: float64 [2, 4, k, k], sums of squares about the means of the strata, of window and reference.
        freedom: float64 [2, 4], their degrees of freedom.
    """

    size: Floats
    shift: Floats
    noise: Floats
    scatter: Floats
    freedom: Floats

    @classmethod
    def of(cls, strata: Sequence[tuple[VectorSketch, VectorSketch]]) -> _Folds | None:
        """None where a fold has fewer than two comparable studies on a side, or scatter without freedom."""
        if not strata:
            return None
        k = strata[0][0].k
        size, shift, noise = np.zeros(FOLDS), np.zeros((FOLDS, k)), np.zeros(FOLDS)
        held, scatter, freedom = np.zeros(FOLDS), np.zeros((2, FOLDS, k, k)), np.zeros((2, FOLDS))
        for pair in strata:
            one, two = (part.counts.astype(np.float64) for part in pair)
            used = (one > 0) & (two > 0)
            means = [part.sums * (STEP / np.maximum(part.counts, 1))[:, None] for part in pair]
            size += one * used
            held += two * used
            shift += (one * used)[:, None] * (means[0] - means[1])
            noise += used * one**2 * (1 / np.maximum(one, 1) + 1 / np.maximum(two, 1))
            for side, (part, mean) in enumerate(zip(pair, means, strict=True)):
                about = part.counts[:, None, None] * mean[:, :, None] * mean[:, None, :]
                scatter[side] += part.products * STEP**2 - about
                freedom[side] += np.maximum(part.counts - 1, 0)
        if min(size.min(), held.min()) < LEAST or freedom[1].min() < 1:
            return None
        return cls(size=size, shift=shift / size[:, None], noise=noise / size**2, scatter=scatter, freedom=freedom)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """One classifier: its area less 1/2, with interval and p-value."""

    value: float
    low: float
    high: float
    p_value: float
    area: float
    by_fold: tuple[float, ...] = ()
    hotelling: float = 0.0
    distance: float = 0.0


def _linear(folds: _Folds, stream: str, seed: int, alpha: float) -> _Found:
    from scipy.special import fdtrc, ndtr

    areas = np.array([ndtr(_held_out(folds, fold)) for fold in range(FOLDS)])
    value = float(areas @ folds.size / folds.size.sum()) - 0.5
    freedom = float(folds.freedom.sum())
    covariance = _shrunk(folds.scatter.sum(axis=(0, 1)), freedom)
    weights = 1 / folds.noise
    noise, k = float(1 / weights.sum()), folds.shift.shape[1]
    shift = weights @ folds.shift * noise
    squared = max(0.0, float(shift @ np.linalg.solve(covariance, shift)))
    hotelling, rest = squared / noise, max(1.0, freedom - k + 1)
    true = math.sqrt(max(0.0, squared - k * noise))
    half = z_of(alpha) * _spread(folds, true, generator(seed, "discriminant", stream))
    return _Found(
        value=value, low=max(-0.5, value - half), high=min(0.5, value + half),
        p_value=float(fdtrc(k, rest, hotelling * rest / (k * freedom))), area=0.5 + value,
        by_fold=tuple(float(area) for area in areas), hotelling=hotelling, distance=math.sqrt(squared),
    )  # fmt: skip


def _held_out(folds: _Folds, fold: int) -> float:
    """Separation of the scores of one fold, by the discriminant of the others, in standard deviations of a difference.

    Neither a mean nor a covariance of the held-out fold enters the discriminant.
    """
    others = np.arange(FOLDS) != fold
    precision = others / folds.noise
    shift = precision @ folds.shift / precision.sum()
    inside = _shrunk(folds.scatter[:, others].sum(axis=(0, 1)), float(folds.freedom[:, others].sum()))
    weights = np.linalg.solve(inside, shift)
    spread = 0.0
    for side in (0, 1):
        # A window with no freedom in this fold (each study a stratum of its own) is taken to vary as the reference.
        known = side if folds.freedom[side, fold] > 0 else 1
        spread += float(weights @ folds.scatter[known, fold] @ weights) / folds.freedom[known, fold]
    return float(weights @ folds.shift[fold]) / math.sqrt(spread) if spread > 0 else 0.0


def _shrunk(scatter: Floats, freedom: float) -> Floats:
    """Covariance, drawn to its diagonal by ``k / (k + freedom)``; a coordinate that does not vary gets a tiny one."""
    k = len(scatter)
    covariance = scatter / max(1.0, freedom)
    diagonal = np.maximum(np.diag(covariance), 1e-9)
    share = k / (k + freedom)
    made: Floats = (1 - share) * covariance
    made[np.arange(k), np.arange(k)] = diagonal
    return made


def _spread(folds: _Folds, distance: float, rng: np.random.Generator) -> float:
    """Standard deviation of the cross-fitted area where the true distance is ``distance``, by simulation.

    Folds share their training studies, so their areas go together, most of all where nothing moved: a formula for
    independent folds would be too narrow. Coordinates are taken as white, which the discriminant does not see.
    """
    from scipy.special import ndtr

    k = folds.shift.shape[1]
    drawn = rng.standard_normal((REPLICATES, FOLDS, k)) * np.sqrt(folds.noise)[:, None]
    drawn[:, :, 0] += distance
    precise = drawn / folds.noise[:, None]
    others = precise.sum(axis=1, keepdims=True) - precise
    along = (others * drawn).sum(axis=2) / np.linalg.norm(others, axis=2)
    areas = ndtr(along / math.sqrt(2)) @ folds.size / folds.size.sum()
    return float(areas.std())


def _radius(strata: Sequence[tuple[VectorSketch, VectorSketch]], alpha: float) -> _Found:
    """Area of the radius: the chance that a study of the window lies farther out than one of the reference.

    Either side of 1/2 counts, less what chance adds: ``sqrt(max(0, (A - 1/2)^2 - Var A))``. The variance is that of
    the placements, and for the p-value that of ranks under no shift.
    """
    pair = paired([(one.radii, two.radii) for one, two in strata])
    assert pair is not None
    below_r, below_w = (np.cumsum(part) - part / 2 for part in (pair.reference, pair.window))
    area = float(pair.window @ below_r)
    variance = float(pair.window @ (below_r - area) ** 2) / pair.n
    variance += float(pair.reference @ (1 - below_w - area) ** 2) / pair.m
    null = (1 / pair.n + 1 / pair.m + 1 / (pair.n * pair.m)) / 12
    apart, half = abs(area - 0.5), z_of(alpha) * math.sqrt(variance)
    value, low, high = (
        math.sqrt(max(0.0, max(0.0, found) ** 2 - variance)) for found in (apart, apart - half, apart + half)
    )
    return _Found(
        value=value, low=low, high=min(0.5, high), p_value=p_of((area - 0.5) / math.sqrt(null)), area=area
    )  # fmt: skip


def _pairs(window: Sketches, reference: Sketches) -> list[tuple[VectorSketch, VectorSketch]]:
    one = [window] if isinstance(window, VectorSketch) else list(window)
    two = [reference] if isinstance(reference, VectorSketch) else list(reference)
    return list(zip(one, two, strict=True))
