"""Reporting incidents by the programming interface: what is recorded, who may, what is refused and never repeated."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from django.test import Client
from django.utils import timezone

from core.models import LedgerEntry
from governance.api.incidents import IncidentIn
from governance.conditions.conclusions import KINDS
from governance.models import Incident
from governance.services import incidents
from tests.governance.incident_scene import TEXT, TITLE, make_scene
from tests.governance.test_api import PATIENT, check_problem, static, token

__all__ = ["static"]


@pytest.fixture
def scene(people: SimpleNamespace, home: Path) -> SimpleNamespace:
    return make_scene(people)


def facts(**given: Any) -> dict[str, Any]:
    aware = (timezone.now() - timedelta(hours=2)).replace(microsecond=0).isoformat()
    return {
        "system": "chest-model", "version": "1.0", "title": TITLE, "description": TEXT, "zone": "Europe/Vienna",
        "kinds": ["a_health"], "aware_at": aware,
    } | given  # fmt: skip


def post(secret: str | None, body: Any) -> Any:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    text = body if isinstance(body, str) else json.dumps(body)
    return Client(enforce_csrf_checks=True).post("/api/v1/incidents", text, "application/json", headers=headers)


def test_an_incident_is_recorded_with_its_clocks_and_sending_twice_records_once(scene: SimpleNamespace) -> None:
    secret, body, before = token(scene.people.elena, "incidents"), facts(), LedgerEntry.objects.count()
    response = post(secret, body)
    assert response.status_code == 200, response.content
    told = response.json()
    (clock,) = told.pop("clocks")
    assert told == {"number": 1, "new": True}
    assert (clock["deadline"], clock["owed"], clock["late_at_intake"]) == ("MDR-87-3", "yes", False)
    row = Incident.objects.get()
    assert (row.reported_by, row.version, row.title, row.description) == (
        scene.people.elena, scene.version, TITLE, TEXT)  # fmt: skip
    assert row.aware_at is not None and row.aware_at.isoformat() == body["aware_at"]
    again = post(secret, body | {"title": f" {TITLE} "}).json()
    assert (again["number"], again["new"], len(again["clocks"])) == (1, False, 1)
    assert LedgerEntry.objects.count() == before + 1
    assert post(secret, body | {"death": True}).json()["number"] == 2, "other facts are another incident"
    other = token(scene.people.lea, "incidents")
    assert post(other, body).json()["number"] == 3, "another person's report is another report"


def test_who_may_report(scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    check_problem(post(None, facts()), 401)
    check_problem(post("no-token", facts()), 401)
    check_problem(post(token(scene.people.elena, "oversight", "gate"), facts()), 403)
    check_problem(post(token(scene.people.rita, "incidents"), facts()), 403)
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": PATIENT * 20}, "title"),
        ({"description": f"Mrs. {PATIENT} was not flagged."}, "description"),
        ({"description": f"The patient born 12.04.1951, {PATIENT}"}, "description"),
        ({"site": f"{PATIENT}@hospital.example"}, "site"),
        ({"zone": PATIENT}, "zone"),
        ({"kinds": [PATIENT]}, "kinds"),
        ({"breach_risk": PATIENT}, "breach_risk"),
        ({"aware_at": "2026-11-22T10:00:00"}, "aware_at"),
        ({"aware_at": None}, "aware_at"),
        ({"death": PATIENT}, "death"),
        ({"death": 1}, "death"),
        ({"affected_persons": -1}, "affected_persons"),
        ({PATIENT: 1}, "(unknown)"),
        ({"description": "a\0b"}, "description"),
    ],
)
def test_a_refusal_names_the_field_and_repeats_nothing(
    scene: SimpleNamespace, caplog: pytest.LogCaptureFixture, given: dict[str, Any], field: str
) -> None:
    body = check_problem(post(token(scene.people.elena, "incidents"), facts(**given)), 422)
    assert field in json.dumps(body)
    assert "Rosalind" not in json.dumps(body) + caplog.text and "1951" not in json.dumps(body) + caplog.text
    assert not Incident.objects.exists()


@pytest.mark.parametrize("given", [{"system": PATIENT}, {"version": PATIENT}, {"deployment": 99}])
def test_what_is_not_there_is_not_found(scene: SimpleNamespace, given: dict[str, Any]) -> None:
    body = check_problem(post(token(scene.people.elena, "incidents"), facts(**given)), 404)
    assert "Rosalind" not in json.dumps(body) and not Incident.objects.exists()


def test_what_fails_leaves_nothing(scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any, **_more: Any) -> None:
        raise ValueError(PATIENT)

    monkeypatch.setattr(incidents, "record", fail)
    body = check_problem(post(token(scene.people.elena, "incidents"), facts()), 500)
    assert "Rosalind" not in json.dumps(body) and not Incident.objects.exists()


def test_the_kinds_are_those_of_the_law() -> None:
    (kind,) = get_args(IncidentIn.model_fields["kinds"].annotation)
    assert get_args(kind) == KINDS
