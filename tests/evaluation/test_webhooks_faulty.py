"""Receivers that never end, break off, hang or fail: each is told in words, and none holds up the others."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from evaluation.models import Monitor, Webhook, WebhookDelivery
from evaluation.monitoring import webhooks as sending
from evaluation.monitoring.webhooks import resend_due, send_webhook
from evaluation.services.webhooks import resend_delivery, resume_webhook, send_test, stop_webhook
from tests.evaluation.webhook_scene import (
    Handler,
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


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_never_ends_its_answer_is_cut_off(
    people: SimpleNamespace,
    monitor: Monitor,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    if scheme == "https":
        by_tls(receiver, certificate("localhost", tmp_path), monkeypatch)
    hold = threading.Event()

    def answer(handler: Handler) -> None:
        for _ in range(200):
            handler.wfile.write(b"X")  # within the timeout of a step, for ever
            handler.wfile.flush()
            if hold.wait(0.05):
                return

    def drip(handler: Handler) -> None:
        try:
            answer(handler)
        except OSError:
            hold.set()

    monkeypatch.setattr(Handler, "do_POST", drip)
    monkeypatch.setattr(sending, "WHOLE", 0.3)
    added(people, f"{scheme}://localhost:{receiver.server_port}/")
    row = raised(monitor)
    try:
        assert not send_webhook(row.pk)
    finally:
        hold.set()
    row.refresh_from_db()
    assert (row.status, row.attempts) == (S.DUE, 1)
    assert row.answer == "localhost could not be told: it took longer than 0.3 seconds."


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda handler: handler.wfile.write(b"\0\1 Quincey\r\n\r\n"), "its answer is not HTTP"),
        (lambda handler: None, "it closed the connection without an answer"),
        (lambda handler: handler.server.hold.wait(5), "it did not answer in time"),
    ],
)
def test_what_a_receiver_does_wrong_is_put_into_words(
    people: SimpleNamespace,
    monitor: Monitor,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    says: str,
) -> None:
    receiver.hold = threading.Event()
    monkeypatch.setattr(Handler, "do_POST", answer)
    monkeypatch.setattr(sending, "TIMEOUT", 0.2)
    added(people, receiver.url)
    row = raised(monitor)
    try:
        assert not send_webhook(row.pk)
    finally:
        receiver.hold.set()
    row.refresh_from_db()
    assert row.answer == f"127.0.0.1 could not be told: {says}."


def test_a_receiver_that_does_not_answer_rests_and_its_other_messages_wait(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt at it holds a worker: of many messages one is tried, and no other loses an attempt."""
    hook, _ = added(people, receiver.url)
    rows = [raised(monitor, key=f"drift:{number}") for number in (1, 2)]
    with monkeypatch.context() as patch:
        patch.setattr(Handler, "do_POST", lambda handler: None)
        assert [send_webhook(row.pk) for row in rows] == [False, False]
    for row, attempts in zip(rows, (1, 0), strict=True):
        assert due_now(row).attempts == attempts
    assert resend_due() == 0
    Webhook.objects.filter(pk=hook.pk).update(rests_until=timezone.now())
    assert [send_webhook(row.pk) for row in rows] == [True, True]


def test_an_answer_that_is_no_success_holds_no_other_message_up(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver
) -> None:
    added(people, receiver.url)
    first, second = (raised(monitor, key=f"drift:{number}") for number in (1, 2))
    receiver.status = 500
    assert not send_webhook(first.pk)
    receiver.status = 200
    assert send_webhook(second.pk)


def test_what_is_sent_by_hand_does_not_wait_until_a_receiver_has_rested(
    people: SimpleNamespace, monitor: Monitor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends a test, or a dead letter again, has mended the receiver, or wants to see."""
    hook, _ = added(people, receiver.url)
    dead = raised(monitor)
    later = timezone.now() + timedelta(minutes=4)
    WebhookDelivery.objects.filter(pk=dead.pk).update(status=S.DEAD, after=None)
    for act in (lambda: send_test(webhook=hook, by=people.ada), lambda: resend_delivery(delivery=dead, by=people.ada)):
        Webhook.objects.filter(pk=hook.pk).update(rests_until=later)
        assert send_webhook(act().pk)
    Webhook.objects.filter(pk=hook.pk).update(rests_until=later)
    stop_webhook(webhook=hook, by=people.ada)
    assert resume_webhook(webhook=hook, by=people.ada).rests_until is None
    hook.refresh_from_db()
    assert hook.rests_until is None
