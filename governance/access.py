"""Who may open reviews, vote, and issue documents. Nobody decides about what they had a part in."""

from __future__ import annotations

from core.access import check_role
from core.errors import DeniedError
from core.models import Role, User
from evaluation.models import Outcome
from governance.models import Review

VOTERS = (Role.COMMITTEE_MEMBER, Role.CLINICIAN_LEAD, Role.COMMITTEE_CHAIR)
ANOTHER = "Another member of the committee has to vote."


def check_may_open_review(user: User) -> None:
    check_role(user, Role.COMMITTEE_CHAIR, to="open a review")


def check_may_vote(user: User, review: Review) -> None:
    """The review is open; the person is on the committee, had no part in the audit and has not voted."""
    # What concerns the person comes before their role: it is the reason that no other role would change.
    if review.submitter_id == user.pk:
        raise DeniedError("You submitted this version, so you cannot vote on it.", remedy=ANOTHER)
    if review.runner_id == user.pk:
        raise DeniedError("You requested this audit, so you cannot vote on what it found.", remedy=ANOTHER)
    if review.protocol_approver_id == user.pk:
        raise DeniedError(
            "You approved the protocol of this audit, so you cannot vote on what it found.", remedy=ANOTHER
        )
    check_role(user, *VOTERS, to="vote on a review")
    # Through all(), so that votes that a page has prefetched are not asked for again.
    if any(vote.voter_id == user.pk for vote in review.votes.all()):
        raise DeniedError("You have voted on this review. A vote is never changed.")
    if review.status != Review.Status.OPEN:
        raise DeniedError(f"This review is closed: {review.get_status_display().lower()}.")


def check_may_approve(user: User, review: Review) -> None:
    """May vote, nothing voided it, and the evidence passes: what does not pass can only be rejected."""
    check_may_vote(user, review)
    check_rests_on_what_was_reviewed(review)
    check_evidence_passes(review.run.outcome)


def check_rests_on_what_was_reviewed(review: Review) -> None:
    """Raise if the backbone changed, or a file did, after the review was opened: the evidence is about the former.

    The version carries the moment and the reason (see ``models_registry.services.voiding``). A review that is opened
    later, on an audit that was requested later, can approve the version again.
    """
    version = review.version
    if version.void_at is not None and version.void_at >= review.opened_at:
        raise DeniedError(
            f"This version cannot be approved by this review. {version.void_reason}",
            remedy="Reject it here; a new version is audited and reviewed on what stands now.",
        )


def check_evidence_passes(outcome: str) -> None:
    """Raise unless the outcome is a pass. Lack of evidence is not a pass."""
    if outcome != Outcome.PASS:
        found = Outcome(outcome).label.lower() if outcome else "no outcome"
        raise DeniedError(
            f"The evidence does not pass: {found}. Approving needs a policy that says so; there is none.",
            remedy="Reject this version, or ask its provider for one whose audit passes.",
        )


def check_may_issue(user: User) -> None:
    check_role(user, Role.COMMITTEE_CHAIR, Role.AUDITOR, to="issue reports and bundles")


def check_may_read_bundle(user: User) -> None:
    """Reports and bundles: everybody with a role, the regulator included."""
    check_role(user, *Role, to="read reports and bundles")
