"""What each study contributes, by a loop over its questions; groups; shares of the patients in any order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.engine import Protocol, ShardTable
from evaluation.engine.asking import Asking
from evaluation.engine.assessment import assess
from evaluation.engine.grouping import UNKNOWN
from evaluation.engine.probing.answers import parse_answer
from evaluation.engine.records import Outcome
from evaluation.engine.sketch import sketch_shard
from evaluation.engine.sketches.counts import all_groupings
from evaluation.engine.sketches.tallies import TallySketch
from evaluation.engine.suites.hallucination.answers import COLUMNS, FAMILY, UNTRUE, rows_of
from tests.engine.probing_builders import (
    answered,
    asking,
    perfect,
    planned,
    rows_as_dicts,
    some_truth,
    truth_of,
)  # fmt: skip

STUDIES = 600
YES_OR_NO = ("present", *UNTRUE)


def tallied(table: ShardTable, rules: Protocol | None = None) -> dict[str, int]:
    values = rows_of(rules or asking(), table).values
    return dict(zip(COLUMNS, values.sum(axis=0).tolist(), strict=True))


def sketched(table: ShardTable, rules: Protocol) -> TallySketch:
    return TallySketch.from_rows(FAMILY, rows_of(rules, table), table.patient_ids, all_groupings(rules, table))


def test_samples_and_changed_studies_are_not_counted_here() -> None:
    rules = asking(studies=STUDIES)
    rows = truth_of(some_truth(STUDIES, 8))
    asked = planned(rules, rows)
    plain = tallied(answered(rows, asked, perfect))
    some = asked.rows(np.flatnonzero(asked.kind == "present"))

    def as_condition(name: str) -> Asking:
        return replace(some, condition=np.full(len(some), name, dtype=object))

    report = Asking.of([{"study": 0, "kind": "report"}])
    more = asked.join(*(as_condition(name) for name in ("sampled", "blank", "swapped", "paraphrase")), report)
    assert (
        tallied(answered(rows, more, lambda row: perfect(row) if row["kind"] != "report" else "No effusion.")) == plain
    )


def test_groups_are_measured_apart_and_a_planted_gap_is_found() -> None:
    """Women's findings are denied half of the time: their F1 is lower, by more than the margin of .1."""
    rules = asking(
        studies=900,
        criteria=[
            {
                "id": "f1",
                "metric": "pope_f1_random_difference",
                "attribute": "sex",
                "direction": "at_most",
                "margin": 0.1,
            }
        ],
    )
    rows = truth_of(some_truth(900, 9))
    sex = ["F", "M", None] * 300
    rng = np.random.default_rng(0)

    def speaker(row: dict[str, Any]) -> str:
        missed = row["kind"] == "present" and sex[row["study"]] == "F" and rng.random() < 0.5
        return "No." if missed else perfect(row)

    table = answered(rows, planned(rules, rows), speaker, sex=sex)  # type: ignore[arg-type]
    found = assess(rules, sketch_shard(rules, table))
    by_group = {
        item.group: item for item in found.measurements if item.metric == "pope_f1_random" and item.attribute == "sex"
    }
    assert by_group["M"].value == 1
    assert by_group["F"].value == pytest.approx(2 * 0.5 / 1.5, abs=0.06)
    assert by_group[UNKNOWN].value == 1
    assert by_group["F"].low < by_group["F"].value < by_group["F"].high  # type: ignore[operator]
    assert [item.outcome for item in found.verdicts] == [Outcome.FAIL]
    support = [
        item
        for item in found.measurements
        if item.metric == "support" and item.group == "All" and item.label == "answers"
    ]
    assert support[0].value == sum((rows.truth == 0).any(axis=1))


def test_any_number_of_shares_gives_the_same_bytes() -> None:
    rules = asking(studies=500)
    rows = truth_of(some_truth(400, 10), per_patient=2)
    asked = planned(rules, rows)
    rng = np.random.default_rng(1)
    table = answered(rows, asked, lambda row: str(rng.choice(["Yes.", "No.", "", "Perhaps.", "A"])))
    whole = sketched(table, rules).to_bytes()
    owner = np.array([int(name[1:]) % 8 for name in rows.patient_ids])
    parts = []
    for shard in range(8):
        inside = np.flatnonzero(owner == shard)
        parts.append(sketched(_taken(table, inside), rules))
    merged = parts[5]
    for shard in (7, 0, 2, 6, 1, 3, 4):
        merged = merged.merge(parts[shard])
    assert merged.to_bytes() == whole
    assert TallySketch.from_bytes(whole, FAMILY).to_bytes() == whole


def _taken(table: ShardTable, inside: Any) -> ShardTable:
    assert table.utterances is not None
    mine = np.isin(table.utterances.asked.study, inside)
    said = table.utterances.rows(mine)
    moved = replace(said.asked, study=np.searchsorted(inside, said.asked.study))
    return replace(
        table,
        patient_ids=table.patient_ids[inside],
        study_ids=table.study_ids[inside],
        attributes={name: values[inside] for name, values in table.attributes.items()},
        utterances=replace(said, asked=moved),
    )


def test_every_count_is_what_a_loop_over_the_rows_counts() -> None:
    rules = asking(studies=300)
    rows = truth_of(some_truth(300, 11))
    asked = planned(rules, rows)
    rng = np.random.default_rng(2)
    table = answered(rows, asked, lambda row: str(rng.choice(["Yes.", "No.", "", "Huh", "A", "D", "There is none."])))
    values = rows_of(rules, table).values
    assert table.utterances is not None
    for study in range(0, 300, 7):
        counted = dict.fromkeys(COLUMNS, 0)
        mine = [
            (row, str(parse_answer(text, kind=row["kind"], finding=row["finding"])))
            for row, text in zip(rows_as_dicts(asked), table.utterances.text, strict=True)
            if row["study"] == study
        ]
        counted["studies"], counted["questions"] = int(bool(mine)), len(mine)
        ill = any(row["kind"] == "present" for row, _ in mine)
        for row, said in mine:
            kind = row["kind"]
            if said in {"refused", "unparseable"}:
                counted[said] += 1
            if kind in YES_OR_NO and ill:
                counted[kind] += 1
                if said in {"yes", "no"}:
                    counted[f"{kind}_{said}"] += 1
            elif kind in UNTRUE:
                counted["healthy"] += 1
                counted["healthy_yes"] += said == "yes"
            if kind == "false_premise":
                counted["premises"] += 1
                counted["premises_accepted"] += said == "yes"
            if kind == "wrong_image":
                counted["swapped"] += 1
                counted["swapped_yes"] += said == "yes"
            if kind == "none_of_above":
                name = "sets" if row["expected"] == "ABCDE"[row["finding"].count("|") + 1] else "controls"
                counted[name] += 1
                counted[f"{name}_right"] += said == row["expected"]
        for number in {row["pair"] for row, _ in mine if row["pair"] >= 0}:
            both = [said == row["expected"] for row, said in mine if row["pair"] == number]
            counted["twins"] += 1
            counted["twins_right"] += all(both)
        counted["hits"], counted["misses"] = 3 * counted["present_yes"], 3 * counted["present_no"]
        counted["alarms"] = sum(counted[f"{kind}_yes"] for kind in UNTRUE)
        counted["rejections"] = sum(counted[f"{kind}_no"] for kind in UNTRUE)
        assert dict(zip(COLUMNS, values[study].tolist(), strict=True)) == counted
