"""Studies in runs of one patient and one group, and the distinct count vectors of patients that follow from them.

The order of rows depends on the grouping alone, so it is found once and used by every label. Per label, the four cell
counts of a run are added up side by side in one integer; equal integers are equal counts, so patients are told apart
without a matrix of patients and without sorting rows again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from evaluation.engine.grouping import Grouping

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]
SILENT = 4
"""The state of a study that counts in no cell, above those of the four cells."""
SMALL = 1 << 22
"""Integers below this are told apart by a table, larger ones by sorting."""
ROOM = 62
GROUP_BITS = 10
"""Bits of an integer for its counts and group, and of these for the group: more than the groups that can be judged."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Cell counts of runs.

    Attributes:
        packed: int64 [S], the counts of each run in one integer below ``1 << bits``; 0 where all are 0.
        counts: Gives the four counts [., 4] of such integers.
    """

    packed: Ints
    bits: int
    counts: Callable[[Ints], Ints]


@dataclass(frozen=True, kw_only=True)
class Segments:
    """The runs of one grouping.

    Attributes:
        groups: Number of groups G.
        order: int64 [n], rows by patient and group; None where they lie in that order already.
        ends: int64 [S], the row after the last of each run, in that order.
        patient, group: int64 [S], whose run it is, ascending by patient, then by group.
        longest: Studies in the longest run.
    """

    groups: int
    order: Ints | None
    ends: Ints
    patient: Ints
    group: Ints
    longest: int

    @classmethod
    def of(cls, patients: Ints, by: Grouping) -> Segments:
        """Args:
        patients: int64 [n], a number for each patient.
        """
        size = max(1, len(by.groups))
        keys = patients * size + by.codes
        order = None if bool((keys[1:] >= keys[:-1]).all()) else np.argsort(keys)
        ordered = keys if order is None else keys[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        patient, group = np.divmod(ordered[starts], size)
        ends = np.append(starts[1:], len(keys)) if len(starts) else starts
        longest = int((ends - starts).max(initial=0))
        return cls(groups=len(by.groups), order=order, ends=ends, patient=patient, group=group, longest=longest)

    @property
    def sizes(self) -> Ints:
        """Patients per group, int64 [G]."""
        return np.bincount(self.group, minlength=self.groups).astype(np.int64)

    @property
    def spanning(self) -> int:
        """Patients whose studies fall in more than one group."""
        return len(self._several[0])

    def add_up(self, states: Bytes) -> Runs:
        """Cell counts of each run. Equal for all groupings of the same rows that no patient spans.

        Args:
            states: int8 [n], the cell of each study (0 to 3), or SILENT.
        """
        ordered = states if self.order is None else states[self.order]
        bits = self.longest.bit_length()
        if not len(self.ends) or 4 * bits > ROOM - GROUP_BITS:
            return self._ranked(ordered)
        # True positives lie highest, so that integers sort as their counts do.
        shifts = np.array([3 * bits, 2 * bits, bits, 0])
        weights = np.append(1 << shifts, 0)
        packed = self._sums(weights[ordered])
        return Runs(packed=packed, bits=4 * bits, counts=lambda codes: (codes[:, None] >> shifts) & ((1 << bits) - 1))

    def collapse(self, runs: Runs) -> tuple[Ints, Ints]:
        """Distinct count vectors, and the number of patients with each.

        Returns:
            int64 [D, 4G] in lexicographic order, columns group-major, none of it zero; and int64 [D].
        """
        symbols = (self.group << runs.bits) | runs.packed
        symbols *= runs.packed > 0
        single, times = runs_of(symbols if self._alone is None else symbols[self._alone])
        vectors, counts = [self._vectors(single, np.arange(len(single)), len(single), runs)], [times]
        if self.spanning:
            members, place, times = self._combined(symbols)
            vectors.append(self._vectors(symbols[members], place, len(times), runs))
            counts.append(times)
        every = np.concatenate(vectors)
        kept = every.any(axis=1)
        return distinct(every[kept], np.concatenate(counts)[kept])

    @cached_property
    def _several(self) -> tuple[Ints, Ints]:
        """First run and number of runs of the patients that span groups, those with the most runs first."""
        first = np.flatnonzero(np.diff(self.patient, prepend=-1))
        length = np.diff(first, append=len(self.patient))
        more = np.flatnonzero(length > 1)
        more = more[np.argsort(-length[more], kind="stable")]
        return first[more], length[more]

    @cached_property
    def _alone(self) -> Ints | None:
        """Runs of patients that have one; None where that is all of them."""
        if not self.spanning:
            return None
        edges = np.concatenate([[True], np.diff(self.patient) > 0, [True]])
        return np.flatnonzero(edges[1:] & edges[:-1])

    def _sums(self, values: Ints) -> Ints:
        """Sum of each run. The running total may wrap around; its differences are exact all the same."""
        return np.diff(np.cumsum(values)[self.ends - 1], prepend=0)

    def _ranked(self, ordered: Bytes) -> Runs:
        """The same for runs of so many studies that four counts do not fit in one integer."""
        blocks = np.zeros((len(self.ends), 4), dtype=np.int64)
        for cell in range(4 if len(self.ends) else 0):
            blocks[:, cell] = self._sums((ordered == cell).astype(np.int64))
        table, ranks = np.unique(blocks, axis=0, return_inverse=True)
        packed = np.where(blocks.any(axis=1), ranks + 1, 0)
        table = np.concatenate([np.zeros((1, 4), dtype=np.int64), table])
        return Runs(packed=packed, bits=len(table).bit_length(), counts=lambda codes: table[codes])

    def _combined(self, symbols: Ints) -> tuple[Ints, Ints, Ints]:
        """Patients that span groups, told apart by the symbols of their runs.

        Returns:
            ``(members, place, times)``: the runs of one patient of each distinct kind, the kind that each of these
            runs belongs to, and how many patients are of each kind.
        """
        first, length = self._several
        inside = np.repeat(first, length) + _ramp(length)
        ranks = np.zeros(len(symbols), dtype=np.int64)
        ranks[inside], base = _dense(symbols[inside])
        codes, bound = np.zeros(len(first), dtype=np.int64), 1
        for step in range(int(length[0])):
            if bound > (1 << ROOM) // base:
                codes, bound = _dense(codes)
            codes = codes * base
            longer = int(np.searchsorted(-length, -step))
            codes[:longer] += ranks[first[:longer] + step]
            bound *= base
        order = np.argsort(codes)
        ordered = codes[order]
        edges = np.flatnonzero(np.diff(ordered, prepend=-1))
        example = order[edges]
        members = np.repeat(first[example], length[example]) + _ramp(length[example])
        place = np.repeat(np.arange(len(example)), length[example])
        return members, place, np.diff(edges, append=len(codes))

    def _vectors(self, symbols: Ints, place: Ints, size: int, runs: Runs) -> Ints:
        """Vectors int64 [size, 4G] from symbols and the row that each belongs to."""
        made = np.zeros((size, self.groups, 4), dtype=np.int64)
        used = symbols > 0
        codes = symbols[used]
        made[place[used], codes >> runs.bits] = runs.counts(codes & ((1 << runs.bits) - 1))
        return made.reshape(size, 4 * self.groups)


def runs_of(values: Ints) -> tuple[Ints, Ints]:
    """Distinct non-negative integers, ascending, and how often each occurs."""
    if int(values.max(initial=0)) < SMALL:
        table = np.bincount(values)
        found = np.flatnonzero(table)
        return found, table[found]
    ordered = np.sort(values)
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[starts], np.diff(starts, append=len(ordered))


def distinct(vectors: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Each vector once, in lexicographic order, with its counts added.

    Columns are joined to as few integers as hold them, so that few need to be sorted by.
    """
    if not len(vectors) or not vectors.shape[1]:
        return vectors[:0], counts[:0]
    keys: list[Ints] = []
    used = ROOM
    for column in np.ascontiguousarray(vectors.T):
        bits = int(column.max()).bit_length()
        if used + bits > ROOM:
            keys.append(column)
            used = bits
        elif bits:
            keys[-1] = (keys[-1] << bits) | column
            used += bits
    order = np.lexsort(keys[::-1])
    changes = np.zeros(len(order), dtype=bool)
    changes[0] = True
    for key in keys:
        changes[1:] |= np.diff(key[order]) != 0
    starts = np.flatnonzero(changes)
    return vectors[order[starts]], np.add.reduceat(counts[order], starts)


def _dense(values: Ints) -> tuple[Ints, int]:
    """Values replaced by their ranks, 0 for 0, and a bound above all ranks."""
    if int(values.max(initial=0)) < SMALL:
        present = np.bincount(values) > 0
        present[:1] = True
        return (np.cumsum(present) - 1)[values], int(present.sum())
    found, ranks = np.unique(np.append(values, 0), return_inverse=True)
    return ranks[:-1], len(found)


def _ramp(length: Ints) -> Ints:
    """0, 1, ... within each of consecutive runs of the given lengths."""
    return np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
