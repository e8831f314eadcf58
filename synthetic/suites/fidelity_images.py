"""Synthetic images against real ones: the distance of their features, and how alike images of a class are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.fixed_threads import fixed_threads
from synthetic.generators.rejection import strata_of
from synthetic.generators.studies import LinkedStudies, Pixels
from synthetic.suites.fidelity_manifold import Points
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_estimates import Estimate, resampled
from synthetic.suites.likeness_gathering import equal_patients, figure, patient_codes, some_patients
from synthetic.suites.likeness_reader import ImageReader

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
COMPONENTS = 16
DRAWS = 100
MOST_PATIENTS = 2000
LEAST_IMAGES = 50
MOST_PAIRS = 400
BLOCK = 250
"""Images of a block of the kernel distance; its error is that of the mean over blocks."""
WEIGHTS = (0.3, 0.35, 0.35)
"""Of the scales of MS-SSIM, from fine to coarse."""


class Features:
    """Images as the reader sees them, in the principal components of the readers' own.

    Attributes:
        made, learnt, held: [n, COMPONENTS] in units of the readers' total spread, and the patient of each.
    """

    def __init__(self, sets: AuditSets, reader: ImageReader) -> None:
        self._reader = reader
        readers = self._seen(some_patients(sets.readers, MOST_PATIENTS, seed=sets.seed, purpose="encoder"))[0]
        self._mean = readers.mean(axis=0)
        _, lengths, axes = np.linalg.svd(readers - self._mean, full_matrices=False)
        self._axes = axes[:COMPONENTS].T
        self._scale = float(np.sqrt((lengths[:COMPONENTS] ** 2).sum() / len(readers)))
        self._each = lengths[:COMPONENTS] / np.sqrt(len(readers)) / self._scale
        made = some_patients(sets.synthetic, MOST_PATIENTS, seed=sets.seed, purpose="images")
        learnt = equal_patients(made, sets.learnt, seed=sets.seed, purpose="real images")
        held = some_patients(sets.held_out, MOST_PATIENTS, seed=sets.seed, purpose="held-out images")
        self.made, self.learnt, self.held = (self._put(one) for one in (made, learnt, held))

    def _seen(self, studies: LinkedStudies) -> tuple[Floats, Ints]:
        here = studies.rows(studies.has_image)
        assert here.images is not None
        return self._reader.see(here.images).features.astype(np.float64), patient_codes(here)[0]

    def _put(self, studies: LinkedStudies) -> tuple[Floats, Ints]:
        features, codes = self._seen(studies)
        return (features - self._mean) @ self._axes / self._scale, codes

    def points(self) -> Points:
        """One image of each patient, each component of variance 1 in the readers."""
        used = self._each > 1e-3
        one_each = [one[np.unique(codes, return_index=True)[1]] for one, codes in (self.made, self.learnt, self.held)]
        made, learnt, held = (one[:, used] / self._each[used] for one in one_each)
        return Points(synthetic=made, learnt=learnt, held_out=held)


def no_images(sets: AuditSets) -> str:
    """Why images cannot be compared; empty where they can."""
    for name in ("learnt", "readers", "held_out", "synthetic"):
        studies: LinkedStudies = getattr(sets, name)
        if studies.images is None or studies.has_image.sum() < LEAST_IMAGES:
            return f"{name.replace('_', '-')} patients have fewer than {LEAST_IMAGES} images"
    return ""


def distances(features: Features, seed: int) -> Iterator[Figure]:
    """The relative Fréchet distance and the kernel distance, with learnt in place of synthetic images as null."""
    made, null = (_frechet(one, features.held, seed) for one in (features.made, features.learnt))
    method = f"bootstrap over patients, {DRAWS} draws"
    yield figure("image_frechet", made, null=null, counted="images", most=1e6, method=method)
    made, null = (_kernel(one[0], features.held[0], seed) for one in (features.made, features.learnt))
    yield figure("image_kid", made, null=null, counted="images", least=-1e6, most=1e6, method=f"blocks of {BLOCK}")


def _frechet(made: tuple[Floats, Ints], real: tuple[Floats, Ints], seed: int) -> Estimate:
    """``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`` over the trace of the readers' covariance, which is 1."""
    sums = [_sums(*one) for one in (made, real)]
    value = _distance(*(one.sum(axis=0) for one in sums))
    rng = generator(seed, "frechet")
    totals = [resampled(len(one), DRAWS, rng) @ one for one in sums]
    draws = [_distance(first, second) for first, second in zip(*totals, strict=True)]
    return Estimate(value=value, parts=(np.array([float(np.std(draws, ddof=1))]),), n=len(made[0]))


def _sums(points: Floats, codes: Ints) -> Floats:
    """Per patient: number of images, sum of the points, sum of their outer products."""
    n, width = points.shape
    outer = (points[:, :, None] * points[:, None, :]).reshape(n, width * width)
    whole = np.concatenate([np.ones((n, 1)), points, outer], axis=1)
    _, place = np.unique(codes, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    found: Floats = np.add.reduceat(whole[order], starts, axis=0)
    return found


def _distance(first: Floats, second: Floats) -> float:
    (one_mean, one), (two_mean, two) = _moments(first), _moments(second)
    values = np.linalg.eigvals(one @ two).real
    crossed = float(np.sqrt(np.clip(values, 0, None)).sum())
    found = float(((one_mean - two_mean) ** 2).sum() + np.trace(one) + np.trace(two) - 2 * crossed)
    return max(0.0, found)


def _moments(total: Floats) -> tuple[Floats, Floats]:
    # 1 + w + w^2 numbers for w components.
    width = round((np.sqrt(4 * len(total) - 3) - 1) / 2)
    mean = total[1 : 1 + width] / total[0]
    outer = total[1 + width :].reshape(width, width) / total[0]
    return mean, outer - np.outer(mean, mean)


def _kernel(made: Floats, real: Floats, seed: int) -> Estimate:
    """Unbiased MMD^2 with the kernel ``(x y + 1)^3``, mean over disjoint blocks.

    Source: Binkowski and others (2018), Demystifying MMD GANs, ICLR.
    """
    rng = generator(seed, "kernel distance")
    blocks = max(2, min(len(made), len(real)) // BLOCK)
    size = min(len(made), len(real)) // blocks
    first, second = (one[rng.permutation(len(one))] for one in (made, real))
    found = []
    for k in range(blocks):
        x, y = first[k * size : (k + 1) * size], second[k * size : (k + 1) * size]
        xx, yy, xy = ((one @ two.T + 1) ** 3 for one, two in ((x, x), (y, y), (x, y)))
        own = sum(float(part.sum() - np.trace(part)) / (size * (size - 1)) for part in (xx, yy))
        found.append(own - 2 * float(xy.mean()))
    values = np.array(found)
    return Estimate(value=float(values.mean()), parts=((values - values.mean()) / blocks,), n=len(made))


def variety(sets: AuditSets) -> Iterator[Figure]:
    """MS-SSIM of two images of different patients with the same findings, less that of real pairs."""
    pairs = {name: _pairs(getattr(sets, name), sets.seed) for name in ("synthetic", "learnt", "held_out")}
    kinds = sorted(set(pairs["synthetic"]) & set(pairs["held_out"]))
    if not kinds:
        yield not_computed("image_variety", "no findings are shared by two patients in both sets")
        return
    made, held = (_alike(getattr(sets, name), pairs[name], kinds) for name in ("synthetic", "held_out"))
    if min(len(made), len(held)) < 10:
        yield not_computed("image_variety", "fewer than 10 pairs of patients have the same findings")
        return
    learnt = _alike(sets.learnt, pairs["learnt"], kinds)
    one, two = _mean(made), _mean(held)
    null = _mean(learnt).minus(two) if len(learnt) > 1 else None
    yield figure("image_variety", one.minus(two), null=null, counted="pairs of images", least=-1.0,
                 method="mean over pairs that share no patient", synthetic=one.value, real=two.value)  # fmt: skip


def _mean(values: Floats) -> Estimate:
    value = float(values.mean())
    return Estimate(value=value, parts=((values - value) / len(values),), n=len(values))


def _pairs(studies: LinkedStudies, seed: int) -> dict[str, list[tuple[int, int]]]:
    """Disjoint pairs of patients with the same findings, by findings: one study of each patient."""
    if studies.images is None:
        return {}
    rows = np.flatnonzero(studies.has_image)
    rows = rows[generator(seed, "pairs of images").permutation(len(rows))]
    codes, _ = patient_codes(studies)
    rows = rows[np.unique(codes[rows], return_index=True)[1]]
    strata = strata_of(studies.plans.rows(rows))
    found: dict[str, list[tuple[int, int]]] = {}
    for kind in sorted(set(strata.tolist())):
        here = rows[strata == kind].tolist()
        if len(here) > 1:
            found[kind] = list(zip(here[::2], here[1::2], strict=False))[: MOST_PAIRS // 4]
    return found


def _alike(studies: LinkedStudies, pairs: dict[str, list[tuple[int, int]]], kinds: list[str]) -> Floats:
    both = [pair for kind in kinds for pair in pairs.get(kind, [])]
    if not both or studies.images is None:
        return np.zeros(0)
    first, second = (studies.images[[pair[k] for pair in both]] for k in (0, 1))
    return ms_ssim(first, second)


def ms_ssim(first: Pixels, second: Pixels) -> Floats:
    """MS-SSIM of pairs of grey images uint8 [n, size, size]: [n], three scales, windows of 7 px.

    Source: Wang, Simoncelli and Bovik (2003), Multiscale structural similarity for image quality assessment.
    """
    import torch
    from torch.nn import functional

    with fixed_threads(), torch.inference_mode():
        x, y = (torch.from_numpy(np.ascontiguousarray(one)).float()[:, None] / 255 for one in (first, second))
        total = torch.ones(len(x), dtype=torch.float64)
        for scale, weight in enumerate(WEIGHTS):
            last = scale == len(WEIGHTS) - 1
            total *= _similar(x, y, luminance=last).double().clamp(min=1e-6) ** weight
            x, y = (functional.avg_pool2d(one, 2) for one in (x, y))
        found: Floats = total.numpy()
    return found


def _similar(x: Any, y: Any, *, luminance: bool) -> Any:
    """Mean contrast and structure of each pair; times luminance where asked."""
    from torch.nn import functional

    window = min(7, x.shape[-1])
    mx, my, xx, yy, xy = (functional.avg_pool2d(one, window, 1) for one in (x, y, x * x, y * y, x * y))
    structure = (2 * (xy - mx * my) + 0.03**2) / (xx - mx * mx + yy - my * my + 0.03**2)
    if luminance:
        structure = structure * (2 * mx * my + 0.01**2) / (mx * mx + my * my + 0.01**2)
    return structure.mean(dim=(1, 2, 3))
