"""Bad input by name: every message says which file, column and row, and what to do; nothing is written or left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.engine import Protocol, run_audit
from tests.engine.bad_files import ROWS, RULES, Change, assign, frame, refused, run, write
from tests.engine.builders import body

pytestmark = pytest.mark.usefixtures("nothing_is_left")

IN_FILE: dict[str, tuple[Change, tuple[str, ...]]] = {
    "labels absent": (
        lambda data: data.drop(columns="label.x"),
        ("column label.x", "needs its reference 'label.x', which is missing", "The file has: patient_id, study_id"),
    ),
    "labels empty": (assign("label.x", None), ("column label.x", "no study has a value, in all 60 rows")),
    "no prediction": (
        lambda data: data.drop(columns="score.x"),
        ("The label 'x' needs 'pred.x' or 'score.x'; both are missing",),
    ),
    "one value": (assign("sex", "F"), ("column sex", "every study is in the group F")),
    "one value and blanks": (
        lambda data: assign("sex", None, 3)(assign("sex", "F")(data)),
        ("column sex", "every study with a usable value is in the group F"),
    ),
    "all scores missing": (assign("score.x", None), ("column score.x", "empty in all 60 rows")),
    "infinite score": (assign("score.x", float("inf"), 4), ("column score.x, row 4", "not finite numbers: +inf")),
    "minus infinity": (assign("score.x", float("-inf"), 4), ("column score.x, row 4", "not finite numbers: -inf")),
    "score above 1": (assign("score.x", 1.2, 7), ("column score.x, row 7", "outside [0, 1]: 1.2", "not logits")),
    "score below 0": (assign("score.x", -0.1, 7), ("column score.x, row 7", "outside [0, 1]: -0.1")),
    "percent": (lambda data: data.assign(**{"score.x": data["score.x"] * 100}), ("outside [0, 1]", "percentages")),
    "scores as text": (
        lambda data: data.assign(**{"score.x": [f"{value}%" for value in data["score.x"]]}),
        ("column score.x, row 1", "values that are not numbers, such as '0.512%'", "(60 rows)"),
    ),
    "scores with commas": (
        lambda data: data.assign(**{"score.x": [str(value).replace(".", ",") for value in data["score.x"]]}),
        ("column score.x, row 1", "such as '0,512'", "decimal point"),
    ),
    "study twice": (assign("study_id", "s2", 9), ("column study_id, row 9", "first again in row 9 (first in row 3)")),
    "patient missing": (assign("patient_id", None, 7), ("column patient_id, row 7", "has no 'patient_id'")),
    "study missing": (assign("study_id", "", 7), ("column study_id, row 7", "has no 'study_id'")),
    "no patient column": (lambda data: data.drop(columns="patient_id"), ("There is no column 'patient_id'",)),
    "labels as words": (
        lambda data: data.assign(**{"label.x": np.where(data["label.x"] == 1, "yes", "no")}),
        ("column label.x, row 1", "'no', 'yes'", '"no": 0, "yes": 1'),
    ),
    "a label of 2": (assign("label.x", 2, 7), ("column label.x, row 7", "'2'; a label is 1, 0 or empty")),
    "half a label": (assign("label.x", 0.5, 7), ("column label.x, row 7", "'0.5'")),
    "a huge label": (assign("label.x", 10**17, 7), ("column label.x, row 7", "'100000000000000000'")),
    "10,000 groups": (
        lambda data: pd.DataFrame(
            {name: np.tile(data[name], 167) for name in ("label.x", "score.x")}
        ).assign(**{name: [f"v{i}" for i in range(10_020)] for name in ("patient_id", "study_id", "sex")}),
        ("column sex", "10020 distinct groups; at most 60", "Band a numeric attribute"),
    ),
    "header only": (lambda data: data.head(0), ("has a header but no row",)),
    "a patient in two splits": (
        lambda data: data.assign(split=["train", "test", *["test"] * (ROWS - 2)]),
        ("column split, row 2", "1 patient is in more than one split", "Split by patient"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
@pytest.mark.parametrize("case", IN_FILE)
def test_what_is_wrong_in_a_file_is_told_with_its_place(folder: Path, case: str, name: str) -> None:
    change, said = IN_FILE[case]
    refused(run(write(change(frame()), folder / name)), f"Error: {name}", *said)


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
@pytest.mark.parametrize("value", [2, 0.7])
def test_decisions_are_zero_or_one(folder: Path, name: str, value: float) -> None:
    data = assign("pred.x", value, 4)(frame().rename(columns={"score.x": "pred.x"}).assign(**{"pred.x": 1}))
    refused(run(write(data, folder / name), body()), f"{name}, column pred.x, row 4", f"'{value}'; a prediction is 1")


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_scores_without_a_threshold(folder: Path, name: str) -> None:
    refused(run(write(frame(), folder / name), body()), "column score.x", "must give it a threshold")


# NaN: pandas writes it as an empty cell, which is no prediction; a NaN that a model left in a file is an error


def test_a_study_without_a_score_is_no_prediction_and_is_counted(folder: Path) -> None:
    for name in ("p.parquet", "p.csv"):
        data = write(assign("score.x", None, 4)(frame()), folder / name)
        found = run_audit(protocol=Protocol.from_dict(RULES), predictions=data, cross_check=False)
        assert any("1 " in note and "prediction" in note for note in found.assessment.notes), found.assessment.notes


@pytest.mark.parametrize(("rows", "told"), [([3], "row 4"), (list(range(ROWS)), "row 1"), ([5, 9], "row 6")])
def test_a_nan_in_a_parquet_file_is_an_error(folder: Path, rows: list[int], told: str) -> None:
    scores = frame()["score.x"].to_numpy()
    scores[rows] = np.nan
    table = pa.Table.from_pandas(frame().drop(columns="score.x"), preserve_index=False)
    pq.write_table(table.append_column("score.x", pa.array(scores)), folder / "p.parquet")
    refused(run(folder / "p.parquet"), f"column score.x, {told}", "not finite numbers: NaN", "leave the cell empty")


def test_nan_and_infinity_are_counted(folder: Path) -> None:
    data = frame().astype({"score.x": object})
    data.loc[[7, 3], "score.x"] = ["NaN", "-inf"]
    ran = run(write(data, folder / "p.csv"))
    refused(ran, "row 4", "not finite numbers: -inf, NaN. (2 rows)")


# Types that only Parquet has


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("patient_id", pd.date_range("2024-01-01", periods=ROWS), ("the type timestamp", "text or whole numbers")),
        ("patient_id", [float(i) for i in range(ROWS)], ("the type double", "text or whole numbers")),
        ("score.x", [True, False] * (ROWS // 2), ("the type bool", "numbers from 0 to 1")),
        ("label.x", [[1]] * ROWS, ("the type list", "1, 0 or empty")),
        ("sex", [["F"]] * ROWS, ("the type list", "text or numbers")),
    ],
)
def test_a_column_of_the_wrong_type(folder: Path, column: str, values: Any, said: tuple[str, ...]) -> None:
    ran = run(write(frame().assign(**{column: values}), folder / "p.parquet"))
    refused(ran, f"p.parquet, column {column}", *said)


def test_whole_numbers_made_fractions_by_a_missing_one_name_its_row(folder: Path) -> None:
    numbers = pa.array([None if i == 6 else float(i) for i in range(ROWS)])
    table = pa.Table.from_pandas(frame().drop(columns="patient_id"), preserve_index=False)
    pq.write_table(table.append_column("patient_id", numbers), folder / "p.parquet")
    refused(run(folder / "p.parquet"), "the type double", "1 more error", "row 7: The row has no 'patient_id'")


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_huge_whole_numbers_are_no_crash(folder: Path, kind: pa.DataType) -> None:
    table = pa.Table.from_pandas(frame().drop(columns="age"), preserve_index=False)
    ages = pa.array([2**63 - 1] * ROWS, kind)
    pq.write_table(table.append_column("age", ages), folder / "p.parquet")
    assert run(folder / "p.parquet").exit_code in {0, 1, 2}
    banded = RULES | {"attributes": [{"name": "sex"}, {"name": "age", "bands": [0, 40], "plausible": [0, 120]}]}
    refused(run(folder / "p.parquet", banded), "column age", "no study has a usable value")
    labels = table.drop_columns(["label.x"]).append_column("label.x", ages)
    pq.write_table(labels, folder / "q.parquet")
    refused(run(folder / "q.parquet"), "column label.x, row 1", "a label is 1, 0 or empty")


@pytest.mark.parametrize("values", [[True, False] * (ROWS // 2), ["true", "False"] * (ROWS // 2)])
def test_booleans_are_labels(folder: Path, values: list[Any]) -> None:
    for name in ("p.parquet", "p.csv"):
        assert run(write(frame().assign(**{"label.x": values}), folder / name)).exit_code in {0, 1, 2}


# The file as a whole


def test_files_that_are_none(folder: Path) -> None:
    whole = write(frame(), folder / "whole.parquet").read_bytes()
    files: dict[str, tuple[bytes, str]] = {
        "empty.parquet": (b"", "The file is empty"),
        "empty.csv": (b"", "The file is empty"),
        "blank.csv": (b"\n\n", "The file is empty"),
        "tail.parquet": (whole[:-30], "cannot be read as Parquet"),
        "half.parquet": (whole[: len(whole) // 2], "cannot be read as Parquet"),
        "text.parquet": (frame().to_csv(index=False).encode(), "cannot be read as Parquet"),
        "book.xlsx": (b"PK\x03\x04" + bytes(100), "Excel workbook"),
        "data.json": (frame().to_json().encode(), "The file is JSON"),
        "lines.csv": (b'\n[{"patient_id": 1}]', "The file is JSON"),
        "noise.csv": (bytes(range(256)) * 40, "not text"),
    }
    for name, (content, said) in files.items():
        (folder / name).write_bytes(content)
        refused(run(folder / name), f"Error: {name}", said)
    refused(run(folder / "none.parquet"), "none.parquet: There is no such file")
    (folder / "folder.parquet").mkdir()
    refused(run(folder / "folder.parquet"), "folder.parquet: This is a folder")


def test_a_parquet_file_is_read_whatever_its_name(folder: Path) -> None:
    frame().to_parquet(folder / "p.parquet")
    (folder / "p.parquet").rename(folder / "p.csv")
    assert run(folder / "p.csv").exit_code in {0, 1, 2}


def test_a_column_that_is_there_twice(folder: Path) -> None:
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    pq.write_table(table.append_column("sex", table["sex"]), folder / "p.parquet")
    (folder / "p.csv").write_text(frame().assign(zzz="F").to_csv(index=False).replace("zzz", "sex"))
    for name in ("p.parquet", "p.csv"):
        refused(run(folder / name), f"{name}, column sex", "Several columns of the file are 'sex'", "ignore")


def test_every_error_of_a_file_is_told_at_once(folder: Path) -> None:
    data = assign("score.x", 7.0, 5)(assign("label.x", 3, 2)(frame()))
    refused(
        run(write(data, folder / "p.csv")),
        "column label.x, row 2",
        "There is 1 more error in the file: column score.x, row 5: The column holds scores outside [0, 1]: 7.",
    )


def test_a_mapping_is_the_remedy_that_messages_name(folder: Path) -> None:
    data = (
        frame().assign(**{"label.x": np.where(frame()["label.x"] == 1, "JA", "NEIN")}).rename(columns={"sex": "Sex "})
    )
    (folder / "map.yaml").write_text('columns: {"Sex ": sex}\nvalues: {label.x: {JA: 1, NEIN: 0}}\n')
    path = write(data, folder / "p.csv")
    refused(run(path), "column sex")
    assert run(path, RULES, "--mapping", folder / "map.yaml").exit_code in {0, 1, 2}
    (folder / "map.yaml").write_text("columns: 7\n")
    refused(run(path, RULES, "--mapping", folder / "map.yaml"), "map.yaml", "'columns' must map")
