"""Who takes part in an attack: patients that were learnt, patients that were not, those of the audit, and those made.

The null of every attack is the same attack on real patients alone: one half of the patients held out stands in for the
synthetic ones, the other half is held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from core.errors import CohortError
from evaluation.engine.statistics.seeds import generator
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import AuditSets, Figure
from synthetic.suites.rows import Rows, encode, first_studies
from synthetic.suites.values import Ints

MOST = 20_000
"""Patients of each set that attacks look at; of more, so many are drawn. Time and memory grow with their product."""
LEAST = 50
"""With fewer patients in a set nothing can be told."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """n patients: their studies, one row for each, and the row of the first study of each."""

    studies: LinkedStudies
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first(self) -> LinkedStudies:
        """The first study of each patient, in the order of the rows."""
        return self.studies.rows(first_studies(self.studies))

    def owners(self) -> Ints:
        """Place of each study's patient among the rows: int64 [studies]."""
        starts: Ints = np.cumsum(self.studies.visits() == 0) - 1
        return starts

    def take(self, places: Ints) -> Arm:
        """Some of the patients, in their order."""
        places = np.sort(places)
        return Arm(studies=self.studies.rows(np.isin(self.owners(), places)), rows=self.rows.take(places))


@dataclass(frozen=True, kw_only=True)
class Arms:
    """The sets of an attack.

    Attributes:
        learnt, held_out: Of equal size: whatever is nearer to one of them by chance is as near to the other.
        readers: Real patients of the audit: the reference that an attacker holds.
        attacks: How many are wanted.
        left_out: Columns that rows leave out, with reasons.
    """

    learnt: Arm
    readers: Arm
    held_out: Arm
    synthetic: Arm
    seed: int
    attacks: int
    left_out: dict[str, str]

    def rng(self, *purpose: str) -> np.random.Generator:
        return generator(self.seed, "privacy", *purpose)

    def null(self) -> Arms:
        """Half of the patients held out in place of the synthetic ones; as many learnt ones as the other half has."""
        order = self.rng("null").permutation(len(self.held_out))
        half = len(order) // 2
        return replace(
            self,
            learnt=self.learnt.take(self.rng("null", "learnt").permutation(len(self.learnt))[:half]),
            held_out=self.held_out.take(order[:half]),
            synthetic=self.held_out.take(order[half:]),
        )


Attack = Callable[[Arms], list[Figure]]


def arms_of(sets: AuditSets, *, attacks: int) -> Arms:
    """The patients of an audit, those learnt and held out cut to equal numbers by lot.

    Raises:
        CohortError: a set has fewer than :data:`LEAST` patients.
    """
    named = {name: getattr(sets, name) for name in ("learnt", "readers", "held_out", "synthetic")}
    rows, left_out = encode(list(named.values()), real=(0, 1, 2))
    arms = {name: Arm(studies=studies, rows=made) for (name, studies), made in zip(named.items(), rows, strict=True)}
    for name, arm in arms.items():
        if len(arm) < LEAST:
            raise CohortError(
                f"The set '{name}' has {len(arm)} patients; nothing can be told from fewer than {LEAST}.",
                remedy="Give more patients.",
            )
    equal = min(len(arms["learnt"]), len(arms["held_out"]), MOST)
    sizes = {"learnt": equal, "held_out": equal, "readers": MOST, "synthetic": MOST}
    cut = {name: _by_lot(arm, sizes[name], sets.seed, name) for name, arm in arms.items()}
    return Arms(**cut, seed=sets.seed, attacks=attacks, left_out=left_out)


def _by_lot(arm: Arm, size: int, seed: int, name: str) -> Arm:
    if len(arm) <= size:
        return arm
    return arm.take(generator(seed, "privacy", "patients", name).permutation(len(arm))[:size])
