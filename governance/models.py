"""Reviews and votes, answers and statements, reports and bundles, and what a regulator may see."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from evaluation.models import AuditRun
from models_registry.models import AISystem, ModelVersion

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


class Answer(models.Model):
    """What a person said to one question about a system; what applies to it is worked out from these.

    A row is never changed: the newest of a question counts, the others are its history. ``value`` is True, False, a
    text, a list of texts, or None where an answer was taken back.
    """

    system = models.ForeignKey(AISystem, on_delete=models.PROTECT, related_name="answers")
    question = models.CharField(max_length=80)
    value = models.JSONField(null=True)
    reason = models.TextField(blank=True)
    author = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    answered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["question", "-pk"]
        indexes = [models.Index(fields=["system", "question", "-id"], name="answer_newest")]

    def __str__(self) -> str:
        return f"{self.question}: {self.value}"


class Statement(models.Model):
    """What a person states to show one requirement for one version: its facts, and a text.

    A row is one revision. It begins as a draft and is decided once, by somebody else; an accepted one is never
    changed, but followed by another. ``binding`` tells what it was written about (see ``governance.dossier``): where
    that has changed since, the statement is stale. ``generated`` marks a text that a program proposed; it counts as
    little as any other draft until a person accepts it.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACCEPTED = "accepted", "Accepted"
        RETURNED = "returned", "Returned"
        WITHDRAWN = "withdrawn", "Withdrawn"

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="statements")
    requirement = models.CharField(max_length=80)
    revision = models.PositiveIntegerField()
    fields = models.JSONField(default=dict, help_text="Values of the requirement's required fields, by name")
    text = models.TextField(blank=True)
    generated = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.DRAFT)
    binding = models.JSONField(default=dict)
    author = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    written_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    remark = models.TextField(blank=True, help_text="Why it was returned, or what was checked when it was accepted")

    class Meta:
        ordering = ["requirement", "-revision"]
        constraints = [
            models.UniqueConstraint(fields=["version", "requirement", "revision"], name="statement_revision_once"),
            models.UniqueConstraint(
                fields=["version", "requirement"], condition=Q(status="draft"), name="statement_one_draft"
            ),
            models.CheckConstraint(
                name="statement_accepted_by_another",
                condition=~Q(status="accepted") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("author"))),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.requirement}, revision {self.revision}"


class Report(models.Model):
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


class Grant(models.Model):
    """That a regulator may see what was issued about some systems, until a day, for a purpose."""

    regulator = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="grants")
    systems = models.ManyToManyField(AISystem, related_name="grants")
    purpose = models.TextField()
    expires_at = models.DateTimeField()
    granted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    revocation = models.TextField(blank=True, help_text="Why it was revoked")

    class Meta:
        ordering = ["-granted_at"]
        constraints = [
            models.CheckConstraint(name="grant_by_another", condition=~Q(granted_by=F("regulator"))),
            models.CheckConstraint(name="grant_has_purpose", condition=~Q(purpose="")),
        ]

    def __str__(self) -> str:
        return f"Grant {self.pk} to {self.regulator}"


class DownloadLink(models.Model):
    """A link that gives one bundle once, to the holder of a grant. Only the digest of its token is kept."""

    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="links")
    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT, related_name="links")
    token_digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"Link {self.pk} to bundle {self.bundle_id}"
