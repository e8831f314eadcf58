"""Series by flow: time structure, differences by finding, bounds, what is left out, and equal seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.digests import folder_manifest
from core.errors import AuscultError
from synthetic.generators.kinds.series_checking import gap_ratios, ks, lag1, series_facts
from synthetic.generators.kinds.series_flow import FlowSeries
from synthetic.generators.kinds.series_grid import LONGEST
from synthetic.generators.kinds.series_scales import decimals_of, fit_scale, robust_ends
from synthetic.generators.parts import PARTS, Learning
from synthetic.generators.settings import GeneratorSettings, Privacy
from synthetic.generators.studies import LinkedStudies, Readings
from tests.synthetic.series_scene import asked, scene

SETTINGS = GeneratorSettings(seed=3, effort=0.18)
PART = PARTS.get("series:flow")


def learnt(studies: LinkedStudies, settings: GeneratorSettings = SETTINGS) -> FlowSeries:
    made = PART.fit(studies, Learning(settings=settings))
    assert isinstance(made, FlowSeries)
    return made


@pytest.fixture(scope="module")
def real() -> LinkedStudies:
    return scene(500)


@pytest.fixture(scope="module")
def part(real: LinkedStudies) -> FlowSeries:
    return learnt(real)


@pytest.fixture(scope="module")
def made(part: FlowSeries, real: LinkedStudies) -> dict[str, Readings]:
    return part.sample(replace(real, series=asked(real)), seed=9)


def test_readings_are_as_many_as_asked_for_and_hours_strictly_increase(
    real: LinkedStudies, made: dict[str, Readings]
) -> None:
    for name in ("crp", "rate"):
        for wanted, got in zip(real.series[name], made[name], strict=True):
            assert (wanted is None) == (got is None)
            if wanted is not None and got is not None:
                assert got.shape == wanted.shape and np.isfinite(got).all()
                assert (np.diff(got[:, 0]) > 0).all(), "line 7: no hour is repeated"
    values = np.concatenate([item for item in made["crp"] if item is not None])
    assert np.allclose(values, np.round(values, 1)) and values[:, 1].min() > 0
    rates = np.concatenate([item for item in made["rate"] if item is not None])
    assert (rates == np.rint(rates)).all() and np.ptp(rates[:, 1]) > 20


def test_time_structure_and_differences_by_finding_are_those_of_the_real_ones(
    real: LinkedStudies, made: dict[str, Readings]
) -> None:
    for name in ("crp", "rate"):
        facts = series_facts(real.series[name], made[name], real.plans)
        assert facts["lag1"]["made"] == pytest.approx(facts["lag1"]["real"], abs=0.08)
        assert facts["lag1_within"]["made"] == pytest.approx(facts["lag1_within"]["real"], abs=0.12)
        assert facts["ks_gaps"] < 0.1 and facts["ks_values"] < 0.1
    for finding in ("effusion", "consolidation"):
        ratio = gap_ratios(real.series["crp"], made["crp"], real.plans)[finding]["ratio"]
        assert ratio == pytest.approx(1, abs=0.3)
    # What must fail does: independent readings have no time structure, and shuffled studies no difference.
    rng = np.random.default_rng(1)
    mixed = [None if item is None else np.stack([item[:, 0], rng.permutation(item[:, 1])], axis=1)
             for item in real.series["rate"]]  # fmt: skip
    assert lag1(mixed, within=True) < lag1(real.series["rate"], within=True) - 0.2
    order = rng.permutation(len(real))
    other = gap_ratios(real.series["crp"], [made["crp"][row] for row in order], real.plans)
    assert abs(other["consolidation"]["ratio"]) < 0.4


def test_studies_of_a_patient_share_a_level(real: LinkedStudies, made: dict[str, Readings]) -> None:
    def between(readings: Readings) -> float:
        residual = np.array([np.nan if item is None else np.log(item[:, 1]).mean() for item in readings])
        residual = residual - real.plans.present @ np.array([0.8, 1.2])
        first, second = residual[0::2], residual[1::2]
        both = np.isfinite(first) & np.isfinite(second)
        return float(np.corrcoef(first[both], second[both])[0, 1])

    assert between(real.series["crp"]) > 0.7, "level 0.6 of the patient, 0.3 of the study"
    assert between(made["crp"]) > between(real.series["crp"]) - 0.2


def test_a_series_without_readings_is_named_and_stays_empty(part: FlowSeries, made: dict[str, Readings]) -> None:
    assert part.facts["left_out"] == {"never": "no study has a reading"}
    assert all(item is None for item in made["never"])
    few = scene(60)
    held = [item if row < 8 else None for row, item in enumerate(few.series["rate"])]
    made_of_few = learnt(replace(few, series=few.series | {"rate": held}), replace(SETTINGS, effort=0.01))
    assert made_of_few.facts["left_out"]["rate"] == "fewer than 11 patients have a reading"
    assert PART.missing(replace(few, series={"never": few.series["never"]})) == "no study has a reading"
    assert PART.missing(replace(few, series={})) == "the cohort has no series" and PART.missing(few) == ""
    with pytest.raises(AuscultError, match="never: no study has a reading"):
        learnt(replace(few, series={"never": few.series["never"]}))


def test_equal_seeds_make_equal_readings_and_saving_keeps_them(
    part: FlowSeries, real: LinkedStudies, tmp_path: Path
) -> None:
    wish = replace(real, series=asked(real)).rows(slice(0, 100))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    part.save(tmp_path / "one")
    again = PART.load(tmp_path / "one")
    again.save(tmp_path / "two")
    assert folder_manifest(tmp_path / "one") == folder_manifest(tmp_path / "two") and again.facts == part.facts
    first, second, third = part.sample(wish, seed=1), again.sample(wish, seed=1), again.sample(wish, seed=2)
    assert same(first["crp"], second["crp"]) and not same(first["crp"], third["crp"])
    short = replace(SETTINGS, effort=0.01)
    small = real.rows(slice(0, 100))
    for name, seed in (("three", 3), ("four", 3), ("five", 4)):
        (tmp_path / name).mkdir()
        learnt(small, replace(short, seed=seed)).save(tmp_path / name)
    digests = [folder_manifest(tmp_path / name) for name in ("three", "four", "five")]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(AuscultError, match="no series that this version can read"):
        PART.load(tmp_path)


def same(one: Readings, other: Readings) -> bool:
    return all(first is None or np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_long_series_are_cut_and_unknown_values_are_left_out() -> None:
    studies = scene(40)
    rng = np.random.default_rng(2)
    long = [np.stack([np.arange(80.0), 50 + rng.standard_normal(80)], axis=1) for _ in range(len(studies))]
    long[0][3, 1] = np.nan
    made = learnt(replace(studies, series={"long": long}), replace(SETTINGS, effort=0.01))
    assert made.facts["cut"] == {"long": len(studies)} and made.facts["longest"] == LONGEST
    readings = made.sample(replace(studies, series={"long": long}), seed=1)["long"]
    assert {len(item) for item in readings if item is not None} == {LONGEST}
    assert all((np.diff(item[:, 0]) > 0).all() for item in readings if item is not None)


def test_privacy_that_cannot_be_given_is_refused(real: LinkedStudies) -> None:
    with pytest.raises(AuscultError, match="differential privacy") as caught:
        learnt(real, replace(SETTINGS, privacy=Privacy(epsilon=1, delta=1e-6)))
    assert caught.value.column == "privacy" and caught.value.remedy


def test_scales_go_there_and_back_and_no_extreme_of_one_patient_is_kept() -> None:
    rng = np.random.default_rng(5)
    values = np.round(np.exp(rng.standard_normal(4000)), 1) + 0.1
    values[0] = 5000.0
    patients = np.repeat(np.arange(2000), 2)
    scale = fit_scale(values, patients, rare_below=11, rng=rng)
    assert scale.logarithmic and scale.decimals == 1 and scale.most < 40
    inner = values[(values > 0.4) & (values < 6)]
    assert np.abs(scale.to_values(scale.to_scores(inner)) - inner).max() <= 0.1 + 1e-9
    low, high = robust_ends(values, patients, 11)
    assert len(set(patients[values >= high])) >= 11 and len(set(patients[values <= low])) >= 11
    assert [decimals_of(np.array(item)) for item in ([1.0, 2.0], [1.5, 2.0], [0.25, 1.0])] == [0, 1, 2]
    assert ks(values[:100], values[:100]) == 0 and ks(values[:5], values) is None
    assert lag1([None, np.ones((3, 2))]) is None
