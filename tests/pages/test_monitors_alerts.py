"""Alerts and webhooks: filters, what a person can do, what is refused, and what is shown once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from core.models import User
from evaluation.models import Alert, Webhook
from tests.evaluation.monitor_scene import make_alert
from tests.pages.monitors_scene import life

SignIn = Callable[[str], Client]
pytestmark = pytest.mark.django_db


@pytest.fixture
def told(db: None) -> SimpleNamespace:
    return life()


def test_alerts_are_filtered_by_what_the_address_says(told: SimpleNamespace, sign_in: SignIn) -> None:
    make_alert(told.monitor, kind="late", severity="info", key="late", title="Late studies", assigned_to=told.who.tom)
    make_alert(told.monitor, kind="unit", key="unit", title="Unit moved", status="closed", resolution="fixed",
               closing="Mended.", closed_at=told.monitor.created_at)  # fmt: skip
    client, url = sign_in("amir"), reverse("alerts")

    def listed(query: str) -> list[str]:
        text = client.get(url + query).content.decode()
        return [title for title in ("Scanner maker moved", "Late studies", "Unit moved") if f">{title}</a>" in text]

    assert listed("") == ["Scanner maker moved", "Late studies"]
    assert listed("?state=closed") == ["Unit moved"]
    assert listed("?state=all") == ["Scanner maker moved", "Late studies", "Unit moved"]
    assert listed("?severity=info") == ["Late studies"] and listed("?kind=late") == ["Late studies"]
    assert listed("?mine=1") == ["Scanner maker moved"], "what was given to somebody else is not mine"
    assert listed(f"?monitor={told.monitor.pk}&severity=critical") == ["Scanner maker moved"]
    assert listed("?monitor=99") == []
    assert listed("?state=<script>&severity=loud&monitor=" + "9" * 40) == [], "nothing fits what no choice names"
    assert listed("?q=late+studies") == ["Late studies"]
    assert "No alert fits" in client.get(url + "?monitor=99").content.decode()


def test_an_alert_is_dealt_with_and_its_history_says_how(told: SimpleNamespace, sign_in: SignIn) -> None:
    client, url = sign_in("amir"), reverse("alert", args=[told.alert.pk])
    text = client.get(url).content.decode()
    assert "Nobody has acknowledged it" in text and "Clara Weiss and the chairs are told" in text
    assert ".30 (.27–.33)" in text and "Jensen-Shannon distance" in text and "Philips 12 % before" in text
    assert "7 days" not in text and "1 week" in text and "30 days" not in text, "a critical one rests a week at most"
    assert client.post(url, {"act": "acknowledge"}).status_code == 302
    assert client.post(url, {"act": "assign", "assign-to": told.who.clara.pk}).status_code == 302
    assert client.post(url, {"act": "assign", "assign-to": told.who.rita.pk}).status_code == 422
    short = client.post(url, {"act": "snooze", "snooze-hours": "24", "snooze-reason": "Soon"})
    assert short.status_code == 422 and "Soon</textarea>" in short.content.decode()
    assert 'href="#id_snooze-reason"' in short.content.decode()
    why = "The new scanner is calibrated on Monday."
    assert client.post(url, {"act": "snooze", "snooze-hours": "24", "snooze-reason": why}).status_code == 302
    text = client.get(url).content.decode()
    assert "At rest until" in text and why in text and "Clara Weiss sees to it." in text
    assert Alert.objects.get(pk=told.alert.pk).status == "snoozed"


def test_closing_an_alarm_restarts_the_monitor_and_a_submitter_may_not(told: SimpleNamespace, sign_in: SignIn) -> None:
    url = reverse("alert", args=[told.alert.pk])
    typed = {"act": "close", "close-resolution": "fixed", "close-closing": "The scanner was recalibrated."}
    elena, amir = sign_in("elena"), sign_in("amir")
    assert elena.post(url, typed).status_code == 403
    assert "Only people with the role" in elena.get(url).content.decode()
    text = amir.get(url).content.decode()
    assert "The monitor begins anew with the next window" in text and 'value="new_normal"' in text
    assert amir.post(url, {"act": "close", "close-closing": "x"}).status_code == 422
    assert amir.post(url, typed).status_code == 302
    told.monitor.refresh_from_db()
    assert told.monitor.cycle == 2
    closed = amir.get(url).content.decode()
    assert "Closed: the cause was mended" in closed and "The scanner was recalibrated." in closed
    assert amir.post(url, typed).status_code == 409
    other = make_alert(told.monitor, kind="late", severity="info", key="late", title="Late")
    assert 'value="new_normal"' not in amir.get(reverse("alert", args=[other.pk])).content.decode()


def test_a_secret_is_shown_once_and_to_nobody_else(told: SimpleNamespace, sign_in: SignIn) -> None:
    ada, mina, url = sign_in("ada"), sign_in("mina"), reverse("webhooks")
    typed = {"name": "Ward channel", "url": "https://hooks.example/ward", "least_severity": "critical", "monitor": ""}
    denied = mina.post(url, typed)
    assert denied.status_code == 403 and "keep webhooks" in denied.content.decode()
    wrong = ada.post(url, typed | {"url": "ftp://hooks.example/ward"})
    assert wrong.status_code == 422 and 'value="Ward channel"' in wrong.content.decode()
    made = ada.post(url, typed)
    assert made.status_code == 200 and "no-store" in made.headers["Cache-Control"]
    secret = made.content.decode().partition('<p class="secret">')[2].partition("<code>")[2].partition("</code>")[0]
    assert len(secret) >= 32
    hook = Webhook.objects.get(name="Ward channel")
    assert secret not in hook.secret, "it is kept encrypted"
    for client in (ada, mina):
        for page in (url, reverse("webhook", args=[hook.pk])):
            text = client.get(page).content.decode()
            assert secret not in text and "https://hooks.example" in text
            assert ("hooks.example/ward" in text) is (client is ada), "the path of many an address is a secret too"
    renewed = ada.post(reverse("webhook", args=[hook.pk])).content.decode()
    assert "The new secret:" in renewed and secret not in renewed
    assert mina.post(reverse("webhook", args=[hook.pk])).status_code == 403


def test_what_could_not_be_sent_is_listed_and_sent_again(told: SimpleNamespace, sign_in: SignIn) -> None:
    ada, url = sign_in("ada"), reverse("webhook", args=[told.hook.pk])
    text = ada.get(url).content.decode()
    assert "1 message could not be sent" in text and "503" in text and "alert:1:raised" in text
    act = reverse("webhook-message-act", args=[told.hook.pk, told.dead.pk, "resend"])
    denied = sign_in("mina").post(act, follow=True).content.decode()
    assert "keep webhooks" in denied
    assert "The message is sent again." in ada.post(act, follow=True).content.decode()
    told.dead.refresh_from_db()
    assert told.dead.status == "due"
    assert ada.post(reverse("webhook-message-act", args=[told.hook.pk, told.dead.pk, "burn"])).status_code == 404
    assert ada.post(reverse("webhook-message-act", args=[99, told.dead.pk, "drop"])).status_code == 404
    assert ada.get(act).status_code == 405
    stopped = ada.post(reverse("webhook-act", args=[told.hook.pk, "stop"]), follow=True).content.decode()
    assert "The webhook is stopped" in stopped and not Webhook.objects.get(pk=told.hook.pk).active
    assert ada.post(reverse("webhook-act", args=[told.hook.pk, "explode"])).status_code == 404


def test_what_an_alert_found_is_told_in_words_and_never_as_it_is_kept(told: SimpleNamespace, sign_in: SignIn) -> None:
    kept = {"log_e": 4.5, "streams": [{"stream": "age", "group": "All"}], "most_common": "x"}
    Alert.objects.filter(pk=told.alert.pk).update(detail=kept)
    other = make_alert(told.monitor, key="schema:x", kind="schema", detail=kept)
    client = sign_in("amir")
    alarm, plain = (client.get(reverse("alert", args=[row.pk])).content.decode() for row in (told.alert, other))
    assert "&#x27;stream&#x27;" not in alarm + plain
    assert "Most common" in plain and "Most common" not in alarm


def test_a_webhook_that_rests_says_until_when(told: SimpleNamespace, sign_in: SignIn) -> None:
    ada, url = sign_in("ada"), reverse("webhook", args=[told.hook.pk])
    assert "It gave no answer" not in ada.get(url).content.decode()
    Webhook.objects.filter(pk=told.hook.pk).update(rests_until=timezone.now() + timedelta(minutes=4))
    assert "It gave no answer and rests until" in ada.get(url).content.decode()
    Webhook.objects.filter(pk=told.hook.pk).update(rests_until=timezone.now() - timedelta(minutes=1))
    assert "It gave no answer" not in ada.get(url).content.decode()


def test_whoever_was_told_is_named(told: SimpleNamespace, sign_in: SignIn) -> None:
    """The assignee where there is one, else the owner; and information is never escalated."""
    alert = make_alert(told.monitor, kind="unit", key="unit", title="Unit moved")
    Alert.objects.filter(pk=alert.pk).update(first_at=timezone.now(), last_at=timezone.now())
    clara, url = sign_in("clara"), reverse("alert", args=[alert.pk])
    page = clara.get(url).content.decode()
    assert f"{alert.monitor.owner} was told." in page and "chairs are told" in page
    lea = User.objects.get(username="lea")
    Alert.objects.filter(pk=alert.pk).update(assigned_to=lea, severity="info")
    page = clara.get(url).content.decode()
    assert f"{lea} was told." in page and "chairs are told" not in page
