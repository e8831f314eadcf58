"""The home page asks a fixed number of questions, however much of everything waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import Notification, OutgoingMail
from governance.models import Condition, Control, Incident, IncidentClock, Risk, RiskAcceptance, SyntheticRelease
from models_registry.models import Deployment
from tests.pages import scene
from tests.pages.scene import person

SignIn = Callable[[str], Client]
BOUND = 60
ITEM = 'class="queue__title"'


def _everything(house: SimpleNamespace, numbers: range) -> None:
    """Once for each number: one of everything that can wait for somebody."""
    now = timezone.now()
    for number in numbers:
        version = scene.version(f"7.{number}", of=scene.system(f"Waiting {number}"), status="suspended")
        run = scene.run(version, house.cohort, house.protocol)
        review = scene.review(run, status="conditional")
        Condition.objects.create(
            review=review, text="Do it", owner=person("mina"), due_at=now, proposed_by=person("clara"), status="open"
        )
        Condition.objects.create(
            review=review,
            text="Done",
            owner=person("elena"),
            due_at=now,
            proposed_by=person("clara"),
            status="claimed",
            claim="Done.",
            claimed_by=person("elena"),
            claimed_at=now,
        )
        Deployment.objects.create(
            version=version,
            site=f"Site {number}",
            contact_name="B",
            contact_email="b@site.example",
            started_at=now,
            started_by=person("clara"),
            status="suspended",
            suspended_at=now,
            suspension="Why",
        )
        incident = Incident.objects.create(
            system=version.system, number=number + 1, title="T", description="D", zone="UTC", reported_by=person("lea")
        )
        for deadline in ("AIA-73-2", "AIA-73-3"):
            IncidentClock.objects.create(
                incident=incident, regime="GDPR", deadline=deadline, owed="yes", reason="R", due_at=now, started_at=now
            )
        _risks(house, version, number)
        Notification.objects.create(
            recipient=person("mina"), topic="risks", urgency="urgent", title="U", key=f"u:{number}", mail="failed"
        )
        OutgoingMail.objects.create(address="a@b.example", subject="S", text="T", key=f"o:{number}", mail="failed")


def _risks(house: SimpleNamespace, version: object, number: int) -> None:
    now = timezone.now()
    parts = {"kind": "clinical", "hazard": "H", "cause": "C", "harm": "H", "title": "T"}
    Risk.objects.create(system=version.system, number=2, **parts)
    risk = Risk.objects.create(system=version.system, number=1, owner=person("elena"), **parts)
    for status in ("planned", "implemented"):
        Control.objects.create(
            risk=risk,
            kind="design",
            text="Do",
            owner=person("elena"),
            due_on=now.date(),
            status=status,
            proposed_by=person("elena"),
            implemented_by=person("elena") if status == "implemented" else None,
        )
    RiskAcceptance.objects.create(
        risk=risk,
        severity=2,
        likelihood=2,
        rationale="R",
        accepted_by=person("clara"),
        owner=risk.owner,
        accepted_at=now - timedelta(days=9),
        expires_at=now + timedelta(days=1),
    )
    cohort = scene.cohort(f"Synthetic {number}")
    SyntheticRelease.objects.create(
        cohort=cohort,
        cohort_digest=cohort.digest,
        purpose="P",
        recipients="R",
        submitter=person("elena"),
        requester=person("elena"),
    )


def _asked(client: Client) -> tuple[int, str]:
    with CaptureQueriesContext(connection) as questions:
        response = client.get("/")
    assert response.status_code == 200
    return len(questions), response.content.decode()


@pytest.mark.usefixtures("worked_out_anew")
@pytest.mark.parametrize("username", ["clara", "mina", "dora", "lea", "amir", "elena", "ada"])
def test_the_home_page_asks_no_more_when_more_waits(house: SimpleNamespace, sign_in: SignIn, username: str) -> None:
    client = sign_in(username)
    _everything(house, range(2))
    before, few = _asked(client)
    _everything(house, range(2, 9))
    after, many = _asked(client)
    assert after == before
    assert after <= BOUND
    if username != "ada":
        assert many.count(ITEM) > few.count(ITEM), "what was added waits for this person"
