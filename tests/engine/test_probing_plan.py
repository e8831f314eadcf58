"""Which questions are asked: balance, negatives by brute force, shares of the patients, partners, what is not asked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ProtocolError
from evaluation.engine.asking import CohortTruth, TruthRows
from evaluation.engine.probing import not_asked, options_of, plan_probes
from evaluation.engine.protocol import Probing
from tests.engine.probing_builders import (
    ALL_KINDS,
    FINDINGS,
    IMAGE,
    asking,
    planned,
    rows_as_dicts,
    some_truth,
    truth_of,
)

UNTRUE = ("random", "popular", "adversarial")
E_, P_, C_, M_, D_, X_ = range(6)


def by_study(rows: list[dict[str, Any]], *kinds: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] in kinds:
            found.setdefault(int(row["study"]), []).append(row)
    return found


def part(rows: TruthRows, chosen: Any) -> TruthRows:
    return TruthRows(
        study_ids=rows.study_ids[chosen],
        patient_ids=rows.patient_ids[chosen],
        findings=rows.findings,
        truth=rows.truth[chosen],
    )


def test_every_question_is_true_or_untrue_of_its_study_and_nothing_open_is_asked() -> None:
    rows = truth_of(some_truth(400))
    asked = rows_as_dicts(planned(asking(), rows))
    assert {row["kind"] for row in asked} == {"present", *ALL_KINDS}
    for row in asked:
        said = {name: int(rows.truth[row["study"], FINDINGS.index(name)]) for name in options_of(row["finding"])}
        if row["kind"] in {"present", "wrong_image"}:
            assert list(said.values()) == [1]
        elif row["kind"] == "none_of_above":
            letters = dict(zip("ABCDEFG", [*said, "none"], strict=False))
            right = [letter for letter, name in letters.items() if said.get(name) == 1] or [list(letters)[-1]]
            assert [row["expected"]] == right
            assert -1 not in said.values()
        else:
            assert list(said.values()) == [0]


def test_true_and_untrue_questions_are_as_many_in_every_study_with_a_finding() -> None:
    rows = truth_of(some_truth(400, 1))
    asked = rows_as_dicts(planned(asking(per_study=3), rows))
    true = by_study(asked, "present")
    for kind in UNTRUE:
        counts = {study: len(items) for study, items in by_study(asked, kind).items() if study in true}
        assert counts == {study: len(items) for study, items in true.items()}
    for study, items in true.items():
        present, absent = (rows.truth[study] == 1).sum(), (rows.truth[study] == 0).sum()
        assert len(items) == len({row["finding"] for row in items}) == min(3, present, absent)
    healthy = [study for study in by_study(asked, "random") if study not in true]
    assert healthy
    assert all(not (rows.truth[study] == 1).any() for study in healthy)
    assert not set(by_study(asked, "adversarial")) - set(true), "nothing present can mislead"


def test_popular_and_misleading_negatives_are_those_that_brute_force_finds() -> None:
    rows = truth_of(some_truth(300, 2), per_patient=2)
    asked = rows_as_dicts(planned(asking(per_study=2), rows))
    truth = rows.truth.tolist()
    frequency = {name: sum(row[at] == 1 for row in truth) for at, name in enumerate(FINDINGS)}

    def together(one: str, two: str) -> int:
        a, b = FINDINGS.index(one), FINDINGS.index(two)
        return sum(row[a] == 1 and row[b] == 1 for row in truth)

    for kind in ("popular", "adversarial"):
        for study, items in by_study(asked, kind).items():
            present = [name for at, name in enumerate(FINDINGS) if truth[study][at] == 1]
            absent = [name for at, name in enumerate(FINDINGS) if truth[study][at] == 0]

            def weight(name: str, present: list[str] = present, kind: str = kind) -> int:
                return frequency[name] if kind == "popular" else sum(together(name, other) for other in present)

            best = sorted(absent, key=lambda name: (-weight(name), -frequency[name], name))
            assert [row["finding"] for row in items] == best[: len(items)]


def test_ties_go_by_frequency_and_then_by_name() -> None:
    # Effusion is present alone; nothing else ever goes with it. Edema is the most frequent; the others tie.
    truth = [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]
    asked = rows_as_dicts(planned(asking(per_study=2), truth_of(truth)))
    misleading = [row["finding"] for row in asked if row["kind"] == "adversarial" and row["study"] == 0]
    assert misleading == ["edema"], "one finding is present, so one negative is asked"
    assert [row["finding"] for row in asked if row["kind"] == "popular" and row["study"] == 2] == ["edema"]
    without_edema = [[*row[:D_], -1, *row[X_:]] for row in truth]
    asked = rows_as_dicts(planned(asking(), truth_of(without_edema)))
    chosen = [row["finding"] for row in asked if row["kind"] == "adversarial" and row["study"] == 0]
    assert chosen == ["consolidation"], "consolidation and pneumothorax are as frequent, and c comes before p"


def test_every_true_question_has_one_misleading_twin() -> None:
    rows = truth_of(some_truth(200, 3))
    asked = planned(asking(per_study=2), rows)
    twins: dict[tuple[int, int], list[str]] = {}
    for row in rows_as_dicts(asked):
        if row["pair"] >= 0:
            twins.setdefault((row["study"], row["pair"]), []).append(row["kind"])
    assert twins
    assert all(sorted(kinds) == ["adversarial", "present"] for kinds in twins.values())
    assert (asked.pair[asked.kind == "present"] >= 0).all()
    alone = planned(asking(kinds=["random"]), rows)
    assert (alone.pair == -1).all()


def test_random_negatives_are_equally_likely() -> None:
    truth = np.zeros((3000, 6), dtype=np.int8)
    truth[:, E_] = 1
    asked = planned(asking(per_study=1, kinds=["random"], studies=3000), truth_of(truth))
    counts = Counter(asked.finding[asked.kind == "random"])
    assert set(counts) == set(FINDINGS) - {"effusion"}
    assert sum((count - 600) ** 2 / 600 for count in counts.values()) < 20.5  # chi-square, 4 df: p < .0004


def test_line_25_wrong_images_are_of_another_patient_with_other_labels() -> None:
    rows = truth_of(some_truth(200, 4), per_patient=3)
    asked = [row for row in rows_as_dicts(planned(asking(), rows)) if row["kind"] == "wrong_image"]
    assert len(asked) > 100
    for row in asked:
        at = FINDINGS.index(row["finding"])
        assert (row["condition"], row["expected"]) == ("swapped", "no")
        assert rows.patient_ids[row["partner"]] != rows.patient_ids[row["study"]]
        assert (rows.truth[row["study"], at], rows.truth[row["partner"], at]) == (1, 0)
    others = [row for row in rows_as_dicts(planned(asking(), rows)) if row["kind"] != "wrong_image"]
    assert {(row["condition"], row["partner"]) for row in others} == {("plain", -1)}


def test_no_wrong_image_without_a_partner_or_an_image() -> None:
    same_patient = truth_of([[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], per_patient=2)
    assert "wrong_image" not in set(planned(asking(), same_patient).kind)
    rows = truth_of(some_truth(50))
    blind = plan_probes(asking(), rows, CohortTruth.of(rows), reads=frozenset({"text.indication"}))
    assert "wrong_image" not in set(blind.kind)
    text = Probing(findings=FINDINGS, kinds=ALL_KINDS, modality="text.findings")
    worded = planned(replace(asking(), probing=text), rows)
    assert "wrong_image" not in set(worded.kind)
    probing = Probing(findings=FINDINGS, kinds=ALL_KINDS)
    assert not_asked(probing, IMAGE) == {}
    assert not_asked(probing, frozenset()) == {"wrong_image": "the model reads no image"}
    assert "text.findings" in not_asked(text, IMAGE)["wrong_image"]
    assert not_asked(Probing(findings=FINDINGS), frozenset()) == {}


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_any_number_of_shares_plans_the_same_questions(shards: int) -> None:
    """Each share with the cohort's sums, in any order of its rows, asks what the whole asks."""
    rows = truth_of(some_truth(480, 5), per_patient=2)
    cohort, rules = CohortTruth.of(rows), asking(studies=200, seed=7)

    def told(found: TruthRows) -> Counter[tuple[Any, ...]]:
        asked = rows_as_dicts(planned(rules, found, cohort))
        return Counter(
            (
                found.study_ids[row["study"]],
                *(row[name] for name in ("kind", "finding", "expected", "pair", "question")),
            )
            for row in asked
        )

    owner = np.array([int(hashlib.sha256(str(name).encode()).hexdigest(), 16) % shards for name in rows.patient_ids])
    rng = np.random.default_rng(shards)
    found: Counter[tuple[Any, ...]] = Counter()
    for shard in range(shards):
        found += told(part(rows, rng.permutation(np.flatnonzero(owner == shard))))
    assert found == told(rows)
    merged = CohortTruth.of(part(rows, owner == 0))
    for shard in range(1, shards):
        merged = merged.merge(CohortTruth.of(part(rows, owner == shard)))
    assert (merged.together == cohort.together).all()


def test_about_as_many_studies_as_asked_for_and_whole_patients() -> None:
    rows = truth_of(some_truth(6000, 6), per_patient=3)
    asked = planned(asking(studies=600, kinds=["random"]), rows)
    patients = {rows.patient_ids[study] for study in asked.study}
    inside = [study for study, patient in enumerate(rows.patient_ids) if patient in patients]
    assert abs(len(inside) - 600) < 150
    askable = [study for study in inside if (rows.truth[study] == 0).any()]
    assert set(asked.study) == set(askable), "all studies of a patient, or none"
    larger = planned(asking(studies=1200, kinds=["random"]), rows)
    assert set(asked.study) <= set(larger.study), "more studies ask about the same patients and others"
    assert set(planned(asking(studies=600, kinds=["random"], seed=1), rows).study) != set(asked.study)
    assert set(planned(asking(studies=6000, kinds=["random"]), rows).study) == set(
        np.flatnonzero((rows.truth == 0).any(axis=1))
    )


def test_leaving_out_a_kind_changes_no_row_of_the_others() -> None:
    rows = truth_of(some_truth(100, 8))
    whole = rows_as_dicts(planned(asking(), rows))
    for left_out in ("random", "popular", "false_premise", "none_of_above", "wrong_image"):
        kinds = [kind for kind in ALL_KINDS if kind != left_out]
        expected = [row for row in whole if row["kind"] != left_out]
        assert rows_as_dicts(planned(asking(kinds=kinds), rows)) == expected


def test_controls_have_one_present_finding_at_every_place() -> None:
    rows = truth_of(some_truth(600, 9))
    asked = [row for row in rows_as_dicts(planned(asking(kinds=["none_of_above"]), rows)) if "|" in row["finding"]]
    letters = Counter(row["expected"] for row in asked)
    none = [row for row in asked if row["expected"] == "ABCD"[len(options_of(row["finding"]))]]
    assert len(none) > 300
    places = [letters[letter] for letter in "AB"]
    assert min(places) > 80, "the right answer is not always at one place"
    for row in asked:
        assert f"{row['expected']}) " in row["question"]
        assert "none of the above" in row["question"].splitlines()[len(options_of(row["finding"])) + 1]


def test_the_cohorts_sums_may_name_more_findings_in_another_order() -> None:
    rows = truth_of(some_truth(100, 10))
    names = ("hernia", *reversed(FINDINGS))
    wide = np.hstack([np.ones((100, 1), dtype=np.int8), rows.truth[:, ::-1]])
    assert rows_as_dicts(planned(asking(), rows)) == rows_as_dicts(
        planned(asking(), rows, CohortTruth.of(truth_of(wide, names)))
    )
    with pytest.raises(ProtocolError, match="lack the finding 'cardiomegaly'"):
        planned(asking(), rows, CohortTruth.of(truth_of(rows.truth[:, :3], FINDINGS[:3])))


def test_what_cannot_be_asked_is_refused_by_name() -> None:
    rows = truth_of([[0, 1]], ("effusion", "No Finding"))
    with pytest.raises(ProtocolError, match="'No Finding'"):
        planned(asking(("effusion", "No Finding")), rows)
    with pytest.raises(ProtocolError, match=r"'a\|b'"):
        planned(asking(("effusion", "a|b")), truth_of([[0, 1]], ("effusion", "a|b")))


def test_nothing_is_asked_of_nobody() -> None:
    assert len(planned(asking(), truth_of(np.zeros((0, 6))))) == 0
    assert len(planned(asking(), truth_of(np.full((5, 6), -1)))) == 0
    assert len(planned(asking(), truth_of(np.ones((5, 6))))) == 0, "an untrue question cannot be asked"


@settings(max_examples=60, deadline=None)
@given(
    truth=st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=6, max_size=6), max_size=12),
    kinds=st.sets(st.sampled_from(ALL_KINDS), min_size=1),
    per_study=st.integers(1, 7),
    studies=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_truth_gives_a_sound_plan(
    truth: list[list[int]], kinds: set[str], per_study: int, studies: int, seed: int
) -> None:
    rows = truth_of(np.array(truth, dtype=np.int8).reshape(-1, 6), per_patient=2)
    rules = asking(kinds=sorted(kinds), per_study=per_study, studies=studies, seed=seed)
    asked = planned(rules, rows)
    assert set(asked.kind) <= {"present", *kinds}
    true = Counter(asked.study[asked.kind == "present"].tolist())
    for kind in kinds & set(UNTRUE):
        found = Counter(asked.study[asked.kind == kind].tolist())
        assert all(found[study] == count for study, count in true.items())
    assert all(question.endswith(("?", ".", "above")) for question in asked.question)
    assert json.dumps(rows_as_dicts(asked), default=str) == json.dumps(rows_as_dicts(planned(rules, rows)), default=str)
