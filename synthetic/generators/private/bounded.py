"""The studies of patients of whom each counts alike, however many studies there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.generators.kinds.conditions import aligned
from synthetic.generators.private.domain import Domain
from synthetic.generators.studies import LinkedStudies

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """The first studies of each patient, with plans over the findings of a domain.

    Attributes:
        owner: Number of each study's patient, from 0; ``visit``: its place, from 0; ``visits``: how many each
            patient has, at most those of the domain.
    """

    studies: LinkedStudies
    owner: Ints
    visit: Ints
    visits: Ints


def bounded(studies: LinkedStudies, domain: Domain) -> Bounded:
    """Studies as a domain lets them count. What is left out of a patient does not depend on other patients."""
    from dataclasses import replace

    kept = studies.rows(studies.visits() < domain.visits)
    known = {name: values for name, values in kept.labels.items() if name in kept.plans.findings}
    kept = replace(kept, plans=aligned(kept.plans, domain.findings), labels=known)
    numbers = {patient: place for place, patient in enumerate(kept.patients)}
    owner = np.array([numbers[patient] for patient in kept.patient_ids.tolist()], dtype=np.int64)
    return Bounded(
        studies=kept, owner=owner, visit=kept.visits(), visits=np.bincount(owner, minlength=len(numbers))
    )  # fmt: skip


def rows_by_patient(owner: Ints, there: npt.NDArray[np.bool_]) -> list[Ints]:
    """For each patient who has any, the rows of those studies that are there."""
    rows = np.flatnonzero(there)
    order = rows[np.argsort(owner[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(owner[order])) + 1
    return [part for part in np.split(order, cuts) if len(part)]
