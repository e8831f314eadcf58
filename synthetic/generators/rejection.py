"""A critic looks at each image that was made, and asks for another where it does not show what the plan says.

Each study keeps its plan and gets one image, the first that the critic accepts. So how often a finding or a group is
there stays exactly as the tables part drew it: nothing is thrown away but images. What no candidate resolves keeps the
best one and is flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.seeds import generator
from synthetic.generators.parts import Critic, Images
from synthetic.generators.plans import Plans
from synthetic.generators.studies import LinkedStudies, Pixels

CANDIDATES = 4
"""Images that are drawn for a study at most."""
LEVEL = 0.1
"""An image is accepted where the critic sees the plan in it at least as well as in nine of ten real images."""
LEAST = 20
"""Real images of a stratum from which its own bar is taken; with fewer, the bar of all is."""
OVERALL = "all"
Floats = npt.NDArray[np.float32]
Objects = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What the critic said of the images of one stratum of plans.

    Attributes:
        stratum: Names of the findings that are present, joined by ``+``; ``none``.
        n: Studies with an image.
        first: Of these, accepted at the first draw; ``accepted``: in the end.
        bar: Mean log-probability of the plan from which an image is accepted.
    """

    stratum: str
    n: int
    first: int
    accepted: int
    bar: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One image for each study.

    Attributes:
        images: uint8 [n, size, size].
        unresolved: bool [n]: no candidate was accepted, and the best one stands.
        acceptance: By stratum; empty where there is no critic.
    """

    images: Pixels
    unresolved: npt.NDArray[np.bool_]
    acceptance: tuple[Acceptance, ...] = ()


def strata_of(plans: Plans) -> Objects:
    """The stratum of each study: object [n] of str."""
    names = np.array(plans.findings, dtype=object)
    kinds, place = np.unique(plans.present == 1, axis=0, return_inverse=True)
    told = np.array(["+".join(names[row]) or "none" for row in kinds], dtype=object)
    found: Objects = told[place.ravel()]
    return found


def bars_of(critic: Critic, held_out: LinkedStudies) -> dict[str, float]:
    """From which agreement an image is accepted, by stratum, on real studies that nothing was learnt from.

    Empty where none of them has an image and a plan that tells something.
    """
    if held_out.images is None or not held_out.has_image.any():
        return {}
    real = held_out.rows(held_out.has_image)
    assert real.images is not None
    agreement, strata = critic.agreement(real.images, real.plans), strata_of(real.plans)
    told = np.isfinite(agreement)
    if not told.any():
        return {}
    bars = {OVERALL: float(np.quantile(agreement[told], LEVEL))}
    for name in sorted(set(strata[told].tolist())):
        here = told & (strata == name)
        if here.sum() >= LEAST:
            bars[name] = float(np.quantile(agreement[here], LEVEL))
    return bars


def choose_images(
    images: Images, critic: Critic | None, bars: Mapping[str, float], studies: LinkedStudies, *, seed: int
) -> Chosen:
    """Images for every study that is to have one, drawn again where the critic refuses.

    Args:
        bars: Of :func:`bars_of`; without them, and without a critic, the first image of each study stands.
    """
    made = images.sample(studies, seed=_seed(seed, 0))
    judged = studies.has_image.copy()
    if critic is None or not bars:
        return Chosen(images=made, unresolved=np.zeros(len(studies), dtype=np.bool_))
    strata = strata_of(studies.plans)
    bar = np.array([bars.get(name, bars[OVERALL]) for name in strata], dtype=np.float32)
    best = np.full(len(studies), -np.inf, dtype=np.float32)
    best[judged] = critic.agreement(made[judged], studies.plans.rows(judged))
    # A plan that tells nothing cannot be contradicted.
    open_ones = judged & (best < bar)
    first = judged & ~open_ones
    for draw in range(1, CANDIDATES):
        rows = np.flatnonzero(open_ones)
        if not len(rows):
            break
        again = images.sample(studies.rows(rows), seed=_seed(seed, draw))
        seen = critic.agreement(again, studies.plans.rows(rows))
        better = seen > best[rows]
        made[rows[better]], best[rows[better]] = again[better], seen[better]
        open_ones[rows] = best[rows] < bar[rows]
    acceptance = tuple(
        Acceptance(
            stratum=name,
            n=int((here := judged & (strata == name)).sum()),
            first=int((first & here).sum()),
            accepted=int((here & ~open_ones).sum()),
            bar=bars.get(name, bars[OVERALL]),
        )
        for name in sorted(set(strata[judged].tolist()))
    )
    return Chosen(images=made, unresolved=open_ones, acceptance=acceptance)


def _seed(seed: int, draw: int) -> int:
    return int(generator(seed, "images", str(draw)).integers(2**32))
