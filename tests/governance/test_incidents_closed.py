"""Incidents on their way: owned, closed, drafted for the authority; no words about patients."""

from __future__ import annotations

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
from governance.selectors.incidents import open_incidents, register, running_clocks
from governance.services.incidents import (
    TRANSITIONS,
    add_note,
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
from tests.governance.incident_scene import (
    HEALTH,
    RIGHTS,
    TEXT,
    clocks,
    recorded,
    report,
    vienna,
)
from tests.governance.incident_steps import DAY, NOW, amended, entries, scene

__all__ = ["scene"]


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
