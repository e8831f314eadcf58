"""The area under the curve against scikit-learn, the sums over pairs, resampled patients and a published example."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score

from evaluation.engine.statistics.auroc import Auroc, compare_auroc, delong, logit_interval
from evaluation.engine.statistics.intervals import z_of

Array = np.ndarray  # type: ignore[type-arg]
studies = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.7, 1e9]), st.integers(0, 1)), min_size=1, max_size=30)


def by_pairs(one: Array, two: Array, labels: Array, clusters: Array) -> tuple[float, float]:
    """The area of ``one`` and Obuchowski's covariance of both areas, summed over all pairs and then over patients."""

    def kernel(scores: Array) -> Array:
        gap = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        return np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))

    first, second = kernel(one), kernel(two)
    n, m = first.shape
    owners, others = clusters[labels == 1], clusters[labels == 0]

    def part(pairs: Array, patient: int) -> tuple[float, float]:
        x = sum(pairs[i].mean() - pairs.mean() for i in range(n) if owners[i] == patient)
        y = sum(pairs[:, j].mean() - pairs.mean() for j in range(m) if others[j] == patient)
        return x, y

    everyone = set(owners) | set(others)
    s10 = s01 = s11 = 0.0
    for patient in everyone:
        (x1, y1), (x2, y2) = part(first, patient), part(second, patient)
        s10 += x1 * x2
        s01 += y1 * y2
        s11 += (x1 * y2 + x2 * y1) / 2
    i10, i01, i = len(set(owners)), len(set(others)), len(everyone)
    total = s10 * i10 / (i10 - 1) / n / n + s01 * i01 / (i01 - 1) / m / m + 2 * s11 * i / (i - 1) / n / m
    return float(first.mean()), total


def sample(rng: np.random.Generator, patients: int, most: int = 4) -> tuple[Array, Array, Array, Array]:
    """Two scores, labels and owners; a patient's studies are alike in score and in label."""
    owner = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    label = (rng.random(len(owner)) < rng.beta(1, 1, patients)[owner]).astype(int)
    own = rng.normal(size=patients)[owner]
    first = own + label + rng.normal(size=len(owner))
    return first, 0.5 * first + rng.normal(size=len(owner)), label, owner


@settings(max_examples=80, deadline=None)
@given(studies)
def test_the_area_equals_scikit_learn(rows: list[tuple[float, int]]) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    found = delong(scores, labels)
    if labels.min() == labels.max():
        assert found.value is None
        assert found.reason
    else:
        assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert found.placements[labels == 0].mean() == pytest.approx(found.value, abs=1e-12)


def test_the_variance_equals_the_textbook_sum_over_pairs() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 12, 80).astype(float), rng.integers(0, 2, 80)
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    kernel = (gap > 0) + 0.5 * (gap == 0)
    expected = kernel.mean(axis=1).var(ddof=1) / len(kernel) + kernel.mean(axis=0).var(ddof=1) / kernel.shape[1]
    found = delong(scores, labels)
    assert found.variance == pytest.approx(expected, rel=1e-12)
    assert (found.positives, found.negatives) == kernel.shape


def test_hanley_and_mcneils_ratings_give_the_published_area_and_error() -> None:
    """109 computed tomographies rated 1 to 5: area .893; DeLong's error .0307, as statistical packages print it."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    scores = np.concatenate([np.repeat(np.arange(5), row) for row in (normal, abnormal)])
    found = delong(scores, np.repeat([0, 1], [58, 51]))
    assert found.value == pytest.approx(0.8932, abs=5e-5)
    assert math.sqrt(found.variance or 0.0) == pytest.approx(0.0307, abs=5e-5)


@pytest.mark.parametrize("seed", [2, 3])
def test_the_clustered_variance_equals_the_sum_over_patients(seed: int) -> None:
    first, second, labels, owners = sample(np.random.default_rng(seed), 25)
    first = np.round(first, 1)
    found = delong(first, labels, clusters=owners + 7)
    assert (found.value, found.variance) == pytest.approx(by_pairs(first, first, labels, owners), rel=1e-10)
    both = compare_auroc(first, second, labels, clusters=owners)
    ones, twos = both.areas
    shared = by_pairs(first, second, labels, owners)[1]
    assert both.variance == pytest.approx((ones.variance or 0) + (twos.variance or 0) - 2 * shared, rel=1e-10)


def test_patients_of_one_study_give_delong_and_copies_leave_the_variance_as_it_was() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 200)
    scores = rng.normal(size=200) + labels
    single = delong(scores, labels)
    assert delong(scores, labels, clusters=rng.permutation(200)).variance == pytest.approx(single.variance)
    copied = delong(np.tile(scores, 3), np.tile(labels, 3), clusters=np.tile(np.arange(200), 3))
    assert copied.value == pytest.approx(single.value)
    assert copied.variance == pytest.approx(single.variance)
    assert (delong(np.tile(scores, 3), np.tile(labels, 3)).variance or 1) < 0.4 * (single.variance or 0)


def test_the_clustered_variance_agrees_with_resampling_patients() -> None:
    rng = np.random.default_rng(6)
    first, second, labels, owners = sample(rng, 250)
    rows_of = np.split(np.arange(len(owners)), np.flatnonzero(np.diff(owners)) + 1)
    drawn = []
    for _ in range(500):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, 250, 250)])
        areas = [delong(score[rows], labels[rows]).value or 0.0 for score in (first, second)]
        drawn.append((areas[0], areas[0] - areas[1]))
    one, both = delong(first, labels, clusters=owners), compare_auroc(first, second, labels, clusters=owners)
    expected = np.std(drawn, axis=0)
    assert math.sqrt(one.variance or 0) == pytest.approx(expected[0], rel=0.1)
    assert math.sqrt(both.variance or 0) == pytest.approx(expected[1], rel=0.1)
    assert (delong(first, labels).variance or 0) < 0.8 * (one.variance or 0)


def test_intervals_cover_the_truth_when_patients_have_several_studies() -> None:
    """Scores differ by 1.2 standard deviations, of which half the variance is the patient's: area .802."""
    rng, truth, rounds, cover = np.random.default_rng(9), float(norm.cdf(1.2 / math.sqrt(2))), 200, 0
    for _ in range(rounds):
        owner = np.repeat(np.arange(90), 3)
        label = np.repeat(rng.random(90) < 0.5, 3).astype(int)
        score = 1.2 * label + math.sqrt(0.5) * (rng.normal(size=90)[owner] + rng.normal(size=270))
        low, high = delong(score, label, clusters=owner).interval(0.05) or (0.0, 0.0)
        cover += low <= truth <= high
    assert binom.ppf(0.005, rounds, 0.94) <= cover


def test_comparing_a_score_with_itself_and_with_a_monotone_copy_gives_no_difference() -> None:
    first, second, labels, owners = sample(np.random.default_rng(5), 40)
    same = compare_auroc(first, np.exp(first), labels, clusters=owners)
    assert (same.value, same.variance, same.p_value) == (0.0, 0.0, 1.0)
    there, back = (compare_auroc(*pair, labels, clusters=owners) for pair in ((first, second), (second, first)))
    assert there.value == pytest.approx(-(back.value or 0))
    assert there.p_value == pytest.approx(back.p_value)
    low, high = there.interval(0.05) or (0.0, 0.0)
    assert (low > 0 or high < 0) == ((there.p_value or 1) < 0.05)


def test_the_logit_interval_stays_inside_and_is_undefined_at_the_ends() -> None:
    low, high = logit_interval(0.98, 0.0004, z_of(0.05)) or (0.0, 0.0)
    assert 0 < low < 0.98 < high < 1
    centre = math.log(0.98 / 0.02)
    assert math.log(low / (1 - low)) == pytest.approx(centre - 1.959964 * 0.02 / (0.98 * 0.02), abs=1e-5)
    assert logit_interval(1.0, 0.0, 1.96) is None
    perfect = delong([1, 2, 3, 4], [0, 0, 1, 1])
    assert (perfect.value, perfect.variance, perfect.interval(0.05)) == (1.0, 0.0, None)


def test_one_patient_on_a_side_has_an_area_and_no_variance() -> None:
    found = delong([1, 2, 3], [0, 0, 1])
    assert (found.value, found.variance, found.interval(0.05)) == (1.0, None, None)
    assert "two patients" in found.reason
    shared = delong([1, 2, 3, 4], [0, 0, 1, 1], clusters=[1, 2, 3, 3])
    assert shared.variance is None
    both = compare_auroc([1, 2, 3], [3, 2, 1], [0, 0, 1])
    assert (both.value, both.variance, both.p_value) == (1.0, None, None)
    assert compare_auroc([1, 2], [2, 1], [1, 1]).reason.startswith("undefined: no studies without")
    assert isinstance(delong([], []), Auroc)


@pytest.mark.parametrize(
    ("scores", "labels"), [([0.1, float("nan")], [0, 1]), ([0.1, 0.2], [0, -1]), ([0.1, 0.2], [0, 1, 1])]
)
def test_missing_values_are_refused(scores: list[float], labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"leave studies|one length"):
        delong(scores, labels)
