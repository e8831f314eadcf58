"""What tests of incidents are about: a device that is answered for, its version, and reports of what went wrong."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from core.models import User
from governance.models import Answer, Incident, IncidentClock
from governance.services.incidents import IncidentReport, record_incident
from models_registry.models import AISystem, ModelVersion
from tests.governance.conftest import make_version
from tests.governance.example_answers import DEVICE, triage_device

VIENNA = ZoneInfo("Europe/Vienna")
HEALTH, INFRASTRUCTURE, RIGHTS = "a_health", "b_infrastructure", "c_fundamental_rights"
TITLE, TEXT = "Pneumothorax not flagged", "The study was not flagged. It was read nine hours later, and drained then."
SOFTWARE = {key: row["value"] for key, row in triage_device(device_law="none").items()}
"""High-risk by Annex III and no device."""


def vienna(year: int, month: int, day: int, hour: int = 12, minute: int = 0, second: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour, minute, second, tzinfo=VIENNA)


def freeze(monkeypatch: pytest.MonkeyPatch, moment: dt.datetime) -> None:
    """Make it this moment for whoever asks Django."""
    monkeypatch.setattr(timezone, "now", lambda: moment.astimezone(dt.UTC))


def answer(system: AISystem, by: User, **values: Any) -> None:
    """Answers, each as another row."""
    Answer.objects.bulk_create(
        Answer(system=system, question=key, value=value, author=by, reason="") for key, value in values.items()
    )


def make_scene(people: SimpleNamespace, **changes: Any) -> SimpleNamespace:
    """A system whose questions are answered as of a class IIa device, but for ``changes``, and a version of it."""
    version = make_version(people, "1.0")
    given = {key: value for key, value in (DEVICE | changes).items() if value is not None}
    answer(version.system, people.dora, **given)
    return SimpleNamespace(people=people, system=version.system, version=version)


def report(system: AISystem, **facts: Any) -> IncidentReport:
    """Harm to health that the provider learned of an hour ago, unless told otherwise."""
    about: dict[str, Any] = {
        "system": system,
        "title": TITLE,
        "description": TEXT,
        "zone": "Europe/Vienna",
        "kinds": (HEALTH,),
        "aware_at": timezone.now() - dt.timedelta(hours=1),
    }
    return IncidentReport(**about | facts)


def recorded(
    scene: SimpleNamespace, *, by: str = "elena", version: ModelVersion | None = None, **facts: Any
) -> Incident:
    person = getattr(scene.people, by)
    return record_incident(report=report(scene.system, version=version or scene.version, **facts), by=person)


def clocks(incident: Incident) -> dict[str, IncidentClock]:
    """Its clocks that count, by deadline."""
    return {row.deadline: row for row in IncidentClock.objects.filter(incident=incident, superseded_at=None)}
