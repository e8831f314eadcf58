"""Conditions of an approval: what must be done by a day, by a named person, and is confirmed by another."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from core import ledger
from core.access import roles_of, same_person
from core.digests import sha256_text
from core.errors import RELOAD, ConflictError
from core.models import INSIDERS, Topic, User
from core.notifications import Urgency, notify, resolve
from core.plain_text import written
from core.reach import service
from core.stepup import StepUp, check_stepped_up
from governance.access_conditions import (
    check_may_claim,
    check_may_confirm,
    check_may_propose,
    check_may_reassign,
    check_may_remove,
)
from governance.execution_conditions import lapse_conditions
from governance.models import Condition, Review, Vote
from governance.services.review_notices import address_of, person_of
from governance.services.review_rows import about, check_still_open, locked_review
from governance.standing.condition_states import ALIVE, TRANSITIONS, UNMET
from models_registry.models import VersionStatus
from models_registry.services.versions import transition_version

__all__ = [
    "claim_condition",
    "confirm_condition",
    "lapse_conditions",
    "propose_condition",
    "reassign_condition",
    "remove_condition",
    "return_claim",
]

Status = Condition.Status
MOST_CONDITIONS, MOST_WORDS = 20, 2_000
LONGEST = timedelta(days=731)
"""Two years: what takes longer is no condition of an approval but a new version."""


@service
def propose_condition(*, review: Review, text: str, owner: User | None, due_at: datetime, by: User) -> Condition:
    """Propose what an approval is to hang on. Open to all until the first vote to approve, which approves under it.

    Args:
        owner: Who sees to it. There is no condition without one.
        due_at: The moment by which it has to be confirmed; with its time zone, in the future, within two years.

    Raises:
        DeniedError: ``by`` does not sit on the committee, submitted the version, ran the audit, or is recused.
        ConflictError: the review is closed, somebody has voted to approve, there is no text, no owner who could see to
            it, or no day that can be met.
    """
    review = locked_review(review.pk)
    check_may_propose(by, review)
    text = written(
        text,
        name="The condition",
        missing="A condition needs words.",
        remedy="Write what has to be done.",
        most=MOST_WORDS,
    )
    check_still_open(review)
    _check_not_frozen(review)
    owner = _checked_owner(owner)
    _check_due(due_at)
    if review.conditions.filter(status=Status.PROPOSED).count() >= MOST_CONDITIONS:
        raise ConflictError(f"There are {MOST_CONDITIONS} conditions already.", remedy="Take one back, or reject.")
    condition = Condition.objects.create(review=review, text=text, owner=owner, due_at=due_at, proposed_by=by)
    _record(condition, review, "condition.proposed", by, text_sha256=sha256_text(text))
    return condition


def _check_not_frozen(review: Review) -> None:
    if any(vote.choice == Vote.Choice.APPROVE for vote in review.votes.all()):
        raise ConflictError(
            "Somebody has voted to approve under the conditions as they stand, so they are not changed any more.",
            remedy="Vote to reject, or ask a committee chair to withdraw this review and to open a new one.",
        )


def _checked_owner(owner: User | None) -> User:
    """The owner, who has an open account and works here.

    Raises:
        ConflictError: there is none, or they could not see to it.
    """
    if owner is None:
        raise ConflictError("A condition needs an owner.", remedy="Name the person who sees to it.")
    if not owner.is_active or owner.merged_into_id is not None:
        raise ConflictError(f"The account of {owner} is closed.", remedy="Name somebody who can see to it.")
    if not roles_of(owner) & set(INSIDERS):
        raise ConflictError(f"{owner} has no role here, so cannot own a condition.", remedy="Name somebody who has.")
    return owner


def _check_due(due_at: datetime) -> None:
    if timezone.is_naive(due_at):
        raise ConflictError("The day of a condition has no time zone.", remedy="Give it with its zone.")
    now = timezone.now()
    if due_at <= now:
        raise ConflictError("The day of a condition lies in the past.", remedy="Give one that can still be met.")
    if due_at > now + LONGEST:
        raise ConflictError("The day of a condition is more than two years away.", remedy="Give an earlier one.")


@service
def remove_condition(*, condition: Condition, by: User) -> Condition:
    """Take a proposed condition back, before anybody has voted to approve under it.

    Raises:
        DeniedError: ``by`` neither proposed it nor is a committee chair.
        ConflictError: the review is closed, or somebody has voted to approve.
    """
    condition, review = _locked(condition)
    check_may_remove(by, condition)
    check_still_open(review)
    _check_not_frozen(review)
    _move(condition, to=Status.REMOVED)
    _record(condition, review, "condition.removed", by)
    resolve(f"condition:{condition.pk}")
    return condition


@service
def claim_condition(*, condition: Condition, claim: str, by: User) -> Condition:
    """The owner says that it is met, and how. It counts once another person has confirmed it.

    Raises:
        DeniedError: ``by`` does not own it.
        ConflictError: it is not open, its day has passed, its approval has ended, or nothing is said.
    """
    condition, review = _locked(condition)
    check_may_claim(by, condition)
    claim = written(
        claim,
        name="What was done",
        missing="Say what was done.",
        remedy="Write it so that another person can check it.",
    )
    _check_alive(condition, review)
    _move(condition, to=Status.CLAIMED, claim=claim, claimed_by=by, claimed_at=timezone.now(), remark="")
    _record(condition, review, "condition.claimed", by, claim_sha256=sha256_text(claim))
    resolve(f"condition:{condition.pk}", to=by)
    _tell_confirmers(condition, review)
    return condition


@service
def confirm_condition(*, condition: Condition, remark: str, by: User, signed: StepUp) -> Condition:
    """Confirm that a condition is met. With the last one the version is approved without conditions.

    Args:
        remark: What was checked.

    Raises:
        DeniedError: ``by`` owns or claimed it, had a part in the audit, does not sit on the committee, or has not
            proved who they are.
        ConflictError: nobody claims that it is met, its day has passed, its approval has ended, or nothing is said.
    """
    condition, review = _locked(condition)
    check_may_confirm(by, condition)
    proof = check_stepped_up(signed, by)
    remark = written(
        remark, name="The remark", missing="Say what you checked.", remedy="Write how you know that it is met."
    )
    _check_alive(condition, review)
    _move(condition, to=Status.MET, remark=remark, confirmed_by=by, confirmed_at=timezone.now())
    facts = {"remark_sha256": sha256_text(remark), "claimed_by": _name(condition.claimed_by)}
    _record(condition, review, "condition.confirmed", by, **facts, **proof.in_ledger())
    resolve(f"condition:{condition.pk}")
    _settle(review, by=by)
    return condition


def _settle(review: Review, *, by: User) -> None:
    """Without anything left to meet the approval is one without conditions. Deployed or suspended, it stays so."""
    left = review.conditions.filter(status__in=[*UNMET, Status.LAPSED]).exists()
    if not left and review.version.status == VersionStatus.CONDITIONAL:
        reason = f"every condition of review {review.pk} is met"
        transition_version(version=review.version, to=VersionStatus.APPROVED, by=by, reason=reason)


@service
def return_claim(*, condition: Condition, reason: str, by: User) -> Condition:
    """Say that a condition is not met after all: its owner goes on.

    Raises:
        DeniedError: as for confirming.
        ConflictError: nobody claims that it is met, its day has passed, its approval has ended, or there is no reason.
    """
    condition, review = _locked(condition)
    check_may_confirm(by, condition)
    reason = written(
        reason, name="The reason", missing="Returning a claim needs a reason.", remedy="Write what is still missing."
    )
    _check_alive(condition, review)
    _move(condition, to=Status.OPEN, remark=reason)
    _record(condition, review, "condition.returned", by, reason_sha256=sha256_text(reason))
    resolve(f"condition:{condition.pk}:claimed")
    _tell_owner(condition, review, title="What you said of a condition was returned", text=reason, event="returned")
    return condition


@service
def reassign_condition(*, condition: Condition, owner: User, by: User) -> Condition:
    """Give a condition that is not met to another owner. What was claimed has to be claimed anew.

    Raises:
        DeniedError: ``by`` is no committee chair, or is recused.
        ConflictError: it is not open, the new owner is the present one or could not see to it, or it has ended.
    """
    condition, review = _locked(condition)
    check_may_reassign(by, condition)
    owner = _checked_owner(owner)
    if same_person(owner, condition.owner):
        raise ConflictError(f"{owner} owns this condition already.", remedy="Name somebody else.")
    _check_alive(condition, review)
    before = condition.owner
    if condition.status == Status.CLAIMED:
        _move(condition, to=Status.OPEN)
    handed = Condition.objects.filter(pk=condition.pk, status=Status.OPEN).update(owner=owner)
    if not handed:
        raise ConflictError(f"This condition is {condition.get_status_display().lower()}.", remedy=RELOAD)
    condition.refresh_from_db()
    _record(condition, review, "condition.reassigned", by, former_owner=before.username)
    resolve(f"condition:{condition.pk}")
    _tell_owner(condition, review, title="A condition was handed to you", text=condition.text, event="reassigned")
    return condition


def _locked(condition: Condition) -> tuple[Condition, Review]:
    """The condition and its review as they are now; the lock on the review puts all acts on its conditions in a row."""
    review = locked_review(condition.review_id)
    people = ("owner__merged_into", "proposed_by", "claimed_by")
    row = Condition.objects.select_related(*people).get(pk=condition.pk)
    row.review = review
    return row, review


def _check_alive(condition: Condition, review: Review) -> None:
    """Its approval stands (a suspended one does too), and its day has not passed."""
    version = review.version
    void = version.void_at is not None and review.closed_at is not None and version.void_at >= review.closed_at
    if version.status not in ALIVE or void:
        raise ConflictError("The approval that this condition belongs to has ended.", remedy=RELOAD)
    if condition.due_at <= timezone.now():
        raise ConflictError(
            f"The day of this condition has passed: {condition.due_at:%d %b %Y %H:%M %Z}.",
            remedy="The committee has to decide anew, on a new audit.",
        )


def _move(condition: Condition, *, to: Condition.Status, **changes: Any) -> None:
    """Move by a conditional UPDATE from a state that allows it."""
    old = [status for status, following in TRANSITIONS.items() if to in following]
    if not Condition.objects.filter(pk=condition.pk, status__in=old).update(status=to, **changes):
        raise ConflictError(f"This condition is {condition.get_status_display().lower()}.", remedy=RELOAD)
    condition.refresh_from_db(fields=["status", *changes])


def _record(condition: Condition, review: Review, act: str, by: User, **facts: Any) -> None:
    bound = {"condition": condition.pk, "owner": condition.owner.username, "due_at": condition.due_at.isoformat()}
    ledger.record(
        actor=by.username, act=act, subject=("Condition", condition.pk), payload=about(review) | bound | facts
    )


def _name(user: User | None) -> str:
    return user.username if user else ""


def _tell_owner(condition: Condition, review: Review, *, title: str, text: str, event: str) -> None:
    notify(
        to=[person_of(condition.owner)],
        topic=Topic.CONDITIONS,
        urgency=Urgency.ACTION,
        title=title,
        text=text,
        href=address_of(review),
        key=f"condition:{condition.pk}:{event}:{timezone.now():%Y%m%d%H%M%S%f}",
    )


def _tell_confirmers(condition: Condition, review: Review) -> None:
    """Those who may confirm it: voters who neither own it nor had a part."""
    from governance.selectors.conditions import confirmers_of

    notify(
        to=confirmers_of(condition),
        topic=Topic.CONDITIONS,
        urgency=Urgency.ACTION,
        title=f"Confirm a condition of {review.version}",
        text=condition.text,
        href=address_of(review),
        key=f"condition:{condition.pk}:claimed:{condition.claimed_at:%Y%m%d%H%M%S%f}",
    )
