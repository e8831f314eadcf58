"""All that a committee has before it: how a review stands, what changed since the last approval, and who may do what.

The number of queries does not grow with votes, comments, conditions or audits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from django.core.cache import cache
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.access import Permission, can, same_person
from core.errors import AuscultError
from core.models import INSIDERS, RoleGrant, User
from evaluation.models import AuditRun, RunStatus
from governance.access import (
    check_evidence_allows,
    check_had_no_part,
    check_may_vote,
    check_rests_on_what_was_reviewed,
    findings_of,
    voters_of,
)
from governance.models import Bundle, Comment, Recusal, Report, Review, Risk, Vote
from governance.policies.findings import GateFindings
from governance.selectors import Tally, bundles_list, reports_list, review_by_id, reviews
from governance.selectors.approvals import APPROVED_BY
from governance.selectors.conditions import ConditionRow, conditions_of, row_for
from governance.selectors.electorate import Standing, standing
from governance.standing.version_diff import VersionDiff, compare
from models_registry.services.versions import model_store

MOST_RUNS = 100
NOBODY = Permission(allowed=False, reason="")
UNLISTED = ("protocol__source", "protocol__body", "cohort__summary")
"""What no list of runs shows: long texts and JSON."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What changed since the last approved version of the system.

    Attributes:
        former: The review that approved it; None where the system was never approved.
        run, former_run: The audits that are compared; they may be others than those of the reviews.
        problem: Why nothing could be compared; empty otherwise.
        opened, closed: Risks of the system that were opened and closed since then.
    """

    former: Review | None = None
    run: AuditRun | None = None
    former_run: AuditRun | None = None
    diff: VersionDiff | None = None
    problem: str = ""
    opened: tuple[Risk, ...] = ()
    closed: tuple[Risk, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReviewRoom:
    """One review as one person sees it.

    Attributes:
        standing: Who has still to vote; None for a closed review.
        findings: How the version stands now against the policy; None without a policy, and for a closed review.
        findings_problem: Why the policy could not be asked; empty otherwise.
        frozen: Somebody voted to approve, so the conditions are not changed any more.
        excluded: Who may not vote, each with every reason.
    """

    review: Review
    votes: tuple[Vote, ...]
    tally: Tally
    recusals: tuple[Recusal, ...]
    comments: tuple[Comment, ...]
    conditions: tuple[ConditionRow, ...]
    standing: Standing | None
    findings: GateFindings | None
    findings_problem: str
    change: Change
    other_runs: tuple[AuditRun, ...]
    more_runs: int
    reports: tuple[Report, ...]
    bundles: tuple[Bundle, ...]
    excluded: tuple[tuple[User, str], ...]
    frozen: bool
    may_vote: Permission
    may_approve: Permission

    @property
    def evidence_at(self) -> datetime | None:
        return self.review.run.finished_at


def seen_by(user: User, room: ReviewRoom) -> ReviewRoom:
    """A room with what a person may do in it: what is asked of the room costs no query."""
    may_vote = can(check_may_vote, user, room.review)
    return replace(
        room,
        conditions=tuple(row_for(row.condition, user=user, frozen=room.frozen) for row in room.conditions),
        may_vote=may_vote,
        may_approve=_may_approve(room.review, room.findings, room.findings_problem) if may_vote else may_vote,
    )


def room_of(pk: int) -> ReviewRoom:
    """One review as it is for everybody: nobody may do anything in it yet.

    Raises:
        NotFoundError: there is none with this number.
    """
    review = review_by_id(pk)
    votes, is_open = tuple(review.votes.all()), review.status == Review.Status.OPEN
    findings, problem = _findings(review) if is_open else (None, "")
    standing_now, runs = standing(review) if is_open else None, _runs(review)
    others = tuple(run for run in runs if run.pk != review.run_id)
    return ReviewRoom(
        review=review,
        votes=votes,
        tally=tally_of(review),
        recusals=tuple(review.recusals.all()),
        comments=tuple(review.comments.select_related("author")),
        conditions=tuple(ConditionRow(condition=condition) for condition in conditions_of(review)),
        standing=standing_now,
        findings=findings,
        findings_problem=problem,
        change=change_since_approval(review, runs),
        other_runs=others[:MOST_RUNS],
        more_runs=max(0, len(others) - MOST_RUNS),
        reports=tuple(reports_list(run=review.run)),
        bundles=tuple(bundles_list(review=review)),
        excluded=_excluded(review),
        frozen=any(vote.choice == Vote.Choice.APPROVE for vote in votes),
        may_vote=NOBODY,
        may_approve=NOBODY,
    )


def tally_of(review: Review) -> Tally:
    choices = [vote.choice for vote in review.votes.all()]
    approve, reject = Vote.Choice.APPROVE, Vote.Choice.REJECT
    return Tally(approve=choices.count(approve), reject=choices.count(reject), quorum=review.quorum)


def _runs(review: Review) -> list[AuditRun]:
    """Every audit of the version, so that a chosen one cannot pass for the only one."""
    rows = AuditRun.objects.filter(version=review.version_id)
    return list(rows.select_related("protocol", "cohort__cohort").defer(*UNLISTED).order_by("-pk"))


def _findings(review: Review) -> tuple[GateFindings | None, str]:
    try:
        return findings_of(review), ""
    except AuscultError as error:
        return None, str(error)


def _may_approve(review: Review, findings: GateFindings | None, problem: str) -> Permission:
    """As the service decides it, with the findings that the page shows already."""
    if problem:
        return Permission(allowed=False, reason=problem)
    rests = can(check_rests_on_what_was_reviewed, review)
    return rests and can(check_evidence_allows, review, outcome=review.run.outcome, findings=findings)


def _excluded(review: Review) -> tuple[tuple[User, str], ...]:
    """Who may not vote here, one line for each person."""
    parts = [
        (review.submitter, "submitted this version"),
        (review.runner, "requested the audit"),
        (review.protocol_approver, "approved the protocol"),
        *((recusal.person, "takes no part") for recusal in review.recusals.all()),
    ]
    found: list[tuple[User, list[str]]] = []
    for person, part in parts:
        known = next((why for other, why in found if same_person(other, person)), None)
        if known is None:
            found.append((person, [part]))
        else:
            known.append(part)
    return tuple((person, " and ".join(why)) for person, why in found)


# ---- What changed


def change_since_approval(review: Review, runs: list[AuditRun]) -> Change:
    """What changed from the version that was approved last, before this review was opened, to this one.

    Args:
        runs: Every audit of this review's version.
    """
    approved = Review.objects.filter(
        version__system=review.version.system_id, status__in=APPROVED_BY, closed_at__lte=review.opened_at
    )
    about = ("version__system", "run__protocol", "run__cohort__cohort")
    former = approved.exclude(pk=review.pk).select_related(*about).order_by("-closed_at", "-pk").first()
    if former is None:
        return Change()
    until = review.closed_at or timezone.now()
    mine, theirs = _pair(review, former, runs, until=until)
    diff, problem = _compared(theirs, mine)
    opened, closed = _risks_since(review, former, until=until)
    return Change(former=former, run=mine, former_run=theirs, diff=diff, problem=problem, opened=opened, closed=closed)


def _pair(review: Review, former: Review, runs: list[AuditRun], *, until: datetime) -> tuple[AuditRun, AuditRun]:
    """The two audits to compare: those of the reviews where they are of one kind; else the newest pair that is."""
    rows = AuditRun.objects.filter(version=former.version_id, status=RunStatus.DONE).exclude(evidence_digest="")
    known = rows.select_related("protocol", "cohort__cohort").defer(*UNLISTED).order_by("-pk")
    theirs = [former.run, *(run for run in known if run.pk not in (former.run_id, review.run_id))]
    mine = [review.run, *_usable(runs, review, until=until)]
    if former.version_id == review.version_id:  # decided anew: an audit is not compared with itself
        theirs, mine = [former.run], [review.run]
    # By its own audit first, whatever it is compared with; only then by another one of this version.
    for one in mine:
        for other in theirs:
            if (one.protocol_id, one.cohort_id) == (other.protocol_id, other.cohort_id):
                return one, other
    return review.run, former.run


def _usable(runs: list[AuditRun], review: Review, *, until: datetime) -> list[AuditRun]:
    return [
        run
        for run in runs
        if run.pk != review.run_id
        and run.status == RunStatus.DONE
        and run.evidence_digest
        and run.finished_at is not None
        and run.finished_at <= until
    ]


def _compared(before: AuditRun, after: AuditRun) -> tuple[VersionDiff | None, str]:
    """The difference of two audits' evidence. Kept by the two digests: equal evidence gives an equal difference."""
    key = f"version-diff:1:{before.evidence_digest}:{after.evidence_digest}"
    kept: VersionDiff | None = cache.get(key)
    if kept is not None:
        return kept, ""
    store = model_store()
    try:
        found = compare(store.get_json(before.evidence_digest), store.get_json(after.evidence_digest))
    except AuscultError as error:
        return None, str(error)
    cache.set(key, found, timeout=24 * 3600)
    return found, ""


def _risks_since(review: Review, former: Review, *, until: datetime) -> tuple[tuple[Risk, ...], tuple[Risk, ...]]:
    span = (former.closed_at, until)
    touched = Q(opened_at__range=span) | Q(closed_at__range=span)
    rows = list(Risk.objects.filter(touched, system=review.version.system_id).order_by("number"))
    closed = tuple(risk for risk in rows if risk.status == Risk.Status.CLOSED)
    return tuple(risk for risk in rows if risk.status != Risk.Status.CLOSED), closed


# ---- Lists


@dataclass(frozen=True, kw_only=True)
class OpenReview:
    """An open review as everybody sees it, and how it stands."""

    review: Review
    tally: Tally


def open_reviews() -> list[OpenReview]:
    """Three queries, however many there are."""
    rows = reviews().filter(status=Review.Status.OPEN)
    return [OpenReview(review=review, tally=tally_of(review)) for review in rows]


def waiting_for(found: Iterable[OpenReview]) -> dict[int, tuple[User, ...]]:
    """Who may vote on each of some reviews, by its key, and has not; one query for all of them."""
    rows = [item.review for item in found]
    roles = {role for review in rows for role in voters_of(review)}
    grants = RoleGrant.objects.filter(role__in=roles, user__is_active=True, user__merged_into=None)
    held: dict[User, set[str]] = {}
    for grant in grants.select_related("user").order_by("user__username"):
        held.setdefault(grant.user, set()).add(grant.role)
    return {review.pk: tuple(_waiting(review, held)) for review in rows}


def votable_first(found: Iterable[OpenReview], user: User) -> list[tuple[OpenReview, Permission]]:
    """Open reviews, each with whether the person may vote and why not; those first on which they may."""
    rows = [(item, can(check_may_vote, user, item.review)) for item in found]
    return sorted(rows, key=lambda row: not row[1])


def _waiting(review: Review, held: dict[User, set[str]]) -> Iterable[User]:
    asked = set(voters_of(review))
    for person, roles in held.items():
        voted = any(same_person(vote.voter, person) for vote in review.votes.all())
        if roles & asked and not voted and can(check_had_no_part, person, review, to="vote on"):
            yield person


def decided_reviews() -> QuerySet[Review]:
    """Closed reviews, the latest first."""
    return reviews().exclude(status=Review.Status.OPEN).order_by("-closed_at", "-pk")


def possible_owners() -> list[User]:
    """Everyone who can see to a condition: open accounts with a role other than regulator."""
    granted = RoleGrant.objects.filter(role__in=INSIDERS).values("user")
    rows = User.objects.filter(pk__in=granted, is_active=True, merged_into=None)
    return list(rows.order_by("first_name", "last_name", "username"))
