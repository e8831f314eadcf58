"""Gaps that a named person accepts until a day: who may, of what, for how long, and what ends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import Role, RoleGrant, User
from evaluation.models import AuditRun
from governance.models import Acceptance, Policy
from governance.policies.findings import GateOutcome, State
from governance.selectors.policies import gate
from governance.services.policies import propose_policy, revoke_acceptance
from tests.governance.policy_fixtures import WAIVED, Audited, accept, acts, judged, payload, second_account, standing
from tests.governance.policy_scene import written

__all__ = ["judged", "standing"]


def test_a_named_person_accepts_a_gap_until_a_day(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    assert gate(run.version, policy).outcome == GateOutcome.INSUFFICIENT
    row = accept(run, policy, people.clara)
    found = gate(run.version, policy)
    assert found.outcome == GateOutcome.PASS and found.items[0].state == State.ACCEPTED
    assert found.expires_at == row.expires_at
    assert gate(run.version, policy, now=row.expires_at).outcome == GateOutcome.INSUFFICIENT
    assert gate(run.version, policy, now=row.expires_at - timedelta(seconds=1)).outcome == GateOutcome.PASS
    assert (row.run, row.submitter, row.runner) == (run, people.elena, people.amir)
    assert row.signed_at and row.signed_with == "password"
    assert acts("Acceptance", row.pk) == ["acceptance.given"]
    entry = payload("acceptance.given")
    assert entry["evidence"] == run.evidence_digest and row.reason not in json.dumps(entry)


@pytest.mark.parametrize("name", ["mina", "lea", "dora", "rita", "ada"])
def test_who_may_not_accept(
    name: str, people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    with pytest.raises(DeniedError, match="Only people with the role committee chair"):
        accept(judged(outcome="insufficient"), standing(WAIVED), getattr(people, name))
    assert not Acceptance.objects.exists()


@pytest.mark.parametrize(("name", "words"), [("elena", "You submitted"), ("amir", "You requested")])
def test_who_had_a_part_does_not_accept_by_any_role_or_account(
    name: str, words: str, people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy, person = judged(outcome="insufficient"), standing(WAIVED), getattr(people, name)
    RoleGrant.objects.create(user=person, role=Role.COMMITTEE_CHAIR)
    for account in (person, second_account(person, Role.COMMITTEE_CHAIR)):
        with pytest.raises(DeniedError, match=words):
            accept(run, policy, account)
        with pytest.raises(DatabaseError), transaction.atomic():
            raw_acceptance(run, policy, account)
    assert not Acceptance.objects.exists()


def raw_acceptance(run: AuditRun, policy: Policy, by: User, **given: Any) -> Acceptance:
    now = timezone.now()
    facts = {
        "policy": policy, "item": "fairness", "version": run.version, "run": run, "version_digest": run.version.digest,
        "evidence_digest": run.evidence_digest, "reason": "x", "accepted_by": by, "accepted_at": now,
        "expires_at": now + timedelta(days=1), "submitter": run.version.submitted_by, "runner": run.requested_by,
    }  # fmt: skip
    return Acceptance.objects.create(**(facts | given))


def test_the_database_keeps_acceptances_as_they_were_given(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    now = timezone.now()
    for wrong in ({"reason": ""}, {"accepted_at": now, "expires_at": now}):
        with pytest.raises(DatabaseError), transaction.atomic():
            raw_acceptance(run, policy, people.clara, **wrong)
    row = raw_acceptance(run, policy, people.clara)
    for changes in (
        {"expires_at": now + timedelta(days=999)},
        {"reason": "y"},
        {"evidence_digest": "0" * 64},
        {"accepted_by": people.lea},
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            Acceptance.objects.filter(pk=row.pk).update(**changes)
    Acceptance.objects.filter(pk=row.pk).update(revoked_at=now, revoked_by=people.clara)
    with pytest.raises(DatabaseError), transaction.atomic():
        Acceptance.objects.filter(pk=row.pk).update(revoked_at=None)


def test_an_acceptance_by_an_account_that_is_merged_into_a_part_later_counts_no_more(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    other = User.objects.create(username="second-chair")
    RoleGrant.objects.create(user=other, role=Role.COMMITTEE_CHAIR)
    accept(run, policy, other)
    assert gate(run.version, policy).outcome == GateOutcome.PASS
    User.objects.filter(pk=other.pk).update(merged_into=people.elena)
    assert gate(run.version, policy).outcome == GateOutcome.INSUFFICIENT


@pytest.mark.parametrize("outcome", ["pass", "fail"])
def test_only_a_lack_of_evidence_is_accepted(
    outcome: str, people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    with pytest.raises(ConflictError, match="not short of evidence that could be accepted"):
        accept(judged(outcome=outcome), standing(WAIVED), people.clara)


def test_what_the_policy_does_not_let_anybody_accept_is_not_accepted(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run, policy = judged(outcome="insufficient"), standing()
    with pytest.raises(ConflictError, match="not short of evidence that could be accepted"):
        accept(run, policy, people.clara)
    with pytest.raises(ConflictError, match=r"asks .* for no audit called 'risks'"):
        accept(run, policy, people.clara, item="risks")
    waiting = propose_policy(source=written(WAIVED, name="other"), by=people.amir)
    with pytest.raises(ConflictError, match="is not in force"):
        accept(run, waiting, people.clara)
    elsewhere = standing(WAIVED, name="elsewhere", applies_to=["another"])
    with pytest.raises(ConflictError, match=r"asks .* for no audit"):
        accept(run, elsewhere, people.clara)


def test_twice_at_once_is_once(people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    accept(run, policy, people.clara)
    with pytest.raises(ConflictError, match="it is accepted"):
        accept(run, policy, people.clara)
    assert Acceptance.objects.count() == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reason": "   "}, "The reason is empty"),
        ({"reason": "a\0b"}, "cannot be printed"),
        ({"reason": "x" * 10_001}, "10,001 characters"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "a day that is to come"),
        ({"expires_at": timezone.now() + timedelta(days=91)}, "at most 90 days"),
        ({"expires_at": datetime(2030, 1, 1)}, "a day that is to come"),  # noqa: DTZ001 - a naive one is refused
        ({"signed": None}, "Signing asks"),
    ],
)
def test_bad_words_and_days_are_refused(
    given: dict[str, Any], words: str, people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    with pytest.raises(AuscultError, match=words):
        accept(judged(outcome="insufficient"), standing(WAIVED), people.clara, **given)
    assert not Acceptance.objects.exists()


def test_revoking_ends_it_once(people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]) -> None:
    run, policy = judged(outcome="insufficient"), standing(WAIVED)
    row = accept(run, policy, people.clara)
    with pytest.raises(DeniedError, match="may revoke what somebody else accepted"):
        revoke_acceptance(acceptance=row, reason="No.", by=people.lea)
    revoke_acceptance(acceptance=row, reason="A case was missed.", by=people.clara)
    assert gate(run.version, policy).outcome == GateOutcome.INSUFFICIENT
    assert acts("Acceptance", row.pk) == ["acceptance.given", "acceptance.revoked"]
    with pytest.raises(ConflictError, match="does not stand any more"):
        revoke_acceptance(acceptance=row, reason="Again.", by=people.clara)
    accept(run, policy, people.clara)  # a new one may be given
    assert gate(run.version, policy).outcome == GateOutcome.PASS


def test_a_new_number_of_the_policy_ends_what_was_accepted_under_the_old(
    people: SimpleNamespace, judged: Audited, standing: Callable[..., Policy]
) -> None:
    run = judged(outcome="insufficient")
    accept(run, standing(WAIVED), people.clara)
    later = standing(WAIVED | {"title": "The same, said again"})
    assert gate(run.version, later).outcome == GateOutcome.INSUFFICIENT
