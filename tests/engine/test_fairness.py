"""What a toy gets wrong: the lines of the evaluation design that a fairness suite answers, by their numbers."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from evaluation.engine import AuditSketch, Measurement, Outcome, assess, sketch_shard
from evaluation.engine.judging import CriterionTest, judge
from evaluation.engine.sketches.counts import CELLS, Cells
from evaluation.engine.suites.fairness import FairnessSuite
from evaluation.engine.suites.fairness.groups import LabelGroups
from evaluation.engine.suites.fairness.rates import RATES
from tests.engine.builders import cells_of, clustered, protocol, table


def find(found: object, metric: str, group: str, attribute: str = "sex", label: str = "x") -> Measurement:
    picked = [
        m for m in found.measurements  # type: ignore[attr-defined]
        if (m.metric, m.group, m.attribute, m.label) == (metric, group, attribute, label)
    ]  # fmt: skip
    assert len(picked) == 1, (metric, group, len(picked))
    return picked[0]


def audit(rows: pd.DataFrame, **changes: object):  # type: ignore[no-untyped-def]
    read = protocol(**changes)
    return assess(read, sketch_shard(read, table(rows)), cross_check=False)


def rows_of(totals: dict[str, tuple[int, int, int, int]]) -> pd.DataFrame:
    """One study per patient, from ``{group: (tp, fp, fn, tn)}``."""
    made = [
        (group, int(cell in {0, 2}), int(cell in {0, 1}))
        for group, counts in totals.items()
        for cell, count in enumerate(counts)
        for _ in range(count)
    ]
    frame = pd.DataFrame(made, columns=["sex", "y_x", "d_x"])
    frame["patient"] = np.arange(len(frame))
    return frame


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_1_equal_groups_never_fail_on_max_min_alone(margin: float) -> None:
    """Eight equal groups of 100 positives: the raw gap is large, false failures stay within alpha.

    Of 20,000 such rounds .036 fail at margin 0; the bound is what chance leaves of .05 in 120 rounds.
    """
    rng = np.random.default_rng(8)
    failed, gaps, rounds = 0, [], 120 if margin == 0 else 40
    read = protocol(
        criteria=[
            {"id": "g", "metric": "equal_opportunity_difference", "attribute": "sex", "direction": "at_most",
             "margin": margin}
        ]
    )  # fmt: skip
    for _ in range(rounds):
        hits = rng.binomial(100, 0.7, 8)
        cells = cells_of({f"g{i}": (int(hit), 0, 100 - int(hit), 0) for i, hit in enumerate(hits)})
        verdict = judge([criterion_test(read, cells)], alpha=read.alpha)[0]
        failed += verdict.outcome is Outcome.FAIL
        gaps.append((hits.max() - hits.min()) / 100)
    assert np.mean(gaps) > 0.1
    assert failed <= (binom.ppf(0.99, rounds, 0.05) if margin == 0 else 0)


def criterion_test(read: object, cells: Cells) -> CriterionTest:
    """The only criterion of a protocol, on given cells."""
    from evaluation.engine.suites import fairness

    part = LabelGroups(read, "x", "sex", cells)  # type: ignore[arg-type]
    parts = fairness._Parts(counts={("x", "sex"): part}, scores={})
    return fairness._test(read, read.criteria[0], "x", parts)  # type: ignore[attr-defined]


def test_2_a_group_without_positives_has_no_sensitivity_and_is_not_taken_for_0() -> None:
    found = audit(rows_of({"F": (50, 5, 10, 50), "M": (0, 5, 0, 100), "X": (50, 5, 10, 50)}))
    undefined = find(found, "tpr", "M")
    assert (undefined.value, undefined.n) == (None, 0)
    assert undefined.reason == "undefined: no studies with the finding"
    assert find(found, "equal_opportunity_difference", "F vs X").value == 0
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT
    assert "30" in found.verdicts[0].needed
    assert "group M" in found.verdicts[0].needed


def test_3_duplicating_every_study_leaves_intervals_and_verdict_unchanged() -> None:
    rows = clustered(np.random.default_rng(3), patients=600, tpr={"F": 0.6, "M": 0.8})
    once, twice = audit(rows), audit(pd.concat([rows, rows], ignore_index=True))
    compared = 0
    for one, two in zip(once.measurements, twice.measurements, strict=True):
        if one.metric != "support" and one.value is not None:
            assert (two.value, two.low, two.high) == pytest.approx((one.value, one.low, one.high), abs=1e-12)
            compared += 1
    assert compared > 20
    assert [v.outcome for v in once.verdicts] == [v.outcome for v in twice.verdicts]


def test_3_thirty_copies_of_one_patient_are_not_thirty_patients() -> None:
    rows = rows_of({"F": (20, 0, 5, 30), "M": (60, 0, 10, 60)})
    rows = pd.concat([rows] * 4, ignore_index=True)
    found = audit(rows)
    assert "not judged" in find(found, "tpr", "F").reason
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT


def test_4_the_threshold_comes_from_the_protocol_and_not_from_the_audited_labels() -> None:
    rng = np.random.default_rng(4)
    read = protocol(labels=[{"name": "x", "threshold": {"value": 0.3, "source": "tuning split"}}])
    rows = pd.DataFrame({"patient": range(400), "sex": rng.choice(["F", "M"], 400), "s_x": rng.random(400)})
    rates = []
    for seed in (0, 1):
        rows["y_x"] = np.random.default_rng(seed).permutation(np.arange(400) % 2)
        found = assess(read, sketch_shard(read, table(rows)), cross_check=False)
        rates.append(find(found, "selection_rate", "All", attribute="").value)
    assert rates[0] == rates[1] == (rows["s_x"] >= 0.3).mean()


def test_6_unknown_demographics_are_a_row_and_counts_sum_to_n() -> None:
    rows = clustered(np.random.default_rng(6), patients=500, tpr={"F": 0.7, "M": 0.7})
    rows["sex"] = rows["sex"].astype(object)
    rows.loc[rows["patient"] % 5 == 0, "sex"] = None
    found = audit(rows)
    supports = [find(found, "support", group).n for group in ("F", "M", "Unknown")]
    assert sum(supports) == len(rows)  # type: ignore[arg-type]
    assert find(found, "tpr", "Unknown").reason == "not judged: the group is not known"
    gap = next(m for m in found.measurements if m.metric == "equal_opportunity_difference")
    low, high = gap.detail["unknown_bounds"]
    assert low <= gap.value <= high
    assert "Unknown" not in found.verdicts[0].groups
    assert any("no known sex" in note for note in found.notes)


def test_6_the_bounds_of_unknown_studies_hold_whatever_groups_they_belong_to() -> None:
    truth = rows_of({"F": (60, 0, 40, 40), "M": (70, 0, 30, 40)})
    hidden = truth.assign(sex=truth["sex"].where(truth["patient"] % 4 != 0, None))
    gap = next(m for m in audit(hidden).measurements if m.metric == "equal_opportunity_difference")
    rng = np.random.default_rng(0)
    for _ in range(30):
        guess = hidden.copy()
        missing = guess["sex"].isna()
        guess.loc[missing, "sex"] = rng.choice(["F", "M"], int(missing.sum()))
        one = next(m for m in audit(guess).measurements if m.metric == "equal_opportunity_difference")
        assert gap.detail["unknown_bounds"][0] - 1e-12 <= one.value <= gap.detail["unknown_bounds"][1] + 1e-12


def test_7_a_group_of_one_class_does_not_crash_and_has_only_what_is_defined() -> None:
    found = audit(rows_of({"F": (60, 0, 0, 0), "M": (40, 10, 20, 40)}))
    assert find(found, "tpr", "F").value == 1.0
    assert find(found, "tpr", "F").low == pytest.approx(0.9398, abs=1e-4)
    assert find(found, "fpr", "F").value is None
    assert find(found, "npv", "F").reason == "undefined: no studies predicted negative"


def test_8_p_values_are_never_0_however_large_the_difference() -> None:
    found = audit(rows_of({"F": (5, 50, 50000, 50000), "M": (50000, 50, 5, 50000)}))
    assert found.verdicts[0].outcome is Outcome.FAIL
    assert 0 < found.verdicts[0].p_value < 1e-100


def test_26_any_number_of_shards_in_any_order_gives_identical_results() -> None:
    rows = clustered(np.random.default_rng(26), patients=400, tpr={"F": 0.6, "M": 0.8})
    rows["view"] = np.random.default_rng(1).choice(["AP", "PA"], len(rows))
    read = protocol(attributes=[{"name": "sex"}, {"name": "view"}], intersections=[["sex", "view"]])
    results = []
    for shards, seed in ((1, 0), (8, 1), (8, 2)):
        parts = [sketch_shard(read, table(part)) for _, part in rows.groupby(rows["patient"] % shards)]
        order = np.random.default_rng(seed).permutation(len(parts))
        merged = parts[order[0]]
        for place in order[1:]:
            merged = merged.merge(AuditSketch.from_bytes(parts[place].to_bytes()))
        results.append(json.dumps(assess(read, merged, cross_check=False).to_dict()))
    assert results[0] == results[1] == results[2]


def test_26_another_process_draws_the_same_numbers() -> None:
    code = "from evaluation.engine.statistics.seeds import generator as g; print(g(7, 'x', 'sex').integers(1 << 62))"
    told = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        told.add(ran.stdout)
    assert len(told) == 1


def test_27_every_number_carries_what_is_needed_to_trust_it() -> None:
    rows = clustered(np.random.default_rng(27), patients=300, tpr={"F": 0.6, "M": 0.8})
    for m in audit(rows).measurements:
        assert m.metric_version
        assert m.level == 0.95
        if m.value is None:
            assert m.reason
            continue
        assert m.n is not None
        assert m.patients is not None
        assert m.patients <= m.n or " vs " in m.group
        assert m.method
        assert (m.seed is not None) == ("bootstrap" in m.method)
        if m.metric not in {"support", "demographic_parity_ratio"}:
            assert m.low <= m.value <= m.high


def test_a_small_group_is_suppressed_with_all_its_counts() -> None:
    found = audit(rows_of({"F": (50, 5, 10, 50), "M": (50, 5, 10, 50), "X": (3, 1, 3, 3)}))
    for m in (m for m in found.measurements if m.group == "X"):
        assert (m.value, m.low, m.high, m.n, m.patients, m.detail) == (None, None, None, None, None, {})
        assert m.reason == "suppressed: fewer than 11 patients"
    assert "10" not in found.verdicts[0].needed
    assert "fewer than 11" in found.verdicts[0].needed
    assert found.verdicts[0].outcome is Outcome.INSUFFICIENT


def test_a_small_denominator_in_a_large_group_is_suppressed_too() -> None:
    found = audit(rows_of({"F": (4, 5, 3, 100), "M": (50, 5, 10, 50)}))
    assert find(found, "tpr", "F").reason == "suppressed: fewer than 11 patients with the finding"
    assert find(found, "tpr", "F").n is None
    assert find(found, "prevalence", "F").value is None
    assert "positives" not in find(found, "support", "F").detail
    assert find(found, "fpr", "F").value == pytest.approx(5 / 105)


def test_rates_are_the_ratios_of_their_cells() -> None:
    totals = dict(zip(CELLS, (40, 7, 23, 81), strict=True))
    part = LabelGroups(protocol(), "x", "sex", cells_of({"F": (40, 7, 23, 81)}))
    for metric, rule in RATES.items():
        above = sum(totals[name] for name in rule.numerator)
        below = sum(totals[name] for name in rule.denominator)
        assert part.rate(metric, "F").value == above / below


def test_the_suite_is_what_the_registry_gives() -> None:
    from evaluation.engine.registry import SUITES

    assert isinstance(SUITES.get("fairness"), FairnessSuite)
