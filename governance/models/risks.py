"""The risk register: what can go wrong, how bad and how likely, what is done about it, and who accepts what remains."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from evaluation.models import AuditRun
from models_registry.models import AISystem

PERSON = settings.AUTH_USER_MODEL
SCALE = range(1, 5)


class Risk(OfSystem):
    """One risk of a system. Its ratings, controls, findings and acceptances are rows of their own.

    ``kind`` is one of the rows of ``governance.standing.risk_rows`` or ``clinical``. A risk that a finding opened has
    no ``opened_by`` (the platform did) and no owner until somebody is named.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        ACCEPTED = "accepted", "Residual risk accepted"
        CLOSED = "closed", "Closed"

    class Origin(models.TextChoices):
        PERSON = "person", "Recorded by a person"
        FINDING = "finding", "Opened by an audit"
        INCIDENT = "incident", "Opened by an incident"

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="risks")
    number = models.PositiveIntegerField(help_text="Counts from 1 within the system")
    title = models.CharField(max_length=200)
    kind = models.CharField(max_length=40)
    hazard = models.TextField(help_text="The source of harm")
    cause = models.TextField(help_text="The sequence of events that leads to a hazardous situation")
    harm = models.TextField(help_text="What happens to whom")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.OPEN)
    origin = models.CharField(max_length=16, choices=Origin.choices, default=Origin.PERSON)
    finding_key = models.CharField(
        max_length=200, blank=True, help_text="The criterion and attribute that a finding is about; one risk for each"
    )
    owner = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="risks")
    opened_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    closing_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["system", "number"]
        constraints = [
            models.UniqueConstraint(fields=["system", "number"], name="risk_number_once"),
            models.UniqueConstraint(
                fields=["system", "finding_key"], condition=~Q(finding_key=""), name="risk_once_per_finding"
            ),
            models.CheckConstraint(
                name="risk_has_parts", condition=~Q(hazard="") & ~Q(cause="") & ~Q(harm="") & ~Q(title="")
            ),
        ]

    def __str__(self) -> str:
        return f"Risk {self.number} of {self.system}"


class RiskRating(OfSystem):
    """How severe and how likely, on the scales of 1 to 4 of the catalogue, before or after controls. Never changed."""

    class Stage(models.TextChoices):
        BEFORE = "before", "Before controls"
        AFTER = "after", "After controls"

    risk = models.ForeignKey(Risk, on_delete=models.PROTECT, related_name="ratings")
    stage = models.CharField(max_length=8, choices=Stage.choices)
    severity = models.PositiveSmallIntegerField()
    likelihood = models.PositiveSmallIntegerField()
    reason = models.TextField()
    rated_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    rated_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["risk", "pk"]
        constraints = [
            models.CheckConstraint(
                name="rating_on_the_scale",
                condition=Q(severity__gte=1, severity__lte=4, likelihood__gte=1, likelihood__lte=4),
            ),
            models.CheckConstraint(name="rating_has_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"{self.risk}: {self.severity} x {self.likelihood} {self.get_stage_display().lower()}"


class RiskFinding(OfSystem):
    """What an audit found that bears on a risk: the failed verdicts of one criterion of one run. Never changed."""

    risk = models.ForeignKey(Risk, on_delete=models.PROTECT, related_name="findings")
    run = models.ForeignKey(AuditRun, on_delete=models.PROTECT, related_name="risk_findings")
    criterion = models.CharField(max_length=120)
    attribute = models.CharField(max_length=120, blank=True)
    n_failed = models.PositiveIntegerField()
    statement = models.TextField()
    evidence_digest = models.CharField(max_length=64)
    found_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-found_at"]
        constraints = [models.UniqueConstraint(fields=["risk", "run"], name="risk_finding_once")]

    def __str__(self) -> str:
        return f"{self.criterion} in audit {self.run_id}"


class Control(OfSystem):
    """A measure against a risk. Only a verified one can lower what remains; a planned one lowers nothing."""

    class Kind(models.TextChoices):
        DESIGN = "design", "Inherently safe design"
        PROTECTION = "protection", "Protective measure"
        INFORMATION = "information", "Information for safety, or training"

    class Status(models.TextChoices):
        PLANNED = "planned", "Planned"
        IMPLEMENTED = "implemented", "Implemented, not verified"
        VERIFIED = "verified", "Verified"
        DROPPED = "dropped", "Dropped"

    risk = models.ForeignKey(Risk, on_delete=models.PROTECT, related_name="controls")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    text = models.TextField()
    owner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="controls")
    due_on = models.DateField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PLANNED)
    proposed_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(auto_now_add=True)
    implemented_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    implemented_on = models.DateField(null=True, blank=True)
    implementation = models.TextField(blank=True)
    verified_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    verified_at = models.DateTimeField(null=True, blank=True)
    verification = models.TextField(blank=True, help_text="What was checked and what was found")
    run = models.ForeignKey(AuditRun, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    evidence_digest = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["risk", "pk"]
        constraints = [
            models.CheckConstraint(name="control_has_text", condition=~Q(text="")),
            models.CheckConstraint(
                name="control_verified_by_another",
                condition=~Q(status="verified")
                | (
                    Q(verified_by__isnull=False)
                    & ~Q(verified_by=F("implemented_by"))
                    & ~Q(verified_by=F("owner"))
                    & ~Q(verification="")
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"Control {self.pk} of {self.risk}"


class RiskAcceptance(OfSystem):
    """That a person of responsibility accepts what remains of a risk, as it was rated then, until a day."""

    risk = models.ForeignKey(Risk, on_delete=models.PROTECT, related_name="acceptances")
    severity = models.PositiveSmallIntegerField()
    likelihood = models.PositiveSmallIntegerField()
    rationale = models.TextField(help_text="Why the benefit outweighs what remains")
    accepted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    accepted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    signed_at = models.DateTimeField(null=True, blank=True)
    signed_with = models.CharField(max_length=40, blank=True)
    owner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    ending = models.TextField(blank=True, help_text="Why it ended before its day")

    class Meta:
        ordering = ["-accepted_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["risk"], condition=Q(ended_at__isnull=True), name="risk_accepted_once_at_a_time"
            ),
            models.CheckConstraint(name="risk_not_accepted_by_its_owner", condition=~Q(accepted_by=F("owner"))),
            models.CheckConstraint(name="risk_acceptance_has_rationale", condition=~Q(rationale="")),
            models.CheckConstraint(name="risk_acceptance_expires_later", condition=Q(expires_at__gt=F("accepted_at"))),
        ]

    def __str__(self) -> str:
        return f"{self.risk}: accepted by {self.accepted_by}"
