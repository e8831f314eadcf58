"""Every bad input by name: each is found, with its place, and all of them at once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import CohortError
from models_registry.cohorts import FileKind, Mapping, convert_cohort, inspect_cohort, partition_by_patient
from models_registry.cohorts.reader import open_cohort
from tests.cohorts.conftest import GOOD, codes, found

Write = Callable[..., Path]


def test_a_good_file_has_no_problem(write_csv: Write) -> None:
    assert inspect_cohort(write_csv(*GOOD)).problems == ()


# What cannot be opened at all


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(CohortError, match="no such file"):
        inspect_cohort(tmp_path / name)


def test_a_folder_an_empty_file_and_a_workbook(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "book.csv").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    for name, message in [
        (".", "folder"),
        ("empty.csv", "empty"),
        ("empty.parquet", "empty"),
        ("book.csv", "Excel"),
    ]:
        with pytest.raises(CohortError, match=message) as caught:
            inspect_cohort(tmp_path / name)
        assert caught.value.remedy


def test_csv_named_parquet_and_a_parquet_cut_short(tmp_path: Path, write_parquet: Write) -> None:
    (tmp_path / "text.parquet").write_text("patient_id,study_id\n1,2\n")
    whole = write_parquet({"label.x": [0, 1]})
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-20])
    for name in ("text.parquet", "cut.parquet"):
        with pytest.raises(CohortError, match="cannot be read as Parquet"):
            inspect_cohort(tmp_path / name)


def test_binary_rubbish_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(CohortError, match="not text"):
        inspect_cohort(tmp_path / "x.csv")


def test_a_gzip_file_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(("\n".join(GOOD) * 50).encode())[:-12])
    with pytest.raises(CohortError, match="decompressed"):
        inspect_cohort(path)


def test_a_gzip_file_with_bytes_turned_round(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(("\n".join(GOOD) * 500).encode()))
    packed[12:40] = bytes(255 - byte for byte in packed[12:40])
    (tmp_path / "x.csv.gz").write_bytes(packed)
    with pytest.raises(CohortError, match="decompressed") as caught:
        inspect_cohort(tmp_path / "x.csv.gz")
    assert caught.value.file == "x.csv.gz" and caught.value.remedy


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_no_calendar_holds_in_utc(write_csv: Write, moment: str) -> None:
    rows = ["patient_id,study_id,study_time,label.x", "p1,s1,2024-01-01T00:00:00Z,1", f"p2,s2,{moment},0"]
    problem = found(write_csv(*rows), "wrong-type")
    assert (problem.column, problem.row, problem.count) == ("study_time", 2, 1)


def test_a_nul_in_a_value_or_a_name_is_none_in_what_is_kept(write_parquet: Write, tmp_path: Path) -> None:
    """PostgreSQL holds none, neither in text nor in JSON: what a cohort's page counts by would not be stored."""
    path = write_parquet({"sex": ["F\0", "M"], "ward\0": ["a", "b"], "label.x": [0, 1]})
    convert_cohort(path, mapping=None, destination=tmp_path / "cohort")
    reader = open_cohort(tmp_path / "cohort")
    assert "\\u0000" not in json.dumps(reader.manifest.to_dict())
    table = reader.table(0, ["sex", "ward\ufffd"])
    assert sorted(table.column("sex").to_pylist()) == ["F\ufffd", "M"]


# The file as a whole


def test_header_without_rows(write_csv: Write, write_parquet: Write) -> None:
    assert found(write_csv(GOOD[0]), "no-rows").severity == "error"
    assert found(write_parquet({"label.x": pa.array([], pa.int8())}), "no-rows").severity == "error"


def test_blank_lines_only(write_csv: Write) -> None:
    assert found(write_csv("", ""), "empty-file").severity == "error"


def test_wrong_encoding_names_the_row(write_csv: Write) -> None:
    path = write_csv(*GOOD, "9,S5,M\u00e4nnlich,50,0", encoding="latin-1")
    problem = found(path, "wrong-encoding", mapping=Mapping(encoding="utf-8"))
    assert (problem.severity, problem.row) == ("error", 5)


def test_ragged_rows_are_counted_and_do_not_shift_row_numbers(write_csv: Write) -> None:
    path = write_csv(GOOD[0], "1,S1,F,61,1", "1,S2,F", "2,S3,F,60,0,9,9", "3,S4,M,61,maybe")
    problem = found(path, "ragged-row")
    assert (problem.row, problem.count) == (2, 2)
    assert "3 fields" in problem.message
    assert found(path, "label-value").row == 4


def test_a_quote_that_is_never_closed(write_csv: Write) -> None:
    rows = [f'{i},S{i},F,60,0,"open' if i == 5 else f"{i},S{i},F,60,0,{'x' * 3000}" for i in range(1, 4000)]
    problem = found(write_csv(GOOD[0] + ",text.report", *rows), "unreadable-rows")
    assert (problem.severity, problem.row) == ("error", 5)


def test_a_quote_that_swallows_the_rest_of_a_small_file(write_csv: Write) -> None:
    path = write_csv(GOOD[0] + ",text.report", '1,S1,F,60,0,"fine\nlines"', '2,S2,F,60,0,"open', "3,S3,F,60,0,x")
    assert found(path, "unreadable-rows").row == 2
    assert "unreadable-rows" not in codes(write_csv(GOOD[0] + ",text.report", '1,S1,F,60,0,"two\nlines, ""quoted"""'))


# Columns


def test_missing_columns_are_named_all_at_once(write_csv: Write) -> None:
    path = write_csv("MRN,sex", "1,F")
    missing = {p.column: p for p in inspect_cohort(path).errors if p.code == "missing-column"}
    assert set(missing) == {"patient_id", "study_id"}
    assert 'columns: {"MRN": patient_id}' in missing["patient_id"].remedy


def test_required_columns_of_a_protocol(write_csv: Write, tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        partition_by_patient(write_csv(*GOOD), columns=["sex", "race"], spool=tmp_path / "spool")
    assert caught.value.column == "race"
    assert not (tmp_path / "spool").exists()


def test_duplicate_columns(write_csv: Write, tmp_path: Path) -> None:
    assert found(write_csv(GOOD[0] + ",sex", "1,S1,F,1,0,M"), "duplicate-column").column == "sex"
    table = pa.Table.from_arrays(
        [pa.array(["1"]), pa.array(["2"]), pa.array(["3"])], ["patient_id", "study_id", "study_id"]
    )
    pq.write_table(table, tmp_path / "twice.parquet")
    assert found(tmp_path / "twice.parquet", "duplicate-column").column == "study_id"


@pytest.mark.parametrize(
    ("name", "meant"), [("labels.x", "label.x"), ("Prob.x", "score.x"), ("prediction.x", "pred.x")]
)
def test_unknown_prefix_suggests_the_right_one(write_csv: Write, name: str, meant: str) -> None:
    path = write_csv(f"patient_id,study_id,{name}", "1,S1,1")
    problem = found(path, "unknown-prefix")
    assert problem.severity == "error"
    assert f"'{meant}'" in problem.message
    assert inspect_cohort(path).suggested_mapping.columns == {name: meant}
    assert "unknown-prefix" not in codes(path, mapping=Mapping(columns={name: name}))


def test_a_mapping_that_names_no_column(write_csv: Write) -> None:
    problem = found(write_csv(*GOOD), "unmatched-mapping", mapping=Mapping(columns={"Sexx": "sex"}))
    assert problem.column == "Sexx"


def test_no_label_and_a_column_without_any_value(write_csv: Write) -> None:
    path = write_csv("patient_id,study_id,race", "1,S1,", "2,S2, ")
    assert found(path, "no-labels").severity == "warning"
    assert found(path, "all-missing-column").column == "race"


def test_single_value_attribute(write_csv: Write) -> None:
    path = write_csv("patient_id,study_id,site,label.x", "1,S1,A,0", "2,S2,A,1")
    assert found(path, "single-value").column == "site"
    gaps = write_csv("patient_id,study_id,site,label.x", "1,S1,A,0", "2,S2,,1")
    assert "single-value" not in codes(gaps)  # A and unknown are two groups


def test_predictions_stay_out_of_a_cohort_with_a_warning(write_csv: Write, tmp_path: Path) -> None:
    path = write_csv("patient_id,study_id,label.x,score.x", "1,S1,0,0.5", "2,S2,1,0.7")
    assert found(path, "prediction-column").severity == "warning"
    assert "prediction-column" not in codes(path, kind=FileKind.PREDICTIONS)
    assert convert_cohort(path, mapping=None, destination=tmp_path / "out").columns == (
        "patient_id",
        "study_id",
        "label.x",
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("study_id", [1.5, 2.5]),
        ("patient_id", [b"a", b"b"]),
        ("label.x", [[1], [0]]),
        ("score.x", [True, False]),
        ("text.report", [1, 2]),
        ("series.crp", [1.0, 2.0]),
        ("image", [1, 2]),
        ("age", [{"a": 1}, {"a": 2}]),
        ("study_time", [3.5, 4.5]),
        ("stay", [timedelta(days=1), timedelta(days=2)]),
        ("split", [[1], [2]]),
        ("pred.x", [b"a", b"b"]),
    ],
)
def test_wrong_types_in_parquet(write_parquet: Write, column: str, values: list[Any]) -> None:
    problem = found(write_parquet({column: values}), "wrong-type")
    assert (problem.severity, problem.column) == ("error", column)


def test_times_that_are_none(write_csv: Write) -> None:
    path = write_csv("patient_id,study_id,study_time", "1,S1,2024-05-31", "1,S2,2024-05-31T14:05:00Z", "2,S3,31.05.24")
    assert found(path, "wrong-type").row == 3


def test_numbers_mixed_with_words(write_csv: Write) -> None:
    rows = [f"{i},S{i},{i + 30},0" for i in range(1, 20)]
    path = write_csv("patient_id,study_id,age,label.x", *rows, "20,S20,NA,0")
    assert "'NA'" in found(path, "mixed-type").message
    mapping = Mapping(values={"age": {"NA": None}})
    assert "mixed-type" not in codes(path, mapping=mapping)
    assert inspect_cohort(path, mapping=mapping).summary["attributes"]["age"]["type"] == "integer"


# Identifiers


def test_missing_identifiers(write_csv: Write) -> None:
    path = write_csv(GOOD[0], ",S1,F,60,1", "2, ,F,60,1", "3,,F,60,1")
    missing = {p.column: (p.row, p.count) for p in inspect_cohort(path).errors if p.code == "missing-id"}
    assert missing == {"patient_id": (1, 1), "study_id": (2, 2)}


def test_a_column_of_identifiers_without_any_value(write_parquet: Write) -> None:
    path = write_parquet({"patient_id": pa.nulls(2), "label.x": [0, 1]})
    assert (found(path, "missing-id").column, found(path, "missing-id").count) == ("patient_id", 2)


def test_a_parquet_file_damaged_in_the_middle(write_parquet: Write) -> None:
    path = write_parquet({"label.x": [0, 1] * 5000})
    data = bytearray(path.read_bytes())
    data[100:8000] = b"\xff" * 7900
    path.write_bytes(data)
    assert found(path, "unreadable-rows").severity == "error"


def test_duplicate_study_gives_rows_and_no_identifier(write_csv: Write) -> None:
    path = write_csv(*GOOD, "9,SECRET,F,50,0", "8,S2,M,50,0", "9,SECRET,F,50,0", "10,S2,F,1,0")
    problem = found(path, "duplicate-study")
    assert (problem.row, problem.count) == (6, 3)
    assert "row 6 (first in row 2)" in problem.message
    assert "SECRET" not in json.dumps(problem.to_dict())


def test_patient_in_two_splits(write_csv: Write) -> None:
    path = write_csv(
        "patient_id,study_id,split,label.x",
        "1,S1,train,0",
        "2,S2,train,1",
        "1,S3,test,1",
        "3,S4,,0",
        "1,S5,test,0",
    )
    problem = found(path, "patient-in-two-splits")
    assert (problem.severity, problem.row, problem.count) == ("error", 3, 1)


# Values


@pytest.mark.parametrize("value", ["yes", "2", "-1", "0.5", "nan", "1,0", "TRUE!", "positive"])
def test_label_values_that_are_not_understood(write_csv: Write, value: str) -> None:
    path = write_csv("patient_id;study_id;label.x", "1;S1;1", f"2;S2;{value}", "3;S3;")
    problem = found(path, "label-value")
    assert (problem.severity, problem.column, problem.row, problem.count) == ("error", "label.x", 2, 1)
    assert f"'{value}'" in problem.message


@pytest.mark.parametrize("value", ["0", "1", "0.0", "1.0", "true", "False", " 1 ", ""])
def test_label_values_that_are_understood(write_csv: Write, value: str) -> None:
    assert "label-value" not in codes(write_csv("patient_id,study_id,label.x", "1,S1,1", f"2,S2,{value}"))


def test_yes_and_no_are_suggested_and_then_understood(write_csv: Write) -> None:
    path = write_csv("patient_id,study_id,label.x", "1,S1,YES", "2,S2,NO", "3,S3,YES")
    inspection = inspect_cohort(path)
    assert '"YES": 1, "NO": 0' in inspection.errors[0].remedy
    mended = inspect_cohort(path, mapping=inspection.suggested_mapping)
    assert mended.errors == ()
    assert mended.summary["labels"]["x"] == {"n": 3, "positive": 2, "negative": 1, "missing": 0}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1.5", "score-range"),
        ("-0.1", "score-range"),
        ("NaN", "score-nan"),
        ("inf", "score-nan"),
        ("0,5", "wrong-type"),
    ],
)
def test_bad_scores_in_csv(write_csv: Write, text: str, code: str) -> None:
    path = write_csv("patient_id;study_id;score.x", "1;S1;0.5", f"2;S2;{text}", "3;S3;")
    assert found(path, code, kind=FileKind.PREDICTIONS).row == 2


def test_bad_scores_in_parquet(write_parquet: Write) -> None:
    path = write_parquet({"score.x": [0.1, float("nan"), None, 1.1, float("inf")]})
    assert (found(path, "score-nan").row, found(path, "score-nan").count) == (2, 2)
    assert found(path, "score-range").row == 4


def test_predictions_other_than_zero_and_one(write_csv: Write) -> None:
    assert found(write_csv("patient_id,study_id,pred.x", "1,S1,0.7"), "prediction-value").row == 1


def test_implausible_age_is_a_warning_and_the_value_is_kept(write_csv: Write) -> None:
    problem = found(write_csv(*GOOD, "9,S5,F,155,0", "9,S6,F,-2,0"), "implausible-age")
    assert (problem.severity, problem.row, problem.count) == ("warning", 5, 2)
    assert "155" in problem.message


# Together


def test_every_problem_is_found_at_once(write_csv: Write) -> None:
    path = write_csv(
        "Patient ID,study_id,study_id,labels.y,label.x,score.x,age,series.s,image,",
        "1,S1,a,1,YES,2,130,[],x.png,9",
        "1,S1,a,1,NO,nan,30,[[1]],../x.png,9",
    )
    assert codes(path) == {
        "missing-column", "duplicate-column", "unknown-prefix", "label-value", "score-range", "score-nan",
        "implausible-age", "series-format", "missing-image-file", "image-outside-folder", "unnamed-column",
        "duplicate-study", "prediction-column", "single-value",
    }  # fmt: skip


@pytest.mark.parametrize("action", ["convert", "partition"])
def test_errors_stop_the_work_and_leave_nothing_behind(write_csv: Write, tmp_path: Path, action: str) -> None:
    path = write_csv(*GOOD, "9,S1,F,50,7")
    before = {p.name for p in tmp_path.iterdir()}
    with pytest.raises(CohortError) as caught:
        if action == "convert":
            convert_cohort(path, mapping=None, destination=tmp_path / "out")
        else:
            partition_by_patient(path, spool=tmp_path / "out")
    assert (caught.value.file, caught.value.column, caught.value.row) == ("cohort.csv", "label.effusion", 5)
    assert "1 more error" in caught.value.message
    assert caught.value.remedy
    assert {p.name for p in tmp_path.iterdir()} == before
