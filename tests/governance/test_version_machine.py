"""Whatever people do, in whatever order: no version is approved without its evidence and separate people.

The machine does what it likes, by the services alone; what must hold is read from the rows by rules of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core import ledger
from core.errors import AuscultError
from core.models import LedgerEntry, User
from core.store import Store
from evaluation.models import AuditRun
from governance.models import Acceptance, Condition, Review
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
from governance.services.deployments import deploy, lift_suspension, suspend_version
from governance.services.policies import accept_insufficiency
from governance.services.reviews import add_comment, cast_vote, open_review, recuse, withdraw_review
from models_registry.models import Deployment, ModelVersion
from models_registry.services.versions import TRANSITIONS
from models_registry.services.voiding import void_for_changed_file
from tests.governance.clock import Clock
from tests.governance.conftest import ROLES, make_version
from tests.governance.machine_scene import MORE, audit, make_scene, put_in_force
from tests.governance.signed import signed

ACCOUNTS = sorted({*ROLES, *MORE})
VOTERS = ("mina", "tom", "lea", "mina2", "elena2", "amir2", "cora")
"""Accounts that hold a role which votes: three of them are second accounts of people with another part."""
STANDING = ("approved", "conditional", "deployed")
AUDITABLE = ("in_audit", "void", "approved", "conditional", "deployed", "suspended")
BALLOTS = (["mina", "tom"], ["mina", "mina2", "lea"], ["lea", "tom"], ["mina2", "mina"], ["lea", "elena2"])
"""Some that decide cleanly, and some by two accounts of one person or by the second account of somebody barred."""
SECONDS = {"elena2": "elena", "amir2": "amir", "mina2": "mina"}

anybody = st.sampled_from(ACCOUNTS)
mostly_voters = st.one_of(st.sampled_from(VOTERS), anybody)
ballots = st.one_of(st.sampled_from(BALLOTS), st.lists(st.sampled_from(VOTERS), min_size=2, max_size=5, unique=True))
chairs = st.one_of(st.sampled_from(("clara", "cora")), anybody)


class Machine(RuleBasedStateMachine):
    """One version from its registration on; each rule is an act that somebody tries."""

    home: Path

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.patch = pytest.MonkeyPatch()
        self.clock = Clock(self.patch)
        self.people = make_scene()
        self.version = make_version(self.people, "1.0")
        self.one_person: dict[str, str] = {}
        self.policy: Any = None
        self.seen = 0

    def teardown(self) -> None:
        self.patch.undo()
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @initialize(policy=st.booleans(), voters=ballots, conditions=st.integers(0, 1))
    def begin(self, policy: bool, voters: list[str], conditions: int) -> None:
        self.policy = put_in_force(self.people, signed) if policy else None
        self.took_its_way("pass", conditions, voters, "approve", 0)

    @precondition(lambda self: len(self.one_person) < 2)
    @rule(second=st.sampled_from(("mina2", "elena2", "amir2")), more=st.sampled_from(("lea", "tom")))
    def somebody_was_found_out(self, second: str, more: str) -> None:
        """The committee decides with the votes of a second account, and then it is known to be one."""
        self.took_its_way("pass", 0, [second, "mina", more], "approve", 0)
        self.merged(second, SECONDS[second], True)

    @rule(
        outcome=st.sampled_from(("pass", "pass", "pass", "insufficient", "fail")),
        conditions=st.integers(0, 2),
        voters=ballots,
        choice=st.sampled_from(("approve", "approve", "approve", "reject")),
        stop=st.integers(0, 5),
    )
    def took_its_way(self, outcome: str, conditions: int, voters: list[str], choice: str, stop: int) -> None:
        """From the audit to the decision, as it is meant to be; ``stop`` leaves it half way."""
        if self.status() not in AUDITABLE:
            return
        self.audited(outcome, "amir")
        if self.policy and outcome == "insufficient":
            self.accepted("lea")
        if stop == 1:
            return
        self.opened("clara", 2, 0)
        for _ in range(conditions):
            self.proposed("mina", "elena", 40)
        if stop == 2:
            return
        for name in voters:
            self.voted(name, choice)
        if conditions and stop == 3:
            self.did_with_a_condition(0, None, "claim")
            self.confirmed(0, "tom")

    # What somebody tries

    def attempt(self, act: Callable[[], Any]) -> bool:
        """Whether it was done. What is refused leaves nothing behind but, for a vote, the entry that tells of it."""
        before, size = self.states(), ledger.tree_head().size
        try:
            act()
        except AuscultError:
            assert self.states() == before
            acts = list(LedgerEntry.objects.filter(index__gte=size).values_list("act", flat=True))
            assert acts in ([], ["vote.refused"])
            return False
        return True

    def states(self) -> list[Any]:
        rows = [ModelVersion, Review, Condition, Deployment]
        found = [list(model.objects.order_by("pk").values_list("pk", "status")) for model in rows]
        votes = Review.objects.order_by("pk").values_list("pk", "votes", "recusals", "comments").order_by("pk", "votes")
        return [*found, sorted(votes, key=str), Acceptance.objects.count(), User.objects.filter(is_active=True).count()]

    def who(self, name: str) -> User:
        return User.objects.get(username=name)

    def review(self) -> Review | None:
        return Review.objects.order_by("-pk").first()

    def condition(self, number: int) -> Condition | None:
        rows = list(Condition.objects.order_by("-pk")[:3])
        return rows[number % len(rows)] if rows else None

    def status(self) -> str:
        return str(ModelVersion.objects.get(pk=self.version.pk).status)

    @precondition(lambda self: self.status() in AUDITABLE)
    @rule(
        outcome=st.sampled_from(("pass", "pass", "pass", "fail", "insufficient")), by=st.sampled_from(("amir", "boris"))
    )
    def audited(self, outcome: str, by: str) -> None:
        version = ModelVersion.objects.get(pk=self.version.pk)
        audit(version, self.home, outcome=outcome, by=self.who(by), people=self.people)

    @precondition(lambda self: AuditRun.objects.exists())
    @rule(by=chairs, quorum=st.sampled_from((2, 2, 3)), last=st.integers(0, 1))
    def opened(self, by: str, quorum: int, last: int) -> None:
        runs = list(AuditRun.objects.order_by("-pk")[:2])
        self.attempt(lambda: open_review(run=runs[last % len(runs)], by=self.who(by), quorum=quorum))

    @precondition(lambda self: Review.objects.exists())
    @rule(by=mostly_voters, choice=st.sampled_from(("approve", "approve", "approve", "reject")))
    def voted(self, by: str, choice: str) -> None:
        review, voter = self.review(), self.who(by)
        proof = signed(voter)
        self.attempt(lambda: cast_vote(review=review, choice=choice, rationale="I read it.", by=voter, signed=proof))

    @precondition(lambda self: Review.objects.filter(status="open").exists())
    @rule(voters=st.lists(st.sampled_from(VOTERS), min_size=2, max_size=4, unique=True))
    def voted_one_after_another(self, voters: list[str]) -> None:
        for name in voters:
            self.voted(name, "approve")

    @precondition(lambda self: Review.objects.exists())
    @rule(person=mostly_voters, by=st.one_of(st.none(), chairs))
    def recused(self, person: str, by: str | None) -> None:
        who, review = self.who(person), self.review()
        self.attempt(lambda: recuse(review=review, person=who, reason="Kin.", by=self.who(by) if by else who))

    @precondition(lambda self: Review.objects.filter(status="open").exists())
    @rule(by=mostly_voters, owner=anybody, days=st.sampled_from((5, 40, 100)))
    def proposed(self, by: str, owner: str, days: int) -> None:
        due_at, review = self.clock.moment + timedelta(days=days), self.review()
        facts = {"text": "Report drift.", "owner": self.who(owner), "due_at": due_at, "by": self.who(by)}
        self.attempt(lambda: propose_condition(review=review, **facts))

    @precondition(lambda self: Condition.objects.exists())
    @rule(
        number=st.integers(0, 2),
        by=st.one_of(st.none(), anybody),
        act=st.sampled_from(("claim", "remove", "return", "hand over")),
    )
    def did_with_a_condition(self, number: int, by: str | None, act: str) -> None:
        found = self.condition(number)
        if found is None:
            return
        who = self.who(by) if by else found.owner
        acts = {
            "claim": lambda: claim_condition(condition=found, claim="Done.", by=who),
            "remove": lambda: remove_condition(condition=found, by=who),
            "return": lambda: return_claim(condition=found, reason="No.", by=who),
            "hand over": lambda: reassign_condition(condition=found, owner=self.who("dora"), by=self.who("clara")),
        }
        self.attempt(acts[act])

    @precondition(lambda self: Condition.objects.filter(status="claimed").exists())
    @rule(number=st.integers(0, 2), by=mostly_voters)
    def confirmed(self, number: int, by: str) -> None:
        found, who = self.condition(number), self.who(by)
        proof = signed(who)
        self.attempt(lambda: confirm_condition(condition=found, remark="I looked.", by=who, signed=proof))

    @rule(days=st.sampled_from((1, 7, 45, 120)))
    def time_passed(self, days: int) -> None:
        self.clock.pass_by(days=days)
        lapse_conditions()
        assert not Condition.objects.filter(status__in=("open", "claimed"), due_at__lte=self.clock.moment).exists()

    @precondition(lambda self: len(self.one_person) < 2)
    @rule(
        second=st.one_of(st.sampled_from(sorted(SECONDS)), st.just("mina2"), anybody),
        first=anybody,
        truly=st.sampled_from((True, True, False)),
    )
    def merged(self, second: str, first: str, truly: bool) -> None:
        first = SECONDS.get(second, first) if truly else first
        ada, source, target = self.who("ada"), self.who(second), self.who(first)
        proof = signed(ada)
        if self.attempt(lambda: merge_accounts(source=source, target=target, by=ada, signed=proof)):
            self.one_person = {name: first if to == second else to for name, to in self.one_person.items()}
            self.one_person[second] = first

    @precondition(lambda self: self.status() in ("in_audit", "in_review"))
    @rule(rarely=st.integers(0, 3))
    def weights_changed_unseen(self, rarely: int) -> None:
        digest = ModelVersion.objects.get(pk=self.version.pk).digest
        if rarely:
            return
        ModelVersion.objects.filter(pk=self.version.pk).update(digest=digest[1:] + digest[0])

    @rule(rarely=st.integers(0, 3))
    def a_file_was_found_changed(self, rarely: int) -> None:
        if rarely:
            return
        version = ModelVersion.objects.get(pk=self.version.pk)
        void_for_changed_file(digest=next(iter(version.manifest.values())), reason="Found.", version=version)

    @precondition(lambda self: Review.objects.filter(status="open").exists())
    @rule(by=chairs, comment=st.booleans())
    def withdrew_or_spoke(self, by: str, comment: bool) -> None:
        review, who = self.review(), self.who(by)
        if comment:
            self.attempt(lambda: add_comment(review=review, text="Why?", by=who))
        else:
            self.attempt(lambda: withdraw_review(review=review, reason="Too few.", by=who))

    @rule(by=st.one_of(st.sampled_from(("clara", "lea")), anybody), place=st.integers(1, 2))
    def deployed(self, by: str, place: int) -> None:
        who = self.who(by)
        place_facts = {"site": f"Ward {place}", "unit": "", "share": 100, "contact_name": "Ida"}
        facts = {"contact_email": "ida@example.org", "by": who, "signed": signed(who)}
        self.attempt(lambda: deploy(version=self.version, **place_facts, **facts))

    @rule(by=chairs)
    def suspended(self, by: str) -> None:
        self.attempt(lambda: suspend_version(version=self.version, reason="Something is wrong here.", by=self.who(by)))

    @precondition(lambda self: self.status() == "suspended")
    @rule(by=chairs)
    def lifted(self, by: str) -> None:
        who = self.who(by)
        proof = signed(who)
        self.attempt(lambda: lift_suspension(version=self.version, reason="It was looked into.", by=who, signed=proof))

    @precondition(lambda self: self.policy is not None)
    @rule(by=st.one_of(st.sampled_from(("lea", "clara", "cora")), anybody))
    def accepted(self, by: str) -> None:
        who, until = self.who(by), self.clock.moment + timedelta(days=30)
        facts = {"version": self.version, "policy": self.policy, "item": "fairness", "reason": "A rare disease."}
        self.attempt(lambda: accept_insufficiency(**facts, expires_at=until, by=who, signed=signed(who)))

    # What must hold

    def person(self, user: User) -> str:
        return self.one_person.get(user.username, user.username)

    @invariant()
    def what_may_be_used_was_decided_by_separate_people_on_evidence(self) -> None:
        for version in ModelVersion.objects.filter(status__in=STANDING):
            review = Review.objects.exclude(status__in=("open", "withdrawn")).order_by("-pk")[0]
            assert review.status in ("approved", "conditional") and review.version_digest == version.digest
            parts = [self.person(review.submitter), self.person(review.runner), self.person(review.protocol_approver)]
            votes = list(review.votes.select_related("voter"))
            approving = {self.person(vote.voter) for vote in votes if vote.choice == "approve"}
            assert len({self.person(vote.voter) for vote in votes}) == len(votes)
            assert len(approving) >= review.quorum >= 2 and len(set(parts)) == 3 and not approving & set(parts)
            assert not approving & {self.person(row.person) for row in review.recusals.all()}
            evidence = Store(self.home / "store").get_json(review.evidence_digest)
            assert evidence["version"]["digest"] == version.digest
            outcome = evidence["result"]["outcome"]
            accepted = Acceptance.objects.filter(
                evidence_digest=review.evidence_digest,
                accepted_at__lt=review.closed_at,
                expires_at__gt=review.closed_at,
            )
            assert outcome == "pass" or (outcome == "insufficient" and self.policy and accepted.exists())
            lead = {"lea", "amir2"}
            if self.policy:
                assert lead & {vote.voter.username for vote in votes if vote.choice == "approve"}
            unmet = review.conditions.filter(status__in=("open", "claimed", "lapsed"))
            assert not unmet.filter(status="lapsed").exists()
            assert version.status != "approved" or not unmet.exists()

    @invariant()
    def one_review_is_open_at_most_and_its_version_is_in_review(self) -> None:
        open_now = Review.objects.filter(status="open").count()
        assert open_now == (self.status() == "in_review")

    @invariant()
    def a_version_that_may_not_be_used_runs_nowhere(self) -> None:
        if self.status() not in STANDING:
            assert not Deployment.objects.filter(status="running").exists()

    @invariant()
    def the_ledger_tells_each_change_once_and_in_order(self) -> None:
        assert ledger.verify().intact
        status = "in_audit"
        moves = LedgerEntry.objects.filter(subject_kind="ModelVersion", act__in=("version.moved", "version.voided"))
        for entry in moves.order_by("index"):
            told = json.loads(entry.body)["payload"]
            assert told["from"] == status and told["to"] in TRANSITIONS[status], entry.body
            status = told["to"]
        assert status == self.status()
        count = {act: LedgerEntry.objects.filter(act=act).count() for act in ("vote.cast", "review.opened")}
        assert count == {
            "vote.cast": sum(r.votes.count() for r in Review.objects.all()),
            "review.opened": Review.objects.count(),
        }
        closed = LedgerEntry.objects.filter(act__in=("review.decided", "review.withdrawn")).count()
        assert closed == Review.objects.exclude(status="open").count()


def test_no_path_reaches_an_approval_without_evidence_and_separate_people(db: None, home: Path) -> None:
    Machine.home = home
    quick = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # making a failing story short takes minutes; the long one tells enough
            suppress_health_check=quick,
        ),
    )
