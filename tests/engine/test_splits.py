"""Splits and tuning files: who is judged, and that nobody is on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from core.digests import sha256_file
from evaluation.engine import Protocol, run_audit
from models_registry.cohorts import shared_patients
from tests.engine.builders import body
from tests.engine.threshold_files import frame, run, save


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    labels = [{"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}]
    path.write_text(yaml.safe_dump(body(labels=labels, splits={"audited": ["test"], "tuning": ["tuning"]})))
    return path


# Splits and tuning files


def audited(data: Path, **options: Any) -> Any:
    label = {"name": "x", "threshold": {"value": 0.5, "source": "elsewhere"}}
    read = Protocol.from_dict(body(labels=[label], **options))
    return run_audit(protocol=read, predictions=data, cross_check=False)


def test_only_the_audited_split_is_judged(tmp_path: Path) -> None:
    data = frame()
    whole = save(data, tmp_path / "whole.parquet")
    only = save(data[data["split"] == "test"].drop(columns="split"), tmp_path / "only.parquet")
    one = audited(whole, splits={"audited": ["test"], "tuning": ["tuning"]})
    two = audited(only)
    assert one.cohort["n_studies"] == two.cohort["n_studies"] == 400
    assert [row.value for row in one.assessment.measurements] == [row.value for row in two.assessment.measurements]
    assert any("Left out: tuning." in note for note in one.assessment.notes)
    data.loc[data.index[:4], "split"] = None
    some = audited(save(data, whole), splits={"audited": ["test"]})
    assert any("Left out: tuning, studies without a split." in note for note in some.assessment.notes)


def test_several_parts_with_splits_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models_registry.cohorts import partition

    data = save(frame(), tmp_path / "p.parquet")
    whole = audited(data, splits={"audited": ["test"]}).to_dict()
    monkeypatch.setattr(partition, "PART_ROWS", 20)
    assert audited(data, splits={"audited": ["test"]}).to_dict() == whole


def test_splits_that_the_protocol_does_not_know_of_are_told(tmp_path: Path) -> None:
    found = audited(save(frame(), tmp_path / "p.parquet"))
    assert found.cohort["n_studies"] == 800
    assert any("the splits 'test', 'tuning' and the protocol no 'splits'" in note for note in found.assessment.notes)


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_a_patient_in_the_tuning_split_and_in_the_test_is_refused(tmp_path: Path, rules: Path, name: str) -> None:
    data = frame()
    data.loc[[10, 20], "split"] = "test"
    path = tmp_path / name
    data.to_csv(path, index=False) if name.endswith("csv") else data.to_parquet(path)
    ran = run(path, rules)
    assert ran.exit_code == 3 and ran.stdout == ""
    assert f"{name}, column split, row 12" in ran.stderr
    assert "2 patients are in more than one split" in ran.stderr
    assert "Split by patient" in ran.stderr


def test_a_split_that_does_not_occur_is_refused(tmp_path: Path, rules: Path) -> None:
    ran = run(save(frame().assign(split="tuning"), tmp_path / "p.parquet"), rules)
    assert ran.exit_code == 3
    assert "p.parquet, column split: No study is in the split 'test'" in ran.stderr
    assert "The column has 'tuning'" in ran.stderr
    ran = run(save(frame().drop(columns="split"), tmp_path / "p.parquet"), rules)
    assert ran.exit_code == 3 and "the column 'split' is missing" in ran.stderr


def test_a_patient_in_the_tuning_file_and_in_the_test_is_refused(tmp_path: Path, rules: Path) -> None:
    data = frame()
    tuning, test = data[data["split"] == "tuning"], data[data["split"] == "test"]
    apart = save(tuning, tmp_path / "tuning.parquet")
    audited_file = save(test, tmp_path / "p.parquet")
    ran = run(audited_file, rules, "--tuning", apart)
    assert ran.exit_code in {0, 1, 2}, ran.stderr
    assert f"No audited patient is in tuning.parquet (SHA-256 {sha256_file(apart)[:12]})" in ran.stdout
    assert "thresholds do not name it" in ran.stdout
    mixed = tmp_path / "mixed.csv"
    pd.concat([tuning, test.iloc[[6, 7, 2]]]).to_csv(mixed, index=False)
    ran = run(audited_file, rules, "--tuning", mixed)
    assert ran.exit_code == 3 and ran.stdout == ""
    assert "p.parquet, column patient_id, row 3: 2 patients are in this file and in mixed.csv" in ran.stderr
    assert "p201" not in ran.stderr and "tune the thresholds again" in ran.stderr


def test_patients_left_out_by_their_split_may_be_in_the_tuning_file(tmp_path: Path, rules: Path) -> None:
    data = save(frame(), tmp_path / "p.parquet")
    tuning = save(frame()[frame()["split"] == "tuning"], tmp_path / "tuning.parquet")
    assert run(data, rules, "--tuning", tuning).exit_code in {0, 1, 2}
    assert shared_patients(tuning, data).patients == 200


def test_patients_are_compared_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models_registry.cohorts import spool

    monkeypatch.setattr(spool, "BUFFER_RECORDS", 50)
    data = frame()
    one, two = save(data.iloc[:500], tmp_path / "one.parquet"), save(data.iloc[400:], tmp_path / "two.parquet")
    shared = shared_patients(one, two)
    assert (shared.patients, shared.row) == (50, 1)
    assert shared_patients(two, one).row == 401
    assert shared_patients(save(data.iloc[:100], one), two).patients == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.drop(columns="patient_id"), "There is no column 'patient_id'"),
        (lambda d: d.assign(patient_id=[None, *d["patient_id"][1:]]), "row 1"),
    ],
)
def test_a_tuning_file_without_patients_is_refused(tmp_path: Path, rules: Path, change: Any, said: str) -> None:
    tuning = save(change(frame()), tmp_path / "tuning.parquet")
    ran = run(save(frame(), tmp_path / "p.parquet"), rules, "--tuning", tuning)
    assert ran.exit_code == 3
    assert "tuning.parquet, column patient_id" in ran.stderr and said in ran.stderr
