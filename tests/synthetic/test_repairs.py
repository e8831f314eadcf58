"""Repairs from the order to the comparison: what is refused, what happens twice, what is stopped and goes on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import AuscultError, ConflictError, DeniedError
from core.models import LedgerEntry, RoleGrant
from evaluation.models import AuditRun, CachedPredictions, RunStatus, Verdict
from evaluation.services.runs import request_audit
from models_registry.models import CohortVersion, JobStatus, ModelVersion, Relation, TrainingJob
from models_registry.services.training import request_training
from models_registry.services.versions import model_store
from synthetic import execution_repairs
from synthetic.models import Generation, GeneratorTraining, Repair, RepairStatus
from synthetic.services.repairs import TRANSITIONS, cancel_repair, request_repair, resume_repair, start_audit
from tests.evaluation.steps import finish
from tests.registry.scene import acts, make_system, without
from tests.synthetic.generator_scene import calm, cohort, made, order, patients, trained
from tests.synthetic.repair_scene import (
    QUICK,
    Order,
    advance,
    failed,
    group_of,
    learnt,
    make,
    others,
    repair,
    train,
    train_quickly,
    trainings,
    warm,
)

__all__ = ["calm", "cohort", "failed", "learnt", "order", "others", "repair", "trained", "trainings", "warm"]
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")  # no series, no ages
S = RepairStatus


def test_a_repair_goes_from_patients_to_a_comparison_and_every_message_may_come_twice(
    repair: Order, people: SimpleNamespace, failed: AuditRun, learnt: TrainingJob, others: CohortVersion
) -> None:
    job = repair()
    assert job.status == S.MAKING and acts()[-2:] == ["generation.requested", "repair.requested"]
    assert job.generation is not None and job.generation.settings["wish"]["findings"] == {"effusion": "present"}
    assert [more["findings"] for more in job.generation.settings["also"]] == [{"effusion": "none"}]
    assert advance(job).status == S.MAKING, "nothing is ready yet"
    job = make(job)
    assert job.status == S.TRAINING and TrainingJob.objects.count() == 2
    beside = job.generation.result if job.generation else None
    assert beside is not None and beside.quarantined and beside.n_patients == 40
    assert job.training is not None and job.training.augmentation == beside and job.training.cohort == learnt.cohort
    assert job.training.settings == learnt.settings
    job = train(job)
    assert job.status == S.AUDITING and job.audit is None and ModelVersion.objects.filter(adapter="fusion").count() == 2
    run = start_audit(repair=job, by=people.amir)
    assert (run.cohort, run.protocol, run.settings) == (others, failed.protocol, failed.settings)
    assert advance(job).status == S.AUDITING
    finish(run)
    job = advance(job)
    assert (job.status, job.error, job.audit) == (S.COMPARED, "", run)
    found = job.comparison
    assert found["gap"]["groups"] == job.groups and found["gap"]["before"] is not None and found["looked_at"] == 6
    assert {row["criterion"] for row in found["verdicts"]} == {"sex-tpr", "sex-gap"}
    assert all(row["before"] and row["after"] for row in found["verdicts"])
    assert acts().count("repair.compared") == 1
    before = failed.measurements.get(metric="tpr", attribute="sex", group="F").value
    after = run.measurements.get(metric="tpr", attribute="sex", group="F").value
    told = next(row for row in found["rates"] if (row["metric"], row["group"]) == ("tpr", "F"))  # also where M failed
    assert (told["before"], told["after"]) == (pytest.approx(before), pytest.approx(after))


def test_the_new_version_says_what_it_learnt_from(repair: Order, learnt: TrainingJob) -> None:
    job = train(make(repair()))
    version = job.training.result if job.training else None
    beside = job.generation.result if job.generation else None
    assert version is not None and beside is not None
    assert "Augmented with synthetic patients" in version.notes and "in quarantine" in version.notes
    assert beside.digest in version.notes and learnt.cohort.digest in version.notes
    assert version.card["training_cohort"] == learnt.cohort.digest
    assert version.card["datasets"] == [f"sha256:{learnt.cohort.digest}", f"sha256:{beside.digest}"]
    edges = version.origins.filter(relation=Relation.TRAINED_ON).order_by("pk")
    assert [(edge.source_cohort, edge.told_by) for edge in edges] == [
        (learnt.cohort, "its training"), (beside, "its card"),
    ]  # fmt: skip
    requested = LedgerEntry.objects.filter(act="training.requested").order_by("-index").first()
    assert requested is not None and f'"augmentation":"{beside.digest}"' in requested.body
    folder = model_store().folder_path(version.digest)
    facts = json.loads((folder / "training.json").read_text())
    assert facts["augmentation_digest"] == beside.digest and facts["n_augmentation"] == beside.n_studies


def test_only_an_engineer_orders_and_the_ledger_and_the_order_stand_or_fall_together(
    repair: Order, broken_ledger: None
) -> None:
    for name in without("elena"):
        with pytest.raises(DeniedError):
            repair(by=name)
    with pytest.raises(RuntimeError):
        repair()
    assert not Repair.objects.exists() and not Generation.objects.exists()


def test_what_did_not_fail_is_not_repaired(repair: Order, failed: AuditRun) -> None:
    with pytest.raises(ConflictError, match="No verdict"):
        repair(criterion="sex-gap")
    with pytest.raises(ConflictError, match="No verdict"):
        repair(label="pneumothorax")
    with pytest.raises(ConflictError, match="No verdict"):
        repair(group="X")
    Verdict.objects.filter(run=failed, criterion="sex-tpr").update(
        detail={"metric": "auroc_difference", "groups": ["F"]}
    )
    with pytest.raises(ConflictError, match="compares decisions"):
        repair()
    AuditRun.objects.filter(pk=failed.pk).update(status=RunStatus.FAILED)
    failed.refresh_from_db()
    with pytest.raises(ConflictError, match="no verdicts yet"):
        repair()


def test_a_version_that_cannot_be_trained_again_is_refused(
    repair: Order, failed: AuditRun, learnt: TrainingJob, others: CohortVersion
) -> None:
    TrainingJob.objects.filter(pk=learnt.pk).update(augmentation=others)
    with pytest.raises(ConflictError, match="learnt from synthetic patients already"):
        repair()
    TrainingJob.objects.filter(pk=learnt.pk).update(augmentation=None, cohort=others)
    with pytest.raises(ConflictError, match="nothing shows there"):
        repair()
    TrainingJob.objects.filter(pk=learnt.pk).update(result=None)
    with pytest.raises(ConflictError, match="was not trained here"):
        repair()
    AuditRun.objects.filter(pk=failed.pk).update(frame_digest="f" * 64)
    TrainingJob.objects.filter(pk=learnt.pk).update(result=failed.version)
    failed.refresh_from_db()
    with pytest.raises(ConflictError, match="monitor's window"):
        repair()


def test_a_generator_of_others_is_refused_and_so_is_what_it_cannot_make(
    repair: Order, trained: GeneratorTraining, others: CohortVersion, learnt: TrainingJob, monkeypatch: Any
) -> None:
    with pytest.raises(ConflictError, match="no generator"):
        repair(generator=learnt.result)
    with pytest.raises(ConflictError, match="no number that can repair"):
        repair(patients=3)

    def refuse(folder: Any, wish: Any) -> None:
        raise AuscultError("Nobody like this was learnt from.", remedy="Ask for others.")

    with monkeypatch.context() as patch, pytest.raises(AuscultError, match="Nobody like this"):
        patch.setattr("synthetic.generators.linked.check_wish", refuse)
        repair()
    GeneratorTraining.objects.filter(pk=trained.pk).update(cohort=others)
    with pytest.raises(ConflictError, match="learnt from Ward B"):
        repair()
    assert not Repair.objects.exists()


def test_a_label_is_promised_once(repair: Order) -> None:
    with pytest.raises(ConflictError, match=r"already has a version 1\.0"):
        repair(version_label="1.0")
    repair()
    with pytest.raises(ConflictError, match="what another repair is to be called"):
        repair()
    assert repair(version_label="1.2", group="M" if "M" in Repair.objects.get().groups else "F").pk


def test_quarantined_patients_are_learnt_from_beside_their_own_cohort_alone(
    trained: GeneratorTraining, people: SimpleNamespace, cohort: CohortVersion, others: CohortVersion
) -> None:
    beside = made(patients(people, trained)).result
    assert beside is not None and beside.quarantined
    facts: dict[str, Any] = {
        "system": make_system(people),
        "version_label": "1.0",
        "settings": QUICK,
        "by": people.elena,
    }
    with pytest.raises(ConflictError, match="in quarantine"):
        request_training(cohort=beside, **facts)
    with pytest.raises(ConflictError, match="learnt from other patients"):
        request_training(cohort=others, augmentation=beside, **facts)
    with pytest.raises(ConflictError, match="not made by a generator"):
        request_training(cohort=cohort, augmentation=others, **facts)
    with pytest.raises(ConflictError, match="in quarantine"):
        request_training(cohort=beside, augmentation=beside, **facts)
    assert request_training(cohort=cohort, augmentation=beside, **facts).augmentation == beside
    CohortVersion.objects.filter(pk=beside.pk).update(quarantined=False)
    beside.refresh_from_db()
    assert request_training(cohort=others, augmentation=beside, **facts | {"version_label": "2.0"}).pk


@pytest.mark.parametrize("step", ["patients", "training"])
def test_a_step_that_fails_stops_the_repair_with_its_reason_and_is_resumed(
    repair: Order, people: SimpleNamespace, step: str
) -> None:
    job = repair()
    if step == "patients":
        Generation.objects.update(status=JobStatus.FAILED, error="The disk is full.")
    else:
        job = make(job)
        TrainingJob.objects.filter(pk=job.training_id).update(status=JobStatus.FAILED, error="The disk is full.")
    job = advance(job)
    assert job.status == S.FAILED and "The disk is full." in job.error
    assert job.stopped_in == (S.MAKING if step == "patients" else S.TRAINING)
    earlier = (job.generation_id, job.training_id)
    with pytest.raises(DeniedError):
        resume_repair(repair=job, by=people.amir)
    job = resume_repair(repair=job, by=people.elena)
    with pytest.raises(ConflictError, match="can be resumed"):
        resume_repair(repair=job, version_label="1.9", by=people.elena)
    assert (job.generation_id, job.training_id) != earlier and job.error == ""
    job = train(make(job) if step == "patients" else job)
    assert job.status == S.AUDITING and acts().count("repair.resumed") == 1


def test_a_label_that_was_taken_meanwhile_fails_in_words_and_another_one_goes_on(
    repair: Order, people: SimpleNamespace, learnt: TrainingJob
) -> None:
    job = repair()
    learnt.system.versions.update(label="1.1")
    job = make(job)
    assert job.status == S.FAILED and "already has a version 1.1" in job.error and job.training is None
    with pytest.raises(ConflictError, match="already has a version"):
        resume_repair(repair=job, by=people.elena)
    job.refresh_from_db()
    job = resume_repair(repair=job, version_label="1.2", by=people.elena)
    assert (job.version_label, job.status) == ("1.2", S.MAKING)
    assert advance(job).status == S.TRAINING and Generation.objects.count() == 1, "the patients are there already"


def test_whoever_lost_the_role_trains_nothing_any_more(repair: Order, people: SimpleNamespace) -> None:
    job = repair()
    RoleGrant.objects.filter(user=people.elena).delete()
    job = make(job)
    assert job.status == S.FAILED and "ML engineer" in job.error and TrainingJob.objects.count() == 1


def test_cancelling_stops_the_patients_and_is_refused_when_it_is_over(repair: Order, people: SimpleNamespace) -> None:
    job = repair()
    for name in without("elena"):
        with pytest.raises(DeniedError):
            cancel_repair(repair=job, by=getattr(people, name))
    job = cancel_repair(repair=job, by=people.elena)
    assert job.status == S.CANCELLED and acts()[-2:] == ["generation.cancelled", "repair.cancelled"]
    assert Generation.objects.get().status == JobStatus.CANCELLED
    assert make(job).status == S.CANCELLED and TrainingJob.objects.count() == 1
    with pytest.raises(ConflictError, match="not under way"):
        cancel_repair(repair=job, by=people.elena)
    job = resume_repair(repair=job, by=people.elena)
    assert Generation.objects.count() == 2 and make(job).status == S.TRAINING
    job = cancel_repair(repair=Repair.objects.get(), by=people.elena)
    assert acts()[-2:] == ["training.cancelled", "repair.cancelled"] and job.stopped_in == S.TRAINING
    assert train(job).status == S.CANCELLED, "the worker that finds it cancelled learns nothing"
    job = resume_repair(repair=Repair.objects.get(), version_label="7.7", by=people.elena)
    assert (job.version_label, TrainingJob.objects.count()) == ("7.7", 3) and train(job).status == S.AUDITING


def test_a_training_that_goes_on_when_a_repair_is_resumed_is_taken_up(repair: Order, people: SimpleNamespace) -> None:
    job = make(repair())
    assert job.training is not None
    TrainingJob.objects.filter(pk=job.training.pk).update(status=JobStatus.FAILED, error="No memory.")
    job = advance(job)
    assert (job.status, job.stopped_in) == (S.FAILED, S.TRAINING)
    TrainingJob.objects.filter(pk=job.training_id).update(status=JobStatus.QUEUED, error="")
    job = resume_repair(repair=job, version_label="7.7", by=people.elena)
    assert job.version_label == "1.1", "the training is taken up as it was begun"
    assert train(job).status == S.AUDITING and TrainingJob.objects.count() == 2


def test_an_audit_is_another_persons_and_one_by_the_usual_way_counts(
    repair: Order, people: SimpleNamespace, failed: AuditRun, others: CohortVersion
) -> None:
    job = repair()
    with pytest.raises(ConflictError, match="does not wait"):
        start_audit(repair=job, by=people.amir)
    job = train(make(job))
    for name in without("amir boris"):
        with pytest.raises(DeniedError):
            start_audit(repair=job, by=getattr(people, name))
    version = job.training.result if job.training else None
    assert version is not None
    run = request_audit(version=version, cohort=others, protocol=failed.protocol, by=people.boris)
    assert advance(job).audit == run
    AuditRun.objects.filter(pk=run.pk).update(status=RunStatus.FAILED, error="No memory.")
    job = advance(job)
    assert (job.status, job.stopped_in) == (S.FAILED, S.AUDITING) and "No memory." in job.error
    job = resume_repair(repair=job, by=people.elena)
    assert job.status == S.AUDITING and job.audit is None
    finish(start_audit(repair=job, by=people.amir))
    assert advance(job).status == S.COMPARED


def test_predictions_that_are_gone_are_said_to_be_gone(repair: Order, people: SimpleNamespace) -> None:
    job = train(make(repair()))
    finish(start_audit(repair=job, by=people.amir))
    CachedPredictions.objects.all().delete()
    job = advance(job)
    assert job.status == S.FAILED and "not kept any more" in job.error


def test_an_error_that_nobody_foresaw_is_no_endless_loop(repair: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    job = repair()

    def broken(repair: Repair) -> None:
        raise RuntimeError("boom")

    monkeypatch.setitem(execution_repairs.STEPS, S.MAKING, broken)
    with pytest.raises(RuntimeError):
        execution_repairs.advance_repair(job.pk)
    job.refresh_from_db()
    assert job.status == S.FAILED and "Unexpected RuntimeError" in job.error


def test_the_beat_sends_only_what_has_something_to_do(repair: Order, sent: list[tuple[str, int]]) -> None:
    job = repair()
    sent.clear()
    execution_repairs.advance_repairs()
    assert sent == []
    Generation.objects.update(status=JobStatus.DONE)
    execution_repairs.advance_repairs()
    assert sent == [("synthetic.tasks.advance_repair", job.pk)]


def test_every_state_has_its_row_and_only_a_comparison_ends(repair: Order) -> None:
    assert set(TRANSITIONS) == set(RepairStatus)
    assert [state for state, following in TRANSITIONS.items() if not following] == [S.COMPARED]


def test_another_training_on_another_cohort_is_no_source(
    people: SimpleNamespace, failed: AuditRun, trained: GeneratorTraining, others: CohortVersion
) -> None:
    """The audited version's own training counts, whatever else was trained."""
    train_quickly(people, others, "Other model")
    job = request_repair(
        run=failed, label="effusion", attribute="sex", group=group_of(failed), generator=trained.result, patients=40,
        version_label="1.1", by=people.elena,
    )  # fmt: skip
    assert job.source.result == failed.version
