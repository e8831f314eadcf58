"""Counts of true and false decisions per patient: the sufficient statistic of every rate of the fairness suite.

For one label and one grouping, a patient contributes a vector of ``4 x groups`` counts: true positives, false
positives, false negatives and true negatives in each group that the patient's studies fall in. Patients with equal
vectors are exchangeable, so the sketch keeps each distinct vector once, with the number of patients that have it.
From that, totals are a matrix product and a patient-cluster bootstrap is one multinomial draw.

A patient must lie wholly within one shard: merging adds patients, it cannot know that two are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from evaluation.engine.sketches.segments import SILENT, Bytes, Ints, Runs, Segments, distinct

CELLS = ("tp", "fp", "fn", "tn")
MAGIC = b"auscult-counts-1\n"
OVERALL = ""
"""The grouping that has every study in the one group ``All``."""

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
        vectors, counts = distinct(np.concatenate(spread), np.concatenate([self.counts, other.counts]))
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
    def from_table(
        cls, protocol: Protocol, table: ShardTable, groupings: Sequence[Grouping] | None = None
    ) -> CountsSketch:
        """Sketch of one shard, without a loop over rows. Without labels there are tallies alone.

        O(n log n) per grouping, O(n) per label and grouping where no patient spans groups.

        Args:
            groupings: What :func:`all_groupings` gives, where it is at hand already.

        Raises:
            AuscultError: for a study without a patient.
            ProtocolError: where the protocol does not fit the table.
        """
        patients = number_patients(table.patient_ids)
        ways = all_groupings(protocol, table) if groupings is None else groupings
        parts = [(by, Segments.of(patients, by)) for by in ways]
        cells = {(item.label, by): found for item in decide(protocol, table) for by, found in _count(item, parts)}
        return cls(cells=cells, tallies={by.name: _tally(by, segments) for by, segments in parts})

    def update(self, protocol: Protocol, batch: ShardTable) -> CountsSketch:
        """With the patients of a batch added; none of them may have been counted before. Raises like ``merge``."""
        return self.merge(CountsSketch.from_table(protocol, batch))

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


def all_groupings(protocol: Protocol, table: ShardTable) -> list[Grouping]:
    """``OVERALL``, then every grouping that the protocol declares.

    Raises:
        ProtocolError: for an attribute whose column is absent, or with more groups than can be judged.
    """
    everyone = Grouping(name=OVERALL, codes=np.zeros(len(table), dtype=np.int64), groups=(ALL,))
    return [everyone, *group_by(protocol, table)]


def number_patients(names: npt.NDArray[np.object_]) -> Ints:
    """A number for each patient, int64 [n], ascending in the order in which patients first appear.

    Raises:
        AuscultError: for a study without a patient.
    """
    if len(names) and isinstance(names[0], str):
        try:
            ordered = bool((names[1:] >= names[:-1]).all())
        except TypeError:
            ordered = False  # a missing name is no text
        if ordered:  # as shards are: neighbours tell patients apart, without hashing
            return np.concatenate([[0], np.cumsum(names[1:] != names[:-1])])
    patients, _ = factorize(names)
    if (patients < 0).any():
        raise AuscultError("A study has no patient.", remedy="Give every study a patient_id.", column="patient_id")
    return patients


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


def _states(item: Decided) -> Bytes:
    """The cell of each study as in CELLS, SILENT without a reference, SILENT + 1 with one but without a decision."""
    cell: Bytes = ((item.decision != 1).astype(np.int8) << 1) | (item.reference != 1)
    cell[item.decision < 0] = SILENT + 1
    cell[item.reference < 0] = SILENT
    return cell


def _count(item: Decided, parts: Sequence[tuple[Grouping, Segments]]) -> Iterator[tuple[str, Cells]]:
    """Name of each grouping and the counts of one label in it."""
    states = _states(item)
    cells = np.minimum(states, np.int8(SILENT))
    whole: Runs | None = None
    for by, segments in parts:
        if segments.spanning:
            runs = segments.add_up(cells)
        else:
            runs = whole = whole or segments.add_up(cells)
        vectors, counts = segments.collapse(runs)
        yield by.name, Cells(groups=by.groups, vectors=vectors, counts=counts, silent=_silent(states, by))


def _silent(states: Bytes, by: Grouping) -> Ints:
    """Studies that count in no cell, by group and reason, int64 [G, 2]."""
    unread = np.flatnonzero(states >= SILENT)
    rows = by.codes[unread] * 2 + (states[unread] - SILENT)
    return np.bincount(rows, minlength=2 * len(by.groups)).reshape(-1, 2).astype(np.int64)


def _tally(by: Grouping, segments: Segments) -> Tally:
    studies = np.bincount(by.codes, minlength=len(by.groups))
    return Tally(
        groups=by.groups,
        sizes=np.stack([studies, segments.sizes], axis=1).astype(np.int64),
        spanning=segments.spanning,
        implausible=by.implausible,
    )


def _spread(vectors: Ints, mine: tuple[str, ...], groups: tuple[str, ...]) -> Ints:
    """``vectors`` with their columns moved to the places of a larger set of groups."""
    wide = np.zeros((len(vectors), len(groups), 4), dtype=np.int64)
    wide[:, [groups.index(name) for name in mine], :] = vectors.reshape(len(vectors), len(mine), 4)
    return wide.reshape(len(vectors), len(groups) * 4)


def _spread_rows(rows: Ints, mine: tuple[str, ...], groups: tuple[str, ...]) -> Ints:
    wide = np.zeros((len(groups), rows.shape[1]), dtype=np.int64)
    wide[[groups.index(name) for name in mine]] = rows
    return wide
