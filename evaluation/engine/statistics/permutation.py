"""A permutation test of the largest gap of a rate between groups, on numbers of patients alone.

The groups are equal where a patient's group tells nothing of the decisions on that patient's studies. If so, the
labels of the groups can be dealt out again among the patients. Patients are permuted, never studies, and only among
patients that are alike in how many studies they have in each denominator (none, 1, 2 to 3, 4 to 7, and so on): else a
group with more studies, or with another prevalence, would pass for a group that is treated otherwise, and a small
denominator would grow in the permutations to the average one.

Dealing labels to N patients, of whom ``n_d`` have the vector d, gives a table of patients (vector, group) with fixed
margins. It is drawn directly, as a chain of hypergeometric numbers, so the cost grows with the number of distinct
vectors and groups, not with N.

Source: Phipson and Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39; Good (2005), Permutation, Parametric and
Bootstrap Tests of Hypotheses, on permuting within strata; Patefield (1981), Applied Statistics 30:91, on the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from evaluation.engine.sketches.counts import Cells

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
CHUNK = 4_000_000
TIE = 1e-12
"""Gaps that differ by less are equal: they are the same fractions, added in another order."""


class RateRule(Protocol):
    """A rate ``events / studies`` over cells (true positives, false positives, false negatives, true negatives)."""

    def events(self, cells: npt.NDArray[Any]) -> npt.NDArray[Any]: ...

    def studies(self, cells: npt.NDArray[Any]) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, kw_only=True)
class PatientTable:
    """Patients by what was decided on them and by group, for R rates and G groups.

    Attributes:
        groups: Names of the columns of ``patients``.
        vectors: int64 [D, 2R], distinct: events and studies of one patient in the first rate, then in the second.
        patients: int64 [D, G], patients with that vector in that group.
        strata: int64 [D]: labels are dealt among the patients of one stratum.
    """

    groups: tuple[str, ...]
    vectors: Ints
    patients: Ints
    strata: Ints


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """Attributes:
    p_value: ``(1 + #{T* >= T}) / (B + 1)``, never 0. None where there is no test, for ``reason``.
    gap: The observed T: the largest difference of a rate between two groups, over all rates.
    replicates: B, the permutations drawn.
    """

    p_value: float | None
    reason: str
    gap: float | None
    replicates: int


def alike(vectors: Ints) -> Ints:
    """Strata of patients, int64 [D]: the same number of binary digits in every denominator of ``vectors`` [D, 2R]."""
    digits = np.frexp(vectors[:, 1::2].astype(np.float64))[1]
    return np.unique(digits, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def patient_table(cells: Cells, rules: Sequence[RateRule], groups: Sequence[str]) -> PatientTable | None:
    """The table of the patients that have a study in the denominator of any of the rates in one of ``groups``.

    Returns:
        None where such a patient has studies in two of the groups: there is no label to deal. See
        :func:`evaluation.engine.statistics.heterogeneity.wald_heterogeneity` for a test that allows it.
    """
    places = [cells.groups.index(name) for name in groups]
    blocks = cells.vectors.reshape(len(cells.counts), len(cells.groups), 4)[:, places]
    parts = [part for rule in rules for part in (rule.events(blocks), rule.studies(blocks))]
    found = np.stack(parts, axis=2)
    inside = found[:, :, 1::2].any(axis=2)
    if (inside.sum(axis=1) > 1).any():
        return None
    owners, columns = np.nonzero(inside)
    vectors, rows = np.unique(found[owners, columns], axis=0, return_inverse=True)
    patients = np.zeros((len(vectors), len(places)), dtype=np.int64)
    np.add.at(patients, (rows.reshape(-1), columns), cells.counts[owners])
    return PatientTable(groups=tuple(groups), vectors=vectors, patients=patients, strata=alike(vectors))


def gap_test(
    cells: Cells, rules: Sequence[RateRule], groups: Sequence[str], *, replicates: int, rng: np.random.Generator
) -> PermutationTest:
    """:func:`permutation_test` of the table of ``cells``, or the reason why there is none."""
    table = patient_table(cells, rules, groups)
    if table is None:
        return _none("no permutation test: patients have studies in more than one of the groups")
    return permutation_test(table, replicates=replicates, rng=rng)


def permutation_test(table: PatientTable, *, replicates: int, rng: np.random.Generator) -> PermutationTest:
    """Permutation test of the largest gap ``T = max over rates of (max over groups - min over groups)``.

    A rate is ``sum of events / sum of studies`` in a group. A group without a study in a denominator is left out of
    that rate, in the observed table as in the permuted ones.

    Returns:
        A p-value of None where no rate has two groups with a study.

    Raises:
        ValueError: where a stratum has 10^9 patients or more, which numpy cannot draw.
    """
    vectors = table.vectors.astype(np.float64)
    observed = float(gaps(np.einsum("dg,dk->gk", table.patients.astype(np.float64), vectors)[None])[0])
    if np.isnan(observed):
        return _none("undefined: fewer than two groups have a study in the denominator")
    drawn = gaps(permuted_totals(table, replicates=replicates, rng=rng))
    # A permutation without two defined rates cannot speak against the null hypothesis: it counts for it.
    reached = int((~(drawn < observed - TIE)).sum())
    return PermutationTest(p_value=(1 + reached) / (replicates + 1), reason="", gap=observed, replicates=replicates)


def gaps(totals: Floats) -> Floats:
    """Largest gap of totals [B, G, 2R], float64 [B]; NaN where no rate has two groups with a study."""
    events, studies = totals[..., 0::2], totals[..., 1::2]
    known = studies > 0
    rates = np.divide(events, studies, out=np.zeros(studies.shape), where=known)
    spread = np.where(known, rates, -np.inf).max(axis=1) - np.where(known, rates, np.inf).min(axis=1)
    spread[known.sum(axis=1) < 2] = -np.inf
    largest = spread.max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(largest), largest, np.nan)


def permuted_totals(table: PatientTable, *, replicates: int, rng: np.random.Generator) -> Floats:
    """Events and studies of each group after dealing the labels again, float64 [B, G, 2R]; whole numbers."""
    totals = np.zeros((replicates, len(table.groups), table.vectors.shape[1]))
    for stratum in np.unique(table.strata):
        rows = np.flatnonzero(table.strata == stratum)
        # The commonest vector comes last: what is left is its share, and the costliest number needs no draw.
        rows = rows[np.argsort(table.patients[rows].sum(axis=1), kind="stable")]
        numbers, vectors = table.patients[rows].sum(axis=1), table.vectors[rows]
        room = np.broadcast_to(table.patients[rows].sum(axis=0), totals.shape[:2]).copy()
        # A number costs a draw per group; for few patients it is cheaper to shuffle them.
        rare = int(np.searchsorted(numbers[:-1], 2 * len(table.groups)))
        if rare:
            dealt = _deal(int(numbers[:rare].sum()), room, rng)
            room -= dealt
            totals += _shuffled(np.repeat(vectors[:rare], numbers[:rare], axis=0), dealt, rng)
        for number, vector in zip(numbers[rare:-1], vectors[rare:-1], strict=True):
            dealt = _deal(int(number), room, rng)
            room -= dealt
            totals += dealt[:, :, None] * vector
        totals += room[:, :, None] * vectors[-1]
    return totals


def _shuffled(vectors: Ints, sizes: Ints, rng: np.random.Generator) -> Floats:
    """Sums [B, G, K] of groups of given ``sizes`` [B, G] when the patients ``vectors`` [M, K] are dealt at random."""
    parts = []
    step = max(1, CHUNK // vectors.size)
    for start in range(0, len(sizes), step):
        ends = np.cumsum(sizes[start : start + step], axis=1)
        order = rng.permuted(np.tile(np.arange(len(vectors)), (len(ends), 1)), axis=1)
        until = np.cumsum(vectors[order], axis=1)
        # Groups are the stretches of the shuffled line between their ends; an end of 0 has nothing before it.
        sums = np.take_along_axis(until, np.maximum(ends - 1, 0)[:, :, None], axis=1)
        parts.append(np.diff(np.where(ends[:, :, None] > 0, sums, 0), axis=1, prepend=0))
    return np.concatenate(parts).astype(np.float64)


def _deal(number: int, room: Ints, rng: np.random.Generator) -> Ints:
    """How many of ``number`` patients fall in each group, int64 [B, G], where groups have ``room`` [B, G] left."""
    dealt = np.zeros_like(room)
    left = np.full(len(room), number, dtype=np.int64)
    beyond = room.sum(axis=1)
    for group in range(room.shape[1] - 1):
        beyond = beyond - room[:, group]
        if room[:, group].any():
            dealt[:, group] = rng.hypergeometric(room[:, group], beyond, left)
            left = left - dealt[:, group]
    dealt[:, -1] = left
    return dealt


def _none(reason: str) -> PermutationTest:
    return PermutationTest(p_value=None, reason=reason, gap=None, replicates=0)
