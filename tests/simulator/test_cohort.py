"""The simulator: what it promises about bytes, columns, prevalence, persistence and planted defects."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.errors import CohortError
from models_registry.cohorts import inspect_cohort
from models_registry.cohorts.schema import ColumnRole, role_of
from synthetic.simulator import FINDINGS, SERIES, SimulatorSettings, Underdiagnosis, simulate_cohort

PATIENTS = 700
PLANTED = Underdiagnosis(attribute="sex", value="F", share=0.5)


def simulated(folder: Path, **settings):
    path = simulate_cohort(SimulatorSettings(**{"patients": PATIENTS, "seed": 5} | settings), folder / "c.parquet")
    return path, pq.read_table(path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("planted"), underdiagnosis=PLANTED)


def labels(table):
    return np.stack([table[f"label.{name}"].to_numpy() for name in FINDINGS], axis=1)


def test_equal_settings_give_equal_bytes_and_another_seed_shares_no_patient(tmp_path):
    first, table = simulated(tmp_path / "1", patients=40)
    second, _ = simulated(tmp_path / "2", patients=40)
    third, other = simulated(tmp_path / "3", patients=40, seed=6)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != third.read_bytes()
    assert not set(table["patient_id"].to_pylist()) & set(other["patient_id"].to_pylist())


def test_columns_obey_the_file_contract(clean):
    path, table = clean
    roles = [role_of(name) for name in table.column_names]
    assert roles.count(ColumnRole.LABEL) == len(FINDINGS)
    assert roles.count(ColumnRole.SERIES) == len(SERIES)
    assert {"image", "text.indication", "text.reference", "sex", "age", "view", "group"} <= set(table.column_names)
    assert len(set(table["study_id"].to_pylist())) == table.num_rows
    errors = [problem for problem in inspect_cohort(path).problems if problem.severity == "error"]
    assert errors == []


def test_the_file_says_that_it_is_simulated(planted):
    metadata = planted[1].schema.metadata
    assert metadata[b"auscult.simulated"] == b"true"
    assert json.loads(metadata[b"auscult.settings"])["underdiagnosis"]["share"] == 0.5


def test_prevalence_is_as_set(clean):
    # 700 patients with correlated visits: four standard errors are about .06.
    wanted = SimulatorSettings(patients=1, seed=0).prevalence
    found = labels(clean[1]).mean(axis=0)
    assert np.abs(found - [wanted[name] for name in FINDINGS]).max() < 0.06


def test_the_planted_share_is_exact_and_touches_nobody_else(clean, planted):
    truth, recorded = labels(clean[1]), labels(planted[1])
    women = np.array(clean[1]["sex"].to_pylist()) == "F"
    assert (truth[~women] == recorded[~women]).all()
    assert (recorded <= truth).all()
    erased = (truth[women] - recorded[women]).sum(axis=0)
    assert erased.tolist() == [round(0.5 * n) for n in truth[women].sum(axis=0).tolist()]
    counted = json.loads(planted[1].schema.metadata[b"auscult.labels_erased"])
    assert list(counted.values()) == erased.tolist()


def test_the_defect_changes_nothing_but_labels(clean, planted):
    for name in clean[1].column_names:
        if role_of(name) is not ColumnRole.LABEL:
            assert clean[1][name].equals(planted[1][name]), name


def test_patients_persist_over_their_studies(clean):
    table = clean[1].select(["patient_id", "sex", "age", "study_time", "label.effusion"])
    studies = defaultdict(list)
    for row in table.to_pylist():
        studies[row["patient_id"]].append(row)
    assert {len(rows) for rows in studies.values()} == {1, 2, 3, 4}
    kept, after_none = [], []
    for rows in studies.values():
        assert len({row["sex"] for row in rows}) == 1
        for before, after in pairwise(rows):
            assert before["study_time"] < after["study_time"]
            assert 0 <= after["age"] - before["age"] <= 3
            (kept if before["label.effusion"] else after_none).append(after["label.effusion"])
    # A finding that was there is found again far more often than a new one appears, and it may resolve.
    assert np.mean(kept) > np.mean(after_none) + 0.2
    assert np.mean(kept) < 0.95


def test_indications_never_name_a_finding_and_references_tell_the_truth(clean):
    rows = clean[1].select(["text.indication", "text.reference", *(f"label.{n}" for n in FINDINGS)]).to_pylist()
    for row in rows:
        said = (row["text.indication"] or "").lower()
        assert not any(
            word in said for word in ("effusion", "pneumothorax", "consolidation", "cardiomegaly", "enlarged")
        )
        report = row["text.reference"]
        assert ("No pleural effusion." in report) == (row["label.effusion"] == 0)
        assert ("No pneumothorax." in report) == (row["label.pneumothorax"] == 0)
        assert ("No consolidation." in report) == (row["label.consolidation"] == 0)
        assert ("The heart is enlarged." in report) == (row["label.cardiomegaly"] == 1)


def test_modalities_are_missing_at_their_rate(tmp_path):
    wanted = {"image": 0.3, "text.indication": 0.2, "series.crp": 0.5}
    _, table = simulated(tmp_path, missing=wanted)
    for name, share in wanted.items():
        assert abs(table[name].null_count / table.num_rows - share) < 0.06
    assert table["series.spo2"].null_count == 0


def test_series_are_in_the_order_of_time_and_plausible(clean):
    for name, least, most in (("spo2", 70, 100), ("crp", 0.3, 500)):
        for points in clean[1][f"series.{name}"].to_pylist():
            times = [point["t"] for point in points or []]
            assert times == sorted(times)
            assert all(time <= 0 for time in times)
            assert all(least <= point["v"] <= most for point in points or [])


def test_findings_can_be_seen(clean):
    """Between pictures with and without an effusion the lower lungs differ far more than the upper ones."""
    table = clean[1].select(["image", "label.effusion"])
    rows = [row for row in table.to_pylist() if row["image"]]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["image"])), float) for row in rows])
    ill = np.array([row["label.effusion"] == 1 for row in rows])
    change = pixels[ill].mean(axis=0) - pixels[~ill].mean(axis=0)
    assert pixels.shape[1:] == (64, 64)
    assert change[40:48, 8:24].mean() > 5 * abs(change[10:20, 8:24].mean())
    assert change[40:48, 8:24].mean() > 3


def planting(**defect):
    return {"patients": 5, "seed": 1, "underdiagnosis": {"attribute": "sex", **defect}}


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ({"patients": 0, "seed": 1}, "patients"),
        ({"patients": 5}, "seed"),
        ({"patients": True, "seed": 1}, "patients"),
        ({"patients": 5, "seed": 1, "prevalance": {}}, "prevalance"),
        ({"patients": 5, "seed": 1, "missing": {"image": 1.5}}, "missing.image"),
        (planting(value="X", share=0.5), "underdiagnosis.value"),
        (planting(value="F"), "underdiagnosis.share"),
        (planting(value="F", share=2), "underdiagnosis.share"),
    ],
)
def test_a_wrong_setting_is_named(body, column):
    with pytest.raises(CohortError) as caught:
        SimulatorSettings.from_dict(body)
    assert caught.value.column == column
    assert caught.value.remedy


def test_settings_survive_json():
    settings = SimulatorSettings(patients=3, seed=1, underdiagnosis=PLANTED)
    assert SimulatorSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
