"""Scores of a window among its pool: exact where they say so, normal, independent, and only where something moved."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from benchmarks import validity_drift
from benchmarks.drift_scene import Drifts, frame_of, protocol_of, sketch_of, studies
from core.errors import AuscultError
from evaluation.engine.drift import residuals
from evaluation.engine.drift.exchangeable import (
    Draw,
    Numbers,
    category_scores,
    count_score,
    linear_score,
    normal_score,
    number_scores,
    stratified_slope,
)
from evaluation.engine.drift.exchangeable_vectors import Vectors, vector_scores
from evaluation.engine.drift.records import Notice, NoticeKind, Residual
from evaluation.engine.statistics.seeds import generator

PROTOCOL = protocol_of()
REFERENCE = studies(generator(0, "reference"), 1500)
FRAME = frame_of(PROTOCOL, REFERENCE)
BASE = sketch_of(PROTOCOL, REFERENCE, FRAME)


def numbers(values: np.ndarray, missing: int = 0) -> Numbers:
    found, counts = np.unique(values, return_counts=True)
    return Numbers(found, counts, missing)


def window_scores(drifts: Drifts, seed: str = "window", n: int = 400) -> dict[tuple[str, str], dict[str, float]]:
    window = sketch_of(PROTOCOL, studies(generator(1, seed), n, drifts), FRAME)
    found = residuals.residuals_of(PROTOCOL, window, BASE)
    return {(item.stream, item.group): dict(zip(item.components, item.z, strict=True)) for item in found}


@pytest.mark.parametrize("draws", [[Draw(20, 9, 60)], [Draw(50, 2, 250)], [Draw(12, 5, 40), Draw(9, 30, 33)]])
def test_a_count_is_scored_exactly_and_never_bets_unfairly(draws: list[Draw]) -> None:
    parts = [stats.hypergeom(item.total, item.marked, item.drawn) for item in draws]
    outcomes = [(0, 1.0)]
    for part in parts:
        low, high = part.support()
        outcomes = [(x + y, p * part.pmf(y)) for x, p in outcomes for y in range(low, high + 1)]
    masses: dict[int, float] = {}
    for x, p in outcomes:
        masses[x] = masses.get(x, 0.0) + p
    scores = {x: count_score(x, draws) for x in sorted(masses)}
    assert list(scores.values()) == sorted(scores.values())
    assert sum(p * scores[x] for x, p in masses.items()) == pytest.approx(0, abs=1e-9)
    for bet in (0.1, 0.5, 1, 2, 4, -0.5, -1, -3):
        fair = sum(p * math.exp(bet * scores[x] - bet**2 / 2) for x, p in masses.items())
        assert fair <= 1 + 1e-9
        assert abs(bet) > 0.5 or fair > 0.9
    middle = max(masses, key=masses.__getitem__)
    below = sum(p for x, p in masses.items() if x < middle)
    covered = np.linspace(below, below + masses[middle], 200_001)[1:-1]
    assert scores[middle] == pytest.approx(stats.norm.ppf(covered).mean(), abs=1e-4)


def test_a_count_that_cannot_vary_has_no_score() -> None:
    assert count_score(0, [Draw(20, 0, 60)]) is None
    assert count_score(20, [Draw(20, 60, 60)]) is None
    assert count_score(0, []) is None
    assert normal_score(0.0, 0.0) is None
    assert number_scores([(numbers(np.zeros(30)), numbers(np.zeros(300)))]) == {}
    assert "location" not in number_scores([(numbers(np.arange(9.0)), numbers(np.arange(100.0)))])


def test_strata_add_up_as_in_mantel_and_haenszel() -> None:
    tables = [np.array([[90, 60], [70, 80]]), np.array([[150, 250], [130, 270]]), np.array([[300, 100], [290, 110]])]
    draws = [Draw(int(t[0].sum()), int(t[:, 0].sum()), int(t.sum())) for t in tables]
    score = count_score(sum(int(t[0, 0]) for t in tables), draws)
    oracle = math.sqrt(StratifiedTable(tables).test_null_odds(correction=False).statistic)
    assert score == pytest.approx(oracle, rel=1e-6)


def test_location_is_wilcoxons_test_with_ties() -> None:
    rng = generator(3, "ranks")
    window, pool = rng.poisson(6.5, 80), rng.poisson(6, 80)
    found = number_scores([(numbers(window), numbers(pool))])
    p_value = stats.mannwhitneyu(window, pool, use_continuity=False, method="asymptotic").pvalue
    assert 2 * stats.norm.sf(abs(found["location"])) == pytest.approx(p_value, rel=1e-6)
    assert found["location"] > 0


def test_sums_have_the_mean_variance_and_skewness_of_every_choice_of_patients() -> None:
    values = np.array([0.0, 0.1, 0.3, 0.7, 1.5, 4.0, 9.0])
    both = np.ones(7, dtype=np.int64)
    vectors = np.column_stack([values, [1.0, -1, 2, 0, 3, -2, 1], [2.0, 2, 1, 0, 1, 1, 5]])
    sums, whitened = [], []
    for chosen in combinations(range(7), 3):
        window = np.isin(np.arange(7), chosen).astype(np.int64)
        sums.append((values[list(chosen)].sum(), linear_score([(values, window, both)], fewest=1)))
        sides = [vectors[window == 1], vectors[window == 0]]
        pair = [Vectors(len(part), part.mean(axis=0), np.cov(part.T, bias=True)) for part in sides]
        whitened.append(list(vector_scores([(pair[0], pair[1])], fewest=1).values()))
    total, scores = np.array(sums).T
    z = (total - total.mean()) / total.std()
    bend = -stats.skew(total) / 6
    assert scores == pytest.approx(z + bend * (z**2 - 1) + bend**2 * z**3 / 3)
    assert np.cov(np.array(whitened).T, bias=True) == pytest.approx(np.eye(3), abs=1e-9)
    assert np.mean(whitened, axis=0) == pytest.approx(0, abs=1e-9)


def test_a_common_value_is_counted_and_the_others_are_ranked() -> None:
    rng = generator(4, "common")
    pool = np.where(rng.random(3000) < 0.8, 0.0, rng.normal(5, 1, 3000))
    window = np.where(rng.random(300) < 0.8, 0.0, rng.normal(6, 1, 300))
    found = number_scores([(numbers(window), numbers(pool))])
    assert abs(found["common"]) < 3
    assert found["location"] > 4


def test_successive_windows_are_standard_normal_and_independent_of_a_small_reference() -> None:
    rng = generator(5, "independent")
    found = []
    for _ in range(500):
        reference = rng.random(150)
        row = []
        for size in (60, 200, 80):
            window = rng.random(size)
            scores = number_scores([(numbers(window), numbers(reference))])
            classes = [np.bincount((3 * part**2).astype(int), minlength=3)[None] for part in (window, reference)]
            row += [*scores.values(), *category_scores(classes[0], classes[1], ["a", "b", "c"]).values()]
            reference = np.concatenate([reference, window])
        found.append(row)
    z = np.array(found)
    assert z.shape == (500, 15)
    between = np.corrcoef(z.T)[:5, 5:]
    assert np.abs(between).max() < 0.17
    assert np.abs(z.mean(axis=0)).max() < 0.17
    assert np.abs(z.var(axis=0) - 1).max() < 0.25
    # Without the pool, a reference that is off by chance would move every window alike.
    assert stats.kstest(z.sum(axis=1)[:500] / z.sum(axis=1).std(), "norm").pvalue > 1e-4


def test_rare_categories_are_put_together_and_the_rarest_come_first() -> None:
    rng = generator(6, "many")
    shares = 1.3 ** -np.arange(40.0)
    sides = [rng.multinomial(size, shares / shares.sum())[None] for size in (300, 3000)]
    found = category_scores(sides[0], sides[1], [f"c{i:02}" for i in range(40)])
    assert len(found) == 20
    assert "(other)" in found
    assert "c00" not in found
    moved = sides[0].copy()
    moved[0, 18] += 30
    assert category_scores(moved, sides[1], [f"c{i:02}" for i in range(40)])["c18"] > 4


def test_a_share_given_the_score_is_told_from_a_change_of_scores() -> None:
    draws = [Draw(40, 4 * place, 200) for place in range(1, 40)]
    expected = [round(item.drawn * item.marked / item.total) for item in draws]
    places = [float(place) for place in range(1, 40)]
    quiet = stratified_slope(draws, expected, places)
    assert abs(quiet["level"]) < 1
    assert abs(quiet["slope"]) < 1
    tilted = [
        min(item.drawn, found + (2 if place > 20 else -1))
        for item, found, place in zip(draws, expected, places, strict=True)
    ]
    assert stratified_slope(draws, tilted, places)["slope"] > 3


def test_a_quiet_window_is_quiet_and_each_drift_moves_its_stream() -> None:
    assert max(abs(z) for scores in window_scores(Drifts()).values() for z in scores.values()) < 4.2
    crp = window_scores(Drifts(subgroup=0.8))
    assert crp["crp", "B"]["location"] > 4 > abs(crp["crp", "A"]["location"])
    image = window_scores(Drifts(scanner=0.4))
    assert image["scanner", "All"]["Third"] > 6
    assert max(image["image:embedding", "All"].values()) > 4
    assert window_scores(Drifts(missing=0.2))["mask", "All"]["text"] > 6
    ill = window_scores(Drifts(prevalence=0.2))
    assert ill["label.finding", "All"]["positive"] > 5
    assert ill["score.finding", "All"]["location"] > 3
    assert window_scores(Drifts(noise=1.5))["performance.finding", "All"]["discrimination"] < -2.5
    concept = window_scores(Drifts(concept=0.6))
    assert concept["concept.finding", "All"]["level"] < -4
    assert abs(concept["estimated.finding", "All"]["errors"]) < 4


def test_a_change_of_case_mix_moves_case_mix_and_nothing_else() -> None:
    found = window_scores(Drifts(mix=0.5))
    assert abs(found.pop(("case_mix", "All"))["M"]) > 6
    assert max(abs(z) for scores in found.values() for z in scores.values()) < 4.2
    blind = replace(PROTOCOL, drift=replace(PROTOCOL.drift, case_mix=()))
    window = sketch_of(PROTOCOL, studies(generator(2, "many"), 4000, Drifts(mix=1.0)), FRAME)
    plain, within = (
        next(i for i in residuals.residuals_of(rules, window, BASE) if (i.stream, i.group) == ("age", "All"))
        for rules in (blind, PROTOCOL)
    )
    assert abs(plain.z[0]) > abs(within.z[0])


def test_shares_may_be_merged_in_any_order_and_a_residual_survives_json() -> None:
    tables = [studies(generator(7, str(part)), 150) for part in range(2)]
    parts = [sketch_of(PROTOCOL, table, FRAME) for table in tables]
    one, two = (residuals.residuals_of(PROTOCOL, a.merge(b), BASE) for a, b in (parts, parts[::-1]))
    assert one == two
    assert [Residual.from_dict(item.to_dict()) for item in one] == list(one)
    groups = {(item.attribute, item.group) for item in one}
    assert groups == {("", "All"), ("sex", "F"), ("sex", "M"), ("site", "A"), ("site", "B")}


def test_a_changed_unit_silences_its_stream_and_few_patients_all() -> None:
    window = sketch_of(PROTOCOL, studies(generator(8, "unit"), 200, Drifts(unit=1.0)), FRAME)
    told = Notice(kind=NoticeKind.UNIT, stream="crp", message="mg/dL")
    found = residuals.residuals_of(PROTOCOL, window, BASE, notices=[told])
    assert {item.z for item in found if item.stream == "crp"} == {()}
    assert all(item.z for item in found if item.stream == "age")
    small = sketch_of(PROTOCOL, studies(generator(8, "few"), 49), FRAME)
    assert residuals.residuals_of(PROTOCOL, small, BASE) == ()
    notice = residuals.few(PROTOCOL, small, BASE)
    assert notice is not None
    assert notice.kind is NoticeKind.FEW
    assert residuals.few(PROTOCOL, BASE, small).detail["of"] == "reference"
    assert residuals.few(PROTOCOL, window, BASE) is None
    with pytest.raises(AuscultError, match="frames"):
        residuals.residuals_of(PROTOCOL, replace(window, frame_digest="other"), BASE)


def test_the_benchmark_judges_quiet_years_and_planted_drifts() -> None:
    year = validity_drift._year(80, 250, 3, 0)
    assert set(year.alarmed) == {"e_process", "alpha_spending", "run_length", "no margin"}
    assert not any(year.alarmed.values())
    found = validity_drift._planted("missing", 1.0, 100, 0)
    assert found == validity_drift.Found(1, early=False, hit=True)
    measured = {"alarmed": 1, "share": 0.01, "low": 0.0, "high": 0.03}
    quiet = {"a setting": {"years": 100, **dict.fromkeys((*validity_drift.METHODS, "no margin"), measured)}}
    cell = {"kind": "unit", "size": 1.0, "patients": 100, "monitors": 1, "power": 0.5, "delay": 2.0, "hit@1": 0.5}
    others = {"another": {"years": 2, "any alarm": 1.0, "alarms a year": 3.5}}
    targets = {item.name: item for item in validity_drift._targets(quiet, [cell], others)}
    assert targets["quiet years with an alarm, e_process, a setting"].met
    assert not targets["power, unit, largest size"].met
    table = validity_drift._markdown({"quiet years": quiet, "planted drifts": [cell], "other libraries": others})
    assert "| a setting | 100 | 0.010 (0.000 to 0.030)" in table
    assert "| unit | 1.0 | 100 | 0.5 | 2.0 | 0.5 |" in table
    assert "| another | 2 | 1.00 | 3.5 |" in table
