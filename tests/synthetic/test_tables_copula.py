"""The arithmetic of the copula against other ways to the same number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from synthetic.generators.kinds.tables_columns import Column, Variable
from synthetic.generators.kinds.tables_copula import as_correlations, fit_moments, latent_correlations
from synthetic.generators.kinds.tables_drawing import truncated
from synthetic.generators.kinds.tables_effects import Groups, learn_effects, residuals

R = 0.6


def test_correlations_of_latents_are_found_behind_coarse_and_missing_columns() -> None:
    rng = np.random.default_rng(1)
    n = 20_000
    z = rng.multivariate_normal([0, 0, 0], [[1, R, -0.4], [R, 1, 0.2], [-0.4, 0.2, 1]], n)
    past = 0.7 * z + np.sqrt(1 - 0.49) * rng.standard_normal((n, 3))
    rows = np.concatenate([past, z])
    before = np.concatenate([np.full(n, -1), np.arange(n)])
    cuts = np.array([-0.5, 1.3])
    scores = np.concatenate([residuals(rows[:, :2] < cuts, np.broadcast_to(cuts, (2 * n, 2))), rows[:, 2:]], axis=1)
    scores[rng.random(2 * n) < 0.5, 1] = np.nan
    offsets = np.broadcast_to(np.append(cuts, 0.0), (2 * n, 3))
    sight, apart = np.array([np.nan, np.nan, 1.0]), np.zeros((3, 3), dtype=bool)
    moments = fit_moments(scores, before)
    both = ~np.isnan(scores[:, 1])
    direct = np.mean(scores[both, 0] * scores[both, 1])
    assert moments.products[0, 1] == pytest.approx(direct, abs=2e-3), (
        "SDV's correlation, with what is missing made good"
    )
    assert abs(direct) < 0.3, "what is seen is far less correlated than the latents"
    latents, _ = latent_correlations(moments, scores, before, offsets, sight, apart)
    expected = np.array([[1, R, -0.4], [R, 1, 0.2], [-0.4, 0.2, 1]])
    now = 0.5 * (expected + np.cov(past.T))
    assert np.abs(latents.within - now).max() < 0.04
    assert np.abs(np.diag(latents.step) - 0.7).max() < 0.04


def test_a_matrix_that_cannot_be_gives_way_where_little_is_known() -> None:
    within = np.array([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1.0]])
    trust = np.array([[1, 1, 1], [1, 1, 0.02], [1, 0.02, 1.0]])
    none = np.zeros((3, 3))
    found = as_correlations(within, none, trust, np.ones((3, 3)))
    joint = np.block([[found.within, found.step], [found.step.T, found.within]])
    assert np.linalg.eigvalsh(joint)[0] > 0 and np.allclose(np.diag(found.within), 1, atol=1e-6)
    assert np.abs(found.within - within)[0].max() < 0.1 < np.abs(found.within - within)[1, 2]
    kept = as_correlations(np.eye(2), 0.5 * np.eye(2), np.ones((2, 2)), np.ones((2, 2)))
    assert np.array_equal(kept.step, 0.5 * np.eye(2)) and np.array_equal(kept.within, np.eye(2))


@pytest.mark.parametrize(("low", "high"), [(-np.inf, -1.0), (0.5, 2.0), (3.0, np.inf), (-np.inf, np.inf), (6.0, 7.0)])
def test_truncated_normal_numbers_are_those_of_scipy(low: float, high: float) -> None:
    u = np.linspace(0.001, 0.999, 201)
    z, mass = truncated(u, np.full(201, low), np.full(201, high))
    assert np.allclose(np.sort(z), stats.truncnorm(low, high).ppf(u), atol=1e-6)
    exact = stats.norm.sf(low) - stats.norm.sf(high) if low > 0 else stats.norm.cdf(high) - stats.norm.cdf(low)
    assert np.allclose(mass, exact, rtol=1e-6)


def test_raking_reaches_every_groups_share() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 3, 6000), rng.integers(0, 2, 6000)
    second = np.where(rng.random(6000) < 0.5, (first > 0).astype(int), second)
    chance = np.array([0.05, 0.2, 0.5])[first] + 0.2 * second
    taken = rng.random(6000) < chance
    layout = Groups(names=("a", "b"), cuts=(np.empty(0), np.empty(0)), sizes=(3, 2))
    groups = np.stack([first, 3 + second], axis=1)
    column = Column(variable=Variable(name="x", values=(1, 0)), seen=np.where(taken, 0.0, 1.0))
    effects, scores, offsets = learn_effects(column, groups, layout)
    expected = stats.norm.cdf(effects.offsets(groups)[:, 0])
    assert np.allclose(effects.offsets(groups), offsets)
    for place in (first, second):
        real, made = (np.bincount(place, weights=one) / np.bincount(place) for one in (taken, expected))
        assert np.abs(real - made).max() < 0.005
        assert np.abs(np.bincount(place, weights=scores[:, 0]) / np.bincount(place)).max() < 0.03, (
            "no group is left over"
        )
