"""False discovery rates under any dependence against statsmodels and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from evaluation.engine.statistics.multiplicity import (
    benjamini_hochberg,
    benjamini_yekutieli,
    e_benjamini_hochberg,
)


@pytest.mark.parametrize("size", [1, 2, 17])
def test_benjamini_yekutieli_equals_statsmodels(size: int) -> None:
    raw = list(np.random.default_rng(size).random(size) ** 3)
    assert benjamini_yekutieli(raw) == pytest.approx(multipletests(raw, method="fdr_by")[1])
    assert benjamini_yekutieli([]) == []


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_e_bh_rejects_what_its_definition_rejects(values: list[float], alpha: float) -> None:
    """The procedure as written: the k largest, for the largest k with e_[k] >= m / (alpha k)."""
    m, ordered = len(values), sorted(values, reverse=True)
    passing = [k for k in range(1, m + 1) if ordered[k - 1] * alpha * k >= m * (1 + 1e-9)]
    least = ordered[max(passing) - 1] if passing else float("inf")
    levels = e_benjamini_hochberg(values)
    assert all(level <= alpha for value, level in zip(values, levels, strict=True) if value >= least)
    failing = [k for k in range(1, m + 1) if ordered[k - 1] * alpha * k >= m * (1 - 1e-9)]
    bound = ordered[max(failing) - 1] if failing else float("inf")
    assert all(level > alpha for value, level in zip(values, levels, strict=True) if value < bound)


def test_e_bh_keeps_the_false_discovery_rate_when_all_e_values_are_one_and_the_same() -> None:
    """Perfect dependence, where Benjamini and Hochberg is not proven to hold."""
    rng, alpha = np.random.default_rng(3), 0.1
    wrong = 0
    for _ in range(2000):
        shared = 1 / rng.random() ** 0.5 / 2
        wrong += min(e_benjamini_hochberg([shared] * 5)) <= alpha
    assert wrong / 2000 <= alpha


def test_e_bh_at_its_ends() -> None:
    assert e_benjamini_hochberg([]) == []
    assert e_benjamini_hochberg([0.0, float("inf")]) == [1.0, 0.0]
    assert e_benjamini_hochberg([40.0, 2.0, 100.0]) == pytest.approx(benjamini_hochberg([1 / 40, 1 / 2, 1 / 100]))
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="negative or not a number"):
            e_benjamini_hochberg([1.0, bad])
