"""The hallucination suite whole: parts measured once, planted defects found, merging exact, what was not asked said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from core.errors import AuscultError
from evaluation.charts.forest import plan_forest
from evaluation.charts.metrics import rates_of, worse
from evaluation.engine import Protocol, ShardTable
from evaluation.engine.asking import Asking, CohortTruth, Utterances
from evaluation.engine.assessment import assess
from evaluation.engine.doubt import plan_perturbed, plan_samples
from evaluation.engine.probing import plan_probes, truth_rows
from evaluation.engine.protocol import load_protocol
from evaluation.engine.records import Assessment, Outcome
from evaluation.engine.registry import SUITES, MetricKind
from evaluation.engine.sketch import AuditSketch, _taken, sketch_shard
from evaluation.engine.suites.fairness.report_metrics import REPORT_RATES
from evaluation.engine.suites.hallucination import WORSE
from evaluation.engine.suites.hallucination.parts import FAMILIES
from evaluation.engine.suites.hallucination.reports import FAMILY
from evaluation.engine.suites.tallied import metrics_of
from tests.engine.report_builders import CRITERION, report_protocol, report_table

TRUTH = ("Small left pleural effusion.", "No pleural effusion.")
RATE = {
    "id": "chair", "metric": "chair_i", "direction": "at_most", "margin": 0.1,
}  # fmt: skip


def cohort(rng: np.random.Generator, patients: int, invented: Mapping[str, float]) -> ShardTable:
    """Two studies of each patient. Every report has an effusion; at a rate by sex it has a pneumothorax, made up."""
    sex = rng.choice(sorted(invented), patients)
    owner = np.repeat(np.arange(patients), 2)
    wrong = rng.random(len(owner)) < np.array([invented[name] for name in sex[owner]])
    texts = [f"{TRUTH[0]} There is a right pneumothorax." if bad else TRUTH[0] for bad in wrong]
    return report_table([f"p{i}" for i in owner], {"sex": list(sex[owner])}, [TRUTH[0]] * len(owner), texts)


def protocol(*criteria: dict, **changes: object) -> Protocol:
    return report_protocol(suites=["hallucination"], criteria=list(criteria) or [RATE], **changes)


def audited(rules: Protocol, table: ShardTable) -> Assessment:
    return assess(rules, sketch_shard(rules, table), cross_check=False)


def test_a_model_that_invents_fails_in_words_and_one_that_does_not_passes() -> None:
    bad = audited(protocol(), cohort(np.random.default_rng(1), 200, {"F": 0.5, "M": 0.5})).verdicts[0]
    assert bad.outcome is Outcome.FAIL and bad.label == "report" and bad.groups == ("All",)
    assert re.fullmatch(
        r"Fails: the share of reported findings that are unsupported \(CHAIR-i\) is \.3\d "
        r"\(95% interval \.\d+ to \.\d+\), \d+ findings reported by the model of 200 patients, margin \.10, "
        r"omission \.00\.",
        bad.statement,
    )
    good = audited(protocol(), cohort(np.random.default_rng(1), 200, {"F": 0.0, "M": 0.0})).verdicts[0]
    assert good.outcome is Outcome.PASS and good.value == 0 and good.high > 0


def test_a_planted_gap_between_groups_fails_and_the_graver_side_is_named() -> None:
    gap = CRITERION | {"id": "gap", "metric": "severity_weighted_error_difference"}
    found = audited(protocol(gap), cohort(np.random.default_rng(2), 400, {"F": 0.6, "M": 0.1})).verdicts[0]
    assert found.outcome is Outcome.FAIL and found.groups == ("F", "M")
    assert "reports of female patients invent and omit graver findings than reports of male patients" in found.statement
    even = audited(protocol(gap), cohort(np.random.default_rng(3), 400, {"F": 0.3, "M": 0.3})).verdicts[0]
    assert even.outcome is not Outcome.FAIL


def test_the_numbers_of_fairness_are_those_of_hallucination_and_nothing_is_measured_twice() -> None:
    table = cohort(np.random.default_rng(4), 150, {"F": 0.4, "M": 0.2})
    fair, both, alone = (
        audited(report_protocol(suites=suites), table)
        for suites in (["fairness"], ["fairness", "hallucination"], ["hallucination"])
    )
    key = lambda row: (row.metric, row.label, row.attribute, row.group)  # noqa: E731
    assert len({key(row) for row in both.measurements}) == len(both.measurements)
    assert {row.suite for row in both.measurements} == {"hallucination"}
    assert len(both.verdicts) == len(fair.verdicts) == 1
    here = {key(row): (row.value, row.low, row.high, row.n) for row in alone.measurements}
    for row in fair.measurements:
        value, low, high, n = here[key(row)]
        assert (row.value, row.n) == (value, n) and (low is None) == (row.low is None)
        if row.metric in REPORT_RATES and low is not None:
            assert low <= row.low + 1e-12 and row.high - 1e-12 <= high  # the hallucination suite is the more cautious
    assert fair.verdicts[0].value == both.verdicts[0].value and fair.verdicts[0].n == both.verdicts[0].n
    assert fair.notes == both.notes[: len(fair.notes)] and both.notes[-1].startswith("Lenient")


def test_shards_by_patient_in_any_order_give_the_bytes_of_one_pass() -> None:
    table = cohort(np.random.default_rng(5), 60, {"F": 0.4, "M": 0.2})
    rules = protocol()
    whole = sketch_shard(rules, table).to_bytes()
    shard = np.array([int(name[1:]) % 3 for name in table.patient_ids])
    parts = [sketch_shard(rules, _taken(table, shard == index)) for index in (2, 0, 1)]
    assert parts[0].merge(parts[1]).merge(parts[2]).to_bytes() == whole
    assert parts[2].merge(parts[0].merge(parts[1])).to_bytes() == whole
    again = AuditSketch.from_bytes(whole)
    assert again.to_bytes() == whole and again.parts["hallucination"].report.sums("")["pairs"] == len(table)
    with pytest.raises(AuscultError):
        SUITES.get("hallucination").load(again.parts["hallucination"].to_bytes()[:-2])


def nothing_asked(table: ShardTable, **why_not: str) -> ShardTable:
    texts = np.empty(0, dtype=object)
    asked = Utterances(asked=Asking.of([]), text=texts, truncated=np.zeros(0, dtype=bool), why_not=why_not)
    return replace(table, utterances=asked)


def test_what_was_not_asked_is_said_and_is_insufficient_evidence() -> None:
    why = "the model answers no questions"
    rules = protocol(
        {"id": "f1", "metric": "pope_f1_random", "direction": "at_least", "margin": 0.75},
        {"id": "mirage", "metric": "mirage", "direction": "at_most", "margin": 0.8},
        probing={"findings": ["effusion", "pneumothorax"]}, perturbation={},
    )  # fmt: skip
    table = nothing_asked(cohort(np.random.default_rng(6), 50, {"F": 0.4, "M": 0.2}), probing=why, perturbation=why)
    found = audited(rules, table)
    assert {item.outcome for item in found.verdicts} == {Outcome.INSUFFICIENT}
    assert all(f"it was not asked, {why}" in item.statement and item.needed for item in found.verdicts)
    rows = {row.metric: row for row in found.measurements if not row.attribute}
    for metric in ("pope_f1_random", "yes_bias", "mirage"):
        assert rows[metric].value is None and rows[metric].reason == f"undefined: not asked, {why}"
    assert f"Not asked, probing: {why}." in found.notes
    gap = next(row for row in found.measurements if row.metric == "mirage_difference")
    assert gap.reason == f"undefined: not asked, {why}"


def test_samples_of_reports_that_were_not_drawn_are_told_of_though_no_other_part_asks() -> None:
    why = "the model writes no reports"
    table = nothing_asked(cohort(np.random.default_rng(6), 50, {"F": 0.4, "M": 0.2}), sampling=why)
    notes = audited(protocol(sampling={"of": "reports"}), table).notes
    assert [note for note in notes if why in note] == [f"Not asked, sampling: {why}."]


def test_only_what_a_protocol_asks_for_is_measured() -> None:
    table = cohort(np.random.default_rng(7), 40, {"F": 0.4, "M": 0.2})
    every = {row.metric for row in audited(protocol(), table).measurements}
    assert every == {"support", *metrics_of(FAMILY)}
    named = audited(protocol(metrics=["chair_s_lenient"]), table).measurements
    assert {row.metric for row in named} == {"chair_i", "omission", "chair_s_lenient", "omission_lenient", "support"}


def test_truncated_reports_are_left_out_of_omission_and_told() -> None:
    table = report_table(
        [f"p{i}" for i in range(60)], {"sex": ["F", "M"] * 30}, ["Small effusion. Pneumothorax."] * 60,
        ["Small effusion."] * 30 + ["Small effusion. Pneumothorax."] * 30,
    )  # fmt: skip
    cut = replace(table, truncated={"generated": np.arange(60) < 30})
    before, after = (audited(protocol(), item) for item in (table, cut))
    value = {
        name: next(row for row in found.measurements if row.metric == "omission" and not row.attribute).value
        for name, found in (("before", before), ("after", after))
    }
    assert value == {"before": 0.25, "after": 0.0}
    row = next(row for row in after.measurements if row.metric == "truncated" and not row.attribute)
    assert row.value == 0.5
    assert any("30 of 60 studies have a report that ended at the model's limit" in note for note in after.notes)
    every = audited(protocol(), replace(table, truncated={"generated": np.ones(60, dtype=bool)}))
    for row in every.measurements:
        if row.metric in {"omission", "omission_lenient", "entity_f1", "report_underdiagnosis_rate"} and row.group:
            assert row.value is None and "ended at the limit of tokens left aside" in row.reason, row
    assert all("left aside" not in row.reason for row in before.measurements)


def test_a_report_in_another_language_is_flagged_and_not_scored() -> None:
    spanish = (
        "No se observan alteraciones pleuroparenquimatosas agudas. La silueta cardiaca es de tamaño normal y los senos "
        "costofrénicos están libres. Se recomienda control si el paciente sigue con fiebre o con tos."
    )
    texts = [spanish] * 20 + ["Small effusion."] * 40
    table = report_table([f"p{i}" for i in range(60)], {"sex": ["F", "M"] * 30}, ["Small effusion."] * 60, texts)
    found = audited(protocol(), table)
    rows = {row.metric: row for row in found.measurements if not row.attribute}
    assert (rows["support"].value, rows["omission"].value) == (40, 0)
    assert rows["unsupported_language"].value == pytest.approx(1 / 3)
    assert any("20 of 60 studies have a report that is not in English" in note for note in found.notes)


def test_every_metric_has_a_side_that_is_worse_and_charts_know_it() -> None:
    metrics = SUITES.get("hallucination").metrics
    for name, info in metrics.items():
        if info.kind in {MetricKind.RATE, MetricKind.DEVIATION}:
            assert worse(name) == WORSE[name] in (-1, 1)
        if info.kind is MetricKind.GAP:
            assert rates_of(name)[0] in metrics
    owners = [name for family in FAMILIES.values() for name in metrics_of(family)]
    assert len(owners) == len(set(owners))


def test_a_forest_chart_shows_a_verdict_on_reports() -> None:
    found = audited(
        protocol(CRITERION | {"id": "gap", "metric": "chair_i_difference"}),
        cohort(np.random.default_rng(2), 400, {"F": 0.6, "M": 0.1}),
    )
    plan = plan_forest([row.to_dict() for row in found.measurements], found.verdicts[0].to_dict())
    assert {row[1] for row in plan.table_rows} >= {"Female", "Male"}
    assert "do not support" in plan.title and "omission" not in plan.title
    assert "Female" in plan.text_alternative


@pytest.mark.parametrize("name", ["hallucination-report-v1", "hallucination-answers-v1"])
def test_bundled_protocols_are_read_and_none_sets_a_limit_on_chair_without_one_on_omission(name: str) -> None:
    rules = load_protocol(name)
    assert rules.suites == ("hallucination",) and Protocol.from_dict(rules.to_dict()) == rules
    metrics = {item.metric for item in rules.criteria}
    assert metrics <= set(SUITES.get("hallucination").metrics)
    for metric in metrics & {"chair_i", "chair_i_difference"}:
        assert metric.replace("chair_i", "omission") in metrics


def spoken(rules: Protocol, table: ShardTable, say: Callable[[str, str], str]) -> ShardTable:
    """The table with every question of the protocol asked of a model that answers by question and truth."""
    rows = truth_rows(rules, table)
    known = {"reads": frozenset({"image"}), "n_studies": len(table)}
    probes = plan_probes(rules, rows, CohortTruth.of(rows), reads=known["reads"])
    asked = probes.join(
        plan_samples(rules, rows, probes, n_studies=len(table)), plan_perturbed(rules, rows, probes, **known)
    )
    texts = np.empty(len(asked), dtype=object)
    texts[:] = [say(*pair) for pair in zip(asked.question, asked.expected, strict=True)]
    made = Utterances(asked=asked, text=texts, truncated=np.zeros(len(asked), dtype=bool))
    return replace(table, utterances=made)


@pytest.fixture(scope="module")
def labelled() -> ShardTable:
    rules = load_protocol("hallucination-answers-v1")
    rng = np.random.default_rng(11)
    count = 240
    table = report_table([f"p{i:03d}" for i in range(count)], {"sex": ["F", "M"] * (count // 2)}, [None] * count,
                         [None] * count)  # fmt: skip
    ages = np.empty(count, dtype=object)
    ages[:] = rng.integers(20, 90, count).tolist()
    labels = {name: (rng.random(count) < 0.3).astype(np.int8) for name in rules.probing.findings}
    return replace(table, labels=labels, attributes={**table.attributes, "age": ages})


def test_an_always_yes_model_fails_the_bundled_protocol_and_one_that_knows_passes(labelled: ShardTable) -> None:
    rules = load_protocol("hallucination-answers-v1")
    yes = audited(rules, spoken(rules, labelled, lambda question, expected: "Yes."))
    outcome = {item.criterion: item.outcome for item in yes.verdicts}
    assert yes.outcome is Outcome.FAIL
    assert {name for name, found in outcome.items() if found is Outcome.FAIL} >= {
        "adversarial", "popular", "yes-bias", "twins", "premise", "mirage", "dangerous",
    }  # fmt: skip
    rows = {row.metric: row for row in yes.measurements if not row.attribute}
    assert rows["pope_f1_adversarial"].value == pytest.approx(2 / 3, abs=0.01) and rows["yes_ratio"].value == 1
    bias = next(item for item in yes.verdicts if item.criterion == "yes-bias")
    assert "accepted -.10 to .10" in bias.statement
    told = {"yes": "Yes.", "no": "No.", "reject": "There is none, so it has no size."}
    knows = audited(rules, spoken(rules, labelled, lambda question, expected: told.get(expected, f"{expected}.")))
    outcome = {item.criterion: item.outcome for item in knows.verdicts if item.primary}
    assert set(outcome.values()) == {Outcome.PASS}, [item.statement for item in knows.verdicts]
    assert {row.label for row in knows.measurements} >= {"answers", "perturbed"}
    assert len({(row.metric, row.label, row.attribute, row.group) for row in knows.measurements}) == len(
        knows.measurements
    )
