"""Predictions on their way through the store, and their join with the reference standard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CohortError
from evaluation.execution.predictions import from_bytes, join_batches, join_reference, to_bytes
from models_registry.adapters.base import Predictions
from models_registry.cohorts import ReferenceTable, convert_cohort, open_cohort

NAMES = st.lists(st.text(min_size=1, max_size=12), max_size=3, unique=True)
SCORES = st.one_of(st.just(np.nan), st.floats(0, 1))
DECISIONS = st.sampled_from([-1, 0, 1])
TEXTS = st.one_of(st.none(), st.text(max_size=30))


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    ids = draw(st.lists(st.text(min_size=1, max_size=8), max_size=6, unique=True))

    def columns(values: st.SearchStrategy, dtype: type) -> dict:
        size = len(ids)
        return {name: np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype) for name in draw(NAMES)}

    return Predictions(
        study_ids=tuple(ids),
        scores=columns(SCORES, np.float64),
        decisions=columns(DECISIONS, np.int8),
        texts=columns(TEXTS, object),
    )


def same(one: Predictions, other: Predictions) -> None:
    assert one.study_ids == other.study_ids
    for kind in ("scores", "decisions", "texts"):
        left, right = getattr(one, kind), getattr(other, kind)
        assert set(left) == set(right)
        for name in left:
            assert left[name].dtype == right[name].dtype
            np.testing.assert_array_equal(left[name], right[name])


@settings(max_examples=60, deadline=None)
@given(predictions())
def test_what_went_in_comes_out(made: Predictions) -> None:
    data = to_bytes(made)
    same(from_bytes(data), made)
    assert to_bytes(from_bytes(data)) == data


def test_equal_predictions_give_equal_bytes() -> None:
    forwards = {name: np.array([0.5, np.nan]) for name in ("a", "b")}
    backwards = {name: forwards[name].copy() for name in ("b", "a")}
    one, other = (Predictions(study_ids=("s1", "s2"), scores=scores) for scores in (forwards, backwards))
    assert to_bytes(one) == to_bytes(other)
    changed = Predictions(study_ids=("s1", "s2"), scores=forwards | {"a": np.array([0.5, 0.0])})
    assert to_bytes(changed) != to_bytes(one)


def test_batches_are_joined_in_their_order() -> None:
    parts = [
        Predictions(
            study_ids=ids,
            scores={"x": np.array(scores)},
            decisions={"x": np.array(said, np.int8)},
            texts={"generated": np.array(texts, object)},
        )
        for ids, scores, said, texts in (
            (("a", "b"), [0.1, np.nan], [0, -1], ["clear", None]),
            (("c",), [0.9], [1], ["Erguss"]),
        )
    ]
    joined = join_batches(parts)
    assert joined.study_ids == ("a", "b", "c")
    np.testing.assert_array_equal(joined.scores["x"], [0.1, np.nan, 0.9])
    assert joined.decisions["x"].tolist() == [0, -1, 1] and joined.decisions["x"].dtype == np.int8
    assert joined.texts["generated"].tolist() == ["clear", None, "Erguss"]
    same(join_batches([joined]), joined)


def reference(studies: list[str]) -> ReferenceTable:
    return ReferenceTable(
        patient_ids=np.array([f"p{study}" for study in studies], object),
        study_ids=np.array(studies, object),
        attributes={"sex": np.array(["F"] * len(studies), object)},
        labels={"x": np.arange(len(studies), dtype=np.int8) % 2},
    )


def test_predictions_follow_their_study_not_their_row() -> None:
    made = Predictions(
        study_ids=("c", "a", "b", "other"),
        scores={"x": np.array([0.3, 0.1, 0.2, 0.9])},
        decisions={"x": np.array([1, 0, -1, 1], np.int8)},
        texts={"generated": np.array(["C", "A", None, "O"], object)},
    )
    table = join_reference(reference(["a", "b", "c"]), made)
    assert table.study_ids.tolist() == ["a", "b", "c"]
    assert table.patient_ids.tolist() == ["pa", "pb", "pc"]
    assert table.scores["x"].tolist() == [0.1, 0.2, 0.3]
    assert table.decisions["x"].tolist() == [0, -1, 1]
    assert table.texts["generated"].tolist() == ["A", None, "C"]
    assert table.labels["x"].tolist() == [0, 1, 0] and table.attributes["sex"].tolist() == ["F"] * 3


def test_a_study_without_an_answer_is_never_given_anothers() -> None:
    with pytest.raises(KeyError):
        join_reference(reference(["a", "b"]), Predictions(study_ids=("a",), scores={"x": np.array([0.1])}))


def test_the_experts_report_stands_beside_the_models_and_is_not_replaced_by_it() -> None:
    base = reference(["a", "b"])
    experts = ReferenceTable(
        patient_ids=base.patient_ids,
        study_ids=base.study_ids,
        attributes=base.attributes | {"split": np.array(["test", None], object)},
        labels=base.labels,
        texts={"reference": np.array(["Effusion.", None], object)},
    )
    said = {"generated": np.array(["B", "A"], object), "reference": np.array(["forged", "forged"], object)}
    table = join_reference(experts, Predictions(study_ids=("b", "a"), texts=said))
    assert table.texts["reference"].tolist() == ["Effusion.", None]
    assert table.texts["generated"].tolist() == ["A", "B"]
    assert table.splits is not None and table.splits.tolist() == ["test", None]
    assert join_reference(base, Predictions(study_ids=("b", "a"))).splits is None


def test_reports_of_a_registered_cohort_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "cohort.csv"
    source.write_text(
        "patient_id,study_id,sex,split,label.x,text.reference\np1,s1,F,test,1,Small effusion.\np2,s2,M,train,0,\n",
        encoding="utf-8",
    )
    convert_cohort(source, mapping=None, destination=tmp_path / "out")
    reader = open_cohort(tmp_path / "out")
    shards = [reader.reference(shard, ["sex", "split"], texts=["reference"]) for shard in reader.shards]
    found = {
        study: text for table in shards for study, text in zip(table.study_ids, table.texts["reference"], strict=True)
    }
    assert found == {"s1": "Small effusion.", "s2": None}
    assert {value for table in shards for value in table.attributes["split"]} == {"test", "train"}
    assert reader.reference(0, ["sex"]).texts == {}
    with pytest.raises(CohortError, match="no such column"):
        reader.reference(0, texts=["generated"])
