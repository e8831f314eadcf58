"""Reviews, votes, reports and bundles."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from evaluation.models import AuditRun
from models_registry.models import ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Review(models.Model):
    """A committee's decision about one version, on named runs, by a quorum of votes.

    The people who may not vote are copied here, and from here into each vote, where the database compares them.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="reviews")
    run = models.ForeignKey(AuditRun, on_delete=models.PROTECT, related_name="reviews")
    evidence_digest = models.CharField(max_length=64)
    version_digest = models.CharField(max_length=64)
    quorum = models.PositiveSmallIntegerField(default=2)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.OPEN)
    submitter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    runner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    protocol_approver = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    opened_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(status="open"), name="review_open_once_per_version"
            ),
            models.CheckConstraint(name="review_needs_two_votes", condition=Q(quorum__gte=2)),
        ]

    def __str__(self) -> str:
        return f"Review {self.pk} of {self.version}"


class Vote(models.Model):
    """One member's vote, with its reason. Never changed."""

    class Choice(models.TextChoices):
        APPROVE = "approve", "Approve"
        REJECT = "reject", "Reject"

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="votes")
    voter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    choice = models.CharField(max_length=16, choices=Choice.choices)
    rationale = models.TextField()
    cast_at = models.DateTimeField(auto_now_add=True)
    submitter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    runner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    protocol_approver = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["cast_at"]
        constraints = [
            models.UniqueConstraint(fields=["review", "voter"], name="vote_once_per_review"),
            models.CheckConstraint(name="voter_is_not_submitter", condition=~Q(voter=F("submitter"))),
            models.CheckConstraint(name="voter_is_not_runner", condition=~Q(voter=F("runner"))),
            models.CheckConstraint(name="voter_is_not_protocol_approver", condition=~Q(voter=F("protocol_approver"))),
            models.CheckConstraint(name="vote_has_rationale", condition=~Q(rationale="")),
        ]

    def __str__(self) -> str:
        return f"{self.voter}: {self.choice}"


class Report(models.Model):
    """An issued document about a version: its files are in the store, named by digest."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Being written"
        ISSUED = "issued", "Issued"
        FAILED = "failed", "Failed"

    kind = models.CharField(max_length=40)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="reports")
    run = models.ForeignKey(AuditRun, on_delete=models.PROTECT, related_name="reports")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    as_of = models.DateTimeField()
    counts = models.JSONField(default=dict, help_text="Sections complete, partial, missing, nonconform, not applicable")
    pdf_digest = models.CharField(max_length=64, blank=True)
    json_digest = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    issued_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    issued_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-issued_at"]

    def __str__(self) -> str:
        return f"{self.kind} of {self.version}"


class Bundle(models.Model):
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
