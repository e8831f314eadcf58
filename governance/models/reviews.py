"""A committee's decision about one version: the review, its votes, recusals, discussion, and conditions."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from core.scope import OfSystem
from evaluation.models import AuditRun
from models_registry.models import ModelVersion

PERSON = settings.AUTH_USER_MODEL


class Review(OfSystem):
    """A committee's decision about one version, on named runs, by a quorum of votes.

    The people who may not vote are copied here, and from here into each vote, where the database compares them.
    ``policy`` is what the review is held under; None where no approved policy applies to the system, and then the
    evidence has to pass. Its conditions are in :class:`Condition`.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        APPROVED = "approved", "Approved"
        CONDITIONAL = "conditional", "Approved with conditions"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Closed without a decision"

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="reviews")
    run = models.ForeignKey(AuditRun, on_delete=models.PROTECT, related_name="reviews")
    policy = models.ForeignKey(
        "governance.Policy", null=True, blank=True, on_delete=models.PROTECT, related_name="reviews"
    )
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
    closing_reason = models.TextField(blank=True, help_text="Why it was closed without a decision")

    class Meta:
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["version"], condition=Q(status="open"), name="review_open_once_per_version"
            ),
            models.CheckConstraint(name="review_needs_two_votes", condition=Q(quorum__gte=2)),
            models.CheckConstraint(
                name="review_withdrawn_has_reason", condition=~Q(status="withdrawn") | ~Q(closing_reason="")
            ),
        ]

    def __str__(self) -> str:
        return f"Review {self.pk} of {self.version}"


class Vote(OfSystem):
    """One member's vote, with its reason. Never changed.

    ``terms_digest`` is the SHA-256 of the conditions that stood when the vote was cast: a vote to approve approves
    under these and no others. ``signed_at`` is when the voter last proved who they are, and ``signed_with`` how.
    """

    class Choice(models.TextChoices):
        APPROVE = "approve", "Approve"
        REJECT = "reject", "Reject"

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="votes")
    voter = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    choice = models.CharField(max_length=16, choices=Choice.choices)
    rationale = models.TextField()
    terms_digest = models.CharField(max_length=64, blank=True)
    signed_at = models.DateTimeField(null=True, blank=True)
    signed_with = models.CharField(max_length=40, blank=True)
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


class Recusal(OfSystem):
    """That a member takes no part in one review, and why. Never changed; the database then refuses their vote."""

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="recusals")
    person = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    recorded_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["recorded_at"]
        constraints = [
            models.UniqueConstraint(fields=["review", "person"], name="recusal_once"),
            models.CheckConstraint(name="recusal_has_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"{self.person} takes no part in review {self.review_id}"


class Comment(OfSystem):
    """A contribution to the discussion of a review. Never changed."""

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="comments")
    author = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    text = models.TextField()
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["written_at", "pk"]
        constraints = [models.CheckConstraint(name="comment_has_text", condition=~Q(text=""))]

    def __str__(self) -> str:
        return f"{self.author} on review {self.review_id}"


class Condition(OfSystem):
    """What must be done by a day, by a named person, for an approval to stand.

    Proposed while the review is open and nobody has voted to approve; open once the version is approved under it; met
    when somebody other than its owner confirms it; lapsed when its day passes first: the approval then ends.
    """

    class Status(models.TextChoices):
        PROPOSED = "proposed", "Proposed"
        REMOVED = "removed", "Taken back before the vote"
        OPEN = "open", "Open"
        CLAIMED = "claimed", "Said to be met"
        MET = "met", "Met"
        LAPSED = "lapsed", "Lapsed"
        ENDED = "ended", "Ended with the approval"

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="conditions")
    text = models.TextField()
    owner = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="conditions")
    due_at = models.DateTimeField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PROPOSED)
    proposed_by = models.ForeignKey(PERSON, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(auto_now_add=True)
    claim = models.TextField(blank=True, help_text="What the owner says was done")
    claimed_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    claimed_at = models.DateTimeField(null=True, blank=True)
    confirmed_by = models.ForeignKey(PERSON, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    remark = models.TextField(blank=True, help_text="What was checked, or why the claim was returned")
    lapsed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["due_at", "pk"]
        constraints = [
            models.CheckConstraint(name="condition_has_text", condition=~Q(text="")),
            models.CheckConstraint(
                name="condition_met_is_confirmed_by_another",
                condition=~Q(status="met")
                | (Q(confirmed_by__isnull=False) & ~Q(confirmed_by=F("owner")) & ~Q(confirmed_by=F("claimed_by"))),
            ),
        ]

    def __str__(self) -> str:
        return f"Condition {self.pk} of review {self.review_id}"
