"""What a system, a model version and a cohort are."""

from __future__ import annotations

from django.conf import settings
from django.db import models

PERSON = settings.AUTH_USER_MODEL


class JobStatus(models.TextChoices):
    """States of work that a worker does."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class AISystem(models.Model):
    """A system with an intended purpose, of which there are versions."""

    name = models.CharField(max_length=200, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    provider = models.CharField(max_length=200, blank=True)
    intended_purpose = models.TextField()
    risk_class = models.CharField(
        max_length=200, blank=True, help_text="For example: MDR class IIa; high-risk by Art. 6(1)"
    )
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class VersionStatus(models.TextChoices):
    """States of a model version. The transitions are in ``models_registry.services.versions``."""

    DRAFT = "draft", "Draft"
    SUBMITTED = "submitted", "Submitted"
    IN_AUDIT = "in_audit", "In audit"
    IN_REVIEW = "in_review", "In review"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    RETIRED = "retired", "Retired"


class ModelVersion(models.Model):
    """One set of weights (or one prediction log), bound by the digest of its content.

    ``manifest`` maps each file to its SHA-256; ``digest`` is the SHA-256 of the manifest. ``config`` is what the
    adapter declared when the version was registered: labels, modalities, preprocessing, parameters.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="versions")
    label = models.CharField(max_length=80)
    adapter = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    manifest = models.JSONField()
    config = models.JSONField(default=dict)
    notes = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=VersionStatus.choices, default=VersionStatus.SUBMITTED)
    submitted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    submitted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["system", "-submitted_at"]
        constraints = [
            models.UniqueConstraint(fields=["system", "label"], name="version_label_once_per_system"),
            models.UniqueConstraint(fields=["system", "digest"], name="version_digest_once_per_system"),
        ]

    def __str__(self) -> str:
        return f"{self.system.name} {self.label}"


class Cohort(models.Model):
    """A named group of patients, of which there are versions."""

    name = models.CharField(max_length=200, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.TextField(blank=True)
    simulated = models.BooleanField(
        default=False, help_text="Made by a simulator or generator: no real patient is in it."
    )
    source = models.CharField(max_length=300, blank=True)
    licence = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class CohortVersion(models.Model):
    """The content of a cohort, fixed by its digest, laid out in shards by patient.

    ``summary`` is what the inspection found: modalities with coverage, attributes with counts per value, labels
    with prevalence, warnings. Counts only, no rows.
    """

    cohort = models.ForeignKey(Cohort, on_delete=models.PROTECT, related_name="versions")
    digest = models.CharField(max_length=64, unique=True)
    n_studies = models.PositiveBigIntegerField()
    n_patients = models.PositiveBigIntegerField()
    summary = models.JSONField()
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    generator_digest = models.CharField(max_length=64, blank=True)
    registered_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    registered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["cohort", "-registered_at"]

    def __str__(self) -> str:
        return f"{self.cohort.name} ({self.digest[:8]})"


class CohortImport(models.Model):
    """A cohort on its way in: inspected, shown with every problem found, registered only when confirmed."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting to be read"
        INSPECTING = "inspecting", "Being read"
        READY = "ready", "Ready to confirm"
        BLOCKED = "blocked", "Has errors"
        REGISTERING = "registering", "Being registered"
        REGISTERED = "registered", "Registered"
        FAILED = "failed", "Failed"
        DISCARDED = "discarded", "Discarded"

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    simulated = models.BooleanField(default=False)
    source = models.CharField(max_length=300, blank=True)
    licence = models.CharField(max_length=200, blank=True)
    source_path = models.CharField(max_length=1000)
    mapping = models.JSONField(default=dict)
    inspection = models.JSONField(default=dict)
    sent_at = models.DateTimeField(auto_now_add=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    error = models.TextField(blank=True)
    result = models.ForeignKey(CohortVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Import of {self.name}"


class TrainingJob(models.Model):
    """Training of the reference model on a registered cohort, by a worker.

    ``settings`` is everything that decides the result, so that its digest together with the cohort's names the
    checkpoint; ``checkpoint_digest`` is filled when it is done.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="trainings")
    version_label = models.CharField(max_length=80)
    cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="trainings")
    settings = models.JSONField(default=dict)
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    progress = models.FloatField(default=0.0)
    message = models.CharField(max_length=300, blank=True)
    error = models.TextField(blank=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires = models.DateTimeField(null=True, blank=True)
    result = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="trained_by")
    metrics = models.JSONField(default=dict)
    requested_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"Training of {self.system.name} {self.version_label}"
