"""Sums over patients of a vector of counts and of its outer product: what a cluster-robust variance needs.

Patient i contributes a vector ``x_i`` of whole numbers. The sketch keeps ``t = sum x_i``, ``S = sum x_i x_i'``. For a
statistic ``f(t)`` with gradient g, the linearised variance with patients as the units is ``m/(m-1) g'Sg``, where
``g't = 0`` for every statistic that does not change when all patients are doubled (rates, AUROC, calibration). The
size of the sketch is bounded by the square of the vector's length, whatever the number of patients. All numbers are
whole, so merging is exact in any order.

Source: Taylor linearisation of clustered samples, Binder (1983), International Statistical Review 51:279.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from evaluation.engine.sketches.packing import widen

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PatientMoments:
    """First and second moments of the patients' vectors.

    Attributes:
        patients: Patients whose vector is not all zero.
        total: int64 [size], the sum of the vectors.
        rows, columns, values: int64 [k], the entries of S that are not zero, upper triangle with the diagonal, sorted
            by row and column.
    """

    patients: int
    total: Ints
    rows: Ints
    columns: Ints
    values: Ints

    @classmethod
    def from_entries(cls, owners: Ints, columns: Ints, size: int, weights: Ints | None = None) -> PatientMoments:
        """Moments of the vectors in which entry j adds ``weights[j]`` (1 unless given) to one column of one patient.

        Args:
            owners: int64 [n], the patient's code, 0 or above; codes should be dense.
            columns: int64 [n], each below ``size``.
        """
        from scipy.sparse import csr_array

        used = slice(None) if weights is None else weights != 0
        owners, columns = owners[used], columns[used]
        amounts = np.ones(len(owners), dtype=np.int64) if weights is None else weights[used]
        if not len(owners):
            return cls.empty(size)
        vectors = csr_array((amounts, (owners, columns)), shape=(int(owners.max()) + 1, size), dtype=np.int64)
        vectors.sum_duplicates()
        patients = int((np.diff(vectors.indptr) > 0).sum())
        product = (vectors.T @ vectors).tocoo()
        upper = (product.row <= product.col) & (product.data != 0)
        entries = [array[upper].astype(np.int64) for array in (product.row, product.col, product.data)]
        total = np.asarray(vectors.sum(axis=0), dtype=np.int64).reshape(size)
        return cls._sorted(patients, total, *entries)

    @classmethod
    def empty(cls, size: int) -> PatientMoments:
        """Moments of no patient."""
        none = np.zeros(0, dtype=np.int64)
        return cls(patients=0, total=np.zeros(size, dtype=np.int64), rows=none, columns=none, values=none)

    @classmethod
    def _sorted(cls, patients: int, total: Ints, rows: Ints, columns: Ints, values: Ints) -> PatientMoments:
        """Canonical order, equal places added."""
        size = max(1, len(total))
        places, where = np.unique(rows * size + columns, return_inverse=True)
        added = np.zeros(len(places), dtype=np.int64)
        np.add.at(added, where, values)
        return cls(patients=patients, total=total, rows=places // size, columns=places % size, values=added)

    def update(self, owners: Ints, columns: Ints, weights: Ints | None = None) -> PatientMoments:
        """With the patients of a batch added; none of them may have been counted before. See :meth:`from_entries`."""
        return self.merge(PatientMoments.from_entries(owners, columns, len(self.total), weights))

    def merge(self, other: PatientMoments) -> PatientMoments:
        """Moments of the patients of both; both must be of one size."""
        pairs = [
            np.concatenate([mine, theirs])
            for mine, theirs in (
                (self.rows, other.rows), (self.columns, other.columns), (self.values, other.values),
            )
        ]  # fmt: skip
        return self._sorted(self.patients + other.patients, self.total + other.total, *pairs)

    def placed(self, where: Ints, size: int) -> PatientMoments:
        """The same moments with column j moved to column ``where[j]`` of a larger vector. The places are distinct."""
        total = np.zeros(size, dtype=np.int64)
        total[where] = self.total
        one, two = where[self.rows], where[self.columns]
        return self._sorted(self.patients, total, np.minimum(one, two), np.maximum(one, two), self.values)

    def product(self, one: Floats, two: Floats) -> Floats:
        """``one' S two``: float64 [] for vectors [size]; [a, b] for matrices [size, a] and [size, b]."""
        left, right = (array.reshape(len(self.total), -1) for array in (one, two))
        found = np.zeros((left.shape[1], right.shape[1]))
        if len(self.values):
            weights, rows, columns, apart = self._mirrored
            found = left[self.rows].T @ (right[self.columns] * weights)
            found = found + left[columns].T @ (right[rows] * apart)
        return found.reshape(one.shape[1:] + two.shape[1:])

    @cached_property
    def _mirrored(self) -> tuple[Floats, Ints, Ints, Floats]:
        """Values as a column; rows, columns and values of the entries off the diagonal, which stand below it too."""
        weights = self.values.astype(np.float64)[:, None]
        apart = self.rows != self.columns
        return weights, self.rows[apart], self.columns[apart], weights[apart]

    def to_blocks(self) -> tuple[dict[str, int], list[bytes]]:
        """Facts for a header, and the arrays as little-endian bytes."""
        arrays = (self.total, self.rows, self.columns, self.values)
        facts = {"patients": self.patients, "size": len(self.total), "entries": len(self.values)}
        return facts, [array.astype("<i8").tobytes() for array in arrays]

    @classmethod
    def from_blocks(cls, facts: dict[str, int], blocks: Iterator[bytes]) -> PatientMoments:
        """The inverse of :meth:`to_blocks`; takes four blocks.

        Raises:
            AuscultError: for blocks that do not have the sizes of ``facts``.
        """
        entries = int(facts["entries"])
        total = widen("<i8", next(blocks), (int(facts["size"]),))
        rows, columns, values = (widen("<i8", next(blocks), (entries,)) for _ in range(3))
        return cls(patients=int(facts["patients"]), total=total, rows=rows, columns=columns, values=values)
