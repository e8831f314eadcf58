"""A hospital's own file: odd case, stray blanks, unnamed columns, latin-1, its own values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import CohortError
from models_registry.cohorts import Mapping, convert_cohort, inspect_cohort, open_cohort, suggest_mapping
from models_registry.cohorts.mapping import canonical_name

Write = Callable[..., Path]

HOSPITAL = [
    ";Patient ID ;ACCESSION;Geschlecht;Patient  Age;Größe;PTX;Unnamed: 7",
    "0;00012;A1;1;61;1,70;YES;x",
    "1;00012;A2;1;62;1,70;NO;x",
    "2;7;A3;2;44;1,85;;x",
]
MAPPING = """
columns: {"patient id": patient_id, "Accession": study_id, Geschlecht: sex, "patient age": age, PTX: label.pneumothorax}
values: {label.pneumothorax: {"YES": 1, "NO": 0}, sex: {1: F, 2: M}}
"""


def test_a_hospital_file_becomes_a_cohort(write_csv: Write, tmp_path: Path) -> None:
    path = write_csv(*HOSPITAL, encoding="latin-1")
    mapping = Mapping.from_yaml(MAPPING)
    inspection = inspect_cohort(path, mapping=mapping)
    assert inspection.errors == ()
    assert {p.code: p.column for p in inspection.warnings if p.code != "unnamed-column"} == {"guessed-encoding": None}
    assert [p.column for p in inspection.warnings if p.code == "unnamed-column"] == ["", "Unnamed: 7"]
    assert {c["name"]: c["original"] for c in inspection.columns} == {
        "patient_id": "Patient ID ",
        "study_id": "ACCESSION",
        "sex": "Geschlecht",
        "age": "Patient  Age",
        "Größe": "Größe",
        "label.pneumothorax": "PTX",
    }
    manifest = convert_cohort(path, mapping=mapping, destination=tmp_path / "out")
    assert manifest.summary["columns"]["age"] == "Patient  Age"
    table = open_cohort(tmp_path / "out").reference(0, ["sex", "age", "Größe"])
    assert list(table.patient_ids) == ["00012", "00012", "7"]
    assert list(table.attributes["sex"]) == ["F", "F", "M"]
    assert list(table.attributes["age"]) == [61, 62, 44]
    assert list(table.labels["pneumothorax"]) == [1, 0, -1]


@pytest.mark.parametrize(
    ("encoding", "warned", "declared"),
    [
        ("utf-8", None, None),
        ("utf-8-sig", None, None),
        ("utf-16", None, None),
        ("utf-16-le", "utf-16-le", None),
        ("latin-1", "latin-1", None),
        ("cp1252", "cp1252", None),
        ("cp1250", None, "cp1250"),
    ],
)
def test_encodings(write_csv: Write, encoding: str, warned: str | None, declared: str | None) -> None:
    word = {"cp1252": "Müller – €", "cp1250": "Řehoř"}.get(encoding, "Müller")
    path = write_csv("patient_id,study_id,site,label.x", f"1,S1,{word},0", "2,S2,B,1", encoding=encoding)
    inspection = inspect_cohort(path, mapping=Mapping(encoding=declared))
    assert inspection.summary["attributes"]["site"]["values"].keys() == {word, "B"}
    guesses = [p.message for p in inspection.problems]
    assert guesses == ([f"The file is not UTF-8; it was read as {warned}."] if warned else [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("compressed", [False, True])
def test_delimiters_and_gzip(write_csv: Write, tmp_path: Path, delimiter: str, compressed: bool) -> None:
    import gzip

    path = write_csv(
        *(delimiter.join(row) for row in (["patient_id", "study_id", "note"], ["1", "S1", '"a, b; c | d"']))
    )
    if compressed:
        (tmp_path / "c.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "c.csv.gz"
    inspection = inspect_cohort(path)
    assert inspection.errors == ()
    assert inspection.preview.rows == (("1", "S1", "a, b; c | d"),)


def test_names_of_the_contract_are_recognised_in_odd_case() -> None:
    assert canonical_name("\ufeff Patient_ID ") == "patient_id"
    assert canonical_name("LABEL.Pleural effusion") == "label.Pleural effusion"
    assert canonical_name(" BMI ") == "BMI"
    assert canonical_name("score.") == "score."


def test_suggestions_from_common_names() -> None:
    own = [
        "Unnamed: 0",
        "MRN",
        "Accession Number",
        "Patient Gender",
        "Patient Age",
        "View Position",
        "gt_Effusion",
    ]
    own += ["prob_Effusion", "Study Date", "Dicom Path", "findings", "weight"]
    assert suggest_mapping(own).columns == {
        "MRN": "patient_id",
        "Accession Number": "study_id",
        "Patient Gender": "sex",
        "Patient Age": "age",
        "View Position": "view",
        "gt_Effusion": "label.effusion",
        "prob_Effusion": "score.effusion",
        "Study Date": "study_time",
        "Dicom Path": "image",
        "findings": "text.findings",
    }


def test_the_nih_header_is_understood() -> None:
    own = [
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "Set Id",
    ]
    columns = suggest_mapping(own).columns
    assert (columns["Image Index"], columns["Patient ID"], columns["Set Id"]) == (
        "study_id",
        "patient_id",
        "split",
    )


def test_a_canonical_name_is_never_taken_twice() -> None:
    assert suggest_mapping(["patient_id", "MRN", "study_id", "Accession"]).columns == {}


def test_nothing_is_suggested_for_a_file_without_errors(write_csv: Write) -> None:
    """What is shown must be what is registered: a suggestion would rename columns behind the reader's back."""
    path = write_csv("patient_id,study_id,gender,label.x", "1,S1,F,0", "2,S2,M,1")
    assert inspect_cohort(path).suggested_mapping == Mapping()
    given = Mapping(ignore=("gender",))
    assert inspect_cohort(path, mapping=given).suggested_mapping == given


def test_an_unnamed_column_can_be_mapped(write_csv: Write) -> None:
    path = write_csv(",study_id,label.x", "1,S1,0", "2,S2,1")
    inspection = inspect_cohort(path, mapping=Mapping(columns={"": "patient_id"}))
    assert inspection.problems == ()


def test_ignored_columns_are_left_out(write_csv: Write) -> None:
    path = write_csv("patient_id,study_id,Name ,label.x", "1,S1,Smith,0")
    assert [c["name"] for c in inspect_cohort(path, mapping=Mapping(ignore=("name",))).columns] == [
        "patient_id",
        "study_id",
        "label.x",
    ]


def test_round_trip_of_a_mapping() -> None:
    mapping = Mapping.from_yaml(MAPPING + 'ignore: ["x"]\nencoding: cp1252\ndelimiter: "\\t"\nimage_root: ../images\n')
    assert Mapping.from_dict(mapping.to_dict()) == mapping
    assert Mapping.from_yaml(mapping.to_yaml()) == mapping
    assert Mapping.from_yaml("") == Mapping()


def test_yaml_booleans_as_keys(write_csv: Write) -> None:
    path = write_csv("patient_id,study_id,sex", "1,S1,true", "2,S2,false")
    mapping = Mapping.from_yaml("values: {sex: {true: F, false: M}}")
    assert set(inspect_cohort(path, mapping=mapping).summary["attributes"]["sex"]["values"]) == {"F", "M"}


def test_values_of_typed_columns(write_parquet: Write) -> None:
    path = write_parquet({"sex": [1, 2, None], "label.x": ["Y", "n", "?"]})
    mapping = Mapping(values={"sex": {"1": "F", "2": "M"}, "label.x": {"Y": 1, "N": 0, "?": None}})
    inspection = inspect_cohort(path, mapping=mapping)
    assert inspection.errors == ()
    assert inspection.summary["labels"]["x"] == {"n": 2, "positive": 1, "negative": 1, "missing": 1}
    assert set(inspection.summary["attributes"]["sex"]["values"]) == {"F", "M"}


@pytest.mark.parametrize(
    "text",
    [
        "columns: [a, b]",
        "columns: {a: 1}",
        "values: {sex: F}",
        "values: {sex: {1: [F]}}",
        "colums: {a: b}",
        "ignore: name",
        "encoding: klingon",
        "delimiter: x",
        "- a",
        "columns: {a: b",
    ],
)
def test_bad_mappings_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(CohortError) as caught:
        Mapping.from_yaml(text, source="mine.yaml")
    assert caught.value.remedy
    assert caught.value.file == "mine.yaml"
