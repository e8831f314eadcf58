"""Embeddings: sums that merge exactly, and two-sample tests against the same tests on the rows themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel

from core.errors import AuscultError
from evaluation.engine.drift.discriminant import mmd2, vector_shift
from evaluation.engine.drift.records import Family, Shape, StreamShift, StreamSpec
from evaluation.engine.drift.sample import hashes_of
from evaluation.engine.drift.vectors import STEP, VectorFrame, VectorSketch, folds_of

Array = np.ndarray[Any, Any]
SPEC = StreamSpec(name="image:embedding", family=Family.IMAGE, shape=Shape.VECTOR, title="Image", modality="image")


def embeddings(rng: np.random.Generator, n: int, d: int = 24, factors: int = 4) -> Array:
    """A few strong factors, the same ones every time, and noise."""
    loadings = np.random.default_rng(99).normal(size=(factors, d))
    return (rng.normal(size=(n, factors)) @ loadings + 0.7 * rng.normal(size=(n, d))).astype(np.float32)


def sketch(frame: VectorFrame, rows: Array, folds: Array | None = None) -> VectorSketch:
    return VectorSketch.of(frame, rows, np.arange(len(rows)) % 4 if folds is None else folds)


def shift(window: Any, reference: Any) -> StreamShift:
    return vector_shift(SPEC, window, reference, margin=0.1, seed=1)


def test_a_sketch_has_the_same_bytes_in_any_order_and_shares() -> None:
    rng = np.random.default_rng(1)
    rows, folds = embeddings(rng, 300), rng.integers(0, 4, 300)
    frame = VectorFrame.fit(rows, seed=3)
    rows[7, 2], rows[8] = np.nan, np.inf
    whole = sketch(frame, rows, folds)
    order = rng.permutation(300)
    parts = [sketch(frame, rows[part], folds[part]) for part in np.array_split(order, 5)]
    merged = parts[3].merge(parts[0]).merge(parts[4].merge(parts[2])).merge(parts[1])
    assert merged.to_bytes() == whole.to_bytes() == VectorSketch.from_bytes(whole.to_bytes()).to_bytes()
    assert (whole.n, whole.missing) == (298, 2) and len(whole.to_bytes()) < 8000
    again = VectorFrame.from_bytes(frame.to_bytes())
    assert again.digest == frame.digest and sketch(again, rows, folds).to_bytes() == whole.to_bytes()
    # Each row is reduced by itself: its coordinates do not depend on its neighbours, to the last bit.
    alone = np.concatenate([frame.project(rows[row : row + 1]) for row in range(40)])
    assert np.array_equal(alone, frame.project(rows)[:40], equal_nan=True)
    for damaged in (whole.to_bytes()[:-1], frame.to_bytes(), b""):
        with pytest.raises(AuscultError, match="not a sketch"):
            VectorSketch.from_bytes(damaged)
    with pytest.raises(AuscultError, match="not a"):
        VectorFrame.from_bytes(whole.to_bytes())
    with pytest.raises(AuscultError, match="different frames"):
        whole.merge(sketch(VectorFrame.fit(rows[20:], seed=4), rows))
    with pytest.raises(AuscultError, match="24 coordinates"):
        sketch(frame, rows[:, :5])
    with pytest.raises(ValueError, match="fold"):
        sketch(frame, rows, folds + 1)


def test_moments_radii_and_kernel_means_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(2)
    rows, folds = embeddings(rng, 500), rng.integers(0, 4, 500)
    frame = VectorFrame.fit(rows, seed=5)
    found, coordinates = sketch(frame, rows, folds), frame.project(rows)
    standard = (rows.astype(float) - rows.astype(float).mean(axis=0)) / rows.astype(float).std(axis=0, ddof=1)
    assert found.mean() == pytest.approx(coordinates.mean(axis=0), abs=STEP)
    assert found.covariance() == pytest.approx(np.cov(coordinates.T, ddof=0), abs=5e-3)
    # Along each direction the reference has mean 0 and variance 1.
    assert np.abs(coordinates.mean(axis=0)).max() < 1e-3
    assert coordinates.var(axis=0, ddof=1) == pytest.approx(np.ones(frame.k), abs=1e-3)
    assert found.sums[2] * STEP == pytest.approx(coordinates[folds == 2].sum(axis=0), abs=0.5)
    assert found.radii.quantile(0.5) == pytest.approx(np.median(np.sqrt((standard**2).mean(axis=1))), abs=0.01)
    # The real parts of products of kernel means are mean kernels.
    gamma = 1 / (2 * frame.features.bandwidth**2)
    other = embeddings(rng, 400) + np.float32(0.4)
    moved = (other - rows.astype(float).mean(axis=0)) / rows.astype(float).std(axis=0, ddof=1)
    inside = [
        (rbf_kernel(part, gamma=gamma).sum() - len(part)) / len(part) / (len(part) - 1) for part in (standard, moved)
    ]
    exact = sum(inside) - 2 * rbf_kernel(standard, moved, gamma=gamma).mean()
    assert mmd2([(sketch(frame, other), found)]) == pytest.approx(exact, rel=0.2)
    assert mmd2([(sketch(frame, other[:1]), found)]) is None


def test_a_reference_without_embeddings_to_learn_from_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="3 studies of the reference have an embedding; 20 are needed"):
        VectorFrame.fit(np.r_[np.ones((3, 4)), np.full((40, 4), np.nan)], seed=1)
    with pytest.raises(ValueError, match="equal"):
        VectorFrame.fit(np.ones((50, 4)), seed=1)
    frame = VectorFrame.fit(np.random.default_rng(1).normal(size=(60, 1)), seed=1)
    assert frame.k == 1 and math.isclose(frame.spread[0], 1.0, rel_tol=1e-9)


def test_directions_hold_outside_of_the_studies_that_found_them() -> None:
    """In as many coordinates as studies, plain principal directions vary by half less in the next studies."""
    inside, plain = [], []
    for run in range(4):
        rng = np.random.default_rng(run)
        rows, later = (embeddings(rng, size, 96, factors=2) for size in (200, 800))
        frame = VectorFrame.fit(rows, seed=run)
        assert frame.k == 16
        inside.append(frame.project(later).var(axis=0).mean())
        centred = rows - rows.mean(axis=0)
        right = np.linalg.svd(centred, full_matrices=False)[2][2:16]
        plain.append(((later @ right.T).var(axis=0) / (centred @ right.T).var(axis=0)).mean())
    assert np.mean(plain) < 0.75
    assert 0.94 < np.mean(inside) < 1.06


def test_the_held_out_area_is_that_of_a_discriminant_on_the_rows() -> None:
    rng = np.random.default_rng(4)
    rows, window = embeddings(rng, 4000), embeddings(rng, 1500)
    window[:, :6] += 0.5
    folds = [rng.integers(0, 4, len(part)) for part in (rows, window)]
    frame = VectorFrame.fit(rows, seed=6)
    found = shift(sketch(frame, window, folds[1]), sketch(frame, rows, folds[0]))
    values, place = np.concatenate([frame.project(part) for part in (rows, window)]), np.concatenate(folds)
    truth, areas = np.repeat([0, 1], [4000, 1500]), []
    for fold in range(4):
        model = LinearDiscriminantAnalysis().fit(values[place != fold], truth[place != fold])
        areas.append(roc_auc_score(truth[place == fold], model.decision_function(values[place == fold])))
    assert found.detail["auc_by_fold"] == pytest.approx(areas, abs=0.02)
    assert found.value is not None and found.low is not None and found.high is not None and found.p_value is not None
    assert found.value == pytest.approx(np.mean(areas) - 0.5, abs=0.012)
    assert found.low < found.value < found.high and found.p_value < 1e-12
    assert (found.effect, found.n, found.n_reference, found.margin) == ("auc_excess", 1500, 4000, 0.1)


def test_nothing_moved_is_told_as_nothing_whatever_the_number_of_studies() -> None:
    rng = np.random.default_rng(5)
    rows = embeddings(rng, 1000, d=8)
    frame = VectorFrame.fit(rows, seed=1)
    reference = [sketch(frame, embeddings(rng, 800, d=8)) for _ in range(5)]
    found = [shift(sketch(frame, embeddings(rng, 120, d=8)), reference[run % 5]) for run in range(150)]
    values = np.array([item.value for item in found])
    areas = np.array([item.detail["auc"] for item in found])
    assert abs(areas.mean() - 0.5) < 0.01 and values.mean() < 0.04
    for name in ("mean_p", "radius_p"):
        assert np.mean([item.detail[name] <= 0.05 for item in found]) < 0.1
    rejected = np.mean([item.p_value is not None and item.p_value <= 0.05 for item in found])
    assert rejected < 0.1
    assert np.mean([item.low is not None and item.low <= 0.01 for item in found]) > 0.93


def test_a_change_of_spread_alone_is_seen_by_the_radius() -> None:
    rng = np.random.default_rng(6)
    rows = embeddings(rng, 1500)
    frame = VectorFrame.fit(rows, seed=1)
    window = embeddings(rng, 400)
    found = shift(sketch(frame, window * np.float32(1.2)), sketch(frame, rows))
    standard = [
        np.sqrt((((part - rows.mean(axis=0)) / rows.std(axis=0)) ** 2).mean(axis=1)) for part in (rows, window * 1.2)
    ]
    exact = roc_auc_score(np.repeat([0, 1], [1500, 400]), np.concatenate(standard))
    assert found.detail["classifier"] == "radius" and found.detail["auc_radius"] == pytest.approx(exact, abs=0.005)
    assert found.low is not None and found.low > 0.05 and abs(found.detail["auc"] - 0.5) < 0.05
    # Narrower is as far as wider.
    narrow = shift(sketch(frame, window * np.float32(0.8)), sketch(frame, rows))
    assert narrow.detail["auc_radius"] < 0.4 and narrow.value is not None and narrow.value > 0.1


def test_another_mix_of_scanners_is_no_shift_within_scanners() -> None:
    """Each scanner has pictures of its own; a window with more of one is told apart only when they are not compared."""
    rng = np.random.default_rng(7)
    draw = [lambda n: embeddings(rng, n), lambda n: embeddings(rng, n) + np.float32(0.8)]
    frame = VectorFrame.fit(np.concatenate([draw[0](900), draw[1](300)]), seed=2)
    reference = [sketch(frame, draw[0](900)), sketch(frame, draw[1](300))]
    window = [sketch(frame, draw[0](60)), sketch(frame, draw[1](240))]
    together = shift(window[0].merge(window[1]), reference[0].merge(reference[1]))
    apart = shift(window, reference)
    assert together.value is not None and together.value > 0.1
    assert apart.value is not None and apart.value < 0.08 and apart.low is not None and apart.low <= 0
    # A shift within one scanner is seen through the mix.
    moved = shift([window[0], sketch(frame, draw[1](240) + np.float32(0.6))], reference)
    assert moved.low is not None and moved.low > 0.03
    # A scanner that the reference lacks is left out and counted.
    new = shift([*window, sketch(frame, draw[1](50))], [*reference, VectorSketch.empty(frame)])
    assert new.detail["uncompared"] == 50 and new.value == pytest.approx(apart.value)
    few = shift(sketch(frame, draw[0](6)), reference[0])
    assert few.value is None and "four folds" in few.reason
    assert shift(VectorSketch.empty(frame), reference[0]).n == 0


def test_all_studies_of_a_patient_lie_in_one_fold() -> None:
    names = np.array([f"p{row % 500}" for row in range(2000)], dtype=object)
    folds = folds_of(hashes_of(names, seed=4))
    assert all(len(set(folds[names == name])) == 1 for name in set(names))
    assert np.bincount(folds, minlength=4).min() > 400
