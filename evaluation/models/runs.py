"""Protocols, runs, shards, and what they found."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from models_registry.models import CohortVersion, ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Protocol(models.Model):
    """Rules by which a run is judged. Locked means: bound to its digest, for ever. Approved means: may be used."""

    class Status(models.TextChoices):
        LOCKED = "locked", "Locked, awaiting approval"
        APPROVED = "approved", "Approved"
        WITHDRAWN = "withdrawn", "Withdrawn"

    name = models.CharField(max_length=120)
    title = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, unique=True)
    source = models.TextField(help_text="The YAML as it was written")
    body = models.JSONField(help_text="The protocol in canonical form; the digest covers it")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.LOCKED)
    locked_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    locked_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "-locked_at"]
        constraints = [
            models.CheckConstraint(
                name="protocol_approved_has_approver",
                condition=~Q(status="approved") | Q(approved_by__isnull=False, approved_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.digest[:8]})"


class RunStatus(models.TextChoices):
    """States of a run. The transitions are in ``evaluation.services.runs``."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    JUDGING = "judging", "Being judged"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Outcome(models.TextChoices):
    PASS = "pass", "Pass"
    FAIL = "fail", "Fail"
    INSUFFICIENT = "insufficient", "Insufficient evidence"


class AuditRun(OfSystem):
    """One attempt to judge one version on one cohort by one protocol.

    The people are copied from the version and the protocol, so that the database itself refuses a run whose
    requester also submitted the model or approved the rules.
    """

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="runs")
    cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="runs")
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT, related_name="runs")
    spec_digest = models.CharField(max_length=64)
    attempt = models.PositiveIntegerField(default=1)
    settings = models.JSONField(default=dict, help_text="Inference settings: batch size, precision, seed")
    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True)
    error = models.TextField(blank=True)
    n_studies = models.PositiveBigIntegerField()
    version_submitted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    protocol_approved_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requested_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    frame_digest = models.CharField(
        max_length=64, blank=True, help_text="How streams are watched for drift, fixed on the reference; in the store"
    )
    reference_digest = models.CharField(
        max_length=64, blank=True, help_text="The drift sketch that this run is compared with; empty for a reference"
    )
    judge_token = models.CharField(max_length=32, blank=True)
    judge_expires = models.DateTimeField(null=True, blank=True)
    result_digest = models.CharField(
        max_length=64, blank=True, help_text="Measurements and verdicts alone: equal for equal work"
    )
    evidence_digest = models.CharField(max_length=64, blank=True, help_text="The whole evidence document in the store")
    advice_digest = models.CharField(
        max_length=64, blank=True, help_text="What could reduce the gaps that failed: worked out after the verdicts"
    )

    class Meta:
        ordering = ["-requested_at"]
        indexes = [models.Index(fields=["requested_at", "id"], name="run_requested")]
        constraints = [
            models.UniqueConstraint(fields=["spec_digest", "attempt"], name="run_attempt_once"),
            models.UniqueConstraint(
                fields=["spec_digest"],
                condition=Q(status__in=["queued", "running", "judging"]),
                name="run_active_once_per_spec",
            ),
            models.CheckConstraint(
                name="run_requester_is_not_submitter", condition=~Q(requested_by=F("version_submitted_by"))
            ),
            models.CheckConstraint(
                name="run_requester_is_not_protocol_approver",
                condition=~Q(requested_by=F("protocol_approved_by")),
            ),
            models.CheckConstraint(
                name="run_submitter_is_not_protocol_approver",
                condition=~Q(version_submitted_by=F("protocol_approved_by")),
            ),
        ]

    def __str__(self) -> str:
        return f"Audit {self.pk}: {self.version} on {self.cohort}"


class ShardStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Shard(OfSystem):
    """One share of a run's patients. Claimed by a lease: whoever holds the token may write.

    ``telemetry`` is what its worker measured while it worked (see ``evaluation.execution.telemetry``): device, memory,
    seconds of each step, batch size, energy. It is kept in the evidence and is no part of the result.
    """

    run = models.ForeignKey(AuditRun, on_delete=models.CASCADE, related_name="shards")
    index = models.PositiveIntegerField()
    cohort_shard_digest = models.CharField(max_length=64)
    n_studies = models.PositiveIntegerField()
    studies_done = models.PositiveIntegerField(default=0)
    status = models.CharField(max_length=16, choices=ShardStatus.choices, default=ShardStatus.QUEUED)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=120, blank=True)
    from_cache = models.BooleanField(default=False)
    sketch_digest = models.CharField(max_length=64, blank=True)
    index_digest = models.CharField(
        max_length=64, blank=True, help_text="What readers of patient-level content see of its studies, in the store"
    )
    sample_digest = models.CharField(
        max_length=64, blank=True, help_text="A sample of its studies' streams, patient-level, in the store"
    )
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    telemetry = models.JSONField(default=dict, help_text="What the worker measured: device, memory, seconds, energy")

    class Meta:
        ordering = ["run", "index"]
        constraints = [models.UniqueConstraint(fields=["run", "index"], name="shard_once")]

    def __str__(self) -> str:
        return f"Shard {self.index} of audit {self.run_id}"


class Worker(models.Model):
    """A worker process as it last told of itself. Rows are for people to look at; no work is decided by them.

    ``name`` is the node name (``gpu1@host``). ``loaded`` lists the models that it keeps in memory, least recently used
    first: ``{"system", "label", "digest", "bytes"}``. ``doing`` says what it works on, empty when it waits. ``speed``
    is in studies per second over its last shares that ran a model; None before the first. Silent for two leases means
    gone.
    """

    name = models.CharField(max_length=120, unique=True)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    queues = models.JSONField(default=list)
    device = models.CharField(max_length=40, blank=True, help_text="cpu, or cuda with the number of the device")
    device_name = models.CharField(max_length=200, blank=True)
    memory_total = models.PositiveBigIntegerField(null=True, blank=True, help_text="Bytes of the device's memory")
    threads = models.PositiveIntegerField(null=True, blank=True)
    loaded = models.JSONField(default=list)
    doing = models.CharField(max_length=300, blank=True)
    speed = models.FloatField(null=True, blank=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class CachedPredictions(models.Model):
    """Predictions of one model on one cohort shard under one setting, so that a second audit runs no inference.

    ``telemetry`` is what was measured when they were made: a second audit rests on that work too.
    """

    key = models.CharField(max_length=64, unique=True)
    digest = models.CharField(max_length=64)
    n_studies = models.PositiveIntegerField()
    telemetry = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key[:16]


class Measurement(OfSystem):
    """One number with what is needed to trust it. The columns mirror ``evaluation.engine.records.Measurement``."""

    run = models.ForeignKey(AuditRun, on_delete=models.CASCADE, related_name="measurements")
    position = models.PositiveIntegerField()
    suite = models.CharField(max_length=40)
    metric = models.CharField(max_length=80)
    label = models.CharField(max_length=120, blank=True)
    attribute = models.CharField(max_length=120, blank=True)
    group = models.CharField(max_length=200, blank=True)
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    n = models.PositiveBigIntegerField(null=True)
    patients = models.PositiveBigIntegerField(null=True)
    reason = models.CharField(max_length=300, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["run", "position"]
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="measurement_once")]
        indexes = [models.Index(fields=["run", "patients"], name="measurement_patients")]

    def __str__(self) -> str:
        return f"{self.metric} {self.label} {self.group}"


class Verdict(OfSystem):
    """The judgement of one criterion. The columns mirror ``evaluation.engine.records.Verdict``."""

    run = models.ForeignKey(AuditRun, on_delete=models.CASCADE, related_name="verdicts")
    position = models.PositiveIntegerField()
    criterion = models.CharField(max_length=120)
    label = models.CharField(max_length=120, blank=True)
    attribute = models.CharField(max_length=120, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    primary = models.BooleanField(default=True)
    statement = models.TextField()
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["run", "position"]
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="verdict_once")]

    def __str__(self) -> str:
        return f"{self.criterion}: {self.outcome}"
