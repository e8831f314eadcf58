"""E-values: evidence that may be looked at as often as one likes.

An e-value is a number E >= 0 whose mean under the null hypothesis is at most 1: the wealth of a gambler who starts with
1 and bets against the hypothesis at fair odds. Large values speak against it: by Markov, ``P(E >= 1/alpha) <= alpha``.
An e-process is such a wealth after every look. By Ville's inequality the wealth *ever* reaches ``1/alpha`` with
probability at most alpha, so a monitor may look each week for years and its false alarms stay below alpha in all.

Outcomes within a patient are alike. The Bernoulli process needs a probability of at most p0 *given all earlier
outcomes*, which the second study of a patient who has just had an event breaks. With several studies per patient use
:class:`MeanProcess` on one number per patient: the share of the patient's studies with the event, weighted by their
number. Its null hypothesis is that the rate over studies is at most p0, whatever the dependence within patients, for
patients who come one after another, each as the rate says given those before.

Source: Ville (1939); Shafer (2021), JRSS A 184:407; Vovk and Wang (2021), Annals of Statistics 49:1736; Ramdas,
Grunwald, Vovk and Shafer (2023), Statistical Science 38:576; Waudby-Smith and Ramdas (2024), JRSS B 86:1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from core.errors import AuscultError

Floats = npt.NDArray[np.float64]
Alternative = Literal["greater", "less", "unequal"]
CONCENTRATION = 50.0
BETS = 10
"""Bets are the largest possible one over 2, 4, ... 2^BETS, with equal parts of the wealth."""
LARGEST_LOG = 700.0


def p_to_e(p_value: float, *, kappa: float = 0.5) -> float:
    """The e-value ``kappa p^(kappa - 1)`` of a p-value in (0, 1], for kappa in (0, 1).

    Source: Vovk and Wang (2021), section 2.
    """
    _check_p(p_value)
    if not 0 < kappa < 1:
        raise ValueError("kappa lies between 0 and 1")
    return float(kappa * p_value ** (kappa - 1))


def p_to_e_mixed(p_value: float) -> float:
    """The mean of :func:`p_to_e` over kappa: ``(1 - p + p ln p) / (p (ln p)^2)``, 1/2 at p = 1. Needs no choice."""
    _check_p(p_value)
    u = -math.log(p_value)
    return 0.5 + u / 6 + u * u / 24 if u < 1e-4 else (math.expm1(u) - u) / (u * u)


def e_to_p(e_value: float) -> float:
    """The p-value ``min(1, 1/e)``: the only one that is valid for every e-value."""
    _check_e(e_value)
    return 1.0 if e_value <= 1 else 1 / e_value


def product(e_values: Sequence[float]) -> float:
    """The product of e-values that are independent, or each valid given all before it. 1 for none."""
    for value in e_values:
        _check_e(value)
    if 0 in e_values:
        return 0.0
    return math.exp(min(LARGEST_LOG, math.fsum(math.log(value) for value in e_values)))


def average(e_values: Sequence[float], weights: Sequence[float] | None = None) -> float | None:
    """The mean of e-values: an e-value under any dependence. None for none.

    The mean of e-processes is an e-process where each is one given the past of all: streams looked at together.

    Args:
        weights: Not negative, chosen before the data; equal when left out.
    """
    for value in e_values:
        _check_e(value)
    parts = [1.0] * len(e_values) if weights is None else list(weights)
    if len(parts) != len(e_values) or any(part < 0 for part in parts):
        raise ValueError("there is one weight for each e-value, and none is negative")
    total = math.fsum(parts)
    if total <= 0:
        return None
    return math.fsum(part * value for part, value in zip(parts, e_values, strict=True) if part) / total


def log_bernoulli_e(
    events: npt.ArrayLike,
    n: npt.ArrayLike,
    *,
    null: float,
    alternative: Alternative = "greater",
    concentration: float = CONCENTRATION,
) -> Floats:
    """Logarithm of the Bernoulli e-process after ``events`` among ``n`` outcomes.

    The likelihood ratio ``(q/p0)^s ((1-q)/(1-p0))^f`` is a fair bet against ``p <= p0`` for every q above p0. It is
    averaged over q by a beta distribution with mean p0, cut off at p0: ``greater`` tests p <= p0 and ``less`` tests
    p >= p0. ``unequal`` tests p = p0 with the whole distribution, which gives the beta-binomial probability of the
    data over their binomial one. It depends on the counts alone, so looks may come in batches of any size.

    Args:
        events, n: Arrays of one shape: totals since the start.
        concentration: a + b of the beta distribution: alternatives are about ``sqrt(p0 (1 - p0) / concentration)``
            away. Chosen before the data.

    Source: Robbins (1970), Annals of Mathematical Statistics 41:1397; Ramdas et al. (2023), section 4.
    """
    from scipy.special import betaln

    _check_null(null)
    hits, size = np.asarray(events, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if alternative == "less":
        hits, null = size - hits, 1 - null
    a, b = concentration * null, concentration * (1 - null)
    rest = size - hits
    if alternative == "unequal":
        gained = betaln(a + hits, b + rest) - betaln(a, b)
    else:
        gained = _log_upper_beta(null, a + hits, b + rest) - _log_upper_beta(null, np.asarray(a), np.asarray(b))
    found: Floats = gained - hits * math.log(null) - rest * math.log1p(-null)
    return found


def _log_upper_beta(low: float, a: Floats, b: Floats) -> Floats:
    """``log of the integral of q^(a-1) (1-q)^(b-1) over q from low to 1``; where it underflows, a lower bound.

    The bound holds ``q^(a-1)`` at its least. The e-value comes out too small there, which keeps it valid.
    """
    from scipy.special import betaincc, betaln

    tail = betaincc(a, b, low)
    bound = (np.maximum(a, 1) - 1) * math.log(low) + b * math.log1p(-low) - np.log(b)
    safe = np.where(tail > 0, tail, 1.0)
    found: Floats = np.where(tail > 1e-290, betaln(a, b) + np.log(safe), bound)
    return found


@dataclass(frozen=True, kw_only=True)
class _Process:
    """What every e-process keeps: its hypothesis, and how high it has been.

    Attributes:
        null: The boundary p0 of the null hypothesis, in (0, 1).
        alternative: ``greater`` tests "at most p0", ``less`` "at least p0", ``unequal`` "equal to p0".
        n: Outcomes so far. Looks: batches so far. Peak: largest logarithm of the e-value at any look.
    """

    null: float
    alternative: Alternative = "greater"
    n: int = 0
    looks: int = 0
    peak: float = 0.0

    def __post_init__(self) -> None:
        _check_null(self.null)
        if self.alternative not in ("greater", "less", "unequal"):
            raise ValueError("the alternative is greater, less or unequal")

    @property
    def log_e(self) -> float:
        """Logarithm of the e-value now."""
        raise NotImplementedError

    @property
    def e_value(self) -> float:
        """The e-value now, at most e^700."""
        return math.exp(min(LARGEST_LOG, self.log_e))

    @property
    def p_value(self) -> float:
        """``1 / largest e-value so far``: a p-value however often and whenever one has looked."""
        return math.exp(-min(LARGEST_LOG, max(0.0, self.peak)))

    def alarmed(self, alpha: float) -> bool:
        """Whether the e-value has reached ``1 / alpha`` at any look. Under the null, ever: probability <= alpha."""
        return self.peak >= -math.log(alpha)

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            AuscultError: for a state that is damaged or of another kind.
        """
        if set(state) != {item.name for item in fields(cls)}:
            raise _damaged()
        read: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in state.items()}
        try:
            made = cls(**read)
            sound = made._sound()
        except (TypeError, ValueError) as error:
            raise _damaged() from error
        if not sound:
            raise _damaged()
        return made

    def _sound(self) -> bool:
        return self.looks >= 0 and self.n >= 0 and self.log_e <= self.peak + 1e-9

    def _looked(self, made: Self) -> Self:
        return replace(made, looks=self.looks + 1, peak=max(self.peak, made.log_e))


@dataclass(frozen=True, kw_only=True)
class BernoulliProcess(_Process):
    """The e-process of :func:`log_bernoulli_e` for outcomes that are 0 or 1, one per patient.

    Attributes:
        concentration: See :func:`log_bernoulli_e`. events: Outcomes that were 1.
    """

    concentration: float = CONCENTRATION
    events: int = 0

    @property
    def log_e(self) -> float:
        return float(
            log_bernoulli_e(
                self.events, self.n, null=self.null, alternative=self.alternative, concentration=self.concentration
            )
        )

    def update(self, events: int, n: int) -> BernoulliProcess:
        """The state after a batch of ``n`` outcomes, of which ``events`` were 1.

        Raises:
            ValueError: unless ``0 <= events <= n``.
        """
        if not 0 <= events <= n:
            raise ValueError("a batch has as many outcomes as events, or more")
        return self._looked(replace(self, events=self.events + events, n=self.n + n))

    def _sound(self) -> bool:
        return 0 <= self.events <= self.n and self.concentration > 0 and super()._sound()


@dataclass(frozen=True, kw_only=True)
class MeanProcess(_Process):
    """An e-process for the mean of numbers in [0, 1], whatever their distribution.

    A bet of size b multiplies its part of the wealth by ``1 + b w (x - p0)`` at each number x of weight w: fair when
    the mean of x, given all before it, is p0. The wealth is the average over ``BETS`` bets (``unequal``: twice as
    many, half of them on a smaller mean), fixed in advance.

    With patients as units, x is the share of a patient's studies with the event, and w the number of the patient's
    studies over a largest number that is fixed in advance. The bet is then fair when events are p0 times studies on
    average, so it tests the rate over studies, and a patient's studies may depend on one another in any way. A patient
    must lie within one batch: a second visit later is not a new patient.

    Attributes:
        log_wealth: Logarithm of each bet's wealth, in the order of :attr:`bets`; empty at the start.
    """

    log_wealth: tuple[float, ...] = ()

    @property
    def bets(self) -> Floats:
        """Sizes of the bets, above ``-1 / (1 - p0)`` and below ``1 / p0``, so that no wealth falls to 0."""
        halves = 0.5 ** np.arange(1, BETS + 1)
        upper, lower = halves / self.null, -halves / (1 - self.null)
        sides = {"greater": [upper], "less": [lower], "unequal": [upper, lower]}[self.alternative]
        return np.concatenate(sides)

    @property
    def log_e(self) -> float:
        if not self.log_wealth:
            return 0.0
        top = max(self.log_wealth)
        return top + math.log(math.fsum(math.exp(part - top) for part in self.log_wealth) / len(self.log_wealth))

    def update(self, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> MeanProcess:
        """The state after a batch of numbers.

        Args:
            values: [n], in [0, 1].
            weights: [n], in [0, 1]; 1 when left out.

        Raises:
            ValueError: for a number or a weight outside [0, 1], or arrays of different lengths.
        """
        value = np.asarray(values, dtype=np.float64)
        weight = np.ones_like(value) if weights is None else np.asarray(weights, dtype=np.float64)
        if value.ndim != 1 or value.shape != weight.shape:
            raise ValueError("values and weights are vectors of one length")
        if not all(((part >= 0) & (part <= 1)).all() for part in (value, weight)):
            raise ValueError("a value or a weight lies outside [0, 1]")
        # Sorted, and added exactly: the state does not depend on the order within the batch.
        moved = np.sort(weight * (value - self.null))
        gains = [math.fsum(np.log1p(bet * moved)) for bet in self.bets]
        before = self.log_wealth or (0.0,) * len(gains)
        wealth = tuple(old + gain for old, gain in zip(before, gains, strict=True))
        return self._looked(replace(self, log_wealth=wealth, n=self.n + len(value)))

    def _sound(self) -> bool:
        return len(self.log_wealth) in (0, len(self.bets)) and super()._sound()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_p(value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError("a p-value lies above 0 and at most at 1")


def _check_e(value: float) -> None:
    if not value >= 0:
        raise ValueError("an e-value is negative or not a number")


def _check_null(value: float) -> None:
    if not 0 < value < 1:
        raise ValueError("the boundary of the null hypothesis lies between 0 and 1")


def _damaged() -> AuscultError:
    return AuscultError(
        "This state of a monitor cannot be read.",
        remedy="Start the monitor again from its measurements; the state was damaged or made by another version.",
    )
