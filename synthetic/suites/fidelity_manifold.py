"""Whether synthetic patients lie where real ones do: a classifier between them, and shares of neighbourhoods.

alpha-precision is ``1 - 2 mean_a |P(a) - a|`` with P(a) the share of synthetic patients within the ball around the real
centre that holds the share a of the real ones. beta-recall is ``1 - 2 mean_b |R(b) - b|`` with R(b) the share of real
patients who lie within the ball to the K-th neighbour of the nearest of those synthetic patients that are the share b
nearest to their centre. Authenticity is the share of synthetic patients that are further from the nearest patient who
was learnt from than that one is from its own nearest.

Source: Alaa and others (2022), How Faithful is your Synthetic Data?, ICML; Lopez-Paz and Oquab (2017), Revisiting
Classifier Two-Sample Tests, ICLR.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.suites.density_map import density_map
from synthetic.suites.fidelity_tables import Frames
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.likeness_columns import SERIES, Column, Frame, matrix
from synthetic.suites.likeness_estimates import Estimate, area, resampled
from synthetic.suites.likeness_gathering import figure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FOLDS = 3
MOST_PATIENTS = 3000
NEIGHBOURS = 5
COMPONENTS = 12
STEPS = np.linspace(0.05, 0.95, 19)
DRAWS = 100
METHOD = f"bootstrap over patients, {DRAWS} draws"


def classifier(frames: Frames, *, seed: int) -> Iterator[Figure]:
    """AUC of gradient boosting out of fold, on all columns and on what the series come to."""
    parts = {
        "patients and studies": [column for column in frames.columns if column.table != SERIES],
        "series": [column for column in frames.columns if column.table == SERIES],
    }
    for of, columns in parts.items():
        if not columns:
            yield not_computed("c2st", "the cohort has no such columns", of=of)
            continue
        found = _two_sample(frames.synthetic, frames.held_out, columns, seed)
        null = _two_sample(frames.learnt, frames.held_out, columns, seed)
        if found is None:
            yield not_computed("c2st", "too few patients for folds", of=of)
            continue
        yield figure("c2st", found, of=of, null=null, method=f"linearised over patients, {FOLDS} folds by patient")


def _two_sample(made: Frame, real: Frame, columns: Sequence[Column], seed: int) -> Estimate | None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    patients = min(made.patients, real.patients, MOST_PATIENTS)
    tables: list[Floats] = []
    codes: list[Ints] = []
    for name, one in (("made", made), ("real", real)):
        chosen = generator(seed, "two samples", name).permutation(one.patients)[:patients]
        place = np.full(one.patients, -1)
        place[chosen] = np.arange(len(chosen))
        rows = place[one.codes] >= 0
        tables.append(matrix(one, columns)[rows])
        codes.append(place[one.codes][rows] + (patients if codes else 0))
    table, whose = np.concatenate(tables), np.concatenate(codes)
    labels = np.arange(len(table)) < len(tables[0])
    fold = generator(seed, "two samples", "folds").permutation(2 * patients)[whose] % FOLDS
    scores = np.zeros(len(table))
    for number in range(FOLDS):
        learning = fold != number
        model = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.1, max_leaf_nodes=15, random_state=0,
                                               early_stopping=False)  # fmt: skip
        # An entirely missing column has no bins.
        used = np.isfinite(table[learning]).any(axis=0)
        model.fit(table[learning][:, used], labels[learning])
        scores[~learning] = model.predict_proba(table[~learning][:, used])[:, 1]
    return area(scores, labels, whose, 2 * patients)


@dataclass(frozen=True, kw_only=True)
class Points:
    """Patients as points in the space of an encoder that learnt from the readers alone: [patients, dimensions]."""

    synthetic: Floats
    learnt: Floats
    held_out: Floats


def patients_as_points(frames: Frames, *, seed: int) -> Points:
    """One study of each patient in the principal components of the readers' columns, each of variance 1."""
    readers = frames.readers
    numbers = [column for column in frames.columns if np.isfinite(readers.values[column.name]).any()]
    encoded = _Encoder(numbers, readers)
    rows = {
        name: _one_each(one, generator(seed, "points", name))
        for name, one in (
            ("synthetic", frames.synthetic), ("learnt", frames.learnt), ("held_out", frames.held_out),
        )
    }  # fmt: skip
    return Points(**{name: encoded(getattr(frames, name), chosen) for name, chosen in rows.items()})


def _one_each(made: Frame, rng: np.random.Generator) -> Ints:
    """A row of each of at most MOST_PATIENTS patients."""
    order = rng.permutation(len(made.codes))
    _, first = np.unique(made.codes[order], return_index=True)
    rows = order[first]
    return rows[rng.permutation(len(rows))[:MOST_PATIENTS]]


class _Encoder:
    """Numbers in units of the readers' spread, categories as indicators; then principal components."""

    def __init__(self, columns: Sequence[Column], readers: Frame) -> None:
        self.columns = columns
        self.centre = {c.name: float(np.nanmedian(readers.values[c.name])) for c in columns}
        spreads = {c.name: float(np.nanstd(readers.values[c.name])) for c in columns}
        self.spread = {name: value or 1.0 for name, value in spreads.items()}
        table = self._table(readers, np.arange(len(readers.codes)))
        self.mean = table.mean(axis=0)
        _, lengths, axes = np.linalg.svd(table - self.mean, full_matrices=False)
        kept = min(COMPONENTS, int((lengths > 1e-6 * lengths[0]).sum()))
        self.axes = axes[:kept].T / (lengths[:kept] / math.sqrt(len(table)))

    def __call__(self, made: Frame, rows: Ints) -> Floats:
        found: Floats = (self._table(made, rows) - self.mean) @ self.axes
        return found

    def _table(self, made: Frame, rows: Ints) -> Floats:
        parts = []
        for column in self.columns:
            values = made.values[column.name][rows]
            if column.numeric:
                scaled = (values - self.centre[column.name]) / self.spread[column.name]
                parts.append(np.clip(np.nan_to_num(scaled), -5, 5)[:, None])
            else:
                kinds = np.arange(len(column.codes))
                parts.append((values[:, None] == kinds[None, :]).astype(np.float64))
        return np.concatenate(parts, axis=1)


def precision(points: Points, of: str, *, seed: int) -> Figure:
    """alpha-precision of the synthetic points, and of those learnt from; with a map of where both lie."""

    def found(made: Floats, name: str) -> Estimate:
        centre = points.held_out.mean(axis=0)
        real, other = (np.linalg.norm(one - centre, axis=1) for one in (points.held_out, made))
        rng = generator(seed, "alpha precision", of, name)
        draws = []
        for _ in range(DRAWS):
            first, second = (one[rng.integers(0, len(one), len(one))] for one in (real, other))
            draws.append(_precision(first, second))
        return _bootstrapped(_precision(real, other), draws, len(made))

    lie = density_map(points.held_out, points.synthetic)
    made, null = found(points.synthetic, "made"), found(points.learnt, "real")
    return _pointed("alpha_precision", of, made, null, "synthetic", **({"map": lie} if lie else {}))


def _precision(real: Floats, other: Floats) -> float:
    radii = np.quantile(real, STEPS)
    inside = np.searchsorted(np.sort(other), radii, side="right") / len(other)
    return float(1 - 2 * np.abs(inside - STEPS).mean())


def recall(points: Points, of: str, *, seed: int) -> Figure:
    """beta-recall of the held-out points by the synthetic ones, and by as many of those learnt from."""

    def found(made: Floats, name: str) -> Estimate:
        rng = generator(seed, "beta recall", of, name)
        size = min(len(made), len(points.held_out))
        made = made[rng.permutation(len(made))[:size]]
        distance, nearest = _nearest(points.held_out, made, 1)
        own, _ = _nearest(made, made, NEIGHBOURS + 1)
        away = np.linalg.norm(made - made.mean(axis=0), axis=1)
        covered = distance[:, 0] <= own[nearest[:, 0], -1]
        # Bool [real, steps]: covered by a synthetic point within the share b.
        within = covered[:, None] & (away[nearest[:, 0]][:, None] <= np.quantile(away, STEPS)[None, :])
        totals = resampled(len(within), DRAWS, rng) @ within.astype(np.float64) / len(within)
        draws = 1 - 2 * np.abs(totals - STEPS).mean(axis=1)
        value = float(1 - 2 * np.abs(within.mean(axis=0) - STEPS).mean())
        return _bootstrapped(value, draws.tolist(), len(points.held_out))

    return _pointed("beta_recall", of, found(points.synthetic, "made"), found(points.learnt, "real"), "real")


def authenticity(points: Points, of: str) -> Figure:
    """The share of synthetic points that are no copies, less that of held-out points. Ties count half."""
    own, _ = _nearest(points.learnt, points.learnt, 2)

    def found(made: Floats) -> Estimate:
        distance, nearest = _nearest(made, points.learnt, 1)
        theirs = own[nearest[:, 0], 1]
        hits = (distance[:, 0] > theirs) + 0.5 * (distance[:, 0] == theirs)
        value = float(hits.mean())
        return Estimate(value=value, parts=((hits - value) / len(hits),), n=len(hits))

    apart = found(points.synthetic).minus(found(points.held_out))
    return figure("authenticity", apart, of=of, null=Estimate(value=0.0, parts=()), least=-1.0,
                  counted="synthetic patients", real=found(points.held_out).value)  # fmt: skip


def _pointed(metric: str, of: str, made: Estimate, real: Estimate, whose: str, **detail: Any) -> Figure:
    return figure(metric, made, of=of, null=real, counted=f"{whose} patients", least=-1.0, method=METHOD, **detail)


def _bootstrapped(value: float, draws: Sequence[float], n: int) -> Estimate:
    """An estimate whose error is the standard deviation of draws."""
    return Estimate(value=value, parts=(np.array([float(np.std(draws, ddof=1))]),), n=n)


def _nearest(from_points: Floats, to_points: Floats, count: int) -> tuple[Floats, Ints]:
    """Distances to the nearest points and which they are, [n, count], nearest first."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=min(count, len(to_points)), algorithm="brute").fit(to_points)
    distance, place = model.kneighbors(from_points)
    return distance, place
