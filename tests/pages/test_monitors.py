"""The list of monitors, the life of one, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.kept import forget
from core.models import LedgerEntry, Role, RoleGrant
from evaluation.models import Alert, AuditRun, Delivery, Monitor, MonitorWindow
from evaluation.selectors_monitors import standing_of
from tests.pages import scene
from tests.pages.monitors_scene import ALARM_WINDOW, OPEN_WINDOW, further_windows, life, others
from tests.pages.test_markup import Page

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.django_db
BOUND = 25


@pytest.fixture
def told(db: None) -> SimpleNamespace:
    return life()


def text_of(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, url
    return response.content.decode()


def addresses(told: SimpleNamespace) -> list[str]:
    """Every page of monitors, alerts and webhooks that everyone of the house reads."""
    pk = told.monitor.pk
    windows = [reverse("monitor-window", args=[pk, index]) for index in told.windows]
    return [
        reverse("monitors"), reverse("monitor-new"), reverse("monitor", args=[pk]), *windows,
        reverse("monitor-window", args=[pk, ALARM_WINDOW]) + "?by=sex",
        reverse("monitor-stream", args=[pk]) + "?of=scanner_maker&by=sex=*",
        reverse("monitor-track-table", args=[pk]), reverse("monitor-stream-table", args=[pk]) + "?of=age",
        reverse("alerts"), reverse("alerts") + "?state=all&severity=critical&mine=1",
        reverse("alert", args=[told.alert.pk]), reverse("webhooks"), reverse("webhook", args=[told.hook.pk]),
    ]  # fmt: skip


def parts(told: SimpleNamespace) -> list[str]:
    pk = told.monitor.pk
    return [
        reverse("monitor-track", args=[pk]),
        reverse("monitor-stream-chart", args=[pk]) + "?of=age&theme=dark",
        reverse("window-file", args=[pk, ALARM_WINDOW, "evidence"]),
        reverse("window-file", args=[pk, ALARM_WINDOW, "evidently"]),
        reverse("window-evidently", args=[pk, ALARM_WINDOW]),
    ]


def test_every_page_is_well_formed_for_whoever_may_read_it(told: SimpleNamespace, sign_in: SignIn) -> None:
    others(told.who)
    amir = sign_in("amir")
    for url in addresses(told):
        page = Page(text_of(amir, url))
        assert (page.faults, page.stack, page.unnamed()) == ([], [], []), url
        assert page.tags["h1"] == 1 and max(page.ids.values()) == 1, url
    mina, rita = sign_in("mina"), sign_in("rita")
    every = [*addresses(told), *parts(told)]
    assert {url: mina.get(url).status_code for url in every} == dict.fromkeys(every, 200)
    assert {url: rita.get(url).status_code for url in every} == dict.fromkeys(every, 403)


def test_the_list_answers_who_is_watched_and_how_it_stands(told: SimpleNamespace, sign_in: SignIn) -> None:
    others(told.who)
    text = text_of(sign_in("mina"), reverse("monitors"))
    assert "1 monitor has an alarm</strong>, 3 cannot see at the moment" in text
    told_in_order = ["Critical alarm", "Not watching", "Stale", "Lake Clinic", "Ended"]
    places = [text.index(word, text.index('id="monitor-rows"')) for word in told_in_order]
    assert places == sorted(places)
    page = sign_in("mina").get(reverse("monitors"), {"status": "ended"}).context["listing"].page
    assert {row.status for row in page} == {"ended"}
    assert "No monitor matches" in text_of(sign_in("mina"), reverse("monitors") + "?q=nowhere")
    for sentence in ("Scanner maker moved", "It has not looked for 3 days", "Its reference could not be made."):
        assert sentence in text
    assert f"/monitors/{told.monitor.pk}/windows/7/" in text, "the newest window that came to an end"
    assert f"window {OPEN_WINDOW}: being audited" in text


def test_nothing_watched_is_said_with_the_next_step(sign_in: SignIn) -> None:
    text = text_of(sign_in("mina"), reverse("monitors"))
    assert "Nothing is watched" in text and "An auditor makes a monitor" in text


def test_the_page_of_a_monitor_begins_with_its_verdict(told: SimpleNamespace, sign_in: SignIn) -> None:
    text = text_of(sign_in("mina"), reverse("monitor", args=[told.monitor.pk]))
    order = ["Critical alarm</h2>", "Scanner maker moved", "Alerts that are not closed", "Evidence over its life",
             "One stream, window by window", ">Windows</h2>", "How it watches"]  # fmt: skip
    places = [text.index(item) for item in order]
    assert places == sorted(places)
    assert "Alarm in window 6, to 13 Apr 2026: Scanner maker" in text
    assert '<option value="scanner_maker" selected>' in text, "the stream that led the alarm is shown first"
    assert "Scanner maker was in no window wholly beyond its margin" not in text
    for word in ("No studies", "Data refused", "Too few studies", "Being audited", "Alarm", "No alarm"):
        assert f"{word}</span>" in text
    assert "The column crp holds text." in text
    assert f"POST /api/v1/monitors/{told.monitor.pk}/deliveries" in text
    assert "at most 5 % for any false alarm" in text and "30 Mar to 6 Apr 2026" in text


def test_what_happened_meanwhile_stands_in_the_picture_and_below_it(sign_in: SignIn) -> None:
    told = life(first_opens_at=timezone.now() - timedelta(weeks=7, days=3))
    client, pk = sign_in("mina"), told.monitor.pk
    page = text_of(client, reverse("monitor", args=[pk]))
    marks = page.split("What happened meanwhile")[-1]
    assert "Version 1.0 deployed" in marks and "Version 1.0 suspended" in marks
    assert reverse("ledger-entry", args=[0]) in marks
    table = text_of(client, reverse("monitor-track-table", args=[pk]))
    assert "<td>Mark 1</td>" in table and "version 1.0 suspended" in table
    picture = client.get(reverse("monitor-track", args=[pk])).content.decode()
    assert "version 1.0 deployed" in picture


def test_the_stream_of_an_address_is_shown_and_an_unknown_one_is_not(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("mina"), reverse("monitor", args=[told.monitor.pk])
    shown = text_of(client, f"{url}?of=age&by=sex=F")
    assert '<option value="age" selected>' in shown and '<option value="sex=F" selected>' in shown
    assert "Age is beyond its margin" in shown or "Age was in no window" in shown
    odd = text_of(client, f"{url}?of=<script>&by=sex=nobody&page=99")
    assert "<script>&" not in odd and '<option value="scanner_maker" selected>' in odd
    assert text_of(client, reverse("monitor-stream", args=[told.monitor.pk]) + "?of=estimated.effusion").count(
        "so estimates are not valid"
    ), "an undefined value is told with its reason"


def test_the_table_behind_a_chart_holds_what_the_rows_hold(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, pk = sign_in("mina"), told.monitor.pk
    part = client.get(reverse("monitor-track-table", args=[pk]), headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    rows = [row.split("<td>")[1:] for row in part.split("<tr>")[2:]]
    cells = {row[0].removesuffix("</td>"): [cell.partition("</td>")[0] for cell in row] for row in rows}
    assert cells["6"][3:] == ["90", "90", "20", "Alarm: Scanner maker"]
    assert cells["1"][3:6] == [".67", ".67", "20"]
    assert cells["3"][2:6] == ["No studies", "", "", ""]
    stream = text_of(client, reverse("monitor-stream-table", args=[pk]) + "?of=scanner_maker&by=")
    assert ".300 (.270 to .330)" in stream and ".040 (.010 to .070)" in stream


def test_pictures_are_images_that_may_not_act(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, pk = sign_in("mina"), told.monitor.pk
    for url in (reverse("monitor-track", args=[pk]), reverse("monitor-stream-chart", args=[pk]) + "?of=age"):
        response = client.get(url)
        assert response.headers["Content-Type"] == "image/svg+xml"
        assert response.headers["Content-Security-Policy"].endswith("sandbox")
        assert b"<script" not in response.content
    here = f"/monitors/{pk}"
    for url in (f"{here}/track.svg?theme=neon", f"{here}/stream.svg", f"{here}/stream.svg?of=x", "/monitors/9999/",
                f"{here}/windows/99/", f"{here}/windows/0/", f"{here}/windows/1/exe.json",
                f"{here}/windows/1/evidently/", "/monitors/alerts/9999/",
                "/monitors/webhooks/9999/"):  # fmt: skip
        assert client.get(url).status_code == 404, url


def test_a_picture_changes_with_its_windows(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("mina"), reverse("monitor-track", args=[told.monitor.pk])
    before = client.get(url).content
    told.windows[1].look |= {"log_e_over_margin": 1.0}
    told.windows[1].save()
    assert client.get(url).content != before


def test_acts_say_what_they_do_and_are_refused_in_words(told: SimpleNamespace, sign_in: SignIn) -> None:
    url = reverse("monitor", args=[told.monitor.pk])
    amir, elena = sign_in("amir"), sign_in("elena")
    assert "You submitted Watched model 1.0" in text_of(elena, url)
    short = amir.post(url, {"act": "pause", "pause-reason": "Brief"})
    assert short.status_code == 422 and 'href="#id_pause-reason"' in short.content.decode()
    assert "Brief</textarea>" in short.content.decode(), "what was typed is kept"
    assert amir.post(url, {"act": "pause", "pause-reason": ""}).status_code == 422
    typed = {"act": "pause", "pause-reason": "The scanner is exchanged this week."}
    assert elena.post(url, typed).status_code == 403
    assert amir.post(url, typed).status_code == 302
    assert Monitor.objects.get(pk=told.monitor.pk).status == "paused"
    assert "The scanner is exchanged this week." in text_of(amir, url)
    gone = amir.post(reverse("monitor-act", args=[told.monitor.pk, "resume"]), follow=True).content.decode()
    assert "The monitor goes on." in gone and Monitor.objects.get(pk=told.monitor.pk).status == "active"
    assert amir.post(reverse("monitor-act", args=[told.monitor.pk, "destroy"])).status_code == 404
    assert amir.get(reverse("monitor-act", args=[told.monitor.pk, "run"])).status_code == 405
    again = amir.post(reverse("monitor-act", args=[told.monitor.pk, "retry"]), follow=True).content.decode()
    assert "is active by now" in again
    assert amir.post(url, {"act": "end", "end-reason": "The system is replaced."}).status_code == 302
    assert "It has ended, and looks no more" in text_of(amir, url)


def test_a_monitor_is_handed_over_on_its_page(told: SimpleNamespace, sign_in: SignIn) -> None:
    url, who = reverse("monitor", args=[told.monitor.pk]), told.who
    amir, elena = sign_in("amir"), sign_in("elena")
    assert "Hand it over" in text_of(amir, url) and 'id="id_hand_over-owner"' not in text_of(elena, url)
    typed = {"act": "hand_over", "hand_over-owner": who.amir.pk, "hand_over-escalate_to": who.lea.pk}
    reason = {"hand_over-reason": "Amir goes to another hospital."}
    brief = amir.post(url, typed | {"hand_over-reason": "Brief"})
    assert brief.status_code == 422 and 'href="#id_hand_over-reason"' in brief.content.decode()
    assert f'<option value="{who.lea.pk}" selected>' in brief.content.decode(), "what was chosen is kept"
    same = amir.post(url, typed | reason | {"hand_over-escalate_to": who.clara.pk})
    assert same.status_code == 422 and 'href="#id_hand_over-owner"' in same.content.decode()
    RoleGrant.objects.create(user=who.clara, role=Role.AUDITOR)  # who approved the protocol
    refused = amir.post(url, typed | reason | {"hand_over-owner": who.clara.pk})
    text = refused.content.decode()
    assert refused.status_code == 422 and 'href="#id_hand_over-owner"' in text and "cannot own this monitor" in text
    assert "Amir goes to another hospital.</textarea>" in text, "what was typed is kept"
    assert Monitor.objects.get(pk=told.monitor.pk).owner == who.amir
    assert elena.post(url, typed | reason).status_code == 403
    assert amir.post(url, typed | reason).status_code == 302
    assert Monitor.objects.get(pk=told.monitor.pk).escalate_to == who.lea


def test_deleted_rows_of_a_delivery_are_told(told: SimpleNamespace, sign_in: SignIn) -> None:
    url = reverse("monitor", args=[told.monitor.pk])
    assert "rows deleted" not in text_of(sign_in("mina"), url)
    moment = datetime(2026, 8, 3, 12, tzinfo=UTC)
    Delivery.objects.filter(monitor=told.monitor).update(purged_at=moment, content_digest="")
    assert "rows deleted on 3 Aug 2026" in text_of(sign_in("mina"), url)


def _count(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    return len(asked)


def _counted_anew(client: Client, urls: list[str]) -> dict[str, int]:
    """What each page asks when nothing is kept of what was worked out before."""
    counts = {}
    for url in urls:
        forget()
        counts[url] = _count(client, url)
    return counts


def test_pages_ask_no_more_when_there_is_more(told: SimpleNamespace, sign_in: SignIn) -> None:
    client = sign_in("amir")
    urls = addresses(told)
    before = _counted_anew(client, urls)
    others(told.who)
    further_windows(told.monitor, 9, 10)
    after = _counted_anew(client, urls)
    assert after == before
    assert max(after.values()) <= BOUND


def test_other_pages_know_of_monitors(told: SimpleNamespace, sign_in: SignIn) -> None:
    kept = others(told.who)
    home = text_of(sign_in("amir"), "/")
    assert "Scanner maker moved" in home and reverse("alert", args=[told.alert.pk]) in home
    assert "Weekly watch of Watched model 1.2 at West Hospital is not watching" in home
    assert "Scanner maker moved" in text_of(sign_in("clara"), "/"), "critical ones are the chairs' business too"
    assert "Scanner maker moved" not in text_of(sign_in("dora"), "/").split("home-monitors")[0]
    version = kept["quiet"].deployment.version
    text = text_of(sign_in("mina"), reverse("version-room-drift", args=[version.system.slug, version.pk]))
    assert f'href="/monitors/{kept["quiet"].pk}/"' in text
    lone = scene.version("9.9", of=version.system, status="deployed")
    told.monitor.deployment.__class__.objects.create(
        version=lone, site="North Hospital", contact_name="A", contact_email="a@b.example",
        started_at=told.monitor.created_at, started_by=told.who.clara,
    )  # fmt: skip
    assert "nobody watches" in text_of(sign_in("mina"), reverse("version-room-drift", args=[lone.system.slug, lone.pk]))


def test_the_ledger_is_read_for_marks_and_never_written(told: SimpleNamespace, sign_in: SignIn) -> None:
    before = LedgerEntry.objects.count()
    client: Any = sign_in("mina")
    for url in addresses(told):
        client.get(url)
    assert LedgerEntry.objects.count() == before


def test_audits_of_windows_stand_with_their_monitor_and_are_listed_when_asked_for(
    told: SimpleNamespace, sign_in: SignIn
) -> None:
    monitor, version = told.monitor, told.monitor.deployment.version
    people = {"version_submitted_by": version.submitted_by, "protocol_approved_by": monitor.protocol.approved_by}
    asked, own = (
        AuditRun.objects.create(
            version=version, cohort=monitor.reference_cohort, protocol=monitor.protocol, spec_digest=place * 64,
            status="done", outcome="pass", n_studies=5, requested_by=monitor.owner, **people,
        )
        for place in "12"
    )  # fmt: skip
    MonitorWindow.objects.filter(pk=told.alarm.pk).update(run=own)
    client = sign_in("mina")
    link = "/audits/{}/".format
    listed = text_of(client, reverse("audits"))
    assert link(asked.pk) in listed and link(own.pk) not in listed
    every = text_of(client, reverse("audits") + "?windows=1")
    assert link(asked.pk) in every and link(own.pk) in every
    assert link(own.pk) not in text_of(client, "/")
    assert link(own.pk) in text_of(client, reverse("monitor-window", args=[monitor.pk, ALARM_WINDOW]))


def test_a_monitor_whose_alarm_was_closed_does_not_say_that_there_was_none(
    told: SimpleNamespace, sign_in: SignIn
) -> None:
    closed = {"status": "closed", "resolution": "fixed", "closing": "Mended.", "closed_at": timezone.now()}
    told.monitor.alerts.update(**closed)
    told.monitor.windows.filter(index__gt=ALARM_WINDOW).delete()
    Monitor.objects.filter(pk=told.monitor.pk).update(cycle=2)
    text = text_of(sign_in("mina"), reverse("monitor", args=[told.monitor.pk]))
    assert f"The alarm of window {ALARM_WINDOW} was closed; the next window begins anew." in text
    assert "gave no reason for one" not in text


@pytest.mark.parametrize(("key", "word"), [("source:unreadable", "Stale"), ("source:delivery-refused", "No alarm")])
def test_a_refused_delivery_is_no_silence(told: SimpleNamespace, key: str, word: str) -> None:
    """It is told by its alert. Stale is a monitor whose source gives nothing."""
    last = MonitorWindow(index=3, status=MonitorWindow.Status.JUDGED, alarm=False)
    alert = Alert(kind=Alert.Kind.SOURCE, key=key, title="The source")
    assert standing_of(told.monitor, last, [alert]).word == word
