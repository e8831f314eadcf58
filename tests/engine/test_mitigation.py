"""Mitigations on histograms against fairlearn's on rows: the same rules, not only rules as good."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.engine.sketches.scores import BINS, Floats, bin_of
from evaluation.engine.statistics.threads import one_blas_thread
from evaluation.engine.suites.fairness import logistic, mitigation
from evaluation.engine.suites.fairness.logistic import GroupModel
from evaluation.engine.suites.fairness.mitigation import Task
from evaluation.engine.suites.fairness.reduction import EVENTS, Bools, Bound, Rows, exponentiated_gradient
from tests.engine import peers

METRICS = sorted(EVENTS)


def task_of(seed: int, *, groups: int, metric: str, studies: int = 1500, spread: float = 1.2) -> Task:
    """Groups of different size, prevalence and sensitivity."""
    rng = np.random.default_rng(seed)
    fit = np.zeros((groups, 2, BINS), dtype=np.int64)
    sizes = 80 + rng.multinomial(studies, rng.dirichlet(np.ones(groups)))
    for group, size in enumerate(sizes):
        present = 40 + rng.binomial(int(size), 0.2)
        for outcome, n in enumerate((int(size) - 40, present)):
            logits = rng.normal(-1.5 + (2 - 0.3 * group) * outcome, spread, max(40, n))
            fit[group, outcome] = np.bincount(bin_of(1 / (1 + np.exp(-logits))), minlength=BINS)
    names = tuple(f"g{group}" for group in range(groups))
    return Task(metric=metric, groups=names, fit=fit, selected=0.25, margin=(0.1, 0.04, 0.02)[seed % 3])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("seed", "groups"), [(1, 2), (2, 3), (3, 11)])
def test_thresholds_are_those_of_fairlearn_to_the_last_bit(metric: str, seed: int, groups: int) -> None:
    task = task_of(seed, groups=groups, metric=metric, studies=(900, 8_000, 60_000)[seed % 3])
    found = mitigation.optimise_thresholds(task).chances
    np.testing.assert_array_equal(found, peers.chances_of_threshold_optimizer(task))


@pytest.mark.parametrize("spread", [0.01, 8.0])
def test_thresholds_of_few_distinct_or_extreme_scores_are_those_of_fairlearn(spread: float) -> None:
    for metric in METRICS:
        task = task_of(7, groups=3, metric=metric, spread=spread)
        found = mitigation.optimise_thresholds(task).chances
        np.testing.assert_array_equal(found, peers.chances_of_threshold_optimizer(task), err_msg=metric)


def test_a_group_with_one_outcome_has_no_thresholds() -> None:
    task = task_of(1, groups=2, metric="fpr_difference")
    task.fit[1, 1] = 0
    with pytest.raises(ValueError, match="Degenerate labels") as ours:
        mitigation.optimise_thresholds(task)
    with pytest.raises(ValueError, match="Degenerate labels") as theirs:
        peers.chances_of_threshold_optimizer(task)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("seed", "groups"), [(1, 2), (2, 3), (4, 7)])
def test_the_mixture_is_that_of_fairlearn(metric: str, seed: int, groups: int) -> None:
    """Sums of at most thirty shares may differ in the last bit; any other decision of a model would show."""
    task = task_of(seed, groups=groups, metric=metric)
    with one_blas_thread():
        found = mitigation.reduce_disparity(task)
        chances, models = peers.chances_of_exponentiated_gradient(task)
    np.testing.assert_allclose(found.chances, chances, rtol=0, atol=1e-15)
    assert found.detail["models"] == models


def rows_of(task: Task) -> tuple[Rows, Floats]:
    group, outcome, bins = mitigation.write_out(task.fit, 4_000, 30, by_outcome=True)
    size = len(task.groups)
    rows = Rows(groups=size, bins=BINS, group=group, outcome=outcome, bin=bins)
    return rows, peers.features_of(group, bins, size)


def model_of(task: Task) -> GroupModel:
    rows, features = rows_of(task)
    size = len(task.groups)
    return GroupModel(rows, features, peers.features_of(*peers.every_place(size), size).reshape(size, BINS, -1))


@pytest.mark.parametrize("seed", range(4))
def test_decisions_on_counts_are_those_of_scikit_learn_on_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = model_of(task_of(seed, groups=2 + seed, metric="fpr_difference"))
    for _ in range(5):
        wanted: Bools = rng.random((2 + seed, 2)) < 0.5
        wanted[0] = [False, True]
        weight = rng.uniform(0.1, 3.0, wanted.shape)
        np.testing.assert_array_equal(model.decide(wanted, weight), model._by_rows(wanted, weight))


def test_a_boundary_on_a_score_is_left_to_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(task_of(1, groups=2, metric="fpr_difference"))
    asked: list[int] = []

    def by_rows(wanted: Bools, weight: Floats) -> Bools:
        asked.append(1)
        return np.ones((2, BINS), dtype=bool)

    monkeypatch.setattr(model, "_by_rows", by_rows)
    wanted, weight = np.array([[False, True], [False, True]]), np.ones((2, 2))
    model.decide(wanted, weight)
    assert not asked
    monkeypatch.setattr(logistic, "NEAR", 1e3)
    assert model.decide(wanted, weight).all()
    assert asked


def test_a_model_that_does_not_settle_is_left_to_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(task_of(1, groups=2, metric="fpr_difference"))
    wanted, weight = np.array([[False, True], [False, True]]), np.ones((2, 2))
    expected = model.decide(wanted, weight)
    for name, value in (("MOST_STEPS", 1), ("ARMIJO", 1e9)):
        with monkeypatch.context() as patched:
            patched.setattr(logistic, name, value)
            assert model._newton(model.counts.sum(axis=1), model.counts[:, 1]) is None
            np.testing.assert_array_equal(model.decide(wanted, weight), expected)


def test_where_every_study_is_to_be_decided_alike_no_model_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Misses that cost next to nothing: everybody is decided negative."""

    def never(wanted: Bools, weight: Floats) -> Bools:
        raise AssertionError("a model was fitted")

    task = task_of(1, groups=2, metric="fpr_difference")
    rows, _ = rows_of(task)
    bound = Bound(metric=task.metric, difference=1.0, false_positive=1.0, miss=-1.0)
    found = exponentiated_gradient(rows, bound, never, steps=3)
    assert not found.chances.any()
    assert found.models == 1
