"""Reviews: opened on the evidence of one run, decided by a quorum of equal votes."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.digests import sha256_bytes
from core.errors import ConflictError
from core.models import User
from evaluation.models import AuditRun, RunStatus
from governance.access import (
    check_evidence_passes,
    check_may_open_review,
    check_may_vote,
    check_rests_on_what_was_reviewed,
)
from governance.models import Review, Vote
from models_registry.models import VersionStatus
from models_registry.services.versions import model_store, transition_version

TRANSITIONS: dict[str, frozenset[str]] = {
    Review.Status.OPEN: frozenset({Review.Status.APPROVED, Review.Status.REJECTED}),
    Review.Status.APPROVED: frozenset(),
    Review.Status.REJECTED: frozenset(),
}
DECISIONS = {
    Vote.Choice.APPROVE: (Review.Status.APPROVED, VersionStatus.APPROVED),
    Vote.Choice.REJECT: (Review.Status.REJECTED, VersionStatus.REJECTED),
}
RELOAD = "Reload the page to see its present state."


def open_review(*, run: AuditRun, by: User, quorum: int = 2) -> Review:
    """Put the evidence of a finished run before the committee.

    Args:
        quorum: Equal votes that decide; at least 2.

    Raises:
        DeniedError: ``by`` is no committee chair.
        ConflictError: the run is not done, its evidence is about other weights or older than what voided the
            version's approval, the version is not in audit.
        NotFoundError, DigestMismatchError: the evidence is gone from the store or was changed there.
    """
    check_may_open_review(by)
    if quorum < 2:
        raise ConflictError("A decision needs at least two votes.", remedy="Choose a quorum of 2 or more.")
    if run.status != RunStatus.DONE or not run.outcome or not run.evidence_digest:
        raise ConflictError(
            f"Audit {run.pk} has no evidence to review: it is {run.get_status_display().lower()}.",
            remedy="Wait until the audit is done.",
        )
    evidence = model_store().get_json(run.evidence_digest)
    return _create_review(run=run, evidence_version=evidence["version"]["digest"], by=by, quorum=quorum)


@transaction.atomic
def _create_review(*, run: AuditRun, evidence_version: str, by: User, quorum: int) -> Review:
    run = AuditRun.objects.select_related("version__system", "version__submitted_by", "requested_by").get(pk=run.pk)
    version = run.version
    _check_in_audit(run, evidence_version=evidence_version)
    try:
        with transaction.atomic():
            review = Review.objects.create(
                version=version,
                run=run,
                evidence_digest=run.evidence_digest,
                version_digest=version.digest,
                quorum=quorum,
                submitter=version.submitted_by,
                runner=run.requested_by,
                protocol_approver=run.protocol_approved_by,
                opened_by=by,
            )
    except IntegrityError as error:
        raise ConflictError(f"{version} is under review already.", remedy="Open that review.") from error
    transition_version(version=version, to=VersionStatus.IN_REVIEW, by=by, reason=f"review {review.pk} opened")
    people = {
        "submitter": review.submitter,
        "runner": review.runner,
        "protocol_approver": review.protocol_approver,
    }
    payload = {name: person.username for name, person in people.items()} | {"run": run.pk, "quorum": quorum}
    ledger.record(
        actor=by.username,
        act="review.opened",
        subject=("Review", review.pk),
        payload=_about(review) | payload,
    )
    return review


def _check_in_audit(run: AuditRun, *, evidence_version: str) -> None:
    """The evidence is about the version as it is registered, and the version awaits a review."""
    version = run.version
    if version.digest != evidence_version or version.submitted_by_id != run.version_submitted_by_id:
        raise ConflictError(
            f"The evidence of audit {run.pk} is not about {version} as it is registered now.",
            remedy="Audit the version again.",
        )
    check_requested_since(run)
    if version.status != VersionStatus.IN_AUDIT:
        raise ConflictError(
            f"{version} is {version.get_status_display().lower()}, so no review can be opened.",
            remedy="Open the review that there is, or register a new version.",
        )


def check_requested_since(run: AuditRun) -> None:
    """Raise if something voided the version after this audit was requested: its evidence led to what is void now."""
    version = run.version
    if version.void_at is not None and version.void_at >= run.requested_at:
        raise ConflictError(
            f"Audit {run.pk} is older than what voided {version}. {version.void_reason}",
            remedy="Audit the version again, and open a review on that audit.",
        )


def cast_vote(*, review: Review, choice: str, rationale: str, by: User) -> Vote:
    """Vote on a review. The vote that completes a quorum closes the review and moves the version.

    Raises:
        DeniedError: the person may not vote, or approves what the evidence does not pass or what rests on a backbone
            that changed since the review was opened.
        ConflictError: the review is closed or void, the choice is unknown, or the reason is empty.
        NotFoundError, DigestMismatchError: the evidence is gone from the store or was changed there.
    """
    if choice not in Vote.Choice.values:
        raise ConflictError(f"'{choice}' is not a vote.", remedy="Choose approve or reject.")
    rationale = rationale.strip()
    if not rationale:
        raise ConflictError("A vote needs a reason.", remedy="Write in a sentence or two why you vote so.")
    if choice == Vote.Choice.APPROVE:
        # From the evidence itself, not from a column: the digest that was put before the committee covers it.
        outcome = model_store().get_json(review.evidence_digest)["result"]["outcome"]
    else:
        outcome = ""
    with transaction.atomic():
        review = locked_review(review.pk)
        _check_still_open(review)
        check_may_vote(by, review)
        if choice == Vote.Choice.APPROVE:
            check_rests_on_what_was_reviewed(review)
            check_evidence_passes(outcome)
            check_evidence_passes(review.run.outcome)
        vote = _create_vote(review=review, choice=choice, rationale=rationale, by=by)
        _decide(review, choice=Vote.Choice(choice), by=by)
    return vote


def locked_review(pk: int) -> Review:
    """The review and its version as they are now, locked until the transaction ends where the database can do so.

    The version too, so that a backbone that changes at this moment changes before the vote or waits for it.
    """
    people = ("submitter", "runner", "protocol_approver")
    rows = Review.objects.select_for_update(of=("self", "version")).select_related("version__system", "run", *people)
    return rows.get(pk=pk)


def _check_still_open(review: Review) -> None:
    if review.status != Review.Status.OPEN:
        raise ConflictError(f"This review is closed: {review.get_status_display().lower()}.", remedy=RELOAD)
    if review.version.digest != review.version_digest or review.run.evidence_digest != review.evidence_digest:
        raise ConflictError(
            "This review is void: the version or its evidence is not what was put before the committee.",
            remedy="Audit the version again and open a new review.",
        )


def _create_vote(*, review: Review, choice: str, rationale: str, by: User) -> Vote:
    try:
        with transaction.atomic():
            vote = Vote.objects.create(
                review=review,
                voter=by,
                choice=choice,
                rationale=rationale,
                submitter=review.submitter,
                runner=review.runner,
                protocol_approver=review.protocol_approver,
            )
    except IntegrityError as error:
        raise ConflictError("You have voted on this review, or may not vote on it.", remedy=RELOAD) from error
    ledger.record(
        actor=by.username,
        act="vote.cast",
        subject=("Vote", vote.pk),
        payload=_about(review) | {"choice": choice, "rationale_sha256": sha256_bytes(rationale.encode())},
    )
    return vote


def _decide(review: Review, *, choice: Vote.Choice, by: User) -> None:
    """Close the review if this choice has reached the quorum. Of two votes that would, only one does."""
    choices = list(Vote.objects.filter(review=review).values_list("choice", flat=True))
    if choices.count(choice) < review.quorum:
        return
    decision, status = DECISIONS[choice]
    closed = Review.objects.filter(pk=review.pk, status=Review.Status.OPEN).update(
        status=decision, closed_at=timezone.now()
    )
    if not closed:
        raise ConflictError("This review was closed while you voted; your vote was not counted.", remedy=RELOAD)
    transition_version(version=review.version, to=status, by=by, reason=f"review {review.pk} {decision.label.lower()}")
    tally = {"approve": choices.count(Vote.Choice.APPROVE), "reject": choices.count(Vote.Choice.REJECT)}
    ledger.record(
        actor=by.username,
        act="review.decided",
        subject=("Review", review.pk),
        payload=_about(review) | {"decision": str(decision), "votes": tally},
    )


def _about(review: Review) -> dict[str, object]:
    """What every ledger entry of a review is bound to."""
    return {"review": review.pk, "evidence": review.evidence_digest, "version": review.version_digest}
