"""What is refused and recorded, signatures, recusals, discussion, and reviews that end without a decision."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import DatabaseError, transaction
from django.template import Context, Template
from django.utils import timezone

from core import ledger
from core.access import can
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, Role, RoleGrant
from core.stepup import StepUp
from governance.access import check_may_vote
from governance.models import Review, Vote
from governance.selectors.electorate import standing
from governance.services.bundles import request_bundle
from governance.services.reviews import add_comment, cast_vote, open_review, recuse, withdraw_review
from models_registry.models import ModelVersion, VersionStatus
from tests.governance.signed import signed
from tests.governance.test_reviews import review, vote

__all__ = ["review"]


def refusals() -> list[tuple[str, str]]:
    rows = LedgerEntry.objects.filter(act="vote.refused").order_by("index")
    return [(row.actor, json.loads(row.body)["payload"]["kind"]) for row in rows]


def test_a_refused_vote_is_recorded_with_its_reason(review: Review, people: SimpleNamespace) -> None:
    recuse(review=review, person=people.tom, reason="My own unit.", by=people.tom)
    for name in ("elena", "amir", "clara", "tom", "dora"):
        with pytest.raises(DeniedError):
            vote(review, getattr(people, name))
    vote(review, people.mina)
    with pytest.raises(DeniedError):
        vote(review, people.mina)
    vote(review, people.lea)
    with pytest.raises(ConflictError):
        vote(review, people.clara)
    kinds = ["submitter", "runner", "protocol_approver", "recused", "role", "voted", "closed"]
    assert refusals() == list(zip(("elena", "amir", "clara", "tom", "dora", "mina", "clara"), kinds, strict=True))
    assert Vote.objects.count() == 2 and ledger.verify().intact


def test_a_vote_is_signed(review: Review, people: SimpleNamespace) -> None:
    old = StepUp(user_id=people.mina.pk, at=timezone.now() - timedelta(minutes=6))
    ahead = StepUp(user_id=people.mina.pk, at=timezone.now() + timedelta(minutes=1))
    for proof in (None, signed(people.tom), old, ahead):
        with pytest.raises(DeniedError, match="proof of who you are"):
            cast_vote(review=review, choice="approve", rationale="Fine.", by=people.mina, signed=proof)
    cast = vote(review, people.mina)
    payload = json.loads(LedgerEntry.objects.get(act="vote.cast").body)["payload"]
    assert (payload["signed_at"], payload["signed_with"]) == (cast.signed_at.isoformat(), "password")


def test_a_rationale_stays_as_it_was_written_and_is_never_markup(review: Review, people: SimpleNamespace) -> None:
    script = "<script>alert(1)</script> & “so”"
    cast = cast_vote(
        review=review, choice="reject", rationale=f" {script}\n", by=people.mina, signed=signed(people.mina)
    )
    assert cast.rationale == script
    page = Template("{{ text }}").render(Context({"text": cast.rationale}))
    assert "<script" not in page
    assert script not in LedgerEntry.objects.get(act="vote.cast").body, "the ledger has its digest"
    for text, words in (("x" * 10_001, "10,000 are"), ("a\0b", "be printed"), ("\ud800", "be printed")):
        with pytest.raises(AuscultError, match=words):
            cast_vote(review=review, choice="reject", rationale=text, by=people.tom, signed=signed(people.tom))


def test_who_is_recused_takes_no_part(review: Review, people: SimpleNamespace) -> None:
    recuse(review=review, person=people.mina, reason="My own unit.", by=people.clara)
    with pytest.raises(DeniedError, match="You take no part in this review"):
        vote(review, people.mina)
    with pytest.raises(DeniedError, match="speak on"):
        add_comment(review=review, text="But.", by=people.mina)
    assert not can(check_may_vote, people.mina, Review.objects.get(pk=review.pk))
    with pytest.raises(ConflictError, match="recused already"):
        recuse(review=review, person=people.mina, reason="Again.", by=people.clara)


@pytest.mark.parametrize(
    ("person", "by", "words"),
    [
        ("mina", "tom", "may recuse somebody else"),
        ("elena", "clara", "has no vote in this review"),
        ("dora", "dora", "has no vote in this review"),
    ],
)
def test_who_is_not_recused(person: str, by: str, words: str, review: Review, people: SimpleNamespace) -> None:
    with pytest.raises((DeniedError, ConflictError), match=words):
        recuse(review=review, person=getattr(people, person), reason="Kin.", by=getattr(people, by))


def test_nobody_is_recused_after_their_vote(review: Review, people: SimpleNamespace) -> None:
    vote(review, people.mina)
    with pytest.raises(ConflictError, match="has voted"):
        recuse(review=review, person=people.mina, reason="Too late.", by=people.mina)


def test_a_recused_chair_runs_the_review_no_more(review: Review, people: SimpleNamespace) -> None:
    RoleGrant.objects.create(user=people.lea, role=Role.COMMITTEE_CHAIR)
    recuse(review=review, person=people.lea, reason="My own unit.", by=people.lea)
    with pytest.raises(DeniedError, match="cannot withdraw it"):
        withdraw_review(review=review, reason="I say so.", by=people.lea)
    with pytest.raises(DeniedError, match="cannot recuse others"):
        recuse(review=review, person=people.mina, reason="I say so.", by=people.lea)


def test_the_chairs_are_told_when_nobody_can_decide_any_more(review: Review, people: SimpleNamespace) -> None:
    told = Notification.objects.filter(recipient=people.clara, key=f"review:{review.pk}:stuck")
    vote(review, people.mina, "approve")
    recuse(review=review, person=people.lea, reason="Kin.", by=people.lea)
    assert not told.exists() and not standing(Review.objects.get(pk=review.pk)).can_reject
    recuse(review=review, person=people.tom, reason="Kin.", by=people.tom)
    assert told.count() == 1
    review.refresh_from_db()
    assert review.status == Review.Status.OPEN, "nothing is decided by it"


def test_a_withdrawn_review_gives_the_version_back_to_audit(review: Review, people: SimpleNamespace) -> None:
    vote(review, people.mina)
    for by, words in ((people.mina, "may withdraw a review"), (people.elena, "may withdraw a review")):
        with pytest.raises(DeniedError, match=words):
            withdraw_review(review=review, reason="Too few.", by=by)
    with pytest.raises(AuscultError, match="needs a reason"):
        withdraw_review(review=review, reason=" ", by=people.clara)
    done = withdraw_review(review=review, reason="Too few members.", by=people.clara)
    assert (done.status, done.closing_reason) == (Review.Status.WITHDRAWN, "Too few members.")
    assert ModelVersion.objects.get(pk=review.version_id).status == VersionStatus.IN_AUDIT
    with pytest.raises(ConflictError, match="closed without a decision"):
        vote(review, people.tom)
    with pytest.raises(ConflictError, match="closed without a decision"):
        withdraw_review(review=review, reason="Again.", by=people.clara)
    with pytest.raises(ConflictError, match="nothing to attest"):
        request_bundle(review=done, by=people.clara)
    assert open_review(run=review.run, by=people.clara).status == Review.Status.OPEN


def test_the_discussion_is_open_to_those_it_concerns(review: Review, people: SimpleNamespace) -> None:
    for name in ("mina", "elena", "amir", "dora"):
        add_comment(review=review, text=f"I am {name}.", by=getattr(people, name))
    for name in ("rita", "ada"):
        with pytest.raises(DeniedError, match="may speak"):
            add_comment(review=review, text="And I.", by=getattr(people, name))
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        review.comments.update(text="Nothing.")
    withdraw_review(review=review, reason="Too few.", by=people.clara)
    with pytest.raises(DeniedError, match="closed"):
        add_comment(review=review, text="Late.", by=people.mina)
