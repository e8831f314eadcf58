"""The acts on an intake: who may do them, what they leave, what may follow on what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AdapterError, AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, User
from models_registry.models import VersionIntake
from models_registry.services import intakes
from tests.registry.intake_steps import (
    Status,
    an_intake,
    checked,
    fresh,
    start,
)
from tests.registry.scene import make_version, snapshot, without

# Services: who, what is left, what may follow on what


def starting(world: SimpleNamespace) -> Callable[[User], Any]:
    return lambda by: start(world, by=by)


def finishing(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.RECEIVING)
    return lambda by: intakes.finish_upload(intake=row, by=by)


def rechecking(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.BLOCKED)
    return lambda by: intakes.recheck_intake(intake=row, label="2.0", by=by)


def confirming(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.READY)
    return lambda by: intakes.confirm_intake(intake=row, by=by)


def discarding(world: SimpleNamespace) -> Callable[[User], Any]:
    row = an_intake(world, Status.READY)
    return lambda by: intakes.discard_intake(intake=row, by=by)


WRITES = {
    starting: "version_intake.started",
    finishing: "version_intake.received",
    rechecking: "version_intake.revised",
    confirming: "version_intake.confirmed",
    discarding: "version_intake.discarded",
}
every_write = pytest.mark.parametrize("prepare", WRITES, ids=lambda prepare: prepare.__name__)


@every_write
def test_a_write_has_one_entry_and_is_an_engineers(prepare: Callable[..., Any], world: SimpleNamespace) -> None:
    act = prepare(world)
    before = snapshot()
    for name in without("elena"):
        with pytest.raises(DeniedError, match="Only people with the role"):
            act(getattr(world.people, name))
    assert snapshot() == before
    act(world.people.elena)
    (entry,) = LedgerEntry.objects.all()
    assert (entry.act, entry.actor) == (WRITES[prepare], "elena")


@every_write
def test_without_its_entry_there_is_no_act(
    prepare: Callable[..., Any],
    world: SimpleNamespace,
    broken_ledger: None,
    sent: list,
    django_capture_on_commit_callbacks: Any,
) -> None:
    act = prepare(world)
    before = snapshot()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError, match="the ledger is broken"):
        act(world.people.elena)
    assert snapshot() == before and sent == []


FOLLOWING = {
    finishing: ({Status.RECEIVING}, Status.QUEUED),
    rechecking: ({Status.READY, Status.BLOCKED, Status.FAILED}, Status.QUEUED),
    confirming: ({Status.READY}, Status.REGISTERING),
    discarding: (
        {Status.RECEIVING, Status.QUEUED, Status.CHECKING, Status.READY, Status.BLOCKED, Status.FAILED},
        Status.DISCARDED,
    ),
}


@pytest.mark.parametrize("prepare", FOLLOWING, ids=lambda prepare: prepare.__name__)
def test_an_intake_takes_its_steps_in_order(prepare: Callable[..., Any], world: SimpleNamespace) -> None:
    allowed, following = FOLLOWING[prepare]
    for status in Status:
        act = prepare(world)
        row = VersionIntake.objects.order_by("-pk")[0]
        VersionIntake.objects.filter(pk=row.pk).update(status=status)
        if status in allowed:
            act(world.people.elena)
            assert fresh(row).status == following
        else:
            with pytest.raises(ConflictError):
                act(world.people.elena)
            assert fresh(row).status == status


def test_messages_go_out_when_the_act_is_committed(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        row = start(world)
        assert sent == []
    checked(row)
    with django_capture_on_commit_callbacks(execute=True):
        intakes.confirm_intake(intake=fresh(row), by=world.people.elena)
    assert sent == [("models_registry.tasks.check_intake", row.pk), ("models_registry.tasks.register_intake", row.pk)]


def test_what_is_not_there_or_not_open_is_refused(world: SimpleNamespace, home: Path, settings: Any) -> None:
    before = snapshot()
    for changes, error, words in (
        ({"label": "  "}, ConflictError, "needs a label"),
        ({"label": "x" * 81}, ConflictError, "at most 80"),
        ({"adapter": "magic"}, AuscultError, "no adapter called"),
        ({"source_path": home / "nowhere"}, AdapterError, "no such folder"),
        ({"source_path": Path("relative")}, AdapterError, "whole path"),
        ({"source_path": None}, AdapterError, "whole path"),
        ({"kind": "archive"}, AdapterError, "no such file"),
        ({"kind": "mlflow"}, AdapterError, "run is missing"),
    ):
        with pytest.raises(error, match=words):
            start(world, **changes)
    settings.AUSCULT_IMPORT_ROOTS = [home / "sources"]
    with pytest.raises(DeniedError, match="does not read"):
        start(world)
    assert snapshot() == before
    start(world, trusted=True)  # from the operator's shell
    make_version(world.people, world.files.predictions, system=world.system, label="1.0")
    with pytest.raises(ConflictError, match=r"already has a version 1\.0"):
        start(world, trusted=True)
