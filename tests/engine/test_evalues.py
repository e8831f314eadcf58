"""E-values against integration, enumeration and closed forms; and a year of looks where there is nothing to find."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, betabinom, binom

from core.errors import AuscultError
from evaluation.engine.statistics.evalues import (
    CONCENTRATION,
    Alternative,
    BernoulliProcess,
    MeanProcess,
    average,
    e_to_p,
    log_bernoulli_e,
    p_to_e,
    p_to_e_mixed,
    product,
)

RUNS, WEEKS = 1000, 52


def ever(log_e: np.ndarray, alpha: float) -> float:  # type: ignore[type-arg]
    """Share of runs [RUNS, WEEKS] that alarm at any look."""
    return float((log_e >= -math.log(alpha)).any(axis=1).mean())


@pytest.mark.parametrize("kappa", [0.1, 0.5, 0.9])
def test_a_calibrated_p_value_is_an_e_value(kappa: float) -> None:
    assert quad(lambda p: p_to_e(p, kappa=kappa), 0, 1, limit=200)[0] == pytest.approx(1, abs=1e-5)
    assert p_to_e(0.01, kappa=0.5) == pytest.approx(5)


def test_the_mixed_calibrator_is_the_mean_over_kappa() -> None:
    for p in (1e-200, 1e-9, 0.003, 0.4, 0.99995, 1 - 1e-9, 1.0):
        expected = quad(lambda kappa, p=p: kappa * p ** (kappa - 1), 0, 1, epsabs=0, limit=200)[0]
        assert p_to_e_mixed(p) == pytest.approx(expected, rel=1e-7)
    # Over u = -ln p, where the integrand is smooth; beyond u = 5000 lies 1/5000 of the whole.
    whole = quad(lambda u: (1 - (1 + u) * math.exp(-u)) / (u * u), 0, 5000, limit=500, points=[1, 10, 100])[0]
    assert whole == pytest.approx(1 - 1 / 5000, abs=1e-6)


def test_e_values_combine_and_become_p_values() -> None:
    assert [e_to_p(value) for value in (0.0, 0.5, 1.0, 40.0, math.inf)] == [1, 1, 1, 1 / 40, 0]
    assert product([2.0, 10.0, 0.5]) == pytest.approx(10)
    assert (product([]), product([0.0, math.inf]), average([])) == (1.0, 0.0, None)
    assert product([1e200, 1e200]) == math.exp(700)
    assert average([2.0, 10.0]) == 6
    assert average([2.0, 10.0, math.inf], [3, 1, 0]) == 4
    for broken in (lambda: p_to_e(0.0), lambda: p_to_e(0.5, kappa=1.0), lambda: e_to_p(math.nan),
                   lambda: product([-1.0]), lambda: average([1.0], [1, 1]), lambda: average([1.0], [-1])):  # fmt: skip
        with pytest.raises(ValueError, match=r"lies|negative"):
            broken()


@pytest.mark.parametrize("alternative", ["greater", "less", "unequal"])
@pytest.mark.parametrize("null", [0.02, 0.3, 0.5])
def test_the_mean_of_the_bernoulli_e_value_is_1_at_the_boundary_and_less_inside(
    null: float, alternative: Alternative
) -> None:
    """Summed over every possible count."""
    for n in (0, 1, 7, 300):
        counts = np.arange(n + 1)
        logs = log_bernoulli_e(counts, np.full(n + 1, n), null=null, alternative=alternative)
        assert np.exp(logs + binom.logpmf(counts, n, null)).sum() == pytest.approx(1, rel=1e-9)
        if n and alternative != "unequal":
            inside = null * 0.8 if alternative == "greater" else null * 1.2
            assert np.exp(logs + binom.logpmf(counts, n, inside)).sum() < 1


@pytest.mark.parametrize(("events", "n"), [(0, 5), (3, 20), (30, 200), (60, 200)])
def test_the_bernoulli_e_value_is_the_mean_likelihood_ratio(events: int, n: int) -> None:
    null, concentration = 0.2, 8.0
    prior = beta(concentration * null, concentration * (1 - null))
    for alternative, low, high in (("greater", null, 1), ("less", 0, null), ("unequal", 0, 1)):

        def integrand(q: float) -> float:
            return prior.pdf(q) * math.exp(binom.logpmf(events, n, q) - binom.logpmf(events, n, null))

        share = prior.cdf(high) - prior.cdf(low)
        expected = quad(integrand, low, high, points=[events / n, null], limit=200)[0] / share
        found = log_bernoulli_e(events, n, null=null, alternative=alternative, concentration=concentration)
        assert math.exp(found) == pytest.approx(expected, rel=1e-6)


def test_the_two_sided_e_value_is_beta_binomial_over_binomial() -> None:
    a, b = CONCENTRATION * 0.3, CONCENTRATION * 0.7
    expected = betabinom.logpmf(41, 100, a, b) - binom.logpmf(41, 100, 0.3)
    assert log_bernoulli_e(41, 100, null=0.3, alternative="unequal") == pytest.approx(expected)


def test_where_the_integral_underflows_the_e_value_is_bounded_from_below_and_recovers() -> None:
    """A million outcomes at half the rate of the null; the logarithm falls slowly, and never to minus infinity."""
    n = 1_000_000
    values = log_bernoulli_e(np.array([0, n // 20, n // 10, n // 5]), np.full(4, n), null=0.1)
    assert np.isfinite(values).all()
    assert (values[:2] > -40).all()
    assert (np.diff(values) >= 0).all()
    assert values[3] > 1000


def test_a_year_of_looks_alarms_in_at_most_alpha_of_a_thousand_null_monitors() -> None:
    rng, n, alpha = np.random.default_rng(1), 200, 0.05
    hits = np.cumsum(rng.binomial(n, 0.1, (RUNS, WEEKS)), axis=1)
    total = np.broadcast_to(n * np.arange(1, WEEKS + 1), hits.shape)
    for alternative in ("greater", "less", "unequal"):
        assert ever(log_bernoulli_e(hits, total, null=0.1, alternative=alternative), alpha) <= alpha
    weekly = np.diff(hits, axis=1, prepend=0)
    assert (weekly >= binom.ppf(1 - alpha, n, 0.1) + 1).any(axis=1).mean() > 0.8


def test_a_rise_from_10_to_15_percent_is_found_in_about_two_weeks() -> None:
    rng, n = np.random.default_rng(2), 200
    hits = np.cumsum(rng.binomial(n, 0.15, (RUNS, WEEKS)), axis=1)
    total = np.broadcast_to(n * np.arange(1, WEEKS + 1), hits.shape)
    alarmed = log_bernoulli_e(hits, total, null=0.1) >= math.log(20)
    assert alarmed.any(axis=1).all()
    assert np.median(alarmed.argmax(axis=1) + 1) <= 3


def test_patients_as_units_hold_the_level_where_studies_as_units_do_not() -> None:
    """30 patients a week with up to 8 studies; a patient's studies all agree, and one in five has the event."""
    rng, alpha, null, patients = np.random.default_rng(3), 0.05, 0.2, 30
    shape = (RUNS, WEEKS * patients)
    number = rng.integers(1, 9, shape)
    event = rng.random(shape) < null
    totals = [np.cumsum(part, axis=1)[:, patients - 1 :: patients] for part in (event * number, number)]
    assert ever(log_bernoulli_e(*totals, null=null), alpha) > 2 * alpha
    moved = number / 8 * (event - null)
    wealth = np.mean(
        [np.exp(np.cumsum(np.log1p(bet * moved), axis=1)[:, patients - 1 :: patients])
         for bet in MeanProcess(null=null).bets], axis=0,
    )  # fmt: skip
    assert ever(np.log(wealth), alpha) <= alpha
    process = MeanProcess(null=null)
    for week in range(4):
        now = slice(week * patients, (week + 1) * patients)
        process = process.update(event[0, now].astype(float), number[0, now] / 8)
        assert process.e_value == pytest.approx(wealth[0, week])


@pytest.mark.parametrize("alternative", ["greater", "less", "unequal"])
def test_the_mean_of_the_wealth_is_1_at_the_boundary(alternative: Alternative) -> None:
    """Every sequence of three numbers from {0, .4, 1} with mean .3."""
    support, chance = np.array([0.0, 0.4, 1.0]), np.array([0.6, 1 / 6, 0.7 / 3])
    assert support @ chance == pytest.approx(0.3)
    total = 0.0
    for index in np.ndindex(3, 3, 3):
        process = MeanProcess(null=0.3, alternative=alternative).update(support[list(index)])
        total += float(np.prod(chance[list(index)])) * process.e_value
    assert total == pytest.approx(1)


def test_the_mean_process_finds_a_shift_on_its_side_alone() -> None:
    rng = np.random.default_rng(5)
    values = rng.beta(4, 6, 300)
    found = {
        (null, side): MeanProcess(null=null, alternative=side).update(values).alarmed(0.01)
        for null in (0.3, 0.5) for side in ("greater", "less", "unequal")
    }  # fmt: skip
    assert found == {
        (0.3, "greater"): True, (0.3, "less"): False, (0.3, "unequal"): True,
        (0.5, "greater"): False, (0.5, "less"): True, (0.5, "unequal"): True,
    }  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8), st.sampled_from([0.1, 0.5]))
def test_a_state_is_the_totals_and_survives_json(batches: list[tuple[int, int]], null: float) -> None:
    process = BernoulliProcess(null=null)
    mean = MeanProcess(null=null, alternative="unequal")
    peak = 0.0
    for events, others in batches:
        process = process.update(events, events + others)
        mean = mean.update([1.0] * events + [0.0] * others)
        peak = max(peak, process.log_e)
    expected = log_bernoulli_e(sum(e for e, _ in batches), sum(e + o for e, o in batches), null=null)
    assert process.log_e == pytest.approx(float(expected))
    assert (process.peak, process.looks, process.n) == (peak, len(batches), mean.n)
    assert process.p_value == pytest.approx(math.exp(-peak))
    for state in (process, mean):
        assert type(state).from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_an_alarm_stays_when_the_evidence_fades() -> None:
    process = BernoulliProcess(null=0.1).update(40, 100)
    assert process.alarmed(0.001)
    faded = process.update(0, 3000)
    assert faded.e_value < 1
    assert faded.alarmed(0.001)
    assert faded.p_value == process.p_value < 0.001
    assert BernoulliProcess(null=0.1).p_value == 1


def test_impossible_batches_and_damaged_states_are_refused() -> None:
    with pytest.raises(ValueError, match="as many outcomes"):
        BernoulliProcess(null=0.1).update(3, 2)
    for values, weights in (([0.5, 1.1], None), ([math.nan], None), ([0.5], [2.0]), ([0.5], [0.5, 0.5])):
        with pytest.raises(ValueError, match=r"outside|one length"):
            MeanProcess(null=0.1).update(values, weights)
    with pytest.raises(ValueError, match="between 0 and 1"):
        BernoulliProcess(null=1.0)
    good = BernoulliProcess(null=0.1).update(9, 20).to_dict()
    changes = [{"null": "x"}, {"null": 2.0}, {"alternative": "up"}, {"events": 21}, {"peak": -1.0}, {"n": None},
               {"peak": math.nan}, {"unknown": 1}, {"concentration": 0.0}]  # fmt: skip
    for change in changes:
        with pytest.raises(AuscultError, match="cannot be read"):
            BernoulliProcess.from_dict(good | change)
    for kind, state in ((BernoulliProcess, {}), (MeanProcess, good), (MeanProcess, MeanProcess(null=0.1).to_dict()
                        | {"log_wealth": [1.0]})):  # fmt: skip
        with pytest.raises(AuscultError, match="cannot be read"):
            kind.from_dict(state)
