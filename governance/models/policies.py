"""Policies: what a version must show before it is approved or deployed; and lack of evidence that somebody accepts."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from evaluation.models import AuditRun
from models_registry.models import ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Policy(models.Model):
    """One version of a policy, bound to the digest of its rules. Proposed by one person, approved by another.

    Approving a later number of the same name supersedes the one before it.
    """

    class Status(models.TextChoices):
        PROPOSED = "proposed", "Awaiting approval"
        APPROVED = "approved", "In force"
        SUPERSEDED = "superseded", "Superseded"
        WITHDRAWN = "withdrawn", "Withdrawn"

    name = models.CharField(max_length=80)
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, unique=True)
    source = models.TextField(help_text="The YAML as it was written")
    body = models.JSONField(help_text="The policy in canonical form; the digest covers it")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PROPOSED)
    proposed_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["name", "number"], name="policy_number_once"),
            models.UniqueConstraint(fields=["name"], condition=Q(status="approved"), name="policy_in_force_once"),
            models.CheckConstraint(
                name="policy_approved_by_another",
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("proposed_by")),
            ),
            models.CheckConstraint(
                name="policy_approved_has_approver",
                condition=~Q(status="approved") | Q(approved_by__isnull=False, approved_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} no. {self.number}"


class Acceptance(OfSystem):
    """That a named person accepts, until a day, that one item of a policy has not enough evidence for one version.

    It counts for the version's digest and the evidence that were accepted, and for nothing that came later.
    """

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="acceptances")
    item = models.CharField(max_length=80)
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="acceptances")
    run = models.ForeignKey(AuditRun, on_delete=models.PROTECT, related_name="acceptances")
    version_digest = models.CharField(max_length=64)
    evidence_digest = models.CharField(max_length=64)
    reason = models.TextField()
    accepted_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    accepted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    signed_at = models.DateTimeField(null=True, blank=True)
    signed_with = models.CharField(max_length=40, blank=True)
    submitter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    runner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    revocation = models.TextField(blank=True)

    class Meta:
        ordering = ["-accepted_at"]
        constraints = [
            models.CheckConstraint(name="acceptor_is_not_submitter", condition=~Q(accepted_by=F("submitter"))),
            models.CheckConstraint(name="acceptor_is_not_runner", condition=~Q(accepted_by=F("runner"))),
            models.CheckConstraint(name="acceptance_has_reason", condition=~Q(reason="")),
            models.CheckConstraint(name="acceptance_expires_later", condition=Q(expires_at__gt=F("accepted_at"))),
        ]

    def __str__(self) -> str:
        return f"{self.item} of {self.policy} for {self.version}"
