"""Rates of overrides against scipy and statsmodels; what is hidden cannot be worked out; signals come and stay away."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from governance.standing.override_rates import (
    HIDDEN,
    LEAST,
    NO_OUTPUTS,
    TOO_MANY,
    ErrorRate,
    error_rate,
    hidden_groups,
    mark_of,
    not_compared,
    probability_of_so_few,
    probability_of_so_many,
    rate_of,
    rates_by_group,
    zero_bound,
)

ERROR = ErrorRate(low=0.08, high=0.12, source="Audit 7")
COUNTS = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    overrides, outputs = counts
    rate = rate_of("North", overrides=overrides, outputs=outputs)
    if outputs < LEAST:
        assert rate.value is rate.low is rate.high is None and rate.reason
        return
    low, high = proportion_confint(overrides, outputs, alpha=0.05, method="wilson")
    assert (rate.value, rate.low, rate.high) == pytest.approx((overrides / outputs, low, high), abs=1e-9)


def test_without_outputs_there_is_no_rate() -> None:
    rate = rate_of("North", overrides=3, outputs=0)
    assert (rate.value, rate.low, rate.high, rate.overrides, rate.reason) == (None, None, None, 3, NO_OUTPUTS)
    assert rate_of("North", overrides=12, outputs=11).reason == TOO_MANY
    assert rate_of("North", overrides=12, outputs=11).value is None
    few = rate_of("North", overrides=1, outputs=10)
    assert (few.overrides, few.outputs, few.value, few.reason) == (None, None, None, HIDDEN)


@given(st.dictionaries(st.sampled_from("ABCDEF"), COUNTS, max_size=6))
def test_nobody_can_work_out_a_small_group_from_the_rest(counts: dict[str, tuple[int, int]]) -> None:
    rates = rates_by_group(counts)
    assert [rate.name for rate in rates] == sorted(counts)
    hidden = [rate.name for rate in rates if rate.outputs is None]
    small = {name for name, (_, n) in counts.items() if n < LEAST}
    assert small <= set(hidden)
    assert all(rate.overrides is None and rate.value is None for rate in rates if rate.outputs is None)
    if small and len(counts) > 1:
        # The total minus what is shown is a sum over at least two groups.
        assert len(hidden) >= 2
    assert len(hidden) <= max(len(small), 2 if small else 0)


def test_the_smallest_other_group_is_hidden_with_the_only_small_one() -> None:
    assert hidden_groups({"F": 300, "M": 200, "X": 4}) == {"M", "X"}
    assert hidden_groups({"F": 300, "M": 4, "X": 4}) == {"M", "X"}
    assert hidden_groups({"F": 300, "M": 200}) == frozenset()
    assert hidden_groups({"X": 4}) == {"X"}


@given(st.integers(0, 60), st.integers(1, 3000), st.floats(0.0005, 0.6))
def test_the_probabilities_are_the_exact_binomial_ones(overrides: int, outputs: int, rate: float) -> None:
    overrides = min(overrides, outputs)
    few = binomtest(overrides, outputs, rate, alternative="less").pvalue
    many = binomtest(overrides, outputs, rate, alternative="greater").pvalue
    assert probability_of_so_few(overrides, outputs, rate) == pytest.approx(few, rel=1e-7, abs=1e-12)
    assert probability_of_so_many(overrides, outputs, rate) == pytest.approx(many, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("outputs", [1, 11, 59, 300, 5000])
def test_the_bound_of_no_override_is_the_exact_one(outputs: int) -> None:
    exact = binomtest(0, outputs, 0.5, alternative="less").proportion_ci(0.95).high
    assert zero_bound(outputs) == pytest.approx(exact, rel=1e-6)
    assert zero_bound(0) is None


def test_no_override_at_all_is_a_signal_as_soon_as_chance_explains_it_no_more() -> None:
    """(1 - .008)^n falls below .05 between 372 and 373 outputs."""
    assert mark_of(overrides=0, outputs=372, error=ERROR) is None
    mark = mark_of(overrides=0, outputs=373, error=ERROR)
    assert mark is not None and mark.kind == "automation_bias"
    assert mark.title == "Automation bias suspected"
    assert "None of 373 outputs was overruled. At most 0.8 % of them can be" in mark.text
    assert "at least 8 % of the outputs are wrong" in mark.text and "Art. 14(4)(b)" in mark.text
    assert "probability of .050" in mark.text


def test_too_few_and_too_many_are_signals_and_between_is_none() -> None:
    few = mark_of(overrides=1, outputs=1200, error=ERROR)
    assert few is not None and few.kind == "automation_bias" and "1 of 1,200 outputs were overruled." in few.text
    many = mark_of(overrides=160, outputs=1000, error=ERROR)
    assert many is not None and many.kind == "distrust" and "at most 12 % of the outputs are wrong" in many.text
    assert "less than .001" in many.text
    for overrides in (20, 60, 90, 120, 130):
        assert mark_of(overrides=overrides, outputs=1000, error=ERROR) is None


def test_clinicians_who_overrule_the_models_errors_give_no_signal() -> None:
    """Planted: who overrules a fifth of the errors to all of them is marked in at most 5 % of 400 runs."""
    chance = random.Random(20)
    for share in (0.2, 1.0):
        marks = 0
        for _ in range(400):
            overrides = sum(chance.random() < 0.1 * share for _ in range(400))
            marks += (
                mark_of(overrides=overrides, outputs=400, error=ErrorRate(low=0.1, high=0.1, source="A")) is not None
            )
        assert marks <= 32


def test_who_never_overrules_is_found() -> None:
    """Planted: a reader who overrules one error in a hundred, of a model that errs in a tenth, over 1,000 outputs."""
    chance = random.Random(7)
    found = 0
    for _ in range(100):
        overrides = sum(chance.random() < 0.001 for _ in range(1000))
        mark = mark_of(overrides=overrides, outputs=1000, error=ErrorRate(low=0.1, high=0.1, source="A"))
        found += mark is not None and mark.kind == "automation_bias"
    assert found >= 95


def test_what_cannot_be_compared_says_why() -> None:
    assert not_compared(overrides=0, outputs=0, error=ERROR) == NO_OUTPUTS
    assert not_compared(overrides=5, outputs=4, error=ERROR) == TOO_MANY
    assert "No audit of this version measured" in not_compared(overrides=0, outputs=9, error=None)
    assert not_compared(overrides=0, outputs=9, error=ERROR) == ""
    for facts in ({"outputs": 0, "error": ERROR}, {"outputs": 10**6, "error": None}):
        assert mark_of(overrides=0, **facts) is None  # type: ignore[arg-type]
    assert mark_of(overrides=11, outputs=10, error=ERROR) is None


def test_a_model_that_never_errs_gives_no_bias() -> None:
    assert mark_of(overrides=0, outputs=10**6, error=ErrorRate(low=0.0, high=0.0, source="A")) is None
    many = mark_of(overrides=1, outputs=10**6, error=ErrorRate(low=0.0, high=0.0, source="A"))
    assert many is not None and many.kind == "distrust"


def test_an_output_is_wrong_if_one_of_its_labels_is() -> None:
    found = error_rate([(0.9, 0.88, 0.92), (0.95, None, None), (1.0, 0.99, 1.0)], source="Audit 3")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.08, 0.12 + 0.05 + 0.01))
    assert error_rate([], source="Audit 3") is None
    all_wrong = error_rate([(0.1, 0.0, 0.2), (0.1, 0.0, 0.2)], source="Audit 3")
    assert all_wrong is not None and all_wrong.high == 1.0
