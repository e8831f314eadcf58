"""Counts of true and false decisions per patient: the sufficient statistic of every rate of the fairness suite.

For one label and one grouping, a patient contributes a vector of ``4 x groups`` counts: true positives, false
positives, false negatives and true negatives in each group that the patient's studies fall in. Patients with equal
vectors are exchangeable, so the sketch keeps each distinct vector once, with the number of patients that have it.
From that, totals are a matrix product and a patient-cluster bootstrap is one multinomial draw.

A patient must lie wholly within one shard: merging adds patients, it cannot know that two are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.decisions import Decided, decide
from evaluation.engine.grouping import Grouping, factorize, group_by
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ALL, ShardTable
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen

CELLS = ("tp", "fp", "fn", "tn")
MAGIC = b"auscult-counts-1\n"
OVERALL = ""
"""The grouping that has every study in the one group ``All``."""

Ints = npt.NDArray[np.int64]
Part = TypeVar("Part", "Cells", "Tally")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Counts for one label and one grouping.

    Attributes:
        groups: Sorted names of G groups.
        vectors: int64 [D, 4G], distinct, in lexicographic order; columns are group-major, in the order of CELLS.
        counts: int64 [D], patients with that vector.
        silent: int64 [G, 2], studies without a reference, and with one but without a prediction.
    """

    groups: tuple[str, ...]
    vectors: Ints
    counts: Ints
    silent: Ints

    @property
    def totals(self) -> Ints:
        """Studies per group and cell, int64 [G, 4]."""
        return (self.counts @ self.vectors).reshape(len(self.groups), 4)

    def merge(self, other: Cells) -> Cells:
        groups = tuple(sorted({*self.groups, *other.groups}))
        spread = [_spread(part.vectors, part.groups, groups) for part in (self, other)]
        vectors, counts = _distinct(np.concatenate(spread), np.concatenate([self.counts, other.counts]))
        silent = sum(_spread_rows(part.silent, part.groups, groups) for part in (self, other))
        return Cells(groups=groups, vectors=vectors, counts=counts, silent=np.asarray(silent))


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Size of each group of one grouping, whatever the label.

    Attributes:
        sizes: int64 [G, 2]: studies, patients with at least one study in the group.
        spanning: Patients whose studies fall in more than one group.
        implausible: Studies whose value could not be true, or not be read; they are in Unknown.
    """

    groups: tuple[str, ...]
    sizes: Ints
    spanning: int
    implausible: int

    def merge(self, other: Tally) -> Tally:
        groups = tuple(sorted({*self.groups, *other.groups}))
        sizes = sum(_spread_rows(part.sizes, part.groups, groups) for part in (self, other))
        return Tally(
            groups=groups,
            sizes=np.asarray(sizes),
            spanning=self.spanning + other.spanning,
            implausible=self.implausible + other.implausible,
        )


@dataclass(frozen=True, kw_only=True)
class CountsSketch:
    """Counts for every label (composite included) and grouping (``OVERALL`` included) of a protocol."""

    cells: dict[tuple[str, str], Cells]
    tallies: dict[str, Tally]

    @classmethod
    def from_table(cls, protocol: Protocol, table: ShardTable) -> CountsSketch:
        """Sketch of one shard. O(n log n) per label and grouping, without a loop over rows.

        Raises:
            ProtocolError: where the protocol does not fit the table.
        """
        patients, known = factorize(table.patient_ids)
        if (patients < 0).any():
            raise AuscultError("A study has no patient.", remedy="Give every study a patient_id.", column="patient_id")
        everyone = Grouping(name=OVERALL, codes=np.zeros(len(table), dtype=np.int64), groups=(ALL,))
        groupings = [everyone, *group_by(protocol, table)]
        decided = decide(protocol, table)
        return cls(
            cells={(item.label, by.name): _count(patients, item, by) for item in decided for by in groupings},
            tallies={by.name: _tally(patients, len(known), by) for by in groupings},
        )

    def merge(self, other: CountsSketch) -> CountsSketch:
        """Counts of both. Exact; the order does not matter.

        Raises:
            AuscultError: for sketches of different labels or attributes.
        """
        if self.cells.keys() != other.cells.keys() or self.tallies.keys() != other.tallies.keys():
            raise AuscultError("These sketches count different labels or attributes.", remedy="Use one protocol.")
        return CountsSketch(cells=_merge_all(self.cells, other.cells), tallies=_merge_all(self.tallies, other.tallies))

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal counts, in whatever order they were merged."""
        cells, tallies, blocks = [], [], []
        for (label, by), item in sorted(self.cells.items()):
            width, vectors = narrow(item.vectors)
            shape = [len(item.counts), 4 * len(item.groups)]
            cells.append({"label": label, "by": by, "groups": item.groups, "width": width, "shape": shape})
            blocks += [vectors, item.counts.astype("<i8").tobytes(), item.silent.astype("<i8").tobytes()]
        for by, tally in sorted(self.tallies.items()):
            facts = {"spanning": tally.spanning, "implausible": tally.implausible}
            tallies.append({"by": by, "groups": tally.groups, **facts})
            blocks.append(tally.sizes.astype("<i8").tobytes())
        return pack(MAGIC, {"cells": cells, "tallies": tallies}, blocks)

    @classmethod
    def from_bytes(cls, data: bytes) -> CountsSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        rest = iter(blocks)
        cells = {(item["label"], item["by"]): _read_cells(item, rest) for item in header["cells"]}
        tallies = {}
        for item in header["tallies"]:
            groups = tuple(item["groups"])
            tallies[item["by"]] = Tally(
                groups=groups,
                sizes=widen("<i8", next(rest), (len(groups), 2)),
                spanning=int(item["spanning"]),
                implausible=int(item["implausible"]),
            )
        return cls(cells=cells, tallies=tallies)


def _read_cells(item: dict[str, Any], rest: Any) -> Cells:
    groups, rows = tuple(item["groups"]), int(item["shape"][0])
    return Cells(
        groups=groups,
        vectors=widen(item["width"], next(rest), (rows, 4 * len(groups))),
        counts=widen("<i8", next(rest), (rows,)),
        silent=widen("<i8", next(rest), (len(groups), 2)),
    )


def _merge_all(mine: dict[Any, Part], theirs: dict[Any, Part]) -> dict[Any, Part]:
    return {key: item.merge(theirs[key]) for key, item in mine.items()}


def _count(patients: Ints, item: Decided, by: Grouping) -> Cells:
    """Counts of one label in one grouping."""
    positive, predicted = item.reference == 1, item.decision == 1
    usable = (item.reference >= 0) & (item.decision >= 0)
    cell = np.where(positive, np.where(predicted, 0, 2), np.where(predicted, 1, 3))
    vectors, counts = _collapse(patients[usable], (by.codes * 4 + cell)[usable], 4 * len(by.groups))
    unread = [item.reference < 0, (item.reference >= 0) & (item.decision < 0)]
    silent = np.stack([np.bincount(by.codes[mask], minlength=len(by.groups)) for mask in unread], axis=1)
    return Cells(groups=by.groups, vectors=vectors, counts=counts, silent=silent.astype(np.int64))


def _tally(patients: Ints, n_patients: int, by: Grouping) -> Tally:
    size = max(1, len(by.groups))
    pairs, _ = _runs(patients * size + by.codes)
    groups_of = np.bincount(pairs // size, minlength=n_patients)
    sizes = [np.bincount(codes, minlength=size)[: len(by.groups)] for codes in (by.codes, pairs % size)]
    return Tally(
        groups=by.groups,
        sizes=np.stack(sizes, axis=1).astype(np.int64),
        spanning=int((groups_of > 1).sum()),
        implausible=by.implausible,
    )


def _collapse(patients: Ints, slots: Ints, width: int) -> tuple[Ints, Ints]:
    """Distinct count vectors and the number of patients with each.

    A patient's runs of (slot, times) are the digits of a number, so that equal numbers are equal vectors: exact, and
    without a dense matrix of patients. Numbers that would overflow are replaced by their ranks on the way.
    """
    keys, times = _runs(patients * width + slots)
    if not len(keys):
        return np.zeros((0, width), dtype=np.int64), np.zeros(0, dtype=np.int64)
    owner, slot = np.divmod(keys, width)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    length = np.diff(first, append=len(keys))
    base = int(times.max()) + 1
    codes = _codes(slot * base + times, first, length, width * base + 1)
    distinct, counts = _runs(codes)
    example = np.zeros(len(distinct), dtype=np.int64)
    example[np.searchsorted(distinct, codes)] = np.arange(len(codes))
    vectors = np.zeros((len(example), width), dtype=np.int64)
    rows = np.repeat(np.arange(len(example)), length[example])
    offset = np.arange(len(rows)) - np.repeat(np.cumsum(length[example]) - length[example], length[example])
    picks = first[example][rows] + offset
    vectors[rows, slot[picks]] = times[picks]
    order = np.lexsort(vectors.T[::-1])
    return vectors[order], counts[order]


def _codes(symbols: Ints, first: Ints, length: Ints, base: int) -> Ints:
    """One number per patient: the patient's symbols (below ``base - 1``) as digits, 0 after the last."""
    codes, bound = np.zeros(len(first), dtype=np.int64), 1
    for step in range(int(length.max())):
        if bound > (1 << 62) // base:
            distinct, codes = np.unique(codes, return_inverse=True)
            bound = len(distinct)
        longer = np.flatnonzero(length > step)
        codes = codes * base
        codes[longer] += symbols[first[longer] + step] + 1
        bound *= base
    return codes


def _runs(values: Ints) -> tuple[Ints, Ints]:
    """Distinct values, ascending, and how often each occurs. Sorting alone: faster here than numpy's hashing."""
    ordered = np.sort(values)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    return ordered[starts], np.diff(starts, append=len(ordered))


def _distinct(vectors: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Each vector once, in lexicographic order, with its counts added."""
    if not len(vectors) or not vectors.shape[1]:
        return vectors[:0], counts[:0]
    order = np.lexsort(vectors.T[::-1])
    ordered = vectors[order]
    starts = np.flatnonzero(np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)]))
    return ordered[starts], np.add.reduceat(counts[order], starts)


def _spread(vectors: Ints, mine: tuple[str, ...], groups: tuple[str, ...]) -> Ints:
    """``vectors`` with their columns moved to the places of a larger set of groups."""
    wide = np.zeros((len(vectors), len(groups), 4), dtype=np.int64)
    wide[:, [groups.index(name) for name in mine], :] = vectors.reshape(len(vectors), len(mine), 4)
    return wide.reshape(len(vectors), len(groups) * 4)


def _spread_rows(rows: Ints, mine: tuple[str, ...], groups: tuple[str, ...]) -> Ints:
    wide = np.zeros((len(groups), rows.shape[1]), dtype=np.int64)
    wide[[groups.index(name) for name in mine]] = rows
    return wide
