"""What becomes of conditions by themselves: they lapse, end with their approval, and are warned of before."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import transaction

from core import ledger
from core.errors import ConflictError
from core.models import LedgerEntry, Notification, User
from evaluation.models import AuditRun
from governance.models import Condition, Review
from governance.selectors.approvals import standing_approval
from governance.selectors.conditions import unmet_conditions
from governance.services.conditions import (
    claim_condition,
    confirm_condition,
    lapse_conditions,
    reassign_condition,
)
from governance.services.reviews import open_review, withdraw_review
from models_registry.models import ModelVersion, VersionStatus
from models_registry.services.voiding import Cause, void
from tests.governance.clock import Clock
from tests.governance.condition_fixtures import (
    Make,
    S,
    clock,
    condition,
    propose,
    review,
    status_of,
    vote,
)
from tests.governance.signed import signed

__all__ = ["clock", "condition", "propose", "review"]


def test_a_condition_that_is_not_met_in_time_suspends_the_version(
    condition: Condition, review: Review, people: SimpleNamespace, clock: Clock
) -> None:
    claim_condition(condition=condition, claim="Done.", by=people.elena)  # said to be met is not met
    clock.pass_by(days=30)
    assert not standing_approval(review.version).stands, "also before the sweep has run"
    with pytest.raises(ConflictError, match="has passed"):
        confirm_condition(condition=condition, remark="Fine.", by=people.tom, signed=signed(people.tom))
    assert lapse_conditions() == 1
    assert (status_of(condition), status_of(review.version)) == (S.LAPSED, "suspended")
    assert condition.lapsed_at is not None
    told = Notification.objects.filter(key=f"condition:{condition.pk}:lapsed", urgency="urgent")
    assert set(told.values_list("recipient__username", flat=True)) == {"elena", "clara", "lea"}
    assert lapse_conditions() == 0, "once"
    assert "not met in time" in standing_approval(review.version).reason
    assert LedgerEntry.objects.filter(act="condition.lapsed", actor="system").count() == 1
    assert ledger.verify().intact


def test_it_lapses_at_its_moment_and_not_before(condition: Condition, clock: Clock) -> None:
    clock.moment = condition.due_at - timedelta(seconds=1)
    lapse_conditions()
    assert status_of(condition) == S.OPEN
    clock.moment = condition.due_at
    lapse_conditions()
    assert status_of(condition) == S.LAPSED


def test_a_sweep_that_fails_on_one_goes_on_with_the_others(
    propose: Make, review: Review, people: SimpleNamespace, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance import execution_conditions

    made = [propose(), propose(text="A second one.")]
    vote(review, people.mina, people.tom)
    clock.pass_by(days=31)
    real = execution_conditions._lapse

    def failing(pk: int, review_pk: int) -> bool:
        found = real(pk, review_pk)
        if pk == made[0].pk:
            raise RuntimeError("disk gone")
        return found

    monkeypatch.setattr(execution_conditions, "_lapse", failing)
    assert lapse_conditions() == 1
    assert [status_of(item) for item in made] == [S.OPEN, S.LAPSED], "half of the first would be worse than nothing"
    monkeypatch.undo()


def test_warnings_come_once_each_and_go_to_a_new_owner(
    condition: Condition, people: SimpleNamespace, clock: Clock
) -> None:
    def told(person: User) -> int:
        return Notification.objects.filter(recipient=person, title__contains="runs out within").count()

    assert lapse_conditions() == 0, "thirty days are far"
    for left, owner, chair in ((13.9, 1, 0), (5, 1, 0), (2.9, 2, 1), (0.9, 3, 2)):
        clock.moment = condition.due_at - timedelta(days=left)
        before = told(people.elena)
        assert (lapse_conditions(), lapse_conditions()) == (owner - before, 0)
        assert (told(people.elena), told(people.clara)) == (owner, chair)
    reassign_condition(condition=condition, owner=people.amir, by=people.clara)
    assert lapse_conditions() == 1 and told(people.amir) == 1


@pytest.mark.parametrize("end", ["void", "retire", "reject", "approve"])
def test_conditions_end_with_their_approval(
    end: str, condition: Condition, review: Review, people: SimpleNamespace, clock: Clock
) -> None:
    version = ModelVersion.objects.get(pk=review.version_id)
    if end == "void":
        with transaction.atomic():
            void([version], Cause(reason="A file changed.", version=None, by=None, facts={}))
    elif end == "retire":
        from models_registry.services.versions import retire_version

        retire_version(version=version, reason="Replaced.", by=people.clara)
    else:
        _decide_anew(review, people, choice=end)
    lapse_conditions()
    assert status_of(condition) == S.ENDED
    with pytest.raises(ConflictError, match=r"has ended|This condition is"):
        claim_condition(condition=condition, claim="Done.", by=people.elena)
    clock.pass_by(days=60)
    assert lapse_conditions() == 0
    assert not unmet_conditions().exists()


def _decide_anew(review: Review, people: SimpleNamespace, *, choice: str) -> Review:
    """Suspended, audited again, reviewed again."""
    ModelVersion.objects.filter(pk=review.version_id).update(status=VersionStatus.SUSPENDED)
    again = AuditRun.objects.get(pk=review.run_id)
    again.pk, again.attempt = None, 2
    again.save()
    second = open_review(run=again, by=people.clara)
    vote(second, people.mina, people.tom, choice=choice)
    return second


def test_a_suspended_version_is_decided_anew_on_a_newer_audit_only(
    condition: Condition, review: Review, people: SimpleNamespace
) -> None:
    ModelVersion.objects.filter(pk=review.version_id).update(status=VersionStatus.SUSPENDED)
    with pytest.raises(ConflictError, match="older than the approval"):
        open_review(run=review.run, by=people.clara)
    assert status_of(_decide_anew(review, people, choice="approve").version) == "approved"


def test_a_review_of_a_suspended_version_that_is_withdrawn_leaves_it_suspended_under_its_conditions(
    condition: Condition, review: Review, people: SimpleNamespace, clock: Clock
) -> None:
    ModelVersion.objects.filter(pk=review.version_id).update(status=VersionStatus.SUSPENDED)
    again = AuditRun.objects.get(pk=review.run_id)
    again.pk, again.attempt = None, 2
    again.save()
    second = open_review(run=again, by=people.clara)
    withdraw_review(review=second, reason="Not enough members.", by=people.clara)
    assert (status_of(review.version), status_of(condition)) == ("suspended", S.OPEN)
    clock.pass_by(days=31)
    assert lapse_conditions() == 1 and status_of(review.version) == "suspended"
