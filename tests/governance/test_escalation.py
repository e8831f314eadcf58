"""What nobody reads goes to the chair, then to the administrators: each step once, while the matter waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from core import ledger, tasks
from core.models import LedgerEntry, Notification, RoleGrant, Topic, User
from core.notifications import mark_read, notify, resolve
from evaluation.models import AuditRun
from governance import execution_escalation as escalation
from governance.execution_escalation import MATTERS, Matter, escalate_unread
from governance.models import Condition, Incident, IncidentClock, Review
from governance.sweeps import SWEEPS
from models_registry.models import Deployment, VersionStatus

pytestmark = pytest.mark.django_db
START = timezone.now()
HOUR = timedelta(hours=1)


@pytest.fixture
def open_matters(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The conditions that are open, by their keys."""
    monkeypatch.setattr(tasks.deliver, "delay", lambda pk: None)
    waiting = {12}

    class Conditions(Matter):
        def open_among(self, pks: Collection[int]) -> set[int]:
            return waiting.intersection(pks)

    monkeypatch.setitem(MATTERS, "condition", Conditions(subject="Condition", waiting=Condition.objects.all))
    return waiting


def told(*to: User, key: str = "condition:12:due-3", urgency: str = "action", at: datetime = START) -> None:
    with transaction.atomic():
        notify(to=to, topic=Topic.CONDITIONS, title="Due in 3 days", text="X.", key=key, href="/c/", urgency=urgency)
    Notification.objects.filter(key=key).update(created_at=at)


def step(moment: datetime) -> list[str]:
    """Run the sweep at a moment; who was told anew, with what they were told dated to that moment."""
    before = set(Notification.objects.values_list("pk", flat=True))
    number = escalate_unread(moment)
    new = Notification.objects.exclude(pk__in=before)
    names = sorted(new.values_list("recipient__username", flat=True))
    new.update(created_at=moment)
    assert bool(number) == bool(names)
    return names


def test_the_sweep_is_run() -> None:
    assert "governance.execution_escalation:escalate_unread" in SWEEPS


@pytest.mark.parametrize(("urgency", "hours"), [("action", 24), ("urgent", 4)])
def test_first_the_chair_then_the_administrators_each_once(
    people: SimpleNamespace, open_matters: set[int], urgency: str, hours: int
) -> None:
    told(people.elena, people.dora, urgency=urgency)
    period = hours * HOUR
    found = [(hour, names) for hour in range(6 * hours) if (names := step(START + hour * HOUR))]
    assert found == [(hours, ["clara"]), (2 * hours, ["ada"])]
    row = Notification.objects.get(recipient=people.clara)
    assert (row.urgency, row.topic, row.href) == ("urgent", "conditions", "/c/")
    assert row.title == "Not read: Due in 3 days"
    assert f"Elena Example, Dora Example did not read this within {hours} hours" in row.text
    entries = [json.loads(entry.body) for entry in LedgerEntry.objects.filter(act="escalation.made").order_by("index")]
    assert [(entry["actor"], entry["subject_kind"], entry["subject_id"]) for entry in entries] == [
        ("system", "Condition", "12")
    ] * 2
    assert [entry["payload"]["step"] for entry in entries] == ["committee_chair", "administrator"]
    assert entries[0]["payload"]["told"] == ["clara"] and entries[1]["payload"]["told"] == ["ada"]
    assert entries[0]["payload"]["unread_by"] == ["elena", "dora"]
    assert step(START + 100 * period) == []


def test_what_was_read_is_not_escalated_and_names_only_who_did_not(
    people: SimpleNamespace, open_matters: set[int]
) -> None:
    told(people.elena, people.dora)
    mark_read(by=people.elena)
    assert step(START + 25 * HOUR) == ["clara"]
    assert "Dora Example did not read" in Notification.objects.get(recipient=people.clara).text
    told(people.elena, key="condition:12:due-1", at=START + 25 * HOUR)
    mark_read(by=people.elena)
    mark_read(by=people.clara)
    assert step(START + 60 * HOUR) == []


def test_once_the_chair_has_read_it_it_goes_no_further(people: SimpleNamespace, open_matters: set[int]) -> None:
    told(people.elena)
    assert step(START + 24 * HOUR) == ["clara"]
    mark_read(by=people.clara)
    assert step(START + 72 * HOUR) == []


def test_a_matter_that_is_closed_is_left(people: SimpleNamespace, open_matters: set[int]) -> None:
    told(people.elena)
    open_matters.clear()
    assert step(START + 72 * HOUR) == []
    open_matters.add(12)
    assert step(START + 72 * HOUR) == ["clara"]
    with transaction.atomic():
        assert resolve("condition:12") == 2, "resolving a matter takes its escalations along"
    assert step(START + 200 * HOUR) == []


def test_other_notifications_are_left(people: SimpleNamespace, open_matters: set[int]) -> None:
    told(people.elena, key="review:12:vote")
    told(people.elena, key="conditional:12:x")
    told(people.elena, key="condition:twelve:x")
    told(people.elena, key="condition:12:for-information", urgency="info")
    told(people.elena, key="condition:13:due-3")
    assert step(START + 500 * HOUR) == []
    assert not LedgerEntry.objects.exists()


def test_a_person_who_left_is_not_waited_for(people: SimpleNamespace, open_matters: set[int]) -> None:
    told(people.elena)
    User.objects.filter(pk=people.elena.pk).update(is_active=False)
    assert step(START + 25 * HOUR) == []


def test_where_there_is_no_chair_the_administrators_are_told_a_period_later(
    people: SimpleNamespace, open_matters: set[int]
) -> None:
    RoleGrant.objects.filter(user=people.clara).delete()
    told(people.elena)
    found = [(hour, names) for hour in range(0, 100, 6) if (names := step(START + hour * HOUR))]
    assert found == [(48, ["ada"])]


def test_a_chair_who_comes_later_is_not_told_of_a_step_that_was_made(
    people: SimpleNamespace, open_matters: set[int]
) -> None:
    told(people.elena)
    assert step(START + 24 * HOUR) == ["clara"]
    RoleGrant.objects.create(user=people.mina, role="committee_chair")
    assert step(START + 30 * HOUR) == []


def test_after_a_standstill_the_steps_keep_their_distance(people: SimpleNamespace, open_matters: set[int]) -> None:
    told(people.elena)
    assert step(START + 300 * HOUR) == ["clara"]
    assert step(START + 301 * HOUR) == []
    assert step(START + 324 * HOUR) == ["ada"]


def test_events_of_one_matter_are_escalated_apart(people: SimpleNamespace, open_matters: set[int]) -> None:
    told(people.elena)
    told(people.elena, key="condition:12:lapsed", urgency="urgent")
    assert step(START + 5 * HOUR) == ["clara"]
    assert step(START + 24 * HOUR) == ["ada", "clara"]


def test_nothing_is_told_when_the_ledger_refuses(
    people: SimpleNamespace, open_matters: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**given: Any) -> None:
        raise DatabaseError("the ledger cannot be written")

    told(people.elena)
    monkeypatch.setattr(ledger, "record", refuse)
    with pytest.raises(DatabaseError):
        escalate_unread(START + 25 * HOUR)
    assert not Notification.objects.filter(recipient=people.clara).exists()


def test_another_worker_that_made_the_step_first_is_enough(
    people: SimpleNamespace, open_matters: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second worker looked before the first one had written."""
    told(people.elena)
    (event,) = escalation._overdue(START + 25 * HOUR)
    assert escalation._make_step(event, escalation.STEPS[0])
    assert not escalation._make_step(event, escalation.STEPS[0])
    assert LedgerEntry.objects.filter(act="escalation.made").count() == 1


def test_an_idle_sweep_asks_once(people: SimpleNamespace, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert escalate_unread() == 0


def is_open(kind: str, pk: int) -> bool:
    return MATTERS[kind].open_among({pk, 99_999}) == {pk}


def test_many_events_ask_no_more_than_one(
    people: SimpleNamespace, open_matters: set[int], django_assert_num_queries: Any
) -> None:
    """Events that wait for their next step, or whose matter is closed, are asked about together."""
    for place in range(12):
        told(people.elena, key=f"condition:{12 + place % 2}:event-{place}")
    assert escalate_unread(START + 24 * HOUR) == 6
    with django_assert_num_queries(2):
        assert escalate_unread(START + 24 * HOUR) == 0


def test_whether_a_real_matter_is_open(audited: Callable[..., AuditRun]) -> None:
    """Every state of every kind, beside a list of those that wait."""
    run = audited()
    version = run.version
    now, by = timezone.now(), version.submitted_by
    review = Review.objects.create(
        version=version,
        run=run,
        evidence_digest=run.evidence_digest,
        version_digest=version.digest,
        submitter=by,
        runner=run.requested_by,
        protocol_approver=run.protocol_approved_by,
        opened_by=by,
        status="conditional",
        closed_at=now,
    )
    condition = Condition.objects.create(review=review, text="Do it", owner=by, due_at=now, proposed_by=by)
    waiting = {"open", "claimed", "lapsed"}
    for status in Condition.Status.values:
        people = {"confirmed_by": run.protocol_approved_by, "claimed_by": by} if status == "met" else {}
        Condition.objects.filter(pk=condition.pk).update(status=status, **people)
        assert is_open("condition", condition.pk) == (status in waiting), status
    incident = Incident.objects.create(
        system=version.system, number=1, title="T", description="D", zone="UTC", reported_by=by
    )
    for ended in ({"met_at": now}, {"superseded_at": now}, {"delay_reason": "It was no breach."}):
        about = {"regime": "r", "deadline": next(iter(ended)), "owed": "yes", "reason": "R"}
        clock = IncidentClock.objects.create(incident=incident, **about)
        assert is_open("incident-clock", clock.pk) and is_open("incident", incident.pk)
        IncidentClock.objects.filter(pk=clock.pk).update(**ended)
        assert not is_open("incident-clock", clock.pk)
    Incident.objects.filter(pk=incident.pk).update(
        status="closed", root_cause="x", correction="y", closed_at=now, closed_by=by
    )
    assert not is_open("incident", incident.pk)
    deployment = Deployment.objects.create(
        version=version, site="A", contact_name="B", contact_email="b@c.example", started_at=now, started_by=by
    )
    for status in Deployment.Status.values:
        Deployment.objects.filter(pk=deployment.pk).update(status=status, suspension="why", suspended_at=now)
        assert is_open("deployment", deployment.pk) == is_open("unconfirmed", deployment.pk) == (status == "suspended")
    for status in VersionStatus.values:
        type(version).objects.filter(pk=version.pk).update(status=status)
        assert is_open("version", version.pk) == (status == "suspended")
