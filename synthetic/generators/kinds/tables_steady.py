"""Columns of studies that stay as they are within a patient: a rare disease, the side on which a finding lies.

They are drawn once for each patient, as no chain of latents keeps what never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.tables_columns import Column, Floats, Ints, Variable

STEADY = 0.98
"""Share of patients, of those who are told a column several times, who must be told the same each time for it to be one
of the patient."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Columns of studies by whether they are drawn for each study.

    Attributes:
        grouping: Of patients, told for each of them: they form groups as sex does.
        steady: Of patients, told for some, as the side of a finding that others do not have.
        changing: Of studies.
    """

    grouping: list[Column]
    steady: list[Column]
    changing: list[Column]

    @classmethod
    def none(cls, study: list[Column]) -> Split:
        """All columns are of studies."""
        return cls(grouping=[], steady=[], changing=study)


def split_steady(study: list[Column], owner: Ints, *, rare_below: int) -> Split:
    """Which columns of studies stay as they are. At least ``rare_below`` patients must show it."""
    found = Split(grouping=[], steady=[], changing=[])
    fixed: set[str] = set()
    for column in study:
        variable = column.variable
        if not set(variable.within) <= fixed or not _stays(variable, column.seen, owner, rare_below):
            found.changing.append(column)
            continue
        fixed.add(variable.name)
        first = _first_told(variable, column.seen, owner)
        always = variable.given is None and bool(_told(variable, column.seen).all())
        (found.grouping if always else found.steady).append(Column(variable=variable, seen=first))
    return found


def _stays(variable: Variable, seen: Floats, owner: Ints, rare_below: int) -> bool:
    rows = np.flatnonzero(_told(variable, seen))
    patients, counts = np.unique(owner[rows], return_counts=True)
    several = patients[counts > 1]
    if len(several) < rare_below:
        return False
    same = owner[rows][1:] == owner[rows][:-1]
    changed = np.unique(owner[rows][1:][same & (seen[rows][1:] != seen[rows][:-1])])
    # Patients in whom it could have changed, and who do not all have the commonest value.
    values, held = np.unique(seen[rows], return_counts=True)
    commonest = values[held.argmax()]
    others = np.unique(owner[rows][seen[rows] != commonest])
    able = np.intersect1d(several, others)
    return len(able) >= rare_below and len(changed) <= (1 - STEADY) * len(able)


def _told(variable: Variable, seen: Floats) -> npt.NDArray[np.bool_]:
    return ~np.isnan(seen) if variable.numbers is not None else seen >= 0


def _first_told(variable: Variable, seen: Floats, owner: Ints) -> Floats:
    found = np.full(int(owner.max()) + 1, np.nan if variable.numbers is not None else -1.0)
    rows = np.flatnonzero(_told(variable, seen))[::-1]
    found[owner[rows]] = seen[rows]
    return found
