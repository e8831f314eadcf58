"""Who can still vote on a review, and whether their votes can still decide it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.access import can, people_with, same_person
from core.models import Role, RoleGrant, User
from governance.access import check_had_no_part, required_roles, voters_of
from governance.models import Review, Vote
from governance.quorums import filled


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a review is from a decision.

    Attributes:
        waiting: Who may vote and has not.
        missing_roles: Required roles that nobody fills yet among those who approve.
        can_approve, can_reject: Whether the votes that are left can still decide so.
    """

    waiting: tuple[User, ...]
    missing_roles: tuple[Role, ...]
    can_approve: bool
    can_reject: bool

    @property
    def stuck(self) -> bool:
        return not (self.can_approve or self.can_reject)


def roles_by_person(people: Iterable[User]) -> dict[int, frozenset[str]]:
    """The roles that each of these accounts holds now, by one query."""
    found: dict[int, set[str]] = {person.pk: set() for person in people}
    for user, role in RoleGrant.objects.filter(user__in=found).values_list("user", "role"):
        found[user].add(role)
    return {user: frozenset(roles) for user, roles in found.items()}


def waiting_voters(review: Review) -> list[User]:
    """Everyone who may vote on the review and has not, one for each person."""
    votes = list(review.votes.all())
    return [
        person
        for person in people_with(*voters_of(review), on=review)
        if can(check_had_no_part, person, review, to="vote on")
        and not any(same_person(vote.voter, person) for vote in votes)
    ]


def standing(review: Review) -> Standing:
    """How the votes stand, from the rows as they are. A fixed number of queries for one review."""
    votes = list(Vote.objects.filter(review=review).select_related("voter"))
    waiting = waiting_voters(review)
    approving = [vote.voter for vote in votes if vote.choice == Vote.Choice.APPROVE]
    required = required_roles(review)
    held = roles_by_person([*approving, *waiting]) if required else {}
    now = filled(required, [held[person.pk] for person in approving]) if required else {}
    ever = filled(required, [held[person.pk] for person in [*approving, *waiting]]) if required else {}
    rejecting = len(votes) - len(approving)
    return Standing(
        waiting=tuple(waiting),
        missing_roles=tuple(role for role in required if role not in now),
        can_approve=len(approving) + len(waiting) >= review.quorum and len(ever) == len(required),
        can_reject=rejecting + len(waiting) >= review.quorum,
    )
