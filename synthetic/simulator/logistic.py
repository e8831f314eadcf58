"""Labels drawn by a logistic model whose intercept is fitted to the prevalence that was asked for."""

from __future__ import annotations

import numpy as np

from synthetic.simulator.patients import Floats

HALVINGS = 60
"""Of an interval of 80: far below what a float can tell apart."""


def chances(score: Floats, prevalence: float, weights: Floats | None = None) -> Floats:
    """Probabilities sigmoid(a + score) with the intercept a for which their weighted mean is the prevalence.

    Found by bisection. The score must be finite and of a usual size: a is looked for within 40 of its mean.
    """
    share = np.ones(len(score)) if weights is None else weights
    centred = score - score.mean()
    low, high = -40.0, 40.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if np.average(sigmoid(centred + middle), weights=share) < prevalence:
            low = middle
        else:
            high = middle
    return sigmoid(centred + (low + high) / 2)


def sigmoid(value: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(value, -500, 500)))
    return result
