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


class SystemKind(models.TextChoices):
    """What is registered: something with an intended purpose, or what such things are built on."""

    SYSTEM = "system", "AI system"
    BACKBONE = "backbone", "Backbone of other systems"


class AISystem(models.Model):
    """A system with an intended purpose, of which there are versions.

    A backbone is a general-purpose model that other systems put light heads on. It is registered like a system, so
    that it is bound, audited and documented like one; whoever builds on it depends on its digest.
    """

    kind = models.CharField(max_length=16, choices=SystemKind.choices, default=SystemKind.SYSTEM)
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
    VOID = "void", "Approval void"
    RETIRED = "retired", "Retired"


class ModelVersion(models.Model):
    """One set of weights (or one prediction log), bound by the digest of its content.

    ``manifest`` maps each file to its SHA-256; ``digest`` is the SHA-256 of the manifest. ``config`` is what the
    adapter declared when the version was registered: labels, modalities, preprocessing, parameters. ``sizes`` maps
    each file to its bytes; ``card`` is what its README says (see ``models_registry.cards``). ``backbone_digest`` is
    the SHA-256 of the weights that it shares with its backbone, or of a backbone's own; empty where there are none.
    ``void_cause`` is the version of the backbone whose registration voided the approval.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="versions")
    label = models.CharField(max_length=80)
    adapter = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    manifest = models.JSONField()
    sizes = models.JSONField(default=dict)
    config = models.JSONField(default=dict)
    card = models.JSONField(default=dict)
    source = models.CharField(max_length=300, blank=True, help_text="The folder, archive, upload or run it came from")
    backbone_digest = models.CharField(max_length=64, blank=True, db_index=True)
    void_reason = models.TextField(blank=True)
    void_at = models.DateTimeField(null=True, blank=True)
    void_cause = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="voided")
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


class Relation(models.TextChoices):
    """How a version came to be what it is."""

    BACKBONE = "backbone", "Built on"
    FINE_TUNED = "fine_tuned", "Fine-tuned from"
    TRAINED_ON = "trained_on", "Trained on"
    SAME_WEIGHTS = "same_weights", "Shares weights with"


class Origin(models.Model):
    """One edge of the lineage: what a version was made from. Written when the version is registered, never changed.

    Exactly one of ``source_version``, ``source_cohort`` and ``source_name`` is given; the name stands for what is not
    registered here, such as a base model that the card names. ``digest`` is what the source was when it was written.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="origins")
    relation = models.CharField(max_length=16, choices=Relation.choices)
    source_version = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="descendants"
    )
    source_cohort = models.ForeignKey(
        "CohortVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="trained"
    )
    source_name = models.CharField(max_length=300, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    told_by = models.CharField(
        max_length=40, help_text="How it is known: equal weights, the card, the training, the person who registered"
    )
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["version", "relation", "pk"]
        constraints = [
            models.CheckConstraint(
                name="origin_has_one_source",
                condition=(
                    models.Q(source_version__isnull=False, source_cohort__isnull=True, source_name="")
                    | models.Q(source_version__isnull=True, source_cohort__isnull=False, source_name="")
                    | models.Q(source_version__isnull=True, source_cohort__isnull=True) & ~models.Q(source_name="")
                ),
            ),
            models.UniqueConstraint(
                fields=["version", "relation", "source_version"],
                condition=models.Q(source_version__isnull=False),
                name="origin_version_once",
            ),
        ]

    def __str__(self) -> str:
        source = self.source_version or self.source_cohort or self.source_name
        return f"{self.version} {self.get_relation_display().lower()} {source}"


class VersionIntake(models.Model):
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


class UploadedFile(models.Model):
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

    With a ``backbone`` a light head is trained on that version's weights, else what ``settings`` say. ``settings`` is
    everything that decides the result, so that its digest together with the cohort's (and the backbone's) names the
    checkpoint; ``checkpoint_digest`` is filled when it is done.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="trainings")
    version_label = models.CharField(max_length=80)
    cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="trainings")
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
