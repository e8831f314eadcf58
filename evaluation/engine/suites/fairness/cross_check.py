"""Recomputes the point values with fairlearn, from the same merged counts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from core.errors import AuscultError
from evaluation.engine.suites.fairness.groups import LabelGroups

TOLERANCE = 1e-9


def compare_with_fairlearn(parts: Sequence[LabelGroups]) -> dict[str, Any]:
    """Selection rate, sensitivity, false positive rate, predictive value and accuracy of every group, by MetricFrame.

    The counts become a table of cells with ``sample_weight``. Rates that are undefined are left out: fairlearn 0.15
    reports 0.0 for the sensitivity of a group without positives.

    Returns:
        ``{name, version, cells, largest_difference}``.

    Raises:
        AuscultError: when a value differs by more than 1e-9. A number that two libraries disagree on is not judged.
    """
    from fairlearn import __version__, metrics
    from sklearn.metrics import accuracy_score, precision_score  # type: ignore[import-untyped,unused-ignore]

    functions = {
        "selection_rate": metrics.selection_rate,
        "tpr": partial(metrics.true_positive_rate, pos_label=1),
        "fpr": partial(metrics.false_positive_rate, pos_label=1),
        "ppv": partial(precision_score, zero_division=0.0),
        "accuracy": accuracy_score,
    }
    names = [(part, group) for part in parts for group in part.groups if part.patients(group)]
    if not names:
        return {"name": "fairlearn", "version": __version__, "cells": 0, "largest_difference": 0.0}
    weights = np.concatenate([part.cells.totals[part.index(group)] for part, group in names]).astype(np.float64)
    place = np.repeat(np.arange(len(names)), 4)
    used = weights > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = metrics.MetricFrame(
            metrics=functions,
            y_true=np.tile([1, 0, 1, 0], len(names))[used],
            y_pred=np.tile([1, 1, 0, 0], len(names))[used],
            sensitive_features=place[used],
            sample_params={name: {"sample_weight": weights[used]} for name in functions},
        ).by_group
    compared, largest = 0, 0.0
    for metric in functions:
        for row, (part, group) in enumerate(names):
            value = part.rate(metric, group).value
            if value is None:
                continue
            gap = abs(float(frame.loc[row, metric]) - value)
            if not gap <= TOLERANCE:
                raise AuscultError(
                    f"fairlearn {__version__} gives {frame.loc[row, metric]} for {metric} of {part.label} in "
                    f"{part.attribute or 'all studies'} {group}, and Auscult {value}.",
                    remedy="Do not use this audit; report the case with both versions.",
                )
            compared, largest = compared + 1, max(largest, gap)
    return {"name": "fairlearn", "version": __version__, "cells": compared, "largest_difference": largest}
