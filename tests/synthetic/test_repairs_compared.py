"""The comparison of two versions: intervals against a bootstrap, planted harm, and what is not shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import ConflictError
from evaluation.engine import Protocol, assess, sketch_shard
from evaluation.engine.paired import Pairs, gap_change, rate_change
from evaluation.engine.records import ShardTable
from evaluation.engine.suites.fairness.rates import RATES
from synthetic.repairing.comparing import Answer, Comparison, Target, compare
from synthetic.repairing.wishes import is_balanced, rates_of, wishes_for

RULES = Protocol.from_yaml(
    """
auscult_protocol: 1
name: gap
title: Findings are missed equally often
labels: [{name: effusion}, {name: mass}]
attributes:
  - {name: sex, values: [F, M]}
  - {name: age_band, column: age, bands: [0, 50, 70], plausible: [0, 120]}
intersections: [[sex, age_band]]
criteria:
  - {id: sex-tpr, title: Equal sensitivity, metric: equal_opportunity_difference, attribute: sex,
     direction: at_most, margin: 0.10}
minimum: {cell: 11, rate_denominator: 30}
bootstrap: {replicates: 200}
"""
)
TARGET = Target(
    criterion="sex-tpr", metric="equal_opportunity_difference", label="effusion", attribute="sex", groups=("F", "M"),
    group="F",
)  # fmt: skip
PATIENTS = 1200


def scene(hit: dict[str, float], *, alarm: float = 0.1, mass: float = 0.8, seed: int = 0) -> ShardTable:
    """Two studies of each patient; what the model finds rests on a draw of the patient, equal for every version."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(PATIENTS), 2)
    n = len(patients)
    sex = np.where(patients % 2 == 0, "F", "M").astype(object)
    ease = 0.7 * np.repeat(rng.random(PATIENTS), 2) + 0.3 * rng.random(n)
    ease = ease.argsort().argsort() / n
    own = np.random.default_rng(100 + seed).random(n)
    ease = np.where(own < 0.1, own * 10, ease)
    labels = {name: (rng.random(n) < 0.5).astype(np.int8) for name in ("effusion", "mass")}
    age = rng.integers(20, 90, n).astype(object)
    chance = np.where(labels["effusion"] == 1, np.vectorize(hit.get)(sex), alarm)
    decisions = {"effusion": (ease < chance).astype(np.int8)}
    decisions["mass"] = (ease < np.where(labels["mass"] == 1, mass, 0.1)).astype(np.int8)
    return ShardTable(
        patient_ids=np.array([f"p{p}" for p in patients], dtype=object),
        study_ids=np.array([f"s{row}" for row in range(n)], dtype=object),
        attributes={"sex": sex, "age": age},
        labels=labels,
        decisions=decisions,
    )


def verdicts(table: ShardTable) -> list[dict[str, Any]]:
    found = assess(RULES, sketch_shard(RULES, table), cross_check=False, with_advice=False)
    return [item.to_dict() for item in found.verdicts]


def held(before: ShardTable, after: ShardTable) -> Comparison:
    return compare(RULES, before, after, target=TARGET, verdicts=(verdicts(before), verdicts(after)))


def test_a_gap_that_closed_is_improved_and_nothing_else_is_said_to_be_worse() -> None:
    before, after = scene({"F": 0.6, "M": 0.9}), scene({"F": 0.85, "M": 0.9}, seed=1)
    found = held(before, after)
    assert found.answer is Answer.IMPROVED and not found.levelled_down and not found.fallen
    assert found.gap is not None and found.gap["before"] == pytest.approx(-0.3, abs=0.06)
    assert found.gap["high"] < 0 and found.gap["after"] == pytest.approx(-0.05, abs=0.05)
    row = next(row for row in found.verdicts if row["label"] == "effusion")
    assert (row["before"]["outcome"], row["after"]["outcome"] != "fail") == ("fail", True)
    assert all(item["label"] != "effusion" or item["metric"] != "tpr" for item in found.worse)


def test_a_gap_that_grew_is_worse() -> None:
    found = held(scene({"F": 0.7, "M": 0.9}), scene({"F": 0.5, "M": 0.9}, seed=1))
    assert found.answer is Answer.WORSE and found.gap is not None and found.gap["low"] > 0
    assert {("tpr", "sex", "F"), ("tpr", "", "All")} <= {
        (item["metric"], item["attribute"], item["group"]) for item in found.worse if item["label"] == "effusion"
    }


def test_a_gap_that_was_turned_round_and_grew_is_worse() -> None:
    found = held(scene({"F": 0.75, "M": 0.85}), scene({"F": 0.95, "M": 0.6}, seed=1))
    assert found.answer is Answer.WORSE
    assert found.gap is not None and found.gap["before"] < 0 < found.gap["after"]


def test_a_gap_that_closed_because_others_are_served_worse_is_levelled_down() -> None:
    found = held(scene({"F": 0.6, "M": 0.9}), scene({"F": 0.55, "M": 0.6}))
    assert found.answer is Answer.IMPROVED and found.levelled_down
    assert ("tpr", "M") in {(item["metric"], item["group"]) for item in found.worse}


def test_harm_elsewhere_is_listed_though_the_gap_is_repaired() -> None:
    found = held(scene({"F": 0.6, "M": 0.9}), scene({"F": 0.9, "M": 0.9}, alarm=0.3, mass=0.5, seed=1))
    assert found.answer is Answer.IMPROVED
    worse = {(item["label"], item["metric"], item["group"]) for item in found.worse}
    assert {("effusion", "fpr", "F"), ("mass", "tpr", "All"), ("mass", "tpr", ">=70")} <= worse
    assert found.looked_at == 2 * 2 * (1 + 2 + 3 + 6)


def test_the_same_version_is_not_shown_to_improve() -> None:
    table = scene({"F": 0.6, "M": 0.9})
    found = held(table, table)
    assert found.answer is Answer.NOT_SHOWN and found.worse == ()
    assert found.gap is not None and (found.gap["value"], found.gap["low"], found.gap["different"]) == (0.0, None, None)
    other = held(table, scene({"F": 0.6, "M": 0.9}, seed=1))
    assert other.answer is Answer.NOT_SHOWN and other.gap is not None
    assert other.gap["low"] < 0 < other.gap["high"], "an interval that holds 0 shows nothing"


def test_a_rate_held_against_a_limit_is_turned_so_that_less_is_better() -> None:
    target = replace(TARGET, metric="tpr", groups=("F",))
    before, after = scene({"F": 0.6, "M": 0.9}), scene({"F": 0.8, "M": 0.9}, seed=1)
    found = compare(RULES, before, after, target=target, verdicts=([], []))
    assert found.answer is Answer.IMPROVED and found.gap is not None and found.gap["high"] < 0
    assert compare(RULES, after, before, target=target, verdicts=([], [])).answer is Answer.WORSE
    assert {item["group"] for item in found.rates} == {"F", "M"}


def test_order_does_not_matter_and_other_studies_are_refused() -> None:
    before, after = scene({"F": 0.6, "M": 0.9}), scene({"F": 0.85, "M": 0.9}, seed=1)
    turned = ShardTable(
        patient_ids=after.patient_ids[::-1],
        study_ids=after.study_ids[::-1],
        attributes={name: values[::-1] for name, values in after.attributes.items()},
        labels={name: values[::-1] for name, values in after.labels.items()},
        decisions={name: values[::-1] for name, values in after.decisions.items()},
    )
    assert held(before, turned).to_dict() == held(before, after).to_dict()
    strange = replace(after, study_ids=np.array([f"x{row}" for row in range(len(after))], dtype=object))
    with pytest.raises(ConflictError, match="not of the same studies"):
        held(before, strange)


def test_intervals_agree_with_a_bootstrap_of_patients() -> None:
    before, after = scene({"F": 0.6, "M": 0.9}), scene({"F": 0.8, "M": 0.88}, seed=1)
    patients = np.repeat(np.arange(PATIENTS), 2)
    pairs = Pairs(
        patients=patients, reference=before.labels["effusion"], before=before.decisions["effusion"],
        after=after.decisions["effusion"],
    )  # fmt: skip
    women = before.attributes["sex"] == "F"
    gap = gap_change(pairs, RATES["tpr"], (women, ~women), level=0.95, least=30)
    rate = rate_change(pairs, RATES["tpr"], women, level=0.95, least=30)
    rng, gaps, rates = np.random.default_rng(7), [], []
    ill = pairs.reference == 1
    for _ in range(1500):
        drawn = rng.integers(0, PATIENTS, PATIENTS)
        rows = (drawn[:, None] * 2 + np.arange(2)).ravel()
        w, i = women[rows], ill[rows]
        b, a = pairs.before[rows], pairs.after[rows]
        tpr = {(side, sex): v[i & (w == sex)].mean() for side, v in (("b", b), ("a", a)) for sex in (True, False)}
        gaps.append(abs(tpr["a", True] - tpr["a", False]) - abs(tpr["b", True] - tpr["b", False]))
        rates.append(tpr["a", True] - tpr["b", True])
    for change, draws in ((gap, gaps), (rate, rates)):
        assert change.low is not None and change.high is not None and change.value is not None
        assert (change.high - change.low) / 2 == pytest.approx(1.96 * np.std(draws), rel=0.08)
        assert change.value == pytest.approx(np.mean(draws), abs=0.01)
    first, second = (rate_change(replace(pairs, **{side: pairs.reference}), RATES["tpr"], women, level=0.95, least=30)
                     for side in ("before", "after"))  # fmt: skip
    assert first.before == second.after == 1.0


def test_few_patients_tell_nothing_at_all() -> None:
    pairs = Pairs(
        patients=np.arange(20), reference=np.ones(20, np.int8), before=np.zeros(20, np.int8), after=np.ones(20, np.int8)
    )
    found = rate_change(pairs, RATES["tpr"], np.ones(20, np.bool_), level=0.95, least=30)
    assert (found.before, found.after, found.value, found.low, found.n) == (None, None, None, None, 0)
    assert found.reason == "fewer than 30 patients in a group"


def test_wishes_follow_the_finding_and_the_group() -> None:
    facts: dict[str, Any] = {"label": "effusion", "attribute": "sex", "group": "F", "findings": {"effusion"}}
    half, rest = wishes_for(RULES, metric="equal_opportunity_difference", patients=41, **facts)
    assert (half.patients, half.findings, half.attributes) == (21, {"effusion": "present"}, {"sex": "F"})
    assert (rest.patients, rest.findings) == (20, {"effusion": "none"})
    [plain] = wishes_for(RULES, metric="fpr_difference", patients=41, **facts)
    assert (plain.patients, plain.findings) == (41, {})
    [unknown] = wishes_for(RULES, metric="tpr", patients=41, **facts | {"findings": set()})
    assert unknown.findings == {}
    assert is_balanced("equalized_odds_difference", "effusion", {"effusion"})
    assert rates_of("auroc_difference") == ()


@pytest.mark.parametrize(
    ("group", "least", "most"), [("<50", 0, 49), ("50-69", 50, 69), (">=70", 70, 120)]
)  # fmt: skip
def test_bands_become_bounds_that_lie_within(group: str, least: float, most: float) -> None:
    [wish] = wishes_for(
        RULES, metric="fpr", label="effusion", attribute="age_band", group=group, patients=30, findings=set()
    )
    assert (wish.least, wish.most) == ({"age": least}, {"age": most})


def test_intersections_unknown_groups_and_odd_ones() -> None:
    facts: dict[str, Any] = {"metric": "fpr", "label": "effusion", "patients": 30, "findings": set()}
    [wish] = wishes_for(RULES, attribute="sex & age_band", group="F & 50-69", **facts)
    assert (wish.attributes, wish.least, wish.most) == ({"sex": "F"}, {"age": 50}, {"age": 69})
    for attribute, group in (("sex", "Unknown"), ("age_band", "30-40"), ("sex & age_band", "F")):
        with pytest.raises(ConflictError):
            wishes_for(RULES, attribute=attribute, group=group, **facts)
    with pytest.raises(ConflictError, match="no number"):
        wishes_for(RULES, attribute="sex", group="F", **facts | {"patients": 19})
