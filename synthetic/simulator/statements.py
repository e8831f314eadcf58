"""False statements in experts' reports: which report, of which kind.

What a report says is written from what its author took to be there. So a planted report agrees with itself: whoever
calls an effusion new has also stated one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synthetic.simulator.names import FINDINGS, SIDED, STATEMENTS
from synthetic.simulator.patients import SIZE_CUTS, Bools, Ints, Studies
from synthetic.simulator.settings import SimulatorSettings

SIZE_TOLD = ("effusion", "pneumothorax")
"""Findings whose size every report tells."""

SEVERITY = (0.5, 1.0, 1.5)
"""A severity of each of SIZES."""


@dataclass(frozen=True, kw_only=True)
class Statements:
    """What the experts of n studies took to be there.

    Attributes:
        stated: The studies as they saw them.
        compared: [n] first studies that are compared with one before.
        kind: [n] place in STATEMENTS of what is false; -1 where nothing is.
        finding: [n] place in FINDINGS of the finding that it is about; -1 where it is about none.
    """

    stated: Studies
    compared: Bools
    kind: Ints
    finding: Ints

    def counts(self) -> dict[str, int]:
        """How many reports hold each kind."""
        return {name: int((self.kind == place).sum()) for place, name in enumerate(STATEMENTS)}


def plant_statements(studies: Studies, settings: SimulatorSettings, rng: np.random.Generator) -> Statements:
    """Choose reports, kinds and findings, and what is then taken to be there."""
    n = len(studies)
    kind, finding = np.full(n, -1), np.full(n, -1)
    planted = settings.hallucination
    if planted is not None:
        allowed = _allowed(studies, settings)
        usable = allowed.any(axis=2) & np.isin(STATEMENTS, planted.kinds)
        able = np.flatnonzero(usable.any(axis=1))
        rows = rng.choice(able, size=min(round(planted.share * n), len(able)), replace=False)
        kind[rows] = _one_of(usable[rows], rng)
        finding[rows] = _one_of(allowed[rows, kind[rows]], rng)
        finding[kind == STATEMENTS.index("comparison")] = -1
    return Statements(
        stated=_as_stated(studies, kind, finding),
        compared=kind == STATEMENTS.index("comparison"),
        kind=kind,
        finding=finding,
    )


def _allowed(studies: Studies, settings: SimulatorSettings) -> Bools:
    """Which finding [n, kinds, 4] a false statement of each kind may be about."""
    present = studies.present
    size_told = present & (settings.sizes_told | np.isin(FINDINGS, SIZE_TOLD))
    kinds = {
        "invented": ~present,
        "omitted": present,
        "side": present & ~studies.both & np.isin(FINDINGS, SIDED),
        "size": size_told,
        "comparison": np.repeat((studies.visit == 0)[:, None], len(FINDINGS), axis=1),
    }
    return np.stack([kinds[name] for name in STATEMENTS], axis=1)


def _one_of(choices: Bools, rng: np.random.Generator) -> Ints:
    """One of the columns that hold True, for each row; each is as likely."""
    drawn: Ints = np.where(choices, rng.random(choices.shape), -1.0).argmax(axis=1)
    return drawn


def _as_stated(studies: Studies, kind: Ints, finding: Ints) -> Studies:
    def concerned(name: str) -> tuple[Ints, Ints]:
        rows = np.flatnonzero(kind == STATEMENTS.index(name))
        return rows, finding[rows]

    present, right, shown = studies.present.copy(), studies.right.copy(), studies.shown.copy()
    present[concerned("invented")] = True
    present[concerned("omitted")] = False
    right[concerned("side")] ^= True
    at = concerned("size")
    shown[at] = np.where(shown[at] < SIZE_CUTS[-1], SEVERITY[-1], SEVERITY[0])
    return replace(studies, present=present, right=right, shown=shown)
