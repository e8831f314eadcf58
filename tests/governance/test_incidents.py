"""Incidents: recorded, amended, owned, reported, closed; each act with its entry, or nothing at all."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification
from governance.models import Incident, IncidentClock, IncidentEvent
from governance.selectors.incidents import incident_detail
from governance.services.incidents import (
    amend_facts,
    mark_reported,
    record_incident,
)
from models_registry.models import AISystem, Deployment
from tests.governance.incident_scene import (
    HEALTH,
    TEXT,
    TITLE,
    clocks,
    freeze,
    make_scene,
    recorded,
    report,
    vienna,
)
from tests.governance.incident_steps import DAY, HOUR, NOW, amended, entries, events, scene

__all__ = ["scene"]


# ---- Recorded


def test_an_incident_starts_its_clocks_at_once(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=vienna(2027, 3, 9, 16, 0))
    assert (incident.number, incident.status, incident.owner) == (1, "open", None)
    (clock,) = clocks(incident).values()
    assert (clock.deadline, clock.regime, clock.owed) == ("MDR-87-3", "MDR", "yes")
    assert clock.due_at == vienna(2027, 3, 24, 23, 59, 59)
    assert clock.started_at == vienna(2027, 3, 9, 16, 0)
    assert not clock.late_at_intake
    assert "Art. 73(10)" in clock.reason
    assert events(incident) == ["recorded"]
    told = set(Notification.objects.filter(topic="incidents").values_list("recipient__username", "urgency"))
    assert told == {("clara", "action"), ("lea", "action")}


def test_the_ledger_is_told_of_digests_and_clocks_and_no_words(scene: SimpleNamespace) -> None:
    recorded(scene)
    (payload,) = entries("recorded")
    assert payload["number"] == 1
    assert payload["version"] == scene.version.digest
    assert [row["deadline"] for row in payload["clocks"]] == ["MDR-87-3"]
    assert len(payload["facts"]) == 64
    body = LedgerEntry.objects.get(act="incident.recorded").body
    assert TITLE not in body
    assert TEXT not in body


def test_an_incident_backdated_past_its_deadline_is_accepted_and_marked_late(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=vienna(2027, 1, 4))
    clock = clocks(incident)["MDR-87-3"]
    assert clock.late_at_intake
    assert clock.due_at == vienna(2027, 1, 19, 23, 59, 59)
    assert entries("recorded")[0]["late_at_intake"] == ["MDR-87-3"]
    assert "late at intake" in IncidentEvent.objects.get(incident=incident).text
    assert set(Notification.objects.values_list("urgency", flat=True)) == {"urgent"}
    detail = incident_detail(incident, user=scene.people.clara)
    assert [line.clock.deadline for line in detail.late_at_intake] == ["MDR-87-3"]
    assert [line.standing for line in detail.overdue] == ["run_out"]


def test_no_report_is_owed_and_the_answers_say_why(scene: SimpleNamespace) -> None:
    incident = recorded(scene, kinds=())
    assert clocks(incident) == {}
    told = {item.regime: item.reason for item in incident_detail(incident, user=None).not_owed}
    assert set(told) == {"AI Act", "MDR and IVDR", "GDPR"}
    assert "Art. 3(49)" in told["AI Act"]
    other = recorded(scene, kinds=("d_property_environment",))
    told = {item.regime: item.reason for item in incident_detail(other, user=None).not_owed}
    assert "Art. 73(10)" in told["AI Act"]
    assert "Law on devices" in told["AI Act"], "the answer that decides it"


def test_a_missing_answer_leaves_the_clock_running_and_is_asked_for(people: SimpleNamespace, monkeypatch: Any) -> None:
    freeze(monkeypatch, NOW)
    scene = make_scene(people, device_law=None)
    incident = recorded(scene)
    assert {row.owed for row in clocks(incident).values()} == {"unknown"}
    assert {"AIA-73-2", "MDR-87-3", "IVDR-82-3"} == set(clocks(incident))
    assert "device_law" in {item.key for item in incident_detail(incident, user=None).questions}


def test_numbers_follow_one_another_over_all_systems(scene: SimpleNamespace) -> None:
    assert [recorded(scene).number for _ in range(3)] == [1, 2, 3]
    other = AISystem.objects.create(
        name="Skin", slug="skin", intended_purpose="Finds melanoma.", created_by=scene.people.elena
    )
    assert record_incident(report=report(other), by=scene.people.mina).number == 4


def test_whoever_works_here_may_report_and_a_regulator_may_not(scene: SimpleNamespace) -> None:
    for name in ("elena", "amir", "clara", "mina", "lea", "dora", "ada"):
        assert recorded(scene, by=name).reported_by.username == name
    with pytest.raises(DeniedError, match="report incidents"):
        recorded(scene, by="rita")
    assert Incident.objects.count() == 7


BAD: list[tuple[dict[str, Any], str]] = [
    ({"title": "  "}, "title is empty"),
    ({"title": "x" * 201}, "200 are the most"),
    ({"title": "two\nlines"}, "one line"),
    ({"description": "a\0b"}, "cannot be printed"),
    ({"description": "a\ud800b"}, "cannot be printed"),
    ({"zone": "Europe/Nowhere"}, "no time zone"),
    ({"zone": "../../etc/passwd"}, "no time zone"),
    ({"zone": ""}, "no time zone"),
    ({"kinds": ("a_health", "e_other")}, "'e_other' is no kind"),
    ({"aware_at": dt.datetime(2027, 3, 9, 9, 0)}, "no time zone"),  # noqa: DTZ001
    ({"aware_at": NOW + dt.timedelta(minutes=5, seconds=1)}, "in the future"),
    ({"occurred_at": NOW + HOUR}, "in the future"),
    ({"occurred_at": NOW - HOUR, "aware_at": NOW - 2 * HOUR}, "before the incident itself"),
    ({"aware_at": vienna(1999, 12, 31)}, "before 2000"),
    ({"aware_at": None}, "Nobody is recorded as aware"),
    ({"affected_persons": -1}, "affected persons"),
    ({"breach_risk": "some"}, "no risk of a breach"),
    ({"controller_aware_at": NOW - HOUR}, "no breach is recorded"),
]


@pytest.mark.parametrize(("facts", "message"), BAD)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    scene: SimpleNamespace, facts: dict[str, Any], message: str
) -> None:
    with pytest.raises(AuscultError, match=message) as refused:
        recorded(scene, **facts)
    assert refused.value.remedy
    assert not Incident.objects.exists()
    assert not LedgerEntry.objects.filter(act__startswith="incident.").exists()


def test_awareness_a_little_ahead_is_another_clock_and_accepted(scene: SimpleNamespace) -> None:
    assert recorded(scene, aware_at=NOW + dt.timedelta(minutes=5)).pk


def test_version_and_deployment_belong_to_the_system(scene: SimpleNamespace) -> None:
    people = scene.people
    other = AISystem.objects.create(name="Skin", slug="skin", intended_purpose="x", created_by=people.elena)
    place = Deployment.objects.create(
        version=scene.version, site="Radiology North", contact_name="Ward", contact_email="ward@example.org",
        started_at=NOW - DAY, started_by=people.clara,
    )  # fmt: skip
    for wrong in ({"version": scene.version}, {"deployment": place}):
        with pytest.raises(AuscultError, match="is no version of Skin"):
            record_incident(report=report(other, **wrong), by=people.elena)
    incident = record_incident(report=report(scene.system, deployment=place), by=people.elena)
    assert (incident.version, incident.site) == (scene.version, "Radiology North"), "told by the deployment"


# ---- Facts that change


def test_a_death_replaces_the_clock_of_fifteen_days_by_that_of_ten(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=vienna(2027, 3, 9))
    old = clocks(incident)["MDR-87-3"]
    amended(scene, incident, death=True)
    new = clocks(incident)
    assert {key: row.due_at for key, row in new.items()} == {"MDR-87-5": vienna(2027, 3, 19, 23, 59, 59)}
    old.refresh_from_db()
    assert old.superseded_at is not None, "kept, not deleted"
    event = IncidentEvent.objects.get(incident=incident, kind="facts")
    assert event.detail["before"] == {"death": False}
    assert "The ward called." in event.text
    (payload,) = entries("amended")
    assert payload["changed"] == ["death"]
    assert payload["dropped"] == ["MDR-87-3"]


def test_an_earlier_awareness_moves_the_end_and_the_history_keeps_both(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=vienna(2027, 3, 9))
    amended(scene, incident, aware_at=vienna(2027, 2, 1))
    rows = IncidentClock.objects.filter(incident=incident).order_by("pk")
    assert [(row.due_at, row.superseded_at is None) for row in rows] == [
        (vienna(2027, 3, 24, 23, 59, 59), False),
        (vienna(2027, 2, 16, 23, 59, 59), True),
    ]
    assert rows[1].late_at_intake, "it had run out before the incident was recorded"


def test_a_clock_that_was_met_stays_met(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=vienna(2027, 3, 1))
    sent = mark_reported(
        clock=clocks(incident)["MDR-87-3"], at=vienna(2027, 3, 8), reference="BASG 17", by=scene.people.clara
    )
    amended(scene, incident, kinds=())
    kept = clocks(incident)["MDR-87-3"]
    assert (kept.pk, kept.met_at) == (sent.pk, vienna(2027, 3, 8)), "though no report would be owed now"
    amended(scene, incident, kinds=(HEALTH,), aware_at=vienna(2027, 2, 20))
    moved = clocks(incident)["MDR-87-3"]
    assert moved.pk != kept.pk
    assert (moved.met_at, moved.reference, moved.met_by) == (vienna(2027, 3, 8), "BASG 17", scene.people.clara)
    assert moved.due_at == vienna(2027, 3, 7, 23, 59, 59)
    (line,) = incident_detail(incident, user=None).clocks
    assert line.standing == "met_late", "counted anew: the report came after the true end"
    with pytest.raises(AuscultError, match="sent before the awareness"):
        amended(scene, incident, kinds=(HEALTH,), aware_at=vienna(2027, 3, 9))


def test_amending_wants_a_reason_a_change_and_the_same_system(scene: SimpleNamespace) -> None:
    incident, people = recorded(scene), scene.people
    same = report(scene.system, version=scene.version)
    with pytest.raises(ConflictError, match="Nothing would change"):
        amend_facts(incident=incident, report=same, reason="None.", by=people.clara)
    with pytest.raises(AuscultError, match="reason is empty"):
        amend_facts(incident=incident, report=report(scene.system, death=True), reason=" ", by=people.clara)
    other = AISystem.objects.create(name="Skin", slug="skin", intended_purpose="x", created_by=people.elena)
    with pytest.raises(ConflictError, match="stays with its system"):
        amend_facts(incident=incident, report=report(other), reason="Wrong one.", by=people.clara)
    with pytest.raises(DeniedError, match="nobody owns it yet"):
        amend_facts(incident=incident, report=report(scene.system, death=True), reason="x", by=people.elena)
    assert events(incident) == ["recorded"]


# ---- Reports that were sent


def test_sent_in_time_late_and_to_the_last_second(scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    by, end = scene.people.clara, vienna(2027, 3, 24, 23, 59, 59)
    freeze(monkeypatch, end + 2 * DAY)
    for at, standing in (
        (end, "met"),
        (end.replace(microsecond=999_999), "met"),
        (end + dt.timedelta(seconds=1), "met_late"),
    ):
        incident = recorded(scene, aware_at=vienna(2027, 3, 9))
        mark_reported(clock=clocks(incident)["MDR-87-3"], at=at, reference="17", by=by)
        (line,) = incident_detail(incident, user=None).clocks
        assert line.standing == standing
    assert [row["late"] for row in entries("reported")] == [False, False, True]


def test_a_late_notice_of_a_breach_says_why(scene: SimpleNamespace) -> None:
    incident = recorded(scene, kinds=(), breach=True, aware_at=None, controller_aware_at=NOW - 4 * DAY)
    clock = clocks(incident)["GDPR-33"]
    assert clock.due_at == NOW - DAY
    mark = {"clock": clock, "at": NOW, "reference": "DSB 4", "by": scene.people.dora}
    with pytest.raises(AuscultError, match="delay reason is empty"):
        mark_reported(**mark)
    assert clocks(incident)["GDPR-33"].met_at is None
    mark_reported(**mark, delay_reason="The processor told us late.")
    assert clocks(incident)["GDPR-33"].delay_reason == "The processor told us late."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"at": NOW + HOUR}, "in the future"),
        ({"at": NOW - 2 * HOUR}, "before anybody was aware"),
        ({"at": dt.datetime(2027, 3, 10, 9)}, "no time zone"),  # noqa: DTZ001
        ({"reference": " "}, "reference is one line"),
        ({"reference": "x" * 201}, "at most 200"),
    ],
)
def test_a_report_is_marked_with_its_time_and_reference(
    scene: SimpleNamespace, given: dict[str, Any], message: str
) -> None:
    clock = clocks(recorded(scene))["MDR-87-3"]
    about: dict[str, Any] = {"at": NOW, "reference": "17"} | given
    with pytest.raises(AuscultError, match=message):
        mark_reported(clock=clock, by=scene.people.clara, **about)
    clock.refresh_from_db()
    assert clock.met_at is None


def test_a_report_is_marked_once_and_not_of_a_replaced_clock(scene: SimpleNamespace) -> None:
    incident, by = recorded(scene), scene.people.clara
    clock = clocks(incident)["MDR-87-3"]
    mark_reported(clock=clock, at=NOW, reference="17", by=by)
    with pytest.raises(ConflictError, match="sent before"):
        mark_reported(clock=clock, at=NOW, reference="18", by=by)
    other = recorded(scene)
    old = clocks(other)["MDR-87-3"]
    amended(scene, other, death=True)
    with pytest.raises(ConflictError, match="not owed any more"):
        mark_reported(clock=old, at=NOW, reference="17", by=by)
