"""Units that changed are told from patients that changed, and the other way round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evaluation.engine.drift.numbers import paired
from evaluation.engine.drift.records import Family, NoticeKind
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.units import UnitChange, unit_change
from evaluation.engine.sketches.quantiles import QuantileSketch
from tests.engine.drift_builders import sketched, spec, watching

RNG_SEED = 11


def change(name: str, window: Any, reference: Any, unit: str = "") -> UnitChange | None:
    family = Family.SERIES if name.startswith("series.") else Family.NUMERIC
    pair = paired([(QuantileSketch.of(window), QuantileSketch.of(reference))])
    assert pair is not None
    return unit_change(spec(name, family, unit), pair)


def test_conversions_are_found_with_their_units() -> None:
    rng = np.random.default_rng(RNG_SEED)

    def glucose(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.clip(rng.normal(100, 30, n), 40, None)

    cases: list[tuple[str, str, Any, Any, str, float]] = [
        ("series.glucose:median", "mg/dL", np.round(glucose(300) / 18.0156, 1), glucose(4000), "mmol/L", 1 / 18.0156),
        ("creatinine", "", np.exp(rng.normal(0, 0.4, 90)) * 88.4, np.exp(rng.normal(0, 0.4, 4000)), "umol/L", 88.4),
        ("series.crp:median", "mg/L", np.exp(rng.normal(2, 1, 300)) / 10, np.exp(rng.normal(2, 1, 4000)), "mg/dL", 0.1),
        ("age", "", rng.integers(20, 90, 200) * 12.0, rng.integers(20, 90, 4000), "months", 12.0),
        ("weight", "", rng.normal(165, 26, 200), rng.normal(75, 12, 4000), "pounds", 2.2046),
    ]
    for name, unit, window, reference, target, factor in cases:
        found = change(name, window, reference, unit)
        assert found is not None, name
        assert found.conversion.target == target
        assert found.conversion.factor == pytest.approx(factor, rel=1e-3)
        assert found.share == 1
        assert found.log_ratio == pytest.approx(np.log(np.median(window) / np.median(reference)), abs=0.02)
    warm = change("temperature", rng.normal(98.2, 1, 200), rng.normal(36.8, 0.556, 4000))
    assert warm is not None
    assert warm.conversion.offset == pytest.approx(32)


def test_a_part_of_the_window_is_found_with_its_share() -> None:
    """A laboratory changed in the middle of the window."""
    rng = np.random.default_rng(RNG_SEED)
    window, reference = rng.normal(100, 25, 500).clip(40), rng.normal(100, 25, 4000).clip(40)
    window[:150] /= 18.0156
    found = change("series.glucose:median", window, reference, "mg/dL")
    assert found is not None
    assert found.share == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_patients_that_are_more_ill_are_never_taken_for_a_unit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crp = np.exp(rng.normal(2, 1.4, 4000))
    for worse in (0.0, 0.5, 1.0, 1.2, 1.5):
        assert change("series.crp:median", np.exp(rng.normal(2 + worse, 1.4, 400)), crp, "mg/L") is None
    glucose = rng.normal(100, 25, 4000).clip(40)
    for factor in (0.7, 1.3, 1.6, 2.0):
        assert change("series.glucose:median", factor * rng.normal(100, 25, 400).clip(40), glucose, "mg/dL") is None
    children = np.where(rng.random(400) < 0.3, rng.integers(0, 12, 400), rng.integers(20, 90, 400))
    assert change("age", children, rng.integers(20, 90, 4000)) is None
    assert change("age", rng.integers(20, 90, 20) * 12.0, rng.integers(20, 90, 4000)) is None


def test_a_unit_of_one_site_is_told_with_the_site_and_silences_the_stream() -> None:
    rng = np.random.default_rng(RNG_SEED)
    protocol = watching("site")
    site = np.array(["North", "South"])[rng.integers(0, 2, 3000)]
    reference = sketched(protocol, {"albumin": rng.normal(40, 5, 3000)}, site=site, units={"albumin": "g/L"})
    here = np.where(np.arange(600) < 540, "North", "South")
    value = np.where(here == "South", 0.1, 1.0) * rng.normal(40, 5, 600)
    window = sketched(protocol, {"albumin": value}, site=here, units={"albumin": "g/L"})
    shifts, notices = shifts_of(protocol, window, reference)
    assert {(item.kind, item.stream) for item in notices} == {(NoticeKind.UNIT, "albumin")}
    assert {item.detail["group"] for item in notices} <= {"All", "South"}
    assert all(item.detail["to"] == "g/dL" for item in notices)
    assert all(item.value is None and "unit changed" in item.reason for item in shifts if item.stream == "albumin")
