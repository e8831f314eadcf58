"""What nobody acknowledges is taken to somebody else; what was snoozed wakes. For the sweep: each may run twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from evaluation.models import Alert
from evaluation.services.alerts import escalate_alert, waits_since, wake_alert

AT_A_TIME = 200


def wake_snoozed(now: datetime | None = None) -> int:
    """Open alerts whose time of rest is over. Returns how many."""
    now = now or timezone.now()
    rows = Alert.objects.filter(status=Alert.Status.SNOOZED, snoozed_until__lte=now).order_by("snoozed_until", "pk")
    return sum(wake_alert(alert) for alert in rows[:AT_A_TIME])


def escalate_alerts(now: datetime | None = None) -> int:
    """Take open alerts that nobody acknowledged in time to whom the monitor names, and to the chairs, once each.

    The time is the monitor's ``escalate_after_hours``, from when the alert was raised or woke last. What is for
    information alone is not escalated.
    """
    now = now or timezone.now()
    rows = Alert.objects.filter(status=Alert.Status.OPEN, escalated_at=None).exclude(severity=Alert.Severity.INFO)
    rows = rows.filter(Q(snoozed_until=None) | Q(snoozed_until__lte=now)).select_related("monitor")
    late = [
        alert
        for alert in rows.order_by("first_at", "pk")
        if now >= waits_since(alert) + timedelta(hours=alert.monitor.escalate_after_hours)
    ]
    return sum(escalate_alert(alert, now=now) for alert in late[:AT_A_TIME])


def sweep_alerts() -> int:
    """Wake, then escalate. Returns how many alerts changed."""
    return wake_snoozed() + escalate_alerts()
