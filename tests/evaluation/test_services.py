"""Rules before runs, and nobody judges their own work: in the services and in the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import AdapterError, AuscultError, ConflictError, DeniedError, ProtocolError
from core.models import LedgerEntry, Role, RoleGrant, User
from evaluation.models import AuditRun, Protocol, RunStatus, Shard, ShardStatus
from evaluation.services.protocols import approve_protocol, lock_protocol
from evaluation.services.runs import TRANSITIONS, cancel_run, move_run, request_audit, resume_run
from models_registry.models import VersionStatus
from tests.registry import scene
from tests.registry.scene import (
    PATIENTS,
    RULES,
    SHARDS,
    Files,
    acts,
    make_cohort,
    make_protocol,
    make_version,
    snapshot,
)

Act = Callable[[User], Any]


@pytest.fixture
def world(people: SimpleNamespace, files: Files) -> SimpleNamespace:
    return SimpleNamespace(
        people=people,
        version=make_version(people, files.predictions),
        cohort=make_cohort(people, files.shards),
    )


def ask(world: SimpleNamespace, by: User, **changes: Any) -> AuditRun:
    protocol = Protocol.objects.first() or make_protocol(world.people)
    facts = {"version": world.version, "cohort": world.cohort, "protocol": protocol, "by": by}
    return request_audit(**facts | changes)


def grant(user: User, role: Role) -> User:
    RoleGrant.objects.create(user=user, role=role)
    return User.objects.get(pk=user.pk)


def locking(world: SimpleNamespace) -> Act:
    return lambda by: lock_protocol(source=RULES, by=by)


def approving(world: SimpleNamespace) -> Act:
    protocol = make_protocol(world.people, status="locked", approved_by=None, approved_at=None)
    return lambda by: approve_protocol(protocol=protocol, by=by)


def requesting(world: SimpleNamespace) -> Act:
    make_protocol(world.people)
    return lambda by: ask(world, by)


def cancelling(world: SimpleNamespace) -> Act:
    run = a_run(world)
    return lambda by: cancel_run(run=run, by=by)


def resuming(world: SimpleNamespace) -> Act:
    run = a_run(world, RunStatus.FAILED)
    return lambda by: resume_run(run=run, by=by)


def a_run(world: SimpleNamespace, status: RunStatus = RunStatus.RUNNING, **changes: Any) -> AuditRun:
    """A run with one share in each state, made without asking the services."""
    protocol = Protocol.objects.first() or make_protocol(world.people)
    facts: dict[str, Any] = {
        "version": world.version,
        "cohort": world.cohort,
        "protocol": protocol,
        "spec_digest": "a" * 64,
        "attempt": AuditRun.objects.count() + 1,
        "status": status,
        "n_studies": 1,
        "version_submitted_by": world.people.elena,
        "protocol_approved_by": world.people.clara,
        "requested_by": world.people.amir,
    }
    run = AuditRun.objects.create(**facts | changes)
    Shard.objects.bulk_create(
        Shard(run=run, index=index, status=state, n_studies=1, attempts=3, lease_token="t", error="e")
        for index, state in enumerate(ShardStatus)
    )
    return run


WRITES = {
    locking: ("amir boris clara", ["protocol.locked"]),
    approving: ("clara", ["protocol.approved"]),
    requesting: ("amir boris", ["version.moved", "run.requested"]),
    cancelling: ("amir boris", ["run.cancelled"]),
    resuming: ("amir boris", ["run.resumed"]),
}
every_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)


@every_write
def test_a_write_is_in_the_ledger(prepare: Callable[..., Act], world: SimpleNamespace) -> None:
    allowed, expected = WRITES[prepare]
    act, by = prepare(world), getattr(world.people, allowed.split()[0])
    act(by)
    assert acts() == expected
    assert set(LedgerEntry.objects.values_list("actor", flat=True)) == {by.username}


@every_write
def test_without_its_entry_there_is_no_act(
    prepare: Callable[..., Act],
    world: SimpleNamespace,
    broken_ledger: None,
    sent: list,
    django_capture_on_commit_callbacks: Any,
) -> None:
    act = prepare(world)
    before = snapshot()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError, match="the ledger is broken"):
        act(getattr(world.people, WRITES[prepare][0].split()[0]))
    assert snapshot() == before
    assert sent == []


@every_write
def test_everybody_else_is_denied(prepare: Callable[..., Act], world: SimpleNamespace) -> None:
    act = prepare(world)
    before = snapshot()
    for name in scene.without(WRITES[prepare][0]):
        with pytest.raises(DeniedError, match="Only people with the role"):
            act(getattr(world.people, name))
    assert snapshot() == before


# Protocols


def test_a_protocol_is_bound_to_its_digest(people: SimpleNamespace) -> None:
    protocol = lock_protocol(source=RULES, by=people.amir)
    assert (protocol.status, protocol.name) == (Protocol.Status.LOCKED, "sex-gap")
    for source in (RULES, "# A comment is not a rule.\n" + RULES):
        with pytest.raises(ConflictError, match="locked already, as sex-gap"):
            lock_protocol(source=source, by=people.clara)
    stricter = lock_protocol(source=RULES.replace("0.10", "0.05"), by=people.clara)
    assert stricter.digest != protocol.digest
    with pytest.raises(ProtocolError):
        lock_protocol(source="name: [broken", by=people.clara)
    assert acts() == ["protocol.locked"] * 2


def test_a_protocol_is_approved_once(people: SimpleNamespace) -> None:
    protocol = lock_protocol(source=RULES, by=people.clara)
    approved = approve_protocol(protocol=protocol, by=people.clara)
    assert (approved.status, approved.approved_by) == (Protocol.Status.APPROVED, people.clara)
    assert approved.approved_at <= timezone.now()
    with pytest.raises(ConflictError, match="not waiting for approval"):
        approve_protocol(protocol=protocol, by=people.clara)
    Protocol.objects.update(status=Protocol.Status.WITHDRAWN)
    with pytest.raises(ConflictError, match="not waiting for approval"):
        approve_protocol(protocol=protocol, by=people.clara)


def test_the_database_refuses_an_approval_without_approver(people: SimpleNamespace) -> None:
    for missing in ({"approved_by": None}, {"approved_at": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            make_protocol(people, **missing)


# Requests


def test_an_audit_is_ordered_as_one_task_for_each_share(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = ask(world, world.people.amir)
        assert sent == []
    shards = list(run.shards.order_by("index"))
    assert [shard.index for shard in shards] == list(range(SHARDS))
    assert sum(shard.n_studies for shard in shards) == run.n_studies == 2 * PATIENTS
    assert sorted(sent) == sorted(("evaluation.tasks.run_shard", shard.pk) for shard in shards)
    world.version.refresh_from_db()
    assert world.version.status == VersionStatus.IN_AUDIT
    assert (run.version_submitted_by, run.protocol_approved_by) == (world.people.elena, world.people.clara)


def test_nobody_audits_what_they_submitted_or_by_rules_they_approved(world: SimpleNamespace) -> None:
    people, protocol = world.people, make_protocol(world.people)
    before = snapshot()["evaluation.AuditRun"]
    for person, words in ((people.elena, "submitted this version"), (people.clara, "approved this protocol")):
        also_auditor = grant(person, Role.AUDITOR)
        with pytest.raises(DeniedError, match=words):
            ask(world, also_auditor, protocol=protocol)
        run = a_run(world)
        with pytest.raises(DeniedError, match=words):
            cancel_run(run=run, by=also_auditor)
        AuditRun.objects.filter(pk=run.pk).update(status=RunStatus.FAILED)
        with pytest.raises(DeniedError, match=words):
            resume_run(run=run, by=also_auditor)
        run.delete()
    assert snapshot()["evaluation.AuditRun"] == before
    assert acts() == []


def test_the_submitter_of_a_version_cannot_have_approved_its_rules(world: SimpleNamespace) -> None:
    protocol = make_protocol(world.people, approved_by=world.people.elena)
    with pytest.raises(DeniedError, match="also approved the protocol"):
        ask(world, world.people.amir, protocol=protocol)
    run = a_run(world)
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditRun.objects.filter(pk=run.pk).update(protocol_approved_by=world.people.elena)


@pytest.mark.parametrize("rival", ["version_submitted_by", "protocol_approved_by"])
def test_the_database_refuses_it_too(world: SimpleNamespace, rival: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        a_run(world, **{rival: world.people.amir})
    run = a_run(world)
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditRun.objects.filter(pk=run.pk).update(requested_by=getattr(run, rival))


def test_the_database_keeps_runs_and_shares_apart(world: SimpleNamespace) -> None:
    run = a_run(world, RunStatus.DONE)
    with pytest.raises(IntegrityError), transaction.atomic():
        a_run(world, RunStatus.DONE, attempt=run.attempt)
    with pytest.raises(IntegrityError), transaction.atomic():
        Shard.objects.create(run=run, index=0, n_studies=1)
    a_run(world, RunStatus.QUEUED)
    for active in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.JUDGING):
        with pytest.raises(IntegrityError), transaction.atomic():
            a_run(world, active)


@pytest.mark.parametrize("status", ["locked", "withdrawn"])
def test_rules_come_first(world: SimpleNamespace, status: str) -> None:
    protocol = make_protocol(world.people, status=status, approved_by=None, approved_at=None)
    with pytest.raises(DeniedError, match="is not approved"):
        ask(world, world.people.amir, protocol=protocol)
    assert not AuditRun.objects.exists()


@pytest.mark.parametrize("status", ["draft", "in_review", "rejected", "retired"])
def test_what_is_no_candidate_and_not_in_use_is_not_audited(world: SimpleNamespace, status: VersionStatus) -> None:
    failed = a_run(world, RunStatus.FAILED)
    type(world.version).objects.update(status=status)
    for act in (lambda: ask(world, world.people.amir), lambda: resume_run(run=failed, by=world.people.amir)):
        with pytest.raises(ConflictError, match="so it is not audited"):
            act()
    assert AuditRun.objects.get() == failed and acts() == []


def test_the_same_audit_runs_once_at_a_time(world: SimpleNamespace) -> None:
    first = ask(world, world.people.amir)
    for status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.JUDGING):
        AuditRun.objects.update(status=status)
        with pytest.raises(ConflictError, match="under way already"):
            ask(world, world.people.boris)
        with pytest.raises(ConflictError, match="under way already"):
            ask(world, world.people.boris, settings={"batch_size": 64})
    other = ask(world, world.people.boris, settings={"batch_size": 16})
    assert other.spec_digest != first.spec_digest and other.attempt == 1
    for status in (RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED):
        AuditRun.objects.update(status=status)
        again = ask(world, world.people.boris)
        assert again.spec_digest == first.spec_digest
    assert again.attempt == 4


def test_a_protocol_that_does_not_fit_names_every_column(world: SimpleNamespace) -> None:
    source = RULES.replace("[{name: effusion}]", "[{name: effusion}, {name: edema}, {name: pneumothorax}]").replace(
        "attributes: [", "attributes: [{name: race}, "
    )
    with pytest.raises(ProtocolError) as caught:
        ask(world, world.people.amir, protocol=make_protocol(world.people, source))
    for name in ("'race'", "label.edema", "label.pneumothorax", "pred.edema", "pred.pneumothorax"):
        assert name in caught.value.message
    assert "effusion" not in caught.value.message
    assert "Chest model 1.0 on Held out" in str(caught.value)
    assert not AuditRun.objects.exists()
    world.version.refresh_from_db()
    assert world.version.status == VersionStatus.SUBMITTED


def test_predictions_that_lie_in_the_cohort_are_not_the_models(world: SimpleNamespace, home: Path) -> None:
    """The model must answer itself; a version without answers to the protocol's labels does not fit."""
    world.version.config = world.version.config | {"outputs": []}
    world.version.save()
    with pytest.raises(ProtocolError, match=r"needs 'pred\.effusion' or 'score\.effusion'"):
        ask(world, world.people.amir)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"nonsense": 1}, "nonsense"), ({"batch_size": 0}, "batch_size is 0"), ({"seed": "1"}, "seed is '1'")],
)
def test_settings_are_checked_before_anything_is_ordered(
    world: SimpleNamespace, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(AdapterError, match=words):
        ask(world, world.people.amir, settings=given)
    assert not AuditRun.objects.exists()


def test_a_cohort_that_is_gone_from_the_store_is_told(world: SimpleNamespace) -> None:
    world.cohort.digest = "0" * 64
    with pytest.raises(AuscultError) as caught:
        ask(world, world.people.amir)
    assert caught.value.remedy


# Steering

ALLOWED = {
    ("queued", "running"), ("queued", "cancelled"), ("queued", "failed"),
    ("running", "judging"), ("running", "cancelled"), ("running", "failed"),
    ("judging", "done"), ("judging", "failed"),
    ("cancelled", "queued"), ("failed", "queued"),
}  # fmt: skip


def test_a_run_moves_only_along_the_table(world: SimpleNamespace) -> None:
    run = a_run(world)
    assert {(old, new) for old, following in TRANSITIONS.items() for new in following} == ALLOWED
    for old in RunStatus:
        for new in RunStatus:
            AuditRun.objects.filter(pk=run.pk).update(status=old)
            assert move_run(run.pk, to=new) is ((old.value, new.value) in ALLOWED)
            run.refresh_from_db()
            assert run.status == (new if (old.value, new.value) in ALLOWED else old)


@pytest.mark.parametrize("status", RunStatus)
def test_what_waits_or_runs_can_be_cancelled(world: SimpleNamespace, status: RunStatus) -> None:
    run = a_run(world, status)
    before = snapshot()
    if status not in {RunStatus.QUEUED, RunStatus.RUNNING}:
        with pytest.raises(ConflictError, match="not waiting or running"):
            cancel_run(run=run, by=world.people.boris)
        assert snapshot() == before
        return
    assert cancel_run(run=run, by=world.people.boris).status == RunStatus.CANCELLED
    states = dict(run.shards.values_list("index", "status"))
    expected = {
        ShardStatus.QUEUED: ShardStatus.CANCELLED,
        ShardStatus.RUNNING: ShardStatus.CANCELLED,
    }
    assert states == {index: expected.get(old, old) for index, old in enumerate(ShardStatus)}
    assert run.shards.get(index=1).lease_token == "", "the worker's lease is taken away"


@pytest.mark.parametrize("status", RunStatus)
def test_what_failed_or_was_cancelled_goes_on_where_it_stopped(
    world: SimpleNamespace, status: RunStatus, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    run = a_run(world, status, error="x", finished_at=timezone.now())
    if status not in {RunStatus.FAILED, RunStatus.CANCELLED}:
        with pytest.raises(ConflictError, match="Only a cancelled or failed audit"):
            resume_run(run=run, by=world.people.boris)
        assert acts() == []
        return
    with django_capture_on_commit_callbacks(execute=True):
        resumed = resume_run(run=run, by=world.people.boris)
    assert (resumed.status, resumed.error, resumed.finished_at) == (RunStatus.QUEUED, "", None)
    open_shards = run.shards.exclude(status=ShardStatus.DONE)
    assert {(shard.status, shard.attempts, shard.error) for shard in open_shards} == {("queued", 0, "")}
    assert run.shards.filter(status=ShardStatus.DONE).count() == 1, "what is done stays done"
    assert sorted(sent) == sorted(("evaluation.tasks.run_shard", shard.pk) for shard in open_shards)


def test_a_run_whose_shares_are_all_done_is_handed_on_when_resumed(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    run = a_run(world, RunStatus.FAILED)
    run.shards.update(status=ShardStatus.DONE)
    with django_capture_on_commit_callbacks(execute=True):
        resume_run(run=run, by=world.people.amir)
    assert sent == [("evaluation.tasks.finish_run", run.pk)]


def test_a_run_is_not_resumed_beside_its_successor(world: SimpleNamespace) -> None:
    old = a_run(world, RunStatus.CANCELLED)
    a_run(world, RunStatus.QUEUED)
    with pytest.raises(ConflictError, match="requested again meanwhile"):
        resume_run(run=old, by=world.people.amir)
    old.refresh_from_db()
    assert old.status == RunStatus.CANCELLED and acts() == []
