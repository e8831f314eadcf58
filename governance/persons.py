"""Whether one person stands behind two parts of a review. What counts is the person, by whichever account."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Prefetch, QuerySet

from core.access import same_person
from governance.models import Condition, Policy, Recusal, ReleaseVote, Review, SyntheticRelease, Vote

PARTS = ("submitter", "runner", "protocol_approver")
PART_WORDS = {
    "submitter": "submitted the version",
    "runner": "ran the audit",
    "protocol_approver": "approved its protocol",
    "recused": "takes no part in it",
}


def with_people(rows: QuerySet[Review]) -> QuerySet[Review]:
    """Reviews with everyone whom :func:`two_parts` compares, in three queries."""
    votes = Prefetch("votes", queryset=Vote.objects.select_related("voter"))
    recusals = Prefetch("recusals", queryset=Recusal.objects.select_related("person"))
    met = Condition.objects.filter(status=Condition.Status.MET)
    conditions = Prefetch(
        "conditions", queryset=met.select_related("owner", "claimed_by", "confirmed_by"), to_attr="met"
    )
    return rows.select_related(*PARTS).prefetch_related(votes, recusals, conditions)


def two_parts(review: Review) -> str:
    """In words, how one person had two parts in a review that exclude each other; empty where nobody had."""
    had: dict[int, list[str]] = {}
    for part in PARTS:
        had.setdefault(getattr(review, part).identity_id, []).append(part)
    for recusal in review.recusals.all():
        had.setdefault(recusal.person.identity_id, []).append("recused")
    for person, parts in had.items():
        if len(set(parts) - {"recused"}) > 1:
            named = " and ".join(PART_WORDS[part] for part in parts if part != "recused")
            return f"{_named(review, person)} {named}, by two accounts."
    voters = [vote.voter for vote in review.votes.all()]
    for voter in voters:
        if parts := had.get(voter.identity_id, []):
            return f"{voter} voted and {PART_WORDS[parts[0]]}, by two accounts."
    if len({voter.identity_id for voter in voters}) < len(voters):
        twice = next(voter for voter in voters if _count(voter.identity_id, voters) > 1)
        return f"{twice} voted twice, by two accounts."
    for condition in getattr(review, "met", ()):
        if any(same_person(condition.confirmed_by, other) for other in (condition.owner, condition.claimed_by)):
            return f"{condition.confirmed_by} confirmed a condition of their own, by two accounts."
    return ""


def separate_votes(release: SyntheticRelease, votes: Iterable[ReleaseVote]) -> list[ReleaseVote]:
    """The votes on a release that count: of nobody who made or asked for it, and one of each person."""
    apart = {release.submitter.identity_id, release.requester.identity_id}
    first: dict[int, ReleaseVote] = {}
    for vote in votes:
        first.setdefault(vote.voter.identity_id, vote)
    return [vote for person, vote in first.items() if person not in apart]


def approved_alone(policy: Policy) -> bool:
    """Whether who proposed a policy approved it too, as it turned out: by an account that was merged since."""
    return same_person(policy.proposed_by, policy.approved_by)


def _count(person: int, voters: Iterable[object]) -> int:
    return sum(getattr(voter, "identity_id", None) == person for voter in voters)


def _named(review: Review, person: int) -> str:
    return next(str(getattr(review, part)) for part in PARTS if getattr(review, part).identity_id == person)
