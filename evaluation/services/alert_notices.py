"""Whom an alert is told to: people by the inbox and by e-mail, other systems by webhook."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from core.access import people_with
from core.models import Role, Topic, User
from core.notifications import Urgency, notify, resolve
from evaluation.models import Alert
from evaluation.services.webhooks import enqueue_event

URGENCY = {
    Alert.Severity.INFO: Urgency.INFO,
    Alert.Severity.WARNING: Urgency.ACTION,
    Alert.Severity.CRITICAL: Urgency.URGENT,
}
KIND, ESCALATED = "alert", "alert-escalated"
"""First parts of the keys of notifications: of an alert, and of one that nobody acknowledged."""


def tell_raised(alert: Alert, *, step: str) -> int:
    """Tell who sees to it; of a critical one whom it would be escalated to, at once. Returns how many are told."""
    people = _responsible(alert)
    if alert.severity == Alert.Severity.CRITICAL and alert.monitor.escalate_to is not None:
        people.append(alert.monitor.escalate_to)
    return _tell(alert, people, step=f"{KIND}:{alert.pk}:{step}", urgency=URGENCY[Alert.Severity(alert.severity)])


def tell_assigned(alert: Alert, *, step: str, by: User) -> int:
    """Tell a person that the alert is theirs now."""
    assert alert.assigned_to is not None  # it has just been assigned
    said = f"{by} asks you to see to this alert.\n{alert.text}".strip()
    key = f"{KIND}:{alert.pk}:{step}"
    return _tell(alert, [alert.assigned_to], step=key, urgency=Urgency.ACTION, text=said)


def tell_escalated(alert: Alert, *, since: datetime) -> list[User]:
    """Tell whom the monitor names and the chairs that nobody has acknowledged it. Returns who was to be told."""
    named = [alert.monitor.escalate_to] if alert.monitor.escalate_to is not None else []
    people = [*named, *people_with(Role.COMMITTEE_CHAIR, on=alert)] or people_with(Role.ADMINISTRATOR)
    waited = f"Nobody has acknowledged this since {since:%Y-%m-%d %H:%M} UTC."
    _tell(
        alert,
        people,
        step=f"{ESCALATED}:{alert.pk}:{alert.times}:{since:%Y%m%d%H%M%S}",
        urgency=Urgency.URGENT,
        title=f"Not acknowledged: {alert.title}",
        text=f"{waited}\n{alert.text}".strip(),
    )
    return people


def stop_telling(alert: Alert) -> None:
    """Nobody is waited for any more: mark what was told as read, and send no mail that has not gone yet."""
    resolve(f"{KIND}:{alert.pk}")
    resolve(f"{ESCALATED}:{alert.pk}")


def tell_webhooks(alert: Alert, step: str) -> None:
    """Put a message to each webhook that wants alerts of this monitor and severity."""
    enqueue_event(alert=alert, step=step)


def _responsible(alert: Alert) -> list[User]:
    """The assignee, else the owner; where their account is closed, whoever answers for monitors."""
    person = alert.assigned_to or alert.monitor.owner
    standing = person.merged_into or person
    return [standing] if standing.is_active else people_with(Role.AUDITOR, Role.COMMITTEE_CHAIR, on=alert)


def _tell(alert: Alert, people: list[User], *, step: str, urgency: Any, title: str = "", text: str = "") -> int:
    monitor = alert.monitor
    where = f"It comes from the monitor {monitor.name} of {monitor.deployment}."
    return notify(
        to=people,
        topic=Topic.MONITORS,
        title=title or alert.title,
        text=f"{text or alert.text}\n{where}".strip(),
        href=path_of(alert),
        key=step,
        urgency=urgency,
    )


def path_of(alert: Alert) -> str:
    """Address of its page within the installation."""
    return reverse("alert", args=[alert.pk])


def address_of(alert: Alert) -> str:
    """Address of its page for a reader outside; the path alone where the installation does not know its own."""
    return f"{settings.AUSCULT_BASE_URL.rstrip('/')}{path_of(alert)}"
