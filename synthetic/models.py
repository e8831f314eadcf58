"""Requests for simulated or generated patients, and for generators of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.scope import OfSystem
from evaluation.models import AuditRun
from models_registry.models import AISystem, CohortVersion, JobStatus, ModelVersion, TrainingJob

PERSON = settings.AUTH_USER_MODEL


class Generation(OfSystem):
    """One order to make patients. The result is a cohort version like any other, labelled simulated.

    ``settings`` decides the content entirely, seed included: equal settings give an equal cohort digest. With a
    ``version`` that generator makes them, and ``settings`` are the wish and the seed; else the simulator does.
    ``facts`` is what was noticed on the way: acceptance by stratum, images that stand unresolved. No patient.
    """

    generator = models.CharField(max_length=40, default="simulator")
    version = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="generations"
    )
    facts = models.JSONField(default=dict)
    cohort_name = models.CharField(max_length=200)
    settings = models.JSONField(default=dict)
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    progress = models.FloatField(default=0.0)
    message = models.CharField(max_length=300, blank=True)
    error = models.TextField(blank=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires = models.DateTimeField(null=True, blank=True)
    result = models.ForeignKey(
        CohortVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="generated_by"
    )
    requested_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"{self.generator}: {self.cohort_name}"


class GeneratorTraining(OfSystem):
    """Training of a generator of linked patients on a registered cohort, by a worker.

    ``settings`` together with the cohort's digest decide the generator, and so its digest. ``curves`` holds, for each
    curve, points of (step, value), thinned out as they become many. What is finished of a training that was cancelled
    or failed is kept, and resuming goes on from there.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="generator_trainings")
    version_label = models.CharField(max_length=80)
    cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="generator_trainings")
    settings = models.JSONField(default=dict)
    curves = models.JSONField(default=dict)
    facts = models.JSONField(default=dict, help_text="Of the finished generator: parts, gates, what is left out")
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    progress = models.FloatField(default=0.0)
    message = models.CharField(max_length=300, blank=True)
    error = models.TextField(blank=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_expires = models.DateTimeField(null=True, blank=True)
    result = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="made_by")
    requested_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"Training of {self.system.name} {self.version_label}"


class RepairStatus(models.TextChoices):
    """Where a repair is. What may follow on what is in ``synthetic.services.repairs``."""

    MAKING = "making", "Patients are made"
    TRAINING = "training", "The model is trained again"
    AUDITING = "auditing", "To be audited again"
    COMPARED = "compared", "Compared"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Repair(OfSystem):
    """An attempt to repair a failed finding of fairness: patients are made for a group, the model is trained again with
    them, audited by the same protocol on the same cohort, and both versions are compared.

    ``groups`` are those of the verdict that failed, ``group`` the one that patients are made for. ``stopped_in`` is the
    step in which it failed or was cancelled, where it is resumed. ``comparison`` is what
    ``synthetic.repairing.comparing`` found, once it is compared. The audit is an auditor's to start: it is None until
    somebody has.
    """

    run = models.ForeignKey(AuditRun, on_delete=models.PROTECT, related_name="repairs")
    criterion = models.CharField(max_length=120)
    metric = models.CharField(max_length=80)
    label = models.CharField(max_length=120)
    attribute = models.CharField(max_length=120)
    groups = models.JSONField(default=list)
    group = models.CharField(max_length=200)
    generator = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="repairs")
    source = models.ForeignKey(
        TrainingJob, on_delete=models.PROTECT, related_name="+", help_text="The training that is done again"
    )
    patients = models.PositiveIntegerField()
    seed = models.PositiveBigIntegerField(default=0)
    version_label = models.CharField(max_length=80)
    status = models.CharField(max_length=16, choices=RepairStatus.choices, default=RepairStatus.MAKING)
    stopped_in = models.CharField(max_length=16, choices=RepairStatus.choices, blank=True)
    error = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=1, help_text="Orders of patients so far; it names their cohort")
    generation = models.ForeignKey(Generation, null=True, blank=True, on_delete=models.PROTECT, related_name="repairs")
    training = models.ForeignKey(TrainingJob, null=True, blank=True, on_delete=models.PROTECT, related_name="repairs")
    audit = models.ForeignKey(
        AuditRun, null=True, blank=True, on_delete=models.PROTECT, related_name="repairs_compared"
    )
    comparison = models.JSONField(default=dict)
    requested_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-requested_at"]

    def __str__(self) -> str:
        return f"Repair {self.pk} of audit {self.run_id}: {self.label} in {self.group}"
