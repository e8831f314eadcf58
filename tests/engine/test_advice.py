"""Advice on a gap that failed: what is told is what fairlearn itself measures on the patients that were held out."""

from __future__ import annotations

import json
import zlib
from functools import cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.engine import Outcome, ShardTable, Verdict
from evaluation.engine.sketches.scores import BINS, bin_of
from evaluation.engine.suites.fairness import advice as module
from evaluation.engine.suites.fairness import mitigation
from evaluation.engine.suites.fairness.advice import METHODS, NONE, advise
from evaluation.engine.suites.fairness.sketch import FairnessSketch
from tests.engine.builders import protocol

RULES = protocol(labels=[{"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}])
GAP = "equal_opportunity_difference"


def verdict(metric: str = GAP, **changes: Any) -> Verdict:
    facts: dict[str, Any] = {
        "criterion": "c", "metric": metric, "label": "x", "attribute": "sex", "groups": ("F", "M"),
        "outcome": Outcome.FAIL, "primary": True, "direction": "at_most", "margin": 0.1, "value": 0.3, "low": 0.2,
        "high": 0.4, "n": 1, "patients": 1, "p_value": 0.0, "p_adjusted": 0.0, "statement": "",
    }  # fmt: skip
    return Verdict(**facts | changes)


def studies(
    *, groups: tuple[str, ...] = ("F", "M"), patients: int = 2500, lost: float = 1.0, prevalence: float = 0.4,
    each: int = 3,
) -> ShardTable:  # fmt: skip
    """Studies in which the scores of findings are lower in the first group: it is missed more often."""
    rng = np.random.default_rng(3)
    owner = np.repeat(np.arange(patients), rng.integers(1, each + 1, patients))
    sex = rng.choice([*groups, "Unknown"], patients, p=[0.98 / len(groups)] * len(groups) + [0.02])[owner]
    y = (rng.random(patients) < prevalence)[owner].astype(np.int8)
    logit = rng.normal(size=len(owner)) + 2.2 * y - 1.2 - lost * (sex == groups[0]) * y
    return ShardTable(
        patient_ids=np.array([f"p{i}" for i in owner], dtype=object),
        study_ids=np.array([f"s{i}" for i in range(len(owner))], dtype=object),
        attributes={"sex": sex.astype(object)},
        labels={"x": y},
        scores={"x": 1 / (1 + np.exp(-logit))},
    )


@cache
def planted() -> tuple[ShardTable, FairnessSketch]:
    table = studies()
    return table, FairnessSketch.from_table(RULES, table)


def halves(table: ShardTable) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Rows to fit on, and rows that are held out; those of unknown sex in neither."""
    half = np.array([zlib.crc32(str(name).encode()) & 1 for name in table.patient_ids])
    known = table.attributes["sex"] != "Unknown"
    return known & (half == 0), known & (half == 1)


def rows_of(table: ShardTable, rows: npt.NDArray[np.bool_]) -> tuple[Any, Any, Any]:
    """Reference, score as its bin's middle, and group."""
    scores = mitigation.bin_scores()[bin_of(table.scores["x"][rows])]
    return table.labels["x"][rows].astype(int), scores, table.attributes["sex"][rows].astype(str)


def fairlearn_gap(truth: Any, chance: Any, group: Any, metric: str) -> float:
    from fairlearn.metrics import MetricFrame

    def mean_of(wanted: Any) -> Any:
        return lambda y_true, y_pred: float(y_pred[wanted(y_true)].mean())

    rates = {
        "tpr": mean_of(lambda y: y == 1),
        "fpr": mean_of(lambda y: y == 0),
        "selection": mean_of(lambda y: y >= 0),
    }
    used = {GAP: ["tpr"], "fpr_difference": ["fpr"], "demographic_parity_difference": ["selection"]}
    frame = MetricFrame(
        metrics={name: rates[name] for name in used.get(metric, ["tpr", "fpr"])},
        y_true=np.asarray(truth), y_pred=np.asarray(chance, dtype=float), sensitive_features=group,
    )  # fmt: skip
    return float(frame.difference().max())


@pytest.mark.parametrize("metric", sorted(mitigation.OPTIMISER_CONSTRAINTS))
def test_before_and_after_are_what_fairlearn_measures_on_the_held_out_rows(metric: str) -> None:
    from fairlearn.postprocessing import ThresholdOptimizer

    table, sketch = planted()
    fit, held_out = halves(table)
    truth, score, group = rows_of(table, fit)
    optimiser = ThresholdOptimizer(
        estimator=mitigation._as_given(), constraints=mitigation.OPTIMISER_CONSTRAINTS[metric],
        objective="balanced_accuracy_score", prefit=True, predict_method="predict_proba",
    )  # fmt: skip
    optimiser.fit(score[:, None], truth, sensitive_features=group)
    truth, score, group = rows_of(table, held_out)
    chance = optimiser._pmf_predict(score[:, None], sensitive_features=group)[:, 1]
    told = advise(RULES, sketch, [verdict(metric)])[0]
    assert told.method == "ThresholdOptimizer"
    audited = table.scores["x"][held_out] >= 0.5
    assert told.before == pytest.approx(fairlearn_gap(truth, audited, group, metric), abs=1e-4)
    assert told.after == pytest.approx(fairlearn_gap(truth, chance, group, metric), abs=1e-4)
    assert told.costs["tpr"] == pytest.approx((audited[truth == 1].mean(), chance[truth == 1].mean()), abs=1e-4)
    assert told.costs["fpr"] == pytest.approx((audited[truth == 0].mean(), chance[truth == 0].mean()), abs=1e-4)
    assert told.costs["selection_rate"] == pytest.approx((audited.mean(), chance.mean()), abs=1e-4)
    assert (told.n_fit, told.n_held_out) == (fit.sum(), held_out.sum())


def test_a_planted_gap_shrinks_on_patients_who_were_held_out() -> None:
    found = {item.method: item for item in advise(RULES, planted()[1], [verdict()])}
    assert list(found) == [method.name for method in METHODS]
    for item in found.values():
        assert item.before is not None and item.before > 0.25
        assert item.after is not None and item.after < item.before
        assert item.reason == ""
        assert "held-out half" in item.caution and "MEDFAIR" in item.caution and "legal review" in item.caution
        json.dumps(item.detail, allow_nan=False)
    assert found["ThresholdOptimizer"].after < 0.1
    assert found["ExponentiatedGradient"].after < 0.1
    assert set(found["ThresholdOptimizer"].detail["thresholds"]) == {"F", "M"}
    assert "by lot" in found["ThresholdOptimizer"].caution
    assert "by lot" not in found["recalibration by group"].caution


def test_the_chances_of_the_reduction_are_those_of_its_model_on_rows() -> None:
    """The rule on the histogram is evaluated on the rows that it stands for, by fairlearn's MetricFrame."""
    table, sketch = planted()
    cells = sketch.scores.cells["x", "sex"]
    used = [cells.groups.index(name) for name in ("F", "M")]
    tp, fp, fn, tn = cells.decided[0, used].sum(axis=0)
    task = mitigation.Task(
        metric=GAP, groups=("F", "M"), fit=cells.hist[0, used], selected=(tp + fp) / (tp + fp + fn + tn), margin=0.1
    )
    _, held_out = halves(table)
    truth, _, group = rows_of(table, held_out)
    bins = bin_of(table.scores["x"][held_out])
    for method, told in zip(METHODS, advise(RULES, sketch, [verdict()]), strict=True):
        chance = method.fit(task).chances[(group == "M").astype(int), bins]
        assert told.after == pytest.approx(fairlearn_gap(truth, chance, group, GAP), abs=1e-4)


def test_the_advice_does_not_depend_on_the_order_of_merging() -> None:
    table, whole = planted()
    part = np.array([zlib.crc32(b"x" + str(name).encode()) % 3 for name in table.patient_ids])
    parts = [
        FairnessSketch.from_table(
            RULES,
            ShardTable(
                patient_ids=table.patient_ids[part == i], study_ids=table.study_ids[part == i],
                attributes={"sex": table.attributes["sex"][part == i]},
                labels={"x": table.labels["x"][part == i]}, scores={"x": table.scores["x"][part == i]},
            ),
        )
        for i in range(3)
    ]  # fmt: skip
    expected = advise(RULES, whole, [verdict()])
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = reduce(FairnessSketch.merge, [parts[i] for i in order])
        assert advise(RULES, FairnessSketch.from_bytes(merged.to_bytes()), [verdict()]) == expected


def test_recalibration_is_a_logistic_regression_in_each_group() -> None:
    from sklearn.linear_model import LogisticRegression

    cells = planted()[1].scores.cells["x", "sex"]
    counts = cells.hist[0, cells.groups.index("F")]
    model = LogisticRegression(C=1e9, solver="newton-cholesky", tol=1e-10)
    design = np.tile(mitigation._logits(), 2)[:, None]
    model.fit(design, np.repeat([0, 1], BINS), sample_weight=counts.reshape(-1))
    intercept, slope = mitigation._platt(counts)
    assert intercept == pytest.approx(float(model.intercept_[0]), abs=5e-3)
    assert slope == pytest.approx(float(model.coef_[0, 0]), abs=5e-3)


def test_scores_that_separate_perfectly_are_recalibrated_to_finite_lines() -> None:
    counts = np.zeros((2, BINS), dtype=np.int64)
    counts[0, 100], counts[1, 1900] = 500, 500
    assert np.isfinite(mitigation._platt(counts)).all()


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30), st.integers(0, 5_000))
def test_seats_are_dealt_in_proportion(weights: list[int], seats: int) -> None:
    given_weights = np.array(weights, dtype=np.int64)
    dealt = mitigation._allot(given_weights, seats)
    total = int(given_weights.sum())
    assert dealt.sum() == min(total, seats)
    assert (dealt <= given_weights).all()
    if total > seats:
        assert (np.abs(dealt - given_weights * seats / total) < 1).all()


def test_a_large_histogram_is_written_out_as_few_rows_and_small_groups_keep_theirs() -> None:
    counts = np.zeros((2, 2, BINS), dtype=np.int64)
    counts[0, 0, :1000], counts[0, 1, 1000:2000] = 900, 100
    counts[1, 0, 10], counts[1, 1, 20] = 300, 40
    group, outcome, bins = mitigation.write_out(counts, 20_000, 500, by_outcome=True)
    assert len(bins) < 21_000
    assert ((group == 1) & (outcome == 1)).sum() == 40
    assert (bins[(group == 1) & (outcome == 1)] == 20).all()
    share = outcome[group == 0].mean()
    assert share == pytest.approx(0.1, abs=1e-3)
    group, outcome, _ = mitigation.write_out(counts, 20_000, 500, by_outcome=False)
    assert outcome[group == 1].mean() == pytest.approx(40 / 340)


def test_why_there_is_no_advice_is_told() -> None:
    table, sketch = planted()
    few = FairnessSketch.from_table(RULES, studies(patients=190, each=1))
    many = FairnessSketch.from_table(RULES, studies(groups=tuple("ABCDEFGHIJKLM"), patients=4000))
    decided = ShardTable(
        patient_ids=table.patient_ids, study_ids=table.study_ids, attributes=table.attributes, labels=table.labels,
        decisions={"x": (table.scores["x"] >= 0.5).astype(np.int8)},
    )  # fmt: skip
    plain = FairnessSketch.from_table(protocol(), decided)
    for rules, used, item, said in (
        (RULES, few, verdict(), "fewer than 30 studies with the finding in one half"),
        (RULES, many, verdict(), "13 groups; at most 12"),
        (protocol(), plain, verdict(), "no scores for x"),
        (RULES, sketch, verdict("predictive_parity_difference"), "not this"),
    ):
        (told,) = advise(rules, used, [item])
        assert said in told.reason
        assert (told.method, told.before, told.after, told.costs) == (NONE, None, None, {})


def test_the_composite_refers_to_its_findings() -> None:
    under = protocol(
        labels=[{"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}], underdiagnosis={"findings": ["x"]}
    )
    sketch = FairnessSketch.from_table(under, planted()[0])
    (told,) = advise(under, sketch, [verdict("underdiagnosis_difference", label="any finding")])
    assert "see the sensitivity of its findings" in told.reason


def test_what_fairlearn_cannot_fit_is_told_and_the_others_go_on() -> None:
    """All studies of one group have the finding: fairlearn's optimiser refuses such a group."""
    table = studies()
    only = (table.attributes["sex"] == "F") & (table.labels["x"] == 0)
    kept = ~only
    reduced = ShardTable(
        patient_ids=table.patient_ids[kept], study_ids=table.study_ids[kept],
        attributes={"sex": table.attributes["sex"][kept]}, labels={"x": table.labels["x"][kept]},
        scores={"x": table.scores["x"][kept]},
    )  # fmt: skip
    first, *others = advise(RULES, FairnessSketch.from_table(RULES, reduced), [verdict()])
    assert first.reason.startswith("it could not be fitted: ")
    assert first.after is None and first.before is not None
    assert [item.method for item in others] == [method.name for method in METHODS[1:]]
    assert others[-1].after is not None


def test_what_passes_gets_no_advice_and_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    _, sketch = planted()
    assert advise(RULES, sketch, [verdict(outcome=Outcome.PASS), verdict("tpr", attribute="sex")]) == ()
    monkeypatch.setattr(module, "METHODS", METHODS[2:])
    failed = [verdict(criterion=f"c{i}", primary=i > 3) for i in range(9)]
    told = advise(RULES, sketch, failed)
    assert [item.criterion for item in told] == ["c4", "c5", "c6", "c7", "c8", "c0", "c1"]
    assert told[-1].reason.startswith("6 failed criteria are worked on; 3 more were not: c1 (x), c2 (x), c3 (x)")
