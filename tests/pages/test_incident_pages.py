"""Incidents as pages: reported, counted down, acted on, refused in words, by a fixed number of queries."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.models import LedgerEntry
from core.pages.panels import queue_for
from governance.models import Incident, IncidentEvent, Statement
from governance.services.incidents import IncidentReport, assign, explain_clock, record_incident
from models_registry.models import Deployment
from tests.governance.incident_scene import HEALTH, RIGHTS, TEXT, TITLE, clocks, freeze, vienna
from tests.pages import regulation_scene, scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
NOW = vienna(2027, 3, 10, 9, 30)
SCRIPT = "<script>alert(1)</script> & 'quoted'"


@pytest.fixture
def house(house: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The small house, answered for, on 10 March 2027 at 9:30 in Vienna."""
    freeze(monkeypatch, NOW)
    regulation_scene.answers(house.system)
    return house


def made(house: SimpleNamespace, *, by: str = "elena", **facts: Any) -> Incident:
    about: dict[str, Any] = {
        "system": house.system,
        "version": house.twin,
        "title": TITLE,
        "description": TEXT,
        "zone": "Europe/Vienna",
        "kinds": (HEALTH,),
        "aware_at": NOW - dt.timedelta(days=1),
    }
    return record_incident(report=IncidentReport(**about | facts), by=scene.person(by))


def typed(**changes: Any) -> dict[str, Any]:
    form = {
        "title": TITLE,
        "description": TEXT,
        "zone": "Europe/Vienna",
        "aware_at": "2027-03-09T16:00",
        "kinds": [HEALTH],
        "breach_risk": "risk",
    }
    return {key: value for key, value in (form | changes).items() if value is not None}


def text_of(response: Any) -> str:
    """What a reader sees: without markup, blanks as one."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def new_page(house: SimpleNamespace) -> str:
    return f"{reverse('incident-new')}?system={house.system.slug}"


# ---- Reporting


def test_anybody_reports_and_comes_to_the_page_of_the_incident(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("mina")
    assert "Begin with the system" in text_of(client.get(reverse("incident-new")))
    body = client.get(new_page(house)).content.decode()
    assert '<option value="" selected>Choose the Member State' in body, "nobody's day ends at the midnight of a server"
    reader = scene.person("lea")
    reader.time_zone = "Europe/Vienna"
    reader.save()
    body = sign_in("lea").get(new_page(house)).content.decode()
    assert 'value="2027-03-10T09:30"' in body, "aware now, by the clock of the reader"
    assert '<option value="Europe/Vienna" selected>' in body
    answer = client.post(new_page(house), typed(version=house.twin.pk), follow=True)
    incident = Incident.objects.get()
    assert answer.redirect_chain[-1][0] == reverse("incident", args=[incident.pk])
    told = text_of(answer)
    assert "Incident 1 is recorded" in told
    assert "24 Mar 2027 23:59:59 CET (Europe/Vienna)" in told
    assert "24 Mar 2027 22:59:59 UTC" in told, "and by the clock of the reader"
    assert "14 days 14 h left" in told
    assert "Nobody owns this incident" in told
    assert incident.aware_at == vienna(2027, 3, 9, 16)


def test_what_is_refused_stays_typed_and_says_at_which_field(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    page = client.post(new_page(house), typed(description="Frau Gruber, born 12.03.1951, fell.", death="on"))
    assert page.status_code == 422
    body = page.content.decode()
    assert "looks like a person&#x27;s name" in body
    assert 'href="#id_description"' in body
    assert "Frau Gruber, born 12.03.1951, fell." in body, "what was typed is kept"
    assert re.search(r'name="death"[^>]*checked', body)
    assert not Incident.objects.exists()
    for wrong, words in (
        ({"aware_at": "2027-03-28T02:30"}, "did not exist in Europe/Vienna"),
        ({"aware_at": "yesterday"}, "Give the day and the time"),
        ({"aware_at": None}, "Nobody is recorded as aware"),
        ({"aware_at": "2027-03-10T10:30"}, "in the future"),
        ({"zone": ""}, "its midnight ends the days"),
        ({"zone": "Europe/Nowhere"}, "Select a valid choice"),
        ({"kinds": ["e_other"]}, "Select a valid choice"),
        ({"version": 9999}, "Select a valid choice"),
        ({"title": ""}, "Say in one line"),
    ):
        refused = client.post(new_page(house), typed(**wrong))
        assert refused.status_code == 422
        assert words in text_of(refused)
    assert not Incident.objects.exists()


def test_times_are_those_of_the_place_on_both_sides_of_the_change_of_the_clocks(
    house: SimpleNamespace, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(monkeypatch, vienna(2027, 11, 20))
    client = sign_in("elena")
    for local, moment in (
        ("2027-03-28T01:59", dt.datetime(2027, 3, 28, 0, 59, tzinfo=dt.UTC)),
        ("2027-03-28T03:00", dt.datetime(2027, 3, 28, 1, 0, tzinfo=dt.UTC)),
        ("2027-10-31T02:30", dt.datetime(2027, 10, 31, 0, 30, tzinfo=dt.UTC)),  # came twice: the earlier one
        ("2027-10-31T03:00", dt.datetime(2027, 10, 31, 2, 0, tzinfo=dt.UTC)),
        ("2027-03-09T23:59:59", dt.datetime(2027, 3, 9, 22, 59, 59, tzinfo=dt.UTC)),
    ):
        assert client.post(new_page(house), typed(aware_at=local)).status_code == 302
        assert Incident.objects.latest("pk").aware_at == moment


def test_a_script_is_shown_as_text(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("elena")
    client.post(new_page(house), typed(title=SCRIPT, description=SCRIPT, site=SCRIPT, version=house.twin.pk))
    incident = Incident.objects.get()
    assert incident.description == SCRIPT
    client.post(reverse("incident", args=[incident.pk]), {"text": SCRIPT})
    addresses = [reverse(name, args=[incident.pk]) for name in ("incident", "incident-amend")]
    for address in (*addresses, reverse("incidents"), reverse("system", args=[house.system.slug])):
        body = client.get(address).content.decode()
        assert "<script>alert" not in body
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body


# ---- The list


def test_the_list_has_what_is_overdue_on_top_and_closed_ones_last(house: SimpleNamespace, sign_in: SignIn) -> None:
    soon = made(house, title="Ten days", death=True)
    late = made(house, title="Overdue", aware_at=NOW - dt.timedelta(days=40))
    none = made(house, title="Nothing owed", kinds=())
    shut = made(house, title="Closed one")
    Incident.objects.filter(pk=shut.pk).update(status="closed", root_cause="x", correction="y", closed_at=NOW)
    client = sign_in("amir")
    told = text_of(client.get(reverse("incidents")))
    assert told.index("Overdue") < told.index("Ten days") < told.index("Nothing owed")
    assert "Closed one" not in told
    assert "Run out ran out 24 days 9 h ago" in told
    everything = text_of(client.get(reverse("incidents") + "?state=all"))
    assert everything.index("Nothing owed") < everything.index("Closed one")
    assert "Ten days" not in text_of(client.get(reverse("incidents") + "?q=overdue"))
    assert "Ten days" in text_of(client.get(reverse("incidents") + f"?q={soon.number}"))
    assert "No incident fits" in text_of(client.get(reverse("incidents") + "?state=investigating"))
    assert client.get(reverse("incidents") + "?state=%00&page=x&q=%27").status_code == 200
    assert (late.number, none.number) == (2, 3)


def test_an_empty_list_says_what_it_will_show(house: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    nothing = text_of(client.get(reverse("incidents")))
    assert "No incident is recorded" in nothing and "Take the filters away" not in nothing
    shut = made(house, title="Closed one")
    Incident.objects.filter(pk=shut.pk).update(status="closed", root_cause="x", correction="y", closed_at=NOW)
    settled = client.get(reverse("incidents")).content.decode()
    assert "No incident is open" in settled and 'href="?state=closed"' in settled


def test_the_list_is_split_in_pages(house: SimpleNamespace, sign_in: SignIn) -> None:
    for _ in range(27):
        made(house, kinds=())
    client = sign_in("amir")
    assert "1 to 25 of 27" in text_of(client.get(reverse("incidents")))
    assert "26 to 27 of 27" in text_of(client.get(reverse("incidents") + "?page=2"))


# ---- The page


def test_the_page_tells_clocks_reasons_and_what_to_do(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident = made(house, aware_at=NOW - dt.timedelta(days=40))
    page = sign_in("clara").get(reverse("incident", args=[incident.pk]))
    told = text_of(page)
    assert "1 deadline has passed" in told
    assert "late at intake" in told
    assert "MDR Art. 87(3)" in told
    assert "Send the report now" in told
    assert "Why other reports are not owed" in told
    assert "Art. 73(10)" in told
    assert 'hx-trigger="every 60s"' in page.content.decode()
    part = sign_in("clara").get(reverse("incident-clocks", args=[incident.pk])).content.decode()
    assert "<html" not in part
    assert part.strip() in page.content.decode(), "the page holds the very part that it asks for again"


def test_what_one_may_not_do_is_said_beside_it(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident = made(house)
    told = text_of(sign_in("mina").get(reverse("incident", args=[incident.pk])))
    assert "nobody owns it yet" in told
    assert "Mark as sent" not in told
    clock = clocks(incident)["MDR-87-3"]
    page = sign_in("mina").post(
        reverse("incident-reported", args=[incident.pk, clock.pk]), {"at": "2027-03-10T09:00", "reference": "17"}
    )
    assert page.status_code == 403
    assert 'value="17"' in page.content.decode()


def test_a_report_is_marked_as_sent_and_too_late_is_a_conflict(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident, client = made(house), sign_in("clara")
    clock = clocks(incident)["MDR-87-3"]
    address = reverse("incident-reported", args=[incident.pk, clock.pk])
    assert 'value="2027-03-10T09:30:00"' in client.get(address).content.decode(), "now, in the zone of the incident"
    assert client.post(address, {"at": "2027-03-10T09:00", "reference": ""}).status_code == 422
    assert client.post(address, {"at": "2027-03-08T09:00", "reference": "17"}).status_code == 422
    told = text_of(client.post(address, {"at": "2027-03-10T09:00", "reference": "BASG 17"}, follow=True))
    assert "Sent in time" in told
    assert "BASG 17" in told
    again = client.post(address, {"at": "2027-03-10T09:00", "reference": "18"})
    assert again.status_code == 409
    assert "sent before" in text_of(again)


def test_facts_are_amended_from_what_is_recorded(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident, client = made(house, occurred_at=NOW - dt.timedelta(days=2)), sign_in("lea")
    address = reverse("incident-amend", args=[incident.pk])
    form = client.get(address)
    assert 'value="2027-03-09T09:30:00"' in form.content.decode()
    begun = {
        "title": incident.title,
        "description": incident.description,
        "zone": incident.zone,
        "version": house.twin.pk,
        "occurred_at": "2027-03-08T09:30:00",
        "aware_at": "2027-03-09T09:30:00",
        "kinds": [HEALTH],
        "breach_risk": "risk",
    }
    assert client.post(address, begun).status_code == 422, "without a reason"
    assert client.post(address, begun | {"reason": "None."}).status_code == 409, "nothing would change"
    told = text_of(client.post(address, begun | {"death": "on", "reason": "The patient died."}, follow=True))
    assert "10 days" in told
    assert "The patient died." in told
    assert "1 clock that other facts replaced" in told


def test_an_incident_goes_its_way_from_owner_to_closed_and_back(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident, client = made(house, kinds=(HEALTH, RIGHTS)), sign_in("clara")
    name = {"args": [incident.pk]}
    client.post(reverse("incident-assign", **name), {"owner": scene.person("elena").pk})
    owner = sign_in("elena")
    owner.post(reverse("incident-investigate", **name))
    close = {"root_cause": "A preset of the scanner.", "correction": "The preset is refused."}
    refused = owner.post(reverse("incident-close", **name), close)
    assert refused.status_code == 409
    assert "was not sent" in text_of(refused)
    assert "A preset of the scanner." in text_of(refused)
    rows = clocks(incident)
    owner.post(reverse("incident-reported", args=[incident.pk, rows["MDR-87-3"].pk]),
               {"at": "2027-03-10T09:00", "reference": "17"})  # fmt: skip
    explain = reverse("incident-explained", args=[incident.pk, rows["AIA-73-2"].pk])
    assert owner.post(explain, {"reason": "The authority said so."}).status_code == 403
    assert client.post(explain, {"reason": "The authority said so."}).status_code == 302
    assert owner.post(reverse("incident-close", **name), close).status_code == 302
    told = text_of(owner.get(reverse("incident", **name)))
    assert "Closed" in told
    assert "A preset of the scanner." in told
    assert owner.post(reverse("incident-reopen", **name), {"reason": "It came back."}).status_code == 302
    assert Incident.objects.get().status == "open"
    assert [row.act for row in LedgerEntry.objects.filter(subject_kind="Incident").order_by("index")] == [
        "incident.recorded", "incident.assigned", "incident.investigated", "incident.reported", "incident.explained",
        "incident.closed", "incident.reopened",
    ]  # fmt: skip


def test_the_report_is_drafted_and_its_requirements_are_linked(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident, client = made(house), sign_in("elena")
    page = client.get(reverse("incident", args=[incident.pk])).content.decode()
    assert reverse("requirement", args=[house.system.slug, house.twin.pk, "MDR-87"]) in page
    told = text_of(client.post(reverse("incident-draft", args=[incident.pk]), follow=True))
    assert "The report is drafted" in told
    drafts = Statement.objects.filter(generated=True)
    assert {row.requirement for row in drafts} == {"AIA-Art3-49", "AIA-Art73-10", "MDR-87"}
    nameless = made(house, version=None)
    assert "names none" in text_of(client.get(reverse("incident", args=[nameless.pk])))
    told = text_of(client.post(reverse("incident-draft", args=[nameless.pk]), follow=True))
    assert "This was not done" in told


def test_a_running_deployment_can_be_suspended_from_here(house: SimpleNamespace, sign_in: SignIn) -> None:
    place = Deployment.objects.create(
        version=house.twin, site="Radiology North", contact_name="Ward", contact_email="ward@example.org",
        started_at=timezone.now(), started_by=scene.person("clara"),
    )  # fmt: skip
    incident = made(house, deployment=place)
    body = sign_in("clara").get(reverse("incident", args=[incident.pk])).content.decode()
    assert "Suspend the deployment" in body


def test_the_home_page_asks_whoever_has_to_act(house: SimpleNamespace) -> None:
    incident = made(house, breach=True, controller_aware_at=NOW - dt.timedelta(hours=80))

    def asked(name: str) -> set[str]:
        return {item.title for item in queue_for(scene.person(name)) if f"ncident {incident.number} " in item.title}

    report = f"Report incident 1 of {house.system.name} under "
    owner = f"Name the owner of incident 1 of {house.system.name}"
    assert asked("clara") == {report + "MDR", report + "GDPR", owner}
    assert asked("lea") == {report + "MDR", report + "GDPR"}
    assert asked("dora") == {report + "GDPR"}
    assert asked("tom") == asked("rita") == set()
    assign(incident=incident, owner=scene.person("tom"), by=scene.person("clara"))
    assert asked("tom") == {report + "MDR", report + "GDPR"}
    assert owner not in asked("clara")
    late = next(item for item in queue_for(scene.person("dora")) if "GDPR" in item.title)
    assert (late.tone, late.word) == ("fail", "Run out")
    for clock in clocks(incident).values():
        explain_clock(clock=clock, reason="Done by phone.", by=scene.person("clara"))
    assert asked("clara") == set()


def test_regulators_and_strangers_are_kept_out(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident = made(house)
    clock = clocks(incident)["MDR-87-3"]
    addresses = [reverse(name, args=[incident.pk]) for name in
                 ("incident", "incident-clocks", "incident-amend", "incident-assign", "incident-close")]  # fmt: skip
    addresses += [
        reverse("incidents"),
        reverse("incident-new"),
        reverse("incident-reported", args=[incident.pk, clock.pk]),
    ]
    for name in ("rita", "nobody-knows"):
        client = sign_in(name)
        assert {client.get(address).status_code for address in addresses} == {403}
    assert {Client().get(address).status_code for address in addresses} == {302}
    client = sign_in("clara")
    assert client.get(reverse("incident", args=[9999])).status_code == 404
    assert client.get(reverse("incident-reported", args=[incident.pk, 9999])).status_code == 404
    other = made(house)
    assert client.get(reverse("incident-reported", args=[other.pk, clock.pk])).status_code == 404
    assert client.get(reverse("incident-draft", args=[incident.pk])).status_code == 405


def test_pages_ask_no_more_when_there_is_more(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident, client = made(house, kinds=(HEALTH, RIGHTS), breach=True, controller_aware_at=NOW), sign_in("clara")
    assign(incident=incident, owner=scene.person("elena"), by=scene.person("clara"))
    addresses = [reverse(name, args=[incident.pk]) for name in ("incident", "incident-clocks")]
    addresses += [reverse("incidents"), reverse("home"), reverse("system", args=[house.system.slug])]

    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    made(house)
    before = {address: count(address) for address in addresses}
    for number in range(8):
        other = made(house, kinds=(HEALTH, RIGHTS), by=("amir", "elena")[number % 2])
        assign(incident=other, owner=scene.person(("mina", "tom")[number % 2]), by=scene.person("clara"))
        IncidentEvent.objects.create(incident=incident, kind="note", text="More.", author=scene.person("mina"))
    assert {address: count(address) for address in addresses} == before
    assert before[reverse("incidents")] <= 10
    assert before[reverse("incident", args=[incident.pk])] <= 15


def test_pages_are_well_formed_and_every_control_has_a_name(house: SimpleNamespace, sign_in: SignIn) -> None:
    incident = made(house, kinds=(HEALTH, RIGHTS), aware_at=NOW - dt.timedelta(days=40), breach=True,
                    breach_risk="high", controller_aware_at=NOW)  # fmt: skip
    clock = clocks(incident)["MDR-87-3"]
    names = ("incident", "incident-amend", "incident-assign", "incident-close", "incident-reopen")
    addresses = [reverse(name, args=[incident.pk]) for name in names]
    addresses += [reverse(name, args=[incident.pk, clock.pk]) for name in ("incident-reported", "incident-explained")]
    addresses += [reverse("incidents"), reverse("incident-new"), new_page(house)]
    for name in ("clara", "mina"):
        for address in addresses:
            page = Page(sign_in(name).get(address).content.decode())
            assert (page.faults, page.stack, page.tags["h1"]) == ([], [], 1), address
            assert [one for one, times in page.ids.items() if times > 1] == [], address
            assert page.unnamed() == [], address
