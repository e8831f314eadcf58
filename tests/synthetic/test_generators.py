"""Orders of generators and of their patients: who may, what is refused, what a worker makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry
from evaluation.services.runs import request_audit
from models_registry.cohorts import open_cohort
from models_registry.execution import cohort_folder
from models_registry.leases import LeaseLostError
from models_registry.models import CohortVersion, JobStatus
from models_registry.services.training import request_training
from synthetic import execution_generators as work
from synthetic.execution import forget_abandoned
from synthetic.models import Generation, GeneratorTraining
from synthetic.selectors import ABANDONED_DAYS, cohort_of, open_trainings
from synthetic.services.generators import (
    cancel_generator,
    cancel_patients,
    request_generator,
    resume_generator,
)
from tests.registry import scene
from tests.registry.scene import acts, make_protocol
from tests.synthetic.fake_parts import LEARNT, NAMES, WRONG
from tests.synthetic.generator_scene import SETTINGS, calm, cohort, done, made, order, patients, trained

__all__ = ["calm", "cohort", "order", "trained"]


def test_a_generator_is_ordered_trained_and_registered(
    order: Callable[..., GeneratorTraining], cohort: CohortVersion, people: SimpleNamespace
) -> None:
    for name in scene.without("elena"):
        with pytest.raises(DeniedError, match="train a model"):
            order(by=name)
    job = done(order())
    assert (job.status, job.error) == (JobStatus.DONE, ""), job.error
    assert job.result is not None and job.result.adapter == "generator" and job.result.submitted_by == people.elena
    details = job.result.config["details"]
    assert details["makes"] == ["image", "report", "rows"] and details["patients"]["learning"] == 168
    assert job.curves["tables.loss"] == [[1, 0.5]] and set(job.facts["parts"]) == set(NAMES)
    assert job.facts["left_out"]["series"] == "the settings name no part for it"
    assert cohort_of(job.result) == cohort
    assert [act for act in acts() if act.startswith(("generator", "version"))] == [
        "generator.requested", "version.registered", "version.origins_recorded",
    ]  # fmt: skip
    work.train_generator(job.pk)
    assert LEARNT["tables"] == 1, "delivered twice, it is trained once"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"effort": 9}, "setting effort"),
        ({"nonsense": 1}, "setting nonsense"),
        ({"parts": {"tables": "gone"}}, "no part of a generator called 'tables:gone'"),
        ({"label": " "}, "needs a label"),
    ],
)
def test_what_cannot_be_trained_is_not_ordered(
    order: Callable[..., GeneratorTraining], changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(AuscultError, match=match):
        order(**changes)
    assert not GeneratorTraining.objects.exists()


def test_a_cancelled_training_goes_on_where_it_stopped(
    order: Callable[..., GeneratorTraining], people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = order()

    def stop(self: Any, curve: str, step: int, value: float) -> None:
        if curve == "report.loss":
            cancel_generator(job=job, by=people.elena)
            raise LeaseLostError

    with monkeypatch.context() as patch:
        patch.setattr(work.Curves, "add", stop)
        assert done(job).status == JobStatus.CANCELLED
    with pytest.raises(ConflictError, match="not waiting or running"):
        cancel_generator(job=job, by=people.elena)
    with pytest.raises(DeniedError):
        resume_generator(job=job, by=people.amir)
    job = done(resume_generator(job=job, by=people.elena))
    assert job.status == JobStatus.DONE and LEARNT == {"tables": 1, "critic": 1, "image": 1, "report": 2}
    assert not work.resume_folder(job).exists()
    with pytest.raises(ConflictError):
        resume_generator(job=job, by=people.elena)
    assert [act for act in acts() if act.startswith("generator.")] == [
        "generator.requested", "generator.cancelled", "generator.resumed",
    ]  # fmt: skip


def test_a_training_that_fails_says_why_and_keeps_nothing_half_made(
    order: Callable[..., GeneratorTraining], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WRONG, "loss", float("nan"))
    job = done(order())
    assert job.status == JobStatus.FAILED and "'tables.loss' ran away: at step 1" in job.error
    assert "What to do" in job.error and job.result is None


def test_patients_are_made_and_stay_in_quarantine(
    trained: GeneratorTraining, cohort: CohortVersion, people: SimpleNamespace
) -> None:
    assert trained.result is not None
    for name in scene.without("elena"):
        with pytest.raises(DeniedError, match="order synthetic patients"):
            patients(people, trained, by=name)
    job = made(patients(people, trained))
    assert (job.status, job.error) == (JobStatus.DONE, "")
    result = job.result
    assert result is not None and result.quarantined and result.parent == cohort
    assert result.generator_digest == trained.result.digest and result.n_patients == 40
    assert job.facts["studies"] == 80 and job.facts["flagged"]["image_unresolved"] == 0
    reader = open_cohort(cohort_folder(result))
    keys = {row for shard in reader.shards for row in reader.table(shard.index).column("patient_id").to_pylist()}
    assert all(key.startswith("SYN-") for key in keys)
    entry = LedgerEntry.objects.filter(act="cohort.registered").latest("pk")
    assert json.loads(entry.body)["payload"]["quarantined"] is True
    with pytest.raises(ConflictError, match="in quarantine"):
        request_generator(system=trained.system, version_label="2", cohort=result, settings=SETTINGS, by=people.elena)
    with pytest.raises(ConflictError, match="in quarantine"):
        request_training(system=trained.system, version_label="2", cohort=result, settings={}, by=people.elena)


def test_equal_wishes_and_seeds_make_equal_patients(trained: GeneratorTraining, people: SimpleNamespace) -> None:
    first = made(patients(people, trained))
    with pytest.raises(ConflictError, match="cohort called"):
        patients(people, trained)
    second = made(patients(people, trained, cohort_name="Again"))
    other = made(patients(people, trained, cohort_name="Another", seed=6))
    assert first.result == second.result != other.result


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"wish": {"patients": 0}}, "wish's patients is 0"),
        ({"wish": {"patients": 5, "age": 80}}, "wish's age"),
        ({"wish": {"patients": 5, "least": {"age": "old"}}}, r"least\.age"),
        ({"wish": {"patients": 5, "attributes": {"sex": float("nan")}}}, r"attributes\.sex"),
        ({"wish": {"patients": 5, "least": {"age": 10**400}}}, r"least\.age"),
        ({"wish": {"patients": 5, "least": {"age": 90}, "most": {"age": 20}}}, r"most\.age"),
        ({"wish": {"patients": 5, "findings": {"effusion": "lft"}}}, r"findings\.effusion"),
        ({"cohort_name": " "}, "needs a name"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wishes_that_cannot_be_read_are_not_ordered(
    trained: GeneratorTraining, people: SimpleNamespace, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(AuscultError, match=match):
        patients(people, trained, **changes)
    assert not Generation.objects.exists()


def test_an_order_of_patients_can_be_cancelled(trained: GeneratorTraining, people: SimpleNamespace) -> None:
    job = cancel_patients(job=patients(people, trained), by=people.elena)
    assert made(job).status == JobStatus.CANCELLED and not CohortVersion.objects.filter(quarantined=True).exists()


def test_a_generator_predicts_nothing(
    trained: GeneratorTraining, cohort: CohortVersion, people: SimpleNamespace
) -> None:
    with pytest.raises(AuscultError, match="makes patients and predicts nothing"):
        request_audit(version=trained.result, cohort=cohort, protocol=make_protocol(people), by=people.amir)


def test_what_nobody_goes_on_with_is_forgotten_after_a_while(
    order: Callable[..., GeneratorTraining], people: SimpleNamespace
) -> None:
    """A training that was given up leaves list and disk; one that waits again is kept, however old its parts are."""
    left, waiting = order(label="1.0"), order(label="2.0", seed=4)
    for job in (left, waiting):
        work.resume_folder(job).mkdir(parents=True)
        (work.resume_folder(job) / "curves.jsonl").write_text("")
    cancel_generator(job=left, by=people.elena)
    later = timezone.now() + timedelta(days=ABANDONED_DAYS + 1)
    assert forget_abandoned() == 0 and work.resume_folder(left).exists()
    assert forget_abandoned(later) == 1
    assert not work.resume_folder(left).exists() and work.resume_folder(waiting).exists()
    assert set(open_trainings()) == {left, waiting}
    long_ago = timezone.now() - timedelta(days=ABANDONED_DAYS + 1)
    GeneratorTraining.objects.update(requested_at=long_ago)
    GeneratorTraining.objects.filter(pk=left.pk).update(finished_at=long_ago)
    assert set(open_trainings()) == {waiting}
