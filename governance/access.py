"""Who may open reviews, vote, and issue documents. Nobody decides about what they had a part in.

People are compared as persons, not as accounts: a second account of the same human opens no second door.
"""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import INSIDERS, Role, User
from evaluation.models import AuditRun, Outcome
from governance.models import Grant, Review, Statement
from governance.policies.findings import GateFindings, GateOutcome, State

VOTERS = (Role.COMMITTEE_MEMBER, Role.CLINICIAN_LEAD, Role.COMMITTEE_CHAIR)
ANOTHER = "Another member of the committee has to vote."
ANSWERERS = (Role.ML_ENGINEER, Role.DPO, Role.COMMITTEE_CHAIR, Role.CLINICIAN_LEAD, Role.AUDITOR)
STATERS = tuple(role for role in INSIDERS if role != Role.ADMINISTRATOR)
ACCEPTORS = (Role.AUDITOR, Role.COMMITTEE_CHAIR, Role.DPO, Role.CLINICIAN_LEAD)


class BarredError(DeniedError):
    """A vote that is refused. ``kind`` says why in one word, for the ledger."""

    def __init__(self, kind: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.kind = kind


def check_may_open_review(user: User) -> None:
    check_role(user, Role.COMMITTEE_CHAIR, to="open a review")


def check_had_no_part(user: User, review: Review, *, to: str) -> None:
    """Raise for who submitted the version, ran the audit, approved its protocol, or is recused.

    Args:
        to: The act in words, completing "you cannot ... it": ``vote on``.
    """
    # What concerns the person comes before their role: it is the reason that no other role would change.
    if same_person(review.submitter, user):
        raise BarredError("submitter", f"You submitted this version, so you cannot {to} it.", remedy=ANOTHER)
    if same_person(review.runner, user):
        raise BarredError("runner", f"You requested this audit, so you cannot {to} what it found.", remedy=ANOTHER)
    if same_person(review.protocol_approver, user):
        message = f"You approved the protocol of this audit, so you cannot {to} what it found."
        raise BarredError("protocol_approver", message, remedy=ANOTHER)
    check_not_recused(user, review, to=to)


def check_not_recused(user: User, review: Review, *, to: str) -> None:
    # Through all(), so that what a page has prefetched is not asked for again; so for votes below.
    if any(same_person(recusal.person, user) for recusal in review.recusals.all()):
        raise BarredError("recused", f"You take no part in this review, so you cannot {to} it.", remedy=ANOTHER)


def voters_of(review: Review) -> tuple[Role, ...]:
    """The roles that may vote: the committee's, and those that the policy of the review requires."""
    return (*VOTERS, *(role for role in required_roles(review) if role not in VOTERS))


def required_roles(review: Review) -> tuple[Role, ...]:
    """The roles of which each must be among those who approve, by different people."""
    asked = (review.policy.body.get("review") or {}) if review.policy else {}
    return tuple(Role(role) for role in asked.get("required_roles") or ())


def check_may_vote(user: User, review: Review) -> None:
    """The review is open; the person is on the committee, had no part in the audit and has not voted."""
    check_had_no_part(user, review, to="vote on")
    check_role(user, *voters_of(review), to="vote on a review")
    if any(same_person(vote.voter, user) for vote in review.votes.all()):
        raise BarredError("voted", "You have voted on this review. A vote is never changed.")
    if review.status != Review.Status.OPEN:
        raise BarredError("closed", f"This review is closed: {review.get_status_display().lower()}.")


def check_may_approve(user: User, review: Review) -> None:
    """May vote, nothing voided it, and the evidence passes: what does not pass can only be rejected."""
    check_may_vote(user, review)
    check_rests_on_what_was_reviewed(review)
    check_evidence_allows(review, outcome=review.run.outcome, findings=findings_of(review))


def check_rests_on_what_was_reviewed(review: Review) -> None:
    """Raise if the backbone changed, or a file did, after the review was opened: the evidence is about the former.

    The version carries the moment and the reason (see ``models_registry.services.voiding``). A review that is opened
    later, on an audit that was requested later, can approve the version again.
    """
    version = review.version
    if version.void_at is not None and version.void_at >= review.opened_at:
        raise BarredError(
            "void",
            f"This version cannot be approved by this review. {version.void_reason}",
            remedy="Reject it here; a new version is audited and reviewed on what stands now.",
        )


def findings_of(review: Review) -> GateFindings | None:
    """How the version stands now against the policy that the review is held under; None where there is none."""
    if review.policy is None:
        return None
    from governance.selectors.policies import gate

    return gate(review.version, review.policy, for_review=True)


def check_evidence_allows(review: Review, *, outcome: str, findings: GateFindings | None) -> None:
    """Raise unless the evidence lets the version be approved.

    Args:
        outcome: What the evidence before the committee states.
        findings: How the version stands against the policy; None where none applies, and then the outcome has to pass.
    """
    if findings is None:
        check_evidence_passes(outcome)
        return
    if findings.outcome != GateOutcome.PASS:
        raise BarredError(
            "policy",
            f"The policy {review.policy} is not met. " + " ".join(item.statement for item in findings.open_items),
            remedy="Have it met, or reject this version. " + " ".join(item.remedy for item in findings.open_items),
        )
    if outcome != Outcome.PASS and not _is_accepted(review.evidence_digest, outcome, findings):
        check_evidence_passes(outcome)
    _check_newest(review)


def _is_accepted(evidence_digest: str, outcome: str, findings: GateFindings) -> bool:
    """Whether a named person accepted, under the policy, that this very evidence is not sufficient."""
    accepted = {item.evidence_digest for item in findings.items if item.state == State.ACCEPTED}
    return outcome == Outcome.INSUFFICIENT and evidence_digest in accepted


def _check_newest(review: Review) -> None:
    """Raise if the same audit was repeated since: the committee would decide on what is known to be old."""
    run = review.run
    newer = AuditRun.objects.filter(
        version=run.version_id, protocol=run.protocol_id, cohort=run.cohort_id, status="done", pk__gt=run.pk
    )
    if found := newer.order_by("-pk").first():
        raise BarredError(
            "stale",
            f"Audit {found.pk} repeats the audit of this review and is newer.",
            remedy="Ask a committee chair to withdraw this review and to open one on the newer audit.",
        )


def check_evidence_passes(outcome: str) -> None:
    """Raise unless the outcome is a pass. Lack of evidence is not a pass."""
    if outcome != Outcome.PASS:
        found = Outcome(outcome).label.lower() if outcome else "no outcome"
        raise BarredError(
            "evidence",
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
    if statement.author_id is not None and same_person(statement.author, user):
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
