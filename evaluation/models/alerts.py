"""Alerts, who dealt with them, and the webhooks that carry them to other systems."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.scope import OfSystem
from evaluation.models.monitors import Monitor, MonitorWindow

PERSON = settings.AUTH_USER_MODEL


class Alert(OfSystem):
    """Something a person must look at. The same matter raised again counts up and makes no second alert.

    ``key`` names the matter within the monitor, such as ``drift:2`` (the alarm of cycle 2) or ``missed:2026-11-02``.
    """

    class Kind(models.TextChoices):
        DRIFT = "drift", "Drift"
        PERFORMANCE = "performance", "Performance"
        CONCEPT = "concept", "Estimates contradicted by labels"
        CASE_MIX = "case_mix", "Case mix"
        UNIT = "unit", "Change of unit"
        UNSEEN = "unseen", "Unseen category"
        SCHEMA = "schema", "Columns changed"
        EMPTY = "empty", "Window without studies"
        FEW = "few", "Too few studies"
        TIMES = "times", "Times"
        DUPLICATES = "duplicates", "Studies twice"
        LATE = "late", "Late data"
        MISSED = "missed", "Missed run"
        STALE = "stale", "Stale"
        SOURCE = "source", "Source cannot be read"
        RUN = "run", "Run failed"
        BREACH = "breach", "Criterion failed"

    class Severity(models.TextChoices):
        INFO = "info", "For information"
        WARNING = "warning", "Warning"
        CRITICAL = "critical", "Critical"

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        SNOOZED = "snoozed", "Snoozed"
        CLOSED = "closed", "Closed"

    class Resolution(models.TextChoices):
        FALSE_ALARM = "false_alarm", "Nothing had changed"
        FIXED = "fixed", "The cause was mended"
        NEW_NORMAL = "new_normal", "The change is accepted: later windows are compared with data since it"
        SETTLED = "settled", "Settled by itself"

    monitor = models.ForeignKey(Monitor, on_delete=models.PROTECT, related_name="alerts")
    window = models.ForeignKey(MonitorWindow, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    severity = models.CharField(max_length=10, choices=Severity.choices)
    key = models.CharField(max_length=160)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    detail = models.JSONField(default=dict)
    status = models.CharField(max_length=14, choices=Status.choices, default=Status.OPEN)
    times = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    assigned_to = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts")
    acknowledged_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=12, choices=Resolution.choices, blank=True)
    closing = models.TextField(blank=True)
    closed_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-last_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["monitor", "key"], condition=~Q(status="closed"), name="alert_open_once_per_matter"
            ),
            models.CheckConstraint(
                name="alert_closed_has_reason",
                condition=~Q(status="closed") | (~Q(resolution="") & ~Q(closing="") & Q(closed_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="alert_snoozed_has_end", condition=~Q(status="snoozed") | Q(snoozed_until__isnull=False)
            ),
        ]
        indexes = [models.Index(fields=["status", "severity"], name="alert_waiting")]

    def __str__(self) -> str:
        return self.title


class AlertEvent(OfSystem):
    """What happened to an alert, for its history. The ledger holds the acts; this is what a page shows."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    act = models.CharField(max_length=40)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["alert", "pk"]

    def __str__(self) -> str:
        return f"{self.act} of alert {self.alert_id}"


class Webhook(OfSystem):
    """An address of another system that is told of alerts. Its secret is kept encrypted and signs each body."""

    name = models.CharField(max_length=120, unique=True)
    url = models.URLField(max_length=500)
    secret = models.TextField(help_text="Encrypted with a key derived from the installation's secret")
    least_severity = models.CharField(max_length=10, choices=Alert.Severity.choices, default=Alert.Severity.WARNING)
    monitor = models.ForeignKey(Monitor, null=True, blank=True, on_delete=models.PROTECT, related_name="webhooks")
    active = models.BooleanField(default=True)
    rests_until = models.DateTimeField(
        null=True, blank=True, help_text="No message is sent before: its receiver gave no answer at all"
    )
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """Where it leads, for whoever does not keep webhooks: the path of many an address is itself a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class WebhookDelivery(OfSystem):
    """One message to one webhook: due, sent, or dead after its last attempt."""

    class Status(models.TextChoices):
        DUE = "due", "To be sent"
        SENT = "sent", "Sent"
        DEAD = "dead", "Could not be sent"
        DROPPED = "dropped", "Given up by a person"

    webhook = models.ForeignKey(Webhook, on_delete=models.PROTECT, related_name="deliveries")
    alert = models.ForeignKey(Alert, null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries")
    event = models.CharField(max_length=160, help_text="Names the event: a receiver sees the same id on each attempt")
    body = models.TextField(help_text="Canonical JSON, as it is signed and sent. Never patient-level data")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.DUE)
    attempts = models.PositiveSmallIntegerField(default=0)
    after = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["webhook", "event"], name="webhook_event_once")]
        indexes = [models.Index(fields=["status", "after"], name="webhook_due")]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"
