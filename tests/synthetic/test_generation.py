"""Orders of simulated patients: requested, made, registered, and what happens when that fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import CohortError, DeniedError
from core.models import LedgerEntry
from models_registry.cohorts import open_cohort
from models_registry.execution import cohort_folder
from models_registry.models import CohortVersion, JobStatus
from synthetic import execution
from synthetic.models import Generation
from synthetic.services.generations import request_generation
from tests.registry import scene
from tests.registry.scene import acts, snapshot

SMALL = {"patients": 12, "seed": 4, "studies_max": 2, "image_size": 32}


def request(people: SimpleNamespace, by: str = "elena", name: str = "Simulated patients", **changes: Any) -> Generation:
    return request_generation(cohort_name=name, settings=SMALL | changes, by=getattr(people, by))


def run(job: Generation) -> Generation:
    execution.run_generation(job.pk)
    return Generation.objects.get(pk=job.pk)


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts something else in the place of the simulator."""
    return lambda other: monkeypatch.setattr("synthetic.simulator.simulate_cohort", other)


def fail_with(error: Exception) -> Callable[..., Any]:
    def other(*_: Any, **__: Any) -> None:
        raise error

    return other


def test_an_order_is_kept_complete_and_sent_once(
    people: SimpleNamespace, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        job = request(people)
        assert sent == []
    assert sent == [("synthetic.tasks.generate", job.pk)]
    assert job.settings["patients"] == 12 and "prevalence" in job.settings
    assert LedgerEntry.objects.get().act == "generation.requested"


def test_only_engineers_order_patients(people: SimpleNamespace) -> None:
    for name in scene.without("elena"):
        with pytest.raises(DeniedError, match="order simulated patients"):
            request(people, by=name)
    assert not Generation.objects.exists() and acts() == []


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"nonsense": 1}, {"underdiagnosis": {"attribute": "sex"}}])
def test_settings_are_checked_before_anything_is_ordered(people: SimpleNamespace, wrong: dict[str, Any]) -> None:
    with pytest.raises(CohortError):
        request(people, **wrong)
    assert not Generation.objects.exists() and acts() == []


def test_without_its_entry_there_is_no_order(
    people: SimpleNamespace, broken_ledger: None, sent: list, django_capture_on_commit_callbacks: Any
) -> None:
    before = snapshot()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError, match="the ledger is broken"):
        request(people)
    assert snapshot() == before and sent == []


def test_an_order_becomes_a_cohort_that_says_it_is_simulated(people: SimpleNamespace, home: Path) -> None:
    done = run(request(people))
    assert (done.status, done.error, done.progress, done.lease_token) == (JobStatus.DONE, "", 1.0, "")
    version = done.result
    assert version.n_patients == 12 and version.cohort.simulated
    assert "No real person" in version.cohort.description
    assert len(version.generator_digest) == 64
    assert open_cohort(cohort_folder(version)).manifest.n_patients == 12
    assert not list((home / "scratch").iterdir())
    before = snapshot()
    run(done)
    assert snapshot() == before, "delivered twice, it is made once"
    assert acts() == ["generation.requested", "cohort.registered"]


def test_equal_settings_give_an_equal_cohort(people: SimpleNamespace) -> None:
    first, second = (run(request(people, name=name)) for name in ("One", "Two"))
    assert first.result == second.result
    other = run(request(people, name="Three", seed=5))
    assert other.result.digest != first.result.digest
    assert other.result.generator_digest != first.result.generator_digest
    assert CohortVersion.objects.count() == 2


def test_a_worker_that_died_is_followed_by_another(people: SimpleNamespace, sent: list) -> None:
    job = request(people)
    Generation.objects.update(
        status=JobStatus.RUNNING, lease_token="dead", lease_expires=timezone.now() - timedelta(seconds=1)
    )
    execution.requeue_jobs()
    assert sent == [("synthetic.tasks.generate", job.pk)]
    assert run(job).status == JobStatus.DONE


def test_what_cannot_be_made_says_why(people: SimpleNamespace, instead: Any, home: Path) -> None:
    job = request(people)
    instead(fail_with(CohortError("Too many patients.", remedy="Order fewer.")))
    failed = run(job)
    assert failed.status == JobStatus.FAILED and failed.finished_at
    assert failed.error == "Too many patients. What to do: Order fewer."
    assert not CohortVersion.objects.exists() and not list((home / "scratch").iterdir())
    before = snapshot()
    run(job)
    assert snapshot() == before


def test_real_and_simulated_patients_are_never_one_cohort(people: SimpleNamespace, files: scene.Files) -> None:
    scene.make_cohort(people, files.shards, name="Simulated patients")  # real patients, whatever the name says
    failed = run(request(people))
    assert failed.status == JobStatus.FAILED and "never one cohort" in failed.error


def test_an_unexpected_error_is_told_and_not_tried_for_ever(people: SimpleNamespace, instead: Any) -> None:
    job = request(people)
    instead(fail_with(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        execution.run_generation(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.FAILED and "Unexpected ZeroDivisionError" in job.error


def test_a_worker_that_was_taken_for_dead_writes_nothing(people: SimpleNamespace, instead: Any) -> None:
    job = request(people)

    def overtaken(*_: Any, progress: Callable[[float, str], None]) -> None:
        Generation.objects.update(lease_token="another")
        progress(0.5, "Drawing")

    instead(overtaken)
    left = run(job)
    assert (left.status, left.lease_token, left.progress) == (JobStatus.RUNNING, "another", 0.0)
    assert not CohortVersion.objects.exists()
