"""What the registry's workers do, called as a worker would: once, twice, and with what cannot be done."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.models import LedgerEntry
from models_registry import execution, leases
from models_registry.cohorts import convert_cohort, open_cohort
from models_registry.models import AISystem, CohortImport, CohortVersion, JobStatus, ModelVersion, TrainingJob
from models_registry.services import cohorts
from models_registry.services.training import request_training
from models_registry.services.versions import model_store
from synthetic.simulator import SimulatorSettings, simulate_cohort
from tests.registry.scene import Files, acts, make_cohort, make_system, make_version, snapshot

Status = CohortImport.Status
QUICK = {"epochs": 1, "width": 16, "layers": 1, "image_size": 32, "threads": 1, "validation_share": 0.25}


def start(people: SimpleNamespace, source: Path) -> CohortImport:
    return cohorts.start_import(name="Held out", description="", simulated=False, source_path=source, by=people.elena)


@pytest.fixture
def cohort_file(files: Files, home: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(files.cohort, home / "cohort.parquet"))


@pytest.fixture
def ready(people: SimpleNamespace, cohort_file: Path) -> CohortImport:
    row = start(people, cohort_file)
    execution.inspect_import(row.pk)
    row.refresh_from_db()
    return row


def again(step: Callable[[int], None], row: Any) -> None:
    """Deliver the message a second time: nothing may change."""
    before = snapshot()
    step(row.pk)
    assert snapshot() == before


def test_an_import_is_read_shown_and_registered(ready: CohortImport, people: SimpleNamespace, files: Files) -> None:
    assert (ready.status, ready.error) == (Status.READY, "")
    assert ready.inspection["summary"]["n_studies"] == len(files.frame)
    assert ready.inspection["preview"]["rows"], "whoever confirms sees the first rows"
    again(execution.inspect_import, ready)
    cohorts.confirm_import(cohort_import=ready, by=people.elena)
    execution.register_import(ready.pk)
    ready.refresh_from_db()
    assert ready.status == Status.REGISTERED
    assert "preview" not in ready.inspection, "rows of patients are not kept beside the registered cohort"
    version = ready.result
    assert (version.n_studies, version.n_patients) == (len(files.frame), files.frame["patient_id"].nunique())
    reader = open_cohort(execution.cohort_folder(version))
    assert sum(shard.n_studies for shard in reader.shards) == version.n_studies
    again(execution.register_import, ready)
    again(execution.inspect_import, ready)
    assert acts() == ["cohort_import.started", "cohort_import.confirmed", "cohort.registered"]


def test_a_worker_that_died_while_reading_is_followed_by_another(ready: CohortImport) -> None:
    CohortImport.objects.filter(pk=ready.pk).update(status=Status.INSPECTING, inspection={})
    execution.inspect_import(ready.pk)
    ready.refresh_from_db()
    assert ready.status == Status.READY and ready.inspection["summary"]


def test_a_worker_that_died_after_registering_is_followed_by_another(
    ready: CohortImport, people: SimpleNamespace
) -> None:
    cohorts.confirm_import(cohort_import=ready, by=people.elena)
    execution.register_import(ready.pk)
    CohortImport.objects.filter(pk=ready.pk).update(status=Status.REGISTERING, result=None)
    execution.register_import(ready.pk)
    ready.refresh_from_db()
    assert ready.status == Status.REGISTERED and ready.result == CohortVersion.objects.get()
    assert acts().count("cohort.registered") == 1


def test_a_file_with_errors_is_blocked(people: SimpleNamespace, home: Path) -> None:
    path = home / "bad.csv"
    path.write_text("patient_id,study_id,label.effusion\np1,s1,1\np2,s1,maybe\n")
    row = start(people, path)
    execution.inspect_import(row.pk)
    row.refresh_from_db()
    assert row.status == Status.BLOCKED
    codes = {problem["code"] for problem in row.inspection["problems"] if problem["severity"] == "error"}
    assert len(codes) >= 2, "every error is told at once"


def test_a_file_that_vanished_is_told(people: SimpleNamespace, cohort_file: Path) -> None:
    row = start(people, cohort_file)
    cohort_file.unlink()
    execution.inspect_import(row.pk)
    row.refresh_from_db()
    told = row.error + str(row.inspection.get("problems"))
    assert row.status in {Status.FAILED, Status.BLOCKED} and "cohort.parquet" in told


def test_a_file_that_changed_since_it_was_shown_is_not_registered(
    ready: CohortImport, people: SimpleNamespace, cohort_file: Path, files: Files
) -> None:
    cohorts.confirm_import(cohort_import=ready, by=people.elena)
    files.frame.drop(columns="pred.effusion").iloc[:-1].to_parquet(cohort_file, index=False)
    execution.register_import(ready.pk)
    ready.refresh_from_db()
    assert ready.status == Status.FAILED and "changed after it was read and shown" in ready.error
    assert not CohortVersion.objects.exists()


def test_an_unexpected_error_of_an_import_is_told_and_logged(
    ready: CohortImport, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohorts.confirm_import(cohort_import=ready, by=people.elena)
    monkeypatch.setattr(execution, "convert_cohort", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execution.register_import(ready.pk)
    ready.refresh_from_db()
    assert ready.status == Status.FAILED
    assert "Unexpected ZeroDivisionError" in ready.error and "What to do" in ready.error
    assert not list((leases.settings.AUSCULT_HOME / "scratch").iterdir())


def test_a_ledger_that_fails_registers_no_cohort(
    ready: CohortImport, people: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    cohorts.confirm_import(cohort_import=ready, by=people.elena)
    request.getfixturevalue("broken_ledger")
    with pytest.raises(RuntimeError, match="the ledger is broken"):
        execution.register_import(ready.pk)
    assert not CohortVersion.objects.exists()


# Training


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    settings = SimulatorSettings(patients=60, seed=3, studies_max=2, image_size=32)
    convert_cohort(simulate_cohort(settings, folder / "c.parquet"), mapping=None, destination=folder / "shards")
    return folder / "shards"


@pytest.fixture
def train(people: SimpleNamespace, simulated: Path) -> Callable[..., TrainingJob]:
    """Requests a training, runs it as a worker would, and gives the job as it then is."""
    cohort = make_cohort(people, simulated, "Training patients")

    def run(label: str = "1.0", name: str = "Chest model", **changes: Any) -> TrainingJob:
        system = AISystem.objects.filter(name=name).first() or make_system(people, name)
        job = request_training(
            system=system, version_label=label, cohort=cohort, settings=QUICK | changes, by=people.elena
        )
        execution.run_training(job.pk)
        job.refresh_from_db()
        return job

    return run


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts something else in the place of the training itself."""
    return lambda instead: monkeypatch.setattr("models_registry.reference.training.train_reference", instead)


def fail_with(error: Exception) -> Callable[..., Any]:
    def instead(*_: Any, **__: Any) -> None:
        raise error

    return instead


def test_a_training_registers_a_version_and_an_equal_one_comes_from_the_cache(
    train: Callable[..., TrainingJob], no_training: Any, home: Path
) -> None:
    job = train()
    assert (job.status, job.error, job.progress) == (JobStatus.DONE, "", 1.0)
    version = job.result
    assert (version.label, version.adapter, version.submitted_by) == ("1.0", "fusion", job.requested_by)
    assert version.config["runs_weights"] is True and "score.effusion" in version.config["outputs"]
    assert job.cohort.digest in version.notes
    assert job.metrics["epochs"] == 1 and job.metrics["n_training"] > 0
    model_store().verified_folder(version.digest, version.manifest)
    again(execution.run_training, job)
    assert not list((home / "scratch").iterdir())

    no_training(fail_with(AssertionError("an equal training was run again")))
    twin = train(name="Other model")
    assert twin.status == JobStatus.DONE and twin.result.digest == version.digest
    assert twin.metrics == job.metrics

    same_system = train("1.1")
    assert same_system.status == JobStatus.FAILED, "equal weights are one version of a system"
    assert "already registered as 1.0" in same_system.error and same_system.result is None
    with pytest.raises(AssertionError, match="run again"):
        train("1.2", seed=1)


def test_a_worker_that_died_after_registering_a_version_is_followed_by_another(
    train: Callable[..., TrainingJob],
) -> None:
    job = train()
    TrainingJob.objects.filter(pk=job.pk).update(
        status=JobStatus.RUNNING, lease_token="dead", lease_expires=timezone.now(), result=None
    )
    execution.run_training(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.DONE and job.result == ModelVersion.objects.get()
    assert acts().count("version.registered") == 1


def test_a_label_that_another_model_took_meanwhile_is_not_passed_off_as_the_result(
    train: Callable[..., TrainingJob], no_training: Any, people: SimpleNamespace, files: Files
) -> None:
    from models_registry.reference.training import train_reference

    def slow(*arguments: Any, **named: Any) -> Any:
        make_version(people, files.predictions, label="1.0")
        return train_reference(*arguments, **named)

    no_training(slow)
    job = train()
    assert job.status == JobStatus.FAILED and job.result is None
    assert "already has a version 1.0" in job.error


def test_a_training_that_cannot_be_done_says_why(train: Callable[..., TrainingJob], no_training: Any) -> None:
    from core.errors import CohortError

    no_training(fail_with(CohortError("No label to learn.", remedy="Add columns.", file="c")))
    job = train()
    assert (job.status, job.lease_token) == (JobStatus.FAILED, "")
    assert job.error == "c: No label to learn. What to do: Add columns."
    assert job.finished_at and not ModelVersion.objects.exists()
    again(execution.run_training, job)


def test_an_unexpected_error_of_a_training_is_told_and_not_tried_for_ever(
    train: Callable[..., TrainingJob], no_training: Any, people: SimpleNamespace
) -> None:
    no_training(fail_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        train()
    job = TrainingJob.objects.get()
    assert job.status == JobStatus.FAILED and "Unexpected ZeroDivisionError" in job.error


def test_a_training_that_was_taken_over_writes_nothing(train: Callable[..., TrainingJob], no_training: Any) -> None:
    def overtaken(*_: Any, progress: Callable[[float, str], None], **__: Any) -> None:
        TrainingJob.objects.update(lease_token="another")
        progress(0.5, "Epoch 1")

    no_training(overtaken)
    job = train()
    assert (job.status, job.lease_token, job.progress, job.error) == (JobStatus.RUNNING, "another", 0.0, "")
    assert not ModelVersion.objects.exists()
    assert not LedgerEntry.objects.filter(act="version.registered").exists()


def test_progress_is_written_at_most_once_a_second(
    people: SimpleNamespace, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = TrainingJob.objects.create(
        system=make_system(people),
        version_label="1",
        cohort=make_cohort(people, files.shards),
        requested_by=people.elena,
    )
    token = leases.claim(TrainingJob.objects.filter(pk=job.pk))
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(execution.time, "monotonic", lambda: clock.now)
    progress = execution.JobProgress(job, token or "")
    seen = []
    for now, share in ((100.0, 0.1), (100.5, 0.2), (101.0, 0.3), (101.9, 0.4), (102.5, 7.0)):
        clock.now = now
        progress(share, "x" * 400)
        job.refresh_from_db()
        seen.append(job.progress)
    assert seen == [0.1, 0.1, 0.3, 0.3, 1.0]
    assert len(job.message) == 300
