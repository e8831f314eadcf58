"""Intervals, resampling and corrections against statsmodels, published examples and brute force."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy.stats import binom, chi2
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from evaluation.engine.sketches.counts import Cells, CountsSketch
from evaluation.engine.statistics import bootstrap
from evaluation.engine.statistics.bootstrap import max_pair_t, resample_totals
from evaluation.engine.statistics.clusters import PatientSums, Rate
from evaluation.engine.statistics.heterogeneity import heterogeneity
from evaluation.engine.statistics.intervals import difference, logit_interval, p_of, ratio, wilson, z_at_bound, z_of
from evaluation.engine.statistics.multiplicity import benjamini_hochberg, holm
from evaluation.engine.statistics.seeds import generator
from evaluation.engine.suites.fairness.groups import LabelGroups
from tests.engine.builders import clustered, protocol, table


@pytest.mark.parametrize(("events", "n"), [(0, 10), (1, 10), (7, 30), (30, 30), (411, 900)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_wilson_equals_statsmodels(events: int, n: int, alpha: float) -> None:
    expected = proportion_confint(events, n, alpha=alpha, method="wilson")
    assert wilson(events / n, n, z_of(alpha)) == pytest.approx(expected, abs=1e-12)


def test_the_difference_of_two_proportions_equals_newcombes_published_example() -> None:
    limits = (wilson(56 / 70, 70, z_of(0.05)), wilson(48 / 80, 80, z_of(0.05)))
    assert difference(56 / 70, 48 / 80, limits) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_difference_of_extremes_stays_inside_the_possible() -> None:
    limits = (wilson(1.0, 12, 1.96), wilson(0.0, 12, 1.96))
    low, high = difference(1.0, 0.0, limits)
    assert 0 < low < high == 1.0


def test_the_test_inverts_the_interval_and_its_p_value_is_never_0() -> None:
    def interval(z: float) -> tuple[float, float]:
        return wilson(0.8, 100, z)

    z = z_at_bound(interval, 0.7, 0.8)
    assert interval(z)[0] == pytest.approx(0.7, abs=1e-9)
    assert z_at_bound(interval, 0.8, 0.8) == 0
    assert 0 < p_of(z_at_bound(lambda z: wilson(0.99, 1e9, z), 0.01, 0.99)) < 1e-100


@pytest.mark.parametrize("size", [1, 2, 17])
def test_holm_and_benjamini_hochberg_equal_statsmodels(size: int) -> None:
    raw = list(np.random.default_rng(size).random(size) ** 3)
    assert holm(raw) == pytest.approx(multipletests(raw, method="holm")[1])
    assert benjamini_hochberg(raw) == pytest.approx(multipletests(raw, method="fdr_bh")[1])
    assert holm([]) == benjamini_hochberg([]) == []


@pytest.mark.parametrize(
    "pair", [(56, 70, 48, 80), (12, 60, 30, 60), (3, 40, 9, 50), (0, 50, 20, 60), (300, 400, 310, 400)]
)
def test_the_ratio_of_two_proportions_is_near_statsmodels_score_interval(pair: tuple[int, int, int, int]) -> None:
    one, n, two, m = pair
    expected = confint_proportions_2indep(one, n, two, m, compare="ratio", method="score", correction=False)
    limits = (wilson(one / n, n, z_of(0.05)), wilson(two / m, m, z_of(0.05)))
    low, high = ratio(one / n, two / m, limits)
    assert low <= one / n / (two / m) <= high
    assert (low, high) == pytest.approx(expected, rel=0.06, abs=1e-9)


def test_the_interval_of_a_ratio_covers_and_one_that_divides_by_nothing_has_no_end() -> None:
    rng = np.random.default_rng(12)
    cover = 0
    for one, two in zip(rng.binomial(80, 0.24, 1500), rng.binomial(60, 0.4, 1500), strict=True):
        limits = (wilson(one / 80, 80, z_of(0.05)), wilson(two / 60, 60, z_of(0.05)))
        low, high = ratio(one / 80, two / 60, limits)
        cover += low <= 0.6 <= high
    assert cover / 1500 == pytest.approx(0.95, abs=0.02)
    assert ratio(0.1, 0.02, (wilson(0.1, 50, 1.96), (0.0, 0.1)))[1] == np.inf
    assert ratio(0.3, 0.3, ((0.2, 0.4), (0.2, 0.4)), 1.0) == pytest.approx((1.0, 1.0))


def test_an_interval_in_the_log_odds_is_symmetric_there() -> None:
    low, high = logit_interval(0.9, 0.001, 2.0)
    odds = [np.log(p / (1 - p)) for p in (low, 0.9, high)]
    assert odds[2] - odds[1] == pytest.approx(odds[1] - odds[0])
    assert odds[2] - odds[1] == pytest.approx(2 * np.sqrt(0.001) / 0.09)
    assert logit_interval(0.5, 1e300, 1e10) == (0.0, 1.0)


def single_group(events: np.ndarray, studies: np.ndarray) -> Rate:  # type: ignore[type-arg]
    """The rate of patients with so many true positives among so many positives."""
    vectors = np.zeros((len(events), 4), dtype=np.int64)
    vectors[:, 0], vectors[:, 2] = events, studies - events
    return PatientSums.of(vectors, np.ones(len(events), dtype=np.int64), 1).rates([0], [0, 2])[0]


def test_the_design_effect_of_independent_studies_is_about_1_and_of_copies_their_number() -> None:
    rng = np.random.default_rng(5)
    single = single_group(rng.integers(0, 2, 4000), np.ones(4000, dtype=np.int64))
    copies = single_group(3 * (rng.random(2000) < 0.3).astype(np.int64), np.full(2000, 3))
    assert single.effective == pytest.approx(4000, rel=0.01)
    assert copies.effective == pytest.approx(2000, rel=0.01)
    certain = single_group(np.full(20, 4), np.full(20, 4))
    assert (certain.value, certain.effective) == (1.0, 20.0)


def test_sums_over_patients_give_what_a_loop_over_patients_gives() -> None:
    """Three groups that patients span; sensitivity and its covariance between groups."""
    rng = np.random.default_rng(21)
    vectors = np.unique(rng.poisson(0.6, (300, 12)), axis=0).astype(np.int64)
    counts = rng.integers(1, 5, len(vectors))
    sums = PatientSums.of(vectors, counts, 3)
    people = np.repeat(vectors, counts, axis=0).reshape(-1, 3, 4)
    hits, studies = people[..., 0], people[..., 0] + people[..., 2]
    influence = (hits - hits.sum(axis=0) / studies.sum(axis=0) * studies) / studies.sum(axis=0)
    assert sums.covariance([0], [0, 2], [0, 1, 2]) == pytest.approx(influence.T @ influence, abs=1e-15)
    for group, rate in enumerate(sums.rates([0], [0, 2])):
        m = int((studies[:, group] > 0).sum())
        assert (rate.n, rate.patients) == (studies[:, group].sum(), m)
        assert rate.with_event == (hits[:, group] > 0).sum()
        assert rate.without_event == (people[:, group, 2] > 0).sum()
        assert rate.clustered == (studies[:, group] > 1).any()
        assert rate.variance == pytest.approx((influence[:, group] ** 2).sum() * m / (m - 1))
    empty = PatientSums.of(np.zeros((0, 8), dtype=np.int64), np.zeros(0, dtype=np.int64), 2)
    assert [rate.value for rate in empty.rates([0], [0, 2])] == [None, None]


@pytest.mark.parametrize("spread", [False, True], ids=["each group by itself", "patients in several groups"])
def test_draws_have_the_mean_and_covariance_of_a_multinomial(spread: bool) -> None:
    """Vectors of one patient, of two, of few and of many: ``cov = V' (diag(c) - cc'/N) V`` within each stratum."""
    rng = np.random.default_rng(9)
    vectors = np.zeros((240, 8), dtype=np.int64)
    vectors[:120, :4], vectors[120:, 4:] = rng.poisson(1.5, (120, 4)), rng.poisson(1.5, (120, 4))
    vectors[:, 0] += np.arange(240) < 120
    vectors[:, 4] += (np.arange(240) >= 120) | (spread & (np.arange(240) < 40))
    counts = np.resize([1, 1, 1, 2, 2, 7, 23, 24, 400], 240).astype(np.int64)
    drawn = resample_totals(vectors, counts, groups=2, replicates=6000, rng=generator(4)).reshape(6000, 8)
    assert np.array_equal(drawn, np.rint(drawn))
    expected = np.zeros((8, 8))
    for part in [slice(0, 240)] if spread else [slice(0, 120), slice(120, 240)]:
        v, c = vectors[part].astype(float), counts[part]
        expected += v.T @ (np.diag(c) - np.outer(c, c) / c.sum()) @ v
    error = np.sqrt(np.diag(expected))
    assert np.abs((drawn.mean(axis=0) - counts @ vectors) / error).max() < 4.5 / np.sqrt(6000)
    scale = np.outer(error, error)
    assert np.cov(drawn.T) / scale == pytest.approx(expected / scale, abs=0.08)


def test_each_rare_patient_is_picked_equally_often() -> None:
    """Fifty patients, of whom ten share a vector, and 4,000 replicates in which fifty are picked."""
    rare = np.concatenate([np.arange(40), np.full(10, 40)])
    drawn = bootstrap._picked(np.full(4000, 50), rare, 41, generator(8))
    assert (drawn.sum(axis=1) == 50).all()
    expected = 4000 * np.append(np.ones(40), 10)
    assert chi2.sf(((drawn.sum(axis=0) - expected) ** 2 / expected).sum(), 40) > 0.001
    assert drawn[:, :40].var() == pytest.approx(50 * 0.02 * 0.98, rel=0.03)
    assert bootstrap._picked(np.array([3, 0]), np.zeros(2, dtype=np.int64), 1, generator(8)).tolist() == [[3], [0]]


def test_the_number_of_threads_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = np.unique(rng.poisson(0.7, (900, 8)), axis=0).astype(np.int64)
    counts = rng.integers(1, 40, len(vectors))
    found = []
    for cores, little in ((1, 0), (4, 0), (4, 1 << 40)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        monkeypatch.setattr(bootstrap, "LITTLE", little)
        found.append(resample_totals(vectors, counts, groups=2, replicates=2500, rng=generator(5)))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_the_multinomial_bootstrap_agrees_with_resampling_patients_one_by_one() -> None:
    rng = np.random.default_rng(11)
    rows = clustered(rng, patients=150, tpr={"F": 0.6, "M": 0.8})
    cells = CountsSketch.from_table(protocol(), table(rows)).cells["x", "sex"]
    drawn = resample_totals(cells.vectors, cells.counts, groups=2, replicates=4000, rng=generator(1, "a"))
    ours = drawn[..., 0] / (drawn[..., 0] + drawn[..., 2])
    theirs = brute_force(rows, rng, 1500)
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), rel=0.08)
    assert np.quantile(ours[:, 0] - ours[:, 1], [0.025, 0.975]) == pytest.approx(
        np.quantile(theirs[:, 0] - theirs[:, 1], [0.025, 0.975]), abs=0.02
    )


def brute_force(rows: object, rng: np.random.Generator, replicates: int) -> np.ndarray:  # type: ignore[type-arg]
    """Sensitivity of F and M when patients of each sex are drawn with replacement, one by one."""
    positive = rows[rows["y_x"] == 1].groupby(["sex", "patient"])["d_x"].agg(["sum", "count"])  # type: ignore[index]
    everyone = rows.groupby(["sex", "patient"]).size()  # type: ignore[attr-defined]
    out = []
    for sex in ("F", "M"):
        values = positive.reindex(everyone[sex].index.map(lambda patient, sex=sex: (sex, patient)), fill_value=0)
        values = values.to_numpy()
        picks = rng.integers(0, len(values), (replicates, len(values)))
        out.append(values[picks, 0].sum(axis=1) / values[picks, 1].sum(axis=1))
    return np.stack(out, axis=1)


def test_intervals_of_clustered_patients_cover_and_those_that_ignore_them_do_not() -> None:
    """True sensitivity .7; each patient's own is .45 or .95, with one to five studies."""
    rng, rounds, cover, naive = np.random.default_rng(7), 80, 0, 0
    read = protocol()
    for _ in range(rounds):
        rows = clustered(rng, patients=160, tpr={"F": 0.7}, studies=5, spread=0.25)
        part = LabelGroups(read, "x", "sex", CountsSketch.from_table(read, table(rows)).cells["x", "sex"])
        (low, high), method = part.interval("tpr", "F")
        assert method == "patient-cluster bootstrap, logit t"
        cover += low <= 0.7 <= high
        rate = part.rate("tpr", "F")
        low, high = wilson(rate.value or 0.0, rate.n, z_of(0.05))
        naive += low <= 0.7 <= high
    assert cover >= binom.ppf(0.005, rounds, 0.95)
    assert naive < cover


def test_groups_are_drawn_separately_only_when_no_patient_spans_them() -> None:
    apart = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0]])
    joint = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1, 0]])
    for vectors, varies in ((apart, False), (joint, True)):
        drawn = resample_totals(vectors, np.array([40, 60]), groups=2, replicates=50, rng=generator(2))
        assert bool(drawn[:, 1, 2].std() > 0) is varies


def test_max_t_of_one_pair_is_about_normal_and_of_all_pairs_that_of_tukey() -> None:
    draws = np.random.default_rng(0).normal(size=(20000, 5))
    every = np.triu(np.ones((5, 5), dtype=bool), 1)
    one = every & (np.arange(5) < 2)[None, :]
    assert np.quantile(max_pair_t(draws, one), 0.95) == pytest.approx(1.96, abs=0.05)
    assert np.quantile(max_pair_t(draws, every), 0.95) == pytest.approx(3.858 / np.sqrt(2), abs=0.05)
    assert (max_pair_t(np.zeros((7, 2)), np.triu(np.ones((2, 2), dtype=bool), 1)) == 0).all()


def test_equal_groups_shrink_to_no_gap() -> None:
    values, variances = [0.50, 0.55, 0.47, 0.52], [0.0025] * 4
    found = heterogeneity(values, variances)
    assert found is not None
    assert found.shrunken_gap == 0
    assert found.p_value > 0.5
    far = heterogeneity([0.2, 0.8], [0.0001, 0.0001])
    assert far is not None
    assert far.shrunken_gap == pytest.approx(0.6, abs=0.01)
    assert heterogeneity([0.5], [0.1]) is None


def test_a_generator_depends_on_what_is_drawn_alone() -> None:
    assert generator(1, "a", "b").random() == generator(1, "a", "b").random()
    assert generator(1, "a", "b").random() != generator(1, "ab").random()


def test_ratios_of_groups_are_smaller_over_larger_and_hold_together() -> None:
    rows = clustered(np.random.default_rng(31), patients=700, tpr={"F": 0.6, "M": 0.8, "X": 0.7})
    read = protocol()
    part = LabelGroups(read, "x", "sex", CountsSketch.from_table(read, table(rows)).cells["x", "sex"])
    found = part.ratio_contrasts("tpr")
    assert len(found) == 3
    for item in found:
        assert item.value == item.rates[0] / item.rates[1] <= 1
        assert item.low < item.value < item.high
        assert item.method == "MOVER ratio, patient-cluster bootstrap, logit t, Bonferroni"
    assert min(found, key=lambda item: item.value).groups == ("F", "M")
    worst = min(found, key=lambda item: item.value)
    gap = next(item for item in part.pair_contrasts(["tpr"]) if set(item.groups) == {"F", "M"})
    assert (worst.high < 1) == (gap.low > 0 or gap.high < 0)


def test_patients_in_both_groups_make_their_rates_go_together() -> None:
    """Each patient has a study in either group, read alike: the difference is better known than of strangers."""
    rng = np.random.default_rng(17)
    hit = rng.random(200) < 0.7
    together = np.zeros((200, 8), dtype=np.int64)
    together[np.arange(200), np.where(hit, 0, 2)] = 1
    together[np.arange(200), np.where(hit ^ (rng.random(200) < 0.1), 4, 6)] = 1
    vectors, counts = np.unique(together, axis=0, return_counts=True)
    one = Cells(groups=("F", "M"), vectors=vectors, counts=counts, silent=np.zeros((2, 2), dtype=np.int64))
    part = LabelGroups(protocol(), "x", "sex", one)
    assert part.spanning
    matrix = part.influence_covariance("tpr", ("F", "M"))
    assert matrix[0, 1] / np.sqrt(matrix[0, 0] * matrix[1, 1]) > 0.5
    pair = part.pair_contrasts(["tpr"])[0]
    apart = difference(
        *pair.rates, (part.limits("tpr", pair.groups[0], 1.96), part.limits("tpr", pair.groups[1], 1.96))
    )
    assert pair.high - pair.low < 0.8 * (apart[1] - apart[0])
    assert pair.patients == 200


def test_where_every_study_has_the_event_a_patient_counts_once() -> None:
    """Forty patients with four studies each, all found: as sure as of forty studies, with Student's t."""
    vectors = np.array([[4, 0, 0, 0], [0, 0, 0, 4]])
    cells = Cells(groups=("F",), vectors=vectors, counts=np.array([40, 40]), silent=np.zeros((1, 2), dtype=np.int64))
    part = LabelGroups(protocol(), "x", "sex", cells)
    (low, high), method = part.interval("tpr", "F")
    assert (high, method) == (1.0, "Wilson with design effect")
    assert low == pytest.approx(1 / (1 + 2.0227**2 / 40), abs=2e-3)


def test_a_rare_miss_is_told_by_the_variance_between_patients() -> None:
    """Fewer than ten patients with a miss: no draws are made, and studies count as independent at most."""
    vectors = np.array([[2, 0, 0, 0], [1, 0, 1, 0], [0, 0, 2, 0]])
    cells = Cells(groups=("F",), vectors=vectors, counts=np.array([50, 3, 2]), silent=np.zeros((1, 2), dtype=np.int64))
    part = LabelGroups(protocol(), "x", "sex", cells)
    (low, high), method = part.interval("tpr", "F")
    assert method == "logit t, linearised variance of patients"
    rate = part.rate("tpr", "F")
    share, t = 103 / 110, 2.0049
    spread = 55 / 54 * (50 * (2 - 2 * share) ** 2 + 3 * (1 - 2 * share) ** 2 + 2 * (2 * share) ** 2) / 110**2
    assert rate.variance == pytest.approx(spread)
    assert (low, high) == pytest.approx(logit_interval(share, spread, t), abs=1e-4)
