"""How a repair goes on by itself: from patients to a training, to an audit that waits for an auditor, to a comparison.

Every step may be delivered twice and at any time. It moves on by a conditional UPDATE in the transaction that orders
what comes next, so nothing is ordered twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import ledger
from core.errors import AuscultError
from evaluation.execution.kept import table_of
from evaluation.execution.shards import rules_of
from evaluation.models import AuditRun, RunStatus
from models_registry import leases
from models_registry.models import JobStatus
from synthetic import selectors_repairs as selectors
from synthetic.models import Repair, RepairStatus
from synthetic.repairing.comparing import Target, compare
from synthetic.services.repairs import move_repair, train_again

S = RepairStatus


def advance_repairs() -> None:
    """Send every repair whose step may have ended on its way."""
    from synthetic import tasks

    for pk in selectors.to_advance().order_by("pk").values_list("pk", flat=True):
        tasks.advance_repair.delay(pk)


def advance_repair(repair_id: int) -> None:
    """Take the next step if the present one has ended. Otherwise nothing happens, however often it is called."""
    repair = Repair.objects.select_related(*selectors.RELATED).filter(pk=repair_id, status__in=selectors.OPEN).first()
    if repair is None:
        return
    try:
        STEPS[repair.status](repair)
    except AuscultError as error:
        _fail(repair, str(error))
    except Exception as error:
        _fail(repair, leases.unexpected(error))
        raise


def _made(repair: Repair) -> None:
    job = repair.generation
    if job is None or not _over(repair, job, "The patients were not made"):
        return
    with transaction.atomic():
        if move_repair(repair.pk, to=S.TRAINING, since=S.MAKING):
            Repair.objects.filter(pk=repair.pk).update(training=train_again(repair))


def _trained(repair: Repair) -> None:
    job = repair.training
    if job is not None and _over(repair, job, "The training failed"):
        move_repair(repair.pk, to=S.AUDITING, since=S.TRAINING)


def _audited(repair: Repair) -> None:
    """Compare when the audit is done. An audit that an auditor ordered by the usual way counts as well."""
    if repair.audit is None:
        found = selectors.audit_for(repair)
        if found is None:
            return
        Repair.objects.filter(pk=repair.pk, status=S.AUDITING, audit=None).update(audit=found)
        repair.audit = found
    run = repair.audit
    if run.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        _fail(repair, f"Audit {run.pk} {RunStatus(run.status).label.lower()}. {run.error}".strip())
    elif run.status == RunStatus.DONE:
        _compare(repair, run)


STEPS: dict[str, Callable[[Repair], None]] = {S.MAKING: _made, S.TRAINING: _trained, S.AUDITING: _audited}


def _over(repair: Repair, job: Any, failed: str) -> bool:
    """Whether what a step waits for is done. Where it failed or was cancelled, so has the repair."""
    if job.status == JobStatus.DONE:
        return True
    if job.status == JobStatus.CANCELLED:
        _fail(repair, f"{failed}: it was cancelled.")
    elif job.status == JobStatus.FAILED:
        _fail(repair, f"{failed}: {job.error or 'the worker gave no reason.'}")
    return False


def _fail(repair: Repair, error: str) -> None:
    move_repair(
        repair.pk, to=S.FAILED, since=repair.status, stopped_in=repair.status, error=error, finished_at=timezone.now()
    )


def _compare(repair: Repair, run: AuditRun) -> None:
    """Hold both versions against each other on the same patients. Reads predictions of the cache; runs no model."""
    target = Target(
        criterion=repair.criterion, metric=repair.metric, label=repair.label, attribute=repair.attribute,
        groups=tuple(repair.groups), group=repair.group,
    )  # fmt: skip
    rules = rules_of(run)
    before, after = (
        AuditRun.objects.select_related("version__system", "version__submitted_by", "cohort", "protocol").get(pk=pk)
        for pk in (repair.run_id, run.pk)
    )
    found = compare(
        rules, table_of(before), table_of(after), target=target, verdicts=(_verdicts(before), _verdicts(after))
    ).to_dict()
    with transaction.atomic():
        if move_repair(repair.pk, to=S.COMPARED, since=S.AUDITING, comparison=found, finished_at=timezone.now()):
            ledger.record(
                actor="system",
                act="repair.compared",
                subject=("Repair", repair.pk),
                payload={
                    "answer": found["answer"], "levelled_down": found["levelled_down"], "worse": len(found["worse"]),
                    "fallen": len(found["fallen"]), "audit": run.pk, "evidence": run.evidence_digest,
                },
            )  # fmt: skip


def _verdicts(run: AuditRun) -> list[dict[str, Any]]:
    return list(run.verdicts.order_by("position").values_list("detail", flat=True))
