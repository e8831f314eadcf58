"""The embedding sketch against numpy and the exact kernel, and its algebra."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from core.errors import AuscultError
from evaluation.engine.sketches.embeddings import (
    ANGLES,
    EmbeddingSketch,
    RandomFeatures,
    _cosines,
    _frequencies,
    median_bandwidth,
    mmd2,
)

Array = np.ndarray  # type: ignore[type-arg]
SMALL = RandomFeatures(dimension=3, n_features=5, bandwidth=1.5, seed=4)
coordinates = st.one_of(st.floats(-40, 40), st.sampled_from([0.0, math.nan, math.inf, -1e300]))
batches = st.lists(st.tuples(coordinates, coordinates, coordinates), max_size=6).map(
    lambda rows: np.array(rows, dtype=np.float64).reshape(-1, 3)
)


def sketch(features: RandomFeatures, rows: Array) -> EmbeddingSketch:
    return EmbeddingSketch.empty(features).update(rows)


def exact_mmd2(one: Array, two: Array, bandwidth: float) -> float:
    """The U-statistic with the Gaussian kernel itself."""
    gamma = 1 / (2 * bandwidth**2)
    within = [(rbf_kernel(part, gamma=gamma).sum() - len(part)) / (len(part) * (len(part) - 1)) for part in (one, two)]
    return float(sum(within) - 2 * rbf_kernel(one, two, gamma=gamma).mean())


def test_mean_and_covariance_equal_numpys_up_to_rounding() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(3000, 20)) @ rng.normal(size=(20, 20)) / 4 + rng.normal(size=20) * 3
    made = sketch(RandomFeatures(dimension=20, n_features=8, bandwidth=2.0, seed=1), rows)
    assert made.mean() == pytest.approx(rows.mean(axis=0), abs=2**-13)
    assert made.covariance() == pytest.approx(np.cov(rows, rowvar=False), abs=2e-4)
    rounded = np.rint(rows * 4096) / 4096
    assert made.mean() == pytest.approx(rounded.mean(axis=0), abs=1e-12)
    assert made.covariance() == pytest.approx(np.cov(rounded, rowvar=False), abs=1e-10)
    assert (made.n, made.invalid, made.clipped) == (3000, 0, 0)


def test_random_features_give_the_gaussian_kernel() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(40, 6))
    features = RandomFeatures(dimension=6, n_features=4096, bandwidth=2.5, seed=1)
    single = np.stack([sketch(features, row[None]).kernel_mean() for row in rows])
    approximate = (single @ single.conj().T).real / features.n_features
    assert np.abs(approximate - rbf_kernel(rows, gamma=1 / (2 * 2.5**2))).max() < 4.5 / math.sqrt(2 * 4096)
    assert np.diag(approximate) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_the_discrepancy_equals_that_of_the_exact_kernel_within_the_features_error(shift: float) -> None:
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=(400, 16)), rng.normal(size=(300, 16)) * 1.1 + shift
    features = RandomFeatures.for_reference(one, n_features=2048, seed=5)
    found = mmd2(sketch(features, one), sketch(features, two))
    expected = exact_mmd2(one, two, features.bandwidth)
    assert found == pytest.approx(expected, abs=0.1 * abs(expected) + 0.001)
    assert (found or 0) > 0.01 or shift < 1


def test_the_discrepancy_of_equal_distributions_is_0_on_average_and_of_unequal_ones_is_not() -> None:
    rng = np.random.default_rng(6)
    features = RandomFeatures(dimension=4, n_features=128, bandwidth=2.5, seed=1)
    same, moved = [], []
    for _ in range(200):
        one, two, three = rng.normal(size=(3, 50, 4)) + np.array([0, 0, 1])[:, None, None]
        parts = [sketch(features, rows) for rows in (one, two, three)]
        same.append(mmd2(parts[0], parts[1]) or 0.0)
        moved.append(mmd2(parts[0], parts[2]) or 0.0)
    assert abs(np.mean(same)) < 4 * np.std(same) / math.sqrt(200)
    assert min(moved) > max(same)


@settings(max_examples=60, deadline=None)
@given(batches, batches, batches)
def test_merging_is_associative_commutative_and_equal_to_one_pass(one: Array, two: Array, three: Array) -> None:
    a, b, c = (sketch(SMALL, rows) for rows in (one, two, three))
    rows = np.concatenate([one, two, three])
    whole = sketch(SMALL, rows).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == whole
    assert c.merge(a.merge(b)).to_bytes() == whole
    assert sketch(SMALL, rows[::-1]).to_bytes() == whole
    assert EmbeddingSketch.from_bytes(whole).to_bytes() == whole
    finite = np.isfinite(rows).all(axis=1)
    assert c.merge(b).merge(a).n == finite.sum()
    assert EmbeddingSketch.from_bytes(whole).clipped == (np.abs(rows[finite]) > 32).sum()


def test_batches_and_order_leave_the_bytes_unchanged_though_floating_sums_differ() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(5000, 64)).astype(np.float32)
    features = RandomFeatures.for_reference(rows, n_features=96, seed=2)
    whole = sketch(features, rows).to_bytes()
    mixed = rows[rng.permutation(len(rows))]
    parts = [EmbeddingSketch.empty(features)]
    for batch in np.array_split(mixed, [1, 2, 700, 701, 3333]):
        parts.append(parts[-1].update(batch))
    assert parts[-1].to_bytes() == whole
    assert rows.sum(axis=0).tobytes() != mixed.sum(axis=0).tobytes()


def test_phases_and_products_are_exact_integers() -> None:
    """The largest values and frequencies there can be, in Python's own integers."""
    features = RandomFeatures(dimension=300, n_features=4, bandwidth=2**-12, seed=1)
    frequencies, bits = _frequencies(features)
    assert bits >= 16
    assert int(np.abs(frequencies).sum(axis=1).max()) << 17 < 1 << 53
    rng = np.random.default_rng(8)
    rows = np.where(rng.random((50, 300)) < 0.5, 32.0, -32.0) - rng.integers(0, 9, (50, 300)) / 4096
    made, whole = sketch(features, rows), [[int(value * 4096) for value in row] for row in np.clip(rows, -32, 32)]
    assert made.sums.tolist() == [sum(column) for column in zip(*whole, strict=True)]
    assert int(made.products[3, 5]) == sum(row[3] * row[5] for row in whole)
    table = [int(value) for value in _cosines()]
    half = 1 << (bits - 17)
    for j in range(4):
        weights = [int(value) for value in frequencies[j]]
        turns = [sum(w * x for w, x in zip(weights, row, strict=True)) for row in whole]
        angles = [((turn + half) >> (bits - 16)) % ANGLES for turn in turns]
        assert int(made.cosines[j]) == sum(table[angle] for angle in angles)


def test_the_table_of_cosines_is_right_to_its_last_unit() -> None:
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    assert np.abs(_cosines() - np.cos(angles) * 2**30).max() < 0.51
    assert _cosines()[[0, ANGLES // 4, ANGLES // 2, 3 * ANGLES // 4]].tolist() == [1 << 30, 0, -(1 << 30), 0]


def test_the_bandwidth_is_the_median_distance_and_fixed_on_the_reference() -> None:
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(300, 8))
    assert median_bandwidth(rows, seed=1) == pytest.approx(np.median(pdist(rows)))
    many = rng.normal(size=(5000, 8))
    assert median_bandwidth(many, seed=1) == median_bandwidth(many, seed=1)
    assert median_bandwidth(many, seed=1) == pytest.approx(np.median(pdist(many[:2000])), rel=0.02)
    for bad in (np.zeros((5, 2)), rows[:1], np.full((3, 2), math.nan)):
        with pytest.raises(ValueError, match=r"bandwidth"):
            median_bandwidth(bad, seed=1)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_features_of_a_reference_fit_its_scale(scale: float) -> None:
    """Embeddings in other units give the same discrepancy; nothing is clipped."""
    rng = np.random.default_rng(10)
    one, two = rng.normal(size=(200, 5)), rng.normal(size=(200, 5)) + 0.5
    features = RandomFeatures.for_reference(one * scale, n_features=512, seed=1)
    parts = [sketch(features, rows * scale) for rows in (one, two)]
    assert [part.clipped for part in parts] == [0, 0]
    unit = RandomFeatures.for_reference(one, n_features=512, seed=1)
    assert mmd2(*parts) == pytest.approx(mmd2(sketch(unit, one), sketch(unit, two)), rel=0.01)


def test_too_few_embeddings_have_no_moments() -> None:
    empty, one = EmbeddingSketch.empty(SMALL), sketch(SMALL, np.ones((1, 3)))
    assert (empty.mean(), empty.kernel_mean(), one.covariance(), mmd2(one, one)) == (None, None, None, None)
    assert one.mean() == pytest.approx([1, 1, 1])


def test_other_dimensions_features_and_impossible_settings_are_refused() -> None:
    made = sketch(SMALL, np.ones((2, 3)))
    with pytest.raises(AuscultError, match=r"\[2, 4\], but 3 coordinates"):
        made.update(np.ones((2, 4)))
    other = sketch(replace(SMALL, seed=5), np.ones((2, 3)))
    assert other.features.digest != SMALL.digest
    for combine in (made.merge, lambda sketch: mmd2(made, sketch)):
        with pytest.raises(AuscultError, match="different random features"):
            combine(other)
    with pytest.raises(AuscultError, match="268 million"):
        replace(made, n=1 << 28).merge(made)
    for change in ({"dimension": 0}, {"bandwidth": 0.0}, {"bandwidth": math.nan}, {"step_bits": 50}):
        with pytest.raises(ValueError, match=r"features need|bandwidth"):
            replace(SMALL, **change)


def test_damaged_or_foreign_bytes_are_refused() -> None:
    made = sketch(SMALL, np.random.default_rng(1).normal(size=(4, 3)))
    data = made.to_bytes()
    assert SMALL.digest.encode() in data
    bad = [
        b"", b"nonsense", data[:-1], data + b"x", data[:60], data.replace(b"embeddings-1", b"embeddings-2"),
        data.replace(b'"n":4', b'"n":0'), data.replace(b'"seed":4', b'"seed":5'), data.replace(b'"n":4', b'"m":4'),
        data.replace(b'"dimension":3', b'"dimension":4'), data.replace(b'"dimension":3', b'"dimension":0'),
        data.replace(b'"bandwidth":1.5', b'"bandwidth":"1"'), data[:-8] + b"\xff" * 7 + b"\x7f",
        data.replace(SMALL.digest[:8].encode(), b"00000000"), data.replace(b'"clipped":0', b'"clipped":9e9'),
    ]  # fmt: skip
    for damaged in bad:
        assert damaged != data
        with pytest.raises(AuscultError):
            EmbeddingSketch.from_bytes(damaged)
