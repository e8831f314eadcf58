"""Recomputes the point values with fairlearn, from the same merged counts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.suites.fairness.groups import LabelGroups

Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-9
TRUTH, DECISION = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 0])
"""Outcome and decision of the four cells, in the order of the sketch: tp, fp, fn, tn."""


def compare_with_fairlearn(parts: Sequence[LabelGroups]) -> dict[str, Any]:
    """Selection rate, sensitivity, false positive rate, predictive value and accuracy of every group.

    The first three are fairlearn's own functions, the others scikit-learn's, which fairlearn passes on. Each is given
    the cells of one group with their counts as ``sample_weight``. Rates that are undefined are left out: fairlearn 0.15
    reports 0.0 for the sensitivity of a group without positives.

    Returns:
        ``{name, version, cells, largest_difference}``.

    Raises:
        AuscultError: when a value differs by more than 1e-9. A number that two libraries disagree on is not judged.
    """
    from fairlearn import __version__

    compared, largest = 0, 0.0
    functions = _functions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in parts:
            for group in part.groups:
                weight = part.cells.totals[part.index(group)].astype(np.float64)
                for metric, found in _values(part, group, weight, functions):
                    value = part.rate(metric, group).value or 0.0
                    if not abs(found - value) <= TOLERANCE:
                        raise AuscultError(
                            f"fairlearn {__version__} gives {found} for {metric} of {part.label} in "
                            f"{part.attribute or 'all studies'} {group}, and Auscult {value}.",
                            remedy="Do not use this audit; report the case with both versions.",
                        )
                    compared, largest = compared + 1, max(largest, abs(found - value))
    return {"name": "fairlearn", "version": __version__, "cells": compared, "largest_difference": largest}


Function = Callable[..., Any]


def _functions() -> Mapping[str, Function]:
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score, confusion_matrix  # type: ignore[import-untyped,unused-ignore]

    def ppv(truth: Any, decision: Any, *, sample_weight: Floats) -> Any:
        """Of those predicted positive; several times as fast as ``precision_score``, which gives the same."""
        return confusion_matrix(truth, decision, labels=[0, 1], sample_weight=sample_weight, normalize="pred")[1, 1]

    return {
        "selection_rate": metrics.selection_rate,
        "tpr": partial(metrics.true_positive_rate, pos_label=1),
        "fpr": partial(metrics.false_positive_rate, pos_label=1),
        "ppv": ppv,
        "accuracy": accuracy_score,
    }


def _values(
    part: LabelGroups, group: str, weight: Floats, functions: Mapping[str, Function]
) -> list[tuple[str, float]]:
    """What the libraries give for each rate of the group that is defined."""
    used = weight > 0
    return [
        (metric, float(function(TRUTH[used], DECISION[used], sample_weight=weight[used])))
        for metric, function in functions.items()
        if part.rate(metric, group).value is not None
    ]
