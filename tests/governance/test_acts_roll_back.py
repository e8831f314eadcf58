"""No act without its entries, no entry without its act: whichever entry of an act cannot be written, nothing is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from core import ledger
from core.errors import DeniedError
from core.models import LedgerEntry, User
from evaluation.models import AuditRun
from governance.services.accounts import merge_accounts
from governance.services.conditions import (
    claim_condition,
    confirm_condition,
    lapse_conditions,
    propose_condition,
    reassign_condition,
    remove_condition,
    return_claim,
)
from governance.services.reviews import add_comment, cast_vote, open_review, recuse, withdraw_review
from models_registry.models import ModelVersion, VersionStatus
from models_registry.services.versions import retire_version, submit_version
from tests.governance.clock import Clock
from tests.governance.conftest import make_version
from tests.governance.failing_ledger import DiskGone, failing_on, picture
from tests.governance.signed import signed

Act = Callable[[], Any]


class Scene:
    """Everything up to an act, each step on its own."""

    def __init__(self, people: SimpleNamespace, run: AuditRun, clock: Clock) -> None:
        self.people, self.run, self.clock = people, run, clock
        self.review: Any = None
        self.condition: Any = None

    def open(self, quorum: int = 2) -> Scene:
        self.review = open_review(run=self.run, by=self.people.clara, quorum=quorum)
        return self

    def propose(self) -> Scene:
        self.condition = self.proposing()
        return self

    def proposing(self) -> Any:
        due_at = self.clock.moment + timedelta(days=30)
        owner, by = self.people.elena, self.people.mina
        return propose_condition(review=self.review, text="Report drift.", owner=owner, due_at=due_at, by=by)

    def vote(self, by: User, choice: str = "approve") -> Scene:
        cast_vote(review=self.review, choice=choice, rationale="I read it.", by=by, signed=signed(by))
        return self

    def conditional(self) -> Scene:
        return self.open().propose().vote(self.people.mina).vote(self.people.tom)

    def claimed(self) -> Scene:
        self.conditional()
        claim_condition(condition=self.condition, claim="Done.", by=self.people.elena)
        return self


def _confirm(scene: Scene) -> Act:
    scene.claimed()
    tom = scene.people.tom
    return lambda: confirm_condition(condition=scene.condition, remark="I looked.", by=tom, signed=signed(tom))


def _lapse(scene: Scene) -> Act:
    scene.conditional()
    scene.clock.pass_by(days=31)
    return lapse_conditions


def _end(scene: Scene) -> Act:
    scene.conditional()
    ModelVersion.objects.filter(pk=scene.run.version_id).update(status=VersionStatus.VOID)
    return lapse_conditions


def _merge(scene: Scene) -> Act:
    """Two open reviews to close and an approval to void."""
    people = scene.people
    scene.open(quorum=3).vote(people.mina).vote(people.tom)
    ada, tom, mina = people.ada, people.tom, people.mina
    return lambda: merge_accounts(source=tom, target=mina, by=ada, signed=signed(ada))


def _merge_void(scene: Scene) -> Act:
    people = scene.people
    scene.open().vote(people.mina).vote(people.tom)
    ada, tom, mina = people.ada, people.tom, people.mina
    return lambda: merge_accounts(source=tom, target=mina, by=ada, signed=signed(ada))


def _submit(scene: Scene) -> Act:
    draft = make_version(scene.people, "9.0")
    ModelVersion.objects.filter(pk=draft.pk).update(status=VersionStatus.DRAFT)
    return lambda: submit_version(version=draft, by=scene.people.elena)


def _refused(scene: Scene) -> Act:
    scene.open()

    def act() -> None:
        with pytest.raises(DeniedError, match="You submitted"):
            scene.vote(scene.people.elena)

    return act


ACTS: dict[str, tuple[Callable[[Scene], Act], tuple[str, ...]]] = {
    "open": (lambda s: s.open, ("version.moved", "review.opened")),
    "vote": (lambda s: s.open() and (lambda: s.vote(s.people.mina)), ("vote.cast",)),
    "approve": (
        lambda s: s.open().vote(s.people.mina) and (lambda: s.vote(s.people.tom)),
        ("vote.cast", "version.moved", "review.decided"),
    ),
    "approve under a condition": (
        lambda s: s.open().propose().vote(s.people.mina) and (lambda: s.vote(s.people.tom)),
        ("vote.cast", "version.moved", "review.decided"),
    ),
    "reject": (
        lambda s: s.open().propose().vote(s.people.mina, "reject") and (lambda: s.vote(s.people.tom, "reject")),
        ("vote.cast", "version.moved", "review.decided"),
    ),
    "refuse a vote": (_refused, ("vote.refused",)),
    "recuse": (
        lambda s: s.open() and (lambda: recuse(review=s.review, person=s.people.lea, reason="Kin.", by=s.people.lea)),
        ("recusal.recorded",),
    ),
    "comment": (
        lambda s: s.open() and (lambda: add_comment(review=s.review, text="Why so few?", by=s.people.lea)),
        ("comment.added",),
    ),
    "withdraw": (
        lambda s: (
            s.open().propose() and (lambda: withdraw_review(review=s.review, reason="Too few.", by=s.people.clara))
        ),
        ("version.moved", "review.withdrawn"),
    ),
    "propose": (lambda s: s.open() and s.proposing, ("condition.proposed",)),
    "remove": (
        lambda s: s.open().propose() and (lambda: remove_condition(condition=s.condition, by=s.people.mina)),
        ("condition.removed",),
    ),
    "claim": (
        lambda s: (
            s.conditional() and (lambda: claim_condition(condition=s.condition, claim="Done.", by=s.people.elena))
        ),
        ("condition.claimed",),
    ),
    "return": (
        lambda s: s.claimed() and (lambda: return_claim(condition=s.condition, reason="Not yet.", by=s.people.tom)),
        ("condition.returned",),
    ),
    "confirm": (_confirm, ("condition.confirmed", "version.moved")),
    "reassign": (
        lambda s: (
            s.claimed() and (lambda: reassign_condition(condition=s.condition, owner=s.people.dora, by=s.people.clara))
        ),
        ("condition.reassigned",),
    ),
    "lapse": (_lapse, ("condition.lapsed", "deployment.suspended", "version.moved")),
    "end": (_end, ("condition.ended",)),
    "merge": (_merge, ("account.merged", "version.moved", "review.withdrawn")),
    "merge that voids": (_merge_void, ("account.merged", "version.voided")),
    "submit": (_submit, ("version.moved",)),
    "retire": (
        lambda s: lambda: retire_version(version=s.run.version, reason="Replaced.", by=s.people.clara),
        ("version.moved",),
    ),
}
SWEEPS = ("lapse", "end")


@pytest.mark.parametrize("name", ACTS)
def test_whichever_entry_cannot_be_written_nothing_is(
    name: str, people: SimpleNamespace, audited: Callable[..., AuditRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, entries = ACTS[name]
    act = prepare(Scene(people, audited(), Clock(monkeypatch)))
    before = picture()
    for entry in entries:
        with failing_on(entry):
            if name in SWEEPS:  # a sweep logs what failed, and goes on
                assert act() == 0
            else:
                with pytest.raises(DiskGone):
                    act()
        assert picture() == before, f"{name} left something behind when {entry} could not be written"
    size = ledger.tree_head().size
    act()
    assert tuple(LedgerEntry.objects.filter(index__gte=size).values_list("act", flat=True)) == entries
    assert picture() != before and ledger.verify().intact
