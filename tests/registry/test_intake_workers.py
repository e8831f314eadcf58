"""What workers do with an intake, and what becomes of it when they die, are late, or meet an error."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import ConflictError
from core.models import LedgerEntry
from models_registry import execution_intake
from models_registry.intake.uploads import PromisedFile
from models_registry.models import ModelVersion, VersionIntake
from models_registry.services import intakes
from models_registry.services.versions import model_store
from tests.registry.intake_steps import (
    LOG,
    Status,
    an_intake,
    checked,
    fresh,
    log_of,
    registered,
    send,
    staged,
    start,
    the,
    upload,
)
from tests.registry.scene import acts, copy_into_home, make_version, snapshot

# Workers


def test_a_message_that_comes_twice_is_harmless(world: SimpleNamespace) -> None:
    row = checked(start(world))
    before = snapshot()
    execution_intake.check_intake(row.pk)
    execution_intake.register_intake(row.pk)
    assert snapshot() == before
    version = registered(world, row)
    before = snapshot()
    execution_intake.register_intake(row.pk)
    execution_intake.check_intake(row.pk)
    assert snapshot() == before and ModelVersion.objects.get() == version


def test_a_worker_that_died_between_the_rename_and_the_row_is_made_good(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = checked(upload(world, {LOG: log_of(world)}))
    intakes.confirm_intake(intake=row, by=world.people.elena)

    def dies(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution_intake, "create_version", dies)
        with pytest.raises(KeyboardInterrupt):
            execution_intake.register_intake(row.pk)
    assert fresh(row).status == Status.REGISTERING and not ModelVersion.objects.exists()
    execution_intake.register_intake(row.pk)
    assert fresh(row).status == Status.REGISTERED
    assert acts().count("version.registered") == 1


def test_a_label_taken_meanwhile_is_told_and_another_one_goes_on(world: SimpleNamespace) -> None:
    row = checked(upload(world, {LOG: log_of(world), "notes.md": b"x"}))
    intakes.confirm_intake(intake=row, by=world.people.elena)
    make_version(world.people, world.files.predictions, system=world.system, label="1.0")
    execution_intake.register_intake(row.pk)
    row = fresh(row)
    assert row.status == Status.FAILED and "already has a version 1.0" in row.error
    intakes.recheck_intake(intake=row, label="1.1", by=world.people.elena)
    assert registered(world, checked(row)).label == "1.1"


def test_an_upload_whose_registration_failed_at_the_last_moment_can_be_checked_again(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = checked(upload(world, {LOG: log_of(world)}))
    intakes.confirm_intake(intake=row, by=world.people.elena)

    def refuses(**_: Any) -> None:
        raise ConflictError("The backbone was withdrawn.", remedy="Choose another.")

    with monkeypatch.context() as patch:
        patch.setattr(execution_intake, "create_version", refuses)
        execution_intake.register_intake(row.pk)
    assert "backbone was withdrawn" in fresh(row).error and not ModelVersion.objects.exists()
    intakes.recheck_intake(intake=fresh(row), by=world.people.elena)
    row = checked(row)
    assert row.status == Status.READY, row.checks
    assert registered(world, row).label == "1.0"


def test_an_intake_that_is_given_up_while_it_is_checked_leaves_nothing(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    row = start(world)

    def given_up(*args: Any, **kwargs: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            intakes.discard_intake(intake=fresh(row), by=world.people.elena)
        return look(*args, **kwargs)

    look = execution_intake.look_at
    monkeypatch.setattr(execution_intake, "look_at", given_up)
    row = checked(row)
    assert row.status == Status.DISCARDED and row.findings == {} and staged() == []


def test_an_unexpected_error_is_told_and_not_tried_for_ever(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(execution_intake, "look_at", breaks)
    row = start(world)
    with pytest.raises(ZeroDivisionError):
        execution_intake.check_intake(row.pk)
    assert fresh(row).status == Status.FAILED and "Unexpected ZeroDivisionError" in fresh(row).error
    execution_intake.check_intake(row.pk)
    assert fresh(row).status == Status.FAILED


def test_a_folder_that_changes_while_it_is_read_is_named(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_into_home(world.files.predictions, "moving")
    look = execution_intake.look_at

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        found = look(*args, **kwargs)
        (folder / "late.txt").write_text("late")
        return found

    monkeypatch.setattr(execution_intake, "look_at", meanwhile)
    row = checked(start(world, source_path=folder))
    assert row.status == Status.BLOCKED and "changed while it was being checked" in the(row, "content")["message"]


def test_a_folder_that_became_a_link_meanwhile_is_not_read(world: SimpleNamespace, home: Path) -> None:
    folder = copy_into_home(world.files.predictions, "swapped")
    row = start(world, source_path=folder)
    shutil.rmtree(folder)
    folder.symlink_to("/etc")
    row = checked(row)
    assert row.status == Status.BLOCKED and "link to another place" in the(row, "files")["message"]
    folder.unlink()
    intakes.recheck_intake(intake=row, by=world.people.elena)
    assert "is gone" in the(checked(row), "files")["message"]


def test_the_sweep_sends_again_what_a_dead_worker_held(world: SimpleNamespace, settings: Any, sent: list) -> None:
    old = timezone.now() - timedelta(seconds=4 * settings.AUSCULT_LEASE_SECONDS + 1)
    rows = {status: an_intake(world, status) for status in (Status.CHECKING, Status.QUEUED, Status.REGISTERING)}
    execution_intake.sweep_intakes()
    assert sent == []
    VersionIntake.objects.update(sent_at=old)
    execution_intake.sweep_intakes()
    assert sorted(sent) == [
        ("models_registry.tasks.check_intake", rows[Status.CHECKING].pk),
        ("models_registry.tasks.check_intake", rows[Status.QUEUED].pk),
        ("models_registry.tasks.register_intake", rows[Status.REGISTERING].pk),
    ]
    assert checked(rows[Status.CHECKING]).status == Status.READY


def test_a_worker_that_was_taken_for_dead_writes_nothing(world: SimpleNamespace) -> None:
    row = start(world)
    slow = execution_intake.Pulse.claim(row.pk)
    assert slow is not None
    VersionIntake.objects.update(status=Status.QUEUED)
    assert checked(row).status == Status.READY
    before = snapshot()
    with pytest.raises(execution_intake.IntakeLostError):
        slow.write(status=Status.BLOCKED)
    assert snapshot() == before


def test_abandoned_intakes_end_and_their_files_go(
    world: SimpleNamespace, django_capture_on_commit_callbacks: Any
) -> None:
    old = timezone.now() - timedelta(days=8)
    forgotten = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])
    send(world, forgotten, LOG, 0, b"12345")
    alive = start(world, kind="upload", source_path=None, files=[PromisedFile(path=LOG, size=10)])
    send(world, alive, LOG, 0, b"12345")
    VersionIntake.objects.filter(pk=forgotten.pk).update(sent_at=old)
    with django_capture_on_commit_callbacks(execute=True):
        execution_intake.sweep_intakes()
    assert (fresh(forgotten).status, fresh(alive).status) == (Status.DISCARDED, Status.RECEIVING)
    assert "Nobody came back" in fresh(forgotten).message
    assert staged() == [f"intake-{alive.pk}"]
    assert LedgerEntry.objects.order_by("-index")[0].actor == "system"
    (model_store().root / "staging" / f"intake-{forgotten.pk}").mkdir()  # bytes that arrived too late
    execution_intake.sweep_intakes()
    assert staged() == [f"intake-{alive.pk}"]


def test_a_discarded_intake_leaves_the_servers_folder_alone(
    world: SimpleNamespace, django_capture_on_commit_callbacks: Any
) -> None:
    row = checked(start(world))
    assert staged() == [f"intake-{row.pk}"]
    with django_capture_on_commit_callbacks(execute=True):
        intakes.discard_intake(intake=row, by=world.people.elena)
    assert staged() == [] and log_of(world)
