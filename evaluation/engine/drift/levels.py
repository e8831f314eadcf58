"""Two samples side by side, every feature in levels: how far they differ, and what weights would make them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.categories import js_divergence
from evaluation.engine.drift.sample import DriftSample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
LEVELS = 20
"""Levels of a category that are told apart here; the rarer ones are one level."""
BINS = 10
MISSING = "(missing)"
OTHER = "(other)"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature of both samples as levels: ``codes`` int64 [n + m], ``window`` bool [n + m], names of the levels."""

    name: str
    columns: tuple[str, ...]
    codes: Ints
    names: tuple[str, ...]
    numbers: Floats | None = None
    excess: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Both:
    """Reference and window together. Arrays have length n + m, the reference first."""

    window: npt.NDArray[np.bool_]
    keys: npt.NDArray[np.uint64]
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def both_of(reference: DriftSample, window: DriftSample) -> Both:
    names = sorted(set(reference.columns) & set(window.columns))
    return Both(
        window=np.concatenate([np.zeros(len(reference), dtype=bool), np.ones(len(window), dtype=bool)]),
        keys=np.concatenate([reference.keys, window.keys]),
        columns={name: np.concatenate([reference.columns[name], window.columns[name]]) for name in names},
    )


def features_of(both: Both) -> list[Feature]:
    """Every column as levels; coordinates of one vector are one feature for the classifier, and apart here."""
    found = []
    for name, values in both.columns.items():
        if values.dtype == object:
            codes, names = _levels(values)
            numbers = None
        else:
            codes, names = _bins(values, ~both.window)
            numbers = values
        excess = divergence(codes, len(names), both.window, None) - by_chance(codes, len(names), both.window)
        # Scores and labels keep their full name: both are called by a finding.
        plain = name if name.startswith(("score.", "label.")) else name.partition(".")[2]
        found.append(
            Feature(name=plain, columns=(name,), codes=codes, names=names, numbers=numbers, excess=float(excess))
        )
    return found


def _levels(values: npt.NDArray[Any]) -> tuple[Ints, tuple[str, ...]]:
    told = np.array([MISSING if value is None else str(value) for value in values], dtype=object)
    names, codes, counts = np.unique(told.astype(str), return_inverse=True, return_counts=True)
    if len(names) > LEVELS:
        kept = np.sort(np.argsort(-counts, kind="stable")[: LEVELS - 1])
        place = np.full(len(names), LEVELS - 1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        return place[codes], (*(str(name) for name in names[kept]), OTHER)
    return codes.astype(np.int64), tuple(str(name) for name in names)


def _bins(values: Floats, fitted: npt.NDArray[np.bool_]) -> tuple[Ints, tuple[str, ...]]:
    """Bins at the deciles of the reference, and one for missing values."""
    known = ~np.isnan(values)
    base = values[known & fitted] if (known & fitted).any() else values[known]
    edges = np.unique(np.quantile(base, np.arange(1, BINS) / BINS)) if len(base) else np.zeros(0)
    codes = np.where(known, np.searchsorted(edges, values, side="right"), len(edges) + 1).astype(np.int64)
    return codes, (*(f"bin {place}" for place in range(len(edges) + 1)), MISSING)


def divergence(codes: Ints, size: int, window: npt.NDArray[np.bool_], weights: Floats | None) -> float:
    """Jensen-Shannon divergence, base 2, between the levels of the reference (weighted) and of the window."""
    one = np.bincount(codes[~window], weights=None if weights is None else weights[~window], minlength=size)
    two = np.bincount(codes[window], minlength=size)
    if one.sum() <= 0 or two.sum() <= 0:
        return 0.0
    return max(0.0, js_divergence(one / one.sum(), two / two.sum()))


def by_chance(codes: Ints, size: int, window: npt.NDArray[np.bool_]) -> float:
    """What the divergence reaches by chance: its 99th percentile without a difference, from the chi-square law."""
    from scipy.stats import chi2

    used = len(np.unique(codes))
    n, m = int(window.sum()), int((~window).sum())
    if used < 2:
        return 1.0
    return float(chi2.ppf(0.99, used - 1) * (1 / n + 1 / m) / (8 * np.log(2)))


def weights_of(item: Feature, window: npt.NDArray[np.bool_]) -> Floats:
    """Weights of the reference's patients that give it the window's levels; a level it does not have stays apart."""
    one = np.bincount(item.codes[~window], minlength=len(item.names)) / max(1, int((~window).sum()))
    two = np.bincount(item.codes[window], minlength=len(item.names)) / max(1, int(window.sum()))
    ratio = np.divide(two, one, out=np.zeros_like(two), where=one > 0)
    weights: Floats = np.where(window, 0.0, ratio[item.codes])
    return weights
