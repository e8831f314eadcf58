"""Asking for reports. A worker writes them from the evidence."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from core import ledger
from core.errors import ConflictError
from core.models import User
from evaluation.models import AuditRun, RunStatus
from governance.access import check_may_issue
from governance.models import Report
from governance.reports.base import REPORTS


@transaction.atomic
def request_report(*, kind: str, run: AuditRun, by: User) -> Report:
    """Order a report of this kind about a finished run.

    Raises:
        DeniedError: ``by`` is neither chair nor auditor.
        AuscultError: there is no such kind; the message lists the known ones.
        ConflictError: the run has no evidence yet.
    """
    check_may_issue(by)
    REPORTS.get(kind)
    if run.status != RunStatus.DONE or not run.evidence_digest:
        raise ConflictError(
            f"Audit {run.pk} has no evidence to report on: it is {run.get_status_display().lower()}.",
            remedy="Wait until the audit is done.",
        )
    report = Report.objects.create(kind=kind, version=run.version, run=run, as_of=timezone.now(), issued_by=by)
    ledger.record(
        actor=by.username,
        act="report.requested",
        subject=("Report", report.pk),
        payload={"kind": kind, "run": run.pk, "evidence": run.evidence_digest},
    )
    from governance import tasks

    tasks.write_report.delay_on_commit(report.pk)
    return report
