"""Who may open reviews, vote, and issue documents. Nobody decides about what they had a part in."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from core.access import check_role
from core.errors import DeniedError
from core.models import Role, User
from evaluation.models import Outcome
from governance.models import Grant, Review, Statement

VOTERS = (Role.COMMITTEE_MEMBER, Role.CLINICIAN_LEAD, Role.COMMITTEE_CHAIR)
ANOTHER = "Another member of the committee has to vote."
ANSWERERS = (Role.ML_ENGINEER, Role.DPO, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.AUDITOR)
STATERS = tuple(role for role in Role if role not in (Role.REGULATOR, Role.ADMINISTRATOR))
ACCEPTORS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.DPO, Role.CLINICIAN_LEAD)


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


def check_may_grant(user: User) -> None:
    """Who lets a regulator in, and shows them out again."""
    check_role(user, Role.COMMITTEE_CHAIR, Role.DPO, to="give and revoke regulator access")


def check_may_use_grant(user: User, grant: Grant) -> None:
    """The grant is this person's, and stands: neither revoked nor past its end. The person is a regulator still."""
    if grant.regulator_id != user.pk:
        raise DeniedError(
            "This grant was given to somebody else.",
            remedy="Open your access page: it lists every grant that was given to you.",
        )
    check_role(user, Role.REGULATOR, to="open what was granted to a regulator")
    if grant.revoked_at is not None:
        raise DeniedError(
            f"This grant was revoked on {_day(grant.revoked_at)}. Nothing under it can be opened any more.",
            remedy=f"Ask {grant.granted_by} or the data protection officer of the institution for a new one.",
        )
    if grant.expires_at <= timezone.now():
        raise DeniedError(
            f"This grant expired on {_day(grant.expires_at)}. Nothing under it can be opened any more.",
            remedy=f"Ask {grant.granted_by} or the data protection officer of the institution for a new one.",
        )


def _day(moment: datetime) -> str:
    local = timezone.localtime(moment)
    return f"{local.day} {local:%b %Y at %H:%M %Z}"


def check_may_answer(user: User) -> None:
    """Who may say what a system is and does: on these answers hangs which rules apply to it."""
    check_role(user, *ANSWERERS, to="answer the questionnaire")


def check_may_state(user: User) -> None:
    """Whoever works on systems may state facts about them; who oversees or only administers may not."""
    check_role(user, *STATERS, to="write statements")


def check_may_accept_statement(user: User, statement: Statement) -> None:
    """Accept or return a draft: a person of responsibility, and never its author."""
    if statement.author_id == user.pk:
        raise DeniedError(
            "You wrote this statement, so you cannot decide about it.", remedy="Somebody else has to check it."
        )
    check_role(user, *ACCEPTORS, to="accept or return statements")


def check_may_withdraw_statement(user: User, statement: Statement) -> None:
    """Its author only; anybody else who finds it wrong returns it."""
    if statement.author_id != user.pk:
        raise DeniedError(
            "Only its author may withdraw a statement.", remedy="Whoever may accept it can return it instead."
        )
    check_may_state(user)
