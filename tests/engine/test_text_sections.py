"""Sections on what a model writes: what makes no sense is refused by its key, and what the data lack by its column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import CohortError, ProtocolError
from evaluation.engine import Protocol, run_audit
from evaluation.engine.columns import check_columns
from evaluation.engine.runner import table_of
from models_registry.cohorts import partition_by_patient, read_predictions

BODY: dict[str, Any] = {
    "auscult_protocol": 1,
    "name": "texts",
    "title": "What a model writes",
    "labels": [],
    "suites": ["hallucination"],
    "attributes": [{"name": "sex", "values": ["F", "M"]}],
    "reports": {
        "findings": ["effusion", "cardiomegaly"],
        "prior": "text.prior",
        "numbers": [{"analyte": "crp", "series": "crp", "unit": "mg/L", "high": 5}],
    },
    "probing": {"findings": ["effusion", "cardiomegaly"], "studies": 10},
    "sampling": {"of": "reports"},
    "perturbation": {"of": "answers"},
    "criteria": [{"id": "s", "metric": "chair_s", "direction": "at_most", "margin": 0.2}],
}


def section(name: str, **changes: Any) -> dict[str, Any]:
    return BODY | {name: {key: value for key, value in (BODY[name] | changes).items() if value is not None}}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BODY.items() if name not in names}


def test_the_sections_make_sense_as_they_are() -> None:
    protocol = Protocol.from_dict(BODY)
    assert Protocol.from_dict(protocol.to_dict()).digest == protocol.digest


NUMBER = BODY["reports"]["numbers"][0]
PROBED = {"id": "f", "metric": "pope_f1_random", "direction": "at_least", "margin": 0.8}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing is asked of the model": (without("reports", "probing", "sampling", "perturbation"), "labels: name at"),
    "an unknown finding": (section("reports", findings=["shoe"]), "reports.findings: 'shoe' is not in the ontology"),
    "the judged text as a prior": (section("reports", prior="text.reference"), "reports.prior: 'text.reference'"),
    "an unknown analyte": (
        section("reports", numbers=[NUMBER | {"analyte": "shoe"}]), "reports.numbers[0].analyte: there is no analyte"),
    "a unit of something else": (
        section("reports", numbers=[NUMBER | {"unit": "mm[Hg]"}]), "'mm[Hg]' is no UCUM unit of 'crp'"),
    "a unit that is none": (section("reports", numbers=[NUMBER | {"unit": "blob"}]), "'blob' is no UCUM unit"),
    "a range that falls": (section("reports", numbers=[NUMBER | {"low": 9, "high": 5}]), "the reference range must"),
    "an analyte twice": (section("reports", numbers=[NUMBER, NUMBER]), "'crp' is named 2 times"),
    "a vocabulary that is none": (section("reports", vocabulary={"shoes": {"x": 1}}), "reports.vocabulary: "),
    "a finding that cannot be asked": (section("probing", findings=["effusion", "no_finding"]), "probing.findings: "),
    "a finding with a bar": (section("probing", findings=["effusion", "a|b"]), "joins options"),
    "a wrong image without images": (
        section("probing", kinds=["wrong_image"], modality="text.indication"), "'wrong_image' shows"),
    "questions on the judged text": (section("probing", modality="text.reference"), "probing.modality: "),
    "questions on a covariate": (section("probing", modality="sex"), "'sex' is no modality"),
    "samples of answers without questions": (
        without("probing", "perturbation") | {"sampling": {"of": "answers"}}, "sampling.of: 'answers' needs"),
    "perturbed answers without questions": (without("probing"), "perturbation.of: 'answers' needs the section"),
    "samples of reports without reports": (without("reports"), "sampling.of: 'reports' needs the section"),
    "nothing is perturbed": (section("perturbation", kinds=[]), "perturbation.kinds: nothing is perturbed"),
    "the blank modality is dropped": (section("perturbation", dropped=["image"]), "'image' is the modality"),
    "the judged text is dropped": (section("perturbation", dropped=["text.generated"]), "no model is given it"),
    "an unknown judge": (BODY | {"judges": ["oracle"]}, "judges[0]: there is no judge 'oracle'"),
    "judges without reports": (
        without("reports", "sampling") | {"judges": ["nli"], "criteria": [PROBED]}, "judges read reports"),
    "another suite": (BODY | {"suites": ["fairness"]}, "this is measured by the suite 'hallucination'"),
    "a suite without a section": (
        {**without("reports", "probing", "sampling", "perturbation"), "labels": [{"name": "x"}]},
        "measures nothing without one of"),
    "a criterion on questions that are not asked": (
        without("probing", "perturbation") | {"criteria": [PROBED]}, "'pope_f1_random' needs the section 'probing'"),
    "a criterion on questions with labels": (
        BODY | {"criteria": [PROBED | {"labels": ["effusion"]}]}, "is computed on all questions"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused_by_its_key(case: str) -> None:
    body, told = WRONG[case]
    with pytest.raises(ProtocolError) as caught:
        Protocol.from_dict(body)
    assert told in caught.value.message, caught.value.message
    assert caught.value.remedy


COLUMNS = (
    "patient_id", "study_id", "sex", "text.reference", "text.generated", "text.prior", "series.crp", "label.effusion",
)  # fmt: skip


@pytest.mark.parametrize("column", ["text.reference", "text.generated", "text.prior", "series.crp"])
def test_a_column_that_a_section_needs_is_missed_by_name(column: str) -> None:
    have = [name for name in COLUMNS if name != column]
    check_columns(Protocol.from_dict(BODY), COLUMNS, file="a.csv")
    with pytest.raises(ProtocolError) as caught:
        check_columns(Protocol.from_dict(BODY), have, file="a.csv")
    assert (caught.value.column, caught.value.file) == (column, "a.csv") and caught.value.remedy


def test_what_a_model_cannot_do_is_missed_by_name() -> None:
    protocol = Protocol.from_dict(BODY)
    check_columns(protocol, COLUMNS, file="x", able={"answer", "generate"})
    with pytest.raises(ProtocolError, match="'probing, perturbation' asks the model for answers"):
        check_columns(protocol, COLUMNS, file="x", able={"generate"})
    with pytest.raises(ProtocolError, match="'sampling' asks the model for reports"):
        check_columns(protocol, COLUMNS, file="x", able={"answer"})
    check_columns(protocol, COLUMNS, file="x"), "a file is asked nothing"


def test_the_truth_of_a_finding_is_a_label_or_an_experts_report() -> None:
    asked = Protocol.from_dict(without("reports", "sampling", "perturbation") | {"criteria": [PROBED]})
    check_columns(asked, ["sex", "label.effusion", "label.cardiomegaly"], file="x", able={"answer"})
    check_columns(asked, ["sex", "text.reference"], file="x", able={"answer"})
    with pytest.raises(ProtocolError, match="'cardiomegaly' need its truth") as caught:
        check_columns(asked, ["sex", "label.effusion"], file="x", able={"answer"})
    assert caught.value.column == "label.cardiomegaly"


def frame(n: int = 40, **more: Any) -> pa.Table:
    prior = ["Seen before." if row % 3 == 0 else None for row in range(n)]
    crp = [[{"t": 0.0, "v": float(row)}] if row % 4 else None for row in range(n)]
    return pa.table(
        {
            "patient_id": [f"p{row:02}" for row in range(n)],
            "study_id": [f"s{row:02}" for row in range(n)],
            "sex": ["F" if row % 2 else "M" for row in range(n)],
            "text.reference": ["Small pleural effusion."] * n,
            "text.generated": ["Pleural effusion."] * n,
            "text.prior": prior,
            "series.crp": pa.array(crp, pa.list_(pa.struct([("t", pa.float64()), ("v", pa.float64())]))),
        }
        | more
    )


def read(table: pa.Table, folder: Path) -> Any:
    pq.write_table(table, folder / "reports.parquet")
    parts = partition_by_patient(folder / "reports.parquet", columns=["sex"], whole=True, spool=folder / "spool")
    return table_of(Protocol.from_dict(BODY), read_predictions(parts.parts[0]))


def test_a_file_tells_what_its_studies_hold(tmp_path: Path) -> None:
    found = read(frame(**{"truncated.generated": [row % 5 == 0 for row in range(40)]}), tmp_path)
    rows = [int(study[1:]) for study in found.study_ids]
    facts = found.facts
    assert facts.prior.tolist() == [row % 3 == 0 for row in rows]
    assert set(facts.given) == {"text.prior", "series.crp"}
    assert facts.given["series.crp"].tolist() == [row % 4 != 0 for row in rows]
    for row, points in zip(rows, facts.series["crp"], strict=True):
        assert points is None if row % 4 == 0 else np.array_equal(points, [[0.0, float(row)]])
    assert found.truncated["generated"].tolist() == [row % 5 == 0 for row in rows]
    assert set(found.utterances.why_not) == {"probing", "sampling", "perturbation"} and len(found.utterances) == 0


def test_a_report_that_was_cut_off_is_left_out_of_omission(tmp_path: Path) -> None:
    def omission(cut: list[int]) -> Any:
        said = ["Clear lungs." if flag else "Pleural effusion." for flag in cut]
        table = frame(**{"truncated.generated": cut})
        table = table.set_column(table.column_names.index("text.generated"), "text.generated", [said])
        pq.write_table(table, tmp_path / "reports.parquet")
        audit = run_audit(
            protocol=Protocol.from_dict(BODY), predictions=tmp_path / "reports.parquet", cross_check=False
        )
        rows = audit.assessment.measurements
        return next(item for item in rows if item.metric == "omission" and item.attribute == "")

    cut = [1] * 10 + [0] * 30
    assert omission(cut).value == 0.0 and omission(cut).n == 30


@pytest.mark.parametrize("value", [2, -1])
def test_whether_a_text_was_cut_off_is_one_or_nought(tmp_path: Path, value: int) -> None:
    pq.write_table(frame(**{"truncated.generated": [0] * 39 + [value]}), tmp_path / "reports.parquet")
    with pytest.raises(CohortError) as caught:
        run_audit(protocol=Protocol.from_dict(BODY), predictions=tmp_path / "reports.parquet", cross_check=False)
    assert (caught.value.column, caught.value.row) == ("truncated.generated", 40)


def test_a_megabyte_of_report_and_markup_pass(tmp_path: Path) -> None:
    long = "The heart is of normal size. " * 36_000
    odd = "<script>alert(1)</script> <b>Pleural effusion.</b>"
    table = frame()
    said = [long, odd, "", *(["Pleural effusion."] * 37)]
    table = table.set_column(table.column_names.index("text.generated"), "text.generated", [said])
    pq.write_table(table, tmp_path / "reports.parquet")
    found = run_audit(protocol=Protocol.from_dict(BODY), predictions=tmp_path / "reports.parquet", cross_check=False)
    assert found.cohort["n_studies"] == 40


def test_bytes_that_are_no_utf8_are_refused_with_their_row(tmp_path: Path) -> None:
    """A file that says itself that it is UTF-8 is not read as anything else."""
    head = "patient_id,study_id,sex,text.reference,text.generated,text.prior,series.crp\n"
    rows = "".join(f"p{row},s{row},F,Pleural effusion.,Effusion.,,\n" for row in range(20))
    path = tmp_path / "reports.csv"
    path.write_bytes(("\ufeff" + head + rows).encode() + b"p99,s99,M,Caf\xe9.,Clear.,,\n")
    with pytest.raises(CohortError) as caught:
        run_audit(protocol=Protocol.from_dict(BODY), predictions=path, cross_check=False)
    assert caught.value.row == 21 and caught.value.remedy
