"""What a toy gets wrong about drift: lines 10 to 13 of the list that the evaluation is held to.

Each walks the whole way: sketch, shifts, residuals, look.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np

from evaluation.engine.drift.cells import CellSketch
from evaluation.engine.drift.lifetime import look
from evaluation.engine.drift.records import Look, Notice, NoticeKind, Residual, StreamShift
from evaluation.engine.drift.residuals import residuals_of
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol import Protocol
from evaluation.engine.sketches.quantiles import QuantileSketch
from tests.engine.drift_builders import sketched, watching


def life(
    protocol: Protocol, reference: DriftSketch, windows: list[DriftSketch]
) -> list[tuple[Look, tuple[StreamShift, ...], tuple[Notice, ...]]]:
    """What a monitor says after each window."""
    history: list[tuple[Residual, ...]] = []
    found = []
    for k, window in enumerate(windows):
        shifts, notices = shifts_of(protocol, window, reference)
        baseline = reduce(DriftSketch.merge, windows[:k], reference)
        history.append(residuals_of(protocol, window, baseline, notices=notices))
        found.append((look(protocol, history, shifts, cycle=1), shifts, notices))
    return found


def test_line_10_a_trivial_shift_at_a_million_rows_raises_no_alarm() -> None:
    """.005 of a standard deviation is beyond doubt at 2 x 1 M patients, and still nothing to act on."""
    protocol, n = watching(), 1_000_000
    rng = np.random.default_rng(1)
    like = sketched(protocol, {"age": [60.0]})

    def patients(mean: float) -> DriftSketch:
        # Made without a million identifiers: the cell is what the sketch of such patients has.
        cell = CellSketch(n=n, numbers={"age": QuantileSketch.of(rng.normal(mean, 15, n))})
        return replace(like, cells={(): cell})

    reference, window = patients(60), patients(60 + 0.005 * 15)
    ((told, shifts, notices),) = life(protocol, reference, [window])
    age = next(item for item in shifts if item.stream == "age")
    assert age.p_value is not None
    assert age.p_value < 0.05
    assert age.value is not None
    assert age.value < age.margin / 10
    assert not told.alarm
    assert notices == ()


def test_line_11_a_change_of_unit_is_told_as_one_and_is_no_drift_of_patients() -> None:
    """Glucose comes in mmol/L from the third window on: a notice with the factor, and no alarm, ever."""
    protocol = watching()
    rng = np.random.default_rng(2)
    name = "series.glucose:median"

    def glucose(n: int, *, molar: bool = False) -> DriftSketch:
        value = rng.normal(100, 25, n).clip(40)
        return sketched(protocol, {name: np.round(value / 18.0156, 1) if molar else value}, units={name: "mg/dL"})

    found = life(protocol, glucose(3000), [glucose(300), glucose(300), *(glucose(300, molar=True) for _ in range(4))])
    assert not any(told.alarm for told, _, _ in found)
    for k, (_, shifts, notices) in enumerate(found):
        units = [item for item in notices if item.kind is NoticeKind.UNIT]
        assert len(units) == (k >= 2)
        if units:
            assert (units[0].detail["from"], units[0].detail["to"]) == ("mg/dL", "mmol/L")
            assert abs(units[0].detail["factor"] * 18.0156 - 1) < 0.001
            assert all(item.value is None for item in shifts if item.stream == name)
    moved = watching()
    ill = [sketched(moved, {name: rng.normal(150, 40, 300)}, units={name: "mg/dL"}) for _ in range(4)]
    assert life(moved, glucose(3000), ill)[-1][0].alarm


def test_line_12_a_dropped_modality_with_unchanged_values_is_detected() -> None:
    """The text is missing in 30 % instead of 10 %; every number that is there is as before."""
    protocol = watching()
    rng = np.random.default_rng(3)

    def window(n: int, gone: float) -> DriftSketch:
        mask = np.where(rng.random(n) < gone, "image", "image+text.indication")
        return sketched(protocol, {"age": rng.normal(60, 15, n)}, {"mask": mask})

    found = life(protocol, window(4000, 0.1), [window(300, 0.1), *(window(300, 0.3) for _ in range(4))])
    assert not found[0][0].alarm
    alarm = next(told for told, _, _ in found if told.alarm)
    assert alarm.alarming[0] == ("mask", "", "All")
    assert all(key[0] == "mask" for told, _, _ in found for key in told.alarming)


def test_line_13_a_benign_change_of_case_mix_raises_no_conditional_drift() -> None:
    """Women go from 40 % to 80 %, and creatinine depends on sex: only the case mix may alarm."""
    protocol = watching("sex", case_mix=["sex"])
    rng = np.random.default_rng(4)

    def window(n: int, women: float) -> DriftSketch:
        sex = np.where(rng.random(n) < women, "F", "M")
        numbers = {"creatinine": rng.normal(np.where(sex == "F", 60, 90), 10)}
        ward = np.where(rng.random(n) < np.where(sex == "F", 0.2, 0.7), "A", "B")
        return sketched(protocol, numbers, {"ward": ward}, sex=sex)

    windows = [window(400, 0.8) for _ in range(8)]
    found = life(protocol, window(6000, 0.4), windows)
    assert {key[0] for told, _, _ in found for key in told.alarming} <= {"case_mix"}
    assert found[-1][0].alarm
    loose = watching("sex")
    blind = life(loose, window(6000, 0.4), windows)
    assert "creatinine" in {key[0] for told, _, _ in blind for key in told.alarming}
