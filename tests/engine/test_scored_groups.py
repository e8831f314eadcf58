"""Ranking, calibration and utility by group: variances against DeLong and Obuchowski, verdicts against planted bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.engine import Assessment, Outcome, assess, sketch_shard
from evaluation.engine.protocol import Protocol
from evaluation.engine.sketches.counts import OVERALL
from evaluation.engine.sketches.scores import BINS, bin_of
from evaluation.engine.statistics.auroc import delong
from evaluation.engine.statistics.intervals import z_of
from evaluation.engine.statistics.scored import Scores
from evaluation.engine.statistics.simultaneous import normal_max_t
from evaluation.engine.suites.fairness.score_metrics import SCORED
from evaluation.engine.suites.fairness.scored import ScoredGroups
from tests.engine.builders import protocol, table
from tests.engine.test_scores import simulated

LABELS = [{"name": "x", "threshold": {"value": 0.3, "source": "test"}}]


def rules(metric: str, margin: float, **changes: Any) -> Protocol:
    direction = changes.pop("direction", "at_most")
    criterion = {"id": "c", "metric": metric, "attribute": changes.pop("attribute", "sex"), "direction": direction}
    return protocol(labels=changes.pop("labels", LABELS), criteria=[criterion | {"margin": margin}], **changes)


def judged(read: Protocol, rows: pd.DataFrame) -> Assessment:
    return assess(read, sketch_shard(read, table(rows)), cross_check=False)


def groups_of(rows: pd.DataFrame, by: str = OVERALL) -> ScoredGroups:
    read = rules("auroc", 0.5, direction="at_least")
    cells = sketch_shard(read, table(rows)).parts["fairness"].scores.cells["x", by]
    return ScoredGroups(read, "x", by, cells)


def test_the_variance_of_auroc_is_delongs_with_one_study_per_patient() -> None:
    rows = simulated(np.random.default_rng(0), 2500).drop_duplicates("patient")
    oracle = delong(rows["s_x"], rows["y_x"])
    assert groups_of(rows).standard_error("auroc", "All") == pytest.approx(np.sqrt(oracle.variance), rel=2e-3)


def test_the_variance_of_auroc_is_obuchowskis_with_several_studies_per_patient() -> None:
    rows = simulated(np.random.default_rng(1), 1500)
    clusters = rows["patient"].astype(int)
    oracle, naive = delong(rows["s_x"], rows["y_x"], clusters=clusters), delong(rows["s_x"], rows["y_x"])
    found = groups_of(rows).standard_error("auroc", "All")
    assert found == pytest.approx(np.sqrt(oracle.variance), rel=0.01)
    assert found > 1.05 * np.sqrt(naive.variance)


def test_duplicating_every_study_leaves_the_intervals_of_scores_unchanged() -> None:
    rows = simulated(np.random.default_rng(2), 600)
    twice = pd.concat([rows, rows], ignore_index=True)
    once, again = groups_of(rows), groups_of(twice)
    for metric in ("auroc", "auprc", "brier", "observed_expected", "calibration_intercept", "calibration_slope"):
        one, two = (part.interval(metric, "All")[0](z_of(0.05)) for part in (once, again))
        assert two == pytest.approx(one, rel=0.01, abs=2e-3)


def test_standard_errors_equal_a_bootstrap_of_patients() -> None:
    """Patients are drawn with replacement as whole numbers of times; the statistic is computed anew each time."""
    rows = simulated(np.random.default_rng(3), 500)
    groups, rng = groups_of(rows), np.random.default_rng(4)
    owner, place = rows["patient"].astype(int).to_numpy(), bin_of(rows["s_x"].to_numpy())
    cell = rows["y_x"].to_numpy() * BINS + place
    values: dict[str, list[float]] = {metric: [] for metric in SCORED}
    for _ in range(250):
        times = rng.multinomial(500, np.full(500, 1 / 500))[owner]
        counts = np.bincount(cell, weights=times, minlength=2 * BINS).astype(np.int64).reshape(2, BINS)
        drawn = Scores(counts=counts, means=groups.scores("All").means)
        for metric, rule in SCORED.items():
            value = rule.of(drawn).value
            values[metric].append(np.log(value) if rule.scale == "log" else value)
    for metric, found in values.items():
        assert groups.standard_error(metric, "All") == pytest.approx(np.std(found), rel=0.17), metric


def planted(bias: float, seed: int = 5, patients: int = 2500) -> pd.DataFrame:
    """Women with the finding get lower scores by ``bias`` on the logit."""
    rows = simulated(np.random.default_rng(seed), patients)
    logit = np.log(rows["s_x"] / (1 - rows["s_x"]))
    logit -= bias * ((rows["sex"] == "F") & (rows["y_x"] == 1))
    return rows.assign(s_x=1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize("metric", ["auroc_difference", "auprc_difference", "xauc_difference"])
def test_a_planted_bias_in_ranking_fails_and_equal_groups_pass(metric: str) -> None:
    verdict = judged(rules(metric, 0.05), planted(1.0)).verdicts[0]
    assert verdict.outcome is Outcome.FAIL
    assert verdict.groups == ("F", "M")
    assert verdict.value is not None and verdict.value < -0.05
    assert "female patients than in male patients" in verdict.statement
    assert judged(rules(metric, 0.1), planted(0.0)).verdicts[0].outcome is Outcome.PASS


def test_calibration_by_group_is_judged_within_a_factor() -> None:
    rows = planted(0.0)
    rows.loc[rows["sex"] == "F", "s_x"] *= 0.5
    verdict = judged(rules("observed_expected", 0.3), rows).verdicts[0]
    assert verdict.outcome is Outcome.FAIL
    assert verdict.groups == ("F",)
    assert verdict.low is not None and verdict.low > 1.3
    assert "accepted .77 to 1.30" in verdict.statement


def test_an_interval_that_includes_the_margin_is_insufficient_and_says_what_would_do() -> None:
    verdict = judged(rules("auroc_difference", 0.06), planted(0.0, patients=300)).verdicts[0]
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "more studies with a score" in verdict.needed


def test_decisions_without_scores_are_insufficient_evidence_for_what_needs_scores() -> None:
    rows = planted(0.0).assign(d_x=lambda frame: (frame["s_x"] > 0.3).astype(int)).drop(columns="s_x")
    found = judged(rules("auroc_difference", 0.05, labels=[{"name": "x"}]), rows)
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT
    assert "decisions and no scores" in found.verdicts[0].statement
    assert not [m for m in found.measurements if m.metric == "auroc"]
    assert [m for m in found.measurements if m.metric == "tpr" and m.value is not None]


def test_7_a_one_class_group_has_no_auroc_and_a_reason() -> None:
    rows = planted(0.0, patients=400)
    rows.loc[rows["sex"] == "F", "y_x"] = 0
    found = judged(rules("auroc_difference", 0.05), rows)
    women = {m.metric: m for m in found.measurements if m.attribute == "sex" and m.group == "F"}
    for metric in ("auroc", "auprc", "calibration_slope", "calibration_intercept", "observed_expected"):
        assert women[metric].value is None
        assert women[metric].reason.startswith("undefined")
    assert women["brier"].value is not None
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT
    assert "no patients with the finding" in found.verdicts[0].statement


@pytest.mark.parametrize("certain", [0.0, 1.0, 0.4])
def test_scores_without_spread_have_no_interval_of_no_width_and_no_line_that_means_nothing(certain: float) -> None:
    rows = planted(0.0, patients=400)
    rows["s_x"] = np.where(rows["y_x"] == 1, 1.0, 0.0) if certain == 1.0 else certain
    found = {m.metric: m for m in judged(rules("brier", 0.5), rows).measurements if m.group == "All"}
    for metric in ("brier", "net_benefit", "auroc"):
        assert found[metric].low < found[metric].high
    assert found["brier"].low >= 0
    assert found["calibration_slope"].value is None
    if certain in (0.0, 1.0):
        assert found["calibration_intercept"].value is None
        assert "most scores are 0 or 1" in found["calibration_intercept"].reason
    else:
        assert found["calibration_intercept"].value is not None


def test_small_groups_are_suppressed_and_small_numbers_of_events_are_not_judged() -> None:
    rows = planted(0.0, patients=300)
    few = rows["patient"].astype(int) < 8
    rows.loc[few, "sex"] = "X"
    read = rules("calibration_slope", 0.3)
    found = judged(read, rows)
    small = [m for m in found.measurements if m.attribute == "sex" and m.group == "X"]
    assert small and all(m.value is None and "suppressed" in m.reason for m in small)
    other = next(m for m in found.measurements if m.metric == "calibration_slope" and m.group == "F")
    assert other.value is not None or "undefined" in other.reason
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT


def test_what_is_suppressed_is_not_told_by_a_verdict_either() -> None:
    rows = planted(0.0, patients=300)
    sick = rows[(rows["sex"] == "F") & (rows["y_x"] == 1)]["patient"].unique()[:5]
    rows.loc[(rows["sex"] == "F") & ~rows["patient"].isin(sick), "y_x"] = 0
    found = judged(rules("brier", 0.9), rows)
    women = next(m for m in found.measurements if m.metric == "brier" and m.group == "F")
    assert women.value is None and "suppressed" in women.reason
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT
    assert "F" not in found.verdicts[0].groups
    assert "group F has fewer than 11" in found.verdicts[0].statement


def test_calibration_needs_a_hundred_studies_with_the_finding_and_without() -> None:
    rows = planted(0.0, patients=180)
    found = judged(rules("observed_expected", 0.9), rows)
    women = next(m for m in found.measurements if m.metric == "observed_expected" and m.group == "F")
    assert women.value is not None
    assert women.reason == "not judged: below 100 studies with and without the finding"
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT
    loose = rules("observed_expected", 0.9, minimum={"calibration_events": 20})
    assert judged(loose, rows).verdicts[0].outcome is Outcome.PASS


def test_unknown_is_measured_and_never_judged() -> None:
    rows = planted(0.0, patients=900)
    rows.loc[np.arange(len(rows)) % 5 == 0, "sex"] = None
    found = judged(rules("auroc", 0.5, direction="at_least"), rows)
    unknown = next(m for m in found.measurements if m.metric == "auroc" and m.group == "Unknown")
    assert unknown.value is not None and unknown.reason == "not judged: the group is not known"
    assert "Unknown" not in found.verdicts[0].groups


def test_6_the_bounds_of_auroc_hold_whatever_groups_the_unknown_studies_belong_to() -> None:
    rows = planted(0.6, patients=400)
    truth = rows["sex"].copy()
    rows.loc[np.random.default_rng(0).random(len(rows)) < 0.1, "sex"] = None
    read = rules("auroc_difference", 0.05)
    gap = next(m for m in judged(read, rows).measurements if m.metric == "auroc_difference")
    least, most = gap.detail["unknown_bounds"]
    assert least <= gap.value <= most
    for filled in (truth, truth.where(rows["sex"].notna(), "F"), truth.where(rows["sex"].notna(), "M")):
        other = next(m for m in judged(read, rows.assign(sex=filled)).measurements if m.metric == "auroc_difference")
        assert least <= other.value <= most
    assert "unknown_bounds" not in other.detail


def test_net_benefit_needs_a_threshold_and_its_curve_agrees_with_the_decisions() -> None:
    rows = planted(0.0)
    found = judged(rules("net_benefit", 0.0, direction="at_least"), rows)
    item = next(m for m in found.measurements if m.metric == "net_benefit" and m.group == "M")
    men = rows[rows["sex"] == "M"]
    called, sick = men["s_x"] >= 0.3, men["y_x"] == 1
    assert item.value == pytest.approx((called & sick).mean() - (called & ~sick).mean() * 0.3 / 0.7, abs=1e-9)
    point = next(entry for entry in item.detail["curve"] if entry["threshold"] == 0.3)
    tpr = next(m for m in found.measurements if m.metric == "tpr" and m.group == "M")
    assert point["tpr"] == pytest.approx(tpr.value, abs=1e-5)
    assert found.verdicts[0].outcome is Outcome.PASS
    bare = rules("net_benefit", 0.0, direction="at_least", labels=[{"name": "x"}])
    decided = rows.assign(d_x=(rows["s_x"] > 0.3).astype(int))
    nothing = judged(bare, decided)
    assert "no threshold" in next(m for m in nothing.measurements if m.metric == "net_benefit").reason
    assert nothing.verdicts[0].outcome is Outcome.INSUFFICIENT
    named = rules("net_benefit", 0.0, direction="at_least", labels=[{"name": "x"}], utility={"thresholds": [0.25]})
    assert judged(named, decided).verdicts[0].outcome is Outcome.PASS


def test_26_shards_in_any_order_give_identical_measurements_of_scores() -> None:
    rows = planted(0.5, patients=400)
    read = rules("auroc_difference", 0.05)
    whole = assess(read, sketch_shard(read, table(rows)), cross_check=False).to_dict()
    parts = [sketch_shard(read, table(rows[rows["patient"].astype(int) % 8 == k])) for k in (5, 2, 7, 0, 1, 6, 3, 4)]
    merged = parts[0]
    for part in parts[1:]:
        merged = part.merge(merged)
    assert assess(read, merged, cross_check=False).to_dict() == whole


def test_27_every_number_carries_what_is_needed_to_trust_it() -> None:
    rows = planted(0.5, patients=500)
    rows.loc[np.arange(len(rows)) % 9 == 0, "sex"] = None
    found = judged(rules("auroc_difference", 0.05), rows)
    told = [m for m in found.measurements if m.value is not None]
    assert {"auroc", "auprc", "brier", "ece", "net_benefit", "xauc", "auroc_difference"} <= {m.metric for m in told}
    for m in found.measurements:
        assert m.metric_version and m.level == 0.95
        assert m.value is not None or m.reason
    for m in told:
        assert m.n and m.patients and m.method
        if m.metric != "support":
            assert m.low is not None and m.high is not None
            assert m.low <= m.value <= m.high
        assert (m.seed is not None) == any(word in m.method for word in ("bootstrap", "draws", "max-|t|"))


def test_the_simultaneous_critical_value_lies_between_one_and_bonferroni() -> None:
    rng = np.random.default_rng(0)
    independent, equal = np.eye(3), np.ones((3, 3))
    assert normal_max_t(independent, 0.05, rng) == pytest.approx(2.388, abs=0.03)
    assert normal_max_t(equal, 0.05, rng) == pytest.approx(z_of(0.05), abs=0.03)
    assert normal_max_t(np.zeros((2, 2)), 0.05, rng) == z_of(0.05)


def test_only_the_metrics_that_are_asked_for_are_told() -> None:
    found = judged(rules("auroc_difference", 0.08, metrics=["auroc", "tpr"]), planted(0.0, patients=400))
    assert {m.metric for m in found.measurements} == {"support", "auroc", "auroc_difference", "tpr"}
