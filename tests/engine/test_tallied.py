"""Families that are counted: values by hand, intervals against a bootstrap of patients, words of verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation.engine.judging import judge
from evaluation.engine.protocol import Criterion, Protocol
from evaluation.engine.records import Measurement, Outcome, ShardTable, Verdict
from evaluation.engine.registry import Basis, MetricKind
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.tallies import TallyRows, TallySketch
from evaluation.engine.suites.tallied import gaps_of, measure_tallies, metrics_of, tally_test, with_beside
from evaluation.engine.suites.tallied.groups import TallyGroups
from evaluation.engine.tallies import DerivedDefinition, ShareDefinition, TallyFamily
from tests.engine.report_builders import report_protocol, report_table

WORDS = {"among": "answers", "persons": "patients with an answer", "worse": 1}
FAMILY = TallyFamily(
    key="answers",
    columns=("studies", "answers", "yes", "true", "right", "blank_right"),
    shares=(
        ShareDefinition(
            metric="yes_share", title="share of yes", numerator={"yes": 1}, denominator=("answers",),
            worse_words="", judged=False, **WORDS,
        ),
        ShareDefinition(
            metric="bias", title="bias", numerator={"yes": 1, "true": -1}, denominator=("answers",), proportion=False,
            worse_words="answers about {one} lean to yes more than those about {two}", ideal=0.0,
            beside=("yes_share",), **WORDS,
        ),
    ),
    derived=(
        DerivedDefinition(
            metric="ratio", title="right without over right with", denominator=("answers",), parts=("blank",),
            compute=lambda t: t["blank_right"] / t["right"] if t["right"] else None,
            undefined="no answer is right", columns=("blank_right", "right"), **WORDS,
        ),
    ),
    part="probing",
    of="answers about",
    basis=Basis.PROBES,
)  # fmt: skip
PLACE = {name: index for index, name in enumerate(FAMILY.columns)}


def rules() -> Protocol:
    return report_protocol()


def drawn(rng: np.random.Generator, patients: int, *, lean: float = 0.1) -> tuple[ShardTable, np.ndarray]:
    """One to three studies of each patient, four answers to each; patients differ in how often yes is said."""
    owner = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    n, tilt = len(owner), rng.normal(0, 0.15, patients)[owner]
    sex = rng.choice(["F", "M"], patients)[owner]
    values = np.zeros((n, len(PLACE)), dtype=np.int64)
    values[:, PLACE["studies"]], values[:, PLACE["answers"]], values[:, PLACE["true"]] = 1, 4, 2
    values[:, PLACE["yes"]] = rng.binomial(4, np.clip(0.5 + lean + tilt, 0, 1))
    values[:, PLACE["right"]] = rng.binomial(4, np.clip(0.8 + tilt, 0, 1))
    values[:, PLACE["blank_right"]] = rng.binomial(4, np.clip(0.5 + tilt, 0, 1))
    return report_table([f"p{i:05d}" for i in owner], {"sex": list(sex)}, [None] * n, [None] * n), values


def sketched(table: ShardTable, values: np.ndarray, **why_not: str) -> TallySketch:
    rows = TallyRows(columns=FAMILY.columns, values=values, why_not=why_not)
    return TallySketch.from_rows(FAMILY, rows, table.patient_ids, all_groupings(rules(), table))


def measured(sketch: TallySketch) -> dict[tuple[str, str, str], Measurement]:
    rows = measure_tallies(rules(), sketch, FAMILY, suite="hallucination")
    return {(row.attribute, row.metric, row.group): row for row in rows}


def verdict(sketch: TallySketch, **changes: object) -> Verdict:
    facts = {"id": "c", "title": "", "metric": "bias", "labels": ("*",), "attribute": "", "direction": "at_most",
             "margin": 0.1, "primary": True}  # fmt: skip
    criterion = Criterion(**{**facts, **changes})
    return judge([tally_test(rules(), criterion, sketch, FAMILY)], alpha=0.05)[0]


def test_values_are_those_by_hand_and_rest_on_the_right_numbers() -> None:
    table, values = drawn(np.random.default_rng(1), 200)
    rows = measured(sketched(table, values))
    total = dict(zip(FAMILY.columns, values.sum(axis=0).tolist(), strict=True))
    bias, ratio = rows["", "bias", "All"], rows["", "ratio", "All"]
    assert bias.value == pytest.approx((total["yes"] - total["true"]) / total["answers"])
    assert ratio.value == pytest.approx(total["blank_right"] / total["right"])
    assert (bias.n, bias.patients, ratio.n) == (total["answers"], 200, total["answers"])
    assert bias.detail["yes_share"] == rows["", "yes_share", "All"].value and "effective_n" not in bias.detail
    assert rows["", "support", "All"].value == len(table) and bias.label == "answers"
    assert bias.suite == "hallucination" and "linearised" in bias.method


def test_intervals_of_what_is_no_proportion_are_those_of_a_bootstrap_of_patients() -> None:
    table, values = drawn(np.random.default_rng(2), 400)
    sketch = sketched(table, values)
    groups = TallyGroups(rules(), FAMILY, "sex", sketch.cells["sex"], suite="s", version="1")
    owner = np.unique(table.patient_ids, return_inverse=True)[1]
    vectors = np.zeros((400, 2, len(PLACE)))
    np.add.at(vectors, (owner, (table.attributes["sex"] == "M").astype(int)), values)
    weights = np.random.default_rng(3).multinomial(400, np.full(400, 1 / 400), size=3000).astype(float)
    at = (weights @ vectors.reshape(400, -1)).reshape(3000, 2, -1)
    resampled = {
        "bias": (at[..., PLACE["yes"]] - at[..., PLACE["true"]]) / at[..., PLACE["answers"]],
        "ratio": at[..., PLACE["blank_right"]] / at[..., PLACE["right"]],
    }
    for metric, found in resampled.items():
        assert groups.value(metric, "F").error == pytest.approx(found[:, 0].std(), rel=0.08), metric
        contrast = groups.pair_contrasts(metric)[0]
        expected = (found[:, 0] - found[:, 1]).std()
        assert contrast.high - contrast.low == pytest.approx(2 * 1.97 * expected, rel=0.08), metric


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(300):
        table, values = drawn(np.random.default_rng(seed), 60, lean=0.1)
        row = measured(sketched(table, values))["", "bias", "All"]
        covered += row.low <= 0.1 <= row.high
    assert covered / 300 > 0.92  # three standard errors below 95 %, and the tilt is cut off at 0 and 1


def test_counts_that_do_not_vary_are_no_proof_of_certainty() -> None:
    table, values = drawn(np.random.default_rng(4), 40)
    values[:, PLACE["yes"]], values[:, PLACE["true"]] = 4, 2
    row = measured(sketched(table, values))["", "bias", "All"]
    assert row.value == 0.5 and 0.3 < row.low < 0.5 < row.high < 0.7
    values[:, PLACE["right"]] = values[:, PLACE["blank_right"]] = 4
    ratio = measured(sketched(table, values))["", "ratio", "All"]
    assert ratio.value == 1 and 0.8 < ratio.low < 1 < ratio.high < 1.2


def test_an_interval_ends_at_what_a_value_cannot_lie_beyond_and_may_be_left_out() -> None:
    table, values = drawn(np.random.default_rng(4), 40)
    values[:, PLACE["right"]] = values[:, PLACE["blank_right"]] = 4
    rows = TallyRows(columns=FAMILY.columns, values=values)
    for changes, limits in (({"bounds": (0.0, 1.0)}, (True, True)), ({"interval": False}, (False, False))):
        family = replace(FAMILY, derived=(replace(FAMILY.derived[0], **changes),))
        sketch = TallySketch.from_rows(family, rows, table.patient_ids, all_groupings(rules(), table))
        found = measure_tallies(rules(), sketch, family, suite="s")
        row = next(item for item in found if item.metric == "ratio" and not item.attribute)
        assert (row.low is not None, row.high is not None) == limits and row.value == 1
        assert row.high in (1.0, None)


def test_a_difference_ends_at_what_two_values_cannot_lie_beyond() -> None:
    table, values = drawn(np.random.default_rng(4), 12)
    women = table.attributes["sex"] == "F"
    values[:, PLACE["yes"]], values[:, PLACE["true"]] = np.where(women, 4, 0), 2
    rows = TallyRows(columns=FAMILY.columns, values=values)
    protocol = replace(rules(), minimum_denominator=1)
    for bounds, most in (((-math.inf, math.inf), math.inf), ((-0.5, 0.5), 1.0)):
        family = replace(FAMILY, shares=(FAMILY.shares[0], replace(FAMILY.shares[1], bounds=bounds)))
        cells = TallySketch.from_rows(family, rows, table.patient_ids, all_groupings(rules(), table)).cells["sex"]
        groups = TallyGroups(protocol, family, "sex", cells, suite="s", version="1")
        (low, high), (pair,) = groups.interval("bias", "F")[0], groups.pair_contrasts("bias")
        assert pair.value == 1 and 1 <= pair.high <= most and high <= bounds[1] and low < 0.5
        assert (pair.high > 1) == (most > 1)


def test_one_patient_shows_no_variation_and_has_no_limits() -> None:
    table, values = drawn(np.random.default_rng(4), 1)
    groups = TallyGroups(rules(), FAMILY, "", sketched(table, values).cells[""], suite="s", version="1")
    assert groups.value("bias", "All").error == math.inf


def test_a_cautious_interval_is_wider_where_errors_are_few_and_the_same_where_they_are_many() -> None:
    family, bold = (replace(FAMILY, cautious=cautious) for cautious in (True, False))

    def widths(rate: float) -> tuple[float, float]:
        rng = np.random.default_rng(3)
        table, values = drawn(rng, 300)
        values[:, PLACE["yes"]] = rng.binomial(4, rate, len(table))
        rows = TallyRows(columns=FAMILY.columns, values=values)
        cells = TallySketch.from_rows(FAMILY, rows, table.patient_ids, all_groupings(rules(), table)).cells[""]
        found = []
        for item in (family, bold):
            low, high = TallyGroups(rules(), item, "", cells, suite="s", version="1").interval("yes_share", "All")[0]
            found.append(high - low)
        return found[0], found[1]

    rare, common = widths(0.005), widths(0.4)
    assert rare[0] > 1.05 * rare[1]
    assert common[1] <= common[0] == pytest.approx(common[1], rel=0.02)


def test_a_deviation_is_judged_to_both_sides_and_told_with_both_ends() -> None:
    kind = metrics_of(FAMILY)["bias"].kind
    assert kind is MetricKind.DEVIATION and metrics_of(FAMILY)["yes_share"].kind is MetricKind.DESCRIBED
    for lean, side in ((0.25, 1), (-0.25, -1)):
        found = verdict(sketched(*drawn(np.random.default_rng(5), 300, lean=lean)))
        assert found.outcome is Outcome.FAIL and found.value * side > 0.1
        assert "accepted -.10 to .10" in found.statement and ", yes share ." in found.statement
    assert verdict(sketched(*drawn(np.random.default_rng(5), 600, lean=0.0))).outcome is Outcome.PASS


def test_a_gap_of_what_is_no_proportion_may_exceed_one_and_is_told_in_the_familys_words() -> None:
    table, values = drawn(np.random.default_rng(6), 300)
    women = table.attributes["sex"] == "F"
    values[women, PLACE["right"]] = 1
    found = verdict(sketched(table, values), metric="ratio_difference", attribute="sex", margin=0.2)
    assert found.outcome is Outcome.FAIL and found.value > 1 and found.groups == ("F", "M")
    told = "is higher in answers about female patients than in answers about male patients"
    assert told in found.statement
    lean = verdict(sketched(table, values), metric="bias_difference", attribute="sex", margin=0.2)
    assert "differs most between answers about" in lean.statement and "and about" in lean.statement


def test_what_was_not_asked_or_is_undefined_is_insufficient_with_the_reason() -> None:
    table, values = drawn(np.random.default_rng(7), 100)
    nothing = sketched(table, np.zeros_like(values), probing="the model answers no questions")
    found = verdict(nothing, metric="ratio", margin=0.5)
    assert found.outcome is Outcome.INSUFFICIENT and "not asked, the model answers no questions" in found.statement
    assert measured(nothing)["", "bias", "All"].reason == "undefined: not asked, the model answers no questions"
    values[:, PLACE["right"]] = 0
    wrong = verdict(sketched(table, values), metric="ratio", margin=0.5)
    assert wrong.outcome is Outcome.INSUFFICIENT and "no answer is right" in wrong.statement
    row = measured(sketched(table, values))["", "ratio", "All"]
    assert row.value is None and row.reason == "undefined: no answer is right"


def test_names_of_gaps_and_of_what_is_told_beside() -> None:
    assert gaps_of(FAMILY) == {"bias_difference": "bias", "ratio_difference": "ratio"}
    assert with_beside(FAMILY, {"bias_difference"}) == {"bias_difference", "yes_share"}
    assert metrics_of(FAMILY)["ratio_difference"].title == "difference in right without over right with"
    assert {info.basis for info in metrics_of(FAMILY).values()} == {Basis.PROBES}


def test_doubling_every_patients_studies_leaves_intervals_unchanged() -> None:
    table, values = drawn(np.random.default_rng(8), 150)
    size = len(table)
    twice = report_table(
        [*table.patient_ids] * 2, {"sex": [*table.attributes["sex"]] * 2}, [None] * 2 * size, [None] * 2 * size
    )
    once, again = measured(sketched(table, values)), measured(sketched(twice, np.concatenate([values, values])))
    for metric in ("bias", "ratio"):
        one, two = once["sex", metric, "F"], again["sex", metric, "F"]
        assert (two.value, two.low, two.high) == pytest.approx((one.value, one.low, one.high), abs=1e-9)
