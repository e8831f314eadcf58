"""Columns of a health record: they are in one story with findings and indications, and move nothing else."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from models_registry.cohorts import inspect_cohort
from models_registry.cohorts.schema import ColumnRole, role_of
from synthetic.simulator import SimulatorSettings, simulate_cohort
from synthetic.simulator.records import ADMISSIONS, DIAGNOSES, MEDICATION

SETTINGS = {"patients": 900, "seed": 5, "image_size": 32, "missing": {"image": 1.0}}


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    path = simulate_cohort(SimulatorSettings(**SETTINGS, records=True), folder / "c.parquet")
    return path, pq.read_table(path)


def said(table, name):
    return np.array(table[name].to_pylist()) == "yes"


def test_records_are_further_attributes_and_change_nothing_else(held, tmp_path):
    path, table = held
    plain = pq.read_table(simulate_cohort(SimulatorSettings(**SETTINGS), tmp_path / "c.parquet"))
    added = [name for name in table.column_names if name not in plain.column_names]
    assert len(added) == len(DIAGNOSES) + len(MEDICATION) + 2
    assert all(role_of(name) is ColumnRole.COVARIATE for name in added)
    assert [problem for problem in inspect_cohort(path).problems if problem.severity == "error"] == []
    for name in plain.column_names:
        assert plain[name].equals(table[name]), name


def test_what_a_referrer_names_is_in_the_record_and_the_record_holds_more(held):
    table = held[1]
    texts = [text or "" for text in table["text.indication"].to_pylist()]
    for name in DIAGNOSES:
        named = np.array([name in text.partition("History of ")[2] for text in texts])
        recorded = said(table, f"diagnosis_{name.lower().replace(' ', '_')}")
        assert recorded[named].all()
        assert 0.02 < recorded[~named].mean() < 0.75


def test_a_diagnosis_is_the_patients_and_comes_with_age(held):
    table = held[1]
    seen = defaultdict(set)
    for patient, value in zip(table["patient_id"].to_pylist(), table["diagnosis_copd"].to_pylist(), strict=True):
        seen[patient].add(value)
    assert all(len(values) == 1 for values in seen.values())
    age = table["age"].to_numpy()
    assert age[said(table, "diagnosis_hypertension")].mean() > age[~said(table, "diagnosis_hypertension")].mean() + 3


def test_medication_follows_diagnoses_and_persists(held):
    table = held[1]
    for diagnosis, medication in (
        ("copd", "bronchodilator"),
        ("diabetes", "antidiabetic"),
        ("heart_failure", "loop_diuretic"),
    ):
        ill, takes = said(table, f"diagnosis_{diagnosis}"), said(table, f"medication_{medication}")
        assert takes[ill].mean() > takes[~ill].mean() + 0.2
    patient, takes = np.array(table["patient_id"].to_pylist()), said(table, "medication_antihypertensive")
    again = patient[1:] == patient[:-1]
    assert (takes[1:] == takes[:-1])[again].mean() > 0.75


def test_records_tell_of_findings_and_findings_do_not_depend_on_age(held):
    """Heart failure and a large heart go together; a large heart is as frequent in the old as in the young."""
    table = held[1]
    large, failing = table["label.cardiomegaly"].to_numpy() == 1, said(table, "diagnosis_heart_failure")
    assert large[failing].mean() > large[~failing].mean() + 0.1
    assert abs(np.corrcoef(table["age"].to_numpy(), large)[0, 1]) < 0.07


def test_visits_count_the_cohorts_own_studies_and_the_ill_come_as_emergencies(held):
    table = held[1]
    visits, time = table["visits_last_year"].to_numpy(), table["study_time"].to_numpy()
    patient = np.array(table["patient_id"].to_pylist())
    for row in range(300):
        earlier = (patient[:row] == patient[row]) & (time[row] - time[:row] <= np.timedelta64(365, "D"))
        assert visits[row] >= earlier.sum()
    admission = np.array(table["admission"].to_pylist())
    assert set(admission) == set(ADMISSIONS)
    findings = np.sum([table[name].to_numpy() for name in table.column_names if name.startswith("label.")], axis=0)
    assert findings[admission == "emergency"].mean() > findings[admission == "clinic"].mean() + 0.2
