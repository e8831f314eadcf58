"""Rates over patients that contribute several studies: linearised variance and design effect.

With ``x_i`` events among ``n_i`` studies of patient i, the rate is the ratio ``p = sum x_i / sum n_i``. Its variance
between patients is ``m/(m-1) sum (x_i - p n_i)^2 / (sum n_i)^2`` over the m patients (Taylor linearisation); the
design effect is that over the binomial ``p(1-p)/n``. Studies weighed by patients' counts of the sketch.

Source: Rao and Scott (1992), Biometrics 48:577; Korn and Graubard (1998), Survey Methodology 24:193.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A ratio of counts in one group. ``value`` is None when the denominator is empty.

    Attributes:
        n, patients: Studies in the denominator and the patients they belong to.
        with_event, without_event: Patients with at least one study of that kind.
        effective: Studies divided by the design effect (at least 1): as many independent studies are worth as much.
        clustered: Whether any patient has more than one study in the denominator.
        influence: float64 [D], linearised contribution of one patient of each distinct vector to ``value``.
    """

    value: float | None
    events: int
    n: int
    patients: int
    with_event: int
    without_event: int
    effective: float
    clustered: bool
    influence: Floats

    @property
    def sparse(self) -> bool:
        """Fewer than ten patients with the event, or without: a bootstrap would be too narrow."""
        return min(self.with_event, self.without_event) < 10


def rate_of(events: Ints, studies: Ints, counts: Ints) -> Rate:
    """The rate of D distinct patient vectors.

    Args:
        events, studies: int64 [D], numerator and denominator of one patient with that vector.
        counts: int64 [D], patients with that vector.
    """
    n, hits = int(counts @ studies), int(counts @ events)
    inside = studies > 0
    patients = int(counts[inside].sum())
    if n == 0:
        return Rate(
            value=None, events=0, n=0, patients=0, with_event=0, without_event=0, effective=0.0, clustered=False,
            influence=np.zeros(len(counts)),
        )  # fmt: skip
    value = hits / n
    influence = (events - value * studies) / n
    return Rate(
        value=value,
        events=hits,
        n=n,
        patients=patients,
        with_event=int(counts[events > 0].sum()),
        without_event=int(counts[studies > events].sum()),
        effective=n / _design_effect(value, influence, studies, counts, patients),
        clustered=bool((studies > 1).any()),
        influence=influence,
    )


def correlation(one: Rate, two: Rate, counts: Ints) -> float:
    """Correlation of two rates of one set of patients; 0 when no patient is in both or a variance is 0."""
    scale = float(counts @ one.influence**2) * float(counts @ two.influence**2)
    if scale <= 0:
        return 0.0
    return float(np.clip(float(counts @ (one.influence * two.influence)) / np.sqrt(scale), -1, 1))


def freedom_of_difference(one: Rate, two: Rate, counts: Ints) -> float:
    """Welch and Satterthwaite's degrees of freedom of the difference of two rates; patients are the units."""
    first, second = (float(counts @ rate.influence**2) for rate in (one, two))
    if first + second <= 0:
        return float(max(1, min(one.patients, two.patients) - 1))
    return (first + second) ** 2 / (first**2 / max(1, one.patients - 1) + second**2 / max(1, two.patients - 1))


def _design_effect(value: float, influence: Floats, studies: Ints, counts: Ints, patients: int) -> float:
    """At least 1. Where the rate is 0 or 1 the data tell nothing: then as if a patient's studies all agreed."""
    n = int(counts @ studies)
    if value in (0.0, 1.0) or patients < 2:
        return max(1.0, float(counts @ studies**2) / n)
    between = float(counts @ influence**2) * patients / (patients - 1)
    return max(1.0, between / (value * (1 - value) / n))
