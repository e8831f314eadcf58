"""What runs by itself about incidents: each step is told once, to the right people, and answers recount clocks."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from core import ledger
from core.models import LedgerEntry, Notification
from governance.execution_incidents import escalate, escalate_clocks, recount_incidents
from governance.models import Incident, IncidentClock, IncidentEvent
from governance.services.incidents import assign, explain_clock, investigate, mark_reported
from governance.sweeps import SWEEPS
from tests.governance.incident_scene import answer, clocks, freeze, make_scene, recorded, vienna

AWARE = vienna(2027, 3, 1, 12)
END = vienna(2027, 3, 16, 23, 59, 59)


@pytest.fixture
def scene(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    freeze(monkeypatch, AWARE)
    made = make_scene(people)
    made.freeze = lambda moment: freeze(monkeypatch, moment)
    return made


def told(step: str) -> set[str]:
    """Who was told at this step, of any clock."""
    rows = Notification.objects.filter(key__startswith="incident-clock:", key__endswith=f":{step}")
    return set(rows.values_list("recipient__username", flat=True))


def entries(act: str) -> list[dict[str, Any]]:
    return [json.loads(row.body)["payload"] for row in LedgerEntry.objects.filter(act=f"incident.{act}")]


def test_the_sweeps_are_run() -> None:
    assert "governance.execution_incidents:escalate_clocks" in SWEEPS
    assert "governance.execution_incidents:recount_incidents" in SWEEPS


def test_a_clock_is_taken_higher_step_by_step(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=AWARE)
    assign(incident=incident, owner=scene.people.elena, by=scene.people.clara)
    assert escalate_clocks() == 0, "too soon"
    scene.freeze(AWARE + (END - AWARE) / 2 - dt.timedelta(seconds=1))
    assert escalate_clocks() == 0
    scene.freeze(AWARE + (END - AWARE) / 2)
    assert escalate_clocks() == 1
    assert told("half") == {"elena"}
    scene.freeze(END - dt.timedelta(hours=24))
    assert escalate_clocks() == 1
    assert told("day") == {"elena", "clara", "lea"}
    scene.freeze(END)
    assert escalate_clocks() == 0, "the last second is in time"
    scene.freeze(END + dt.timedelta(seconds=1))
    assert escalate_clocks() == 1
    assert told("over") == {"elena", "clara", "lea", "ada"}
    assert escalate_clocks() == 0
    assert [row["steps"] for row in entries("escalated")] == [["half"], ["day"], ["over"]]
    assert clocks(incident)["MDR-87-3"].escalated == ["half", "day", "over"]
    assert IncidentEvent.objects.filter(incident=incident, kind="escalated", author=None).count() == 3
    assert set(Notification.objects.filter(key__endswith=":over").values_list("urgency", flat=True)) == {"urgent"}


def test_an_owner_who_left_or_was_merged_is_not_told_into_the_void(scene: SimpleNamespace) -> None:
    people = scene.people
    first, second = recorded(scene, aware_at=AWARE), recorded(scene, aware_at=AWARE)
    assign(incident=first, owner=people.tom, by=people.clara)
    assign(incident=second, owner=people.elena, by=people.clara)
    people.tom.merged_into, people.tom.is_active = people.mina, False
    people.elena.is_active = False
    people.tom.save()
    people.elena.save()
    scene.freeze(AWARE + dt.timedelta(days=8))
    assert escalate_clocks() == 2
    assert told("half") == {"mina", "clara"}, "the account that stands for the owner; a chair for who left"


def test_a_breach_is_told_to_the_data_protection_officer_and_six_hours_before(scene: SimpleNamespace) -> None:
    incident = recorded(scene, kinds=(), breach=True, aware_at=None, controller_aware_at=AWARE)
    end = AWARE + dt.timedelta(hours=72)
    for moment, step in ((36, "half"), (48, "day"), (66, "hours")):
        scene.freeze(AWARE + dt.timedelta(hours=moment))
        assert escalate_clocks() == 1
        assert told(step) == ({"clara"} if step == "half" else {"clara", "lea", "dora"}), "nobody owns it"
    scene.freeze(end + dt.timedelta(seconds=1))
    assert escalate_clocks() == 1
    assert told("over") == {"clara", "lea", "dora", "ada"}
    assert clocks(incident)["GDPR-33"].escalated == ["half", "day", "hours", "over"]


def test_a_backdated_incident_takes_all_its_steps_at_once_and_tells_people_once(scene: SimpleNamespace) -> None:
    recorded(scene, aware_at=AWARE - dt.timedelta(days=100))
    assert escalate_clocks() == 1
    assert [row["steps"] for row in entries("escalated")] == [["half", "day", "over"]]
    assert told("half") == told("day") == set()
    assert told("over") == {"clara", "lea", "ada"}


def test_two_sweeps_at_once_tell_once(scene: SimpleNamespace) -> None:
    """Both have read the clock before either writes: the second finds it changed, and writes nothing."""
    incident = recorded(scene, aware_at=AWARE)
    now = END + dt.timedelta(seconds=1)
    first, second = (IncidentClock.objects.get(incident=incident) for _ in range(2))
    assert escalate(first, now=now)
    before = (Notification.objects.count(), LedgerEntry.objects.count(), IncidentEvent.objects.count())
    assert not escalate(second, now=now)
    assert (Notification.objects.count(), LedgerEntry.objects.count(), IncidentEvent.objects.count()) == before


def test_what_is_sent_explained_replaced_or_closed_is_not_escalated(scene: SimpleNamespace) -> None:
    people = scene.people
    sent, said, gone, shut = (recorded(scene, aware_at=AWARE) for _ in range(4))
    mark_reported(clock=clocks(sent)["MDR-87-3"], at=AWARE, reference="17", by=people.clara)
    explain_clock(clock=clocks(said)["MDR-87-3"], reason="Sent by the site.", by=people.clara)
    IncidentClock.objects.filter(incident=gone).update(superseded_at=AWARE)
    ended = {"root_cause": "x", "correction": "y", "closed_at": AWARE}
    Incident.objects.filter(pk=shut.pk).update(status="closed", **ended)
    stale = IncidentClock.objects.get(incident=sent)
    scene.freeze(END + dt.timedelta(days=1))
    assert escalate_clocks() == 0
    stale.met_at = None
    assert not escalate(stale, now=END + dt.timedelta(days=1)), "sent between the reading and the writing"


def test_a_clock_that_may_be_owed_asks_for_the_answer(people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(monkeypatch, AWARE)
    scene = make_scene(people, device_law=None)
    recorded(scene, aware_at=AWARE)
    freeze(monkeypatch, END - dt.timedelta(hours=20))
    assert escalate_clocks() == 3
    text = Notification.objects.filter(key__endswith=":day").first()
    assert text is not None
    assert "there is no answer to" in text.text
    assert "“Law on devices”" in text.text
    assert "Answer the questions" in text.text


def test_an_escalation_that_the_ledger_refuses_is_tried_again(
    scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = recorded(scene, aware_at=AWARE)
    scene.freeze(END - dt.timedelta(hours=1))

    def broken(**given: Any) -> LedgerEntry:
        raise DatabaseError("the disk is full")

    with monkeypatch.context() as broken_ledger:
        broken_ledger.setattr(ledger, "record", broken)
        with pytest.raises(DatabaseError):
            escalate_clocks()
    assert clocks(incident)["MDR-87-3"].escalated == []
    assert told("day") == set()
    assert escalate_clocks() == 1
    assert told("day") == {"clara", "lea"}


# ---- Answers that change


def test_an_answer_recounts_open_incidents_and_says_so(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=AWARE)
    investigate(incident=incident, by=scene.people.clara)
    assert recount_incidents() == 0
    scene.freeze(AWARE + dt.timedelta(days=1))
    answer(scene.system, scene.people.dora, manufacturer=False)
    assert recount_incidents() == 1
    assert clocks(incident) == {}
    event = IncidentEvent.objects.filter(incident=incident).latest("pk")
    assert event.author is None
    assert "Answers about the system changed" in event.text
    assert "MDR-87-3" in event.text
    assert entries("recounted")[0]["dropped"] == ["MDR-87-3"]
    assert recount_incidents() == 0, "once"
    answer(scene.system, scene.people.dora, manufacturer=True)
    assert recount_incidents() == 1
    assert list(clocks(incident)) == ["MDR-87-3"]
    assert IncidentClock.objects.filter(incident=incident).count() == 2, "the old one is kept"


def test_an_answer_that_changes_nothing_writes_nothing(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=AWARE)
    scene.freeze(AWARE + dt.timedelta(days=1))
    answer(scene.system, scene.people.dora, sites=["Radiology South"])
    before = list(IncidentClock.objects.values())
    assert recount_incidents() == 0
    assert list(IncidentClock.objects.values()) == before
    assert IncidentEvent.objects.filter(incident=incident).count() == 1


def test_an_answer_about_a_report_that_was_sent_changes_nothing_of_it(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=AWARE)
    mark_reported(clock=clocks(incident)["MDR-87-3"], at=AWARE, reference="17", by=scene.people.clara)
    scene.freeze(AWARE + dt.timedelta(days=1))
    answer(scene.system, scene.people.dora, device_law="none", annex_iii_points=["5d"], art_6_3_claimed=False)
    recount_incidents()
    assert clocks(incident)["MDR-87-3"].met_at == AWARE


def test_a_missing_answer_that_is_given_decides_whether_it_is_owed(
    people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(monkeypatch, AWARE)
    scene = make_scene(people, device_law=None)
    incident = recorded(scene, aware_at=AWARE)
    freeze(monkeypatch, AWARE + dt.timedelta(days=8))
    assert escalate_clocks() == 3
    answer(scene.system, people.dora, device_law="mdr")
    assert recount_incidents() == 1
    (clock,) = clocks(incident).values()
    assert (clock.deadline, clock.owed, clock.escalated) == ("MDR-87-3", "yes", ["half"])
    assert escalate_clocks() == 0, "the end is the same, so nobody is told of it again"


def test_a_closed_incident_is_left_as_it_is(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=AWARE)
    ended = {"root_cause": "x", "correction": "y", "closed_at": AWARE}
    Incident.objects.filter(pk=incident.pk).update(status="closed", **ended)
    scene.freeze(AWARE + dt.timedelta(days=1))
    answer(scene.system, scene.people.dora, manufacturer=False)
    assert recount_incidents() == 0
    assert list(clocks(incident)) == ["MDR-87-3"]


def test_sweeps_with_nothing_to_do_ask_little(scene: SimpleNamespace) -> None:
    for _ in range(5):
        recorded(scene, aware_at=AWARE)
    scene.freeze(AWARE + dt.timedelta(hours=1))
    with CaptureQueriesContext(connection) as asked:
        assert escalate_clocks() == 0
    assert len(asked) == 1
    Incident.objects.update(status="closed", root_cause="x", correction="y", closed_at=AWARE)
    with CaptureQueriesContext(connection) as asked:
        assert recount_incidents() == 0
    assert len(asked) == 1
