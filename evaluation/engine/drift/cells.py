"""The streams of the patients of one joint group, as mergeable statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.engine.drift.records import Objects, Shape
from evaluation.engine.drift.sample import hashes_of
from evaluation.engine.grouping import factorize
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.quantiles import QuantileSketch

if TYPE_CHECKING:
    from evaluation.engine.drift.scored import ScoredCounts
    from evaluation.engine.drift.vectors import VectorSketch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)
MISSING = ""
"""The category of studies that have none."""
OTHER = "(other)"
MOST_CATEGORIES = 500
DECIDED = 0.5
"""Threshold of the scores 0 and 1 of a model that only decides."""


@dataclass(frozen=True, kw_only=True)
class CellSketch:
    """Every stream of n patients, one study each.

    Attributes:
        numbers: Stream -> quantiles; ``missing`` counts studies that have no such number.
        categories: Stream -> category -> studies; "" where the study has none. Of more than 500 categories those 500
            are told apart whose hash is least, whatever their frequency: only so do shares merge exactly.
        vectors: Stream -> moments and random features by fold of patients.
        scored: Label -> studies by score and truth.
    """

    n: int
    numbers: dict[str, QuantileSketch] = field(default_factory=dict)
    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    vectors: dict[str, VectorSketch] = field(default_factory=dict)
    scored: dict[str, ScoredCounts] = field(default_factory=dict)

    def merge(self, other: CellSketch) -> CellSketch:
        """The patients of both. Exact; the order does not matter."""
        return merged([self, other])


def merged(cells: Iterable[CellSketch]) -> CellSketch:
    """The patients of all cells together. A stream that a cell lacks adds nothing."""
    parts = list(cells)
    if len(parts) == 1:
        return parts[0]
    numbers = {
        name: _quantiles([part.numbers[name] for part in parts if name in part.numbers])
        for name in _names(parts, "numbers")
    }
    categories = {
        name: _counts([part.categories[name] for part in parts if name in part.categories])
        for name in _names(parts, "categories")
    }
    vectors: dict[str, VectorSketch] = {}
    scored: dict[str, ScoredCounts] = {}
    for part in parts:
        for stream, sketch in part.vectors.items():
            vectors[stream] = vectors[stream].merge(sketch) if stream in vectors else sketch
        for label, counts in part.scored.items():
            scored[label] = scored[label].merge(counts) if label in scored else counts
    return CellSketch(
        n=sum(part.n for part in parts),
        numbers=numbers,
        categories=categories,
        vectors=dict(sorted(vectors.items())),
        scored=dict(sorted(scored.items())),
    )


def sketch_rows(protocol: Protocol, table: ShardTable, rows: Ints, codes: Ints, n_cells: int) -> list[CellSketch]:
    """The cell sketch of each code from 0 to ``n_cells - 1``.

    Args:
        rows: Studies of the table that count, one of each patient.
        codes: int64 [rows], the cell of each.
    """
    streams = table.streams
    if streams is None:
        return []
    order = np.argsort(codes, kind="stable") if n_cells > 1 else np.arange(len(codes))
    split = _Split(rows=rows[order], ends=np.cumsum(np.bincount(codes, minlength=n_cells))[:-1])
    sizes = np.bincount(codes, minlength=n_cells)
    numbers = {name: split.of(streams.numbers[name]) for name in sorted(streams.numbers)}
    categories = {name: split.of(streams.categories[name]) for name in sorted(streams.categories)}
    made = [
        CellSketch(
            n=int(sizes[cell]),
            numbers={name: QuantileSketch.of(parts[cell]) for name, parts in numbers.items()},
            categories={name: count(parts[cell]) for name, parts in categories.items()},
        )
        for cell in range(n_cells)
    ]
    _add_vectors(protocol, table, split, made)
    _add_scored(protocol, table, split, made)
    return made


def count(values: Objects) -> dict[str, int]:
    """How often each category occurs, missing ones under ""; sorted."""
    codes, uniques = factorize(values)
    counts = np.bincount(codes + 1, minlength=len(uniques) + 1)
    found: dict[str, int] = {MISSING: int(counts[0])} if counts[0] else {}
    for value, number in zip(uniques, counts[1:].tolist(), strict=True):
        name = str(value).strip()
        found[name] = found.get(name, 0) + number
    return _counts([found])


def labels_of(protocol: Protocol, table: ShardTable) -> list[str]:
    """Labels whose scores or decisions are watched: those that a stream of scores names."""
    if table.streams is None:
        return []
    named = {spec.name.partition(".")[2] for spec in table.streams.specs if spec.shape is Shape.SCORED}
    return sorted(named & set(protocol.label_names) & ({*table.scores} | {*table.decisions}))


@dataclass(frozen=True, kw_only=True)
class _Split:
    """Rows in the order of their cells, and where the next cell begins."""

    rows: Ints
    ends: Ints

    def of(self, values: npt.NDArray[T]) -> list[npt.NDArray[T]]:
        if not len(self.ends) and len(self.rows) == len(values):
            return [values]  # every row counts, in its order: no copy
        return np.split(values[self.rows], self.ends)


def _add_vectors(protocol: Protocol, table: ShardTable, split: _Split, made: list[CellSketch]) -> None:
    streams = table.streams
    if streams is None or streams.frame is None or not streams.vectors:
        return
    from evaluation.engine.drift.vectors import VectorSketch, folds_of

    by_cell = split.of(folds_of(hashes_of(table.patient_ids, seed=protocol.seed)))
    for name in sorted(set(streams.vectors) & set(streams.frame.vectors)):
        frame = streams.frame.vectors[name]
        for cell, values, fold in zip(made, split.of(streams.vectors[name]), by_cell, strict=True):
            cell.vectors[name] = VectorSketch.of(frame, values, fold)


def _add_scored(protocol: Protocol, table: ShardTable, split: _Split, made: list[CellSketch]) -> None:
    thresholds = {spec.name: spec.threshold.value if spec.threshold else None for spec in protocol.labels}
    for label in labels_of(protocol, table):
        from evaluation.engine.drift.scored import ScoredCounts

        silent = np.full(len(table), -1, dtype=np.int8)
        truths = split.of(table.labels.get(label, silent))
        threshold = thresholds[label] if label in table.scores else DECIDED
        for cell, scores, truth in zip(made, split.of(_scores(table, label)), truths, strict=True):
            cell.scored[label] = ScoredCounts.of(scores, truth, threshold=threshold)


def _scores(table: ShardTable, label: str) -> Floats:
    """Scores of a label; decisions as 0 and 1 of a model that only decides."""
    if label in table.scores:
        return table.scores[label]
    given = table.decisions[label].astype(np.float64)
    return np.where(given < 0, np.nan, given)


def _names(parts: list[CellSketch], kind: str) -> list[str]:
    return sorted({name for part in parts for name in getattr(part, kind)})


def _quantiles(parts: list[QuantileSketch]) -> QuantileSketch:
    """All at once: merging in pairs would sort the bins again for every cell."""
    if len(parts) == 1:
        return parts[0]
    low = min((int(part.keys[0]) for part in parts if len(part.keys)), default=0)
    high = max((int(part.keys[-1]) for part in parts if len(part.keys)), default=-1)
    every = np.zeros(high - low + 1, dtype=np.int64)
    for part in parts:
        every[part.keys - low] += part.counts
    places = np.flatnonzero(every)
    return QuantileSketch(
        keys=places + low,
        counts=every[places],
        least=min((part.least for part in parts if part.least is not None), default=None),
        most=max((part.most for part in parts if part.most is not None), default=None),
        missing=sum(part.missing for part in parts),
        infinite=sum(part.infinite for part in parts),
    )


def _counts(parts: list[dict[str, int]]) -> dict[str, int]:
    """Counts of all parts, of at most 500 categories apart, sorted.

    A category that is among the 500 of the whole is among those of every part, so its count is whole.
    """
    found: dict[str, int] = {}
    for part in parts:
        for name, number in part.items():
            found[name] = found.get(name, 0) + number
    plain = [name for name in found if name not in (MISSING, OTHER)]
    if len(plain) > MOST_CATEGORIES:
        for name in sorted(plain, key=_order)[MOST_CATEGORIES:]:
            found[OTHER] = found.get(OTHER, 0) + found.pop(name)
    return dict(sorted(found.items()))


def _order(name: str) -> tuple[bytes, str]:
    return blake2b(name.encode(), digest_size=8).digest(), name
