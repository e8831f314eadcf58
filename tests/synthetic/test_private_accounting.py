"""What learning costs in privacy, against other accountants and against the definition itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent
from scipy.optimize import brentq
from scipy.stats import norm

from core.errors import AuscultError
from synthetic.generators.private.accounting import ORDERS, SHARES, Account, Mechanism, Need, allot, composed, noise_for
from synthetic.generators.private.noise import Noise, Secret

DELTA = 1e-5
NEEDS = {
    "tables": Need(), "series": Need(rate=0.04, steps=400), "image": Need(rate=0.04, steps=400),
    "report": Need(rate=0.03, steps=250),
}  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "noise", "steps"), [(0.04, 0.8, 400), (0.3, 2.0, 50), (0.001, 0.5, 3000), (1.0, 3, 7)]
)
def test_costs_are_those_of_opacus(rate: float, noise: float, steps: int) -> None:
    own = Mechanism(noise=noise, rate=rate, steps=steps)
    other = compute_rdp(q=rate, noise_multiplier=noise, steps=steps, orders=[float(order) for order in ORDERS])
    np.testing.assert_allclose(own.costs(), other, rtol=1e-6)
    told, _ = get_privacy_spent(orders=ORDERS, rdp=own.costs(), delta=DELTA)
    assert own.epsilon(DELTA) == pytest.approx(told, rel=1e-9)


# Of where the PRV accountant begins to look, and of what is taken without sampling.
@pytest.mark.filterwarnings("ignore:Optimal order is the largest alpha", "ignore:divide by zero:RuntimeWarning")
def test_parts_together_cost_what_two_other_accountants_allow() -> None:
    """Opacus' own accountant over the whole history at its own orders; the numerical PRV accountant, which is tight."""
    allowed = allot(3.0, DELTA, NEEDS, SHARES)
    spent = composed(allowed, DELTA)
    assert 2.99 < spent <= 3.0
    accountants: list[Any] = [RDPAccountant(), PRVAccountant()]
    for accountant in accountants:
        accountant.history = [(item.noise, item.rate, item.steps) for item in allowed.values()]
    rdp = accountants[0].get_epsilon(delta=DELTA, alphas=[1 + step / 8 for step in range(1, 300)])
    assert 0.99 * spent < rdp <= spent * (1 + 1e-6), "at other orders, nearly the same"
    assert 0.7 * spent < accountants[1].get_epsilon(delta=DELTA) < spent
    assert spent < sum(item.epsilon(DELTA) for item in allowed.values()), "they compose better than they add"


def test_one_gaussian_mechanism_is_never_told_cheaper_than_it_is() -> None:
    """The exact delta of a Gaussian mechanism (Balle and Wang, 2018, theorem 8), solved for epsilon."""

    def exact(noise: float) -> float:
        def over(epsilon: float) -> float:
            return float(norm.cdf(1 / (2 * noise) - epsilon * noise)
                         - math.exp(epsilon) * norm.cdf(-1 / (2 * noise) - epsilon * noise) - DELTA)  # fmt: skip

        return float(brentq(over, 1e-6, 100))

    for noise in (0.5, 1.0, 4.0, 20.0):
        told = Mechanism(noise=noise).epsilon(DELTA)
        assert exact(noise) <= told <= 1.25 * exact(noise) + 0.01


def test_noise_is_the_least_that_keeps_epsilon() -> None:
    for need in NEEDS.values():
        noise = noise_for(need, 1.0, DELTA)
        assert need.with_noise(noise).epsilon(DELTA) <= 1.0 < need.with_noise(noise * 0.999).epsilon(DELTA)
    allowed = {epsilon: allot(epsilon, DELTA, NEEDS, SHARES) for epsilon in (0.5, 2.0, 8.0)}
    for role in NEEDS:
        noises = [item[role].noise for item in allowed.values()]
        assert noises == sorted(noises, reverse=True)
    assert composed(allot(0.1, 1e-6, NEEDS, SHARES), 1e-6) <= 0.1, "though a share of it alone could not be kept"
    with pytest.raises(AuscultError, match="too small to be kept"):
        allot(0.1, 1e-15, NEEDS, SHARES)
    assert composed(allot(100.0, 1e-6, NEEDS, SHARES), 1e-6) <= 100
    alone = allot(2.0, DELTA, {"tables": Need()}, SHARES)["tables"]
    assert alone.epsilon(DELTA) == pytest.approx(2.0, rel=1e-3) and alone.noise < allowed[2.0]["tables"].noise


def test_without_noise_nothing_is_promised_and_a_part_spends_once() -> None:
    assert Mechanism(noise=0.0).epsilon(DELTA) == math.inf == Mechanism(noise=0.0, rate=0.1).epsilon(DELTA)
    account = Account(delta=DELTA)
    assert account.epsilon == 0
    account.spend("tables", Mechanism(noise=2.0))
    first = account.epsilon
    with pytest.raises(ValueError, match="spent its share"):
        account.spend("tables", Mechanism(noise=2.0))
    account.spend("series", Mechanism(noise=1.0, rate=0.04, steps=100))
    assert account.epsilon > first == Mechanism(noise=2.0).epsilon(DELTA)
    with pytest.raises(AuscultError, match="too small to be kept") as caught:
        noise_for(Need(), 0.01, 1e-12)
    assert caught.value.column == "privacy.epsilon"


def test_noise_is_normal_and_sampling_has_its_rate() -> None:
    noise = Secret(b"a test").of("tables:private")
    drawn = noise.whole(400_000, 50.0)
    assert (drawn == np.rint(drawn)).all()
    assert drawn.std() == pytest.approx(50, rel=0.01) and abs(drawn.mean()) < 0.4
    ends = [-100.5, -50.5, -0.5, 49.5, 99.5]
    seen = [(drawn <= end).mean() for end in ends]
    np.testing.assert_allclose(seen, norm.cdf(np.array(ends) / 50), atol=0.003)
    taken = [len(noise.chosen(1000, 0.04)) for _ in range(400)]
    # Poisson sampling, and no batches of one size: the number taken has the spread of a binomial.
    assert np.mean(taken) == pytest.approx(40, rel=0.03) and np.std(taken) == pytest.approx(6.2, rel=0.15)
    assert noise.chosen(7, 1.0).tolist() == list(range(7))


def test_without_a_key_noise_is_never_the_same() -> None:
    first, second = Secret().of("tables:private"), Secret().of("tables:private")
    assert (first.normal(50) != second.normal(50)).all()
    known = [Secret(b"key").of(name).normal(5).tolist() for name in ("a", "a", "b")]
    assert known[0] == known[1] != known[2]


class _Ends(Noise):
    """The ends of what 64 bits can be."""

    def __init__(self) -> None:
        super().__init__(None)

    def bits(self, n: int) -> Any:
        return np.array([0, 1, 2**64 - 1, 2**64 - 2], dtype=np.uint64)[:n]


def test_the_rarest_draws_are_finite_and_on_both_sides() -> None:
    drawn = _Ends().normal(4)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() > 9 and drawn[0] == -drawn[1]
