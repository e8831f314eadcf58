"""Who may set conditions of an approval, say that they are met, and confirm it: never the same person."""

from __future__ import annotations

from core.access import check_role, same_person
from core.errors import DeniedError
from core.models import Role, User
from governance.access import VOTERS, check_not_recused, voters_of
from governance.models import Condition, Review


def check_may_propose(user: User, review: Review) -> None:
    """Who may vote, and the chair. Not who submitted the version or ran the audit."""
    check_had_no_interest(user, review, to="set conditions for")
    check_role(user, *voters_of(review), to="propose conditions")


def check_had_no_interest(user: User, review: Review, *, to: str) -> None:
    """As for a vote, but who approved the protocol may: often it is the chair, and rules are no side of a case."""
    if same_person(review.submitter, user):
        raise DeniedError(
            f"You submitted this version, so you cannot {to} it.", remedy="A member of the committee can."
        )
    if same_person(review.runner, user):
        raise DeniedError(
            f"You requested this audit, so you cannot {to} what it found.", remedy="A member of the committee can."
        )
    check_not_recused(user, review, to=to)


def check_may_remove(user: User, condition: Condition) -> None:
    """Whoever proposed it, and the chair."""
    check_not_recused(user, condition.review, to="set conditions for")
    if not same_person(condition.proposed_by, user):
        check_role(user, Role.COMMITTEE_CHAIR, to="take back a condition that somebody else proposed")


def check_may_claim(user: User, condition: Condition) -> None:
    """Its owner only."""
    if not same_person(condition.owner, user):
        raise DeniedError(
            f"Only {condition.owner} may say that this condition is met.",
            remedy="Ask them, or ask a committee chair to hand it over.",
        )
    if not user.is_active:
        raise DeniedError("This account is closed.", remedy="Ask an administrator to open it again.")


def check_may_confirm(user: User, condition: Condition) -> None:
    """A member of the committee who neither owns it nor said that it is met, and had no part in the audit."""
    if same_person(condition.owner, user):
        raise DeniedError("You own this condition, so you cannot confirm it.", remedy="Another member has to look.")
    if same_person(condition.claimed_by, user):
        raise DeniedError(
            "You said that this condition is met, so you cannot confirm it.", remedy="Another member has to look."
        )
    check_had_no_interest(user, condition.review, to="confirm conditions of")
    check_role(user, *VOTERS, to="confirm a condition")


def check_may_reassign(user: User, condition: Condition) -> None:
    check_not_recused(user, condition.review, to="hand over conditions of")
    check_role(user, Role.COMMITTEE_CHAIR, to="hand a condition over to somebody else")
