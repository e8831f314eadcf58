"""What every act on a review shares: the row, locked; whether it is open; what its ledger entries are bound to."""

from __future__ import annotations

from core.digests import sha256_json
from core.errors import RELOAD, ConflictError
from governance.models import Condition, Review


def locked_review(pk: int) -> Review:
    """The review and its version as they are now, locked until the transaction ends where the database can do so.

    The version too, so that a backbone that changes at this moment changes before the vote or waits for it.
    """
    people = ("submitter", "runner", "protocol_approver", "opened_by")
    rows = Review.objects.select_for_update(of=("self", "version"), no_key=True).select_related(
        "version__system", "run", *people
    )
    # The policy by a query of its own: what may be absent is an outer join, and its other side cannot be locked.
    return rows.prefetch_related("policy", "votes__voter", "recusals__person").get(pk=pk)


def check_still_open(review: Review) -> None:
    """Raise where it is decided, or what it is about is not what was put before the committee."""
    if review.status != Review.Status.OPEN:
        raise ConflictError(f"This review is closed: {review.get_status_display().lower()}.", remedy=RELOAD)
    if review.version.digest != review.version_digest or review.run.evidence_digest != review.evidence_digest:
        raise ConflictError(
            "This review is void: the version or its evidence is not what was put before the committee.",
            remedy="Audit the version again and open a new review.",
        )


def proposed_conditions(review: Review) -> list[Condition]:
    """The conditions that a vote to approve approves under, in the order in which they were proposed."""
    rows = Condition.objects.filter(review=review, status=Condition.Status.PROPOSED)
    return list(rows.select_related("owner").order_by("pk"))


def terms_of(conditions: list[Condition]) -> list[dict[str, object]]:
    """The conditions as the digest of a vote's terms covers them. A bundle carries them in this form."""
    return [
        {
            "id": condition.pk,
            "text": condition.text,
            "owner": condition.owner.username,
            "due_at": condition.due_at.isoformat(),
        }
        for condition in conditions
    ]


def terms_digest(conditions: list[Condition]) -> str:
    return sha256_json(terms_of(conditions))


def about(review: Review) -> dict[str, object]:
    """What every ledger entry of a review is bound to."""
    return {"review": review.pk, "evidence": review.evidence_digest, "version": review.version_digest}
