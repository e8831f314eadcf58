"""A logistic regression on group and score, fitted to counts by group and bin in place of rows.

``logit P(positive) = a + b logit(score)/4 + c_group``, with a ridge penalty of half the square of all but ``a``: what
scikit-learn's ``LogisticRegression(solver="newton-cholesky")`` fits to the rows that the counts stand for, by the same
Newton steps from the same start, stopped by the same rule. The coefficients differ in the last digits, because sums run
over counts. Only decisions are given back. Where a score comes so close to the boundary that those digits could matter,
or a step is not accepted whole, scikit-learn fits the rows.
"""

from __future__ import annotations

import numpy as np

from evaluation.engine.suites.fairness.reduction import Bools, Floats, Ints, Rows

TOLERANCE = 1e-4
ARMIJO = 2.0**-11
MOST_STEPS = 100
NEAR = 1e-9
"""A boundary nearer to a score than this, in log odds, is left to scikit-learn."""


class GroupModel:
    """Fits the rows again and again, with other wishes and weights.

    Args:
        rows: The studies to fit.
        features: float64 [n, F] of these rows; every: float64 [G, K, F] of every group and bin.
    """

    def __init__(self, rows: Rows, features: Floats, every: Floats) -> None:
        self.rows, self.features = rows, features
        self.every = every.reshape(rows.groups * rows.bins, -1)
        counts = np.bincount(
            (rows.group * rows.bins + rows.bin) * 2 + rows.outcome, minlength=2 * rows.groups * rows.bins
        ).reshape(-1, 2)
        used = np.flatnonzero(counts.any(axis=1))
        self.counts = counts[used].astype(np.float64)
        self.group = used // rows.bins
        self.design = np.column_stack([self.every[used], np.ones(len(used))])
        self.flat = np.ascontiguousarray(self.design.T)

    def decide(self, wanted: Bools, weight: Floats) -> Bools:
        """Decisions of the model for every group and bin, bool [G, K].

        Args:
            wanted, weight: [G, 2], the decision to learn and its weight, by group and outcome.
        """
        weights = self.counts * weight[self.group]
        found = self._newton(weights.sum(axis=1), (weights * wanted[self.group]).sum(axis=1))
        if found is not None:
            margin = self.every @ found[:-1] + found[-1]
            if float(np.abs(margin).min()) > NEAR:
                return np.asarray(margin > 0).reshape(self.rows.groups, self.rows.bins)
        return self._by_rows(wanted, weight)

    def _newton(self, total: Floats, positive: Floats) -> Floats | None:
        """Coefficients, that of the constant last; None where a whole step does not lessen the loss enough.

        Args:
            total, positive: [cells], weights of the studies, and of those to be decided positive.
        """
        size = float(total.sum())
        total, positive = total / size, positive / size
        penalty = np.full(len(self.flat), 1 / size)
        penalty[-1] = 0.0
        coefficients = np.zeros(len(self.flat))
        risk, loss = np.full(len(total), 0.5), float(np.log(2.0) * total.sum())
        gradient = self.flat @ (total * risk - positive)
        for _ in range(MOST_STEPS):
            curve = (self.flat * (total * risk * (1 - risk))) @ self.design
            curve[np.diag_indices_from(curve)] += penalty
            step = np.linalg.solve(curve, -gradient)
            slope = float(gradient @ step)
            coefficients = coefficients + step
            margin = self.design @ coefficients
            tail = np.exp(-np.abs(margin))
            raised = np.maximum(margin, 0) + np.log1p(tail)
            reached = float(total @ raised - positive @ margin + 0.5 * (penalty * coefficients) @ coefficients)
            if slope > 0 or not reached - loss <= ARMIJO * slope:
                return None
            loss, risk = reached, np.where(margin >= 0, 1.0, tail) / (1 + tail)
            gradient = self.flat @ (total * risk - positive) + penalty * coefficients
            if float(np.abs(gradient).max()) <= TOLERANCE and 0.5 * float(step @ curve @ step) <= TOLERANCE:
                return coefficients
        return None

    def _by_rows(self, wanted: Bools, weight: Floats) -> Bools:
        """The same by scikit-learn."""
        from sklearn.linear_model import LogisticRegression

        place = (self.rows.group, self.rows.outcome)
        model = LogisticRegression(solver="newton-cholesky")
        model.fit(self.features, wanted[place].astype(np.int64), sample_weight=weight[place])
        decided: Ints = model.predict(self.every)
        return decided.astype(bool).reshape(self.rows.groups, self.rows.bins)
