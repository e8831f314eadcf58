"""Windows from what comes in several parts, images first and labels later, and from an export that takes its time."""

from __future__ import annotations

import json
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evaluation.models import Alert, Delivery, Monitor, MonitorWindow
from evaluation.monitoring.collecting import collect_window
from evaluation.monitoring.schema import check_source
from evaluation.services.deliveries import deliver_studies
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.execution import cohort_folder
from tests.evaluation.bulk_server import BulkServer, bulk_server
from tests.evaluation.source_scene import CLOSES, OPENS, studies, watched
from tests.registry.scene import Files, make_cohort


def png(grey: int) -> bytes:
    made = BytesIO()
    Image.fromarray(np.full((8, 8), grey, np.uint8)).save(made, "png")
    return made.getvalue()


def window(monitor: Monitor) -> MonitorWindow:
    return MonitorWindow.objects.create(monitor=monitor, index=1, opens_at=OPENS, closes_at=CLOSES, due_at=CLOSES)


def with_images(monitor: Monitor, people: Any, folder: Path) -> None:
    """Give the monitor a reference with images, a series, and a label."""
    frame = studies(30).assign(image=[png(1)] * 30, **{"series.crp": ["[[0, 7.1]]"] * 30})
    frame.to_parquet(folder / "with.parquet")
    convert_cohort(folder / "with.parquet", mapping=None, destination=folder / "with")
    monitor.reference_cohort = make_cohort(people, folder / "with", "With images")
    monitor.save()


def test_what_comes_in_parts_is_put_together(
    people: SimpleNamespace, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """75 studies in three deliveries; every column of every study is compared with what a plain loop makes of them."""
    monkeypatch.setattr("evaluation.monitoring.gathering.IMAGES_AT_ONCE", 7)
    monitor = watched(people, files, tmp_path)
    with_images(monitor, people, tmp_path)
    rng = np.random.default_rng(3)
    told: dict[str, dict[str, Any]] = {}
    for number, rows in enumerate([np.arange(0, 60), rng.permutation(75)[:45], np.arange(50, 75)]):
        frame = studies(75).iloc[rows]
        n = len(frame)
        image = [None if rng.random() < 0.4 else png(int(rng.integers(1, 250))) for _ in range(n)]
        crp = [None if rng.random() < 0.5 else f"[[0, {number}.5], [2, {k}]]" for k in range(n)]
        label = [None if rng.random() < 0.5 else int(rng.random() < 0.5) for _ in range(n)]
        frame = frame.assign(image=image, **{"series.crp": crp, "label.effusion": pd.array(label, "Int8")})
        frame.to_parquet(tmp_path / "part.parquet", index=False)
        deliver_studies(monitor=monitor, path=tmp_path / "part.parquet", name=f"part {number}", by=people.lea)
        for row in frame.to_dict("records"):
            known = told.setdefault(row["study_id"], {})
            known |= {k: v for k, v in row.items() if v is not None and v is not pd.NA}
    row = window(monitor)
    collect_window(row.pk)
    row.refresh_from_db()
    assert (row.status, row.n_studies) == ("auditing", len(told)) and row.cohort is not None
    assert Delivery.objects.count() == 3
    reader = open_cohort(cohort_folder(row.cohort))
    names = ["study_id", "image", "label.effusion", "series.crp"]
    found = {row["study_id"]: row for shard in reader.shards for row in reader.table(shard, names).to_pylist()}
    assert set(found) == set(told)
    for study, want in told.items():
        have = found[study]
        assert (have["image"], have["label.effusion"]) == (want.get("image"), want.get("label.effusion"))
        points = [[point["t"], point["v"]] for point in have["series.crp"] or []]
        assert points == json.loads(want.get("series.crp", "[]"))
    assert sum("image" not in want for want in told.values()) > 3  # some came without any


def test_an_export_is_waited_for_without_holding_a_worker(
    people: SimpleNamespace, files: Files, tmp_path: Path, sent: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    with bulk_server() as server:
        monkeypatch.setenv("AUSCULT_SOURCE_FHIR", server.base)
        source = check_source("fhir", {"url_env": "AUSCULT_SOURCE_FHIR", "labels": {"effusion": ["s|1"]}})
        monitor = watched(people, files, tmp_path, source_kind="fhir", source=source)
        fill(server)
        row = window(monitor)
        server.waits = 3
        for _ in range(3):
            with django_capture_on_commit_callbacks(execute=True):
                collect_window(row.pk)
            row.refresh_from_db()
            if row.status != "due":
                break
            assert "making the export" in row.error and row.attempts == 0 and row.progress["source"]["studies"]
        assert (row.status, row.n_studies, row.progress, row.error) == ("auditing", 20, {}, "")
        assert sum("$export" in path for _, path, _ in server.asked) == 2 and server.deleted == 2
    assert sent.count(("evaluation.tasks.collect_window", row.pk)) == 2
    assert Delivery.objects.get().n_studies == 20
    assert not Alert.objects.exclude(severity="info").exists()


def fill(server: BulkServer) -> None:
    """Twenty studies with a report each, one of which has another study's identifier in no way."""
    number = range(20)
    server.resources = {
        "Patient": [
            {"resourceType": "Patient", "id": f"p{i}", "gender": "male" if i % 2 else "female",
             "birthDate": "1960-01-01"} for i in number
        ],
        "ImagingStudy": [
            {"resourceType": "ImagingStudy", "id": f"s{i}", "status": "available", "modality": [{"code": "DX"}],
             "started": (OPENS + timedelta(hours=i)).isoformat(), "subject": {"reference": f"Patient/p{i}"}}
            for i in number
        ],
        "DiagnosticReport": [
            {"resourceType": "DiagnosticReport", "id": f"r{i}", "status": "final",
             "imagingStudy": [{"reference": f"ImagingStudy/s{i}"}],
             "conclusionCode": [{"coding": [{"system": "s", "code": "1" if i % 3 else "2"}]}]} for i in number
        ],
    }  # fmt: skip
