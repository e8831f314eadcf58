"""Requests for simulated or generated patients, and for generators of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from models_registry.models import AISystem, CohortVersion, JobStatus, ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Generation(models.Model):
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


class GeneratorTraining(models.Model):
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
