"""What is on its way in, and training: work that a worker does."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.scope import OfSystem
from models_registry.models.cohorts import CohortVersion
from models_registry.models.systems import AISystem, ModelVersion

PERSON = settings.AUTH_USER_MODEL


class JobStatus(models.TextChoices):
    """States of work that a worker does."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class VersionIntake(OfSystem):
    """A model version on its way in: received, checked by a worker without being run, registered when confirmed.

    ``checks`` is what a page shows while it is checked, in order: ``{"code", "title", "state", "message", "remedy",
    "file"}`` with the states ``waiting``, ``running``, ``ok``, ``warning``, ``error``. ``findings`` is what was found:
    digest, manifest, sizes, the adapter's declaration, card, duplicates.
    """

    class Status(models.TextChoices):
        RECEIVING = "receiving", "Being uploaded"
        QUEUED = "queued", "Waiting to be checked"
        CHECKING = "checking", "Being checked"
        READY = "ready", "Ready to register"
        BLOCKED = "blocked", "Has errors"
        REGISTERING = "registering", "Being registered"
        REGISTERED = "registered", "Registered"
        FAILED = "failed", "Failed"
        DISCARDED = "discarded", "Discarded"

    class Kind(models.TextChoices):
        FOLDER = "folder", "Folder on the server"
        ARCHIVE = "archive", "Archive on the server"
        MLFLOW = "mlflow", "MLflow run"
        UPLOAD = "upload", "Upload"

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="intakes")
    label = models.CharField(max_length=80)
    adapter = models.CharField(max_length=40)
    notes = models.TextField(blank=True)
    backbone = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    source_path = models.CharField(max_length=1000, blank=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    checks = models.JSONField(default=list)
    findings = models.JSONField(default=dict)
    progress = models.FloatField(default=0.0)
    message = models.CharField(max_length=300, blank=True)
    error = models.TextField(blank=True)
    sent_at = models.DateTimeField(auto_now_add=True)
    result = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Intake of {self.system.name} {self.label}"


class UploadedFile(OfSystem):
    """One file of an upload: how much was promised and how much has arrived, so that it goes on where it stopped."""

    intake = models.ForeignKey(VersionIntake, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=500)
    size = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["intake", "path"]
        constraints = [models.UniqueConstraint(fields=["intake", "path"], name="upload_path_once")]

    def __str__(self) -> str:
        return self.path


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


class TrainingJob(OfSystem):
    """Training of the reference model on a registered cohort, by a worker.

    With a ``backbone`` a light head is trained on that version's weights, else what ``settings`` say. ``settings`` is
    everything that decides the result, so that its digest together with the cohort's (and the backbone's) names the
    checkpoint; ``checkpoint_digest`` is filled when it is done. With an ``augmentation`` synthetic patients are learnt
    from beside those of the cohort; nobody of them is validated on.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="trainings")
    version_label = models.CharField(max_length=80)
    cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="trainings")
    augmentation = models.ForeignKey(
        CohortVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="augmented_trainings"
    )
    backbone = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
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
