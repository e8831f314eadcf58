"""What remains of a risk: who accepts it, what cannot be accepted, and how an acceptance falls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, Notification, Role, RoleGrant, User
from governance.execution_risks import expire_risk_acceptances
from governance.models import Risk, RiskAcceptance
from governance.selectors.risks import unacceptable_risks
from governance.services.controls import drop_control
from governance.services.risks import accept_residual, end_acceptance, rate_risk, record_risk
from tests.governance.conftest import make_version
from tests.governance.risk_scene import (
    REPORT,
    acceptable,
    accepted,
    acts,
    consultation,
    hand_over,
    now_of,
    rated,
    register,
    system_of,
)
from tests.governance.signed import signed


def test_acceptance_is_signed_bound_to_what_counts_and_in_the_ledger(people: SimpleNamespace) -> None:
    risk = acceptable(people)
    found = accepted(risk, people.clara)
    assert (found.severity, found.likelihood, found.owner) == (2, 2, people.mina)
    assert found.signed_with == "password" and found.signed_at is not None
    assert now_of(risk).status == Risk.Status.ACCEPTED
    entry = LedgerEntry.objects.get(act="risk.accepted")
    assert '"signed_with":"password"' in entry.body and '"rationale_sha256"' in entry.body
    assert "outweighs" not in entry.body
    assert register(risk.system)[0].acceptance == found


@pytest.mark.parametrize("name", ["elena", "amir", "dora", "tom", "rita"])
def test_only_a_chair_or_a_clinician_lead_accepts(name: str, people: SimpleNamespace) -> None:
    risk = acceptable(people)
    with pytest.raises(DeniedError, match="may accept what remains"):
        accepted(risk, getattr(people, name))
    assert not RiskAcceptance.objects.exists() and now_of(risk).status == Risk.Status.OPEN


def test_the_owner_does_not_accept_by_no_account(people: SimpleNamespace) -> None:
    risk = acceptable(people)
    RoleGrant.objects.create(user=people.mina, role=Role.COMMITTEE_CHAIR)
    with pytest.raises(DeniedError, match="You own this risk"):
        accepted(risk, people.mina)
    second = User.objects.create(username="mina2", merged_into=people.mina)
    RoleGrant.objects.create(user=second, role=Role.COMMITTEE_CHAIR)
    with pytest.raises(DeniedError, match="You own this risk"):
        accepted(risk, second)
    facts = {"risk": risk, "severity": 2, "likelihood": 2, "rationale": "So.", "accepted_at": timezone.now()}
    facts |= {"expires_at": timezone.now() + timedelta(days=9), "owner": people.mina}
    for person in (people.mina, second):
        with pytest.raises(IntegrityError), transaction.atomic():
            RiskAcceptance.objects.create(accepted_by=person, **facts)


def test_who_rated_what_remains_does_not_accept_it(people: SimpleNamespace) -> None:
    risk = acceptable(people)
    rate_risk(risk=risk, stage="after", severity=1, likelihood=1, reason="I think so.", by=people.clara)
    with pytest.raises(DeniedError, match="You gave the rating"):
        accepted(risk, people.clara)
    accepted(risk, people.lea)


def test_without_a_fresh_proof_nothing_is_signed(people: SimpleNamespace) -> None:
    risk, until = acceptable(people), timezone.now() + timedelta(days=9)
    for proof in (None, signed(people.lea)):
        with pytest.raises(DeniedError, match="proof of who you are"):
            accept_residual(risk=risk, rationale="So.", expires_at=until, by=people.clara, signed=proof)
    assert not RiskAcceptance.objects.exists()


@pytest.mark.parametrize(("days", "words"), [(-1, "past"), (800, "two years|2 years")])
def test_an_acceptance_ends_within_two_years(days: float, words: str, people: SimpleNamespace) -> None:
    with pytest.raises(AuscultError, match=words):
        accepted(acceptable(people), people.clara, days=days)


def test_what_is_very_high_is_accepted_by_nobody(people: SimpleNamespace) -> None:
    risk = acceptable(people, after=(4, 3))
    consultation(make_version(people, "1.0"), people)
    with pytest.raises(ConflictError, match="very high"):
        accepted(risk, people.clara)


@pytest.mark.parametrize(
    "given",
    [
        {"status": "draft"},
        {"fields": {"submitted_on": "2026-05-01"}},
        {"fields": {"authority_reply": "  "}},
        {"author": "elena"},
        {"requirement": "GDPR-35-2"},
    ],
    ids=["not accepted", "no reply", "empty reply", "not by the officer", "about something else"],
)
def test_what_is_high_is_accepted_after_prior_consultation_only(given: dict[str, Any], people: SimpleNamespace) -> None:
    risk, version = acceptable(people, after=(2, 4)), make_version(people, "1.0")
    with pytest.raises(ConflictError, match="prior consultation"):
        accepted(risk, people.clara)
    told = given | ({"author": getattr(people, given["author"])} if "author" in given else {})
    consultation(version, people, **told)
    with pytest.raises(ConflictError, match="prior consultation"):
        accepted(risk, people.clara)
    statement = consultation(version, people, revision=2)
    accepted(risk, people.clara)
    assert f'"consultation":{statement.pk}' in LedgerEntry.objects.get(act="risk.accepted").body
    assert unacceptable_risks(risk.system) == []


def test_a_consultation_before_the_risk_was_known_does_not_cover_it(people: SimpleNamespace) -> None:
    statement = consultation(make_version(people, "1.0"), people)
    risk = acceptable(people, after=(2, 4))
    assert statement.written_at < risk.opened_at
    with pytest.raises(ConflictError, match="prior consultation"):
        accepted(risk, people.clara)


def test_what_is_not_rated_or_owned_by_nobody_is_not_accepted(people: SimpleNamespace) -> None:
    risk = record_risk(system=system_of(people), report=REPORT, by=people.elena)
    with pytest.raises(ConflictError, match="Nobody owns"):
        accepted(risk, people.clara)
    hand_over(risk, people.mina, people.clara)
    rated(risk, people, "after", 1, 1)
    with pytest.raises(ConflictError, match="not rated both"):
        accepted(risk, people.clara)


def test_it_is_accepted_once_at_a_time(people: SimpleNamespace) -> None:
    risk = acceptable(people)
    found = accepted(risk, people.clara)
    with pytest.raises(ConflictError, match="accepted already"):
        accepted(risk, people.lea)
    with pytest.raises(IntegrityError), transaction.atomic():
        RiskAcceptance.objects.create(
            risk=risk, severity=1, likelihood=1, rationale="So.", accepted_by=people.lea, owner=people.mina,
            accepted_at=found.accepted_at, expires_at=found.expires_at,
        )  # fmt: skip


def test_who_accepted_does_not_become_the_owner(people: SimpleNamespace) -> None:
    risk = acceptable(people)
    accepted(risk, people.clara)
    with pytest.raises(ConflictError, match="nobody accepts their own risk"):
        hand_over(risk, people.clara, people.lea)
    hand_over(risk, people.tom, people.lea)
    assert now_of(risk).owner == people.tom


@pytest.mark.parametrize("what", ["rating", "dropped control", "taken back"])
def test_an_acceptance_falls_with_what_it_rests_on(what: str, people: SimpleNamespace) -> None:
    risk = acceptable(people)
    found = accepted(risk, people.clara)
    if what == "rating":
        rated(risk, people, "after", 1, 1)
    elif what == "dropped control":
        drop_control(control=risk.controls.get(), reason="It does not hold.", by=people.amir)
    else:
        end_acceptance(risk=risk, reason="A new study is out.", by=people.dora)
    found.refresh_from_db()
    assert found.ended_at is not None and found.ending
    assert now_of(risk).status == Risk.Status.OPEN
    assert acts(risk).count("risk.acceptance_ended") == 1
    told = Notification.objects.filter(key=f"risk:{found.risk_id}:acceptance-ended:{found.pk}")
    assert {row.recipient for row in told} == {people.clara, people.mina}


def test_its_day_ends_it_with_warnings_before(people: SimpleNamespace) -> None:
    """90 days: nothing at day 75, one warning each at 14, 3 and 1 days, the end after the last; each once."""
    risk = acceptable(people)
    found = accepted(risk, people.clara, days=90)
    moments = [(75.0, 0), (77.0, 1), (80.0, 0), (87.5, 1), (89.5, 1), (89.9, 0), (90.1, 1), (91.0, 0)]
    for day, done in moments:
        assert expire_risk_acceptances(now=found.accepted_at + timedelta(days=day)) == done, day
        assert expire_risk_acceptances(now=found.accepted_at + timedelta(days=day)) == 0, day
    assert now_of(risk).status == Risk.Status.OPEN
    assert (
        Notification.objects.filter(recipient=people.clara, key__startswith=f"risk-acceptance:{found.pk}:").count() == 3
    )
    entry = LedgerEntry.objects.get(act="risk.acceptance_ended")
    assert entry.actor == "system" and "Its day passed." in entry.body


def test_an_acceptance_past_its_day_counts_no_more_before_any_sweep(
    people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    risk = acceptable(people, after=(2, 4))
    consultation(make_version(people, "1.0"), people)
    found = accepted(risk, people.clara)
    assert unacceptable_risks(risk.system) == []
    after = found.expires_at + timedelta(seconds=1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: after)
    assert unacceptable_risks(risk.system) == [risk]


def test_a_sweep_over_nothing_asks_one_question(
    people: SimpleNamespace, django_assert_num_queries: Callable[..., Any]
) -> None:
    acceptable(people)
    with django_assert_num_queries(1):
        assert expire_risk_acceptances() == 0
