"""Scales on which series are learnt: values, hours of last readings and gaps between readings as normal scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
KNOTS = 129
MOST_DECIMALS = 6
MOST_ODD = 0.001
"""Share of values that may be printed with more decimals than the others."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A monotone map between values and normal scores, piecewise linear between quantiles.

    Attributes:
        scores, knots: Normal scores and the quantiles that belong to them, both increasing; quantiles are logarithms
            where ``logarithmic``. Between two of them lie readings of at least as many as ``rare_below``.
        decimals: As many as the values are printed with.
        least, most: Ends of what is made. As many patients as ``rare_below`` have a value at or beyond each, so that
            neither tells the extreme of a single one.
    """

    scores: tuple[float, ...]
    knots: tuple[float, ...]
    logarithmic: bool
    decimals: int
    least: float
    most: float

    def to_scores(self, values: Floats) -> Floats:
        """Normal scores of values; those beyond the ends are taken as the ends."""
        inside = np.clip(values, *self._edges())
        found: Floats = np.interp(np.log(inside) if self.logarithmic else inside, self.knots, self.scores)
        return found

    def to_values(self, scores: Floats) -> Floats:
        """Values as they are printed: rounded, within the ends."""
        raw = np.interp(scores, self.scores, self.knots)
        raw = np.exp(raw) if self.logarithmic else raw
        # Adding 0 turns a negative zero, as -0.04 rounds to, into 0.
        found: Floats = np.clip(np.round(raw, self.decimals), self.least, self.most) + 0.0
        return found

    def spread(self, values: Floats, rng: np.random.Generator) -> Floats:
        """Values anywhere within what is printed as them: 97 is 96.5 to 97.5. Ties have no normal scores."""
        found: Floats = values + (rng.random(values.shape) - 0.5) * 10.0**-self.decimals
        return found

    def _edges(self) -> tuple[float, float]:
        low, high = self.knots[0], self.knots[-1]
        return (float(np.exp(low)), float(np.exp(high))) if self.logarithmic else (low, high)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Scale:
        return cls(**body | {"scores": tuple(body["scores"]), "knots": tuple(body["knots"])})


def fit_scale(values: Floats, patients: npt.NDArray[np.int64], *, rare_below: int, rng: np.random.Generator) -> Scale:
    """The scale of values [m] of patients [m], of whom there are at least ``rare_below``."""
    decimals = decimals_of(values)
    least, most = robust_ends(values, patients, rare_below)
    step = 10.0**-decimals
    spread = np.clip(values, least, most) + (rng.random(values.shape) - 0.5) * step
    logarithmic = least - step / 2 > 0 and abs(_skew(np.log(spread))) < abs(_skew(spread))
    shown = np.log(spread) if logarithmic else spread
    count = int(np.clip(len(np.unique(patients)) // rare_below, 3, KNOTS))
    tail = min(0.1, rare_below / (2 * len(values)))
    # Even in normal scores, so that tails are drawn as finely as the middle, but no finer than there are patients.
    places = np.linspace(NormalDist().inv_cdf(tail), NormalDist().inv_cdf(1 - tail), count)
    shares = _thinned(np.array([NormalDist().cdf(place) for place in places]), len(values), rare_below)
    knots = np.quantile(shown, shares)
    knots = np.maximum.accumulate(knots + np.arange(len(knots)) * 1e-9 * max(1.0, float(np.abs(knots).max())))
    return Scale(
        scores=tuple(NormalDist().inv_cdf(float(share)) for share in shares),
        knots=tuple(knots.tolist()),
        logarithmic=logarithmic,
        decimals=decimals,
        least=least,
        most=most,
    )


def _thinned(shares: Floats, count: int, rare_below: int) -> Floats:
    """Shares between which at least ``rare_below`` of the values lie; first and last stay."""
    kept = [float(shares[0])]
    for share in shares[1:-1].tolist():
        if (share - kept[-1]) * count >= rare_below and (shares[-1] - share) * count >= rare_below:
            kept.append(share)
    return np.array([*kept, float(shares[-1])])


def decimals_of(values: Floats) -> int:
    """Decimals that all but one in a thousand of the values are printed with, at most 6."""
    for decimals in range(MOST_DECIMALS):
        scaled = values * 10.0**decimals
        if np.mean(np.abs(scaled - np.rint(scaled)) > 1e-6 * np.maximum(1, np.abs(scaled))) <= MOST_ODD:
            return decimals
    return MOST_DECIMALS


def robust_ends(values: Floats, patients: npt.NDArray[np.int64], rare_below: int) -> tuple[float, float]:
    """The values at or beyond which ``rare_below`` patients have one, at the low and at the high end."""
    order = np.argsort(patients, kind="stable")
    starts = np.unique(patients[order], return_index=True)[1]
    place = min(rare_below, len(starts)) - 1
    least = np.sort(np.minimum.reduceat(values[order], starts))[place]
    most = np.sort(np.maximum.reduceat(values[order], starts))[::-1][place]
    return (float(min(least, most)), float(max(least, most)))


def _skew(values: Floats) -> float:
    centred = values - values.mean()
    width = float(np.sqrt(np.mean(centred**2)))
    return float(np.mean(centred**3) / width**3) if width > 0 else 0.0
