"""Incidents: recorded, amended, owned, reported, closed; each act with its entry, or nothing at all."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification
from governance.models import Incident, IncidentClock, IncidentEvent, Statement
from governance.selectors.incidents import incident_detail, open_incidents, register, running_clocks
from governance.services.incidents import (
    TRANSITIONS,
    add_note,
    amend_facts,
    assign,
    close_incident,
    draft_report,
    explain_clock,
    investigate,
    mark_reported,
    record_incident,
    reopen_incident,
)
from governance.services.statements import accept_statement, write_statement
from models_registry.models import AISystem, Deployment
from tests.governance.incident_scene import (
    HEALTH,
    RIGHTS,
    TEXT,
    TITLE,
    clocks,
    freeze,
    make_scene,
    recorded,
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


def amended(scene: SimpleNamespace, incident: Incident, by: str = "clara", **facts: Any) -> Incident:
    now = Incident.objects.get(pk=incident.pk)
    given = {"version": now.version, "kinds": tuple(now.kinds), "aware_at": now.aware_at, "breach": now.breach}
    given |= {"controller_aware_at": now.controller_aware_at, "death": now.death}
    changed = report(scene.system, **given | facts)
    return amend_facts(incident=incident, report=changed, reason="The ward called.", by=getattr(scene.people, by))


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


# ---- The way of an incident


def test_the_owner_acts_on_their_incident_and_strangers_do_not(scene: SimpleNamespace) -> None:
    people, incident = scene.people, recorded(scene)
    clock = clocks(incident)["MDR-87-3"]
    for act in (
        lambda: mark_reported(clock=clock, at=NOW, reference="1", by=people.mina),
        lambda: assign(incident=incident, owner=people.mina, by=people.mina),
        lambda: investigate(incident=incident, by=people.mina),
        lambda: explain_clock(clock=clock, reason="No.", by=people.mina),
    ):
        with pytest.raises(DeniedError):
            act()
    assign(incident=incident, owner=people.mina, by=people.clara)
    assert Notification.objects.get(recipient=people.mina).title.endswith("is yours")
    investigate(incident=incident, by=people.mina)
    mark_reported(clock=clock, at=NOW, reference="1", by=people.mina)
    with pytest.raises(DeniedError, match="say why no report is sent"):
        explain_clock(clock=clock, reason="No.", by=people.mina)


def test_a_second_account_of_the_owner_is_the_owner(scene: SimpleNamespace) -> None:
    people, incident = scene.people, recorded(scene)
    assign(incident=incident, owner=people.mina, by=people.clara)
    people.tom.merged_into = people.mina
    people.tom.save()
    investigate(incident=incident, by=people.tom)
    with pytest.raises(ConflictError, match="owns this incident already"):
        assign(incident=incident, owner=people.mina, by=people.clara)
    with pytest.raises(DeniedError, match="cannot own"):
        assign(incident=incident, owner=people.rita, by=people.clara)
    with pytest.raises(DeniedError, match="cannot own"):
        assign(incident=incident, owner=people.tom, by=people.clara)


def test_the_table_of_states_is_what_the_services_do(scene: SimpleNamespace) -> None:
    """Every pair of states: the act succeeds where the table allows the step, and nowhere else."""
    people = scene.people
    acts: dict[str, Callable[[Incident], Any]] = {
        "investigating": lambda row: investigate(incident=row, by=people.clara),
        "closed": lambda row: close_incident(incident=row, root_cause="x", correction="y", by=people.clara),
        "open": lambda row: reopen_incident(incident=row, reason="z", by=people.clara),
    }
    for before in Incident.Status.values:
        for to, act in acts.items():
            incident = recorded(scene, kinds=())
            ended = {"root_cause": "x", "correction": "y", "closed_at": NOW} if before == "closed" else {}
            Incident.objects.filter(pk=incident.pk).update(status=before, **ended)
            if to in TRANSITIONS[before]:
                assert act(incident).status == to
            else:
                with pytest.raises(ConflictError, match="this step needs it"):
                    act(incident)
                assert Incident.objects.get(pk=incident.pk).status == before


def test_closing_waits_for_the_reports_the_cause_and_the_correction(scene: SimpleNamespace) -> None:
    people, incident = scene.people, recorded(scene, kinds=(HEALTH, RIGHTS))
    investigate(incident=incident, by=people.clara)
    close = {"incident": incident, "root_cause": "A preset.", "correction": "Another preset.", "by": people.clara}
    with pytest.raises(ConflictError, match="was not sent"):
        close_incident(**close)
    mark_reported(clock=clocks(incident)["MDR-87-3"], at=NOW, reference="17", by=people.clara)
    with pytest.raises(ConflictError, match=r"AI Act \(AIA-73-2\) is owed"):
        close_incident(**close)
    explain_clock(clock=clocks(incident)["AIA-73-2"], reason="The authority closed the case.", by=people.lea)
    for missing in ("root_cause", "correction"):
        with pytest.raises(AuscultError, match="is empty"):
            close_incident(**close | {missing: ""})
    closed = close_incident(**close)
    assert (closed.status, closed.closed_by, closed.root_cause) == ("closed", people.clara, "A preset.")
    assert list(open_incidents(scene.system)) == []
    for act in (
        lambda: amended(scene, incident, death=True),
        lambda: assign(incident=incident, owner=people.mina, by=people.clara),
        lambda: mark_reported(clock=clocks(incident)["AIA-73-2"], at=NOW, reference="1", by=people.clara),
    ):
        with pytest.raises(ConflictError, match="closed"):
            act()
    add_note(incident=incident, text="The authority thanked us.", by=people.mina)
    again = reopen_incident(incident=incident, reason="It happened again.", by=people.clara)
    assert (again.status, again.closed_at, again.root_cause) == ("open", None, "A preset.")
    mark_reported(clock=clocks(incident)["AIA-73-2"], at=NOW, reference="1", by=people.clara)


def test_an_explanation_is_not_carried_to_a_clock_of_other_facts(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=NOW - 2 * DAY)
    explain_clock(clock=clocks(incident)["MDR-87-3"], reason="Not ours.", by=scene.people.clara)
    amended(scene, incident, aware_at=NOW - 3 * DAY)
    assert clocks(incident)["MDR-87-3"].delay_reason == ""


def test_a_notice_that_became_late_by_other_facts_has_to_be_explained(scene: SimpleNamespace) -> None:
    incident = recorded(scene, kinds=(), breach=True, aware_at=None, controller_aware_at=NOW - 2 * DAY)
    people = scene.people
    mark_reported(clock=clocks(incident)["GDPR-33"], at=NOW - DAY, reference="1", by=people.dora)
    with pytest.raises(ConflictError, match="nothing to explain"):
        explain_clock(clock=clocks(incident)["GDPR-33"], reason="x", by=people.dora)
    amended(scene, incident, controller_aware_at=NOW - 5 * DAY)
    investigate(incident=incident, by=people.clara)
    with pytest.raises(ConflictError, match="no reason of the delay"):
        close_incident(incident=incident, root_cause="x", correction="y", by=people.clara)
    explain_clock(clock=clocks(incident)["GDPR-33"], reason="The processor told us late.", by=people.dora)
    assert close_incident(incident=incident, root_cause="x", correction="y", by=people.clara).status == "closed"


# ---- Patients, scripts, the ledger, the database


IDENTIFYING = [
    ("Written to jana.k@example.org.", "e-mail"),
    ("A woman, born 12.03.1951, fell.", "date of birth"),
    ("DOB: 1951-03-12", "date of birth"),
    ("geb. am 3. März 1951", "date of birth"),
    ("Patient *12.03.1951", "date of birth"),
    ("MRN 00812734", "number of a patient"),
    ("Case of 4711122334", "number of a patient"),
    ("Social insurance 1237 010180.", "number of a patient"),
    ("Call +43 1 40400 1234.", "telephone"),
    ("Call 0664 1234567.", "telephone"),
    ("Frau Gruber was told.", "person's name"),
]
HARMLESS = [
    "On 9 Mar 2027 at 14:05 two of 5210 studies were read late, 1,204,000 in all.",
    "Version 1.2.3 with the digest 9f86d081884c7d659a2feaa0c55ad015 missed 3 findings (.91, .88 to .94).",
    "The radiologist on duty saw it on 2027-03-09, 12.03.2027 and 9/3/27.",
    "Rooms 101-104; 30000 studies; CT 64-row; born at term; a patient over 80.",
    "AIA-Art73-2 and MDR-87-3 of Regulation 2017/745, OJ L 117.",
]


@pytest.mark.parametrize(("text", "what"), IDENTIFYING)
def test_words_that_could_name_a_patient_are_refused(scene: SimpleNamespace, text: str, what: str) -> None:
    for name in ("title", "description", "site"):
        with pytest.raises(AuscultError, match=what) as refused:
            recorded(scene, **{name: text})
        assert refused.value.remedy.startswith("Write instead")
        assert refused.value.column == name
    incident = recorded(scene)
    with pytest.raises(AuscultError, match=what):
        add_note(incident=incident, text=text, by=scene.people.elena)


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_dates_of_an_incident_are_kept(scene: SimpleNamespace, text: str) -> None:
    assert recorded(scene, description=text).description == text


def acts_of(scene: SimpleNamespace) -> dict[str, Callable[[], Any]]:
    """Every act, each on an incident in the state that it needs."""
    people, made = scene.people, {name: recorded(scene) for name in "abcdefg"}
    shut = recorded(scene, kinds=())
    Incident.objects.filter(pk=made["f"].pk).update(status="investigating")
    explain_clock(clock=clocks(made["f"])["MDR-87-3"], reason="Sent by the site.", by=people.clara)
    ended = {"root_cause": "x", "correction": "y", "closed_at": NOW}
    Incident.objects.filter(pk=shut.pk).update(status="closed", **ended)
    clock = clocks(made["c"])["MDR-87-3"]
    return {
        "recorded": lambda: recorded(scene),
        "amended": lambda: amended(scene, made["a"], death=True),
        "noted": lambda: add_note(incident=made["b"], text="A note.", by=people.elena),
        "reported": lambda: mark_reported(clock=clock, at=NOW, reference="17", by=people.clara),
        "explained": lambda: explain_clock(clock=clock, reason="Why.", by=people.clara),
        "assigned": lambda: assign(incident=made["d"], owner=people.mina, by=people.clara),
        "investigated": lambda: investigate(incident=made["e"], by=people.clara),
        "closed": lambda: close_incident(incident=made["f"], root_cause="x", correction="y", by=people.clara),
        "reopened": lambda: reopen_incident(incident=shut, reason="x", by=people.clara),
        "drafted": lambda: draft_report(incident=made["g"], by=people.elena),
    }


ACTS = ("recorded", "amended", "noted", "reported", "explained", "assigned", "investigated", "closed", "reopened",
        "drafted")  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_what_the_ledger_refuses_did_not_happen(
    scene: SimpleNamespace, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    does = acts_of(scene)[act]

    def state() -> list[Any]:
        models = (Incident, IncidentClock, IncidentEvent, Notification, Statement, LedgerEntry)
        return [list(model.objects.order_by("pk").values()) for model in models]  # type: ignore[attr-defined]

    before, real = state(), ledger.record

    def broken(**given: Any) -> LedgerEntry:
        if given["act"] == f"incident.{act}":
            raise DatabaseError("the disk is full")
        return real(**given)

    monkeypatch.setattr(ledger, "record", broken)
    with pytest.raises(DatabaseError, match="disk is full"), transaction.atomic():
        does()
    assert state() == before
    monkeypatch.setattr(ledger, "record", real)
    n_before = len(entries(act))
    does()
    assert len(entries(act)) == n_before + 1, "one entry for the act"


def test_the_database_keeps_its_own_rules(scene: SimpleNamespace) -> None:
    incident = recorded(scene)
    clock = clocks(incident)["MDR-87-3"]
    rows = Incident.objects.filter(pk=incident.pk)
    twin = {"incident": incident, "deadline": clock.deadline, "regime": "MDR", "owed": "yes", "reason": "x"}
    event = IncidentEvent.objects.get(incident=incident)
    for write, words in (
        (lambda: rows.update(status="closed"), "incident_closed_has_findings|CHECK"),
        (lambda: rows.update(title=""), "incident_has_words|CHECK"),
        (lambda: IncidentClock.objects.create(**twin), "clock_once_per_incident|UNIQUE"),
        (lambda: IncidentEvent.objects.filter(pk=event.pk).update(text="Nothing happened."), "never changed"),
        (event.delete, "never changed"),
        (lambda: Incident.objects.create(number=incident.number, system=scene.system, title="x", description="y",
                                         zone="UTC", reported_by=scene.people.elena), "number|UNIQUE"),
    ):  # fmt: skip
        with pytest.raises(IntegrityError, match=words), transaction.atomic():
            write()
    IncidentClock.objects.create(**twin | {"superseded_at": timezone.now()})


# ---- The draft of the report


def test_the_report_is_drafted_from_what_is_known(scene: SimpleNamespace) -> None:
    aware = vienna(2027, 3, 9, 16, 0)
    incident = recorded(scene, kinds=(HEALTH, RIGHTS), aware_at=aware, affected_persons=2, site="Radiology North")
    mark_reported(clock=clocks(incident)["MDR-87-3"], at=NOW, reference="17", by=scene.people.clara)
    drafts = {row.requirement: row for row in draft_report(incident=incident, by=scene.people.elena)}
    assert all(row.generated and row.status == "draft" and row.author == scene.people.elena for row in drafts.values())
    assert drafts["AIA-Art3-49"].fields == {
        "facts": TEXT,
        "harm_type": "(a) death, or serious harm to health; "
        "(c) infringement of Union law that protects fundamental rights",
        "affected_persons": 2,
        "model_version": "1.0",
        "site": "Radiology North",
    }, "the causal link is not known, so it is left empty"
    assert drafts["AIA-Art73-10"].fields == {"member_state": "Austria"}
    assert drafts["MDR-87"].fields == {
        "aware_at": "2027-03-09T16:00:00+01:00",
        "type": "serious",
        "reported_at": "2027-03-10T09:30:00+01:00",
    }
    assert drafts["AIA-Art73-2"].fields == {"aware_at": "2027-03-09T16:00:00+01:00"}
    assert "AIA-Art73-6" not in drafts
    assert "GDPR-33" not in drafts
    detail = IncidentEvent.objects.filter(incident=incident).latest("pk").detail
    assert {"requirement": "AIA-Art73-6", "reason": "The incident tells nothing of it yet."} in detail["skipped"]


def test_drafts_of_others_are_left_alone_and_accepted_ones_are_built_on(scene: SimpleNamespace) -> None:
    people, incident = scene.people, recorded(scene)
    write = {"version": scene.version, "text": "", "by": people.amir}
    write_statement(requirement="MDR-87", fields={"type": "serious"}, **write)
    told = write_statement(requirement="AIA-Art3-49", fields={"causal_link": "likely", "site": "North"}, **write)
    accept_statement(statement=told, remark="Read the file.", by=people.clara)
    drafts = {row.requirement: row for row in draft_report(incident=incident, by=people.elena)}
    assert "MDR-87" not in drafts
    assert "A draft of Amir Example is open." in IncidentEvent.objects.filter(incident=incident).latest("pk").text
    assert drafts["AIA-Art3-49"].fields["causal_link"] == "likely", "what a person stated stays"
    assert drafts["AIA-Art3-49"].fields["facts"] == TEXT
    accept_statement(statement=drafts["AIA-Art3-49"], remark="Compared.", by=people.clara)
    again = draft_report(incident=incident, by=people.elena)
    assert "AIA-Art3-49" not in {row.requirement for row in again}, "all of it is stated and accepted"


def test_a_draft_needs_a_version_and_somebody_who_may_state(scene: SimpleNamespace) -> None:
    people = scene.people
    nameless = record_incident(report=report(scene.system), by=people.elena)
    with pytest.raises(ConflictError, match="names none"):
        draft_report(incident=nameless, by=people.elena)
    with pytest.raises(DeniedError, match="write statements"):
        draft_report(incident=recorded(scene), by=people.ada)


# ---- Read by others


def test_the_register_tells_plain_facts(scene: SimpleNamespace) -> None:
    incident = recorded(scene, aware_at=vienna(2027, 3, 9))
    (row,) = register(scene.system)
    assert json.loads(json.dumps(row)) == row
    assert (row["number"], row["version"], row["aware_at"]) == (1, scene.version.digest, "2027-03-09T11:00:00+00:00")
    assert row["clocks"][0]["due_at"] == "2027-03-24T22:59:59+00:00"
    assert [line.clock.incident for line in running_clocks(system=scene.system)] == [incident]
    explain_clock(clock=clocks(incident)["MDR-87-3"], reason="x", by=scene.people.clara)
    assert running_clocks(system=scene.system) == []
