"""Reviews: opened on the evidence of one run, decided by a quorum of equal, signed votes of people who had no part.

What a refused vote was refused for stands in the ledger too, in a transaction of its own after the refusal.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from core import ledger
from core.access import check_role, same_person
from core.digests import sha256_text
from core.errors import RELOAD, AuscultError, ConflictError, DeniedError
from core.models import Role, User
from core.notifications import resolve
from core.plain_text import written
from core.reach import limited, service
from core.stepup import StepUp, check_stepped_up
from evaluation.models import AuditRun, RunStatus
from governance.access import (
    BarredError,
    check_evidence_allows,
    check_evidence_passes,
    check_may_open_review,
    check_may_vote,
    check_not_recused,
    check_rests_on_what_was_reviewed,
    findings_of,
)
from governance.models import Condition, Policy, Review, Vote
from governance.policies.findings import GateFindings
from governance.selectors.approvals import APPROVED_BY
from governance.services.decisions import decide, end_proposed
from governance.services.discussion import add_comment, recuse
from governance.services.review_notices import tell_closed, tell_opened, tell_stuck
from governance.services.review_rows import (
    about,
    check_still_open,
    locked_review,
    proposed_conditions,
    terms_digest,
)
from models_registry.models import ModelVersion, VersionStatus
from models_registry.services.versions import model_store, transition_version
from models_registry.services.voiding import lock_heads_on

__all__ = ["add_comment", "cast_vote", "check_requested_since", "open_review", "recuse", "withdraw_review"]

OPENABLE = (VersionStatus.IN_AUDIT, VersionStatus.SUSPENDED)
LATE = "This review was closed while you voted; your vote was not counted."
DATABASE_WORDS = {
    "a closed review takes no vote": LATE,
    "who is recused does not vote": "You take no part in this review, so you cannot vote on it.",
}


@limited
def open_review(*, run: AuditRun, by: User, quorum: int = 2, policy: Policy | None = None) -> Review:
    """Put the evidence of a finished run before the committee.

    Args:
        quorum: Equal votes that decide; at least 2, and at least what the policy asks for.
        policy: What the review is held under; None: the one in force that applies to the system, if there is one.

    Raises:
        DeniedError: ``by`` is no committee chair.
        ConflictError: the run is not done, its evidence is about other weights or older than what voided the
            version's approval, the version is neither in audit nor suspended, the three people of the audit are not
            three persons, or the policy does not apply.
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
    return _create_review(run=run, evidence_version=evidence["version"]["digest"], by=by, quorum=quorum, policy=policy)


@service
def _create_review(*, run: AuditRun, evidence_version: str, by: User, quorum: int, policy: Policy | None) -> Review:
    people = ("version__submitted_by", "requested_by", "protocol_approved_by")
    run = AuditRun.objects.select_related("version__system", *people).get(pk=run.pk)
    version, before = run.version, run.version.status
    _check_reviewable(run, evidence_version=evidence_version)
    policy = _policy_of(version, policy)
    asked = (policy.body.get("review") or {}).get("quorum", 2) if policy else 2
    review = _insert_review(run=run, by=by, quorum=max(quorum, asked), policy=policy)
    transition_version(version=version, to=VersionStatus.IN_REVIEW, by=by, reason=f"review {review.pk} opened")
    named = {
        "submitter": review.submitter.username,
        "runner": review.runner.username,
        "protocol_approver": review.protocol_approver.username,
    }
    more = {"run": run.pk, "quorum": review.quorum, "policy": policy.digest if policy else None, "from": str(before)}
    ledger.record(
        actor=by.username, act="review.opened", subject=("Review", review.pk), payload=about(review) | named | more
    )
    tell_opened(review)
    return review


def _insert_review(*, run: AuditRun, by: User, quorum: int, policy: Policy | None) -> Review:
    version = run.version
    try:
        with transaction.atomic():
            return Review.objects.create(
                version=version,
                run=run,
                policy=policy,
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


def _policy_of(version: ModelVersion, policy: Policy | None) -> Policy | None:
    """The policy to hold the review under: the given one, or the one that applies to the system.

    Raises:
        ConflictError: the given one is not in force for this system, or none was given and two apply equally.
    """
    from governance.selectors.policies import policies_for, policy_for

    if policy is None:
        return policy_for(version.system)
    if policy.pk not in {item.pk for item in policies_for(version.system)}:
        raise ConflictError(
            f"The policy {policy} is not in force for {version.system.name}.", remedy="Choose one that is."
        )
    return policy


def _check_reviewable(run: AuditRun, *, evidence_version: str) -> None:
    """The evidence is about the version as it is registered, by three persons, and the version awaits a review."""
    version = run.version
    if version.digest != evidence_version or version.submitted_by_id != run.version_submitted_by_id:
        raise ConflictError(
            f"The evidence of audit {run.pk} is not about {version} as it is registered now.",
            remedy="Audit the version again.",
        )
    check_requested_since(run)
    if version.status not in OPENABLE:
        raise ConflictError(
            f"{version} is {version.get_status_display().lower()}, so no review can be opened.",
            remedy="Open the review that there is, or register a new version.",
        )
    people = (version.submitted_by, run.requested_by, run.protocol_approved_by)
    if any(same_person(one, other) for one, other in zip(people, (*people[1:], people[0]), strict=True)):
        raise ConflictError(
            f"Who submitted {version}, who ran audit {run.pk} and who approved its protocol are not three people.",
            remedy="Have it audited by somebody else, by a protocol that a third person approved.",
        )


def check_requested_since(run: AuditRun) -> None:
    """Raise if the audit is older than what ended the version's approval: its evidence led to what is no more.

    Raises:
        ConflictError: something voided the version after the audit was requested; or the version is suspended and the
            committee has decided since.
    """
    version = run.version
    if version.void_at is not None and version.void_at >= run.requested_at:
        raise ConflictError(
            f"Audit {run.pk} is older than what voided {version}. {version.void_reason}",
            remedy="Audit the version again, and open a review on that audit.",
        )
    if version.status == VersionStatus.SUSPENDED:
        decided = version.reviews.filter(status__in=APPROVED_BY, closed_at__gte=run.requested_at)
        if decided.exists():
            raise ConflictError(
                f"Audit {run.pk} is older than the approval that {version} is suspended under.",
                remedy="Audit the version again, and open a review on that audit.",
            )


@limited
def cast_vote(*, review: Review, choice: str, rationale: str, by: User, signed: StepUp) -> Vote:
    """Vote on a review. The vote that completes a quorum closes the review and moves the version.

    A vote to approve approves under the conditions as they stand; from the first one on they are frozen.

    Raises:
        DeniedError: the person may not vote, has not proved who they are, or approves what the evidence or the policy
            does not allow, or what rests on a backbone that changed since the review was opened.
        ConflictError: the review is closed or void, the choice is unknown, or the reason is empty.
        NotFoundError, DigestMismatchError: the evidence is gone from the store or was changed there.
    """
    if choice not in Vote.Choice.values:
        raise ConflictError(f"'{choice}' is not a vote.", remedy="Choose approve or reject.")
    rationale = written(
        rationale,
        name="The reason",
        missing="A vote needs a reason.",
        remedy="Write in a sentence or two why you vote so.",
    )
    proof = check_stepped_up(signed, by)
    outcome = ""
    if choice == Vote.Choice.APPROVE:
        # From the evidence itself, not from a column: the digest that was put before the committee covers it.
        outcome = model_store().get_json(review.evidence_digest)["result"]["outcome"]
    try:
        return _cast(pk=review.pk, choice=Vote.Choice(choice), rationale=rationale, outcome=outcome, by=by, proof=proof)
    except (DeniedError, ConflictError) as refusal:
        _record_refusal(review, choice=choice, by=by, refusal=refusal)
        raise


@service
def _cast(*, pk: int, choice: Vote.Choice, rationale: str, outcome: str, by: User, proof: StepUp) -> Vote:
    review = locked_review(pk)
    check_still_open(review)
    check_may_vote(by, review)
    conditions, findings = proposed_conditions(review), None
    if choice == Vote.Choice.APPROVE:
        check_rests_on_what_was_reviewed(review)
        findings = _check_approvable(review, outcome=outcome, conditions=conditions)
    else:
        lock_heads_on([review.version])  # A backbone that is rejected takes down what is built on it.
    vote = _create_vote(review, conditions=conditions, choice=choice, rationale=rationale, by=by, proof=proof)
    resolve(f"review:{review.pk}:opened", to=by)
    decided = decide(review, choice=choice, conditions=conditions, findings=findings, by=by)
    if decided:
        tell_closed(decided)
    else:
        tell_stuck(review)
    return vote


def _check_approvable(review: Review, *, outcome: str, conditions: list[Condition]) -> GateFindings | None:
    """Raise unless evidence, policy and conditions let it be approved; gives what the policy's gate found."""
    findings = findings_of(review)
    check_evidence_allows(review, outcome=outcome, findings=findings)
    if findings is None:
        check_evidence_passes(review.run.outcome)
    late = [condition for condition in conditions if condition.due_at <= timezone.now()]
    if late:
        raise BarredError(
            "condition_due",
            f"A condition fell due before the decision: {late[0].text}",
            remedy="Take it back and propose it with a later day; after a vote to approve, have the review withdrawn.",
        )
    return findings


def _create_vote(
    review: Review, *, conditions: list[Condition], choice: str, rationale: str, by: User, proof: StepUp
) -> Vote:
    terms = terms_digest(conditions)
    try:
        with transaction.atomic():
            vote = Vote.objects.create(
                review=review,
                voter=by,
                choice=choice,
                rationale=rationale,
                terms_digest=terms,
                signed_at=proof.at,
                signed_with=proof.method,
                submitter=review.submitter,
                runner=review.runner,
                protocol_approver=review.protocol_approver,
            )
    except IntegrityError as error:
        said = next((words for told, words in DATABASE_WORDS.items() if told in str(error)), "")
        raise ConflictError(said or "You have voted on this review, or may not vote on it.", remedy=RELOAD) from error
    facts = {"choice": choice, "rationale_sha256": sha256_text(rationale), "terms": terms}
    ledger.record(
        actor=by.username,
        act="vote.cast",
        subject=("Vote", vote.pk),
        payload=about(review) | facts | proof.in_ledger(),
    )
    return vote


@service
def _record_refusal(review: Review, *, choice: str, by: User, refusal: AuscultError) -> None:
    """That somebody tried to vote and was refused, and for what. The vote itself left nothing behind."""
    late = isinstance(refusal, ConflictError)
    kind = refusal.kind if isinstance(refusal, BarredError) else "closed" if late else "role"
    ledger.record(
        actor=by.username,
        act="vote.refused",
        subject=("Review", review.pk),
        payload=about(review) | {"choice": choice, "kind": kind},
    )


@service
def withdraw_review(*, review: Review, reason: str, by: User) -> Review:
    """Close a review without a decision. The version goes back to where it came from.

    Raises:
        DeniedError: ``by`` is no committee chair, or takes no part in the review.
        ConflictError: the review is closed already, or there is no reason.
    """
    check_role(by, Role.COMMITTEE_CHAIR, to="withdraw a review")
    reason = written(
        reason,
        name="The reason",
        missing="Withdrawing a review needs a reason.",
        remedy="Write why it is closed without a decision.",
    )
    review = locked_review(review.pk)
    check_not_recused(by, review, to="withdraw")
    return close_undecided(review, reason=reason, by=by)


def close_undecided(review: Review, *, reason: str, by: User) -> Review:
    """Close an open review without a decision, within a transaction that has locked it.

    Raises:
        ConflictError: it is closed already.
    """
    closed = Review.objects.filter(pk=review.pk, status=Review.Status.OPEN).update(
        status=Review.Status.WITHDRAWN, closed_at=timezone.now(), closing_reason=reason
    )
    if not closed:
        raise ConflictError(f"This review is closed: {review.get_status_display().lower()}.", remedy=RELOAD)
    end_proposed(review)
    to = came_from(review)
    transition_version(version=review.version, to=to, by=by, reason=f"review {review.pk} withdrawn")
    ledger.record(
        actor=by.username,
        act="review.withdrawn",
        subject=("Review", review.pk),
        payload=about(review) | {"reason_sha256": sha256_text(reason), "version_to": str(to)},
    )
    review.refresh_from_db(fields=["status", "closed_at", "closing_reason"])
    tell_closed(review, reason=reason)
    return review


def came_from(review: Review) -> VersionStatus:
    """Where a version returns to: suspended while an earlier approval of it is not void, else in audit."""
    before = review.version.reviews.filter(status__in=APPROVED_BY, pk__lt=review.pk).order_by("-closed_at").first()
    void_at = review.version.void_at
    stood = before is not None and before.closed_at is not None and (void_at is None or before.closed_at > void_at)
    return VersionStatus.SUSPENDED if stood else VersionStatus.IN_AUDIT
