"""Separation of duties, quorum, and what the evidence allows: in the service and in the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from core import ledger
from core.access import can
from core.errors import AuscultError, ConflictError, DeniedError, DigestMismatchError
from core.models import LedgerEntry, Role, RoleGrant, User
from core.store import Store
from evaluation.models import AuditRun, RunStatus
from governance.access import check_may_approve, check_may_open_review, check_may_vote
from governance.models import Review, Vote
from governance.services import reviews
from governance.services.reviews import cast_vote, open_review
from models_registry.models import ModelVersion, VersionStatus
from tests.governance.signed import signed

Audited = Callable[..., AuditRun]


@pytest.fixture
def review(people: SimpleNamespace, audited: Audited) -> Review:
    return open_review(run=audited(), by=people.clara)


def vote(review: Review, by: User, choice: str = "approve") -> Vote:
    return cast_vote(review=review, choice=choice, rationale="I read the evidence.", by=by, signed=signed(by))


def acts(kind: str, pk: int) -> list[str]:
    rows = LedgerEntry.objects.filter(subject_kind=kind, subject_id=str(pk))
    return list(rows.values_list("act", flat=True))


def test_opening_copies_the_people_and_moves_the_version(people: SimpleNamespace, audited: Audited) -> None:
    run = audited()
    review = open_review(run=run, by=people.clara)
    assert (review.submitter, review.runner, review.protocol_approver) == (people.elena, people.amir, people.clara)
    assert (review.evidence_digest, review.version_digest) == (run.evidence_digest, run.version.digest)
    assert ModelVersion.objects.get(pk=run.version_id).status == VersionStatus.IN_REVIEW
    assert acts("Review", review.pk) == ["review.opened"]


@pytest.mark.parametrize("name", ["elena", "amir", "mina", "lea", "dora", "rita", "ada"])
def test_only_a_chair_opens_a_review(name: str, people: SimpleNamespace, audited: Audited) -> None:
    with pytest.raises(DeniedError, match="committee chair may open a review"):
        open_review(run=audited(), by=getattr(people, name))
    assert not Review.objects.exists()


@pytest.mark.parametrize("status", [s for s in RunStatus.values if s != RunStatus.DONE])
def test_a_run_that_is_not_done_has_nothing_to_review(status: str, people: SimpleNamespace, audited: Audited) -> None:
    run = audited()
    run.status = status
    with pytest.raises(ConflictError, match="no evidence to review"):
        open_review(run=run, by=people.clara)


def test_evidence_about_other_weights_is_refused(people: SimpleNamespace, audited: Audited) -> None:
    run = audited()
    ModelVersion.objects.filter(pk=run.version_id).update(digest="0" * 64)
    with pytest.raises(ConflictError, match="not about"):
        open_review(run=run, by=people.clara)


def test_changed_evidence_is_refused(people: SimpleNamespace, audited: Audited, home: Path) -> None:
    run = audited(outcome="fail")
    path = Store(home / "store").path(run.evidence_digest)
    path.write_bytes(path.read_bytes().replace(b'"fail"', b'"pass"'))
    with pytest.raises(DigestMismatchError, match="changed on disk"):
        open_review(run=run, by=people.clara)


def test_a_second_review_of_a_version_is_refused(people: SimpleNamespace, audited: Audited) -> None:
    run = audited()
    open_review(run=run, by=people.clara)
    run.refresh_from_db()
    with pytest.raises(ConflictError, match="in review"):
        open_review(run=run, by=people.clara)
    with pytest.raises(IntegrityError), transaction.atomic():
        Review.objects.create(
            version=run.version,
            run=run,
            submitter=people.elena,
            runner=people.amir,
            protocol_approver=people.clara,
            opened_by=people.clara,
        )


def test_a_quorum_of_one_is_refused(people: SimpleNamespace, audited: Audited) -> None:
    with pytest.raises(ConflictError, match="at least two votes"):
        open_review(run=audited(), by=people.clara, quorum=1)


MESSAGES = {
    "elena": "You submitted this version, so you cannot vote on it.",
    "amir": "You requested this audit, so you cannot vote on what it found.",
    "clara": "You approved the protocol of this audit, so you cannot vote on what it found.",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_who_had_a_part_in_it_cannot_vote(name: str, review: Review, people: SimpleNamespace) -> None:
    person = getattr(people, name)
    RoleGrant.objects.get_or_create(user=person, role=Role.COMMITTEE_MEMBER)
    for choice in Vote.Choice.values:
        with pytest.raises(DeniedError) as denied:
            vote(review, person, choice)
        assert denied.value.message == MESSAGES[name]
    assert can(check_may_vote, person, review).reason == MESSAGES[name]
    assert not Vote.objects.exists()


@pytest.mark.parametrize("name", MESSAGES)
def test_the_database_refuses_them_too(name: str, review: Review, people: SimpleNamespace) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Vote.objects.create(
            review=review,
            voter=getattr(people, name),
            choice="approve",
            rationale="Around the service.",
            submitter=people.elena,
            runner=people.amir,
            protocol_approver=people.clara,
        )


def test_the_database_refuses_made_up_people(review: Review, people: SimpleNamespace) -> None:
    """Naming somebody else as the submitter does not make the submitter's vote count."""
    with pytest.raises(IntegrityError, match="must be those of its review"), transaction.atomic():
        Vote.objects.create(
            review=review,
            voter=people.elena,
            choice="approve",
            rationale="Around the service.",
            submitter=people.dora,
            runner=people.amir,
            protocol_approver=people.clara,
        )


@pytest.mark.parametrize("name", ["dora", "rita", "ada"])
def test_only_the_committee_votes(name: str, review: Review, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="may vote on a review"):
        vote(review, getattr(people, name))


def test_a_closed_account_does_not_vote(review: Review, people: SimpleNamespace) -> None:
    people.mina.is_active = False
    with pytest.raises(DeniedError, match="closed"):
        vote(review, people.mina)


@pytest.mark.parametrize(
    ("choice", "decision"), [("approve", VersionStatus.APPROVED), ("reject", VersionStatus.REJECTED)]
)
def test_two_equal_votes_decide(choice: str, decision: str, review: Review, people: SimpleNamespace) -> None:
    first = vote(review, people.mina, choice)
    review.refresh_from_db()
    assert (review.status, review.closed_at) == (Review.Status.OPEN, None)
    vote(review, people.lea, choice)
    review.refresh_from_db()
    assert review.status == decision
    assert review.closed_at is not None
    assert review.version.status == decision
    assert acts("Vote", first.pk) == ["vote.cast"]
    assert acts("Review", review.pk) == ["review.opened", "review.decided"]
    assert ledger.verify().intact


def test_a_split_vote_waits_for_a_third(review: Review, people: SimpleNamespace) -> None:
    vote(review, people.mina, "approve")
    vote(review, people.tom, "reject")
    review.refresh_from_db()
    assert review.status == Review.Status.OPEN
    vote(review, people.lea, "reject")
    review.refresh_from_db()
    assert review.status == Review.Status.REJECTED


def test_a_quorum_of_three_needs_three(people: SimpleNamespace, audited: Audited) -> None:
    review = open_review(run=audited(), by=people.clara, quorum=3)
    for person, status in ((people.mina, "open"), (people.tom, "open"), (people.lea, "approved")):
        vote(review, person)
        review.refresh_from_db()
        assert review.status == status


def test_a_second_vote_is_refused(review: Review, people: SimpleNamespace) -> None:
    vote(review, people.mina, "approve")
    with pytest.raises(DeniedError, match="You have voted"):
        vote(review, people.mina, "reject")
    with pytest.raises(IntegrityError), transaction.atomic():
        Vote.objects.create(
            review=review,
            voter=people.mina,
            choice="reject",
            rationale="Around the service.",
            submitter=people.elena,
            runner=people.amir,
            protocol_approver=people.clara,
        )


def test_a_vote_is_never_changed(review: Review, people: SimpleNamespace) -> None:
    cast = vote(review, people.mina)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Vote.objects.filter(pk=cast.pk).update(choice="reject")


def test_a_vote_after_the_close_is_refused(review: Review, people: SimpleNamespace) -> None:
    vote(review, people.mina)
    vote(review, people.tom)
    with pytest.raises(ConflictError, match="closed"):
        vote(review, people.lea)
    assert Vote.objects.count() == 2


@pytest.mark.parametrize("rationale", ["", "  ", "\n\t "])
def test_a_vote_needs_a_reason(rationale: str, review: Review, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError, match="needs a reason"):
        cast_vote(review=review, choice="approve", rationale=rationale, by=people.mina, signed=signed(people.mina))


def test_an_unknown_choice_is_refused(review: Review, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="not a vote"):
        cast_vote(review=review, choice="abstain", rationale="No idea.", by=people.mina, signed=signed(people.mina))


@pytest.mark.parametrize("outcome", ["fail", "insufficient"])
def test_evidence_that_does_not_pass_cannot_be_approved(
    outcome: str, people: SimpleNamespace, audited: Audited
) -> None:
    review = open_review(run=audited(outcome=outcome), by=people.clara)
    with pytest.raises(DeniedError, match="The evidence does not pass"):
        vote(review, people.mina, "approve")
    assert "does not pass" in can(check_may_approve, people.mina, review).reason
    assert can(check_may_vote, people.mina, review)
    vote(review, people.mina, "reject")
    vote(review, people.tom, "reject")
    review.refresh_from_db()
    assert review.status == Review.Status.REJECTED


def test_a_column_that_says_pass_does_not_help(people: SimpleNamespace, audited: Audited) -> None:
    """The outcome counts as the evidence states it, not as a column repeats it."""
    review = open_review(run=audited(outcome="fail"), by=people.clara)
    AuditRun.objects.filter(pk=review.run_id).update(outcome="pass")
    with pytest.raises(DeniedError, match="does not pass"):
        vote(review, people.mina, "approve")


def test_a_version_that_changed_voids_the_review(review: Review, people: SimpleNamespace) -> None:
    ModelVersion.objects.filter(pk=review.version_id).update(digest="0" * 64)
    with pytest.raises(ConflictError, match="void"):
        vote(review, people.mina, "reject")
    assert not Vote.objects.exists()


def test_of_two_deciding_votes_one_closes(
    review: Review, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second transaction has read the review while it was open: the conditional UPDATE refuses it."""
    vote(review, people.mina)
    stale = reviews.locked_review(review.pk)
    vote(review, people.tom)
    monkeypatch.setattr(reviews, "locked_review", lambda pk: stale)
    with pytest.raises(ConflictError, match="closed while you voted"):
        vote(review, people.lea)
    assert set(Vote.objects.values_list("voter__username", flat=True)) == {"mina", "tom"}
    assert acts("Review", review.pk) == ["review.opened", "review.decided", "vote.refused"]


def test_a_ledger_that_fails_takes_the_vote_back(
    review: Review, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    vote(review, people.mina)
    real = ledger.record

    def failing(**entry: object) -> object:
        if entry["act"] == "review.decided":
            raise RuntimeError("disk gone")
        return real(**entry)

    monkeypatch.setattr(reviews.ledger, "record", failing)
    size = ledger.tree_head().size
    with pytest.raises(RuntimeError, match="disk gone"):
        vote(review, people.tom)
    review.refresh_from_db()
    assert review.status == Review.Status.OPEN
    assert ModelVersion.objects.get(pk=review.version_id).status == VersionStatus.IN_REVIEW
    assert (Vote.objects.count(), ledger.tree_head().size) == (1, size)
    assert ledger.verify().intact


def test_the_chair_may_open_what_the_chair_may_not_vote_on(review: Review, people: SimpleNamespace) -> None:
    assert can(check_may_open_review, people.clara)
    assert not can(check_may_vote, people.clara, review)
