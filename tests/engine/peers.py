"""fairlearn's own mitigations on rows, as the peer of those that the engine computes on histograms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from evaluation.engine.sketches.scores import BINS, Floats, Ints
from evaluation.engine.suites.fairness import mitigation
from evaluation.engine.suites.fairness.mitigation import Task


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class AsGiven(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A fitted estimator whose only feature is already the score."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, features: Floats, outcome: Ints) -> AsGiven:
        return self

    def predict_proba(self, features: Floats) -> Floats:
        score = np.asarray(features, dtype=np.float64)[:, 0]
        return np.column_stack([1 - score, score])


def threshold_optimizer(metric: str) -> Any:
    from fairlearn.postprocessing import ThresholdOptimizer

    return ThresholdOptimizer(
        estimator=AsGiven(), constraints=mitigation.OPTIMISER_CONSTRAINTS[metric],
        objective="balanced_accuracy_score", prefit=True, predict_method="predict_proba",
    )  # fmt: skip


def chances_of_threshold_optimizer(task: Task) -> Floats:
    """Chance of a positive by group and bin, float64 [G, BINS]."""
    by_outcome = task.metric != "demographic_parity_difference"
    rows = mitigation.write_out(task.fit, mitigation.OPTIMISER_ROWS, mitigation.OPTIMISER_LEAST, by_outcome=by_outcome)
    group, outcome, bins = rows
    optimiser = threshold_optimizer(task.metric)
    with quiet():
        optimiser.fit(mitigation.bin_scores()[bins][:, None], outcome, sensitive_features=group)
        every, places = every_place(len(task.groups))
        chances = optimiser._pmf_predict(mitigation.bin_scores()[places][:, None], sensitive_features=every)[:, 1]
    return np.asarray(chances).reshape(len(task.groups), BINS)


def chances_of_exponentiated_gradient(task: Task) -> tuple[Floats, int]:
    """Chance of a positive by group and bin, and the number of models that have a share in it."""
    from fairlearn import reductions

    constraints = {
        "demographic_parity_difference": reductions.DemographicParity,
        "equal_opportunity_difference": reductions.TruePositiveRateParity,
        "fpr_difference": reductions.FalsePositiveRateParity,
        "equalized_odds_difference": reductions.EqualizedOdds,
    }
    group, outcome, bins = mitigation.write_out(
        task.fit, mitigation.REDUCTION_ROWS, mitigation.REDUCTION_LEAST, by_outcome=True
    )
    size = len(task.groups)
    features = features_of(group, bins, size)
    with quiet():
        plain = LogisticRegression(solver="newton-cholesky").fit(features, outcome).predict_proba(features)[:, 1]
        cut = float(np.clip(np.quantile(plain, 1 - task.selected), 0.01, 0.99))
        model = reductions.ExponentiatedGradient(
            LogisticRegression(solver="newton-cholesky"),
            constraints[task.metric](difference_bound=max(task.margin / 2, mitigation.SMALLEST_BOUND)),
            objective=reductions.ErrorRate(costs={"fp": cut, "fn": 1 - cut}), max_iter=mitigation.ITERATIONS,
        )  # fmt: skip
        model.fit(features, outcome, sensitive_features=group)
        chances = model._pmf_predict(features_of(*every_place(size), size))[:, 1]
    return np.asarray(chances).reshape(size, BINS), int((model.weights_ > 0).sum())


def features_of(group: Ints, bins: Ints, size: int) -> Floats:
    scores = mitigation.bin_scores()[bins]
    logits = np.log(scores) - np.log1p(-scores)
    return np.column_stack([logits / 4, np.eye(size)[group][:, 1:]])


def every_place(size: int) -> tuple[Ints, Ints]:
    place = np.arange(size * BINS, dtype=np.int64)
    return place // BINS, place % BINS
