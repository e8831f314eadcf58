"""Three ways to make a gap smaller, each fitted on one half of the patients: what they would decide, score by score.

A decision rule is an array of chances, float64 [G, BINS]: with which probability a study of a group whose score lies in
a bin is predicted positive. So it can be measured exactly on the histogram of the other half.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evaluation.engine.sketches.scores import BINS, Floats, Ints, bin_edges

OPTIMISER_ROWS, OPTIMISER_LEAST = 20_000, 500
REDUCTION_ROWS, REDUCTION_LEAST = 4_000, 30
"""Rows that a histogram is written out as, and the fewest (as far as there are) of a group with one outcome."""

ITERATIONS = 30
SMALLEST_BOUND = 0.005
NEWTON_STEPS = 50

OPTIMISER_CONSTRAINTS = {
    "demographic_parity_difference": "demographic_parity",
    "equal_opportunity_difference": "true_positive_rate_parity",
    "fpr_difference": "false_positive_rate_parity",
    "equalized_odds_difference": "equalized_odds",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be mitigated.

    Attributes:
        metric: A gap metric of ``OPTIMISER_CONSTRAINTS``.
        fit: int64 [G, 2, BINS], studies of the half to fit on, by group, outcome and bin.
        selected: Share of them that the audited decisions predict positive.
        margin: The criterion's.
    """

    metric: str
    groups: tuple[str, ...]
    fit: Ints
    selected: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class Mitigation:
    """A decision rule (see the module), what describes it to people, and whether it decides some studies by lot."""

    chances: Floats
    detail: dict[str, Any]

    @property
    def by_lot(self) -> bool:
        return bool(((self.chances > 1e-6) & (self.chances < 1 - 1e-6)).any())


@cache
def bin_scores() -> Floats:
    """The score that stands for each bin: its middle, float64 [BINS]."""
    edges = bin_edges()
    middle: Floats = (edges[1:] + edges[:-1]) / 2
    middle.setflags(write=False)
    return middle


def optimise_thresholds(task: Task) -> Mitigation:
    """fairlearn's ``ThresholdOptimizer``: thresholds of each group under the constraint of parity, at the largest
    balanced accuracy (Hardt et al., NeurIPS 2016). It uses the group when it decides, and may decide by lot between
    two thresholds.

    Raises:
        ValueError: fairlearn's, where it cannot be fitted.
    """
    with _quiet():
        from fairlearn.postprocessing import ThresholdOptimizer

        by_outcome = task.metric != "demographic_parity_difference"
        group, outcome, bins = write_out(task.fit, OPTIMISER_ROWS, OPTIMISER_LEAST, by_outcome=by_outcome)
        optimiser = ThresholdOptimizer(
            estimator=_as_given(),
            constraints=OPTIMISER_CONSTRAINTS[task.metric],
            objective="balanced_accuracy_score",
            prefit=True,
            predict_method="predict_proba",
        )
        optimiser.fit(bin_scores()[bins][:, None], outcome, sensitive_features=group)
        every, places = _every_place(len(task.groups))
        chances = optimiser._pmf_predict(bin_scores()[places][:, None], sensitive_features=every)[:, 1]
        rules = optimiser.interpolated_thresholder_.interpolation_dict
    thresholds = {name: _rule_of(rules[index]) for index, name in enumerate(task.groups) if index in rules}
    return Mitigation(
        chances=chances.reshape(len(task.groups), BINS), detail={"thresholds": thresholds, "rows": len(bins)}
    )


def _rule_of(rule: Any) -> dict[str, Any]:
    """A group's rule: thresholds with the share of the studies that each is applied to; None above all scores.

    ``constant``: the share that is predicted by lot whatever the score, and the chance of a positive among them.
    """
    parts = [(float(rule.p0), rule.operation0.threshold), (float(rule.p1), rule.operation1.threshold)]
    told = [
        {"threshold": round(max(0.0, float(cut)), 4) if cut < np.inf else None, "share": round(share, 4)}
        for share, cut in parts
        if share > 0
    ]
    if float(rule.get("p_ignore", 0.0)) <= 0:
        return {"applied": told}
    constant = {"share": round(float(rule.p_ignore), 4), "chance": round(float(rule.prediction_constant), 4)}
    return {"applied": told, "constant": constant}


def reduce_disparity(task: Task) -> Mitigation:
    """fairlearn's ``ExponentiatedGradient``: a mixture of logistic regressions on the score's logit and the group,
    under a bound on how far a group may be from all (Agarwal et al., ICML 2018). The bound is half the margin, so that
    no two groups are further apart than the margin.

    False positives and misses are weighed so that, without the bound, as many studies would be predicted positive as
    by the audited decisions.

    Raises:
        ValueError: fairlearn's or scikit-learn's, where it cannot be fitted.
    """
    with _quiet():
        from fairlearn import reductions
        from sklearn.linear_model import LogisticRegression

        constraints = {
            "demographic_parity_difference": reductions.DemographicParity,
            "equal_opportunity_difference": reductions.TruePositiveRateParity,
            "fpr_difference": reductions.FalsePositiveRateParity,
            "equalized_odds_difference": reductions.EqualizedOdds,
        }
        size = len(task.groups)
        group, outcome, bins = write_out(task.fit, REDUCTION_ROWS, REDUCTION_LEAST, by_outcome=True)
        features = _features(group, bins, size)
        plain = LogisticRegression(solver="newton-cholesky").fit(features, outcome).predict_proba(features)[:, 1]
        cut = float(np.clip(np.quantile(plain, 1 - task.selected), 0.01, 0.99))
        model = reductions.ExponentiatedGradient(
            LogisticRegression(solver="newton-cholesky"),
            constraints[task.metric](difference_bound=max(task.margin / 2, SMALLEST_BOUND)),
            objective=reductions.ErrorRate(costs={"fp": cut, "fn": 1 - cut}),
            max_iter=ITERATIONS,
        )
        model.fit(features, outcome, sensitive_features=group)
        chances = model._pmf_predict(_features(*_every_place(size), size))[:, 1]
    detail = {
        "models": int((model.weights_ > 0).sum()),
        "cost_of_false_positive": round(cut, 4),
        "cost_of_miss": round(1 - cut, 4),
        "rows": len(bins),
    }
    return Mitigation(chances=chances.reshape(size, BINS), detail=detail)


def _features(group: Ints, bins: Ints, size: int) -> Floats:
    """Logit of the score, scaled to the size of the other columns, and one column for each group but the first."""
    columns: Floats = np.column_stack([_logits()[bins] / 4, np.eye(size)[group][:, 1:]])
    return columns


def recalibrate(task: Task) -> Mitigation:
    """Platt's recalibration in each group, then one threshold for all, at which as many are predicted positive as by
    the audited decisions. Where scores mean different risks in different groups, this gives them one meaning."""
    lines = [_platt(task.fit[index]) for index in range(len(task.groups))]
    risks = np.stack([1 / (1 + np.exp(-np.clip(a + b * _logits(), -40, 40))) for a, b in lines])
    weight = task.fit.sum(axis=1)
    order = np.argsort(-risks, axis=None, kind="stable")
    taken = np.cumsum(weight.reshape(-1)[order])
    last = int(np.argmin(np.abs(taken - task.selected * taken[-1])))
    threshold = float(risks.reshape(-1)[order[last]])
    return Mitigation(
        chances=(risks >= threshold).astype(np.float64),
        detail={
            "threshold": round(threshold, 4),
            "intercept": {name: round(line[0], 4) for name, line in zip(task.groups, lines, strict=True)},
            "slope": {name: round(line[1], 4) for name, line in zip(task.groups, lines, strict=True)},
        },
    )


def _platt(counts: Ints) -> tuple[float, float]:
    """Intercept and slope of logit P(finding) = a + b logit(score), by Newton's method on counts [2, BINS].

    A penalty worth one study draws them to 0 and 1, so that they are finite where scores separate perfectly.
    """
    design = np.column_stack([np.ones(BINS), _logits()])
    total, present = counts.sum(axis=0).astype(np.float64), counts[1].astype(np.float64)
    start = np.array([0.0, 1.0])
    line = start.copy()
    for _ in range(NEWTON_STEPS):
        risk = 1 / (1 + np.exp(-np.clip(design @ line, -40, 40)))
        gradient = design.T @ (present - total * risk) - (line - start)
        curvature = (design * (total * risk * (1 - risk))[:, None]).T @ design + np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        line = line + step * min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(line[0]), float(line[1])


def write_out(counts: Ints, most: int, least: int, *, by_outcome: bool) -> tuple[Ints, Ints, Ints]:
    """Group, outcome and bin of rows that a histogram [G, 2, BINS] stands for: fairlearn takes no weights here.

    All rows where they are few enough; else about ``most`` of them in proportion, by the largest remainder, though
    small groups keep up to ``least`` of each outcome (``2 least`` of both together, in proportion, if not
    ``by_outcome``). Always the same rows for the same counts.
    """
    sizes = counts.sum(axis=2)
    if sizes.sum() > most:
        if by_outcome:
            share = np.maximum(_allot(sizes.reshape(-1), most).reshape(sizes.shape), np.minimum(sizes, least))
        else:
            whole = sizes.sum(axis=1)
            rows = np.maximum(_allot(whole, most), np.minimum(whole, 2 * least))
            share = np.stack([_allot(size, int(n)) for size, n in zip(sizes, rows, strict=True)])
        counts = np.stack(
            [[_allot(cell, int(n)) for cell, n in zip(*pair, strict=True)] for pair in zip(counts, share, strict=True)]
        )
    place = np.repeat(np.arange(counts.size), counts.reshape(-1))
    return place // (2 * BINS), place // BINS % 2, place % BINS


def _allot(weights: Ints, seats: int) -> Ints:
    """Seats in proportion to weights, by the largest remainder; of equal remainders the earlier. Never above a weight
    where there are fewer seats than weight."""
    total = int(weights.sum())
    if total <= seats:
        return weights.astype(np.int64)
    whole, rest = np.divmod(weights.astype(np.int64) * seats, total)
    extra = np.argsort(-rest, kind="stable")[: seats - int(whole.sum())]
    whole[extra] += 1
    return whole


def _every_place(size: int) -> tuple[Ints, Ints]:
    """Group and bin of every cell of an array [size, BINS]."""
    place = np.arange(size * BINS, dtype=np.int64)
    return place // BINS, place % BINS


@cache
def _logits() -> Floats:
    scores = bin_scores()
    logits: Floats = np.log(scores) - np.log1p(-scores)
    return logits


def _as_given() -> Any:
    """A fitted estimator whose only feature is already the score."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class AsGiven(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, features: Floats, outcome: Ints) -> AsGiven:
            return self

        def predict_proba(self, features: Floats) -> Floats:
            score = np.asarray(features, dtype=np.float64)[:, 0]
            return np.column_stack([1 - score, score])

    return AsGiven()


@contextmanager
def _quiet() -> Iterator[None]:
    """fairlearn and scikit-learn warn of their own coming changes; what matters here is in the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
