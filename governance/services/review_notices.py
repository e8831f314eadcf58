"""Telling people of a review: that it waits for their vote, that it is decided, that it cannot be decided."""

from __future__ import annotations

from collections.abc import Iterable

from core.access import people_with
from core.models import Role, Topic, User
from core.notifications import Urgency, notify, resolve
from governance.models import Recusal, Review
from governance.selectors.electorate import standing, waiting_voters


def address_of(review: Review) -> str:
    """The page of a review, without loading the pages: services run in workers too."""
    return f"/governance/reviews/{review.pk}/"


def person_of(user: User) -> User:
    """The account that stands for the person: a closed one that was merged is told of nothing."""
    return user.merged_into or user


def tell_opened(review: Review) -> None:
    notify(
        to=waiting_voters(review),
        topic=Topic.REVIEWS,
        urgency=Urgency.ACTION,
        title=f"Vote on {review.version}",
        text=f"{review.opened_by} put the evidence of audit {review.run_id} before the committee.",
        href=address_of(review),
        key=f"review:{review.pk}:opened",
    )
    tell_stuck(review)


def tell_closed(review: Review, *, reason: str = "") -> None:
    """Whoever had a part or a vote learns how it ended; nobody is waited for any more."""
    resolve(f"review:{review.pk}")
    voters = [vote.voter for vote in review.votes.select_related("voter__merged_into")]
    people = [review.submitter, review.runner, review.opened_by, *voters]
    notify(
        to=_persons(people),
        topic=Topic.REVIEWS,
        title=f"{review.version}: {review.get_status_display().lower()}",
        text=reason,
        href=address_of(review),
        key=f"review:{review.pk}:closed",
    )


def tell_recused(recusal: Recusal) -> None:
    """Whom somebody else keeps out of a review learns it, and so do the chairs: it can turn a vote."""
    review = recusal.review
    notify(
        to=[recusal.person, *people_with(Role.COMMITTEE_CHAIR, on=recusal)],
        topic=Topic.REVIEWS,
        title=f"{recusal.person} takes no part in the review of {review.version}",
        text=f"{recusal.recorded_by} recorded it, with this reason: {recusal.reason}",
        href=address_of(review),
        key=f"review:{review.pk}:recused:{recusal.pk}",
    )


def tell_stuck(review: Review) -> None:
    """The chairs learn when too few people are left to decide either way. Nothing is decided by it."""
    found = standing(review)
    if not found.stuck:
        return
    notify(
        to=people_with(Role.COMMITTEE_CHAIR, on=review),
        topic=Topic.REVIEWS,
        urgency=Urgency.ACTION,
        title=f"The review of {review.version} cannot be decided any more",
        text=f"{len(found.waiting)} who may vote have not voted; a decision needs {review.quorum} equal votes. "
        "Appoint more members, or withdraw the review.",
        href=address_of(review),
        key=f"review:{review.pk}:stuck",
    )


def _persons(people: Iterable[User]) -> list[User]:
    return [person_of(person) for person in people]
