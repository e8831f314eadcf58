"""Conditions of approvals: who sets them, who says they are met, who confirms it, what happens when nobody does."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.urls import reverse

from core import ledger
from core.access import can
from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, Role, RoleGrant, User
from governance.access_conditions import check_may_claim, check_may_confirm
from governance.models import Condition, Review
from governance.selectors.approvals import standing_approval
from governance.selectors.conditions import claims_to_confirm, conditions_of, conditions_owned_by, row_for
from governance.selectors.review_room import room_of, seen_by
from governance.services.conditions import (
    claim_condition,
    confirm_condition,
    lapse_conditions,
    reassign_condition,
    remove_condition,
    return_claim,
)
from governance.services.review_notices import address_of
from governance.services.reviews import recuse
from models_registry.models import ModelVersion, VersionStatus
from tests.governance.clock import Clock
from tests.governance.condition_fixtures import (
    Make,
    S,
    clock,
    condition,
    meet,
    propose,
    review,
    status_of,
    vote,
)
from tests.governance.signed import signed

__all__ = ["clock", "condition", "propose", "review"]


def test_an_approval_with_conditions_opens_them(condition: Condition, review: Review, people: SimpleNamespace) -> None:
    assert (condition.status, status_of(review), status_of(review.version)) == (S.OPEN, "conditional", "conditional")
    (decided,) = LedgerEntry.objects.filter(act="review.decided")
    assert f'"conditions":[{condition.pk}]' in decided.body
    due_at = condition.due_at.astimezone(UTC).isoformat()
    terms = [{"due_at": due_at, "id": condition.pk, "owner": "elena", "text": "Report drift each month."}]
    digest = hashlib.sha256(json.dumps(terms, separators=(",", ":")).encode()).hexdigest()
    assert set(review.votes.values_list("terms_digest", flat=True)) == {digest}
    assert f'"terms":"{digest}"' in decided.body
    approval = standing_approval(review.version)
    assert approval.stands and approval.open_conditions == (condition,)


def test_without_conditions_the_approval_has_none(review: Review, people: SimpleNamespace) -> None:
    vote(review, people.mina, people.tom)
    assert (status_of(review), status_of(review.version)) == ("approved", "approved")


def test_a_condition_that_was_taken_back_is_none(propose: Make, review: Review, people: SimpleNamespace) -> None:
    made = propose()
    remove_condition(condition=made, by=people.mina)
    vote(review, people.mina, people.tom)
    assert (status_of(made), status_of(review)) == (S.REMOVED, "approved")


def test_the_last_one_that_is_met_makes_the_approval_plain(
    propose: Make, review: Review, people: SimpleNamespace
) -> None:
    made = [propose(), propose(text="Show it on a second site.")]
    vote(review, people.mina, people.tom)
    meet(made[0], people)
    assert status_of(review.version) == "conditional"
    met = meet(made[1], people)
    assert (met.confirmed_by, met.claimed_by) == (people.tom, people.elena)
    assert status_of(review.version) == "approved"
    assert status_of(review) == "conditional", "what was decided stays on record"
    assert lapse_conditions() == 0
    assert ledger.verify().intact


def test_a_deployed_version_stays_deployed(condition: Condition, review: Review, people: SimpleNamespace) -> None:
    ModelVersion.objects.filter(pk=review.version_id).update(status=VersionStatus.DEPLOYED)
    meet(condition, people)
    assert status_of(review.version) == "deployed"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no owner": ({"owner": None}, "needs an owner"),
    "no words": ({"text": " \n"}, "needs words"),
    "endless": ({"text": "x" * 2001}, "2,000 are the most"),
    "no text": ({"text": "a\0b"}, "cannot be printed"),
    "yesterday": ({"due_at": timedelta(days=-1)}, "in the past"),
    "far away": ({"due_at": timedelta(days=800)}, "two years"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_condition_is_refused(case: str, propose: Make, clock: Clock) -> None:
    given, words = BAD[case]
    given = {name: clock.moment + value if name == "due_at" else value for name, value in given.items()}
    size = ledger.tree_head().size
    with pytest.raises(AuscultError, match=words):
        propose(**given)
    assert not Condition.objects.exists() and ledger.tree_head().size == size


def test_a_day_without_a_zone_is_refused(propose: Make, clock: Clock) -> None:
    with pytest.raises(ConflictError, match="no time zone"):
        propose(due_at=(clock.moment + timedelta(days=3)).replace(tzinfo=None))


def test_the_database_wants_an_owner_too(review: Review, people: SimpleNamespace, clock: Clock) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Condition.objects.create(review=review, text="Nobody's.", due_at=clock.moment, proposed_by=people.mina)


def test_an_owner_has_an_open_account_and_a_role(propose: Make, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="has no role"):
        propose(owner=people.rita)
    people.elena.is_active = False
    with pytest.raises(ConflictError, match="is closed"):
        propose(owner=people.elena)


@pytest.mark.parametrize("name", ["elena", "amir"])
def test_who_had_a_part_sets_no_conditions(name: str, propose: Make, people: SimpleNamespace) -> None:
    person = getattr(people, name)
    RoleGrant.objects.create(user=person, role=Role.COMMITTEE_MEMBER)
    with pytest.raises(DeniedError, match="so you cannot set conditions"):
        propose(by=person)


@pytest.mark.parametrize("name", ["dora", "rita", "ada"])
def test_only_the_committee_sets_conditions(name: str, propose: Make, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="may propose conditions"):
        propose(by=getattr(people, name))


def test_the_chair_may_who_approved_the_protocol(propose: Make, people: SimpleNamespace) -> None:
    assert propose(by=people.clara).status == S.PROPOSED


def test_the_first_vote_to_approve_freezes_them(propose: Make, review: Review, people: SimpleNamespace) -> None:
    made = propose()
    vote(review, people.lea, choice="reject")
    propose(text="A rejection freezes nothing.")
    vote(review, people.mina)
    for act in (propose, lambda: remove_condition(condition=made, by=people.mina)):
        with pytest.raises(ConflictError, match="voted to approve under the conditions"):
            act()
    (row, _) = seen_by(people.clara, room_of(review.pk)).conditions
    assert row.may_remove is not None and not row.may_remove


def test_only_its_proposer_or_the_chair_takes_it_back(propose: Make, people: SimpleNamespace) -> None:
    made = propose()
    with pytest.raises(DeniedError, match="take back a condition"):
        remove_condition(condition=made, by=people.tom)
    remove_condition(condition=made, by=people.clara)
    assert made.status == S.PROPOSED and status_of(made) == S.REMOVED


def test_a_condition_that_fell_due_bars_the_vote(
    propose: Make, review: Review, people: SimpleNamespace, clock: Clock
) -> None:
    propose(due_at=clock.moment + timedelta(days=1))
    clock.pass_by(days=2)
    with pytest.raises(DeniedError, match="fell due before the decision"):
        vote(review, people.mina)


def test_only_its_owner_claims(condition: Condition, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="Only Elena Example may say"):
        claim_condition(condition=condition, claim="Done.", by=people.tom)
    assert can(check_may_claim, people.elena, condition)


def test_the_second_account_of_an_owner_does_not_confirm(condition: Condition, people: SimpleNamespace) -> None:
    claim_condition(condition=condition, claim="Done.", by=people.elena)
    RoleGrant.objects.create(user=people.lea, role=Role.COMMITTEE_MEMBER)
    User.objects.filter(pk=people.lea.pk).update(merged_into=people.elena)
    people.lea.refresh_from_db()
    with pytest.raises(DeniedError, match="You own this condition"):
        confirm_condition(condition=condition, remark="Fine.", by=people.lea, signed=signed(people.lea))
    assert condition not in claims_to_confirm(people.lea)


def test_who_claimed_it_does_not_confirm_it_after_it_was_handed_over(
    condition: Condition, people: SimpleNamespace
) -> None:
    handed = reassign_condition(condition=condition, owner=people.lea, by=people.clara)
    claim_condition(condition=handed, claim="Done.", by=people.lea)
    Condition.objects.filter(pk=condition.pk).update(owner=people.dora)
    with pytest.raises(DeniedError, match="You said that this condition is met"):
        confirm_condition(condition=condition, remark="Fine.", by=people.lea, signed=signed(people.lea))
    with pytest.raises(IntegrityError), transaction.atomic():
        Condition.objects.filter(pk=condition.pk).update(status="met", confirmed_by=people.lea)


def test_only_what_is_claimed_is_confirmed(condition: Condition, people: SimpleNamespace) -> None:
    with pytest.raises(ConflictError, match="This condition is open"):
        confirm_condition(condition=condition, remark="Fine.", by=people.tom, signed=signed(people.tom))


def test_a_confirmation_is_signed(condition: Condition, people: SimpleNamespace, clock: Clock) -> None:
    claim_condition(condition=condition, claim="Done.", by=people.elena)
    old = signed(people.tom)
    clock.pass_by(minutes=6)
    for proof in (old, signed(people.mina), None):
        with pytest.raises(DeniedError, match="proof of who you are"):
            confirm_condition(condition=condition, remark="Fine.", by=people.tom, signed=proof)
    assert status_of(condition) == S.CLAIMED


def test_a_claim_that_is_returned_is_open_again(condition: Condition, people: SimpleNamespace) -> None:
    claim_condition(condition=condition, claim="Done.", by=people.elena)
    assert claims_to_confirm(people.tom) == [condition] and not conditions_owned_by(people.elena).exists()
    return_claim(condition=condition, reason="The report lacks March.", by=people.tom)
    assert (status_of(condition), condition.remark) == (S.OPEN, "The report lacks March.")
    assert list(conditions_owned_by(people.elena)) == [condition]
    assert Notification.objects.filter(recipient=people.elena, title__startswith="What you said").count() == 1
    meet(condition, people)
    assert status_of(condition) == S.MET


def test_the_chair_hands_it_over(condition: Condition, people: SimpleNamespace) -> None:
    with pytest.raises(DeniedError, match="hand a condition over"):
        reassign_condition(condition=condition, owner=people.amir, by=people.tom)
    with pytest.raises(ConflictError, match="owns this condition already"):
        reassign_condition(condition=condition, owner=people.elena, by=people.clara)
    claim_condition(condition=condition, claim="Done.", by=people.elena)
    handed = reassign_condition(condition=condition, owner=people.amir, by=people.clara)
    assert (handed.owner, handed.status) == (people.amir, S.OPEN)
    with pytest.raises(DeniedError, match="Only Amir Example"):
        claim_condition(condition=condition, claim="Done.", by=people.elena)


def test_proposed_conditions_end_with_a_rejection_or_a_withdrawal(
    propose: Make, review: Review, people: SimpleNamespace
) -> None:
    made = propose()
    vote(review, people.mina, people.tom, choice="reject")
    assert status_of(made) == S.ENDED


def test_the_recused_neither_set_nor_confirm(propose: Make, review: Review, people: SimpleNamespace) -> None:
    recuse(review=review, person=people.lea, reason="My own unit.", by=people.lea)
    with pytest.raises(DeniedError, match="take no part"):
        propose(by=people.lea)
    made = propose()
    vote(review, people.mina, people.tom)
    claim_condition(condition=made, claim="Done.", by=people.elena)
    assert not can(check_may_confirm, people.lea, Condition.objects.get(pk=made.pk))


def test_the_address_is_that_of_the_page(review: Review) -> None:
    assert address_of(review) == reverse("review", args=[review.pk])


def test_the_list_asks_a_fixed_number_of_queries(
    propose: Make, review: Review, people: SimpleNamespace, django_assert_max_num_queries: Any
) -> None:
    for number in range(6):
        propose(text=f"Condition {number}.")
    with django_assert_max_num_queries(6):
        assert len([row_for(item, user=people.tom, frozen=False) for item in conditions_of(review)]) == 6


def test_the_database_keeps_votes(condition: Condition, review: Review) -> None:
    with pytest.raises(DatabaseError, match="never deleted"), transaction.atomic():
        review.votes.all().delete()
