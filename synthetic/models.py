"""Requests for simulated or generated patients."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from models_registry.models import CohortVersion, JobStatus

PERSON = settings.AUTH_USER_MODEL


class Generation(models.Model):
    """One order to make patients. The result is a cohort version like any other, labelled simulated.

    ``settings`` decides the content entirely, seed included: equal settings give an equal cohort digest.
    """

    generator = models.CharField(max_length=40, default="simulator")
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
