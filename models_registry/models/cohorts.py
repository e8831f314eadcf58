"""What a cohort is."""

from __future__ import annotations

from django.conf import settings
from django.db import models

PERSON = settings.AUTH_USER_MODEL


class CohortRole(models.TextChoices):
    """What a cohort is to the models that are judged on it. A policy asks for evidence on a role."""

    TRAINING = "training", "Training"
    TUNING = "tuning", "Tuning and choice of thresholds"
    INTERNAL_TEST = "internal_test", "Internal test"
    EXTERNAL_TEST = "external_test", "External test"
    LOCAL = "local", "Local acceptance, at one site"
    POST_DEPLOYMENT = "post_deployment", "After deployment"


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
    role = models.CharField(max_length=16, choices=CohortRole.choices, blank=True)
    site = models.CharField(
        max_length=200, blank=True, help_text="The site that its patients come from, where one does"
    )
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
    quarantined = models.BooleanField(
        default=False, help_text="Made by a generator, and not released: nothing is done with it but its own audit"
    )
    registered_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    registered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["cohort", "-registered_at"]

    def __str__(self) -> str:
        return f"{self.cohort.name} ({self.digest[:8]})"
