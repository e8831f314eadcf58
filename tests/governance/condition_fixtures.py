"""What the tests of conditions share: a review, a condition of its approval, and the way to meet one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from core.models import User
from evaluation.models import AuditRun
from governance.models import Condition, Review
from governance.services.conditions import claim_condition, confirm_condition, propose_condition
from governance.services.reviews import cast_vote, open_review
from tests.governance.clock import Clock
from tests.governance.signed import signed

Audited = Callable[..., AuditRun]
Make = Callable[..., Condition]
S = Condition.Status


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def review(clock: Clock, people: SimpleNamespace, audited: Audited) -> Review:
    return open_review(run=audited(), by=people.clara)


@pytest.fixture
def propose(review: Review, people: SimpleNamespace, clock: Clock) -> Make:
    def make(**given: Any) -> Condition:
        facts = {"text": "Report drift each month.", "owner": people.elena, "by": people.mina}
        return propose_condition(review=review, **facts | {"due_at": clock.moment + timedelta(days=30)} | given)

    return make


def vote(review: Review, *voters: User, choice: str = "approve") -> None:
    for by in voters:
        cast_vote(review=review, choice=choice, rationale="I read the evidence.", by=by, signed=signed(by))


def status_of(thing: Any) -> str:
    thing.refresh_from_db()
    return str(thing.status)


@pytest.fixture
def condition(propose: Make, review: Review, people: SimpleNamespace) -> Condition:
    """The open condition of a version that was approved under it."""
    made = propose()
    vote(review, people.mina, people.tom)
    made.refresh_from_db()
    return made


def meet(condition: Condition, people: SimpleNamespace, *, by: User | None = None) -> Condition:
    by = by or people.tom
    claim_condition(condition=condition, claim="Done, see the report of April.", by=people.elena)
    return confirm_condition(condition=condition, remark="I read the report.", by=by, signed=signed(by))
