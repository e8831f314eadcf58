"""Rates over patients that contribute several studies: linearised variance, covariance and design effect.

With ``x_i`` events among ``n_i`` studies of patient i, the rate is the ratio ``p = sum x_i / sum n_i``. Its variance
between patients is ``m/(m-1) sum (x_i - p n_i)^2 / (sum n_i)^2`` over the m patients (Taylor linearisation); the
design effect is that over the binomial ``p(1-p)/n``. All of it follows from sums over patients of their count vectors
and of the products of these, which are computed once for all rates and groups.

Source: Rao and Scott (1992), Biometrics 48:577; Korn and Graubard (1998), Survey Methodology 24:193.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SPARSE = 10
LEAST_EFFECT = 0.25
"""A design effect below this is not believed: it is chance, or patients whose studies were chosen to differ."""
DENSE = 1 << 24
"""A product of so many terms is computed without regard to those that are 0."""
LEVELS = np.array(list(product(range(3), repeat=4)))
"""How many studies a patient has in each cell: none, one, more. int64 [81, 4]."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A ratio of counts in one group. ``value`` is None when the denominator is empty.

    Attributes:
        n, patients: Studies in the denominator and the patients they belong to.
        with_event, without_event: Patients with at least one study of that kind.
        effective: Studies divided by the design effect (at least 1): as many independent studies are worth as much.
        variance: Linearised variance of ``value`` between patients. Where the event is sparse no less than that of
            independent studies. Meaningless where ``value`` is 0 or 1.
        clustered: Whether any patient has more than one study in the denominator.
    """

    value: float | None
    events: int
    n: int
    patients: int
    with_event: int
    without_event: int
    effective: float
    variance: float
    clustered: bool

    @property
    def sparse(self) -> bool:
        """Fewer than ten patients with the event, or without: a bootstrap would be too narrow."""
        return min(self.with_event, self.without_event) < SPARSE

    @property
    def certain(self) -> bool:
        """Whether all studies have the event, or none has."""
        return self.value in (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class PatientSums:
    """Sums over the patients of D distinct vectors, int64, of C cells in each of G groups (C = 4).

    Attributes:
        totals: [G, 4] studies.
        products: [4G, 4G], sum over patients of the outer product of the vector with itself.
        presence: [G, 81], patients by how many studies they have in each cell, as in LEVELS.
    """

    totals: Ints
    products: Ints
    presence: Ints

    @classmethod
    def of(cls, vectors: Ints, counts: Ints, groups: int) -> PatientSums:
        """Args:
        vectors: int64 [D, 4G], columns group-major; counts: int64 [D], patients with that vector.
        """
        levels = np.minimum(vectors.reshape(len(counts), groups, 4), 2) @ np.array([27, 9, 3, 1])
        presence = np.zeros((groups, len(LEVELS)), dtype=np.int64)
        np.add.at(presence, (np.broadcast_to(np.arange(groups), levels.shape), levels), counts[:, None])
        totals = (counts @ vectors).reshape(groups, 4)
        return cls(totals=totals, products=_products(vectors, counts), presence=presence)

    @cached_property
    def patients(self) -> Ints:
        """Patients with any study in the group, int64 [G]."""
        found: Ints = self.presence[:, 1:].sum(axis=1)
        return found

    def rates(self, events: Sequence[int], studies: Sequence[int]) -> list[Rate]:
        """The rate of every group.

        Args:
            events, studies: Cells of the numerator, and of the denominator, which contains it.
        """
        rest = [cell for cell in studies if cell not in events]
        inside = LEVELS[:, studies].sum(axis=1)
        kinds = (inside > 0, LEVELS[:, events].any(axis=1), LEVELS[:, rest].any(axis=1), inside > 1)
        persons = np.stack([self.presence[:, kind].sum(axis=1) for kind in kinds], axis=1)
        return [self._rate(group, events, studies, row) for group, row in enumerate(persons.tolist())]

    def covariance(self, events: Sequence[int], studies: Sequence[int], groups: Sequence[int]) -> Floats:
        """Sums over patients of the products of their linearised contributions to the rates of ``groups``, [k, k].

        A patient of several groups makes their rates depend on one another. Not yet scaled by m/(m-1). Rows of a
        group with an empty denominator are 0.
        """
        cells = [4 * group + cell for group in groups for cell in studies]
        gradients = np.zeros((len(groups), len(cells)))
        for row, group in enumerate(groups):
            n, hits = int(self.totals[group, studies].sum()), int(self.totals[group, events].sum())
            if n:
                gradients[row, row * len(studies) : (row + 1) * len(studies)] = [
                    ((cell in events) - hits / n) / n for cell in studies
                ]
        found: Floats = gradients @ self.products[np.ix_(cells, cells)] @ gradients.T
        return found

    def _rate(self, group: int, events: Sequence[int], studies: Sequence[int], persons: Sequence[int]) -> Rate:
        n, hits = int(self.totals[group, studies].sum()), int(self.totals[group, events].sum())
        patients, with_event, without_event, several = persons
        if n == 0:
            return Rate(
                value=None, events=0, n=0, patients=0, with_event=0, without_event=0, effective=0.0, variance=0.0,
                clustered=False,
            )  # fmt: skip
        value, sparse = hits / n, min(with_event, without_event) < SPARSE
        cells = [4 * group + cell for cell in studies]
        effect = float(self.products[np.ix_(cells, cells)].sum()) / n
        # Where the rate is 0 or 1 the data tell nothing: then as if a patient's studies all agreed.
        if 0 < hits < n and patients > 1:
            between = float(self.covariance(events, studies, [group])[0, 0]) * patients / (patients - 1)
            effect = between / (value * (1 - value) / n)
        return Rate(
            value=value, events=hits, n=n, patients=patients, with_event=with_event, without_event=without_event,
            effective=n / max(1.0, effect), clustered=several > 0,
            variance=value * (1 - value) / n * max(1.0 if sparse else LEAST_EFFECT, effect),
        )  # fmt: skip


def _products(vectors: Ints, counts: Ints) -> Ints:
    """Sum over patients of the outer product of the vector with itself, int64 [4G, 4G]."""
    if vectors.size * vectors.shape[1] <= DENSE:
        # As floats, the product runs in BLAS; the numbers are whole and below 2^53, so it is still exact.
        table = vectors.astype(np.float64)
        return ((table * counts[:, None]).T @ table).astype(np.int64)
    from scipy.sparse import csr_array

    # A patient is in few groups, so that few products are not 0.
    sparse = csr_array(vectors)
    return np.asarray((sparse.multiply(counts[:, None]).T @ sparse).toarray(), dtype=np.int64)
