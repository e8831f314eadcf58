"""Released patients as FHIR: bundles that hold together, and that Auscult's own FHIR source reads back."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest

from synthetic.release import ReleaseManifest, export_release
from synthetic.release.codes import LOCAL
from synthetic.release.fhir import bulk_files
from tests.evaluation.bulk_server import bulk_server
from tests.evaluation.source_scene import brought
from tests.synthetic.export_scene import REPORT, facts, studies_of

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
REQUIRED = {
    "Patient": (),
    "Encounter": ("status", "class"),
    "ImagingStudy": ("status", "subject"),
    "DiagnosticReport": ("status", "code"),
    "Condition": ("subject", "code"),
    "Observation": ("status", "code"),
}
"""Elements that R4 demands of each kind."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> ReleaseManifest:
    place = tmp_path_factory.mktemp("fhir")
    return export_release(studies_of(), place / "out", facts=facts(), formats=["fhir", "dicom"])


@pytest.fixture(scope="module")
def bundles(release: ReleaseManifest) -> list[dict[str, Any]]:
    lines = (release.folder / "fhir" / "SYNTHETIC_patients.ndjson").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def of_kind(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item["resource"] for item in bundle["entry"] if item["resource"]["resourceType"] == kind]


def references(body: Any) -> Iterator[str]:
    if isinstance(body, dict):
        yield from [body["reference"]] if isinstance(body.get("reference"), str) else []
    for part in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from references(part)


def test_each_resource_is_marked_complete_and_refers_to_what_is_there(bundles: list[dict[str, Any]]) -> None:
    assert len(bundles) == 3 and {item["type"] for item in bundles} == {"collection"}
    for bundle in bundles:
        resources = [item["resource"] for item in bundle["entry"]]
        names = [f"{item['resourceType']}/{item['id']}" for item in resources]
        assert len(set(names)) == len(names) and all(ID.fullmatch(item["id"]) for item in resources)
        assert [item["fullUrl"] for item in bundle["entry"]] == [f"https://auscult.invalid/fhir/{n}" for n in names]
        assert set(references(bundle)) <= set(names)
        for item in [bundle, *resources]:
            assert item["meta"]["security"][0]["code"] == "HTEST"
            assert item["meta"]["security"][0]["system"] == "http://terminology.hl7.org/CodeSystem/v3-ActReason"
            assert (
                item["meta"]["tag"][0]["code"] == "SYNTHETIC" and None not in item.values() and [] not in item.values()
            )
        assert all(item.get(name) for item in resources for name in REQUIRED[item["resourceType"]])


def test_what_is_told_is_what_the_studies_hold(bundles: list[dict[str, Any]], release: ReleaseManifest) -> None:
    counts = Counter(item["resource"]["resourceType"] for bundle in bundles for item in bundle["entry"])
    studies = studies_of()
    present = sum(int((values == 1).sum()) for values in studies.labels.values())
    assert counts == {"Patient": 3, "Encounter": 6, "ImagingStudy": 6, "DiagnosticReport": 6, "Observation": 10,
                      "Condition": present}  # fmt: skip
    patient, report = of_kind(bundles[0], "Patient")[0], of_kind(bundles[0], "DiagnosticReport")[0]
    assert (patient["gender"], patient["birthDate"], patient["name"][0]["family"]) == (
        "female",
        "1964-02-28",
        "SYNTHETIC",
    )
    assert base64.b64decode(report["presentedForm"][0]["data"]).decode() == REPORT
    assert of_kind(bundles[0], "Encounter")[0]["reasonCode"] == [{"text": "Cough."}]
    first = of_kind(bundles[0], "Observation")[0]
    assert first["valueQuantity"] == {
        "value": 8.25,
        "unit": "mg/L",
        "system": "http://unitsofmeasure.org",
        "code": "mg/L",
    }
    assert datetime.fromisoformat(first["effectiveDateTime"]) == datetime.fromisoformat("2024-02-28T03:30:00Z")
    imaging = of_kind(bundles[0], "ImagingStudy")[0]
    image = pydicom.dcmread(release.folder / "dicom" / patient["id"] / f"{imaging['id']}.dcm")
    assert imaging["identifier"][0]["value"] == f"urn:oid:{image.StudyInstanceUID}"
    assert imaging["series"][0]["instance"][0]["uid"] == image.SOPInstanceUID
    assert imaging["series"][0]["instance"][0]["sopClass"]["code"] == f"urn:oid:{image.SOPClassUID}"
    assert "series" not in of_kind(bundles[2], "ImagingStudy")[1]


def test_a_code_means_its_unit_and_what_is_no_number_stays_out(tmp_path: Path) -> None:
    studies = studies_of()
    odd = [np.array([[-1.0, np.nan], [-0.5, 3.0]]), *studies.series["crp"][1:]]
    for unit, system in (("mg/dL", "http://loinc.org"), ("nmol/L", LOCAL), ("", LOCAL)):
        made = export_release(
            replace(studies, series={"crp": odd}), tmp_path / f"out-{unit.replace('/', '')}", formats=["fhir"],
            facts=facts(units={"crp": unit} if unit else {}),
        )  # fmt: skip
        lines = (made.folder / "fhir" / "SYNTHETIC_patients.ndjson").read_text().splitlines()
        seen = [item for line in lines for item in of_kind(json.loads(line), "Observation")]
        assert len(seen) == 9 and {item["code"]["coding"][0]["system"] for item in seen} == {system}
        assert {item["valueQuantity"].get("code", "") for item in seen} == {unit}


def test_auscults_own_source_reads_it_back(
    release: ReleaseManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = bulk_files(release.folder / "fhir" / "SYNTHETIC_patients.ndjson", tmp_path / "bulk")
    source = {
        "url_env": "AUSCULT_SOURCE_FHIR", "history_hours": 48,
        "labels": {"effusion": ["http://snomed.info/sct|60046008"], "odd label": [f"{LOCAL}|odd-label"]},
        "series": {"crp": {"codes": ["http://loinc.org|1988-5"], "unit": "mg/L"}},
    }  # fmt: skip
    with bulk_server() as server:
        monkeypatch.setenv("AUSCULT_SOURCE_FHIR", server.base)
        server.resources = {kind: list(map(json.loads, file.open(encoding="utf-8"))) for kind, file in files.items()}
        columns = ("patient_id", "study_id", "sex", "age", "race", "modality", "text.report", "label.effusion",
                   "label.odd label", "series.crp")  # fmt: skip
        (found,) = brought("fhir", source, tmp_path / "s", columns=columns)
    assert not found.findings
    rows, studies = {row["study_id"]: row for row in pq.read_table(found.path).to_pylist()}, studies_of()
    assert set(rows) == set(studies.study_ids.tolist())
    for at, key in enumerate(studies.study_ids.tolist()):
        row, readings = rows[key], studies.series["crp"][at]
        assert row["patient_id"] == studies.patient_ids[at] and row["modality"] == "DX" and row["race"] == "B"
        assert datetime.fromisoformat(row["study_time"]).replace(tzinfo=None) == studies.times[at].item()
        assert (row["sex"], row["age"]) == (studies.attributes["sex"][at], studies.attributes["age"][at])
        assert row["text.report"] == studies.texts["reference"][at]
        for name, values in studies.labels.items():
            assert row[f"label.{name}"] == max(0, values[at]), "what is unknown has no code, and reads as absent"
        assert row["series.crp"] == (None if readings is None else json.dumps(readings.tolist()))
