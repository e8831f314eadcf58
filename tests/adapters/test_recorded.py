"""Prediction logs: looked up by study, refused with the row when a value is wrong."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import AdapterError
from models_registry.adapters.base import ADAPTERS, Capability, InferenceSettings
from models_registry.cohorts.schema import StudyBatch

RECORDED = ADAPTERS.get("recorded")
GOOD = "study_id,score.effusion,pred.pneumothorax,text.generated\n007,0.25,1,No effusion.\n8,,0,\n9,1,,Clear.\n"


def log(folder, text):
    (folder / "predictions.csv").write_text(text)
    return folder


def refused(folder) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        RECORDED.inspect(folder)
    assert caught.value.remedy
    return caught.value


def test_predictions_are_found_by_study(tmp_path):
    adapter = RECORDED.load(log(tmp_path, GOOD), settings=InferenceSettings())
    wanted = ("9", "007", "nobody", "8")
    found = adapter.predict(StudyBatch(study_ids=wanted, patient_ids=wanted, images=[None] * 4))
    assert found.study_ids == wanted
    np.testing.assert_array_equal(found.scores["effusion"], [1, 0.25, np.nan, np.nan])
    assert found.decisions["pneumothorax"].tolist() == [-1, 1, -1, 0]
    assert found.texts["generated"].tolist()[:3] == ["Clear.", "No effusion.", None]


def test_inspection_says_that_no_weights_were_run(tmp_path):
    info = RECORDED.inspect(log(tmp_path, GOOD))
    assert not info.runs_weights
    assert info.labels == ("effusion", "pneumothorax")
    assert info.capabilities == {Capability.CLASSIFY, Capability.GENERATE}


@pytest.mark.parametrize(
    ("text", "column", "row"),
    [
        ("study,score.effusion\n1,0.5\n", "study_id", None),
        ("study_id,score.effusion\n1,0.5\n1,0.6\n", "study_id", 2),
        ("study_id,score.effusion\n1,0.5\n,0.6\n", "study_id", 2),
        ("study_id,score.effusion\n1,0.5\n2,1.5\n", "score.effusion", 2),
        ("study_id,score.effusion\n1,0.5\n2,-0.1\n", "score.effusion", 2),
        ("study_id,score.effusion\n1,high\n", "score.effusion", None),
        ("study_id,pred.effusion\n1,1\n2,2\n", "pred.effusion", 2),
        ("study_id,age\n1,50\n", None, None),
    ],
)
def test_a_bad_log_is_refused_with_its_place(tmp_path, text, column, row):
    error = refused(log(tmp_path, text))
    assert (error.file, error.column, error.row) == ("predictions.csv", column, row)


def test_nan_is_no_way_to_leave_a_score_out(tmp_path):
    table = pa.table({"study_id": ["1", "2", "3"], "score.effusion": pa.array([0.5, None, float("nan")])})
    pq.write_table(table, tmp_path / "predictions.parquet")
    error = refused(tmp_path)
    assert (error.column, error.row) == ("score.effusion", 3)


def test_exactly_one_log_is_wanted(tmp_path):
    assert "0 of them" in refused(tmp_path).message
    log(tmp_path, GOOD)
    (tmp_path / "predictions.parquet").write_bytes(b"")
    assert "2 of them" in refused(tmp_path).message


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "predictions.parquet").write_bytes(b"no parquet")
    assert refused(tmp_path).file == "predictions.parquet"


@pytest.mark.parametrize(
    ("columns", "column", "said"),
    [
        ({"study_id": [[1], [2]]}, "study_id", "the type list"),
        ({"study_id": [b"\xff", b"\xfe"]}, "study_id", "the type binary"),
        ({"score.x": [2**63 - 1, 0]}, "score.x", "outside 0 to 1"),
        ({"score.x": [float("inf"), 0.5]}, "score.x", "outside 0 to 1"),
        ({"score.x": [None, None]}, "score.x", "Every score is missing"),
        ({"score.x": [[0.1], [0.2]]}, "score.x", "not numeric"),
        ({"study_id": pa.array([], pa.string()), "score.x": pa.array([], pa.float64())}, None, "no study"),
    ],
)
def test_columns_of_the_wrong_kind_are_refused(tmp_path, columns, column, said):
    pq.write_table(
        pa.table({"study_id": ["a", "b"], "score.x": [0.1, 0.2]} | columns), tmp_path / "predictions.parquet"
    )
    error = refused(tmp_path)
    assert error.column == column
    assert said in error.message


@pytest.mark.parametrize("name", ["study_id", "score.x"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, name):
    table = pa.table({"study_id": ["a", "b"], "score.x": [0.1, 0.2]})
    pq.write_table(table.append_column(name, table[name]), tmp_path / "predictions.parquet")
    assert refused(tmp_path).column == name
    (tmp_path / "predictions.parquet").unlink()
    assert refused(log(tmp_path, f"study_id,score.x,{name}\na,0.1,0.1\n")).column == name


def test_where_the_log_lies_on_the_server_is_not_told(tmp_path):
    (tmp_path / "predictions.parquet").write_bytes(b"no parquet at all, whatever its name says")
    assert str(tmp_path) not in str(refused(tmp_path))
