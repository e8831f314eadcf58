"""Claims of written reports against those of an expert, counted per group: the statistic of report parity.

Every study contributes the whole numbers of a :class:`~evaluation.engine.text.compare.ReportTally`. The sketch keeps
their sums per group and, for cluster-robust variances, the sums over patients of their products; how many patients
stand behind each denominator, in each group and in every two groups; and the lengths of the reports. Merging is exact.
No text is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError, ProtocolError
from evaluation.engine.grouping import Grouping, factorize
from evaluation.engine.protocol import Protocol, Reports
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.moments import PatientMoments
from evaluation.engine.sketches.packing import narrow, pack, unpack, widen
from evaluation.engine.sketches.quantiles import QuantileSketch
from evaluation.engine.text.compare import COMPONENTS, ReportTally, compare_reports, reader
from evaluation.engine.text.ontology import ontology

Ints = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]
MAGIC = b"auscult-claims-1\n"

COLUMNS = (*COMPONENTS, "unpaired")
"""What is counted of a study; ``unpaired``: 1 where the expert's report is missing or blank. Such a study counts for
nothing else."""

DENOMINATORS: dict[str, tuple[str, ...]] = {
    "pairs": ("pairs",),
    "ill": ("ill",),
    "reference": ("reference",),
    "generated": ("generated",),
    "either": ("reference", "generated"),
    "written": ("written",),
}
"""What a score may be divided by, as the columns that are added up."""


@dataclass(frozen=True, kw_only=True)
class ClaimCells:
    """Counts of one grouping with G groups.

    Attributes:
        groups: Sorted names.
        moments: Over vectors of ``G x len(COLUMNS)`` numbers per patient, group-major.
        patients: int64 [len(DENOMINATORS), G, G], patients with something to count of a denominator in both groups;
            on the diagonal, in the one.
        lengths: Words of the generated reports of each group; missing and blank ones are left out.
    """

    groups: tuple[str, ...]
    moments: PatientMoments
    patients: Ints
    lengths: tuple[QuantileSketch, ...]

    @property
    def totals(self) -> Ints:
        """Sums per group and column, int64 [G, len(COLUMNS)]."""
        return self.moments.total.reshape(len(self.groups), len(COLUMNS))

    def merge(self, other: ClaimCells) -> ClaimCells:
        groups = tuple(sorted({*self.groups, *other.groups}))
        one, two = (part.spread(groups) for part in (self, other))
        return ClaimCells(
            groups=groups,
            moments=one.moments.merge(two.moments),
            patients=one.patients + two.patients,
            lengths=tuple(mine.merge(theirs) for mine, theirs in zip(one.lengths, two.lengths, strict=True)),
        )

    def spread(self, groups: tuple[str, ...]) -> ClaimCells:
        """The same with its groups among a larger set."""
        if groups == self.groups:
            return self
        place = np.array([groups.index(name) for name in self.groups], dtype=np.int64)
        where = (place[:, None] * len(COLUMNS) + np.arange(len(COLUMNS))).reshape(-1)
        patients = np.zeros((len(DENOMINATORS), len(groups), len(groups)), dtype=np.int64)
        patients[:, place[:, None], place] = self.patients
        known = dict(zip(self.groups, self.lengths, strict=True))
        return ClaimCells(
            groups=groups,
            moments=self.moments.placed(where, len(groups) * len(COLUMNS)),
            patients=patients,
            lengths=tuple(known.get(name) or QuantileSketch.of() for name in groups),
        )


@dataclass(frozen=True, kw_only=True)
class ClaimsSketch:
    """Claims in every grouping of a protocol; empty when the protocol compares no reports.

    Attributes:
        ontology: Digest of the vocabulary that read the reports; "" when the sketch is empty.
        cells: Grouping -> its counts.
    """

    ontology: str
    cells: dict[str, ClaimCells]

    @classmethod
    def from_table(
        cls, protocol: Protocol, table: ShardTable, groupings: Sequence[Grouping] | None = None
    ) -> ClaimsSketch:
        """Sketch of one shard. Each distinct text is read once; time is linear in the words.

        Args:
            groupings: What ``all_groupings`` gives, where it is at hand already.

        Raises:
            ProtocolError: when the protocol compares reports and the table lacks the texts.
        """
        if protocol.reports is None:
            return cls(ontology="", cells={})
        patients, known = factorize(table.patient_ids)
        numbers = _numbers(protocol.reports, _texts(table, "reference"), _texts(table, "generated"))
        return cls(
            ontology=ontology().digest,
            cells={
                by.name: _count(patients, len(known), numbers, by)
                for by in (all_groupings(protocol, table) if groupings is None else groupings)
            },
        )

    def update(self, protocol: Protocol, batch: ShardTable) -> ClaimsSketch:
        """With the patients of a batch added; none of them may have been counted before. Raises like ``merge``."""
        return self.merge(ClaimsSketch.from_table(protocol, batch))

    def merge(self, other: ClaimsSketch) -> ClaimsSketch:
        """Claims of the patients of both. Exact; the order does not matter.

        Raises:
            AuscultError: for sketches of different groupings, or whose reports were read with different vocabularies.
        """
        if self.ontology != other.ontology or self.cells.keys() != other.cells.keys():
            raise AuscultError(
                "These sketches of reports were made with different vocabularies or groupings.",
                remedy="Run every shard again with one version of Auscult and one protocol.",
            )
        return ClaimsSketch(
            ontology=self.ontology, cells={by: item.merge(other.cells[by]) for by, item in self.cells.items()}
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal for equal counts, in whatever order they were merged."""
        header: list[dict[str, Any]] = []
        blocks: list[bytes] = []
        for by, item in sorted(self.cells.items()):
            facts, arrays = item.moments.to_blocks()
            width, patients = narrow(item.patients)
            header.append({"by": by, "groups": item.groups, "moments": facts, "width": width})
            blocks += [*arrays, patients, *(lengths.to_bytes() for lengths in item.lengths)]
        return pack(MAGIC, {"ontology": self.ontology, "columns": COLUMNS, "cells": header}, blocks)

    @classmethod
    def from_bytes(cls, data: bytes) -> ClaimsSketch:
        """The inverse of :meth:`to_bytes`.

        Raises:
            AuscultError: for bytes that are damaged or of another kind.
        """
        header, blocks = unpack(MAGIC, data)
        try:
            rest = iter(blocks)
            cells = {str(item["by"]): _read(item, rest) for item in header["cells"]}
            whole = tuple(header["columns"]) == COLUMNS and next(rest, None) is None
            made = cls(ontology=str(header["ontology"]), cells=cells)
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise _damaged() from error
        if not whole:
            raise _damaged()
        return made


def _texts(table: ShardTable, name: str) -> Objects:
    if name not in table.texts:
        whose = "the expert's report" if name == "reference" else "the report that the model wrote"
        raise ProtocolError(
            f"The protocol compares reports, and the data have no column 'text.{name}'.",
            remedy=f"Add 'text.{name}', {whose}, or take 'reports' out of the protocol.",
            column=f"text.{name}",
        )
    return table.texts[name]


def _numbers(reports: Reports, references: Objects, generated: Objects) -> Ints:
    """What each study contributes, int64 [n, len(COLUMNS)]."""
    words = ontology()
    named = frozenset(words.findings if "*" in reports.findings else reports.findings)
    read = reader(words)
    rows = np.zeros((len(references), len(COLUMNS)), dtype=np.int64)
    for row, pair in enumerate(zip(references, generated, strict=True)):
        reference, written = (text if isinstance(text, str) else None for text in pair)
        if reference is None or not reference.strip():
            rows[row, COLUMNS.index("unpaired")] = 1
            continue
        tally = compare_reports(read(reference), read(written), findings=named, pathologies=words.pathologies)
        rows[row, : len(COMPONENTS)] = _values(tally)
    return rows


def _values(tally: ReportTally) -> list[int]:
    return [getattr(tally, name) for name in COMPONENTS]


def _count(patients: Ints, n_patients: int, numbers: Ints, by: Grouping) -> ClaimCells:
    size = len(by.groups)
    rows, columns = np.nonzero(numbers)
    moments = PatientMoments.from_entries(
        patients[rows], by.codes[rows] * len(COLUMNS) + columns, size * len(COLUMNS), numbers[rows, columns]
    )
    words = numbers[:, COLUMNS.index("words")]
    written = numbers[:, COLUMNS.index("written")] > 0
    return ClaimCells(
        groups=by.groups,
        moments=moments,
        patients=_patients(patients, n_patients, numbers, by),
        lengths=tuple(QuantileSketch.of(words[written & (by.codes == code)]) for code in range(size)),
    )


def _patients(patients: Ints, n_patients: int, numbers: Ints, by: Grouping) -> Ints:
    """Patients behind each denominator in every two groups."""
    from scipy.sparse import csr_array

    found = np.zeros((len(DENOMINATORS), len(by.groups), len(by.groups)), dtype=np.int64)
    for place, names in enumerate(DENOMINATORS.values()):
        used = numbers[:, [COLUMNS.index(name) for name in names]].any(axis=1)
        ones = np.ones(int(used.sum()), dtype=np.int64)
        inside = csr_array((ones, (patients[used], by.codes[used])), shape=(n_patients, len(by.groups)))
        inside.sum_duplicates()
        inside.data[:] = 1
        found[place] = (inside.T @ inside).toarray()
    return found


def _read(item: dict[str, Any], rest: Iterator[bytes]) -> ClaimCells:
    groups = tuple(str(name) for name in item["groups"])
    moments = PatientMoments.from_blocks(item["moments"], rest)
    patients = widen(item["width"], next(rest), (len(DENOMINATORS), len(groups), len(groups)))
    lengths = tuple(QuantileSketch.from_bytes(next(rest)) for _ in groups)
    made = ClaimCells(groups=groups, moments=moments, patients=patients, lengths=lengths)
    if not _sound(made):
        raise _damaged()
    return made


def _sound(made: ClaimCells) -> bool:
    """Whether the counts could come from reports."""
    moments = made.moments
    size = len(made.groups) * len(COLUMNS)
    if made.groups != tuple(sorted(set(made.groups))) or len(moments.total) != size:
        return False
    if len(moments.rows) and (moments.rows.min() < 0 or moments.columns.max() >= size):
        return False
    if (moments.rows > moments.columns).any() or (moments.values <= 0).any() or (moments.total < 0).any():
        return False
    written = made.totals[:, COLUMNS.index("written")]
    return all(int(count) == lengths.n for count, lengths in zip(written, made.lengths, strict=True))


def _damaged() -> AuscultError:
    return AuscultError(
        "These bytes are not a sketch of reports that this version can read.",
        remedy="Run the shard again; the sketch was damaged or made by another version.",
    )
