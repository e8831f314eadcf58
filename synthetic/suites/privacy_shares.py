"""Values and standard errors of what attacks count. The unit is the patient everywhere."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from evaluation.engine.statistics.auroc import delong
from evaluation.engine.statistics.intervals import difference, wilson, z_of
from synthetic.suites.figures import Figure, not_computed
from synthetic.suites.values import Floats

Bools = npt.NDArray[np.bool_]
Z = z_of(0.05)
DRAWS = 200
FPR = 0.01
LEAST_HELD_OUT = 100
"""Patients held out without which a rate of false positives of 1 % has no meaning."""


def excess(one: Bools, other: Bools) -> tuple[float, float]:
    """Share of the patients with ``one`` less the share with ``other``, of the same patients, and its standard error.

    The error is the wider side of Newcombe's interval from Wilson limits, with the correlation of the two, over 1.96:
    never 0, also where nobody has either.
    """
    n = len(one)
    shares = float(one.mean()), float(other.mean())
    varies = min(one.std(), other.std()) > 0
    together = float(np.corrcoef(one, other)[0, 1]) if varies else 0.0
    low, high = difference(*shares, (wilson(shares[0], n, Z), wilson(shares[1], n, Z)), max(0.0, together))
    value = shares[0] - shares[1]
    return value, max(value - low, high - value) / Z


def apart_error(apart: Floats, groups: npt.NDArray[np.int64]) -> float:
    """Standard error of the mean of paired differences, where those of a group stand or fall together."""
    sums = np.bincount(groups, weights=apart - apart.mean())
    return float(np.sqrt((sums * sums).sum())) / len(apart)


def risk(learnt: Bools, controls: Bools) -> tuple[float, float] | None:
    """``(r - c) / (1 - c)`` for the rate r of success on learnt patients and c on controls, and its standard error.

    1 where every attack on learnt patients succeeds, 0 where they fare as controls do, below 0 where they fare better.
    The error is carried over from the half widths of both Wilson intervals,
    ``sqrt((e_r / (1 - c))^2 + ((1 - r) e_c / (1 - c)^2)^2) / 1.96``. None where every attack on a control succeeds.

    Source: Giomi, Boenisch, Wehmeyer and Tasnádi (2023), PoPETs 2023(2):312, section 3.
    """
    rate, control = float(learnt.mean()), float(controls.mean())
    if control >= 1:
        return None
    errors = [_half(rate, len(learnt)), _half(control, len(controls))]
    error = math.hypot(errors[0] / (1 - control), (1 - rate) * errors[1] / (1 - control) ** 2) / Z
    return max(-1.0, (rate - control) / (1 - control)), error


def _half(share: float, n: int) -> float:
    low, high = wilson(share, n, Z)
    return (high - low) / 2


def clustered(hits: Floats, clusters: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Share of hits, its standard error, and how many independent patients it is worth.

    Patients with the same nearest real patient stand or fall together: with m_r of them at real patient r, the share
    is worth ``(sum m_r)^2 / sum m_r^2`` independent ones. The error is that of Agresti and Coull, never 0.

    Args:
        hits: In {0, 1/2, 1}.
    """
    sizes = np.unique(clusters, return_counts=True)[1].astype(np.float64)
    worth = float(sizes.sum() ** 2 / (sizes**2).sum())
    value = float(hits.mean())
    inner = (value * worth + 2) / (worth + 4)
    return value, math.sqrt(inner * (1 - inner) / (worth + 4)), worth


def membership(
    metrics: tuple[str, str], of: str, learnt: Floats, held_out: Floats, rng: np.random.Generator
) -> list[Figure]:
    """How well a score tells learnt patients from those held out: the area under its curve, and hits at 1 % alarms.

    Args:
        metrics: Of the area and of the rate of hits.
        learnt, held_out: Score of each patient, higher for one that is taken for learnt.
    """
    n = len(learnt) + len(held_out)
    if min(len(learnt), len(held_out)) < 2:
        return [not_computed(metric, "fewer than two patients on a side", of=of) for metric in metrics]
    area = delong(np.append(learnt, held_out), np.repeat((1, 0), (len(learnt), len(held_out))))
    # Scores that split the two sides have placements that do not vary: then one patient more would have been wrong.
    error = max(math.sqrt(area.variance or 0.0), 0.5 / min(len(learnt), len(held_out)))
    found = [Figure(metric=metrics[0], of=of, value=area.value, error=error, n=n, counted="patients", method="DeLong")]
    if len(held_out) < LEAST_HELD_OUT:
        reason = f"{len(held_out)} patients held out cannot tell a rate of false positives of 1 %"
        return [*found, not_computed(metrics[1], f"{reason}; {LEAST_HELD_OUT} can", of=of)]
    value, error = _hits(learnt, held_out, rng)
    return [
        *found,
        Figure(
            metric=metrics[1], of=of, value=value, error=error, n=n, counted="patients",
            method=f"bootstrap over patients, {DRAWS} draws", detail={"false_positive_rate": FPR},
        ),
    ]  # fmt: skip


def _hits(learnt: Floats, held_out: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Share of the learnt patients beyond the score that 1 % of those held out are beyond, and its error, never below
    Wilson's."""

    def share(one: Floats, other: Floats) -> float:
        return float((one > np.quantile(other, 1 - FPR, method="higher")).mean())

    value = share(learnt, held_out)
    drawn = [
        share(rng.choice(learnt, len(learnt)), rng.choice(held_out, len(held_out))) for _ in range(DRAWS)
    ]  # fmt: skip
    return value, max(float(np.std(drawn)), _half(value, len(learnt)) / Z)
