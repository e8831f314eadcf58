"""Heterogeneity and shrinkage against statsmodels, numerical integration and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm
from statsmodels.stats.meta_analysis import combine_effects

from evaluation.engine.statistics.heterogeneity import Heterogeneity, heterogeneity, wald_heterogeneity

CASES = [
    ([0.50, 0.61, 0.47, 0.70], [0.0025, 0.004, 0.001, 0.009]),
    ([0.50, 0.55, 0.47, 0.52], [0.0025] * 4),
    ([0.1, 0.9], [0.01, 0.03]),
]


def found(result: Heterogeneity | None) -> Heterogeneity:
    assert result is not None
    return result


@pytest.mark.parametrize(("values", "variances"), CASES)
def test_q_tau_and_the_p_value_equal_statsmodels(values: list[float], variances: list[float]) -> None:
    ours = found(heterogeneity(values, variances))
    theirs = combine_effects(np.array(values), np.array(variances), method_re="chi2")
    assert ours.statistic == pytest.approx(theirs.q)
    assert ours.between == pytest.approx(max(0.0, theirs.tau2))
    assert ours.p_value == pytest.approx(chi2.sf(theirs.q, len(values) - 1))
    assert ours.freedom == len(values) - 1


@pytest.mark.parametrize(("values", "variances"), CASES)
def test_a_diagonal_covariance_gives_cochrans_q(values: list[float], variances: list[float]) -> None:
    one, two = found(heterogeneity(values, variances)), found(wald_heterogeneity(values, np.diag(variances)))
    for name in ("p_value", "statistic", "between", "shrunken_gap", "shrunken", "shrunken_errors"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-12), name


def test_shrunken_values_are_the_posterior_of_the_normal_model() -> None:
    """Groups and their mean integrated numerically, with tau^2 as estimated and a flat mean."""
    values, variances = np.array(CASES[0][0]), np.array(CASES[0][1])
    ours = found(heterogeneity(list(values), list(variances)))
    centres = np.linspace(-1, 2, 20001)
    weight = np.prod(norm.pdf(values[:, None], centres, np.sqrt(variances + ours.between)[:, None]), axis=0)
    weight /= weight.sum()
    pull = ours.between / (ours.between + variances)
    means = centres + pull[:, None] * (values[:, None] - centres)
    expected = means @ weight
    spread = variances * pull + (means**2) @ weight - expected**2
    assert ours.shrunken == pytest.approx(expected, abs=1e-9)
    assert ours.shrunken_errors == pytest.approx(np.sqrt(spread), abs=1e-9)
    assert ours.shrunken_gap == pytest.approx(expected.max() - expected.min())


def test_correlated_values_shrink_to_the_posterior_mean_of_the_joint_normal() -> None:
    """Conditioning a joint normal of truths and estimates, with an all but flat mean."""
    rng = np.random.default_rng(2)
    root = rng.normal(size=(5, 5))
    covariance = root @ root.T / 200
    values = rng.normal(0.5, 0.5, 5)
    ours = found(wald_heterogeneity(list(values), covariance))
    assert ours.between > 0
    prior = ours.between * np.eye(5) + 1e6
    gain = prior @ np.linalg.inv(prior + covariance)
    assert ours.shrunken == pytest.approx(gain @ values, abs=1e-5)
    assert ours.shrunken_errors == pytest.approx(np.sqrt(np.diag(prior - gain @ prior)), rel=1e-2)


def test_the_wald_statistic_is_chi_square_when_correlated_groups_are_equal() -> None:
    rng = np.random.default_rng(7)
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T / 100
    draws = rng.multivariate_normal(np.full(4, 0.6), covariance, 1000)
    results = [found(wald_heterogeneity(list(row), covariance)) for row in draws]
    assert kstest([item.p_value for item in results], "uniform").pvalue > 0.01
    taken_apart = [found(heterogeneity(list(row), list(np.diag(covariance)))).p_value for row in draws]
    assert kstest(taken_apart, "uniform").pvalue < 1e-6


def test_a_singular_covariance_loses_degrees_of_freedom() -> None:
    """Group 2 is group 1 over again: three estimates, two of which are one."""
    covariance = np.array([[0.01, 0.01, 0.0], [0.01, 0.01, 0.0], [0.0, 0.0, 0.02]])
    ours = found(wald_heterogeneity([0.5, 0.5, 0.8], covariance))
    pair = found(heterogeneity([0.5, 0.8], [0.01, 0.02]))
    assert (ours.freedom, ours.statistic) == (1, pytest.approx(pair.statistic))
    assert wald_heterogeneity([0.5, 0.6, 0.8], covariance) is None


def test_estimates_whose_sum_is_certain_have_a_certain_mean() -> None:
    ours = found(wald_heterogeneity([0.45, 0.55], [[0.01, -0.01], [-0.01, 0.01]]))
    assert ours.shrunken == pytest.approx((0.5, 0.5))
    assert ours.shrunken_errors == pytest.approx((0.0, 0.0), abs=1e-4)


def test_equal_groups_shrink_to_no_gap_and_far_ones_hardly() -> None:
    near = found(heterogeneity([0.50, 0.55, 0.47, 0.52], [0.0025] * 4))
    assert (near.shrunken_gap, near.between) == (0, 0)
    assert near.shrunken == pytest.approx((0.51,) * 4)
    assert near.shrunken_errors == pytest.approx((0.025,) * 4)
    far = found(heterogeneity([0.2, 0.8], [0.0001, 0.0001]))
    assert far.shrunken_gap == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(("values", "variances"), [([0.5], [0.1]), ([], []), ([0.5, 0.6], [0.1, 0.0])])
def test_it_is_undefined_for_one_group_or_no_variance(values: list[float], variances: list[float]) -> None:
    assert heterogeneity(values, variances) is None
    assert wald_heterogeneity(values, np.diag(variances)) is None
