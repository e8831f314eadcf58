"""The quantile sketch against numpy and Apache DataSketches, and its algebra."""

from __future__ import annotations

import math
import struct

import datasketches
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import AuscultError
from evaluation.engine.sketches.quantiles import RELATIVE_ERROR, QuantileSketch

numbers = st.lists(
    st.one_of(
        st.floats(allow_nan=True, allow_infinity=True),
        st.integers(-3000, 3000).map(float),
        st.floats(-10, 10).map(lambda value: round(value, 1)),
    ),
    max_size=40,
)
SHARES = [0.0, 0.01, 0.1, 0.25, 0.5, 0.77, 0.9, 0.99, 1.0]
RNG = np.random.default_rng(12)
COLUMNS = {
    "normal": RNG.normal(0, 3, 20000),
    "lognormal": RNG.lognormal(3, 2, 20000),
    "ages": RNG.integers(0, 101, 20000).astype(float),
    "shares": RNG.beta(0.3, 0.6, 20000),
    "far from zero": 1000 + RNG.normal(0, 40, 20000),
}


@settings(max_examples=150, deadline=None)
@given(numbers, st.floats(0, 1))
def test_a_quantile_is_numpys_within_the_stated_error(values: list[float], share: float) -> None:
    finite = np.array([value for value in values if math.isfinite(value)])
    sketch = QuantileSketch.of(values)
    found = sketch.quantile(share)
    if not len(finite):
        assert found is None
    else:
        exact = float(np.quantile(finite, share, method="inverted_cdf"))
        assert found == pytest.approx(exact, rel=RELATIVE_ERROR, abs=2.3e-308)
        assert finite.min() - 2.3e-308 <= found <= finite.max() + 2.3e-308
    assert sketch.n == len(finite)
    assert sketch.missing == sum(math.isnan(value) for value in values)
    assert sketch.infinite == sum(math.isinf(value) for value in values)


@settings(max_examples=80, deadline=None)
@given(numbers, numbers, numbers)
def test_merging_is_associative_commutative_and_equal_to_one_pass(
    one: list[float], two: list[float], three: list[float]
) -> None:
    a, b, c = (QuantileSketch.of(values) for values in (one, two, three))
    whole = QuantileSketch.of(one + two + three).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == whole
    assert c.merge(a.merge(b)).to_bytes() == whole
    assert QuantileSketch.of().update(three).update(one).update(two[::-1]).to_bytes() == whole
    assert QuantileSketch.from_bytes(whole).to_bytes() == whole


@pytest.mark.parametrize("name", COLUMNS)
def test_quantiles_and_ranks_agree_with_apache_datasketches(name: str) -> None:
    """Its ranks are right to .3 % (k = 1000) with 99 % certainty; three times that, since they are random."""
    values = COLUMNS[name]
    ours, theirs = QuantileSketch.of(values), datasketches.kll_doubles_sketch(1000)
    theirs.update(values)
    error = 3 * theirs.normalized_rank_error(False)
    for share, value in zip(SHARES, ours.quantiles(SHARES), strict=True):
        assert value is not None
        width = abs(value) * RELATIVE_ERROR
        assert theirs.get_rank(value - width, inclusive=False) - error <= share
        assert share <= theirs.get_rank(value + width, inclusive=True) + error
        assert ours.rank(value) == pytest.approx(theirs.get_rank(value + width, inclusive=True), abs=2 * error)


def test_apache_datasketches_cannot_be_reproduced_and_ours_can() -> None:
    """Why the sketch is our own: KLL's compactions are random."""
    values = COLUMNS["normal"]
    pairs = []
    for _ in range(2):
        kll = datasketches.kll_doubles_sketch(200)
        kll.update(values)
        pairs.append((kll.serialize(), QuantileSketch.of(values).to_bytes()))
    assert pairs[0][0] != pairs[1][0]
    assert pairs[0][1] == pairs[1][1]


@pytest.mark.parametrize("name", COLUMNS)
def test_ranks_are_exact_up_to_the_bin_of_the_value(name: str) -> None:
    values = COLUMNS[name]
    sketch = QuantileSketch.of(values)
    for value in np.quantile(values, SHARES):
        found = sketch.rank(float(value))
        assert found is not None
        exact = float((values <= value).mean())
        near = np.abs(values - value) <= 2 * RELATIVE_ERROR * abs(value)
        assert exact <= found <= exact + float(near.mean())


def test_whole_numbers_to_2048_zero_and_the_ends_are_exact() -> None:
    ages = QuantileSketch.of(COLUMNS["ages"])
    for share in SHARES:
        assert ages.quantile(share) == np.quantile(COLUMNS["ages"], share, method="inverted_cdf")
    assert ages.rank(64) == (COLUMNS["ages"] <= 64).mean()
    odd = QuantileSketch.of([0.0, -0.0, 5e-324, -1.2345678901, 9.8765432109])
    assert odd.quantiles([0, 0.5, 1]) == [-1.2345678901, 0.0, 9.8765432109]
    assert (odd.least, odd.most, odd.n) == (-1.2345678901, 9.8765432109, 5)
    assert [odd.rank(value) for value in (-2, -1e-300, 0, 9, 10, -math.inf, math.inf)] == [0, 0.2, 0.8, 0.8, 1, 0, 1]
    assert QuantileSketch.of([-7.77]).quantile(0.5) == -7.77


def test_no_numbers_have_no_quantile() -> None:
    empty = QuantileSketch.of([math.nan, math.inf, -math.inf])
    assert (empty.n, empty.missing, empty.infinite, empty.quantile(0.5), empty.rank(1.0)) == (0, 1, 2, None, None)
    with pytest.raises(ValueError, match="between 0 and 1"):
        empty.quantile(1.5)
    with pytest.raises(ValueError, match="no rank"):
        empty.rank(math.nan)


def test_the_sketch_of_a_million_numbers_is_small() -> None:
    values = np.random.default_rng(1).normal(120, 20, 1_000_000)
    assert len(QuantileSketch.of(values).to_bytes()) < 10_000


def test_damaged_or_foreign_bytes_are_refused() -> None:
    data = QuantileSketch.of([1.0, 2.0, 2.0, -3.5]).to_bytes()
    bad = [
        b"", b"nonsense", data[:-1], data + b"x", data[:30], data.replace(b"quantiles-1", b"quantiles-2"),
        data.replace(b'"least":-3.5', b'"least":-9.5'), data.replace(b'"most":2.0', b'"most":"x"'),
        data.replace(b'"missing"', b'"massing"'), data.replace(b'"bins":3', b'"bins":4'), data[:-1] + b"\x00",
        data.replace(b'"missing":0', b'"missing":-'), data.replace(b'"most":2.0', b'"most":Infinity'),
        data.replace(b'"most":2.0', b'"most":[2]'),
    ]  # fmt: skip
    for damaged in bad:
        assert damaged != data
        with pytest.raises(AuscultError):
            QuantileSketch.from_bytes(damaged)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 200), st.integers(1, 255))
def test_any_byte_changed_is_refused_or_another_sketch(place: int, flip: int) -> None:
    whole = QuantileSketch.of([1.0, 2.0, 2.0, -3.5, math.nan]).to_bytes()
    data = bytearray(whole)
    data[place % len(data)] ^= flip
    try:
        made = QuantileSketch.from_bytes(bytes(data))
    except AuscultError:
        return
    assert made.to_bytes() == bytes(data) != whole


def test_keys_are_the_leading_bits_of_the_float() -> None:
    """The bins as written: sign, and the float's bits without the last 42 of its mantissa."""
    for value in (1.0, 1.0009, 1.001, -2.5, 1e300, 3e-308):
        bits = struct.unpack("<q", struct.pack("<d", abs(value)))[0] >> 42
        assert QuantileSketch.of([value]).keys.tolist() == [bits if value > 0 else -bits]
