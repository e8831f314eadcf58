"""The Gaussian copula between the columns of a study and those of the study before it, fitted by SDV.

``sdv.single_table.GaussianCopulaSynthesizer`` is fitted on residual scores with normal marginals; its correlation
matrix is what is kept. Two things are then made good, as SDV correlates what was seen and not the latents behind it:

- A score that is not told counts as 0. The covariance over rows where both are told follows exactly, from how many
  there are.
- What is seen of a latent is a step function f of it. With normalised Hermite polynomials h_n and a_n = E[f(Z) h_n(Z)],
  two latents of correlation r show E[f g] = sum of a_n b_n r^n. This is solved for r (for two binary columns: the
  tetrachoric correlation).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_effects import CERTAIN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
ORDERS = 48
MOST_ROWS = 4000
"""Rows over which Hermite coefficients are averaged: every so many-th of them."""
FEWEST = 30
"""Rows that must tell two columns for a correlation between them."""
OFTEN = 0.4
"""Share of the studies that tell two columns from which a change of their correlation is told among the facts."""
STRONGEST = 0.995
SMALLEST = 1e-12
ROUNDS, LEAST_TRUST = 150, 0.01
DIGITS = 9
"""Digits that are kept, so that the last ones, which depend on the machine's linear algebra, are not."""
FLOOR = 1e-4
"""Smallest eigenvalue that a correlation matrix is left with."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What is seen of d latents and of those of the study before.

    Attributes:
        products: [d, 2 d] mean product of two scores where both are told; the first half within a study, the second
            with the study before.
        rows: [d, 2 d] how many rows tell both.
        power: [d] mean square of a score.
    """

    products: Floats
    rows: Floats
    power: Floats


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Correlation of d latents within a study and with those of the study before: ``within`` [d, d], ``step`` [d, d],
    ``step[i, j]`` between i now and j before."""

    within: Floats
    step: Floats


def fit_moments(scores: Floats, before: Ints) -> Moments:
    """Moments by SDV's Gaussian copula.

    Args:
        scores: [n, d] residual scores, NaN where not told.
        before: [n] row of the study before, -1 for none.
    """
    n, d = scores.shape
    told = ~np.isnan(scores)
    earlier = np.where((before >= 0)[:, None], told[before], False)
    now = np.where(told, scores, 0.0)
    table = np.concatenate([now, np.where(earlier, now[before], 0.0)], axis=1)
    model, names = sdv_copula(table, "norm")
    correlation = model.correlation.loc[names, names].to_numpy()
    fitted = dict(zip(model.columns, model.univariates, strict=True))
    means = np.array([float(fitted[name]._params["loc"]) for name in names])
    spreads = np.array([float(fitted[name]._params["scale"]) for name in names])
    both = told.T.astype(np.float64) @ np.concatenate([told, earlier], axis=1).astype(np.float64)
    filled = correlation * np.outer(spreads, spreads) + np.outer(means, means)
    products = np.divide(filled[:d] * n, both, out=np.zeros((d, 2 * d)), where=both > 0)
    power = np.divide((now**2).sum(axis=0), told.sum(axis=0), out=np.ones(d), where=told.any(axis=0))
    return Moments(products=products, rows=both, power=power)


def sdv_copula(table: Floats, marginals: str) -> tuple[Any, list[str]]:
    """SDV's Gaussian copula of the columns of a table, and the names that they have in it.

    Args:
        marginals: Of every column, by SDV's name: ``norm``, ``uniform``.
    """
    import pandas as pd
    from sdv.logging import disable_single_table_logger
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    names = [f"c{column:04d}" for column in range(table.shape[1])]
    metadata = {"tables": {"rows": {"columns": {name: {"sdtype": "numerical"} for name in names}}}}
    # SDV writes sizes of tables to a file in the user's folder, and warns that metadata were not saved to another.
    with warnings.catch_warnings(), disable_single_table_logger():
        warnings.simplefilter("ignore")
        synthesizer = GaussianCopulaSynthesizer(
            Metadata.load_from_dict(metadata), default_distribution=marginals,
            enforce_min_max_values=False, enforce_rounding=False,
        )  # fmt: skip
        synthesizer.fit({"rows": pd.DataFrame(table, columns=names)})
    return synthesizer._model, names


def latent_correlations(
    moments: Moments, scores: Floats, before: Ints, offsets: Floats, sight: Floats, apart: Bools
) -> tuple[Latents, float]:
    """Correlations of the latents that show the moments.

    Args:
        offsets: [n, d] thresholds of choices; ``sight``: [d] of numbers, NaN for choices.
        apart: [d, d] pairs within a study of which one decides whether the other is told: they are not correlated.

    Returns:
        The latents, and the largest change of a correlation that many studies tell, which made the matrix one of
        correlations.
    """
    d = scores.shape[1]
    series = _hermite_products(scores, before, offsets, sight)
    low, high = np.full((d, 2 * d), -STRONGEST), np.full((d, 2 * d), STRONGEST)
    for _ in range(24):
        middle = (low + high) / 2
        under = _value(series, middle) < moments.products
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    found = (low + high) / 2
    slope = np.maximum(series[0], 1e-6)
    powers = np.concatenate([moments.power, moments.power])
    error = np.maximum(np.outer(moments.power, powers) / np.maximum(moments.rows, 1) / slope**2, SMALLEST)
    able = (moments.rows >= FEWEST) & (series[0] > 1e-6) & (error > SMALLEST)
    shrunk = found * np.maximum(0.0, 1 - error / np.maximum(found**2, 1e-12))
    shrunk = np.where(able, shrunk, 0.0)
    within, step = shrunk[:, :d].copy(), shrunk[:, d:].copy()
    within[apart] = 0.0
    within = (within + within.T) / 2
    np.fill_diagonal(within, 1.0)
    trust = np.where(able, np.clip(error[able].min(initial=1.0) / error, LEAST_TRUST, 1.0), LEAST_TRUST)
    trust[:, :d][apart | np.eye(d, dtype=np.bool_)] = 1.0
    often = moments.rows >= OFTEN * len(scores)
    # How a column stays as it is from visit to visit is kept before it goes with others, be it ever so rare.
    own = np.arange(d)
    lasting = np.diag(often)
    trust[own[lasting], d + own[lasting]] = 1.0
    latents = as_correlations(within, step, trust[:, :d], trust[:, d:])
    change = np.abs(np.concatenate([latents.within - within, latents.step - step], axis=1))
    return latents, float(change[often].max(initial=0.0))


def _hermite_products(scores: Floats, before: Ints, offsets: Floats, sight: Floats) -> Floats:
    """[orders, d, 2 d] mean of a_n b_n over rows that tell both."""
    n, d = scores.shape
    rows = np.arange(0, n, max(1, n // MOST_ROWS))
    told, has = ~np.isnan(scores), before >= 0
    earlier = np.where(has[:, None], told[before], False)[rows]
    now, past = offsets[rows], offsets[before[rows]]
    here = told[rows]
    both = np.maximum(here.T.astype(np.float64) @ np.concatenate([here, earlier], axis=1), 1)
    found = np.zeros((ORDERS, d, 2 * d))
    for order, (left, right) in enumerate(zip(_coefficients(now, sight), _coefficients(past, sight), strict=True)):
        first = np.where(here, left, 0.0)
        second = np.concatenate([first, np.where(earlier, right, 0.0)], axis=1)
        found[order] = first.T @ second / both
    return found


def _coefficients(offsets: Floats, sight: Floats) -> list[Floats]:
    """For each order from 1 the coefficient [n, d] of what is seen of a latent."""
    from scipy.special import ndtr

    t = np.clip(offsets, -8, 8)
    numbers = np.isfinite(sight)
    pdf = np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)
    height = pdf**2 / np.maximum(ndtr(t) * ndtr(-t), 1e-12)
    height = np.where(np.abs(offsets) >= CERTAIN, 0.0, height)
    found, last, now = [], np.zeros_like(t), np.ones_like(t)
    for order in range(1, ORDERS + 1):
        value = height * now / np.sqrt(order)
        value[:, numbers] = sight[numbers] if order == 1 else 0.0
        found.append(value)
        last, now = now, (t * now - np.sqrt(order - 1) * last) / np.sqrt(order)
    return found


def _value(series: Floats, r: Floats) -> Floats:
    total = np.zeros_like(r)
    for coefficients in series[::-1]:
        total = (total + coefficients) * r
    return total


def as_correlations(within: Floats, step: Floats, trust: Floats, step_trust: Floats) -> Latents:
    """The nearest matrices that two successive studies can have: [[within, step], [step', within]] is positive
    definite, with ones on its diagonal and equal blocks.

    Nearest by squares that are weighted by trust, in (0, 1]: what many studies tell gives way last. Each round moves
    the matrix by ``trust * (wanted - matrix)`` and projects it, which lowers the weighted sum of squares.
    """
    d = len(within)
    first = np.block([[within, step], [step.T, within]])
    weights = np.block([[trust, step_trust], [step_trust.T, trust]])
    weights = (weights + weights.T) / 2
    matrix = first
    for number in range(ROUNDS):
        values, vectors = np.linalg.eigh(matrix + weights * (first - matrix))
        if number == 0 and values[0] >= FLOOR:
            break
        matrix = (vectors * np.maximum(values, FLOOR)) @ vectors.T
        block = (matrix[:d, :d] + matrix[d:, d:]) / 2
        scale = 1 / np.sqrt(np.diag(block))
        block, cross = block * np.outer(scale, scale), matrix[:d, d:] * np.outer(scale, scale)
        matrix = np.block([[block, cross], [cross.T, block]])
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < FLOOR / 2:
        ease = (FLOOR - least) / (1 - least)
        matrix = (1 - ease) * matrix + ease * np.eye(2 * d)
    matrix = np.round(matrix, DIGITS) + 0.0  # no negative zero
    return Latents(within=matrix[:d, :d], step=matrix[:d, d:])
