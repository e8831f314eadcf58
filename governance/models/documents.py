"""Reports and bundles."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.scope import OfSystem
from evaluation.models import AuditRun
from governance.models.reviews import Review
from models_registry.models import ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Report(OfSystem):
    """An issued document about a version: its files are in the store, named by digest.

    ``dossier_digest`` names what was known when it was asked for (``governance.dossier``); a report is written from
    that and the run's evidence alone. ``run`` is None for a report that speaks of no audit. ``signed_by`` is the
    SHA-256 fingerprint of the certificate whose signature is in the PDF.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Being written"
        ISSUED = "issued", "Issued"
        FAILED = "failed", "Failed"

    kind = models.CharField(max_length=40)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="reports")
    run = models.ForeignKey(AuditRun, null=True, blank=True, on_delete=models.PROTECT, related_name="reports")
    language = models.CharField(max_length=8, default="en")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    as_of = models.DateTimeField()
    counts = models.JSONField(default=dict, help_text="How many requirements are in which state")
    ready = models.BooleanField(default=False)
    dossier_digest = models.CharField(max_length=64, blank=True)
    pdf_digest = models.CharField(max_length=64, blank=True)
    json_digest = models.CharField(max_length=64, blank=True)
    html_digest = models.CharField(max_length=64, blank=True)
    docx_digest = models.CharField(max_length=64, blank=True)
    signed_by = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    issued_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    issued_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-issued_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "kind", "language"],
                condition=Q(status="queued"),
                name="report_written_once_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.version}"


class Bundle(OfSystem):
    """A signed file that a regulator verifies without us: reports, evidence, protocol, ledger proofs."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Being built"
        ISSUED = "issued", "Issued"
        FAILED = "failed", "Failed"

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="bundles")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    digest = models.CharField(max_length=64, blank=True)
    file_name = models.CharField(max_length=200, blank=True)
    key_id = models.CharField(max_length=64, blank=True)
    verification = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    issued_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    issued_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-issued_at"]

    def __str__(self) -> str:
        return f"Bundle {self.pk} of {self.review.version}"
