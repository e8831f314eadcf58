"""Columns, pairs of columns, numbers of studies and keys of synthetic patients against real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import AuditSets, Figure, not_computed
from synthetic.suites.likeness_columns import OTHER, PATIENTS, Column, Frame
from synthetic.suites.likeness_estimates import Estimate, correlation, mean, mean_of, share
from synthetic.suites.likeness_gathering import figure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LEAST_VALUES = 20
ASSOCIATED = 0.15
"""Two columns go together where their correlation in the readers is at least this, and beyond chance."""
SURE = 4.0
MOST_COLUMNS = 60
"""Columns of which pairs are looked at, the first ones: pairs grow with the square."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The sets of an audit as numbers. ``learnt`` has as many patients as ``synthetic``, or fewer."""

    columns: tuple[Column, ...]
    synthetic: Frame
    learnt: Frame
    readers: Frame
    held_out: Frame


def shapes(frames: Frames) -> Iterator[Figure]:
    """Likeness of each column, their mean, and what is missing."""
    told, nulls = [], []
    for column in frames.columns:
        found = _shape(column, frames.synthetic, frames.held_out)
        if isinstance(found, str):
            yield not_computed("column_shape", found, of=column.name)
            continue
        null = _shape(column, frames.learnt, frames.held_out)
        real = null if isinstance(null, Estimate) else None
        told.append(found)
        nulls += [real] if real else []
        kind = "Kolmogorov-Smirnov" if column.numeric else "total variation"
        counted = "patients" if column.table == PATIENTS else "studies"
        yield figure("column_shape", found, of=column.name, null=real, counted=counted, distance=kind)
    if told:
        null_mean = mean_of(nulls) if len(nulls) == len(told) else None
        yield figure("column_shape_mean", mean_of(told), null=null_mean, counted="columns")
    else:
        yield not_computed("column_shape_mean", "no column can be compared")
    yield from _missing(frames)


def _missing(frames: Frames) -> Iterator[Figure]:
    for column in frames.columns:
        gaps = [made.missing(column) for made in (frames.synthetic, frames.learnt, frames.held_out)]
        if not any(values.any() for values, _ in gaps):
            continue
        made, learnt, held = (
            share(values, codes, one.patients)
            for (values, codes), one in zip(gaps, (frames.synthetic, frames.learnt, frames.held_out), strict=True)
        )
        yield figure("missing_share", made.minus(held), of=column.name, null=learnt.minus(held), least=-1.0)


def _shape(column: Column, made: Frame, real: Frame) -> Estimate | str:
    """1 less the distance of two distributions, or why there is none.

    A distance is the difference of two shares: of the values up to the point, or in the categories, where the
    distributions differ most. Its error is that of this difference.
    """
    (first, first_codes), (second, second_codes) = made.of(column), real.of(column)
    if len(second) < LEAST_VALUES:
        return f"only {len(second)} real values are there" if len(second) else "no real patient has a value"
    if len(first) < LEAST_VALUES:
        return f"only {len(first)} synthetic values are there" if len(first) else "no synthetic patient has a value"
    if len(np.unique(np.concatenate([first, second]))) < 2:
        return "all patients have the same value"
    if column.numeric:
        points = np.unique(np.concatenate([first, second]))
        apart = _below(first, points) - _below(second, points)
        place = int(np.argmax(np.abs(apart)))
        inside = [values <= points[place] for values in (first, second)]
        sign = -1.0 if apart[place] > 0 else 1.0
    else:
        kinds = np.unique(np.concatenate([first, second]))
        more = [kind for kind in kinds if (first == kind).mean() > (second == kind).mean()]
        inside, sign = [np.isin(values, more) for values in (first, second)], -1.0
    one = mean(inside[0], first_codes, made.patients)
    other = mean(inside[1], second_codes, real.patients)
    return one.minus(other).mapped(lambda value: 1 + sign * value, sign)


def _below(values: Floats, points: Floats) -> Floats:
    found: Floats = np.searchsorted(np.sort(values), points, side="right") / len(values)
    return found


def cardinality(frames: Frames) -> Iterator[Figure]:
    """Likeness of the number of studies per patient."""

    def likeness(made: Frame) -> Estimate:
        first, second = made.visits, frames.held_out.visits
        kinds = np.unique(np.concatenate([first, second]))
        more = [kind for kind in kinds if (first == kind).mean() > (second == kind).mean()]
        one = mean(np.isin(first, more), np.arange(len(first)), len(first))
        other = mean(np.isin(second, more), np.arange(len(second)), len(second))
        return one.minus(other).mapped(lambda value: 1 - value, -1.0)

    yield figure("cardinality", likeness(frames.synthetic), null=likeness(frames.learnt), counted="patients")


def pairs(frames: Frames) -> Iterator[Figure]:
    """Likeness of how columns go together, within a table and between two."""
    columns = frames.columns[:MOST_COLUMNS]
    ranks = {column.name: _ranked(frames.readers.values[column.name]) for column in columns}
    found: dict[str, list[tuple[str, Estimate, Estimate | None]]] = {"pair_trend": [], "intertable_trend": []}
    for first, second in combinations(columns, 2):
        metric = "pair_trend" if first.table == second.table else "intertable_trend"
        score = _scores(first, second, frames.readers, ranks)
        if score is None:
            continue
        made = _kept(score, frames.synthetic, frames.held_out)
        if made is not None:
            null = _kept(score, frames.learnt, frames.held_out)
            found[metric].append((f"{first.name} and {second.name}", made, null))
    for metric, kept in found.items():
        if not kept:
            reason = "no two columns go together in the readers, or none of these is there in all sets"
            yield not_computed(metric, reason)
            yield not_computed(f"{metric}_mean", reason)
            continue
        for name, made, null in kept:
            yield figure(metric, made, of=name, null=null, counted="studies", least=-1.0)
        nulls = [null for _, _, null in kept if null is not None]
        whole = mean_of([made for _, made, _ in kept])
        null_mean = mean_of(nulls) if len(nulls) == len(kept) else None
        counted = "pairs of columns"
        yield figure(f"{metric}_mean", whole, null=null_mean, counted=counted, least=-1.0)


Score = Callable[[Frame], tuple[Floats, Floats, Ints] | None]


def _scores(first: Column, second: Column, readers: Frame, ranks: dict[str, Floats]) -> Score | None:
    """How two columns become numbers whose correlation is to be kept; None where they do not go together."""
    one, two = ranks[first.name], ranks[second.name]
    here = np.isfinite(one) & np.isfinite(two)
    if here.sum() < LEAST_VALUES:
        return None
    values = {column.name: readers.values[column.name][here] for column in (first, second)}
    orders: dict[str, dict[float, float]] = {}
    if len(first.codes) > 2 and len(second.codes) > 2:
        orders = _corresponding(first.name, second.name, values)
    else:
        for column, other in ((first, two), (second, one)):
            if len(column.codes) > 2:
                kinds = np.unique(values[column.name])
                means = {kind: float(other[here][values[column.name] == kind].mean()) for kind in kinds.tolist()}
                orders[column.name] = means

    def scored(made: Frame) -> tuple[Floats, Floats, Ints] | None:
        both = [made.values[column.name] for column in (first, second)]
        told = np.isfinite(both[0]) & np.isfinite(both[1])
        if first.table == second.table == PATIENTS:
            told &= made.first
        if told.sum() < LEAST_VALUES:
            return None
        u, v = (
            _ranked(_put(values[told], orders.get(column.name)))
            for values, column in zip(both, (first, second), strict=True)
        )
        return u, v, made.codes[told]

    in_readers = _correlated(scored, readers)
    if in_readers is None or abs(in_readers.value) < max(ASSOCIATED, SURE * in_readers.error):
        return None
    return scored


def _corresponding(first: str, second: str, values: dict[str, Floats]) -> dict[str, dict[float, float]]:
    """The first axis of a correspondence analysis: the orders of both columns' categories that correlate most."""
    kinds = [np.unique(values[name], return_inverse=True) for name in (first, second)]
    table = np.zeros((len(kinds[0][0]), len(kinds[1][0])))
    np.add.at(table, (kinds[0][1], kinds[1][1]), 1.0)
    table /= table.sum()
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    left, _, right = np.linalg.svd((table - np.outer(rows, columns)) / np.sqrt(np.outer(rows, columns)))
    return {
        first: dict(zip(kinds[0][0].tolist(), (left[:, 0] / np.sqrt(rows)).tolist(), strict=True)),
        second: dict(zip(kinds[1][0].tolist(), (right[0] / np.sqrt(columns)).tolist(), strict=True)),
    }


def _put(values: Floats, order: dict[float, float] | None) -> Floats:
    """Categories in an order; one that the readers do not have lies in the middle."""
    if order is None:
        return values
    middle = float(np.median(list(order.values())))
    kinds, place = np.unique(values, return_inverse=True)
    found: Floats = np.array([order.get(kind, order.get(OTHER, middle)) for kind in kinds.tolist()])[place]
    return found


def _ranked(values: Floats) -> Floats:
    """Midranks in (0, 1); NaN where a value is missing."""
    found = np.full(len(values), np.nan)
    here = np.isfinite(values)
    if here.any():
        _, place, counts = np.unique(values[here], return_inverse=True, return_counts=True)
        found[here] = ((np.cumsum(counts) - counts / 2) / here.sum())[place]
    return found


def _correlated(scored: Score, made: Frame) -> Estimate | None:
    told = scored(made)
    return None if told is None else correlation(*told, made.patients)


def _kept(scored: Score, made: Frame, real: Frame) -> Estimate | None:
    """1 less the difference of two correlations. A column that does not vary correlates with none."""
    one, other = _correlated(scored, made), _correlated(scored, real)
    if other is None or scored(made) is None:
        return None
    one = one or Estimate(value=0.0, parts=(np.zeros(made.patients),), n=made.patients)
    apart = one.minus(other)
    sign = -math.copysign(1.0, apart.value)
    return apart.mapped(lambda value: 1 - abs(value), sign)


def integrity(sets: AuditSets) -> Iterator[Figure]:
    """Keys: exact shares, whose error is 0. The null is of those learnt from against the other real patients."""
    found = _keys(sets.synthetic, (sets.learnt, sets.readers, sets.held_out))
    nulls = _keys(sets.learnt, (sets.readers, sets.held_out))
    for of, kept in found.items():
        yield Figure(
            metric="referential_integrity", of=of, value=float(np.mean(kept)), error=0.0, n=len(kept),
            counted="patients" if of.startswith("patients") else "studies", null=float(np.mean(nulls[of])),
            null_error=0.0, method="counted",
        )  # fmt: skip


def _keys(made: LinkedStudies, real: Sequence[LinkedStudies]) -> dict[str, list[bool]]:
    """Rule -> whether each key obeys it."""
    patients, studies = made.patient_ids.tolist(), made.study_ids.tolist()
    known_patients = {name for one in real for name in one.patient_ids.tolist()}
    known_studies = {name for one in real for name in one.study_ids.tolist()}
    counts = _counts(studies)
    runs = [name for place, name in enumerate(patients) if place == 0 or patients[place - 1] != name]
    return {
        "patients who are none of the real ones": [name not in known_patients for name in set(patients)],
        "studies that are none of the real ones": [name not in known_studies for name in studies],
        "studies of a name of their own": [counts[name] == 1 for name in studies],
        "studies that belong to a patient": [bool(name) for name in patients],
        "patients whose studies lie together": [count == 1 for count in _counts(runs).values()],
    }


def _counts(names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found
