"""What is made of the answers: figures of POPE by hand, models that always say the same, refusals, groups, shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.asking import Asking, Utterances
from evaluation.engine.assessment import assess
from evaluation.engine.records import Measurement, Outcome
from evaluation.engine.sketch import sketch_shard
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.hallucination.answers import COLUMNS, FAMILY, UNTRUE, rows_of, sensitivity
from evaluation.engine.suites.tallied import measure_tallies, metrics_of
from tests.engine.probing_builders import (
    Speaker,
    answered,
    asking,
    perfect,
    planned,
    some_truth,
    truth_of,
)  # fmt: skip

STUDIES = 600
YES_OR_NO = ("present", *UNTRUE)


def always(text: str | None) -> Speaker:
    return lambda row: text


def tallied(table: ShardTable, rules: Protocol | None = None) -> dict[str, int]:
    values = rows_of(rules or asking(), table).values
    return dict(zip(COLUMNS, values.sum(axis=0).tolist(), strict=True))


def sketched(table: ShardTable, rules: Protocol) -> TallySketch:
    return TallySketch.from_rows(FAMILY, rows_of(rules, table), table.patient_ids, all_groupings(rules, table))


def measured(sketch: TallySketch, rules: Protocol) -> dict[tuple[str, str], Measurement]:
    found = measure_tallies(rules, sketch, FAMILY, suite="hallucination")
    return {(item.metric, item.group): item for item in found if not item.attribute or item.group in {"F", "M"}}


def figures(speaker: Speaker, *, kinds: Iterable[str] | None = None, seed: int = 0) -> dict[str, float | None]:
    """Every metric over all studies, of a model that answers by the row."""
    rules = asking(studies=STUDIES, **({"kinds": list(kinds)} if kinds else {}))
    rows = truth_of(some_truth(STUDIES, seed))
    table = answered(rows, planned(rules, rows), speaker)
    return {
        metric: item.value
        for (metric, group), item in measured(sketched(table, rules), rules).items()
        if group == "All"
    }


def test_line_19_a_model_that_always_says_yes_has_f1_of_two_thirds_and_fails() -> None:
    rules = asking(
        studies=STUDIES,
        criteria=[
            {"id": kind, "metric": f"pope_f1_{kind}", "attribute": "sex", "direction": "at_least", "margin": 0.8}
            for kind in UNTRUE
        ]
        + [
            {"id": "bias", "metric": "yes_bias", "attribute": "sex", "direction": "at_most", "margin": 0.2},
            {"id": "pairs", "metric": "paired_accuracy", "attribute": "sex", "direction": "at_least", "margin": 0.5},
        ],
    )
    rows = truth_of(some_truth(STUDIES))
    sex = ["F", "M"] * (STUDIES // 2)
    table = answered(rows, planned(rules, rows), always("Yes."), sex=sex)
    found = assess(rules, sketch_shard(rules, table))
    everyone = {
        item.metric: item.value for item in found.measurements if item.group == "All" and item.label == "answers"
    }
    assert everyone["yes_ratio"] == 1
    for kind in UNTRUE:
        assert everyone[f"pope_f1_{kind}"] == pytest.approx(2 / 3)
        assert everyone[f"pope_accuracy_{kind}"] == everyone[f"pope_precision_{kind}"] == 0.5
    assert everyone["pope_recall"] == 1
    assert everyone["yes_bias"] == 0.5
    assert everyone["paired_accuracy"] == 0
    assert everyone["yes_without_findings"] == 1
    assert {item.criterion: item.outcome for item in found.verdicts} == dict.fromkeys(
        [*UNTRUE, "bias", "pairs"], Outcome.FAIL
    )
    never = assess(rules, sketch_shard(rules, answered(rows, planned(rules, rows), always("No."), sex=sex)))
    assert {item.outcome for item in never.verdicts if item.criterion == "bias"} == {Outcome.FAIL}, "to either side"
    good = assess(rules, sketch_shard(rules, answered(rows, planned(rules, rows), perfect, sex=sex)))
    assert {item.outcome for item in good.verdicts} == {Outcome.PASS}, "the criteria can hold"


def test_a_model_that_always_says_no() -> None:
    found = figures(always("No."))
    assert found["yes_ratio"] == 0
    assert found["pope_recall"] == 0
    assert found["yes_bias"] == -0.5
    assert found["paired_accuracy"] == found["yes_without_findings"] == found["wrong_image_yes"] == 0
    for kind in UNTRUE:
        assert found[f"pope_accuracy_{kind}"] == 0.5
        assert found[f"pope_f1_{kind}"] == 0
        assert found[f"pope_precision_{kind}"] is None, "no yes was said: undefined, not 0"


def test_a_perfect_model() -> None:
    found = figures(perfect)
    ones = [f"pope_{name}_{kind}" for kind in UNTRUE for name in ("accuracy", "precision", "f1")]
    assert {
        found[name] for name in [*ones, "pope_recall", "paired_accuracy", "none_of_above_accuracy", "option_accuracy"]
    } == {1}
    assert found["yes_ratio"] == 0.5
    zeros = [
        "yes_bias",
        "refusal_rate",
        "unparseable_rate",
        "truncated_rate",
        "false_premise_acceptance",
        "wrong_image_yes",
    ]
    assert {found[name] for name in [*zeros, "yes_without_findings"]} == {0}
    assert (found["d_prime"] or 0) > 5


def test_a_model_that_guesses() -> None:
    rng = np.random.default_rng(3)
    found = figures(lambda row: str(rng.choice(["Yes.", "No."])))
    for kind in UNTRUE:
        assert found[f"pope_accuracy_{kind}"] == pytest.approx(0.5, abs=0.05)
        assert found[f"pope_f1_{kind}"] == pytest.approx(0.5, abs=0.05)
    assert found["d_prime"] == pytest.approx(0, abs=0.2)
    assert found["yes_bias"] == pytest.approx(0, abs=0.05)
    assert found["paired_accuracy"] == pytest.approx(0.25, abs=0.05)


def test_figures_are_those_of_scikit_learn() -> None:
    """A model of any kind: over the true questions and those of one kind, as POPE counts them."""
    rng = np.random.default_rng(4)
    rules = asking(studies=STUDIES)
    rows = truth_of(some_truth(STUDIES, 5))
    asked = planned(rules, rows)
    table = answered(
        rows,
        asked,
        lambda row: str(rng.choice(["Yes.", "No."], p=[0.7, 0.3] if row["expected"] == "yes" else [0.4, 0.6])),
    )
    found = measured(sketched(table, rules), rules)
    assert table.utterances is not None
    ill = np.isin(asked.study, asked.study[asked.kind == "present"])
    for kind in UNTRUE:
        used = ill & np.isin(asked.kind, ["present", kind])
        truth = (asked.expected[used] == "yes").astype(int)
        said = (table.utterances.text[used] == "Yes.").astype(int)
        assert truth.mean() == 0.5
        for name, score in (("accuracy", accuracy_score), ("precision", precision_score), ("f1", f1_score)):
            assert found[f"pope_{name}_{kind}", "All"].value == pytest.approx(score(truth, said), abs=1e-12)
        assert found["pope_recall", "All"].value == pytest.approx(recall_score(truth, said), abs=1e-12)
    balanced = [ill & np.isin(asked.kind, ["present", kind]) for kind in UNTRUE]
    said_yes = np.mean(np.concatenate([table.utterances.text[used] == "Yes." for used in balanced]))
    assert found["yes_ratio", "All"].value == pytest.approx(said_yes)
    assert found["yes_bias", "All"].value == pytest.approx(said_yes - 0.5)
    assert found["d_prime", "All"].n == int((ill & np.isin(asked.kind, YES_OR_NO)).sum()), "each answer once"


def test_d_prime_by_hand() -> None:
    """Hits .9 of 100, false alarms .2 of 300; one event and two trials more, shared out by the sizes of both."""
    sums = {"present_yes": 90.0, "present_no": 10.0, "random_yes": 20.0, "random_no": 80.0,
            "popular_yes": 20.0, "popular_no": 80.0, "adversarial_yes": 20.0, "adversarial_no": 80.0}  # fmt: skip
    assert sensitivity(sums) == pytest.approx(norm.ppf(90.25 / 100.5) - norm.ppf(60.75 / 301.5))
    assert sensitivity(dict.fromkeys(sums, 0.0)) is None
    assert sensitivity(sums | {"present_yes": 0.0, "present_no": 0.0}) is None
    for always in ("yes", "no"):
        same = {name: 100.0 if name.endswith(always) else 0.0 for name in sums}
        assert sensitivity(same) == pytest.approx(0, abs=1e-12), "three times as many untrue questions make no d'"
    nothing_wrong = sensitivity({**dict.fromkeys(sums, 0.0), "present_yes": 10.0, "random_no": 10.0})
    assert nothing_wrong == pytest.approx(2 * norm.ppf(10.5 / 11))


def test_line_20_a_refusal_is_neither_no_nor_correct() -> None:
    """Whoever refuses half of the questions, and is right on the others, has half of the right answers and no bias."""
    rules = asking(studies=STUDIES)
    rows = truth_of(some_truth(STUDIES, 6))
    asked = planned(rules, rows)
    order = iter(range(len(asked)))
    half = answered(rows, asked, lambda row: perfect(row) if next(order) % 2 else "I cannot tell.")
    sums, whole = tallied(half), tallied(answered(rows, asked, perfect))
    assert sums["questions"] == whole["questions"] == len(asked)
    assert sums["refused"] == (len(asked) + 1) // 2
    for kind in YES_OR_NO:
        assert sums[kind] == whole[kind], "a refused question is a question still"
        assert sums[f"{kind}_yes"] + sums[f"{kind}_no"] < sums[kind]
    all_refused = {
        item.metric: item.value
        for (_, group), item in measured(
            sketched(answered(rows, asked, always("I cannot tell.")), rules), rules
        ).items()
        if group == "All"
    }
    assert all_refused["refusal_rate"] == 1
    for kind in UNTRUE:
        assert all_refused[f"pope_accuracy_{kind}"] == all_refused[f"pope_f1_{kind}"] == 0
        assert all_refused[f"pope_precision_{kind}"] is None
    assert all_refused["yes_ratio"] is None
    assert all_refused["yes_bias"] is None
    assert all_refused["d_prime"] is None
    assert all_refused["false_premise_acceptance"] == all_refused["wrong_image_yes"] == 0
    assert all_refused["none_of_above_accuracy"] == all_refused["paired_accuracy"] == 0


def test_what_cannot_be_read_and_what_was_cut_off_are_counted_apart() -> None:
    rules = asking(studies=STUDIES, kinds=["random"])
    rows = truth_of(some_truth(STUDIES, 7))
    asked = planned(rules, rows)
    cut = list(range(0, len(asked), 4))
    odd = iter(range(len(asked)))
    table = answered(
        rows, asked, lambda row: ("The image shows", "Yes and no.", "", "No.")[next(odd) % 4], truncated=cut
    )
    sums = tallied(table, rules)
    quarter = {name: sums[name] / len(asked) for name in ("truncated", "at_limit", "unparseable", "refused")}
    assert all(value == pytest.approx(0.25, abs=0.002) for value in quarter.values())
    everything_cut = replace(
        table,
        utterances=Utterances(
            asked=asked, text=np.full(len(asked), "Yes.", dtype=object), truncated=np.ones(len(asked), dtype=bool)
        ),
    )
    sums = tallied(everything_cut, rules)
    assert (sums["at_limit"], sums["truncated"]) == (len(asked), 0), "a yes before the limit is a yes"


def test_a_model_that_agrees_with_whatever_is_presumed() -> None:
    found = figures(lambda row: "It is large." if row["kind"] == "false_premise" else "A")
    assert found["false_premise_acceptance"] == 1
    assert found["none_of_above_accuracy"] == 0
    assert 0.2 < (found["option_accuracy"] or 0) < 0.5, "the control is at A in a third of the sets"
    assert found["unparseable_rate"] is not None


def test_a_model_that_does_not_look() -> None:
    """Always the truth of the study, whatever image is given."""
    found = figures(lambda row: "Yes." if row["kind"] == "wrong_image" else perfect(row))
    assert found["wrong_image_yes"] == 1
    assert found["pope_recall"] == 1


def test_nothing_asked_is_told_with_its_reason() -> None:
    rules = asking()
    table = replace(answered(truth_of(some_truth(50)), Asking.of([]), perfect), utterances=None)
    rows = rows_of(rules, table)
    assert not rows.values.any()
    assert "no questions were asked" in rows.why_not["probing"]
    found = assess(rules, sketch_shard(rules, table))
    assert found.outcome is Outcome.INSUFFICIENT
    told = [item for item in found.measurements if item.metric == "pope_f1_random"]
    assert told
    assert all(item.value is None and "not asked" in item.reason for item in told)


def test_metrics_are_declared_with_their_gaps() -> None:
    names = set(metrics_of(FAMILY))
    for kind in UNTRUE:
        assert {f"pope_f1_{kind}", f"pope_f1_{kind}_difference", f"pope_accuracy_{kind}"} <= names
    assert {"yes_bias", "d_prime", "paired_accuracy_difference", "refusal_rate", "false_premise_acceptance"} <= names
    assert "yes_ratio_difference" not in names, "a ratio of yes is described, not judged"
    used = {name for item in FAMILY.shares for name in (*item.numerator, *item.denominator)}
    assert used <= set(COLUMNS)
