"""Webhooks: what is signed and sent, tried again, given up and sent again by hand; a receiver listens on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification
from evaluation.models import Monitor, WebhookDelivery
from evaluation.monitoring.signing import is_signed
from evaluation.monitoring.webhooks import MOST_ATTEMPTS, WAITS, resend_due, send_webhook
from evaluation.services import webhooks as services
from evaluation.services.webhooks import add_webhook, drop_delivery, resend_delivery, send_test, stop_webhook
from tests.evaluation.monitor_scene import make_monitor, make_window
from tests.evaluation.webhook_scene import (
    Receiver,
    added,
    by_tls,
    certificate,
    due_now,
    monitor,
    raised,
    receiver,
)

__all__ = ["monitor", "receiver"]
pytestmark = pytest.mark.django_db
S = WebhookDelivery.Status


def test_a_message_is_signed_and_holds_what_a_receiver_needs(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver
) -> None:
    webhook, secret = added(people, receiver.url)
    assert secret not in webhook.secret and secret.startswith("whsec_")
    row = raised(monitor, window=make_window(monitor, 4, n_patients=7))
    assert [send_webhook(row.pk), send_webhook(row.pk)] == [True, False], "delivered twice, it is sent once"
    row.refresh_from_db()
    assert (row.status, row.attempts, row.answer, len(receiver.got)) == (S.SENT, 1, "Taken: 204.", 1)
    headers, body = receiver.got[0]
    assert (headers["webhook-id"], body.decode()) == (row.event, row.body)
    # By hand, as the specification Standard Webhooks says.
    told = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(base64.b64decode(secret[6:]), told, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    found = json.loads(body)
    assert (found["schema"], found["type"], found["alert"]["title"]) == (
        "auscult/webhook/1", "alert.raised", "Age has shifted",
    )  # fmt: skip
    assert found["window"]["index"] == 4 and found["deployment"]["site"] == "North Hospital"
    assert "7" not in json.dumps(found["window"]).replace("2026", ""), "no count of patients leaves the house"


def test_a_signature_is_of_one_message_one_secret_and_some_minutes() -> None:
    secret, event, body = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
    )
    facts: dict[str, Any] = {"event": event, "timestamp": "1614265330", "body": body, "now": 1614265400}
    known = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="  # the published example of Standard Webhooks
    facts["signature"] = known
    assert is_signed(secret, **facts)
    assert is_signed(secret, **facts | {"signature": f"v1,AAAA {known}"}), "while a secret is changed there are two"
    wrong: list[dict[str, Any]] = [
        {"body": body + b" "}, {"event": "msg_2"}, {"timestamp": "1614265331"}, {"now": 1614265330 + 301},
        {"now": 1614265330 - 301}, {"signature": known[:-2] + "A="}, {"signature": ""}, {"timestamp": "soon"},
        {"timestamp": "²"}, {"signature": "é"},
    ]  # fmt: skip
    assert not [change for change in wrong if is_signed(secret, **facts | change)]
    assert not is_signed("whsec_" + base64.b64encode(b"x" * 24).decode(), **facts)


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_is_not_taken_is_tried_again_later_and_at_last_given_up(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    webhook, _ = added(people, receiver.url)
    row = raised(monitor)
    for attempt in range(1, MOST_ATTEMPTS):
        before = timezone.now()
        assert not send_webhook(row.pk)
        row.refresh_from_db()
        assert (row.status, row.attempts) == (S.DUE, attempt)
        assert row.after is not None and timedelta() <= row.after - before - WAITS[attempt - 1] < timedelta(minutes=1)
        assert str(status) in row.answer
        assert not send_webhook(row.pk), "it waits"
        assert len(receiver.got) == attempt
        due_now(row)
    assert not send_webhook(row.pk)
    row.refresh_from_db()
    assert (row.status, row.attempts, len(receiver.got)) == (S.DEAD, MOST_ATTEMPTS, MOST_ATTEMPTS)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    entry = json.loads(LedgerEntry.objects.get(act="webhook.given_up").body)
    assert entry["payload"]["event"] == row.event
    dead = Notification.objects.get(key__startswith=f"webhook:{webhook.pk}:dead")
    assert dead.recipient == people.ada

    receiver.status = 200
    resend_delivery(delivery=row, by=people.ada)
    dead.refresh_from_db()
    assert dead.read_at is not None
    assert send_webhook(row.pk)
    with pytest.raises(ConflictError, match="was sent"):
        resend_delivery(delivery=row, by=people.ada)
    with pytest.raises(ConflictError, match="was sent"):
        drop_delivery(delivery=row, by=people.ada)


def test_what_no_attempt_would_mend_is_given_up_at_once(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, settings: Any
) -> None:
    added(people, receiver.url)
    receiver.status = 410
    gone = raised(monitor)
    send_webhook(gone.pk)
    settings.SECRET_KEY = "another secret of the installation"
    unread = raised(monitor, key="drift:2")
    send_webhook(unread.pk)
    settings.PRODUCTION = True  # this machine's own doors stay shut to webhooks there
    shut = raised(monitor, key="drift:3")
    send_webhook(shut.pk)
    rows = WebhookDelivery.objects.order_by("pk")
    assert [(row.status, row.attempts) for row in rows] == [(S.DEAD, 1)] * 3
    assert ["gone for good" in rows[0].answer, "secret was changed" in rows[1].answer] == [True, True]
    assert "no machine of the open internet" in rows[2].answer or "https alone" in rows[2].answer
    assert len(receiver.got) == 1
    assert Notification.objects.filter(recipient=people.ada).count() == 1, "one a day, however many are dead"


def test_an_old_secret_of_the_installation_still_opens_what_it_sealed(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, settings: Any
) -> None:
    added(people, receiver.url)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret of the installation"
    assert send_webhook(raised(monitor).pk)


def test_lost_messages_are_handed_over_again(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, sent: list[tuple[str, int]]
) -> None:
    added(people, receiver.url)
    row = raised(monitor)
    assert resend_due() == 0, "it may still be on its way"
    WebhookDelivery.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(minutes=3))
    assert resend_due() == 1
    assert sent[-1] == ("evaluation.tasks.send_webhook", row.pk)
    # A worker claims it for the last time and dies.
    past = timezone.now() - timedelta(seconds=1)
    WebhookDelivery.objects.filter(pk=row.pk).update(attempts=MOST_ATTEMPTS, after=past)
    assert [resend_due(), resend_due()] == [0, 0]
    row.refresh_from_db()
    assert (row.status, row.answer) == (S.DEAD, "The last attempt was not finished.")


def test_webhooks_are_added_by_few_stopped_and_resumed(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver
) -> None:
    with pytest.raises(DeniedError, match="keep webhooks"):
        add_webhook(name="Mine", url="https://hooks.example/a", by=people.amir)
    webhook, secret = added(people, receiver.url)
    with pytest.raises(ConflictError, match="There is a webhook called 'On call'"):
        added(people, receiver.url)
    with pytest.raises(AuscultError, match="no severity"):
        added(people, receiver.url, name="Other", least_severity="loud")
    other = make_monitor(people, name="Another", deployment=monitor.deployment)
    added(people, receiver.url, name="Only the other", monitor=other)
    raised(monitor)
    assert list(WebhookDelivery.objects.values_list("webhook__name", flat=True)) == ["On call"]

    test = send_test(webhook=webhook, by=people.ada)
    assert send_webhook(test.pk)
    assert json.loads(receiver.got[-1][1])["type"] == "test"
    renewed = services.renew_secret(webhook=webhook, by=people.ada)
    assert renewed != secret
    stop_webhook(webhook=webhook, by=people.ada)
    waiting = WebhookDelivery.objects.get(alert__isnull=False)
    assert (waiting.status, send_webhook(waiting.pk)) == (S.DROPPED, False)
    with pytest.raises(ConflictError, match="stopped"):
        resend_delivery(delivery=waiting, by=people.ada)
    services.resume_webhook(webhook=webhook, by=people.ada)
    resend_delivery(delivery=waiting, by=people.ada)
    assert send_webhook(waiting.pk)
    headers, body = receiver.got[-1]
    facts = {"event": headers["webhook-id"], "signature": headers["webhook-signature"], "body": body}
    now = int(timezone.now().timestamp())
    assert is_signed(renewed, timestamp=headers["webhook-timestamp"], now=now, **facts)
    assert not is_signed(secret, timestamp=headers["webhook-timestamp"], now=now, **facts)
    acts = LedgerEntry.objects.filter(act__startswith="webhook.").order_by("index").values_list("act", "body")
    assert [act for act, _ in acts] == [
        "webhook.added", "webhook.added", "webhook.tested", "webhook.secret_renewed", "webhook.stopped",
        "webhook.resumed", "webhook.resent",
    ]  # fmt: skip
    assert not [body for _, body in acts if secret in body or renewed in body or "/hooks/auscult" in body]


def test_by_https_the_name_is_checked_although_its_address_is_fixed(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message goes to the address that was checked; the certificate must be that of the name."""
    by_tls(receiver, certificate("hooks.example", tmp_path), monkeypatch)
    real, seen = socket.create_connection, []

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def connect(address: tuple[str, int], **given: Any) -> socket.socket:
        seen.append(address)
        return real(address, **given)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    for host, taken in (("hooks.example", True), ("other.example", False)):
        webhook, _ = added(people, f"https://{host}:{receiver.server_port}/a", name=host)
        row = send_test(webhook=webhook, by=people.ada)
        assert send_webhook(row.pk) is taken
    row.refresh_from_db()
    assert "CERTIFICATE" in row.answer.upper()
    assert seen == [("127.0.0.1", receiver.server_port)] * 2
    assert [headers["host"] for headers, _ in receiver.got] == [f"hooks.example:{receiver.server_port}"]
