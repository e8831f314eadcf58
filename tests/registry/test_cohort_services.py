"""Services of cohorts and training, and what the database itself refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from core.errors import AdapterError, CohortError, ConflictError
from core.models import User
from models_registry.models import AISystem, Cohort, CohortImport, CohortVersion, ModelVersion
from models_registry.services import cohorts, training
from tests.registry.scene import Files, acts, make_cohort, make_version, snapshot
from tests.registry.service_steps import Status, an_import, content, new_import, requesting_training


@pytest.fixture
def world(people: SimpleNamespace, files: Files) -> SimpleNamespace:
    return SimpleNamespace(people=people, files=files)


# Cohorts

FOLLOWING = {
    "revise": ({Status.READY, Status.BLOCKED, Status.FAILED}, Status.QUEUED),
    "confirm": ({Status.READY}, Status.REGISTERING),
    "discard": ({Status.QUEUED, Status.INSPECTING, Status.READY, Status.BLOCKED, Status.FAILED}, Status.DISCARDED),
}
STEPS: dict[str, Callable[[CohortImport, User], Any]] = {
    "revise": lambda row, by: cohorts.revise_import(cohort_import=row, mapping={}, by=by),
    "confirm": lambda row, by: cohorts.confirm_import(cohort_import=row, by=by),
    "discard": lambda row, by: cohorts.discard_import(cohort_import=row, by=by),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_import_takes_its_steps_in_order(step: str, world: SimpleNamespace) -> None:
    allowed, following = FOLLOWING[step]
    for status in Status:
        row = an_import(world, status)
        before = len(acts())
        if status in allowed:
            STEPS[step](row, world.people.amir)
            assert CohortImport.objects.get(pk=row.pk).status == following
        else:
            with pytest.raises(ConflictError):
                STEPS[step](row, world.people.amir)
            assert CohortImport.objects.get(pk=row.pk).status == status
            assert len(acts()) == before


def test_an_import_sends_its_message_when_the_act_is_committed(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        row = new_import(world.people.amir, world.files.cohort)
        assert sent == []
    assert sent == [("models_registry.tasks.inspect_cohort", row.pk)]
    CohortImport.objects.filter(pk=row.pk).update(status=Status.READY)
    with django_capture_on_commit_callbacks(execute=True):
        cohorts.confirm_import(cohort_import=row, by=world.people.amir)
    assert sent[1:] == [("models_registry.tasks.register_cohort", row.pk)]


def test_an_import_needs_a_name_and_a_file(world: SimpleNamespace, home: Path) -> None:
    with pytest.raises(CohortError, match="no name"):
        new_import(world.people.elena, world.files.cohort, name=" ! ")
    with pytest.raises(CohortError, match="no such file") as caught:
        new_import(world.people.elena, home / "none.csv")
    assert caught.value.file == str(home / "none.csv")
    assert not CohortImport.objects.exists()


def test_a_discarded_upload_is_removed_and_nothing_else(
    world: SimpleNamespace, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    uploads = settings.MEDIA_ROOT
    mine = uploads / "cohorts" / "mine" / "cohort.csv"
    loose = [uploads / "cohorts" / "loose.csv", uploads / "loose.csv"]
    mine.parent.mkdir(parents=True)
    for path in (mine, *loose):
        path.write_text("patient_id,study_id\n")
    for path in (mine, *loose, world.files.cohort):
        row = new_import(world.people.elena, path)
        with django_capture_on_commit_callbacks(execute=True):
            cohorts.discard_import(cohort_import=row, by=world.people.elena)
    assert not mine.parent.exists()
    assert all(path.exists() for path in (*loose, world.files.cohort))


def test_the_same_content_is_the_same_cohort_version(world: SimpleNamespace) -> None:
    first = cohorts.create_cohort_version(**content(world.files), by=world.people.elena)
    again = cohorts.create_cohort_version(**content(world.files, name="Other"), by=world.people.amir)
    assert again == first and Cohort.objects.count() == 1
    assert acts() == ["cohort.registered"]


def test_real_and_simulated_patients_are_never_one_cohort(world: SimpleNamespace) -> None:
    cohorts.create_cohort_version(**content(world.files), by=world.people.elena)
    with pytest.raises(ConflictError, match="real; this file says otherwise"):
        cohorts.create_cohort_version(**content(world.files, digest="f" * 64, simulated=True), by=world.people.elena)
    assert CohortVersion.objects.count() == 1


# Training


def test_training_is_requested_once_for_a_label(
    world: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    act = requesting_training(world)
    with django_capture_on_commit_callbacks(execute=True):
        job = act(world.people.elena)
    assert sent == [("models_registry.tasks.train", job.pk)]
    assert job.settings["epochs"] >= 1, "the settings are kept complete"
    with pytest.raises(ConflictError, match="being trained already"):
        act(world.people.elena)
    job.status = "failed"
    job.save()
    act(world.people.elena)


def test_training_refuses_what_could_only_fail_later(world: SimpleNamespace) -> None:
    version = make_version(world.people, world.files.predictions)
    cohort = make_cohort(world.people, world.files.shards)
    before = snapshot()

    def ask(label: str, **settings: Any) -> None:
        training.request_training(
            system=version.system, version_label=label, cohort=cohort, settings=settings, by=world.people.elena
        )

    with pytest.raises(ConflictError, match=r"already has a version 1\.0"):
        ask("1.0")
    with pytest.raises(ConflictError, match="needs a label"):
        ask("  ")
    with pytest.raises(AdapterError, match="no training setting called nonsense"):
        ask("2.0", nonsense=1)
    assert snapshot() == before


# The database


def test_the_database_refuses_doubles(world: SimpleNamespace) -> None:
    people, files = world.people, world.files
    version, cohort = make_version(people, files.predictions), make_cohort(people, files.shards)
    facts = {"system": version.system, "adapter": "recorded", "manifest": {}, "submitted_by": people.elena}
    doubles: list[Callable[[], Any]] = [
        lambda: AISystem.objects.create(name="Chest model", slug="other", created_by=people.elena),
        lambda: AISystem.objects.create(name="Other", slug="chest-model", created_by=people.elena),
        lambda: ModelVersion.objects.create(label="1.0", digest="0" * 64, **facts),
        lambda: ModelVersion.objects.create(label="2.0", digest=version.digest, **facts),
        lambda: CohortVersion.objects.create(
            cohort=cohort.cohort, digest=cohort.digest, n_studies=1, n_patients=1, summary={}, registered_by=people.amir
        ),
    ]
    for double in doubles:
        with pytest.raises(IntegrityError), transaction.atomic():
            double()
    ModelVersion.objects.create(label="2.0", digest="0" * 64, **facts)


def test_who_did_something_cannot_be_deleted(world: SimpleNamespace) -> None:
    make_version(world.people, world.files.predictions)
    with pytest.raises(IntegrityError):
        world.people.elena.delete()
