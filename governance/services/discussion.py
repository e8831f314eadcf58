"""Taking no part in a review, and speaking in it."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from core import ledger
from core.access import check_role, roles_of, same_person
from core.digests import sha256_text
from core.errors import RELOAD, ConflictError, DeniedError
from core.models import Role, User
from core.notifications import resolve
from core.plain_text import written
from core.reach import service
from governance.access import VOTERS, check_not_recused, voters_of
from governance.models import Comment, Recusal, Review
from governance.services.review_notices import tell_recused, tell_stuck
from governance.services.review_rows import about, check_still_open, locked_review

SPEAKERS = (*VOTERS, Role.AUDITOR, Role.ML_ENGINEER, Role.DPO)
"""Who may speak: the committee, and those whose work it judges, who answer its questions."""


def check_may_recuse(user: User, review: Review, person: User) -> None:
    """Oneself; or a committee chair, for a conflict of interest that somebody declared or that is known."""
    if same_person(person, user):
        return
    check_not_recused(user, review, to="recuse others from")
    check_role(user, Role.COMMITTEE_CHAIR, to="recuse somebody else")


@service
def recuse(*, review: Review, person: User, reason: str, by: User) -> Recusal:
    """Keep a member out of one review. It cannot be undone, and the database refuses their vote from then on.

    Raises:
        DeniedError: ``by`` is neither the person nor a committee chair.
        ConflictError: the review is closed, the person has voted or is recused already, has no vote in it anyway, or
            there is no reason.
    """
    review = locked_review(review.pk)
    check_may_recuse(by, review, person)
    reason = written(
        reason, name="The reason", missing="A recusal needs a reason.", remedy="Name the conflict of interest."
    )
    check_still_open(review)
    _check_has_a_vote_left(review, person)
    try:
        with transaction.atomic():
            recusal = Recusal.objects.create(review=review, person=person, reason=reason, recorded_by=by)
    except IntegrityError as error:
        raise ConflictError(f"{person} has voted or is recused already.", remedy=RELOAD) from error
    ledger.record(
        actor=by.username,
        act="recusal.recorded",
        subject=("Recusal", recusal.pk),
        payload=about(review) | {"person": person.username, "reason_sha256": sha256_text(reason)},
    )
    resolve(f"review:{review.pk}:opened", to=person)
    if not same_person(person, by):
        tell_recused(recusal)
    tell_stuck(locked_review(review.pk))
    return recusal


def _check_has_a_vote_left(review: Review, person: User) -> None:
    if any(same_person(vote.voter, person) for vote in review.votes.all()):
        raise ConflictError(
            f"{person} has voted. Who has voted is not recused.",
            remedy="If the vote should not count, a committee chair withdraws the review.",
        )
    if any(same_person(recusal.person, person) for recusal in review.recusals.all()):
        raise ConflictError(f"{person} is recused already.", remedy=RELOAD)
    parts = (review.submitter, review.runner, review.protocol_approver)
    if any(same_person(part, person) for part in parts) or not roles_of(person) & set(voters_of(review)):
        raise ConflictError(f"{person} has no vote in this review.", remedy="There is nothing to be recused from.")


def check_may_speak(user: User, review: Review) -> None:
    """Whoever works on systems or sits on the committee, unless they take no part in this review."""
    check_not_recused(user, review, to="speak on")
    check_role(user, *SPEAKERS, to="speak on a review")
    if review.status != Review.Status.OPEN:
        raise DeniedError(f"This review is closed: {review.get_status_display().lower()}.")


@service
def add_comment(*, review: Review, text: str, by: User) -> Comment:
    """Say something in the discussion of an open review. It stays as it was said.

    Raises:
        DeniedError: ``by`` may not speak here, or the review is closed.
        ConflictError: there is no text, or it is too long.
    """
    review = locked_review(review.pk)
    check_may_speak(by, review)
    text = written(
        text, name="The contribution", missing="There is nothing to say yet.", remedy="Write your contribution."
    )
    comment = Comment.objects.create(review=review, author=by, text=text)
    ledger.record(
        actor=by.username,
        act="comment.added",
        subject=("Comment", comment.pk),
        payload=about(review) | {"text_sha256": sha256_text(text)},
    )
    return comment
