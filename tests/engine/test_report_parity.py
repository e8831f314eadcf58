"""Report parity: shares against brute force, intervals against a bootstrap of patients, planted and absent defects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.engine.assessment import assess
from evaluation.engine.judging import judge
from evaluation.engine.protocol import Criterion, Protocol, load_protocol
from evaluation.engine.records import Measurement, Outcome, ShardTable, Verdict
from evaluation.engine.sketch import sketch_shard
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.statistics.intervals import wilson, z_of
from evaluation.engine.suites.fairness.report_metrics import FAMILY, REPORT_GAPS, REPORT_METRICS, REPORT_RATES
from evaluation.engine.suites.fairness.reports import parity_sketch, report_notes
from evaluation.engine.suites.tallied import measure_tallies, tally_test
from evaluation.engine.suites.tallied.groups import TallyGroups
from evaluation.engine.text.marking import mark_table
from tests.engine.report_builders import CLEAR, report_protocol, report_table

FINDINGS = ("effusion", "pneumothorax", "consolidation", "cardiomegaly")
SENTENCES = {
    "effusion": ("Small left pleural effusion.", "No pleural effusion."),
    "pneumothorax": ("There is a right pneumothorax.", "No pneumothorax."),
    "consolidation": ("Consolidation in the left lower lobe.", "No consolidation."),
    "cardiomegaly": ("The heart is enlarged.", "The heart is of normal size."),
}


def write(present: np.ndarray) -> str:
    return " ".join(SENTENCES[name][0 if there else 1] for name, there in zip(FINDINGS, present, strict=True))


def cohort(
    rng: np.random.Generator, patients: int, *, omit: dict[str, float], invent: float = 0.05, blank: float = 0.02,
    wander: bool = False,
) -> tuple[ShardTable, dict[str, np.ndarray]]:  # fmt: skip
    """Reports whose model leaves out findings at a rate by group; patients differ in how hard they are to read."""
    count = rng.integers(1, 4, patients)
    owner = np.repeat(np.arange(patients), count)
    names = np.array(sorted(omit))
    sex = rng.choice(names, len(owner)) if wander else rng.choice(names, patients)[owner]
    truth = (rng.random((patients, 4)) < 0.35)[owner]
    hard = np.where(rng.random(patients) < 0.5, 0.12, -0.12)[owner]
    rate = np.clip(np.array([omit[name] for name in sex]) + hard, 0, 1)
    said = np.where(truth, rng.random(truth.shape) >= rate[:, None], rng.random(truth.shape) < invent)
    texts: list[str | None] = [write(row) for row in said]
    silent = rng.random(len(owner)) < blank
    texts = [None if gone else text for gone, text in zip(silent, texts, strict=True)]
    said &= ~silent[:, None]
    table = report_table([f"p{i}" for i in owner], {"sex": list(sex)}, [write(row) for row in truth], texts)
    return table, {"owner": owner, "sex": sex, "truth": truth, "said": said, "silent": silent}


def shares(rows: dict[str, np.ndarray], pick: np.ndarray) -> dict[str, float]:
    """The definitions, row by row."""
    truth, said = rows["truth"][pick], rows["said"][pick]
    both, ill = truth & said, truth.any(axis=1)
    wrong = said & ~truth
    return {
        "report_underdiagnosis_rate": float((~said.any(axis=1))[ill].mean()),
        "entity_f1": 2 * both.sum() / (truth.sum() + said.sum()),
        "chair_i": wrong.sum() / said.sum(),
        "chair_s": float(wrong.any(axis=1).mean()),
        "omission": 1 - both.sum() / truth.sum(),
        "abstention": float(rows["silent"][pick].mean()),
    }


COLUMNS = FAMILY.columns


def sketched(protocol: Protocol, table: ShardTable) -> TallySketch:
    return parity_sketch(protocol, table, all_groupings(protocol, table))


def measured(protocol: Protocol, table: ShardTable) -> dict[tuple[str, str, str], Measurement]:
    rows = measure_tallies(protocol, sketched(protocol, table), FAMILY, suite="fairness")
    return {(row.attribute, row.metric, row.group): row for row in rows}


def verdict(protocol: Protocol, table: ShardTable, **changes: object) -> Verdict:
    criterion = Criterion(**{**vars(protocol.criteria[0]), **changes})
    return judge([tally_test(protocol, criterion, sketched(protocol, table), FAMILY)], alpha=protocol.alpha)[0]


@pytest.fixture(scope="module")
def planted() -> tuple[ShardTable, dict[str, np.ndarray]]:
    return cohort(np.random.default_rng(5), 500, omit={"F": 0.45, "M": 0.2})


def test_every_share_is_that_of_brute_force(planted: tuple) -> None:
    table, rows = planted
    found = measured(report_protocol(), table)
    for group in ("F", "M"):
        for metric, value in shares(rows, rows["sex"] == group).items():
            assert found["sex", metric, group].value == pytest.approx(value, abs=1e-12), metric
    for metric, value in shares(rows, np.ones(len(table), bool)).items():
        assert found["", metric, "All"].value == pytest.approx(value, abs=1e-12)
    for gap, metric in REPORT_GAPS.items():
        expected = abs(np.subtract(*(found["sex", metric, group].value for group in ("F", "M"))))
        row = next(item for key, item in found.items() if key[:2] == ("sex", gap))
        assert row.value == pytest.approx(expected) and row.low is not None and row.low <= row.value <= row.high
    assert {key[1] for key in found} == {"support", *REPORT_METRICS}
    assert {row.label for row in found.values()} == {"report"}


@pytest.mark.parametrize("wander", [False, True])
def test_standard_errors_are_those_of_a_bootstrap_of_patients(wander: bool) -> None:
    table, rows = cohort(np.random.default_rng(8), 400, omit={"F": 0.4, "M": 0.3}, wander=wander)
    protocol = report_protocol()
    cells = sketched(protocol, table).cells["sex"]
    groups = TallyGroups(protocol, FAMILY, "sex", cells, suite="fairness", version="2")
    vectors = np.zeros((400, 2, len(COLUMNS)))
    for owner, sex, pair in zip(rows["owner"], rows["sex"], mark_table(protocol, table), strict=True):
        vectors[owner, "FM".index(sex)] += [pair.tally.get(name, 0) for name in COLUMNS]
    rng = np.random.default_rng(1)
    draws = rng.multinomial(400, np.full(400, 1 / 400), size=3000).astype(float) @ vectors.reshape(400, -1)
    drawn = draws.reshape(3000, 2, len(COLUMNS))
    at = {name: drawn[..., COLUMNS.index(name)] for name in COLUMNS}
    resampled = {
        "omission": 1 - at["found"] / at["reference"],
        "chair_i": at["unsupported"] / at["generated"],
        "entity_f1": (at["found"] + at["supported"]) / (at["reference"] + at["generated"]),
        "report_underdiagnosis_rate": at["missed"] / at["ill"],
    }
    for metric, values in resampled.items():
        covariance = groups.covariance(metric, ["F", "M"])
        contrast = groups.pair_contrasts(metric)[0]
        expected = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        assert expected == pytest.approx((values[:, 0] - values[:, 1]).std(), rel=0.08), metric
        assert contrast.high - contrast.low == pytest.approx(2 * 1.96 * expected, rel=0.12), metric
        assert np.sqrt(covariance[0, 0]) == pytest.approx(values[:, 0].std(), rel=0.08)
    lengths = at["words"][:, 0] / at["written"][:, 0]
    mean, error, (low, high) = groups.mean_length("F")
    assert error == pytest.approx(lengths.std(), rel=0.08) and low < mean < high


def test_one_report_of_one_finding_per_patient_has_wilsons_interval() -> None:
    said = ["Effusion."] * 30 + ["No effusion."] * 10
    table = report_table([f"p{i}" for i in range(40)], {"sex": ["F"] * 40}, ["Effusion."] * 40, said)
    row = measured(report_protocol(), table)["sex", "omission", "F"]
    assert (row.value, row.n, row.patients, row.method) == (0.25, 40, 40, "Wilson")
    assert (row.low, row.high) == pytest.approx(wilson(0.25, 40, z_of(0.05)))


def test_doubling_every_patients_reports_leaves_intervals_unchanged(planted: tuple) -> None:
    table, _ = planted
    twice = report_table(
        [*table.patient_ids] * 2, {"sex": [*table.attributes["sex"]] * 2},
        [*table.texts["reference"]] * 2, [*table.texts["generated"]] * 2,
    )  # fmt: skip
    once, again = (measured(report_protocol(), item) for item in (table, twice))
    for metric in REPORT_RATES:
        one, two = once["sex", metric, "F"], again["sex", metric, "F"]
        assert (two.value, two.low, two.high) == pytest.approx((one.value, one.low, one.high), abs=0.004)
        assert two.n == 2 * one.n and two.patients == one.patients


def test_reports_of_one_group_that_omit_findings_fail_in_words(planted: tuple) -> None:
    found = verdict(report_protocol(), planted[0])
    assert found.outcome is Outcome.FAIL and found.label == "report" and found.groups == ("F", "M")
    assert (
        "reports of female patients omit more of the expert's findings than reports of male patients" in found.statement
    )
    assert "margin .10" in found.statement and found.p_adjusted < 0.001
    assert verdict(report_protocol(), planted[0], metric="entity_f1_difference").outcome is Outcome.FAIL


def test_equal_groups_do_not_fail() -> None:
    failed = 0
    for seed in range(12):
        table, _ = cohort(np.random.default_rng(seed), 300, omit={"F": 0.3, "M": 0.3})
        outcome = {metric: verdict(report_protocol(), table, metric=metric).outcome for metric in REPORT_GAPS}
        failed += Outcome.FAIL in outcome.values()
    assert failed == 0


def test_enough_equal_reports_pass() -> None:
    table, _ = cohort(np.random.default_rng(2), 1500, omit={"F": 0.2, "M": 0.2})
    assert verdict(report_protocol(), table).outcome is Outcome.PASS


def test_a_floor_on_agreement_is_judged_in_each_group(planted: tuple) -> None:
    floor = {"metric": "entity_f1", "direction": "at_least"}
    high = verdict(report_protocol(), planted[0], margin=0.85, **floor)
    assert high.outcome is Outcome.FAIL and high.groups == ("F",) and "margin at least .85" in high.statement
    assert verdict(report_protocol(), planted[0], margin=0.5, **floor).outcome is Outcome.PASS


@pytest.mark.parametrize("metric", ["chair_i_difference", "chair_s_difference", "chair_i"])
def test_chair_is_never_told_without_omission(planted: tuple, metric: str) -> None:
    gap = metric.endswith("difference")
    found = verdict(report_protocol(), planted[0], metric=metric, attribute="sex" if gap else "")
    assert ", omission ." in found.statement
    rows = measured(report_protocol(), planted[0])
    assert rows["sex", "chair_i", "F"].detail["omission"] == rows["sex", "omission", "F"].value
    assert set(next(r for k, r in rows.items() if k[1] == "chair_s_difference").detail["omission"]) == {"F", "M"}


def test_a_silent_model_scores_chair_0_and_omission_1() -> None:
    table = report_table([f"p{i}" for i in range(40)], {"sex": ["F", "M"] * 20}, ["Effusion."] * 40, [""] * 40)
    rows = measured(report_protocol(), table)
    assert rows["", "chair_s", "All"].value == 0 and rows["", "omission", "All"].value == 1
    assert rows["", "chair_i", "All"].value is None and "undefined" in rows["", "chair_i", "All"].reason
    assert rows["", "abstention", "All"].value == 1 and rows["", "report_underdiagnosis_rate", "All"].value == 1
    assert rows["", "report_length", "All"].value is None
    assert rows["", "entity_f1", "All"].value == 0


def test_an_only_possible_finding_is_not_a_positive_one() -> None:
    table = report_table(
        [f"p{i}" for i in range(40)], {"sex": ["F", "M"] * 20}, ["Pneumonia."] * 40, ["Cannot exclude pneumonia."] * 40
    )
    rows = measured(report_protocol(), table)
    assert rows["", "report_underdiagnosis_rate", "All"].value == 1 and rows["", "omission", "All"].value == 1
    assert rows["", "abstention", "All"].value == 0


def test_small_groups_are_suppressed_and_unknown_is_shown_and_not_judged() -> None:
    sex = ["F"] * 60 + ["M"] * 60 + ["X"] * 5 + [None] * 15 + ["Y"] * 20
    table = report_table([f"p{i}" for i in range(160)], {"sex": sex}, ["Effusion."] * 160, [CLEAR, "Effusion."] * 80)
    rows = measured(report_protocol(), table)
    assert rows["sex", "omission", "X"].value is None and "fewer than 11" in rows["sex", "omission", "X"].reason
    assert rows["sex", "omission", "X"].n is None and rows["sex", "support", "X"].value is None
    unknown = rows["sex", "omission", "Unknown"]
    assert unknown.value == pytest.approx(8 / 15, abs=0.07) and "not known" in unknown.reason
    assert "below the minimum" in rows["sex", "omission", "Y"].reason
    gap = next(row for key, row in rows.items() if key[1] == "omission_difference")
    assert gap.group in {"F vs M", "M vs F"} and gap.detail["left_out"] == ["X", "Y"]
    low, high = gap.detail["unknown_bounds"]
    assert low <= gap.value <= high and gap.detail["unknown_studies"] == 15
    found = verdict(report_protocol(), table)
    assert found.outcome is Outcome.INSUFFICIENT and "fewer than 11" in found.statement
    total = sum(rows["sex", "support", name].value or 0 for name in ("F", "M", "Unknown", "Y"))
    assert total + 5 == rows["", "support", "All"].value


def test_a_length_has_its_quartiles(planted: tuple) -> None:
    table, rows = planted
    words = [len(text.split()) for text, sex in zip(table.texts["generated"], rows["sex"], strict=True)
             if text and sex == "M"]  # fmt: skip
    row = measured(report_protocol(), table)["sex", "report_length", "M"]
    assert row.value == pytest.approx(np.mean(words))
    names = ("lower_quartile", "median", "upper_quartile")
    expected = np.quantile(words, [0.25, 0.5, 0.75], method="inverted_cdf")
    assert [row.detail[name] for name in names] == pytest.approx(expected)


def test_the_numbers_are_those_that_were_published_before() -> None:
    """Values, intervals and words of one audit as they stood before counts of reports became one family of several."""
    body = json.loads((Path(__file__).parent / "report_parity_values.json").read_text(encoding="utf-8"))
    table, _ = cohort(np.random.default_rng(8), 400, omit={"F": 0.4, "M": 0.3}, wander=True)
    found = assess(report_protocol(), sketch_shard(report_protocol(), table), cross_check=False)
    assert [item.statement for item in found.verdicts] == body["statements"]
    assert len(found.measurements) == len(body["measurements"])
    for row, (attribute, metric, group, *numbers, n, patients, method) in zip(
        found.measurements, body["measurements"], strict=True
    ):
        assert (row.attribute, row.metric, row.group, row.n, row.patients) == (attribute, metric, group, n, patients)
        assert row.method == method and row.suite == "fairness" and row.metric_version == "2"
        for value, before in zip((row.value, row.low, row.high), numbers, strict=True):
            assert (value is None) == (before is None) and (value or 0) == pytest.approx(before or 0, rel=1e-12)


def test_notes_tell_what_was_not_compared() -> None:
    table = report_table(
        [f"p{i}" for i in range(60)],
        {"sex": ["F", "M"] * 30},
        [None] * 20 + ["Effusion."] * 40,
        [""] * 30 + [CLEAR] * 30,
    )
    notes = " ".join(report_notes(report_protocol(), sketched(report_protocol(), table)))
    assert "20 of 60 studies have no report of an expert" in notes
    assert "Fewer than 11 of 60 studies have no report of the model" in notes


def test_the_bundled_protocol_reads_and_compares_reports() -> None:
    protocol = load_protocol("report-generator-v1")
    assert protocol.reports is not None and protocol.labels == ()
    metrics = {item.metric for item in protocol.criteria}
    assert metrics <= set(REPORT_METRICS)
    assert not metrics & {"chair_i_difference", "chair_s_difference"} or "omission_difference" in metrics
