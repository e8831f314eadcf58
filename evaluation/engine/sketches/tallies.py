"""Whole numbers of each study, summed over groups: the statistic of every family of metrics that is counted.

A family (:class:`~evaluation.engine.tallies.TallyFamily`) says what is counted of a study. The sketch keeps the sums
per group and, for cluster-robust variances, the sums over patients of their products; how many patients stand behind
each denominator, in each group and in every two groups; and the distribution of one length. Merging is exact. No text
is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError
from evaluation.engine.grouping import Grouping, factorize
from evaluation.engine.sketches.moments import PatientMoments
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen
from evaluation.engine.sketches.quantiles import QuantileSketch
from evaluation.engine.tallies import TallyFamily

Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
Columns = tuple[str, ...]
MAGIC = b"auscult-tallies-1\n"


@dataclass(frozen=True, kw_only=True)
class TallyRows:
    """What n studies contribute to a family.

    Attributes:
        columns: Those of the family, in its order.
        values: int64 [n, len(columns)], 0 or above, a row for each study of the table.
        digest: Of what read the texts, such as a vocabulary; sketches of different ones do not merge.
        why_not: Part of what was to be asked -> why it was not, see ``Utterances.why_not``.
    """

    columns: Columns
    values: Ints
    digest: str = ""
    why_not: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TallyCells:
    """Counts of one grouping with G groups.

    Attributes:
        groups: Sorted names.
        width: Columns of the family.
        moments: Over vectors of ``G x width`` numbers per patient, group-major.
        patients: int64 [denominators, G, G], patients with something to count of a denominator in both groups; on the
            diagonal, in the one.
        lengths: Of the studies of each group that have one; empty for a family without lengths.
        measured: Whether the family has lengths.
    """

    groups: tuple[str, ...]
    width: int
    moments: PatientMoments
    patients: Ints
    lengths: tuple[QuantileSketch, ...] = ()
    measured: bool = False

    @property
    def totals(self) -> Ints:
        """Sums per group and column, int64 [G, width]."""
        return self.moments.total.reshape(len(self.groups), self.width)

    def merge(self, other: TallyCells) -> TallyCells:
        groups = tuple(sorted({*self.groups, *other.groups}))
        one, two = (part.spread(groups) for part in (self, other))
        return TallyCells(
            groups=groups,
            width=self.width,
            moments=one.moments.merge(two.moments),
            patients=one.patients + two.patients,
            lengths=tuple(mine.merge(theirs) for mine, theirs in zip(one.lengths, two.lengths, strict=True)),
            measured=self.measured,
        )

    def spread(self, groups: tuple[str, ...]) -> TallyCells:
        """The same with its groups among a larger set."""
        if groups == self.groups:
            return self
        width = self.width
        place = np.array([groups.index(name) for name in self.groups], dtype=np.int64)
        where = (place[:, None] * width + np.arange(width)).reshape(-1)
        patients = np.zeros((len(self.patients), len(groups), len(groups)), dtype=np.int64)
        patients[:, place[:, None], place] = self.patients
        known = dict(zip(self.groups, self.lengths, strict=True)) if self.measured else {}
        return TallyCells(
            groups=groups,
            width=width,
            moments=self.moments.placed(where, len(groups) * width),
            patients=patients,
            lengths=tuple(known.get(name) or QuantileSketch.of() for name in groups) if self.measured else (),
            measured=self.measured,
        )


@dataclass(frozen=True, kw_only=True)
class TallySketch:
    """Counts of one family in every grouping of a protocol; without cells where the protocol does not ask for it.

    Attributes:
        columns, denominators: Those of the family that it was made for.
        digest: See :class:`TallyRows`.
        why_not: Part -> every reason that a share of the patients gave, sorted.
        cells: Grouping -> its counts.
    """

    columns: Columns
    denominators: tuple[Columns, ...]
    digest: str
    why_not: Mapping[str, tuple[str, ...]]
    cells: Mapping[str, TallyCells]

    @classmethod
    def empty(cls, family: TallyFamily) -> TallySketch:
        """The sketch of a family that a protocol does not ask for."""
        return cls(
            columns=family.columns, denominators=denominators_of(family), digest="", why_not={}, cells={}
        )  # fmt: skip

    @classmethod
    def from_rows(
        cls, family: TallyFamily, rows: TallyRows, patient_ids: Objects, groupings: Sequence[Grouping]
    ) -> TallySketch:
        """Sketch of one shard.

        Args:
            patient_ids: str [n].
            groupings: What ``all_groupings`` gives.

        Raises:
            AuscultError: for rows of other columns, or with a number below 0: sums of them would not tell who counts.
        """
        if rows.columns != family.columns or (rows.values < 0).any():
            raise AuscultError(
                f"These rows are not those of '{family.key}': other columns, or a number below 0.",
                remedy="This is a defect of a suite; report it with the protocol.",
            )
        patients, known = factorize(patient_ids)
        denominators = denominators_of(family)
        return cls(
            columns=family.columns,
            denominators=denominators,
            digest=rows.digest,
            why_not={part: (reason,) for part, reason in sorted(rows.why_not.items())},
            cells={by.name: _count(family, rows.values, patients, len(known), by) for by in groupings},
        )

    def update(
        self, family: TallyFamily, rows: TallyRows, patient_ids: Objects, groupings: Sequence[Grouping]
    ) -> TallySketch:
        """With the patients of a batch added; none of them may have been counted before. Raises like ``merge``."""
        return self.merge(TallySketch.from_rows(family, rows, patient_ids, groupings))

    def sums(self, by: str) -> dict[str, int]:
        """Column -> its sum over every group of a grouping."""
        return dict(zip(self.columns, self.cells[by].totals.sum(axis=0).tolist(), strict=True))

    def merge(self, other: TallySketch) -> TallySketch:
        """Counts of the patients of both. Exact; the order does not matter.

        Raises:
            AuscultError: for sketches of different families or groupings, or read with different vocabularies.
        """
        if _kind(self) != _kind(other):
            raise AuscultError(
                "These sketches of texts were made with different vocabularies or groupings.",
                remedy="Run every shard again with one version of Auscult and one protocol.",
            )
        reasons = {
            part: tuple(sorted({*self.why_not.get(part, ()), *other.why_not.get(part, ())}))
            for part in sorted({*self.why_not, *other.why_not})
        }
        return TallySketch(
            columns=self.columns,
            denominators=self.denominators,
            digest=self.digest,
            why_not=reasons,
            cells={by: item.merge(other.cells[by]) for by, item in self.cells.items()},
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal counts, in whatever order they were merged."""
        header: list[dict[str, Any]] = []
        blocks: list[bytes] = []
        for by, item in sorted(self.cells.items()):
            facts, arrays = item.moments.to_blocks()
            width, patients = narrow(item.patients)
            lengths = [part.to_bytes() for part in item.lengths]
            header.append({"by": by, "groups": item.groups, "moments": facts, "width": width, "lengths": len(lengths)})
            blocks += [*arrays, patients, *lengths]
        head: dict[str, Any] = {
            "columns": self.columns,
            "denominators": self.denominators,
            "digest": self.digest,
            "why_not": {part: list(self.why_not[part]) for part in sorted(self.why_not)},
        }
        return pack(MAGIC, head | {"cells": header}, blocks)

    @classmethod
    def from_bytes(cls, data: bytes, family: TallyFamily) -> TallySketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged, of another kind, or of another family or version of it.
        """
        header, blocks = unpack(MAGIC, data)
        try:
            rest = iter(blocks)
            made = cls(
                columns=tuple(header["columns"]),
                denominators=tuple(tuple(names) for names in header["denominators"]),
                digest=str(header["digest"]),
                why_not={str(part): tuple(map(str, reasons)) for part, reasons in header["why_not"].items()},
                cells={str(item["by"]): _read(item, rest, family) for item in header["cells"]},
            )
            whole = next(rest, None) is None
        except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
            raise _damaged() from error
        if not whole or (made.columns, made.denominators) != (family.columns, denominators_of(family)):
            raise _damaged()
        return made


def denominators_of(family: TallyFamily) -> tuple[Columns, ...]:
    """What a family's metrics are divided by, each once; first that a study counts at all."""
    used = [(family.columns[0],), *(item.denominator for item in family.rules)]
    return tuple(dict.fromkeys([*used, *([(family.written,)] if family.written else [])]))


def _kind(sketch: TallySketch) -> tuple[Columns, tuple[Columns, ...], str, set[str]]:
    return sketch.columns, sketch.denominators, sketch.digest, set(sketch.cells)


def _count(family: TallyFamily, values: Ints, patients: Ints, n_patients: int, by: Grouping) -> TallyCells:
    size, width = len(by.groups), len(family.columns)
    rows, columns = np.nonzero(values)
    moments = PatientMoments.from_entries(
        patients[rows], by.codes[rows] * width + columns, size * width, values[rows, columns]
    )
    lengths: tuple[QuantileSketch, ...] = ()
    if family.lengths:
        measured = values[:, family.columns.index(family.lengths)]
        there = values[:, family.columns.index(family.written)] > 0
        lengths = tuple(QuantileSketch.of(measured[there & (by.codes == code)]) for code in range(size))
    found = _patients(family, values, patients, n_patients, by)
    return TallyCells(
        groups=by.groups, width=width, moments=moments, patients=found, lengths=lengths, measured=bool(family.lengths)
    )


def _patients(family: TallyFamily, values: Ints, patients: Ints, n_patients: int, by: Grouping) -> Ints:
    """Patients behind each denominator in every two groups."""
    from scipy.sparse import csr_array

    denominators = denominators_of(family)
    found = np.zeros((len(denominators), len(by.groups), len(by.groups)), dtype=np.int64)
    for place, names in enumerate(denominators):
        used = values[:, [family.columns.index(name) for name in names]].any(axis=1)
        ones = np.ones(int(used.sum()), dtype=np.int64)
        inside = csr_array((ones, (patients[used], by.codes[used])), shape=(n_patients, len(by.groups)))
        inside.sum_duplicates()
        inside.data[:] = 1
        found[place] = (inside.T @ inside).toarray()
    return found


def _read(item: dict[str, Any], rest: Iterator[bytes], family: TallyFamily) -> TallyCells:
    groups = tuple(str(name) for name in item["groups"])
    moments = PatientMoments.from_blocks(item["moments"], rest)
    patients = widen(item["width"], next(rest), (len(denominators_of(family)), len(groups), len(groups)))
    lengths = tuple(QuantileSketch.from_bytes(next(rest)) for _ in range(int(item["lengths"])))
    width, measured = len(family.columns), bool(family.lengths)
    made = TallyCells(
        groups=groups, width=width, moments=moments, patients=patients, lengths=lengths, measured=measured
    )
    if not _sound(made, family):
        raise _damaged()
    return made


def _sound(made: TallyCells, family: TallyFamily) -> bool:
    """Whether the counts could come from studies."""
    moments = made.moments
    size = len(made.groups) * len(family.columns)
    if made.groups != tuple(sorted(set(made.groups))) or len(moments.total) != size:
        return False
    if len(moments.rows) and (moments.rows.min() < 0 or moments.columns.max() >= size):
        return False
    if (moments.rows > moments.columns).any() or (moments.values <= 0).any() or (moments.total < 0).any():
        return False
    if not family.lengths:
        return not made.lengths
    written = made.totals[:, family.columns.index(family.written)]
    return len(made.lengths) == len(made.groups) and all(
        int(count) == lengths.n for count, lengths in zip(written, made.lengths, strict=True)
    )


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a sketch of texts that this version can read.",
        remedy="Run the shard again; the sketch was damaged or made by another version.",
    )
