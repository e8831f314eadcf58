"""Two accounts of one person: what they may not do, what falls when they are found to be one, and who may say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import authenticate

from core import ledger
from core.access import can
from core.errors import ConflictError, DeniedError
from core.models import ApiToken, LedgerEntry, Notification, Role, RoleGrant, User
from evaluation.models import AuditRun
from governance.access import check_may_vote
from governance.models import Recusal, Review, Vote
from governance.persons import two_parts, with_people
from governance.selectors.approvals import standing_approval
from governance.services.accounts import merge_accounts
from governance.services.reviews import cast_vote, open_review, recuse
from models_registry.models import Deployment, ModelVersion, VersionStatus
from tests.governance.clock import BEGIN
from tests.governance.failing_ledger import DiskGone, failing_on
from tests.governance.signed import signed

Audited = Callable[..., AuditRun]


@pytest.fixture
def second(people: SimpleNamespace) -> Callable[..., User]:
    """Makes a second account that nobody knows to be one yet."""

    def make(name: str, *roles: Role) -> User:
        user = User.objects.create_user(username=name, password="four random words are long")
        RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role) for role in roles)
        return user

    return make


def merge(source: User, target: User, people: SimpleNamespace) -> None:
    merge_accounts(source=source, target=target, by=people.ada, signed=signed(people.ada))


def vote(review: Review, *voters: User, choice: str = "approve") -> None:
    for by in voters:
        cast_vote(review=review, choice=choice, rationale="I read the evidence.", by=by, signed=signed(by))


def reloaded(thing: Any) -> Any:
    return type(thing).objects.get(pk=thing.pk)


def test_the_account_is_closed_and_its_powers_end(people: SimpleNamespace, second: Callable[..., User]) -> None:
    other, third = second("elena2", Role.COMMITTEE_MEMBER), second("elena3")
    ApiToken.objects.create(user=other, name="CI", token_digest="0" * 64, expires_at=BEGIN)
    merge(third, other, people)
    merge(other, people.elena, people)
    other, third = reloaded(other), reloaded(third)
    assert (other.is_active, other.merged_into) == (False, people.elena)
    assert third.merged_into == people.elena, "what was merged into it follows"
    assert {other.identity_id, third.identity_id, people.elena.identity_id} == {people.elena.pk}
    assert not other.role_grants.exists() and ApiToken.objects.get().revoked_at is not None
    assert people.elena.role_grants.count() == 1, "roles of the second account are not handed on"
    assert authenticate(username="elena2", password="four random words are long") is None
    entries = [json.loads(entry.body) for entry in LedgerEntry.objects.filter(act="account.merged")]
    assert [(e["payload"]["source"], e["payload"]["accounts_followed"]) for e in entries] == [
        ("elena3", 0),
        ("elena2", 1),
    ]
    assert entries[1]["payload"]["roles_removed"] == ["committee_member"]
    assert entries[1]["payload"]["signed_with"] == "password" and ledger.verify().intact


@pytest.mark.parametrize("name", ["elena", "amir", "clara", "mina", "lea", "dora", "rita"])
def test_only_an_administrator_merges(name: str, people: SimpleNamespace, second: Callable[..., User]) -> None:
    by = getattr(people, name)
    with pytest.raises(DeniedError, match="merge accounts"):
        merge_accounts(source=second("a"), target=second("b"), by=by, signed=signed(by))


def test_nobody_merges_accounts_of_their_own(people: SimpleNamespace, second: Callable[..., User]) -> None:
    other = second("ada2", Role.ADMINISTRATOR)
    for source, target in ((other, people.ada), (people.ada, other)):
        with pytest.raises(DeniedError, match="of your own"):
            merge(source, target, people)
    assert not User.objects.exclude(merged_into=None).exists()


def test_what_cannot_be_merged(people: SimpleNamespace, second: Callable[..., User]) -> None:
    other = second("tom2")
    with pytest.raises(ConflictError, match="one account"):
        merge(people.tom, people.tom, people)
    merge(other, people.tom, people)
    with pytest.raises(ConflictError, match="merged already"):
        merge(reloaded(other), people.tom, people)
    with pytest.raises(ConflictError, match="was merged into tom"):
        merge(people.lea, reloaded(other), people)
    User.objects.filter(pk=people.lea.pk).update(is_active=False)
    with pytest.raises(ConflictError, match="is closed"):
        merge(people.mina, people.lea, people)
    assert LedgerEntry.objects.filter(act="account.merged").count() == 1


def test_a_merge_is_signed(people: SimpleNamespace, second: Callable[..., User]) -> None:
    with pytest.raises(DeniedError, match="proof of who you are"):
        merge_accounts(source=second("a"), target=people.tom, by=people.ada, signed=signed(people.tom))


def test_a_second_account_opens_no_second_door(
    people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    """Merged before the review: whichever account is used, and whatever role it holds, the person is barred."""
    kept = second("eva", Role.COMMITTEE_MEMBER)
    merge(people.elena, kept, people)  # the submitter goes on as eva, a member of the committee
    review = open_review(run=audited(), by=people.clara)
    eva = reloaded(kept)
    with pytest.raises(DeniedError, match="You submitted this version"):
        vote(review, eva)
    assert can(check_may_vote, eva, reloaded(review)).reason.startswith("You submitted")
    (entry,) = LedgerEntry.objects.filter(act="vote.refused")
    assert (entry.actor, json.loads(entry.body)["payload"]["kind"]) == ("eva", "submitter")


def test_an_audit_by_a_second_account_is_no_audit_by_another(
    people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    run = audited()
    merge(second("amir2"), people.amir, people)
    User.objects.filter(pk=people.amir.pk).update(merged_into=people.elena)
    with pytest.raises(ConflictError, match="are not three people"):
        open_review(run=run, by=people.clara)


def test_an_open_review_with_two_votes_of_one_person_is_closed(
    people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    other = second("mina2", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara, quorum=3)
    untouched = open_review(run=audited(label="2.0"), by=people.clara, quorum=3)
    vote(review, people.mina, other)
    vote(untouched, people.mina)
    merge(other, people.mina, people)
    review, untouched = reloaded(review), reloaded(untouched)
    assert (review.status, review.version.status) == (Review.Status.WITHDRAWN, VersionStatus.IN_AUDIT)
    assert review.closing_reason == (
        "mina2 and mina are accounts of one person. Mina Example voted twice, by two accounts."
    )
    assert (untouched.status, Vote.objects.count()) == (Review.Status.OPEN, 3)
    told = Notification.objects.get(recipient=people.clara, key=f"account:{other.pk}:merged")
    assert told.urgency == "urgent" and "Closed without a decision" in told.text
    acts = list(LedgerEntry.objects.order_by("index").values_list("act", flat=True))[-3:]
    assert acts == ["account.merged", "version.moved", "review.withdrawn"]


@pytest.mark.parametrize("part", ["submitter", "runner", "protocol_approver", "recused"])
def test_an_open_review_in_which_a_voter_had_a_part_is_closed(
    part: str, people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    other = second("other", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara)
    vote(review, other)
    if part == "recused":
        recuse(review=review, person=people.tom, reason="My own unit.", by=people.tom)
    had = {"submitter": people.elena, "runner": people.amir, "protocol_approver": people.clara, "recused": people.tom}
    merge(other, had[part], people)
    assert reloaded(review).status == Review.Status.WITHDRAWN


def test_people_of_the_audit_who_are_one_person_close_the_review(people: SimpleNamespace, audited: Audited) -> None:
    review = open_review(run=audited(), by=people.clara)
    merge(people.amir, people.elena, people)
    assert "submitted the version and ran the audit" in reloaded(review).closing_reason


@pytest.mark.parametrize("deployed", [False, True])
def test_an_approval_that_rests_on_two_votes_of_one_person_is_void(
    deployed: bool, people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    other = second("mina2", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara)
    vote(review, people.mina, other)
    clean = open_review(run=audited(label="2.0"), by=people.clara)
    vote(clean, people.mina, people.tom)
    version = reloaded(review).version
    if deployed:
        ModelVersion.objects.filter(pk=version.pk).update(status=VersionStatus.DEPLOYED)
        Deployment.objects.create(
            version=version, site="Ward 1", contact_name="Ida", contact_email="ida@example.org",
            started_at=BEGIN, started_by=people.clara,
        )  # fmt: skip
    merge(other, people.mina, people)
    version = reloaded(version)
    assert version.status == VersionStatus.VOID and "Mina Example voted twice" in version.void_reason
    assert reloaded(clean).version.status == VersionStatus.APPROVED
    assert reloaded(review).status == Review.Status.APPROVED, "what was decided stays on record"
    assert not standing_approval(version).stands
    assert set(version.deployments.values_list("status", flat=True)) <= {Deployment.Status.SUSPENDED}
    entry = json.loads(LedgerEntry.objects.get(act="version.voided").body)
    assert entry["payload"]["review"] == str(review.pk)
    assert ledger.verify().intact


def test_an_approval_does_not_stand_on_one_person_twice_even_if_nothing_voided_it(
    people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    other = second("mina2", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara)
    vote(review, people.mina, other)
    assert standing_approval(review.version).stands
    User.objects.filter(pk=other.pk).update(merged_into=people.mina)
    assert "Duties were not separate" in standing_approval(review.version).reason


def test_a_later_clean_decision_is_not_voided_for_an_earlier_one(
    people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    other = second("mina2", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara)
    vote(review, people.mina, other)
    ModelVersion.objects.filter(pk=review.version_id).update(status=VersionStatus.SUSPENDED)
    again = AuditRun.objects.get(pk=review.run_id)
    again.pk, again.attempt = None, 2
    again.save()
    later = open_review(run=again, by=people.clara)
    vote(later, people.tom, people.lea)
    merge(other, people.mina, people)
    assert reloaded(later).version.status == VersionStatus.APPROVED


def test_a_merge_whose_ledger_fails_merges_nothing(
    people: SimpleNamespace, audited: Audited, second: Callable[..., User]
) -> None:
    """The act has consequences of its own: each of their entries, failing, takes all of it back."""
    other = second("mina2", Role.COMMITTEE_MEMBER)
    review = open_review(run=audited(), by=people.clara, quorum=3)
    vote(review, people.mina, other)
    size = ledger.tree_head().size
    for act in ("account.merged", "version.moved", "review.withdrawn"):
        with failing_on(act), pytest.raises(DiskGone):
            merge(other, people.mina, people)
        assert reloaded(other).is_active and reloaded(other).merged_into is None
        assert other.role_grants.count() == 1 and reloaded(review).status == Review.Status.OPEN
        assert ledger.tree_head().size == size


def test_two_parts_against_a_plain_count(people: SimpleNamespace, audited: Audited) -> None:
    """Every way to give seven accounts to persons: an independent reading of the rule finds the same."""
    review = open_review(run=audited(), by=people.clara, quorum=3)
    vote(review, people.mina, people.lea)
    Recusal.objects.create(review=review, person=people.tom, reason="Kin.", recorded_by=people.clara)
    accounts = [people.elena, people.amir, people.clara, people.mina, people.lea, people.tom]
    found = []
    for one in accounts:
        for other in accounts:
            if one.pk >= other.pk:
                continue
            User.objects.filter(pk=other.pk).update(merged_into=one)
            row = with_people(Review.objects.filter(pk=review.pk)).get()
            names = {one.username, other.username}
            clash = not (names & {"tom"} and not names & {"mina", "lea"})
            assert bool(two_parts(row)) == clash, names
            found.append(clash)
            User.objects.filter(pk=other.pk).update(merged_into=None)
    assert (len(found), sum(found)) == (15, 12)
