"""What the weights of a generator give away to who holds them: membership by losses, and exposure of canaries.

Weights can be queried without drawing one synthetic patient: a model explains what it has by heart better than what it
has not seen. They are attacked apart, since they may be personal data themselves.

Source: Yeom, Giacomelli, Fredrikson and Jha (2018), Privacy risk in machine learning, CSF; Carlini et al. (2022),
Membership inference attacks from first principles, IEEE S&P; EDPB Opinion 28/2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from synthetic.generators.canaries import as_studies
from synthetic.generators.studies import LinkedStudies
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.privacy_arms import Arm, Arms
from synthetic.suites.privacy_shares import membership
from synthetic.suites.values import Floats

METRICS = ("weights_auc", "weights_tpr")
EXPOSURE = "canary_exposure"
REPORT_PART = "report"
NOT_GIVEN = "the weights were not given"
LEAST = 2


class WeightsUnderAttack(Protocol):
    """A trained generator, of which its parts can say how well they explain a study."""

    def losses(self, studies: LinkedStudies, *, seed: int) -> dict[str, npt.NDArray[Any]]:
        """Part (``report``, ``image``, ``series``, ``tables``) -> [n] how badly it explains each study: lower is better
        known. NaN where the study lacks what the part makes; a part that cannot tell is left out."""


def weights_figures(arms: Arms, generator: WeightsUnderAttack) -> list[Figure]:
    """For each part, how well its loss tells learnt patients from those held out. A patient's loss is the mean of its
    studies'."""
    n = min(arms.attacks, len(arms.learnt))
    drawn = [arms.rng("weights", side).permutation(len(arms.learnt))[:n] for side in ("learnt", "held out")]
    attacked = [arms.learnt.take(drawn[0]), arms.held_out.take(drawn[1])]
    losses = [generator.losses(arm.studies, seed=arms.seed) for arm in attacked]
    found = []
    for part in sorted(set(losses[0]) & set(losses[1])):
        scores = [-_by_patient(arm, loss[part]) for arm, loss in zip(attacked, losses, strict=True)]
        told = [score[np.isfinite(score)] for score in scores]
        found += membership(METRICS, part, told[0], told[1], arms.rng("weights", part))
    return found or [not_computed(metric, "no part of the generator tells a loss") for metric in METRICS]


def _by_patient(arm: Arm, losses: npt.NDArray[Any]) -> Floats:
    """Mean over the studies of each patient that have a loss; NaN where none has."""
    values = np.asarray(losses, dtype=np.float64)
    if values.shape != (len(arm.studies),):
        raise ValueError(f"{len(arm.studies)} studies have losses of shape {values.shape}")
    there, owner = np.isfinite(values), arm.owners()
    sums = np.bincount(owner[there], weights=values[there], minlength=len(arm))
    counts = np.bincount(owner[there], minlength=len(arm))
    found: Floats = np.divide(sums, counts, out=np.full(len(arm), np.nan), where=counts > 0)
    return found


def exposure_figure(arms: Arms, generator: WeightsUnderAttack, planted: Sequence[str], decoys: Sequence[str]) -> Figure:
    """How well the report part's loss tells planted canaries from decoys: reports of patients of whom nothing is known.

    In the detail, exposure: ``log2`` of the number of decoys and one, less the mean ``log2`` of a canary's rank among
    them. 0 to 1.4 bits are chance; the most is that of rank 1 for all.
    """
    if not planted:
        return not_computed(EXPOSURE, "no canaries were planted before the training")
    if min(len(planted), len(decoys)) < LEAST:
        return not_computed(EXPOSURE, f"fewer than {LEAST} canaries, or decoys to hold them against")
    scores = []
    for said in (planted, decoys):
        losses = generator.losses(as_studies(arms.held_out.studies, list(said)), seed=arms.seed)
        if REPORT_PART not in losses:
            return not_computed(EXPOSURE, "the generator's report part tells no loss")
        told = -np.asarray(losses[REPORT_PART], dtype=np.float64)
        scores.append(told[np.isfinite(told)])
    if min(map(len, scores)) < LEAST:
        return not_computed(EXPOSURE, "the report part has no loss for canaries")
    figure = membership((EXPOSURE, EXPOSURE), "", scores[0], scores[1], arms.rng("canaries"))[0]
    ranks = 1 + (scores[1][None] > scores[0][:, None]).sum(axis=1)
    most = math.log2(len(scores[1]) + 1)
    return Figure(
        metric=EXPOSURE, value=figure.value, error=figure.error, n=len(scores[0]) + len(scores[1]),
        counted="canaries, planted or not", method=figure.method, reason=figure.reason,
        detail={
            "exposure_bits": most - float(np.log2(ranks).mean()), "most_bits": most,
            "without_loss": len(planted) + len(decoys) - sum(map(len, scores)),
        },
    )  # fmt: skip
