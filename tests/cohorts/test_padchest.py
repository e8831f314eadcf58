"""Real studies over nine years: what a row of pictures becomes, and what the file holds."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from config.demo.padchest_reader import fitted_on, months_of, write_month
from core.errors import EnvironmentProblemError
from models_registry.cohorts import padchest
from models_registry.cohorts.padchest import READ, read_padchest

PLAIN = {
    "StudyID": "1", "StudyDate_DICOM": "20110305", "PatientID": "9", "PatientBirth": "1950", "PatientSex_DICOM": "F",
    "Projection": "PA", "Manufacturer_DICOM": "Maker A", "Modality_DICOM": "CR", "BitsStored_DICOM": "12",
    "Rows_DICOM": "1700", "Columns_DICOM": "1800", "WindowCenter_DICOM": "2000", "WindowWidth_DICOM": "4000",
    "XRayTubeCurrent_DICOM": "None", "Exposure_DICOM": "2", "ExposureTime": "10", "Report": " derram pleural . ",
    "MethodLabel": "Physician", "Labels": "['pleural effusion', ' cardiomegaly']", "Pediatric": "No",
}  # fmt: skip


def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *rows: dict[str, str]) -> pd.DataFrame:
    """What is made of a file with these pictures."""
    path = tmp_path / "small.csv.gz"
    table = pd.DataFrame([PLAIN | row for row in rows], columns=[*READ, "Pediatric"])
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        table.to_csv(stream, index=False)
    monkeypatch.setattr(padchest, "locate_package_file", lambda *args, **how: path)
    return read_padchest(accept_licence=True).frame


def test_pictures_of_a_study_are_one_row_told_by_the_first_projection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = read(
        tmp_path,
        monkeypatch,
        {"Projection": "L", "Rows_DICOM": "1"},
        {"Projection": "PA", "Rows_DICOM": "2"},
        {"StudyID": "2", "StudyDate_DICOM": "20100101", "Projection": "COSTAL", "PatientSex_DICOM": "O"},
        {"StudyID": "3", "Pediatric": "PED"},
    )
    assert frame["study_id"].tolist() == ["2", "1"]  # by day; the child is left out
    assert frame["view"].tolist() == ["other", "PA"]
    assert frame["rows"].tolist() == [1700, 2]
    assert frame["pictures"].tolist() == [1, 2]
    assert frame["study_time"].tolist() == ["2010-01-01", "2011-03-05"]
    assert frame["age"].tolist() == [60, 61]
    assert frame["sex"].tolist()[1] == "F" and frame["sex"].isna().tolist() == [True, False]
    assert frame["tube_current"].isna().all()
    assert frame["text.report"].tolist()[1] == "derram pleural ."


def test_labels_are_silent_where_the_report_says_that_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["['pleural effusion']", "['normal']", "['unchanged']", "['unchanged', 'pleural effusion']", "[]", "nan"]
    frame = read(tmp_path, monkeypatch, *({"StudyID": str(place), "Labels": text} for place, text in enumerate(said)))
    found = frame["label.effusion"].to_numpy(dtype=float)
    np.testing.assert_array_equal(found, [1, 0, np.nan, 1, np.nan, np.nan])


def test_nothing_is_read_before_the_licence_is_accepted() -> None:
    with pytest.raises(EnvironmentProblemError, match="accepted first") as refused:
        read_padchest()
    assert "--accept-licence" in refused.value.remedy


def test_the_real_file_has_the_change_of_scanner_and_every_study_once(tmp_path: Path) -> None:
    studies = read_padchest(accept_licence=True)
    frame = studies.frame
    assert len(frame) == frame["study_id"].nunique() == 109_695
    share = (frame["scanner"] == "PhilipsMedicalSystems").groupby(frame["study_time"].str[:4]).mean()
    assert share["2010"] < 0.5 and share["2017"] == 1.0
    effusion = frame.groupby("scanner")["label.effusion"].mean()
    assert effusion["PhilipsMedicalSystems"] > 2 * effusion["ImagingDynamicsCompanyLtd"]
    # A month goes to the drop folder whole; nobody is in two months by study.
    months = months_of("2011-01-01", "2011-03-01")
    counts = [write_month(studies, month, tmp_path / f"{month}.parquet") for month in months]
    written = [pd.read_parquet(tmp_path / f"{month}.parquet") for month in months]
    assert [len(part) for part in written] == counts and min(counts) > 1000
    assert not set(written[0]["study_id"]) & set(written[1]["study_id"])
    assert not list(tmp_path.glob("*.part"))
    half = fitted_on(frame["patient_id"])
    assert 0.49 < pd.Series(half).groupby(frame["patient_id"]).first().mean() < 0.51
