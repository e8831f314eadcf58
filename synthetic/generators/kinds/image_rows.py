"""What an image is made from, as numbers: the study's conditions, noise of its own, and the patient's last image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies

Floats = npt.NDArray[np.float32]
MOST = 20.0
"""How much more often than a common one a study with a rare state of a finding is drawn, at most."""


def with_image_before(studies: LinkedStudies) -> npt.NDArray[np.int64]:
    """Place of the last earlier study of the same patient that has an image: int64 [n]; -1 where there is none."""
    found = np.full(len(studies), -1, dtype=np.int64)
    last: dict[str, int] = {}
    for row, (patient, there) in enumerate(zip(studies.patient_ids.tolist(), studies.has_image.tolist(), strict=True)):
        found[row] = last.get(patient, -1)
        if there:
            last[patient] = row
    return found


def noise_of(seed: int, purpose: str, places: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Floats:
    """Standard normal numbers [len(places), *shape], of each place a function of the seed and the place alone."""
    found = np.empty((len(places), *shape), dtype=np.float32)
    for row, place in enumerate(places.tolist()):
        found[row] = generator(seed, purpose, str(place)).standard_normal(shape, dtype=np.float32)
    return found


def balanced_weights(plans: Plans) -> npt.NDArray[np.float64]:
    """How often each study is drawn [n]: as often as the rarest of its present findings asks for.

    A finding that is present in the share p of the studies asks for ``1 / (2 p)``, at least 1 and at most
    :data:`MOST`.
    """
    share = np.maximum((plans.present == 1).mean(axis=0), 1e-9)
    wanted = np.clip(1 / (2 * share), 1, MOST)
    found: npt.NDArray[np.float64] = np.where(plans.present == 1, wanted, 1.0).max(axis=1, initial=1.0)
    return found
