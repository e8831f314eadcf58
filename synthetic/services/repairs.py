"""Ordering the repair of a failed finding of fairness, its cancelling and resuming, and the audit at its end."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from core import ledger
from core.access import check_role
from core.errors import ConflictError
from core.models import Role, User
from core.reach import service
from evaluation.engine import Protocol as Rules
from evaluation.models import AuditRun, Outcome, RunStatus, Verdict
from evaluation.services.runs import request_audit
from models_registry.models import JobStatus, ModelVersion, TrainingJob
from models_registry.services.training import cancel_training, check_label, request_training
from synthetic import selectors_repairs as selectors
from synthetic.models import Repair, RepairStatus
from synthetic.repairing.wishes import wishes_for
from synthetic.selectors import cohort_of, findings_of, number_columns
from synthetic.services.generators import cancel_patients, request_patients

S = RepairStatus
TRANSITIONS: dict[str, frozenset[str]] = {
    S.MAKING: frozenset({S.TRAINING, S.FAILED, S.CANCELLED}),
    S.TRAINING: frozenset({S.AUDITING, S.FAILED, S.CANCELLED}),
    S.AUDITING: frozenset({S.COMPARED, S.FAILED, S.CANCELLED}),
    S.FAILED: frozenset({S.MAKING, S.TRAINING, S.AUDITING}),
    S.CANCELLED: frozenset({S.MAKING, S.TRAINING, S.AUDITING}),
    S.COMPARED: frozenset(),
}
"""What may follow on what: one step after the other; what was stopped is resumed in the step in which it stopped."""


UNDER_WAY = (JobStatus.QUEUED, JobStatus.RUNNING)


def check_may_repair(user: User) -> None:
    check_role(user, Role.ML_ENGINEER, to="order a repair")


def move_repair(repair_id: int, *, to: str, **changes: Any) -> bool:
    """Move a repair by a conditional UPDATE from a state that allows it; says whether it moved."""
    old = [status for status, following in TRANSITIONS.items() if to in following]
    if "since" in changes:
        old = [changes.pop("since")] if changes["since"] in old else []
    return bool(Repair.objects.filter(pk=repair_id, status__in=old).update(status=to, **changes))


@service
def request_repair(
    *,
    run: AuditRun,
    label: str,
    attribute: str,
    group: str,
    generator: ModelVersion,
    patients: int,
    version_label: str,
    by: User,
    criterion: str = "",
    seed: int = 0,
) -> Repair:
    """Order patients of a group that an audit found to be served worse, to train the model again with them.

    The training is that of the audited version, settings and seed included, with these patients beside its cohort. When
    it is done, an auditor audits the new version by the same protocol on the same cohort, and both are compared.

    Args:
        label, attribute, group: Of the failed verdict; ``criterion`` where several failed for the same.
        generator: One that learnt from the cohort that the version was trained on.
        version_label: Of the new version.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: nothing failed for this; the version was not trained here, was repaired before, or was audited on
            the patients that it learnt from; the generator learnt from others; the label is taken.
        AuscultError: the generator cannot make such patients.
    """
    check_may_repair(by)
    verdict = failed_verdict(run, label=label, attribute=attribute, group=group, criterion=criterion)
    source = check_repairable(run)
    _check_generator(generator, source)
    version_label = version_label.strip()
    check_label(source.system, version_label)
    _check_promised(source, version_label)
    repair = Repair.objects.create(
        run=run,
        criterion=verdict.criterion,
        metric=verdict.detail["metric"],
        label=label,
        attribute=attribute,
        groups=verdict.detail["groups"],
        group=group,
        generator=generator,
        source=source,
        patients=patients,
        seed=seed,
        version_label=version_label,
        requested_by=by,
    )
    _order_patients(repair, by=by)
    _record(repair, "repair.requested", by.username, run=run.pk, criterion=verdict.criterion, label=label,
            attribute=attribute, group=group, generator=generator.digest, patients=patients, version=version_label,
            seed=seed)  # fmt: skip
    return repair


def failed_verdict(run: AuditRun, *, label: str, attribute: str, group: str, criterion: str = "") -> Verdict:
    """The failed verdict that a repair is for: of those that decide, the first.

    Raises:
        ConflictError: the audit is not done, or nothing that can be repaired failed for this label and group.
    """
    if run.status != RunStatus.DONE:
        raise ConflictError("The audit has no verdicts yet.", remedy="Wait until it is done.")
    rows = run.verdicts.filter(label=label, attribute=attribute, outcome=Outcome.FAIL)
    rows = rows.filter(criterion=criterion) if criterion else rows
    for verdict in sorted(rows, key=lambda row: (not row.primary, row.position)):
        found = selectors.finding_of(verdict)
        if found is not None and group in found.groups:
            return verdict
    raise ConflictError(
        f"No verdict of audit {run.pk} that compares decisions failed for {label} by {attribute} in {group}.",
        remedy="Choose label, attribute and group of a failed finding on its page.",
    )


def check_repairable(run: AuditRun) -> TrainingJob:
    """The training that a repair of an audit's findings would do again.

    Raises:
        ConflictError: it cannot be done again, or would be judged on patients that were learnt from.
    """
    source = selectors.training_of(run.version)
    if source is None or run.version.adapter != "fusion":
        raise ConflictError(
            f"{run.version} was not trained here, so it cannot be trained again with more patients.",
            remedy="Take the finding to whoever trains it; or train the reference model here and audit that.",
        )
    if source.augmentation is not None:
        raise ConflictError(
            f"{run.version} has learnt from synthetic patients already; they are not piled up.",
            remedy="Repair the version that was trained without them, with more patients or another generator.",
        )
    if run.frame_digest:
        raise ConflictError(
            "This audit is of a monitor's window, which is not audited a second time with another version.",
            remedy="Audit the version on a registered cohort, and repair what that finds.",
        )
    if run.cohort_id == source.cohort_id:
        raise ConflictError(
            f"The audit is on {source.cohort}, from which the version learnt: nothing shows there.",
            remedy="Audit the version on other patients, and repair what that finds.",
        )
    return source


def _check_generator(generator: ModelVersion, source: TrainingJob) -> None:
    if generator.adapter != "generator":
        raise ConflictError(f"{generator} is no generator of patients.", remedy="Choose a version of a generator.")
    learnt = cohort_of(generator)
    if learnt is None or learnt.pk != source.cohort_id:
        whom = learnt or "nobody that is known here"
        raise ConflictError(
            f"{generator} learnt from {whom}; the model learnt from {source.cohort}.",
            remedy="Train a generator on that very cohort: in quarantine its patients may be learnt from beside it.",
        )


def _check_promised(source: TrainingJob, label: str) -> None:
    open_ones = Repair.objects.filter(source__system=source.system, version_label=label, status__in=selectors.OPEN)
    if open_ones.exists():
        raise ConflictError(
            f"{label} is what another repair is to be called.", remedy="Choose another label, or cancel that repair."
        )


def wishes_of(repair: Repair) -> list[dict[str, Any]]:
    """Whom a repair asks its generator for."""
    wishes = wishes_for(
        Rules.from_dict(repair.run.protocol.body),
        metric=repair.metric,
        label=repair.label,
        attribute=repair.attribute,
        group=repair.group,
        patients=repair.patients,
        findings=set(findings_of(repair.generator)),
        numbers=number_columns(repair.generator),
    )
    return [wish.to_dict() for wish in wishes]


def _order_patients(repair: Repair, *, by: User) -> None:
    first, *also = wishes_of(repair)
    again = f", order {repair.attempts}" if repair.attempts > 1 else ""
    repair.generation = request_patients(
        version=repair.generator,
        cohort_name=f"Synthetic patients for repair {repair.pk} of audit {repair.run_id}{again}",
        wish=first,
        also=also,
        seed=repair.seed,
        by=by,
    )
    repair.save(update_fields=["generation"])


def train_again(repair: Repair) -> TrainingJob:
    """Ask for the training of the audited version once more, with the patients that were made beside its cohort.

    In the name of whoever ordered the repair, who must still be allowed to.
    """
    assert repair.generation is not None
    return request_training(
        system=repair.source.system,
        version_label=repair.version_label,
        cohort=repair.source.cohort,
        settings=repair.source.settings,
        backbone=repair.source.backbone,
        augmentation=repair.generation.result,
        by=repair.requested_by,
    )


@service
def start_audit(*, repair: Repair, by: User) -> AuditRun:
    """Audit the new version by the same protocol, on the same cohort, with the same settings.

    An act of an auditor, not of whoever ordered the repair: nobody audits what they submitted.

    Raises:
        DeniedError: ``by`` is no auditor, or has had to do with the version or the protocol.
        ConflictError: the repair does not wait for an audit.
    """
    version = repair.training.result if repair.training else None
    if repair.status != S.AUDITING or version is None:
        raise ConflictError("This repair does not wait for an audit.", remedy="Reload the page to see its state.")
    run = request_audit(
        version=version, cohort=repair.run.cohort, protocol=repair.run.protocol, settings=repair.run.settings, by=by
    )
    if not Repair.objects.filter(pk=repair.pk, status=S.AUDITING, audit=None).update(audit=run):
        raise ConflictError("This repair has its audit already.", remedy="Reload the page to see it.")
    repair.refresh_from_db()
    return run


@service
def cancel_repair(*, repair: Repair, by: User) -> Repair:
    """Give a repair up. Patients that are being made and a training are stopped; an audit under way is the auditor's.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: it is over.
    """
    check_may_repair(by)
    step = repair.status
    if step not in selectors.OPEN or not move_repair(
        repair.pk, to=S.CANCELLED, since=step, stopped_in=step, finished_at=timezone.now()
    ):
        raise ConflictError("This repair is not under way.", remedy="Reload the page to see its state.")
    patients, training = repair.generation, repair.training
    if step == S.MAKING and patients is not None and patients.status in UNDER_WAY:
        cancel_patients(job=patients, by=by)
    if step == S.TRAINING and training is not None and training.status in UNDER_WAY:
        cancel_training(job=training, by=by)
    _record(repair, "repair.cancelled", by.username, step=step)
    repair.refresh_from_db()
    return repair


@service
def resume_repair(*, repair: Repair, version_label: str = "", by: User) -> Repair:
    """Go on in the step in which a repair failed or was cancelled. What that step had begun and goes on, or has ended
    well meanwhile, is taken up; what failed or was stopped is begun again.

    Args:
        version_label: Another label for the new version, where the first was taken meanwhile.

    Raises:
        DeniedError: ``by`` is no ML engineer.
        ConflictError: it is under way or over; the label is taken.
    """
    check_may_repair(by)
    step, label = repair.stopped_in or S.MAKING, version_label.strip() or repair.version_label
    changes: dict[str, Any] = {"error": "", "stopped_in": "", "finished_at": None, "version_label": label}
    kept = _goes_on(repair, step)
    if kept and step == S.TRAINING:
        changes["version_label"] = repair.version_label
    elif step != S.AUDITING:
        check_label(repair.source.system, label)
        _check_promised(repair.source, label)
    else:
        changes["audit"] = None
    if repair.status not in (S.FAILED, S.CANCELLED) or not move_repair(repair.pk, to=step, **changes):
        raise ConflictError(
            "Only a repair that failed or was cancelled can be resumed.", remedy="Reload the page to see its state."
        )
    repair.refresh_from_db()
    if step == S.MAKING and not kept:
        repair.attempts += 1
        repair.save(update_fields=["attempts"])
        _order_patients(repair, by=by)
    elif step == S.TRAINING and not kept:
        repair.training = train_again(repair)
        repair.save(update_fields=["training"])
    _record(repair, "repair.resumed", by.username, step=step)
    return repair


def _goes_on(repair: Repair, step: str) -> bool:
    """Whether what a step had begun is under way still, or done."""
    job = {S.MAKING: repair.generation, S.TRAINING: repair.training}.get(S(step))
    return job is not None and job.status in (*UNDER_WAY, JobStatus.DONE)


def _record(repair: Repair, act: str, actor: str, **payload: Any) -> None:
    ledger.record(actor=actor, act=act, subject=("Repair", repair.pk), payload=payload)
