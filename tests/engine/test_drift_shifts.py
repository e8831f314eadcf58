"""Distances of two distributions, against scipy, brute force and what is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from evaluation.engine.drift.categories import category_shift, g_test, js_distance, unseen
from evaluation.engine.drift.cells import OTHER
from evaluation.engine.drift.frame import DriftFrame, fit_frame
from evaluation.engine.drift.numbers import NumberShift, number_shift, paired
from evaluation.engine.drift.records import Family, Notice, NoticeKind, Shape, StreamShift, StreamSpec, StudyStreams
from evaluation.engine.drift.shifts import shifts_of
from evaluation.engine.drift.sketch import DriftSketch
from evaluation.engine.protocol import Protocol
from evaluation.engine.records import ShardTable
from evaluation.engine.sketches.quantiles import QuantileSketch
from evaluation.engine.statistics.intervals import z_of
from tests.engine.drift_builders import sketched, watching

Z = z_of(0.05)


def shift(window: Any, reference: Any) -> NumberShift:
    pair = paired([(QuantileSketch.of(window), QuantileSketch.of(reference))])
    assert pair is not None
    return number_shift(pair, z=Z)


def by_name(found: tuple[tuple[StreamShift, ...], tuple[Notice, ...]], name: str, group: str = "All") -> StreamShift:
    return next(item for item in found[0] if item.stream == name and item.group == group)


@pytest.mark.parametrize("seed", range(4))
def test_a_number_s_distances_are_scipy_s(seed: int) -> None:
    """Whole numbers are exact in a sketch, others within a thousandth."""
    rng = np.random.default_rng(seed)
    both = (rng.integers(0, 90, 3500), rng.normal(40, 9, 3500), np.exp(rng.normal(size=3500)))[seed % 3].astype(float)
    reference, window = both[:3000], both[3000:] * 1.1
    found = shift(window, reference)
    assert found.detail["ks"] == pytest.approx(stats.ks_2samp(window, reference).statistic, abs=0.004)
    assert found.detail["wasserstein"] == pytest.approx(stats.wasserstein_distance(window, reference), rel=0.01)
    middle = np.quantile(reference, [0.025, 0.25, 0.75, 0.975], method="inverted_cdf")
    widths = (middle[2] - middle[1]) / 1.349, (middle[3] - middle[0]) / (2 * stats.norm.ppf(0.975))
    assert found.detail["sigma"] == pytest.approx(max(widths), rel=0.003)
    assert found.detail["sd"] == pytest.approx(reference.std(), rel=0.003)
    assert found.p_value == pytest.approx(stats.ks_2samp(window, reference).pvalue, rel=0.25, abs=1e-4)
    edges = np.unique(np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf"))
    p, q = (
        np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) / len(part) for part in (window, reference)
    )
    assert found.detail["psi"] == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=0.05)


def test_a_shift_within_a_crowd_close_to_0_is_no_shift_of_the_whole() -> None:
    """Nine of ten numbers lie below a thousandth; that they double is seen by KS and is not acted on."""
    rng = np.random.default_rng(8)
    reference, window = (np.where(rng.random(n) < 0.1, rng.random(n), rng.random(n) * 1e-3) for n in (3000, 900))
    found = shift(np.where(window < 1e-3, 2 * window, window), reference)
    assert found.p_value is not None and found.p_value < 1e-6
    assert found.value is not None and found.value < 0.05


def test_what_chance_adds_is_taken_off_and_intervals_cover() -> None:
    """Mean of the effect is near 0 without a shift, near the shift with one; 95 % intervals hold it in 90 % or more."""
    rng = np.random.default_rng(7)
    for n, delta, low, high in ((50, 0.0, 0.0, 0.09), (200, 0.0, 0.0, 0.05), (200, 0.4, 0.35, 0.43)):
        found = [shift(rng.normal(delta + 9, 1, n), rng.normal(9, 1, 4000)) for _ in range(120)]
        assert low <= np.mean([item.value for item in found]) <= high
        assert np.mean([item.low <= delta <= item.high for item in found]) >= 0.9
    raw = np.mean([item.detail["wasserstein"] / item.detail["sigma"] for item in found[:1]])
    assert raw > 0


def test_categories_are_scipy_s_and_debiased() -> None:
    rng = np.random.default_rng(3)
    base = np.array([0.45, 0.3, 0.2, 0.04, 0.01])
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.4, 0.4, 0.2])
    assert js_distance(p, q) == pytest.approx(jensenshannon(p, q, 2))
    counts = np.array([[40, 100, 60], [400, 400, 200]])
    g, freedom, p_value = g_test(counts[0] / 200, counts[1] / 1000, 200, 1000)
    oracle = stats.chi2_contingency(counts, lambda_="log-likelihood", correction=False)
    assert g == pytest.approx(oracle.statistic)
    assert freedom == oracle.dof
    assert p_value == pytest.approx(oracle.pvalue, rel=0.3)
    null, moved, alarms = [], [], 0
    other = base + np.array([-0.15, 0, 0.15, 0, 0])
    for _ in range(150):
        reference = dict(zip("abcde", rng.multinomial(4000, base).tolist(), strict=True))
        one = category_shift([(dict(zip("abcde", rng.multinomial(200, base).tolist(), strict=True)), reference)], z=Z)
        two = category_shift([(dict(zip("abcde", rng.multinomial(200, other).tolist(), strict=True)), reference)], z=Z)
        assert one is not None
        assert two is not None
        null.append(one.value)
        moved.append(two)
        alarms += one.p_value < 0.05
    truth = js_distance(other, base)
    assert np.mean(null) < 0.04
    assert np.mean([item.value for item in moved]) == pytest.approx(truth, abs=0.015)
    assert np.mean([item.low <= truth <= item.high for item in moved]) >= 0.9
    assert alarms <= 18


def test_undefined_is_none_with_a_reason_and_a_constant_that_changes_is_large() -> None:
    protocol = watching("sex")
    sex = ["F"] * 100 + ["M"] * 100
    reference = sketched(protocol, {"age": np.arange(200.0), "flat": np.ones(200)}, {"k": ["a"] * 200}, sex=sex)
    gone = {"age": np.full(200, np.nan), "flat": np.full(200, 3.0)}
    window = sketched(protocol, gone, {"k": [None] * 200}, sex=["F"] * 196 + ["M"] * 4)
    found = shifts_of(protocol, window, reference)
    age = by_name(found, "age")
    assert (age.value, age.p_value) == (None, None)
    assert "no patients with a number" in age.reason
    assert by_name(found, "missing.age").value == pytest.approx(1, abs=0.02)
    assert by_name(found, "k").value == pytest.approx(1, abs=0.02)
    assert (by_name(found, "flat").value or 0) > 1
    few = by_name(found, "flat", "M")
    assert (few.value, few.detail) == (None, {})
    assert "fewer than 11" in few.reason
    assert all("4" not in item.message for item in found[1])
    same = by_name(shifts_of(protocol, reference, reference), "flat")
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    stranger = sketched(protocol, {"age": np.arange(50.0), "flat": np.ones(50)}, {"k": ["a"] * 50}, sex=["X"] * 50)
    new = by_name(shifts_of(protocol, stranger, reference), "age", "X")
    assert "reference has no" in new.reason


def test_unseen_categories_are_named_where_they_are_not_few() -> None:
    protocol = watching()
    reference = sketched(protocol, None, {"maker": ["Philips"] * 300 + ["Siemens"] * 300})
    window = sketched(protocol, None, {"maker": ["Philips"] * 80 + ["Newco"] * 15 + ["Rare"] * 3 + [None] * 2})
    notices = [item for item in shifts_of(protocol, window, reference)[1] if item.kind is NoticeKind.UNSEEN]
    assert len(notices) == 1
    assert notices[0].detail == {"categories": {"Newco": 15}, "suppressed": 1}
    assert "Newco" in notices[0].message
    assert "Rare" not in notices[0].message
    shown = by_name(shifts_of(protocol, window, reference), "maker").detail["largest"]
    assert {row["category"] for row in shown} == {"Siemens", "Newco", "Philips"}
    assert unseen({"x": 5}, {"a": 1, OTHER: 3}) == {}
    by_site = watching("site", case_mix=["site"])
    before = sketched(by_site, {"age": np.arange(300.0)}, site=["North"] * 300)
    after = sketched(by_site, {"age": np.arange(300.0)}, site=["North"] * 270 + ["South"] * 20 + [None] * 10)
    told = [item for item in shifts_of(by_site, after, before)[1] if item.kind is NoticeKind.UNSEEN]
    assert [(item.stream, item.detail) for item in told] == [("site", {"categories": {"South": 20}, "suppressed": 0})]
    alike = sketched(protocol, None, {"maker": ["Philips"] * 50 + ["Siemens"] * 50})
    assert shifts_of(protocol, alike, reference)[1] == ()


def cohort(n: int, women: float, seed: int, *, kidney: float = 0.0) -> DriftSketch:
    """Creatinine depends on sex; ``kidney`` moves that of men."""
    rng = np.random.default_rng(seed)
    sex = np.where(rng.random(n) < women, "F", "M")
    value = rng.normal(np.where(sex == "F", 60.0, 90.0) + kidney * (sex == "M"), 10.0)
    ward = np.where(rng.random(n) < np.where(sex == "F", 0.2, 0.7), "A", "B")
    return sketched(watching("sex", case_mix=["sex"]), {"creatinine": value}, {"ward": ward}, sex=sex)


def test_within_the_case_mix_a_change_of_mix_moves_nothing_else() -> None:
    """The window has 80 % women where the reference has 40 %: only the case mix moved."""
    protocol, reference = watching("sex", case_mix=["sex"]), cohort(6000, 0.4, 1)
    found = shifts_of(protocol, cohort(1500, 0.8, 2), reference)
    assert (by_name(found, "case_mix").low or 0) > by_name(found, "case_mix").margin
    for name in ("creatinine", "ward"):
        item = by_name(found, name)
        assert (item.value or 0) < item.margin / 2
        assert (item.p_value or 0) > 0.01
    assert [item.kind for item in found[1]] == [NoticeKind.CASE_MIX]
    assert "F 40% before, 78% now" in found[1][0].message
    plain = watching("sex")
    pooled = shifts_of(plain, cohort(1500, 0.8, 2), reference)
    assert (by_name(pooled, "creatinine").value or 0) > 0.5
    assert not [item for item in pooled[0] if item.family is Family.CASE_MIX]
    ill = shifts_of(protocol, cohort(1500, 0.8, 2, kidney=12.0), reference)
    assert (by_name(ill, "creatinine", "M").low or 0) > 0.2
    assert (by_name(ill, "creatinine", "F").value or 0) < 0.15


def test_the_standardised_reference_is_the_weighted_mixture_by_hand() -> None:
    """Two strata, window 3:1, reference 1:1: the reference counts as 3/4 of one stratum and 1/4 of the other."""
    first, second = (
        (QuantileSketch.of([1.0, 1.0, 1.0]), QuantileSketch.of([1.0, 2.0])),
        (
            QuantileSketch.of([5.0]),
            QuantileSketch.of([5.0, 6.0]),
        ),
    )
    none = (QuantileSketch.of([7.0, 7.0]), QuantileSketch.of([]))
    pair = paired([first, second, none])
    assert pair is not None
    assert pair.values.tolist() == [1, 2, 5, 6]
    assert pair.window.tolist() == [0.75, 0, 0.25, 0]
    assert pair.reference.tolist() == [0.375, 0.375, 0.125, 0.125]
    assert (pair.n, pair.n_reference, pair.uncompared) == (4, 4, 2)
    assert pair.m == pytest.approx(1 / (0.75**2 / 2 + 0.25**2 / 2))
    found = category_shift([({"a": 3}, {"a": 1, "b": 1}), ({"a": 1}, {"a": 2}), ({"a": 9}, {})], z=Z)
    assert found is not None
    assert found.reference == {"a": 0.625, "b": 0.375}
    assert (found.n, found.n_reference, found.uncompared) == (4, 4, 9)
    assert category_shift([({"a": 9}, {})], z=Z) is None
    assert paired([none]) is None
    assert math.isfinite(found.high)


def test_scores_labels_and_vectors_are_compared_through_the_same_door() -> None:
    """Scores that rise in men alone, pictures that move: told over all and by group, of watched streams alone."""
    protocol = Protocol.from_dict(
        {
            "auscult_protocol": 1,
            "name": "watch",
            "title": "Watch",
            "suites": ["drift"],
            "labels": [{"name": "effusion", "threshold": {"value": 0.5, "source": "tuning"}}],
            "attributes": [{"name": "sex"}],
            "criteria": [
                {"id": "s", "title": "s", "metric": "prediction_shift", "direction": "at_most", "margin": 0.2}
            ],
            "drift": {"case_mix": ["sex"]},
        }
    )
    reference = scored_cohort(protocol, 3000, 1)
    assert reference.frame is not None
    whole = DriftSketch.from_table(protocol, reference.table)
    found = shifts_of(
        protocol, DriftSketch.from_table(protocol, scored_cohort(protocol, 800, 2, frame=reference.frame).table), whole
    )
    assert all(item.value is not None and item.value < 0.15 for item in found[0] if item.stream == "score.effusion")
    moved = scored_cohort(protocol, 800, 3, frame=reference.frame, men=0.8, picture=0.7)
    sketch = DriftSketch.from_table(protocol, moved.table)
    assert DriftSketch.from_bytes(sketch.to_bytes()).to_bytes() == sketch.to_bytes()
    found = shifts_of(protocol, sketch, whole)
    assert (by_name(found, "score.effusion", "M").low or 0) > 0.3
    assert (by_name(found, "score.effusion", "F").value or 0) < 0.2
    assert (by_name(found, "image:embedding").low or 0) > 0.05
    assert by_name(found, "image:embedding").effect == "auc_excess"
    assert not {item.stream for item in found[0]} & {"label.effusion", "performance.effusion"}


@dataclass(frozen=True)
class Scored:
    table: ShardTable
    frame: DriftFrame | None


def scored_cohort(
    protocol: Protocol, n: int, seed: int, *, frame: DriftFrame | None = None, men: float = 0.0, picture: float = 0.0
) -> Scored:
    """Scores and embeddings of n patients; only the stream of scores is watched, not its labels."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"{seed}-{k}" for k in range(n)], dtype=object)
    sex = rng.choice(["F", "M"], n)
    logit = rng.normal(-1, 1, n) + men * (sex == "M")
    image = StreamSpec(name="image:embedding", family=Family.IMAGE, shape=Shape.VECTOR, title="image", modality="image")
    score = StreamSpec(
        name="score.effusion", family=Family.PREDICTION, shape=Shape.SCORED, title="effusion", modality="score"
    )
    values = (rng.normal(size=(n, 12)) + picture * (np.arange(12) == 3)).astype(np.float32)
    streams = StudyStreams(specs=(image, score), vectors={"image:embedding": values})
    table = ShardTable(
        patient_ids=ids,
        study_ids=ids,
        attributes={"sex": sex.astype(object)},
        labels={"effusion": np.full(n, -1, dtype=np.int8)},
        scores={"effusion": 1 / (1 + np.exp(-logit))},
        streams=streams,
    )
    frame = frame or fit_frame(protocol, streams, table)
    return Scored(table=replace(table, streams=replace(streams, frame=frame)), frame=frame)
