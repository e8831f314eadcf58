"""An incident and what it leaves: what the tests of incidents share."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import pytest

from core.models import LedgerEntry
from governance.models import Incident, IncidentEvent
from governance.services.incidents import (
    amend_facts,
)
from tests.governance.incident_scene import (
    freeze,
    make_scene,
    report,
    vienna,
)

NOW = vienna(2027, 3, 10, 9, 30)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.fixture
def scene(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    freeze(monkeypatch, NOW)
    return make_scene(people)


def entries(act: str) -> list[dict[str, Any]]:
    return [json.loads(row.body)["payload"] for row in LedgerEntry.objects.filter(act=f"incident.{act}")]


def events(incident: Incident) -> list[str]:
    return list(IncidentEvent.objects.filter(incident=incident).order_by("pk").values_list("kind", flat=True))


def amended(scene: SimpleNamespace, incident: Incident, by: str = "clara", **facts: Any) -> Incident:
    now = Incident.objects.get(pk=incident.pk)
    given = {"version": now.version, "kinds": tuple(now.kinds), "aware_at": now.aware_at, "breach": now.breach}
    given |= {"controller_aware_at": now.controller_aware_at, "death": now.death}
    changed = report(scene.system, **given | facts)
    return amend_facts(incident=incident, report=changed, reason="The ward called.", by=getattr(scene.people, by))
