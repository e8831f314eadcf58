"""A release: every format read back by something else, whole or not there at all, and refused where it must be."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest

from core.cells import FORMULA_STARTS, cell
from core.errors import AuscultError, CohortError, EnvironmentProblemError
from models_registry.cohorts import convert_cohort
from models_registry.cohorts.images import decode_image, dicom_identifiers
from models_registry.cohorts.reader import open_cohort
from synthetic.generators.keeping import studies_digest
from synthetic.generators.reading import read_linked
from synthetic.release import ReleaseManifest, export_release
from tests.synthetic.export_scene import REPORT, bare, facts, studies_of

REQUIRED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ConversionType",
    "SeriesNumber", "InstanceNumber", "PatientName", "PatientID", "SamplesPerPixel", "PhotometricInterpretation",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
"""Attributes that PS3.3 A.8.1 and its modules demand with a value, and those of ours that a receiver looks for."""
EMPTY_ALLOWED = ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
                 "AccessionNumber", "Laterality", "PatientOrientation")  # fmt: skip


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> ReleaseManifest:
    return export_release(studies_of(), tmp_path_factory.mktemp("release") / "out", facts=facts())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder."""
    made = tmp_path / "place"
    made.mkdir()
    return made


def table(manifest: ReleaseManifest, name: str) -> list[dict[str, str]]:
    with (manifest.folder / "csv" / f"SYNTHETIC_{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_parquet_is_a_cohort_with_the_same_patients(release: ReleaseManifest, place: Path) -> None:
    file = release.folder / "cohort.parquet"
    told = pq.read_schema(file).metadata
    assert told[b"auscult.synthetic"] == b"SYNTHETIC" and told[b"auscult.generator"] == b"a" * 64
    assert json.loads(told[b"auscult.units"]) == {"series.crp": "mg/L"}
    convert_cohort(file, mapping=None, destination=place / "registered")
    again, studies = read_linked(open_cohort(place / "registered"), image_size=9), studies_of()
    assert studies.images is not None and again.images is not None and np.array_equal(again.images, studies.images)
    assert again.texts["reference"].tolist() == studies.texts["reference"].tolist()
    assert release.studies_digest == studies_digest(studies)


def test_csv_has_a_mark_in_each_row_and_loses_nothing(release: ReleaseManifest) -> None:
    patients, studies, series, reports = (table(release, name) for name in ("patients", "studies", "series", "reports"))
    rows = [*patients, *studies, *series, *reports]
    assert {row["synthetic"] for row in rows} == {"SYNTHETIC"} and (len(patients), len(studies)) == (3, 6)
    assert patients[0]["attribute.race"] == "B" and patients[2]["attribute.sex"] == ""
    assert "attribute.age" not in patients[0] and patients[0]["studies"] == "2"
    assert [row["attribute.age"] for row in studies] == ["60", "61", "70", "71", "0", "1"]
    assert [row["label.odd label"] for row in studies] == ["0", "", "1", "0", "0", "1"]
    assert studies[0]["plan.effusion"] == "left" and studies[0]["study_time"] == "2024-02-29T10:00:00Z"
    assert studies[5]["image"] == studies[5]["study_uid"] == ""
    shown = pydicom.dcmread(release.folder / studies[0]["image"])
    assert shown.StudyInstanceUID == studies[0]["study_uid"]
    assert len(series) == 10 and series[0] | {"synthetic": ""} == {
        "synthetic": "", "patient_id": "SYN-abcdef12-7-P000001", "study_id": "SYN-abcdef12-7-P000001-1",
        "series": "crp", "hours": "-30.5", "value": "8.25", "unit": "mg/L",
    }  # fmt: skip
    assert [row["words"] for row in reports if row["text"] == "reference"] == [f"'{REPORT}"] * 5


def test_no_cell_is_a_formula(release: ReleaseManifest) -> None:
    assert [cell(value) for value in ("=1+1", "+1", "-x", "@x", "\tx", "a=b", -1.5, None, np.nan, np.int64(3))] == [
        "'=1+1", "'+1", "'-x", "'@x", "'\tx", "a=b", "-1.5", "", "", "3",
    ]  # fmt: skip
    assert table(release, "studies")[0]["attribute.@site"] == "'-1+1"
    for file in (release.folder / "csv").iterdir():
        with file.open(encoding="utf-8", newline="") as stream:
            cells = [text for row in csv.reader(stream) for text in row]
        assert not [text for text in cells if text.startswith(FORMULA_STARTS) and not _is_number(text)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_dicom_is_read_without_force_and_says_what_it_is(release: ReleaseManifest) -> None:
    files = sorted((release.folder / "dicom").rglob("*.dcm"))
    studies, seen = studies_of(), set()
    assert studies.images is not None and len(files) == 5
    for row, file in enumerate(files):
        with pydicom.config.strict_reading():
            image = pydicom.dcmread(file, force=False)
            assert "Invalid" not in str(image)
        assert all(image.get(name) not in (None, "", b"") for name in REQUIRED)
        assert all(name in image for name in EMPTY_ALLOWED) and "PatientIdentityRemoved" not in image
        assert np.array_equal(image.pixel_array, studies.images[row])
        assert (image.SyntheticData, image.ConversionType, image.BurnedInAnnotation) == ("YES", "SYN", "NO")
        assert list(image.ImageType) == ["DERIVED", "SECONDARY"] and image.ContentQualification == "RESEARCH"
        assert str(image.PatientName) == f"SYNTHETIC^{image.PatientID}" and image.PatientID == file.parent.name
        assert "SYNTHETIC" in image.ImageComments and image.DeidentificationMethod == "SYNTHETIC: no real person"
        uids = {str(image[name].value) for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")}
        assert all(uid.startswith("2.25.") and len(uid) <= 64 and pydicom.uid.UID(uid).is_valid for uid in uids)
        assert len(uids) == 3 and not uids & seen
        seen |= uids
        assert decode_image(file.read_bytes()).shape == (9, 9)
        assert dicom_identifiers(file.read_bytes()) == ("PatientName",), "the name SYNTHETIC, and nothing else"
    first = pydicom.dcmread(files[0])
    assert (first.PatientSex, first.PatientAge, first.StudyDate, first.StudyTime) == ("F", "060Y", "20240229", "100000")


def test_equal_input_gives_equal_bytes_and_another_origin_other_uids(release: ReleaseManifest, place: Path) -> None:
    again = export_release(studies_of(), place / "again", facts=facts())
    assert (again.files, again.statement) == (release.files, release.statement)
    name = "dicom/SYN-abcdef12-7-P000001/SYN-abcdef12-7-P000001-1.dcm"
    old = pydicom.dcmread(release.folder / name)
    for fact in ("generator", "cohort"):
        changed = facts(**{fact: replace(getattr(facts(), fact), digest="9" * 64)})
        other = export_release(studies_of(), place / fact, facts=changed, formats=["dicom"])
        new = pydicom.dcmread(other.folder / name)
        assert old.SOPInstanceUID != new.SOPInstanceUID and old.PixelData == new.PixelData


def test_every_file_says_synthetic(release: ReleaseManifest) -> None:
    files = [path for path in release.folder.rglob("*") if path.is_file()]
    assert {path.relative_to(release.folder).as_posix() for path in files} == {*release.files, "statement.json"}
    assert all(b"SYNTHETIC" in path.read_bytes() for path in files) and len(files) == 15


def test_what_is_not_there_is_named(place: Path) -> None:
    made = export_release(bare(studies_of()), place / "out", facts=facts(), formats=["csv", "dicom", "fhir"])
    assert made.left_out == {
        "parquet": "not asked for",
        "dicom": "no study has an image",
        "csv/SYNTHETIC_series.csv": "no study has a series",
        "csv/SYNTHETIC_reports.csv": "no study has a text",
    }
    assert not {"cohort.parquet", "dicom"} & {path.name for path in made.folder.iterdir()}
    sheet = json.loads((made.folder / "datasheet.json").read_text())
    assert sheet["composition"]["not there"] == made.left_out and sheet["composition"]["images"] == 0
    for name in ("datasheet.md", "README.txt"):
        assert all(reason in (made.folder / name).read_text() for reason in made.left_out.values())
    assert table(made, "patients")[0]["first_study_time"] == ""
    line = (made.folder / "fhir" / "SYNTHETIC_patients.ndjson").read_text().splitlines()[0]
    assert "birthDate" not in line and "started" not in line and "Observation" not in line


def fail(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("broken", ["write_bundles", "datasheet_markdown", "write_statement", "folder_manifest"])
def test_nothing_is_half_written(place: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(f"synthetic.release.export.{broken}", fail)
    with pytest.raises(EnvironmentProblemError, match="No space left on device"):
        export_release(studies_of(), place / "out", facts=facts())
    assert not list(place.iterdir())


def test_a_stop_leaves_nothing_and_progress_grows(place: Path) -> None:
    told: list[float] = []

    def stop(share: float, message: str) -> None:
        told.append(share)
        if "dicom" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_release(studies_of(), place / "out", facts=facts(), tell=stop)
    assert not list(place.iterdir()) and told == sorted(told)


def with_keys(change: Callable[[str], Any], column: str = "patient_ids") -> Any:
    studies = studies_of()
    keys = getattr(studies, column).copy()
    keys[-2:] = [change(key) for key in keys[-2:]]
    return replace(studies, **{column: keys})


@pytest.mark.parametrize("column", ["patient_ids", "study_ids"])
@pytest.mark.parametrize("key", ["4711", "syn-1", "SYN-", "SYN-../../x", "SYN-a/b", "SYN-a b", "SYN-" + "x" * 50, 7])
def test_a_key_that_is_none_of_a_synthetic_patient_is_refused_and_not_told(
    place: Path, column: str, key: object
) -> None:
    with pytest.raises(CohortError) as refused:
        export_release(with_keys(lambda _: key, column), place / "out", facts=facts())
    assert refused.value.row == 5 and str(key) not in refused.value.message.replace("SYN-,", "")
    assert not list(place.iterdir())


def test_a_real_key_a_key_twice_and_scattered_patients_are_refused(place: Path) -> None:
    real = studies_of().patient_ids[2]
    with pytest.raises(CohortError, match="one of the real cohort's"):
        export_release(studies_of(), place / "out", facts=facts(), is_real=lambda key: key == real)
    with pytest.raises(CohortError, match="same key"):
        export_release(with_keys(lambda _: "SYN-1", "study_ids"), place / "out", facts=facts())
    with pytest.raises(CohortError, match="do not follow one another"):
        export_release(studies_of().rows(np.array([0, 2, 1])), place / "out", facts=facts())
    with pytest.raises(CohortError, match="no study"):
        export_release(studies_of().rows(slice(0, 0)), place / "out", facts=facts())
    assert not list(place.iterdir())


def test_what_is_there_is_not_written_over(place: Path) -> None:
    for name in ("folder", "file"):
        there = place / name
        there.mkdir() if name == "folder" else there.write_text("x")
        with pytest.raises(AuscultError, match="there already"):
            export_release(studies_of(), there, facts=facts())
    assert sorted(path.name for path in place.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evidence": "x"}, "evidence"),
        ({"date": "today"}, "date"),
        ({"licence": " "}, "licence"),
        ({"modality": "MR"}, "modality"),
        ({"body_part": "Thorax"}, "body_part"),
        ({"flags": {"image_unresolved": 4.3}}, "flags"),
        ({"codes": {"effusion": "60046008"}}, "codes"),
        ({"decision": replace(facts().decision, outcome="refused")}, "not released"),
        ({"gates": (replace(facts().gates[0], value=None, reason="crashed"),)}, "no value, and passed"),
        ({"gates": (replace(facts().gates[0], value=float("nan")),)}, "no number"),
        ({"gates": (replace(facts().gates[0], outcome="fine"),)}, "outcome"),
    ],
)
def test_facts_that_are_missing_or_wrong_are_named(place: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(AuscultError, match=words):
        export_release(studies_of(), place / "out", facts=facts(**change))
    assert not list(place.iterdir())


def test_formats_are_known(place: Path) -> None:
    for wrong in (["xlsx"], []):
        with pytest.raises(AuscultError, match="Formats of a release"):
            export_release(studies_of(), place / "out", facts=facts(), formats=wrong)
