"""Reading conditions of approvals: those of a review, of a version, and those that await somebody."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, Q, QuerySet

from core.access import Permission, can, people_with, same_person
from core.errors import NotFoundError
from core.models import User
from governance.access import VOTERS
from governance.access_conditions import (
    check_had_no_interest,
    check_may_claim,
    check_may_confirm,
    check_may_reassign,
    check_may_remove,
)
from governance.models import Condition, Review
from governance.standing.condition_states import ALIVE, UNMET
from models_registry.models import ModelVersion


@dataclass(frozen=True, kw_only=True)
class ConditionRow:
    """A condition with what the person who looks may do about it now; None where its state calls for no such act."""

    condition: Condition
    may_remove: Permission | None = None
    may_claim: Permission | None = None
    may_confirm: Permission | None = None
    may_reassign: Permission | None = None


def conditions() -> QuerySet[Condition]:
    """Every condition with all that a row shows and that its rules ask for, in two queries."""
    people = ("owner", "proposed_by", "claimed_by", "confirmed_by")
    parts = ("submitter", "runner", "protocol_approver", "policy", "version__system")
    about = [f"review__{part}" for part in parts]
    return Condition.objects.select_related(*people, *about).prefetch_related("review__recusals__person")


def condition_by_id(pk: int) -> Condition:
    """One condition.

    Raises:
        NotFoundError: there is none with this number.
    """
    found = conditions().filter(pk=pk).first()
    if found is None:
        raise NotFoundError(f"There is no condition {pk}.", remedy="Open it from its review.")
    return found


def conditions_of(review: Review) -> QuerySet[Condition]:
    """The conditions of a review, by their days; what was taken back is left out."""
    return conditions().filter(review=review).exclude(status=Condition.Status.REMOVED)


def row_for(condition: Condition, *, user: User, frozen: bool) -> ConditionRow:
    """``frozen``: somebody voted to approve, so the conditions are not changed any more."""
    status = condition.status
    if status == Condition.Status.PROPOSED:
        may_remove = (
            Permission(allowed=False, reason="Somebody has voted to approve under it.")
            if frozen
            else can(check_may_remove, user, condition)
        )
        return ConditionRow(condition=condition, may_remove=may_remove)
    if status not in UNMET or not counts(condition):
        return ConditionRow(condition=condition)
    claimed = status == Condition.Status.CLAIMED
    return ConditionRow(
        condition=condition,
        may_claim=None if claimed else can(check_may_claim, user, condition),
        may_confirm=can(check_may_confirm, user, condition) if claimed else None,
        may_reassign=can(check_may_reassign, user, condition),
    )


def counts(condition: Condition) -> bool:
    """Whether the approval that it belongs to has not ended; a suspended one has not."""
    version, closed_at = condition.review.version, condition.review.closed_at
    void = version.void_at is not None and closed_at is not None and version.void_at >= closed_at
    return version.status in ALIVE and not void


def unmet_conditions(version: ModelVersion | None = None) -> QuerySet[Condition]:
    """Conditions that count and are not met, the most urgent first: of one version, or of all."""
    stands = Q(review__version__void_at=None) | Q(review__version__void_at__lt=F("review__closed_at"))
    rows = conditions().filter(stands, status__in=UNMET, review__version__status__in=ALIVE)
    return rows.filter(review__version=version) if version else rows


def conditions_owned_by(user: User) -> QuerySet[Condition]:
    """What somebody has to see to, by whichever of their accounts."""
    mine = Q(owner=user.identity_id) | Q(owner__merged_into=user.identity_id)
    return unmet_conditions().filter(mine, status=Condition.Status.OPEN)


def claims_to_confirm(user: User) -> list[Condition]:
    """What is said to be met and this person may confirm."""
    rows = unmet_conditions().filter(status=Condition.Status.CLAIMED)
    return [condition for condition in rows if can(check_may_confirm, user, condition)]


def confirmers_of(condition: Condition) -> list[User]:
    """Everyone who may confirm a condition."""
    return [
        person
        for person in people_with(*VOTERS, on=condition)
        if not same_person(person, condition.owner)
        and not same_person(person, condition.claimed_by)
        and can(check_had_no_interest, person, condition.review, to="confirm conditions of")
    ]
