"""FHIR bulk exports: from the order to rows, against a server on the loopback; what is made of resources, by hand."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.errors import AuscultError
from evaluation.monitoring.sources.base import OnItsWayError, SourceError
from evaluation.monitoring.sources.bulk import BulkClient
from evaluation.monitoring.sources.resources import Gathered, Wanted, rows, take, take_patient
from tests.evaluation.bulk_server import BulkServer, bulk_server
from tests.evaluation.source_scene import brought

EFFUSION, CRP = "http://snomed.info/sct|60046008", "http://loinc.org|1988-5"
SOURCE = {
    "url_env": "AUSCULT_SOURCE_FHIR", "token_env": "AUSCULT_SOURCE_TOKEN", "group": "chest",
    "labels": {"effusion": [EFFUSION]}, "series": {"crp": {"codes": [CRP], "unit": "mg/L"}},
}  # fmt: skip
COLUMNS = ("patient_id", "study_id", "sex", "age", "modality", "text.report", "text.impression", "label.effusion",
           "series.crp")  # fmt: skip


def coded(code: str) -> dict[str, Any]:
    system, _, value = code.partition("|")
    return {"coding": [{"system": system, "code": value}]}


def measured(key: str, patient: str, when: str, value: float, unit: str = "mg/L") -> dict[str, Any]:
    return {"resourceType": "Observation", "id": key, "status": "final", "code": coded(CRP),
            "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": when,
            "valueQuantity": {"value": value, "code": unit}}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BulkServer]:
    with bulk_server() as known:
        monkeypatch.setenv("AUSCULT_SOURCE_FHIR", known.base)
        monkeypatch.setenv("AUSCULT_SOURCE_TOKEN", "geheim")
        known.resources = {
            "Patient": [
                {"resourceType": "Patient", "id": "1", "gender": "female", "birthDate": "1960-03-04"},
                {"resourceType": "Patient", "id": "2", "gender": "male", "birthDate": "1950"},
                {"resourceType": "Patient", "id": "9", "gender": "male", "birthDate": "1950-01-01"},
            ],
            "ImagingStudy": [
                {"resourceType": "ImagingStudy", "id": "a", "status": "available", "started": "2026-03-03T10:00:00Z",
                 "subject": {"reference": "Patient/1"}, "modality": [{"code": "CR"}]},
                {"resourceType": "ImagingStudy", "id": "b", "status": "available", "started": "2026-03-04T10:00+02:00",
                 "subject": {"reference": "https://fhir.example/Patient/2/_history/4"}, "modality": [coded("x|DX")]},
                {"resourceType": "ImagingStudy", "id": "c", "status": "cancelled", "started": "2026-03-04T10:00:00Z",
                 "subject": {"reference": "Patient/1"}},
                {"resourceType": "ImagingStudy", "id": "d", "status": "available", "started": "2026-03",
                 "subject": {"reference": "Patient/1"}},
            ],
            "DiagnosticReport": [
                {"resourceType": "DiagnosticReport", "id": "r1", "status": "final", "conclusion": "Effusion.",
                 "imagingStudy": [{"reference": "ImagingStudy/a"}], "conclusionCode": [coded(EFFUSION)],
                 "presentedForm": [{"contentType": "text/plain; charset=utf-8",
                                    "data": base64.b64encode("Größer.".encode()).decode()}]},
                {"resourceType": "DiagnosticReport", "id": "r2", "status": "preliminary",
                 "imagingStudy": [{"reference": "ImagingStudy/b"}], "conclusionCode": [coded(EFFUSION)]},
            ],
            "Observation": [
                measured("o1", "1", "2026-03-03T04:00:00Z", 80), measured("o2", "1", "2026-03-02T22:00:00Z", 120),
                measured("o3", "1", "2026-03-03T11:00:00Z", 5), measured("o4", "1", "2026-02-27T10:00:00Z", 6),
                measured("o5", "1", "2026-03-03T09:00:00Z", 8, "mg/dL"), measured("o6", "9", "2026-03-03T09:00:00Z", 1),
            ],
        }  # fmt: skip
        yield known


def test_resources_become_rows(server: BulkServer, tmp_path: Path) -> None:
    server.raw = {"Observation": ["no json", '{"resourceType": "Observation"}', "[]"]}
    found = brought("fhir", SOURCE, tmp_path / "s", columns=COLUMNS)
    assert len(found) == 1
    rows = {row["study_id"]: row for row in pq.read_table(found[0].path).to_pylist()}
    # Whole years on 3 March of who was born on 4 March; the measurement an hour after the study is left out, as is
    # one of four days before; another unit is told and left out.
    assert rows["a"] == {
        "patient_id": "1", "study_id": "a", "study_time": "2026-03-03T10:00:00+00:00", "sex": "F", "age": 65.0,
        "modality": "CR", "label.effusion": 1, "text.impression": "Effusion.", "text.report": "Größer.",
        "series.crp": "[[-12.0, 120.0], [-6.0, 80.0]]",
    }  # fmt: skip
    assert rows["b"] == {
        "patient_id": "2", "study_id": "b", "study_time": "2026-03-04T08:00:00+00:00", "sex": "M", "age": None,
        "modality": "DX", "label.effusion": None, "text.impression": None, "text.report": None, "series.crp": None,
    }  # fmt: skip
    assert set(rows) == {"a", "b"} and server.deleted == 2
    assert {(f.kind, f.code, f.column, f.count) for f in found[0].findings} == {
        ("source", "no-resource", None, 3), ("times", "no-time", None, 1), ("unit", "other-unit", "series.crp", 1),
    }  # fmt: skip
    orders = [path for _, path, _ in server.asked if "$export" in path]
    assert orders[0].startswith("/r4/Group/chest/$export?") and "_since=2026-02-23T00%3A00%3A00.000Z" in orders[0]
    assert "_type=Patient" in orders[1] and "_since" not in orders[1]
    assert {token for *_, token in server.asked} == {"Bearer geheim"}
    again = brought("fhir", SOURCE, tmp_path / "s2", columns=COLUMNS, known=frozenset({found[0].digest}))
    assert again == []


ODD: tuple[Any, ...] = (None, 1, True, "", "x", [], {}, [None], ["x"], [[]], {"coding": 7}, {"coding": [7]}, 10**400,
                        float("nan"), "9999-12-31T23:59:59-12:00", "0001-01-01", "Patient/",
                        "2026-03-03T24:00:00Z")  # fmt: skip


def places(body: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every element of a resource is."""
    for key, value in body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ():
        yield (*way, key)
        yield from places(value, (*way, key))


@pytest.mark.parametrize("kind", ["Patient", "ImagingStudy", "DiagnosticReport", "Observation"])
@pytest.mark.parametrize("anchor", ["ImagingStudy", "DiagnosticReport"])
def test_no_element_of_another_kind_stops_an_export(server: BulkServer, kind: str, anchor: str) -> None:
    """One element of one resource is replaced by something odd; the other studies stay as they are."""
    asked = Wanted(anchor=anchor, labels={"effusion": (EFFUSION,)}, series={"crp": ((CRP,), "mg/L")}, history=48,
                   zone="UTC")  # fmt: skip
    bodies = {name: list(items) for name, items in server.resources.items()}
    bodies["DiagnosticReport"][0] |= {"subject": {"reference": "Patient/1"}, "issued": "2026-03-03T10:00:00Z"}
    bodies["Patient"][0] |= {
        "extension": [{"url": "x/us-core-race", "extension": [{"url": "text", "valueString": "A"}]}]
    }

    def made() -> dict[str, Any]:
        found = Gathered()
        for body in (item for name in ("ImagingStudy", "DiagnosticReport", "Observation") for item in bodies[name]):
            take(body, asked, found)
        for body in bodies["Patient"]:
            take_patient(body, found)
        return {row["study_id"]: row for row in rows(asked, found)}

    whole, first = made(), bodies[kind][0]
    assert len(whole) == (2 if anchor == "ImagingStudy" else 1)
    for way in [item for item in places(first) if item != ("id",)]:
        for value in ODD:
            bodies[kind][0] = copy.deepcopy(first)
            reduce(getitem, way[:-1], bodies[kind][0])[way[-1]] = value
            assert {key: row for key, row in made().items() if key == "b"} == {
                k: r for k, r in whole.items() if k == "b"
            }


def test_an_export_under_way_is_gone_on_with(server: BulkServer, tmp_path: Path) -> None:
    server.waits = 2
    with pytest.raises(OnItsWayError) as waiting:
        brought("fhir", SOURCE, tmp_path / "s1")
    assert waiting.value.seconds == 7 and not waiting.value.dispensable and "geheim" not in str(waiting.value.progress)
    assert len(brought("fhir", SOURCE, tmp_path / "s2", progress=waiting.value.progress)) == 1
    assert sum("$export" in path for _, path, _ in server.asked) == 2  # nothing was ordered twice
    server.lost = True
    with pytest.raises(OnItsWayError) as lost:
        brought("fhir", SOURCE, tmp_path / "s3", progress=waiting.value.progress)
    assert lost.value.progress == {}  # so that it is ordered again
    server.lost, server.post_alone = False, True
    assert len(brought("fhir", SOURCE, tmp_path / "s4")) == 1
    assert sum(method == "POST" for method, *_ in server.asked) == 2


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"status": 401}, "did not take the order"),
        ({"count": 1}, "promised"),
        ({"elsewhere": "https://other.example"}, "another host"),
    ],
)
def test_a_bad_server_is_told(server: BulkServer, tmp_path: Path, spoil: dict[str, Any], says: str) -> None:
    for name, value in spoil.items():
        setattr(server, name, value)
    with pytest.raises(SourceError, match=says) as told:
        brought("fhir", SOURCE, tmp_path / "s")
    assert "geheim" not in str(told.value)


@pytest.mark.parametrize("base", ["http://fhir.example", "ftp://x", "https://user:pw@fhir.example", "file:///etc", ""])
def test_an_address_must_be_safe(base: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUSCULT_SOURCE_FHIR", base)
    monkeypatch.setenv("AUSCULT_SOURCE_TOKEN", "geheim")
    with pytest.raises(AuscultError) as told:
        brought("fhir", SOURCE, tmp_path / "s")
    assert "pw" not in str(told.value) and "geheim" not in str(told.value)


def test_the_token_stays_with_its_host(server: BulkServer) -> None:
    client = BulkClient(base="https://fhir.example/r4", token="geheim")
    assert client._authorised("https://fhir.example/files/1", guarded=True) == {"Authorization": "Bearer geheim"}
    for url in ("https://evil.example/1", "http://fhir.example/1", "https://fhir.example:444/1"):
        assert client._authorised(url, guarded=True) == {}
    assert client._authorised("https://fhir.example/files/1", guarded=False) == {}
    assert "geheim" not in repr(client)
