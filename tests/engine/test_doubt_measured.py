"""Uncertainty as it is measured: whether it foretells errors, with planted models that know or do not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from core.errors import AuscultError
from evaluation.engine import ShardTable
from evaluation.engine.asking import Utterances
from evaluation.engine.doubt.samples import units_drawn
from evaluation.engine.judging import judge
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import Measurement, Outcome
from evaluation.engine.registry import SUITES, known_metrics
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.statistics.auroc import delong
from evaluation.engine.suites.hallucination.uncertainty import (
    METRICS,
    UncertaintySketch,
    measure_uncertainty,
    uncertainty_notes,
    uncertainty_tests,
)
from tests.engine.doubt_builders import PERTURBATION, SAMPLING, ask, asking_protocol, cohort, reads_the_image

RULES = asking_protocol(sampling=SAMPLING)
OTHER = {"Yes.": "No.", "No.": "Yes."}


def model(rng: np.random.Generator, *, knows: bool, errors: float = 0.25):
    """Wrong on some questions. Where it knows, its samples waver on just these; else on as many others."""
    wrong: dict[tuple[int, str], tuple[bool, bool]] = {}

    def answer(row):
        key = (row["study"], row["question"])
        if key not in wrong:
            fails = bool(rng.random() < errors)
            wrong[key] = (fails, fails if knows else bool(rng.random() < errors))
        fails, wavers = wrong[key]
        said = OTHER[reads_the_image(row)] if fails else reads_the_image(row)
        return OTHER[said] if wavers and row["turn"] >= 3 else said

    return answer


def sketch(table: ShardTable, rules: Protocol = RULES) -> UncertaintySketch:
    return UncertaintySketch.from_table(rules, table, all_groupings(rules, table))


def measured(table: ShardTable, rules: Protocol = RULES) -> dict[tuple[str, str], Measurement]:
    found = list(measure_uncertainty(rules, sketch(table, rules)))
    assert len({(item.metric, item.attribute, item.group) for item in found}) == len(found), "each is told once"
    return {(item.metric, item.group): item for item in found}


def criterion(metric: str, direction: str, margin: float, attribute: str = "") -> Criterion:
    return Criterion(
        id="c", metric=metric, labels=("*",), attribute=attribute, direction=direction, margin=margin, primary=True,
        title="",
    )  # fmt: skip


def test_entropy_that_foretells_every_error_has_an_auroc_of_1():
    table = ask(RULES, cohort(np.random.default_rng(1), patients=200), model(np.random.default_rng(2), knows=True))
    found = measured(table)
    area, aurc = found["entropy_auroc", "All"], found["aurc", "All"]
    assert area.value == 1.0 and area.low > 0.8
    assert found["consistency_auroc", "All"].value == 1.0
    assert aurc.value == pytest.approx(aurc.detail["perfect"]) and aurc.detail["excess"] == pytest.approx(0, abs=1e-12)
    assert found["risk_at_50", "All"].value == 0 and 0 < found["risk_at_50", "All"].high < 0.1
    threshold = found["abstention_threshold", "All"]
    assert threshold.value == 0.0 and found["risk_at_threshold", "All"].value == 0
    assert found["coverage_at_target", "All"].value == pytest.approx(1 - found["sampled_error_rate", "All"].value)


def test_entropy_that_knows_nothing_has_an_auroc_of_a_half():
    table = ask(RULES, cohort(np.random.default_rng(3), patients=300), model(np.random.default_rng(4), knows=False))
    found = measured(table)
    area, aurc = found["entropy_auroc", "All"], found["aurc", "All"]
    assert area.low < 0.5 < area.high and area.high - area.low < 0.15
    assert aurc.value == pytest.approx(aurc.detail["random"], abs=0.05) and aurc.detail["excess"] > 0.1
    threshold = found["abstention_threshold", "All"]
    assert threshold.value is None and "at no threshold" in threshold.reason
    assert all(item["bound"] > 0.1 for item in threshold.detail["tried"])
    assert found["coverage_at_target", "All"].value is None and found["coverage_at_target", "All"].reason


def test_values_and_intervals_are_scikit_learns_and_delongs_clustered_by_patient():
    """Several studies of a patient: the area is exact, its interval that of patients as the units."""
    rng = np.random.default_rng(5)
    table = cohort(rng, patients=150, most=4)
    kind = dict(zip(np.unique(table.patient_ids), rng.choice(["surely wrong", "unsure", "sure"], 150), strict=True))

    def answer(row):
        who, said = kind[table.patient_ids[row["study"]]], reads_the_image(row)
        chance = {"surely wrong": 0.9, "unsure": 0.35, "sure": 0.04}[who]
        return OTHER[said] if rng.random() < chance else said

    table = ask(RULES, table, answer)
    units = [unit for unit in units_drawn(RULES, table) if unit.error is not None]
    errors, scores = np.array([unit.error for unit in units]), np.array([unit.entropy for unit in units])
    patients = np.unique(table.patient_ids[[unit.study for unit in units]], return_inverse=True)[1]
    found = measured(table)
    area, exact = found["entropy_auroc", "All"], delong(scores, errors, clusters=patients)
    assert area.value == pytest.approx(roc_auc_score(errors, scores), abs=5e-5)
    low, high = exact.interval(0.05)
    assert area.low == pytest.approx(low, abs=0.01) and area.high == pytest.approx(high, abs=0.01)
    alone = delong(scores, errors).interval(0.05)
    assert high - low > 1.05 * (alone[1] - alone[0]), "the texts of a patient are alike here"
    inconsistent = [1 - unit.agreeing / unit.samples for unit in units]
    assert found["consistency_auroc", "All"].value == pytest.approx(roc_auc_score(errors, inconsistent), abs=5e-5)
    assert found["semantic_entropy", "All"].value == pytest.approx(scores.mean(), abs=5e-4)
    assert found["self_consistency", "All"].value == pytest.approx(np.mean([u.agreeing / u.samples for u in units]))
    assert found["sampled_error_rate", "All"].value == pytest.approx(errors.mean())
    for group in ("F", "M"):
        mine = table.attributes["sex"][[unit.study for unit in units]] == group
        value = roc_auc_score(errors[mine], scores[mine])
        assert found["entropy_auroc", group].value == pytest.approx(value, abs=5e-5)


def test_the_interval_of_aurc_and_of_a_risk_is_that_of_resampled_patients():
    rng = np.random.default_rng(6)
    tricky = rng.random(2000) < 0.3

    def answer(row):
        said = reads_the_image(row)
        return OTHER[said] if rng.random() < (0.45 if tricky[row["study"]] else 0.1) else said

    rules = replace(RULES, probing=replace(RULES.probing, kinds=("random",), per_study=1))
    table = ask(rules, cohort(rng, patients=200, most=3), answer)
    units = [unit for unit in units_drawn(rules, table) if unit.error is not None]
    errors, scores = np.array([unit.error for unit in units]), np.array([unit.entropy for unit in units])
    patients = np.unique(table.patient_ids[[unit.study for unit in units]], return_inverse=True)[1]
    rows = [np.flatnonzero(patients == code) for code in range(patients.max() + 1)]
    values = []
    for _ in range(300):
        drawn = np.concatenate([rows[code] for code in rng.integers(0, len(rows), len(rows))])
        order = drawn[np.lexsort((rng.random(len(drawn)), scores[drawn]))]
        risk = np.cumsum(errors[order]) / np.arange(1, len(order) + 1)
        values.append((risk.mean(), risk[int(0.8 * len(order)) - 1]))
    spread = np.std(values, axis=0)
    found = measured(table, rules)
    for metric, wanted in zip(("aurc", "risk_at_80"), spread, strict=True):
        item = found[metric, "All"]
        assert (item.high - item.low) / (2 * 1.97) == pytest.approx(wanted, rel=0.2)


def test_the_threshold_is_that_of_everybody_and_its_risk_is_told_for_each_group():
    """Women's errors are foretold, men's are not: one threshold for all, and men pay for it."""
    rng = np.random.default_rng(7)
    table = cohort(rng, patients=600)
    female = table.attributes["sex"] == "F"
    knowing, blind = model(rng, knows=True, errors=0.1), model(rng, knows=False, errors=0.1)
    found = measured(ask(RULES, table, lambda row: (knowing if female[row["study"]] else blind)(row)))
    threshold = found["abstention_threshold", "All"]
    assert threshold.value == 0.0 and threshold.detail["bound"] <= 0.1
    assert ("abstention_threshold", "F") not in found
    everybody = found["risk_at_threshold", "All"]
    assert (everybody.low, everybody.high) == (0, threshold.detail["bound"]), "it was chosen for its low risk"
    assert found["risk_at_threshold", "F"].value == 0 < 0.05 < found["risk_at_threshold", "M"].value
    assert found["entropy_auroc_difference", "F vs M"].value > 0.3


def test_the_threshold_rests_on_the_bound_of_the_tallies():
    table = ask(RULES, cohort(np.random.default_rng(8), patients=300), model(np.random.default_rng(9), knows=True))
    item = measured(table)["abstention_threshold", "All"]
    for tried in item.detail["tried"]:
        assert tried["risk"] <= tried["bound"] <= 1
    assert item.detail["tests"] == 7, "five samples fall in seven ways, each in a tenth of its own"


def test_many_answers_of_few_patients_are_not_told_one_by_one():
    def surely(row):
        """Sure of three patients; of three others nothing that can be read; of the rest it wavers."""
        if 3 <= row["study"] < 6:
            return "The weather is fine."
        said = reads_the_image(row)
        return OTHER[said] if row["study"] >= 6 and row["turn"] % 2 else said

    table = ask(RULES, cohort(np.random.default_rng(20), patients=60), surely)
    units = [unit for unit in units_drawn(RULES, table) if unit.study < 6]
    assert sum(unit.error is not None for unit in units) >= RULES.minimum_cell, "three patients have as many texts"
    assert sum(unit.error is None for unit in units) >= RULES.minimum_cell
    found = measured(table)
    tried = found["abstention_threshold", "All"].detail["tried"]
    assert {item["coverage"] for item in tried} == {1.0}, "the lower thresholds keep texts of three patients alone"
    assert [item["coverage"] for item in found["aurc", "All"].detail["curve"]] == [1.0]
    notes = " ".join(uncertainty_notes(RULES, sketch(table)))
    assert "Some of the" in notes


def test_shares_of_the_patients_merge_to_the_whole_also_where_one_was_asked_nothing():
    table = ask(
        RULES, cohort(np.random.default_rng(10), patients=60, most=2), model(np.random.default_rng(11), knows=True)
    )
    whole = sketch(table)
    parts = []
    for inside in (table.patient_ids < "p00020", table.patient_ids >= "p00020"):
        rows = np.flatnonzero(inside)
        asked = table.utterances.asked
        kept = np.isin(asked.study, rows)
        new = np.searchsorted(rows, asked.study[kept])
        utterances = table.utterances.rows(kept)
        parts.append(replace(
            table, patient_ids=table.patient_ids[rows], study_ids=table.study_ids[rows],
            attributes={"sex": table.attributes["sex"][rows]}, labels={n: v[rows] for n, v in table.labels.items()},
            decisions={"x": table.decisions["x"][rows]},
            utterances=replace(utterances, asked=replace(utterances.asked, study=new)),
        ))  # fmt: skip
    nobody = replace(
        cohort(np.random.default_rng(12), patients=3),
        utterances=Utterances(
            asked=asked.rows(np.zeros(0, dtype=np.int64)), text=np.zeros(0, dtype=object),
            truncated=np.zeros(0, dtype=bool)
        ),
    )  # fmt: skip
    one, two, none = sketch(parts[0]), sketch(parts[1]), sketch(nobody)
    assert one.merge(two).to_bytes() == two.merge(one).to_bytes() == whole.to_bytes()
    assert UncertaintySketch.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()
    before, after = (list(measure_uncertainty(RULES, item)) for item in (whole, none.merge(whole)))
    assert [item for item in before if item.metric != "support"] == [item for item in after if item.metric != "support"]
    with pytest.raises(AuscultError, match="not a sketch"):
        UncertaintySketch.from_bytes(b"nonsense")


def test_nothing_is_told_of_a_few_patients():
    table = ask(RULES, cohort(np.random.default_rng(13), patients=4), model(np.random.default_rng(14), knows=True))
    found = measured(table)
    assert {item.value for (metric, _), item in found.items() if metric != "support"} == {None}
    assert all(item.reason for (metric, _), item in found.items() if metric != "support")


def test_a_model_without_an_error_has_no_auroc_and_a_low_risk():
    found = measured(ask(RULES, cohort(np.random.default_rng(15), patients=120), reads_the_image))
    area, risk = found["entropy_auroc", "All"], found["risk_at_90", "All"]
    assert area.value is None and "an error" in area.reason and "finding" not in area.reason
    assert risk.value == 0 and 0 < risk.high < 0.06
    assert found["abstention_threshold", "All"].value == 0.0 and found["coverage_at_target", "All"].value == 1


def test_one_error_is_not_enough_for_an_area():
    def answer(row):
        return OTHER[reads_the_image(row)] if row["study"] == 0 else reads_the_image(row)

    found = measured(ask(RULES, cohort(np.random.default_rng(16), patients=120), answer))["entropy_auroc", "All"]
    assert found.value is None and "suppressed" in found.reason


def test_what_was_not_asked_is_undefined_and_insufficient_evidence():
    table = replace(cohort(np.random.default_rng(17), patients=60), utterances=None)
    found = measured(table)
    for metric in METRICS:
        if not metric.endswith("_difference"):
            item = found[metric, "All"]
            assert item.value is None and item.reason.startswith("undefined"), metric
    for metric in ("entropy_auroc", "semantic_entropy", "aurc"):
        (test,) = uncertainty_tests(RULES, criterion(metric, "at_most", 0.5), sketch(table))
        (verdict,) = judge([test], alpha=0.05)
        assert verdict.outcome is Outcome.INSUFFICIENT and "not asked" in verdict.statement
    assert not [*uncertainty_notes(RULES, sketch(table))], "the suite says what was not asked"


@pytest.mark.parametrize(
    ("metric", "direction", "margin", "outcome"),
    [
        ("entropy_auroc", "at_least", 0.7, Outcome.PASS),
        ("aurc", "at_most", 0.15, Outcome.PASS),
        ("risk_at_80", "at_most", 0.02, Outcome.FAIL),
        ("sampled_error_rate", "at_most", 0.1, Outcome.FAIL),
        ("semantic_entropy", "at_most", 0.5, Outcome.PASS),
    ],
)
def test_criteria_are_judged(metric, direction, margin, outcome):
    table = ask(
        RULES, cohort(np.random.default_rng(18), patients=300), model(np.random.default_rng(19), knows=True, errors=0.3)
    )
    (test,) = uncertainty_tests(RULES, criterion(metric, direction, margin), sketch(table))
    (verdict,) = judge([test], alpha=0.05)
    assert verdict.outcome is outcome, verdict.statement
    assert verdict.label == "uncertainty" and verdict.n and verdict.patients


def test_groups_are_compared_and_described_metrics_have_no_test():
    rng = np.random.default_rng(20)
    table = cohort(rng, patients=500)
    female = table.attributes["sex"] == "F"
    knowing, blind = model(rng, knows=True), model(rng, knows=False)
    found = sketch(ask(RULES, table, lambda row: (knowing if female[row["study"]] else blind)(row)))
    (test,) = uncertainty_tests(RULES, criterion("entropy_auroc_difference", "at_most", 0.1, "sex"), found)
    (verdict,) = judge([test], alpha=0.05)
    assert verdict.outcome is Outcome.FAIL and "less well for male patients" in verdict.statement
    assert uncertainty_tests(RULES, criterion("abstention_threshold", "at_most", 0.5), found) == ()


def test_the_suite_measures_samples_and_changed_studies_beside_the_questions():
    rules = asking_protocol(sampling=SAMPLING, perturbation=PERTURBATION, suites=("hallucination",))
    table = ask(rules, cohort(np.random.default_rng(21), patients=40), reads_the_image)
    suite = SUITES.get("hallucination")
    whole = suite.sketch(rules, table)
    found = suite.measure(rules, suite.load(whole.to_bytes()), cross_check=False).measurements
    assert {"answers", "perturbed", "without text.indication", "uncertainty"} <= {item.label for item in found}
    assert {item.suite for item in found} == {"hallucination"}
    assert {item.metric for item in found if item.metric != "support"} <= set(known_metrics())
    keys = [(item.metric, item.label, item.attribute, item.group) for item in found]
    assert len(keys) == len(set(keys)), "nothing is told twice"
    assert set(METRICS) <= set(known_metrics()), "a criterion can be written on each"
