"""Studies with all their modalities in memory: what generators learn from, what they make, and what is audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.generators.plans import Plans, Rows

Objects = npt.NDArray[np.object_]
Pixels = npt.NDArray[np.uint8]
Readings = list[npt.NDArray[np.float64] | None]
Tell = Callable[[float, str], None]
"""Called with the share done in [0, 1] and a short message. May raise to stop the work."""


@dataclass(frozen=True, kw_only=True)
class LinkedStudies:
    """n studies, those of a patient one after the other in the order of time.

    Attributes:
        patient_ids, study_ids: Objects of str.
        times: datetime64[s], NaT where a study has none.
        attributes: Covariate -> object [n]: str, int, float, or None where it is missing.
        labels: Label -> int8 [n]: 1, 0, or -1 where the reference standard is silent.
        plans: What is the matter, by finding.
        series: Name -> [n] float64 [t, 2] of (hours, value) in the order of time, or None.
        texts: Name -> object [n]: str or None.
        images: uint8 [n, size, size], grey; of a study without image all zeros. None where no study has any.
        has_image: bool [n].
        units: ``series.crp`` -> its UCUM code, where it is known.
    """

    patient_ids: Objects
    study_ids: Objects
    times: npt.NDArray[np.datetime64]
    attributes: dict[str, Objects] = field(default_factory=dict)
    labels: dict[str, npt.NDArray[np.int8]] = field(default_factory=dict)
    plans: Plans
    series: dict[str, Readings] = field(default_factory=dict)
    texts: dict[str, Objects] = field(default_factory=dict)
    images: Pixels | None = None
    has_image: npt.NDArray[np.bool_]
    units: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.patient_ids)

    @property
    def patients(self) -> tuple[str, ...]:
        """Each patient once, in order."""
        return tuple(dict.fromkeys(self.patient_ids.tolist()))

    def visits(self) -> npt.NDArray[np.int64]:
        """Place of each study among those of its patient, from 0: int64 [n]."""
        seen: dict[str, int] = {}
        found = np.empty(len(self), dtype=np.int64)
        for row, patient in enumerate(self.patient_ids.tolist()):
            found[row] = seen[patient] = seen.get(patient, -1) + 1
        return found

    def rows(self, rows: Rows) -> LinkedStudies:
        """Some of the studies."""
        places = np.arange(len(self))[rows]
        return replace(
            self,
            patient_ids=self.patient_ids[places],
            study_ids=self.study_ids[places],
            times=self.times[places],
            attributes={name: values[places] for name, values in self.attributes.items()},
            labels={name: values[places] for name, values in self.labels.items()},
            plans=self.plans.rows(places),
            series={name: [values[row] for row in places] for name, values in self.series.items()},
            texts={name: values[places] for name, values in self.texts.items()},
            images=None if self.images is None else self.images[places],
            has_image=self.has_image[places],
        )

    @classmethod
    def joined(cls, parts: Sequence[LinkedStudies]) -> LinkedStudies:
        """Studies of the same columns, one after the other."""
        first = parts[0]

        def column(pick: Callable[[LinkedStudies], Mapping[str, Any]]) -> dict[str, Any]:
            return {name: np.concatenate([pick(part)[name] for part in parts]) for name in pick(first)}

        images = [part.images for part in parts if part.images is not None]
        return replace(
            first,
            patient_ids=np.concatenate([part.patient_ids for part in parts]),
            study_ids=np.concatenate([part.study_ids for part in parts]),
            times=np.concatenate([part.times for part in parts]),
            attributes=column(lambda part: part.attributes),
            labels=column(lambda part: part.labels),
            plans=Plans.joined([part.plans for part in parts]),
            series={name: [item for part in parts for item in part.series[name]] for name in first.series},
            texts=column(lambda part: part.texts),
            images=np.concatenate(images) if len(images) == len(parts) else None,
            has_image=np.concatenate([part.has_image for part in parts]),
        )


def split_patients(studies: LinkedStudies, shares: Sequence[float], *, seed: int) -> list[LinkedStudies]:
    """Disjoint sets of patients; all studies of a patient lie in one.

    Args:
        shares: Of the patients, in order; they sum to at most 1.
    """
    from evaluation.engine.statistics.seeds import generator

    if sum(shares) > 1 + 1e-9 or min(shares) < 0:
        raise ValueError("shares of patients are from 0 and sum to at most 1")
    patients = np.array(sorted(set(studies.patient_ids.tolist())), dtype=object)
    order = patients[generator(seed, "split patients").permutation(len(patients))]
    ends = np.rint(np.cumsum(shares) * len(patients)).astype(int)
    chosen = [set(part.tolist()) for part in np.split(order, ends)[: len(shares)]]
    return [studies.rows(np.array([name in part for name in studies.patient_ids], dtype=np.bool_)) for part in chosen]
