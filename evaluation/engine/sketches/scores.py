"""Scores as histograms with fixed edges, and how the scores of one patient go together.

For one label and grouping the sketch keeps, per group and outcome, how many studies fall into each of 2,048 bins and
the sum of their scores. The edges are the same for every label and group: the union of a grid of .001 and of an even
grid of the logit, so that scores of rare findings near 0 are told apart too. AUROC from the bins differs from that of
the scores by less than 5e-5, the Brier score by less than 3e-7; observed over expected comes from the sums.

Studies of one patient are alike. What that does to a variance is kept as second moments over patients of counts in 64
coarse cells per group (32 bins, with and without the finding): see ``moments``.

Patients are cut into two halves by a hash of their identifier: what mitigates a gap is fitted on one half and measured
on the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.decisions import Decided, decide
from evaluation.engine.grouping import Grouping, factorize
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.moments import PatientMoments
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen

BINS = 2048
COARSE = 32
HALVES = 2
SCALE = 1 << 30
"""Sums of scores are kept as whole multiples of its inverse, so that they add up exactly in any order."""

MAGIC = b"auscult-scores-1\n"
CHUNK = 4_000_000
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@cache
def bin_edges() -> Floats:
    """Edges of the bins, float64 [BINS + 1], from 0 to 1. A score lies in the last bin whose lower edge it reaches."""
    logits = np.linspace(-18, 18, BINS - 1000 + 2)[1:-1]
    edges = np.unique(np.round(np.concatenate([np.arange(1001) / 1000, 1 / (1 + np.exp(-logits))]), 12))
    edges.setflags(write=False)
    return edges


def bin_of(scores: Floats) -> Ints:
    """Bin of each score in [0, 1]; NaN goes to the last bin and must be masked by the caller."""
    return np.clip(np.searchsorted(bin_edges(), scores, side="right") - 1, 0, BINS - 1).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class ScoreCells:
    """Scores of one label in one grouping. Studies with a reference and a finite score are counted.

    Attributes:
        groups: Sorted names of G groups.
        hist: int64 [2, G, 2, BINS], studies by half, group, outcome (0 without the finding, 1 with it) and bin.
        sums: int64 [2, G, 2, BINS], sum of their scores in units of ``1 / SCALE``.
        decided: int64 [2, G, 4], studies by half, group and (tp, fp, fn, tn) of the decisions that are audited;
            studies without a decision are left out.
        owners: int64 [G, 3], patients with a study without the finding, with it, and any.
        shared: int64 [G, G], patients with a study in both groups.
        largest: int64 [G], most studies that one patient has in the group.
        pairs: Moments of the counts in coarse cells (group, outcome, 32 bins) of the patients with several studies.
    """

    groups: tuple[str, ...]
    hist: Ints
    sums: Ints
    decided: Ints
    owners: Ints
    shared: Ints
    largest: Ints
    pairs: PatientMoments

    def merge(self, other: ScoreCells) -> ScoreCells:
        groups = tuple(sorted({*self.groups, *other.groups}))
        one, two = (part.spread(groups) for part in (self, other))
        return ScoreCells(
            groups=groups,
            hist=one.hist + two.hist,
            sums=one.sums + two.sums,
            decided=one.decided + two.decided,
            owners=one.owners + two.owners,
            shared=one.shared + two.shared,
            largest=np.maximum(one.largest, two.largest),
            pairs=one.pairs.merge(two.pairs),
        )

    def spread(self, groups: tuple[str, ...]) -> ScoreCells:
        """The same with its groups among a larger set."""
        if groups == self.groups:
            return self
        place = np.array([groups.index(name) for name in self.groups], dtype=np.int64)
        width = 2 * COARSE
        where = (place[:, None] * width + np.arange(width)).reshape(-1)
        wide = {"hist": 1, "sums": 1, "decided": 1, "owners": 0, "largest": 0}
        moved = {name: _moved(getattr(self, name), place, len(groups), axis) for name, axis in wide.items()}
        moved["shared"] = _moved(_moved(self.shared, place, len(groups), 0), place, len(groups), 1)
        return ScoreCells(groups=groups, pairs=self.pairs.placed(where, len(groups) * width), **moved)


@dataclass(frozen=True, kw_only=True)
class ScoresSketch:
    """Scores of every label that has them, in every grouping. ``cells``: (label, grouping) -> its scores."""

    cells: dict[tuple[str, str], ScoreCells]

    @classmethod
    def from_table(
        cls, protocol: Protocol, table: ShardTable, groupings: Sequence[Grouping] | None = None
    ) -> ScoresSketch:
        """Sketch of one shard: O(n) per label and grouping, without a loop over rows.

        Args:
            groupings: What ``all_groupings`` gives, where it is at hand already.

        Raises:
            ProtocolError: where the protocol does not fit the table.
        """
        ways = all_groupings(protocol, table) if groupings is None else groupings
        patients, known = factorize(table.patient_ids)
        half = np.array([zlib.crc32(str(name).encode()) & 1 for name in known], dtype=np.int64)
        cells: dict[tuple[str, str], ScoreCells] = {}
        for item in decide(protocol, table)[: len(protocol.labels)]:
            scores = table.scores.get(item.label)
            if scores is None:
                continue
            rows = _Rows.of(item, scores, patients, half)
            cells |= {(item.label, by.name): rows.count(by) for by in ways}
        return cls(cells=cells)

    def update(self, protocol: Protocol, batch: ShardTable) -> ScoresSketch:
        """With the patients of a batch added; none of them may have been counted before. Raises like ``merge``."""
        return self.merge(ScoresSketch.from_table(protocol, batch))

    def merge(self, other: ScoresSketch) -> ScoresSketch:
        """Scores of the patients of both. Exact; the order does not matter.

        Raises:
            AuscultError: when only one of them has scores of some label.
        """
        if self.cells.keys() != other.cells.keys():
            labels = sorted({label for label, _ in self.cells.keys() ^ other.cells.keys()})
            raise AuscultError(
                f"Only some shares of the patients have scores of: {', '.join(labels)}.",
                remedy="Give scores for all studies or for none, and run the shards again.",
            )
        return ScoresSketch(cells={key: item.merge(other.cells[key]) for key, item in self.cells.items()})

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal scores, in whatever order they were merged."""
        header, blocks = [], []
        for (label, by), item in sorted(self.cells.items()):
            used = np.flatnonzero(item.hist)
            moments, arrays = item.pairs.to_blocks()
            width, counts = narrow(item.hist.reshape(-1)[used])
            header.append({
                "label": label, "by": by, "groups": item.groups, "used": len(used), "width": width, "moments": moments,
            })  # fmt: skip
            blocks += [used.astype("<i8").tobytes(), counts, item.sums.reshape(-1)[used].astype("<i8").tobytes()]
            blocks += [
                array.astype("<i8").tobytes() for array in (item.decided, item.owners, item.shared, item.largest)
            ]
            blocks += arrays
        return pack(MAGIC, {"cells": header}, blocks)

    @classmethod
    def from_bytes(cls, data: bytes) -> ScoresSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        rest = iter(blocks)
        return cls(cells={(item["label"], item["by"]): _read(item, rest) for item in header["cells"]})


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The usable studies of one label, ready to be counted by any grouping. All arrays have one length."""

    usable: npt.NDArray[np.bool_]
    patient: Ints
    half: Ints
    outcome: Ints
    bins: Ints
    amount: Floats
    cell: Ints

    @classmethod
    def of(cls, item: Decided, scores: Floats, patients: Ints, half: Ints) -> _Rows:
        usable = (item.reference >= 0) & np.isfinite(scores)
        outcome, decision = (array[usable].astype(np.int64) for array in (item.reference, item.decision))
        cell = np.where(outcome == 1, np.where(decision == 1, 0, 2), np.where(decision == 1, 1, 3))
        return cls(
            usable=usable,
            patient=patients[usable],
            half=half[patients[usable]] if len(half) else np.zeros(0, dtype=np.int64),
            outcome=outcome,
            bins=bin_of(scores[usable]),
            amount=np.rint(scores[usable] * SCALE),
            cell=np.where(decision < 0, -1, cell),
        )

    def count(self, by: Grouping) -> ScoreCells:
        size = len(by.groups)
        code = by.codes[self.usable]
        place = ((self.half * size + code) * 2 + self.outcome) * BINS + self.bins
        length = HALVES * size * 2 * BINS
        known = self.cell >= 0
        decided = ((self.half * size + code) * 4 + self.cell)[known]
        shape = (HALVES, size, 2, BINS)
        owners, shared, largest = self._owners(code, size)
        return ScoreCells(
            groups=by.groups,
            hist=np.bincount(place, minlength=length).astype(np.int64).reshape(shape),
            sums=self._sums(place, length).reshape(shape),
            decided=np.bincount(decided, minlength=HALVES * size * 4).astype(np.int64).reshape(HALVES, size, 4),
            owners=owners,
            shared=shared,
            largest=largest,
            pairs=self._pairs(code, size),
        )

    def _sums(self, place: Ints, length: int) -> Ints:
        """Sums of scores: as floats they are whole numbers below 2^53 in every chunk, so they are exact."""
        total = np.zeros(length, dtype=np.int64)
        for start in range(0, len(place), CHUNK):
            part = slice(start, start + CHUNK)
            total += np.bincount(place[part], weights=self.amount[part], minlength=length).astype(np.int64)
        return total

    def _owners(self, code: Ints, size: int) -> tuple[Ints, Ints, Ints]:
        """Patients per group (without the finding, with it, any) and per pair; the most studies of one of them."""
        groups = max(1, size)
        ordered = np.sort((self.patient * groups + code) * 2 + self.outcome)
        kinds = ordered[_starts(ordered)]
        pairs = kinds // 2
        first, any_kind = _starts(ordered // 2), pairs[_starts(pairs)]
        owners = np.stack(
            [
                np.bincount(keys % groups, minlength=groups)
                for keys in (pairs[kinds % 2 == 0], pairs[kinds % 2 == 1], any_kind)
            ],
            axis=1,
        )
        largest = np.zeros(groups, dtype=np.int64)
        np.maximum.at(largest, any_kind % groups, np.diff(first, append=len(ordered)))
        return owners[:size].astype(np.int64), _shared(any_kind // groups, any_kind % groups, size), largest[:size]

    def _pairs(self, code: Ints, size: int) -> PatientMoments:
        """Of patients with one study nothing is needed: only products of two studies enter a covariance."""
        columns = (code * 2 + self.outcome) * COARSE + self.bins // (BINS // COARSE)
        several = np.bincount(self.patient)[self.patient] > 1 if len(self.patient) else np.zeros(0, dtype=bool)
        owners = np.unique(self.patient[several], return_inverse=True)[1]
        return PatientMoments.from_entries(owners.astype(np.int64), columns[several], size * 2 * COARSE)


def _shared(people: Ints, codes: Ints, size: int) -> Ints:
    """Patients in both groups of each pair, int64 [size, size]; the patients are sorted, each group named once."""
    found = np.zeros((size, size), dtype=np.int64)
    if size:
        found[np.arange(size), np.arange(size)] = np.bincount(codes, minlength=size)
    first, step = _starts(people), 1
    longest = int(np.diff(first, append=len(people)).max(initial=0))
    while step < longest:
        same = np.flatnonzero(people[step:] == people[:-step])
        np.add.at(found, (codes[same], codes[same + step]), 1)
        np.add.at(found, (codes[same + step], codes[same]), 1)
        step += 1
    return found


def _starts(ordered: Ints) -> Ints:
    """Places at which a sorted array takes a new value."""
    return np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))


def _moved(array: Ints, place: Ints, size: int, axis: int) -> Ints:
    """``array`` with the entries along ``axis`` moved to their places among ``size``."""
    shape = list(array.shape)
    shape[axis] = size
    wide = np.zeros(shape, dtype=np.int64)
    wide[(slice(None),) * axis + (place,)] = array
    return wide


def _read(item: dict[str, Any], rest: Iterator[bytes]) -> ScoreCells:
    groups, used = tuple(item["groups"]), int(item["used"])
    size = len(groups)
    shape = (HALVES, size, 2, BINS)
    where = widen("<i8", next(rest), (used,))
    hist, sums = (np.zeros(HALVES * size * 2 * BINS, dtype=np.int64) for _ in range(2))
    hist[where] = widen(item["width"], next(rest), (used,))
    sums[where] = widen("<i8", next(rest), (used,))
    forms = ((HALVES, size, 4), (size, 3), (size, size), (size,))
    decided, owners, shared, largest = (widen("<i8", next(rest), form) for form in forms)
    return ScoreCells(
        groups=groups,
        hist=hist.reshape(shape),
        sums=sums.reshape(shape),
        decided=decided,
        owners=owners,
        shared=shared,
        largest=largest,
        pairs=PatientMoments.from_blocks(item["moments"], rest),
    )
