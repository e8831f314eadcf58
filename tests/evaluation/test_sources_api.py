"""Delivering studies by program: who may, what is taken, that sending twice is harmless, that nothing is repeated."""

from __future__ import annotations

import base64
import json
import logging
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.test import Client
from django.utils import timezone
from PIL import Image

from core.models import LedgerEntry
from core.tokens import issue_token
from evaluation.models import Delivery, Monitor
from models_registry.cohorts import convert_cohort
from tests.evaluation.monitor_scene import make_alert, make_window
from tests.evaluation.source_scene import studies, watched
from tests.registry.scene import Files, make_cohort

SAID = "Rosalind Quincey"


@pytest.fixture
def monitor(people: SimpleNamespace, files: Files, tmp_path: Path, settings: Any) -> Monitor:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    return watched(people, files, tmp_path)


def token(user: Any, scope: str = "monitors") -> str:
    return issue_token(user=user, name="RIS", scopes=[scope], days=30, by=None)[1]


def post(monitor: Monitor | int, secret: str, body: bytes | str, kind: str = "text/csv", batch: str = "") -> Any:
    pk = monitor if isinstance(monitor, int) else monitor.pk
    url = f"/api/v1/monitors/{pk}/deliveries" + (f"?batch={batch}" if batch else "")
    client = Client(enforce_csrf_checks=True)
    return client.post(url, body, content_type=kind, headers={"Authorization": f"Bearer {secret}"})


def lines(frame: pd.DataFrame) -> str:
    return "\n".join(json.dumps(row) for row in frame.to_dict("records"))


def test_studies_are_taken_in_every_form_and_once(monitor: Monitor, people: SimpleNamespace) -> None:
    secret = token(people.lea)
    buffer = BytesIO()
    studies(10, start=24).to_parquet(buffer)
    bodies = [
        (studies(10).to_csv(index=False), "text/csv"),
        (lines(studies(10, start=10)), "application/x-ndjson"),
        (buffer.getvalue(), "application/vnd.apache.parquet"),
    ]
    for number, (body, kind) in enumerate(bodies):
        answer = post(monitor, secret, body, kind, f"b-{number}")
        assert answer.status_code == 200, answer.content
        found = answer.json()
        assert (found["new"], found["status"], found["studies"], found["findings"]) == (True, "held", 10, [])
        assert found["first_at"].startswith("2026-03-03T")
    before = LedgerEntry.objects.count()
    again = post(monitor, secret, bodies[0][0]).json()
    assert (again["new"], again["id"]) == (False, Delivery.objects.earliest("pk").pk)
    assert (Delivery.objects.count(), LedgerEntry.objects.count()) == (3, before)
    assert set(Delivery.objects.values_list("name", flat=True)) == {"batch b-0", "batch b-1", "batch b-2"}
    entry = LedgerEntry.objects.filter(act="monitor.delivered").first()
    assert entry is not None and json.loads(entry.body)["actor"] == "lea" and "s1" not in entry.body


def test_images_come_in_base64_and_no_path_is_read(monitor: Monitor, people: SimpleNamespace, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    frame = studies(3).assign(image=[base64.b64encode(data).decode()] * 3)
    with_images = studies(30).assign(image=[data] * 30)
    with_images.to_parquet(tmp_path / "images.parquet")
    convert_cohort(tmp_path / "images.parquet", mapping=None, destination=tmp_path / "images")
    monitor.reference_cohort = make_cohort(people, tmp_path / "images", "Images")
    monitor.save()
    secret = token(people.lea)
    assert post(monitor, secret, lines(frame), "application/ndjson").json()["status"] == "held"
    paths = studies(3).assign(image=str(tmp_path / "a.png"))
    answer = post(monitor, secret, paths.to_csv(index=False))
    assert answer.status_code == 422 and str(tmp_path) not in answer.content.decode()
    assert post(monitor, secret, lines(paths), "application/ndjson").status_code == 422
    assert Delivery.objects.filter(status="held").count() == 1


def test_no_refusal_repeats_what_was_sent(
    monitor: Monitor, people: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = token(people.lea)
    good = studies(3)
    bad = [
        good.assign(**{"label.effusion": SAID}),
        good.assign(study_time=SAID),
        good.assign(patient_id=["", "p2", "p3"]),
        good.rename(columns={"patient_id": SAID}),
        good.assign(**{f"labels.{SAID}": 1}),
    ]
    for frame in bad:
        answer = post(monitor, secret, frame.to_csv(index=False))
        assert answer.status_code == 422 and answer.headers["Content-Type"] == "application/problem+json"
        body = answer.json()
        assert body["detail"] and body["delivery"]["findings"] and "Rosalind" not in answer.content.decode()
    taken = post(monitor, secret, good.assign(**{SAID: 1}).to_csv(index=False))
    assert taken.status_code == 200 and "Rosalind" not in taken.content.decode()
    assert [item["code"] for item in taken.json()["findings"]] == ["column-added"]
    for text, kind in ((SAID, "text/plain"), ("", "text/csv"), (f'["{SAID}"]', "application/x-ndjson")):
        answer = post(monitor, secret, text, kind)
        assert answer.status_code == 422 and "Rosalind" not in answer.content.decode()
    broken = post(monitor, secret, lines(good) + f"\n{{{SAID}", "application/x-ndjson")
    (told,) = broken.json()["delivery"]["findings"]
    assert (told["code"], told["row"]) == ("unreadable-file", len(good) + 1) and "Rosalind" not in str(told)
    wrong = post(monitor, secret, good.to_csv(index=False), batch=f"{SAID}!".replace(" ", "%20"))
    assert wrong.status_code == 422 and "Rosalind" not in wrong.content.decode()
    assert "Rosalind" not in caplog.text
    assert all("Rosalind" not in entry.body for entry in LedgerEntry.objects.all())


def test_who_gets_in(monitor: Monitor, people: SimpleNamespace, settings: Any) -> None:
    body = studies(3).to_csv(index=False)
    assert post(monitor, "auscult_none", body).status_code == 401
    assert post(monitor, token(people.lea, "gate"), body).status_code == 403
    assert post(monitor, token(people.elena), body).status_code == 403  # submitted the version
    assert post(999, token(people.lea), body).status_code == 404
    settings.AUSCULT_DELIVERY_BYTES = 50
    assert post(monitor, token(people.lea), body).status_code == 413
    assert not Delivery.objects.exists()


def test_how_a_monitor_stands(monitor: Monitor, people: SimpleNamespace) -> None:
    make_window(monitor, 1)
    make_window(monitor, 2, n_patients=3, n_studies=4, alarm=True, log_e=3.2, look={"threshold": 2.9957})
    make_window(monitor, 3, status="due", due_at=timezone.now() + timedelta(days=1))
    make_alert(monitor)
    client = Client(headers={"Authorization": f"Bearer {token(people.lea)}"})
    found = client.get(f"/api/v1/monitors/{monitor.pk}").json()
    assert found["window"] == {
        "index": 2, "status": "judged", "opens_at": "2026-03-09T00:00:00+00:00",
        "closes_at": "2026-03-16T00:00:00+00:00", "studies": None, "patients": None, "alarm": True, "log_e": 3.2,
        "threshold": 2.9957,
    }  # fmt: skip
    assert (found["status"], found["site"], found["alerts"]) == ("active", "North Hospital", {"warning": 1})
    assert client.get("/api/v1/monitors/999").status_code == 404
    assert Client().get(f"/api/v1/monitors/{monitor.pk}").status_code == 401
