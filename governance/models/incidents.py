"""Incidents: what happened, to which authorities it is to be reported, and until when."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.scope import OfSystem
from models_registry.models import AISystem, Deployment, ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Incident(OfSystem):
    """One incident. No patient is named or described so that they could be known; a test looks for identifiers.

    The facts decide which reports are owed (``governance.incident_routes``). Every moment carries its zone; ``zone``
    is where the days of the clocks begin and end.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        INVESTIGATING = "investigating", "Under investigation"
        CLOSED = "closed", "Closed"

    class BreachRisk(models.TextChoices):
        UNLIKELY = "unlikely", "A risk to people is unlikely"
        RISK = "risk", "A risk to people"
        HIGH = "high", "A high risk to people"

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="incidents")
    version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="incidents")
    deployment = models.ForeignKey(
        Deployment, null=True, blank=True, on_delete=models.PROTECT, related_name="incidents"
    )
    number = models.PositiveIntegerField(unique=True)
    title = models.CharField(max_length=200)
    description = models.TextField()
    site = models.CharField(max_length=200, blank=True)
    zone = models.CharField(max_length=64, help_text="IANA name, such as Europe/Vienna")
    kinds = models.JSONField(default=list, help_text="Limbs of Art. 3(49), as the question incident_kinds names them")
    occurred_at = models.DateTimeField(null=True, blank=True)
    aware_at = models.DateTimeField(null=True, blank=True, help_text="When the provider became aware")
    deployer_aware_at = models.DateTimeField(null=True, blank=True)
    controller_aware_at = models.DateTimeField(null=True, blank=True)
    death = models.BooleanField(default=False)
    unanticipated_deterioration = models.BooleanField(default=False)
    public_health_threat = models.BooleanField(default=False)
    widespread = models.BooleanField(default=False)
    breach = models.BooleanField(default=False)
    breach_risk = models.CharField(max_length=16, choices=BreachRisk.choices, default=BreachRisk.RISK)
    affected_persons = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.OPEN)
    owner = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="incidents")
    reported_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField(auto_now_add=True)
    closed_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    root_cause = models.TextField(blank=True)
    correction = models.TextField(blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.CheckConstraint(name="incident_has_words", condition=~Q(title="") & ~Q(description="")),
            models.CheckConstraint(
                name="incident_closed_has_findings",
                condition=~Q(status="closed") | (~Q(root_cause="") & ~Q(correction="") & Q(closed_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"Incident {self.number}: {self.title}"


class IncidentClock(OfSystem):
    """One report that an incident calls for, as the facts stood; ``superseded`` when later facts changed it.

    ``late_at_intake`` marks a clock that had run out before the incident was recorded here.
    """

    class Owed(models.TextChoices):
        YES = "yes", "Owed"
        UNKNOWN = "unknown", "Perhaps owed: an answer is missing"

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="clocks")
    regime = models.CharField(max_length=40)
    deadline = models.CharField(max_length=40, help_text="Identifier of the catalogue's deadline")
    due_at = models.DateTimeField(null=True, blank=True)
    owed = models.CharField(max_length=8, choices=Owed.choices)
    reason = models.TextField()
    late_at_intake = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True, blank=True, help_text="The awareness from which it runs")
    superseded_at = models.DateTimeField(null=True, blank=True)
    met_at = models.DateTimeField(null=True, blank=True, help_text="When the report was sent")
    met_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    reference = models.CharField(max_length=200, blank=True, help_text="The authority's reference, or proof of sending")
    delay_reason = models.TextField(blank=True)
    escalated = models.JSONField(default=list, help_text="Steps of escalation that were taken")

    class Meta:
        ordering = ["due_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "deadline"], condition=Q(superseded_at__isnull=True), name="clock_once_per_incident"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.regime} {self.deadline} of incident {self.incident_id}"


class IncidentEvent(OfSystem):
    """One line of an incident's history: a note, changed facts, a report sent, an escalation. Never changed."""

    class Kind(models.TextChoices):
        RECORDED = "recorded", "Recorded"
        NOTE = "note", "Note"
        FACTS = "facts", "Facts amended"
        REPORTED = "reported", "Report sent"
        ESCALATED = "escalated", "Escalated"
        MOVED = "moved", "State changed"

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    text = models.TextField()
    detail = models.JSONField(default=dict)
    author = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} in incident {self.incident_id}"
