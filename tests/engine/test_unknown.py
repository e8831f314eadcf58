"""Bounds of AUROC under unknown groups, against every way in which the unknown studies could belong to a group."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from evaluation.engine.statistics.scored import Scores, auroc
from evaluation.engine.statistics.unknown import auroc_range


def scores(counts: np.ndarray) -> Scores:
    return Scores(counts=counts, means=np.zeros(counts.shape))


@pytest.mark.parametrize("seed", range(8))
def test_the_range_is_that_of_all_subsets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.integers(0, 4, (2, 7))
    known[:, 3] += 1
    unknown = np.zeros((2, 7), dtype=np.int64)
    for place in rng.integers(0, 14, 7):
        unknown.reshape(-1)[place] += 1
    values = []
    for taken in product(*(range(count + 1) for count in unknown.reshape(-1))):
        values.append(auroc(scores(known + np.array(taken).reshape(2, 7))).value)
    assert auroc_range(scores(known), scores(unknown)) == pytest.approx((min(values), max(values)))


def test_without_unknown_studies_the_range_is_the_value() -> None:
    known = np.array([[3, 1, 0], [0, 2, 4]])
    value = auroc(scores(known)).value
    assert auroc_range(scores(known), scores(np.zeros_like(known))) == pytest.approx((value, value))


def test_many_occupied_bins_give_nearly_the_same() -> None:
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 3, (2, 2, 2048))
    low, high = auroc_range(scores(known), scores(unknown))
    ordered = np.arange(2048)
    best = known + np.stack([np.where(ordered < 1024, unknown[0], 0), np.where(ordered >= 1024, unknown[1], 0)])
    assert high >= auroc(scores(best)).value - 1e-3
    assert low < auroc(scores(known)).value < high
