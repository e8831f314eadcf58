"""Whether a synthetic cohort may leave the house: decided by the data protection officer, by votes as a version is."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from evaluation.models import AuditRun
from models_registry.models import CohortVersion

PERSON = settings.AUTH_USER_MODEL


class SyntheticRelease(OfSystem):
    """A decision about one synthetic cohort version: who may have it, what for, on which evidence.

    ``submitter`` registered the cohort and ``requester`` asks for its release; neither decides. ``run`` is the audit
    of its privacy; None where the set was made without any real patient, which ``cohort`` itself tells.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Awaiting decision"
        APPROVED = "approved", "Released"
        REJECTED = "rejected", "Refused"
        WITHDRAWN = "withdrawn", "Withdrawn"
        REVOKED = "revoked", "Release revoked"

    cohort = models.ForeignKey(CohortVersion, on_delete=models.PROTECT, related_name="releases")
    run = models.ForeignKey(AuditRun, null=True, blank=True, on_delete=models.PROTECT, related_name="releases")
    evidence_digest = models.CharField(max_length=64, blank=True)
    cohort_digest = models.CharField(max_length=64)
    purpose = models.TextField()
    recipients = models.TextField()
    quorum = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.OPEN)
    submitter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requester = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    closing_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["cohort"], condition=Q(status__in=["open", "approved"]), name="release_once_per_cohort"
            ),
            models.CheckConstraint(name="release_has_purpose", condition=~Q(purpose="") & ~Q(recipients="")),
            models.CheckConstraint(name="release_needs_a_vote", condition=Q(quorum__gte=1)),
        ]

    def __str__(self) -> str:
        return f"Release {self.pk} of {self.cohort}"


class ReleaseVote(OfSystem):
    """One person's vote on a release. Never changed; without a vote of the DPO to approve none is released."""

    class Choice(models.TextChoices):
        APPROVE = "approve", "Release"
        REJECT = "reject", "Refuse"

    release = models.ForeignKey(SyntheticRelease, on_delete=models.PROTECT, related_name="votes")
    voter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    choice = models.CharField(max_length=16, choices=Choice.choices)
    rationale = models.TextField()
    signed_at = models.DateTimeField(null=True, blank=True)
    signed_with = models.CharField(max_length=40, blank=True)
    cast_at = models.DateTimeField(auto_now_add=True)
    submitter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    requester = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["cast_at"]
        constraints = [
            models.UniqueConstraint(fields=["release", "voter"], name="release_vote_once"),
            models.CheckConstraint(name="release_voter_is_not_submitter", condition=~Q(voter=F("submitter"))),
            models.CheckConstraint(name="release_voter_is_not_requester", condition=~Q(voter=F("requester"))),
            models.CheckConstraint(name="release_vote_has_rationale", condition=~Q(rationale="")),
        ]

    def __str__(self) -> str:
        return f"{self.voter}: {self.choice}"


class ReleaseExport(OfSystem):
    """The files of a released cohort, in one archive with datasheet and signed statement.

    ``terms`` is what they say besides: who publishes them, whom to ask, under which licence. They are downloaded only
    while the release stands.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Being written"
        ISSUED = "issued", "Issued"
        FAILED = "failed", "Failed"

    release = models.ForeignKey(SyntheticRelease, on_delete=models.PROTECT, related_name="exports")
    terms = models.JSONField(default=dict)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    digest = models.CharField(max_length=64, blank=True)
    file_name = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(null=True, blank=True)
    statement_digest = models.CharField(max_length=64, blank=True)
    key_id = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    issued_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    issued_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-issued_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["release"], condition=Q(status="queued"), name="release_export_once_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"Export {self.pk} of {self.release}"
