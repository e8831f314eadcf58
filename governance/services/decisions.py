"""What the deciding vote does: it closes the review, moves the version, and opens or ends conditions."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from core import ledger
from core.errors import RELOAD, ConflictError
from core.models import User
from core.notifications import resolve
from governance.access import required_roles
from governance.models import Condition, Review, Vote
from governance.policies.findings import GateFindings
from governance.quorums import filled
from governance.selectors.electorate import roles_by_person
from governance.services.review_rows import about, terms_digest
from governance.services.starting import findings_json
from models_registry.models import VersionStatus
from models_registry.services.versions import model_store, transition_version

TRANSITIONS: dict[str, frozenset[str]] = {
    Review.Status.OPEN: frozenset(
        {Review.Status.APPROVED, Review.Status.CONDITIONAL, Review.Status.REJECTED, Review.Status.WITHDRAWN}
    ),
    Review.Status.APPROVED: frozenset(),
    Review.Status.CONDITIONAL: frozenset(),
    Review.Status.REJECTED: frozenset(),
    Review.Status.WITHDRAWN: frozenset(),
}
"""What may follow on what. A decided review is never opened again: the committee decides anew on a new one."""

VERSION_BECOMES = {
    Review.Status.APPROVED: VersionStatus.APPROVED,
    Review.Status.CONDITIONAL: VersionStatus.CONDITIONAL,
    Review.Status.REJECTED: VersionStatus.REJECTED,
}
UNMET = (Condition.Status.OPEN, Condition.Status.CLAIMED)


def decide(
    review: Review, *, choice: Vote.Choice, conditions: list[Condition], findings: GateFindings | None, by: User
) -> Review | None:
    """Close the review if this choice has decided it. Of two votes that would, only one does.

    A quorum of approvals decides once each role that the policy requires is among those who approve, every role by
    another person; a quorum of rejections always does.

    Raises:
        ConflictError: somebody else's vote closed it first, or the votes approve under other conditions than these.
    """
    votes = list(Vote.objects.filter(review=review).select_related("voter"))
    equal = [vote for vote in votes if vote.choice == choice]
    if len(equal) < review.quorum:
        return None
    roles: dict[str, str] = {}
    if choice == Vote.Choice.APPROVE:
        roles = _roles_filled(review, equal)
        if len(roles) < len(required_roles(review)):
            return None
        _check_same_terms(equal, conditions)
    to = Review.Status.REJECTED
    if choice == Vote.Choice.APPROVE:
        to = Review.Status.CONDITIONAL if conditions else Review.Status.APPROVED
    if not Review.objects.filter(pk=review.pk, status=Review.Status.OPEN).update(status=to, closed_at=timezone.now()):
        raise ConflictError("This review was closed while you voted; your vote was not counted.", remedy=RELOAD)
    review.status = to
    _move_conditions(review, conditions)
    transition_version(
        version=review.version, to=VERSION_BECOMES[to], by=by, reason=f"review {review.pk} {to.label.lower()}"
    )
    tally = {name: sum(vote.choice == name for vote in votes) for name in Vote.Choice.values}
    facts = {
        "decision": str(to),
        "votes": tally,
        "conditions": [condition.pk for condition in conditions],
        "terms": terms_digest(conditions),
        "roles": roles,
        "policy": review.policy.digest if review.policy else None,
        "gate": model_store().put_json(findings_document(findings)) if findings else None,
    }
    ledger.record(actor=by.username, act="review.decided", subject=("Review", review.pk), payload=about(review) | facts)
    return review


def _roles_filled(review: Review, votes: list[Vote]) -> dict[str, str]:
    """Each required role with the user name of whoever fills it among these voters."""
    required = required_roles(review)
    if not required:
        return {}
    held = roles_by_person(vote.voter for vote in votes)
    found = filled(required, [held[vote.voter_id] for vote in votes])
    return {str(role): votes[index].voter.username for role, index in found.items()}


def _check_same_terms(votes: list[Vote], conditions: list[Condition]) -> None:
    """Votes of former releases carry no terms; there were no conditions then."""
    allowed = {terms_digest(conditions)} | ({""} if not conditions else set())
    if any(vote.terms_digest not in allowed for vote in votes):
        raise ConflictError(
            "The conditions are not those that the votes before approved under.",
            remedy="Ask a committee chair to withdraw this review and to open a new one.",
        )


def _move_conditions(review: Review, conditions: list[Condition]) -> None:
    """Open the conditions of an approval; end those of a rejection, and those that an earlier approval still had."""
    if review.status == Review.Status.CONDITIONAL:
        moved = Condition.objects.filter(
            pk__in=[condition.pk for condition in conditions], status=Condition.Status.PROPOSED
        ).update(status=Condition.Status.OPEN)
        if moved != len(conditions):
            raise ConflictError("The conditions changed while you voted; your vote was not counted.", remedy=RELOAD)
    else:
        end_proposed(review)
    earlier = Condition.objects.filter(review__version=review.version, status__in=UNMET).exclude(review=review)
    ended = list(earlier.values_list("pk", flat=True))
    earlier.update(status=Condition.Status.ENDED)
    for pk in ended:
        resolve(f"condition:{pk}")


def end_proposed(review: Review) -> None:
    """What was proposed for an approval that did not come."""
    Condition.objects.filter(review=review, status=Condition.Status.PROPOSED).update(status=Condition.Status.ENDED)


def findings_document(findings: GateFindings) -> dict[str, Any]:
    """What the gate found, as JSON: it is kept in the store by its digest, and goes into the bundle."""
    return {"schema": "auscult/gate/1", **findings_json(findings)}
