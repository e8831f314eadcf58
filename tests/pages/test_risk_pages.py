"""The pages of the risk register: what they show, what they refuse and with which status, and how much they ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import LedgerEntry
from governance.models import Control, Risk, RiskAcceptance
from tests.governance.incident_scene import make_scene, recorded
from tests.governance.risk_scene import (
    a_risk,
    acceptable,
    accepted,
    implemented,
    planned,
    rated,
    system_of,
    verified,
)
from tests.pages import scene
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
SCRIPT = "<script>alert('harm')</script>"
LIST = "/governance/risks/"


@pytest.fixture
def people(db: None) -> SimpleNamespace:
    return SimpleNamespace(**{name: scene.person(name) for name in scene.PEOPLE})


def page_of(risk: Risk) -> str:
    return f"{LIST}{risk.pk}/"


def text(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def wellformed(body: str) -> None:
    page = Page(body)
    assert page.faults == [] and page.stack == [] and page.unnamed() == []
    assert [name for name, times in page.ids.items() if times > 1] == []
    assert page.tags["h1"] == 1


def send(client: Client, risk: Risk, act: str, **values: str) -> tuple[int, str]:
    """Press the button of an act; the form's fields carry the act as prefix."""
    data = {f"{act}-{name}": value for name, value in values.items()} | {"act": act}
    response = client.post(page_of(risk), data)
    return response.status_code, response.content.decode()


def test_an_empty_register_says_what_it_is_for(people: SimpleNamespace, sign_in: SignIn) -> None:
    body = text(sign_in("elena"), LIST)
    assert "No risk is recorded" in body
    wellformed(body)
    assert "There is no system" in text(sign_in("elena"), f"{LIST}new/")


def test_a_risk_from_the_form_to_its_page(people: SimpleNamespace, sign_in: SignIn) -> None:
    system, client = system_of(people), sign_in("elena")
    wellformed(text(client, f"{LIST}new/?system={system.slug}"))
    values = {"system": system.slug, "title": "Missed", "kind": "bias", "hazard": SCRIPT, "cause": "c", "harm": "h"}
    response = client.post(f"{LIST}new/", values | {"owner": str(people.mina.pk)})
    risk = Risk.objects.get()
    assert response.status_code == 302 and response["Location"] == page_of(risk)
    body = text(client, page_of(risk))
    assert SCRIPT not in body and "&lt;script&gt;alert(&#x27;harm&#x27;)&lt;/script&gt;" in body
    assert "stops the use of the system" in body
    wellformed(body)


def test_a_form_that_lacks_something_keeps_what_was_typed(people: SimpleNamespace, sign_in: SignIn) -> None:
    system_of(people)
    response = sign_in("elena").post(f"{LIST}new/", {"title": "Missed in women", "kind": "weather"})
    assert response.status_code == 422
    assert "Missed in women" in response.content.decode() and not Risk.objects.exists()


@pytest.mark.parametrize("name", ["ada"])
def test_who_may_not_record_reads_and_is_refused(name: str, people: SimpleNamespace, sign_in: SignIn) -> None:
    system, client = system_of(people), sign_in(name)
    assert "You can read this form, but not send it" in text(client, f"{LIST}new/")
    values = {"system": system.slug, "title": "t", "kind": "bias", "hazard": "h", "cause": "c", "harm": "h"}
    assert client.post(f"{LIST}new/", values).status_code == 403
    assert not Risk.objects.exists()


def test_an_incident_begins_the_form_and_both_pages_link(people: SimpleNamespace, sign_in: SignIn) -> None:
    incident = recorded(make_scene(people))
    client, address = sign_in("elena"), f"/governance/incidents/{incident.pk}/"
    begin = f"{LIST}new/?incident={incident.pk}"
    assert begin in text(client, address)
    page = text(client, begin)
    assert incident.title in page and incident.description in page and address in page
    values = {"title": "t", "kind": "bias", "hazard": "h", "cause": "c", "harm": "h", "origin": "finding"}
    assert client.post(begin, values | {"system": incident.system.slug}).status_code == 302
    risk = Risk.objects.get()
    assert (risk.origin, risk.finding_key) == ("incident", f"incident:{incident.number}")
    assert begin not in text(client, address) and f"{LIST}{risk.pk}/" in text(client, address)
    assert address in text(client, f"{LIST}{risk.pk}/")
    assert client.post(begin, values | {"system": incident.system.slug}).status_code == 409
    assert client.get(f"{LIST}new/?incident=99").status_code == 404
    assert client.get(f"{LIST}new/?incident={'9' * 30}").status_code == 200


def test_the_committee_s_story(people: SimpleNamespace, sign_in: SignIn) -> None:
    """Rated, planned, implemented, verified by another, rated again, accepted with a password, taken back."""
    risk, elena, amir = a_risk(people), sign_in("elena"), sign_in("amir")
    today = timezone.localdate()
    rating = {"stage": "before", "severity": "4", "likelihood": "3", "reason": "By the literature."}
    assert send(elena, risk, "rate", **rating)[0] == 302
    plan = {"kind": "design", "text": "A second reader.", "owner": str(people.mina.pk)}
    assert send(elena, risk, "plan", **plan, due_on=str(today + timedelta(days=9)))[0] == 302
    control = Control.objects.get()
    done = {"implementation": "Version 1.1.", "implemented_on": str(today)}
    assert send(elena, risk, f"implement-{control.pk}", **done)[0] == 302
    status, body = send(elena, risk, f"verify-{control.pk}", verification="Seen.")
    assert status == 403 and "You implemented this control" in body
    assert send(amir, risk, f"verify-{control.pk}", verification="Seen.")[0] == 302
    assert send(elena, risk, "rate", **rating | {"stage": "after", "severity": "2", "likelihood": "2"})[0] == 302
    clara, until = sign_in("clara"), str(today + timedelta(days=90))
    accept = {"rationale": "It helps all others.", "expires_at": until}
    status, body = send(clara, risk, "accept", **accept, password="wrong")
    assert status == 403 and "not your password" in body and "It helps all others." in body
    assert send(clara, risk, "accept", **accept, password=scene.PASSWORD)[0] == 302
    assert RiskAcceptance.objects.get().accepted_by == people.clara
    wellformed(text(clara, page_of(risk)))
    assert send(sign_in("dora"), risk, "end", reason="A new study.")[0] == 302
    assert Risk.objects.get().status == "open"
    assert "risk.acceptance_ended" in text(amir, page_of(risk))


def test_each_refusal_has_its_status_and_stands_on_the_page(people: SimpleNamespace, sign_in: SignIn) -> None:
    risk = a_risk(people)
    until = str(timezone.localdate() + timedelta(days=90))
    cases = [
        ("clara", "accept", {"rationale": "So.", "expires_at": until, "password": scene.PASSWORD}, 409, "not rated"),
        ("lea", "accept", {"rationale": "So.", "expires_at": "2020-01-01", "password": scene.PASSWORD}, 422, "past"),
        ("tom", "close", {"reason": "Done."}, 403, "may close a risk"),
        ("amir", "close", {"reason": "Done."}, 409, "No control of this risk is verified"),
        ("elena", "rate", {"stage": "before", "severity": "5", "likelihood": "1", "reason": "So."}, 422, "5"),
        ("elena", "plan", {"kind": "design", "text": "So.", "owner": "999", "due_on": until}, 422, "999"),
        ("amir", "owner", {"owner": str(people.mina.pk)}, 409, "owns this risk already"),
        ("elena", "reopen", {"reason": "So."}, 409, "is not closed"),
    ]  # fmt: skip
    for name, act, values, wanted, words in cases:
        status, body = send(sign_in(name), risk, act, **values)
        assert (status, words in body) == (wanted, True), (name, act)
        wellformed(body)
    assert LedgerEntry.objects.filter(subject_kind="Risk").count() == 1


@pytest.mark.parametrize("act", ["", "hope", "verify", "verify-x", "verify-9999", "rate-1"])
def test_an_act_that_there_is_not_is_not_found(act: str, people: SimpleNamespace, sign_in: SignIn) -> None:
    risk = a_risk(people)
    assert sign_in("elena").post(page_of(risk), {"act": act}).status_code == 404
    assert sign_in("elena").get(f"{LIST}9999/").status_code == 404


def test_a_control_of_another_risk_is_not_found(people: SimpleNamespace, sign_in: SignIn) -> None:
    one, other = a_risk(people), a_risk(people)
    control = planned(one, people)
    assert sign_in("elena").post(page_of(other), {"act": f"drop-{control.pk}"}).status_code == 404


def test_the_matrices_count_what_counts_and_lead_to_the_list(people: SimpleNamespace, sign_in: SignIn) -> None:
    low, high = acceptable(people), a_risk(people, title="Only planned")
    rated(high, people, "before", 4, 3)
    planned(high, people)
    rated(high, people, "after", 1, 1)
    client = sign_in("mina")
    body = text(client, LIST)
    wellformed(body)
    labels = re.findall(r'aria-label="(\d with severity [^"]+)"', body)
    assert labels == [
        "2 with severity 4, likelihood 3: very high",
        "1 with severity 4, likelihood 3: very high",
        "1 with severity 2, likelihood 2: medium",
    ]
    assert "A lower rating is stated; no control is verified." in body
    cell = text(client, f"{LIST}?stage=after&cell=2x2")
    assert low.title in cell and "Only planned" not in cell
    banded = text(client, f"{LIST}?band=very_high")
    assert "Only planned" in banded and f'href="{page_of(low)}"' not in banded


@pytest.mark.parametrize(
    "query", ["system=nobody", "state=lost", "kind=%00", "band=purple", "stage=after&cell=9x9", "page=99", "system=%00"]
)
def test_odd_filters_break_nothing(query: str, people: SimpleNamespace, sign_in: SignIn) -> None:
    a_risk(people)
    assert sign_in("elena").get(f"{LIST}?{query}").status_code == 200


def test_closed_risks_are_shown_when_asked_for(people: SimpleNamespace, sign_in: SignIn) -> None:
    risk = a_risk(people)
    assert send(sign_in("amir"), risk, "close", reason="Taken out.", hazard_gone="on")[0] == 302
    client = sign_in("elena")
    assert page_of(risk) not in text(client, LIST)
    assert page_of(risk) in text(client, f"{LIST}?state=closed")
    wellformed(text(client, page_of(risk)))


def test_the_page_of_a_system_tells_its_register(people: SimpleNamespace, sign_in: SignIn) -> None:
    risk = a_risk(people)
    body = text(sign_in("elena"), f"/systems/{risk.system.slug}/")
    assert "1 stops the use of this system" in body and page_of(risk) in body
    wellformed(body)


def test_the_queue_asks_each_for_what_is_theirs(people: SimpleNamespace, sign_in: SignIn) -> None:
    risk = a_risk(people)
    Risk.objects.filter(pk=risk.pk).update(owner=None)
    implemented(planned(risk, people, owner=people.tom), people.elena)
    planned(risk, people, due_on=timezone.localdate())
    ending = acceptable(people)
    accepted(ending, people.lea, days=10)
    chair, owner, engineer = (text(sign_in(name), "/") for name in ("clara", "mina", "elena"))
    assert "Name the owner of risk 1" in chair and "Verify a control of risk 1" in chair
    assert "The acceptance of risk 2" in chair
    assert "Implement your control of risk 1" in owner and "Name the owner" not in owner
    assert "of risk 1" not in engineer


def _many(people: SimpleNamespace, number: int) -> None:
    for _ in range(number):
        accepted(acceptable(people), people.lea)
        risk = a_risk(people)
        implemented(planned(risk, people), people.elena)
        planned(risk, people)
        verified(risk, people)


def _count(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    return len(asked)


@pytest.mark.parametrize("name", ["clara", "elena", "mina"])
def test_pages_ask_no_more_when_there_is_more(name: str, people: SimpleNamespace, sign_in: SignIn) -> None:
    _many(people, 1)
    client, system = sign_in(name), system_of(people)
    fullest = Risk.objects.order_by("pk").last()
    assert fullest is not None
    urls = ["/", LIST, f"{LIST}?state=all", f"/systems/{system.slug}/", page_of(fullest)]
    before = [_count(client, url) for url in urls]
    _many(people, 4)
    for _ in range(3):
        verified(fullest, people)
        planned(fullest, people)
        rated(fullest, people, "after", 2, 2)
    assert [_count(client, url) for url in urls] == before
    assert max(before[1:]) <= 25
