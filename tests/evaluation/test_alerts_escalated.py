"""What nobody acknowledges is taken further once; what was snoozed wakes; both by a sweep that may run twice."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.models import LedgerEntry, Notification, RoleGrant
from evaluation.models import Alert, Monitor, Webhook, WebhookDelivery
from evaluation.monitoring.escalating import escalate_alerts, sweep_alerts, wake_snoozed
from evaluation.services.alerts import acknowledge_alert, raise_alert
from tests.evaluation.monitor_scene import make_alert, make_monitor

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def monitor(people: SimpleNamespace) -> Monitor:
    return make_monitor(people, escalate_to=people.lea, escalate_after_hours=24)


def waited(alert: Alert, hours: float) -> None:
    Alert.objects.filter(pk=alert.pk).update(first_at=timezone.now() - hours * HOUR)


def told(title: str) -> list[str]:
    rows = Notification.objects.filter(title=title).order_by("recipient__username")
    return list(rows.values_list("recipient__username", flat=True))


def test_an_alert_that_nobody_acknowledges_is_taken_further_once(people: SimpleNamespace, monitor: Monitor) -> None:
    alert = make_alert(monitor)
    waited(alert, 23.9)
    assert sweep_alerts() == 0
    waited(alert, 24.1)
    assert [sweep_alerts(), sweep_alerts()] == [1, 0]
    assert told(f"Not acknowledged: {alert.title}") == ["clara", "lea"]
    assert set(Notification.objects.values_list("urgency", "topic")) == {("urgent", "monitors")}
    entry = json.loads(LedgerEntry.objects.get(act="alert.escalated").body)
    assert (entry["actor"], entry["payload"]["told"]) == ("system", ["lea", "clara"])
    acknowledge_alert(alert=alert, by=people.clara)
    assert not Notification.objects.filter(read_at=None).exists(), "nobody is waited for any more"


def test_what_is_seen_to_or_only_told_is_not_escalated(people: SimpleNamespace, monitor: Monitor) -> None:
    later = timezone.now() + 3 * HOUR
    alerts = [
        make_alert(monitor, key="a", status="acknowledged"),
        make_alert(monitor, key="b", severity="info"),
        make_alert(monitor, key="c", status="snoozed", snoozed_until=later),
        make_alert(monitor, key="d", status="closed", resolution="fixed", closing="Mended.", closed_at=later),
    ]
    for alert in alerts:
        waited(alert, 100)
    assert sweep_alerts() == 0


def test_without_chair_the_administrators_are_told(people: SimpleNamespace, monitor: Monitor) -> None:
    RoleGrant.objects.filter(role="committee_chair").delete()
    Monitor.objects.update(escalate_to=None)
    alert = make_alert(monitor)
    waited(alert, 25)
    assert escalate_alerts() == 1
    assert told(f"Not acknowledged: {alert.title}") == ["ada"]


def test_what_was_snoozed_wakes_and_may_be_escalated_again(people: SimpleNamespace, monitor: Monitor) -> None:
    now = timezone.now()
    alert = make_alert(monitor, status="snoozed", snoozed_until=now - HOUR, escalated_at=now - 50 * HOUR)
    waited(alert, 100)
    resting = make_alert(monitor, key="resting", status="snoozed", snoozed_until=now + HOUR)
    assert [wake_snoozed(), wake_snoozed()] == [1, 0]
    alert.refresh_from_db()
    resting.refresh_from_db()
    assert (alert.status, alert.escalated_at, resting.status) == ("open", None, "snoozed")
    assert told(alert.title) == ["amir"]
    # The time counts from when it woke, an hour ago, not from when it was raised.
    assert escalate_alerts(now + 22 * HOUR) == 0
    assert escalate_alerts(now + 24 * HOUR) == 1


def test_where_the_owner_has_left_whoever_answers_for_monitors_is_told(
    people: SimpleNamespace, monitor: Monitor
) -> None:
    people.amir.is_active = False
    people.amir.save()
    facts: dict[str, Any] = {"kind": "empty", "severity": "warning", "key": "empty:3", "title": "No studies came"}
    raise_alert(monitor=monitor, **facts)
    assert told("No studies came") == ["boris", "clara"]


def test_webhooks_are_told_of_each_step_once(people: SimpleNamespace, monitor: Monitor) -> None:
    Webhook.objects.create(name="All", url="https://hooks.example/a", secret="-", created_by=people.ada)
    Webhook.objects.create(
        name="Grave", url="https://hooks.example/b", secret="-", created_by=people.ada, least_severity="critical"
    )
    Webhook.objects.create(name="Off", url="https://hooks.example/c", secret="-", created_by=people.ada, active=False)
    facts: dict[str, Any] = {"kind": "empty", "key": "empty:3", "title": "No studies came"}
    alert = raise_alert(monitor=monitor, severity="warning", **facts)
    raise_alert(monitor=monitor, severity="warning", **facts | {"text": "Again."})
    raise_alert(monitor=monitor, severity="critical", **facts)
    waited(alert, 25)
    sweep_alerts()
    rows = WebhookDelivery.objects.order_by("pk").values_list("webhook__name", "body")
    assert [(name, json.loads(body)["type"]) for name, body in rows] == [
        ("All", "alert.raised"), ("All", "alert.risen"), ("Grave", "alert.risen"),
        ("All", "alert.escalated"), ("Grave", "alert.escalated"),
    ]  # fmt: skip
