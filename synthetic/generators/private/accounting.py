"""What learning costs in privacy: one account over all parts of a generator.

Unit: a patient with all studies, who is there or not. Each part asks its data through Gaussian mechanisms: a sum over
patients, of whom each contributes a vector of an L2 norm of at most one bound, with noise of ``noise`` times that bound
in every coordinate. Where a step takes each patient with the chance ``rate`` alone (Poisson sampling), it costs less.

Costs are Renyi divergences at whole orders a. Of a step without sampling: ``a / (2 noise^2)``. Of a step with sampling:
``ln(sum_k C(a, k) (1 - rate)^(a - k) rate^k exp((k^2 - k) / (2 noise^2))) / (a - 1)``, which bounds both directions.
Costs of steps and parts are added. They become (epsilon, delta) by
``epsilon = min_a [cost + ln((a - 1) / a) - (ln delta + ln a) / (a - 1)]``.

Source: Mironov (2017), Renyi differential privacy; Mironov, Talwar and Zhang (2019), Renyi differential privacy of the
sampled Gaussian mechanism; Canonne, Kamath and Steinke (2020), The discrete Gaussian for differential privacy,
proposition 12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError

Floats = npt.NDArray[np.float64]
ORDERS = np.array([*range(2, 65), 72, 80, 96, 112, 128, 160, 192, 224, 256])
"""Orders at which costs are kept. Fewer would still be a bound, only a looser one."""
SHARES = {"tables": 0.4, "series": 0.2, "image": 0.2, "report": 0.2}
"""Of epsilon, by role; of roles that are not learnt, the shares fall to the others. Tables have the most: every other
part is told what they draw."""
LEAST_NOISE, MOST_NOISE = 0.3, 1e5
WIDEST = 64.0
"""How much larger than epsilon the parts' own epsilons may be together, as they are looked for."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """How often a part asks its data, before it is known how much noise is to be added.

    Attributes:
        rate: Chance of each patient to be taken in a step; 1 without sampling.
        steps: How many steps.
    """

    rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1 or self.steps < 1:
            raise ValueError("a rate is above 0 and at most 1, and there is at least one step")

    def with_noise(self, noise: float) -> Mechanism:
        return Mechanism(noise=noise, rate=self.rate, steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class Mechanism(Need):
    """A need with its noise: the standard deviation over the bound of a patient's contribution."""

    noise: float

    def costs(self) -> Floats:
        """Renyi divergence at each of :data:`ORDERS`; infinite without noise."""
        return self.steps * _step_costs(self.rate, self.noise)

    def epsilon(self, delta: float) -> float:
        """What this mechanism would cost alone."""
        return epsilon_of(self.costs(), delta)

    def to_dict(self) -> dict[str, Any]:
        kind = "Gaussian" if self.rate == 1 else "sampled Gaussian"
        return {"mechanism": kind, "noise": self.noise, "rate": self.rate, "steps": self.steps}


@lru_cache(maxsize=4096)
def _step_costs(rate: float, noise: float) -> Floats:
    if noise <= 0:
        return np.full(len(ORDERS), np.inf)
    if rate == 1:
        found: Floats = ORDERS / (2 * noise**2)
        return found
    chances = _log_choices() + np.where(_fits(), _others() * math.log1p(-rate) + _taken() * math.log(rate), 0.0)
    terms = np.where(_fits(), chances + (_taken() ** 2 - _taken()) / (2 * noise**2), -np.inf)
    most = terms.max(axis=1, keepdims=True)
    sums = np.log(np.exp(terms - most).sum(axis=1)) + most[:, 0]
    # What rounding makes of a sum that is one is no negative cost.
    costs: Floats = np.maximum(sums, 0.0) / (ORDERS - 1)
    return costs


@lru_cache(maxsize=1)
def _log_choices() -> Floats:
    """ln C(a, k) [orders, k]; 0 where k is above a."""
    from scipy.special import gammaln

    found: Floats = np.where(
        _fits(), gammaln(ORDERS + 1)[:, None] - gammaln(_taken() + 1) - gammaln(np.maximum(_others(), 0) + 1), 0.0
    )
    return found


def _taken() -> Floats:
    return np.arange(ORDERS[-1] + 1, dtype=np.float64)[None, :]


def _others() -> Floats:
    found: Floats = ORDERS[:, None] - _taken()
    return found


def _fits() -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = _others() >= 0
    return found


def epsilon_of(costs: Floats, delta: float) -> float:
    """The least epsilon at which costs by order of :data:`ORDERS` are (epsilon, delta)-differential privacy."""
    found = costs + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return max(0.0, float(found.min()))


@dataclass(kw_only=True)
class Account:
    """What was spent, by part.

    Attributes:
        spent: Role -> mechanism. A part spends once.
    """

    delta: float
    spent: dict[str, Mechanism] = field(default_factory=dict)

    def spend(self, role: str, mechanism: Mechanism) -> None:
        """Write a mechanism down.

        Raises:
            ValueError: the part has spent already.
        """
        if role in self.spent:
            raise ValueError(f"'{role}' has spent its share")
        self.spent[role] = mechanism

    @property
    def epsilon(self) -> float:
        """Of all that was spent together."""
        return composed(self.spent, self.delta)


def composed(mechanisms: Mapping[str, Mechanism], delta: float) -> float:
    """Epsilon of mechanisms on the same patients, one after the other; 0 for none."""
    if not mechanisms:
        return 0.0
    return epsilon_of(np.sum([item.costs() for item in mechanisms.values()], axis=0), delta)


def noise_for(need: Need, epsilon: float, delta: float) -> float:
    """The least noise, to within a ten-thousandth, at which a need alone costs no more than epsilon.

    Raises:
        AuscultError: no noise that can be computed is enough.
    """
    found = _noise(need, epsilon, delta)
    _check_kept(need.with_noise(found).epsilon(delta), epsilon, delta)
    return found


def _noise(need: Need, epsilon: float, delta: float) -> float:
    """As :func:`noise_for`; the most that there is where none is enough."""

    def cheap(noise: float) -> bool:
        return need.with_noise(noise).epsilon(delta) <= epsilon

    if cheap(LEAST_NOISE) or not cheap(MOST_NOISE):
        return LEAST_NOISE if cheap(LEAST_NOISE) else MOST_NOISE
    return _least(cheap, LEAST_NOISE, MOST_NOISE)


def _check_kept(spent: float, epsilon: float, delta: float) -> None:
    if spent > epsilon:
        raise AuscultError(
            f"An epsilon of {epsilon:g} is too small to be kept at a delta of {delta:g}.",
            remedy="Give a larger epsilon or delta, or learn fewer parts.", column="privacy.epsilon",
        )  # fmt: skip


def _least(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least value at which something holds that does not hold at ``low`` and holds at ``high``; it holds there."""
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def allot(epsilon: float, delta: float, needs: Mapping[str, Need], shares: Mapping[str, float]) -> dict[str, Mechanism]:
    """The noise of each part, so that all parts together cost no more than epsilon.

    Each part gets the noise at which it alone would cost its share of one number. That number is the largest at which
    the costs together stay within epsilon; as costs compose better than epsilons add, it is above epsilon.

    Args:
        needs: Role -> what the part asks.
        shares: Role -> weight; only proportions count.

    Raises:
        AuscultError: epsilon is too small for this delta.
    """
    return dict(_allotted(epsilon, delta, tuple(sorted(needs.items(), key=_role)), tuple(sorted(shares.items()))))


def _role(item: tuple[str, Need]) -> str:
    return item[0]


@lru_cache(maxsize=256)
def _allotted(
    epsilon: float, delta: float, needs: tuple[tuple[str, Need], ...], shares: tuple[tuple[str, float], ...]
) -> tuple[tuple[str, Mechanism], ...]:
    weights = dict(shares)
    total = sum(weights[role] for role, _ in needs)

    def given(times: float) -> dict[str, Mechanism]:
        return {
            role: need.with_noise(_noise(need, epsilon * weights[role] / total / times, delta)) for role, need in needs
        }

    # ``times`` divides: the larger, the less each part may cost.
    times = 1.0 if len(needs) == 1 else _least(
        lambda times: composed(given(times), delta) <= epsilon, 1 / WIDEST, WIDEST
    )  # fmt: skip
    found = given(times)
    _check_kept(composed(found, delta), epsilon, delta)
    return tuple(found.items())
