"""Intervals, resampling and corrections against statsmodels, published examples and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from evaluation.engine.sketches.counts import CountsSketch
from evaluation.engine.statistics.bootstrap import max_t, percentile_interval, resample_totals
from evaluation.engine.statistics.clusters import rate_of
from evaluation.engine.statistics.heterogeneity import heterogeneity
from evaluation.engine.statistics.intervals import difference, p_of, wilson, z_at_bound, z_of
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


def test_the_design_effect_of_independent_studies_is_about_1_and_of_copies_their_number() -> None:
    rng = np.random.default_rng(5)
    single = rate_of(rng.integers(0, 2, 4000), np.ones(4000, dtype=np.int64), np.ones(4000, dtype=np.int64))
    copies = rate_of(3 * (rng.random(2000) < 0.3).astype(np.int64), np.full(2000, 3), np.ones(2000, dtype=np.int64))
    assert single.effective == pytest.approx(4000, rel=0.01)
    assert copies.effective == pytest.approx(2000, rel=0.01)
    certain = rate_of(np.full(20, 4), np.full(20, 4), np.ones(20, dtype=np.int64))
    assert (certain.value, certain.effective) == (1.0, 20.0)


def test_the_multinomial_bootstrap_agrees_with_resampling_patients_one_by_one() -> None:
    rng = np.random.default_rng(11)
    rows = clustered(rng, patients=150, tpr={"F": 0.6, "M": 0.8})
    cells = CountsSketch.from_table(protocol(), table(rows)).cells["x", "sex"]
    drawn = resample_totals(cells.vectors, cells.counts, groups=2, replicates=4000, rng=generator(1, "a"))
    ours = drawn[..., 0] / (drawn[..., 0] + drawn[..., 2])
    theirs = brute_force(rows, rng, 1500)
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), rel=0.08)
    assert percentile_interval(ours[:, 0] - ours[:, 1], 0.05) == pytest.approx(
        tuple(np.quantile(theirs[:, 0] - theirs[:, 1], [0.025, 0.975])), abs=0.02
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
        assert method == "patient-cluster bootstrap"
        cover += low <= 0.7 <= high
        rate = part.rate("tpr", "F")
        low, high = wilson(rate.value or 0.0, rate.n, z_of(0.05))
        naive += low <= 0.7 <= high
    assert cover >= binom.ppf(0.005, rounds, 0.94)
    assert naive < cover


def test_groups_are_drawn_separately_only_when_no_patient_spans_them() -> None:
    apart = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0]])
    joint = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1, 0]])
    for vectors, varies in ((apart, False), (joint, True)):
        drawn = resample_totals(vectors, np.array([40, 60]), groups=2, replicates=50, rng=generator(2))
        assert bool(drawn[:, 1, 2].std() > 0) is varies


def test_max_t_of_one_statistic_is_about_normal_and_of_many_larger() -> None:
    draws = np.random.default_rng(0).normal(size=(20000, 10))
    errors, one = max_t(draws[:, :1], 0.05)
    assert errors[0] == pytest.approx(1, abs=0.02)
    assert one == pytest.approx(1.96, abs=0.05)
    assert max_t(draws, 0.05)[1] == pytest.approx(2.80, abs=0.06)


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
